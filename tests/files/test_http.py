"""One GET of a file: nothing of the caller's is sent, and no request goes where it must not."""

from __future__ import annotations

import asyncio
import socket
import traceback
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from aivideomaker_async import ConfigurationError, ConnectFailed, Disconnected, DownloadError, RequestTimeout
from aivideomaker_async._files.http import MAX_REDIRECTS, FileResponse, _NotPublic, _PublicResolver, open_file
from aivideomaker_async._files.video import DownloadOptions, Source
from aivideomaker_async.errors import BadResponse, TransportError
from tests.support.files import CLIP, video_at
from tests.support.scripted import Action, Drop, Endless, Hang, Raw, Reply, Talk, one_by_one, scripted

pytestmark = pytest.mark.anyio

SECRET = "a-secret-of-the-caller"


def source(url: str, *, private: bool = True, http: aiohttp.ClientSession | None = None) -> Source:
    options = DownloadOptions(timeout=5, allow_private=None, http=http)
    return Source(video_at(url, private=private), options)


@asynccontextmanager
async def opened(url: str, headers: dict[str, str] | None = None) -> AsyncIterator[FileResponse]:
    response = await open_file(source(url), headers or {})
    try:
        yield response
    finally:
        await response.aclose()


async def get(url: str, *, private: bool = True, http: aiohttp.ClientSession | None = None) -> bytes:
    response = await open_file(source(url, private=private, http=http), {})
    body = b""
    try:
        while data := await response.read():
            body += data
    finally:
        await response.aclose()
    return body


# --- what is sent ------------------------------------------------------------------------------------


async def test_a_request_asks_for_the_uncompressed_file() -> None:
    async with scripted(lambda _: Reply(body=CLIP)) as service:
        async with opened(f"{service.url}/a?sig=x%2Fy%3D%3d&z=~*'()", {"Range": "bytes=5-"}):
            pass
    (arrival,) = service.arrivals
    assert arrival.path == "/a?sig=x%2Fy%3D%3d&z=~*'()"
    assert set(arrival.headers) == {"host", "accept", "accept-encoding", "user-agent", "connection", "range"}
    assert arrival.headers["accept-encoding"] == "identity"
    assert "aivideomaker-async" in arrival.headers["user-agent"]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/a b|c.mp4", "/a%20b%7Cc.mp4"),
        ("/ü.mp4?n=é%2F", "/%C3%BC.mp4?n=%C3%A9%2F"),
        ("/a.mp4?x=1#t=5", "/a.mp4?x=1"),
        ("/%7Eme/%2e%2e/a%2fb", "/%7Eme/%2e%2e/a%2fb"),
    ],
)
async def test_an_address_is_sent_as_it_was_signed(path: str, sent: str) -> None:
    """Quoted characters stay quoted; only those are quoted that must be."""
    async with scripted(lambda _: Reply(body=b"x")) as service:
        assert await get(service.url + path) == b"x"
    assert service.arrivals[0].path == sent


@asynccontextmanager
async def session_full_of_secrets(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A caller's session, with a secret in every place that aiohttp has for one."""
    headers = {"key": SECRET, "Authorization": f"Bearer {SECRET}", "X-Api-Key": SECRET, "Cookie": f"s={SECRET}"}
    jar = aiohttp.CookieJar(unsafe=True)
    options: dict[str, Any] = {}

    async def add_key(request: Any, handler: Any) -> Any:
        request.headers["X-By-Middleware"] = SECRET
        return await handler(request)

    if "middlewares" in aiohttp.ClientSession.__init__.__annotations__:
        options["middlewares"] = (add_key,)
    async with aiohttp.ClientSession(headers=headers, cookie_jar=jar, **options) as http:
        jar.update_cookies({"session": SECRET})
        # This shows that aiohttp itself sends all of it.
        async with http.get(url):
            pass
        yield http


async def test_nothing_of_a_callers_session_goes_to_the_host_of_the_file() -> None:
    """No header, cookie, password or middleware; neither at first nor after a redirect."""
    async with scripted(lambda _: Reply(body=b"x")) as elsewhere:
        redirect = Reply(302, headers={"Location": f"{elsewhere.url}/onward", "Set-Cookie": "mine=1"})
        async with scripted(one_by_one([Reply(), redirect])) as service:
            async with session_full_of_secrets(service.url) as http:
                assert await get(f"{service.url}/v", http=http) == b"x"
    trap, asked = service.arrivals
    assert str(trap.headers).count(SECRET) >= 4
    for arrival in (asked, *elsewhere.arrivals):
        assert SECRET not in str(arrival.headers)
        assert set(arrival.headers) == {"host", "accept", "accept-encoding", "user-agent"}


async def test_no_password_is_taken_from_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    await asyncio.to_thread(netrc.write_text, f"default login me password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with scripted(lambda _: Reply(body=b"x")) as service:
        for trust in (False, True):
            async with aiohttp.ClientSession(trust_env=trust) as http:
                await get(service.url, http=http)
        await get(service.url)
    assert all("authorization" not in arrival.headers for arrival in service.arrivals)


@pytest.mark.parametrize("way", ["session", "session with a password", "environment"])
async def test_the_proxy_of_a_callers_session_is_used(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy alone gets its password, and resolves the name."""
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    options: dict[str, Any] = {}
    async with scripted(lambda _: Reply(body=b"x")) as proxy:
        address = proxy.url.replace("http://", "http://me:pw@")
        if way == "session":
            options["proxy"] = address
        elif way == "environment":
            monkeypatch.setenv("http_proxy", address)
            options["trust_env"] = True
        async with aiohttp.ClientSession(**options) as http:
            if way == "session with a password":
                http._default_proxy = proxy.url
                with warnings.catch_warnings(action="ignore"):
                    http._default_proxy_auth = aiohttp.BasicAuth("me", "pw")
            asked = resolve_to(monkeypatch, "127.0.0.1")
            assert await get("http://cdn.example/v", http=http, private=False) == b"x"
            assert asked == []
            assert len(proxy.arrivals) == 1
            with pytest.raises(DownloadError, match="not of the public internet"):
                await get("http://10.1.2.3/v", http=http, private=False)
    (arrival,) = proxy.arrivals
    assert arrival.path == "http://cdn.example/v"
    assert arrival.headers["proxy-authorization"] == "Basic bWU6cHc="
    assert "authorization" not in arrival.headers


async def test_no_proxy_of_the_environment_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with scripted(lambda _: Reply(body=b"x")) as service, aiohttp.ClientSession(trust_env=True) as http:
        assert await get(service.url, http=http) == b"x"


def test_a_session_of_another_event_loop_is_refused() -> None:

    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        http = one.run(make())
        with pytest.raises(ConfigurationError, match="was made in another event loop"):
            other.run(get("http://127.0.0.1:9", http=http))
        one.run(http.close())


# --- redirects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(status: int) -> None:
    """CDNs send one to the file; the requested range goes along."""
    async with scripted(lambda _: Reply(body=b"x")) as elsewhere:
        redirect = Reply(status, b"y" * 100, {"Location": f"{elsewhere.url}/b?sig=%2F"})
        async with scripted(lambda _: redirect) as service:
            async with opened(service.url, {"Range": "bytes=5-", "If-Range": '"v1"'}) as response:
                assert await response.read() == b"x"
    (arrival,) = elsewhere.arrivals
    assert arrival.path == "/b?sig=%2F"
    assert (arrival.headers["range"], arrival.headers["if-range"]) == ("bytes=5-", '"v1"')


async def test_a_redirect_may_be_relative() -> None:
    answers = [Reply(302, headers={"Location": "../b/c.mp4?y=%3D"}), Reply(307, headers={"Location": "/d"}), Reply()]
    async with scripted(one_by_one(answers)) as service:
        await get(f"{service.url}/v/w/a.mp4")
    assert [one.path for one in service.arrivals] == ["/v/w/a.mp4", "/v/b/c.mp4?y=%3D", "/d"]


async def test_redirects_in_a_circle_come_to_an_end() -> None:
    async with scripted(lambda _: Reply(302, headers={"Location": "/again"})) as service:
        with pytest.raises(DownloadError, match=f"redirected more than {MAX_REDIRECTS} times"):
            await get(service.url)
    assert len(service.arrivals) == MAX_REDIRECTS + 1


async def test_a_redirect_without_a_location_is_a_response_without_a_file() -> None:
    async with scripted(lambda _: Reply(302)) as service, opened(service.url) as response:
        assert response.head.status == 302


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("ftp://cdn.example/a", r"not an http\(s\) URL"),
        ("file:///etc/passwd", r"not an http\(s\) URL"),
        ("javascript:alert(1)", r"not an http\(s\) URL"),
        ("http://[::1", "not a URL"),
        ("https:///etc/passwd", "names no host"),
        ("http://cdn.example:99999/", "not a URL"),
    ],
)
async def test_a_redirect_leads_to_http_only(location: str, problem: str) -> None:
    """Each hop is checked before it is made."""
    async with scripted(lambda _: Reply(302, headers={"Location": location})) as service:
        with pytest.raises(DownloadError, match=problem):
            await get(service.url)


class Plain(aiohttp.TCPConnector):
    """Speaks https without TLS, so that a plain server can answer."""

    def _get_ssl_context(self, req: Any) -> None:
        del req


async def test_no_redirect_leads_from_https_to_http() -> None:
    async with scripted(lambda _: Reply(body=b"x")) as elsewhere:
        answers = [Reply(302, headers={"Location": "/b"}), Reply(302, headers={"Location": elsewhere.url})]
        async with scripted(one_by_one(answers)) as service, aiohttp.ClientSession(connector=Plain()) as http:
            with pytest.raises(DownloadError, match="redirected from https to http"):
                await get(service.url.replace("http://", "https://"), http=http)
    assert len(service.arrivals) == 2
    assert elsewhere.arrivals == []


# --- private addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "0x7f.1", "metadata.internal", "me:pw@127.0.0.1"])
async def test_no_request_goes_to_a_private_address(host: str) -> None:
    """With no session. Every spelling is in `test_public_address`."""
    async with scripted(lambda _: Reply(body=b"x")) as service:
        port = service.url.rpartition(":")[2]
        async with aiohttp.ClientSession() as http:
            for session in (None, http):
                with pytest.raises(DownloadError, match="not of the public internet; allow_private=True"):
                    await get(f"http://{host}:{port}/v", private=False, http=session)
    assert service.arrivals == []


async def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    async with scripted(lambda _: Reply(body=b"x")) as inner:
        async with scripted(lambda _: Reply(302, headers={"Location": f"{inner.url}/secret"})) as proxy:
            async with aiohttp.ClientSession(proxy=proxy.url) as http:
                with pytest.raises(DownloadError, match=r"127\.0\.0\.1 is not of the public internet"):
                    await get("http://cdn.example/v", private=False, http=http)
    assert inner.arrivals == []
    assert len(proxy.arrivals) == 1


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name resolve to these. Returns the names that are resolved."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: object, *_: object, **__: object) -> list[Any]:
        asked.append(host)
        kind = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port, *((0, 0) if ":" in address else ())))
            for family, address in zip(kind, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1", "10.0.0.1"], ["::ffff:127.0.0.1"]])
async def test_no_request_goes_to_a_name_with_a_private_address(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name is resolved once, so that it cannot mean something else in a moment."""
    async with scripted(lambda _: Reply(body=b"x")) as service:
        url = service.url.replace("127.0.0.1", "cdn.example")
        async with aiohttp.ClientSession() as http:
            for session in (None, http):
                asked = resolve_to(monkeypatch, *addresses)
                with pytest.raises(DownloadError, match=r"cdn\.example \(.*\) is not of the public internet"):
                    await get(url, private=False, http=session)
                assert asked == ["cdn.example"]
        resolve_to(monkeypatch, "127.0.0.1")
        assert await get(url) == b"x", "nothing else prevented it"
    assert len(service.arrivals) == 1


async def test_of_several_addresses_only_the_public_ones_are_left() -> None:

    class Inner(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            del family
            addresses = host.split("+") if host else []
            return [
                ResolveResult(hostname=host, host=one, port=port, family=socket.AF_INET, proto=0, flags=0)
                for one in addresses
            ]

        async def close(self) -> None:
            pass

    resolver = _PublicResolver(Inner())
    assert [one["host"] for one in await resolver.resolve("8.8.8.8+10.0.0.1+2606:4700::1")] == [
        "8.8.8.8",
        "2606:4700::1",
    ]
    for name in ("10.0.0.1+::1", "fe80::1%lo", ""):
        with pytest.raises(_NotPublic):
            await resolver.resolve(name)
    await resolver.close()


async def test_a_name_that_cannot_be_resolved_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver may work again in a moment. The cause is kept."""

    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with aiohttp.ClientSession() as http:
        for session in (None, http):
            with pytest.raises(ConnectFailed, match="Temporary failure") as caught:
                await get("https://cdn.example/v?sig=secret", private=False, http=session)
            cause = caught.value.__cause__
            assert isinstance(cause, aiohttp.ClientConnectorError)
            assert isinstance(cause.os_error, OSError)


# --- what comes --------------------------------------------------------------------------------------


async def test_the_head_describes_the_file() -> None:
    headers = {"ETag": '"v1"', "Content-Type": "video/mp4", "Content-Range": "bytes 0-4/9", "Retry-After": "7"}
    async with scripted(lambda _: Reply(206, b"12345", headers)) as service, opened(service.url) as response:
        head = response.head
    assert (head.status, head.length, head.etag, head.video_type, head.retry_after) == (206, 5, '"v1"', "video/mp4", 7)
    assert head.content_range is not None
    assert head.content_range.total == 9
    assert head.coding is None


PACKED = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xffKLJ\x06\x00\xc2A$5\x03\x00\x00\x00"


@pytest.mark.parametrize(
    ("raw", "body", "length", "coding"),
    [
        (b"Content-Length: 3\r\n\r\nabc", b"abc", 3, None),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc", None, None),
        (b"\r\nabc", b"abc", None, None),
        (b"Content-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc", b"abc", 3, None),
        (b"Content-Encoding: \r\nContent-Length: 3\r\n\r\nabc", b"abc", 3, None),
        (b"Content-Encoding: gzip\r\nContent-Length: 23\r\n\r\n" + PACKED, PACKED, None, "gzip"),
        (b"Content-Encoding: X-GZip, identity\r\nContent-Length: 3\r\n\r\nabc", b"abc", None, "x-gzip"),
        (b"Content-Encoding: br\r\nContent-Encoding: zstd\r\nContent-Length: 3\r\n\r\nabc", b"abc", None, "br, zstd"),
        (b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc", None, "gzip"),
    ],
)
async def test_every_way_to_send_a_body(raw: bytes, body: bytes, length: int | None, coding: str | None) -> None:
    """A length is that of the file, or unknown. A compressed body stays compressed, and its coding is reported."""
    async with scripted(lambda _: Raw(b"HTTP/1.1 200 OK\r\n" + raw)) as service, opened(service.url) as response:
        assert (response.head.length, response.head.coding) == (length, coding)
        assert await response.read() == body
        assert await response.read() == b""


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Drop(), Disconnected),
        (Hang(), RequestTimeout),
        (Raw(b"nonsense"), BadResponse),
        (Reply(body=CLIP, cut=1000), Disconnected),
        (Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), Disconnected),
    ],
)
async def test_a_failure_that_another_attempt_may_cure_is_a_transport_error(
    action: Action, kind: type[TransportError]
) -> None:
    """Neither its text nor its traceback shows the signature of the address."""
    async with scripted(lambda _: action) as service:
        with pytest.raises(TransportError) as caught:
            await get(f"{service.url}/v?sig=secret")
    assert type(caught.value) is kind
    frames = traceback.format_exception(caught.value)
    assert "sig=" not in "".join(line for line in frames if not line.lstrip().startswith("File"))
    if kind is Disconnected:
        assert isinstance(caught.value.__cause__, aiohttp.ClientError)


async def test_a_refused_connection_keeps_its_cause() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectFailed) as caught:
            await get(f"http://127.0.0.1:{free.getsockname()[1]}/v?sig=secret")
    assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorError)
    assert isinstance(caught.value.__cause__.__cause__, ConnectionRefusedError)


async def test_bytes_that_arrived_before_a_break_are_read() -> None:
    async with scripted(lambda _: Reply(body=CLIP, cut=1000)) as service, opened(service.url) as response:
        assert await response.read() == CLIP[:1000]
        with pytest.raises(Disconnected):
            await response.read()


async def test_a_body_that_stands_still_times_out() -> None:
    loop = asyncio.get_running_loop()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    async with scripted(lambda _: Talk(head, b"too late", after=60)) as service:
        began = loop.time()
        with pytest.raises(RequestTimeout, match="no data arrived within 5 s"):
            await get(service.url)
        assert 5 <= loop.time() - began < 7


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (CHUNKED + b"3;", b"a"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", b"X: y\r\n"),
    ],
)
@pytest.mark.parametrize("own", [True, False])
async def test_bytes_that_are_not_of_the_file_do_not_extend_the_timeout(head: bytes, piece: bytes, own: bool) -> None:
    """Otherwise a server could hold a download for ever."""
    loop = asyncio.get_running_loop()
    async with scripted(lambda _: Endless(head, piece, pause=1)) as service, aiohttp.ClientSession() as http:
        began = loop.time()
        with pytest.raises(RequestTimeout, match="no data arrived within 5 s"):
            async with asyncio.timeout(60):
                await get(service.url, http=None if own else http)
        assert 5 <= loop.time() - began < 8


async def test_a_slow_file_is_not_a_failure() -> None:
    """As long as neither its head nor a piece of it takes too long."""
    loop = asyncio.get_running_loop()

    async def handle(_: object) -> Action:
        await asyncio.sleep(4)
        return Endless(CHUNKED, b"1\r\nx\r\n", pause=4)

    async with scripted(handle) as service, opened(service.url) as response:
        began = loop.time()
        assert [await response.read() for _ in range(5)] == [b"x"] * 5
        assert loop.time() - began > 15


async def test_waiting_for_a_connection_of_the_callers_session_does_not_time_out() -> None:
    """Other requests may hold all of them. The time for the response begins when it is requested."""
    loop = asyncio.get_running_loop()
    replies = [Reply(body=b"x", delay=20), Reply(body=b"y", delay=4)]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
        async with scripted(one_by_one(replies)) as service:
            began = loop.time()
            first = asyncio.create_task(_text(http, service.url))
            await service.arrival()
            assert await get(service.url, http=http) == b"y"
            assert loop.time() - began >= 24
            assert await first == "x"


async def _text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as response:
        return await response.text()


async def test_an_untrusted_certificate_is_not_tried_again() -> None:

    class Untrusted(aiohttp.TCPConnector):
        async def _create_connection(self, req: Any, *_: Any, **__: Any) -> Any:
            import ssl

            raise aiohttp.ClientConnectorCertificateError(
                req.connection_key, ssl.SSLCertVerificationError("self-signed")
            )

    async with aiohttp.ClientSession(connector=Untrusted()) as http:
        with pytest.raises(DownloadError, match="certificate of its server is not trusted"):
            await get("https://127.0.0.1:9/v?sig=secret", http=http)


@pytest.mark.parametrize("url", ["ftp://cdn.example/a", "file:///etc/passwd", "", "/a.mp4", "https://", "https://a:0/"])
async def test_only_http_urls_are_requested(url: str) -> None:
    """The address comes from a response of the service, and is not trusted."""
    with pytest.raises(DownloadError, match=r"not an http\(s\) URL|names no host|is not a URL"):
        await get(url)


def test_a_source_shows_no_signature() -> None:
    """Tracebacks that show local variables show it."""
    assert "secret" not in repr(source("https://me:secret@cdn.example/v?sig=secret"))


async def test_a_name_is_resolved_again_when_no_thread_was_free(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_thread(*_: object, **__: object) -> object:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_thread)
    with pytest.raises(Disconnected, match="can't start new thread") as caught:
        await get("https://cdn.example/a.mp4", private=False)
    assert isinstance(caught.value.__cause__, RuntimeError)
