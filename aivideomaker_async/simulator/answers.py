"""Good answers, as aiohttp sends them: JSON, files in parts, and long lists piece by piece."""

import hashlib
import json
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from .contract import Refusal
from .ranges import select

JSON = "application/json"


async def read(request: web.Request) -> bytes:
    """Return the body of a request. Raises `Refusal` (400) when it cannot be decoded."""
    try:
        return await request.read()
    except (web.RequestPayloadError, ValueError):
        raise Refusal(400, "The body could not be read", "INVALID_PAYLOAD") from None


def json_answer(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer in JSON; bytes are JSON already."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return web.Response(body=content, status=status, headers=headers, content_type=JSON, charset="utf-8")


def file_answer(request: web.Request, content: bytes, media_type: str, modified: str, *, ranges: bool) -> web.Response:
    """Return the part of a file that a request asks for; without `ranges`, the whole file."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Last-Modified": modified}
    if not ranges:
        return web.Response(body=content, headers=headers, content_type=media_type)
    part = select(request.headers, len(content), etag, modified)
    headers |= {"Accept-Ranges": "bytes", **part.headers(len(content))}
    body = content[part.start : part.stop]
    return web.Response(body=body, status=part.status, headers=headers, content_type=media_type)


class Poured(web.StreamResponse):
    """An answer whose body is written piece by piece, as fast as the client takes it.

    `count` gets the bytes of each piece that was handed to the network. Whatever `pour` raises as a `ConnectionError`
    breaks the connection, after what has been written.
    """

    def __init__(self, *, status: int = 200, count: Callable[[int], None]) -> None:
        super().__init__(status=status)
        self._count = count
        self._asked: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head."""
        self._asked = request
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body."""
        if self._asked is not None and self._asked.method != "HEAD":
            await self.pour(self._asked)
        await super().write_eof(data)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece."""
        await super().write(data)
        self._count(len(data))

    async def pour(self, request: web.BaseRequest) -> None:
        """Write the pieces of the body."""
        raise NotImplementedError


class LongList(Poured):
    """A list in pieces."""

    def __init__(self, pieces: list[bytes], count: Callable[[int], None]) -> None:
        super().__init__(count=count)
        self.content_type, self.charset = JSON, "utf-8"
        self.content_length = sum(map(len, pieces))
        self._pieces = pieces

    async def pour(self, request: web.BaseRequest) -> None:
        """Write the pieces of the list."""
        for piece in self._pieces:
            await self.write(piece)

    def whole(self) -> bytes:
        """Return the body in one piece."""
        return b"".join(self._pieces)
