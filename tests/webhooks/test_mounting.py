"""The receiver in each framework behind a real server, and with a real client and a service."""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from aivideomaker_async import AIVideoMaker, RateLimiter, TextToVideo
from aivideomaker_async.simulator import Simulator
from aivideomaker_async.webhooks import WebhookReceiver, WebhookStatistics
from tests.support.hooks import END, NO_END, FakeClient, path_of, receiver_of

pytestmark = pytest.mark.anyio

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    """Bodies that never end are waited for; the tests are not."""
    return virtual_clock


# --- frameworks ----------------------------------------------------------------------------------


def bare(receiver: WebhookReceiver) -> Any:
    return receiver


def fastapi_mount(receiver: WebhookReceiver) -> Any:
    from fastapi import FastAPI

    app = FastAPI()
    app.mount("/hooks", receiver)
    app.add_api_route("/own", lambda: "own")
    return app


def fastapi_behind_middleware(receiver: WebhookReceiver) -> Any:
    """With one of the kind that wraps what the receiver reads and sends."""
    from fastapi import FastAPI
    from starlette.middleware.base import BaseHTTPMiddleware

    app = fastapi_mount(receiver)
    assert isinstance(app, FastAPI)
    app.add_middleware(BaseHTTPMiddleware, dispatch=lambda request, call_next: call_next(request))
    return app


def starlette_mount(receiver: WebhookReceiver) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    return Starlette(routes=[Mount("/hooks", receiver), Route("/own", lambda _: PlainTextResponse("own"))])


def starlette_with_a_lifespan(receiver: WebhookReceiver) -> Any:
    """Of which a mounted application is not notified; and a mount in a mount."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.text = "own"
        yield

    inner = Starlette(routes=[Mount("/", receiver)])
    own = Route("/own", lambda request: PlainTextResponse(request.app.state.text))
    return Starlette(routes=[Mount("/hooks", inner), own], lifespan=lifespan)


def starlette_route(receiver: WebhookReceiver) -> Any:
    """With the token as a parameter of the path."""
    from starlette.applications import Starlette
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    own = Route("/own", lambda _: PlainTextResponse("own"))
    return Starlette(routes=[Route("/hooks/{token}", receiver), own])


def litestar_mount(receiver: WebhookReceiver) -> Any:
    from litestar import Litestar, asgi, get

    hooks = asgi("/hooks", is_mount=True, copy_scope=True)(receiver)

    @get("/own", sync_to_thread=False)
    def own() -> str:
        return "own"

    return Litestar([hooks, own], openapi_config=None, logging_config=None)


def litestar_function(receiver: WebhookReceiver) -> Any:
    """As Litestar's own documentation mounts applications."""
    from litestar import Litestar, asgi, get
    from litestar.types import Receive, Scope, Send

    @asgi("/hooks", is_mount=True, copy_scope=True)
    async def hooks(scope: Scope, receive: Receive, send: Send) -> None:
        await receiver(scope, receive, send)

    @get("/own", sync_to_thread=False)
    def own() -> str:
        return "own"

    return Litestar([hooks, own], openapi_config=None, logging_config=None)


def quart_beside(receiver: WebhookReceiver) -> Any:
    from quart import Quart

    app = Quart("tests")

    @app.get("/own")
    async def own() -> str:
        return "own"

    return receiver.beside(app, "/hooks")


def quart_inside(receiver: WebhookReceiver) -> Any:
    """As Quart's own documentation wraps applications."""
    from quart import Quart

    app = Quart("tests")

    @app.get("/own")
    async def own() -> str:
        return "own"

    app.asgi_app = receiver.beside(app.asgi_app, "/hooks")  # type: ignore[assignment, method-assign]
    return app


def quart_dispatched(receiver: WebhookReceiver) -> Any:
    """By the middleware that comes with Quart's server."""
    from hypercorn.middleware import DispatcherMiddleware
    from quart import Quart

    app = Quart("tests")

    @app.get("/own")
    async def own() -> str:
        return "own"

    return DispatcherMiddleware({"/hooks": receiver, "": app})


def django_beside(receiver: WebhookReceiver) -> Any:
    from django.conf import settings  # type: ignore[import-untyped]

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None, SECRET_KEY="x", ROOT_URLCONF=__name__)
    from django.core.asgi import get_asgi_application  # type: ignore[import-untyped]
    from django.http import HttpRequest, HttpResponse  # type: ignore[import-untyped]
    from django.urls import path  # type: ignore[import-untyped]

    async def own(_: HttpRequest) -> HttpResponse:
        return HttpResponse("own")

    # Where Django looks for the paths of a project.
    globals()["urlpatterns"] = [path("own", own)]
    return receiver.beside(get_asgi_application(), "/hooks")


def in_aiohttp(receiver: WebhookReceiver) -> Any:
    """By `run_aiohttp`, since aiohttp.web has a server of its own."""
    raise NotImplementedError


FRAMEWORKS = [
    fastapi_mount,
    fastapi_behind_middleware,
    starlette_mount,
    starlette_with_a_lifespan,
    starlette_route,
    litestar_mount,
    litestar_function,
    quart_beside,
    quart_inside,
    quart_dispatched,
    django_beside,
    in_aiohttp,
]


def listen() -> socket.socket:
    """A socket on loopback whose connections send at once, and not when the other side has acknowledged."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


class Server(uvicorn.Server):
    """Uvicorn in the loop that runs it."""

    def __init__(self, app: Any, ready: Callable[[], None]) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=5))
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


@asynccontextmanager
async def run_uvicorn(app: Any, listening: socket.socket) -> AsyncIterator[None]:
    ready = asyncio.Event()
    server = Server(app, ready.set)
    serving = asyncio.create_task(server.serve([listening]))
    await ready.wait()
    yield
    server.should_exit = True
    await serving


@asynccontextmanager
async def run_aiohttp(receiver: WebhookReceiver, listening: socket.socket) -> AsyncIterator[None]:
    async def own(_: web.Request) -> web.Response:
        return web.Response(text="own")

    app = web.Application()
    app.router.add_route("*", "/hooks/{token}", receiver.handle_aiohttp)
    app.router.add_get("/own", own)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    yield
    await runner.cleanup()


class Mounted:
    """A receiver behind a real server, and a client that sends deliveries to it."""

    def __init__(self, client: FakeClient, receiver: WebhookReceiver, http: aiohttp.ClientSession, port: int) -> None:
        self.client = client
        self.receiver = receiver
        self.http = http
        self.port = port

    async def send(self, url: str, data: Any = None, *, method: str = "POST", **more: Any) -> tuple[int, bytes]:
        async with self.http.request(method, url, data=data, **more) as response:
            return response.status, await response.read()

    async def send_raw(self, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text)
        await writer.drain()
        return reader, writer


@asynccontextmanager
async def mounted_in(build: Callable[[WebhookReceiver], Any]) -> AsyncIterator[Mounted]:
    client = FakeClient()
    with listen() as listening:
        port = listening.getsockname()[1]
        receiver = receiver_of(client, f"http://127.0.0.1:{port}/hooks")
        running = run_aiohttp(receiver, listening) if build is in_aiohttp else run_uvicorn(build(receiver), listening)
        async with running, aiohttp.ClientSession() as http:
            yield Mounted(client, receiver, http, port)


@pytest.fixture(params=[bare, in_aiohttp], ids=lambda build: build.__name__)
async def mounted(request: pytest.FixtureRequest) -> AsyncIterator[Mounted]:
    """A receiver as an ASGI application, and one as a handler of aiohttp.web."""
    async with mounted_in(request.param) as mounted:
        yield mounted


@pytest.mark.parametrize("build", FRAMEWORKS, ids=lambda build: build.__name__)
async def test_a_delivery_arrives_in_every_framework(build: Callable[[WebhookReceiver], Any]) -> None:
    """Its body in pieces, by any method; a wrong token and the pages of the application are answered as they should."""

    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b'{"status":', b'"PROG', b'RESS"}'):
            yield piece
            await asyncio.sleep(0.1)

    async with mounted_in(build) as mounted:
        url = mounted.receiver.url_for()
        assert await mounted.send(url, chunks()) == (200, b"ok\n")
        assert await mounted.send(url, method="GET") == (200, b"ok\n")
        assert mounted.client.wakes == [False, True]
        assert await mounted.send(url, b" " * 65537) == (413, b"too large\n")
        assert (await mounted.send(url[:-1]))[0] == 404
        status, body = await mounted.send(f"http://127.0.0.1:{mounted.port}/own", method="GET")
        assert (status, body.strip(b'"')) == (200, b"own")


async def test_every_method_is_a_delivery(mounted: Mounted) -> None:
    """Since none is documented; a HEAD has no body."""
    url = mounted.receiver.url_for()
    for method in METHODS:
        assert await mounted.send(url, method=method) == (200, b"" if method == "HEAD" else b"ok\n")
    assert mounted.client.wakes == [True] * len(METHODS)


async def test_every_body_is_taken(mounted: Mounted) -> None:
    """JSON, a form, files, bytes, in pieces of unknown length."""

    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b'{"status":', b'"PROG', b'RESS"}'):
            yield piece
            await asyncio.sleep(0.1)

    url = mounted.receiver.url_for()
    form = aiohttp.FormData({"status": "PROGRESS"})
    files = aiohttp.FormData()
    files.add_field("status", "COMPLETED", filename="x.txt")
    bodies: list[tuple[Any, bool]] = [
        (b"", True),
        (NO_END, False),
        (END, True),
        (form, False),
        (files, True),
        (bytes(range(256)) * 100, True),
        (chunks(), False),
        (b" " * 65536, True),
    ]
    for body, is_end in bodies:
        assert await mounted.send(url, body) == (200, b"ok\n")
        assert mounted.client.wakes.pop() is is_end
        assert mounted.client.wakes == []


async def test_a_body_that_is_too_large_is_refused(mounted: Mounted) -> None:
    """Whether its length is announced or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 30_000

    url = mounted.receiver.url_for()
    assert await mounted.send(url, b" " * 65537) == (413, b"too large\n")
    assert await mounted.send(url, chunks()) == (413, b"too large\n")
    assert mounted.receiver.statistics().too_large == 2


async def test_a_wrong_token_is_not_found(mounted: Mounted) -> None:
    """No token, parts of one, another's, one with more behind it."""
    url = mounted.receiver.url_for()
    head, _, token = url.rpartition("/")
    other = receiver_of(FakeClient("ak_other")).url_for().rpartition("/")[2]
    wrong = ["", token[:-1], token[:32], token[32:], token + "0", token.upper(), other, "0" * 64, "%00", "x" * 2000]
    for text in wrong:
        for method in ("GET", "POST"):
            status, _ = await mounted.send(f"{head}/{text}", method=method, allow_redirects=False)
            # Some frameworks answer for what is just above a mount.
            assert status in ({404} if text else {404, 307})
    assert mounted.client.wakes == []
    assert mounted.receiver.statistics().received == 0


async def test_a_wrong_token_is_refused_before_the_body_comes(mounted: Mounted) -> None:
    """A sender without the token gets no attention."""
    head = b"POST /hooks/%064d HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" % 0
    began = asyncio.get_running_loop().time()
    reader, writer = await mounted.send_raw(head)
    assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    assert asyncio.get_running_loop().time() - began < 1
    writer.close()


async def test_a_body_that_does_not_end_is_answered(mounted: Mounted) -> None:
    """After two seconds, also when it drips all the time."""
    path = path_of(mounted.receiver.url_for()).encode()
    began = asyncio.get_running_loop().time()
    reader, writer = await mounted.send_raw(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" % path)

    async def drip() -> None:
        for _ in range(20):
            writer.write(b".")
            await asyncio.sleep(0.3)

    dripping = asyncio.create_task(drip())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert 1.9 < asyncio.get_running_loop().time() - began < 3
    assert mounted.client.wakes == [True]
    dripping.cancel()
    writer.close()


async def test_a_sender_that_breaks_off_is_not_logged(mounted: Mounted, caplog: pytest.LogCaptureFixture) -> None:
    """Not as an error of anybody; the next one is served."""
    url = mounted.receiver.url_for()
    text = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{" % path_of(url).encode()
    _, writer = await mounted.send_raw(text)
    await asyncio.sleep(0.5)
    writer.transport.abort()
    await asyncio.sleep(5)
    assert mounted.client.wakes == [True]
    assert await mounted.send(url) == (200, b"ok\n")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_many_deliveries_at_once(mounted: Mounted) -> None:
    """None is lost."""
    url = mounted.receiver.url_for()
    answers = await asyncio.gather(*(mounted.send(url, NO_END) for _ in range(50)))
    assert set(answers) == {(200, b"ok\n")}
    assert mounted.client.wakes == [False] * 50


async def test_a_websocket_is_refused_by_a_real_server(
    mounted: Mounted, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with an error of the server. To aiohttp.web it is a GET, unless a handler upgrades it."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await mounted.http.ws_connect(mounted.receiver.url_for())
    expected = 200 if request.node.callspec.params["mounted"] is in_aiohttp else 403
    assert caught.value.status == expected
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- another thread ------------------------------------------------------------------------------


@contextmanager
def run_in_thread(app: Any) -> Iterator[int]:
    """A server in a thread and loop of its own; gives its port."""
    ready = threading.Event()
    with listen() as listening:
        server = Server(app, ready.set)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
        thread.start()
        assert ready.wait(10)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join()


def test_the_server_may_run_in_another_thread() -> None:
    """Than the client."""
    client = FakeClient()
    receiver = receiver_of(client)
    with run_in_thread(receiver) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for _ in range(20):
            connection.request("POST", path_of(receiver.url_for()), NO_END)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"ok\n")
        connection.close()
    assert client.wakes == [False] * 20


# --- with a real client and a service ------------------------------------------------------------


@asynccontextmanager
async def real_receiver(service: Simulator) -> AsyncIterator[tuple[AIVideoMaker, WebhookReceiver]]:
    """A client of `service`, with a receiver that the service reaches."""
    async with AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter()) as maker:
        with listen() as listening:
            receiver = WebhookReceiver(maker, f"http://127.0.0.1:{listening.getsockname()[1]}")
            async with run_uvicorn(receiver, listening):
                yield maker, receiver


SPEC = TextToVideo(prompt="a boat", aspect_ratio="16:9", duration=5)


async def test_the_end_of_a_task_is_known_when_its_webhook_comes() -> None:
    """Not only when the next poll is due."""
    async with Simulator(seed=1, durations=(40.0, 1000.0), render=False) as service:
        async with real_receiver(service) as (maker, receiver):
            loop = asyncio.get_running_loop()
            tasks = [await maker.submit(SPEC, webhook_url=receiver.url_for(name)) for name in ("one", "two")]
            for task in tasks:
                waiting = asyncio.ensure_future(task.result())
                await asyncio.sleep(173)
                finished_at = loop.time()
                service.finish(task.id)
                assert (await waiting).id == task.id
                assert loop.time() - finished_at < 0.5
            await asyncio.sleep(1)
            assert {delivery.answer for delivery in service.deliveries} == {200}
            assert receiver.statistics() == WebhookStatistics(received=len(service.deliveries))
            assert len(service.deliveries) >= 3


async def test_without_deliveries_the_end_of_a_task_is_known_all_the_same() -> None:
    """As when a firewall keeps them away."""
    async with Simulator(seed=1, durations=(20.0, 100.0), render=False) as service:
        async with real_receiver(service) as (maker, receiver):
            nowhere = receiver.url_for().replace(receiver.url_for()[:-65], "http://127.0.0.1:1")
            task = await maker.submit(SPEC, webhook_url=nowhere)
            assert (await task.result()).id == task.id
            assert receiver.statistics().received == 0


async def test_nothing_that_a_client_shows_has_a_webhook_url(caplog: pytest.LogCaptureFixture) -> None:
    """No log line of any level, no repr of a handle or a client."""
    async with Simulator(seed=1, render=False) as service:
        async with real_receiver(service) as (maker, receiver):
            url = receiver.url_for()
            with caplog.at_level(logging.DEBUG, logger="aivideomaker_async"):
                task = await maker.submit(SPEC, webhook_url=url)
                await task.result()
            ours = [record for record in caplog.records if record.name.startswith("aivideomaker_async")]
            shown = "".join(record.getMessage() for record in ours if ".simulator" not in record.name)
            assert task.id in shown
            assert url.rpartition("/")[2] not in shown + repr(task) + repr(maker) + repr(task.submitted)
