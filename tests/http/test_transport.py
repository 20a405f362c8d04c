"""One exchange with a service: each way in which it can fail has its error, and the key stays where it belongs."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import socket
import ssl
import traceback
import tracemalloc
import zlib

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aivideomaker_async._http import (
    AllTasks,
    ListReader,
    Request,
    Sending,
    get_account,
    get_status,
    get_task,
    list_tasks,
    quote_price,
)
from aivideomaker_async._http.transport import (
    _NEVER_SENT,
    ERROR_BODY_BYTES,
    ERROR_BODY_TIMEOUT_S,
    READ_PIECE_BYTES,
    Transport,
    _translate,
)
from aivideomaker_async._redaction import Secret
from aivideomaker_async.errors import (
    BadResponse,
    ConnectFailed,
    Disconnected,
    RequestTimeout,
    TransportError,
)
from tests.support.api import IN_FLIGHT_BYTES, KEY, BytesBody, transport_to
from tests.support.scripted import Action, Arrival, Drop, Endless, Hang, Raw, Reply, Talk, one_by_one, row, scripted
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio


# --- what is sent, and what comes back ---------------------------------------------------------------


async def test_an_answer_has_a_status_headers_and_a_body() -> None:
    async with scripted(lambda _: Reply(418, b"short and stout", {"X-Pot": "tea"})) as service:
        async with transport_to(service) as transport:
            answer = await transport.send(list_tasks(), timeout=5, sending=Sending())
    assert (answer.status, bytes(answer.body), answer.headers["x-pot"]) == (418, b"short and stout", "tea")
    assert service.arrivals[0].headers["key"] == KEY


@pytest.mark.parametrize(
    ("task_id", "path"),
    [
        ("../x?y", "/api/v1/tasks/..%2Fx%3Fy/status"),
        ("ünï 鍵", "/api/v1/tasks/%C3%BCn%C3%AF%20%E9%8D%B5/status"),
        ("%2e%2e", "/api/v1/tasks/%252e%252e/status"),
        ("a#b&c=d;e", "/api/v1/tasks/a%23b%26c%3Dd%3Be/status"),
        ("x" * 10_000, f"/api/v1/tasks/{'x' * 10_000}/status"),
    ],
)
async def test_a_quoted_path_is_sent_as_it_is(task_id: str, path: str) -> None:
    """Aiohttp would quote it once more, or resolve the steps in it."""
    async with scripted(lambda _: Reply(404)) as service, transport_to(service) as transport:
        await transport.send(get_status(task_id), timeout=5, sending=Sending())
    assert service.arrivals[0].path == path


@pytest.mark.parametrize("size", [0, READ_PIECE_BYTES, READ_PIECE_BYTES + 1, 4 * READ_PIECE_BYTES])
async def test_a_body_is_sent_with_its_length(size: int) -> None:
    """Whether it is small enough to be written at once, or is written in pieces."""
    pieces = [bytes([number % 256]) * (size // 4) for number in range(4)]
    body = BytesBody(*pieces, b"x" * (size % 4))
    async with scripted(lambda _: Reply(200, {})) as service, transport_to(service) as transport:
        await transport.send(quote_price("i2v", body), timeout=5, sending=Sending())
    arrival = service.arrivals[0]
    assert arrival.body == b"".join(body.pieces())
    assert arrival.headers["content-length"] == str(size)
    assert "transfer-encoding" not in arrival.headers
    assert arrival.headers["content-type"] == "application/json"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_returned_and_not_followed(status: int) -> None:
    """It would carry the key to another host, also in a session of the caller."""
    async with scripted(lambda _: Reply(200, {})) as elsewhere:
        redirect = Reply(status, headers={"Location": f"{elsewhere.url}/api/v1/tasks"})
        async with scripted(lambda _: redirect) as service, transport_to(service) as own:
            async with aiohttp.ClientSession() as session:
                callers = Transport(session, origin=service.url, key=Secret(KEY), is_own=False)
                for transport in (own, callers):
                    answer = await transport.send(list_tasks(), timeout=5, sending=Sending())
                    assert answer.status == status
    assert elsewhere.arrivals == []


async def test_any_good_status_fills_the_reader() -> None:
    """A proxy that changed something on the way answers 203."""
    body = {"tasks": [row("a", "PROGRESS")]}
    async with scripted(one_by_one([Reply(200, body), Reply(203, body)])) as service:
        async with transport_to(service) as transport:
            for status in (200, 203):
                reader = AllTasks()
                answer = await transport.send(list_tasks(), timeout=5, sending=Sending(), reader=reader)
                reader.finish()
                assert (answer.status, len(reader.tasks)) == (status, 1)


async def test_an_answer_that_comes_before_the_body_was_sent_is_read() -> None:
    """The rest of the body is not sent, and the connection is not used again."""
    connections = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 402 X\r\nContent-Length: 2\r\n\r\n{}")
        await closed.wait()
        writer.close()

    closed = asyncio.Event()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, transport_to(url) as transport:
        for request in (quote_price("t2v", BytesBody(bytes(20_000_000))), get_account()):
            answer = await transport.send(request, timeout=5, sending=Sending())
            assert (answer.status, bytes(answer.body)) == (402, b"{}")
        closed.set()
    assert connections == 2


# --- lost answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Drop(), Disconnected),
        (Hang(), RequestTimeout),
        (Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), BadResponse),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), Disconnected),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"), BadResponse),
        (Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), BadResponse),
        (Raw(b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n"), BadResponse),
        (Raw(b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), BadResponse),
        (Reply(delay=60), RequestTimeout),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_a_lost_answer_is_a_transport_error_of_a_request_that_was_sent(
    action: Action, kind: type[TransportError]
) -> None:
    """No such error claims that nothing was sent, and a report of it shows what happened, but not the key."""
    sending = Sending()
    async with scripted(one_by_one([action])) as service, transport_to(service) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(list_tasks(), timeout=5, sending=sending)
    error = caught.value
    assert type(error) is kind
    assert error.sent and sending.sent
    assert len(service.arrivals) == 1, "aiohttp's own second attempt would exceed the limit"
    has_cause = kind is not RequestTimeout and "another protocol" not in str(error)
    assert (error.__cause__ is not None) is has_cause
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    assert KEY not in "".join(frames)


async def test_a_long_header_is_read() -> None:
    """Policies and cookies of gateways are longer than the 8 KiB that aiohttp allows by itself."""
    head = b"HTTP/1.1 200 OK\r\nX: " + b"y" * 60_000 + b"\r\nContent-Length: 2\r\n\r\n{}"
    async with scripted(lambda _: Raw(head)) as service, transport_to(service) as transport:
        assert (await transport.send(get_account(), timeout=5, sending=Sending())).status == 200


async def test_an_error_of_aiohttp_that_quotes_the_key_is_no_cause() -> None:
    """A service may echo the key where aiohttp quotes it. The message keeps the kind of error."""

    def echo(arrival: Arrival) -> Action:
        return Raw(f"HTTP/1.1 200 OK\r\nX\x01: {arrival.headers['key']}\r\n\r\n".encode())

    async with scripted(echo) as service, transport_to(service) as transport:
        with pytest.raises(BadResponse, match=r"breaks the rules of HTTP: .*<secret>") as caught:
            await transport.send(list_tasks(), timeout=5, sending=Sending())
    assert caught.value.__cause__ is caught.value.__context__ is None


async def test_a_server_cannot_break_the_line_of_a_log() -> None:
    """The error quotes what it sent."""
    async with scripted(lambda _: Raw(b"HTTP/1.1 200 OK\r\n\x1b[31m evil\x07: \r\n\r\n")) as service:
        async with transport_to(service) as transport:
            with pytest.raises(BadResponse) as caught:
                await transport.send(get_account(), timeout=5, sending=Sending())
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("status", [200, 402])
@pytest.mark.parametrize("error", [RuntimeError("Connection closed."), AssertionError(), AttributeError("x")], ids=repr)
async def test_odd_failures_of_aiohttp_count_as_broken_connections(
    status: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises these when a connection is closed in the middle of a call. A status that is known is not lost."""
    head = b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status

    async def readany(_: aiohttp.StreamReader) -> bytes:
        raise error

    monkeypatch.setattr(aiohttp.StreamReader, "readany", readany)
    sending = Sending()
    async with scripted(lambda _: Talk(head, b"123456789")) as service, transport_to(service) as transport:
        if status == 402:
            answer = await transport.send(get_account(), timeout=5, sending=sending)
            assert answer.status == status
        else:
            with pytest.raises(Disconnected) as caught:
                await transport.send(get_account(), timeout=5, sending=sending)
            assert caught.value.sent
    assert sending.sent


class Buggy(ListReader):
    """A reader that uses what it was given in a wrong way."""

    def take(self, row: object) -> None:
        raise AttributeError("a bug in a reader")


async def test_a_bug_in_a_reader_is_not_taken_for_a_broken_connection() -> None:
    """The call would be repeated, and its error would blame the network."""
    answer = Reply(200, {"tasks": [row("a", "PROGRESS")]})
    reader = Buggy()
    async with scripted(lambda _: answer) as service, transport_to(service) as transport:
        assert (await transport.send(list_tasks(), timeout=5, sending=Sending(), reader=reader)).status == 200
    with pytest.raises(AttributeError, match="a bug in a reader"):
        reader.finish()


def aiohttp_errors() -> list[Exception]:
    """Return one of each exception class that aiohttp's client exports."""
    key = ConnectionKey("h", 443, True, True, None, None, None)
    info = aiohttp.RequestInfo(URL("http://h"), "GET", CIMultiDictProxy(CIMultiDict()), URL("http://h"))
    made: list[Exception] = []
    for _, kind in inspect.getmembers(aiohttp, inspect.isclass):
        if not issubclass(kind, aiohttp.ClientError):
            continue
        if kind is aiohttp.ServerFingerprintMismatch:
            made.append(kind(b"a", b"b", "h", 443))
        elif issubclass(kind, aiohttp.ClientConnectorCertificateError):
            made.append(kind(key, ssl.SSLCertVerificationError("bad")))
        elif issubclass(kind, aiohttp.ClientConnectorError):
            made.append(kind(key, OSError(1, "bad")))
        elif issubclass(kind, aiohttp.ClientResponseError):
            made.append(kind(info, (), status=502, message="bad"))
        elif issubclass(kind, aiohttp.InvalidURL):
            made.append(kind("http://"))
        else:
            made.append(kind("bad"))
    return made


@pytest.mark.parametrize("error", aiohttp_errors(), ids=lambda error: type(error).__name__)
def test_every_exception_of_aiohttp_has_its_place_in_the_error_tree(error: Exception) -> None:
    """Only those that are raised before anything is sent promise that nothing was."""
    translated = _translate(error, list_tasks(), str, never_sent=isinstance(error, _NEVER_SENT))
    never_sent = isinstance(
        error,
        (
            aiohttp.ClientConnectorError,
            aiohttp.ClientConnectorDNSError,
            aiohttp.InvalidURL,
            aiohttp.ConnectionTimeoutError,
            aiohttp.ClientHttpProxyError,
            aiohttp.ServerFingerprintMismatch,
        ),
    )
    assert isinstance(translated, TransportError)
    assert translated.sent is not never_sent or isinstance(error, aiohttp.NonHttpUrlClientError)


# --- requests that were never sent -------------------------------------------------------------------


async def assert_never_sent(url: str, match: str | None = None) -> ConnectFailed:
    """Send a request to this address; return its error, which promises that nothing was sent."""
    sending = Sending()
    async with transport_to(url) as transport:
        with pytest.raises(ConnectFailed, match=match) as caught:
            await transport.send(list_tasks(), timeout=5, sending=sending)
    assert not caught.value.sent
    assert not sending.sent
    return caught.value


async def test_a_refused_connection_promises_that_nothing_was_sent() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        error = await assert_never_sent(f"http://127.0.0.1:{free.getsockname()[1]}")
    assert isinstance(error.__cause__, OSError), "a report shows which error of the system it was"


async def test_a_failed_tls_handshake_promises_that_nothing_was_sent() -> None:
    async with scripted(lambda _: Reply()) as service:
        await assert_never_sent(service.url.replace("http://", "https://"))
    assert service.arrivals == []


@pytest.mark.usefixtures("never_connected")
async def test_a_timeout_while_connecting_promises_that_nothing_was_sent() -> None:
    await assert_never_sent("http://127.0.0.1:9", "no connection within 5 s")


async def test_a_name_that_cannot_be_looked_up_for_lack_of_threads_promises_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def getaddrinfo(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(VirtualClockLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", aiohttp.ThreadedResolver)
    await assert_never_sent("https://service.example", "can't start new thread")


@pytest.mark.parametrize("url", ["http://[::1", "http://", "http://a:99999", "ftp://x"])
async def test_a_url_that_cannot_be_used_promises_that_nothing_was_sent(url: str) -> None:
    await assert_never_sent(url)


@pytest.mark.parametrize(
    ("connected", "kind", "sent"), [(True, Disconnected, True), (False, ConnectFailed, False)], ids=["sent", "not sent"]
)
async def test_closing_the_client_ends_an_exchange_at_once(
    connected: bool, kind: type[TransportError], sent: bool, request: pytest.FixtureRequest
) -> None:
    if not connected:
        request.getfixturevalue("never_connected")
    loop, sending = asyncio.get_running_loop(), Sending()
    async with scripted(lambda _: Hang()) as service, transport_to(service) as transport:
        call = asyncio.ensure_future(transport.send(list_tasks(), timeout=500, sending=sending))
        await asyncio.sleep(1)
        began = loop.time()
        for _ in range(2):
            transport.end()
        with pytest.raises(kind, match="the client was closed") as caught:
            await call
        assert loop.time() == began
    assert caught.value.sent is sending.sent is sent


# --- how much is read --------------------------------------------------------------------------------


class Bottomless(ListReader):
    """A reader that never has enough."""

    def feed(self, piece: bytes) -> None:
        self.bytes_read += len(piece)


class Satisfied(Bottomless):
    """A reader that has enough with the first piece."""

    @property
    def enough(self) -> bool:
        return True


OK = b"HTTP/1.1 200 OK\r\n"
SPACES = b" " * 65536
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        Endless(OK + b"Content-Length: 2147483648\r\n\r\n", SPACES),
        Endless(OK + CHUNKED, b"10000\r\n" + SPACES + b"\r\n"),
        Endless(OK + b"\r\n", SPACES),
    ],
    ids=["with a length", "chunked", "until it closes"],
)
@pytest.mark.parametrize("request_", [get_status("x"), get_account(), get_task("x")], ids=lambda item: item.path)
async def test_an_endless_answer_is_refused(answer: Endless, request_: Request[object]) -> None:
    """Memory is bounded by what a good answer needs."""
    async with scripted(lambda _: answer) as service, transport_to(service) as transport:
        with pytest.raises(BadResponse, match=f"larger than {request_.max_answer_bytes} bytes"):
            await transport.send(request_, timeout=50, sending=Sending())
    assert service.sent < request_.max_answer_bytes + IN_FLIGHT_BYTES


@pytest.mark.parametrize("request_", [get_status("x"), list_tasks()], ids=["status", "list"])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_an_answer_that_unpacks_to_too_much_is_refused_and_other_tasks_run(
    request_: Request[object], coding: str
) -> None:
    """60 kB that unpack to 60 MB: it is unpacked in pieces, and no further than the limit."""
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(60)]) + packer.flush()
    small = request_._replace(max_answer_bytes=2 << 20)
    reader = Bottomless() if request_.missing == "endpoint" else None
    rounds = 0

    async def run_beside() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    async with scripted(lambda _: Reply(body=bomb, headers={"Content-Encoding": coding})) as service:
        async with transport_to(service) as transport:
            beside = asyncio.ensure_future(run_beside())
            tracemalloc.start()
            try:
                with pytest.raises(BadResponse, match="larger than 2097152 bytes"):
                    await transport.send(small, timeout=5, sending=Sending(), reader=reader)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
                beside.cancel()
    assert rounds > 5
    assert peak < 16 << 20


async def test_details_with_an_image_are_read_where_a_status_of_that_size_is_refused() -> None:
    body = b'{"image":"' + b"A" * (4 << 20) + b'"}'
    async with scripted(lambda _: Reply(body=body)) as service, transport_to(service) as transport:
        answer = await transport.send(get_task("x"), timeout=5, sending=Sending())
        assert answer.body == body
        with pytest.raises(BadResponse):
            await transport.send(get_status("x"), timeout=5, sending=Sending())


@pytest.mark.parametrize(
    "answer",
    [
        Endless(OK + b"Content-Length: 100000\r\n\r\n", b" ", 1.0),
        Endless(OK + CHUNKED, b"1\r\n \r\n", 1.0),
        Endless(OK, b"X-More: 1\r\n", 1.0),
        Endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
    ],
    ids=["body", "chunks", "headers", "hints"],
)
async def test_an_answer_that_drips_ends_with_the_attempt(answer: Endless) -> None:
    """A byte a second keeps no attempt alive."""
    loop = asyncio.get_running_loop()
    async with scripted(lambda _: answer) as service, transport_to(service) as transport:
        for reader in (None, Bottomless()):
            began = loop.time()
            with pytest.raises(RequestTimeout):
                await transport.send(list_tasks(), timeout=10, sending=Sending(), reader=reader)
            assert loop.time() - began < 12


@pytest.mark.parametrize("piece", [b"X-1: " + b"y" * 1000 + b"\r\n", b"y" * 65536], ids=["many", "one"])
async def test_endless_headers_are_refused(piece: bytes) -> None:
    async with scripted(lambda _: Endless(OK + b"X: ", piece)) as service, transport_to(service) as transport:
        with pytest.raises(BadResponse, match="breaks the rules of HTTP"):
            await transport.send(get_account(), timeout=5, sending=Sending())
    assert service.sent < IN_FLIGHT_BYTES


# --- the rest of a list of which enough was read -----------------------------------------------------


@pytest.mark.parametrize(
    ("rest", "is_kept"),
    [
        (Talk(OK + CHUNKED + b"1\r\nx\r\n", b"0\r\n\r\n", after=0.1), True),
        (Talk(OK + CHUNKED + b"1\r\nx\r\n", b"0\r\n\r\n", after=10), False),
        (Reply(200, b" " * 100_000), True),
        (Endless(OK + b"Content-Length: 1000000\r\n\r\n", SPACES), False),
        (Endless(OK + CHUNKED, b"10000\r\n" + SPACES + b"\r\n"), False),
    ],
    ids=["soon", "late", "short", "long", "endless"],
)
async def test_the_rest_of_a_list_is_read_only_where_that_saves_a_connection(rest: Action, is_kept: bool) -> None:
    loop = asyncio.get_running_loop()
    async with scripted(one_by_one([rest, Reply(200, {})])) as service, transport_to(service) as transport:
        began = loop.time()
        answer = await transport.send(list_tasks(), timeout=5, sending=Sending(), reader=Satisfied())
        assert answer.status == 200
        assert loop.time() - began < 1
        await transport.send(get_account(), timeout=5, sending=Sending())
    assert [item.connection for item in service.arrivals] == ([1, 1] if is_kept else [1, 2])
    assert service.sent < IN_FLIGHT_BYTES


async def test_a_failure_in_the_rest_of_a_list_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = aiohttp.StreamReader.readany
    reads = iter([whole])

    async def readany(reader: aiohttp.StreamReader) -> bytes:
        if (read := next(reads, None)) is None:
            raise RuntimeError("Connection closed.")
        return await read(reader)

    monkeypatch.setattr(aiohttp.StreamReader, "readany", readany)
    talk = Talk(OK + CHUNKED + b"1\r\nx\r\n", b"0\r\n\r\n")
    async with scripted(lambda _: talk) as service, transport_to(service) as transport:
        answer = await transport.send(list_tasks(), timeout=5, sending=Sending(), reader=Satisfied())
    assert answer.status == 200


# --- errors, whose status must not be lost -----------------------------------------------------------


def head_of(status: int, more: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\n" % status + more


GZIPPED = gzip.compress(bytes(1 << 20))


@pytest.mark.parametrize("status", [302, 401, 402, 404, 429, 500, 503])
@pytest.mark.parametrize(
    ("more", "piece", "pause"),
    [
        (b"Content-Length: 1073741824\r\n\r\n", SPACES, 0.0),
        (CHUNKED, b"10000\r\n" + SPACES + b"\r\n", 0.0),
        (b"\r\n", SPACES, 0.0),
        (b"\r\n", b"x", 1.0),
        (CHUNKED, b"1\r\nx\r\n", 1.0),
        (b"Content-Encoding: gzip\r\n\r\n", GZIPPED, 0.0),
        (b"Content-Encoding: gzip\r\n\r\n", b"no gzip at all", 0.0),
    ],
    ids=["with a length", "chunked", "until it closes", "dripping", "dripping chunks", "packed", "broken"],
)
async def test_the_status_of_an_error_is_kept_whatever_its_body(
    status: int, more: bytes, piece: bytes, pause: float
) -> None:
    """Of the body no more is read than may give a reason."""
    refusal = Endless(head_of(status, more), piece, pause)
    loop = asyncio.get_running_loop()
    async with scripted(lambda _: refusal) as service, transport_to(service) as transport:
        began = loop.time()
        answer = await transport.send(list_tasks(), timeout=50, sending=Sending(), reader=Bottomless())
        assert loop.time() - began <= ERROR_BODY_TIMEOUT_S + 1
    assert answer.status == status
    assert len(answer.body) <= ERROR_BODY_BYTES
    assert service.sent < ERROR_BODY_BYTES + IN_FLIGHT_BYTES


@pytest.mark.parametrize("closed", [False, True])
async def test_the_status_of_an_error_is_kept_when_the_attempt_times_out_in_its_body(closed: bool) -> None:
    """Only closing the client ends the call without it."""
    loop = asyncio.get_running_loop()
    refusal = Endless(head_of(402, b"\r\n"), b"x", 1.0)
    async with scripted(lambda _: refusal) as service, transport_to(service) as transport:
        began = loop.time()
        call = asyncio.ensure_future(transport.send(get_account(), timeout=3, sending=Sending()))
        if closed:
            await asyncio.sleep(1.5)
            transport.end()
            with pytest.raises(Disconnected, match="the client was closed"):
                await call
        else:
            assert (await call).status == 402
        assert loop.time() - began <= 3


@pytest.mark.parametrize("cut", [0, 10, 30])
async def test_the_status_of_an_error_is_kept_when_its_body_breaks_off(cut: int) -> None:
    """What has arrived of the reason is kept as well."""
    body = b'{"status":"FAILED","message":"no"}'
    async with scripted(lambda _: Reply(402, body, cut=cut)) as service, transport_to(service) as transport:
        answer = await transport.send(get_account(), timeout=5, sending=Sending())
    assert answer.status == 402
    assert body.startswith(answer.body)
