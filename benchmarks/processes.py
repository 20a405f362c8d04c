"""Several processes of one host, each with tasks of its own: the limit is one for all of them.

All clocks, of the simulator and of the processes, run faster than the machine's by the same factor, so that minutes
take seconds. The lag of the event loops shows whether the machine could follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from .live import live_run
from .remote_simulator import Account, remote_simulator
from .report import Report, Table
from .runs import Run, summarise
from .worker import Limiting, Work, workers

__all__ = ["FULL", "SHORT", "Extent", "Form", "Processes", "measure", "report", "run"]


@frozen(kw_only=True)
class Form:
    """One measurement."""

    processes: int
    tasks: int
    """Of each process."""
    limiting: Limiting
    speed: float
    between: tuple[float, float] | None = None
    """Seconds that a task takes, when not lognormal with a median of 90."""


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    forms: tuple[Form, ...]


FULL: Final = Extent(
    forms=(
        Form(processes=1, tasks=100, limiting="of the host", speed=15),
        Form(processes=4, tasks=25, limiting="of the host", speed=15),
        Form(processes=4, tasks=25, limiting="of the process", speed=15),
        Form(processes=4, tasks=25, limiting="none given", speed=1, between=(20.0, 70.0)),
    )
)
SHORT: Final = Extent(
    forms=(Form(processes=4, tasks=5, limiting="of the host", speed=20, between=(20.0, 60.0)),),
)


@frozen(kw_only=True)
class Processes:
    """One line of the table."""

    processes: int
    tasks: int
    """Of all processes."""
    limiting: str
    speed: float
    queries: int
    queries_per_minute: float
    refused: int
    worst_window: int
    """The most queries within any 60 seconds."""
    mean_delay: float
    """Seconds."""
    p95_delay: float
    max_delay: float
    lag: float
    """The longest time for which the event loop of a process was late, in seconds of its clock."""


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(extent: Extent) -> list[Processes]:
    """Measure each form."""
    return [_measure(form) for form in extent.forms]


def _measure(form: Form) -> Processes:
    with remote_simulator(Account(speed=form.speed, between=form.between)) as simulator:
        work = Work(url=simulator.url, key=simulator.key, tasks=form.tasks, limiting=form.limiting, speed=form.speed)
        with workers(work, form.processes) as started:
            found = [worker.finish() for worker in started]
        known = {task_id: at for one in found for task_id, at in one.known.items()}
        run = live_run(known, simulator.seen(), min(one.began for one in found))
    return _line(form, run, max(one.lag for one in found))


def _line(form: Form, run: Run, lag: float) -> Processes:
    line = summarise("", [run])
    return Processes(
        processes=form.processes,
        tasks=line.tasks,
        limiting=form.limiting,
        speed=form.speed,
        queries=run.queries,
        queries_per_minute=line.queries_per_minute,
        refused=run.refused,
        worst_window=run.worst_window,
        mean_delay=line.mean_delay,
        p95_delay=line.p95_delay,
        max_delay=line.max_delay,
        lag=lag,
    )


def report(found: Sequence[Processes]) -> Report:
    """The figures for people."""
    table = Table(
        title="Several processes of one host, in scaled real time",
        columns=(
            "processes",
            "tasks",
            "limiter",
            "clocks faster by",
            "mean delay",
            "p95",
            "max",
            "queries",
            "a minute",
            "429",
            "worst minute",
            "loop late by",
        ),
        rows=[
            (
                str(line.processes),
                str(line.tasks),
                line.limiting,
                f"{line.speed:g}",
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
                f"{line.max_delay:.2f}",
                str(line.queries),
                f"{line.queries_per_minute:.1f}",
                str(line.refused),
                str(line.worst_window),
                f"{line.lag:.2f}",
            )
            for line in found
        ],
    )
    return Report(figures=found, tables=[table])
