"""One poller for many processes, also of several hosts: they meet in Redis, one of them polls, and tells the others.

    board = StatusBoard("redis://redis.internal")
    async with AIVideoMaker(status_board=board) as client: ...

Each client has a link (`board_link`). While its watcher waits for tasks, the link is a member (`board_member`): what it
wants stands in Redis (`board_place`) for as long as it lives, and one member leads. News travels by pub/sub, which may
lose it, so the last news of each task also stays for a while. Without Redis everybody polls for itself, as if there
were no board. What is decided is in `_core.board`; here it is carried out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol
from weakref import WeakSet

from ..._redaction import Secret
from ..._util import validation as _checks
from ..._util.redis import RedisConnections, RedisTarget, RedisUnavailable, digest_name
from ...tasks import TaskDetails, TaskStatus
from .link import BoardLink
from .messages import Want
from .store import Place

__all__ = ["BoardLink", "BoardPort", "StatusBoard", "Want"]

logger: Final = logging.getLogger("aivideomaker_async.watch")


class BoardPort(Protocol):
    """Whom a link tells. All calls come in the event loop of the client, and never raise."""

    def told(self, task_id: str, news: TaskDetails | TaskStatus) -> None:
        """Another process observed this. It may be older than what is known."""
        ...

    def told_gone(self, task_id: str) -> None:
        """The leader was told that there is no such task (404): ask yourself."""
        ...

    def told_hint(self, reference: str) -> None:
        """A webhook delivery arrived at another process."""
        ...

    def lead_changed(self) -> None:
        """`leads` or `follows` has changed. When `leads` has ended, all that others want is void, untold."""
        ...

    def others_want(self, task_id: str, want: Want) -> None:
        """Only while leading: processes elsewhere wait for this task; called again when they want something else.

        What is known of it already should be told at once, also if it has ended; the link drops what was told before.
        """
        ...

    def others_unwant(self, task_id: str) -> None:
        """Only while leading: no process elsewhere waits for this task any more."""
        ...


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
        self._lease = _checks.seconds("lease", lease)
        self._connections = RedisConnections(RedisTarget(url))
        self._name = name
        self._links: WeakSet[BoardLink] = WeakSet()
        self._is_gone = False

    def __repr__(self) -> str:
        named = "" if self._name is None else f" name={self._name!r}"
        return f"<StatusBoard at {self._connections.target.location}{named}>"

    def link(self, *, origin: str, key: Secret | str, port: BoardPort) -> BoardLink:
        """The link of one client. It does nothing before it is used.

        Args:
            origin: the service, such as `aivideomaker.ai`.
            key: the API key. Redis never sees it.
            port: whom to tell what the others say.
        """
        text = key.reveal() if isinstance(key, Secret) else key
        place = Place(self._connections, digest_name("board", origin, text, self._name or ""), self._lease)
        link = BoardLink(self, place, self._lease, port)
        self._links.add(link)
        return link

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Clients close their links; this is for what is left over."""
        await self._connections.aclose()

    async def _left(self, link: BoardLink, loop: asyncio.AbstractEventLoop) -> None:
        self._links.discard(link)
        if not any(other.loop is loop for other in self._links):
            await self._connections.aclose()

    def _lost(self, error: RedisUnavailable) -> None:
        level = logging.DEBUG if self._is_gone else logging.WARNING
        self._is_gone = True
        place = self._connections.target.location
        logger.log(level, "the status board at %s cannot be used (%s): each process polls for itself", place, error)

    def _found(self) -> None:
        if self._is_gone:
            self._is_gone = False
            logger.info("the status board at %s can be used again", self._connections.target.location)
