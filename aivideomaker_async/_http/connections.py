"""The aiohttp sessions of this package: how they are opened, and how they end when nobody closes them."""

from __future__ import annotations

import asyncio
import os
import select
import weakref
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
from .._util.loops import running_loop
from .._util.version import __version__
from ..errors import ConfigurationError
from .requests import Sending

__all__ = ["abandon", "check_session", "current", "header_value", "open_session"]

USER_AGENT: Final = f"aivideomaker-async/{__version__} aiohttp/{aiohttp.__version__}"

current: Final[ContextVar[Sending | None]] = ContextVar("aivideomaker_async.sending", default=None)
"""The request that is being made, to be told how far it gets."""

_opened: Final[weakref.WeakSet[aiohttp.ClientSession]] = weakref.WeakSet()

_closing: Final[set[asyncio.Task[None]]] = set()
"""The loop itself forgets tasks that nobody holds."""


class _TellingRequest(aiohttp.ClientRequest):
    """A request that tells when it is written to a connection."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        if (sending := current.get()) is not None:
            sending.sent = True
        if isinstance(protocol := conn.protocol, _Listener):
            protocol.asked = True
            conn.add_callback(protocol.answered)
        return await super().send(conn)


class _Listener(ResponseHandler):
    """One end of a connection. A kept one is closed by the first byte that nobody has asked for.

    aiohttp would take it for the answer to the next request, and keep it in memory meanwhile, however much comes.
    """

    asked: bool = True
    """Whether a request is under way; the first one is expected from the start."""

    def answered(self) -> None:
        """The request is over, and the connection may be kept for the next."""
        self.asked = False

    def data_received(self, data: bytes) -> None:
        unasked = not self.asked and len(data) > 0
        if not unasked:
            super().data_received(data)
        # The end of an answer may have come in one piece with something behind it.
        if unasked or (not self.asked and self.should_close):
            self.force_close()
            if self.transport is not None:
                self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    """Makes connections that listen while they are kept, and gives out none on which something has come.

    Should a later aiohttp have other names for both places, connections are kept as it does.
    """

    def __init__(self, *, force_close: bool) -> None:
        # How many requests run at once is decided above; aiohttp's pool would only let their time run out while they
        # wait for a place.
        super().__init__(limit=0, force_close=force_close)
        make: Callable[..., ResponseHandler] = _Listener
        self._factory = partial(make, loop=asyncio.get_running_loop())

    async def _get(self, *args: Any, **kwargs: Any) -> Connection | None:  # noqa: ANN401  (whatever aiohttp gives)
        while (connection := await super()._get(*args, **kwargs)) is not None and _is_readable(connection.transport):
            # The event loop was busy, and has not seen it yet: the end of the connection, or what nobody asked for.
            connection.close()
        return connection


def _is_readable(transport: asyncio.BaseTransport | None) -> bool:
    """Whether something has arrived that nobody has looked at."""
    socket = None if transport is None else transport.get_extra_info("socket")
    if socket is None:
        return False
    handle = socket.fileno()
    if not hasattr(select, "poll"):
        return handle < 0 or bool(select.select([handle], [], [], 0)[0])
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


def open_session(*, keep: bool = True) -> aiohttp.ClientSession:
    """An aiohttp session as this package wants it, for the running event loop.

    Args:
        keep: whether connections are kept for further requests.

    Raises:
        ConfigurationError: no asyncio event loop runs here.
    """
    running_loop()
    session = aiohttp.ClientSession(
        connector=_Connector(force_close=not keep),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT},
        timeout=aiohttp.ClientTimeout(total=None),
        request_class=_TellingRequest,
    )
    # aiohttp sends a GET or PUT a second time by itself when a kept connection turns out to be closed. The service
    # would count a request that the limiter knows nothing of. There is no public switch.
    session._retry_connection = False
    _opened.add(session)
    return session


def check_session(session: object, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Make sure that what a caller has brought can be used.

    Args:
        session: what was brought.
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


# --- headers that nobody may see ---------------------------------------------------------------------


def header_value(secret: Secret) -> str:
    """`secret` as the value of a header: no repr of the headers shows it, where aiohttp can write such values."""
    return HiddenText(secret) if _writes_hidden_texts else secret.reveal()


def _writes_hidden_text() -> bool:
    """Whether what this aiohttp writes of a `HiddenText` is what it stands for. All that is known do."""
    headers: CIMultiDict[str] = CIMultiDict({"key": HiddenText(Secret("told"))})
    try:
        return b"key: told\r\n" in http_writer._serialize_headers("GET / HTTP/1.1", headers)
    except Exception:  # noqa: BLE001  (another aiohttp, that has another writer: the key must arrive all the same)
        return False


_writes_hidden_texts: Final = _writes_hidden_text()


# --- when nobody closes a session --------------------------------------------------------------------


def abandon(session: aiohttp.ClientSession, loop: asyncio.AbstractEventLoop) -> None:
    """Close a session that nobody uses any more, from any thread, and without waiting for it.

    Args:
        session: made by `open_session`; it is not to be used again.
        loop: the event loop that it was made in, which may be closed.
    """
    connector = session.connector
    # It is silent from here on, also when the loop never runs again.
    session.detach()
    if connector is None or connector.closed:
        return
    try:
        loop.call_soon_threadsafe(_close, connector, loop)
    except RuntimeError:
        # The loop is closed, and no connection can be closed in good form; their sockets go with them.
        connector._closed = True


def _close(connector: BaseConnector, loop: asyncio.AbstractEventLoop) -> None:
    async def close() -> None:
        await connector.close()

    task = loop.create_task(close(), name="aivideomaker_async.abandoned")
    _closing.add(task)
    task.add_done_callback(_closing.discard)


def _leave_to_parent() -> None:
    """In a forked process: to close a connection of the parent here would take it out of the parent's loop."""
    for session in list(_opened):
        connector = session.connector
        with suppress(RuntimeError):
            session.detach()
        if connector is not None:
            connector._closed = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
