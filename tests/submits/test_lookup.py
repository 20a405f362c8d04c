"""The rows of the task list that are kept for lost submits, as they arrive."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from aivideomaker_async._submits.lookup import _LostSubmitRows
from aivideomaker_async._submits.reconcile import RowFilter
from tests.support.lists import body_of, read

T0, T90 = "2026-03-19T08:00:00.000Z", "2026-03-19T08:01:30.000Z"


def rows_of(*rows: Any, models: tuple[str, ...] = ()) -> _LostSubmitRows:
    reader = _LostSubmitRows(RowFilter(models=models, keys=(), task_ids=()))
    read(reader, body_of(*rows))
    return reader


def test_only_rows_that_are_needed_are_decoded() -> None:
    """One that cannot be decoded is counted, since it may be any task."""
    rows = [{"id": "ck1", "model": "t2v", "status": "SUBMITTED"}, {"id": "ck2", "model": "i2v", "status": "x"}]
    reader = rows_of(*rows, {"model": "t2v"}, None, {"model": "i2v"}, models=("t2v",))
    assert [task.id for task in reader.tasks] == ["ck1"]
    assert (reader.unreadable, reader.rows_read) == (2, 5)


@pytest.mark.parametrize(
    ("created", "oldest"),
    [
        ([T90, None, T0], T0),
        ([T0, T90], T0),
        ([T0], T0),
        (["yesterday", T90], T90),
        ([None, None], None),
        ([], None),
        (["0001-01-01T00:00:00+14:00", T0], T0),
    ],
)
def test_the_age_of_a_list_is_that_of_its_ends(created: list[object], oldest: str | None) -> None:
    """Also of rows that are not needed."""
    reader = rows_of(*({"id": f"ck{number}", "model": "t2v", "createdAt": at} for number, at in enumerate(created)))
    expected = None if oldest is None else datetime.fromisoformat(oldest).timestamp()
    assert (reader.tasks, reader.oldest_at) == ([], expected)
