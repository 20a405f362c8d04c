"""What all limiters have in common, whatever they keep the limit in. Waits of minutes take no time."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref
from pathlib import Path
from typing import Any, Final

import pytest
from anyio import create_task_group, move_on_after

from aivideomaker_async import ConfigurationError, Permit, Priority
from tests.support import limiters
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import settle
from tests.support.limiters import InMemoryRateLimiter, MakeLimiter, assert_idle, now, served, use, use_burst
from tests.support.servers import ExactSliding

pytestmark = pytest.mark.anyio

FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND

PACE: Final = 60 / 57
"""Seconds between two requests of the default limit."""

ROUNDING: Final = 1e-4
"""Processes that share a limit round the times at which they return."""


@pytest.fixture
def anyio_backend(clock_without_loopback: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return clock_without_loopback


KINDS: Final = ["local", "memory", "host", "redis"]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeLimiter:
    if request.param == "local":
        return limiters.local()
    if request.param == "memory":
        return limiters.MemoryPlace().limiter
    if request.param == "distant memory":
        return limiters.MemoryPlace(latency=0.05).limiter
    if request.param == "host":
        return limiters.host(tmp_path)
    return limiters.redis(request.getfixturevalue("redis_url"))


# --- whose turn it is --------------------------------------------------------------------------------


async def test_a_burst_goes_at_once_and_the_rest_at_the_pace(make: MakeLimiter) -> None:
    limiter, began, times = make(), now(), list[float]()
    for _ in range(8):
        await use(limiter)
        times.append(now() - began)
    assert times == pytest.approx([0, 0, 0, *(PACE * step for step in range(1, 6))], abs=ROUNDING)
    await assert_idle(limiter)
    assert limiter.statistics().granted == 8
    assert limiter.pace == pytest.approx(PACE)


@pytest.mark.parametrize("priority", Priority)
async def test_waiters_of_a_priority_are_served_in_the_order_in_which_they_came(
    make: MakeLimiter, priority: Priority
) -> None:
    limiter, order = make(), list[str]()
    async with create_task_group() as group:
        for number in range(10):
            group.start_soon(served, limiter, str(number), order, priority)
    assert order == [str(number) for number in range(10)]
    await assert_idle(limiter)


async def test_users_go_before_polls_without_starving_them(make: MakeLimiter) -> None:
    """A poll whose turn comes among users needs no headroom, or it would hold up the users behind it."""
    limiter, times = make(), dict[str, float]()

    async def one(name: str, priority: Priority) -> None:
        await use(limiter, priority)
        times[name] = now() - began

    await use_burst(limiter)
    began = now()
    async with create_task_group() as group:
        for number in range(2):
            group.start_soon(one, f"poll {number}", BACKGROUND)
        await asyncio.sleep(0.1)
        for number in range(6):
            group.start_soon(one, f"user {number}", FOREGROUND)
    assert list(times) == ["user 0", "user 1", "user 2", "user 3", "poll 0", "user 4", "user 5", "poll 1"]
    assert times["poll 0"] == pytest.approx(5 * PACE, abs=0.01)
    assert times["user 5"] == pytest.approx(7 * PACE, abs=0.01)
    await assert_idle(limiter)


async def test_polls_alone_leave_a_token_and_keep_the_pace(make: MakeLimiter) -> None:
    """A user that comes finds the token, and in the long run the polls lose nothing by it."""
    limiter, order, began = make(), list[str](), now()
    async with create_task_group() as group:
        for number in range(20):
            group.start_soon(served, limiter, str(number), order, BACKGROUND)
        for _ in range(2):
            await asyncio.sleep(5.5)
            asked_at = now()
            await use(limiter)
            assert now() == asked_at
    # Two polls at once, and then one request each.
    assert now() - began == pytest.approx((18 + 2) * PACE, abs=0.01)
    await assert_idle(limiter)


# --- permits -----------------------------------------------------------------------------------------


async def test_a_full_window_waits_for_an_answer_and_a_window_more(make: MakeLimiter) -> None:
    """However long that takes."""
    limiter = make(2, burst=2)
    first, second = await limiter.acquire(), await limiter.acquire()
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(300)
    assert not waiter.done()
    answered_at = now()
    first.settle()
    (await waiter).settle()
    assert now() - answered_at == pytest.approx(60.12, abs=ROUNDING)
    second.settle()
    await assert_idle(limiter)


async def test_a_refund_lets_the_next_go_at_once(make: MakeLimiter) -> None:
    limiter = make(1)
    permit, began = await limiter.acquire(), now()
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(0.1)
    permit.refund()
    (await waiter).settle()
    assert now() - began == pytest.approx(0.1)
    await assert_idle(limiter)


@pytest.mark.parametrize("second", ["settle", "refund"])
@pytest.mark.parametrize("first", ["settle", "refund"])
async def test_only_the_first_settle_or_refund_of_a_permit_has_an_effect(
    make: MakeLimiter, first: str, second: str
) -> None:
    limiter = make()
    permit = await limiter.acquire()
    getattr(permit, first)()
    getattr(permit, second)()
    await assert_idle(limiter)
    state = limiter.statistics()
    assert state.granted == state.in_window == (1 if first == "settle" else 0)


async def test_a_permit_is_a_context_manager_and_counts_longer_after_an_error(make: MakeLimiter) -> None:
    """After an error the request may still be on its way to the service for five seconds."""
    limiter = make(1, 10.0)
    with await limiter.acquire():  # type: ignore[attr-defined]
        assert limiter.statistics().in_flight == 1
    began = now()
    with pytest.raises(RuntimeError), await limiter.acquire():  # type: ignore[attr-defined]
        raise RuntimeError
    assert now() - began == pytest.approx(10 / 0.95, abs=ROUNDING)
    began = now()
    await use(limiter)
    assert now() - began == pytest.approx(5 + 10.02, abs=ROUNDING)
    await assert_idle(limiter)


# --- pauses ------------------------------------------------------------------------------------------


async def test_a_pause_holds_for_all_waiters_and_ends_at_the_pace(
    make: MakeLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    """A shorter pause does not end a longer one."""
    limiter, began, times = make(), now(), list[float]()

    async def timed() -> None:
        await use(limiter)
        times.append(now() - began)

    await use_burst(limiter)
    async with create_task_group() as group:
        group.start_soon(timed)
        await asyncio.sleep(0.1)
        limiter.pause(30.0)
        assert limiter.statistics().paused_for == pytest.approx(30.0)
        assert limiter.acquire_nowait() is None
        group.start_soon(timed)
        await asyncio.sleep(10)
        limiter.pause(5.0)
    # No token is added during the pause.
    assert times == pytest.approx([30 + PACE, 30 + 2 * PACE], abs=0.01)
    await assert_idle(limiter)
    assert (limiter.statistics().rejected, limiter.statistics().paused_for) == (2, 0.0)
    assert caplog.messages == [
        f"the service limits the rate (429): all queries pause for {seconds} s" for seconds in (30.0, 20.0)
    ]


@pytest.mark.parametrize(
    ("seconds", "longest"), [(-1.0, 0), (0.0, 0), (float("nan"), 0), (float("inf"), 3600), (1e12, 3600)]
)
async def test_a_nonsensical_pause_ends(make: MakeLimiter, seconds: float, longest: float) -> None:
    limiter, began = make(), now()
    limiter.pause(seconds)
    await use(limiter)
    assert now() - began <= longest + PACE
    await assert_idle(limiter)


# --- cancellation ------------------------------------------------------------------------------------


async def test_a_cancelled_waiter_holds_nothing_and_those_behind_it_are_served(make: MakeLimiter) -> None:
    limiter, order = make(1, 10.0), list[str]()
    permit = await limiter.acquire()
    waiters = [asyncio.ensure_future(served(limiter, name, order)) for name in "abc"]
    await settle()
    assert limiter.statistics().waiting_foreground == 3
    waiters[0].cancel()
    waiters[1].cancel()
    await settle()
    assert limiter.statistics().waiting_foreground == 1
    permit.settle()
    await waiters[2]
    assert order == ["c"]
    await assert_idle(limiter)
    assert limiter.statistics().granted == 2


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("make", ["local", "memory"], indirect=True)
async def test_a_permit_of_a_waiter_that_is_cancelled_goes_to_the_next(make: MakeLimiter, steps: int) -> None:
    """Some steps of the event loop after a refund: before its permit is granted, with it, and after it."""
    limiter = make(1)
    permit = await limiter.acquire()
    first, second = asyncio.ensure_future(limiter.acquire()), asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(0.1)
    permit.refund()
    await settle(steps)
    first.cancel()
    await asyncio.wait([first])
    if not first.cancelled():
        first.result().refund()
    (await second).refund()
    await assert_idle(limiter)
    assert limiter.statistics().granted == limiter.statistics().in_window == 0


async def test_a_permit_that_no_waiter_takes_is_not_spent(make: MakeLimiter) -> None:
    """All of them were cancelled at the moment at which it came."""
    limiter = make(1)
    permit = await limiter.acquire()
    waiters = [asyncio.ensure_future(limiter.acquire()) for _ in range(3)]
    await asyncio.sleep(0.1)
    for waiter in waiters:
        waiter.cancel()
    permit.refund()
    await asyncio.wait(waiters)
    await assert_idle(limiter)
    began = now()
    (await limiter.acquire()).refund()
    assert now() == began
    await assert_idle(limiter)
    assert limiter.statistics().granted == limiter.statistics().in_window == 0


@pytest.mark.parametrize("moment", [0.0, PACE / 2, PACE - 1e-9, PACE, PACE + 1e-9, 2 * PACE])
async def test_a_deadline_at_any_moment_holds_nothing(make: MakeLimiter, moment: float) -> None:
    """Before the permit comes, with it, or after it."""
    limiter = make()
    await use_burst(limiter)
    permit: Permit | None = None
    with move_on_after(moment):
        permit = await limiter.acquire()
    state = limiter.statistics()
    assert state.in_flight == (permit is not None)
    assert state.granted == 3 + (permit is not None)
    assert state.waiting_foreground == 0
    if permit is not None:
        permit.settle()
    await assert_idle(limiter)


@pytest.mark.parametrize("make", [*KINDS, "distant memory"], indirect=True)
async def test_a_call_that_is_cancelled_anywhere_holds_nothing(make: MakeLimiter) -> None:
    limiter = make(1000, 1.0, burst=1)
    await use(limiter)
    await cancel_everywhere(lambda: use(limiter), lambda: assert_idle(limiter), at_least=1)
    await assert_idle(limiter)


async def test_many_that_wait_and_give_up_keep_the_limit_and_the_rest_is_served(make: MakeLimiter) -> None:
    """With latencies, lost answers, and cancellations at random times; arrivals are counted exactly."""
    rnd = random.Random(7)
    limiter, arrivals, outcomes = make(20, 10.0), list[float](), list[str]()

    async def one() -> None:
        await asyncio.sleep(rnd.uniform(0, 60))
        gives_up = rnd.random() < 0.3
        with move_on_after(rnd.uniform(0, 30) if gives_up else float("inf")):
            permit = await limiter.acquire(rnd.choice([FOREGROUND, BACKGROUND]))
            up, down = rnd.uniform(0, 3), rnd.uniform(0, 3)
            arrivals.append(now() + up)
            try:
                await asyncio.sleep(up + down)
            except asyncio.CancelledError:
                # The request was sent, and may arrive after all.
                permit.settle(answered=False)
                raise
            permit.settle(answered=rnd.random() > 0.1)
            outcomes.append("served")
            return
        outcomes.append("gave up")

    async with create_task_group() as group:
        for _ in range(200):
            group.start_soon(one)
    assert len(outcomes) == 200
    assert outcomes.count("served") > 120
    counter = ExactSliding(20, 10.0)
    assert all(counter.admit(at) for at in sorted(arrivals))
    await assert_idle(limiter)
    assert limiter.statistics().granted == len(arrivals)


# --- event loops and threads ---------------------------------------------------------------------------


def test_one_limiter_serves_one_event_loop_after_another(make: MakeLimiter) -> None:
    """As in a script that calls `asyncio.run` several times; the limit holds across them."""
    limiter, times = make(3, 0.2, burst=3), list[float]()

    async def some() -> None:
        for _ in range(3):
            await use(limiter)
            times.append(now())

    for _ in range(3):
        asyncio.run(some())
    counter = ExactSliding(3, 0.2)
    assert all(counter.admit(at) for at in times)
    asyncio.run(assert_idle(limiter))
    assert limiter.statistics().granted == 9


def test_event_loops_in_several_threads_share_one_limit(make: MakeLimiter) -> None:
    """Permits are settled anywhere, also in threads without an event loop, and all waiters are served."""
    limiter, arrivals, errors = make(20, 0.2, burst=2), list[float](), list[BaseException]()
    together = threading.Barrier(3)

    async def one(rnd: random.Random) -> None:
        if rnd.random() < 0.2:
            with move_on_after(rnd.uniform(0, 0.02)):
                (await limiter.acquire()).refund()
            return
        permit = await limiter.acquire(rnd.choice([FOREGROUND, BACKGROUND]))
        arrivals.append(now())
        helper = threading.Thread(target=permit.settle)
        helper.start()
        await asyncio.to_thread(helper.join)

    async def crowd(seed: int) -> None:
        rnd = random.Random(seed)
        async with asyncio.timeout(20), create_task_group() as group:
            for _ in range(12):
                group.start_soon(one, rnd)

    def thread(seed: int) -> None:
        try:
            together.wait(10)
            asyncio.run(crowd(seed))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=thread, args=(seed,)) for seed in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert not errors
    assert len(arrivals) > 20
    counter = ExactSliding(20, 0.2)
    assert all(counter.admit(at) for at in sorted(arrivals))
    asyncio.run(assert_idle(limiter))
    assert limiter.statistics().granted == len(arrivals)


# Not over Redis: redis-py warns of connections in such a loop.
@pytest.mark.parametrize("make", ["local", "memory", "host"], indirect=True)
def test_waiters_and_permits_of_a_closed_event_loop_are_not_in_the_way(make: MakeLimiter) -> None:
    """A loop that was closed without cancelling its tasks leaves them behind."""
    limiter = make(2, 0.05, burst=2)
    loop = asyncio.new_event_loop()
    held = [loop.run_until_complete(limiter.acquire()) for _ in range(2)]
    abandoned = loop.create_task(limiter.acquire())
    loop.run_until_complete(settle())
    loop.run_until_complete(asyncio.sleep(0.1))
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    gc.collect()
    del abandoned
    for permit in held:
        permit.settle()
    assert limiter.statistics().waiting_foreground == 0
    if isinstance(limiter, InMemoryRateLimiter):
        # The store went with its loop.
        limiter.place.open_stores = 0

    async def main() -> None:
        async with asyncio.timeout(10):
            await use(limiter)
        await assert_idle(limiter)

    asyncio.run(main())


def test_the_end_of_an_event_loop_cancels_its_waiters_quietly(
    make: MakeLimiter, caplog: pytest.LogCaptureFixture
) -> None:
    """Its last answers are reported before."""
    limiter = make(1)

    async def main() -> None:
        permit = await limiter.acquire()
        waiter = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0.05)
        assert not waiter.done()
        permit.settle()

    asyncio.run(main())
    gc.collect()
    asyncio.run(assert_idle(limiter))
    assert caplog.messages == []


def test_a_limiter_keeps_no_event_loop_alive(make: MakeLimiter) -> None:
    limiter = make(100, 1.0)

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await use_burst(limiter)
        await use(limiter)
        return weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(main())
    asyncio.run(main())
    gc.collect()
    assert first() is None


def test_a_pause_outside_of_any_event_loop_holds(make: MakeLimiter) -> None:
    limiter = make(60, 0.6)
    limiter.pause(0.2)

    async def main() -> float:
        began = now()
        await use(limiter)
        return now() - began

    assert asyncio.run(main()) > 0.1


# --- arguments and statistics ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("limit", [0, -1, 1.5, True, "60", None]),
        ("window", [0, -60.0, float("nan"), float("inf"), "60"]),
        ("burst", [0, 2.0, False]),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(make: MakeLimiter, argument: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigurationError) as caught:
            make(**{argument: value})
        assert str(caught.value).startswith(f"{argument}={value!r}: must be ")


@pytest.mark.parametrize(("limit", "options", "burst"), [(5, {"burst": 50}, 5), (60, {}, 3), (200, {}, 10)])
def test_a_burst_is_never_larger_than_the_limit(
    make: MakeLimiter, limit: int, options: dict[str, int], burst: int
) -> None:
    assert make(limit, **options).statistics().burst == burst


async def test_the_statistics_are_complete(make: MakeLimiter) -> None:
    limiter = make(4, 10.0, burst=2)
    first, second = await limiter.acquire(), await limiter.acquire()
    first.settle()
    waiters = [asyncio.ensure_future(limiter.acquire(priority)) for priority in (FOREGROUND, BACKGROUND, BACKGROUND)]
    await asyncio.sleep(0.1)
    limiter.pause(3.0)
    state = limiter.statistics()
    assert (state.limit, state.window, state.burst) == (4, 10.0, 2)
    assert (state.in_window, state.in_flight) == (2, 1)
    assert (state.waiting_foreground, state.waiting_background) == (1, 2)
    assert (state.granted, state.rejected) == (2, 1)
    assert state.paused_for == pytest.approx(3.0)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    second.settle()
    await assert_idle(limiter)
