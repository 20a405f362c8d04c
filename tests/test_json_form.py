"""Values as plain JSON and back: the form is pinned here, field by field, since others store it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import (
    Account,
    CancelResult,
    Eta,
    Intent,
    Quote,
    StatusChange,
    SubmittedTask,
    TaskDetails,
    TaskOutput,
    TaskStatus,
    Video,
)
from aivideomaker_async.tasks import JSONForm, SubmitTrace
from tests.support.prying import assert_hidden, chain

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 9, 1, 16, 0, 1, 500, tzinfo=timezone(timedelta(hours=4)))
SIGNED = "https://cdn.example/v.mp4?signature=SECRETSECRETSECRET"

DETAILS = TaskDetails(
    id="tv_1",
    status=TaskStatus.COMPLETED,
    model="t2v",
    input={"prompt": "A cat", "duration": "5"},
    output=TaskOutput(url=SIGNED, message="kept", extra={"width": 1280}),
    created_at=NOON,
    completed_at=LATER,
    credits_charged=15,
    extra={"odd": [None, 1.5]},
)
DETAILS_FORM: dict[str, Any] = {
    "task_id": "tv_1",
    "status": "COMPLETED",
    "model": "t2v",
    "input": {"prompt": "A cat", "duration": "5"},
    "output": {"url": SIGNED, "message": "kept", "error": None, "extra": {"width": 1280}},
    "created_at": "2026-09-01T12:00:00Z",
    "completed_at": "2026-09-01T12:00:01.000500Z",
    "credits_charged": 15,
    "credits_refunded": None,
    "list_value_cents": None,
    "idempotency_key": None,
    "extra": {"odd": [None, 1.5]},
}
ETA_FORM = {"at": "2026-09-01T12:00:00Z", "earliest": "2026-09-01T12:00:00Z", "latest": "2026-09-01T12:00:01.000500Z"}

SENT = SubmitTrace(
    model="t2v",
    fields={"prompt": "A cat"},
    uploads={"image": b"\1\2"},
    sent_at=5.5,
    lost_at=6.5,
    is_time_known=True,
    may_still_arrive=False,
    assigned=("tv_0",),
)

FORMS: list[tuple[JSONForm, dict[str, Any]]] = [
    (DETAILS, DETAILS_FORM),
    (
        Video.of(DETAILS, allow_private=True),
        {"task_id": "tv_1", "url": SIGNED, "details": DETAILS_FORM, "expires_at": "2026-09-02T12:00:01.000500Z"},
    ),
    (
        StatusChange(
            task_id="tv_1",
            status=TaskStatus("QUEUED"),
            previous=TaskStatus.SUBMITTED,
            at=NOON,
            eta=Eta(at=NOON, earliest=NOON, latest=LATER, samples=7),
        ),
        {
            "task_id": "tv_1",
            "status": "QUEUED",
            "previous": "SUBMITTED",
            "at": "2026-09-01T12:00:00Z",
            "eta": {**ETA_FORM, "samples": 7},
        },
    ),
    (Eta(at=NOON, earliest=NOON, latest=LATER, samples=7), {**ETA_FORM, "samples": 7}),
    (TaskOutput(error="blocked"), {"url": None, "message": None, "error": "blocked", "extra": {}}),
    (
        SubmittedTask(task_id="tv_1", status=TaskStatus.SUBMITTED, status_url="https://a.example/s"),
        {
            "task_id": "tv_1",
            "status": "SUBMITTED",
            "response_url": None,
            "status_url": "https://a.example/s",
            "cancel_url": None,
            "credits_charged": None,
            "idempotent_replay": None,
            "extra": {},
        },
    ),
    (
        CancelResult(task_id="tv_1", cancelled=False, status=TaskStatus.PROGRESS),
        {"task_id": "tv_1", "cancelled": False, "status": "PROGRESS"},
    ),
    (
        Quote(model="t2v", credits=15, usd_per_credit=0.01, affordable=True),
        {
            "model": "t2v",
            "credits": 15,
            "list_price_usd": None,
            "usd_per_credit": 0.01,
            "balance": None,
            "affordable": True,
            "billable": None,
            "extra": {},
        },
    ),
    (
        Account(current_balance=415, supported_models=("t2v", "i2v"), api_version="v1", extra={"ok": True}),
        {
            "balance": 415,
            "supported_models": ["t2v", "i2v"],
            "daily_credit_limit": None,
            "generation_requests_per_minute": None,
            "credit_warning_at": None,
            "api_version": "v1",
            "skill_version": None,
            "extra": {"ok": True},
        },
    ),
    (
        Intent(model="t2v", idempotency_key="order-42", made_at=NOON, made_by="1f-7", trace=SENT),
        {
            "model": "t2v",
            "idempotency_key": "order-42",
            "made_at": "2026-09-01T12:00:00Z",
            "made_by": "1f-7",
            "trace": {
                "model": "t2v",
                "fields": {"prompt": "A cat"},
                "uploads": {"image": "0102"},
                "sent_at": 5.5,
                "lost_at": 6.5,
                "is_time_known": True,
                "may_still_arrive": False,
                "assigned": ["tv_0"],
            },
        },
    ),
]
forms = pytest.mark.parametrize(("value", "form"), FORMS, ids=lambda item: type(item).__name__)


@forms
def test_the_form_of_a_value_is_stable(value: JSONForm, form: dict[str, Any]) -> None:
    """People store it: a field may be added here, and none may be renamed or removed."""
    assert value.to_dict() == form
    assert list(value.to_dict()) == list(form)


@forms
def test_a_value_is_restored_from_its_form(value: JSONForm, form: dict[str, Any]) -> None:
    """Also from that of a later version, which has more fields, also further in."""

    def later(part: Any) -> Any:
        return {**{name: later(item) for name, item in part.items()}, "added": [1]} if isinstance(part, dict) else part

    assert type(value).from_dict(form) == value
    assert type(value).from_dict({**form, "added": [1]}) == value
    if isinstance(value, Video):
        details = {**DETAILS_FORM, "output": later(DETAILS_FORM["output"]), "added": {}}
        assert Video.from_dict({**form, "details": details}).details.url == SIGNED


def test_what_is_missing_has_its_default() -> None:
    """As in the form of an earlier version."""
    assert TaskDetails.from_dict({"task_id": "x", "status": "FAILED"}) == TaskDetails(id="x", status=TaskStatus.FAILED)


def test_numbers_that_json_lacks_are_null() -> None:
    """`json.dumps` would write what no other program and no database reads."""
    details = TaskDetails(id="x", status=TaskStatus.FAILED, extra={"odd": [nan, {"deep": -inf}]})
    assert details.to_dict()["extra"] == {"odd": [None, {"deep": None}]}


def test_other_objects_are_their_texts() -> None:
    """A value that was made by hand may hold a path."""
    details = TaskDetails(id="x", status=TaskStatus.FAILED, input={"images": (PurePosixPath("a/b.png"),)})
    assert details.to_dict()["input"] == {"images": ["a/b.png"]}


def test_a_form_is_a_copy() -> None:
    """A caller who changes it does not change the value."""
    details = TaskDetails(id="x", status=TaskStatus.FAILED, input={"prompt": ["A cat"]})
    form: dict[str, Any] = details.to_dict()
    form["input"]["prompt"].append("A dog")
    assert details.input == {"prompt": ["A cat"]}


def test_a_video_leaves_in_its_process_what_its_client_gave_to_it() -> None:
    """The form may come back from anybody, and must not open the private network to them."""
    video = Video.from_dict(Video.of(DETAILS, allow_private=True).to_dict())
    assert not video._ties.allow_private


# --- any value ---------------------------------------------------------------------------------------

TEXTS = st.text(max_size=8)
STATUSES = st.sampled_from(TaskStatus) | st.builds(TaskStatus, TEXTS)
ZONES = st.builds(timezone, st.timedeltas(timedelta(hours=-14), timedelta(hours=14)))
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001  (the strategy adds it)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers()
WIRE = st.recursive(
    st.none() | st.booleans() | COUNTS | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, WIRE, max_size=3)


def any_of(kind: type[JSONForm], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[JSONForm]:
    return st.builds(kind, **fields)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


OUTPUTS = any_of(TaskOutput, url=maybe(TEXTS), message=maybe(TEXTS), error=maybe(TEXTS), extra=OBJECTS)
TASKS = any_of(
    TaskDetails,
    id=TEXTS,
    status=STATUSES,
    model=maybe(TEXTS),
    input=OBJECTS,
    output=maybe(OUTPUTS),
    created_at=maybe(MOMENTS),
    completed_at=maybe(MOMENTS),
    credits_charged=maybe(COUNTS),
    credits_refunded=maybe(COUNTS),
    list_value_cents=maybe(COUNTS),
    idempotency_key=maybe(TEXTS),
    extra=OBJECTS,
)
ETAS = any_of(Eta, at=MOMENTS, earliest=MOMENTS, latest=MOMENTS, samples=COUNTS)
TRACES = any_of(
    SubmitTrace,
    model=TEXTS,
    fields=OBJECTS,
    uploads=st.dictionaries(TEXTS, st.binary(max_size=4), max_size=3),
    sent_at=NUMBERS,
    lost_at=NUMBERS,
    is_time_known=st.booleans(),
    may_still_arrive=st.booleans(),
    assigned=st.lists(TEXTS, max_size=3).map(tuple),
)
VALUES = st.one_of(
    OUTPUTS,
    TASKS,
    ETAS,
    TRACES,
    any_of(Video, id=TEXTS, url=TEXTS, details=TASKS, expires_at=MOMENTS),
    any_of(StatusChange, task_id=TEXTS, status=STATUSES, previous=maybe(STATUSES), at=MOMENTS, eta=maybe(ETAS)),
    any_of(
        SubmittedTask,
        task_id=TEXTS,
        status=STATUSES,
        response_url=maybe(TEXTS),
        status_url=maybe(TEXTS),
        cancel_url=maybe(TEXTS),
        credits_charged=maybe(COUNTS),
        idempotent_replay=maybe(st.booleans()),
        extra=OBJECTS,
    ),
    any_of(CancelResult, task_id=TEXTS, cancelled=st.booleans(), status=STATUSES),
    any_of(
        Quote,
        model=TEXTS,
        credits=COUNTS,
        list_price_usd=maybe(NUMBERS | COUNTS),
        usd_per_credit=maybe(NUMBERS),
        current_balance=maybe(COUNTS),
        affordable=maybe(st.booleans()),
        billable=maybe(st.booleans()),
        extra=OBJECTS,
    ),
    any_of(
        Account,
        current_balance=COUNTS,
        supported_models=st.lists(TEXTS, max_size=3).map(tuple),
        daily_credit_limit=maybe(COUNTS),
        generation_requests_per_minute=maybe(COUNTS),
        credit_warning_at=maybe(COUNTS),
        api_version=maybe(TEXTS),
        skill_version=maybe(TEXTS),
        extra=OBJECTS,
    ),
    st.builds(
        Intent,
        model=TEXTS,
        idempotency_key=TEXTS,
        made_at=MOMENTS,
        made_by=TEXTS,
        trace=st.builds(
            SubmitTrace,
            model=TEXTS,
            fields=OBJECTS,
            uploads=st.dictionaries(TEXTS, st.binary(max_size=4), max_size=2),
            sent_at=NUMBERS,
            lost_at=NUMBERS,
            is_time_known=st.booleans(),
            may_still_arrive=st.booleans(),
            assigned=st.lists(TEXTS, max_size=3).map(tuple),
        ),
    ),
)


@given(VALUES)
def test_any_value_survives_the_way_through_json(value: JSONForm) -> None:
    assert type(value).from_dict(json.loads(json.dumps(value.to_dict(), allow_nan=False))) == value


def test_every_value_with_a_form_is_among_these() -> None:
    kinds = {kind for kind in JSONForm.__subclasses__() if kind.__module__.startswith("aivideomaker_async.")}
    assert {type(value) for value, _ in FORMS} == kinds - {SubmitTrace}


# --- wrong data --------------------------------------------------------------------------------------

MOMENT = "must be a moment in ISO 8601 with its offset, such as 2026-09-01T12:00:00Z"
CHANGE: dict[str, Any] = {"task_id": "x", "status": "FAILED", "previous": None, "at": "2026-09-01T12:00:00Z"}
TRACE: dict[str, Any] = {
    "model": "t2v",
    "fields": {},
    "uploads": {},
    "sent_at": 1,
    "lost_at": 2.5,
    "is_time_known": True,
    "may_still_arrive": False,
}


WRONG: list[tuple[type[JSONForm], Any, str]] = [
    (Account, "text", "data='text': must be an object"),
    (Account, None, "data=None: must be an object"),
    (Account, {}, "balance is missing"),
    (Account, {"balance": "5"}, "balance='5': must be a whole number"),
    (Account, {"balance": True}, "balance=True: must be a whole number"),
    (Account, {"balance": 5, "supported_models": "t2v"}, "supported_models='t2v': must be a list"),
    (Account, {"balance": 5, "supported_models": ["t2v", 5]}, "supported_models[1]=5: must be a text"),
    (Account, {"balance": 5, "extra": None}, "extra=None: must be an object"),
    (Account, {"balance": 5, "api_version": 1}, "api_version=1: must be a text or null"),
    (
        CancelResult,
        {"task_id": "x", "cancelled": 1, "status": 5},
        "cancelled=1: must be true or false; status=5: must be a status",
    ),
    (Quote, {"model": "t2v", "credits": 1, "usd_per_credit": "1"}, "usd_per_credit='1': must be a number or null"),
    *(
        (StatusChange, {**CHANGE, "at": odd}, f"at={odd!r}: {MOMENT}")
        for odd in ("soon", "2026-09-01", "2026-09-01T12:00:00", "0001-01-01T00:00:00+14:00", 5)
    ),
    (
        StatusChange,
        {**CHANGE, "eta": {"at": CHANGE["at"], "samples": 1.5}},
        "eta.earliest is missing; eta.latest is missing; eta.samples=1.5: must be a whole number",
    ),
    (
        Video,
        {"task_id": "x", "url": "u", "details": {"status": "FAILED", "output": {"url": 5}}},
        "details.task_id is missing; details.output.url=5: must be a text or null; expires_at is missing",
    ),
    (SubmitTrace, {**TRACE, "uploads": {"a": "xyz"}}, "uploads['a']='xyz': must be a digest in hexadecimal digits"),
    (SubmitTrace, {**TRACE, "uploads": []}, "uploads=[]: must be an object"),
]


@pytest.mark.parametrize(("kind", "data", "problems"), WRONG)
def test_wrong_data_is_refused_with_all_that_is_wrong(kind: type[JSONForm], data: Any, problems: str) -> None:
    """The field, its value, and what is allowed."""
    with pytest.raises(ValueError, match=f"^{re.escape(f'{kind.__name__}: {problems}')}$"):
        kind.from_dict(data)


def test_the_error_of_wrong_data_shows_no_secret() -> None:
    """The data may be a row with a signed address."""
    with pytest.raises(ValueError, match="TaskOutput") as caught:
        TaskOutput.from_dict({"url": [SIGNED], "message": "x", "extra": {}})
    assert_hidden("\n".join(str(one) for one in chain(caught.value)), "signature=SECRETSECRETSECRET")
    assert [*chain(caught.value)] == [caught.value]
