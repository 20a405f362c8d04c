"""The limit of everything that shares one limiter object, also from several event loops and threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Final, NoReturn, final

from .._util import validation
from .._util.fork import after_fork_in_child
from .._util.loops import loop_or_none, loop_time, running_loop
from .base import BlockPermit, LimiterStatistics, Permit, Priority
from .queue import FairQueue
from .quota import Quota, usual_burst

__all__ = ["RateLimiter"]

logger: Final = logging.getLogger("aivideomaker_async.limits")


@final
class _Permit(BlockPermit):
    """A permit of a `RateLimiter`."""

    __slots__ = ("_limiter", "quota")

    def __init__(self, limiter: RateLimiter, quota: Quota) -> None:
        self._limiter = limiter
        self.quota: Quota | None = quota
        """The quota that counts this permit; None once it was settled or refunded."""

    def settle(self, *, answered: bool = True) -> None:
        limiter = self._limiter
        with limiter._lock:
            # A permit of the parent process has another quota.
            if self.quota is not limiter._quota:
                return
            self.quota = None
            limiter._quota.settle(limiter._now(), answered=answered)
        if limiter._groups:
            limiter._serve_all()

    def refund(self) -> None:
        limiter = self._limiter
        with limiter._lock:
            if self.quota is not limiter._quota:
                return
            limiter._return_unused(self)
        if limiter._groups:
            limiter._serve_all()


class _Waiter:
    """A waiting call. The permit is handed over under the lock; the future only wakes the call."""

    __slots__ = ("group", "permit", "priority", "woken")

    def __init__(self, group: _LoopWaiters, priority: Priority) -> None:
        self.group = group
        self.priority = priority
        self.permit: _Permit | None = None
        self.woken: asyncio.Future[None] = group.loop.create_future()

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)


class _LoopWaiters:
    """The waiters of one event loop, and the timer that serves them. Exists while there are any."""

    __slots__ = ("loop", "members", "passed_over", "timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.members: set[_Waiter] = set()
        self.passed_over: list[_Waiter] = []
        """Waiters whose turn came while their loop did not run. They are queued again when it does."""
        self.timer: asyncio.TimerHandle | None = None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class RateLimiter:
    """Keeps everything that shares it within `limit` requests in any `window` seconds, as the service counts them.

    A permit counts from when it is granted until `window` seconds after its answer, so the limit holds whatever the
    latency. Requests go out in a small burst and then at an even pace of 95 % of the limit, since it is not known
    how the service counts. Foreground requests go before background ones, first come, first served, and neither
    starves the other. Background requests leave the last of a burst to foreground ones.

    One limiter can serve many clients, also in event loops of several threads.

    Args:
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        burst: requests that may go at once after an idle time; by default 5 % of the limit, which is what every known
            way of counting forgives.
        clock: a monotonic clock in seconds; by default that of the running event loop.

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
        validation.count("limit", limit)
        burst = validation.count("burst", usual_burst(limit) if burst is None else burst)
        window = validation.seconds("window", window)
        self._now: Callable[[], float] = loop_time if clock is None else clock
        self._start(Quota(limit, window, min(burst, limit)))
        after_fork_in_child(self, RateLimiter._start_in_child)

    def _start(self, quota: Quota) -> None:
        self._quota = quota
        self._lock = threading.Lock()
        self._queue: FairQueue[_Waiter] = FairQueue()
        self._groups: dict[asyncio.AbstractEventLoop, _LoopWaiters] = {}
        self._granted = 0
        self._rejected = 0

    def _start_in_child(self) -> None:
        # The waiters, requests in flight and holders of the lock are all in the parent.
        self._start(Quota(self._quota.limit, self._quota.window, self._quota.burst))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a RateLimiter cannot be copied or pickled: HostRateLimiter is the one that processes share")

    def __repr__(self) -> str:
        quota = self._quota
        return f"RateLimiter(limit={quota.limit}, window={quota.window}, burst={quota.burst})"

    @property
    def pace(self) -> float:
        """Seconds between two requests in the long run."""
        return 1 / self._quota.rate

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        """Wait for a permit.

        A cancelled wait holds no permit, even if the permit was granted at the same moment.
        """
        with self._lock:
            permit = self._take_unless_queued(1 if priority is Priority.BACKGROUND else 0)
        if permit is not None:
            return permit
        loop = running_loop()
        with self._lock:
            group = self._groups.get(loop)
            if group is None:
                group = self._groups[loop] = _LoopWaiters(loop)
            waiter = _Waiter(group, priority)
            group.members.add(waiter)
            self._queue.add(waiter, priority)
        self._serve(group)
        try:
            await waiter.woken
            permit = waiter.permit
        finally:
            with self._lock:
                self._queue.discard(waiter)
                group.members.discard(waiter)
                if not group.members and self._groups.get(loop) is group:
                    group.stop_timer()
                    del self._groups[loop]
            if permit is None and waiter.permit is not None:
                waiter.permit.refund()
        assert permit is not None  # noqa: S101  (a waiter is woken after its permit was handed over)
        return permit

    def acquire_nowait(self) -> Permit | None:
        """Return a permit, or None if the request would have to wait; earlier waiters go first."""
        with self._lock:
            if self._groups:
                return self._take_unless_queued(0)
            # The usual case, in which nobody waits.
            if not self._quota.take(self._now(), 0):
                return None
            self._granted += 1
            return _Permit(self, self._quota)

    def pause(self, seconds: float) -> None:
        """Grant no permit for `seconds` (an hour at most), since the service answered 429."""
        with self._lock:
            self._rejected += 1
            now = self._now()
            ends = self._quota.pause(now, seconds)
        logger.warning("the service limits the rate (429): all queries pause for %.1f s", max(0.0, ends - now))

    def statistics(self) -> LimiterStatistics:
        """Return the current state."""
        with self._lock:
            self._drop_closed_loops()
            now = self._now()
            return LimiterStatistics(
                limit=self._quota.limit,
                window=self._quota.window,
                burst=self._quota.burst,
                in_window=self._quota.in_window(now),
                in_flight=self._quota.in_flight,
                waiting_foreground=self._queue.waiting(Priority.FOREGROUND),
                waiting_background=self._queue.waiting(Priority.BACKGROUND),
                granted=self._granted,
                rejected=self._rejected,
                paused_for=self._quota.paused_for(now),
            )

    # --- permits -------------------------------------------------------------------------------------

    def _take_unless_queued(self, headroom: int) -> _Permit | None:
        if self._groups:
            self._drop_closed_loops()
            if self._queue:
                return None
        return self._take(headroom)

    def _take(self, headroom: int) -> _Permit | None:
        if not self._quota.take(self._now(), headroom):
            return None
        self._granted += 1
        return _Permit(self, self._quota)

    def _return_unused(self, permit: _Permit) -> None:
        permit.quota = None
        self._quota.refund(self._now())
        self._granted -= 1

    # --- waiters -------------------------------------------------------------------------------------

    def _serve(self, here: _LoopWaiters) -> None:
        """Hand out the permits that may go now, to waiters of any loop, and set the timer of the running loop."""
        with self._lock:
            here.stop_timer()
            for waiter in here.passed_over:
                if waiter in here.members:
                    self._queue.add(waiter, waiter.priority)
            here.passed_over.clear()
            while self._queue and (permit := self._take(self._headroom())):
                next_waiter = self._pop_running()
                if next_waiter is None or not self._hand_over(permit, next_waiter, here):
                    self._return_unused(permit)
            if here.members and self._queue:
                now = self._now()
                wait = self._quota.ready_at(now, self._headroom()) - now
                # Infinite if an answer must come first: settling it serves all loops.
                if isfinite(wait):
                    here.timer = here.loop.call_later(wait, self._serve, here)

    def _headroom(self) -> int:
        # Polls alone leave a token for a call of the user. While users wait, the queue decides when a poll goes.
        return 0 if self._queue.waiting(Priority.FOREGROUND) else 1

    def _pop_running(self) -> _Waiter | None:
        """Return the next waiter that can use a permit now."""
        while self._queue:
            waiter = self._queue.pop()
            if not waiter.group.loop.is_running():
                waiter.group.passed_over.append(waiter)
            elif not waiter.woken.done():
                return waiter
        return None

    @staticmethod
    def _hand_over(permit: _Permit, waiter: _Waiter, here: _LoopWaiters) -> bool:
        # Set before the other loop is woken, which reads it at once.
        waiter.permit = permit
        if waiter.group is here:
            waiter.wake()
            return True
        try:
            waiter.group.loop.call_soon_threadsafe(waiter.wake)
        except RuntimeError:
            # Another thread has just closed that loop.
            waiter.permit = None
            return False
        return True

    def _serve_all(self) -> None:
        """Serve the waiters of all loops: here at once, in other threads soon."""
        here = loop_or_none()
        with self._lock:
            self._drop_closed_loops()
            groups = list(self._groups.values())
        for group in groups:
            if group.loop is here:
                self._serve(group)
            else:
                self._serve_soon(group)

    def _serve_soon(self, group: _LoopWaiters) -> None:
        # Another thread may close the loop at this moment.
        with suppress(RuntimeError):
            group.loop.call_soon_threadsafe(self._serve, group)

    def _drop_closed_loops(self) -> None:
        # Waiters of a loop that was closed without cancelling them are never served, and hold back all others.
        for loop in [loop for loop in self._groups if loop.is_closed()]:
            for waiter in self._groups.pop(loop).members:
                self._queue.discard(waiter)
                if waiter.permit is not None:
                    self._return_unused(waiter.permit)
                    for group in self._groups.values():
                        self._serve_soon(group)
