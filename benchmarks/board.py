"""Processes of several hosts that poll as one, over Redis, and what happens when the one that polls is killed.

Everything runs in real time, since leases are. To be short, the simulator lets 60 queries through in 6 seconds instead
of 60, and tasks take a tenth of their time; in the package only the length of the window is set. A Redis server of its
own runs as long as the scene.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

from .live import live_run
from .remote_simulator import Account, remote_simulator
from .report import Report, Table
from .runs import summarise
from .worker import Limiting, Work, Worker, workers

__all__ = [
    "FULL",
    "SHORT",
    "Board",
    "Extent",
    "TakenOver",
    "measure",
    "measure_failover",
    "redis_server",
    "report",
    "run",
]

SMALLER: Final = 10
"""How much shorter the window and the tasks are."""


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    hosts: int
    processes: int
    """Of each host."""
    tasks: int
    """Of each process."""
    runs_of_failover: int
    compared: bool
    """Whether one process, and processes without a board, are measured beside it."""
    median: float = 90 / SMALLER
    """Of the seconds that a task takes."""
    lease: float = 3.0
    """Seconds after which a process that polled for all, and gives no sign, is replaced."""
    settled: float = 4.0
    """Seconds after which it is decided which process polls for all."""


FULL: Final = Extent(hosts=3, processes=2, tasks=10, runs_of_failover=2, compared=True)
SHORT: Final = Extent(hosts=3, processes=2, tasks=2, runs_of_failover=0, compared=False, median=1.5)


@frozen(kw_only=True)
class Board:
    """One line of the first table."""

    processes: int
    tasks: int
    """Of all processes."""
    sharing: str
    queries: int
    refused: int
    worst_window: int
    mean_delay: float
    """Seconds."""
    p95_delay: float


@frozen(kw_only=True)
class TakenOver:
    """One line of the second table: the process that polled was killed."""

    lease: float
    processes: int
    seconds: float
    """Until another polled."""
    refused: int
    worst_window: int


def run(short: bool) -> Report:
    """Measure and report."""
    if shutil.which("redis-server") is None:
        note = "Not measured: `redis-server` is not installed."
        return Report(figures=[], tables=[Table(title="Processes of several hosts", columns=(note,), rows=[])])
    extent = SHORT if short else FULL
    with redis_server() as url:
        found = measure(extent, url)
        return report(found, [measure_failover(extent, url) for _ in range(extent.runs_of_failover)])


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Redis server that writes nothing; gives its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory(prefix="benchmark-redis-") as folder:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                _await_port(port)
                yield f"redis://127.0.0.1:{port}"
            finally:
                process.kill()


def _await_port(port: int, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def measure(extent: Extent, redis_url: str) -> list[Board]:
    """Measure the processes with a board, beside one process and beside processes that share the limit alone."""
    count = extent.hosts * extent.processes
    found = [_measure(extent, count, "over Redis, and a board", redis_url)]
    if extent.compared:
        found.insert(0, _measure(extent, 1, "of the process", redis_url))
        found.append(_measure(extent, count, "over Redis", redis_url))
    return found


def _measure(extent: Extent, processes: int, sharing: Limiting, redis_url: str) -> Board:
    account = Account(window=60 / SMALLER, median=extent.median)
    with remote_simulator(account) as simulator:
        work = Work(
            url=simulator.url,
            key=simulator.key,
            tasks=extent.tasks * extent.hosts * extent.processes // processes,
            limiting=sharing,
            window=account.window,
            redis_url=redis_url,
            lease=extent.lease,
        )
        with workers(work, processes) as started:
            found = [worker.finish() for worker in started]
        known = {task_id: at for one in found for task_id, at in one.known.items()}
        run = live_run(known, simulator.seen(), min(one.began for one in found))
    line = summarise("", [run])
    return Board(
        processes=processes,
        tasks=line.tasks,
        sharing=sharing,
        queries=run.queries,
        refused=run.refused,
        worst_window=run.worst_window,
        mean_delay=line.mean_delay,
        p95_delay=line.p95_delay,
    )


def measure_failover(extent: Extent, redis_url: str) -> TakenOver:
    """Kill the process that polls for all, and see when another does."""
    count = extent.hosts * extent.processes
    account = Account(window=60 / SMALLER, between=(60.0, 60.0))
    with remote_simulator(account) as simulator:
        work = Work(
            url=simulator.url,
            key=simulator.key,
            tasks=extent.tasks,
            limiting="over Redis, and a board",
            window=account.window,
            redis_url=redis_url,
            lease=extent.lease,
        )
        with workers(work, count) as started:
            time.sleep(extent.settled)
            recently = time.monotonic() - extent.settled / 2
            leader = max(started, key=lambda worker: len(_polls(worker, recently)))
            # In the clock of the workers' loops, which is the machine's.
            killed = time.monotonic()
            leader.kill()
            started.remove(leader)
            taken_over = _next_poll(started, killed)
        seen = simulator.seen()
    return TakenOver(
        lease=work.lease,
        processes=count,
        seconds=taken_over - killed,
        refused=seen.refused,
        worst_window=seen.worst_window,
    )


def _polls(worker: Worker, after: float) -> list[float]:
    return [at for at in worker.happened().polls if at > after]


def _next_poll(others: Sequence[Worker], after: float, timeout: float = 60.0) -> float:
    while time.monotonic() < after + timeout:
        later = [at for worker in others for at in _polls(worker, after)]
        if later:
            return min(later)
        time.sleep(0.02)
    raise TimeoutError("nobody polls in the place of the process that was killed")


def report(found: Sequence[Board], failovers: Sequence[TakenOver]) -> Report:
    """The figures for people."""
    tables = [_table(found), *([_failover_table(failovers)] if failovers else [])]
    return Report(figures=[*found, *failovers], tables=tables)


def _table(found: Sequence[Board]) -> Table:
    return Table(
        title="Processes of several hosts, in real time; a window of 6 seconds, and tasks with a median of 9",
        columns=("processes", "tasks", "limiter", "queries", "429", "most in a window", "mean delay", "p95"),
        rows=[
            (
                str(line.processes),
                str(line.tasks),
                line.sharing,
                str(line.queries),
                str(line.refused),
                str(line.worst_window),
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
            )
            for line in found
        ],
    )


def _failover_table(found: Sequence[TakenOver]) -> Table:
    return Table(
        title="The process that polls for all is killed: seconds until another polls",
        columns=("processes", "lease", "seconds", "429", "most in a window"),
        rows=[
            (
                str(line.processes),
                f"{line.lease:g}",
                f"{line.seconds:.1f}",
                str(line.refused),
                str(line.worst_window),
            )
            for line in found
        ],
    )
