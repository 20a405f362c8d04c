"""The deadlines of those who wait, on the clock of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ._core.deadlines import Deadlines
from .record import AT_ONCE, Subscription

__all__ = ["Expiry"]


class Expiry:
    """Ends subscriptions when their time is over.

    Args:
        expired: is told each of them.
    """

    def __init__(self, expired: Callable[[Subscription], None]) -> None:
        self._expired = expired
        self._deadlines: Deadlines[Subscription] = Deadlines()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, subscription: Subscription, at: float) -> None:
        """It expires at this moment."""
        self._deadlines.add(subscription, at)
        self._set_timer()

    def discard(self, subscription: Subscription) -> None:
        """It has ended in another way, if it has not expired."""
        self._deadlines.discard(subscription)

    def stop(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        first = self._deadlines.first()
        if self._timer is not None and (first is None or self._timer.when() > first):
            self.stop()
        if self._timer is None and first is not None:
            self._timer = asyncio.get_running_loop().call_at(first, self._expire)

    def _expire(self) -> None:
        self._timer = None
        for subscription in self._deadlines.pop_due(asyncio.get_running_loop().time(), AT_ONCE):
            subscription.expired = True
            self._expired(subscription)
            subscription.notify()
        self._set_timer()
