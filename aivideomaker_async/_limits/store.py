"""The store that processes share a limit in, and the local fallback while it is unavailable.

A store holds one text, which one process at a time changes. `HostRateLimiter` keeps it in a file, `RedisRateLimiter` in
Redis. What the text means is defined in `shared_quota`.

While the store is unavailable, `StoreClient` answers requests itself, from a quota of this process alone. That starts
without a burst, and with a smaller limit, since the other processes use theirs. The store is tried again after a
second, then after two, four, and so on up to 15. The first request that reaches it reports all that was sent in the
meantime.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias, TypeVar

from .quota import usual_burst
from .shared_quota import MEMBER_MEMORY_S, QuotaReply, QuotaRequest, SharedQuota

__all__ = ["SharedStore", "Step", "StoreClient", "StoreUnavailable"]

logger: Final = logging.getLogger("aivideomaker_async.limits")

FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 15.0
"""After how long an unavailable store is tried again: at first, and at most."""

T = TypeVar("T")

Step: TypeAlias = "Callable[[str | None, float], tuple[str | None, T]]"
"""A pure function of the text (None: there is none yet) and of the store's clock in seconds. It returns the new text
(None: leave it as it is) and a result."""


class StoreUnavailable(Exception):
    """The store cannot be used now. The message has the reason."""


class SharedStore(Protocol):
    """One text that many processes share. Each object is used in one event loop."""

    async def update(self, step: Step[T]) -> T:
        """Change the text atomically by `step`, and return the result of that.

        `step` may run several times (compare-and-set). A cancelled call either took effect or did not; in both cases
        nothing is locked afterwards.

        Raises:
            StoreUnavailable: the store cannot be used.
        """
        ...

    async def aclose(self) -> None:
        """Release what the store holds open for this event loop. It is opened again on the next use."""
        ...


class _Fallback:
    """The quota of this process alone while the store is unavailable."""

    def __init__(self, limit: int, window: float, burst: int) -> None:
        self.limit = limit
        self._window = window
        self._burst = burst
        # An empty text is unreadable, which starts the quota without a burst.
        self._text = ""

    def handle(self, request: QuotaRequest, now: float) -> QuotaReply:
        quota = self._load(now)
        reply = quota.handle(request)
        self._text = quota.dump()
        return reply

    def handed_over(self, request: QuotaRequest, now: float) -> QuotaRequest:
        """Return `request` with all that was sent during the fallback."""
        quota = self._load(now)
        settled = {**quota.ages(), **request.settled}
        return request._replace(settled=settled, pause=max(request.pause, quota.paused_for()))

    def _load(self, now: float) -> SharedQuota:
        return SharedQuota.load(self.limit, self._window, self._burst, self._text, now)


class StoreClient:
    """Sends the requests of one process to the store, and answers them itself while that is unavailable.

    Several event loops, each in a thread of its own, use one client.

    Args:
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        burst: requests that may go at once after an idle time.
        fallback_limit_for: returns the requests in a window that this process may send during the fallback, given the
            number of members that shared the limit until then; None if that is unknown or too old to mean anything.
    """

    def __init__(self, limit: int, window: float, burst: int, fallback_limit_for: Callable[[int | None], int]) -> None:
        self._limit = limit
        self._window = window
        self._burst = burst
        self._fallback_limit_for = fallback_limit_for
        self._lock = threading.Lock()
        self._fallback: _Fallback | None = None
        self._retry_at = float("-inf")
        self._failures = 0
        self._replied_at: float | None = None
        """When the store replied last, on the clock of the event loops."""
        self._members = 1

    @property
    def fallback_limit(self) -> int | None:
        """The limit of this process during the fallback; None while the store is used."""
        fallback = self._fallback
        return None if fallback is None else fallback.limit

    def halve_fallback(self) -> None:
        """Use half of the limit after a 429: other processes may still use what this one took for its share."""
        with self._lock:
            if self._fallback is not None:
                self._fallback.limit = max(1, self._fallback.limit // 2)

    async def send(self, request: QuotaRequest, store: SharedStore, now: float) -> QuotaReply:
        """Return the reply to `request`, of the store or of the fallback."""
        with self._lock:
            fallback = self._fallback
            if fallback is not None and now < self._retry_at:
                return fallback.handle(request, now)
            full_request = request if fallback is None else fallback.handed_over(request, now)
        try:
            reply = await self.send_to_store(full_request, store)
        except StoreUnavailable as error:
            with self._lock:
                return self._fall_back(error, now).handle(request, now)
        with self._lock:
            recovered, self._fallback = self._fallback is not None, None
            self._replied_at, self._members, self._failures = now, reply.members, 0
        if recovered:
            logger.info("the shared query limit is available again")
        return reply

    async def send_to_store(self, request: QuotaRequest, store: SharedStore) -> QuotaReply:
        """Return the reply of the store.

        Raises:
            StoreUnavailable: the store cannot be used.
        """
        had_replied = self._replied_at is not None

        def step(text: str | None, now: float) -> tuple[str | None, QuotaReply]:
            if text is None and had_replied:
                # There was a text, and it is lost: an empty one is started anew without a burst.
                text = ""
            quota = SharedQuota.load(self._limit, self._window, self._burst, text, now)
            reply = quota.handle(request)
            return quota.dump(), reply

        return await store.update(step)

    def _fall_back(self, error: StoreUnavailable, now: float) -> _Fallback:
        self._retry_at = now + min(MAX_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        if self._fallback is None:
            known = self._replied_at is not None and now - self._replied_at <= max(MEMBER_MEMORY_S, self._window)
            limit = self._fallback_limit_for(self._members if known else None)
            self._fallback = _Fallback(limit, self._window, min(self._burst, usual_burst(limit)))
            logger.warning(
                "the shared query limit is unavailable (%s): this process alone sends at most %d queries in %g s",
                error,
                limit,
                self._window,
            )
        return self._fallback
