from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import Account, Quote, SubmittedTask, TaskDetails, TaskOutput, TaskStatus, Video
from aivideomaker_async._http import decoding as answers
from aivideomaker_async._http.decoding import MalformedAnswer
from aivideomaker_async._util.validation import task_id
from tests.support.pictures import PNG, data_uri

quote = answers.decode_quote_for("t2v")

Answer = Mapping[str, Any]

SUBMITTED = {
    "status": "SUBMITTED",
    "taskId": "tv_1",
    "responseUrl": "https://aivideomaker.ai/api/v1/tasks/tv_1",
    "statusUrl": "https://aivideomaker.ai/api/v1/tasks/tv_1/status",
    "cancelUrl": "https://aivideomaker.ai/api/v1/tasks/tv_1/cancel",
    "creditsCharged": 15,
    "idempotentReplay": False,
}
TASK = {
    "id": "tv_1",
    "createdAt": "2026-09-01T12:00:00.123Z",
    "model": "t2v",
    "input": {"prompt": "A cat", "duration": "5"},
    "output": {"url": "https://cdn.example/v.mp4", "msg": "kept for 24 hours"},
    "status": "COMPLETED",
    "completedAt": "2026-09-01T12:03:00.000Z",
    "creditsCharged": 15,
    "creditsRefunded": 0,
    "listValueCents": 15,
    "idempotencyKey": "avm-1",
}
QUOTE = {
    "model": "t2v",
    "credits": 15,
    "listPriceUsd": 0.15,
    "usdPerCredit": 0.01,
    "currentBalance": 400,
    "affordable": True,
    "billable": False,
}
ACCOUNT = {
    "ok": True,
    "apiVersion": "v1",
    "skillVersion": "1.0.15",
    "currentBalance": 415,
    "supportedModels": ["t2v", "i2v"],
    "dailyCreditLimit": -1,
    "generationRequestsPerMinute": 10,
    "creditWarningAt": -1,
}


def read(body: object) -> dict[str, Any]:
    return answers.json_object(json.dumps(body).encode())


# --- the documented answers --------------------------------------------------------------------------


def test_the_answer_to_a_submit_is_read() -> None:
    """Every field of the 2026-09 revision."""
    assert answers.decode_submitted(read(SUBMITTED)) == SubmittedTask(
        task_id="tv_1",
        status=TaskStatus.SUBMITTED,
        response_url=SUBMITTED["responseUrl"],  # type: ignore[arg-type]
        status_url=SUBMITTED["statusUrl"],  # type: ignore[arg-type]
        cancel_url=SUBMITTED["cancelUrl"],  # type: ignore[arg-type]
        credits_charged=15,
        idempotent_replay=False,
    )


def test_an_id_is_all_that_a_submit_needs() -> None:
    """A bare answer is a task that was submitted."""
    assert answers.decode_submitted({"taskId": "x"}) == SubmittedTask(task_id="x", status=TaskStatus.SUBMITTED)


def test_a_task_is_read() -> None:
    """Every field of the 2026-09 revision; times are aware and in UTC."""
    assert answers.decode_task(read(TASK)) == TaskDetails(
        id="tv_1",
        status=TaskStatus.COMPLETED,
        model="t2v",
        input={"prompt": "A cat", "duration": "5"},
        output=TaskOutput(url="https://cdn.example/v.mp4", message="kept for 24 hours"),
        created_at=datetime(2026, 9, 1, 12, 0, 0, 123000, tzinfo=UTC),
        completed_at=datetime(2026, 9, 1, 12, 3, tzinfo=UTC),
        credits_charged=15,
        credits_refunded=0,
        list_value_cents=15,
        idempotency_key="avm-1",
    )


@pytest.mark.parametrize(("wire", "asked"), [("B", "A"), (5, "6"), ("a", "A"), ("A ", "A")])
def test_the_row_of_another_task_is_none_of_this_one(wire: object, asked: str) -> None:
    """Its video is not what was paid for."""
    answer = {"id": wire, "status": "COMPLETED"}
    assert answers.decode_task_with_id(answers.decode_task(answer).id)(answer).status == "COMPLETED"
    with pytest.raises(MalformedAnswer, match=r"another task @ \$\.id"):
        answers.decode_task_with_id(asked)(answer)


def test_a_task_of_the_older_revision_is_read() -> None:
    """What it does not tell is None."""
    row = {"id": "ck1", "createdAt": None, "model": "lv", "input": None, "output": None, "status": "PROGRESS"}
    assert answers.decode_task(read({**row, "completedAt": None})) == TaskDetails(
        id="ck1", status=TaskStatus.PROGRESS, model="lv"
    )


def test_a_quote_is_read() -> None:
    """Every field of the 2026-09 revision."""
    assert answers.decode_quote_for("wan27")({"credits": 50}) == Quote(model="wan27", credits=50)
    assert quote(read(QUOTE)) == Quote(
        model="t2v",
        credits=15,
        list_price_usd=0.15,
        usd_per_credit=0.01,
        current_balance=400,
        affordable=True,
        billable=False,
    )


def test_an_account_is_read() -> None:
    """A guardrail of -1 is none; what has no name of its own is in `extra`."""
    assert answers.decode_account(read(ACCOUNT)) == Account(
        current_balance=415,
        supported_models=("t2v", "i2v"),
        daily_credit_limit=None,
        generation_requests_per_minute=10,
        credit_warning_at=None,
        api_version="v1",
        skill_version="1.0.15",
        extra={"ok": True},
    )


@pytest.mark.parametrize("status", [*TaskStatus, TaskStatus("QUEUED")])
def test_a_status_is_read_known_or_not(status: TaskStatus) -> None:
    """The answers of `/status` and of a cancel."""
    assert answers.decode_status(read({"status": str(status)})) == status
    assert answers.decode_status(read({"status": str(status), "taskId": "x"})) == status


# --- what varies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({"url": "https://a"}, TaskOutput(url="https://a")),
        ({"videoUrl": "https://a"}, TaskOutput(url="https://a")),
        ({"url": None, "videoUrl": "https://a"}, TaskOutput(url="https://a")),
        ({"url": "https://a", "videoUrl": "https://b"}, TaskOutput(url="https://a", extra={"videoUrl": "https://b"})),
        ({"videoUrl": None}, TaskOutput(extra={"videoUrl": None})),
        ({"videoUrl": "https://a", "msg": "m", "n": 1}, TaskOutput(url="https://a", message="m", extra={"n": 1})),
        ({"error": "no", "msg": "m"}, TaskOutput(error="no", message="m")),
        ({"url": 5}, TaskOutput(extra={"url": 5})),
        ({}, TaskOutput()),
        (None, None),
    ],
)
def test_the_video_s_address_has_two_names(output: object, expected: TaskOutput | None) -> None:
    """`output.url`, and `output.videoUrl` of the vendor's older examples where there is no other."""
    assert answers.decode_task({"id": "x", "status": "COMPLETED", "output": output}).output == expected


@pytest.mark.parametrize(("wire", "expected"), [("tv_1", "tv_1"), (17, "17"), ("17", "17"), ("⚡", "⚡")])
def test_an_id_is_opaque(wire: object, expected: str) -> None:
    """A server that writes numbers means the same."""
    assert answers.decode_task({"id": wire, "status": "PROGRESS"}).id == expected


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ("2026-09-01T12:00:00.123Z", datetime(2026, 9, 1, 12, 0, 0, 123000, tzinfo=UTC)),
        ("2026-09-01T12:00:00Z", datetime(2026, 9, 1, 12, tzinfo=UTC)),
        ("2026-09-01T14:00:00+02:00", datetime(2026, 9, 1, 12, tzinfo=UTC)),
        ("2026-09-01T12:00:00", datetime(2026, 9, 1, 12, tzinfo=UTC)),
    ],
)
def test_times_are_aware_and_in_utc(wire: str, expected: datetime) -> None:
    """A time without a zone is UTC, as the service documents it."""
    created_at = answers.decode_task({"id": "x", "status": "PROGRESS", "createdAt": wire}).created_at
    assert created_at == expected
    assert created_at.tzinfo is UTC


def test_fields_that_this_version_does_not_know_are_kept() -> None:
    """Under their wire names, in every value, also when they are null or called `extra`."""
    new = {"queuePosition": 3, "eta": None, "extra": {"a": 1}}
    reads: list[tuple[Callable[[Answer], Any], Answer]] = [
        (answers.decode_submitted, SUBMITTED),
        (answers.decode_task, TASK),
        (quote, QUOTE),
    ]
    for parse, answer in reads:
        assert parse({**answer, **new}).extra == new
    assert answers.decode_account({**ACCOUNT, **new}).extra == {**new, "ok": True}
    task = answers.decode_task({**TASK, "output": {"url": "https://a", **new}})
    assert task.output is not None
    assert task.output.extra == new


ODD: list[tuple[str, object]] = [
    ("model", 5),
    ("input", "text"),
    ("input", [1]),
    ("output", "https://a"),
    ("output", ["https://a"]),
    ("createdAt", 1756728000),
    ("createdAt", "yesterday"),
    ("createdAt", "0001-01-01T00:00:00+23:59"),
    ("creditsCharged", "15"),
    ("creditsCharged", 1.5),
    ("creditsCharged", True),
    ("creditsCharged", float("inf")),
    ("creditsRefunded", {}),
    ("idempotencyKey", 8),
]


@pytest.mark.parametrize(("name", "value"), ODD)
def test_an_oddly_typed_field_takes_nothing_from_the_others(name: str, value: object) -> None:
    """It is kept in `extra`, its own attribute is as if it were missing, and the rest is read."""
    usual = answers.decode_task(TASK)
    task = answers.decode_task({**TASK, name: value})
    assert task.extra == {name: value}
    missing = answers.decode_task({key: item for key, item in TASK.items() if key != name})
    assert (task.id, task.status) == (usual.id, usual.status)
    assert {slot: getattr(task, slot) for slot in ("model", "input", "output", "created_at", "credits_charged")} == {
        slot: getattr(missing, slot) for slot in ("model", "input", "output", "created_at", "credits_charged")
    }


@pytest.mark.parametrize(
    ("parse", "answer", "name", "value"),
    [
        (answers.decode_submitted, SUBMITTED, "status", 7),
        (answers.decode_submitted, SUBMITTED, "idempotentReplay", "no"),
        (quote, QUOTE, "affordable", 1),
        (quote, QUOTE, "listPriceUsd", "0.15"),
        (answers.decode_account, {**ACCOUNT, "ok": None}, "supportedModels", "t2v"),
        (answers.decode_account, {**ACCOUNT, "ok": None}, "supportedModels", ["t2v", 5]),
        (answers.decode_account, {**ACCOUNT, "ok": None}, "dailyCreditLimit", "unlimited"),
    ],
)
def test_odd_fields_of_the_other_answers_are_kept_too(
    parse: Callable[[Answer], Any], answer: Answer, name: str, value: object
) -> None:
    """The same holds for every value."""
    assert parse({**answer, name: value}).extra[name] == value


def test_whole_numbers_may_be_written_as_floats() -> None:
    """15.0 is 15."""
    charged = answers.decode_task({**TASK, "creditsCharged": 15.0}).credits_charged
    assert charged == 15
    assert isinstance(charged, int)


# --- the list ----------------------------------------------------------------------------------------


def test_a_list_is_decoded_row_by_row() -> None:
    """In the order of the service."""
    rows = [{"id": "b", "status": "PROGRESS"}, {"id": "a", "status": "CANCEL"}]
    assert [task.id for task in answers.decode_task_list({"tasks": rows})] == ["b", "a"]
    assert answers.decode_task_list({"tasks": []}) == []


# --- what cannot be understood -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parse", "answer", "place"),
    [
        (answers.decode_submitted, {}, r"required field missing @ \$\.taskId"),
        (answers.decode_submitted, {"taskId": ""}, r"expected an id @ \$\.taskId: ''"),
        (answers.decode_submitted, {"taskId": True}, r"expected a text @ \$\.taskId: True"),
        # A handle of no task would be worse than none: the list tells which ids are numbers.
        (answers.decode_submitted, {"taskId": 7}, r"expected a text @ \$\.taskId: 7"),
        (answers.decode_task, {"id": "x"}, r"required field missing @ \$\.status"),
        (answers.decode_task, {"id": "x", "status": None}, r"expected a status @ \$\.status: None"),
        (answers.decode_task, {"id": "x", "status": ""}, r"expected a status @ \$\.status"),
        (answers.decode_task_list, {}, r"expected a list of tasks @ \$\.tasks"),
        (answers.decode_task_list, {"tasks": {"a": 1}}, r"expected a list of tasks @ \$\.tasks"),
        (lambda row: answers.decode_task(row, "$.tasks[3]"), {"status": "X"}, r"missing @ \$\.tasks\[3\]\.id"),
        (answers.decode_status, {"state": "PROGRESS"}, r"required field missing @ \$\.status"),
        (answers.decode_status, {"status": 7}, r"expected a status @ \$\.status: 7"),
        (quote, {"model": "t2v"}, r"required field missing @ \$\.credits"),
        (quote, {"model": "t2v", "credits": 1.5}, r"expected a whole number @ \$\.credits: 1.5"),
        (quote, {"model": "t2v", "credits": float("nan")}, r"expected a number @ \$\.credits"),
        (quote, {"model": "t2v", "credits": 10**400}, r"@ \$\.credits"),
        (quote, {"model": 5, "credits": 1}, r"expected a text @ \$\.model: 5"),
        (answers.decode_account, {"currentBalance": "415"}, r"expected a number @ \$\.currentBalance: '415'"),
    ],
)
def test_what_a_value_cannot_do_without_is_named_by_its_path(
    parse: Callable[[Answer], object], answer: Answer, place: str
) -> None:
    """The error tells where in the answer it is, and what is there instead."""
    with pytest.raises(MalformedAnswer, match=place):
        parse(answer)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502 Bad Gateway</html>",
        b"{",
        b'{"a": 1} trailing',
        b"\xff\xfe\x00",
        b"\x80abc",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"n": ' + b"9" * 5000 + b"}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-32-le"),
        b'{"a": "\xed\xa0\x80"}',
        b'\x00{"a": 1}',
    ],
)
def test_a_body_that_is_no_json_is_named_and_not_repeated(body: bytes) -> None:
    """A few words of it are shown, however long it is."""
    with pytest.raises(MalformedAnswer, match="the body is not JSON") as caught:
        answers.json_object(body)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5", b"true"])
def test_a_body_that_is_no_object_is_named(body: bytes) -> None:
    """Every answer of the API is an object."""
    with pytest.raises(MalformedAnswer, match=r"expected an object @ \$: "):
        answers.json_object(body)


def test_no_error_shows_an_image() -> None:
    """A data URI in a wrong place is named, not shown."""
    uri = data_uri(PNG * 20)
    wrong: list[Callable[[], object]] = [
        lambda: answers.decode_status({"status": [uri]}),
        lambda: quote({"model": "t2v", "credits": uri}),
        lambda: answers.decode_task(uri, "$.tasks[0]"),
        lambda: answers.decode_task_list({"tasks": {"image": uri}}),
        lambda: answers.decode_account({"currentBalance": {"deep": [{"image": uri}]}}),
        lambda: answers.json_object(uri.encode()),
        lambda: answers.json_object(json.dumps(uri).encode()),
    ]
    for attempt in wrong:
        with pytest.raises(MalformedAnswer) as caught:
            attempt()
        assert "iVBOR" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_an_absurdly_nested_answer_is_malformed_and_nothing_worse() -> None:
    """It may parse and still be too deep for whoever shows it."""
    for depth in (100, 300, 450, 600, 900, 950, 980):
        nested = b'{"tasks": ' * depth + b"1" + b"}" * depth
        for parse in (answers.decode_task_list, answers.decode_status, answers.decode_account):
            with pytest.raises(MalformedAnswer):
                parse(answers.json_object(nested))


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["COMPLETED", "FAILED", "tv_1", "2026-09-01T12:00:00Z", data_uri(PNG), 10**400, -1])
)
names = st.sampled_from(sorted({*SUBMITTED, *TASK, *QUOTE, *ACCOUNT, "tasks", "url", "videoUrl", "msg", "error"}))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=5), inner, max_size=8),
    max_leaves=25,
)
strange = st.dictionaries(names, values, max_size=12)
READERS: list[Callable[[Answer], object]] = [
    answers.decode_submitted,
    answers.decode_task,
    answers.decode_status,
    answers.decode_status,
    quote,
    answers.decode_account,
]


@given(strange, st.sampled_from(READERS))
@settings(max_examples=100, deadline=None)
def test_any_object_is_a_value_or_malformed(answer: Answer, parse: Callable[[Answer], object]) -> None:
    """Never another error, and never an image in its text."""
    try:
        value = parse(answer)
    except MalformedAnswer as error:
        assert "iVBOR" not in str(error)
        assert len(str(error)) < 200
    else:
        assert "iVBOR" not in repr(value)


@given(strange, st.sampled_from([(answers.decode_submitted, SUBMITTED), (answers.decode_task, TASK), (quote, QUOTE)]))
@settings(max_examples=60, deadline=None)
def test_nothing_that_came_is_lost(odd: Answer, case: tuple[Callable[[Answer], Any], Answer]) -> None:
    """Beside the fields that it needs, an answer may hold anything; what is not understood is all in `extra`."""
    parse, good = case
    needed = {"id", "taskId", "status", "model", "credits"}
    value = parse(
        {**{name: item for name, item in odd.items() if item is not None}, **{n: good[n] for n in needed & set(good)}}
    )
    known = {"output", "input", *good} - {"extra"}
    for name, item in odd.items():
        if name not in known and item is not None:
            assert _same(value.extra[name], item)


def _same(one: object, other: object) -> bool:
    # NaN is not itself.
    return one is other or repr(one) == repr(other)


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_an_object_or_malformed(body: bytes) -> None:
    """Whatever a proxy makes of an answer."""
    with suppress(MalformedAnswer):
        assert isinstance(answers.json_object(body), dict)


# --- hostile answers ---------------------------------------------------------------------------------


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


HOSTILE_TEXTS = [
    "\ud800",
    "a\nb",
    "\x1b[31mred",
    "\0",
    "\u202e",
    "..",
    "",
    "x" * 10_000,
    f"see {data_uri(PNG * 9)}",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59Z",
]
anything = values | st.sampled_from([*HOSTILE_TEXTS, nested(90), nested(150), {"a": [[]] * 5000}, -(10**4000), 1e308])
DOCUMENTED: list[tuple[Callable[[Answer], Any], Answer]] = [
    (answers.decode_submitted, SUBMITTED),
    (answers.decode_task, TASK),
    (answers.decode_status, {"status": "PROGRESS"}),
    (answers.decode_status, {"status": "CANCEL", "taskId": "tv_1"}),
    (quote, QUOTE),
    (answers.decode_account, ACCOUNT),
]


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[Callable[[Answer], Any], Answer]:
    """A documented answer, of which some fields are something else, missing, or in a wrong place."""
    parse, good = draw(st.sampled_from(DOCUMENTED))
    answer = dict(good)
    for name in draw(st.lists(st.sampled_from(sorted(good)), min_size=1, max_size=3)):
        match draw(st.sampled_from(["other", "gone", "inside", "listed"])):
            case "other":
                answer[name] = draw(anything)
            case "gone":
                answer.pop(name, None)
            case "inside":
                answer[name] = {name: answer.get(name)}
            case "listed":
                answer[name] = [answer.get(name)]
    answer.update(draw(st.dictionaries(st.text(max_size=5) | st.sampled_from(HOSTILE_TEXTS), anything, max_size=2)))
    return parse, answer


@given(spoiled())
@settings(max_examples=60, deadline=None)
def test_a_spoiled_answer_is_a_value_or_malformed(case: tuple[Callable[[Answer], Any], Answer]) -> None:
    """Whatever is wrong with it; and what comes of it can be shown, kept, compared and sent to another process."""
    parse, answer = case
    try:
        value = parse(answer)
    except MalformedAnswer as error:
        assert len(str(error)) < 300
        assert str(error).isprintable()
        assert "iVBOR" not in str(error)
        return
    assert len(repr(value)) < 60_000
    assert "iVBOR" not in repr(value)
    assert repr(value).isprintable()
    assert isinstance(hash(value), int)
    for twin in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):  # noqa: S301
        assert _same(twin, value)
    if isinstance(value, TaskDetails):
        json.dumps(answers.encode_task(value))
        assert repr(Video.of(value)).isprintable()


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800", "a\ud800", "x" * 16_385, None, True, 1.5, ["x"], {"a": 1}])
def test_an_id_that_fits_into_no_path_is_none(value: object) -> None:
    """A handle that cannot be asked for would be worth nothing; that the answer is lost is known."""
    for parse, name in ((answers.decode_submitted, "taskId"), (answers.decode_task, "id")):
        with pytest.raises(MalformedAnswer, match=name):
            parse({**SUBMITTED, **TASK, name: value})


@pytest.mark.parametrize("value", ["a/b", "%2F", "a?b#c", "a\nb", "ключ", "x" * 10_000, 17, -1, "...", " "])
def test_any_other_id_is_one(value: object) -> None:
    """It is quoted where it stands in a path."""
    if isinstance(value, str):
        assert answers.decode_submitted({"taskId": value}).task_id == value
    assert task_id(answers.decode_task({**TASK, "id": value}).id) == str(value)


@pytest.mark.parametrize("value", ["x" * 101, "A\nB", "\x1b[2J", "\ud800", "\u2028", "\0"])
def test_a_status_is_a_word(value: str) -> None:
    """One that is not known is told to people, logs and other processes."""
    for parse in (answers.decode_status, answers.decode_status):
        with pytest.raises(MalformedAnswer, match=r"expected a status @ \$\.status"):
            parse({"status": value})
    with pytest.raises(MalformedAnswer, match="expected a status"):
        answers.decode_task({**TASK, "status": value})
    assert answers.decode_submitted({**SUBMITTED, "status": value}).status == TaskStatus.SUBMITTED
    assert answers.decode_status({"status": "WAITING FOR ⚡ " + "x" * 80}) == "WAITING FOR ⚡ " + "x" * 80


@pytest.mark.parametrize("field", ["input", "output", "new"])
def test_what_is_nested_too_deep_to_be_used_is_refused(field: str) -> None:
    """It can be decoded, and then be neither compared nor encoded; at a lesser depth it is kept as it came."""
    kept = answers.decode_task({**TASK, field: nested(answers.MAX_DEPTH) if field != "output" else {"new": nested(50)}})
    assert answers.decode_task(json.loads(json.dumps(answers.encode_task(kept)))) == kept
    for levels in (answers.MAX_DEPTH + 1, 500, 900):
        with pytest.raises(MalformedAnswer, match=f"nested deeper than 100 levels @ \\$\\['{field}'\\]"):
            answers.decode_task({**TASK, field: nested(levels)})


@pytest.mark.parametrize(
    "wire",
    [
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2026-02-30T00:00:00Z",
        "2026-09-01T25:00:00Z",
        "99999-01-01T00:00:00Z",
        "2026-09-01T12:00:00+24:00",
        "now",
        "",
        "\ud800",
        "2026-09-01T12:00:00Z" * 1000,
    ],
)
def test_a_time_that_no_calendar_has_is_none(wire: str) -> None:
    """It is kept in `extra`, and nothing is computed with it."""
    task = answers.decode_task({**TASK, "createdAt": wire, "completedAt": wire})
    assert (task.created_at, task.completed_at) == (None, None)
    assert task.extra == {"createdAt": wire, "completedAt": wire}


@pytest.mark.parametrize("wire", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59+23:59"])
def test_a_video_of_any_time_has_an_end(wire: str) -> None:
    """Clocks may be years off."""
    video = Video.of(answers.decode_task({**TASK, "completedAt": wire}))
    assert timedelta() < video.expires_at - (video.details.completed_at or video.expires_at) <= timedelta(hours=24) or (
        video.expires_at == datetime.max.replace(tzinfo=UTC)
    )


# --- back to the wire --------------------------------------------------------------------------------


@given(strange)
@settings(max_examples=100, deadline=None)
def test_a_row_of_a_task_is_read_as_the_same_task(odd: Answer) -> None:
    """Whatever the service has told, with all that this version does not understand."""
    details = answers.decode_task({**odd, "id": "tv_1", "status": "PROGRESS"})
    assert answers.decode_task(answers.encode_task(details)) == details
    full = answers.decode_task({**TASK, **odd, "id": "tv_1", "status": "COMPLETED"})
    assert answers.decode_task(answers.encode_task(full)) == full


def test_a_row_is_what_the_service_would_have_sent() -> None:
    """Under its names, and ready to be JSON."""
    row = answers.encode_task(answers.decode_task(TASK))
    assert json.loads(json.dumps(row)) == {
        **TASK,
        "createdAt": "2026-09-01T12:00:00.123000+00:00",
        "completedAt": "2026-09-01T12:03:00+00:00",
    }
    assert answers.encode_task(TaskDetails(id="x", status=TaskStatus.PROGRESS)) == {
        "id": "x",
        "status": "PROGRESS",
        "input": {},
    }
