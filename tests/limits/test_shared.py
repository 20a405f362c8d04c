"""The limiter that processes share, in virtual time: each limiter object is a process, and the cell lies in memory."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, TypeVar

import pytest
from anyio import create_task_group, move_on_after

from aivideomaker_async import ConfigurationError, Permit, Priority
from aivideomaker_async._limits.shared import CellUnavailable, SharedRateLimiter
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import our_tasks, settle
from tests.support.servers import ExactSliding

pytestmark = pytest.mark.anyio

FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND
PACE: Final = 60 / 57

T = TypeVar("T")


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@pytest.fixture(autouse=True)
def no_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here talks to anybody, so the clock need not wait for what may be under way."""
    monkeypatch.setattr("tests.support.virtual_clock.GRACE", 0.0)


def now() -> float:
    return asyncio.get_running_loop().time()


class Place:
    """A text in memory, on the clock of the loop; `limiter()` is a process that shares it."""

    def __init__(self, *, latency: float = 0.0) -> None:
        self.text: str | None = None
        self.latency = latency
        self.fails = False
        self.changes = 0
        self.open = 0

    def limiter(self, limit: int = 60, window: float = 60.0, **options: Any) -> SharedRateLimiter:
        return SharedRateLimiter(lambda: MemoryCell(self), limit, window, **options)


class MemoryCell:
    """Reads and writes with time passing before and after, like a cell that is far away."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.used = False

    async def change(self, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
        place = self.place
        if not self.used:
            self.used = True
            place.open += 1
        await asyncio.sleep(place.latency)
        if place.fails:
            raise CellUnavailable("it is away")
        place.changes += 1
        text, result = step(place.text, now() + 5000.0)
        place.text = place.text if text is None else text
        await asyncio.sleep(place.latency)
        return result

    async def aclose(self) -> None:
        if self.used:
            self.used = False
            self.place.open -= 1


async def assert_idle(place: Place, *limiters: SharedRateLimiter) -> None:
    """Nothing is held, here or in the place, and nothing runs."""
    while our_tasks():  # noqa: ASYNC110  (what must be told is told, however far away the cell is)
        await asyncio.sleep(0.01)
    assert place.open == 0
    for limiter in limiters:
        state = limiter.statistics()
        assert (state.in_flight, state.waiting_foreground, state.waiting_background) == (0, 0, 0)
        for here in limiter._processes.values():
            assert not here.pumps
            assert not here.has_words
    if place.text is not None:
        assert '"open":{}' in place.text


async def served(limiter: SharedRateLimiter, name: str, order: list[str], priority: Priority = FOREGROUND) -> None:
    permit = await limiter.acquire(priority)
    order.append(name)
    permit.settle()


# --- one process -------------------------------------------------------------------------------------


async def test_a_burst_goes_at_once_and_the_rest_at_the_pace() -> None:
    """As with a limiter of one's own, and nothing runs when all is told."""
    place, times = Place(), list[float]()
    limiter, began = place.limiter(), now()
    for _ in range(8):
        (await limiter.acquire()).settle()
        times.append(now() - began)
    assert times == pytest.approx([0, 0, 0, *(PACE * step for step in range(1, 6))], abs=1e-5)
    await assert_idle(place, limiter)
    assert limiter.statistics().granted == 8
    assert limiter.pace == pytest.approx(PACE)


async def test_users_go_first_and_polls_are_not_starved() -> None:
    """In the order of one process's own line."""
    place, order = Place(), list[str]()
    limiter = place.limiter()
    async with create_task_group() as group:
        for number in range(3):
            group.start_soon(served, limiter, f"burst {number}", order)
        await asyncio.sleep(0.1)
        for number in range(2):
            group.start_soon(served, limiter, f"poll {number}", order, BACKGROUND)
        await asyncio.sleep(0.1)
        for number in range(6):
            group.start_soon(served, limiter, f"user {number}", order)
    assert order[3:] == ["user 0", "user 1", "user 2", "user 3", "poll 0", "user 4", "user 5", "poll 1"]
    await assert_idle(place, limiter)


async def test_polls_alone_leave_a_token_and_keep_the_pace() -> None:
    """A user finds it there at once."""
    place, order = Place(), list[str]()
    limiter, began = place.limiter(), now()
    async with create_task_group() as group:
        for number in range(20):
            group.start_soon(served, limiter, f"poll {number}", order, BACKGROUND)
        await asyncio.sleep(5.0)
        asked_at = now()
        (await limiter.acquire()).settle()
        assert now() == asked_at
    assert now() - began == pytest.approx(19 * PACE, abs=0.1)


async def test_a_wait_costs_no_visit() -> None:
    """A thousand that wait are one member that comes when it was told."""
    place, order = Place(), list[str]()
    limiter = place.limiter()
    with move_on_after(30.0):
        async with create_task_group() as group:
            for number in range(1000):
                group.start_soon(served, limiter, str(number), order)
    assert order == [str(number) for number in range(len(order))]
    assert len(order) >= 28
    assert place.changes <= len(order) + 15
    await assert_idle(place, limiter)


async def test_a_long_request_keeps_its_permit() -> None:
    """Its lease is renewed, and it counts once until a window after its answer."""
    place = Place()
    limiter, other = place.limiter(1), place.limiter(1)
    permit = await limiter.acquire()
    waiter = asyncio.ensure_future(other.acquire())
    await asyncio.sleep(300)
    assert not waiter.done()
    answered_at = now()
    permit.settle()
    (await waiter).settle()
    assert now() - answered_at == pytest.approx(60.12, abs=0.1)
    await assert_idle(place, limiter, other)


async def test_a_lost_answer_counts_as_late() -> None:
    """Its request may be on its way; and a permit is a context manager."""
    place = Place()
    limiter, began = place.limiter(1, 10.0), now()
    with pytest.raises(RuntimeError), await limiter.acquire():  # type: ignore[attr-defined]
        raise RuntimeError
    with await limiter.acquire():  # type: ignore[attr-defined]
        assert now() - began == pytest.approx(5 + 10.02)
    await assert_idle(place, limiter)


@pytest.mark.parametrize("second", ["settle", "refund"])
@pytest.mark.parametrize("first", ["settle", "refund"])
async def test_a_second_time_changes_nothing(first: str, second: str) -> None:
    """Whatever was done first holds."""
    place = Place()
    limiter = place.limiter()
    permit = await limiter.acquire()
    getattr(permit, first)()
    getattr(permit, second)()
    await assert_idle(place, limiter)
    assert limiter.statistics().granted == limiter.statistics().in_window == (first == "settle")


async def test_without_asking_nothing_is_known() -> None:
    """So the client waits for an answer each time."""
    limiter = Place().limiter()
    assert limiter.acquire_nowait() is None  # type: ignore[func-returns-value]
    assert limiter.for_origin("a.example") is limiter
    assert repr(limiter) == "SharedRateLimiter(limit=60, window=60.0, burst=3)"


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"window": 0.0}, {"burst": 0}])
async def test_an_argument_that_makes_no_sense_is_named(arguments: dict[str, Any]) -> None:
    """As for a limiter of one's own."""
    with pytest.raises(ConfigurationError, match="must be"):
        Place().limiter(**arguments)


# --- several processes -------------------------------------------------------------------------------


async def test_a_process_that_asks_rarely_takes_nothing_from_the_pace_of_another() -> None:
    """Three web workers that made one call each leave the poller of the fourth what they do not use."""
    place = Place(latency=0.01)
    poller, *others = [place.limiter(60, 60.0) for _ in range(4)]
    for limiter in (*others, poller):
        (await limiter.acquire()).settle()
    assert poller.pace == pytest.approx(60 / (57 - 3))


async def test_processes_share_one_limit() -> None:
    """What arrives is counted exactly; one waiter gets as much as a hundred, and the pace is divided."""
    place = Place(latency=0.01)
    limiters = [place.limiter(20, 10.0) for _ in range(3)]
    arrivals: list[float] = []
    orders: list[list[str]] = [[], [], []]

    async def work(number: int) -> None:
        while now() < end:
            permit = await limiters[number].acquire()
            orders[number].append("served")
            await asyncio.sleep(0.3)
            arrivals.append(now())
            permit.settle()

    end = now() + 60
    async with create_task_group() as group:
        for number, waiters in enumerate([1, 1, 100]):
            for _ in range(waiters):
                group.start_soon(work, number)
        await asyncio.sleep(30)
        assert limiters[0].pace == pytest.approx(3 * 10 / 19, rel=0.2)
        await asyncio.sleep(30)
        group.cancel_scope.cancel()
    counter = ExactSliding(20, 10.0)
    assert all(counter.admit(at) for at in sorted(arrivals))
    shares = [len(order) for order in orders]
    assert sum(shares) >= 110
    assert max(shares) - min(shares) <= 4
    await assert_idle(place, *limiters)


async def test_a_refusal_stops_all_processes(caplog: pytest.LogCaptureFixture) -> None:
    """At once here, and there as soon as they ask."""
    place = Place(latency=0.01)
    one, other = place.limiter(), place.limiter()
    (await other.acquire()).settle()
    began = now()
    one.pause(30.0)
    assert one.statistics().paused_for == 30.0
    await asyncio.sleep(0.1)
    (await other.acquire()).settle()
    assert now() - began == pytest.approx(30.0, abs=0.2)
    assert "the service limits the rate (429): all queries pause for 30.0 s" in caplog.messages
    await assert_idle(place, one, other)
    assert (one.statistics().rejected, other.statistics().rejected) == (1, 0)


async def test_a_permit_that_comes_after_a_refusal_is_not_used() -> None:
    """It was on its way when the service said 429."""
    place = Place(latency=1.0)
    limiter, began = place.limiter(), now()
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(1.5)
    limiter.pause(20.0)
    (await waiter).settle()
    assert now() - began >= 21.5
    await assert_idle(place, limiter)
    assert limiter.statistics().in_window == 1


@pytest.mark.parametrize("seconds", [-1.0, 0.0, float("nan"), float("inf"), 1e12])
async def test_a_nonsensical_pause_ends(seconds: float) -> None:
    """At once, or after an hour."""
    limiter, began = Place().limiter(), now()
    limiter.pause(seconds)
    (await limiter.acquire()).settle()
    assert now() - began <= 3601


# --- cancellation ------------------------------------------------------------------------------------


@pytest.mark.parametrize("latency", [0.0, 0.05])
async def test_a_call_that_is_cancelled_anywhere_holds_nothing(latency: float) -> None:
    """Neither here nor in the place, nor does anything go on for it."""
    place = Place(latency=latency)
    limiter = place.limiter(1000, 1.0, burst=1)

    async def call() -> None:
        (await limiter.acquire()).settle()

    async def check() -> None:
        await assert_idle(place, limiter)

    await cancel_everywhere(call, check, at_least=1)
    await assert_idle(place, limiter)


async def test_a_permit_whose_waiter_is_gone_goes_to_the_next() -> None:
    """Also if it was cancelled at the moment at which its permit came."""
    for steps in range(12):
        place = Place()
        limiter = place.limiter(1, 60.0)
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
        await assert_idle(place, limiter)
        assert limiter.statistics().granted == limiter.statistics().in_window == 0


async def test_a_pump_that_somebody_cancels_leaves_nobody_waiting() -> None:
    """Who cancels all tasks of a loop and goes on has a limiter that goes on."""
    for moment in (0.0, 0.005, 0.015, 0.5):
        place = Place(latency=0.01)
        limiter = place.limiter()
        for _ in range(3):
            (await limiter.acquire()).settle()
        waiter = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(moment)
        for task in asyncio.all_tasks():
            if task.get_name() == "aivideomaker_async.limiter":
                task.cancel()
        (await waiter).settle()
        await assert_idle(place, limiter)


async def test_a_pump_that_is_cancelled_before_it_began_leaves_nobody_waiting() -> None:
    """A task that is cancelled in the step that made it never runs."""
    place = Place()
    limiter = place.limiter()

    async def cancel() -> None:
        (pump,) = (task for task in asyncio.all_tasks() if task.get_name() == "aivideomaker_async.limiter")
        pump.cancel()

    waiter, canceller = asyncio.ensure_future(limiter.acquire()), asyncio.ensure_future(cancel())
    (await asyncio.wait_for(waiter, 10)).settle()
    await canceller
    await assert_idle(place, limiter)


async def test_a_mistake_in_a_cell_reaches_those_who_wait() -> None:
    """And the next call tries again."""
    place = Place()
    limiter = place.limiter()

    class Broken(MemoryCell):
        async def change(self, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
            raise ZeroDivisionError

    limiter._here().cells = lambda: Broken(place)
    with pytest.raises(ZeroDivisionError):
        await limiter.acquire()
    limiter._here().cells = lambda: MemoryCell(place)
    (await limiter.acquire()).settle()
    await assert_idle(place, limiter)


# --- a cell that is away -----------------------------------------------------------------------------


async def test_while_the_cell_is_away_the_process_keeps_a_share(caplog: pytest.LogCaptureFixture) -> None:
    """Without a burst; what it sent meanwhile counts when the cell is back. Both are said once."""
    caplog.set_level(logging.INFO, logger="aivideomaker_async")
    place = Place()
    limiter, other = place.limiter(20, 10.0), place.limiter(20, 10.0)
    held = await limiter.acquire()
    (await other.acquire()).settle()
    (await limiter.acquire()).settle()
    await asyncio.sleep(1.0)
    place.fails = True
    times = list[float]()
    for _ in range(8):
        (await limiter.acquire()).settle()
        times.append(now())
    share = 10 / (0.95 * 10)
    assert [b - a for a, b in pairwise(times)] == pytest.approx([share] * 7, abs=0.01)
    assert limiter.pace == pytest.approx(share)
    place.fails = False
    held.settle()
    await asyncio.sleep(15.0)
    (await limiter.acquire()).settle()
    assert caplog.messages == [
        "the shared query limit cannot be used (it is away): this process alone keeps to 10 in 10 s",
        "the shared query limit is used again",
    ]
    await assert_idle(place, limiter, other)


async def test_a_share_that_is_too_large_is_halved() -> None:
    """Only this process has lost the cell, and the others use the whole limit: the service says so with 429."""
    place = Place()
    limiter = place.limiter(40, 10.0)
    (await limiter.acquire()).settle()
    place.fails = True
    (await limiter.acquire()).settle()
    before = limiter.pace
    limiter.pause(2.0)
    assert limiter.pace == pytest.approx(2 * before)
    (await limiter.acquire()).settle()
    place.fails = False
    await asyncio.sleep(20.0)
    (await limiter.acquire()).settle()
    assert limiter.pace == pytest.approx(before)
    await assert_idle(place, limiter)


async def test_what_went_out_while_the_cell_was_away_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its age, and the permits that are still under way."""
    monkeypatch.setattr("aivideomaker_async._limits.limiter_process.RETRY_AFTER", 1.0)
    place = Place()
    limiter, other = place.limiter(4, 100.0, burst=4), place.limiter(4, 100.0)
    place.fails = True
    (await limiter.acquire()).settle()
    sent_at = now()
    held = await limiter.acquire()
    limiter.pause(5.0)
    place.fails = False
    await asyncio.sleep(10.0)
    (await other.acquire()).settle()
    assert other.statistics().in_window == 3
    held.settle()
    await asyncio.sleep(sent_at + 100.3 - now())
    (await other.acquire()).settle()
    assert other.statistics().in_window == 3
    await assert_idle(place, limiter, other)


async def test_a_cell_that_stays_away_is_tried_now_and_then() -> None:
    """And the line goes on meanwhile, with nothing lost."""
    place = Place()
    place.fails = True
    limiter, order, began = place.limiter(), list[str](), now()
    async with create_task_group() as group:
        for number in range(60):
            group.start_soon(served, limiter, str(number), order)
    assert now() - began == pytest.approx(60 * PACE, abs=1.0)
    assert place.changes == 0
    assert limiter.statistics().in_window in {57, 58}


# --- loops, threads and the end ----------------------------------------------------------------------


def test_the_end_of_a_loop_waits_for_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The last answers are told quickly, waiters are cancelled, and no task complains."""
    place = Place()
    limiter = place.limiter(1, 60.0)

    async def main() -> None:
        permit = await limiter.acquire()
        waiter = asyncio.ensure_future(limiter.acquire())
        await asyncio.sleep(0.01)
        assert not waiter.done()
        permit.settle()

    asyncio.run(main())
    gc.collect()
    assert place.text is not None
    assert '"open":{}' in place.text
    assert limiter.statistics().in_flight == 0
    assert caplog.messages == []


def test_a_loop_that_is_closed_under_it_leaves_a_lease() -> None:
    """And its waiters do not stand in the way; the permit is told to be over when somebody asks again."""
    place = Place()
    limiter = place.limiter(2, 0.05, burst=2)
    loop = asyncio.new_event_loop()
    held = loop.run_until_complete(limiter.acquire())
    loop.close()
    gc.collect()
    assert limiter.statistics().in_flight == 0
    held.settle()

    async def main() -> None:
        (await limiter.acquire()).settle()

    asyncio.run(main())
    assert not limiter._here().permits


def test_event_loops_in_several_threads_share_one_limit() -> None:
    """Each is a member of its own, and permits may be given back from anywhere."""
    place = Place()
    limiter = place.limiter(20, 0.2, burst=2)
    arrivals: list[float] = []
    errors: list[BaseException] = []
    lock = threading.Lock()

    class Locked(MemoryCell):
        async def change(self, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
            with lock:
                text, result = step(self.place.text, now())
                self.place.text = text
            return result

    limiter._here().cells = lambda: Locked(place)

    async def one() -> None:
        permit = await limiter.acquire()
        arrivals.append(now())
        helper = threading.Thread(target=permit.settle)
        helper.start()
        await asyncio.to_thread(helper.join)

    async def crowd() -> None:
        async with asyncio.timeout(20), create_task_group() as group:
            for _ in range(10):
                group.start_soon(one)

    def thread() -> None:
        try:
            asyncio.run(crowd())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=thread) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert not errors
    counter = ExactSliding(20, 0.2)
    assert len(arrivals) == 30
    assert all(counter.admit(at) for at in sorted(arrivals))
    assert limiter.statistics().in_flight == 0


async def test_two_visits_of_one_process_that_overtake_each_other_lose_nothing() -> None:
    """One loop told that a request is over, and then came what another had to tell before that."""
    place = Place()
    limiter = place.limiter()
    permit = await limiter.acquire()
    here = limiter._here()
    pump = here.pump()
    early = here.visit(pump, now())
    permit.settle()
    late = here.visit(pump, now())
    for visit in (late, early):
        here.heard(visit, await here.carry(visit, pump.cell, now()), now(), 0)
    assert '"open":{}' not in (place.text or "")
    (await limiter.acquire()).settle()
    await assert_idle(place, limiter)
    assert limiter.statistics().in_window == 2


def test_a_refusal_outside_of_any_loop_is_told_later() -> None:
    """With the next visit."""
    place = Place()
    limiter = place.limiter()
    limiter.pause(0.2)

    async def main() -> float:
        began = now()
        (await limiter.acquire()).settle()
        return now() - began

    assert asyncio.run(main()) > 0.1


async def test_the_statistics_tell_everything() -> None:
    """What counts, what is under way, who waits, what was granted and refused."""
    place = Place()
    limiter = place.limiter(4, 10.0, burst=2)
    first, _second = await limiter.acquire(), await limiter.acquire()
    first.settle()
    waiters = [asyncio.ensure_future(limiter.acquire(each)) for each in (FOREGROUND, BACKGROUND, BACKGROUND)]
    await asyncio.sleep(0.1)
    state = limiter.statistics()
    assert (state.limit, state.window, state.burst) == (4, 10.0, 2)
    assert (state.in_window, state.in_flight) == (2, 1)
    assert (state.waiting_foreground, state.waiting_background) == (1, 2)
    assert (state.granted, state.rejected, state.paused_for) == (2, 0, 0.0)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    permits: list[Permit] = [_second]
    permits.pop().settle()
    await assert_idle(place, limiter)
