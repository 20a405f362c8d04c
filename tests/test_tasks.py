from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Mapping
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
)
from aivideomaker_async.tasks import SEGMENT_S, video_seconds
from tests.support.pictures import PNG, data_uri

URI = data_uri(PNG * 10)
SIGNED = "https://cdn.example/v.mp4?signature=SECRET"
HOOK = "https://me.example/hooks/SECRET"
QUOTED = f"ak_SECRET0123456789 cannot load {SIGNED} nor tell {HOOK}"
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
    # A service that echoes what it was sent.
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
def test_a_status_is_its_wire_text(wire: str) -> None:
    """It equals it, prints as it, hashes as it and is written as it."""
    status = TaskStatus(wire)
    assert status is TaskStatus[wire]
    assert status == wire
    assert wire == status
    assert str(status) == f"{status}" == wire
    assert {wire: 1}[status] == 1
    assert json.dumps([status]) == f'["{wire}"]'
    assert status.is_known


def test_the_set_of_statuses_is_closed_for_those_who_list_it() -> None:
    """The five documented ones."""
    assert [str(status) for status in TaskStatus] == ["SUBMITTED", "PROGRESS", "COMPLETED", "FAILED", "CANCEL"]
    assert {status for status in TaskStatus if status.is_terminal} == {"COMPLETED", "FAILED", "CANCEL"}


@given(st.text(max_size=20).filter(lambda text: text not in TaskStatus.__members__))
def test_an_unknown_status_is_a_status_like_any_other(wire: str) -> None:
    """It compares, prints, hashes, copies and pickles; it is never terminal, and fills no table."""
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
def test_what_is_no_text_is_no_status(value: object) -> None:
    """As with any enumeration."""
    with pytest.raises(ValueError, match="is not a valid TaskStatus"):
        TaskStatus(value)  # type: ignore[arg-type]


# --- answers -----------------------------------------------------------------------------------------


@values
def test_a_value_does_not_change(value: Any) -> None:
    """No field can be set."""
    for field in attrs.fields(type(value)):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(value, field.name, None)


@values
def test_a_value_survives_pickle_and_copy(value: Any) -> None:
    """On its way to another process."""
    for twin in (pickle.loads(pickle.dumps(value)), copy.copy(value), copy.deepcopy(value)):  # noqa: S301
        assert twin == value


@values
def test_equal_values_can_stand_for_each_other_in_sets(value: Any) -> None:
    """Also those that carry mappings of the wire."""
    assert len({value, copy.deepcopy(value)}) == 1


@values
def test_a_value_shows_nothing_private(value: Any) -> None:
    """In its repr, which ends up in logs."""
    assert "iVBOR" not in repr(value)
    assert "SECRET" not in repr(value)


@values
def test_a_value_is_made_by_names(value: Any) -> None:
    """A field that a later version adds changes no meaning."""
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
def test_a_task_tells_its_url_and_its_failure(output: TaskOutput | None, url: str | None, failure: str | None) -> None:
    """Where the output has them."""
    details = TaskDetails(id="x", status=TaskStatus.FAILED, output=output)
    assert (details.url, details.failure) == (url, failure)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({}, None),
        ({"duration": "5"}, 5),
        ({"duration": "10", "prompt": "A cat"}, 10),
        ({"duration": 8}, 8),
        ({"duration": 8.0}, 8),
        ({"duration": "8s"}, None),
        ({"duration": "-5"}, None),
        ({"duration": "٣"}, None),
        ({"duration": "²"}, None),
        ({"duration": "9" * 5000}, None),
        ({"duration": ""}, None),
        ({"duration": True}, None),
        ({"duration": nan}, None),
        ({"duration": inf}, None),
        ({"duration": 10**400}, None),
        ({"duration": -1}, None),
        ({"duration": 0}, None),
        ({"duration": [5]}, None),
        ({"prompt": "A cat"}, None),
        ({"prompt": []}, None),
        ({"prompt": ["A cat", "A dog"]}, 2 * SEGMENT_S),
        ({"prompt": ("A cat", "A dog", "A cow")}, 3 * SEGMENT_S),
        ({"prompt": ["A cat"], "duration": None}, SEGMENT_S),
    ],
)
def test_the_length_of_a_video_is_read_from_its_request(body: Mapping[str, object], seconds: int | None) -> None:
    """Numbers come as texts, and a list of prompts is as many segments; anything else says nothing."""
    assert video_seconds(body) == seconds
