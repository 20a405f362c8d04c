"""The key goes to one place, and no key, token or image is ever shown, wherever a call breaks.

Each call is broken in each place, and a probe looks at all that a crash report, a log or a pickle could show. An image
may stand in local variables of frames, where the caller's own frames have it as well.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import pickle
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    APIError,
    ConfigurationError,
    ConnectFailed,
    HostRateLimiter,
    ImageToVideo,
    InvalidSpec,
    RateLimiter,
    RetryPolicy,
    StatusBoard,
    SubmitOutcomeUnknown,
    TaskFailed,
    TextToVideo,
)
from aivideomaker_async._http import Request
from aivideomaker_async._redaction import HiddenText, Secret
from aivideomaker_async.webhooks import WebhookReceiver
from tests.support.pictures import PNG
from tests.support.prying import assert_hidden, frames_behind, frames_of, locals_of, texts_of, texts_within
from tests.support.scripted import Action, Arrival, Drop, Handler, Hang, Raw, Reply, ScriptedService, row, scripted

pytestmark = pytest.mark.anyio

# Secrets stand here and in expressions alone, so that no local variable of a test holds one.
KEY = "ak_Zq7Lw0Xv3Rt9Mb5Kd1Hs" * 6
TOKEN = "tok_Uy2Nc8Jf4Ge6Pa"
HOOK = f"https://me.example/{TOKEN}/hook?sig={TOKEN}"
RECEIVER_SECRET = "rs_Wk3Vn7Qx1Lz5Tb9Yd"
SIGNATURE = "Sg_Qw8Er5Ty2Ui9Op"
SIGNED = f"https://b.example/a.png?X-Signature={SIGNATURE}"
IMAGE = "data:image/png;base64," + base64.b64encode(PNG).decode()
KEYS = (KEY, TOKEN, RECEIVER_SECRET)
SECRETS = (*KEYS, SIGNATURE, base64.b64encode(PNG).decode())

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)

CALLS: dict[str, Callable[[AIVideoMaker], Awaitable[Any]]] = {
    "get_status": lambda client: client.get_status("ck1"),
    "get_task": lambda client: client.get_task("ck1"),
    "list_tasks": lambda client: client.list_tasks(),
    "submit": lambda client: client.submit(
        ImageToVideo(image=IMAGE, duration=5), webhook_url=HOOK, idempotency_key="key-of-this-submit"
    ),
    "submit by name": lambda client: client.submit("new", {"image": IMAGE}, webhook_url=HOOK),
    "generate": lambda client: client.generate(("new", {"image": IMAGE}), webhook_url=HOOK),
    "generate_many": lambda client: first_of_many(client),
    "cancel": lambda client: client.cancel("ck1"),
    "account": lambda client: client.account(),
    "quote": lambda client: client.quote(("new", {"image": IMAGE})),
    "result": lambda client: client.task("ck1").result(),
    "watch": lambda client: anext(aiter(client.task("ck1"))),
}


async def first_of_many(client: AIVideoMaker) -> object:
    async with client.generate_many([("new", {"image": IMAGE})]) as outcomes:
        return (await anext(outcomes)).unwrap()


class CallersRequest(aiohttp.ClientRequest):
    """A request class of the caller's."""


@asynccontextmanager
async def callers_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session of the caller, with a request class and traces that look at all they get."""
    trace, seen = aiohttp.TraceConfig(), list[str]()

    async def look(session: object, context: SimpleNamespace, parameters: Any) -> None:
        await asyncio.sleep(0)
        seen.append(f"{vars(context)} {parameters.headers!r}")

    trace.on_request_start.append(look)
    trace.on_request_headers_sent.append(look)
    trace.on_request_end.append(look)
    trace.on_request_exception.append(look)
    async with aiohttp.ClientSession(request_class=CallersRequest, trace_configs=[trace]) as session:
        yield session
    assert_hidden("".join(seen), *SECRETS)


@pytest.fixture(params=["own session", "caller's session"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[aiohttp.ClientSession | None]:
    """A session of the caller, or None for the client's own."""
    if request.param == "own session":
        yield None
        return
    async with callers_session() as session:
        yield session


def own_session(*names: str) -> list[tuple[str, str]]:
    return [(name, "own session") for name in names]


@asynccontextmanager
async def client_of(handler: Handler, **options: Any) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    async with scripted(handler) as service:
        options = {"limiter": RateLimiter(6000), "retries": RetryPolicy(max_attempts=2), **options}
        async with AIVideoMaker(KEY, base_url=service.url, **options) as client:
            yield service, client


# --- the probe ---------------------------------------------------------------------------------------


async def failure_of(call: Awaitable[Any]) -> BaseException:
    """Return what a call raises, with its traceback."""
    try:
        result = await call
    except BaseException as error:
        return error
    raise AssertionError(f"it has returned {result!r}")


def assert_error_hides(error: BaseException, *more: str) -> None:
    """Check that no text of an error shows a secret, and that no frame behind it holds a key or a token."""
    assert_hidden(texts_of(error), *SECRETS, *more)
    assert_hidden(frames_behind(error), *KEYS, *more)


def test_the_probe_finds_a_secret_that_is_shown() -> None:
    def hold_and_raise(secret: str, *, short: bool) -> None:
        raise RuntimeError("broken" if short else secret)

    for short in (True, False):
        with pytest.raises(RuntimeError) as caught:
            hold_and_raise(KEY, short=short)
        with pytest.raises(AssertionError, match="of a secret is shown"):
            assert_error_hides(caught.value)
    holder = SimpleNamespace(inner=[{"a": (HiddenText(Secret(KEY)), KEY.encode())}])
    assert_hidden("".join(texts_within(holder, depth=3)), KEY)
    with pytest.raises(AssertionError, match="of a secret is shown"):
        assert_hidden("".join(texts_within(holder, depth=9)), KEY)


# --- each call, broken in each place -----------------------------------------------------------------


def echo(arrival: Arrival) -> str:
    """Return all that a careless service could quote of a request."""
    hook = arrival.headers.get("webhookurl", "")
    return f"cannot take {arrival.headers['key']} {hook} {SIGNED} {arrival.body.decode()}"


def failed(message: str) -> dict[str, str]:
    return {"status": "FAILED", "message": message, "errorCode": message}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where calls break: in the answer, on the way to the service, or while an answer is read."""

    answer: Callable[[Arrival], Action] = lambda _: Drop()
    connect: Callable[..., Awaitable[Any]] | None = None
    too_large: bool = False
    kind: type[Exception] = AIVideoMakerError


async def refuse(_: object, request: aiohttp.ClientRequest, *__: object) -> None:
    raise aiohttp.ClientConnectorError(request.connection_key, OSError(111, "refused"))


async def never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def exhausted(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


async def broken(*_: object, **__: object) -> None:
    raise LookupError("a bug in a connector")


PLACES: dict[str, Place] = {
    "nobody listens": Place(connect=refuse),
    "no connection in time": Place(connect=never),
    "no thread for a connection": Place(connect=exhausted),
    "an error that aiohttp does not know": Place(connect=broken),
    "dropped": Place(),
    "never answered": Place(answer=lambda _: Hang()),
    "not HTTP, but an echo": Place(
        answer=lambda arrival: Raw(f"HTTP/1.1 200 {arrival.headers['key']}\r\n\x00bad: x\r\n\r\n".encode())
    ),
    "an echo and no HTTP at all": Place(answer=lambda arrival: Raw(f"{arrival.headers['key']}\r\n\r\n".encode())),
    "a bad header with an echo": Place(
        answer=lambda arrival: Raw(f"HTTP/1.1 200 OK\r\nX\x01: {echo(arrival)}\r\n\r\n".encode())
    ),
    "a length that is an echo": Place(
        answer=lambda arrival: Raw(f"HTTP/1.1 200 OK\r\nContent-Length: {arrival.headers['key']}\r\n\r\n".encode())
    ),
    "an echo that is too large": Place(answer=lambda arrival: Reply(200, echo(arrival)), too_large=True),
    "no JSON, but an echo": Place(answer=lambda arrival: Reply(200, echo(arrival))),
    "an object that is an echo": Place(
        answer=lambda arrival: Reply(200, {"status": 5, "tasks": echo(arrival), "id": 1, "x": KEY})
    ),
    "cut in an echo": Place(answer=lambda arrival: Reply(200, {"status": echo(arrival)}, cut=100)),
    "refused in the body alone": Place(answer=lambda arrival: Reply(200, failed(echo(arrival)))),
    "the whole key": Place(
        answer=lambda arrival: Reply(401, failed(f"Invalid API key: {arrival.headers['key']}")), kind=APIError
    ),
    "the first half of it": Place(
        answer=lambda arrival: Reply(401, failed(f"Invalid API key: {arrival.headers['key'][:40]}…")), kind=APIError
    ),
    "the last half of it": Place(
        answer=lambda arrival: Reply(401, failed(f"…{arrival.headers['key'][-40:]} is wrong")), kind=APIError
    ),
    "the key at the place where texts are cut": Place(
        answer=lambda arrival: Reply(400, failed("x " * 240 + arrival.headers["key"]))
    ),
    "a page with an echo": Place(answer=lambda arrival: Reply(502, f"<html>{echo(arrival)}</html>")),
    "a redirect with an echo": Place(
        answer=lambda arrival: Reply(
            302, failed(echo(arrival)), {"Location": f"https://{arrival.headers['key'][:50]}.example/?key={KEY}"}
        )
    ),
    "a limit with an echo": Place(
        answer=lambda arrival: Reply(429, failed(echo(arrival)), {"Retry-After": KEY}),
    ),
}
IN_A_CALLERS_SESSION = ["nobody listens", "an error that aiohttp does not know", "dropped", "the whole key"]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("place", "http"),
    [*own_session(*PLACES), *((name, "caller's session") for name in IN_A_CALLERS_SESSION)],
    indirect=["http"],
)
async def test_no_error_shows_a_secret(
    call: str, place: str, http: aiohttp.ClientSession | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its texts, attributes, causes and pickles, nor the local variables of the frames behind it."""
    where = PLACES[place]
    if where.connect is not None:
        monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", where.connect)
    if where.too_large:
        monkeypatch.setattr(Request, "max_answer_bytes", 0)
    async with client_of(where.answer, http=http, call_timeout=100.0, wait_timeout=100.0) as (service, client):
        error = await failure_of(CALLS[call](client))
        assert isinstance(error, where.kind)
        assert_error_hides(error)
        if where.too_large and call in {"get_status", "list_tasks", "submit"}:
            assert "larger than" in str(error)
        if where.connect is None:
            assert service.arrivals[0].headers["key"] == KEY
        elif call == "get_status" and http is None and where.kind is AIVideoMakerError:
            assert isinstance(error, ConnectFailed)


@pytest.mark.parametrize(
    ("name", "http"),
    [*own_session(*CALLS), ("submit", "caller's session"), ("list_tasks", "caller's session")],
    indirect=["http"],
)
async def test_no_cancelled_call_shows_a_secret(name: str, http: aiohttp.ClientSession | None) -> None:
    """At each of its awaits; nor do its frames, and those of the tasks that it has started, while it waits there."""
    caught: list[BaseException] = []
    seen: set[str] = set()
    # With traces, aiohttp also waits while it handles an error of its own.
    action = Hang() if http is None else Drop()
    async with client_of(lambda _: action, http=http) as (_, client):
        for steps in range(1, 31):
            task = asyncio.ensure_future(CALLS[name](client))
            for _ in range(steps):
                await asyncio.sleep(0)
            # aiohttp's writer, the watcher, workers.
            for other in asyncio.all_tasks() - {asyncio.current_task()}:
                modules = [frame.f_globals["__name__"] for frame in frames_of(other.get_coro())]
                if modules and not modules[0].startswith(("tests", "anyio")):
                    seen.update(modules)
                    assert_hidden(locals_of(other.get_coro()), *KEYS)
            task.cancel()
            await asyncio.wait([task])
            caught.append(await failure_of(task))
    for error in caught:
        assert_error_hides(error)
    assert sum(isinstance(error, asyncio.CancelledError) for error in caught) > 10
    assert {"aivideomaker_async._http.transport", "aiohttp.client"} <= seen, "it was cancelled in flight as well"


async def test_the_error_of_a_lost_submit_shows_its_idempotency_key() -> None:
    """That key is not a secret: it finds the task again."""
    async with client_of(lambda _: Drop()) as (_, client):
        error = await failure_of(CALLS["submit"](client))
    assert type(error) is SubmitOutcomeUnknown
    assert "key-of-this-submit" in str(error)
    assert_error_hides(error)


# --- wrong arguments ---------------------------------------------------------------------------------

WRONG_CLIENTS: dict[str, Callable[[], object]] = {
    "key": lambda: AIVideoMaker(KEY + " x"),
    "base_url": lambda: AIVideoMaker(KEY, base_url="nowhere"),
    "http": lambda: AIVideoMaker(KEY, base_url="http://example.com"),
    "timeout": lambda: AIVideoMaker(KEY, timeout=-1),
    "call_timeout": lambda: AIVideoMaker(KEY, call_timeout="soon"),  # type: ignore[arg-type]
    "session": lambda: AIVideoMaker(KEY, http=object()),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG_CLIENTS)
def test_the_error_of_a_client_that_cannot_be_made_shows_no_secret(name: str) -> None:
    """A key that is refused may be right but for one character."""
    with pytest.raises(ConfigurationError) as caught:
        WRONG_CLIENTS[name]()
    assert_error_hides(caught.value)


WRONG_RECEIVERS: dict[str, Callable[[AIVideoMaker], object]] = {
    "no URL": lambda client: WebhookReceiver(client, f"nowhere/{TOKEN}", secret=RECEIVER_SECRET),
    "a query": lambda client: WebhookReceiver(client, HOOK, secret=RECEIVER_SECRET),
    "a short secret": lambda client: WebhookReceiver(client, "https://me.example", secret=RECEIVER_SECRET[:15]),
    "largest_body": lambda client: WebhookReceiver(
        client, f"https://me.example/{TOKEN}", secret=RECEIVER_SECRET, largest_body=0
    ),
    "body_timeout": lambda client: WebhookReceiver(
        client, "https://me.example", secret=RECEIVER_SECRET.encode(), body_timeout=-1
    ),
}


@pytest.mark.parametrize("name", WRONG_RECEIVERS)
def test_the_error_of_a_receiver_that_cannot_be_made_shows_no_secret(name: str) -> None:
    """Neither its own secret, nor the path of its URL."""
    with pytest.raises(ConfigurationError) as caught:
        WRONG_RECEIVERS[name](AIVideoMaker(KEY, limiter=RateLimiter()))
    assert_error_hides(caught.value, RECEIVER_SECRET.encode().hex())


WRONG_CALLS: dict[str, tuple[type[Exception], Callable[[AIVideoMaker], Awaitable[Any]]]] = {
    "webhook of submit": (
        ConfigurationError,
        lambda client: client.submit(SPEC, webhook_url=f"ftp://me.example/{TOKEN}"),
    ),
    "webhook of generate": (
        ConfigurationError,
        lambda client: client.generate(SPEC, webhook_url=f"https://me.example/{TOKEN} x"),
    ),
    "timeout of submit": (
        ConfigurationError,
        lambda client: client.submit("m", {"image": IMAGE}, webhook_url=HOOK, timeout=-1),
    ),
    "timeout of generate": (
        ConfigurationError,
        lambda client: client.generate(("m", {"image": IMAGE}), webhook_url=HOOK, timeout=-1),
    ),
    "model of submit": (InvalidSpec, lambda client: client.submit("", {"image": IMAGE}, webhook_url=HOOK)),
    "model of generate": (InvalidSpec, lambda client: client.generate(("", {"image": IMAGE}), webhook_url=HOOK)),
    "model of quote": (InvalidSpec, lambda client: client.quote(("", {"image": IMAGE}))),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
async def test_the_error_of_a_wrong_argument_shows_no_secret_beside_it(name: str) -> None:
    kind, call = WRONG_CALLS[name]
    async with client_of(lambda _: Reply(418)) as (service, client):
        error = await failure_of(call(client))
        assert type(error) is kind
        assert_error_hides(error)
    assert service.arrivals == []


# --- webhook deliveries ------------------------------------------------------------------------------


async def test_a_delivery_that_breaks_shows_no_token() -> None:
    """The token is in its path, and in the scope that the server passes."""
    client = AIVideoMaker(KEY, limiter=RateLimiter())
    receiver = WebhookReceiver(client, "https://me.example/hooks", secret=RECEIVER_SECRET)

    async def send(_: object) -> None:
        raise RuntimeError("the server is gone")

    def scope(**more: object) -> dict[str, Any]:
        path = receiver.url_for("order-17").removeprefix("https://me.example")
        return {"type": "http", "path": path, "method": "POST", "headers": [], **more}

    for application in (receiver, receiver.beside(receiver, "/hooks")):
        cancelled = asyncio.ensure_future(application(scope(), never, send))
        await asyncio.sleep(1)
        assert_hidden(locals_of(cancelled.get_coro()), receiver.url_for("order-17")[-64:])
        cancelled.cancel()
        large = scope(headers=[(b"content-length", b"99999999")])
        for call in (cancelled, application(large, never, send)):
            assert_error_hides(await failure_of(call), receiver.url_for("order-17")[-64:])


# --- values, logs and pickles ------------------------------------------------------------------------


def failing(reason: str) -> Handler:
    """A service where every task fails, and whose answers quote the requests."""
    echoed = {"webhookUrl": HOOK, "key": KEY}
    task = row("ck1", "FAILED", input={"image": SIGNED, **echoed}, output={"error": reason, "x": [SIGNED]}, **echoed)
    whole = {"tasks": [task], "currentBalance": 5, "model": "t2v", "credits": 5, **task}
    submitted = {"status": "SUBMITTED", "taskId": "ck1", "statusUrl": HOOK, **echoed}
    return lambda arrival: Reply(body=submitted if "/generate/" in arrival.path else whole)


async def test_neither_a_failed_task_nor_an_answer_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Also where the handle was made from an id, so that the webhook is not known."""
    caplog.set_level(logging.DEBUG)
    reason = f"{KEY}: {SIGNED} / {HOOK} / {IMAGE}"
    seen: list[object] = []
    async with client_of(failing(reason)) as (_, client):
        by_id = await failure_of(client.task("ck1").result())
        task = await client.submit(SPEC, webhook_url=HOOK)
        seen += [task, task.submitted, await task.details(), await client.list_tasks()]
        seen += [await client.account(), await client.quote(SPEC), [change async for change in task]]
        seen += [outcome async for outcome in client.generate_many([SPEC])]
        for error in (by_id, await failure_of(task.result()), await failure_of(client.generate(SPEC))):
            assert type(error) is TaskFailed
            assert error.details.failure == reason, "it is kept as it came"
            seen += [error, str(error), error.args, vars(error), *traceback.format_exception(error)]
    assert_hidden("\n".join(map(repr, seen)) + log_of(caplog), *SECRETS)


async def test_the_token_of_a_submit_is_hidden_in_the_reason_of_its_task() -> None:
    """Also where it stands alone or is cut, and has no form by which it could be recognized."""
    async with client_of(failing(f"cannot call {TOKEN}/hook or {TOKEN[:12]}…")) as (_, client):
        error = await failure_of(client.generate(SPEC, webhook_url=HOOK))
    assert str(error) == "task ck1 failed: cannot call <secret> or <secret>…"


def whole_service(arrival: Arrival) -> Action:
    if arrival.path.startswith("/videos"):
        return Reply(200, b"\0" * 5000)
    if arrival.method == "POST":
        body = {"status": "SUBMITTED", "taskId": "ck1", "statusUrl": "https://aivideomaker.ai/api/v1/tasks/ck1/status"}
        return Reply(body=body | {"model": "new", "credits": 8})
    if arrival.path.endswith("/tasks/done"):
        url = f"http://{arrival.headers['host']}/videos/done.mp4?X-Signature={SIGNATURE}"
        return Reply(body=row("done", "COMPLETED", output={"url": url}))
    if arrival.path.endswith("/status"):
        return Reply(body={"status": "COMPLETED" if "done" in arrival.path else "PROGRESS"})
    if arrival.path.endswith("/tasks"):
        return Reply(body={"tasks": [row("ck1", "PROGRESS")]})
    return Reply(401, failed(echo(arrival)))


async def test_nothing_that_a_client_keeps_holds_a_secret(http: aiohttp.ClientSession | None) -> None:
    """Between calls and during one, as far as attributes and containers lead."""
    hanging = asyncio.Event()

    async def handle(arrival: Arrival) -> Action:
        if arrival.path.endswith("/account"):
            hanging.set()
            return Hang()
        return whole_service(arrival)

    limiter = HostRateLimiter(name="credentials")
    board = StatusBoard("redis://127.0.0.1:9") if find_spec("redis") else None
    async with client_of(handle, http=http, limiter=limiter) as (_, client):
        receiver = WebhookReceiver(client, f"https://me.example/{TOKEN}", secret=RECEIVER_SECRET)
        task = await client.submit("new", {"image": IMAGE}, webhook_url=receiver.url_for())
        watch = task.watch()
        await anext(watch)
        call = asyncio.ensure_future(client.account())
        await hanging.wait()
        other = AIVideoMaker(KEY, limiter=RateLimiter(), status_board=board)
        roots = (
            client,
            client._api,
            client._rooms.tracker,
            limiter,
            receiver,
            task,
            watch,
            other,
            other._rooms.tracker,
        )
        found = list(texts_within(*roots, depth=9))
        assert_hidden("\n".join(found), *SECRETS)
        assert any("me.example" in text or client.base_url in text for text in found)
        assert any("aiohttp/" in text for text in found) is (http is None), "it leads to the session below"
        for shown in (repr(client), repr(receiver), repr(client.statistics()), repr(receiver.statistics()), repr(task)):
            assert_hidden(shown, *SECRETS)
        call.cancel()
        await watch.aclose()


async def no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def ignore(_: object) -> None:
    return


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    # The service of the tests runs in the same loop, and its tasks hold what has arrived.
    lines = [record for record in caplog.records if "tests/support" not in record.getMessage()]
    return "\n".join(logging.Formatter("%(name)s %(message)s").format(record) for record in lines)


async def test_no_log_line_of_any_level_shows_a_secret(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Ours, aiohttp's, and those of asyncio in debug mode, which logs each callback with its arguments."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    actions = {"GET": whole_service, "POST": whole_service, "PUT": PLACES["the whole key"].answer}
    try:
        async with client_of(lambda arrival: actions[arrival.method](arrival), wait_timeout=2.0) as (_, client):
            receiver = WebhookReceiver(client, f"https://me.example/{TOKEN}", secret=RECEIVER_SECRET)
            for name in ("submit", "submit by name", "get_status", "list_tasks", "cancel"):
                await CALLS[name](client)
            for name in ("generate", "account"):
                await failure_of(CALLS[name](client))
            await client.submit(SPEC, webhook_url=receiver.url_for("order-17"))
            path = f"/{receiver.url_for('order-17')[-64:]}"
            await receiver({"type": "http", "path": path, "method": "POST", "headers": []}, no_body, ignore)
            video = await client.task("done").result()
            await video.download(tmp_path / "done.mp4")
            assert_hidden(repr(video) + repr(video.details), *SECRETS)
    finally:
        loop.set_debug(False)
    log = log_of(caplog)
    assert_hidden(log, *SECRETS, receiver.url_for("order-17")[-64:])
    assert {"asyncio", "aivideomaker_async.http"} <= {line.partition(" ")[0] for line in log.splitlines()}
    assert "submitted i2v as task" in log


async def test_an_object_that_holds_the_key_or_a_loop_can_be_neither_pickled_nor_copied() -> None:
    """The refusal says what to do instead."""
    async with client_of(whole_service) as (_, client):
        things: dict[object, str] = {
            client.task("ck1").watch(): r"each consumer needs one of its own",
            client.generate_many([]): "generate_many",
            WebhookReceiver(client, "https://me.example"): "make one where it is needed",
            client: "make one where it is needed",
            client.task("ck1"): r"client\.task\(id\)",
            RateLimiter(): "HostRateLimiter",
        }
        for thing, advice in things.items():
            for write in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match=advice) as caught:
                    write(thing)
                assert_error_hides(caught.value)
            with pytest.raises(TypeError):
                pickle.dumps({"config": [thing]})


# --- where the key goes ------------------------------------------------------------------------------


async def test_addresses_in_answers_are_never_visited() -> None:
    """Whatever the service names for status, answer and cancel, all requests go to the configured address."""
    async with scripted(lambda _: Reply(body={"status": "COMPLETED"})) as elsewhere:

        def handle(arrival: Arrival) -> Action:
            names = ("responseUrl", "statusUrl", "cancelUrl")
            urls = {name: f"{elsewhere.url}/api/v1/tasks/ck1/{name}" for name in names}
            if arrival.method == "POST":
                return Reply(body={"status": "SUBMITTED", "taskId": "ck1", **urls})
            if arrival.method == "PUT":
                return Reply(body={"status": "PROGRESS", "taskId": "ck1", **urls})
            task = {**row("ck1", "COMPLETED"), **urls, "output": {"url": f"{elsewhere.url}/ck1.mp4"}}
            return Reply(body={"tasks": [task], **task})

        async with client_of(handle) as (service, client):
            task = await client.submit(SPEC)
            assert task.submitted is not None and task.submitted.status_url is not None
            await task.status()
            await task.details()
            await task.cancel()
            await client.list_tasks()
            assert (await task.result()).url.startswith(elsewhere.url)
    assert elsewhere.arrivals == []
    assert len(service.arrivals) >= 6


def test_the_key_is_not_sent_unencrypted_to_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless that is allowed, wherever the address comes from."""
    with pytest.raises(ConfigurationError, match="allow_http=True"):
        AIVideoMaker(KEY, base_url="http://aivideomaker.ai")
    assert AIVideoMaker(KEY, base_url="http://10.0.0.7:8080", allow_http=True).base_url == "http://10.0.0.7:8080"
    assert AIVideoMaker(KEY, base_url="http://localhost:8080").base_url == "http://localhost:8080"
    monkeypatch.setenv("AIVIDEO_BASE_URL", "http://simulator:8080")
    with pytest.raises(ConfigurationError, match="unencrypted to simulator"):
        AIVideoMaker(KEY)
    assert AIVideoMaker(KEY, allow_http=True).base_url == "http://simulator:8080"
