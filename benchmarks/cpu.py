"""What one status call costs the client in CPU time, as a ratio to bare aiohttp.

The limiter, the retry policy and the decoding are all in it; the limit is so high that nobody waits. Both sides talk to
the same server in another process, in batches that take turns, so that a busy moment of the machine meets both.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median, quantiles
from typing import Final, TypeAlias

import aiohttp
from attrs import frozen

from aivideomaker_async import AIVideoMaker, RateLimiter, TaskStatus

from .report import Report, Table
from .status_server import status_server

__all__ = ["FULL", "SHORT", "CpuRatio", "Extent", "measure", "report", "run"]

Call: TypeAlias = Callable[[], Awaitable[object]]

KEY: Final = "ak_benchmark"
TASK: Final = "ckxw1v7d80001qzrm3ov5mf4a"
HUGE: Final = 10_000_000
"""Queries in a minute that nobody makes."""


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    rounds: int
    """Batches of each side."""
    calls: int
    """Calls in a batch."""
    widths: tuple[int, ...] = (1, 50)
    """How many calls are under way at once."""


FULL: Final = Extent(rounds=24, calls=600)
SHORT: Final = Extent(rounds=12, calls=300)


@frozen(kw_only=True)
class CpuRatio:
    """One line of the table: our CPU time for a call over that of bare aiohttp."""

    at_once: int
    rounds: int
    calls: int
    ratio: float
    """The median over the rounds."""
    lower_quartile: float
    upper_quartile: float
    bare_microseconds: float
    """For orientation only: the median of a bare call on this machine."""


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(extent: Extent) -> list[CpuRatio]:
    """Measure with one call at a time, and with many at once."""
    with status_server() as url:
        return asyncio.run(_measure(url, extent))


async def _measure(url: str, extent: Extent) -> list[CpuRatio]:
    async with _bare(url) as bare, _sdk(url) as sdk:
        found = []
        for width in extent.widths:
            for call in (bare, sdk):
                await _cost(call, width, max(extent.calls // 4, width))
            pairs = [await _pair(bare, sdk, width, extent.calls, number) for number in range(extent.rounds)]
            found.append(_summary(width, extent, pairs))
        return found


async def _pair(bare: Call, sdk: Call, width: int, calls: int, number: int) -> tuple[float, float]:
    """The costs of a call in two neighbouring batches; the side that goes first alternates."""
    if number % 2:
        ours = await _cost(sdk, width, calls)
        return await _cost(bare, width, calls), ours
    theirs = await _cost(bare, width, calls)
    return theirs, await _cost(sdk, width, calls)


async def _cost(call: Call, width: int, calls: int) -> float:
    """Seconds of this process's CPU time for one call, with `width` under way at once."""

    async def work() -> None:
        for _ in range(calls // width):
            await call()

    gc.collect()
    began = time.process_time()
    await asyncio.gather(*(work() for _ in range(width)))
    return (time.process_time() - began) / (calls // width * width)


@asynccontextmanager
async def _bare(url: str) -> AsyncIterator[Call]:
    """The shortest program that needs nothing but the status."""
    async with aiohttp.ClientSession(headers={"key": KEY}) as session:

        async def call() -> object:
            async with session.get(f"{url}/api/v1/tasks/{TASK}/status") as response:
                return json.loads(await response.read())["status"]

        assert await call() == "PROGRESS"
        yield call


@asynccontextmanager
async def _sdk(url: str) -> AsyncIterator[Call]:
    limiter = RateLimiter(limit=HUGE, burst=HUGE)
    async with AIVideoMaker(KEY, base_url=url, limiter=limiter) as client:

        async def call() -> object:
            return await client.get_status(TASK)

        assert await call() == TaskStatus.PROGRESS
        yield call


def _summary(width: int, extent: Extent, pairs: Sequence[tuple[float, float]]) -> CpuRatio:
    ratios = [ours / theirs for theirs, ours in pairs]
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return CpuRatio(
        at_once=width,
        rounds=extent.rounds,
        calls=extent.calls,
        ratio=middle,
        lower_quartile=lower,
        upper_quartile=upper,
        bare_microseconds=1e6 * median(theirs for theirs, _ in pairs),
    )


def report(found: Sequence[CpuRatio]) -> Report:
    """The figures for people."""
    table = Table(
        title="Client CPU of one status call, as a ratio to bare aiohttp",
        columns=("calls at once", "ratio", "middle half of the rounds", "rounds", "calls a round"),
        rows=[
            (
                str(line.at_once),
                f"{line.ratio:.2f}",
                f"{line.lower_quartile:.2f} to {line.upper_quartile:.2f}",
                str(line.rounds),
                str(line.calls),
            )
            for line in found
        ],
    )
    return Report(figures=found, tables=[table])
