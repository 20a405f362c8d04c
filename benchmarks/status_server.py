"""The cheapest server that a client takes for a real one: it answers every GET with a status.

It runs in a process of its own, so that its work does not count as the client's.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Final

from .child_server import child_server, serve

BODY: Final = b'{"status":"PROGRESS"}'
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nServer: benchmark\r\n\r\n%s" % (len(BODY), BODY)
)


class StatusServer(asyncio.Protocol):
    """Answers each request without reading it; a GET ends with its headers."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Write one answer for each request that is complete."""
        assert self._transport is not None
        *requests, self._unread = (self._unread + data).split(b"\r\n\r\n")
        if requests:
            self._transport.write(ANSWER * len(requests))


def status_server() -> AbstractContextManager[str]:
    """One in a process of its own; gives its URL."""
    return child_server(__name__)


if __name__ == "__main__":
    asyncio.run(serve(StatusServer))
