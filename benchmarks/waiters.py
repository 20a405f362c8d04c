"""Ten thousand waiters in one process, as a web backend has them after a restart: what they cost its event loop.

The simulator is another process. The tasks exist before anybody waits, and the waiters are attached by id.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from aivideomaker_async import AIVideoMaker, RateLimiter

from .contenders import Job, session, submit
from .live import live_run
from .remote_simulator import Account, RemoteSimulator, remote_simulator
from .report import Report, Table
from .runs import Run, summarise
from .stalls import StallMeter, idle_stall

__all__ = ["FULL", "SHORT", "Extent", "Waiters", "measure", "report", "run"]

AT_ONCE: Final = 50
"""Submits under way at once, while the account is filled."""

STARTED_AT_ONCE: Final = 500
"""Waiters that are started before the event loop has a turn: their start is the caller's own work."""


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    waiters: int
    between: tuple[float, float]
    """Seconds that a task takes, from its submit."""
    idle: float
    """Seconds in which the event loop does nothing, before and afterwards, for comparison."""


FULL: Final = Extent(waiters=10_000, between=(25.0, 35.0), idle=3.0)
SHORT: Final = Extent(waiters=1_000, between=(2.0, 3.0), idle=0.5)


@frozen(kw_only=True)
class Waiters:
    """The one line of the table."""

    waiters: int
    bytes_per_waiter: float
    """Python memory of a waiter, its asyncio task and its handle included."""
    start_stall: float
    """The longest time for which the event loop kept everybody waiting while the waiters started, in seconds."""
    stall: float
    """The same from then until the last of them knew."""
    idle_stall: float
    """The same while the loop did nothing, before and afterwards."""
    mean_delay: float
    p95_delay: float
    queries: int
    refused: int
    worst_window: int


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(extent: Extent) -> list[Waiters]:
    """Measure the waiters of one process."""
    with remote_simulator(Account(between=extent.between)) as simulator:
        return [asyncio.run(_measure(extent, simulator))]


async def _measure(extent: Extent, simulator: RemoteSimulator) -> Waiters:
    ids = await _fill(simulator, extent.waiters)
    limiter = RateLimiter()
    async with AIVideoMaker(simulator.key, base_url=simulator.url, limiter=limiter) as client:
        memory = await _memory(client, ids)
    gc.collect()
    quiet = await idle_stall(extent.idle)
    async with AIVideoMaker(simulator.key, base_url=simulator.url, limiter=limiter) as client:
        run, start_stall, stall = await _wait(client, ids, simulator)
    quiet = max(quiet, await idle_stall(extent.idle))
    line = summarise("", [run])
    return Waiters(
        waiters=extent.waiters,
        bytes_per_waiter=memory,
        start_stall=start_stall,
        stall=stall,
        idle_stall=quiet,
        mean_delay=line.mean_delay,
        p95_delay=line.p95_delay,
        queries=run.queries,
        refused=run.refused,
        worst_window=run.worst_window,
    )


async def _fill(simulator: RemoteSimulator, tasks: int) -> list[str]:
    job = Job(url=simulator.url, key=simulator.key, tasks=tasks, known=lambda _: None)
    ids: list[str] = []
    async with session(job) as http:

        async def some() -> None:
            while len(ids) + len(under_way) < tasks:
                under_way.append(None)
                task_id = await submit(http)
                under_way.pop()
                ids.append(task_id)

        under_way: list[None] = []
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return ids


async def _memory(client: AIVideoMaker, ids: Sequence[str]) -> float:
    """Return the bytes of a waiter that has started to wait, before the first answer of the service."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    waiters = [asyncio.create_task(client.task(task_id).result()) for task_id in ids]
    # They take their first step now, and the watcher its own; no answer comes so soon.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    return (after - before) / len(ids)


async def _wait(client: AIVideoMaker, ids: Sequence[str], simulator: RemoteSimulator) -> tuple[Run, float, float]:
    now = asyncio.get_running_loop().time
    began = now()
    known: dict[str, float] = {}

    async def one(task_id: str) -> None:
        await client.task(task_id).result()
        known[task_id] = now()

    waiters = []
    async with StallMeter() as starting:
        for number, task_id in enumerate(ids):
            waiters.append(asyncio.create_task(one(task_id)))
            if number % STARTED_AT_ONCE == 0:
                await asyncio.sleep(0)
        await asyncio.sleep(0.1)
    async with StallMeter() as waiting:
        await asyncio.gather(*waiters)
    return live_run(known, simulator.seen(), began), starting.longest, waiting.longest


def report(found: Sequence[Waiters]) -> Report:
    """The figures for people."""
    table = Table(
        title="Waiters in one process, in real time",
        columns=(
            "waiters",
            "memory of one, kB",
            "longest stall at the start, ms",
            "then, ms",
            "idle loop, ms",
            "mean delay, s",
            "p95, s",
            "queries",
            "429",
            "worst minute",
        ),
        rows=[
            (
                f"{line.waiters:,}",
                f"{line.bytes_per_waiter / 1000:.1f}",
                f"{line.start_stall * 1000:.1f}",
                f"{line.stall * 1000:.1f}",
                f"{line.idle_stall * 1000:.1f}",
                f"{line.mean_delay:.2f}",
                f"{line.p95_delay:.2f}",
                str(line.queries),
                str(line.refused),
                str(line.worst_window),
            )
            for line in found
        ],
    )
    return Report(figures=found, tables=[table])
