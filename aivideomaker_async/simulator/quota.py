"""Rate limits of the service, for each client. Pure; times are in simulated seconds.

From api.md, Endpoints: 60 requests a minute for one IP address over all task-query endpoints, counted when a request
arrives. Whether the vendor's minute is a fixed or a sliding window is unknown, so there are three ways to count. The
exact sliding window is the default.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from attrs import define, field

Counting = Literal["sliding", "fixed", "weighted"]

# Rounding must not turn a refusal into "wait 0 seconds".
_MIN_WAIT_S = 1e-6


class WindowCounter(Protocol):
    """A counter of the requests of one client."""

    def wait(self, now: float) -> float:
        """Return 0 when a request has room at `now`, else the seconds until one has."""
        ...

    def add(self, now: float) -> None:
        """Count a request."""
        ...


@define
class ArrivalWindow:
    """The arrivals of the last `window` seconds, and the most that were in the window at any time.

    An arrival leaves `window` seconds after it came: the window is closed at its newer end and open at its older one.
    """

    window: float
    times: deque[float] = field(factory=deque[float], init=False)
    worst: int = field(default=0, init=False)

    def count(self, now: float) -> int:
        """Return how many arrivals are in the window. Earlier ones are forgotten."""
        while self.times and self.times[0] + self.window <= now:
            self.times.popleft()
        return len(self.times)

    def add(self, now: float) -> None:
        """Record an arrival."""
        self.times.append(now)
        self.worst = max(self.worst, self.count(now))


class SlidingWindow:
    """At most `limit` requests in any span of `window` seconds."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._arrivals = ArrivalWindow(window)

    def wait(self, now: float) -> float:
        """Return the seconds until all but `limit - 1` requests have left the window."""
        count = self._arrivals.count(now)
        if count < self._limit:
            return 0.0
        last_to_leave = self._arrivals.times[count - self._limit]
        return last_to_leave + self._arrivals.window - now

    def add(self, now: float) -> None:
        """Count a request."""
        self._arrivals.add(now)


class FixedWindow:
    """At most `limit` requests in each window, which begin at the multiples of `window` seconds."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._index = 0
        self._count = 0

    def wait(self, now: float) -> float:
        """Return the seconds until the next window begins, when this one is full."""
        self._roll_over(now)
        return 0.0 if self._count < self._limit else (self._index + 1) * self._window - now

    def add(self, now: float) -> None:
        """Count a request."""
        self._roll_over(now)
        self._count += 1

    def _roll_over(self, now: float) -> None:
        index = math.floor(now / self._window)
        if index != self._index:
            self._index, self._count = index, 0


class WeightedWindow:
    """The count of this window and a share of the window before, as common edge limiters have it.

    The share is the part of the window before that lies within the last `window` seconds.
    """

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._index = 0
        self._before = 0
        self._count = 0

    def wait(self, now: float) -> float:
        """Return the seconds until this count and the fading share leave room for one more."""
        elapsed = self._roll_over(now)
        room = self._limit - 1
        if self._before * (1 - elapsed / self._window) + self._count <= room:
            return 0.0
        if self._count <= room:
            return self._faded(self._before, room - self._count) - elapsed
        # The share of the window before does not fade enough: this window's own count has to fade in the next.
        return self._window - elapsed + self._faded(self._count, room)

    def add(self, now: float) -> None:
        """Count a request."""
        self._roll_over(now)
        self._count += 1

    def _faded(self, count: int, room: int) -> float:
        return self._window * (1 - room / count)

    def _roll_over(self, now: float) -> float:
        index = math.floor(now / self._window)
        if index != self._index:
            self._before = self._count if index == self._index + 1 else 0
            self._index, self._count = index, 0
        return now - index * self._window


_COUNTERS: Mapping[Counting, Callable[[int, float], WindowCounter]] = {
    "sliding": SlidingWindow,
    "fixed": FixedWindow,
    "weighted": WeightedWindow,
}


@define
class ClientQuota:
    """At most `limit` requests in `window` seconds for each client; None for no limit.

    With `count_rejected` a refused request counts as well, so a client that keeps on sending stays refused.
    """

    limit: int | None = 60
    window: float = 60.0
    counting: Counting = "sliding"
    count_rejected: bool = False
    queries: int = field(default=0, init=False)
    rejected: int = field(default=0, init=False)
    _counters: dict[str, WindowCounter] = field(factory=dict[str, WindowCounter], init=False)
    _arrived: dict[str, ArrivalWindow] = field(factory=dict[str, ArrivalWindow], init=False)

    @property
    def worst_window(self) -> int:
        """The most requests, refused ones included, that one client sent in any window."""
        return max((arrived.worst for arrived in self._arrived.values()), default=0)

    def arrive(self, client: str, now: float) -> float:
        """Count a request of `client`. Return 0 when it is admitted, else the seconds to wait."""
        self.queries += 1
        self._arrived.setdefault(client, ArrivalWindow(self.window)).add(now)
        if self.limit is None:
            return 0.0
        if client not in self._counters:
            self._counters[client] = _COUNTERS[self.counting](self.limit, self.window)
        counter = self._counters[client]
        if counter.wait(now) <= 0:
            counter.add(now)
            return 0.0
        self.rejected += 1
        if self.count_rejected:
            counter.add(now)
        return max(counter.wait(now), _MIN_WAIT_S)
