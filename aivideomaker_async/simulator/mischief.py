"""Carries out faults: answers that aiohttp would never send, and connections that break."""

import asyncio
import email.utils
import http
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, NoReturn

from aiohttp import web
from attrs import define, field

from . import damage
from .answers import JSON, LongList, Poured, file_answer, json_answer
from .contract import Refusal
from .exchanges import Exchanges, pause
from .fault_kinds import Details, RetryAfterValue
from .faults import Fault

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What the server does with a request when nothing is wrong."""

_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
"""Without lingering, a connection ends with a reset."""

_PAGE = """<!DOCTYPE html>
<html><head><title>{status} {phrase}</title></head>
<body><center><h1>{status} {phrase}</h1></center><hr><center>proxy</center></body></html>
"""

_Body = Callable[[bytes, Fault], bytes]
_BODIES: Mapping[str, _Body] = {
    "truncated_json": lambda body, fault: damage.half(body, fault.details.size),
    "wrong_types": lambda body, _: damage.wrong_types(body),
    "garbage": lambda _, fault: damage.garbage(fault.details.size or 0, fault.rng),
    "empty": lambda _body, _fault: b"",
    "deep_json": lambda _, fault: damage.nested(fault.details.depth),
}
"""The faults whose answer is complete, with another body."""

_POURED = frozenset({"trickle", "truncate", "wrong_length", "huge", "endless", "gzip_bomb"})
_ALWAYS_JSON = frozenset({"wrong_types", "deep_json", "huge", "endless", "gzip_bomb"})


@define
class Mischief:
    """Answers requests that are hit by a fault.

    `refuse` writes an error of the API, and `count` gets the bytes of bodies that were handed to the network. Without
    `ranges` files are only served whole.
    """

    refuse: Callable[[Refusal], web.Response]
    count: Callable[[int], None]
    ranges: bool = True
    exchanges: Exchanges = field(factory=Exchanges, init=False)

    async def answer(self, fault: Fault, request: web.Request, act: Act) -> web.StreamResponse:
        """Return the answer; its status is 0 when there is to be none."""
        try:
            if fault.kind in ("changed", "no_ranges"):
                return await self._another_file(fault, request, act)
            good = await act(request) if fault.details.acted else await _unheard(request)
            return await self._spoiled(fault, request, good)
        except ConnectionError:
            return Silence("drop", self.exchanges)

    async def _spoiled(self, fault: Fault, request: web.Request, good: web.StreamResponse) -> web.StreamResponse:
        match fault.kind:
            case "drop" | "reset" | "hang":
                return Silence(fault.kind, self.exchanges)
            case "status" | "html" | "redirect" | "rate_limit":
                return self._failure(fault)
            case "slow":
                with self.exchanges.hold(request) as transport:
                    await pause(transport, fault.details.seconds)
                return good
        if fault.kind in _ALWAYS_JSON and good.content_type != JSON:
            good = json_answer({})
        if fault.kind in _POURED:
            return Spoiled(fault, good, self.exchanges, self.count)
        body = _BODIES[fault.kind](whole(good), fault)
        return web.Response(body=body, status=good.status, headers=_headers(good))

    def _failure(self, fault: Fault) -> web.Response:
        details = fault.details
        phrase = _phrase(details.status)
        if fault.kind == "html":
            page = _PAGE.format(status=details.status, phrase=phrase)
            return web.Response(text=page, status=details.status, content_type="text/html")
        if details.body is not None:
            answer = _answer_of(details)
        elif fault.kind == "rate_limit":
            answer = self.refuse(Refusal(429, "Too many requests", "RATE_LIMITED"))
        else:
            answer = self.refuse(Refusal(details.status, phrase))
        if details.retry_after is not None:
            answer.headers["Retry-After"] = _told(details.retry_after)
        if details.location:
            answer.headers["Location"] = details.location
        return answer

    async def _another_file(self, fault: Fault, request: web.Request, act: Act) -> web.StreamResponse:
        headers = request.headers.copy()
        headers.popall("Range", None)
        good = await act(request.clone(headers=headers))
        if fault.kind == "no_ranges":
            good.headers.popall("Accept-Ranges", None)
            return good
        if good.status != 200 or "Last-Modified" not in good.headers:
            return good
        modified = email.utils.parsedate_to_datetime(good.headers["Last-Modified"]) + timedelta(hours=1)
        content = damage.another_file(whole(good))
        return file_answer(
            request, content, good.content_type, email.utils.format_datetime(modified, usegmt=True), ranges=self.ranges
        )


class Silence(web.StreamResponse):
    """No answer. Its status, for the records, is 0."""

    def __init__(self, kind: Literal["drop", "reset", "hang"], exchanges: Exchanges) -> None:
        super().__init__(status=0)
        self._kind = kind
        self._exchanges = exchanges

    async def prepare(self, request: web.BaseRequest) -> NoReturn:
        """Break the connection, or hold it until the other side does."""
        with self._exchanges.hold(request) as transport:
            if self._kind == "hang":
                await pause(transport, None)
            if self._kind == "reset":
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
                transport.abort()
        # aiohttp closes the connection then, and thinks nothing of it.
        raise ConnectionResetError("no answer")


class Spoiled(Poured):
    """A good answer, with another body than it promises, or at another pace."""

    def __init__(
        self, fault: Fault, good: web.StreamResponse, exchanges: Exchanges, count: Callable[[int], None]
    ) -> None:
        super().__init__(status=good.status, count=count)
        self._kind = fault.kind
        self._details = fault.details
        self._exchanges = exchanges
        self._content = whole(good)
        self.headers.update(_headers(good))
        self.content_length = self._promised()
        if self._kind == "gzip_bomb":
            self.headers["Content-Encoding"] = "gzip"

    def _promised(self) -> int | None:
        length = len(self._content)
        match self._kind:
            case "huge":
                return max(length, self._size)
            case "wrong_length":
                return max(length + self._details.by, 1)
            case "gzip_bomb" | "endless":
                return None
            case _:
                return length

    @property
    def _size(self) -> int:
        return self._details.size or 1

    async def pour(self, request: web.BaseRequest) -> None:
        """Write the body."""
        with self._exchanges.hold(request) as transport:
            match self._kind:
                case "trickle":
                    await self._trickle(transport)
                case "truncate":
                    await self._truncate()
                case "wrong_length":
                    await self._misstate(transport)
                case "huge":
                    await self._write_all(damage.padded(self._content, self._size))
                case "gzip_bomb":
                    await self._write_all(damage.gzip_bomb(self._content, self._size))
                case _:
                    await self._go_on(transport)

    async def _trickle(self, transport: asyncio.Transport) -> None:
        for start in range(0, len(self._content), self._size):
            if start:
                await pause(transport, self._details.seconds)
            await self.write(self._content[start : start + self._size])

    async def _truncate(self) -> None:
        await self.write(damage.half(self._content, self._details.size))
        raise ConnectionResetError("the rest is not sent")

    async def _misstate(self, transport: asyncio.Transport) -> None:
        promised = self.content_length or 0
        await self.write(self._content[:promised])
        if not transport.is_closing():
            # Beyond what was promised, which aiohttp would not send.
            transport.write(self._content[promised:])
            self._count(len(self._content[promised:]))
        raise ConnectionResetError("the length was wrong")

    async def _write_all(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            await self.write(piece)
            # A client that reads fast would leave no time for others.
            await asyncio.sleep(0)

    async def _go_on(self, transport: asyncio.Transport) -> None:
        await self.write(b"{")
        while True:
            await self.write(damage.spaces(self._size))
            await pause(transport, self._details.seconds)


def whole(answer: web.StreamResponse) -> bytes:
    """Return the body of a good answer."""
    if isinstance(answer, LongList):
        return answer.whole()
    body = answer.body if isinstance(answer, web.Response) else None
    return body if isinstance(body, bytes) else b""


async def _unheard(request: web.Request) -> web.Response:
    """Take a request as it comes, do nothing, and return an answer that says nothing."""
    # Closed with a part of the request unread, a connection would end with a reset.
    with suppress(web.HTTPException, web.RequestPayloadError, ValueError):
        await request.read()
    return json_answer({})


def _headers(answer: web.StreamResponse) -> Mapping[str, str]:
    headers = answer.headers.copy()
    headers.popall("Content-Length", None)
    return headers


def _answer_of(details: Details) -> web.Response:
    if isinstance(details.body, str):
        return web.Response(text=details.body, status=details.status)
    if isinstance(details.body, bytes):
        return web.Response(body=details.body, status=details.status)
    return json_answer(dict(details.body or {}), status=details.status)


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _told(retry_after: RetryAfterValue) -> str:
    if isinstance(retry_after, datetime):
        return email.utils.format_datetime(retry_after.astimezone(UTC), usegmt=True)
    if isinstance(retry_after, float) and retry_after.is_integer():
        retry_after = int(retry_after)
    return str(retry_after)
