"""Special to a limiter in one process: permits without waiting, the order across event loops, and random scripts."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Iterator
from typing import Final
from unittest.mock import patch

import pytest
from anyio import create_task_group, fail_after, run
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import Permit, Priority, RateLimiter
from tests.support.leaks import settle
from tests.support.limiters import assert_idle, now, served, use_burst
from tests.support.servers import ExactSliding
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio

FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND

PACE: Final = 60 / 57
"""Seconds between two requests of the default limiter."""


@pytest.fixture
def anyio_backend(clock_without_loopback: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return clock_without_loopback


def taken(limiter: RateLimiter) -> Permit:
    """Return a permit that is there without waiting."""
    permit = limiter.acquire_nowait()
    assert permit is not None
    return permit


# --- one event loop ----------------------------------------------------------------------------------


async def test_a_permit_without_waiting_or_none() -> None:
    """As long as the burst lasts, and again when time has passed."""
    limiter = RateLimiter()
    assert [limiter.acquire_nowait() is not None for _ in range(4)] == [True, True, True, False]
    await asyncio.sleep(PACE + 1e-6)
    assert limiter.acquire_nowait() is not None
    assert limiter.acquire_nowait() is None


async def test_a_permit_without_waiting_never_overtakes_a_waiter() -> None:
    """Also when a permit could go at this moment."""
    limiter, order = RateLimiter(limit=1000, window=10.0, burst=1), list[str]()
    await use_burst(limiter)
    async with create_task_group() as group:
        group.start_soon(served, limiter, "waiter", order)
        await settle()
        asyncio.get_running_loop().jump(5.0)  # type: ignore[attr-defined]
        assert limiter.acquire_nowait() is None
    assert order == ["waiter"]


async def test_a_custom_clock_is_used() -> None:
    readings: Iterator[float] = iter([0.0] * 4 + [PACE + 0.01] * 10)
    limiter = RateLimiter(clock=lambda: next(readings))
    assert [limiter.acquire_nowait() is not None for _ in range(5)] == [True, True, True, False, True]


def test_it_cannot_be_copied_or_pickled() -> None:
    limiter = RateLimiter()
    assert repr(limiter) == "RateLimiter(limit=60, window=60.0, burst=3)"
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="HostRateLimiter is the one that processes share"):
            attempt(limiter)


# --- random scripts ----------------------------------------------------------------------------------

steps = st.tuples(
    st.sampled_from(["wait", "wait", "cancel", "settle", "lose", "refund", "pause", "nowait"]),
    st.floats(0, 4),
    st.integers(0, 50),
    st.booleans(),
)


@given(st.integers(1, 4), st.floats(1, 20), st.integers(1, 4), st.lists(steps, max_size=40))
@settings(max_examples=120, deadline=None)
def test_any_script_keeps_the_limit_and_leaves_nobody_waiting(
    limit: int, window: float, burst: int, script: list[tuple[str, float, int, bool]]
) -> None:
    """Calls wait, are cancelled, answered, lost, refunded and refused with 429, in any order and at any time."""
    limiter, counter = RateLimiter(limit, window, burst=burst), ExactSliding(limit, window)
    run(_play, limiter, script, counter, backend_options={"loop_factory": VirtualClockLoop})


async def _play(limiter: RateLimiter, script: list[tuple[str, float, int, bool]], counter: ExactSliding) -> None:
    waiters: list[asyncio.Future[Permit]] = []
    held: list[tuple[Permit, float]] = []
    spans: list[tuple[float, float]] = []

    def collect() -> None:
        for waiter in [waiter for waiter in waiters if waiter.done()]:
            waiters.remove(waiter)
            if not waiter.cancelled():
                held.append((waiter.result(), now()))

    for what, pause, place, flag in script:
        await asyncio.sleep(pause)
        collect()
        if what == "wait":
            waiters.append(asyncio.ensure_future(limiter.acquire(FOREGROUND if flag else BACKGROUND)))
        elif what == "nowait":
            permit = limiter.acquire_nowait()
            if permit is not None:
                assert not waiters
                held.append((permit, now()))
        elif what == "cancel" and waiters:
            waiters[place % len(waiters)].cancel()
        elif what == "pause":
            limiter.pause(pause * 5)
        elif held and what in {"settle", "lose", "refund"}:
            permit, since = held.pop(place % len(held))
            if what == "refund":
                permit.refund()
            else:
                permit.settle(answered=what == "settle")
                spans.append((since, now() if what == "settle" else now() + min(5.0, counter.window)))
        if flag:
            await settle(place % 4)
    with fail_after(10_000):
        while waiters or held:
            for permit, since in held:
                permit.settle()
                spans.append((since, now()))
            held.clear()
            if waiters:
                await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
                collect()
    state = limiter.statistics()
    await assert_idle(limiter)
    assert state.granted == len(spans)
    assert state.in_window <= state.limit
    # Requests arrive at the worst moments: each as late as it can, or each as early.
    for arrivals in ([late for _, late in spans], [early for early, _ in spans]):
        seen = ExactSliding(counter.limit, counter.window)
        assert all(seen.admit(at) for at in sorted(arrivals))


# --- several event loops -----------------------------------------------------------------------------


def test_users_go_before_polls_of_other_event_loops() -> None:
    """There is one queue for all loops."""
    limiter, order = RateLimiter(limit=60, window=1.0, burst=1), list[str]()
    polls_wait = threading.Event()
    held = taken(limiter)
    limiter.pause(0.2)

    async def crowd(name: str, priority: Priority) -> None:
        async with create_task_group() as group:
            for _ in range(3):
                group.start_soon(served, limiter, name, order, priority)
            await settle()
            polls_wait.set()

    thread = threading.Thread(target=lambda: asyncio.run(crowd("poll", BACKGROUND)))
    thread.start()
    polls_wait.wait(10)
    asyncio.run(crowd("user", FOREGROUND))
    thread.join(10)
    assert order == ["user"] * 3 + ["poll"] * 3
    held.settle()
    asyncio.run(assert_idle(limiter))


def test_a_waiter_of_an_event_loop_that_does_not_run_is_passed_over_until_it_runs_again() -> None:
    limiter, order = RateLimiter(limit=50, window=0.5), list[str]()
    loop = asyncio.new_event_loop()
    limiter.pause(0.05)
    sleeper = loop.create_task(served(limiter, "sleeper", order))
    loop.run_until_complete(settle())
    asyncio.run(asyncio.wait_for(served(limiter, "other", order), 10))
    assert order == ["other"]
    loop.run_until_complete(asyncio.wait_for(sleeper, 10))
    loop.close()
    assert order == ["other", "sleeper"]
    asyncio.run(assert_idle(limiter))


def test_a_permit_for_an_event_loop_that_is_closed_before_it_wakes_goes_to_the_next() -> None:
    limiter = RateLimiter(limit=1, window=60.0)
    loop = asyncio.new_event_loop()
    held = taken(limiter)
    abandoned = loop.create_task(limiter.acquire())
    loop.run_until_complete(settle())

    async def main() -> None:
        waiter = asyncio.ensure_future(limiter.acquire())
        await settle()
        with patch.object(loop, "is_running", return_value=True):
            held.refund()
        assert limiter.statistics().in_flight == 1
        loop.close()
        assert limiter.statistics().in_flight == 0
        (await asyncio.wait_for(waiter, 10)).refund()
        await assert_idle(limiter)

    asyncio.run(main())
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]


def test_an_event_loop_that_another_thread_closes_during_the_hand_over_gets_no_permit() -> None:
    limiter = RateLimiter(limit=1, window=60.0)
    loop = asyncio.new_event_loop()
    held = taken(limiter)
    abandoned = loop.create_task(limiter.acquire())
    loop.run_until_complete(settle())

    async def main() -> None:
        waiter = asyncio.ensure_future(limiter.acquire())
        await settle()
        closed = RuntimeError("Event loop is closed")
        with (
            patch.object(loop, "is_running", return_value=True),
            patch.object(loop, "call_soon_threadsafe", side_effect=closed),
        ):
            held.refund()
        (await asyncio.wait_for(waiter, 10)).refund()

    asyncio.run(main())
    abandoned.cancel()
    loop.run_until_complete(settle())
    loop.close()
    asyncio.run(assert_idle(limiter))
