"""Exchanges that a fault keeps open: they end when the client disconnects, or the server closes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web


class OpenExchanges:
    """The exchanges that faults keep open, so that none of them outlives the server."""

    def __init__(self) -> None:
        self._open: set[asyncio.Transport] = set()
        self._closed = False

    @contextmanager
    def hold(self, request: web.BaseRequest) -> Iterator[asyncio.Transport]:
        """Yield the connection of a request, which `close` breaks. Raises `ConnectionResetError` when it is closed."""
        transport = request.transport
        if self._closed or transport is None or transport.is_closing():
            raise ConnectionResetError("the client has disconnected")
        self._open.add(transport)
        try:
            yield transport
        finally:
            self._open.discard(transport)

    def close(self) -> None:
        """Break all open exchanges, and those that follow."""
        self._closed = True
        for transport in tuple(self._open):
            transport.abort()


async def sleep_while_connected(transport: asyncio.Transport, seconds: float | None) -> None:
    """Sleep, for ever with None. Raises `ConnectionResetError` as soon as the connection is lost."""
    try:
        async with asyncio.timeout(seconds):
            with _connection_lost(transport) as lost:
                await lost
    except TimeoutError:
        return
    raise ConnectionResetError("the client has disconnected")


@contextmanager
def _connection_lost(transport: asyncio.Transport) -> Iterator[asyncio.Future[None]]:
    # aiohttp reports a lost connection to a handler only when the handler writes.
    lost = asyncio.get_running_loop().create_future()
    inner = transport.get_protocol()
    assert isinstance(inner, asyncio.Protocol)  # noqa: S101
    watch = _LossWatcher(inner, lost)
    transport.set_protocol(watch)
    try:
        yield lost
    finally:
        if transport.get_protocol() is watch:
            transport.set_protocol(inner)


class _LossWatcher(asyncio.Protocol):
    """A protocol around that of a connection, which also sets a future when the connection is lost."""

    def __init__(self, inner: asyncio.Protocol, lost: asyncio.Future[None]) -> None:
        self._inner = inner
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        if not self._lost.done():
            self._lost.set_result(None)
