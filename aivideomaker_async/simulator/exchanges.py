"""Exchanges that are held up: who waits here learns when the client hangs up, or the server closes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web


class Exchanges:
    """The exchanges with a fault that are under way, so that none of them outlives the server."""

    def __init__(self) -> None:
        self._open: set[asyncio.Transport] = set()
        self._closed = False

    @contextmanager
    def hold(self, request: web.BaseRequest) -> Iterator[asyncio.Transport]:
        """Give the connection, which `close` breaks. Raises `ConnectionResetError` when there is none any more."""
        transport = request.transport
        if self._closed or transport is None or transport.is_closing():
            raise ConnectionResetError("nobody is left to answer")
        self._open.add(transport)
        try:
            yield transport
        finally:
            self._open.discard(transport)

    def close(self) -> None:
        """Break those that are under way, and all that follow."""
        self._closed = True
        for transport in tuple(self._open):
            transport.abort()


async def pause(transport: asyncio.Transport, seconds: float | None) -> None:
    """Wait so many real seconds, or for ever. Raises `ConnectionResetError` as soon as the connection is lost."""
    try:
        async with asyncio.timeout(seconds):
            with _watching(transport) as lost:
                await lost
    except TimeoutError:
        return
    raise ConnectionResetError("the client has hung up")


@contextmanager
def _watching(transport: asyncio.Transport) -> Iterator[asyncio.Future[None]]:
    # aiohttp tells a handler of a lost connection only when it writes.
    lost = asyncio.get_running_loop().create_future()
    inner = transport.get_protocol()
    assert isinstance(inner, asyncio.Protocol)  # noqa: S101
    watch = _Watch(inner, lost)
    transport.set_protocol(watch)
    try:
        yield lost
    finally:
        if transport.get_protocol() is watch:
            transport.set_protocol(inner)


class _Watch(asyncio.Protocol):
    """Stands before the protocol of a connection, and sees it lost."""

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
