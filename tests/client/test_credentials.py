"""The key goes to one place, and no key, image or token is ever shown: not when it breaks, wherever it breaks."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import pickle
import socket
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import http_writer

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    APIError,
    AuthenticationFailed,
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
    WaitTimeout,
)
from aivideomaker_async._http import connections, transport
from aivideomaker_async._redaction import HiddenText, Secret
from aivideomaker_async.webhooks import WebhookReceiver
from tests.support.pictures import PNG
from tests.support.prying import assert_hidden, frames_behind, frames_of, texts_within, told_by_frames, words_of
from tests.support.scripted import Action, Arrival, Drop, Handler, Hang, Raw, Reply, ScriptedService, row, scripted

pytestmark = pytest.mark.anyio

# Only here and in expressions, so that no local variable of a test holds one.
KEY = "ak_Zq7Lw0Xv3Rt9Mb5Kd1Hs" * 6
TOKEN = "tok_Uy2Nc8Jf4Ge6Pa"
HOOK = f"https://me.example/{TOKEN}/hook?sig={TOKEN}"
RECEIVER_SECRET = "rs_Wk3Vn7Qx1Lz5Tb9Yd"
IMAGE = "data:image/png;base64," + base64.b64encode(PNG).decode()
SHOWN_OF_IMAGE = base64.b64encode(PNG).decode()
KEYS = (KEY, TOKEN, RECEIVER_SECRET)
SECRETS = (*KEYS, SHOWN_OF_IMAGE)


def assert_error_hides(error: BaseException | None, *more: str) -> None:
    """No text of an error shows a secret, and no frame behind it a key or a token (an image may stand in frames)."""
    assert error is not None
    assert_hidden(words_of(error), *SECRETS, *more)
    assert_hidden(frames_behind(error), *KEYS, *more)


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


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


class CallersRequest(aiohttp.ClientRequest):
    """A request class of the caller's."""


@asynccontextmanager
async def callers_session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session with everything that a caller may have hung into it; the traces look at all they get."""
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
    """None for the client's own session."""
    if request.param == "own session":
        yield None
        return
    async with callers_session() as session:
        yield session


@asynccontextmanager
async def talking_to(handler: Handler, **options: Any) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    async with scripted(handler) as service:
        options = {"limiter": RateLimiter(6000), "retries": RetryPolicy(max_attempts=2), **options}
        async with AIVideoMaker(KEY, base_url=service.url, **options) as client:
            yield service, client


async def failure_of(call: Awaitable[Any]) -> BaseException | None:
    try:
        await call
    except BaseException as error:
        return error
    return None


# --- what is sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize("writer", ["_c_serialize_headers", "_py_serialize_headers"])
async def test_key_and_webhook_arrive_as_they_are(
    writer: str, http: aiohttp.ClientSession | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By either of aiohttp's writers, through the client's session or the caller's."""
    monkeypatch.setattr(http_writer, "_serialize_headers", getattr(http_writer, writer))
    async with talking_to(lambda _: Reply(418), http=http) as (service, client):
        assert isinstance(await failure_of(CALLS["submit"](client)), APIError)
        assert isinstance(await failure_of(client.account()), APIError)
    submit, account = service.arrivals
    assert (submit.headers["key"], submit.headers["webhookurl"]) == (KEY, HOOK)
    assert submit.json()["image"] == IMAGE
    assert account.headers["key"] == KEY
    assert "webhookurl" not in account.headers


async def test_where_a_writer_knows_no_hidden_values_the_key_arrives_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later aiohttp may write headers in another way: then they are plain, and the service works."""

    def another(status_line: str, headers: Any) -> bytes:
        lines = [status_line, *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    monkeypatch.setattr(http_writer, "_serialize_headers", another)
    assert not connections._can_write_hidden_text()
    monkeypatch.setattr(http_writer, "_serialize_headers", None)
    assert not connections._can_write_hidden_text()
    monkeypatch.undo()
    assert connections._can_write_hidden_text()
    monkeypatch.setattr(http_writer, "_serialize_headers", another)
    monkeypatch.setattr(connections, "_writes_hidden_text", False)
    async with talking_to(lambda _: Reply(418)) as (service, client):
        await failure_of(client.account())
    assert service.arrivals[0].headers["key"] == KEY


# --- what is shown when it breaks --------------------------------------------------------------------


def echo(arrival: Arrival) -> str:
    """All that a careless service could tell of a request."""
    hook = arrival.headers.get("webhookurl", "")
    return f"cannot take {arrival.headers['key']} {hook} {arrival.body.decode()}"


def failed(message: str) -> dict[str, str]:
    return {"status": "FAILED", "message": message, "errorCode": message}


BREAKS: dict[str, Callable[[Arrival], Action]] = {
    "dropped": lambda _: Drop(),
    "never answered": lambda _: Hang(),
    "no HTTP, but an echo": lambda arrival: Raw(
        f"HTTP/1.1 200 {arrival.headers['key']}\r\n\x00bad: x\r\n\r\n".encode()
    ),
    "an echo and no HTTP at all": lambda arrival: Raw(f"{arrival.headers['key']}\r\n\r\n".encode()),
    "a bad header with an echo": lambda arrival: Raw(f"HTTP/1.1 200 OK\r\nX\x01: {echo(arrival)}\r\n\r\n".encode()),
    "a length that is an echo": lambda arrival: Raw(
        f"HTTP/1.1 200 OK\r\nContent-Length: {arrival.headers['key']}\r\n\r\n".encode()
    ),
    "no JSON, but an echo": lambda arrival: Reply(200, echo(arrival)),
    "an object that is an echo": lambda arrival: Reply(200, {"status": 5, "tasks": echo(arrival), "id": 1, "x": KEY}),
    "cut in an echo": lambda arrival: Reply(200, {"status": echo(arrival)}, cut=100),
    "refused in the body alone": lambda arrival: Reply(200, failed(echo(arrival))),
    "the whole key": lambda arrival: Reply(401, failed(f"Invalid API key: {arrival.headers['key']}")),
    "the first half of it": lambda arrival: Reply(401, failed(f"Invalid API key: {arrival.headers['key'][:40]}…")),
    "the last half of it": lambda arrival: Reply(401, failed(f"…{arrival.headers['key'][-40:]} is wrong")),
    "the key at the place where texts are cut": lambda arrival: Reply(400, failed("x " * 240 + arrival.headers["key"])),
    "a page with an echo": lambda arrival: Reply(502, f"<html>{echo(arrival)}</html>"),
    "a redirect with an echo": lambda arrival: Reply(
        302, failed(echo(arrival)), {"Location": f"https://{arrival.headers['key'][:50]}.example/?key={KEY}"}
    ),
    "a limit with an echo": lambda arrival: Reply(429, failed(echo(arrival)), {"Retry-After": KEY}),
}


@pytest.mark.parametrize(
    ("name", "http"),
    [
        *((name, "own session") for name in BREAKS),
        ("dropped", "caller's session"),
        ("the whole key", "caller's session"),
    ],
    indirect=["http"],
)
async def test_no_error_shows_a_secret(name: str, http: aiohttp.ClientSession | None) -> None:
    """Its text, its attributes, its causes, its frames' local variables, and what is pickled of it."""
    async with talking_to(BREAKS[name], http=http, call_timeout=100.0, wait_timeout=100.0) as (service, client):
        for call in CALLS.values():
            error = await failure_of(call(client))
            assert isinstance(error, AIVideoMakerError)
            assert_error_hides(error)
    assert service.arrivals[0].headers["key"] == KEY


async def test_no_answer_that_is_refused_while_it_comes_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has been read until then is as good an echo as any."""
    check = transport._check_size
    monkeypatch.setattr(transport, "_check_size", lambda response, _, request: check(response, 10**12, request))
    async with talking_to(BREAKS["no JSON, but an echo"]) as (_, client):
        for name in ("get_status", "list_tasks", "submit"):
            error = await failure_of(CALLS[name](client))
            assert isinstance(error, AIVideoMakerError)
            assert "larger than" in str(error)
            assert_error_hides(error)


async def test_no_error_of_a_connection_shows_a_secret(
    http: aiohttp.ClientSession | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused; not made in time; an error that aiohttp does not know."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        retries, limiter = RetryPolicy(max_attempts=1), RateLimiter(6000)
        client = AIVideoMaker(KEY, base_url=url, limiter=limiter, http=http, retries=retries, wait_timeout=50.0)

        async def never(*_: object, **__: object) -> None:
            await asyncio.Event().wait()

        async def exhausted(*_: object, **__: object) -> None:
            raise RuntimeError("can't start new thread")

        async def broken(*_: object, **__: object) -> None:
            raise LookupError("a mistake of somebody's")

        ways = (None, ConnectFailed), (never, ConnectFailed), (exhausted, ConnectFailed), (broken, LookupError)
        for connect, expected in ways:
            if connect is not None:
                monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", connect)
            for name, call in CALLS.items():
                error = await failure_of(call(client))
                assert_error_hides(error)
                if name in {"get_status", "list_tasks", "account"} and (http is None or expected is LookupError):
                    assert type(error) is expected
        await client.aclose()


@pytest.mark.parametrize(
    ("name", "http"),
    [*((name, "own session") for name in CALLS), ("submit", "caller's session"), ("list_tasks", "caller's session")],
    indirect=["http"],
)
async def test_no_call_that_is_cancelled_shows_a_secret(name: str, http: aiohttp.ClientSession | None) -> None:
    """At each of its awaits; nor do its frames while it waits there."""
    caught: list[BaseException | None] = []
    seen: set[str] = set()
    # With traces, aiohttp also waits while it handles an error of its own.
    action = Hang() if http is None else Drop()
    async with talking_to(lambda _: action, http=http) as (_, client):
        for steps in range(1, 31):
            task = asyncio.ensure_future(CALLS[name](client))
            for _ in range(steps):
                await asyncio.sleep(0)
            # Those that the call has started as well: aiohttp's writer, the watcher, workers.
            for other in asyncio.all_tasks() - {asyncio.current_task()}:
                modules = [frame.f_globals["__name__"] for frame in frames_of(other.get_coro())]
                if modules and not modules[0].startswith(("tests", "anyio")):
                    seen.update(modules)
                    assert_hidden(told_by_frames(other.get_coro()), *KEYS)
            task.cancel()
            await asyncio.wait([task])
            caught.append(await failure_of(task))
    for error in caught:
        assert error is not None
        assert_error_hides(error)
    assert sum(isinstance(error, asyncio.CancelledError) for error in caught) > 10
    assert "aivideomaker_async._http.transport" in seen and "aiohttp.client" in seen, (
        "it was cancelled in flight as well"
    )


SIGNATURE = "Sg_Qw8Er5Ty2Ui9Op"
SIGNED = f"https://b.example/a.png?X-Signature={SIGNATURE}"


def failing(words: str) -> Handler:
    """A service at which every task fails, and which tells with each answer what it was sent."""
    echoed = {"webhookUrl": HOOK, "key": KEY}
    task = row("ck1", "FAILED", input={"image": SIGNED, **echoed}, output={"error": words, "x": [SIGNED]}, **echoed)
    whole = {"tasks": [task], "currentBalance": 5, "model": "t2v", "credits": 5, **task}
    submitted = {"status": "SUBMITTED", "taskId": "ck1", "statusUrl": HOOK, **echoed}
    return lambda arrival: Reply(body=submitted if "/generate/" in arrival.path else whole)


async def test_no_word_on_a_failed_task_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Nor a signature of the caller's own; nor do the reprs of the answers. Also where the webhook is not known."""
    caplog.set_level(logging.DEBUG)
    words = f"{KEY}: {SIGNED} / {HOOK} / {IMAGE}"
    seen: list[object] = []
    async with talking_to(failing(words)) as (_, client):
        reattached = await failure_of(client.task("ck1").result())
        task = await client.submit(SPEC, webhook_url=HOOK)
        seen += [task, task.submitted, await task.details(), await client.list_tasks()]
        seen += [await client.account(), await client.quote(SPEC), [change async for change in task]]
        seen += [outcome async for outcome in client.generate_many([SPEC])]
        for error in (reattached, await failure_of(task.result()), await failure_of(client.generate(SPEC))):
            assert type(error) is TaskFailed
            assert error.details.failure == words, "as it came"
            seen += [error, str(error), error.args, vars(error), *traceback.format_exception(error)]
    seen += [logging.Formatter().format(record) for record in caplog.records if not _of_tests(record)]
    assert_hidden("\n".join(map(repr, seen)), *SECRETS, SIGNATURE)


async def test_a_token_is_hidden_in_the_reason_of_whoever_submitted_it() -> None:
    """Also where it stands alone, or is cut."""
    async with talking_to(failing(f"cannot tell {TOKEN}/hook or {TOKEN[:12]}…")) as (_, client):
        error = await failure_of(client.generate(SPEC, webhook_url=HOOK))
    assert str(error) == "task ck1 failed: cannot tell <secret> or <secret>…"


@pytest.mark.parametrize("status", [400, 422, 500])
async def test_a_refusal_that_quotes_an_address_of_the_caller_shows_its_host(status: int) -> None:
    """Its query is a signature more often than not. What is pickled is no more."""
    async with talking_to(lambda _: Reply(status, failed(f"cannot load {SIGNED}"))) as (_, client):
        error = await failure_of(client.quote(ImageToVideo(image=SIGNED, duration=5)))
    assert isinstance(error, APIError)
    assert error.message == "cannot load https://b.example/…"
    assert_hidden(pickle.dumps(error).decode("latin-1") + repr(error) + repr(vars(error)), SIGNATURE)


def test_what_is_wrong_at_the_start_shows_no_secret() -> None:
    """Also an argument beside it; a key that is wrong may be right but for one character."""
    attempts: list[Callable[[], object]] = [
        lambda: AIVideoMaker(KEY + " x"),
        lambda: AIVideoMaker(KEY, base_url="nowhere"),
        lambda: AIVideoMaker(KEY, base_url="http://example.com"),
        lambda: AIVideoMaker(KEY, timeout=-1),
        lambda: AIVideoMaker(KEY, call_timeout="soon"),  # type: ignore[arg-type]
        lambda: AIVideoMaker(KEY, http=object()),  # type: ignore[arg-type]
    ]
    for attempt in attempts:
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert_error_hides(caught.value)


def test_a_receiver_that_is_wrong_at_the_start_shows_no_secret() -> None:
    """Nor the path that it has, nor the secret of one that is right."""
    client = AIVideoMaker(KEY, limiter=RateLimiter())
    attempts: list[Callable[[], object]] = [
        lambda: WebhookReceiver(client, f"nowhere/{TOKEN}", secret=RECEIVER_SECRET),
        lambda: WebhookReceiver(client, HOOK, secret=RECEIVER_SECRET),
        lambda: WebhookReceiver(client, "https://me.example", secret=RECEIVER_SECRET[:15]),
        lambda: WebhookReceiver(client, f"https://me.example/{TOKEN}", secret=RECEIVER_SECRET, largest_body=0),
        lambda: WebhookReceiver(client, "https://me.example", secret=RECEIVER_SECRET.encode(), body_timeout=-1),
    ]
    for attempt in attempts:
        with pytest.raises(ConfigurationError) as caught:
            attempt()
        assert_error_hides(caught.value, RECEIVER_SECRET.encode().hex())


async def test_what_is_wrong_with_a_submit_shows_no_secret() -> None:
    """A webhook that is no URL, a spec that is none, a time that makes no sense: beside a token and an image."""
    async with talking_to(lambda _: Reply(418)) as (service, client):
        image = {"image": IMAGE}
        del image["image"]
        calls: list[tuple[type[Exception], Callable[[], Awaitable[Any]]]] = [
            (ConfigurationError, lambda: client.submit(SPEC, webhook_url=f"ftp://me.example/{TOKEN}")),
            (ConfigurationError, lambda: client.generate(SPEC, webhook_url=f"https://me.example/{TOKEN} x")),
            (ConfigurationError, lambda: client.submit("m", {"image": IMAGE}, webhook_url=HOOK, timeout=-1)),
            (ConfigurationError, lambda: client.generate(("m", {"image": IMAGE}), webhook_url=HOOK, timeout=-1)),
            (InvalidSpec, lambda: client.submit("", {"image": IMAGE}, webhook_url=HOOK)),
            (InvalidSpec, lambda: client.generate(("", {"image": IMAGE}), webhook_url=HOOK)),
            (InvalidSpec, lambda: client.quote(("", {"image": IMAGE}))),
        ]
        for kind, call in calls:
            error = await failure_of(call())
            assert type(error) is kind
            assert_error_hides(error)
    assert service.arrivals == []


async def test_a_delivery_that_breaks_shows_no_token() -> None:
    """Its path has one, and so has the scope that the server hands over."""
    client = AIVideoMaker(KEY, limiter=RateLimiter())
    receiver = WebhookReceiver(client, "https://me.example/hooks", secret=RECEIVER_SECRET)

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(_: object) -> None:
        raise RuntimeError("the server is gone")

    def scope(**more: object) -> dict[str, Any]:
        path = receiver.url_for("order-17").removeprefix("https://me.example")
        return {"type": "http", "path": path, "method": "POST", "headers": [], **more}

    for application in (receiver, receiver.beside(receiver, "/hooks")):
        cancelled = asyncio.ensure_future(application(scope(), receive, send))
        await asyncio.sleep(1)
        assert_hidden(told_by_frames(cancelled.get_coro()), receiver.url_for("order-17")[-64:])
        cancelled.cancel()
        for call in (cancelled, application(scope(headers=[(b"content-length", b"99999999")]), receive, send)):
            error = await failure_of(call)
            assert error is not None
            assert_error_hides(error, receiver.url_for("order-17")[-64:])


def test_a_secret_that_is_shown_is_found() -> None:
    """What all of these tests stand on."""

    def held_and_raised(secret: str, *, short: bool) -> None:
        raise RuntimeError("broken" if short else secret)

    for short in (True, False):
        with pytest.raises(RuntimeError) as caught:
            held_and_raised(KEY, short=short)
        with pytest.raises(AssertionError, match="of a secret is shown"):
            assert_error_hides(caught.value)
    holder = SimpleNamespace(inner=[{"a": (HiddenText(Secret(KEY)), KEY.encode())}])
    assert_hidden("".join(texts_within(holder, depth=3)), KEY)
    with pytest.raises(AssertionError, match="of a secret is shown"):
        assert_hidden("".join(texts_within(holder, depth=9)), KEY)


# --- what is kept, logged and written down -----------------------------------------------------------


def whole_service(arrival: Arrival) -> Action:
    if arrival.method == "POST":
        body = {"status": "SUBMITTED", "taskId": "ck1", "statusUrl": "https://aivideomaker.ai/api/v1/tasks/ck1/status"}
        return Reply(body=body | {"model": "new", "credits": 8})
    if arrival.path.endswith("/status"):
        return Reply(body={"status": "PROGRESS"})
    if arrival.path.endswith("/tasks"):
        return Reply(body={"tasks": [row("ck1", "PROGRESS")]})
    return Reply(401, failed(echo(arrival)))


async def test_nothing_that_is_kept_holds_a_secret(http: aiohttp.ClientSession | None) -> None:
    """Between calls and in the middle of one, as far as attributes and containers lead."""
    hanging = asyncio.Event()

    async def handle(arrival: Arrival) -> Action:
        if arrival.path.endswith("/account"):
            hanging.set()
            return Hang()
        return whole_service(arrival)

    limiter = HostRateLimiter(name="credentials")
    board = StatusBoard("redis://127.0.0.1:9") if find_spec("redis") else None
    async with talking_to(handle, http=http, limiter=limiter) as (_, client):
        receiver = WebhookReceiver(client, f"https://me.example/{TOKEN}", secret=RECEIVER_SECRET)
        task = await client.submit("new", {"image": IMAGE}, webhook_url=receiver.url_for())
        watch = task.watch()
        await anext(watch)
        call = asyncio.ensure_future(client.account())
        await hanging.wait()
        other = AIVideoMaker(KEY, limiter=RateLimiter(), status_board=board)
        roots = (client, client._api, client._tracker, limiter, receiver, task, watch, other, other._tracker)
        found = list(texts_within(*roots, depth=9))
        assert_hidden("\n".join(found), *SECRETS)
        assert any("me.example" in text or client._api.settings.base_url in text for text in found)
        assert any("aiohttp/" in text for text in found) is (http is None), "it leads to the session below"
        for shown in (repr(client), repr(receiver), repr(client.statistics()), repr(receiver.statistics()), repr(task)):
            assert_hidden(shown, *SECRETS)
        call.cancel()
        await watch.aclose()


async def test_no_log_line_of_any_level_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Ours, aiohttp's and those of asyncio in debug mode, which tells of every callback what it calls with what."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    actions = {"GET": whole_service, "POST": whole_service, "PUT": BREAKS["the whole key"]}
    try:
        async with talking_to(lambda arrival: actions[arrival.method](arrival), wait_timeout=2.0) as (_, client):
            receiver = WebhookReceiver(client, f"https://me.example/{TOKEN}", secret=RECEIVER_SECRET)
            for name in ("submit", "submit by name", "generate", "get_status", "account", "cancel", "list_tasks"):
                await failure_of(CALLS[name](client))
            await client.submit(SPEC, webhook_url=receiver.url_for("order-17"))
            path = f"/{receiver.url_for('order-17')[-64:]}"
            await receiver({"type": "http", "path": path, "method": "POST", "headers": []}, _no_body, _to_nobody)
    finally:
        loop.set_debug(False)
    lines = [record for record in caplog.records if not _of_tests(record)]
    text = "\n".join(logging.Formatter().format(record) for record in lines)
    assert_hidden(text, *SECRETS, receiver.url_for("order-17")[-64:])
    assert {"asyncio", "aivideomaker_async.http"} <= {record.name for record in lines}


def _of_tests(record: logging.LogRecord) -> bool:
    # The service of the tests runs in the same loop, and its tasks know what has arrived.
    return "tests/support" in record.getMessage()


async def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _to_nobody(_: object) -> None:
    return


async def test_what_holds_the_key_or_a_loop_is_neither_pickled_nor_copied() -> None:
    """The refusal says what to do instead."""
    async with talking_to(whole_service) as (_, client):
        things: dict[object, str] = {
            client.task("ck1").watch(): r"each consumer needs one of its own",
            client.generate_many([]): "generate_many",
            WebhookReceiver(client, "https://me.example"): "make one where it is needed",
            client: "make one where it is needed",
            client.task("ck1"): r"client\.task\(id\)",
            client._api.settings.key: "a secret",
            HiddenText(client._api.settings.key): "a secret",
            RateLimiter(): "HostRateLimiter",
        }
        for thing, advice in things.items():
            for write_down in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match=advice) as caught:
                    write_down(thing)
                assert_error_hides(caught.value)
            with pytest.raises(TypeError):
                pickle.dumps({"config": [thing]})


async def test_errors_can_be_pickled_without_their_handle() -> None:
    """What arrives elsewhere is the text with the id, and no key."""
    async with talking_to(whole_service) as (_, client):
        with pytest.raises(WaitTimeout) as caught:
            await client.task("ck1").result(timeout=0)
        with pytest.raises(AuthenticationFailed) as refused:
            await client.account()
    for error in (caught.value, refused.value):
        again = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert str(again) == str(error)
        assert_error_hides(again)


def test_a_hidden_text_is_a_text_that_only_its_writer_reads() -> None:
    """It is what it stands for where texts are compared, joined and encoded, and nowhere where they are shown."""
    hidden = HiddenText(Secret(TOKEN))
    assert isinstance(hidden, str)
    assert (str(hidden), hidden.encode(), "a" + hidden, hidden + "b") == (
        TOKEN,
        TOKEN.encode(),
        f"a{TOKEN}",
        f"{TOKEN}b",
    )
    assert hidden == TOKEN and hidden == HiddenText(Secret(TOKEN)) and hash(hidden) == hash(TOKEN)
    assert hidden != "<secret>" and hidden != 5
    shown = [
        repr(hidden),
        f"{hidden}",
        f"{hidden:>20}",
        f"{hidden!r}",
        hidden[:],
        hidden[2:5],
        hidden.upper(),
        f"{[hidden]}",
    ]
    assert_hidden("".join([*shown, *hidden, *hidden.partition("x"), repr({hidden: hidden})]), TOKEN)


# --- where the key goes ------------------------------------------------------------------------------

# What a page of a proxy says is no word of the service.
REDIRECTED = (
    r"redirects to http://127\.0\.0\.1:\d+ \({status}\), which is not followed: the API key goes to the configured"
)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int, http: aiohttp.ClientSession | None) -> None:
    """By no call, to no other place; the error says where it would have gone, without the rest of the address."""
    async with scripted(lambda _: Reply(body={"status": "COMPLETED"})) as elsewhere:
        address = f"{elsewhere.url}/{TOKEN}?key={TOKEN}"
        async with talking_to(lambda _: Reply(status, headers={"Location": address}), http=http) as (service, client):
            for name, call in CALLS.items():
                before = len(service.arrivals)
                error = await failure_of(call(client))
                assert type(error) is APIError
                assert error.status == status
                with pytest.raises(APIError, match=REDIRECTED.format(status=status)):
                    raise error
                assert TOKEN not in str(error)
                if "submit" in name or "generate" in name:
                    assert len(service.arrivals) == before + 1, "it was refused, and is not sent again"
    assert elsewhere.arrivals == []


async def test_redirects_in_the_middle_of_a_wait_end_it() -> None:
    """One may come from a proxy and passes; when they go on, the wait ends with what they say."""
    answers = iter([Reply(body=row("ck1", "SUBMITTED")), Reply(302, headers={"Location": "/login"})])
    passing: list[Action] = [Reply(body=row("ck1", "PROGRESS"))]

    def once(arrival: Arrival) -> Action:
        return next(answers, passing[0])

    async with talking_to(once) as (_, client):
        changes = aiter(client.task("ck1").watch())
        assert [(await anext(changes)).status, (await anext(changes)).status] == ["SUBMITTED", "PROGRESS"]
        passing[0] = Reply(302, headers={"Location": "//elsewhere.example/login?next=" + TOKEN})
        with pytest.raises(APIError, match=r"redirects to elsewhere\.example \(302\)"):
            await anext(changes)


async def test_redirected_waits_for_many_tasks_end_too() -> None:
    """The list is given up, then each task is asked for by itself."""
    async with talking_to(lambda _: Reply(307, headers={"Location": "https://elsewhere.example"})) as (service, client):
        waits = (failure_of(client.task(f"ck{number}").result()) for number in range(5))
        errors = await asyncio.gather(*waits)
    assert {(type(error), getattr(error, "status", None)) for error in errors} == {(APIError, 307)}
    assert "GET /api/v1/tasks" in service.paths()


async def test_addresses_in_answers_are_never_visited() -> None:
    """Whatever the service names for status, answer and cancel: the configured address is asked."""
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

        async with talking_to(handle) as (service, client):
            task = await client.submit(SPEC)
            assert task.submitted is not None and task.submitted.status_url is not None
            await task.status()
            await task.details()
            await task.cancel()
            await client.list_tasks()
            assert (await task.result()).url.startswith(elsewhere.url)
    assert elsewhere.arrivals == []
    assert len(service.arrivals) >= 6


async def test_nothing_but_the_key_goes_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cookie that the service set, no password from a netrc file, nothing by a proxy that the environment names."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with scripted(lambda _: Reply(500)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        cookie = {"Set-Cookie": "session=hush; Path=/"}
        async with talking_to(lambda _: Reply(body={"status": "PROGRESS"}, headers=cookie)) as (service, client):
            await client.get_status("ck1")
            await client.get_status("ck2")
    assert proxy.arrivals == []
    assert len(service.arrivals) == 2
    for arrival in service.arrivals:
        assert arrival.headers.keys() <= {"host", "key", "user-agent", "accept", "accept-encoding"}


def test_a_key_is_not_sent_unencrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By an argument or by the environment; but to this machine, and where it is allowed."""
    with pytest.raises(ConfigurationError, match=r"allow_http=True"):
        AIVideoMaker(KEY, base_url="http://aivideomaker.ai")
    assert "http://10.0.0.7" in repr(AIVideoMaker(KEY, base_url="http://10.0.0.7:8080", allow_http=True))
    assert "http://localhost" in repr(AIVideoMaker(KEY, base_url="http://localhost:8080"))
    monkeypatch.setenv("AIVIDEO_BASE_URL", "http://simulator:8080")
    with pytest.raises(ConfigurationError, match="unencrypted to simulator"):
        AIVideoMaker(KEY)
    assert "http://simulator" in repr(AIVideoMaker(KEY, allow_http=True))


async def test_a_submit_whose_answer_is_lost_shows_its_key_for_idempotency_and_no_other() -> None:
    """That one is no secret: it finds the task again."""
    async with talking_to(lambda _: Drop()) as (_, client):
        error = await failure_of(CALLS["submit"](client))
    assert type(error) is SubmitOutcomeUnknown
    assert "key-of-this-submit" in str(error)
    assert_error_hides(error)
