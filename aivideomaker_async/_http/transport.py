"""One HTTP exchange with the service. With `connections` the only module of this room that knows aiohttp's client.

Everything that aiohttp raises leaves here as a `TransportError`. `ConnectFailed` is special: it promises that the
request was never sent, so that even a submit may be tried again.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from multidict import CIMultiDictProxy
from yarl import URL

from .._redaction import Secret, redact_url, shorten, single_line
from ..errors import AIVideoMakerError, BadResponse, ConnectFailed, Disconnected, RequestTimeout, TransportError
from .connections import REQUEST_HEADERS, check_session, current_sending, header_value
from .gate import Deadline
from .requests import Kind, Request, RequestBody, Sending
from .upload import Upload

if TYPE_CHECKING:
    from .list_reader import ListReader

__all__ = ["Answer", "Transport"]

_NEVER_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientHttpProxyError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
    ssl.SSLCertVerificationError,
)
"""How connecting fails, by type, for a caller's session, which does not report when a request is sent."""

_BROKEN: Final = (aiohttp.ClientError, OSError, RuntimeError, AssertionError, AttributeError)
"""How an exchange fails. aiohttp raises the last three when a connection or its session is closed in the middle of it;
asyncio raises RuntimeError when there is no thread to look up a name."""

_ADDRESS: Final = re.compile(r"https?://[^\s'\"]+")

CONNECT_SHARE: Final = 0.9
"""The share of an attempt's time that connecting may take, so that its end is not mistaken for a lost answer."""

READ_PIECE_BYTES: Final = 64 * 1024
"""Longer answers are read in pieces, between which other tasks run."""

ERROR_BODY_BYTES: Final = 64 * 1024
"""How much of an error's body is read: the status tells what it is, the body only why."""

ERROR_BODY_TIMEOUT_S: Final = 5.0

DRAIN_BYTES: Final = 128 * 1024
"""The rest of an answer that is read and thrown away, rather than closing the connection and making a new one."""

DRAIN_TIMEOUT_S: Final = 0.2


class Answer:
    """The answer to one request. The body of a list went into its reader; of an error there is only the beginning.

    While it is read, its bytes stand here and in no local variable: crash reports show those, and the service may echo
    the API key.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: CIMultiDictProxy[str]) -> None:
        self.status = status
        self.headers = headers
        self.body = bytearray()


class Transport:
    """Sends requests to one origin, with one key, through one aiohttp session.

    Args:
        session: the aiohttp session; it is not closed here.
        origin: scheme, host and port.
        key: the API key.
        is_own: whether the session is one of `open_session`, which reports when a request is sent and adds the key.
    """

    def __init__(self, session: aiohttp.ClientSession, *, origin: str, key: Secret, is_own: bool) -> None:
        self._session = session
        self._url = lru_cache(maxsize=1024)(lambda path: URL(origin + path, encoded=True))
        self._key = key
        self._is_own = is_own
        # Should a later aiohttp send in another way, every doubt counts as sent: the side that never pays twice.
        self._reports_sending = is_own and hasattr(aiohttp.ClientRequest, "send")
        self._exchanges: set[asyncio.Timeout] = set()

    def end(self) -> None:
        """Break off all exchanges, also those that are still connecting: the client is closed."""
        for exchange in self._exchanges:
            if not exchange.expired():
                exchange.reschedule(-inf)

    async def send(
        self,
        request: Request[object],
        *,
        timeout: float,
        sending: Sending,
        deadline: Deadline | None = None,
        reader: ListReader | None = None,
    ) -> Answer:
        """Send `request` once and read the answer.

        Args:
            request: what to send.
            timeout: seconds for connecting, sending, waiting and reading together. They begin anew whenever some of a
                body is taken.
            sending: keeps how far the request got, which the caller needs also when the call is cancelled.
            deadline: the end of the whole call.
            reader: takes the body of a good answer while it arrives.

        Raises:
            TransportError: there is no usable answer. `ConnectFailed` means that nothing was sent.
            ConfigurationError: the session that the caller has brought is closed.
        """
        if not self._is_own:
            # It is the caller's, who may have closed it, or made it in another event loop.
            check_session(self._session, asyncio.get_running_loop())
        # Of a request with a body it is known in any session.
        is_reported = self._reports_sending or request.body is not None
        if sending.sent is is_reported:
            sending.mark(sent=not is_reported)
        token = current_sending.set(sending if request.body is None else None)
        # aiohttp's own total timeout does not do: bytes on a kept connection count against that of the last request.
        exchange = asyncio.timeout(timeout)
        upload = None if request.body is None else _upload(request.body, sending, exchange, timeout, deadline)
        try:
            async with exchange:
                self._exchanges.add(exchange)
                response = await self._open(request, upload, timeout)
                if upload is not None and response.status < 300:
                    upload.answered()
                answer = Answer(response.status, response.headers)
                if _is_complete(response, request) and reader is None:
                    # The usual case: a short body came with the headers, and its connection is free again.
                    answer.body += response.content.read_nowait()
                    if len(answer.body) > request.max_answer_bytes:
                        raise _too_large(response, request)
                else:
                    async with response:
                        await _read_body(response, answer, request, reader, exchange)
                return answer
        except AIVideoMakerError:
            raise
        except TimeoutError as error:
            if exchange.when() == -inf:
                kind: type[TransportError] = Disconnected if sending.sent else ConnectFailed
                raise _error(kind, "the client was closed", request) from None
            if isinstance(error, aiohttp.ConnectionTimeoutError) or not (sending.sent or (upload and upload.written)):
                raise _error(ConnectFailed, f"no connection within {timeout:g} s", request) from None
            message = f"no answer within {timeout:g} s"
            if upload is not None and not sending.sent:
                message = f"nothing more was taken for {timeout:g} s ({upload.progress}); the connection was cut off"
            raise _error(RequestTimeout, message, request, sent=sending.sent) from None
        except Exception as error:  # noqa: BLE001  (connectors, resolvers and middlewares of a caller raise anything)
            hide = self._hide_in(request)
            never_sent = not sending.sent if is_reported else isinstance(error, _NEVER_SENT)
            story = upload.progress if upload is not None and upload.written and never_sent else None
            failure = _translate(error, request, hide, never_sent=never_sent, progress=story)
            cause = _as_cause(error, hide)
        finally:
            self._exchanges.discard(exchange)
            if upload is not None and not upload.is_answered:
                sending.may_still_arrive |= not upload.cut_off()
            try:  # noqa: SIM105  (in each call, where `suppress` would cost as much as the rest of this function)
                current_sending.reset(token)
            except ValueError:
                # The loop was closed, and this is unwound in another context.
                pass
        # Outside the handler: there, the error would become the context of ours also where it must not be its cause.
        raise failure from cause

    def _open(
        self, request: Request[object], upload: Upload | None, timeout: float
    ) -> Awaitable[aiohttp.ClientResponse]:
        return self._session.request(
            request.method,
            # The path is quoted already; to quote it again would name another task.
            self._url(request.path),
            headers=self._headers(request),
            data=upload,
            # Statuses are read by this module, also in a caller's session that would raise them.
            raise_for_status=False,
            # aiohttp would carry the key along to wherever a redirect points.
            allow_redirects=False,
            timeout=_aiohttp_timeout(timeout),
        )

    def _headers(self, request: Request[object]) -> dict[str, str] | None:
        if self._is_own and request.kind is Kind.QUERY:
            # Those of the session are enough.
            return None
        headers = dict(request.headers)
        if not self._is_own:
            headers["key"] = header_value(self._key)
            # The caller's own values win.
            set_by_caller = self._session.headers
            headers |= {name: value for name, value in REQUEST_HEADERS.items() if name not in set_by_caller}
        for name, value in request.secrets.items():
            headers[name] = header_value(value)
        if request.body is not None:
            headers["Content-Length"] = str(len(request.body))
        return headers

    def _hide_in(self, request: Request[object]) -> Callable[[str], str]:
        return lambda text: request.hide_in(self._key.hide_in(text))


def _as_cause(error: BaseException, hide: Callable[[str], str]) -> BaseException | None:
    """Return `error` in a form that may stand behind an error of ours, or None when its text echoes a secret.

    It keeps no stack frames: aiohttp's hold the headers as they are written, and the bytes that came in answer.
    """
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        if hide(repr(one)) != repr(one) or hide(str(one)) != str(one):
            return None
        one = one.__cause__ or one.__context__
    return error


@lru_cache(maxsize=8)
def _aiohttp_timeout(timeout: float) -> aiohttp.ClientTimeout:
    # The threshold keeps aiohttp from rounding the moment up beyond the end of the attempt.
    return aiohttp.ClientTimeout(total=None, connect=timeout * CONNECT_SHARE, ceil_threshold=timeout)


def _upload(
    body: RequestBody, sending: Sending, exchange: asyncio.Timeout, timeout: float, deadline: Deadline | None
) -> Upload:
    loop = asyncio.get_running_loop()

    def moved() -> None:
        if exchange.expired() or exchange.when() == -inf:
            return
        end = loop.time() + timeout
        exchange.reschedule(end if deadline is None else deadline.prolong(end))

    upload = Upload(body, sending, moved)
    upload.watch(timeout)
    return upload


def _is_complete(response: aiohttp.ClientResponse, request: Request[object]) -> bool:
    """Return whether all of a good answer has arrived, to a request of which nothing is left to be sent."""
    return response.status == 200 and response.content.is_eof() and request.body is None


async def _read_body(
    response: aiohttp.ClientResponse,
    answer: Answer,
    request: Request[object],
    reader: ListReader | None,
    exchange: asyncio.Timeout,
) -> None:
    if response.status < 200:
        raise _error(BadResponse, "the answer switches to another protocol", request)
    if response.status >= 300:
        await _read_error(response, answer, exchange)
        return
    if reader is not None:
        await _read_list(response, answer, reader, request, exchange)
        return
    content = response.content
    while not content.at_eof():
        if answer.body:
            # A fast server never lets other tasks run, nor does aiohttp while it unpacks a body.
            await asyncio.sleep(0)
        answer.body += await content.readany()
        if len(answer.body) > request.max_answer_bytes:
            raise _too_large(response, request)


async def _read_list(
    response: aiohttp.ClientResponse,
    answer: Answer,
    reader: ListReader,
    request: Request[object],
    exchange: asyncio.Timeout,
) -> None:
    bytes_read = 0
    while not response.content.at_eof():
        answer.body += await response.content.readany()
        bytes_read += len(answer.body)
        if bytes_read > request.max_answer_bytes:
            raise _too_large(response, request)
        for start in range(0, len(answer.body), READ_PIECE_BYTES):
            reader.feed(bytes(answer.body[start : start + READ_PIECE_BYTES]))
            if reader.enough:
                await _drain(response, bytes_read, exchange)
                return
            await asyncio.sleep(0)
        answer.body.clear()


async def _read_error(response: aiohttp.ClientResponse, answer: Answer, exchange: asyncio.Timeout) -> None:
    # Whatever goes wrong here: the status says that the service refused, and that must not be lost.
    with suppress(*_BROKEN):
        async with _within(ERROR_BODY_TIMEOUT_S, exchange):
            while not response.content.at_eof() and len(answer.body) < ERROR_BODY_BYTES:
                answer.body += await response.content.readany()
    del answer.body[ERROR_BODY_BYTES:]
    if not response.content.at_eof():
        response.close()


async def _drain(response: aiohttp.ClientResponse, bytes_read: int, exchange: asyncio.Timeout) -> None:
    """Read an answer to its end where that is near, so that the connection can be kept; else close it."""
    length = response.content_length
    if length is None or length - bytes_read <= DRAIN_BYTES:
        drained = 0
        # The rest is not needed: whatever goes wrong here must not cost the answer.
        with suppress(*_BROKEN):
            async with _within(DRAIN_TIMEOUT_S, exchange):
                while not response.content.at_eof() and drained <= DRAIN_BYTES:
                    drained += len(await response.content.readany())
    if not response.content.at_eof():
        response.close()


def _within(seconds: float, exchange: asyncio.Timeout) -> asyncio.Timeout:
    """Return a timeout for an optional read that replaces the exchange's own, whose end would lose what has arrived."""
    now, end = asyncio.get_running_loop().time(), exchange.when()
    if end is None or end <= now:
        return asyncio.timeout(seconds)
    exchange.reschedule(None)
    return asyncio.timeout_at(min(now + seconds, end))


def _too_large(response: aiohttp.ClientResponse, request: Request[object]) -> TransportError:
    response.close()
    return _error(BadResponse, f"the answer is larger than {request.max_answer_bytes} bytes", request)


def _translate(
    error: Exception,
    request: Request[object],
    hide: Callable[[str], str],
    *,
    never_sent: bool,
    progress: str | None = None,
) -> TransportError:
    # The texts of some errors quote what the server sent, or the whole address with its signature.
    text = " ".join(f"{type(error).__name__}: {error}".strip(": ").split())
    reason = hide(single_line(_ADDRESS.sub(lambda found: redact_url(found[0]), text)))
    if progress is not None:
        return _error(Disconnected, f"the connection broke ({progress}): {reason}", request, sent=False)
    if never_sent:
        return _error(ConnectFailed, f"cannot connect: {reason}", request)
    is_garbled = isinstance(error, aiohttp.ClientPayloadError) and isinstance(error.__cause__, ContentEncodingError)
    if is_garbled or isinstance(error, aiohttp.ClientResponseError):
        return _error(BadResponse, f"the answer breaks the rules of HTTP: {reason}", request)
    return _error(Disconnected, f"the connection broke: {reason}", request)


def _error(
    kind: type[TransportError], message: str, request: Request[object], *, sent: bool | None = None
) -> TransportError:
    path = shorten(request.path)
    if sent is None:
        return kind(message, method=request.method, path=path)
    return kind(message, method=request.method, path=path, sent=sent)
