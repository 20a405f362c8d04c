"""The deadlines of thousands of waits, under one timer.

A timer for each wait would cost more than all else that a wait holds, and thousands that end at one moment would stall
the loop.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Final, Generic, TypeVar

__all__ = ["Deadlines"]

T = TypeVar("T")

FEW: Final = 64
"""Deadlines that are not worth tidying up."""


class Deadlines(Generic[T]):
    """Things by the moment when their time is over. Each is there at most once."""

    __slots__ = ("_entries", "_heap", "_numbers")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._entries: dict[int, int] = {}
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, item: T, at: float) -> None:
        """The time of `item` is over at this moment."""
        number = next(self._numbers)
        self._entries[id(item)] = number
        heapq.heappush(self._heap, (at, number, item))
        self._tidy()

    def discard(self, item: T) -> None:
        """`item` needs its deadline no more; one that has none is no mistake."""
        if self._entries.pop(id(item), None) is not None:
            self._tidy()

    def first(self) -> float | None:
        """The earliest deadline, or None."""
        while self._heap and not self._is_live(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float, most: int) -> list[T]:
        """Take out those whose time is over, the earliest first, and no more than `most`."""
        due: list[T] = []
        while len(due) < most and (first := self.first()) is not None and first <= now:
            item = heapq.heappop(self._heap)[2]
            del self._entries[id(item)]
            due.append(item)
        return due

    def _tidy(self) -> None:
        if len(self._heap) > FEW + 2 * len(self._entries):
            # What was discarded must not be held until a deadline that may be an hour away.
            self._heap = [entry for entry in self._heap if self._is_live(entry)]
            heapq.heapify(self._heap)

    def _is_live(self, entry: tuple[float, int, T]) -> bool:
        return self._entries.get(id(entry[2])) == entry[1]
