"""Which waiter is served next: first come, first served within a priority, and neither priority starves the other.

Foreground waiters (calls of the user) go before background ones (polls of the watcher). Since users can ask faster than
the limit allows for any length of time, one background waiter is served after `FOREGROUND_STREAK` foreground ones.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from .base import Priority

__all__ = ["FOREGROUND_STREAK", "FairQueue"]

FOREGROUND_STREAK: Final = 4
"""Foreground waiters served in a row, after which a background waiter goes first."""

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue of waiters with two priorities. Waiters are compared by identity."""

    __slots__ = ("_background", "_foreground", "_streak")

    def __init__(self) -> None:
        self._foreground: OrderedDict[int, T] = OrderedDict()
        self._background: OrderedDict[int, T] = OrderedDict()
        self._streak = 0

    def __len__(self) -> int:
        return len(self._foreground) + len(self._background)

    def waiting(self, priority: Priority) -> int:
        """Return the number of waiters with this priority."""
        return len(self._queue(priority))

    def add(self, waiter: T, priority: Priority) -> None:
        """Queue `waiter` behind the others of its priority."""
        self._queue(priority)[id(waiter)] = waiter

    def discard(self, waiter: T) -> None:
        """Remove `waiter` if it is queued."""
        self._foreground.pop(id(waiter), None)
        self._background.pop(id(waiter), None)

    def pop(self) -> T:
        """Remove and return the waiter to be served next.

        Raises:
            IndexError: the queue is empty.
        """
        if self._foreground and not (self._background and self._streak >= FOREGROUND_STREAK):
            # A streak is unfair only to background waiters that were queued during it.
            self._streak = self._streak + 1 if self._background else 0
            return self._foreground.popitem(last=False)[1]
        if not self._background:
            raise IndexError("the queue is empty")
        self._streak = 0
        return self._background.popitem(last=False)[1]

    def _queue(self, priority: Priority) -> OrderedDict[int, T]:
        return self._background if priority is Priority.BACKGROUND else self._foreground
