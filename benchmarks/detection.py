"""How soon a waiter knows that its task has ended, and what that costs in queries.

An ended task is known late by the time until the next poll, and polls are scarce: 60 a minute for one address. All
contenders wait for the same tasks, over real HTTP on loopback, against the simulator, in virtual time. So a run of many
minutes takes a second, and gives the same figures on every machine; a network would add its own delay to all of them.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import fmean, quantiles
from typing import Final

from attrs import frozen

from aivideomaker_async.simulator import Simulator
from tests.support.virtual_clock import VirtualClockLoop

from .contenders import CONTENDERS, Contender, Job
from .report import Table

__all__ = ["FULL", "SHORT", "Detection", "measure", "table"]

MEDIAN_SECONDS: Final = 90.0
SIGMA: Final = 0.5
QUEUE_SHARE: Final = 0.15
"""The share of a task's time that it spends in SUBMITTED."""

FULL: Final[Mapping[int, int]] = {1: 60, 10: 12, 50: 6}
"""Runs for each number of tasks that wait at once."""

SHORT: Final[Mapping[int, int]] = {1: 6, 10: 2, 50: 1}

_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


@frozen(kw_only=True)
class Run:
    """What one contender did in one run."""

    delays: tuple[float, ...]
    """Seconds between the end of each task at the server and the moment when its waiter knew."""
    seconds: float
    queries: int
    refused: int
    worst_window: int


@frozen(kw_only=True)
class Detection:
    """One line of the table: a contender with so many tasks, over all runs."""

    contender: str
    tasks: int
    runs: int
    queries: float
    """Queries in one run, on average."""
    queries_per_minute: float
    refused: float
    """Answers of 429 in one run, on average."""
    worst_window: int
    """The most queries within any 60 seconds of any run."""
    mean_delay: float
    """Seconds."""
    p95_delay: float
    max_delay: float
    min_delay: float


def measure(runs: Mapping[int, int]) -> list[Detection]:
    """Measure every contender with each number of tasks, `runs[tasks]` times."""
    return [
        _summary(name, tasks, [run_once(contender, tasks, seed=seed) for seed in range(count)])
        for tasks, count in runs.items()
        for name, contender in CONTENDERS.items()
    ]


def run_once(contender: Contender, tasks: int, *, seed: int) -> Run:
    """Let `contender` wait for `tasks` tasks, whose times depend on nothing but `seed`."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        return runner.run(_run(contender, tasks, seed))


async def _run(contender: Contender, tasks: int, seed: int) -> Run:
    now = asyncio.get_running_loop().time
    spans = iter(task_times(tasks, seed))
    async with Simulator(render=False, seed=seed, epoch=_EPOCH, durations=lambda *_: next(spans)) as simulator:
        began = now()
        known: dict[str, float] = {}

        def note(task_id: str) -> None:
            known[task_id] = now() - began

        await contender(Job(url=simulator.url, key=simulator.api_key, tasks=tasks, known=note))
        delays = tuple(at - _ended_at(simulator, task_id) for task_id, at in known.items())
        statistics = simulator.statistics()
    assert len(delays) == tasks
    return Run(
        delays=delays,
        seconds=max(known.values()),
        queries=statistics.queries,
        refused=statistics.rejected,
        worst_window=statistics.worst_window,
    )


def task_times(tasks: int, seed: int) -> list[tuple[float, float]]:
    """Seconds in the queue and seconds of work for each task, lognormal together."""
    rng = random.Random(seed)
    totals = [rng.lognormvariate(math.log(MEDIAN_SECONDS), SIGMA) for _ in range(tasks)]
    return [(total * QUEUE_SHARE, total * (1 - QUEUE_SHARE)) for total in totals]


def _ended_at(simulator: Simulator, task_id: str) -> float:
    completed_at = simulator.tasks[task_id].completed_at
    assert completed_at is not None
    return (completed_at - _EPOCH).total_seconds()


def _summary(contender: str, tasks: int, runs: Sequence[Run]) -> Detection:
    delays = [delay for run in runs for delay in run.delays]
    return Detection(
        contender=contender,
        tasks=tasks,
        runs=len(runs),
        queries=fmean(run.queries for run in runs),
        queries_per_minute=60 * sum(run.queries for run in runs) / sum(run.seconds for run in runs),
        refused=fmean(run.refused for run in runs),
        worst_window=max(run.worst_window for run in runs),
        mean_delay=fmean(delays),
        p95_delay=quantiles(delays, n=20, method="inclusive")[-1] if len(delays) > 1 else delays[0],
        max_delay=max(delays),
        min_delay=min(delays),
    )


def table(found: Sequence[Detection]) -> Table:
    """The figures for people."""
    return Table(
        title="Detection: seconds between the end of a task and its waiter knowing, in virtual time",
        columns=("tasks", "who waits", "mean", "p95", "max", "queries", "a minute", "429", "worst minute", "runs"),
        rows=[
            (
                str(line.tasks),
                line.contender,
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
                f"{line.max_delay:.2f}",
                f"{line.queries:.0f}",
                f"{line.queries_per_minute:.1f}",
                f"{round(line.refused, 1):g}",
                str(line.worst_window),
                str(line.runs),
            )
            for line in found
        ],
    )
