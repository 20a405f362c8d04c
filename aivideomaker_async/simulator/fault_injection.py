"""Fault injection: answers that aiohttp would never send, and connections that break.

A request that is hit by a fault goes through `FaultInjector.answer`. Depending on the kind of the fault, the server
acts first or not at all (`acted`), and the answer is replaced (an error, a redirect), delayed, corrupted or left out.
"""

import asyncio
import email.utils
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, NoReturn

from aiohttp import web
from attrs import define, field

from . import body_corruption
from .contract import Refusal
from .fault_kinds import Details, RetryAfterValue
from .faults import Fault
from .open_exchanges import OpenExchanges, sleep_while_connected
from .responses import (
    JSON_TYPE,
    PiecewiseResponse,
    TaskListResponse,
    file_response,
    html_response,
    json_response,
    phrase,
)

Act = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""The server's normal handling of a request."""

# A connection that is closed without lingering ends with a reset.
_NO_LINGER = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)

_Body = Callable[[bytes, Fault], bytes]
_REPLACED_BODIES: Mapping[str, _Body] = {
    "truncated_json": lambda body, fault: body_corruption.truncated(body, fault.details.size),
    "wrong_types": lambda body, _: body_corruption.wrong_types(body),
    "garbage": lambda _, fault: fault.rng.randbytes(fault.details.size or 0),
    "empty": lambda _body, _fault: b"",
    "deep_json": lambda _, fault: b"[" * fault.details.depth + b"]" * fault.details.depth,
}
"""The faults whose answer is complete, with another body."""

_PIECEWISE = frozenset({"trickle", "truncate", "wrong_length", "huge", "endless", "gzip_bomb"})
_ALWAYS_JSON = frozenset({"wrong_types", "deep_json", "huge", "endless", "gzip_bomb"})


@define
class FaultInjector:
    """Answers the requests that are hit by a fault.

    `refuse` returns an error of the API, and `count` gets the number of bytes of bodies that were handed to the
    network. Without `ranges`, files are only served whole.
    """

    refuse: Callable[[Refusal], web.Response]
    count: Callable[[int], None]
    ranges: bool = True
    exchanges: OpenExchanges = field(factory=OpenExchanges, init=False)

    async def answer(self, fault: Fault, request: web.Request, act: Act) -> web.StreamResponse:
        """Return the answer to a request. Without an answer, its status is 0."""
        try:
            if fault.kind in ("changed", "no_ranges"):
                return await self._other_file(fault, request, act)
            good = await act(request) if fault.details.acted else await _discard(request)
            return await self._spoil(fault, request, good)
        except ConnectionError:
            return NoAnswer("drop", self.exchanges)

    async def _spoil(self, fault: Fault, request: web.Request, good: web.StreamResponse) -> web.StreamResponse:
        match fault.kind:
            case "drop" | "reset" | "hang":
                return NoAnswer(fault.kind, self.exchanges)
            case "status" | "html" | "redirect" | "rate_limit":
                return self._error(fault)
            case "slow":
                with self.exchanges.hold(request) as transport:
                    await sleep_while_connected(transport, fault.details.seconds)
                return good
        if fault.kind in _ALWAYS_JSON and good.content_type != JSON_TYPE:
            good = json_response({})
        if fault.kind in _PIECEWISE:
            return CorruptedAnswer(fault, good, self.exchanges, self.count)
        body = _REPLACED_BODIES[fault.kind](whole_body(good), fault)
        return web.Response(body=body, status=good.status, headers=_without_length(good))

    def _error(self, fault: Fault) -> web.Response:
        details = fault.details
        if fault.kind == "html":
            return html_response(details.status)
        if details.body is not None:
            answer = _with_body(details)
        elif fault.kind == "rate_limit":
            answer = self.refuse(Refusal(429, "Too many requests", "RATE_LIMITED"))
        else:
            answer = self.refuse(Refusal(details.status, phrase(details.status)))
        if details.retry_after is not None:
            answer.headers["Retry-After"] = _retry_after_text(details.retry_after)
        if details.location:
            answer.headers["Location"] = details.location
        return answer

    async def _other_file(self, fault: Fault, request: web.Request, act: Act) -> web.StreamResponse:
        headers = request.headers.copy()
        headers.popall("Range", None)
        good = await act(request.clone(headers=headers))
        if fault.kind == "no_ranges":
            good.headers.popall("Accept-Ranges", None)
            return good
        if good.status != 200 or "Last-Modified" not in good.headers:
            return good
        modified = email.utils.parsedate_to_datetime(good.headers["Last-Modified"]) + timedelta(hours=1)
        content = body_corruption.changed_file(whole_body(good))
        return file_response(
            request, content, good.content_type, email.utils.format_datetime(modified, usegmt=True), ranges=self.ranges
        )


class NoAnswer(web.StreamResponse):
    """The end of the connection in place of an answer. Its status, for the records, is 0."""

    def __init__(self, kind: Literal["drop", "reset", "hang"], exchanges: OpenExchanges) -> None:
        super().__init__(status=0)
        self._kind = kind
        self._exchanges = exchanges

    async def prepare(self, request: web.BaseRequest) -> NoReturn:
        """Break the connection, or keep it open until the client closes it."""
        with self._exchanges.hold(request) as transport:
            if self._kind == "hang":
                await sleep_while_connected(transport, None)
            if self._kind == "reset":
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                transport.abort()
        # aiohttp then closes the connection, and logs nothing.
        raise ConnectionResetError("no answer")


class CorruptedAnswer(PiecewiseResponse):
    """A good answer with another body than it promises, or sent in slow pieces."""

    def __init__(
        self, fault: Fault, good: web.StreamResponse, exchanges: OpenExchanges, count: Callable[[int], None]
    ) -> None:
        super().__init__(status=good.status, count=count)
        self._kind = fault.kind
        self._details = fault.details
        self._size = fault.details.size or 1
        self._exchanges = exchanges
        self._content = whole_body(good)
        self.headers.update(_without_length(good))
        self.content_length = self._promised_length()
        if self._kind == "gzip_bomb":
            self.headers["Content-Encoding"] = "gzip"

    def _promised_length(self) -> int | None:
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

    async def write_body(self, request: web.BaseRequest) -> None:
        """Write the body."""
        with self._exchanges.hold(request) as transport:
            match self._kind:
                case "trickle":
                    await self._trickle(transport)
                case "truncate":
                    await self.write(body_corruption.truncated(self._content, self._details.size))
                    raise ConnectionResetError("the rest is not sent")
                case "wrong_length":
                    await self._write_other_length(transport)
                case "huge":
                    await self._write_all(body_corruption.padded(self._content, self._size))
                case "gzip_bomb":
                    await self._write_all(body_corruption.gzip_bomb(self._content, self._size))
                case _:
                    await self._write_without_end(transport)

    async def _trickle(self, transport: asyncio.Transport) -> None:
        for start in range(0, len(self._content), self._size):
            if start:
                await sleep_while_connected(transport, self._details.seconds)
            await self.write(self._content[start : start + self._size])

    async def _write_other_length(self, transport: asyncio.Transport) -> None:
        promised = self.content_length or 0
        await self.write(self._content[:promised])
        if not transport.is_closing():
            # Bytes beyond the promised length, which aiohttp would not send.
            transport.write(self._content[promised:])
            self._count(len(self._content[promised:]))
        raise ConnectionResetError("the length was wrong")

    async def _write_all(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            await self.write(piece)
            # With a client that reads fast, `write` never waits, and would block the event loop.
            await asyncio.sleep(0)

    async def _write_without_end(self, transport: asyncio.Transport) -> None:
        await self.write(b"{")
        while True:
            await self.write(b" " * self._size)
            await sleep_while_connected(transport, self._details.seconds)


def whole_body(answer: web.StreamResponse) -> bytes:
    """Return the body of a good answer."""
    if isinstance(answer, TaskListResponse):
        return answer.whole()
    body = answer.body if isinstance(answer, web.Response) else None
    return body if isinstance(body, bytes) else b""


async def _discard(request: web.Request) -> web.Response:
    """Read a request, do nothing, and return an empty answer."""
    # A connection that is closed with a part of the request unread would end with a reset.
    with suppress(web.HTTPException, web.RequestPayloadError, ValueError):
        await request.read()
    return json_response({})


def _without_length(answer: web.StreamResponse) -> Mapping[str, str]:
    headers = answer.headers.copy()
    headers.popall("Content-Length", None)
    return headers


def _with_body(details: Details) -> web.Response:
    if isinstance(details.body, str):
        return web.Response(text=details.body, status=details.status)
    if isinstance(details.body, bytes):
        return web.Response(body=details.body, status=details.status)
    return json_response(dict(details.body or {}), status=details.status)


def _retry_after_text(retry_after: RetryAfterValue) -> str:
    if isinstance(retry_after, datetime):
        return email.utils.format_datetime(retry_after.astimezone(UTC), usegmt=True)
    if isinstance(retry_after, float) and retry_after.is_integer():
        retry_after = int(retry_after)
    return str(retry_after)
