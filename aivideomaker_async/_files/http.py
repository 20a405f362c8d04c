"""One GET of a file: without a key, to public addresses only, and through the redirects of a CDN.

A failure that another attempt may cure is raised as a `TransportError`, any other as a `DownloadError`.

The address comes from a response of the service, and is not trusted. Each hop is checked before it is made, and so is
the address that a name resolves to. aiohttp adds the headers, cookies, credentials and middlewares of a session to all
of its requests, with no way to prevent that; so a caller's session lends its connections and its proxy, and nothing
else.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDictProxy
from yarl import URL

from .._http import MAX_HEADER_BYTES, check_session, parse_retry_after, user_agent
from .._redaction import printable, redact_url, shorten
from .._util.threads import DISK
from ..errors import (
    AIVideoMakerError,
    BadResponse,
    ConnectFailed,
    Disconnected,
    DownloadError,
    RequestTimeout,
    TransportError,
)
from .public_address import is_local_name, is_public, is_public_when_resolved, parse_address
from .resume import ContentRange, ResponseHead

if TYPE_CHECKING:
    from .video import Source

__all__ = ["FileResponse", "open_file"]

MAX_REDIRECTS: Final = 5

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_ADDRESS: Final = re.compile(r"https?://[^\s'\"]+")

_LEGAL_IN_URLS: Final = "%!$&'()*+,;=:@/?[]~"
"""Characters that stay as they are: to quote them again would break a signature."""


class FileResponse:
    """A response, and its body as it arrives. Made by `open_file`."""

    def __init__(self, source: Source, session: aiohttp.ClientSession, response: aiohttp.ClientResponse) -> None:
        self.head: ResponseHead = _head(response)
        self._source = source
        self._session = session
        self._response = response

    async def read(self) -> bytes:
        """Return the next bytes, as many as have arrived; no bytes at the end.

        Raises:
            TransportError: the connection broke, or nothing arrived in time.
        """
        content = self._response.content
        try:
            # aiohttp's own timeout restarts with each byte on the connection, even if none of them is of the file.
            async with asyncio.timeout(self._source.options.timeout):
                while not content.at_eof():
                    if data := await content.readany():
                        return data
        except Exception as error:  # noqa: BLE001  (the caller's connector may raise anything)
            failure = _translate(error, self._source)
            raise failure from failure.__cause__
        return b""

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end. A second time does nothing."""
        self._response.close()
        await self._session.close()


async def open_file(source: Source, headers: Mapping[str, str]) -> FileResponse:
    """Request a file.

    Args:
        source: where it is.
        headers: what to ask for.

    Raises:
        TransportError: the file cannot be fetched now.
        DownloadError: it cannot be fetched at all, or must not be.
        ConfigurationError: the caller's session cannot be used.
    """
    session = _open_session(source)
    try:
        response = await _follow(
            source, session, {**headers, "Accept-Encoding": "identity", "User-Agent": user_agent()}
        )
    except BaseException as error:
        await session.close()
        if isinstance(error, AIVideoMakerError) or not isinstance(error, Exception):
            raise
        failure = _translate(error, source)
        raise failure from failure.__cause__
    return FileResponse(source, session, response)


def _open_session(source: Source) -> aiohttp.ClientSession:
    """Return a session that holds nothing secret."""
    http = source.http
    if http is None:
        resolver = aiohttp.ThreadedResolver()
        connector: aiohttp.BaseConnector | None = aiohttp.TCPConnector(
            limit=0, force_close=True, resolver=resolver if source.allow_private else _PublicResolver(resolver)
        )
    else:
        check_session(http, asyncio.get_running_loop())
        connector = http.connector
    session = aiohttp.ClientSession(
        connector=connector,
        connector_owner=http is None,
        cookie_jar=aiohttp.DummyCookieJar(),
        # Otherwise aiohttp looks for a password in ~/.netrc.
        trust_env=False,
        # A compressed body is refused, and must not fail or grow before that.
        auto_decompress=False,
        max_line_size=MAX_HEADER_BYTES,
        max_field_size=MAX_HEADER_BYTES,
        trace_configs=[_limit_the_answer()],
    )
    # aiohttp would repeat a request by itself, which no attempt counts. There is no public switch.
    session._retry_connection = False
    return session


def _limit_the_answer() -> aiohttp.TraceConfig:
    """Start the time limit of a response when its request is sent.

    Before, a request may wait for a connection of the caller's session for longer. Not aiohttp's own limit: it restarts
    with each byte, so that a server could send interim responses for ever.
    """

    async def sent(_session: aiohttp.ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx()

    config = aiohttp.TraceConfig()
    config.on_request_headers_sent.append(sent)
    config.freeze()
    return config


async def _follow(source: Source, session: aiohttp.ClientSession, headers: Mapping[str, str]) -> aiohttp.ClientResponse:
    """Request the file, through redirects."""
    loop = asyncio.get_running_loop()
    limit = source.options.timeout
    # The connections of a caller's session may be taken; in a session of our own, connecting waits for the name alone.
    connect = limit if source.http is None else None
    url = _parse_url(source, source.url)
    for _ in range(MAX_REDIRECTS + 1):
        proxy = await _proxy_for(source, url)
        await _check_host(source, url, direct=proxy is None)
        async with asyncio.timeout(None) as answer:
            response = await session.get(
                url,
                headers=headers,
                proxy=proxy,
                allow_redirects=False,
                raise_for_status=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=limit, sock_read=limit),
                trace_request_ctx=lambda answer=answer: answer.reschedule(loop.time() + limit),
            )
        location = response.headers.get("Location")
        if response.status not in _REDIRECTS or location is None:
            return response
        response.close()
        onward = url.join(_parse_url(source, location, relative=True))
        if url.scheme == "https" and onward.scheme == "http":
            raise source.failed("it was redirected from https to http")
        url = onward
    raise source.failed(f"it was redirected more than {MAX_REDIRECTS} times")


def _parse_url(source: Source, url: str, *, relative: bool = False) -> URL:
    try:
        parts = urlsplit(url.strip())
        if parts.scheme not in {"http", "https"} and not (relative and not parts.scheme):
            raise source.failed(f"{redact_url(url)!r} is not an http(s) URL")
        netloc = parts.netloc if parts.netloc.isascii() else URL(f"http://{parts.netloc}").raw_authority
        bare = parts._replace(netloc=netloc, fragment="").geturl()
        made = URL(quote(bare, safe=_LEGAL_IN_URLS), encoded=True)
        if made.raw_host is None and not relative:
            raise source.failed(f"{redact_url(url)!r} names no host")
        if made.port == 0:
            raise ValueError("port 0")
    except ValueError:
        # Its text may quote a password in the address.
        raise source.failed(f"{redact_url(url)!r} is not a URL") from None
    return made


# --- where a request may go --------------------------------------------------------------------------


async def _proxy_for(source: Source, url: URL) -> URL | None:
    """Return the proxy that the caller's session would use."""
    http = source.http
    if http is None:
        return None
    # Neither has a public name.
    proxy, auth = (getattr(http, name, None) for name in ("_default_proxy", "_default_proxy_auth"))
    if proxy is None and http.trust_env:
        # On some systems both read the settings of the system, which blocks.
        host = url.host or ""
        if not await DISK.run(proxy_bypass, host):
            proxy = (await DISK.run(getproxies)).get(url.scheme)
    if proxy is None:
        return None
    proxy = URL(proxy)
    return proxy.with_user(auth.login).with_password(auth.password) if isinstance(auth, aiohttp.BasicAuth) else proxy


async def _check_host(source: Source, url: URL, *, direct: bool) -> None:
    """Check that a host is of the public internet.

    Raises:
        DownloadError: it is not.
    """
    host = url.raw_host
    if not host:
        raise source.failed(f"{redact_url(str(url))!r} names no host")
    if source.allow_private:
        return
    address = parse_address(host)
    if address is not None:
        if not is_public(address):
            raise source.not_public(str(address))
        return
    if is_local_name(host):
        raise source.not_public(host)
    if direct and source.http is not None:
        # The caller's connector resolves the name by itself; a proxy does it elsewhere, where nothing can be checked.
        with suppress(OSError, UnicodeError):
            async with asyncio.timeout(source.options.timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
            for resolved in (str(one[4][0]) for one in found):
                if not is_public_when_resolved(resolved):
                    raise source.not_public(f"{host} ({resolved})")


class _NotPublic(OSError):
    """A name resolves to no public address."""


class _PublicResolver(AbstractResolver):
    """Resolves names to public addresses only.

    The connector connects to the addresses that this returns and resolves nothing itself, so no name can mean one
    address when it is checked and another when it is used.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        public = [one for one in found if is_public_when_resolved(one["host"])]
        if not public:
            raise _NotPublic(found[0]["host"] if found else "no address")
        return public

    async def close(self) -> None:
        await self._inner.close()


# --- what arrives ------------------------------------------------------------------------------------


def _head(response: aiohttp.ClientResponse) -> ResponseHead:
    headers = response.headers
    transfer_codings = _tokens(headers, "Transfer-Encoding")
    # aiohttp decompresses some content codings, if they stand alone, and no transfer coding.
    coding = ", ".join([*_tokens(headers, "Content-Encoding"), *(one for one in transfer_codings if one != "chunked")])
    return ResponseHead(
        status=response.status,
        length=None if coding or "chunked" in transfer_codings else response.content_length,
        content_range=ContentRange.parse(headers.get("Content-Range")),
        etag=headers.get("ETag"),
        content_type=headers.get("Content-Type"),
        coding=printable(shorten(coding)) or None,
        retry_after=parse_retry_after(headers.get("Retry-After"), date=headers.get("Date"), wall_clock=time.time),
    )


def _tokens(headers: CIMultiDictProxy[str], name: str) -> list[str]:
    """Return the codings in a header, in lower case and without `identity`."""
    tokens = (token.strip().lower() for value in headers.getall(name, ()) for token in value.split(","))
    return [token for token in tokens if token not in {"", "identity"}]


def _translate(error: Exception, source: Source) -> TransportError | DownloadError:
    """Return the error for a failure of an exchange, with its cause."""
    text = " ".join(f"{type(error).__name__}: {error}".strip(": ").split())
    # Some errors quote what the server sent, or the whole address with its signature.
    reason = shorten(_ADDRESS.sub(lambda found: redact_url(found[0]), text))
    failure: TransportError | DownloadError
    if isinstance(error, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        failure = source.failed(f"the certificate of its server is not trusted: {reason}")
    elif isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _NotPublic):
        failure = source.not_public(f"{error.host} ({error.os_error})")
    elif isinstance(error, ValueError):
        failure = source.failed(f"its URL cannot be used: {reason}")
    elif isinstance(error, TimeoutError):
        failure = RequestTimeout(f"no data arrived within {source.options.timeout:g} s", method="GET", path=source.name)
    elif isinstance(error, aiohttp.ClientConnectorError):
        failure = ConnectFailed(reason, method="GET", path=source.name)
    elif isinstance(error, aiohttp.ClientResponseError):
        failure = BadResponse(reason, method="GET", path=source.name)
    else:
        failure = Disconnected(reason, method="GET", path=source.name)
    failure.__cause__ = None if _quotes_address(error) else error
    return failure


def _quotes_address(error: BaseException | None) -> bool:
    """Return whether a traceback with this error would show an address, which may carry a signature."""
    while error is not None:
        if _ADDRESS.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
