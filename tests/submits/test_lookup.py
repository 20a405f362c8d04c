"""The rows of the task list that are kept for lost submits, as they arrive."""

from __future__ import annotations

from datetime import datetime
from math import inf
from typing import Any

import pytest

from aivideomaker_async._submits import lookup
from aivideomaker_async._submits.lookup import _LostSubmitRows
from aivideomaker_async._submits.reconcile import RowFilter
from tests.support.lists import body_of, read

T0, T90 = "2026-03-19T08:00:00.000Z", "2026-03-19T08:01:30.000Z"


def rows_of(*rows: Any, models: tuple[str, ...] = (), since: float = inf) -> _LostSubmitRows:
    reader = _LostSubmitRows(RowFilter(models=models, keys=(), task_ids=(), since=since))
    read(reader, body_of(*rows))
    return reader


def test_only_rows_that_are_needed_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be decoded is counted, since it may be any task. A new task is needed whatever its model is."""
    monkeypatch.setattr(lookup, "NEWEST_ROWS", 1)
    rows = [
        {"id": "ck0", "model": "i2v", "status": "x", "createdAt": T0},
        {"id": "ck1", "model": "t2v", "status": "SUBMITTED", "createdAt": T0},
        {"id": "ck2", "model": "i2v", "status": "x", "createdAt": T0},
        {"id": "ck3", "model": "i2v", "status": "x", "createdAt": T90},
    ]
    old = {"model": "i2v", "createdAt": T0}
    reader = rows_of(*rows, {"model": "t2v"}, None, old, models=("t2v",), since=datetime.fromisoformat(T90).timestamp())
    assert [task.id for task in reader.tasks] == ["ck0", "ck1", "ck3"]
    assert (reader.unreadable, reader.rows_read) == (2, 7)


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
def test_the_age_of_a_list_is_that_of_its_ends(
    created: list[object], oldest: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of rows that are not needed."""
    monkeypatch.setattr(lookup, "NEWEST_ROWS", 0)
    reader = rows_of(*({"id": f"ck{number}", "model": "t2v", "createdAt": at} for number, at in enumerate(created)))
    expected = None if oldest is None else datetime.fromisoformat(oldest).timestamp()
    assert reader.oldest_at == expected
