"""Processes that share a limit run with the smallest of parameters; what they measure is not judged here."""

from __future__ import annotations

import pytest

from benchmarks import processes
from benchmarks.processes import Extent, Form
from benchmarks.worker import Work, read, workers


def test_processes_wait_for_their_own_tasks_in_one_time() -> None:
    """Nobody knows of a task before it has ended, although the clocks are those of several processes."""
    form = Form(processes=2, tasks=2, limiting="of the host", speed=20, between=(5.0, 10.0))
    (line,) = processes.measure(Extent(forms=(form,)))
    assert (line.processes, line.tasks, line.refused) == (2, 4, 0)
    assert 0 <= line.mean_delay <= line.p95_delay <= line.max_delay
    assert line.lag >= 0
    assert "| 2 | 4 | of the host | 20 |" in str(processes.report([line]))


def test_what_a_worker_tells_is_read() -> None:
    """Also when it was killed before it had done anything."""
    lines = ['["began", 3.0, ""]', '["poll", 4.0, ""]', '["known", 5.0, "ck1"]', '["lag", 0.5, ""]']
    told = read(lines)
    assert (told.known, told.polls, told.began, told.lag) == ({"ck1": 5.0}, [4.0], 3.0, 0.5)
    assert read([]).known == {}


def test_a_worker_that_fails_is_told_of() -> None:
    """A figure without all its tasks would be none."""
    work = Work(url="http://127.0.0.1:1", key="", tasks=1, limiting="of the process")
    with workers(work, 1) as started, pytest.raises(RuntimeError, match="a worker failed"):
        started[0].finish()
