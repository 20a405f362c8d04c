"""A public file as it arrives: one GET without any key, to public addresses, through the redirects of a CDN.

What may help when it is tried again leaves here as a `TransportError`; what will not, as a `DownloadError`.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import deque
from collections.abc import Mapping
from functools import partial
from types import SimpleNamespace
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from .._http import parse_retry_after
from .._redaction import printable, redact_url, shorten
from .._util.version import __version__
from ..errors import BadResponse, ConnectFailed, Disconnected, DownloadError, RequestTimeout, TransportError
from .file_session import NotPublic, Source, check_host, open_file_session, proxy_for
from .versions import ContentRange, Head

__all__ = ["FileStream", "open_file"]

USER_AGENT: Final = f"aivideomaker-async/{__version__} aiohttp/{aiohttp.__version__}"

MOST_REDIRECTS: Final = 5

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BROKEN: Final = (aiohttp.ClientError, OSError, RuntimeError)
"""How an exchange fails. With the last one aiohttp does when its connector is closed under it, and asyncio when it gets
no thread to look up a name."""

_ADDRESS: Final = re.compile(r"https?://[^\s'\"]+")
# What is legal in a URL stays as it is: to quote it again would break a signature.
_LEGAL: Final = "%!$&'()*+,;=:@/?[]~"


class FileStream:
    """An answer, and its body as it arrives. Made by `open_file`."""

    def __init__(self, source: Source, session: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> None:
        self.head: Head = _head(response)
        self._source = source
        self._session = session
        self._response = response
        self._error: TransportError | DownloadError | None = None

    async def read(self) -> bytes:
        """The next bytes, as many as have arrived; none at the end.

        Raises:
            TransportError: the body ends before its end.
        """
        content = self._response.content
        try:
            # aiohttp's own limit begins anew with each byte on the connection, also if none of them is of the file.
            async with asyncio.timeout(self._source.timeout):
                while self._error is None and not content.at_eof():
                    if piece := await content.readany():
                        return piece
        except _BROKEN as error:
            self._error = _translate(error, self._source)
        if self._error is None:
            return b""
        if rest := self._take_rest():
            return rest
        raise self._error

    def _take_rest(self) -> bytes:
        """What had arrived before the connection broke. aiohttp would forget it, and has no public name for it."""
        buffer = getattr(self._response.content, "_buffer", None)
        if not isinstance(buffer, deque):
            return b""
        rest = b"".join(buffer)
        buffer.clear()
        return rest

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end. A second time does nothing."""
        self._response.close()
        await self._session.close()


async def open_file(source: Source, headers: Mapping[str, str]) -> FileStream:
    """GET a public file, without any key.

    Args:
        source: where it is.
        headers: what to ask for.

    Raises:
        TransportError: the file cannot be had now.
        DownloadError: it cannot be had at all, or must not be.
        ConfigurationError: the session that the caller has brought is closed.
    """
    session = open_file_session(source)
    session.trace_configs.append(_when_sent())
    try:
        response = await _follow(source, session, {**headers, "Accept-Encoding": "identity", "User-Agent": USER_AGENT})
    except (*_BROKEN, ValueError) as error:
        await session.close()
        # Not as the cause: aiohttp's errors hold the whole address with its signature.
        raise _translate(error, source) from None
    except BaseException:
        await session.close()
        raise
    return FileStream(source, session, response)


async def _follow(source: Source, session: aiohttp.ClientSession, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
    url = _parse(source, source.url)
    for _ in range(MOST_REDIRECTS + 1):
        proxy = await proxy_for(source, url)
        await check_host(source, url, direct=proxy is None)
        async with asyncio.timeout(None) as waiting:
            response = await session.get(
                url,
                headers=headers,
                proxy=proxy,
                # Each hop is checked here before it is made.
                allow_redirects=False,
                raise_for_status=False,
                timeout=_limits(source),
                trace_request_ctx=partial(_wait_no_longer, waiting, source.timeout),
            )
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return response
        response.close()
        onward = url.join(_parse(source, location, relative=True))
        if url.scheme == "https" and onward.scheme == "http":
            raise source.failed("it was redirected from https to http")
        url = onward
    raise source.failed(f"it was redirected more than {MOST_REDIRECTS} times")


def _wait_no_longer(waiting: asyncio.Timeout, seconds: float) -> None:
    waiting.reschedule(asyncio.get_running_loop().time() + seconds)


def _when_sent() -> aiohttp.TraceConfig:
    """Calls what a request has in its context when it is sent: before, it may wait for a connection for longer."""

    async def sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx()

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(sent)
    config.freeze()
    return config


def _limits(source: Source) -> aiohttp.ClientTimeout:
    # In a caller's session others may hold the connections; in one of our own, looking up the name is all there is.
    connect = source.timeout if source.http is None else None
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=source.timeout, sock_read=source.timeout)


def _parse(source: Source, url: str, *, relative: bool = False) -> URL:
    try:
        parts = urlsplit(url.strip())
        if parts.scheme not in {"http", "https"} and not (relative and not parts.scheme):
            raise source.failed(f"{redact_url(url)!r} is no http(s) URL")
        netloc = parts.netloc if parts.netloc.isascii() else URL(f"http://{parts.netloc}").raw_authority
        made = URL(quote(parts._replace(netloc=netloc, fragment="").geturl(), safe=_LEGAL), encoded=True)
        if made.raw_host is None and not relative:
            raise source.failed(f"{redact_url(url)!r} names no host")
        if made.port == 0:
            raise ValueError("a port of 0")
    except ValueError:
        raise source.failed(f"{redact_url(url)!r} is no URL") from None
    return made


def _head(response: aiohttp.ClientResponse) -> Head:
    headers = response.headers
    length = response.content_length
    transfer = _tokens(headers, "Transfer-Encoding")
    chunked = "chunked" in transfer
    # aiohttp unpacks some codings, if they stand alone, and no transfer coding.
    coding = ", ".join([*_tokens(headers, "Content-Encoding"), *(one for one in transfer if one != "chunked")])
    return Head(
        status=response.status,
        length=None if coding or chunked else length,
        content_range=ContentRange.parse(headers.get("Content-Range")),
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        date=headers.get("Date"),
        content_type=headers.get("Content-Type"),
        coding=printable(shorten(coding)) or None,
        open_end=length is None and not chunked,
        retry_after=parse_retry_after(headers.get("Retry-After"), date=headers.get("Date"), wall_clock=time.time),
    )


def _tokens(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    """The codings that a header names, in small letters; `identity` is none."""
    tokens = (token.strip().lower() for value in headers.getall(name, ()) for token in value.split(","))
    return [token for token in tokens if token not in {"", "identity"}]


def _translate(error: Exception, source: Source) -> TransportError | DownloadError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return source.failed(f"its server cannot be trusted: {_reason(error)}")
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, NotPublic):
        return source.private(f"{error.host} ({error.os_error})")
    if isinstance(error, ValueError):
        return source.failed(f"its URL cannot be used: {_reason(error)}")
    if isinstance(error, TimeoutError):
        return RequestTimeout(f"nothing came within {source.timeout:g} s", method="GET", path=source.name)
    kind: type[TransportError] = Disconnected
    if isinstance(error, aiohttp.ClientConnectorError):
        kind = ConnectFailed
    elif isinstance(error, aiohttp.ClientResponseError):
        kind = BadResponse
    return kind(_reason(error), method="GET", path=source.name)


def _reason(error: Exception) -> str:
    # The texts of some errors quote what the server sent, or the whole address with its signature.
    text = " ".join(f"{type(error).__name__}: {error}".strip(": ").split())
    return shorten(_ADDRESS.sub(lambda found: redact_url(found[0]), text))
