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
from aivideomaker_async._http import decoding
from aivideomaker_async._http.decoding import MalformedAnswer
from aivideomaker_async._util.validation import task_id
from tests.support.pictures import PNG, data_uri

decode_quote = decoding.decode_quote_for("t2v")

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


def wire(body: object) -> dict[str, Any]:
    return decoding.json_object(json.dumps(body).encode())


# --- the documented answers, with every field of the 2026-09 revision --------------------------------


def test_the_answer_to_a_submit_is_decoded() -> None:
    assert decoding.decode_submitted(wire(SUBMITTED)) == SubmittedTask(
        task_id="tv_1",
        status=TaskStatus.SUBMITTED,
        response_url=SUBMITTED["responseUrl"],  # type: ignore[arg-type]
        status_url=SUBMITTED["statusUrl"],  # type: ignore[arg-type]
        cancel_url=SUBMITTED["cancelUrl"],  # type: ignore[arg-type]
        credits_charged=15,
        idempotent_replay=False,
    )


def test_the_answer_to_a_submit_needs_nothing_but_the_id() -> None:
    assert decoding.decode_submitted({"taskId": "x"}) == SubmittedTask(task_id="x", status=TaskStatus.SUBMITTED)


def test_a_task_is_decoded() -> None:
    assert decoding.decode_task(wire(TASK)) == TaskDetails(
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


@pytest.mark.parametrize(("answered", "asked"), [("B", "A"), (5, "6"), ("a", "A"), ("A ", "A")])
def test_the_details_of_another_task_are_refused(answered: object, asked: str) -> None:
    """Its video is not the one that was paid for."""
    answer = {"id": answered, "status": "COMPLETED"}
    assert decoding.decode_task_with_id(decoding.decode_task(answer).id)(answer).status == "COMPLETED"
    with pytest.raises(MalformedAnswer, match=r"another task @ \$\.id"):
        decoding.decode_task_with_id(asked)(answer)


def test_a_task_of_the_2026_03_revision_is_decoded() -> None:
    """Fields that it lacks are None."""
    row = {"id": "ck1", "createdAt": None, "model": "lv", "input": None, "output": None, "status": "PROGRESS"}
    assert decoding.decode_task(wire({**row, "completedAt": None})) == TaskDetails(
        id="ck1", status=TaskStatus.PROGRESS, model="lv"
    )


def test_a_quote_is_decoded() -> None:
    """Where it does not name the model, that is the one that was asked about."""
    assert decoding.decode_quote_for("wan27")({"credits": 50}) == Quote(model="wan27", credits=50)
    assert decode_quote(wire(QUOTE)) == Quote(
        model="t2v",
        credits=15,
        list_price_usd=0.15,
        usd_per_credit=0.01,
        current_balance=400,
        affordable=True,
        billable=False,
    )


def test_an_account_is_decoded() -> None:
    """A guardrail of -1 means unlimited; a field without an attribute is kept in `extra`."""
    assert decoding.decode_account(wire(ACCOUNT)) == Account(
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
def test_a_status_is_decoded_whether_it_is_known_or_not(status: TaskStatus) -> None:
    """In the answer of `/status`, and in that of a cancel."""
    assert decoding.decode_status(wire({"status": str(status)})) == status
    assert decoding.decode_status(wire({"status": str(status), "taskId": "x"})) == status


# --- variants ----------------------------------------------------------------------------------------


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
def test_the_url_of_a_video_is_found_under_both_of_its_names(output: object, expected: TaskOutput | None) -> None:
    """`output.url`; and `output.videoUrl`, as in the vendor's older examples, where there is no other."""
    assert decoding.decode_task({"id": "x", "status": "COMPLETED", "output": output}).output == expected


@pytest.mark.parametrize(("sent", "expected"), [("tv_1", "tv_1"), (17, "17"), ("17", "17"), ("⚡", "⚡")])
def test_an_id_is_an_opaque_text_or_a_number(sent: object, expected: str) -> None:
    assert decoding.decode_task({"id": sent, "status": "PROGRESS"}).id == expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2026-09-01T12:00:00.123Z", datetime(2026, 9, 1, 12, 0, 0, 123000, tzinfo=UTC)),
        ("2026-09-01T12:00:00Z", datetime(2026, 9, 1, 12, tzinfo=UTC)),
        ("2026-09-01T14:00:00+02:00", datetime(2026, 9, 1, 12, tzinfo=UTC)),
        ("2026-09-01T12:00:00", datetime(2026, 9, 1, 12, tzinfo=UTC)),
    ],
)
def test_times_are_aware_and_in_utc(sent: str, expected: datetime) -> None:
    """A time without a zone is UTC, as the service documents it."""
    created_at = decoding.decode_task({"id": "x", "status": "PROGRESS", "createdAt": sent}).created_at
    assert created_at == expected
    assert created_at.tzinfo is UTC


def test_unknown_fields_of_every_answer_are_kept_in_extra() -> None:
    """Under their wire names, also when they are null or called `extra`."""
    new = {"queuePosition": 3, "eta": None, "extra": {"a": 1}}
    answers: list[tuple[Callable[[Answer], Any], Answer]] = [
        (decoding.decode_submitted, SUBMITTED),
        (decoding.decode_task, TASK),
        (decode_quote, QUOTE),
    ]
    for decode, answer in answers:
        assert decode({**answer, **new}).extra == new
    assert decoding.decode_account({**ACCOUNT, **new}).extra == {**new, "ok": True}
    task = decoding.decode_task({**TASK, "output": {"url": "https://a", **new}})
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
def test_a_field_of_a_wrong_type_costs_only_its_own_attribute(name: str, value: object) -> None:
    """That is as if the field were missing; the odd value is kept in `extra`, and the rest is decoded."""
    usual = decoding.decode_task(TASK)
    task = decoding.decode_task({**TASK, name: value})
    assert task.extra == {name: value}
    missing = decoding.decode_task({key: item for key, item in TASK.items() if key != name})
    assert (task.id, task.status) == (usual.id, usual.status)
    assert {slot: getattr(task, slot) for slot in ("model", "input", "output", "created_at", "credits_charged")} == {
        slot: getattr(missing, slot) for slot in ("model", "input", "output", "created_at", "credits_charged")
    }


@pytest.mark.parametrize(
    ("decode", "answer", "name", "value"),
    [
        (decoding.decode_submitted, SUBMITTED, "status", 7),
        (decoding.decode_submitted, SUBMITTED, "idempotentReplay", "no"),
        (decoding.decode_submitted, SUBMITTED, "creditsCharged", -1),
        (decode_quote, QUOTE, "affordable", 1),
        (decode_quote, QUOTE, "listPriceUsd", "0.15"),
        (decoding.decode_account, {**ACCOUNT, "ok": None}, "supportedModels", "t2v"),
        (decoding.decode_account, {**ACCOUNT, "ok": None}, "supportedModels", ["t2v", 5]),
        (decoding.decode_account, {**ACCOUNT, "ok": None}, "dailyCreditLimit", "unlimited"),
    ],
)
def test_fields_of_a_wrong_type_in_other_answers_are_kept_too(
    decode: Callable[[Answer], Any], answer: Answer, name: str, value: object
) -> None:
    assert decode({**answer, name: value}).extra[name] == value


def test_a_whole_number_may_be_written_as_a_float() -> None:
    charged = decoding.decode_task({**TASK, "creditsCharged": 15.0}).credits_charged
    assert charged == 15
    assert isinstance(charged, int)


# --- the list ----------------------------------------------------------------------------------------


def test_a_list_is_decoded_in_the_order_of_the_service() -> None:
    rows = [{"id": "b", "status": "PROGRESS"}, {"id": "a", "status": "CANCEL"}]
    assert [task.id for task in decoding.decode_task_list({"tasks": rows})] == ["b", "a"]
    assert decoding.decode_task_list({"tasks": []}) == []


# --- malformed answers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decode", "answer", "place"),
    [
        (decoding.decode_submitted, {}, r"required field missing @ \$\.taskId"),
        (decoding.decode_submitted, {"taskId": ""}, r"expected an id @ \$\.taskId: ''"),
        (decoding.decode_submitted, {"taskId": True}, r"expected a text @ \$\.taskId: True"),
        # The handle of a wrong task would be worse than none. In the list, ids may be numbers.
        (decoding.decode_submitted, {"taskId": 7}, r"expected a text @ \$\.taskId: 7"),
        (decoding.decode_task, {"id": "x"}, r"required field missing @ \$\.status"),
        (decoding.decode_task, {"id": "x", "status": None}, r"expected a status @ \$\.status: None"),
        (decoding.decode_task, {"id": "x", "status": ""}, r"expected a status @ \$\.status"),
        (decoding.decode_task_list, {}, r"expected a list of tasks @ \$\.tasks"),
        (decoding.decode_task_list, {"tasks": {"a": 1}}, r"expected a list of tasks @ \$\.tasks"),
        (lambda one: decoding.decode_task(one, "$.tasks[3]"), {"status": "X"}, r"missing @ \$\.tasks\[3\]\.id"),
        (decoding.decode_status, {"state": "PROGRESS"}, r"required field missing @ \$\.status"),
        (decoding.decode_status, {"status": 7}, r"expected a status @ \$\.status: 7"),
        (decode_quote, {"model": "t2v"}, r"required field missing @ \$\.credits"),
        (decode_quote, {"model": "t2v", "credits": 1.5}, r"expected a whole number @ \$\.credits: 1.5"),
        (decode_quote, {"model": "t2v", "credits": -1}, r"expected a number of credits @ \$\.credits: -1"),
        (decode_quote, {"model": "t2v", "credits": float("nan")}, r"expected a number @ \$\.credits"),
        (decode_quote, {"model": "t2v", "credits": 10**400}, r"@ \$\.credits"),
        (decode_quote, {"model": 5, "credits": 1}, r"expected a text @ \$\.model: 5"),
        (decoding.decode_account, {"currentBalance": "415"}, r"expected a number @ \$\.currentBalance: '415'"),
    ],
)
def test_an_essential_field_that_is_missing_or_wrong_is_named_by_its_path(
    decode: Callable[[Answer], object], answer: Answer, place: str
) -> None:
    """The error shows what stands there instead."""
    with pytest.raises(MalformedAnswer, match=place):
        decode(answer)


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
def test_a_body_that_is_not_json_is_quoted_in_a_few_words(body: bytes) -> None:
    with pytest.raises(MalformedAnswer, match="the body is not JSON") as caught:
        decoding.json_object(body)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5", b"true"])
def test_a_body_that_is_not_an_object_is_malformed(body: bytes) -> None:
    """Every answer of the API is an object."""
    with pytest.raises(MalformedAnswer, match=r"expected an object @ \$: "):
        decoding.json_object(body)


def test_a_body_of_too_many_values_is_malformed() -> None:
    """The decoder cannot be interrupted, and would stall the event loop for seconds."""
    with pytest.raises(MalformedAnswer, match="the body has more than 100000 values"):
        decoding.json_object(b'{"x": [' + b"0," * 100_001 + b"0]}")


def test_no_error_shows_an_image() -> None:
    uri = data_uri(PNG * 20)
    wrong: list[Callable[[], object]] = [
        lambda: decoding.decode_status({"status": [uri]}),
        lambda: decode_quote({"model": "t2v", "credits": uri}),
        lambda: decoding.decode_task(uri, "$.tasks[0]"),
        lambda: decoding.decode_task_list({"tasks": {"image": uri}}),
        lambda: decoding.decode_account({"currentBalance": {"deep": [{"image": uri}]}}),
        lambda: decoding.json_object(uri.encode()),
        lambda: decoding.json_object(json.dumps(uri).encode()),
    ]
    for attempt in wrong:
        with pytest.raises(MalformedAnswer) as caught:
            attempt()
        assert "iVBOR" not in str(caught.value)
        assert len(str(caught.value)) < 200


def test_an_absurdly_nested_answer_is_malformed() -> None:
    """It can be decoded, and is too deep for everything else: no RecursionError may come of it."""
    for depth in (100, 300, 450, 600, 900, 950, 980):
        nested = b'{"tasks": ' * depth + b"1" + b"}" * depth
        for decode in (decoding.decode_task_list, decoding.decode_status, decoding.decode_account):
            with pytest.raises(MalformedAnswer):
                decode(decoding.json_object(nested))


def _same(one: object, other: object) -> bool:
    # NaN is not itself.
    return one is other or repr(one) == repr(other)


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


@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_an_object_or_malformed(body: bytes) -> None:
    with suppress(MalformedAnswer):
        assert isinstance(decoding.json_object(body), dict)


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
    (decoding.decode_submitted, SUBMITTED),
    (decoding.decode_task, TASK),
    (decoding.decode_status, {"status": "PROGRESS"}),
    (decoding.decode_status, {"status": "CANCEL", "taskId": "tv_1"}),
    (decode_quote, QUOTE),
    (decoding.decode_account, ACCOUNT),
]


strange_answers = st.tuples(st.sampled_from([decode for decode, _ in DOCUMENTED]), strange)


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[Callable[[Answer], Any], Answer]:
    """Draw a documented answer in which some fields are wrong, missing, or in another place."""
    decode, good = draw(st.sampled_from(DOCUMENTED))
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
    return decode, answer


@given(spoiled() | strange_answers)
@settings(max_examples=120, deadline=None)
def test_any_answer_is_a_value_or_malformed(case: tuple[Callable[[Answer], Any], Answer]) -> None:
    """Neither shows an image. A value can be shown, hashed, compared, copied and pickled."""
    decode, answer = case
    try:
        value = decode(answer)
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
        json.dumps(decoding.encode_task(value))
        assert repr(Video.of(value)).isprintable()


@pytest.mark.parametrize("value", ["", ".", "..", "\ud800", "a\ud800", "x" * 16_385, None, True, 1.5, ["x"], {"a": 1}])
def test_an_id_that_fits_into_no_path_is_malformed(value: object) -> None:
    """A handle with it would be useless; a lost answer is looked up instead."""
    for decode, name in ((decoding.decode_submitted, "taskId"), (decoding.decode_task, "id")):
        with pytest.raises(MalformedAnswer, match=name):
            decode({**SUBMITTED, **TASK, name: value})


@pytest.mark.parametrize("value", ["a/b", "%2F", "a?b#c", "a\nb", "ключ", "x" * 10_000, 17, -1, "...", " "])
def test_an_id_that_fits_into_a_path_when_quoted_is_accepted(value: object) -> None:
    if isinstance(value, str):
        assert decoding.decode_submitted({"taskId": value}).task_id == value
    assert task_id(decoding.decode_task({**TASK, "id": value}).id) == str(value)


@pytest.mark.parametrize("value", ["x" * 101, "A\nB", "\x1b[2J", "\ud800", "\u2028", "\0"])
def test_a_status_is_short_and_printable(value: str) -> None:
    """An unknown one stands in log lines and goes to other processes."""
    with pytest.raises(MalformedAnswer, match=r"expected a status @ \$\.status"):
        decoding.decode_status({"status": value})
    with pytest.raises(MalformedAnswer, match="expected a status"):
        decoding.decode_task({**TASK, "status": value})
    assert decoding.decode_submitted({**SUBMITTED, "status": value}).status == TaskStatus.SUBMITTED
    assert decoding.decode_status({"status": "WAITING FOR ⚡ " + "x" * 80}) == "WAITING FOR ⚡ " + "x" * 80


@pytest.mark.parametrize("field", ["input", "output", "new"])
def test_a_field_that_is_nested_too_deep_is_malformed(field: str) -> None:
    """It could be decoded, and then be neither compared nor encoded. A lesser depth is kept as it came."""
    kept = decoding.decode_task(
        {**TASK, field: nested(decoding.MAX_JSON_DEPTH) if field != "output" else {"new": nested(50)}}
    )
    assert decoding.decode_task(json.loads(json.dumps(decoding.encode_task(kept)))) == kept
    for levels in (decoding.MAX_JSON_DEPTH + 1, 500, 900):
        with pytest.raises(MalformedAnswer, match=f"nested deeper than 100 levels @ \\$\\['{field}'\\]"):
            decoding.decode_task({**TASK, field: nested(levels)})


@pytest.mark.parametrize(
    "sent",
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
def test_an_impossible_time_is_none_and_kept_in_extra(sent: str) -> None:
    task = decoding.decode_task({**TASK, "createdAt": sent, "completedAt": sent})
    assert (task.created_at, task.completed_at) == (None, None)
    assert task.extra == {"createdAt": sent, "completedAt": sent}
    assert decoding.parse_timestamp(sent) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01T01:00:00.500+01:00", 0.5),
        ("1969-12-31T23:59:59", -1.0),
        (None, None),
        (1756728000, None),
        (["1970-01-01T00:00:01Z"], None),
    ],
)
def test_a_timestamp_is_seconds_since_the_epoch(value: object, seconds: float | None) -> None:
    assert decoding.parse_timestamp(value) == seconds


@pytest.mark.parametrize("sent", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59+23:59"])
def test_a_video_of_any_time_expires_within_a_day(sent: str) -> None:
    """Clocks may be years off."""
    video = Video.of(decoding.decode_task({**TASK, "completedAt": sent}))
    assert timedelta() < video.expires_at - (video.details.completed_at or video.expires_at) <= timedelta(hours=24) or (
        video.expires_at == datetime.max.replace(tzinfo=UTC)
    )


# --- encoding ----------------------------------------------------------------------------------------


@given(strange)
@settings(max_examples=100, deadline=None)
def test_an_encoded_task_is_decoded_to_the_same_task(odd: Answer) -> None:
    """With all its unknown and odd fields."""
    details = decoding.decode_task({**odd, "id": "tv_1", "status": "PROGRESS"})
    assert decoding.decode_task(decoding.encode_task(details)) == details
    full = decoding.decode_task({**TASK, **odd, "id": "tv_1", "status": "COMPLETED"})
    assert decoding.decode_task(decoding.encode_task(full)) == full


def test_an_encoded_task_is_the_row_that_the_service_would_have_sent() -> None:
    row = decoding.encode_task(decoding.decode_task(TASK))
    assert json.loads(json.dumps(row)) == {
        **TASK,
        "createdAt": "2026-09-01T12:00:00.123000+00:00",
        "completedAt": "2026-09-01T12:03:00+00:00",
    }
    assert decoding.encode_task(TaskDetails(id="x", status=TaskStatus.PROGRESS)) == {
        "id": "x",
        "status": "PROGRESS",
        "input": {},
    }


def test_the_price_of_another_model_is_not_taken_for_the_price() -> None:
    """A cache or a gateway may mix answers up, and money is spent by this one."""
    decode = decoding.decode_quote_for("t2v")
    assert decode({"credits": 8}).model == "t2v"
    assert decode({"model": "T2V", "credits": 8}).credits == 8
    with pytest.raises(decoding.MalformedAnswer, match="the price of another model"):
        decode({"model": "seedance20", "credits": 8})
