"""The deadlines of those who wait, on the clock of the event loop.

A laptop that sleeps loses time: on some systems the clock of the event loop goes on meanwhile, on others it stands
still, and only the time of day tells. Deadlines that pass in its sleep find nobody who could have asked the service,
so whoever's time is over at the awakening is given a last chance: until the service has told of the task once more.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from math import inf
from typing import Final

from .deadlines import Deadlines
from .record import AT_ONCE, Subscription

__all__ = ["Expiry"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

LOOK: Final = 10.0
"""Seconds between two looks at the clocks."""

SLEPT: Final = 2.0
"""Seconds by which a timer is late, or the time of day ahead, when the machine has slept."""

LAST_CHANCE: Final = 30.0
"""Seconds after it in which the service must answer: the first connection may be dead, without a word."""

CHANCE_STEP: Final = 0.5
"""Seconds between two looks whether it has."""


class Expiry:
    """Ends subscriptions when their time is over.

    Args:
        expired: is told each of them.
        awoke: is told that the machine has slept.
    """

    def __init__(self, expired: Callable[[Subscription], None], awoke: Callable[[], None]) -> None:
        self._expired = expired
        self._awoke = awoke
        self._deadlines: Deadlines[Subscription] = Deadlines()
        self._timer: asyncio.TimerHandle | None = None
        self._ahead = 0.0
        self._awake_since = -inf

    def add(self, subscription: Subscription, at: float) -> None:
        """It expires at this moment."""
        self._deadlines.add(subscription, at)
        self._set_timer()

    def discard(self, subscription: Subscription) -> None:
        """It has ended in another way, if it has not expired."""
        self._deadlines.discard(subscription)

    def answered(self, began: float, now: float) -> None:
        """The service has told something that it was asked at the moment `began`."""
        if began < self._awake_since:
            # What it knew before the machine slept is no news.
            self._awake_since = now

    def stop(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        first = self._deadlines.first()
        if first is None:
            self.stop()
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None:
            self._ahead = time.time() - now
        elif self._timer.when() > first:
            self._timer.cancel()
        else:
            return
        at = min(max(first, now), now + LOOK)
        self._timer = loop.call_at(at, self._look, at)

    def _look(self, due: float) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        if max(now - due, time.time() - now - self._ahead) > SLEPT:
            logger.info("time has passed unnoticed, as when a machine sleeps: asking at once")
            self._awake_since = now
            self._awoke()
        for subscription in self._deadlines.pop_due(now, AT_ONCE):
            if self._has_a_chance(subscription, now):
                self._deadlines.add(subscription, now + CHANCE_STEP)
                continue
            subscription.expired = True
            self._expired(subscription)
            subscription.notify()
        self._set_timer()

    def _has_a_chance(self, subscription: Subscription, now: float) -> bool:
        record = subscription.record
        if now >= self._awake_since + LAST_CHANCE:
            return False
        return record.needs_details() or record.asked_at is None or record.asked_at <= self._awake_since
