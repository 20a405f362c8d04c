"""Special to limiters that processes share, in virtual time: each limiter is like a process of its own."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, TypeVar

import pytest
from anyio import create_task_group, move_on_after

from aivideomaker_async._limits.store import Step
from tests.support.limiters import MemoryPlace, MemoryStore, assert_idle, now, served, use

pytestmark = pytest.mark.anyio

T = TypeVar("T")


@pytest.fixture
def anyio_backend(clock_without_loopback: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return clock_without_loopback


def worker_task() -> asyncio.Task[Any]:
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "aivideomaker_async.limiter")
    return task


async def test_a_permit_is_never_there_without_asking_the_store() -> None:
    assert MemoryPlace().limiter().acquire_nowait() is None


async def test_each_service_has_a_limit_of_its_own_unless_the_limiter_has_a_name() -> None:
    limiter = MemoryPlace().limiter(30, 10.0)
    one = limiter.for_origin("a.example")
    assert one is limiter.for_origin("a.example")
    assert one is not limiter.for_origin("b.example")
    assert one.for_origin("b.example") is one
    assert repr(one) == "InMemoryRateLimiter(limit=30, window=10.0, name='a.example', burst=2)"


# --- several processes -------------------------------------------------------------------------------


@pytest.mark.parametrize(("queries", "pace"), [(1, 60 / (57 - 3)), (19, 60 / (57 / 4))])
async def test_the_pace_is_what_the_others_leave_and_an_equal_share_at_least(queries: int, pace: float) -> None:
    """Web workers that made one call each leave the poller of a fourth process all that they do not use."""
    place = MemoryPlace(latency=0.01)
    poller, *others = [place.limiter(burst=60) for _ in range(4)]
    for limiter in others:
        for _ in range(queries):
            await use(limiter)
    await use(poller)
    assert poller.pace == pytest.approx(pace)
    await assert_idle(poller, *others)


async def test_a_pause_stops_all_processes() -> None:
    place = MemoryPlace(latency=0.01)
    one, other = place.limiter(), place.limiter()
    await use(other)
    began = now()
    one.pause(30.0)
    await asyncio.sleep(0.1)
    await use(other)
    assert now() - began == pytest.approx(30.0, abs=0.2)
    await assert_idle(one, other)
    assert (one.statistics().rejected, other.statistics().rejected) == (1, 0)


async def test_a_permit_that_was_granted_before_a_pause_is_not_used() -> None:
    """It was on its way when the service answered 429."""
    place = MemoryPlace(latency=1.0)
    limiter, began = place.limiter(), now()
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(1.5)
    limiter.pause(20.0)
    (await waiter).settle()
    assert now() - began >= 21.5
    await assert_idle(limiter)
    assert limiter.statistics().in_window == 1


async def test_the_lease_of_a_long_request_is_renewed() -> None:
    """Its permit counts for the other processes as long as it is in flight."""
    place = MemoryPlace()
    limiter, other = place.limiter(1), place.limiter(1)
    permit = await limiter.acquire()
    waiter = asyncio.ensure_future(other.acquire())
    await asyncio.sleep(300)
    assert not waiter.done()
    permit.refund()
    (await waiter).settle()
    await assert_idle(limiter, other)


async def test_waiting_sends_no_requests() -> None:
    """A thousand waiters are one member, which returns when it may get the next permit."""
    place, order = MemoryPlace(), list[str]()
    limiter = place.limiter()
    with move_on_after(30.0):
        async with create_task_group() as group:
            for number in range(1000):
                group.start_soon(served, limiter, str(number), order)
    assert order == [str(number) for number in range(len(order))]
    assert len(order) >= 28
    assert place.updates <= len(order) + 15
    await assert_idle(limiter)


async def test_a_call_that_begins_to_wait_during_a_request_is_served_by_the_next_one() -> None:
    place = MemoryPlace(latency=0.1)
    limiter, began = place.limiter(), now()
    first = asyncio.ensure_future(use(limiter))
    await asyncio.sleep(0.05)
    await use(limiter)
    assert now() - began == pytest.approx(0.4, abs=0.01)
    await first
    await assert_idle(limiter)


# --- cancellation and failures -----------------------------------------------------------------------


@pytest.mark.parametrize("moment", [0.0, 0.005, 0.015, 0.5])
async def test_the_waiters_of_a_cancelled_worker_are_served_by_the_next(moment: float) -> None:
    """A program that cancels all tasks of a loop and goes on has a limiter that goes on.

    A waiter that gives up at the same moment is not in the way.
    """
    place = MemoryPlace(latency=0.01)
    limiter = place.limiter()
    for _ in range(2):
        await use(limiter)
    held = await limiter.acquire()
    given_up, waiter = asyncio.ensure_future(limiter.acquire()), asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(moment)
    worker_task().cancel()
    given_up.cancel()
    (await waiter).settle()
    # Reported by the next worker.
    held.settle()
    await assert_idle(limiter)


async def test_a_permit_whose_grant_never_arrived_is_returned() -> None:
    """The store had granted it when the worker was cancelled."""
    place = MemoryPlace(latency=0.1)
    limiter = place.limiter(1)
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(0.15)
    assert '"open":{}' not in (place.text or "")
    waiter.cancel()
    worker_task().cancel()
    await assert_idle(limiter)
    await asyncio.wait_for(use(limiter), 1.0)
    await assert_idle(limiter)


async def test_a_worker_that_is_cancelled_before_it_began_leaves_nobody_waiting() -> None:
    """A task that is cancelled in the step that made it never runs."""
    place = MemoryPlace()
    limiter = place.limiter()

    async def cancel() -> None:
        worker_task().cancel()

    waiter, canceller = asyncio.ensure_future(limiter.acquire()), asyncio.ensure_future(cancel())
    (await asyncio.wait_for(waiter, 10)).settle()
    await canceller
    await assert_idle(limiter)


async def test_an_unexpected_error_of_a_store_reaches_the_waiters() -> None:
    """And the next call tries again."""
    place = MemoryPlace()
    limiter = place.limiter()

    class Broken(MemoryStore):
        async def update(self, step: Step[T]) -> T:
            raise ZeroDivisionError

    limiter.store = Broken
    with pytest.raises(ZeroDivisionError):
        await limiter.acquire()
    limiter.store = MemoryStore
    await use(limiter)
    await assert_idle(limiter)


async def test_a_store_that_cannot_be_closed_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "aivideomaker_async.limits")
    place = MemoryPlace()
    limiter = place.limiter()

    class Stuck(MemoryStore):
        async def aclose(self) -> None:
            await super().aclose()
            await asyncio.sleep(1e9)

    limiter.store = Stuck
    await use(limiter)
    await assert_idle(limiter)
    assert caplog.messages == ["the store of the shared query limit was not closed cleanly: TimeoutError()"]


async def test_requests_of_one_process_that_overtake_each_other_lose_no_report() -> None:
    """One loop reported that a permit is over; then an older request of another loop arrived, in which it was not."""
    place = MemoryPlace()
    limiter = place.limiter()
    permit = await limiter.acquire()
    worker, store = limiter._worker(), MemoryStore(place)
    early = limiter._request(worker, now())
    permit.settle()
    late = limiter._request(worker, now())
    for request in (late, early):
        limiter._confirm(request, await limiter._client.send_to_store(request, store), now(), rejected=0)
    assert '"open":{}' not in (place.text or "")
    await store.aclose()
    await use(limiter)
    await assert_idle(limiter)
    assert limiter.statistics().in_window == 2


# --- event loops -------------------------------------------------------------------------------------


def test_a_store_that_does_not_answer_holds_up_the_end_of_an_event_loop_for_half_a_second() -> None:
    place = MemoryPlace()
    limiter = place.limiter()

    async def main() -> float:
        permit = await limiter.acquire()
        await asyncio.sleep(0.01)
        place.latency = 60.0
        permit.settle()
        return now()

    with asyncio.Runner() as runner:
        began, loop = runner.run(main()), runner.get_loop()
    assert loop.time() - began < 5


def test_a_permit_in_a_closed_event_loop_counts_as_unanswered() -> None:
    place = MemoryPlace()
    limiter = place.limiter(2, 0.05, burst=2)
    loop = asyncio.new_event_loop()
    held = loop.run_until_complete(limiter.acquire())
    loop.close()
    gc.collect()
    assert limiter.statistics().in_flight == 0
    assert list(limiter._settled) == [held.name]  # type: ignore[attr-defined]
    held.settle()
    asyncio.run(use(limiter))
    assert not limiter._in_flight
