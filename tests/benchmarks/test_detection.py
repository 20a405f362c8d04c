"""The detection benchmark runs, is repeatable, and compares what it says; speed is not judged here."""

from __future__ import annotations

import pytest

from benchmarks import detection
from benchmarks.contenders import BOUND, CONTENDERS, POLL_2, SDK, TASK_BY_TASK
from benchmarks.detection import Extent
from benchmarks.runs import TaskTimes, percentiles, run_once, task_times


def test_every_contender_waits_for_all_tasks_and_none_knows_before_the_server() -> None:
    """Each contender learns of each task, after it has ended."""
    found = detection.measure(Extent(runs={3: 1}, most_polled=3))
    assert [line.contender for line in found] == list(CONTENDERS)
    for line in found:
        assert line.queries >= 3 or line.contender in {SDK, BOUND}
        assert 0 <= line.min_delay <= line.mean_delay <= line.max_delay
        assert line.mean_delay <= line.p95_delay <= line.max_delay


@pytest.mark.parametrize("tasks", [1, 20])
def test_the_package_is_never_refused(tasks: int) -> None:
    """The package stays within 60 queries a minute, however many tasks wait."""
    run = run_once(CONTENDERS[SDK], tasks, seed=7)
    assert run.refused == 0
    assert run.worst_window <= 60
    assert min(run.delays) >= 0


def test_polling_by_each_task_is_refused_when_many_wait() -> None:
    """Otherwise the comparison would compare nothing."""
    run = run_once(CONTENDERS[POLL_2], 20, seed=7)
    assert run.refused > 0


def test_task_times_depend_on_the_seed_alone() -> None:
    """All contenders wait for the same tasks."""
    assert task_times(5, seed=1) == task_times(5, seed=1)
    assert task_times(5, seed=1) != task_times(5, seed=2)
    assert all(queue > 0 and work > 0 for queue, work in task_times(100, seed=3))
    times = TaskTimes(3, old=2)
    assert [times() for _ in range(4)][2:] == task_times(2, seed=3)


def test_storms_are_left_out() -> None:
    """Whoever asks task by task is not asked to wait for too many."""
    found = detection.measure(Extent(runs={1: 1, 2: 1}, most_polled=1))
    assert {line.contender for line in found if line.tasks == 1} == set(CONTENDERS)
    assert {line.contender for line in found if line.tasks == 2} == set(CONTENDERS) - TASK_BY_TASK


def test_tables_and_plots_tell_of_every_contender() -> None:
    """One plot for delays and one for queries; the distribution belongs to fifty tasks."""
    report = detection.report(detection.measure(Extent(runs={2: 1}, most_polled=2)))
    assert [plot.name for plot in report.plots] == ["detection-delay", "detection-queries"]
    assert all([series.label for series in plot.series] == list(CONTENDERS) for plot in report.plots)
    assert f"| 2 | {SDK} |" in str(report)


def test_percentiles_go_from_the_smallest_to_the_largest() -> None:
    """Also of a single value."""
    assert percentiles([7.0]) == (7.0,) * 101
    found = percentiles([float(number) for number in range(201)])
    assert (len(found), found[0], found[50], found[95], found[100]) == (101, 0, 100, 190, 200)
