"""Good answers: JSON, files or parts of them, and long lists that are sent piece by piece."""

import hashlib
import http
import json
import re
from collections.abc import Callable, Mapping

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from attrs import frozen

from .contract import Refusal

JSON_TYPE = "application/json"

_HTML_PAGE = """<!DOCTYPE html>
<html><head><title>{status} {phrase}</title></head>
<body><center><h1>{status} {phrase}</h1></center><hr><center>proxy</center></body></html>
"""

# A single range, with numbers of a length that is cheap to convert.
_SINGLE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)


async def read_body(request: web.Request) -> bytes:
    """Return the body of a request. Raises `Refusal` (400) when it cannot be decoded."""
    try:
        return await request.read()
    except (web.RequestPayloadError, ValueError):
        raise Refusal(400, "The body could not be read", "INVALID_PAYLOAD") from None


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer in JSON. Bytes are taken to be JSON already."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return web.Response(body=content, status=status, headers=headers, content_type=JSON_TYPE, charset="utf-8")


def html_response(status: int) -> web.Response:
    """Return the page of a proxy in front of the service."""
    page = _HTML_PAGE.format(status=status, phrase=phrase(status))
    return web.Response(text=page, status=status, content_type="text/html")


def phrase(status: int) -> str:
    """Return what an HTTP status is called."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


# --- files -------------------------------------------------------------------------------------------


@frozen
class FilePart:
    """The bytes of a file from `start` up to `stop`, to be answered with `status`."""

    status: int
    start: int
    stop: int

    def headers(self, size: int) -> dict[str, str]:
        """Return the headers that describe this part of a file of `size` bytes."""
        if self.status == 206:
            return {"Content-Range": f"bytes {self.start}-{self.stop - 1}/{size}"}
        return {"Content-Range": f"bytes */{size}"} if self.status == 416 else {}


def select_part(headers: Mapping[str, str], size: int, etag: str, last_modified: str) -> FilePart:
    """Return the part of a file of `size` bytes that these request headers ask for.

    RFC 9110, Range and If-Range: a range that is not understood is ignored, and the whole file is the answer.
    """
    whole = FilePart(200, 0, size)
    wanted = _SINGLE_RANGE.fullmatch(headers.get("Range", ""))
    if wanted is None or headers.get("If-Range", etag) not in {etag, last_modified}:
        return whole
    first, last = wanted.groups()
    if not first:
        if not last:
            return whole
        length = int(last)
        return FilePart(206, max(size - length, 0), size) if length and size else FilePart(416, 0, 0)
    start, stop = int(first), min(int(last), size - 1) + 1 if last else size
    if last and int(last) < start:
        return whole
    return FilePart(206, start, stop) if start < size else FilePart(416, 0, 0)


def file_response(
    request: web.Request, content: bytes, media_type: str, modified: str, *, ranges: bool
) -> web.Response:
    """Return the part of a file that a request asks for. Without `ranges`, it is the whole file."""
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Last-Modified": modified}
    if not ranges:
        return web.Response(body=content, headers=headers, content_type=media_type)
    part = select_part(request.headers, len(content), etag, modified)
    headers |= {"Accept-Ranges": "bytes", **part.headers(len(content))}
    body = content[part.start : part.stop]
    return web.Response(body=body, status=part.status, headers=headers, content_type=media_type)


# --- answers in pieces -------------------------------------------------------------------------------


class PiecewiseResponse(web.StreamResponse):
    """An answer whose body is written piece by piece, as fast as the client takes it.

    `count` gets the number of bytes of each piece that was handed to the network. A `ConnectionError` that `write_body`
    raises breaks the connection, after the pieces that were written.
    """

    def __init__(self, *, status: int = 200, count: Callable[[int], None]) -> None:
        super().__init__(status=status)
        self._count = count
        self._request: web.BaseRequest | None = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the headers."""
        self._request = request
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body."""
        if self._request is not None and self._request.method != "HEAD":
            await self.write_body(self._request)
        await super().write_eof(data)

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send a piece."""
        await super().write(data)
        self._count(len(data))

    async def write_body(self, request: web.BaseRequest) -> None:
        """Write the pieces of the body."""
        raise NotImplementedError


class TaskListResponse(PiecewiseResponse):
    """A long task list in pieces."""

    def __init__(self, pieces: list[bytes], count: Callable[[int], None]) -> None:
        super().__init__(count=count)
        self.content_type, self.charset = JSON_TYPE, "utf-8"
        self.content_length = sum(map(len, pieces))
        self._pieces = pieces

    async def write_body(self, request: web.BaseRequest) -> None:
        """Write the pieces of the list."""
        for piece in self._pieces:
            await self.write(piece)

    def whole(self) -> bytes:
        """Return the body in one piece."""
        return b"".join(self._pieces)
