"""The cheapest service that takes a submit: it reads a body of any size, keeps nothing of it, and answers.

It runs in a process of its own, so that its work stalls nobody else.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import AbstractContextManager
from typing import Final

from .child_server import child_server, serve

BODY: Final = (
    b'{"status":"SUBMITTED","taskId":"ck1","responseUrl":"http://x/ck1","statusUrl":"http://x/ck1/status",'
    b'"cancelUrl":"http://x/ck1/cancel"}'
)
ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class UploadServer(asyncio.Protocol):
    """Counts the bytes of each body that its headers announce."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._head = b""
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when the body is complete."""
        assert self._transport is not None
        if not self._missing:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            found = LENGTH.search(head)
            self._head, self._missing = b"", int(found[1]) if found else 0
        self._missing -= len(data)
        if self._missing <= 0:
            self._missing = 0
            self._transport.write(ANSWER)


def upload_server() -> AbstractContextManager[str]:
    """One in a process of its own; gives its URL."""
    return child_server(__name__)


if __name__ == "__main__":
    asyncio.run(serve(UploadServer))
