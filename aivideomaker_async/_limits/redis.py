"""The query limit of all processes of several hosts that share an IP address, over Redis.

The limit is one text in Redis, which `SharedRateLimiter` reads and writes. Here is how a text in Redis is changed by
one at a time: read it together with Redis's own clock, decide, and write it if it is still what was read. Nothing is
locked, so whoever is cancelled or killed on the way has done it or not, and stops nobody. The clocks of the hosts do
not matter.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final, TypeVar, final

from .._redaction import Secret
from .._util import validation as _checks
from .._util.redis import Connections, Gone, hashed
from ..errors import ConfigurationError
from .quota import LONGEST_PAUSE
from .shared import CellUnavailable, SharedRateLimiter

__all__ = ["RedisRateLimiter"]

T = TypeVar("T")

LOCAL_SHARE: Final = 0.1

MOST_CONFLICTS: Final = 200
"""Others that may come first, before it is taken for a mistake."""

EAGER: Final = 3
"""Conflicts after which a pause is made before the next attempt."""

_SWAP: Final = """
local found = redis.call('GET', KEYS[1])
if (found or '') == ARGV[1] then
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return 1
end
return {found, redis.call('TIME')}
"""


class RedisRateLimiter(SharedRateLimiter):
    """Keeps all processes of all hosts that use the same Redis within `limit` requests in any `window` seconds.

    What `RateLimiter` says of the limit, the pace and the order holds here for all processes together, and each process
    that waits gets an equal share. Give it to clients as `AIVideoMaker(limiter=...)`.

    While Redis cannot be used, a process keeps to the limit divided by the number of processes that used it lately. It
    says so once in the log, and asks Redis again from time to time.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://...` with TLS, or `unix://path`.
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        name: which limit it is; by default one for each service.
        burst: requests that may go at once after a quiet time; by default 5 % of the limit.
        local_share: the share of the limit that a process allows itself while Redis cannot be reached and it does not
            know how many processes there are, since it has not asked lately; 0 to 1. By default a tenth, which is safe
            for ten processes.

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
        local_share: float = LOCAL_SHARE,
    ) -> None:
        super().__init__(self._cell, limit, window, burst=burst)
        if _checks.seconds("local_share", local_share) > 1:
            raise ConfigurationError(f"local_share={local_share!r}: must be a share, more than 0 and at most 1")
        self.name: Final = name
        self._url = Secret(url)
        self._connections = Connections(url)
        self._local_share = local_share
        self._siblings: dict[str, RedisRateLimiter] = {}

    def __repr__(self) -> str:
        named = "" if self.name is None else f", name={self.name!r}"
        numbers = f"limit={self.limit}, window={self.window}, burst={self.burst}"
        return f"RedisRateLimiter({self._connections.place!r}, {numbers}{named})"

    def for_origin(self, origin: str) -> RedisRateLimiter:
        """The limiter for the service at `origin` (host and port): this one if it has a name."""
        if self.name is not None:
            return self
        if origin not in self._siblings:
            sibling = RedisRateLimiter(
                self._url.reveal(),
                self.limit,
                self.window,
                name=origin,
                burst=self.burst,
                local_share=self._local_share,
            )
            # Of two threads that ask at once, both get the first.
            self._siblings.setdefault(origin, sibling)
        return self._siblings[origin]

    def _cell(self) -> _RedisCell:
        key = f"aivideomaker:limit:{hashed('limit', self.name or 'default', repr(self.window))}"
        # Past the end of any pause and of all that counts, the text says nothing any more.
        return _RedisCell(self._connections.fresh(), key, LONGEST_PAUSE + 4 * self.window)

    def _alone(self, members: int | None) -> int:
        return max(1, int(self.limit * self._local_share)) if members is None else super()._alone(members)


@final
class _RedisCell:
    """A text in Redis.

    Args:
        connections: its own, since they are closed with it.
        key: where the text is.
        kept: seconds for which it stays after the last change.
    """

    def __init__(self, connections: Connections, key: str, kept: float) -> None:
        self._connections = connections
        self._key = key
        self._kept = round(kept * 1000)

    async def change(self, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
        """See `Cell.change`."""
        try:
            # Cancelled at any of these awaits, the text was changed or not; nothing else is held.
            found, now = await self._read()
            for conflicts in range(1, MOST_CONFLICTS):
                text, decided = step(None if found is None else found.decode("utf-8", "replace"), now)
                if text is None:
                    return decided
                answer = await self._connections.run(_SWAP, [self._key], found or b"", text, self._kept)
                if answer == 1:
                    return decided
                found, now = answer[0], _seconds(answer[1])
                if conflicts > EAGER:
                    await asyncio.sleep(random.uniform(0, 0.001 * min(conflicts, 20)))
                    found, now = await self._read()
        except Gone as error:
            reason = str(error)
        else:
            reason = "others always come first"
        raise CellUnavailable(reason)

    async def aclose(self) -> None:
        """See `Cell.aclose`."""
        await self._connections.aclose()

    async def _read(self) -> tuple[bytes | None, float]:
        found, now = await self._connections.together(("GET", self._key), ("TIME",))
        return found, _seconds(now)


def _seconds(time: tuple[bytes | int, bytes | int]) -> float:
    return int(time[0]) + int(time[1]) / 1e6
