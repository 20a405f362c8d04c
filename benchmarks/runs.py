"""One contender, one run against a simulator in virtual time, and what many runs come to.

All contenders wait for the same tasks, over real HTTP on loopback, in the event loop of the simulator. Its clock jumps
to the next timer when nothing else can happen, so a run of many minutes takes a second and gives the same figures on
every machine; a network would add its own delay to all of them.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from statistics import fmean, quantiles
from typing import Final

from attrs import field, frozen

from aivideomaker_async.simulator import Simulator
from tests.support.virtual_clock import VirtualClockLoop

from .contenders import Contender, Job
from .loops import CountingLoop

__all__ = ["EPOCH", "Run", "Summary", "TaskTimes", "ended_at", "run_once", "summarise", "task_times"]

MEDIAN_SECONDS: Final = 90.0
SIGMA: Final = 0.5
QUEUE_SHARE: Final = 0.15
"""The share of a task's time that it spends in SUBMITTED."""

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The wall time of every start."""

ENOUGH_CREDITS: Final = 10**9


@frozen(kw_only=True)
class Run:
    """What one contender did in one run."""

    delays: tuple[float, ...]
    """Seconds between the end of each task at the server and the moment when its waiter knew, in that order."""
    seconds: float
    queries: int
    refused: int
    worst_window: int
    bytes_read: int = 0
    """By the client, in a loop that counts them."""
    queries_then: tuple[int, ...] = ()
    """The queries that had been made when each waiter knew."""


@frozen(kw_only=True)
class Summary:
    """What a contender did with a number of tasks, over all runs."""

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
    percentiles: tuple[float, ...] = field(repr=False)
    """Delays from the smallest to the largest, at 101 even steps."""
    bytes_per_task: float


class TaskTimes:
    """Seconds in the queue and of work, as a simulator asks for them; they depend on nothing but the seed.

    The first `old` tasks are those that the account has had before: with them or without, the new ones are the same.
    """

    def __init__(self, seed: int, *, old: int = 0, median: float = MEDIAN_SECONDS, sigma: float = SIGMA) -> None:
        self._old = old
        self._of_old = random.Random(f"old {seed}")
        self._of_new = random.Random(seed)
        self._mu = math.log(median)
        self._sigma = sigma

    def __call__(self, model: str = "", seconds: int = 0) -> tuple[float, float]:
        """Return the times of the next task, lognormal together."""
        rng = self._of_old if self._old > 0 else self._of_new
        self._old -= 1
        total = rng.lognormvariate(self._mu, self._sigma)
        return total * QUEUE_SHARE, total * (1 - QUEUE_SHARE)


def task_times(tasks: int, seed: int) -> list[tuple[float, float]]:
    """Return the times of the tasks of a run."""
    times = TaskTimes(seed)
    return [times() for _ in range(tasks)]


def run_once(
    contender: Contender,
    tasks: int,
    *,
    seed: int,
    history: int = 0,
    loop: Callable[[], asyncio.AbstractEventLoop] = VirtualClockLoop,
) -> Run:
    """Let `contender` wait for `tasks` tasks on an account that has `history` old ones."""
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_run(contender, tasks, seed, history))


async def _run(contender: Contender, tasks: int, seed: int, history: int) -> Run:
    loop = asyncio.get_running_loop()
    now = loop.time
    simulator = Simulator(
        render=False,
        seed=seed,
        epoch=EPOCH,
        credits=ENOUGH_CREDITS,
        durations=TaskTimes(seed, old=history),
        history={"t2v": history},
    )
    known: dict[str, float] = {}
    queries: list[int] = []
    async with simulator:
        began = now()

        def note(task_id: str) -> None:
            known[task_id] = now() - began
            queries.append(simulator.statistics().queries)

        await contender(Job(url=simulator.url, key=simulator.api_key, tasks=tasks, known=note))
        statistics = simulator.statistics()
    assert len(known) == tasks
    return Run(
        delays=tuple(at - ended_at(simulator, task_id) for task_id, at in known.items()),
        seconds=max(known.values()),
        queries=statistics.queries,
        refused=statistics.rejected,
        worst_window=statistics.worst_window,
        bytes_read=loop.bytes_read if isinstance(loop, CountingLoop) else 0,
        queries_then=tuple(queries),
    )


def ended_at(simulator: Simulator, task_id: str) -> float:
    """Return the simulated second at which a task ended."""
    completed_at = simulator.tasks[task_id].completed_at
    assert completed_at is not None
    return (completed_at - EPOCH).total_seconds()


def summarise(contender: str, runs: Sequence[Run]) -> Summary:
    """Sum up the runs of one contender, all with the same number of tasks."""
    delays = [delay for run in runs for delay in run.delays]
    return Summary(
        contender=contender,
        tasks=len(runs[0].delays),
        runs=len(runs),
        queries=fmean(run.queries for run in runs),
        queries_per_minute=60 * sum(run.queries for run in runs) / sum(run.seconds for run in runs),
        refused=fmean(run.refused for run in runs),
        worst_window=max(run.worst_window for run in runs),
        mean_delay=fmean(delays),
        p95_delay=p95(delays),
        max_delay=max(delays),
        min_delay=min(delays),
        percentiles=percentiles(delays),
        bytes_per_task=sum(run.bytes_read for run in runs) / len(delays),
    )


def p95(values: Sequence[float]) -> float:
    """Return the value that 95 of 100 do not exceed."""
    return percentiles(values)[95]


def percentiles(values: Sequence[float]) -> tuple[float, ...]:
    """Return 101 values from the smallest to the largest."""
    if len(values) == 1:
        return tuple(values) * 101
    return min(values), *quantiles(values, n=100, method="inclusive"), max(values)
