"""A client in the wrong place, at the wrong time, or never closed: a clear error, and nothing that hangs or leaks."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from aivideomaker_async import (
    AIVideoMaker,
    ConfigurationError,
    GenerateMany,
    HostRateLimiter,
    Priority,
    RateLimiter,
    RetryPolicy,
    SubmitOutcomeUnknown,
    TextToVideo,
    Video,
)
from aivideomaker_async.tasks import TaskDetails
from aivideomaker_async.webhooks import WebhookReceiver
from tests.support.leaks import assert_nothing_held, settle
from tests.support.scripted import Action, Arrival, Hang, Reply, row, scripted, submitted

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The plain loop: several loops, threads and processes are used at once."""
    return "asyncio"


SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)
NOWHERE = "http://127.0.0.1:9"
SCRIPTS = Path(__file__).parents[1] / "support"

METHODS: dict[str, Callable[[AIVideoMaker], Coroutine[Any, Any, Any]]] = {
    "submit": lambda client: client.submit(SPEC),
    "generate": lambda client: client.generate(SPEC),
    "generate_many": lambda client: _first_of(client.generate_many([SPEC])),
    "get_task": lambda client: client.get_task("ck1"),
    "get_status": lambda client: client.get_status("ck1"),
    "list_tasks": lambda client: client.list_tasks(),
    "cancel": lambda client: client.cancel("ck1"),
    "account": lambda client: client.account(),
    "quote": lambda client: client.quote(SPEC),
    "async with": lambda client: client.__aenter__(),
    "task.result": lambda client: client.task("ck1").result(),
    "task.watch": lambda client: _first(client.task("ck1").watch()),
    "async for": lambda client: _first(client.task("ck1")),
    "task.status": lambda client: client.task("ck1").status(),
    "task.details": lambda client: client.task("ck1").details(),
    "task.cancel": lambda client: client.task("ck1").cancel(),
}


async def _first(items: Any) -> Any:
    async for item in items:
        return item
    raise AssertionError("there was no item")


async def _first_of(many: GenerateMany) -> Any:
    return (await anext(many)).unwrap()


def made(base_url: str = NOWHERE, **options: Any) -> AIVideoMaker:
    return AIVideoMaker("ak_test", base_url=base_url, **{"limiter": RateLimiter(6000), **options})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  (no event reports it)
            await asyncio.sleep(0.001)


def by_hand(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that does not wait without an event loop of asyncio, as under trio."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    finally:
        coroutine.close()
    raise AssertionError("it waits")


def whole_service(arrival: Arrival) -> Action:
    if arrival.method == "POST":
        return submitted()
    if arrival.path.endswith("/status"):
        return Reply(body={"status": "PROGRESS"})
    return Reply(body={"tasks": [row("ck1", "PROGRESS")], **row("ck1", "PROGRESS")})


# --- closed, elsewhere, nowhere ----------------------------------------------------------------------


async def test_every_call_of_a_closed_client_is_refused() -> None:
    """What needs no connection still works."""
    client = made()
    await asyncio.gather(client.aclose(), client.aclose())
    await client.aclose()
    for call in METHODS.values():
        with pytest.raises(ConfigurationError, match="the client is closed; open a new one"):
            await call(client)
    with pytest.raises(ConfigurationError, match="the client is closed"):
        WebhookReceiver(client, "https://me.example")
    works_anywhere(client)


def works_anywhere(client: AIVideoMaker) -> None:
    task = client.task("ck1")
    assert (task.id, task.last_status, task.submitted) == ("ck1", None, None)
    assert task.eta() is None
    assert client.statistics().watched == 0
    assert "ck1" in repr(task) and "127.0.0.1" in repr(client)
    client.generate_many([SPEC])
    task.watch()


def test_without_an_event_loop_of_asyncio_every_call_is_refused() -> None:
    """Under trio, for example. What needs no connection works there as well."""
    client = made()
    works_anywhere(client)
    for call in METHODS.values():
        with pytest.raises(ConfigurationError, match=r"no asyncio event loop runs here: .*not trio"):
            by_hand(call(client))
    by_hand(client.task("ck1").watch().aclose())
    by_hand(client.generate_many([SPEC]).aclose())
    WebhookReceiver(client, "https://me.example")
    by_hand(client.aclose())
    video = Video.of(TaskDetails(id="ck1", status="COMPLETED", output=None))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no running event loop"):
        by_hand(video.stream().__aenter__())


def test_without_an_event_loop_of_asyncio_a_limiter_is_an_error_only_when_it_has_to_wait() -> None:
    limiter = RateLimiter(1)
    by_hand(limiter.acquire())
    with pytest.raises(ConfigurationError, match="no asyncio event loop"):
        by_hand(limiter.acquire(Priority.BACKGROUND))
    assert limiter.acquire_nowait() is None
    shared = HostRateLimiter(name="wrong-use")
    with pytest.raises(ConfigurationError, match="no asyncio event loop"):
        by_hand(shared.acquire())
    for one in (limiter, shared):
        one.pause(0.0)
        assert one.statistics().rejected == 1


def test_in_another_event_loop_every_call_is_refused() -> None:
    """Each asyncio.run makes a new one. Iterators of the first can be closed in the second."""

    async def first() -> tuple[AIVideoMaker, Any, Any]:
        async with scripted(whole_service) as service:
            client = await made(service.url).__aenter__()
            watch, many = client.task("ck1").watch(), client.generate_many([SPEC] * 5, max_active=2)
            assert (await anext(watch)).status == "PROGRESS"
            reading = asyncio.ensure_future(anext(many))
            await service.arrival()
            await settle()
            reading.cancel()
            return client, watch, many

    async def second(client: AIVideoMaker, watch: Any, many: Any) -> None:
        calls: list[Awaitable[Any]] = [*(call(client) for call in METHODS.values()), anext(watch), anext(many)]
        for call in calls:
            with pytest.raises(ConfigurationError, match="was first used in another event loop; open one client in"):
                await call
        assert client.task("ck1").id == "ck1"
        assert "open" in repr(client)
        await watch.aclose()
        await many.aclose()
        # Its own loop is closed, so it may be closed here.
        await client.aclose()
        await client.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await client.account()

    with silent_ends():
        asyncio.run(second(*asyncio.run(first())))
        gc.collect()


@contextmanager
def silent_ends() -> Iterator[None]:
    """Ignore the warnings about sockets that a closed loop leaves to the garbage collector."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: (
        None if "unclosed transport" in str(unraisable.exc_value) else before(unraisable)
    )
    try:
        yield
    finally:
        sys.unraisablehook = before


async def test_a_client_that_is_used_from_another_thread_is_refused_there_and_goes_on_here() -> None:
    """Also a batch, a watch and the end of the client: nothing hangs, and nothing is broken."""
    async with scripted(whole_service) as service:
        async with made(service.url) as client:
            watch, many = client.task("ck1").watch(), client.generate_many([SPEC])
            await anext(watch)
            waiting = [asyncio.ensure_future(anext(watch)), asyncio.ensure_future(anext(many))]
            await settle()

            async def elsewhere() -> list[str]:
                # A web server may take deliveries in a thread of its own.
                WebhookReceiver(client, "https://me.example")
                calls: list[Awaitable[Any]] = [call(client) for call in METHODS.values()]
                calls += [anext(watch), anext(many), client.aclose()]
                return [str(error) for error in await asyncio.gather(*calls, return_exceptions=True)]

            errors = await asyncio.to_thread(asyncio.run, elsewhere())
            assert len(errors) == len(METHODS) + 3
            assert {error.partition(";")[0] for error in errors} == {"this client was first used in another event loop"}
            assert not any(call.done() for call in waiting)
            assert await client.get_status("ck1") == "PROGRESS"
            # Closing it from there is no mistake: it ends here.
            await asyncio.to_thread(asyncio.run, _end(many))
            with pytest.raises(StopAsyncIteration):
                await waiting[1]
            waiting[0].cancel()
        await assert_nothing_held(client)


async def _end(many: Any) -> None:
    await many.aclose()


# --- closed during calls -----------------------------------------------------------------------------


async def test_closing_ends_all_calls_in_flight_at_once() -> None:
    """A submit that was sent is an unknown outcome; any other call reports that the client was closed."""
    async with scripted(lambda _: Hang()) as service:
        client = made(service.url, retries=RetryPolicy(max_attempts=1))
        calls = {name: asyncio.ensure_future(METHODS[name](client)) for name in METHODS if name != "async with"}
        await until(lambda: len(service.arrivals) >= 5)
        began = time.monotonic()
        await client.aclose()
        errors = dict(zip(calls, await asyncio.gather(*calls.values(), return_exceptions=True), strict=True))
        assert time.monotonic() - began < 5
    unknown = {name for name, error in errors.items() if isinstance(error, SubmitOutcomeUnknown)}
    assert unknown <= {"submit", "generate", "generate_many"}
    for name in errors.keys() - unknown:
        assert type(errors[name]) is ConfigurationError, name
        assert "closed" in str(errors[name])
    await assert_nothing_held(client)


async def test_a_client_that_is_entered_twice_is_closed_once() -> None:
    """By the inner block."""
    async with scripted(whole_service) as service, made(service.url) as client:
        async with client:
            await client.get_status("ck1")
        with pytest.raises(ConfigurationError, match="closed"):
            await client.get_status("ck1")


# --- never closed ------------------------------------------------------------------------------------


@pytest.fixture
def no_automatic_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


dropped: Final = pytest.mark.usefixtures("no_automatic_collection")


async def use(url: str) -> int:
    """Use a client and drop it in a reference cycle; return the line that made it."""
    client = AIVideoMaker("ak_test", base_url=url, limiter=RateLimiter())
    vars(client)["itself"] = client
    await client.get_status("ck1")
    await client.submit(SPEC)
    return use.__code__.co_firstlineno + 2


@dropped
async def test_a_client_that_is_dropped_open_warns_with_the_line_that_made_it() -> None:
    """Its connections are closed, and aiohttp warns of nothing."""
    async with scripted(whole_service) as service:
        line = await use(service.url)
        with pytest.warns(ResourceWarning) as caught:
            gc.collect()
        assert [(warning.category, warning.lineno) for warning in caught] == [(ResourceWarning, line)]
        warning = caught[0]
        assert Path(warning.filename).name == "test_wrong_use.py"
        assert "unclosed client <AIVideoMaker http://127.0.0.1" in str(warning.message)
        assert "async with AIVideoMaker()" in str(warning.message)
        assert warning.source is not None
        await until(lambda: not service.connections)


@dropped
async def test_a_client_that_has_nothing_open_is_dropped_without_a_warning() -> None:
    """It was never used, used a session of the caller, was closed, or could not be made."""
    async with scripted(whole_service) as service, aiohttp.ClientSession() as http:
        made().task("ck1")
        await made(service.url, http=http).get_status("ck1")
        async with made(service.url) as client:
            await client.get_status("ck1")
        del client
        with pytest.raises(ConfigurationError):
            made("nowhere")
        gc.collect()


async def run(script: str, *arguments: str) -> tuple[list[Any], str]:
    """Run one of the scripts; return its output, each line decoded from JSON, and its standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "dev", SCRIPTS / script, *arguments, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.splitlines()], err.decode()


async def test_a_client_that_is_open_at_the_end_of_a_program_warns_as_well() -> None:
    """The event loop is closed by then. Beside it, only sockets are reported, which nothing could close."""
    async with scripted(whole_service) as service:
        printed, err = await run("unclosed.py", service.url)
    complaints = [line for line in err.splitlines() if "nclosed" in line or "Error" in line]
    ours = [line for line in complaints if "unclosed client <AIVideoMaker" in line]
    assert [line.partition(": ResourceWarning")[0] for line in ours] == [f"{SCRIPTS / 'unclosed.py'}:{printed[0]}"]
    assert all("unclosed transport" in line or "unclosed <socket" in line for line in complaints if line not in ours)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
async def test_in_a_forked_child_a_used_client_is_refused_and_an_unused_one_works() -> None:
    """The parent goes on with the connection that it had."""
    async with scripted(whole_service) as service:
        printed, err = await run("forked.py", service.url)
    refused = "this client was first used in another process"
    assert printed[0] == [[name, refused] for name in ("get_status", "submit", "list_tasks", "result", "watch")]
    assert printed[1] == {"unused": "PROGRESS", "limiter": 3, "closed": True, "delivery": None}
    assert printed[2] == {"parent": "PROGRESS", "child": 0, "limiter": 1}
    assert "Unclosed" not in err and "unclosed client" not in err
    by_parent = [item.connection for item in service.arrivals if "parent" in item.path]
    assert len(by_parent) == 3 and len(set(by_parent)) == 1
