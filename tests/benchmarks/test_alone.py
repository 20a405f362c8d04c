"""Waiting for one task at a time is measured with few tasks; what it measures is not judged here."""

from __future__ import annotations

from benchmarks import alone
from benchmarks.alone import Extent
from benchmarks.runs import Run


def test_the_first_tasks_stand_apart_from_those_after_them() -> None:
    """A line for each contender and each kind of task."""
    found = alone.measure(Extent(tasks=3, runs=2, fresh=2, learned=1, history=4))
    assert [(line.contender, line.tasks) for line in found] == [
        (name, tasks) for tasks in (2, 4, 2) for name in alone.CONTENDERS
    ]
    for line in found:
        assert 0 <= line.mean_delay <= line.max_delay
        assert line.requests_per_task >= 1
    assert "4 old ones listed" in str(alone.report(found))


def test_queries_belong_to_the_task_that_they_were_made_for() -> None:
    """Tasks follow each other, and so do their queries."""
    run = Run(delays=(1, 1, 1), seconds=9, queries=20, refused=0, worst_window=9, queries_then=(8, 11, 20))
    lines = [alone._line("", "", [run], part) for part in (slice(0, 1), slice(1, None), slice(0, None))]
    assert [line.requests_per_task for line in lines] == [8, 6, 20 / 3]
