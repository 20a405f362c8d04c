"""The detection benchmark runs, is repeatable, and compares what it says; speed is not judged here."""

from __future__ import annotations

import pytest

from benchmarks import detection
from benchmarks.contenders import BOUND, CONTENDERS, SDK


def test_every_contender_waits_for_all_tasks_and_none_knows_before_the_server() -> None:
    """Each contender learns of each task, after it has ended."""
    found = detection.measure({3: 1})
    assert [line.contender for line in found] == list(CONTENDERS)
    for line in found:
        assert line.queries >= 3 or line.contender in {SDK, BOUND}
        assert 0 <= line.min_delay <= line.mean_delay <= line.max_delay
        assert line.mean_delay <= line.p95_delay <= line.max_delay


@pytest.mark.parametrize("tasks", [1, 20])
def test_the_package_is_never_refused(tasks: int) -> None:
    """The package stays within 60 queries a minute, however many tasks wait."""
    run = detection.run_once(CONTENDERS[SDK], tasks, seed=7)
    assert run.refused == 0
    assert run.worst_window <= 60
    assert min(run.delays) >= 0


def test_polling_by_each_task_is_refused_when_many_wait() -> None:
    """Otherwise the comparison would compare nothing."""
    run = detection.run_once(CONTENDERS["each polls, 2 s"], 20, seed=7)
    assert run.refused > 0


def test_task_times_depend_on_the_seed_alone() -> None:
    """All contenders wait for the same tasks."""
    assert detection.task_times(5, seed=1) == detection.task_times(5, seed=1)
    assert detection.task_times(5, seed=1) != detection.task_times(5, seed=2)
    assert all(queue > 0 and work > 0 for queue, work in detection.task_times(100, seed=3))
