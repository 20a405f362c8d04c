"""How soon a waiter knows that its task has ended, and what that costs in queries, from one task to a thousand.

An ended task is known late by the time until the next poll, and polls are scarce: 60 a minute for one address. Every
run has a fresh account and a fresh client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from attrs import frozen

from .contenders import CONTENDERS, TASK_BY_TASK
from .report import Plot, Report, Series, Table
from .runs import Summary, run_once, summarise

__all__ = ["FULL", "SHORT", "Extent", "measure", "report", "run"]


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    runs: Mapping[int, int]
    """Runs for each number of tasks that wait at once."""
    most_polled: int
    """The most tasks that contenders wait for which ask for each by itself: a storm of refusals, and slow."""


FULL: Final = Extent(runs={1: 40, 10: 10, 50: 6, 200: 2, 1000: 1}, most_polled=1000)
SHORT: Final = Extent(runs={1: 6, 10: 2, 50: 1, 200: 1}, most_polled=50)

DISTRIBUTION_OF: Final = 50
"""The number of tasks whose delays are drawn in full."""


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(extent: Extent) -> list[Summary]:
    """Measure every contender with each number of tasks."""
    return [
        summarise(name, [run_once(contender, tasks, seed=seed) for seed in range(count)])
        for tasks, count in extent.runs.items()
        for name, contender in CONTENDERS.items()
        if tasks <= extent.most_polled or name not in TASK_BY_TASK
    ]


def report(found: Sequence[Summary]) -> Report:
    """The figures for people."""
    return Report(figures=found, tables=[_table(found)], plots=list(_plots(found)))


def _table(found: Sequence[Summary]) -> Table:
    return Table(
        title="Detection: seconds between the end of a task and its waiter knowing, in virtual time",
        columns=(
            "tasks",
            "contender",
            "mean",
            "p95",
            "max",
            "queries",
            "a minute",
            "429",
            "worst minute",
            "runs",
        ),
        rows=[
            (
                str(line.tasks),
                line.contender,
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
                f"{line.max_delay:.2f}",
                f"{line.queries:.0f}",
                f"{line.queries_per_minute:.1f}",
                f"{line.refused:.1f}".removesuffix(".0"),
                str(line.worst_window),
                str(line.runs),
            )
            for line in found
        ],
    )


def _plots(found: Sequence[Summary]) -> Iterator[Plot]:
    yield Plot(
        name="detection-delay",
        title="Mean delay until a finished task is known",
        x="tasks that wait at once",
        y="seconds",
        log_x=True,
        log_y=True,
        series=[
            Series(label=name, points=[(line.tasks, line.mean_delay) for line in lines])
            for name, lines in _by_contender(found).items()
        ],
    )
    yield Plot(
        name="detection-queries",
        title="Queries a minute, those refused included",
        x="tasks that wait at once",
        y="queries a minute",
        log_x=True,
        log_y=True,
        series=[
            Series(label=name, points=[(line.tasks, line.queries_per_minute) for line in lines])
            for name, lines in _by_contender(found).items()
        ],
    )
    drawn = [line for line in found if line.tasks == DISTRIBUTION_OF]
    if drawn:
        yield distribution("detection-distribution", f"Delays of {DISTRIBUTION_OF} tasks that wait at once", drawn)


def distribution(name: str, title: str, lines: Sequence[Summary]) -> Plot:
    """Draw which share of the tasks is known after how many seconds."""
    return Plot(
        name=name,
        title=title,
        x="seconds after the end of the task (none is 0.01)",
        y="share of the tasks that are known",
        log_x=True,
        series=[
            Series(
                label=line.contender,
                points=[(max(delay, 0.01), share / 100) for share, delay in enumerate(line.percentiles)],
                marks=False,
            )
            for line in lines
        ],
    )


def _by_contender(found: Sequence[Summary]) -> dict[str, list[Summary]]:
    names = dict.fromkeys(line.contender for line in found)
    return {name: [line for line in found if line.contender == name] for name in names}
