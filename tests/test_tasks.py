from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime
from math import inf, nan
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import (
    Account,
    CancelResult,
    Quote,
    StatusChange,
    SubmittedTask,
    TaskDetails,
    TaskOutput,
    TaskStatus,
    tasks,
)
from aivideomaker_async.tasks import SEGMENT_S, video_seconds
from tests.support.pictures import PNG, data_uri

URI = data_uri(PNG * 10)
SIGNED = "https://cdn.example/v.mp4?signature=SECRET"
HOOK = "https://me.example/hooks/SECRET"
QUOTED = f"ak_SECRET0123456789 cannot load {SIGNED} nor call {HOOK}"
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)

VALUES: list[Any] = [
    StatusChange(task_id="x", status=TaskStatus("QUEUED"), previous=None, at=NOW),
    TaskOutput(url=SIGNED, message="kept", extra={"a": [1]}),
    TaskDetails(
        id="x",
        status=TaskStatus.COMPLETED,
        input={"image": URI, "deep": [URI]},
        output=TaskOutput(url=SIGNED),
        created_at=NOW,
        extra={"thumb": URI},
    ),
    SubmittedTask(task_id="x", response_url=SIGNED, extra={"a": {"b": SIGNED}}),
    CancelResult(task_id="x", cancelled=False, status=TaskStatus.PROGRESS),
    Quote(model="t2v", credits=5, extra={"note": URI}),
    Account(current_balance=5, supported_models=("t2v",), extra={"ok": True}),
    # From a service that echoes what it was sent.
    StatusChange(task_id="x", status=TaskStatus(QUOTED), previous=None, at=NOW),
    TaskOutput(message=QUOTED, error=QUOTED, extra={"callback": {"to": HOOK}}),
    TaskDetails(id="x", status=TaskStatus.FAILED, input={"image": SIGNED, "webhookUrl": HOOK}, extra={"key": QUOTED}),
    SubmittedTask(task_id="x", status_url=HOOK, cancel_url=HOOK, response_url=HOOK, extra={"webhookUrl": HOOK}),
    Quote(model="t2v", credits=5, extra={"webhookUrl": HOOK, "note": QUOTED}),
    Account(current_balance=5, api_version=QUOTED, extra={"apiKey": "SECRET", "hooks": [HOOK]}),
]
values = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


# --- statuses ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", ["SUBMITTED", "PROGRESS", "COMPLETED", "FAILED", "CANCEL"])
def test_a_status_behaves_like_its_text_on_the_wire(wire: str) -> None:
    """It compares, prints, hashes and is encoded like it."""
    status = TaskStatus(wire)
    assert status is TaskStatus[wire]
    assert status == wire
    assert wire == status
    assert str(status) == f"{status}" == wire
    assert {wire: 1}[status] == 1
    assert json.dumps([status]) == f'["{wire}"]'
    assert status.is_known


def test_the_members_are_the_five_documented_statuses() -> None:
    assert [str(status) for status in TaskStatus] == ["SUBMITTED", "PROGRESS", "COMPLETED", "FAILED", "CANCEL"]
    assert {status for status in TaskStatus if status.is_terminal} == {"COMPLETED", "FAILED", "CANCEL"}


@given(st.text(max_size=20).filter(lambda text: text not in TaskStatus.__members__))
def test_an_unknown_status_is_a_status_like_any_other(wire: str) -> None:
    """It compares, prints, hashes, copies and pickles. It is never terminal, and is not added to the members."""
    status = TaskStatus(wire)
    assert status == wire == str(status) == status.value == status.name
    assert status == TaskStatus(wire)
    assert hash(status) == hash(wire)
    assert isinstance(status, TaskStatus)
    assert not status.is_known
    assert not status.is_terminal
    assert repr(wire) in repr(status)
    for twin in (copy.copy(status), copy.deepcopy(status), pickle.loads(pickle.dumps(status))):  # noqa: S301
        assert twin == status
        assert type(twin) is TaskStatus
    assert len(TaskStatus) == 5
    assert wire not in TaskStatus.__members__


@pytest.mark.parametrize("value", [None, 5, b"COMPLETED", ["COMPLETED"]])
def test_a_value_that_is_not_a_text_is_not_a_status(value: object) -> None:
    with pytest.raises(ValueError, match="is not a valid TaskStatus"):
        TaskStatus(value)  # type: ignore[arg-type]


# --- answers -----------------------------------------------------------------------------------------


@values
def test_no_field_of_a_value_can_be_set(value: Any) -> None:
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)


@values
def test_a_value_can_be_pickled_and_copied(value: Any) -> None:
    for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):  # noqa: S301
        assert twin == value


@values
def test_equal_values_have_equal_hashes(value: Any) -> None:
    """Also where they carry mappings, which have none."""
    assert len({value, copy.deepcopy(value)}) == 1


@values
def test_the_repr_of_a_value_shows_neither_image_nor_secret(value: Any) -> None:
    """It ends up in logs."""
    assert "iVBOR" not in repr(value)
    assert "SECRET" not in repr(value)


@values
def test_the_fields_of_a_value_are_passed_by_name(value: Any) -> None:
    """So that a field which a later version adds changes no meaning."""
    with pytest.raises(TypeError):
        type(value)("x", "y")


@pytest.mark.parametrize(
    ("output", "url", "failure"),
    [
        (None, None, None),
        (TaskOutput(), None, None),
        (TaskOutput(url="https://a", message="kept for 24 hours"), "https://a", "kept for 24 hours"),
        (TaskOutput(error="blocked", message="m"), None, "blocked"),
        (TaskOutput(error="", message="m"), None, "m"),
    ],
)
def test_a_task_has_the_url_or_the_failure_of_its_output(
    output: TaskOutput | None, url: str | None, failure: str | None
) -> None:
    details = TaskDetails(id="x", status=TaskStatus.FAILED, output=output)
    assert (details.url, details.failure) == (url, failure)


@pytest.mark.parametrize(
    ("status", "cancelled", "outcome"),
    [
        (TaskStatus.CANCEL, True, "cancelled"),
        (TaskStatus.PROGRESS, False, "too_late"),
        (TaskStatus("QUEUED"), False, "too_late"),
        (TaskStatus.COMPLETED, False, "finished"),
        (TaskStatus.FAILED, False, "finished"),
    ],
)
def test_the_outcome_of_a_cancel_follows_from_the_status(status: TaskStatus, cancelled: bool, outcome: str) -> None:
    assert CancelResult(task_id="x", cancelled=cancelled, status=status).outcome == outcome


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"duration": 5}, 5),
        ({"duration": "8"}, 8),
        ({"duration": 5.9}, 5),
        ({"duration": "10", "prompt": "A cat"}, 10),
        ({"prompt": ["A cat", "A dog"]}, 2 * SEGMENT_S),
        ({"prompt": ("A cat",), "duration": None}, SEGMENT_S),
        ({"duration": 5, "prompt": ["A cat", "A dog"]}, 5),
        ({}, None),
        ({"prompt": "A cat"}, None),
        ({"prompt": []}, None),
        *(({"duration": odd}, None) for odd in (0, -1, True, 1e6, nan, inf, 10**400, [5])),
        *(({"duration": odd}, None) for odd in ("", "8s", "-5", "٣", "²", "9" * 6, "9" * 5000)),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, int) else None,
)
def test_the_length_of_a_video_is_read_from_its_request(body: dict[str, object], seconds: int | None) -> None:
    """A list of prompts makes five seconds each."""
    assert video_seconds(body) == seconds


def test_the_package_of_values_lists_its_names_before_it_has_loaded_them() -> None:
    assert set(tasks.__all__) <= set(dir(tasks))
    with pytest.raises(AttributeError, match=r"'aivideomaker_async\.tasks' has no attribute 'Job'"):
        _ = tasks.Job  # type: ignore[attr-defined]
