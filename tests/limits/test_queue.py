from __future__ import annotations

from itertools import repeat

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aivideomaker_async._limits.base import Priority
from aivideomaker_async._limits.queue import FOREGROUND_STREAK, FairQueue

FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND


class Waiter:
    """Compared by identity."""

    def __init__(self, priority: Priority) -> None:
        self.priority = priority


def queue_of(*priorities: Priority) -> tuple[FairQueue[Waiter], list[Waiter]]:
    queue: FairQueue[Waiter] = FairQueue()
    waiters = [Waiter(priority) for priority in priorities]
    for waiter in waiters:
        queue.add(waiter, waiter.priority)
    return queue, waiters


def test_a_background_waiter_goes_after_a_streak_of_foreground_waiters() -> None:
    queue, _ = queue_of(*repeat(FOREGROUND, 3 * FOREGROUND_STREAK), *repeat(BACKGROUND, 2))
    served = [queue.pop().priority for _ in range(3 * FOREGROUND_STREAK + 2)]
    streak = [*repeat(FOREGROUND, FOREGROUND_STREAK)]
    assert served == [*streak, BACKGROUND, *streak, BACKGROUND, *streak]


def test_an_empty_queue_raises() -> None:
    queue, _ = queue_of()
    with pytest.raises(IndexError, match="the queue is empty"):
        queue.pop()


def test_a_discarded_waiter_is_not_served_and_can_be_discarded_twice() -> None:
    queue, (first, second, third) = queue_of(FOREGROUND, FOREGROUND, BACKGROUND)
    for waiter in (second, third, second, Waiter(FOREGROUND)):
        queue.discard(waiter)
    assert (queue.waiting(FOREGROUND), queue.waiting(BACKGROUND), len(queue)) == (1, 0, 1)
    assert queue.pop() is first
    assert not queue


class QueueMachine(RuleBasedStateMachine):
    """The queue against two plain lists: first come, first served, and no waiter is lost or served twice."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[Waiter] = FairQueue()
        self.lines: dict[Priority, list[Waiter]] = {FOREGROUND: [], BACKGROUND: []}
        self.streak = 0
        """Foreground waiters served in a row while a background one waited."""

    @rule(priority=st.sampled_from(Priority), count=st.integers(1, FOREGROUND_STREAK + 1))
    def add(self, priority: Priority, count: int) -> None:
        for _ in range(count):
            waiter = Waiter(priority)
            self.queue.add(waiter, priority)
            self.lines[priority].append(waiter)

    @rule(priority=st.sampled_from(Priority), place=st.integers(0, 20))
    def discard(self, priority: Priority, place: int) -> None:
        line = self.lines[priority]
        if line:
            self.queue.discard(line.pop(place % len(line)))

    @rule(count=st.integers(1, FOREGROUND_STREAK + 2))
    def pop(self, count: int) -> None:
        for _ in range(min(count, len(self.queue))):
            waiter = self.queue.pop()
            assert waiter is self.lines[waiter.priority].pop(0)
            if waiter.priority is BACKGROUND:
                assert self.streak == FOREGROUND_STREAK or not self.lines[FOREGROUND]
                self.streak = 0
            elif self.lines[BACKGROUND]:
                self.streak += 1
                assert self.streak <= FOREGROUND_STREAK
            else:
                self.streak = 0

    @invariant()
    def lengths_agree(self) -> None:
        assert len(self.queue) == sum(map(len, self.lines.values()))
        for priority, line in self.lines.items():
            assert self.queue.waiting(priority) == len(line)


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
