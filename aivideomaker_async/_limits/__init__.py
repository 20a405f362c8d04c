"""The query limit: at most 60 queries in any 60 seconds for all that shares an IP address, so that none gets a 429.

The service limits queries (not submits) by the address that they come from, whatever the key or the process. So each
query takes a permit first, from a `Limiter` that all clients behind the address share as far as they can.

**What is promised.** No window of the service's time ever sees more arrivals than the limit, whatever the latency: an
arrival lies between the grant of a permit and the answer, so a permit counts from its grant until a window after it is
settled. How the service counts is not documented; so a token bucket in front keeps an even pace of 95 % of the limit
with a burst of 5 %, which an exact window, a fixed minute, and a counter weighted over two windows all forgive. A
request that was never sent is refunded. A request whose answer never came counts five seconds longer, since it may
still be on its way. A 429, which another program behind the address may cause, pauses everyone.

**The order.** Foreground requests (calls of the user) go before background ones (polls of the watcher), first come,
first served. Background requests leave the last token of the burst, so that a call of the user need not wait while only
polls are made. After four foreground requests in a row, a waiting background request goes.

**Several processes.** Processes share the same quota as one text in a store, which one process at a time changes. A
process that is killed blocks nobody: its permits are leases. Of the processes that wait, the one that was served
longest ago goes first, so each gets an equal share. While the store is unavailable, each process keeps to a share of
its own.

Which rule stands where:

- `quota`: how many requests may go now (the window, the bucket, the pause); pure.
- `queue`: which waiter is next, in one process; pure.
- `local`: `RateLimiter`, for whatever shares the object, also in several event loops and threads.
- `shared_quota`: the quota of many processes as a text, its leases, and which process is next; pure.
- `store`: where the text lies (the protocol), and the fallback of a process while the store is unavailable.
- `shared`: `SharedRateLimiter`, the permits and waiters of one process, and its reports to the store.
- `host`: `HostRateLimiter`, a store in an SQLite file; the default of all clients.
- `redis`: `RedisRateLimiter`, a store in Redis, for several hosts; imported on use, since it needs an extra.
- `base`: the protocol, permits, priorities and statistics that all limiters have in common.

Importing this package imports neither sqlite3 nor redis: they are loaded when a limiter needs them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._util.lazy import names_on_use
from .base import Limiter, LimiterStatistics, Permit, Priority
from .host import HostRateLimiter, default_limiter
from .quota import MAX_LIMIT_PAUSE_S
from .shared import SharedRateLimiter

if TYPE_CHECKING:
    from .local import RateLimiter
    from .redis import RedisRateLimiter

__all__ = [
    "MAX_LIMIT_PAUSE_S",
    "HostRateLimiter",
    "Limiter",
    "LimiterStatistics",
    "Permit",
    "Priority",
    "RateLimiter",
    "RedisRateLimiter",
    "SharedRateLimiter",
    "default_limiter",
]

if not TYPE_CHECKING:
    # Type checkers would take every wrong name for one of these.
    __getattr__ = names_on_use(__name__, {"local": "RateLimiter", "redis": "RedisRateLimiter"})
