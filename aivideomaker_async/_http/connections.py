"""The aiohttp sessions of this package: how they are opened, and how they end when nobody closes them."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp import http_writer
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import BaseConnector, Connection
from multidict import CIMultiDict

from .._redaction import HiddenText, Secret
from .._util.fork import after_fork_in_child
from .._util.loops import running_loop
from .._util.version import __version__
from ..errors import ConfigurationError
from .requests import MAX_HEADER_BYTES, Sending

__all__ = [
    "REQUEST_HEADERS",
    "USER_AGENT",
    "abandon",
    "check_session",
    "current_sending",
    "header_value",
    "open_session",
]

USER_AGENT: Final = f"Mozilla/5.0 (compatible; aivideomaker-async/{__version__}; aiohttp/{aiohttp.__version__})"

REQUEST_HEADERS: Final = {"User-Agent": USER_AGENT, "Content-Type": "application/json"}
"""What the vendor's page requires of every request, also of one without a body; the user agent must begin so."""

current_sending: Final[ContextVar[Sending | None]] = ContextVar("aivideomaker_async.sending", default=None)
"""The state of the request that is being made; the request class below has no other way to reach it."""

_closing: Final[set[asyncio.Task[None]]] = set()
"""Tasks that close abandoned sessions: the event loop itself keeps only weak references."""


class _ReportingRequest(aiohttp.ClientRequest):
    """A request that records when it is written to a connection."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if (sending := current_sending.get()) is not None:
            sending.mark(sent=True)
        if isinstance(protocol := conn.protocol, _Protocol):
            protocol.is_busy = True
            conn.add_callback(protocol.set_idle)
        return await super().send(conn)


class _Protocol(ResponseHandler):
    """One end of a connection, which is closed by the first byte that arrives while it is idle.

    aiohttp would take such bytes for the answer to the next request, and buffer them without limit until then.
    """

    is_busy: bool = True
    """Whether a request is in flight. A new connection is made for one."""

    has_unread: Callable[[], bool] = staticmethod(lambda: False)
    """Returns whether something has arrived that the event loop has not read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.has_unread = _unread_check(transport)

    def set_idle(self) -> None:
        self.is_busy = False

    def data_received(self, data: bytes) -> None:
        is_unsolicited = not self.is_busy and len(data) > 0
        if not is_unsolicited:
            super().data_received(data)
        # The end of an answer may have come in one piece with more bytes behind it.
        if is_unsolicited or (not self.is_busy and self.should_close):
            self.force_close()
            if self.transport is not None:
                self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Makes connections that refuse unsolicited bytes, and reuses none on which something has arrived.

    It overrides two private names of aiohttp. Should a later version rename them, connections are kept as aiohttp does.
    """

    def __init__(self, *, force_close: bool) -> None:
        # No limit: the gate bounds the requests in flight, and in aiohttp's queue their time would run out unseen.
        super().__init__(limit=0, force_close=force_close)
        make: Callable[..., ResponseHandler] = _Protocol
        self._factory = partial(make, loop=asyncio.get_running_loop())

    async def _get(self, *args: Any, **kwargs: Any) -> Connection | None:  # noqa: ANN401  (whatever aiohttp passes)
        while (connection := await super()._get(*args, **kwargs)) is not None:
            if not isinstance(connection.protocol, _Protocol) or not connection.protocol.has_unread():
                return connection
            # The event loop was busy and has not read it yet: unsolicited bytes, or the end of the connection.
            connection.close()
        return None


def _unread_check(transport: asyncio.BaseTransport) -> Callable[[], bool]:
    """Return a function that returns whether something has arrived that the event loop has not read."""
    socket = transport.get_extra_info("socket")
    if socket is None:
        return lambda: False
    # A closed socket is at its end: TLS closes it one step of the event loop before aiohttp learns of it.
    if not hasattr(select, "poll"):
        return lambda: socket.fileno() < 0 or bool(select.select([socket.fileno()], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return lambda: socket.fileno() < 0 or bool(poll.poll(0))


def open_session(key: Secret, *, keep: bool = True) -> aiohttp.ClientSession:
    """Return a new aiohttp session for the running event loop and one service.

    Args:
        key: the API key, which goes out with every request.
        keep: whether connections are kept for further requests.

    Raises:
        ConfigurationError: no asyncio event loop runs here.
    """
    running_loop()
    session = aiohttp.ClientSession(
        connector=_Connector(force_close=not keep),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={**REQUEST_HEADERS, "key": header_value(key)},
        timeout=aiohttp.ClientTimeout(total=None),
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        request_class=_ReportingRequest,
    )
    # aiohttp repeats a GET or PUT by itself when a kept connection turns out to be closed: the service would count a
    # request that the limiter does not. There is no public switch.
    session._retry_connection = False
    after_fork_in_child(session, _leave_to_parent)
    return session


def check_session(session: object, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Check that a caller's own session can be used.

    Args:
        session: the session.
        loop: the event loop that it is to be used in; None while that is not known.

    Raises:
        ConfigurationError: it is no aiohttp session, a closed one, or one of another event loop.
    """
    if not isinstance(session, aiohttp.ClientSession):
        raise ConfigurationError(f"http: must be an aiohttp.ClientSession, not {type(session).__name__}")
    if loop is None:
        return
    if session.closed:
        raise ConfigurationError("the aiohttp session that was passed as `http` is closed")
    if getattr(session, "_loop", loop) is not loop:
        raise ConfigurationError(
            "the aiohttp session that was passed as `http` was made in another event loop; "
            "make it in the one that uses the client"
        )


# --- hidden header values ----------------------------------------------------------------------------


def header_value(secret: Secret) -> str:
    """Return `secret` as the value of a header, in a form that no repr of the headers shows."""
    return HiddenText(secret) if _writes_hidden_text else secret.reveal()


def _can_write_hidden_text() -> bool:
    """Return whether this aiohttp writes the secret behind a `HiddenText`. All known versions do."""
    headers: CIMultiDict[str] = CIMultiDict({"key": HiddenText(Secret("probe"))})
    try:
        return b"key: probe\r\n" in http_writer._serialize_headers("GET / HTTP/1.1", headers)
    except Exception:  # noqa: BLE001  (another aiohttp with another writer: the key must arrive all the same)
        return False


_writes_hidden_text: Final = _can_write_hidden_text()


# --- sessions that nobody closes ---------------------------------------------------------------------


def abandon(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Close a session that is not used any more, from any thread and without waiting.

    Args:
        session: a session of `open_session`.
        loop: the event loop that it was made in, which may be closed.
    """
    connector = session.connector
    # It warns no more, also when the loop never runs again.
    session.detach()
    if connector is None or connector.closed:
        return
    try:
        loop.call_soon_threadsafe(_close, connector, loop)
    except RuntimeError:
        # The loop is closed, and its sockets are closed with it.
        connector._closed = True


def _close(connector: BaseConnector, loop: asyncio.AbstractEventLoop) -> None:
    async def close() -> None:
        await connector.close()

    task = loop.create_task(close(), name="aivideomaker_async.abandoned")
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def _leave_to_parent(session: aiohttp.ClientSession) -> None:
    """Make a session inert in a forked child: closing a connection here would take it out of the parent's loop."""
    connector = session.connector
    with suppress(RuntimeError):
        session.detach()
    if connector is not None:
        connector._closed = True
