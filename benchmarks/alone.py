"""One task at a time: what a wait costs when nothing is shared, and what is gained by knowing how long tasks take.

The account is fresh, so a client that learns how long tasks take learns it from the first of them; or the account has a
history, which the first list shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean
from typing import Final

from attrs import frozen

from .contenders import SDK, Contender, one_by_one, one_by_one_polled
from .report import Plot, Report, Series, Table
from .runs import Run, p95, run_once

__all__ = ["FULL", "SHORT", "Alone", "Extent", "measure", "report", "run"]


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    tasks: int
    """Tasks that follow each other, with one client."""
    runs: int
    fresh: int
    """Fresh clients that wait for one task on an account with a history."""
    learned: int = 5
    """How many of the first tasks stand apart: those from which durations are learned."""
    history: int = 30
    """Finished tasks that the account shows."""


FULL: Final = Extent(tasks=40, runs=8, fresh=40)
SHORT: Final = Extent(tasks=12, runs=1, fresh=5)

POLLED: Final = "polls, 2 s"
CONTENDERS: Final[dict[str, Contender]] = {SDK: one_by_one, POLLED: partial(one_by_one_polled, every=2.0)}


@frozen(kw_only=True)
class Alone:
    """One line of the table."""

    form: str
    contender: str
    tasks: int
    """In all runs."""
    requests_per_task: float
    """All queries, over the tasks."""
    mean_delay: float
    """Seconds."""
    p95_delay: float
    max_delay: float


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(extent: Extent) -> list[Alone]:
    """Measure the first tasks of a client, those after them, and one task of an account with a history."""
    found = []
    for name, contender in CONTENDERS.items():
        runs = [run_once(contender, extent.tasks, seed=seed) for seed in range(extent.runs)]
        found.append(_line(f"the first {extent.learned} tasks", name, runs, slice(0, extent.learned)))
        found.append(_line(f"the {extent.tasks - extent.learned} after them", name, runs, slice(extent.learned, None)))
    for name, contender in CONTENDERS.items():
        runs = [run_once(contender, 1, seed=seed, history=extent.history) for seed in range(extent.fresh)]
        found.append(_line(f"one task, {extent.history} old ones listed", name, runs, slice(0, None)))
    # The same tasks stand together.
    return sorted(found, key=lambda line: [one.form for one in found].index(line.form))


def _line(form: str, contender: str, runs: Sequence[Run], part: slice) -> Alone:
    delays = [delay for run in runs for delay in run.delays[part]]
    return Alone(
        form=form,
        contender=contender,
        tasks=len(delays),
        requests_per_task=sum(_queries(run, part) for run in runs) / len(delays),
        mean_delay=fmean(delays),
        p95_delay=p95(delays),
        max_delay=max(delays),
    )


def _queries(run: Run, part: slice) -> int:
    """Count the queries that were made for the tasks of `part`, which follow each other."""
    before = run.queries_then[part.start - 1] if part.start else 0
    return run.queries_then[part][-1] - before


def report(found: Sequence[Alone]) -> Report:
    """The figures for people."""
    table = Table(
        title="One task at a time, in virtual time",
        columns=("tasks", "contender", "requests per task", "mean delay", "p95", "max", "measured"),
        rows=[
            (
                line.form,
                line.contender,
                f"{line.requests_per_task:.1f}",
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
                f"{line.max_delay:.2f}",
                str(line.tasks),
            )
            for line in found
        ],
    )
    return Report(figures=found, tables=[table], plots=[_plot(found)])


def _plot(found: Sequence[Alone]) -> Plot:
    forms = list(dict.fromkeys(line.form for line in found))
    return Plot(
        name="alone-requests",
        title="Queries for one task that waits alone",
        x="",
        y="queries per task",
        places=tuple(forms),
        series=[
            Series(
                label=name,
                points=[(forms.index(one.form), one.requests_per_task) for one in found if one.contender == name],
            )
            for name in CONTENDERS
        ],
    )
