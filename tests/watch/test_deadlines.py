"""Deadlines in a queue, and those of waits, also when they pass while the machine sleeps."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aivideomaker_async._watch.deadlines import (
    CLOCK_CHECK_S,
    GRACE_AFTER_SLEEP_S,
    GRACE_CHECK_S,
    SLEEP_THRESHOLD_S,
    STALE_ENTRIES,
    DeadlineQueue,
    Deadlines,
)
from aivideomaker_async._watch.task_state import WOKEN_AT_ONCE, Subscription, TaskState
from aivideomaker_async.tasks import TaskStatus
from tests.support.virtual_clock import VirtualClockLoop


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


# --- the queue ---------------------------------------------------------------------------------------


class Wait:
    """An item with a deadline. Any two are equal, and still two."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wait)

    __hash__ = None  # type: ignore[assignment]


class QueueMachine(RuleBasedStateMachine):
    """A queue beside a plain list of what must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: DeadlineQueue[Wait] = DeadlineQueue()
        self.model: list[tuple[float, Wait]] = []
        self.known: list[Wait] = [Wait()]

    def without(self, item: Wait) -> list[tuple[float, Wait]]:
        return [entry for entry in self.model if entry[1] is not item]

    @rule(at=st.integers(0, 20), which=st.integers(0, 50))
    def add(self, at: int, which: int) -> None:
        if which >= len(self.known):
            self.known.append(Wait())
        item = self.known[min(which, len(self.known) - 1)]
        self.model = [*self.without(item), (at, item)]
        self.queue.add(item, at)

    @rule(which=st.integers(0, 50))
    def discard(self, which: int) -> None:
        item = self.known[which % len(self.known)]
        self.model = self.without(item)
        self.queue.discard(item)

    @rule(now=st.integers(-1, 21), most=st.integers(0, 6))
    def pop_due(self, now: int, most: int) -> None:
        # The sort is stable: of two with the same deadline, the one that was added first goes first.
        expected = [item for at, item in sorted(self.model, key=lambda entry: entry[0]) if at <= now][:most]
        due = self.queue.pop_due(now, most)
        assert len(due) == len(expected)
        assert all(one is other for one, other in zip(due, expected, strict=True))
        for item in due:
            self.model = self.without(item)

    @invariant()
    def the_first_is_known(self) -> None:
        assert self.queue.first() == min((at for at, _ in self.model), default=None)
        assert len(self.queue) == len(self.model)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_no_more_are_taken_at_once_than_asked_for() -> None:
    """Thousands that end at one moment are taken in turns, none twice."""
    queue: DeadlineQueue[Wait] = DeadlineQueue()
    waits = [Wait() for _ in range(1000)]
    for wait in waits:
        queue.add(wait, 5.0)
    assert queue.pop_due(4.9, 100) == []
    taken = [id(wait) for _ in range(11) for wait in queue.pop_due(5.0, 100)]
    assert taken == [id(wait) for wait in waits]
    assert queue.first() is None


def test_a_new_deadline_replaces_the_old_one() -> None:
    """Later or earlier: the last one counts."""
    queue: DeadlineQueue[Wait] = DeadlineQueue()
    wait = Wait()
    for at in (5.0, 9.0, 3.0):
        queue.add(wait, at)
        assert (queue.first(), len(queue)) == (at, 1)
    assert queue.pop_due(100.0, 10) == [wait]
    assert queue.pop_due(100.0, 10) == []
    queue.discard(wait)


def test_a_discarded_item_is_released() -> None:
    """At once, and not when a deadline passes that may be an hour away."""
    queue: DeadlineQueue[Wait] = DeadlineQueue()
    waits = [Wait() for _ in range(2000)]
    alive = [weakref.ref(wait) for wait in waits]
    for number, wait in enumerate(waits):
        queue.add(wait, 3600.0 + number)
    for wait in waits[10:]:
        queue.discard(wait)
    del waits[10:], wait
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 10
    assert len(queue) == 10


def test_a_deadline_that_moves_all_the_time_takes_no_room() -> None:
    """Only the last one is kept, give or take a few."""
    queue: DeadlineQueue[Wait] = DeadlineQueue()
    first, moving = Wait(), Wait()
    queue.add(first, 1.0)
    for at in range(10_000):
        queue.add(moving, 10.0 + at)
    assert len(queue._heap) <= STALE_ENTRIES + 2 * len(queue)
    assert queue.first() == 1.0


# --- the deadlines of waits --------------------------------------------------------------------------


class Clocks:
    """Deadlines, and both clocks of the machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.loop = loop
        self.ahead = 0.0
        self.expired: list[tuple[Subscription, float]] = []
        self.awoke: list[float] = []
        self.deadlines = Deadlines(
            lambda item: self.expired.append((item, loop.time())), lambda: self.awoke.append(loop.time())
        )
        monkeypatch.setattr(time, "time", lambda: loop.time() + self.ahead)

    def wait(self, seconds: float) -> TaskState:
        state = TaskState("ck1")
        self.deadlines.add(Subscription(state, wants_details=True), self.loop.time() + seconds)
        return state

    def ends(self) -> list[float]:
        return [at for _, at in self.expired]


@pytest.fixture
async def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.mark.anyio
async def test_waits_end_exactly_at_their_deadlines(clocks: Clocks) -> None:
    """Long ones and short ones, whichever comes first; and no timer runs when nothing waits."""
    began = clocks.loop.time()
    for seconds in (100.0, 3.0, 0.0, 25.5):
        clocks.wait(seconds)
    await asyncio.sleep(200)
    assert [at - began for at in clocks.ends()] == pytest.approx([0, 3, 25.5, 100])
    assert not clocks.awoke
    assert all(subscription.expired for subscription, _ in clocks.expired)
    timers = [handle for handle in clocks.loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert not timers


@pytest.mark.anyio
@pytest.mark.parametrize("clock_stops", [False, True])
@pytest.mark.parametrize("early", [False, True])
async def test_a_wait_that_expires_in_a_sleep_gets_one_more_answer(
    clocks: Clocks, early: bool, clock_stops: bool
) -> None:
    """For half a minute at most; also if some seconds seem to be left."""
    deadline = CLOCK_CHECK_S + 5
    answered, silent, ended = (clocks.wait(deadline) for _ in range(3))
    await asyncio.sleep(CLOCK_CHECK_S + (1 if early else 4.9))
    if clock_stops:
        clocks.ahead += 3600
    else:
        clocks.loop.jump(3600)
    woke_at = clocks.loop.time()
    await asyncio.sleep(6)
    assert not clocks.expired and len(clocks.awoke) == 1 and clocks.awoke[0] - woke_at <= CLOCK_CHECK_S
    answered.observed.last_answer_at = ended.observed.last_answer_at = clocks.loop.time()
    ended.observed.progression.observe(TaskStatus.COMPLETED)
    ended.subscribe(Subscription(ended, wants_details=True))
    await asyncio.sleep(2 * GRACE_CHECK_S)
    assert [item.state for item, _ in clocks.expired] == [answered], "the other one has ended, and its output is wanted"
    await asyncio.sleep(100)
    assert {id(item.state) for item, _ in clocks.expired} == {id(answered), id(silent), id(ended)}
    assert max(clocks.ends()) - clocks.awoke[0] == pytest.approx(GRACE_AFTER_SLEEP_S, abs=2 * GRACE_CHECK_S)
    began = clocks.loop.time()
    clocks.wait(20)
    await asyncio.sleep(30)
    assert clocks.ends()[-1] - began == pytest.approx(20), "later ones end exactly again"


@pytest.mark.anyio
async def test_an_answer_to_a_question_of_before_the_sleep_does_not_count(clocks: Clocks) -> None:
    state = clocks.wait(60)
    asked_at = clocks.loop.time()
    clocks.loop.jump(3600)
    await asyncio.sleep(0.2)
    state.observed.last_answer_at = clocks.loop.time()
    clocks.deadlines.answered(asked_at, clocks.loop.time())
    await asyncio.sleep(5)
    assert not clocks.expired
    began = clocks.loop.time()
    state.observed.last_answer_at = began + 0.1
    clocks.deadlines.answered(began, began + 0.1)
    await asyncio.sleep(2 * GRACE_CHECK_S)
    assert clocks.expired


@pytest.mark.anyio
async def test_thousands_of_waits_wake_up_once(clocks: Clocks) -> None:
    """They expire in groups."""
    for _ in range(3 * WOKEN_AT_ONCE):
        clocks.wait(60)
    clocks.loop.jump(3600)
    await asyncio.sleep(GRACE_CHECK_S / 2)
    assert len(clocks.awoke) == 1 and not clocks.expired
    await asyncio.sleep(GRACE_AFTER_SLEEP_S + 1)
    assert len(clocks.awoke) == 1 and len(clocks.expired) == 3 * WOKEN_AT_ONCE


@pytest.mark.anyio
@pytest.mark.parametrize("step", [-7200.0, -5.0, SLEEP_THRESHOLD_S / 2])
async def test_a_clock_that_is_set_back_is_no_sleep(clocks: Clocks, step: float) -> None:
    """Nor is one that is corrected a little."""
    began = clocks.loop.time()
    clocks.wait(60)
    await asyncio.sleep(35)
    clocks.ahead += step
    await asyncio.sleep(30)
    assert clocks.ends() == [pytest.approx(began + 60)] and not clocks.awoke


@pytest.mark.anyio
async def test_a_wait_that_begins_after_a_sleep_does_not_hide_it(clocks: Clocks) -> None:
    """Its own deadline comes first, and the look at the clocks with it."""
    clocks.wait(12)
    await asyncio.sleep(11)
    clocks.ahead += 3600
    clocks.wait(0.5)
    await asyncio.sleep(1)
    assert len(clocks.awoke) == 1
    await asyncio.sleep(5)
    assert not clocks.expired


@pytest.mark.anyio
async def test_a_discarded_wait_does_not_expire(clocks: Clocks) -> None:
    subscription = Subscription(TaskState("ck1"), wants_details=True)
    clocks.deadlines.add(subscription, clocks.loop.time() + 60)
    clocks.deadlines.discard(subscription)
    await asyncio.sleep(100)
    clocks.deadlines.add(subscription, clocks.loop.time() + 60)
    clocks.deadlines.stop()
    await asyncio.sleep(100)
    assert not clocks.expired
