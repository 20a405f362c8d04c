"""The loops of the benchmarks keep the time that they say they keep."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import pytest

from aivideomaker_async.simulator import Simulator
from benchmarks.contenders import Job, session, submit
from benchmarks.loops import CountingLoop, ScaledLoop
from benchmarks.stalls import StallMeter


def test_a_scaled_loop_sleeps_as_much_shorter_as_its_clock_is_faster() -> None:
    """Timers and the clock agree."""

    async def nap() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        began, real = loop.time(), time.monotonic()
        await asyncio.sleep(20)
        return loop.time() - began, time.monotonic() - real

    with asyncio.Runner(loop_factory=partial(ScaledLoop, 200.0)) as runner:
        scaled, real = runner.run(nap())
    assert scaled >= 20
    assert 0.1 <= real < scaled / 10


def test_loops_of_one_speed_agree_about_the_time() -> None:
    """As those of several processes do."""
    loops = [ScaledLoop(10.0) for _ in range(2)]
    try:
        first, second = (loop.time() for loop in loops)
        assert 0 <= second - first < 10
    finally:
        for loop in loops:
            loop.close()


def test_a_counting_loop_counts_what_its_clients_read() -> None:
    """And not what its servers do."""

    async def read() -> int:
        async with Simulator(render=False, history=300) as simulator:
            job = Job(url=simulator.url, key=simulator.api_key, tasks=1, known=lambda _: None)
            async with session(job) as http:
                await submit(http)
                async with http.get("/api/v1/tasks") as response:
                    return len(await response.read())

    loop = CountingLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        length = runner.run(read())
    assert length < loop.bytes_read < length + 2000


@pytest.mark.parametrize("pause", [0, 0.01])
def test_a_stall_is_noticed(pause: float) -> None:
    """The meter sees what blocks the loop, also at its very end."""

    async def stall() -> float:
        async with StallMeter() as meter:
            await asyncio.sleep(0.01)
            time.sleep(0.05)  # noqa: ASYNC251
            await asyncio.sleep(pause)
        return meter.longest

    assert asyncio.run(stall()) > 0.04


def test_a_stall_at_the_very_beginning_is_noticed() -> None:
    """Before whoever is measured has let go of the loop for the first time."""

    async def stall() -> float:
        async with StallMeter() as meter:
            time.sleep(0.05)  # noqa: ASYNC251
            await asyncio.sleep(0.01)
        return meter.longest

    assert asyncio.run(stall()) > 0.04
