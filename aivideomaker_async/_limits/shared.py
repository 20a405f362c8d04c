"""A query limit that many processes share: what `HostRateLimiter` and `RedisRateLimiter` are made of.

What all of them share is one text in a `Cell`; what may go when is decided in `_core.shared_quota`, on the clock of the
cell. In each process, `limiter_process` keeps the permits, and in each of its event loops people wait at a pump, which
visits the cell for them. Nothing is locked and nothing is promised between two visits, so wherever a pump or a process
ends, the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from .._util import validation as _checks
from .cell import Cell, CellUnavailable
from .limiter_process import ProcessLimiter
from .local import LimiterStatistics, Permit
from .queue import Priority
from .quota import usual_burst

__all__ = ["Cell", "CellUnavailable", "SharedRateLimiter"]


class SharedRateLimiter:
    """Keeps all processes that share a cell within `limit` requests in any `window` seconds of the service's time.

    What `RateLimiter` says of the limit, the pace and the order holds here for all processes together, and each process
    that waits gets an equal share. One limiter can serve many clients, also in event loops of several threads, and in
    processes that are forked. When the cell cannot be used, this process limits itself until it can.

    Args:
        cells: makes a cell, when somebody begins to wait in an event loop; it is closed when nobody waits there.
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        burst: requests that may go at once after a quiet time; by default 5 % of the limit.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self, cells: Callable[[], Cell], limit: int = 60, window: float = 60.0, *, burst: int | None = None
    ) -> None:
        self.limit: Final = _checks.count("limit", limit)
        self.window: Final = _checks.seconds("window", window)
        self.burst: Final = min(limit, _checks.count("burst", usual_burst(limit) if burst is None else burst))
        self._cells = cells
        self._processes: dict[int, ProcessLimiter] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(limit={self.limit}, window={self.window}, burst={self.burst})"

    @property
    def pace(self) -> float:
        """Seconds between two requests that the limit sustains here: what the other processes leave of it."""
        return self._here().pace()

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        """Wait for a permit. A cancelled wait holds none, also if the permit came at the same moment."""
        permit = None
        while permit is None:
            permit = await self._here().pump().wait(priority)
        return permit

    def acquire_nowait(self) -> None:
        """None: whether a request may go is not known without asking the others."""

    def pause(self, seconds: float) -> None:
        """The service said 429: nobody in any process gets a permit for so many seconds (an hour at most)."""
        self._here().pause(seconds)

    def statistics(self) -> LimiterStatistics:
        """The state when it was last seen, with those who wait and have permits in this process."""
        return self._here().statistics()

    def for_origin(self, origin: str) -> SharedRateLimiter:
        """The limiter for the service at `origin` (host and port)."""
        del origin
        return self

    def _alone(self, members: int | None) -> int:
        """Requests in a window that this process allows itself while the cell cannot be used.

        Args:
            members: how many shared the limit when it was last seen, this process included; None when that is not
                known.
        """
        return self.limit if members is None else max(1, self.limit // members)

    def _here(self) -> ProcessLimiter:
        # A forked process inherits no waiters, no permits, no tasks, and no lock that another thread may have held.
        pid = os.getpid()
        here = self._processes.get(pid)
        if here is None:
            here = ProcessLimiter(
                self._cells, limit=self.limit, window=self.window, burst=self.burst, alone=self._alone
            )
            # Of two threads that begin at once, both get the first.
            here = self._processes.setdefault(pid, here)
            for parent in [other for other in self._processes if other != pid]:
                self._processes.pop(parent, None)
        return here
