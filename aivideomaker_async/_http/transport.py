"""One HTTP exchange with the service. The only module beside those of files that knows aiohttp's client.

Everything that aiohttp can raise leaves here as a `TransportError`. `ConnectFailed` is special: it promises that the
request was never sent, so that even a submit may be tried again.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache
from math import inf
from typing import Final, Protocol

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from attrs import field, frozen
from multidict import CIMultiDictProxy
from yarl import URL

from .._redaction import Secret, one_line, redact_url, shorten
from ..errors import BadResponse, ConnectFailed, Disconnected, RequestTimeout, TransportError
from .connections import check_session, current, header_value, open_session
from .requests import Request, RequestBody, Sending
from .sizes import marks

__all__ = ["Answer", "Sink", "Transport", "open_session"]


_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    ssl.SSLCertVerificationError,
    # A host name that cannot be looked up at all.
    UnicodeError,
)

_BROKEN: Final = (aiohttp.ClientError, OSError, RuntimeError, AssertionError, AttributeError)
"""How an exchange fails. With the last three aiohttp fails in the middle, when a connection or its session is closed
under it; asyncio does, when there is no thread to look up a name."""

_ADDRESS: Final = re.compile(r"https?://[^\s'\"]+")

CONNECT_SHARE: Final = 0.9
"""The share of an attempt's time that connecting may take, so that its end is not mistaken for a lost answer."""


AT_ONCE: Final = 64 * 1024
"""Bytes of a body that are written in one go; larger ones are written in pieces, and the loop runs between them."""

SLICE: Final = 64 * 1024
"""Bytes of a long answer that are read without letting others run."""

ERROR_BODY: Final = 64 * 1024
"""Bytes of the body of an error that are read. The status says what it is; the body only why."""

ERROR_PATIENCE: Final = 5.0
"""Seconds in which they must arrive."""

CHEAP_REST: Final = 128 * 1024
"""Bytes that are rather read and thrown away than that a connection is closed and made anew."""

PATIENCE: Final = 0.2
"""Seconds in which the rest of an answer must arrive for that."""

_NO_TYPE: Final = ("Content-Type",)


class Sink(Protocol):
    """What takes a long answer while it arrives."""

    @property
    def enough(self) -> bool:
        """Whether the rest need not be read."""
        ...

    @property
    def behind(self) -> bool:
        """Whether it has not yet dealt with all that it was fed: let others run, and feed it nothing."""
        ...

    def feed(self, piece: bytes) -> None:
        """Here are the next bytes. It never raises."""
        ...


@frozen
class Answer:
    """What came back. An answer that went into a sink has no body here."""

    status: int
    headers: CIMultiDictProxy[str] = field(repr=False)
    body: bytes | bytearray = field(repr=False)
    """Of an error no more than its beginning."""


class Transport:
    """Sends requests to one origin, with one key, through one aiohttp session.

    Args:
        session: the aiohttp session; it is not closed here.
        base_url: scheme, host and port, and perhaps a path, without a slash at the end.
        key: the API key.
        tells: whether `open_session` made the session, so that it tells when a request is really sent.
    """

    def __init__(self, session: aiohttp.ClientSession, *, base_url: str, key: Secret, tells: bool) -> None:
        self._session = session
        self._base_url = base_url
        self._key = key
        # Should a later aiohttp send in another way, nothing is known to be unsent: the side that never pays twice.
        self._tells = tells and hasattr(aiohttp.ClientRequest, "send")
        self._under_way: set[asyncio.Timeout] = set()

    def end(self) -> None:
        """Break off what is under way, also what is not connected yet: the client is closed."""
        for exchange in self._under_way:
            if not exchange.expired():
                exchange.reschedule(-inf)

    async def send(self, request: Request, *, timeout: float, sending: Sending, sink: Sink | None = None) -> Answer:
        """Send `request` once and read the answer.

        Args:
            request: what to send.
            timeout: seconds for connecting, sending, waiting and reading together.
            sending: is told how far the request got, which its caller needs to know also when the call is cancelled.
            sink: takes the body of a good answer while it arrives, as much of it as it wants.

        Raises:
            TransportError: there is no usable answer. `ConnectFailed` means that nothing was sent.
            ConfigurationError: the session that the caller has brought is closed.
        """
        check_session(self._session, asyncio.get_running_loop())
        sending.sent = not self._tells
        token = current.set(sending)
        failure: BaseException
        # Not aiohttp's own limit: what comes on a kept connection before it is asked for has that of the last request.
        exchange = asyncio.timeout(timeout)
        try:
            async with exchange:
                self._under_way.add(exchange)
                return await self._send(request, timeout, sink, exchange)
        except TimeoutError as error:
            failure = _timed_out(error, request, timeout, sending, closed=exchange.when() == -inf)
        except (*_BROKEN, ValueError) as error:
            failure = self._translate(error, request, sent=sending.sent)
        except (TransportError, asyncio.CancelledError) as error:
            failure = error
        finally:
            self._under_way.discard(exchange)
            # When the loop was closed under it, it is unwound in another context, and must not fail.
            with suppress(ValueError):
                current.reset(token)
        try:
            # Outside the handlers, where aiohttp's own error would be its context.
            raise _alone(failure)
        finally:
            del failure

    async def _send(self, request: Request, timeout: float, sink: Sink | None, exchange: asyncio.Timeout) -> Answer:
        async with self._exchange(request, timeout) as response:
            body = bytearray()
            if response.status < 200:
                raise _error(BadResponse, "the answer is in another protocol, for which nobody has asked", request)
            if response.status >= 300:
                await _read_error(response, body, exchange)
            elif sink is not None:
                await _pour(response, sink, request, exchange)
            else:
                await _read(response, body, request)
            return Answer(response.status, response.headers, body)

    def _exchange(self, request: Request, timeout: float) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        headers = {**request.headers, "key": header_value(self._key)}
        headers.update((name, header_value(value)) for name, value in request.secrets.items())
        data: AsyncIterator[bytes] | aiohttp.BytesPayload | None = None
        if (body := request.body) is not None:
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(body))
            # As a payload, which no repr shows: it may hold an image.
            data = _stream(body) if len(body) > AT_ONCE else aiohttp.BytesPayload(b"".join(body.pieces()))
        return self._session.request(
            request.method,
            # The path is quoted already; to quote it again would name another task.
            URL(self._base_url + request.path, encoded=True),
            headers=headers,
            data=data,
            # aiohttp would name a type for a PUT without a body.
            skip_auto_headers=_NO_TYPE if body is None and request.method == "PUT" else None,
            # Statuses are read below, also in a caller's session that would raise them.
            raise_for_status=False,
            # aiohttp would carry the key along to wherever a redirect points.
            allow_redirects=False,
            timeout=_limits(timeout),
        )

    def _translate(self, error: Exception, request: Request, *, sent: bool) -> TransportError:
        failure = _translate(error, request, sent=sent)
        # What is not HTTP may be an echo of what was sent.
        failure.message = request.hide_in(self._key.hide_in(failure.message))
        failure.args = (request.hide_in(self._key.hide_in(str(failure))),)
        return failure


def _alone(failure: BaseException) -> BaseException:
    """`failure` without the errors and the frames behind it: they hold what was sent, and what came in answer."""
    failure.__cause__ = failure.__context__ = None
    failure.__suppress_context__ = False
    return failure.with_traceback(None)


@lru_cache(maxsize=8)
def _limits(timeout: float) -> aiohttp.ClientTimeout:
    # Exactly: aiohttp would round it up to a moment at which all is over.
    return aiohttp.ClientTimeout(total=None, connect=timeout * CONNECT_SHARE, ceil_threshold=timeout)


def _at_most(seconds: float, exchange: asyncio.Timeout) -> asyncio.Timeout:
    """A limit for what need not arrive, in place of that of the exchange: what has arrived is not lost at its end."""
    now, end = asyncio.get_running_loop().time(), exchange.when()
    if end is None or end <= now:
        return asyncio.timeout(seconds)
    exchange.reschedule(None)
    return asyncio.timeout_at(min(now + seconds, end))


async def _stream(body: RequestBody) -> AsyncIterator[bytes]:
    for piece in body.pieces():
        yield piece
        # A fast peer would never let go of the loop.
        await asyncio.sleep(0)


async def _read(response: aiohttp.ClientResponse, body: bytearray, request: Request) -> None:
    counted = 0
    while not response.content.at_eof():
        piece = await response.content.readany()
        _check_size(response, len(body) + len(piece), request)
        for start in range(0, len(piece), SLICE):
            part = piece[start : start + SLICE]
            counted += marks(part)
            if counted > request.size.marks:
                response.close()
                raise _error(BadResponse, f"the answer has more than {request.size.marks} values", request)
            # A fast server never lets go of the loop, nor does aiohttp while it unpacks a body.
            if body:
                await asyncio.sleep(0)
            body += part


async def _read_error(response: aiohttp.ClientResponse, body: bytearray, exchange: asyncio.Timeout) -> None:
    # Whatever else becomes of it: that the service has refused is known by the status, and must not be lost.
    with suppress(*_BROKEN):
        async with _at_most(ERROR_PATIENCE, exchange):
            while not response.content.at_eof() and len(body) < ERROR_BODY:
                body += await response.content.readany()
    del body[ERROR_BODY:]
    if not response.content.at_eof():
        response.close()


async def _pour(response: aiohttp.ClientResponse, sink: Sink, request: Request, exchange: asyncio.Timeout) -> None:
    size = 0
    while not response.content.at_eof():
        piece = await response.content.readany()
        size += len(piece)
        _check_size(response, size, request)
        for start in range(0, len(piece), SLICE):
            sink.feed(piece[start : start + SLICE])
            while sink.behind:
                await asyncio.sleep(0)
                sink.feed(b"")
            if sink.enough:
                await _leave(response, size, exchange)
                return
            # As above.
            await asyncio.sleep(0)


def _check_size(response: aiohttp.ClientResponse, size: int, request: Request) -> None:
    if size > request.size.bytes:
        response.close()
        raise _error(BadResponse, f"the answer is larger than {request.size.bytes} bytes", request)


async def _leave(response: aiohttp.ClientResponse, read: int, exchange: asyncio.Timeout) -> None:
    """Be done with an answer that was read in part: to the end where that is near, else by closing the connection."""
    length = response.content_length
    if length is None or length - read <= CHEAP_REST:
        rest = 0
        # It is not wanted, and must not keep what is: whatever goes wrong here, the connection is closed.
        with suppress(*_BROKEN):
            async with _at_most(PATIENCE, exchange):
                while not response.content.at_eof() and rest <= CHEAP_REST:
                    rest += len(await response.content.readany())
    if not response.content.at_eof():
        response.close()


def _timed_out(
    error: TimeoutError, request: Request, timeout: float, sending: Sending, *, closed: bool
) -> TransportError:
    if closed:
        kind = Disconnected if sending.sent else ConnectFailed
        return _error(kind, "the client was closed", request)
    if isinstance(error, aiohttp.ConnectionTimeoutError) or not sending.sent:
        return _error(ConnectFailed, f"no connection within {timeout:g} s", request)
    return _error(RequestTimeout, f"no answer within {timeout:g} s", request)


def _translate(error: Exception, request: Request, *, sent: bool = True) -> TransportError:
    if not sent or isinstance(error, _NEVER_SENT):
        return _error(ConnectFailed, f"cannot connect: {_reason(error)}", request)
    garbled = isinstance(error, aiohttp.ClientPayloadError) and isinstance(error.__cause__, ContentEncodingError)
    if garbled or isinstance(error, aiohttp.ClientResponseError):
        return _error(BadResponse, f"the answer breaks the rules of HTTP: {_reason(error)}", request)
    return _error(Disconnected, f"the connection broke: {_reason(error)}", request)


def _error(kind: type[TransportError], message: str, request: Request) -> TransportError:
    return kind(message, method=request.method, path=shorten(request.path))


def _reason(error: Exception) -> str:
    # The texts of some errors quote what the server sent, or the whole address with its signature.
    text = " ".join(f"{type(error).__name__}: {error}".strip(": ").split())
    return one_line(_ADDRESS.sub(lambda found: redact_url(found[0]), text))
