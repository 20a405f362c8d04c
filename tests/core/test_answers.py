from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import Account, Quote, SubmittedTask, TaskDetails, TaskOutput, TaskStatus
from aivideomaker_async._core import answers
from aivideomaker_async._core.answers import MalformedAnswer
from tests.core.pictures import PNG, data_uri

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
    assert answers.submitted(read(SUBMITTED)) == SubmittedTask(
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
    assert answers.submitted({"taskId": "x"}) == SubmittedTask(task_id="x", status=TaskStatus.SUBMITTED)


def test_a_task_is_read() -> None:
    """Every field of the 2026-09 revision; times are aware and in UTC."""
    assert answers.task(read(TASK)) == TaskDetails(
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


def test_a_task_of_the_older_revision_is_read() -> None:
    """What it does not tell is None."""
    row = {"id": "ck1", "createdAt": None, "model": "lv", "input": None, "output": None, "status": "PROGRESS"}
    assert answers.task(read({**row, "completedAt": None})) == TaskDetails(
        id="ck1", status=TaskStatus.PROGRESS, model="lv"
    )


def test_a_quote_is_read() -> None:
    """Every field of the 2026-09 revision."""
    assert answers.quote(read(QUOTE)) == Quote(
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
    assert answers.account(read(ACCOUNT)) == Account(
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
    assert answers.status(read({"status": str(status)})) == status
    assert answers.cancelled(read({"status": str(status), "taskId": "x"})) == status


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
    assert answers.task({"id": "x", "status": "COMPLETED", "output": output}).output == expected


@pytest.mark.parametrize(("wire", "expected"), [("tv_1", "tv_1"), (17, "17"), ("17", "17"), ("⚡", "⚡")])
def test_an_id_is_opaque(wire: object, expected: str) -> None:
    """A server that writes numbers means the same."""
    assert answers.task({"id": wire, "status": "PROGRESS"}).id == expected


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
    created_at = answers.task({"id": "x", "status": "PROGRESS", "createdAt": wire}).created_at
    assert created_at == expected
    assert created_at.tzinfo is UTC


def test_fields_that_this_version_does_not_know_are_kept() -> None:
    """Under their wire names, in every value, also when they are null or called `extra`."""
    new = {"queuePosition": 3, "eta": None, "extra": {"a": 1}}
    reads: list[tuple[Callable[[Answer], Any], Answer]] = [
        (answers.submitted, SUBMITTED),
        (answers.task, TASK),
        (answers.quote, QUOTE),
    ]
    for parse, answer in reads:
        assert parse({**answer, **new}).extra == new
    assert answers.account({**ACCOUNT, **new}).extra == {**new, "ok": True}
    task = answers.task({**TASK, "output": {"url": "https://a", **new}})
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
    usual = answers.task(TASK)
    task = answers.task({**TASK, name: value})
    assert task.extra == {name: value}
    missing = answers.task({key: item for key, item in TASK.items() if key != name})
    assert (task.id, task.status) == (usual.id, usual.status)
    assert {slot: getattr(task, slot) for slot in ("model", "input", "output", "created_at", "credits_charged")} == {
        slot: getattr(missing, slot) for slot in ("model", "input", "output", "created_at", "credits_charged")
    }


@pytest.mark.parametrize(
    ("parse", "answer", "name", "value"),
    [
        (answers.submitted, SUBMITTED, "status", 7),
        (answers.submitted, SUBMITTED, "idempotentReplay", "no"),
        (answers.quote, QUOTE, "affordable", 1),
        (answers.quote, QUOTE, "listPriceUsd", "0.15"),
        (answers.account, {**ACCOUNT, "ok": None}, "supportedModels", "t2v"),
        (answers.account, {**ACCOUNT, "ok": None}, "supportedModels", ["t2v", 5]),
        (answers.account, {**ACCOUNT, "ok": None}, "dailyCreditLimit", "unlimited"),
    ],
)
def test_odd_fields_of_the_other_answers_are_kept_too(
    parse: Callable[[Answer], Any], answer: Answer, name: str, value: object
) -> None:
    """The same holds for every value."""
    assert parse({**answer, name: value}).extra[name] == value


def test_whole_numbers_may_be_written_as_floats() -> None:
    """15.0 is 15."""
    charged = answers.task({**TASK, "creditsCharged": 15.0}).credits_charged
    assert charged == 15
    assert isinstance(charged, int)


# --- the list ----------------------------------------------------------------------------------------


def test_the_rows_of_the_list_are_left_as_they_are() -> None:
    """In their order; whoever takes them decides what is a task."""
    rows = [{"id": "b", "status": "PROGRESS"}, None, {"id": "a"}, "row"]
    assert answers.rows({"tasks": rows}) == rows
    assert answers.rows({"tasks": []}) == []


# --- what cannot be understood -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parse", "answer", "place"),
    [
        (answers.submitted, {}, r"required field missing @ \$\.taskId"),
        (answers.submitted, {"taskId": ""}, r"expected an id @ \$\.taskId: ''"),
        (answers.submitted, {"taskId": True}, r"expected a text @ \$\.taskId: True"),
        # A handle of no task would be worse than none: the list tells which ids are numbers.
        (answers.submitted, {"taskId": 7}, r"expected a text @ \$\.taskId: 7"),
        (answers.task, {"id": "x"}, r"required field missing @ \$\.status"),
        (answers.task, {"id": "x", "status": None}, r"expected a status @ \$\.status: None"),
        (answers.task, {"id": "x", "status": ""}, r"expected a status @ \$\.status"),
        (answers.rows, {}, r"expected a list of tasks @ \$\.tasks"),
        (answers.rows, {"tasks": {"a": 1}}, r"expected a list of tasks @ \$\.tasks"),
        (lambda row: answers.task_at(row, "$.tasks[3]"), {"status": "X"}, r"missing @ \$\.tasks\[3\]\.id"),
        (answers.status, {"state": "PROGRESS"}, r"required field missing @ \$\.status"),
        (answers.cancelled, {"status": 7}, r"expected a status @ \$\.status: 7"),
        (answers.quote, {"model": "t2v"}, r"required field missing @ \$\.credits"),
        (answers.quote, {"model": "t2v", "credits": 1.5}, r"expected a whole number @ \$\.credits: 1.5"),
        (answers.quote, {"model": "t2v", "credits": float("nan")}, r"expected a number @ \$\.credits"),
        (answers.quote, {"model": "t2v", "credits": 10**400}, r"@ \$\.credits"),
        (answers.quote, {"model": 5, "credits": 1}, r"expected a text @ \$\.model: 5"),
        (answers.account, {"currentBalance": "415"}, r"expected a number @ \$\.currentBalance: '415'"),
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
        lambda: answers.status({"status": [uri]}),
        lambda: answers.quote({"model": "t2v", "credits": uri}),
        lambda: answers.task_at(uri, "$.tasks[0]"),
        lambda: answers.rows({"tasks": {"image": uri}}),
        lambda: answers.account({"currentBalance": {"deep": [{"image": uri}]}}),
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
        for parse in (answers.rows, answers.status, answers.account):
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
    answers.submitted,
    answers.task,
    answers.status,
    answers.cancelled,
    answers.quote,
    answers.account,
]


@given(strange, st.sampled_from(READERS))
@settings(max_examples=300, deadline=None)
def test_any_object_is_a_value_or_malformed(answer: Answer, parse: Callable[[Answer], object]) -> None:
    """Never another error, and never an image in its text."""
    try:
        value = parse(answer)
    except MalformedAnswer as error:
        assert "iVBOR" not in str(error)
        assert len(str(error)) < 200
    else:
        assert "iVBOR" not in repr(value)


@given(strange, st.sampled_from([(answers.submitted, SUBMITTED), (answers.task, TASK), (answers.quote, QUOTE)]))
@settings(max_examples=150, deadline=None)
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
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_an_object_or_malformed(body: bytes) -> None:
    """Whatever a proxy makes of an answer."""
    with suppress(MalformedAnswer):
        assert isinstance(answers.json_object(body), dict)


# --- back to the wire --------------------------------------------------------------------------------


@given(strange)
@settings(max_examples=300, deadline=None)
def test_a_row_of_a_task_is_read_as_the_same_task(odd: Answer) -> None:
    """Whatever the service has told, with all that this version does not understand."""
    details = answers.task({**odd, "id": "tv_1", "status": "PROGRESS"})
    assert answers.task(answers.task_row(details)) == details
    full = answers.task({**TASK, **odd, "id": "tv_1", "status": "COMPLETED"})
    assert answers.task(answers.task_row(full)) == full


def test_a_row_is_what_the_service_would_have_sent() -> None:
    """Under its names, and ready to be JSON."""
    row = answers.task_row(answers.task(TASK))
    assert json.loads(json.dumps(row)) == {
        **TASK,
        "createdAt": "2026-09-01T12:00:00.123000+00:00",
        "completedAt": "2026-09-01T12:03:00+00:00",
    }
    assert answers.task_row(TaskDetails(id="x", status=TaskStatus.PROGRESS)) == {
        "id": "x",
        "status": "PROGRESS",
        "input": {},
    }
