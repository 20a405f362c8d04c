"""The limiter in virtual time: waits of minutes take none, and every run sees the same times."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import weakref
from collections.abc import Awaitable, Iterator
from typing import Any, Final, TypeVar
from unittest.mock import patch

import pytest
from anyio import create_task_group, fail_after, move_on_after, run
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import ConfigurationError, Permit, Priority, RateLimiter
from tests.support.servers import ExactSliding
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio

FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND
PACE: Final = 60 / 57
"""Seconds between two requests of the default limiter."""

T = TypeVar("T")


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@pytest.fixture(autouse=True)
def no_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here talks to anybody, so the clock need not wait for what may be under way."""
    monkeypatch.setattr("tests.support.virtual_clock.GRACE", 0.0)


def in_virtual_time(main: Awaitable[T]) -> T:
    return run(lambda: main, backend_options={"loop_factory": VirtualClockLoop})


def now() -> float:
    return asyncio.get_running_loop().time()


async def settled(steps: int = 5) -> None:
    """Let everything go on that can go on without time."""
    for _ in range(steps):
        await asyncio.sleep(0)


async def served(limiter: RateLimiter, name: str, order: list[str], priority: Priority = FOREGROUND) -> None:
    """Wait for a permit, write down whose turn it was, and be answered at once."""
    permit = await limiter.acquire(priority)
    order.append(name)
    permit.settle()


async def exhausted(limiter: RateLimiter) -> None:
    """Take what may go at once, so that whoever comes now must wait."""
    while permit := limiter.acquire_nowait():
        permit.settle()


def nothing_is_held(limiter: RateLimiter) -> bool:
    state = limiter.statistics()
    return (state.in_flight, state.waiting_foreground, state.waiting_background) == (0, 0, 0)


# --- whose turn it is --------------------------------------------------------------------------------


async def test_a_burst_goes_at_once_and_the_rest_at_the_pace() -> None:
    """Three of sixty, and then one about every second."""
    limiter, began, times = RateLimiter(), now(), list[float]()
    assert limiter.pace == pytest.approx(PACE)
    for _ in range(10):
        (await limiter.acquire()).settle()
        times.append(now() - began)
    assert times == pytest.approx([0, 0, 0, *(PACE * step for step in range(1, 8))])


@pytest.mark.parametrize("priority", Priority)
async def test_first_come_first_served_within_a_priority(priority: Priority) -> None:
    """In the order in which they began to wait."""
    limiter, order = RateLimiter(), list[str]()
    async with create_task_group() as group:
        for number in range(12):
            group.start_soon(served, limiter, str(number), order, priority)
    assert order == [str(number) for number in range(12)]


async def test_a_user_goes_before_the_watcher() -> None:
    """Who wants an answer now does not wait for polls that came before."""
    limiter, order = RateLimiter(), list[str]()
    await exhausted(limiter)
    async with create_task_group() as group:
        for number in range(2):
            group.start_soon(served, limiter, f"poll {number}", order, BACKGROUND)
        await settled()
        for number in range(3):
            group.start_soon(served, limiter, f"user {number}", order, FOREGROUND)
    assert order == ["user 0", "user 1", "user 2", "poll 0", "poll 1"]


async def test_users_without_end_do_not_starve_the_watcher() -> None:
    """It has its turn after four of them."""
    limiter, order = RateLimiter(), list[str]()
    await exhausted(limiter)
    async with create_task_group() as group:
        for number in range(20):
            group.start_soon(served, limiter, f"user {number}", order, FOREGROUND)
        group.start_soon(served, limiter, "poll", order, BACKGROUND)
    assert order.index("poll") == 4


async def test_nobody_jumps_the_queue() -> None:
    """`acquire_nowait` gives nothing while somebody waits, also when a permit could go at this moment."""
    limiter, order = RateLimiter(limit=1000, window=10.0, burst=1), list[str]()
    await exhausted(limiter)
    async with create_task_group() as group:
        group.start_soon(served, limiter, "waits", order)
        await settled()
        asyncio.get_running_loop().jump(5.0)  # type: ignore[attr-defined]
        assert limiter.acquire_nowait() is None
    assert order == ["waits"]


async def test_a_permit_without_waiting_or_none() -> None:
    """As long as the burst lasts, and again when time has passed."""
    limiter = RateLimiter()
    permits = [limiter.acquire_nowait() for _ in range(4)]
    assert [permit is not None for permit in permits] == [True, True, True, False]
    await asyncio.sleep(PACE + 1e-6)
    assert limiter.acquire_nowait() is not None
    assert limiter.acquire_nowait() is None


async def test_polls_alone_leave_a_token_and_keep_the_pace() -> None:
    """A user who comes finds one at once, and the polls lose nothing by it in the long run."""
    limiter, order, began = RateLimiter(), list[str](), now()
    async with create_task_group() as group:
        for number in range(58):
            group.start_soon(served, limiter, str(number), order, BACKGROUND)
        for _ in range(3):
            await asyncio.sleep(15.0)
            asked_at = now()
            (await limiter.acquire()).settle()
            assert now() == asked_at
    # Two at once, and then one each.
    assert now() - began == pytest.approx((56 + 3) * PACE)
    assert limiter.acquire_nowait() is not None


async def test_a_poll_that_has_its_turn_among_users_needs_no_reserve() -> None:
    """Or it would hold up those behind it."""
    limiter, times = RateLimiter(), dict[str, float]()

    async def one(name: str, priority: Priority) -> None:
        (await limiter.acquire(priority)).settle()
        times[name] = now()

    await exhausted(limiter)
    began = now()
    async with create_task_group() as group:
        group.start_soon(one, "poll", BACKGROUND)
        for number in range(6):
            group.start_soon(one, str(number), FOREGROUND)
    assert times["poll"] - began == pytest.approx(5 * PACE)
    assert times["5"] - began == pytest.approx(7 * PACE)


# --- giving back -------------------------------------------------------------------------------------


async def test_a_full_window_waits_for_an_answer() -> None:
    """While all permits are under way nobody goes, however long it takes; an answer lets the next go in time."""
    limiter = RateLimiter(limit=2, window=10.0, burst=2)
    first, second = await limiter.acquire(), await limiter.acquire()
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(1000)
    assert not waiter.done()
    answered_at = now()
    first.settle()
    (await waiter).settle()
    assert now() - answered_at == pytest.approx(10.02)
    second.settle()


async def test_a_refund_lets_the_next_go_at_once() -> None:
    """What was not sent does not count."""
    limiter = RateLimiter(limit=1, window=60.0)
    permit, began = await limiter.acquire(), now()
    waiter = asyncio.ensure_future(limiter.acquire())
    await settled()
    permit.refund()
    (await waiter).settle()
    assert now() == began


@pytest.mark.parametrize("second", ["settle", "refund"])
@pytest.mark.parametrize("first", ["settle", "refund"])
async def test_a_second_time_changes_nothing(first: str, second: str) -> None:
    """Whatever was done first holds, and the counts stay right."""
    limiter = RateLimiter()
    permit = await limiter.acquire()
    getattr(permit, first)()
    before = limiter.statistics()
    getattr(permit, second)()
    assert limiter.statistics() == before
    assert (before.granted, before.in_window, before.in_flight) == ((1, 1, 0) if first == "settle" else (0, 0, 0))


async def test_a_permit_settles_at_the_end_of_its_block() -> None:
    """As answered; after an error as one that may still be on its way."""
    limiter = RateLimiter(limit=1, window=10.0)
    with await limiter.acquire():  # type: ignore[attr-defined]
        assert limiter.statistics().in_flight == 1
    began = now()
    with pytest.raises(RuntimeError), await limiter.acquire():  # type: ignore[attr-defined]
        raise RuntimeError
    assert now() - began == pytest.approx(10 / 0.95)
    began = now()
    (await limiter.acquire()).settle()
    assert now() - began == pytest.approx(5 + 10.02)


# --- pauses ------------------------------------------------------------------------------------------


async def test_a_pause_holds_for_everyone_who_waits_and_everyone_who_comes() -> None:
    """Also for those whose turn it was to be at any moment, and then they go at the pace."""
    limiter, order = RateLimiter(), list[str]()
    await exhausted(limiter)
    began = now()
    times = list[float]()

    async def one(name: str) -> None:
        await served(limiter, name, order)
        times.append(now() - began)

    async with create_task_group() as group:
        group.start_soon(one, "waits already")
        await settled()
        limiter.pause(30.0)
        assert limiter.statistics().paused_for == 30.0
        assert limiter.acquire_nowait() is None
        group.start_soon(one, "comes later")
        await asyncio.sleep(10)
        limiter.pause(5.0)
    assert order == ["waits already", "comes later"]
    assert times[0] == pytest.approx(30.0, abs=PACE)
    assert times[1] - times[0] == pytest.approx(PACE)
    assert limiter.statistics().rejected == 2
    assert limiter.statistics().paused_for == 0


async def test_a_pause_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Once for each answer of 429, with what remains."""
    RateLimiter().pause(12.0)
    assert caplog.messages == ["the service limits the rate (429): all queries pause for 12.0 s"]


@pytest.mark.parametrize("seconds", [-1.0, 0.0, float("nan"), float("inf"), 1e12])
async def test_a_nonsensical_pause_ends(seconds: float) -> None:
    """At once, or after an hour."""
    limiter, began = RateLimiter(), now()
    limiter.pause(seconds)
    (await limiter.acquire()).settle()
    assert now() - began <= 3600


# --- cancellation ------------------------------------------------------------------------------------


async def test_a_wait_that_is_cancelled_holds_nothing() -> None:
    """Neither a place in the queue nor a permit, and those behind it go as if it had not been there."""
    limiter, order = RateLimiter(limit=1, window=10.0), list[str]()
    permit = await limiter.acquire()
    waiters = [asyncio.ensure_future(served(limiter, name, order)) for name in "abc"]
    await settled()
    assert limiter.statistics().waiting_foreground == 3
    waiters[0].cancel()
    waiters[1].cancel()
    await settled()
    assert limiter.statistics().waiting_foreground == 1
    permit.settle()
    await waiters[2]
    assert order == ["c"]
    assert nothing_is_held(limiter)
    assert limiter.statistics().granted == 2


async def test_a_wait_that_is_cancelled_as_its_permit_comes_gives_it_to_the_next() -> None:
    """The permit was there and nobody had seen it: it counts for nobody."""
    limiter = RateLimiter(limit=1, window=10.0)
    permit = await limiter.acquire()
    first, second = asyncio.ensure_future(limiter.acquire()), asyncio.ensure_future(limiter.acquire())
    await settled()
    permit.refund()
    first.cancel()
    (await second).settle()
    assert first.cancelled()
    assert nothing_is_held(limiter)
    assert limiter.statistics().granted == 1


async def test_a_wait_that_is_cancelled_just_before_is_passed_over() -> None:
    """The permit that comes at the same moment goes to the next."""
    limiter = RateLimiter(limit=1, window=10.0)
    permit = await limiter.acquire()
    first, second = asyncio.ensure_future(limiter.acquire()), asyncio.ensure_future(limiter.acquire())
    await settled()
    first.cancel()
    permit.refund()
    (await second).settle()
    assert first.cancelled()
    assert limiter.statistics().granted == 1


async def test_a_permit_that_nobody_takes_any_more_is_not_spent() -> None:
    """All who waited were cancelled at the moment at which it came."""
    limiter = RateLimiter(limit=1, window=10.0)
    permit = await limiter.acquire()
    waiters = [asyncio.ensure_future(limiter.acquire()) for _ in range(3)]
    await settled()
    for waiter in waiters:
        waiter.cancel()
    permit.refund()
    await asyncio.wait(waiters)
    assert nothing_is_held(limiter)
    assert limiter.statistics().granted == limiter.statistics().in_window == 0
    assert limiter.acquire_nowait() is not None


@pytest.mark.parametrize("moment", [0.0, PACE / 2, PACE - 1e-9, PACE, PACE + 1e-9, 2 * PACE])
async def test_a_deadline_at_any_moment_holds_nothing(moment: float) -> None:
    """Before the permit comes, with it, or after it."""
    limiter = RateLimiter()
    await exhausted(limiter)
    taken = limiter.statistics().granted
    permit: Permit | None = None
    with move_on_after(moment):
        permit = await limiter.acquire()
    state = limiter.statistics()
    assert state.in_flight == (permit is not None)
    assert state.granted == taken + (permit is not None)
    assert state.waiting_foreground == 0


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancellation_at_any_step_of_the_loop_holds_nothing(steps: int) -> None:
    """Counted in turns of the event loop around the moment of the grant."""
    limiter = RateLimiter(limit=1, window=10.0)
    permit = await limiter.acquire()
    waiter = asyncio.ensure_future(limiter.acquire())
    await settled(3)
    asyncio.get_running_loop().call_soon(permit.refund)
    await settled(steps)
    waiter.cancel()
    await asyncio.wait([waiter])
    if not waiter.cancelled():
        waiter.result().refund()
    assert nothing_is_held(limiter)
    assert limiter.acquire_nowait() is not None


# --- many --------------------------------------------------------------------------------------------


async def test_hundreds_who_wait_and_give_up_keep_the_limit_and_the_rest_is_served() -> None:
    """With latencies, lost answers, and cancellations at random moments; arrivals are counted exactly."""
    rnd = random.Random(7)
    limiter, arrivals, outcomes = RateLimiter(limit=20, window=10.0), list[float](), list[str]()

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
                # It was sent, and may arrive after all.
                permit.settle(answered=False)
                raise
            permit.settle(answered=rnd.random() > 0.1)
            outcomes.append("served")
            return
        outcomes.append("gave up")

    async with create_task_group() as group:
        for _ in range(500):
            group.start_soon(one)
    assert len(outcomes) == 500
    assert outcomes.count("served") > 250
    counter = ExactSliding(20, 10.0)
    assert all(counter.admit(at) for at in sorted(arrivals))
    assert nothing_is_held(limiter)
    assert limiter.statistics().granted == len(arrivals)


steps = st.tuples(
    st.sampled_from(["come", "come", "cancel", "settle", "lose", "refund", "pause", "nowait"]),
    st.floats(0, 4),
    st.integers(0, 50),
    st.booleans(),
)


@given(st.integers(1, 4), st.floats(1, 20), st.integers(1, 4), st.lists(steps, max_size=40))
@settings(max_examples=120, deadline=None)
def test_any_script_keeps_the_limit_and_leaves_nobody_waiting(
    limit: int, window: float, burst: int, script: list[tuple[str, float, int, bool]]
) -> None:
    """Whoever comes, gives up, is answered, lost or refused, in any order and at any time."""
    in_virtual_time(_play(RateLimiter(limit, window, burst=burst), script, ExactSliding(limit, window)))


async def _play(limiter: RateLimiter, script: list[tuple[str, float, int, bool]], counter: ExactSliding) -> None:
    waiters: list[asyncio.Future[Permit]] = []
    held: list[tuple[Permit, float]] = []
    spans: list[tuple[float, float]] = []
    refunded = 0

    def collect() -> None:
        for waiter in [waiter for waiter in waiters if waiter.done()]:
            waiters.remove(waiter)
            if not waiter.cancelled():
                held.append((waiter.result(), now()))

    for what, pause, place, flag in script:
        await asyncio.sleep(pause)
        collect()
        if what == "come":
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
                refunded += 1
            else:
                permit.settle(answered=what == "settle")
                spans.append((since, now() if what == "settle" else now() + min(5.0, counter.window)))
        if flag:
            await settled(place % 4)
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
    assert nothing_is_held(limiter)
    assert state.granted == len(spans)
    assert state.in_window <= state.limit
    # Requests arrive at the worst moments: each as late as it can, or each as early.
    for arrivals in ([late for _, late in spans], [early for early, _ in spans]):
        seen = ExactSliding(counter.limit, counter.window)
        assert all(seen.admit(at) for at in sorted(arrivals))


# --- event loops and threads -------------------------------------------------------------------------


def test_one_limiter_serves_one_event_loop_after_another() -> None:
    """As in a script that calls `asyncio.run` several times; the limit holds across them."""
    limiter = RateLimiter(limit=3, window=0.05, burst=3)

    async def some() -> list[float]:
        times = []
        for _ in range(4):
            times.append(now())
            (await limiter.acquire()).settle()
        return times

    for _ in range(3):
        asyncio.run(some())
    assert limiter.statistics().granted == 12
    assert nothing_is_held(limiter)


def test_who_waited_in_a_loop_that_was_closed_does_not_stand_in_the_way() -> None:
    """A loop that was closed without cancelling its tasks leaves its queue behind."""
    limiter = RateLimiter(limit=1, window=0.01)
    loop = asyncio.new_event_loop()
    held = limiter.acquire_nowait()
    assert held is not None
    abandoned = loop.create_task(limiter.acquire())
    loop.run_until_complete(settled())
    loop.close()
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]
    held.refund()
    assert limiter.statistics().waiting_foreground == 0
    again = limiter.acquire_nowait()
    assert again is not None
    again.settle()
    asyncio.run(_once(limiter))


async def _once(limiter: RateLimiter) -> None:
    (await limiter.acquire()).settle()


def test_event_loops_in_several_threads_share_one_limit() -> None:
    """Real loops: a permit that one gives back lets somebody in another go, and all are served."""
    limiter = RateLimiter(limit=8, window=0.05, burst=4)
    arrivals: list[float] = []
    errors: list[BaseException] = []
    together = threading.Barrier(3)

    async def one(rnd: random.Random) -> None:
        if rnd.random() < 0.2:
            with move_on_after(rnd.uniform(0, 0.02)):
                (await limiter.acquire()).refund()
            return
        permit = await limiter.acquire(rnd.choice([FOREGROUND, BACKGROUND]))
        await settled(rnd.randrange(5))
        arrivals.append(now())
        permit.settle()

    async def crowd(seed: int) -> None:
        rnd = random.Random(seed)
        async with create_task_group() as group:
            for _ in range(20):
                group.start_soon(one, rnd)

    def thread(seed: int) -> None:
        try:
            together.wait(10)
            asyncio.run(asyncio.wait_for(crowd(seed), 30))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=thread, args=(seed,)) for seed in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(40)
    assert not errors
    assert nothing_is_held(limiter)
    assert limiter.statistics().granted == len(arrivals)
    counter = ExactSliding(8, 0.05)
    assert all(counter.admit(at) for at in sorted(arrivals))


def test_users_go_before_polls_of_other_event_loops() -> None:
    """There is one line, whichever loop they wait in."""
    limiter, order = RateLimiter(limit=60, window=1.0, burst=1), list[str]()
    polls_wait, users_wait = threading.Event(), threading.Event()
    held = limiter.acquire_nowait()
    assert held is not None
    limiter.pause(0.2)

    async def crowd(name: str, priority: Priority, before: threading.Event, after: threading.Event) -> None:
        await asyncio.to_thread(before.wait, 10)
        async with create_task_group() as group:
            for _ in range(3):
                group.start_soon(served, limiter, name, order, priority)
            await settled()
            after.set()

    def polls() -> None:
        started = threading.Event()
        started.set()
        asyncio.run(crowd("poll", BACKGROUND, started, polls_wait))

    thread = threading.Thread(target=polls)
    thread.start()
    asyncio.run(crowd("user", FOREGROUND, polls_wait, users_wait))
    thread.join(10)
    assert order == ["user"] * 3 + ["poll"] * 3
    held.settle()
    assert nothing_is_held(limiter)


def test_who_waits_in_a_loop_that_does_not_run_is_passed_over() -> None:
    """And is served when it runs again."""
    limiter, order = RateLimiter(limit=50, window=0.5), list[str]()
    loop = asyncio.new_event_loop()
    limiter.pause(0.05)
    sleeper = loop.create_task(served(limiter, "sleeper", order))
    loop.run_until_complete(settled())
    asyncio.run(asyncio.wait_for(served(limiter, "other", order), 10))
    assert order == ["other"]
    loop.run_until_complete(asyncio.wait_for(sleeper, 10))
    loop.close()
    assert order == ["other", "sleeper"]
    assert nothing_is_held(limiter)


def test_a_permit_for_a_loop_that_is_closed_meanwhile_goes_to_the_next() -> None:
    """Between its turn and its wake-up the loop ended."""
    limiter = RateLimiter(limit=1, window=60.0)
    loop = asyncio.new_event_loop()
    held = limiter.acquire_nowait()
    assert held is not None
    abandoned = loop.create_task(limiter.acquire())
    loop.run_until_complete(settled())

    async def main() -> None:
        waiter = asyncio.ensure_future(limiter.acquire())
        await settled()
        with patch.object(loop, "is_running", return_value=True):
            held.refund()
        assert limiter.statistics().in_flight == 1
        loop.close()
        assert limiter.statistics().in_flight == 0
        (await asyncio.wait_for(waiter, 10)).refund()

    asyncio.run(main())
    abandoned._log_destroy_pending = False  # type: ignore[attr-defined]
    assert nothing_is_held(limiter)


def test_a_permit_may_be_given_back_in_another_thread() -> None:
    """Also in one without an event loop; the loop of whoever waits is woken."""
    limiter = RateLimiter(limit=1, window=60.0)

    async def main() -> None:
        permit = await limiter.acquire()
        waiter = asyncio.ensure_future(limiter.acquire())
        await settled()
        helper = threading.Thread(target=permit.refund)
        helper.start()
        (await asyncio.wait_for(waiter, 10)).refund()
        helper.join()

    asyncio.run(main())
    assert nothing_is_held(limiter)


def test_a_limiter_keeps_no_event_loop_alive() -> None:
    """Neither the loop nor the tasks that waited in it."""
    limiter = RateLimiter()

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        (await limiter.acquire()).settle()
        return weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(main())
    asyncio.run(main())
    gc.collect()
    assert first() is None


# --- arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"limit": 0}, "limit=0"),
        ({"limit": -1}, "limit=-1"),
        ({"limit": 1.5}, "limit=1.5"),
        ({"limit": True}, "limit=True"),
        ({"limit": "60"}, "limit='60'"),
        ({"limit": None}, "limit=None"),
        ({"window": 0}, "window=0"),
        ({"window": -60.0}, "window=-60.0"),
        ({"window": float("nan")}, "window=nan"),
        ({"window": float("inf")}, "window=inf"),
        ({"window": "60"}, "window='60'"),
        ({"burst": 0}, "burst=0"),
        ({"burst": 2.0}, "burst=2.0"),
        ({"burst": False}, "burst=False"),
    ],
)
def test_an_argument_that_makes_no_sense_is_named(arguments: dict[str, Any], said: str) -> None:
    """With its value."""
    with pytest.raises(ConfigurationError) as caught:
        RateLimiter(**arguments)
    assert str(caught.value).startswith(said + ": must be ")


def test_a_burst_is_never_larger_than_the_limit() -> None:
    """And the usual one is a twentieth of it."""
    assert RateLimiter(5, burst=50).statistics().burst == 5
    assert RateLimiter().statistics().burst == 3
    assert RateLimiter(200).statistics().burst == 10
    assert repr(RateLimiter()) == "RateLimiter(limit=60, window=60.0, burst=3)"


async def test_a_clock_of_the_caller_s_own_is_asked() -> None:
    """Instead of that of the loop."""
    readings: Iterator[float] = iter([0.0] * 4 + [PACE + 0.01] * 10)
    limiter = RateLimiter(clock=lambda: next(readings))
    assert [limiter.acquire_nowait() is not None for _ in range(5)] == [True, True, True, False, True]


async def test_the_statistics_tell_everything() -> None:
    """What counts, what is under way, who waits, what was granted and refused."""
    limiter = RateLimiter(limit=4, window=10.0, burst=2)
    first, _second = await limiter.acquire(), await limiter.acquire()
    first.settle()
    waiters = [asyncio.ensure_future(limiter.acquire(priority)) for priority in (FOREGROUND, BACKGROUND, BACKGROUND)]
    await settled()
    limiter.pause(3.0)
    state = limiter.statistics()
    assert (state.limit, state.window, state.burst) == (4, 10.0, 2)
    assert (state.in_window, state.in_flight) == (2, 1)
    assert (state.waiting_foreground, state.waiting_background) == (1, 2)
    assert (state.granted, state.rejected, state.paused_for) == (2, 1, 3.0)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
