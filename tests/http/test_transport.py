"""One exchange: everything that can go wrong comes out as the right error, and the key stays where it belongs."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import socket
import ssl
import traceback
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey
from attrs import evolve
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from aivideomaker_async._http import requests
from aivideomaker_async._http.connections import open_session
from aivideomaker_async._http.list_reader import AllTasks, ListReader
from aivideomaker_async._http.requests import Request, Sending
from aivideomaker_async._http.transport import (
    ERROR_BODY_BYTES,
    ERROR_BODY_TIMEOUT_S,
    Transport,
    _translate,
)
from aivideomaker_async._redaction import Secret
from aivideomaker_async._submits.body import Body
from aivideomaker_async.errors import (
    BadResponse,
    ConfigurationError,
    ConnectFailed,
    Disconnected,
    RequestTimeout,
    TransportError,
)
from tests.support.pictures import as_image
from tests.support.scripted import (
    Action,
    Drop,
    Endless,
    Hang,
    Raw,
    Reply,
    ScriptedService,
    Talk,
    one_by_one,
    row,
    scripted,
)
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio

KEY = "ak_secret_of_this_test"


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@asynccontextmanager
async def transport_to(service: ScriptedService) -> AsyncIterator[Transport]:
    async with open_session(Secret(KEY)) as session:
        yield Transport(session, base_url=service.url, key=Secret(KEY), is_own=True)


async def test_an_answer_is_status_headers_and_body() -> None:
    """What the service says arrives whole."""
    async with scripted(lambda _: Reply(418, b"short and stout", {"X-Pot": "tea"})) as service:
        async with transport_to(service) as transport:
            answer = await transport.send(requests.list_tasks(), timeout=5, sending=Sending())
    assert (answer.status, bytes(answer.body), answer.headers["x-pot"]) == (418, b"short and stout", "tea")
    assert service.arrivals[0].headers["key"] == KEY
    assert "aivideomaker-async" in service.arrivals[0].headers["user-agent"]
    assert "content-type" not in service.arrivals[0].headers, "there is no body to have a type"


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
async def test_a_hostile_id_stays_one_segment_of_the_path(task_id: str, path: str) -> None:
    """What is quoted once arrives quoted once: no id names another endpoint."""
    async with scripted(lambda _: Reply(404)) as service, transport_to(service) as transport:
        await transport.send(requests.get_status(task_id), timeout=5, sending=Sending())
    assert service.arrivals[0].path == path


async def test_a_body_with_an_image_is_streamed_with_its_length() -> None:
    """The length is told beforehand, and the bytes are the whole JSON."""
    data = bytes(range(256)) * 1000
    body = Body((b'{"image":"', as_image(data), b'","duration":"5"}'))
    request = requests.quote_price("i2v", body)
    async with scripted(lambda _: Reply(200, {})) as service, transport_to(service) as transport:
        await transport.send(request, timeout=5, sending=Sending())
    arrival = service.arrivals[0]
    assert arrival.headers["content-length"] == str(len(arrival.body)) == str(len(body))
    assert "transfer-encoding" not in arrival.headers
    assert arrival.headers["content-type"] == "application/json"
    assert arrival.json()["duration"] == "5"


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
        (Reply(delay=60), RequestTimeout),
    ],
)
async def test_a_lost_answer_is_a_transport_error_of_a_request_that_was_sent(
    action: Action, kind: type[TransportError]
) -> None:
    """Each way to lose an answer has its error, and none claims that nothing was sent."""
    sending = Sending()
    async with scripted(one_by_one([action])) as service, transport_to(service) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.send(requests.list_tasks(), timeout=5, sending=sending)
    assert type(caught.value) is kind
    assert caught.value.sent and sending.sent
    assert len(service.arrivals) == 1, "aiohttp's own second try would break the limit"
    assert (caught.value.__cause__ is None) is (kind is RequestTimeout), "a report shows what happened"
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True).format()
    assert KEY not in "".join(frames)


async def test_a_kept_connection_that_is_dropped_is_not_tried_again() -> None:
    """The second request on a connection fails once, and is not sent a second time behind our back."""
    async with (
        scripted(one_by_one([Reply(200, {}), Drop(), Reply(200, {})])) as service,
        transport_to(service) as transport,
    ):
        await transport.send(requests.list_tasks(), timeout=5, sending=Sending())
        with pytest.raises(Disconnected):
            await transport.send(requests.list_tasks(), timeout=5, sending=Sending())
    assert len(service.arrivals) == 2


async def test_a_refused_connection_was_never_sent() -> None:
    """Nobody listens: the error promises that nothing has left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        sending = Sending()
        async with open_session(Secret(KEY)) as session:
            transport = Transport(session, base_url=url, key=Secret(KEY), is_own=True)
            with pytest.raises(ConnectFailed) as caught:
                await transport.send(requests.list_tasks(), timeout=5, sending=sending)
    assert not caught.value.sent
    assert not sending.sent


async def test_a_tls_handshake_with_a_plain_server_was_never_sent() -> None:
    """What breaks before the request can leave is a failed connection."""
    async with scripted(lambda _: Reply()) as service, open_session(Secret(KEY)) as session:
        url = service.url.replace("http://", "https://")
        transport = Transport(session, base_url=url, key=Secret(KEY), is_own=True)
        with pytest.raises(ConnectFailed):
            await transport.send(requests.list_tasks(), timeout=5, sending=Sending())
    assert service.arrivals == []


async def test_a_connection_that_is_not_made_in_time_was_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-out while connecting is no lost answer: a submit may be tried again."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", never)
    async with open_session(Secret(KEY)) as session:
        transport = Transport(session, base_url="http://127.0.0.1:9", key=Secret(KEY), is_own=True)
        with pytest.raises(ConnectFailed):
            await transport.send(requests.list_tasks(), timeout=5, sending=Sending())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """The answer is the redirect itself; the key goes to no other place."""
    async with scripted(lambda _: Reply(200, {})) as elsewhere:
        redirect = Reply(status, headers={"Location": f"{elsewhere.url}/api/v1/tasks"})
        async with scripted(lambda _: redirect) as service, transport_to(service) as transport:
            answer = await transport.send(requests.list_tasks(), timeout=5, sending=Sending())
    assert answer.status == status
    assert elsewhere.arrivals == []


# --- what nobody has asked for ------------------------------------------------------------------------

TRUE = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"status":"PROGRESS"}'
FALSE = b'HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"status":"COMPLETED"}'
UNFINISHED = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"sta'
UNASKED = {
    "an answer": FALSE,
    "half an answer": UNFINISHED,
    "a long answer": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 600_000,
    "half a head": b"HTTP/1.1 200 OK\r\nX",
    "go on": b"HTTP/1.1 100 Continue\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nyyy",
    "no HTTP": b"\0\0\0",
}


async def status_of(transport: Transport, *, timeout: float = 5) -> bytes:
    return bytes((await transport.send(requests.get_status("x"), timeout=timeout, sending=Sending())).body)


@pytest.mark.parametrize("more", UNASKED.values(), ids=UNASKED)
@pytest.mark.parametrize("split", [len(TRUE), len(TRUE) - 5, 10])
async def test_what_comes_unasked_on_a_kept_connection_is_no_answer(more: bytes, split: int) -> None:
    """Whether it comes later, with the end of the answer, or with all of it: the next request is answered itself."""
    talk = Talk(TRUE[:split], TRUE[split:] + more)
    async with scripted(one_by_one([talk, Reply(200, b"itself")])) as service, transport_to(service) as transport:
        if split == 10 and more == UNASKED["no HTTP"]:
            with pytest.raises(BadResponse):
                await status_of(transport)
        else:
            assert await status_of(transport) == TRUE[-21:]
        await asyncio.sleep(2)
        assert await status_of(transport) == b"itself"
    assert [item.connection for item in service.arrivals] == ([1, 2] if split == len(TRUE) else [1, service.opened])


@pytest.mark.parametrize("has_poll", [True, False])
@pytest.mark.parametrize("more", [FALSE, b""], ids=["an answer", "the end"])
async def test_what_the_loop_had_no_time_to_see_is_no_answer(
    more: bytes, has_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has arrived when the next request is made, and nobody has looked."""
    if not has_poll:
        # As on Windows.
        monkeypatch.delattr("select.poll", raising=False)
    async with scripted(one_by_one([Reply(200, b"1"), Reply(200, b"2")])) as service:
        async with transport_to(service) as transport:
            assert await status_of(transport) == b"1"
            (writer,) = service.connections
            # Sent at once: the loop does not run before the request.
            writer.write(more) if more else writer.write_eof()
            assert await status_of(transport) == b"2"
            assert await status_of(transport) == b"2"
    assert [item.connection for item in service.arrivals] == [1, 2, 2]


async def test_an_ordinary_server_s_connection_is_kept() -> None:
    """Also after answers with hints before them, without a body, or read in part; and after errors."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    talks: list[Action] = [
        Reply(200, b"1"),
        Talk(early, TRUE),
        Reply(500, b"x"),
        Reply(204),
        Talk(TRUE[:10], TRUE[10:]),
        Reply(),
    ]
    async with scripted(one_by_one(talks)) as service, transport_to(service) as transport:
        for _ in talks:
            await status_of(transport)
            await asyncio.sleep(5)
    assert [item.connection for item in service.arrivals] == [1] * len(talks)


@pytest.mark.parametrize("piece", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 1000, UNASKED["go on"] * 1000])
async def test_an_idle_connection_holds_nothing(piece: bytes) -> None:
    """A server that never stops is hung up on."""
    async with scripted(lambda _: Endless(TRUE, piece)) as service, transport_to(service) as transport:
        assert await status_of(transport) == TRUE[-21:]
        await asyncio.sleep(5)
        assert not service.connections
    assert service.sent < IN_FLIGHT


@pytest.mark.parametrize(
    ("more", "kind"), [(UNFINISHED, RequestTimeout), (UNASKED["a long answer"], TransportError)], ids=["half", "long"]
)
async def test_in_a_caller_s_session_a_call_is_over_in_time_all_the_same(more: bytes, kind: type[Exception]) -> None:
    """Aiohttp keeps what comes unasked, and fails in odd ways with it, or never ends."""
    loop = asyncio.get_running_loop()
    async with scripted(one_by_one([Talk(TRUE, more), Hang()])) as service, aiohttp.ClientSession() as session:
        transport = Transport(session, base_url=service.url, key=Secret(KEY), is_own=False)
        assert await status_of(transport) == TRUE[-21:]
        await asyncio.sleep(2)
        began = loop.time()
        with pytest.raises(kind):
            await asyncio.wait_for(status_of(transport), 60)
        assert loop.time() - began <= 5


# --- how aiohttp fails --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 402])
@pytest.mark.parametrize("error", [RuntimeError("Connection closed."), AssertionError(), AttributeError("x")], ids=repr)
async def test_odd_failures_in_the_middle_are_failed_connections(
    status: int, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So aiohttp fails when a connection is closed under it. What is known already is not lost."""
    head = b"HTTP/1.1 %d X\r\nContent-Length: 9\r\n\r\n" % status

    async def readany(_: aiohttp.StreamReader) -> bytes:
        raise error

    monkeypatch.setattr(aiohttp.StreamReader, "readany", readany)
    async with scripted(lambda _: Talk(head, b"123456789")) as service, transport_to(service) as transport:
        sending = Sending()
        if status == 402:
            answer = await transport.send(requests.get_account(), timeout=5, sending=sending)
            assert answer.status == status
        else:
            with pytest.raises(Disconnected) as caught:
                await transport.send(requests.get_account(), timeout=5, sending=sending)
            assert caught.value.sent
        assert sending.sent


async def test_what_has_enough_survives_an_odd_failure_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is not wanted."""
    whole = aiohttp.StreamReader.readany
    pieces = iter([whole])

    async def readany(reader: aiohttp.StreamReader) -> bytes:
        if (read := next(pieces, None)) is None:
            raise RuntimeError("Connection closed.")
        return await read(reader)

    class Satisfied(_Nowhere):
        @property
        def enough(self) -> bool:
            return True

    monkeypatch.setattr(aiohttp.StreamReader, "readany", readany)
    talk = Talk(b"HTTP/1.1 200 OK\r\n" + CHUNKED + b"1\r\nx\r\n", b"0\r\n\r\n")
    async with scripted(lambda _: talk) as service, transport_to(service) as transport:
        answer = await transport.send(requests.list_tasks(), timeout=5, sending=Sending(), reader=Satisfied())
    assert answer.status == 200


async def test_without_a_thread_to_look_up_a_name_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine at its limits: a submit may be tried again."""

    async def getaddrinfo(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(VirtualClockLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", aiohttp.ThreadedResolver)
    async with open_session(Secret(KEY)) as session:
        transport = Transport(session, base_url="https://service.example", key=Secret(KEY), is_own=True)
        sending = Sending()
        with pytest.raises(ConnectFailed, match="can't start new thread") as caught:
            await transport.send(requests.list_tasks(), timeout=5, sending=sending)
    assert not caught.value.sent
    assert not sending.sent


@pytest.mark.parametrize("url", ["http://[::1", "http://", "http://a:99999", "ftp://x"])
async def test_a_url_that_cannot_be_used_was_never_sent(url: str) -> None:
    """Whatever aiohttp or yarl says of it."""
    async with open_session(Secret(KEY)) as session:
        transport = Transport(session, base_url=url, key=Secret(KEY), is_own=True)
        with pytest.raises(ConnectFailed) as caught:
            await transport.send(requests.list_tasks(), timeout=5, sending=Sending())
    assert not caught.value.sent


# --- how much is read ------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
SPACES = b" " * 65536
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = [
    Endless(OK + b"Content-Length: 2147483648\r\n\r\n", SPACES),
    Endless(OK + CHUNKED, b"10000\r\n" + SPACES + b"\r\n"),
    Endless(OK + b"\r\n", SPACES),
]
IN_FLIGHT = 12 << 20
"""Bytes that a server can send before it notices that the client has hung up."""


@pytest.mark.parametrize("answer", ENDLESS)
@pytest.mark.parametrize("request_", [requests.get_status("x"), requests.get_account(), requests.get_task("x")])
async def test_an_endless_answer_is_refused(answer: Endless, request_: Request[object]) -> None:
    """Memory is bounded, by what a good answer needs, whatever the service sends."""
    async with scripted(lambda _: answer) as service, transport_to(service) as transport:
        with pytest.raises(BadResponse, match=f"larger than {request_.max_answer_bytes} bytes"):
            await transport.send(request_, timeout=50, sending=Sending())
    assert service.sent < request_.max_answer_bytes + IN_FLIGHT


@pytest.mark.parametrize("request_", [requests.get_status("x"), requests.list_tasks()])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_refused_and_others_run_meanwhile(request_: Request[object], coding: str) -> None:
    """60 kB that unpack to 60 MB: no more is unpacked than is taken, in pieces between which the loop goes on."""
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    bomb = b"".join([packer.compress(bytes(1 << 20)) for _ in range(60)]) + packer.flush()
    small = evolve(request_, max_answer_bytes=2 << 20)
    sink = _Nowhere() if request_.missing == "endpoint" else None
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
                    await transport.send(small, timeout=5, sending=Sending(), reader=sink)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
                beside.cancel()
    assert rounds > 5
    assert peak < 16 << 20


class _Nowhere(ListReader):
    """A reader that never has enough."""

    def feed(self, piece: bytes) -> None:
        self.bytes_read += len(piece)


async def test_an_image_in_the_details_is_no_reason_to_refuse_them() -> None:
    """It is large, and a single value."""
    body = b'{"image":"' + b"A" * (4 << 20) + b'"}'
    async with scripted(lambda _: Reply(body=body)) as service, transport_to(service) as transport:
        answer = await transport.send(requests.get_task("x"), timeout=5, sending=Sending())
        assert answer.body == body
        with pytest.raises(BadResponse):
            await transport.send(requests.get_status("x"), timeout=5, sending=Sending())


def refusing(status: int, more: bytes) -> bytes:
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
)
async def test_an_error_is_told_by_its_status_whatever_its_body(
    status: int, more: bytes, piece: bytes, pause: float
) -> None:
    """Endless, dripping, packed or broken: of a refusal not more is read than may give a reason."""
    refusal = Endless(refusing(status, more), piece, pause)
    loop = asyncio.get_running_loop()
    async with scripted(lambda _: refusal) as service, transport_to(service) as transport:
        began = loop.time()
        answer = await transport.send(requests.list_tasks(), timeout=50, sending=Sending(), reader=_Nowhere())
        assert loop.time() - began <= ERROR_BODY_TIMEOUT_S + 1
    assert answer.status == status
    assert len(answer.body) <= ERROR_BODY_BYTES
    assert service.sent < ERROR_BODY_BYTES + IN_FLIGHT


@pytest.mark.parametrize("closed", [False, True])
async def test_an_error_is_told_also_when_its_time_is_over(closed: bool) -> None:
    """The status came in time. Only closing the client ends it."""
    loop = asyncio.get_running_loop()
    refusal = Endless(refusing(402, b"\r\n"), b"x", 1.0)
    async with scripted(lambda _: refusal) as service, transport_to(service) as transport:
        began = loop.time()
        call = asyncio.ensure_future(transport.send(requests.get_account(), timeout=3, sending=Sending()))
        if closed:
            await asyncio.sleep(1.5)
            transport.end()
            with pytest.raises(Disconnected, match="the client was closed"):
                await call
        else:
            assert (await call).status == 402
        assert loop.time() - began <= 3


@pytest.mark.parametrize("cut", [0, 10, 30])
async def test_an_error_whose_body_breaks_off_is_told_by_its_status(cut: int) -> None:
    """What has come of the reason is kept."""
    body = b'{"status":"FAILED","message":"no"}'
    async with scripted(lambda _: Reply(402, body, cut=cut)) as service, transport_to(service) as transport:
        answer = await transport.send(requests.get_account(), timeout=5, sending=Sending())
    assert answer.status == 402
    assert body.startswith(answer.body)


@pytest.mark.parametrize(
    "answer",
    [
        Endless(OK + b"Content-Length: 100000\r\n\r\n", b" ", 1.0),
        Endless(OK + CHUNKED, b"1\r\n \r\n", 1.0),
        Endless(OK, b"X-More: 1\r\n", 1.0),
        Endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1),
    ],
)
async def test_an_answer_that_drips_ends_with_the_attempt(answer: Endless) -> None:
    """A byte a second is no sign of life."""
    loop = asyncio.get_running_loop()
    async with scripted(lambda _: answer) as service, transport_to(service) as transport:
        for sink in (None, _Nowhere()):
            began = loop.time()
            with pytest.raises(RequestTimeout):
                await transport.send(requests.list_tasks(), timeout=10, sending=Sending(), reader=sink)
            assert loop.time() - began < 12


@pytest.mark.parametrize("piece", [b"X-%d: " % 1 + b"y" * 1000 + b"\r\n", b"y" * 65536])
async def test_endless_headers_are_refused(piece: bytes) -> None:
    """Whether there are many, or one is long."""
    async with scripted(lambda _: Endless(OK + b"X: ", piece)) as service, transport_to(service) as transport:
        with pytest.raises(BadResponse, match="breaks the rules of HTTP"):
            await transport.send(requests.get_account(), timeout=5, sending=Sending())
    assert service.sent < IN_FLIGHT


async def test_any_good_status_fills_the_sink() -> None:
    """A proxy that has changed something on the way says 203."""
    told = {"tasks": [row("a", "PROGRESS")]}
    async with scripted(one_by_one([Reply(200, told), Reply(203, told)])) as service:
        async with transport_to(service) as transport:
            for status in (200, 203):
                reader = AllTasks()
                answer = await transport.send(requests.list_tasks(), timeout=5, sending=Sending(), reader=reader)
                reader.finish()
                assert (answer.status, len(reader.tasks)) == (status, 1)


async def test_what_a_server_says_breaks_no_line() -> None:
    """Its words are in the error, and in a log."""
    async with scripted(lambda _: Raw(b"HTTP/1.1 200 OK\r\n\x1b[31m evil\x07: \r\n\r\n")) as service:
        async with transport_to(service) as transport:
            with pytest.raises(BadResponse) as caught:
                await transport.send(requests.get_account(), timeout=5, sending=Sending())
    assert str(caught.value).isprintable()


async def test_a_closed_session_of_the_caller_is_named() -> None:
    """The caller's own mistake is told as one."""
    session = aiohttp.ClientSession()
    await session.close()
    transport = Transport(session, base_url="http://127.0.0.1:9", key=Secret(KEY), is_own=False)
    with pytest.raises(ConfigurationError, match="closed"):
        await transport.send(requests.list_tasks(), timeout=5, sending=Sending())


def aiohttp_errors() -> list[Exception]:
    """One of each exception class that aiohttp's client exports."""
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
def test_every_exception_of_aiohttp_lands_in_the_tree(error: Exception) -> None:
    """Nothing of aiohttp's reaches a user, and only what surely was not sent is said to be."""
    translated = _translate(error, requests.list_tasks())
    never_sent = (aiohttp.ClientConnectorError, aiohttp.InvalidURL, aiohttp.ConnectionTimeoutError)
    surely = isinstance(
        error,
        (*never_sent, aiohttp.ClientHttpProxyError, aiohttp.ServerFingerprintMismatch, aiohttp.ClientConnectorDNSError),
    )
    assert isinstance(translated, TransportError)
    assert translated.sent is not surely or isinstance(error, aiohttp.NonHttpUrlClientError)
