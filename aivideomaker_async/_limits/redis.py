"""The limit of all processes of several hosts that share an IP address, kept in Redis.

The text is changed by compare-and-set: it is read together with Redis's own clock, changed, and written if it is still
the same. Nothing is locked, so a process that is cancelled or killed on the way has made the change or not, and stops
nobody. The clocks of the hosts do not matter.
"""

from __future__ import annotations

import asyncio
import random
from typing import Final, Self, TypeVar, final

from .._redaction import Secret
from .._util import validation
from .._util.redis import RedisConnections, RedisTarget, RedisUnavailable, digest_name
from ..errors import ConfigurationError
from .quota import MAX_LIMIT_PAUSE_S
from .shared import SharedRateLimiter
from .store import Step, StoreUnavailable

__all__ = ["RedisRateLimiter"]

T = TypeVar("T")

MAX_CONFLICTS: Final = 200
"""Changes of other processes that may come first before the store counts as unavailable."""

EAGER_ATTEMPTS: Final = 3
"""Conflicts after which each attempt waits a random moment."""

COMPARE_AND_SET: Final = """
local found = redis.call('GET', KEYS[1])
if (found or '') == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return 1
end
return {found, redis.call('TIME')}
"""


class RedisRateLimiter(SharedRateLimiter):
    """Keeps all processes of all hosts that use the same Redis within `limit` requests in any `window` seconds.

    The rules of `RateLimiter` about the limit, the pace and the order hold here for all processes together, and each
    process that waits gets an equal share. Give it to clients as `AIVideoMaker(limiter=...)`.

    While Redis is unavailable, a process keeps to the limit divided by the number of processes that used it lately.
    That is logged once, and Redis is tried again from time to time.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://...` with TLS, or `unix://path`.
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        name: which limit it is; by default one for each service.
        burst: requests that may go at once after an idle time; by default 5 % of the limit.
        local_share: the share of the limit that a process uses while Redis is unavailable and the number of processes
            is unknown, since this one has not used Redis lately; 0 to 1. By default a tenth, which is safe for ten
            processes.

    Raises:
        ConfigurationError: an argument makes no sense, or the package `redis` is not installed.
    """

    def __init__(
        self,
        url: str,
        limit: int = 60,
        window: float = 60.0,
        *,
        name: str | None = None,
        burst: int | None = None,
        local_share: float = 0.1,
    ) -> None:
        super().__init__(limit, window, name, burst=burst)
        if validation.seconds("local_share", local_share) > 1:
            raise ConfigurationError(f"local_share={local_share!r}: must be a share, more than 0 and at most 1")
        self._url = Secret(url)
        self._target = RedisTarget(url)
        self._local_share = local_share

    def __repr__(self) -> str:
        named = "" if self.name is None else f", name={self.name!r}"
        numbers = f"limit={self.limit}, window={self.window}, burst={self.burst}"
        return f"RedisRateLimiter({self._target.location!r}, {numbers}{named})"

    def _with_name(self, name: str) -> Self:
        return type(self)(
            self._url.reveal(),
            self.limit,
            self.window,
            name=name,
            burst=self.burst,
            local_share=self._local_share,
        )

    def _open_store(self) -> _RedisStore:
        key = f"aivideomaker:limit:{digest_name('limit', self.name or 'default', repr(self.window))}"
        # After the end of any pause and of all that counts, the text is of no use.
        return _RedisStore(RedisConnections(self._target), key, MAX_LIMIT_PAUSE_S + 4 * self.window)

    def _fallback_limit_for(self, members: int | None) -> int:
        if members is None:
            return max(1, int(self.limit * self._local_share))
        return super()._fallback_limit_for(members)


@final
class _RedisStore:
    """A text in Redis. See `SharedStore`.

    Args:
        connections: used by this store alone, which closes them.
        key: the key of the text.
        expires: seconds after the last change in which the text is kept.
    """

    def __init__(self, connections: RedisConnections, key: str, expires: float) -> None:
        self._connections = connections
        self._key = key
        self._expires_ms = round(expires * 1000)

    async def update(self, step: Step[T]) -> T:
        try:
            # Cancelled at any of these awaits, the text was changed or not; nothing else is held.
            found, now = await self._read()
            for conflicts in range(1, MAX_CONFLICTS):
                text, result = step(None if found is None else found.decode("utf-8", "replace"), now)
                if text is None:
                    return result
                arguments = (found or b"", text, self._expires_ms)
                answer = await self._connections.run_script(COMPARE_AND_SET, [self._key], *arguments)
                if answer == 1:
                    return result
                found, now = answer[0], _seconds(answer[1])
                if conflicts > EAGER_ATTEMPTS:
                    await asyncio.sleep(random.uniform(0, 0.001 * min(conflicts, 20)))
                    found, now = await self._read()
        except RedisUnavailable as error:
            raise StoreUnavailable(str(error)) from error
        raise StoreUnavailable(f"{MAX_CONFLICTS} changes of other processes came first")

    async def aclose(self) -> None:
        await self._connections.aclose()

    async def _read(self) -> tuple[bytes | None, float]:
        found, now = await self._connections.transaction(("GET", self._key), ("TIME",))
        return found, _seconds(now)


def _seconds(time: tuple[bytes | int, bytes | int]) -> float:
    return int(time[0]) + int(time[1]) / 1e6
