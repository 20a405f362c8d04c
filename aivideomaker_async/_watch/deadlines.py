"""The deadlines of waits, under one timer.

A timer for each wait would cost more than all else that a wait holds, and thousands that end at one moment would stall
the loop.

A laptop that sleeps loses time: on some systems the clock of the event loop goes on while it sleeps, on others it
stands still, and only the time of day shows it. When a deadline has passed in a sleep, the service could not be asked
before it. So waits that expired while the machine slept get one more poll before they time out.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from itertools import count
from math import inf
from typing import Final, Generic, TypeVar

from .task_state import WOKEN_AT_ONCE, Subscription

__all__ = ["DeadlineQueue", "Deadlines"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

T = TypeVar("T")

CLOCK_CHECK_S: Final = 10.0
"""The longest time between two looks at the clocks."""

SLEEP_THRESHOLD_S: Final = 2.0
"""How late a timer, or how far ahead the time of day is, when the machine has slept."""

GRACE_AFTER_SLEEP_S: Final = 30.0
"""How long an expired wait then goes on without an answer: the first connection may be dead, without a sign."""

GRACE_CHECK_S: Final = 0.5
"""The time between two checks whether an answer has come."""

STALE_ENTRIES: Final = 64
"""Discarded entries that are not worth a cleanup."""


class DeadlineQueue(Generic[T]):
    """Items by their deadlines; each is there at most once."""

    __slots__ = ("_heap", "_items", "_numbers", "_serial")

    def __init__(self) -> None:
        # Pairs of plain numbers, which Python's garbage collector need not look at.
        self._heap: list[tuple[float, int]] = []
        self._items: dict[int, T] = {}
        self._numbers: dict[int, int] = {}
        self._serial = count()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T, at: float) -> None:
        """Give `item` this deadline, and no other."""
        self.discard(item)
        number = next(self._serial)
        self._items[number] = item
        self._numbers[id(item)] = number
        heapq.heappush(self._heap, (at, number))

    def discard(self, item: T) -> None:
        """Remove `item`, if it is there."""
        number = self._numbers.pop(id(item), None)
        if number is None:
            return
        del self._items[number]
        if len(self._heap) > STALE_ENTRIES + 2 * len(self._items):
            self._heap = [entry for entry in self._heap if entry[1] in self._items]
            heapq.heapify(self._heap)

    def first(self) -> float | None:
        """Return the earliest deadline, or None."""
        while self._heap and self._heap[0][1] not in self._items:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float, most: int) -> list[T]:
        """Remove and return the items whose deadline has passed, the earliest first, and no more than `most`."""
        due: list[T] = []
        while len(due) < most and (first := self.first()) is not None and first <= now:
            item = self._items.pop(heapq.heappop(self._heap)[1])
            del self._numbers[id(item)]
            due.append(item)
        return due


class Deadlines:
    """Ends subscriptions when their deadline passes. All times are of the event loop.

    Args:
        on_expired: called with each subscription that has ended.
        on_awake: called when the machine has slept.
    """

    def __init__(self, on_expired: Callable[[Subscription], None], on_awake: Callable[[], None]) -> None:
        self._on_expired = on_expired
        self._on_awake = on_awake
        self._queue: DeadlineQueue[Subscription] = DeadlineQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._wall_clock_ahead = 0.0
        self._awake_since = -inf

    def add(self, subscription: Subscription, at: float) -> None:
        """End the subscription at this moment."""
        self._queue.add(subscription, at)
        self._set_timer()

    def discard(self, subscription: Subscription) -> None:
        """Forget a subscription that has ended in another way."""
        self._queue.discard(subscription)

    def answered(self, began: float, now: float) -> None:
        """Note that the service has answered a poll that began at the moment `began`."""
        if began < self._awake_since:
            # The answer may be as old as the sleep: only a later one counts.
            self._awake_since = now

    def stop(self) -> None:
        """Stop the timer: no wait is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        first = self._queue.first()
        if first is None:
            self.stop()
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None:
            self._wall_clock_ahead = time.time() - now
        elif self._timer.when() > first:
            self._timer.cancel()
        else:
            return
        at = min(max(first, now), now + CLOCK_CHECK_S)
        self._timer = loop.call_at(at, self._check, at)

    def _check(self, due: float) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if max(now - due, time.time() - now - self._wall_clock_ahead) > SLEEP_THRESHOLD_S:
            logger.info("time has passed unnoticed, as when a machine sleeps: asking at once")
            self._awake_since = now
            self._on_awake()
        for subscription in self._queue.pop_due(now, WOKEN_AT_ONCE):
            if self._is_owed_an_answer(subscription, now):
                self._queue.add(subscription, now + GRACE_CHECK_S)
                continue
            subscription.expired = True
            self._on_expired(subscription)
            subscription.notify()
        self._set_timer()

    def _is_owed_an_answer(self, subscription: Subscription, now: float) -> bool:
        state = subscription.state
        if now >= self._awake_since + GRACE_AFTER_SLEEP_S:
            return False
        return state.needs_details() or state.observed.last_answer_at <= self._awake_since
