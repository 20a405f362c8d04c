"""The query limit, shared: by all clients that hold the same limiter, and by default by all clients of one service.

The service lets 60 queries a minute through for everything behind one IP address, whatever the key or the process. So
everything that queries asks a limiter first. What may go when is decided in `_core.quota` and `_core.turns`; here
people wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from types import TracebackType
from typing import Final, Protocol, Self, final

from attrs import frozen

from . import _checks
from ._core.quota import Grant, Quota, usual_burst
from ._core.turns import Priority, Turns

__all__ = ["Limiter", "LimiterStatistics", "Permit", "Priority", "RateLimiter", "default_limiter"]

logger: Final = logging.getLogger(__name__)


@frozen(kw_only=True)
class LimiterStatistics:
    """What a limiter looked like at one moment."""

    limit: int
    window: float
    """Seconds."""
    burst: int
    in_window: int
    """Permits that count against the limit now."""
    in_flight: int
    """Those of them whose answer has not come yet."""
    waiting_foreground: int
    waiting_background: int
    granted: int
    """Permits granted since the limiter was made, refunded ones not counted."""
    rejected: int
    """Times that the service said 429."""
    paused_for: float
    """Seconds until the pause after a 429 ends; 0 when there is none."""


class Permit(Protocol):
    """The right to send one request. Give it back exactly once; a second time changes nothing."""

    def settle(self, *, answered: bool = True) -> None:
        """The request is over. `answered=False`: it may have been sent, and no answer will come."""
        ...

    def refund(self) -> None:
        """The request was never sent."""
        ...


class Limiter(Protocol):
    """What the client asks before each query. Write your own to share a limit in your own way."""

    @property
    def pace(self) -> float:
        """Seconds between two requests that the limit sustains."""
        ...

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        """Wait for a permit. A cancelled wait holds none."""
        ...

    def acquire_nowait(self) -> Permit | None:
        """A permit, or None when a request would have to wait."""
        ...

    def pause(self, seconds: float) -> None:
        """The service said 429: nobody gets a permit for so many seconds."""
        ...

    def statistics(self) -> LimiterStatistics:
        """The state at this moment."""
        ...


@final
class _Permit:
    """A grant of a `RateLimiter`, as a context manager that settles."""

    __slots__ = ("_grant", "_limiter")

    def __init__(self, limiter: RateLimiter, grant: Grant) -> None:
        self._limiter = limiter
        self._grant = grant

    def settle(self, *, answered: bool = True) -> None:
        self._limiter._settle(self._grant, answered)

    def refund(self) -> None:
        self._limiter._refund(self._grant)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.settle(answered=error is None)


class _Line:
    """Those who wait in one event loop, and the one timer that serves them."""

    __slots__ = ("loop", "timer", "turns")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turns: Turns[asyncio.Future[_Permit]] = Turns()
        self.timer: asyncio.TimerHandle | None = None


class RateLimiter:
    """Keeps everything that shares it within `limit` requests in any `window` seconds, as the service counts them.

    A permit counts from when it is granted until `window` seconds after its answer, so the limit holds whatever the
    latency. Requests go out in a small burst and then at an even pace of 95 % of the limit, since it is not known
    how the service counts. Foreground requests go before background ones, first come first served, and neither
    starves the other.

    One limiter can serve many clients, also in event loops of several threads.

    Args:
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        burst: requests that may go at once after a quiet time; by default 5 % of the limit, which is what every known
            way of counting forgives.
        clock: seconds of a clock that never runs backwards; by default that of the running event loop.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        limit: int = 60,
        window: float = 60.0,
        *,
        burst: int | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        _checks.count("limit", limit)
        burst = usual_burst(limit) if burst is None else burst
        _checks.count("burst", burst)
        _checks.seconds("window", window)
        self._quota = Quota(limit, float(window), min(burst, limit))
        self._clock = clock
        self._lock = threading.Lock()
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}
        self._granted = 0
        self._rejected = 0

    def __repr__(self) -> str:
        quota = self._quota
        return f"RateLimiter(limit={quota.limit}, window={quota.window}, burst={quota.burst})"

    @property
    def pace(self) -> float:
        """Seconds between two requests that the limit sustains."""
        return 1 / self._quota.rate

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        """Wait for a permit.

        A wait that is cancelled holds none afterwards, also if the permit came at the same moment.
        """
        permit = self.acquire_nowait()
        if permit is not None:
            return permit
        loop = asyncio.get_running_loop()
        ticket: asyncio.Future[_Permit] = loop.create_future()
        with self._lock:
            line = self._line(loop)
            line.turns.add(ticket, priority)
        self._serve(line)
        try:
            return await ticket
        except BaseException:
            if ticket.done() and not ticket.cancelled():
                ticket.result().refund()
            with self._lock:
                line.turns.discard(ticket)
            raise

    def acquire_nowait(self) -> Permit | None:
        """A permit, or None when a request would have to wait; those who wait already go first."""
        with self._lock:
            if self._lines and any(len(line.turns) for line in self._open_lines()):
                return None
            return self._take()

    def pause(self, seconds: float) -> None:
        """The service said 429: nobody gets a permit for so many seconds (an hour at most)."""
        with self._lock:
            self._rejected += 1
            now = self._now()
            ends = self._quota.pause(now, seconds)
        logger.warning("the service limits the rate (429): all queries pause for %.1f s", max(0.0, ends - now))

    def statistics(self) -> LimiterStatistics:
        """The state at this moment."""
        with self._lock:
            state = self._quota.statistics(self._now())
            lines = self._open_lines()
            return LimiterStatistics(
                limit=state.limit,
                window=state.window,
                burst=state.burst,
                in_window=state.in_window,
                in_flight=state.in_flight,
                waiting_foreground=sum(line.turns.waiting(Priority.FOREGROUND) for line in lines),
                waiting_background=sum(line.turns.waiting(Priority.BACKGROUND) for line in lines),
                granted=self._granted,
                rejected=self._rejected,
                paused_for=state.paused_for,
            )

    def _now(self) -> float:
        if self._clock is not None:
            return self._clock()
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            # Outside of any loop; the usual ones read this very clock.
            return time.monotonic()

    def _line(self, loop: asyncio.AbstractEventLoop) -> _Line:
        self._open_lines()
        return self._lines.setdefault(loop, _Line(loop))

    def _open_lines(self) -> list[_Line]:
        # A loop that was closed while somebody waited in it leaves its line behind, and would never be served.
        for loop in [loop for loop in self._lines if loop.is_closed()]:
            del self._lines[loop]
        return list(self._lines.values())

    def _take(self) -> _Permit | None:
        grant = self._quota.take(self._now())
        if grant is None:
            return None
        self._granted += 1
        return _Permit(self, grant)

    def _serve(self, line: _Line) -> None:
        """Give out what may go now to those who wait in the running loop, and set the timer for the rest."""
        with self._lock:
            if line.timer is not None:
                line.timer.cancel()
                line.timer = None
            while len(line.turns) and (permit := self._take()):
                ticket = self._next_waiting(line)
                if ticket is None:
                    self._give_back(permit)
                    return
                ticket.set_result(permit)
            if len(line.turns):
                self._set_timer(line)

    @staticmethod
    def _next_waiting(line: _Line) -> asyncio.Future[_Permit] | None:
        while len(line.turns):
            ticket = line.turns.pop()
            if not ticket.done():
                return ticket
        return None

    def _give_back(self, permit: _Permit) -> None:
        self._quota.refund(permit._grant, self._now())
        self._granted -= 1

    def _set_timer(self, line: _Line) -> None:
        now = self._now()
        wait = self._quota.ready_at(now) - now
        # Without an end in sight an answer must come first, and settling it serves the line.
        if isfinite(wait):
            line.timer = line.loop.call_later(wait, self._serve, line)

    def _settle(self, grant: Grant, answered: bool) -> None:
        with self._lock:
            self._quota.settle(grant, self._now(), answered=answered)
        if self._lines:
            self._serve_all()

    def _refund(self, grant: Grant) -> None:
        with self._lock:
            if not grant.is_open:
                return
            self._quota.refund(grant, self._now())
            self._granted -= 1
        self._serve_all()

    def _serve_all(self) -> None:
        if not self._lines:
            return
        here = _running_loop()
        with self._lock:
            lines = [line for line in self._open_lines() if len(line.turns)]
        for line in lines:
            if line.loop is here:
                self._serve(line)
            else:
                # Another thread may close its loop at this moment.
                with suppress(RuntimeError):
                    line.loop.call_soon_threadsafe(self._serve, line)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_shared: Final[dict[str, RateLimiter]] = {}
_shared_lock: Final = threading.Lock()


def default_limiter(origin: str) -> RateLimiter:
    """The limiter that all clients of `origin` in this process share when they are given none."""
    with _shared_lock:
        return _shared.setdefault(origin, RateLimiter())
