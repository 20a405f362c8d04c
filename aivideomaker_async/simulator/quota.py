"""The query limit, for each client address. Pure; times are in simulated seconds.

From api.md, Endpoints: 60 requests a minute for one IP address over all task-query endpoints,
counted when a request arrives. Which minute the vendor means is unknown, so there are three ways
to count; the exact sliding window is the usual one.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Literal, Protocol

from attrs import define, field

Counting = Literal["sliding", "fixed", "weighted"]

# A refusal is never "wait 0 seconds", whatever rounding makes of it.
_SHORTEST_WAIT = 1e-6


class Counter(Protocol):
    """Counts the requests of one client."""

    def wait(self, now: float) -> float:
        """Return 0 when a request has room at `now`, else the seconds until one would."""
        ...

    def add(self, now: float) -> None:
        """Count a request."""
        ...


@define
class Arrivals:
    """The arrivals of the last `window` seconds, and the most there ever were.

    An arrival leaves `window` seconds after it came: the window is closed at its newer end and
    open at its older one.
    """

    window: float
    times: deque[float] = field(factory=deque[float], init=False)
    worst: int = field(default=0, init=False)

    def count(self, now: float) -> int:
        """Forget what has left the window and return how many arrivals are in it."""
        while self.times and self.times[0] + self.window <= now:
            self.times.popleft()
        return len(self.times)

    def add(self, now: float) -> None:
        """Note an arrival."""
        self.times.append(now)
        self.worst = max(self.worst, self.count(now))


class Sliding:
    """Any span of `window` seconds holds at most `limit` requests."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._arrivals = Arrivals(window)

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


class Fixed:
    """Each `window` seconds by the clock hold at most `limit` requests."""

    def __init__(self, limit: int, window: float) -> None:
        self._limit = limit
        self._window = window
        self._index = 0
        self._count = 0

    def wait(self, now: float) -> float:
        """Return the seconds until the next window begins, when this one is full."""
        self._turn(now)
        return 0.0 if self._count < self._limit else (self._index + 1) * self._window - now

    def add(self, now: float) -> None:
        """Count a request."""
        self._turn(now)
        self._count += 1

    def _turn(self, now: float) -> None:
        index = math.floor(now / self._window)
        if index != self._index:
            self._index, self._count = index, 0


class Weighted:
    """What common edge limiters do: this window's count and a share of the window before.

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
        elapsed = self._turn(now)
        room = self._limit - 1
        if self._before * (1 - elapsed / self._window) + self._count <= room:
            return 0.0
        if self._count <= room:
            return self._faded(self._before, room - self._count) - elapsed
        # Nothing fades enough in this window: its own count has to fade in the next.
        return self._window - elapsed + self._faded(self._count, room)

    def add(self, now: float) -> None:
        """Count a request."""
        self._turn(now)
        self._count += 1

    def _faded(self, count: int, room: int) -> float:
        return self._window * (1 - room / count)

    def _turn(self, now: float) -> float:
        index = math.floor(now / self._window)
        if index != self._index:
            self._before = self._count if index == self._index + 1 else 0
            self._index, self._count = index, 0
        return now - index * self._window


_COUNTERS: Mapping[Counting, Callable[[int, float], Counter]] = {
    "sliding": Sliding,
    "fixed": Fixed,
    "weighted": Weighted,
}


@define
class Quota:
    """At most `limit` queries in `window` seconds for each client; None for no limit.

    With `count_rejected` a refused query counts as well, so that one who hammers stays out.
    """

    limit: int | None = 60
    window: float = 60.0
    counting: Counting = "sliding"
    count_rejected: bool = False
    queries: int = field(default=0, init=False)
    rejected: int = field(default=0, init=False)
    _counters: dict[str, Counter] = field(factory=dict[str, Counter], init=False)
    _arrived: dict[str, Arrivals] = field(factory=dict[str, Arrivals], init=False)

    def __attrs_post_init__(self) -> None:
        if not (self.window > 0 and math.isfinite(self.window)):
            raise ValueError(f"window must be more than 0 seconds, got {self.window!r}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1 query or None, got {self.limit!r}")
        if self.counting not in _COUNTERS:
            raise ValueError(f"counting must be one of {', '.join(_COUNTERS)}, got {self.counting!r}")

    @property
    def worst_window(self) -> int:
        """The most queries, refused ones included, that one client sent in any window."""
        return max((arrived.worst for arrived in self._arrived.values()), default=0)

    def arrive(self, client: str, now: float) -> float:
        """Count a query of `client`. Return 0 when it may pass, else the seconds to wait."""
        self.queries += 1
        self._arrived.setdefault(client, Arrivals(self.window)).add(now)
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
        return max(counter.wait(now), _SHORTEST_WAIT)
