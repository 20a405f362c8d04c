"""An account with very many old tasks: the list is megabytes long, and all but its newest rows never change.

How late waiters know and what is transferred is measured in virtual time, in which transfer and decoding take none;
what the lists do to the event loop is measured in real time, against a simulator in another process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import frozen

from .contenders import BOUND, CONTENDERS, POLL_2, SDK, Contender
from .live import run_live
from .loops import CountingLoop
from .remote_simulator import Account
from .report import Plot, Report, Series, Table
from .runs import run_once, summarise

__all__ = ["FULL", "SHORT", "Extent", "LargeAccount", "Stall", "measure", "measure_stalls", "report", "run"]

COMPARED: Final[Mapping[str, Contender]] = {name: CONTENDERS[name] for name in (SDK, POLL_2, BOUND)}


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    history: int
    """Old tasks of the account."""
    runs: Mapping[int, int]
    """Runs for each number of new tasks."""
    runs_of_bound: int
    """The most of these for reading every list whole, which is gigabytes."""
    live_tasks: int
    """New tasks in real time."""
    live_between: tuple[float, float]
    """Seconds that those take."""
    idle: float
    """Seconds in which the event loop does nothing, before and afterwards, for comparison."""


FULL: Final = Extent(
    history=20_000, runs={1: 8, 50: 3}, runs_of_bound=1, live_tasks=50, live_between=(5.0, 15.0), idle=5.0
)
SHORT: Final = Extent(history=1_000, runs={20: 1}, runs_of_bound=1, live_tasks=20, live_between=(0.5, 1.5), idle=0.3)


@frozen(kw_only=True)
class LargeAccount:
    """One line of the first table: a contender and its number of new tasks."""

    contender: str
    history: int
    tasks: int
    runs: int
    mean_delay: float
    """Seconds."""
    p95_delay: float
    queries: float
    """In one run, on average."""
    refused: float
    bytes_per_task: float
    """Read by the client, over the tasks that it waited for."""


@frozen(kw_only=True)
class Stall:
    """One line of the second table, in real time."""

    contender: str
    history: int
    tasks: int
    mean_delay: float
    """Seconds."""
    queries: float
    stall: float
    """The longest time for which the event loop kept everybody waiting, in seconds."""
    idle_stall: float
    """The same while it did nothing, before and afterwards."""


def run(short: bool) -> Report:
    """Measure and report."""
    extent = SHORT if short else FULL
    return report(measure(extent), measure_stalls(extent))


def measure(extent: Extent) -> list[LargeAccount]:
    """Measure delays and bytes in virtual time."""
    found = []
    for tasks, most in extent.runs.items():
        for name, contender in COMPARED.items():
            count = min(most, extent.runs_of_bound) if name == BOUND else most
            line = summarise(
                name,
                [
                    run_once(contender, tasks, seed=seed, history=extent.history, loop=CountingLoop)
                    for seed in range(count)
                ],
            )
            found.append(
                LargeAccount(
                    contender=name,
                    history=extent.history,
                    tasks=tasks,
                    runs=count,
                    mean_delay=line.mean_delay,
                    p95_delay=line.p95_delay,
                    queries=line.queries,
                    refused=line.refused,
                    bytes_per_task=line.bytes_per_task,
                )
            )
    return found


def measure_stalls(extent: Extent) -> list[Stall]:
    """Measure in real time the event loop of contenders that read lists."""
    account = Account(history=extent.history, between=extent.live_between)
    found = []
    for name in (SDK, BOUND):
        live = run_live(CONTENDERS[name], account, extent.live_tasks, idle=extent.idle)
        line = summarise(name, [live.run])
        found.append(
            Stall(
                contender=name,
                history=extent.history,
                tasks=extent.live_tasks,
                mean_delay=line.mean_delay,
                queries=line.queries,
                stall=live.stall,
                idle_stall=live.idle_stall,
            )
        )
    return found


def report(found: Sequence[LargeAccount], stalls: Sequence[Stall]) -> Report:
    """The figures for people."""
    tables = [_delays(found), _stalls(stalls)]
    return Report(figures=[*found, *stalls], tables=tables, plots=[_plot(found), _stall_plot(stalls)])


def _delays(found: Sequence[LargeAccount]) -> Table:
    return Table(
        title=f"An account with {found[0].history:,} old tasks, in virtual time",
        columns=("new tasks", "contender", "mean delay", "p95", "queries", "429", "KB for each task", "runs"),
        rows=[
            (
                str(line.tasks),
                line.contender,
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
                f"{line.queries:.0f}",
                f"{line.refused:.1f}".removesuffix(".0"),
                f"{line.bytes_per_task / 1000:,.1f}",
                str(line.runs),
            )
            for line in found
        ],
    )


def _stalls(found: Sequence[Stall]) -> Table:
    return Table(
        title=f"The same account in real time: the longest stall of the event loop, {found[0].tasks} new tasks",
        columns=("contender", "longest stall, ms", "of the idle loop, ms", "mean delay, s", "queries"),
        rows=[
            (
                line.contender,
                f"{line.stall * 1000:.1f}",
                f"{line.idle_stall * 1000:.1f}",
                f"{line.mean_delay:.2f}",
                f"{line.queries:.0f}",
            )
            for line in found
        ],
    )


def _plot(found: Sequence[LargeAccount]) -> Plot:
    counts = list(dict.fromkeys(line.tasks for line in found))
    return Plot(
        name="large-account-bytes",
        title=f"What a client reads with {found[0].history:,} old tasks",
        x="new tasks",
        y="megabytes for each of them",
        log_y=True,
        places=tuple(map(str, counts)),
        series=[
            Series(
                label=name,
                points=[
                    (counts.index(line.tasks), line.bytes_per_task / 1e6) for line in found if line.contender == name
                ],
            )
            for name in COMPARED
        ],
    )


def _stall_plot(found: Sequence[Stall]) -> Plot:
    return Plot(
        name="large-account-stalls",
        title="The longest stall of the event loop",
        x="",
        y="milliseconds",
        log_y=True,
        places=tuple(line.contender for line in found),
        series=[
            Series(label="waiting", points=[(place, 1000 * line.stall) for place, line in enumerate(found)]),
            Series(label="idle", points=[(place, 1000 * line.idle_stall) for place, line in enumerate(found)]),
        ],
    )
