"""The public status board, which users make and give to clients: its arguments, and its connections to Redis."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from weakref import WeakSet

from ..._redaction import Secret
from ..._util import validation
from ..._util.redis import RedisConnections, RedisTarget, RedisUnavailable, digest_name
from .client import BoardClient
from .messages import BoardPort
from .store import BoardStore

__all__ = ["StatusBoard"]

logger: Final = logging.getLogger("aivideomaker_async.watch")


class StatusBoard:
    """Lets all processes with the same API key poll as one, over Redis.

    Give it to clients as `AIVideoMaker(status_board=board)`; one board can serve many clients, also in event loops of
    several threads. Of all processes that wait for tasks, one is the leader and polls for all; when it dies, another
    takes over within seconds. While Redis cannot be reached, every process polls for itself.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://...` with TLS, or `unix://path`.
        name: boards with different names do not meet; None for those that have none.
        lease: seconds after which a leader that gives no sign is replaced.

    Raises:
        ConfigurationError: an argument makes no sense, or the package `redis` is not installed.
    """

    def __init__(self, url: str, *, name: str | None = None, lease: float = 3.0) -> None:
        self._lease = validation.seconds("lease", lease)
        self._connections = RedisConnections(RedisTarget(url))
        self._name = name
        self._clients: WeakSet[BoardClient] = WeakSet()
        self._is_gone = False

    def __repr__(self) -> str:
        named = "" if self._name is None else f" name={self._name!r}"
        return f"<StatusBoard at {self._connections.target.location}{named}>"

    def client(self, *, origin: str, key: Secret | str, port: BoardPort) -> BoardClient:
        """Return a client of the board. It does nothing before it is used.

        Args:
            origin: the service, such as `aivideomaker.ai`.
            key: the API key. Redis never sees it.
            port: what the client reports to.
        """
        text = key.reveal() if isinstance(key, Secret) else key
        store = BoardStore(self._connections, digest_name("board", origin, text, self._name or ""), self._lease)
        client = BoardClient(
            store,
            self._lease,
            port,
            on_connected=self._connected,
            on_disconnected=self._disconnected,
            on_left=self._left,
        )
        self._clients.add(client)
        return client

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Clients close their own; this is for what is left over."""
        await self._connections.aclose()

    async def _left(self, client: BoardClient, loop: asyncio.AbstractEventLoop) -> None:
        self._clients.discard(client)
        if not any(other.loop is loop for other in self._clients):
            await self._connections.aclose()

    def _disconnected(self, error: RedisUnavailable) -> bool:
        is_new, self._is_gone = not self._is_gone, True
        logger.log(
            logging.WARNING if is_new else logging.DEBUG,
            "the status board at %s cannot be used (%s): each process polls for itself",
            self._connections.target.location,
            error,
        )
        return is_new

    def _connected(self) -> None:
        if self._is_gone:
            self._is_gone = False
            logger.info("the status board at %s can be used again", self._connections.target.location)
