"""The receiver by itself, and in each framework behind a real server, with a client that only notes what it is told."""

from __future__ import annotations

import asyncio
import http.client
import logging
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from aivideomaker_async import AIVideoMaker, ConfigurationError, RateLimiter, TextToVideo
from aivideomaker_async._redaction import Secret
from aivideomaker_async.simulator import Simulator
from aivideomaker_async.webhooks import WebhookReceiver
from aivideomaker_async.webhooks import deliveries as webhook_ledger

pytestmark = pytest.mark.anyio

SECRET = "a secret that two workers share"
END = b'{"taskId": "ck1", "status": "COMPLETED"}'
NO_END = b'{"taskId": "ck1", "status": "PROGRESS"}'
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    """Bodies that never end are waited for; the tests are not."""
    return virtual_clock


class FakeClient:
    """What a receiver knows of a client. It notes what it is told."""

    def __init__(self, key: str = "ak_test") -> None:
        self._api = SimpleNamespace(settings=SimpleNamespace(key=Secret(key)), lifecycle=SimpleNamespace(closed=False))
        self.receivers: list[object] = []
        self.hints: list[tuple[str | None, bool]] = []
        self.shared: list[str] = []

    def _add_receiver(self, receiver: object) -> None:
        self.receivers.append(receiver)

    def _hint(self, task_id: str | None, *, urgent: bool) -> None:
        self.hints.append((task_id, urgent))

    def _share_hint(self, reference: str) -> None:
        self.shared.append(reference)


def receiver_of(client: FakeClient, url: str = "https://example.com/hooks", **options: Any) -> WebhookReceiver:
    return WebhookReceiver(cast("AIVideoMaker", client), url, **options)


@pytest.fixture
def client() -> FakeClient:
    """A client that only notes."""
    return FakeClient()


@pytest.fixture
def receiver(client: FakeClient) -> WebhookReceiver:
    """A receiver that is mounted nowhere."""
    return receiver_of(client)


# --- a server of no framework at all -------------------------------------------------------------


class Exchange:
    """One connection, as an ASGI server hands it to an application.

    Args:
        path: where to.
        pieces: the body. None stands for a sender that goes away, an exception for a server that is broken.
        scope: what else the server says.
    """

    def __init__(self, path: str, *pieces: bytes | Exception | None, **scope: object) -> None:
        self.scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "headers": [], **scope}
        self.pieces = list(pieces)
        self.reads = 0
        self.sent: list[dict[str, Any]] = []
        self.sending_fails: Exception | None = None

    async def receive(self) -> dict[str, object]:
        self.reads += 1
        if self.scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        if not self.pieces and self.reads > 1:
            await asyncio.Event().wait()
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message: dict[str, Any]) -> None:
        if self.sending_fails is not None:
            raise self.sending_fails
        self.sent.append(message)

    async def run(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> int:
        await app(self.scope, self.receive, self.send)
        return int(self.sent[0].get("status", 0)) if self.sent else 0


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


async def deliver(receiver: WebhookReceiver, url: str, body: bytes = END) -> int:
    return await Exchange(path_of(url), body).run(receiver)


# --- URLs ----------------------------------------------------------------------------------------


def test_a_url_is_the_public_one_with_a_token(receiver: WebhookReceiver) -> None:
    """A new one each time."""
    one, two = receiver.url_for(), receiver.url_for()
    assert one != two
    assert one.startswith("https://example.com/hooks/")
    assert len(one) == len(two) == len("https://example.com/hooks/") + 64


def test_the_url_of_a_reference_is_the_same_in_every_process(receiver: WebhookReceiver) -> None:
    """And after a restart; another for another reference, key or secret."""
    url = receiver.url_for("order 17")
    assert receiver_of(FakeClient()).url_for("order 17") == url
    others = [
        receiver.url_for("order 18"),
        receiver_of(FakeClient("ak_other")).url_for("order 17"),
        receiver_of(FakeClient(), secret=SECRET).url_for("order 17"),
    ]
    assert len({url, *others}) == 4
    assert "order" not in url


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), "\udcff" * 16])
async def test_workers_with_a_secret_of_their_own_agree(secret: str | bytes) -> None:
    """Whatever their keys are."""
    one, two = receiver_of(FakeClient("ak_one"), secret=secret), receiver_of(FakeClient("ak_two"), secret=secret)
    assert one.url_for("x") == two.url_for("x")
    assert await deliver(two, one.url_for()) == 200


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://example.com", "https://example.com/"),
        ("https://example.com/", "https://example.com/"),
        ("http://127.0.0.1:8080/a/b/", "http://127.0.0.1:8080/a/b/"),
        (" https://example.com/hooks\n", "https://example.com/hooks/"),
        ("http://[::1]:8080", "http://[::1]:8080/"),
    ],
)
def test_a_public_url_may_have_a_port_and_a_path(client: FakeClient, given: str, kept: str) -> None:
    """And a slash at its end, or not."""
    assert receiver_of(client, given).url_for().startswith(kept)


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "example.com/SECRETS",
        "ftp://example.com/SECRETS",
        "https:///SECRETS",
        "https://example.com/SECRETS?x=1",
        "https://example.com/SECRETS#x",
        "https://me:SECRETS@example.com",
        "https://example.com/SEC RETS",
        "https://exämple.com/SECRETS",
        "https://example.com:99999/SECRETS",
        None,
        7,
    ],
)
def test_a_public_url_that_is_none_is_refused(client: FakeClient, wrong: Any) -> None:
    """The message says what is allowed, and does not show what may be a secret."""
    with pytest.raises(ConfigurationError, match=r"^public_url: must be http\(s\)://host") as caught:
        receiver_of(client, wrong)
    assert "SECRETS" not in str(caught.value)
    assert caught.value.__context__ is None or "SECRETS" not in str(caught.value.__context__)
    assert client.receivers == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret": "too short"}, "secret: must be"),
        ({"secret": b""}, "secret: must be"),
        ({"secret": 10**20}, "secret: must be"),
        ({"largest_body": 0}, "largest_body=0"),
        ({"body_timeout": 0}, "body_timeout=0"),
    ],
)
def test_options_without_sense_are_refused(client: FakeClient, options: Mapping[str, Any], message: str) -> None:
    """At once, and a secret is not shown."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        receiver_of(client, **options)
    assert "too short" not in str(caught.value)


@pytest.mark.parametrize("reference", ["", 17, b"x"])
def test_a_reference_is_a_text(receiver: WebhookReceiver, reference: Any) -> None:
    """An empty one would be the same for every task that has none."""
    with pytest.raises(ConfigurationError, match="reference: must be a text"):
        receiver.url_for(reference)


# --- what a delivery does ------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "urgent"), [(END, True), (NO_END, False), (b"", True), (b"\xff", True)])
async def test_a_delivery_wakes_the_client(
    client: FakeClient, receiver: WebhookReceiver, body: bytes, urgent: bool
) -> None:
    """For its task, and as soon as the body says."""
    assert client.receivers == [receiver]
    url = receiver.url_for()
    receiver.bind(url, "ck1")
    assert await deliver(receiver, url, body) == 200
    assert client.hints == [("ck1", urgent)]
    assert client.shared == []
    assert (receiver.statistics().received, receiver.statistics().known) == (1, 1)


async def test_what_a_delivery_says_of_its_task_is_not_believed(client: FakeClient, receiver: WebhookReceiver) -> None:
    """The token tells which one it is."""
    url = receiver.url_for()
    receiver.bind(url, "ck-of-mine")
    await deliver(receiver, url, b'{"taskId": "ck-of-others", "status": "COMPLETED", "url": "http://127.0.0.1:1/"}')
    assert client.hints == [("ck-of-mine", True)]


@pytest.mark.parametrize("suffix", ["", "/", "?x=1", "#y"])
async def test_a_url_that_was_added_to_is_still_ours(
    client: FakeClient, receiver: WebhookReceiver, suffix: str
) -> None:
    """The client tells of every submit, with the URL that the user has passed to it."""
    url = receiver.url_for()
    assert receiver.bind(url + suffix, "ck1")
    await deliver(receiver, url)
    assert client.hints == [("ck1", True)]


async def test_urls_of_others_are_ignored(client: FakeClient, receiver: WebhookReceiver) -> None:
    """Those of other receivers, and those that are no receiver's."""
    other = receiver_of(FakeClient(), secret=SECRET)
    for url in (other.url_for(), "https://example.com/hooks", "https://example.com/hooks/", ""):
        assert not receiver.bind(url, "ck1")
    assert receiver.statistics().tasks == 0
    assert client.hints == []


async def test_a_delivery_before_the_answer_to_the_submit_is_kept(
    client: FakeClient, receiver: WebhookReceiver
) -> None:
    """It is told to the others and to the client as some task's, and to the task when that is known."""
    url = receiver.url_for()
    await deliver(receiver, url, NO_END)
    assert client.hints == [(None, False)]
    assert [hint.rpartition(":")[2] for hint in client.shared] == ["later"]
    receiver.bind(url, "ck1")
    assert client.hints == [(None, False), ("ck1", False)]
    receiver.bind(url, "ck1")
    assert len(client.hints) == 2
    statistics = receiver.statistics()
    assert (statistics.received, statistics.unknown, statistics.early, statistics.tasks) == (1, 1, 1, 1)


async def test_what_was_urgent_once_stays_urgent(client: FakeClient, receiver: WebhookReceiver) -> None:
    """Deliveries may overtake each other."""
    url = receiver.url_for()
    for body in (NO_END, END, NO_END):
        await deliver(receiver, url, body)
    receiver.bind(url, "ck1")
    assert client.hints[-1] == ("ck1", True)


async def test_a_task_that_has_ended_wakes_nobody(client: FakeClient, receiver: WebhookReceiver) -> None:
    """What still comes for it is taken, and that is all."""
    one, two = receiver.url_for(), receiver.url_for()
    receiver.bind(one, "ck1")
    receiver.bind(two, "ck1")
    receiver.release("ck1")
    receiver.release("ck1")
    receiver.release("ck-never-seen")
    assert await deliver(receiver, one) == await deliver(receiver, two) == 200
    assert client.hints == []
    assert client.shared == []
    assert (receiver.statistics().late, receiver.statistics().tasks) == (2, 0)


async def test_a_reference_that_is_used_again_means_the_newer_task(
    client: FakeClient, receiver: WebhookReceiver
) -> None:
    """After its first task has ended, or before."""
    url = receiver.url_for("order 17")
    receiver.bind(url, "ck1")
    receiver.bind(url, "ck2")
    receiver.release("ck1")
    await deliver(receiver, url)
    receiver.release("ck2")
    receiver.bind(url, "ck3")
    await deliver(receiver, url)
    assert client.hints == [("ck2", True), ("ck3", True)]


async def test_a_delivery_after_the_client_was_closed_is_taken(client: FakeClient, receiver: WebhookReceiver) -> None:
    """Nobody shall try again for ever; nothing else happens."""
    known, unknown = receiver.url_for(), receiver.url_for()
    receiver.bind(known, "ck1")
    client._api.lifecycle.closed = True
    assert await deliver(receiver, known) == await deliver(receiver, unknown) == 200
    assert client.hints == []
    assert client.shared == []


# --- several processes ---------------------------------------------------------------------------


async def test_a_delivery_at_another_worker_comes_to_the_one_that_waits() -> None:
    """By way of what the workers tell each other, which holds no token."""
    mine, others = FakeClient(), FakeClient()
    waiting, taking = receiver_of(mine), receiver_of(others)
    url = waiting.url_for()
    waiting.bind(url, "ck1")
    assert await deliver(taking, url, END) == await deliver(taking, url, NO_END) == 200
    assert others.hints == [(None, True), (None, False)]
    token = url.rpartition("/")[2]
    assert all(token not in hint for hint in others.shared)
    for hint in others.shared:
        waiting.resolve(hint)
        taking.resolve(hint)
    assert mine.hints == [("ck1", True), ("ck1", False)]
    assert mine.shared == []
    assert len(others.hints) == len(others.shared) == 2
    assert waiting.statistics().shared == 2


async def test_a_hint_of_another_worker_can_be_early_too() -> None:
    """It waits for the answer to the submit, and goes no further."""
    mine, others = FakeClient(), FakeClient()
    waiting, taking = receiver_of(mine), receiver_of(others)
    url = waiting.url_for("order 17")
    await deliver(taking, url)
    waiting.resolve(others.shared[0])
    assert mine.hints == []
    assert mine.shared == []
    waiting.bind(url, "ck1")
    assert mine.hints == [("ck1", True)]
    waiting.release("ck1")
    waiting.resolve(others.shared[0])
    assert len(mine.hints) == 1


@pytest.mark.parametrize("reference", ["", "nonsense", "00:urgent", "ck1"])
def test_a_hint_that_is_none_is_ignored(client: FakeClient, receiver: WebhookReceiver, reference: str) -> None:
    """Another version may tell something else."""
    receiver.resolve(reference)
    assert client.hints == []
    assert receiver.statistics().shared == 0


# --- floods --------------------------------------------------------------------------------------


async def test_what_is_remembered_is_bounded(
    client: FakeClient, receiver: WebhookReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go first, of tasks as of early deliveries."""
    monkeypatch.setattr(webhook_ledger, "MOST_TASKS", 3)
    monkeypatch.setattr(webhook_ledger, "MOST_EARLY", 2)
    early = [receiver.url_for() for _ in range(3)]
    for url in early:
        await deliver(receiver, url)
    client.hints.clear()
    for number, url in enumerate(early):
        receiver.bind(url, f"ck{number}")
    assert client.hints == [("ck1", True), ("ck2", True)]
    receiver.bind(receiver.url_for(), "ck2")
    assert receiver.statistics().tasks == 2
    receiver.release("ck1")
    await deliver(receiver, early[0])
    assert client.hints[-1] == (None, True)
    for number in range(10):
        receiver.bind(receiver.url_for(), f"new{number}")
    assert receiver.statistics().tasks == 3
    assert len(receiver._ledger._task_of) == 3


async def test_a_flood_of_wrong_tokens_is_not_read_and_not_logged(
    client: FakeClient, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Above DEBUG there is nothing at all."""
    with caplog.at_level(logging.INFO):
        for number in range(1000):
            exchange = Exchange(f"/hooks/{number:064x}", b"x" * 1000)
            assert await exchange.run(receiver) == 404
            assert exchange.reads == 0
    assert caplog.records == []
    assert client.hints == []
    assert receiver.statistics().refused == 1000
    assert receiver.statistics().received == 0


async def test_a_flood_of_replays_is_remembered_once(client: FakeClient, receiver: WebhookReceiver) -> None:
    """The client bounds what it does with the hints."""
    url = receiver.url_for()
    for _ in range(1000):
        assert await deliver(receiver, url) == 200
    assert len(receiver._ledger._early) == 1
    receiver.bind(url, "ck1")
    assert client.hints == [(None, True)] * 1000 + [("ck1", True)]
    assert receiver.statistics().early == 1


# --- secrets -------------------------------------------------------------------------------------


async def test_nothing_shows_a_token(
    client: FakeClient, receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """No repr, no log line at any level."""
    url, unknown = receiver.url_for(), receiver.url_for()
    with caplog.at_level(logging.DEBUG, logger="aivideomaker_async"):
        receiver.bind(url, "ck1")
        for where in (url, unknown, url[:-1], "https://example.com/hooks/"):
            await deliver(receiver, where)
        await Exchange(path_of(url), RuntimeError(url)).run(receiver)
    assert len(caplog.records) == 6
    shown = caplog.text + repr(receiver) + repr(receiver.statistics()) + repr(vars(receiver)["_secret"])
    for each in (url, unknown):
        token = each.rpartition("/")[2]
        assert token not in shown
        assert token[:32] not in shown


def test_the_repr_shows_the_host_only(client: FakeClient) -> None:
    """A path can be a secret, too."""
    receiver = receiver_of(client, "https://example.com:8443/SECRET/hooks", secret=SECRET)
    assert repr(receiver) == "<WebhookReceiver example.com>"


# --- bodies --------------------------------------------------------------------------------------


@pytest.fixture
def bound(receiver: WebhookReceiver) -> str:
    """The path of a delivery for the task ck1."""
    url = receiver.url_for()
    receiver.bind(url, "ck1")
    return path_of(url)


async def test_a_body_comes_in_pieces(client: FakeClient, receiver: WebhookReceiver, bound: str) -> None:
    """A word may be cut between two."""
    assert await Exchange(bound, b'{"status":"PROGR', b"", b'ESS","also":"COMPL', b'ETED"}').run(receiver) == 200
    assert await Exchange(bound, b'{"status":"PROGR', b'ESS"}').run(receiver) == 200
    assert client.hints == [("ck1", True), ("ck1", False)]


@pytest.mark.parametrize(("size", "status"), [(99, 200), (100, 200), (101, 413)])
@pytest.mark.parametrize("told", [True, False])
async def test_a_large_body_is_refused(client: FakeClient, size: int, status: int, told: bool) -> None:
    """Early when its length is told. That something has changed is known all the same."""
    receiver = receiver_of(client, largest_body=100)
    url = receiver.url_for()
    receiver.bind(url, "ck1")
    body = b"PROGRESS" + b" " * (size - 8)
    headers = [(b"host", b"x"), (b"Content-Length", str(size).encode())] if told else []
    exchange = Exchange(path_of(url), body[:60], body[60:], headers=headers)
    assert await exchange.run(receiver) == status
    assert exchange.reads == (0 if told and size > 100 else 2)
    assert client.hints == [("ck1", status == 413)]
    assert receiver.statistics().too_large == (status == 413)
    assert receiver.statistics().received == 1


async def test_a_length_that_is_none_is_not_believed(receiver: WebhookReceiver, bound: str) -> None:
    """What comes is counted."""
    assert await Exchange(bound, END, headers=[(b"content-length", b"nonsense")]).run(receiver) == 200


async def test_a_body_that_dribbles_in_is_waited_for_but_not_long(
    client: FakeClient, receiver: WebhookReceiver, bound: str
) -> None:
    """After two seconds it is answered without; what it would have said is not known."""
    exchange = Exchange(bound, NO_END)
    receive = exchange.receive

    async def dribble() -> dict[str, object]:
        return {**await receive(), "more_body": True}

    began = asyncio.get_running_loop().time()
    await receiver(exchange.scope, dribble, exchange.send)
    assert 1.9 < asyncio.get_running_loop().time() - began < 2.5
    assert exchange.sent[0]["status"] == 200
    assert client.hints == [("ck1", True)]


@pytest.mark.parametrize("trouble", [None, RuntimeError("the server is broken"), ConnectionResetError()])
async def test_a_sender_that_goes_away_is_no_error(
    client: FakeClient,
    receiver: WebhookReceiver,
    bound: str,
    trouble: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """While it sends, or before the answer: the delivery has come."""
    exchange = Exchange(bound, b'{"status":', trouble)
    exchange.sending_fails = BrokenPipeError()
    assert await exchange.run(receiver) == 0
    assert client.hints == [("ck1", True)]
    assert caplog.records == []


async def test_a_request_that_the_server_gives_up_has_come(
    client: FakeClient, receiver: WebhookReceiver, bound: str
) -> None:
    """The cancellation goes on, and leaves nothing behind."""
    exchange = Exchange(bound, NO_END)
    exchange.reads = 1
    exchange.pieces.clear()
    serving = asyncio.ensure_future(exchange.run(receiver))
    await asyncio.sleep(1)
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()
    assert client.hints == [("ck1", True)]


# --- other kinds of connections ------------------------------------------------------------------


async def test_websockets_are_refused(client: FakeClient, receiver: WebhookReceiver, bound: str) -> None:
    """Before they are accepted, with a right token or without."""
    exchange = Exchange(bound, type="websocket")
    await exchange.run(receiver)
    assert exchange.sent == [{"type": "websocket.close", "code": 1008}]
    assert client.hints == []


async def test_an_unknown_kind_of_connection_is_an_error(receiver: WebhookReceiver) -> None:
    """As ASGI has it, so that a server knows."""
    with pytest.raises(RuntimeError, match="serves http, not 'smtp'"):
        await Exchange("/", type="smtp").run(receiver)


async def test_the_lifespan_is_answered(receiver: WebhookReceiver) -> None:
    """Of a server that runs the receiver alone."""
    told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Mapping[str, object]] = []

    async def receive() -> Mapping[str, object]:
        return told.pop(0)

    async def send(message: Mapping[str, object]) -> None:
        sent.append(message)

    await receiver({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize(
    ("path", "root_path", "mine"),
    [
        ("/hooks/x", "", True),
        ("/hooks/x/y", "", True),
        ("/hooks", "", False),
        ("/hookshot/x", "", False),
        ("/api/hooks/x", "", False),
        ("/api/hooks/x", "/api", True),
        ("/hooks/x", "/api", True),
        ("/", "", False),
    ],
)
@pytest.mark.parametrize("spelled", ["/hooks", "hooks", "/hooks/"])
async def test_beside_another_application_it_gets_what_is_below_its_path(
    receiver: WebhookReceiver, path: str, root_path: str, mine: bool, spelled: str
) -> None:
    """And the other one gets the rest, the lifespan included."""
    served: list[str] = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["type"])

    app = receiver.beside(other, spelled)
    assert await Exchange(path, root_path=root_path).run(app) == (404 if mine else 0)
    assert served == ([] if mine else ["http"])
    await app({"type": "lifespan"}, None, None)
    assert served[-1] == "lifespan"


@pytest.mark.parametrize("path", ["", "/", "//", None])
def test_beside_another_application_it_needs_a_path(receiver: WebhookReceiver, path: Any) -> None:
    """Or nothing would be left for the other."""
    with pytest.raises(ConfigurationError, match="path: must be"):
        receiver.beside(receiver, path)


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
    """Which what is mounted hears nothing of; and a mount in a mount."""
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


ASGI = [
    bare,
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
    """A receiver behind a real server, and one who sends deliveries."""

    def __init__(self, client: FakeClient, receiver: WebhookReceiver, http: aiohttp.ClientSession, port: int) -> None:
        self.client = client
        self.receiver = receiver
        self.http = http
        self.port = port

    def bound_url(self) -> str:
        """The URL of the task ck1."""
        url = self.receiver.url_for()
        self.receiver.bind(url, "ck1")
        return url

    async def send(self, url: str, data: Any = None, *, method: str = "POST", **more: Any) -> tuple[int, bytes]:
        async with self.http.request(method, url, data=data, **more) as response:
            return response.status, await response.read()

    async def send_raw(self, text: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(text)
        await writer.drain()
        return reader, writer


@pytest.fixture(params=[*ASGI, run_aiohttp], ids=lambda build: build.__name__)
async def mounted(request: pytest.FixtureRequest, client: FakeClient) -> AsyncIterator[Mounted]:
    """A receiver in each of the frameworks."""
    with listen() as listening:
        port = listening.getsockname()[1]
        receiver = receiver_of(client, f"http://127.0.0.1:{port}/hooks")
        if request.param is run_aiohttp:
            running = run_aiohttp(receiver, listening)
        else:
            running = run_uvicorn(request.param(receiver), listening)
        async with running, aiohttp.ClientSession() as http:
            yield Mounted(client, receiver, http, port)


async def test_every_method_is_a_delivery(mounted: Mounted) -> None:
    """Since none is documented; a HEAD has no body."""
    url = mounted.bound_url()
    for method in METHODS:
        assert await mounted.send(url, method=method) == (200, b"" if method == "HEAD" else b"ok\n")
    assert mounted.client.hints == [("ck1", True)] * len(METHODS)


async def test_every_body_is_taken(mounted: Mounted) -> None:
    """JSON, a form, files, bytes, in pieces of unknown length."""

    async def chunks() -> AsyncIterator[bytes]:
        for piece in (b'{"status":', b'"PROG', b'RESS"}'):
            yield piece
            await asyncio.sleep(0.1)

    url = mounted.bound_url()
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
    for body, urgent in bodies:
        assert await mounted.send(url, body) == (200, b"ok\n")
        assert mounted.client.hints.pop() == ("ck1", urgent)
        assert mounted.client.hints == []


async def test_a_body_that_is_too_large_is_refused(mounted: Mounted) -> None:
    """Whether its length is told or not."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b" " * 30_000

    url = mounted.bound_url()
    assert await mounted.send(url, b" " * 65537) == (413, b"too large\n")
    assert await mounted.send(url, chunks()) == (413, b"too large\n")
    assert mounted.receiver.statistics().too_large == 2


async def test_a_wrong_token_is_not_found(mounted: Mounted) -> None:
    """No token, parts of one, another's, one with more behind it."""
    url = mounted.bound_url()
    head, _, token = url.rpartition("/")
    other = receiver_of(FakeClient("ak_other")).url_for().rpartition("/")[2]
    wrong = ["", token[:-1], token[:32], token[32:], token + "0", token.upper(), other, "0" * 64, "%00", "x" * 2000]
    for text in wrong:
        for method in ("GET", "POST"):
            status, _ = await mounted.send(f"{head}/{text}", method=method, allow_redirects=False)
            # Some frameworks answer for what is just above a mount.
            assert status in ({404} if text else {404, 307})
    assert mounted.client.hints == []
    assert mounted.receiver.statistics().received == 0


async def test_a_wrong_token_is_refused_before_the_body_comes(mounted: Mounted) -> None:
    """Who does not know the token gets no attention."""
    head = b"POST /hooks/%064d HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" % 0
    began = asyncio.get_running_loop().time()
    reader, writer = await mounted.send_raw(head)
    assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    assert asyncio.get_running_loop().time() - began < 1
    writer.close()


async def test_a_body_that_does_not_end_is_answered(mounted: Mounted) -> None:
    """After two seconds, also when it drips all the time."""
    path = path_of(mounted.bound_url()).encode()
    began = asyncio.get_running_loop().time()
    reader, writer = await mounted.send_raw(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" % path)

    async def drip() -> None:
        for _ in range(20):
            writer.write(b".")
            await asyncio.sleep(0.3)

    dripping = asyncio.create_task(drip())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    assert 1.9 < asyncio.get_running_loop().time() - began < 3
    assert mounted.client.hints == [("ck1", True)]
    dripping.cancel()
    writer.close()


async def test_a_sender_that_breaks_off_is_not_logged(mounted: Mounted, caplog: pytest.LogCaptureFixture) -> None:
    """Not as an error of anybody; the next one is served."""
    url = mounted.bound_url()
    text = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{" % path_of(url).encode()
    _, writer = await mounted.send_raw(text)
    await asyncio.sleep(0.5)
    writer.transport.abort()
    await asyncio.sleep(5)
    assert mounted.client.hints == [("ck1", True)]
    assert await mounted.send(url) == (200, b"ok\n")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_the_rest_of_the_application_is_as_it_was(mounted: Mounted, request: pytest.FixtureRequest) -> None:
    """Its own pages answer, and know nothing of deliveries."""
    status, body = await mounted.send(f"http://127.0.0.1:{mounted.port}/own", method="GET")
    alone = request.node.callspec.params["mounted"] is bare
    assert (status, body.strip(b'"')) == ((404, b"not found\n") if alone else (200, b"own"))


async def test_workers_take_each_others_deliveries(mounted: Mounted) -> None:
    """One has submitted, the other gets the delivery, early or not."""
    other = receiver_of(FakeClient(), f"http://127.0.0.1:{mounted.port}/hooks")
    for url in (other.url_for(), other.url_for("order 17")):
        assert await mounted.send(url, END) == (200, b"ok\n")
    assert mounted.client.hints == [(None, True)] * 2
    mounted.receiver.bind(url, "ck1")
    assert mounted.client.hints[2:] == [("ck1", True)]


async def test_many_deliveries_at_once(mounted: Mounted) -> None:
    """None is lost."""
    url = mounted.bound_url()
    answers = await asyncio.gather(*(mounted.send(url, NO_END) for _ in range(50)))
    assert set(answers) == {(200, b"ok\n")}
    assert mounted.client.hints == [("ck1", False)] * 50


async def test_a_websocket_is_refused_by_a_real_server(
    mounted: Mounted, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with an error of the server. To aiohttp.web it is a GET until a handler says otherwise."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await mounted.http.ws_connect(mounted.bound_url())
    expected = 200 if request.node.callspec.params["mounted"] is run_aiohttp else 403
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


def test_the_server_may_run_in_another_thread(client: FakeClient, receiver: WebhookReceiver) -> None:
    """Than the client, which tells of its tasks while deliveries come."""
    urls = [receiver.url_for() for _ in range(100)]

    def bind_all() -> None:
        for url in urls:
            receiver.bind(url, url[-9:])

    with run_in_thread(receiver) as port:
        binding = threading.Thread(target=bind_all)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        binding.start()
        for url in urls:
            connection.request("POST", path_of(url), NO_END)
            response = connection.getresponse()
            assert (response.status, response.read()) == (200, b"ok\n")
        binding.join()
        connection.close()
    assert {task_id for task_id, _ in client.hints} - {None} == {url[-9:] for url in urls}


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
            statistics = receiver.statistics()
            assert {delivery.answer for delivery in service.deliveries} == {200}
            assert statistics.known + statistics.late == statistics.received == len(service.deliveries) >= 3
            assert (statistics.unknown, statistics.refused, statistics.tasks) == (0, 0, 0)


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
