"""The query limit, shared by all clients of a process that hold the same limiter.

The service lets 60 queries a minute through for everything behind one IP address, whatever the key or the process. So
everything that queries asks a limiter first. What may go when is decided in `_core.quota` and `_core.turns`; here
people wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import isfinite
from types import TracebackType
from typing import Final, NoReturn, Protocol, Self, final

from attrs import frozen

from .._util import validation as _checks
from .._util.loops import running_loop
from .queue import Priority, Turns
from .quota import Grant, Quota, usual_burst

__all__ = ["Limiter", "LimiterStatistics", "Permit", "Priority", "RateLimiter"]

logger: Final = logging.getLogger("aivideomaker_async.limits")

_limiters: Final[weakref.WeakSet[RateLimiter]] = weakref.WeakSet()


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

    __slots__ = ("_grant", "_limiter", "_quota")

    def __init__(self, limiter: RateLimiter, grant: Grant) -> None:
        self._limiter = limiter
        self._quota = limiter._quota
        self._grant = grant

    def settle(self, *, answered: bool = True) -> None:
        if self._is_ours():
            self._limiter._settle(self._grant, answered)

    def refund(self) -> None:
        if self._is_ours():
            self._limiter._refund(self._grant)

    def _is_ours(self) -> bool:
        # And not that of the process which was forked.
        return self._quota is self._limiter._quota

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.settle(answered=error is None)


class _Line:
    """Those who wait in one event loop, and the timer that serves them."""

    __slots__ = ("asleep", "loop", "tickets", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.tickets: set[_Ticket] = set()
        self.asleep: list[_Ticket] = []
        """Those whose turn came while their loop did not run."""
        self.timer: asyncio.TimerHandle | None = None


class _Ticket:
    """One who waits. The permit is what counts, and changes hands under the lock; the future only wakes."""

    __slots__ = ("line", "permit", "priority", "woken")

    def __init__(self, line: _Line, priority: Priority) -> None:
        self.line = line
        self.priority = priority
        self.permit: _Permit | None = None
        self.woken: asyncio.Future[None] = line.loop.create_future()

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class RateLimiter:
    """Keeps everything that shares it within `limit` requests in any `window` seconds, as the service counts them.

    A permit counts from when it is granted until `window` seconds after its answer, so the limit holds whatever the
    latency. Requests go out in a small burst and then at an even pace of 95 % of the limit, since it is not known
    how the service counts. Foreground requests go before background ones, first come first served, and neither
    starves the other. Background requests leave the last of a burst to foreground ones.

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
        self._clock = clock
        self._begin(Quota(limit, float(window), min(burst, limit)))
        _limiters.add(self)

    def _begin(self, quota: Quota) -> None:
        self._quota = quota
        self._lock = threading.Lock()
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}
        self._turns: Turns[_Ticket] = Turns()
        self._granted = 0
        self._rejected = 0

    def _begin_anew(self) -> None:
        """In a forked process: who waits, has a request under way or holds the lock is not there."""
        quota = self._quota
        self._begin(Quota(quota.limit, quota.window, quota.burst))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RateLimiter cannot be copied or pickled: HostRateLimiter is the one that processes share")

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
        permit = self._take_at_once(priority)
        if permit is not None:
            return permit
        loop = running_loop()
        with self._lock:
            line = self._line(loop)
            ticket = _Ticket(line, priority)
            line.tickets.add(ticket)
            self._turns.add(ticket, priority)
        self._serve(line)
        permit = None
        try:
            await ticket.woken
            permit = ticket.permit
        finally:
            self._leave(ticket, collected=permit)
        assert permit is not None  # noqa: S101  (who is woken has one)
        return permit

    def acquire_nowait(self) -> Permit | None:
        """A permit, or None when a request would have to wait; those who wait already go first."""
        return self._take_at_once(Priority.FOREGROUND)

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
            self._open_lines()
            state = self._quota.statistics(self._now())
            return LimiterStatistics(
                limit=state.limit,
                window=state.window,
                burst=state.burst,
                in_window=state.in_window,
                in_flight=state.in_flight,
                waiting_foreground=self._turns.waiting(Priority.FOREGROUND),
                waiting_background=self._turns.waiting(Priority.BACKGROUND),
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
            for ticket in self._lines.pop(loop).tickets:
                self._turns.discard(ticket)
                if ticket.permit is not None:
                    self._give_back(ticket.permit)
                    self._serve_soon(self._lines.values())
        return list(self._lines.values())

    def _take_at_once(self, priority: Priority) -> _Permit | None:
        with self._lock:
            if self._lines:
                self._open_lines()
            if len(self._turns):
                return None
            return self._take(reserve=1 if priority is Priority.BACKGROUND else 0)

    def _take(self, reserve: int) -> _Permit | None:
        grant = self._quota.take(self._now(), reserve)
        if grant is None:
            return None
        self._granted += 1
        return _Permit(self, grant)

    def _leave(self, ticket: _Ticket, *, collected: Permit | None) -> None:
        with self._lock:
            self._turns.discard(ticket)
            ticket.line.tickets.discard(ticket)
        if collected is None and ticket.permit is not None:
            ticket.permit.refund()

    def _serve(self, line: _Line) -> None:
        """Give out what may go now, in whatever loop it is waited for, and set the timer of the running one."""
        with self._lock:
            if line.timer is not None:
                line.timer.cancel()
                line.timer = None
            self._wake_up(line)
            while len(self._turns) and (permit := self._take(self._reserve())):
                ticket = self._next_waiting()
                if ticket is None or not self._hand_over(permit, ticket, line):
                    self._give_back(permit)
            if line.tickets and len(self._turns):
                self._set_timer(line)

    def _reserve(self) -> int:
        # Polls alone leave a token for whoever comes. When users wait, a poll has its turn by their patience.
        return 0 if self._turns.waiting(Priority.FOREGROUND) else 1

    def _wake_up(self, line: _Line) -> None:
        for ticket in line.asleep:
            if ticket in line.tickets:
                self._turns.add(ticket, ticket.priority)
        line.asleep.clear()

    def _next_waiting(self) -> _Ticket | None:
        while len(self._turns):
            ticket = self._turns.pop()
            if not ticket.line.loop.is_running():
                # It could not use a permit, and others can.
                ticket.line.asleep.append(ticket)
            elif not ticket.woken.done():
                return ticket
        return None

    @staticmethod
    def _hand_over(permit: _Permit, ticket: _Ticket, here: _Line) -> bool:
        # Before the other loop is woken, which looks for it at once.
        ticket.permit = permit
        if ticket.line is here:
            ticket.wake()
        else:
            try:
                ticket.line.loop.call_soon_threadsafe(ticket.wake)
            except RuntimeError:
                # Another thread has just closed its loop.
                ticket.permit = None
                return False
        return True

    def _give_back(self, permit: _Permit) -> None:
        self._quota.refund(permit._grant, self._now())
        self._granted -= 1

    def _set_timer(self, line: _Line) -> None:
        now = self._now()
        wait = self._quota.ready_at(now, self._reserve()) - now
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
            lines = [line for line in self._open_lines() if line.tickets]
            self._serve_soon(line for line in lines if line.loop is not here)
        for line in lines:
            if line.loop is here:
                self._serve(line)

    def _serve_soon(self, lines: Iterable[_Line]) -> None:
        for line in lines:
            # Another thread may close its loop at this moment.
            with suppress(RuntimeError):
                line.loop.call_soon_threadsafe(self._serve, line)


def _begin_anew() -> None:
    for limiter in list(_limiters):
        limiter._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
