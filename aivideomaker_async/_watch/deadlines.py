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

    __slots__ = ("_heap", "_items", "_numbers", "_waiting")

    def __init__(self) -> None:
        # Pairs of plain numbers, which Python's garbage collector need not look at.
        self._heap: list[tuple[float, int]] = []
        self._items: dict[int, T] = {}
        self._numbers: dict[int, int] = {}
        self._waiting = count()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: T, at: float) -> None:
        """The time of `item` is over at this moment, and at no other."""
        self.discard(item)
        number = next(self._waiting)
        self._items[number] = item
        self._numbers[id(item)] = number
        heapq.heappush(self._heap, (at, number))

    def discard(self, item: T) -> None:
        """`item` needs its deadline no more; one that has none is no mistake."""
        number = self._numbers.pop(id(item), None)
        if number is None:
            return
        del self._items[number]
        if len(self._heap) > FEW + 2 * len(self._items):
            self._heap = [entry for entry in self._heap if entry[1] in self._items]
            heapq.heapify(self._heap)

    def first(self) -> float | None:
        """The earliest deadline, or None."""
        while self._heap and self._heap[0][1] not in self._items:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float, most: int) -> list[T]:
        """Take out those whose time is over, the earliest first, and no more than `most`."""
        due: list[T] = []
        while len(due) < most and (first := self.first()) is not None and first <= now:
            item = self._items.pop(heapq.heappop(self._heap)[1])
            del self._numbers[id(item)]
            due.append(item)
        return due
