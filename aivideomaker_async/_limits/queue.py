"""Whose turn it is: first come, first served within a priority, and neither priority starves the other.

A user who waits for an answer (foreground) goes before the watcher's polls (background). But a user can ask faster than
the limit allows for ever, so after `PATIENCE` foreground turns in a row one waiting background request goes.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from typing import Final, Generic, TypeVar

__all__ = ["PATIENCE", "Priority", "Turns"]

PATIENCE: Final = 4
"""Foreground turns in a row, after which a background request that waits goes first."""

T = TypeVar("T")


class Priority(IntEnum):
    """Who waits for the answer."""

    FOREGROUND = 0
    """A user, right now."""
    BACKGROUND = 1
    """The watcher, on behalf of everyone who waits for a video."""


class Turns(Generic[T]):
    """A queue of tickets in two priorities."""

    __slots__ = ("_queues", "_streak")

    def __init__(self) -> None:
        self._queues: dict[Priority, OrderedDict[int, T]] = {priority: OrderedDict() for priority in Priority}
        self._streak = 0

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def waiting(self, priority: Priority) -> int:
        """How many wait with this priority."""
        return len(self._queues[priority])

    def add(self, ticket: T, priority: Priority) -> None:
        """Queue `ticket` behind those of its priority."""
        self._queues[priority][id(ticket)] = ticket

    def discard(self, ticket: T) -> None:
        """Take `ticket` out, wherever it stands; one that is not there is no mistake."""
        for queue in self._queues.values():
            queue.pop(id(ticket), None)

    def pop(self) -> T:
        """The ticket whose turn it is.

        Raises:
            IndexError: nobody waits.
        """
        foreground, background = self._queues[Priority.FOREGROUND], self._queues[Priority.BACKGROUND]
        if foreground and not (background and self._streak >= PATIENCE):
            # A streak is only unfair to those who wait through it.
            self._streak = self._streak + 1 if background else 0
            return foreground.popitem(last=False)[1]
        if not background:
            raise IndexError("nobody waits")
        self._streak = 0
        return background.popitem(last=False)[1]
