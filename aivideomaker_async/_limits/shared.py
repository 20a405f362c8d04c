"""A limit that many processes share: the part of `HostRateLimiter` and `RedisRateLimiter` that both have in common.

One text in a store holds the state of all processes; `shared_quota` decides there which request may go when. In each
process a `SharedRateLimiter` keeps the permits, and the reports that the store has not confirmed: which permits are
over, which were not used, and whether the service answered 429. In each event loop with waiters or permits a `_Worker`
sends these reports and asks for the waiters. Nothing is locked and nothing is promised between two requests, so
wherever a task, an event loop or a process ends, the others go on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from typing import Final, Self, final

from .._util import validation
from .._util.fork import after_fork_in_child
from .._util.loops import loop_or_none, loop_time, running_loop
from ..errors import ConfigurationError
from .base import BlockPermit, LimiterStatistics, Permit, Priority
from .queue import FairQueue
from .quota import MAX_LIMIT_PAUSE_S, PACE_SHARE, UNANSWERED_S, usual_burst
from .shared_quota import QuotaReply, QuotaRequest, lease
from .store import SharedStore, StoreClient, StoreUnavailable

__all__ = ["SharedRateLimiter"]

logger: Final = logging.getLogger("aivideomaker_async.limits")

FINAL_FLUSH_S: Final = 0.5
"""How long the end of an event loop waits at most for the store, so that other processes learn of the last answers."""


@final
class _SharedPermit(BlockPermit):
    """A permit of a `SharedRateLimiter`."""

    __slots__ = ("_limiter", "loop", "name")

    def __init__(self, limiter: SharedRateLimiter, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self.name: str = name
        self.loop: asyncio.AbstractEventLoop = loop

    def settle(self, *, answered: bool = True) -> None:
        self._limiter._settle(self, answered)

    def refund(self) -> None:
        self._limiter._refund(self)


class SharedRateLimiter(ABC):
    """Keeps all processes that share a store within `limit` requests in any `window` seconds of the service's time.

    The rules of `RateLimiter` about the limit, the pace and the order hold here for all processes together, and each
    process that waits gets an equal share. One limiter can serve many clients, also in event loops of several threads,
    and in forked processes. While the store is unavailable, this process limits itself.

    Args:
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        name: which limit it is; by default one for each service.
        burst: requests that may go at once after an idle time; by default 5 % of the limit.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    _siblings: dict[str, Self]

    def __init__(
        self, limit: int = 60, window: float = 60.0, name: str | None = None, *, burst: int | None = None
    ) -> None:
        self.limit: Final = validation.count("limit", limit)
        self.window: Final = validation.seconds("window", window)
        self.burst: Final = min(limit, validation.count("burst", usual_burst(limit) if burst is None else burst))
        self.name: Final = name
        self._siblings = {}
        self._start()
        # The waiters, permits, tasks and holders of the lock are all in the parent.
        after_fork_in_child(self, SharedRateLimiter._start)

    def _start(self) -> None:
        self._client = StoreClient(self.limit, self.window, self.burst, self._fallback_limit_for)
        self._process = os.urandom(5).hex()
        self._last_reply = QuotaReply()
        self._paused_until = float("-inf")
        self._granted = 0
        self._rejected = 0
        # The lock guards all of the following, which several threads change. Nothing waits while it is held.
        self._lock = threading.Lock()
        self._workers: dict[asyncio.AbstractEventLoop, _Worker] = {}
        self._next_number = 0
        self._in_flight: dict[str, _SharedPermit] = {}
        # Reports that the store has not confirmed:
        self._settled: dict[str, float] = {}
        self._refunded: set[str] = set()
        self._pause_unreported = False

    def __repr__(self) -> str:
        numbers = f"limit={self.limit}, window={self.window}, name={self.name!r}, burst={self.burst}"
        return f"{type(self).__name__}({numbers})"

    # --- for subclasses ------------------------------------------------------------------------------

    @abstractmethod
    def _open_store(self) -> SharedStore:
        """Return a store for the running event loop. It is closed when the loop has no more waiters and permits."""

    @abstractmethod
    def _with_name(self, name: str) -> Self:
        """Return a limiter with this name, and otherwise with the same arguments."""

    def _fallback_limit_for(self, members: int | None) -> int:
        """Return the requests in a window that this process may send while the store is unavailable.

        Args:
            members: how many shared the limit until then, this process included; None if unknown.
        """
        return self.limit if members is None else max(1, self.limit // members)

    # --- the limiter ---------------------------------------------------------------------------------

    def for_origin(self, origin: str) -> Self:
        """Return the limiter for the service at `origin` (host and port): this one if it has a name."""
        if self.name is not None:
            return self
        if origin not in self._siblings:
            # Of two threads that ask at once, both get the first.
            self._siblings.setdefault(origin, self._with_name(origin))
        return self._siblings[origin]

    @property
    def pace(self) -> float:
        """Seconds between two requests in the long run: the limit without the part that other processes use."""
        fallback_limit = self._client.fallback_limit
        if fallback_limit is not None:
            return self.window / (PACE_SHARE * fallback_limit)
        # An equal share at least. A process that rarely sends requests takes nothing from the others.
        usable = PACE_SHARE * self.limit
        return self.window / max(usable / self._last_reply.members, usable - self._last_reply.in_window_of_others)

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        """Wait for a permit. A cancelled wait holds no permit, even if it was granted at the same moment."""
        permit = None
        while permit is None:
            permit = await self._worker().wait(priority)
        return permit

    def acquire_nowait(self) -> Permit | None:
        """Return None: whether a request may go is decided in the store, which takes time."""
        return None

    def pause(self, seconds: float) -> None:
        """Grant no permit in any process for `seconds` (an hour at most), since the service answered 429."""
        now = loop_time()
        with self._lock:
            self._rejected += 1
            self._pause_unreported = True
            self._paused_until = max(self._paused_until, now + min(max(seconds, 0.0), MAX_LIMIT_PAUSE_S))
        self._client.halve_fallback()
        remaining = max(0.0, self._paused_until - now)
        logger.warning("the service limits the rate (429): all queries pause for %.1f s", remaining)
        # Outside of any event loop, the next request reports it.
        with suppress(ConfigurationError):
            self._worker().start()
        self._wake_workers()

    def statistics(self) -> LimiterStatistics:
        """Return the state as the store reported it last, with the waiters and permits of this process."""
        with self._lock:
            self._drop_closed_loops()
            queues = [worker.queue for worker in self._workers.values()]
            return LimiterStatistics(
                limit=self.limit,
                window=self.window,
                burst=self.burst,
                in_window=max(self._last_reply.in_window, len(self._in_flight)),
                in_flight=len(self._in_flight),
                waiting_foreground=sum(queue.waiting(Priority.FOREGROUND) for queue in queues),
                waiting_background=sum(queue.waiting(Priority.BACKGROUND) for queue in queues),
                granted=self._granted,
                rejected=self._rejected,
                paused_for=max(0.0, self._paused_until - loop_time()),
            )

    # --- permits -------------------------------------------------------------------------------------

    def _grant(self, name: str, loop: asyncio.AbstractEventLoop) -> _SharedPermit:
        permit = _SharedPermit(self, name, loop)
        with self._lock:
            self._granted += 1
            self._in_flight[name] = permit
        return permit

    def _settle(self, permit: _SharedPermit, answered: bool) -> None:
        with self._lock:
            # Not in flight: settled or refunded before, or a permit of the parent process.
            if permit.name not in self._in_flight:
                return
            self._settle_locked(permit, answered)
            worker = self._workers.get(permit.loop)
        # While calls wait there is a next request anyway, and the report can wait for it.
        if worker is not None and not worker.queue:
            worker.wake()

    def _settle_locked(self, permit: _SharedPermit, answered: bool) -> None:
        del self._in_flight[permit.name]
        delay = 0.0 if answered else min(UNANSWERED_S, self.window)
        self._settled[permit.name] = permit.loop.time() + delay

    def _refund(self, permit: _SharedPermit) -> None:
        with self._lock:
            if self._in_flight.pop(permit.name, None) is None:
                return
            self._granted -= 1
            self._refunded.add(permit.name)
        self._wake_workers()

    def _return_unused(self, names: Iterable[str]) -> None:
        """Report permits that nobody has received as refunded."""
        with self._lock:
            self._refunded.update(names)

    # --- reports -------------------------------------------------------------------------------------

    @property
    def _has_reports(self) -> bool:
        return bool(self._settled or self._refunded or self._pause_unreported)

    def _request(self, worker: _Worker, now: float) -> QuotaRequest:
        """Return a request with all reports, and for the waiters of `worker`."""
        with self._lock:
            self._drop_closed_loops()
            first = self._next_number
            self._next_number += self.burst
            return QuotaRequest(
                member=f"{self._process}.{worker.number}",
                settled={name: now - at for name, at in self._settled.items()},
                refunded=tuple(self._refunded),
                in_flight=tuple(self._in_flight),
                pause=max(0.0, self._paused_until - now) if self._pause_unreported else 0.0,
                foreground=worker.queue.waiting(Priority.FOREGROUND),
                background=worker.queue.waiting(Priority.BACKGROUND),
                first=first,
            )

    def _confirm(self, request: QuotaRequest, reply: QuotaReply, now: float, rejected: int) -> None:
        """Forget the reports that `request` has delivered.

        Args:
            request: the request.
            reply: the reply to it.
            now: the time.
            rejected: answers of the service with status 429 when the request was made.
        """
        with self._lock:
            for name in request.in_flight:
                if name not in self._in_flight and name not in self._settled and name not in self._refunded:
                    # Another loop reported that the permit is over; then this older request overwrote the report.
                    self._settled[name] = now
            for name in request.settled:
                self._settled.pop(name, None)
            self._refunded.difference_update(request.refunded)
            if rejected == self._rejected:
                self._pause_unreported = False
            self._last_reply = reply
            if reply.paused_for:
                self._paused_until = max(self._paused_until, now + reply.paused_for)

    # --- workers -------------------------------------------------------------------------------------

    def _worker(self) -> _Worker:
        """Return the worker of the running event loop."""
        loop = running_loop()
        with self._lock:
            self._drop_closed_loops()
            worker = self._workers.get(loop)
            if worker is None:
                taken = {worker.number for worker in self._workers.values()}
                number = next(number for number in count() if number not in taken)
                worker = self._workers[loop] = _Worker(self, loop, number, self._open_store())
            return worker

    def _wake_workers(self) -> None:
        """Send the reports at once: a waiter somewhere may profit from them."""
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.wake()

    def _drop_closed_loops(self) -> None:
        # A loop that was closed without cancelling its tasks leaves its worker and its permits behind.
        for loop in [loop for loop in self._workers if loop.is_closed()]:
            del self._workers[loop]
        for permit in [permit for permit in self._in_flight.values() if permit.loop.is_closed()]:
            self._settle_locked(permit, answered=False)


class _Worker:
    """The waiters of one event loop, and the asyncio task that sends requests to the store for them.

    The task runs while the loop has waiters or permits in flight, or while there are reports. It also renews the leases
    of the permits in flight.
    """

    def __init__(
        self, limiter: SharedRateLimiter, loop: asyncio.AbstractEventLoop, number: int, store: SharedStore
    ) -> None:
        self.number: int = number
        """The number of this loop within the process."""
        self.queue: FairQueue[asyncio.Future[_SharedPermit | None]] = FairQueue()
        self._limiter = limiter
        self._loop = loop
        self._store = store
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._unanswered: QuotaRequest | None = None
        """A request that may have reached the store, and whose reply has not arrived."""

    async def wait(self, priority: Priority) -> _SharedPermit | None:
        """Wait for a permit. None if this worker has ended, and the next one is to be asked."""
        # The first waiter of a priority may change whose turn it is; those behind it are reported when it is served.
        is_first = not self.queue.waiting(priority) and not self.queue.waiting(Priority.FOREGROUND)
        waiter: asyncio.Future[_SharedPermit | None] = self._loop.create_future()
        self.queue.add(waiter, priority)
        self.start()
        if is_first:
            self._woken.set()
        try:
            return await waiter
        except BaseException:
            # Cancelled at the moment at which the permit came.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None and (permit := waiter.result()):
                permit.refund()
            raise
        finally:
            self.queue.discard(waiter)
            if not self.queue:
                # Not by the event itself: a waiter of a closed loop leaves when it is collected, wherever that is.
                self.wake()

    def start(self) -> None:
        """Start the task, unless it runs."""
        if self._task is None:
            # In an empty context: the request id or span of the first caller is not that of the later ones.
            self._task = self._loop.create_task(
                self._run(), name="aivideomaker_async.limiter", context=contextvars.Context()
            )
            # A loop that is closed under the task loses nothing: the permits are leases.
            self._task._log_destroy_pending = False  # type: ignore[attr-defined]
            # A task that is cancelled before it began does not run at all.
            self._task.add_done_callback(lambda _: self._retire())

    def wake(self) -> None:
        """Let the task send its next request now. Works in any thread."""
        if loop_or_none() is self._loop:
            self._woken.set()
        else:
            # Another thread may have closed its loop.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._woken.set)

    async def _run(self) -> None:
        try:
            while self._is_needed():
                self._woken.clear()
                due = await self._exchange()
                if self._is_needed():
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(due):
                            await self._woken.wait()
            self._retire()
        except asyncio.CancelledError:
            self._retire()
            await self._final_flush()
            await self._close_store()
            raise
        except Exception as error:  # noqa: BLE001  (whatever it was, no waiter may hang)
            self._retire(error)
        await self._close_store()

    def _is_needed(self) -> bool:
        limiter = self._limiter
        with limiter._lock:
            in_flight = any(permit.loop is self._loop for permit in limiter._in_flight.values())
            return bool(self.queue) or in_flight or limiter._has_reports

    async def _exchange(self) -> float:
        """Send one request, hand out the permits of the reply, and return when the next request is due."""
        limiter, rejected, sent_at = self._limiter, self._limiter._rejected, self._loop.time()
        request = self._unanswered = limiter._request(self, sent_at)
        reply = await limiter._client.send(request, self._store, sent_at)
        self._unanswered = None
        now = self._loop.time()
        limiter._confirm(request, reply, now, rejected)
        if rejected == limiter._rejected:
            self._hand_out(reply.granted)
        else:
            # The service answered 429 while the request was under way: these permits are older than the pause.
            limiter._return_unused(reply.granted)
            self._woken.set()
        if reply.again_in is None and self.queue:
            # They began to wait while the request was under way.
            self._woken.set()
        renewal = lease(limiter.window) / 3
        return min(now + (renewal if reply.again_in is None else reply.again_in), sent_at + renewal)

    def _hand_out(self, granted: Iterable[str]) -> None:
        for name in granted:
            waiter = None
            while self.queue and (waiter is None or waiter.done()):
                waiter = self.queue.pop()
            if waiter is None or waiter.done():
                self._limiter._return_unused([name])
                self._woken.set()
            else:
                waiter.set_result(self._limiter._grant(name, self._loop))

    def _retire(self, error: Exception | None = None) -> None:
        """Leave the loop to the next worker, with the waiters; after an error they get that. May be called twice."""
        limiter = self._limiter
        with limiter._lock:
            if limiter._workers.get(self._loop) is self:
                del limiter._workers[self._loop]
        while self.queue:
            waiter = self.queue.pop()
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    async def _final_flush(self) -> None:
        """Send the last reports when the event loop ends, if that is quickly done. Leases cover the rest."""
        limiter = self._limiter
        if self._unanswered is not None:
            limiter._return_unused(map(self._unanswered.permit, range(limiter.burst)))
        with suppress(TimeoutError, StoreUnavailable):
            async with asyncio.timeout(FINAL_FLUSH_S):
                # Other tasks, cancelled at the same moment, settle their permits in these steps of the loop.
                for _ in range(5):
                    await asyncio.sleep(0)
                while limiter._has_reports and limiter._client.fallback_limit is None:
                    now, rejected = self._loop.time(), limiter._rejected
                    request = limiter._request(self, now)
                    reply = await limiter._client.send_to_store(request, self._store)
                    limiter._confirm(request, reply, now, rejected)

    async def _close_store(self) -> None:
        try:
            async with asyncio.timeout(FINAL_FLUSH_S):
                await self._store.aclose()
        except Exception as error:  # noqa: BLE001  (no caller is left that could handle it)
            logger.debug("the store of the shared query limit was not closed cleanly: %r", error)
