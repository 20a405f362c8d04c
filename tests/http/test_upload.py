"""The body of a request: how long it may take, and that nothing of one that is given up arrives later."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import aiohttp
import pytest
import trustme

from aivideomaker_async._http import Sending, get_status
from aivideomaker_async._http.connections import open_session
from aivideomaker_async._http.gate import Deadline
from aivideomaker_async._http.transport import Transport
from aivideomaker_async._http.upload import Upload
from aivideomaker_async._redaction import Secret
from aivideomaker_async.errors import ConnectFailed, Disconnected, RequestTimeout, TransportError
from tests.support.api import KEY, BytesBody, submit_request
from tests.support.scripted import Reply, one_by_one, scripted

pytestmark = pytest.mark.anyio

TIMEOUT_S: Final = 30.0

TEXT: Final = BytesBody(b'{"prompt": ', b'"It snows."}')
IMAGE: Final = BytesBody(b'{"image": "', *[bytes(64 * 1024)] * 32, b'"}')
LARGE: Final = BytesBody(b'{"image": "', *[bytes(64 * 1024)] * 256, b'"}')
"""More than all buffers between a client and a server on loopback hold."""


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


class SlowService:
    """A server that takes bodies slowly, and answers each whole one.

    Args:
        seconds: how long a piece of 64 KiB takes.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.reads = asyncio.Event()
        self.reads.set()
        self.taken: list[int] = []
        """The bytes of the body that came on each connection that has ended."""
        self.ended: list[str] = []
        """How each connection has ended: "FIN" or "RST"."""
        self.whole = 0
        """Whole requests that came."""
        self.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken, length = 0, -1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            while taken < length:
                await self.reads.wait()
                piece = await reader.read(min(length - taken, 64 * 1024))
                if not piece:
                    break
                taken += len(piece)
                await asyncio.sleep(self.seconds * len(piece) / 65536)
            if taken == length:
                self.whole += 1
                writer.write(self.answer)
                await writer.drain()
            self.ended.append("RST" if await reader.read() else "FIN")
        except ConnectionError:
            self.ended.append("RST")
        except asyncio.IncompleteReadError:
            self.ended.append("FIN")
        finally:
            self.taken.append(taken)
            writer.transport.abort()


AUTHORITY: Final = trustme.CA()


@asynccontextmanager
async def serving(
    service: SlowService, session_of: str, *, middleware: aiohttp.ClientMiddlewareType | None = None
) -> AsyncIterator[Transport]:
    """Start the service, and yield a transport to it.

    Args:
        service: the service.
        session_of: "own", "caller" or "caller, TLS".
        middleware: for a caller's session.
    """
    listening = socket.socket()
    # Small, so that a body stays at the client while the service does not read.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    tls = None
    if "TLS" in session_of:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("127.0.0.1").configure_cert(tls)
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(service.serve, sock=listening, ssl=tls, limit=4096)
        stack.callback(server.close)
        url = f"{'http' if tls is None else 'https'}://127.0.0.1:{listening.getsockname()[1]}"
        if session_of == "own":
            session = open_session(Secret(KEY), keep=False)
        else:
            trusting = ssl.create_default_context()
            AUTHORITY.configure_trust(trusting)
            connector = aiohttp.TCPConnector(ssl=trusting)
            session = aiohttp.ClientSession(connector=connector, middlewares=[middleware] if middleware else [])
        await stack.enter_async_context(session)
        yield Transport(session, origin=url, key=Secret(KEY), is_own=session_of == "own")
        await asyncio.sleep(100)


async def send(transport: Transport, body: BytesBody, sending: Sending, deadline: Deadline | None = None) -> int:
    request = submit_request(body=body)
    answer = await transport.send(request, timeout=TIMEOUT_S, sending=sending, deadline=deadline)
    return answer.status


SESSIONS = ["own", "caller", "caller, TLS"]


@pytest.fixture(params=SESSIONS)
def session_of(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- how long it may take ----------------------------------------------------------------------------


async def test_an_upload_runs_as_long_as_bytes_are_taken(session_of: str) -> None:
    """A slow line needs minutes; then the answer gets all the time of an attempt. The connection ends in peace."""
    service, sending = SlowService(seconds=2.0), Sending()
    loop = asyncio.get_running_loop()
    async with serving(service, session_of) as transport:
        began = loop.time()
        assert await send(transport, LARGE, sending) == 200
        assert loop.time() - began > 10 * TIMEOUT_S
    assert service.whole == 1
    assert service.ended == ["FIN"]
    assert not sending.may_still_arrive


async def test_what_is_in_the_queue_of_the_kernel_counts_as_on_its_way() -> None:
    """All was handed over at once, and leaves slowly: the answer cannot come before that."""
    service, sending = SlowService(seconds=5.0), Sending()
    async with serving(service, "own") as transport:
        assert await send(transport, IMAGE, sending) == 200
    assert service.whole == 1


async def test_an_upload_that_stands_still_is_given_up(session_of: str) -> None:
    """Less than the whole body is no order: nothing can have been created. The error shows how far it got."""
    service, sending = SlowService(), Sending()
    service.reads.clear()
    async with serving(service, session_of) as transport:
        with pytest.raises(RequestTimeout, match=rf"sent \d+ of {len(LARGE)} bytes") as caught:
            await send(transport, LARGE, sending)
        service.reads.set()
    assert not caught.value.sent
    assert not sending.sent
    assert service.whole == 0


@pytest.mark.parametrize(("is_default", "seconds"), [(True, 512.0), (False, 100.0)])
async def test_a_limit_of_the_caller_also_holds_for_an_upload(is_default: bool, seconds: float) -> None:
    """Only where none was set the upload takes as long as it makes progress, and the call goes on after it."""
    service, sending = SlowService(seconds=2.0), Sending()
    loop = asyncio.get_running_loop()
    async with serving(service, "own") as transport:
        began = loop.time()
        deadline = Deadline(100.0, began, is_default=is_default)
        if is_default:
            assert await send(transport, LARGE, sending, deadline) == 200
        else:
            with pytest.raises(RequestTimeout):
                await send(transport, LARGE, sending, deadline)
        assert loop.time() - began == pytest.approx(seconds, rel=0.1)
        assert (deadline.left(loop.time()) > TIMEOUT_S / 2) is is_default
    assert service.whole == is_default


# --- what is given up --------------------------------------------------------------------------------


async def cancel(call: asyncio.Task[int], _: Transport) -> None:
    call.cancel()


async def close(_: asyncio.Task[int], transport: Transport) -> None:
    transport.end()


async def time_out(call: asyncio.Task[int], _: Transport) -> None:
    await asyncio.wait([call])


@pytest.mark.parametrize("body", [TEXT, IMAGE, LARGE], ids=["text", "image", "large image"])
@pytest.mark.parametrize("give_up", [cancel, close, time_out])
async def test_nothing_of_a_body_that_was_given_up_arrives_later(
    give_up: Callable[[asyncio.Task[int], Transport], Awaitable[None]], body: BytesBody, session_of: str
) -> None:
    """The service reads on only after that, as when a network is back. What it has by then may be a whole order."""
    service, sending = SlowService(), Sending()
    service.reads.clear()
    async with serving(service, session_of) as transport:
        call = asyncio.ensure_future(send(transport, body, sending))
        await asyncio.sleep(1)
        await give_up(call, transport)
        with pytest.raises((asyncio.CancelledError, TransportError)):
            await call
        service.reads.set()
        await asyncio.sleep(100)
    assert sending.sent is (body is not LARGE)
    assert not sending.may_still_arrive
    if body is not TEXT:
        assert service.whole == 0
        assert service.taken[0] < len(body)


async def test_without_access_to_the_socket_it_may_still_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some event loop lends it to nobody. Then this is known, and no lost submit counts as not created."""
    monkeypatch.setattr(Upload, "_socket", lambda _: None)
    service = SlowService()
    service.reads.clear()
    async with serving(service, "own") as transport:
        for body, may_still_arrive in ((TEXT, True), (LARGE, False)):
            sending = Sending()
            with pytest.raises(RequestTimeout):
                await send(transport, body, sending)
            assert sending.may_still_arrive is may_still_arrive


async def test_a_connection_that_breaks_in_the_middle_of_a_body_has_sent_no_order(session_of: str) -> None:
    service, sending = SlowService(), Sending()
    service.reads.clear()
    async with serving(service, session_of) as transport:
        call = asyncio.ensure_future(send(transport, LARGE, sending))
        await asyncio.sleep(1)
        # What it has not read makes the end of its side a reset.
        for task in asyncio.all_tasks():
            if "serve" in repr(task.get_coro()):
                task.cancel()
        with pytest.raises(Disconnected, match=r"sent \d+ of") as caught:
            await call
    assert not caught.value.sent
    assert not sending.sent


# --- sessions of callers -----------------------------------------------------------------------------


class ProxyError(Exception):
    """What is raised by a package that aiohttp does not know."""


async def test_an_error_of_any_kind_before_the_connection_is_no_order() -> None:
    """Connectors, resolvers and middlewares raise what they like. The cause is kept."""

    async def refuse(*_: object) -> aiohttp.ClientResponse:
        raise ProxyError("the proxy is away")

    sending = Sending()
    async with serving(SlowService(), "caller", middleware=refuse) as transport:
        with pytest.raises(ConnectFailed, match="the proxy is away") as caught:
            await send(transport, TEXT, sending)
    assert isinstance(caught.value.__cause__, ProxyError)
    assert not sending.sent


async def test_an_error_of_any_kind_after_the_body_is_a_lost_answer() -> None:
    async def check(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        await handler(request)
        raise ProxyError("a wrong signature")

    service, sending = SlowService(), Sending()
    async with serving(service, "caller", middleware=check) as transport:
        with pytest.raises(Disconnected, match="a wrong signature") as caught:
            await send(transport, TEXT, sending)
    assert caught.value.sent
    assert sending.sent


async def test_a_middleware_repeats_no_order() -> None:
    """The first one was answered with 503, and may have been created."""

    async def retry(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        response = await handler(request)
        return response if response.status < 500 else await handler(request)

    service, sending = SlowService(), Sending()
    service.answer = b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n"
    async with serving(service, "caller", middleware=retry) as transport:
        with pytest.raises(Disconnected) as caught:
            await send(transport, TEXT, sending)
    assert caught.value.__cause__ is not None
    assert "must not be repeated by a middleware" in str(caught.value.__cause__.__cause__)
    assert sending.sent
    assert service.whole == 1


async def test_no_other_request_travels_on_the_connection_of_an_order() -> None:
    """To cut it off must hurt nothing else of the caller's session."""
    answers = [Reply(503), Reply(200, {"status": "PROGRESS"})]
    async with scripted(one_by_one(answers)) as service, aiohttp.ClientSession() as session:
        transport = Transport(session, origin=service.url, key=Secret(KEY), is_own=False)
        assert await send(transport, TEXT, Sending()) == 503
        assert (await transport.send(get_status("ck1"), timeout=5, sending=Sending())).status == 200
    assert [item.connection for item in service.arrivals] == [1, 2]
