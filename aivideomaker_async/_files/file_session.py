"""Where a download goes, and by which connections: to public addresses, with nothing of a caller's but those."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from attrs import field, frozen
from yarl import URL

from .._redaction import redact_url, shorten
from .._util.threads import DISK
from ..errors import ConfigurationError, DownloadError
from .public_address import is_local_name, is_public, is_public_address, parse_address

__all__ = ["NotPublic", "Source", "check_host", "open_file_session", "proxy_for"]


@frozen(kw_only=True)
class Source:
    """Where a file is, and how to get it."""

    name: str
    """What messages call it."""
    url: str = field(repr=redact_url)
    timeout: float
    """Seconds to connect, and seconds without any byte."""
    allow_private: bool
    """Whether it may be at an address that is not of the public internet."""
    http: aiohttp.ClientSession | None = None
    """A caller's own session. Its connections and proxies are used; its headers, cookies and credentials are not."""

    def failed(self, reason: str) -> DownloadError:
        """The error for a reason that no second try cures."""
        return DownloadError(f"{self.name} cannot be downloaded: {reason}")

    def private(self, host: str) -> DownloadError:
        """The error for a host that is not of the public internet."""
        return self.failed(
            f"{shorten(host)} is not of the public internet; allow_private=True is for a service in your own network"
        )


def open_file_session(source: Source) -> aiohttp.ClientSession:
    """A session without anything that could carry a secret.

    aiohttp adds the headers, cookies, credentials and middlewares of a session to whatever is requested in it, and
    offers no way to leave one out. So a caller's session lends its connector and nothing else.
    """
    if source.http is None:
        resolver = aiohttp.ThreadedResolver()
        connector: aiohttp.BaseConnector | None = aiohttp.TCPConnector(
            limit=0, force_close=True, resolver=resolver if source.allow_private else _PublicResolver(resolver)
        )
    else:
        connector = source.http.connector
        if source.http.closed or connector is None:
            raise ConfigurationError("the aiohttp session that was passed as `http` is closed")
        # No public name for this either, and aiohttp's own error leaves half a session behind.
        if getattr(connector, "_loop", None) not in {None, asyncio.get_running_loop()}:
            raise ConfigurationError("the aiohttp session that was passed as `http` belongs to another event loop")
    session = aiohttp.ClientSession(
        connector=connector,
        connector_owner=source.http is None,
        cookie_jar=aiohttp.DummyCookieJar(),
        # Else aiohttp would look for a password in ~/.netrc.
        trust_env=False,
        # What comes compressed is refused, and must not fail or grow before that.
        auto_decompress=False,
    )
    # aiohttp would ask a second time by itself, which nobody counts. There is no public switch.
    session._retry_connection = False
    return session


async def proxy_for(source: Source, url: URL) -> URL | None:
    """The proxy that the caller's session would use."""
    if source.http is None:
        return None
    # Both have no public names.
    proxy, auth = (getattr(source.http, name, None) for name in ("_default_proxy", "_default_proxy_auth"))
    if proxy is None and source.http.trust_env:
        proxy = await DISK.run(_environment_proxy, url.scheme, url.host or "")
    if proxy is None:
        return None
    proxy = URL(proxy)
    return proxy.with_user(auth.login).with_password(auth.password) if isinstance(auth, aiohttp.BasicAuth) else proxy


def _environment_proxy(scheme: str, host: str) -> str | None:
    return None if proxy_bypass(host) else getproxies().get(scheme)


class NotPublic(OSError):
    """A name that resolves to no public address."""


class _PublicResolver(AbstractResolver):
    """Resolves to public addresses alone.

    The connector connects to what this has returned and asks nobody else, so no name can mean one address when it is
    checked and another when it is used.
    """

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        public = [one for one in found if is_public_address(one["host"])]
        if not public:
            raise NotPublic(found[0]["host"] if found else "no address")
        return public

    async def close(self) -> None:
        await self._inner.close()


async def check_host(source: Source, url: URL, *, direct: bool) -> None:
    """See that the host is one of the public internet.

    Raises:
        DownloadError: it is not.
    """
    host = url.raw_host
    if not host:
        raise source.failed(f"{redact_url(str(url))!r} names no host")
    if source.allow_private:
        return
    address = parse_address(host)
    if address is None and is_local_name(host):
        raise source.private(host)
    if address is not None and not is_public(address):
        raise source.private(str(address))
    if address is None and direct and source.http is not None:
        await _check_name(source, host)


async def _check_name(source: Source, host: str) -> None:
    # The caller's connector may resolve it in another way, or to something else; a proxy does it elsewhere.
    with suppress(OSError, UnicodeError):
        async with asyncio.timeout(source.timeout):
            answers = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        for address in (str(answer[4][0]) for answer in answers):
            if not is_public_address(address):
                raise source.private(f"{host} ({address})")
