"""The ways in which a service may count 60 requests a minute. The real one is unknown, so all must be satisfied."""

from __future__ import annotations

from collections import deque
from math import floor
from typing import Protocol


class Counter(Protocol):
    """Counts arrivals in the order of their times, and returns whether each is admitted."""

    def admit(self, at: float) -> bool: ...


class ExactSliding:
    """At most `limit` arrivals in any `window` seconds; with `rejects`, refused ones count too."""

    def __init__(self, limit: int = 60, window: float = 60.0, *, rejects: bool = False) -> None:
        self.limit, self.window, self.rejects = limit, window, rejects
        self.seen: deque[float] = deque()

    def admit(self, at: float) -> bool:
        while self.seen and self.seen[0] <= at - self.window:
            self.seen.popleft()
        admitted = len(self.seen) < self.limit
        if admitted or self.rejects:
            self.seen.append(at)
        return admitted


class FixedMinute:
    """At most `limit` arrivals in each window of the service's own clock."""

    def __init__(self, limit: int = 60, window: float = 60.0, *, phase: float = 0.0) -> None:
        self.limit, self.window, self.phase = limit, window, phase
        self.current, self.count = -1, 0

    def admit(self, at: float) -> bool:
        index = floor((at + self.phase) / self.window)
        if index != self.current:
            self.current, self.count = index, 0
        if self.count >= self.limit:
            return False
        self.count += 1
        return True


class WeightedTwoWindows:
    """As in common edge limiters: the count of this window plus the overlapping share of the last one."""

    def __init__(self, limit: int = 60, window: float = 60.0, *, phase: float = 0.0) -> None:
        self.limit, self.window, self.phase = limit, window, phase
        self.current, self.count, self.previous = -1, 0, 0

    def admit(self, at: float) -> bool:
        index = floor((at + self.phase) / self.window)
        if index != self.current:
            self.previous = self.count if index == self.current + 1 else 0
            self.current, self.count = index, 0
        elapsed = (at + self.phase) / self.window - index
        if self.previous * (1 - elapsed) + self.count + 1 > self.limit:
            return False
        self.count += 1
        return True
