"""A service that answers anything: each call ends with a result or a clear error, and each wait ends as it should."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    APIError,
    BadResponse,
    RetryPolicy,
    SubmitOutcomeUnknown,
    TextToVideo,
    TransportError,
    VideoTask,
    WaitTimeout,
)
from tests.support.lists import values
from tests.support.pictures import PNG, data_uri
from tests.support.scripted import Action, Arrival, Drop, Endless, Hang, Raw, Reply, row
from tests.support.service import Service, watching
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)
STEPS = ((0.0, "SUBMITTED"), (5.0, "PROGRESS"), (30.0, "COMPLETED"))
IN_ORDER = ["SUBMITTED", "PROGRESS", "COMPLETED"]
LIST = "/api/v1/tasks"
ONCE = RetryPolicy(max_attempts=1)


def text(status: int, body: bytes, **headers: str) -> Reply:
    return Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


GOOD: dict[str, Any] = {
    **row("ck1", "PROGRESS"),
    "taskId": "ck1",
    "tasks": [row("ck1", "PROGRESS")],
    "currentBalance": 5,
    "credits": 5,
}
"""A good answer to every call."""
BODY = json.dumps(GOOD).encode()

USELESS_ANSWERS: dict[str, Action] = {
    "empty": Reply(),
    "null": text(200, b"null"),
    "list": text(200, b"[]"),
    "text": text(200, b'"PROGRESS"'),
    "html": text(200, b"<html>Welcome</html>", Content_Type="text/html"),
    "cut": text(200, BODY[:-1]),
    "two": text(200, BODY + BODY),
    "deep lists": text(200, b"[" * 100_000),
    "deep objects": text(200, b'{"status":' * 100_000),
    "closed deep lists": text(200, b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "too many digits": text(200, b'{"status":"PROGRESS","n":' + b"9" * 5000 + b"}"),
    "NUL": text(200, b"\0" * 1000),
    "Latin-1": text(200, b'{"status":"\xe9"}'),
    "spaces": text(200, b" " * 500_000),
    "nothing new": Reply(204),
    "reset": Reply(205),
    "gzip that is none": text(200, BODY, Content_Encoding="gzip"),
    "half of a gzip": text(200, gzip.compress(BODY)[:50], Content_Encoding="gzip"),
    "deflate that is none": text(200, BODY, Content_Encoding="deflate"),
    "unknown coding": text(200, gzip.compress(BODY), Content_Encoding="zip"),
    "too short": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + BODY),
    "too long": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY),
    "two lengths": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n" + BODY),
    "negative length": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + BODY),
    "no such chunk": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + BODY),
    "bare body": Raw(BODY),
    "HTTP/0.9": Raw(b"<html>Welcome</html>"),
    "another protocol": Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "TLS": Raw(b"\x15\x03\x01\x00\x02\x02\x46"),
    "upgrade": Raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00"),
    "only 100": Raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "status line": Raw(b"HTTP/1.1 banana\r\n\r\n"),
    "broken headers": Raw(b"HTTP/1.1 200 OK\r\nX: a\r\n b: \x00\r\nno colon\r\n\r\n{}"),
    "nothing": Drop(),
}

ODD_ANSWERS: dict[str, Action] = {
    "byte order mark": text(200, b"\xef\xbb\xbf" + BODY),
    "another type": text(200, BODY, Content_Type="text/html; charset=utf-16"),
    "no type": Raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY),
    "no length": Raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
    "by a proxy": Reply(203, BODY),
    "created": Reply(201, BODY),
    "after 100 and 103": Raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    ),
    "gzip": text(200, gzip.compress(BODY), Content_Encoding="gzip"),
    "twice the same": text(200, b'{"status":5,"id":[],"taskId":null,' + BODY[1:]),
    "numbers": text(200, b'{"n":[NaN,Infinity,-Infinity,1e999,-1e-999,' + b"9" * 400 + b"]," + BODY[1:]),
    "surrogates": text(200, b'{"\\ud800":"\\udfff",' + BODY[1:]),
    "control characters": text(200, b'{"\\u0000\\u001b[2J":"\\n\\u2028",' + BODY[1:]),
    "an image": text(200, json.dumps({**GOOD, "thumb": data_uri(PNG * 1000)}).encode()),
}


def calls(client: AIVideoMaker) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return every call of the API."""
    return {
        "list": client.list_tasks,
        "status": lambda: client.get_status("ck1"),
        "details": lambda: client.get_task("ck1"),
        "cancel": lambda: client.cancel("ck1"),
        "account": client.account,
        "quote": lambda: client.quote(SPEC),
        "submit": lambda: client.submit(SPEC, timeout=60),
    }


# --- calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", USELESS_ANSWERS.values(), ids=USELESS_ANSWERS)
async def test_a_useless_answer_is_a_clear_error_of_every_call(action: Action) -> None:
    """A submit is looked up in the list, which is useless as well, and its error says that it may have been paid."""
    service = Service()
    service.override = lambda _: action
    async with watching(service, retries=ONCE, timeout=3.0) as (server, client):
        for name, call in calls(client).items():
            with pytest.raises((TransportError, SubmitOutcomeUnknown)) as caught:
                await call()
            assert isinstance(caught.value, SubmitOutcomeUnknown) is (name == "submit")
            assert len(str(caught.value)) < 600
            assert str(caught.value).isprintable()
    posts = [item for item in server.arrivals if item.method == "POST" and "generate" in item.path]
    assert len(posts) == 1, "a submit is never repeated blindly"
    asked = [item.path.rpartition("/")[2] for item in server.arrivals[: server.arrivals.index(posts[0])]]
    # After a failed cancel the status is queried. No other request is repeated, by aiohttp for example.
    assert asked == ["tasks", "status", "ck1", "cancel", "status", *asked[5:]]
    assert len(asked) == 7


@pytest.mark.parametrize("action", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
async def test_an_odd_answer_that_has_what_is_needed_is_a_result_of_every_call(action: Action) -> None:
    service = Service()
    service.override = lambda _: action
    async with watching(service, retries=ONCE) as (_, client):
        for call in calls(client).values():
            assert "iVBOR" not in repr(await call())


@pytest.mark.parametrize("status", [302, 400, 401, 402, 404, 405, 409, 422, 500, 503, 599, 999])
async def test_an_error_status_is_an_error_whatever_stands_in_its_body(status: int) -> None:
    """Its message is shown on one line, where it has one."""
    message = "no\r\nERROR root: \x1b[2J all is lost ak_test" + "x" * 10_000
    bodies = [
        json.dumps({"status": "FAILED", "message": message, "errorCode": "A\nB" * 1000}).encode(),
        json.dumps({"message": {"a": [message]}, "error": 5, "errorCode": ["x"]}).encode(),
        b'{"message":' + b"[" * 100_000,
        b"x" * 1_000_000,
        b"\xff" * 1000,
    ]
    service = Service()
    async with watching(service, retries=ONCE, call_timeout=3.0) as (_, client):
        for body in bodies:
            service.override = lambda _, body=body: Reply(status, body)  # type: ignore[misc]
            with pytest.raises((APIError, SubmitOutcomeUnknown)) as caught:
                await client.submit(SPEC)
            # A 409 without a message may be a proxy's; the outcome at the service is unknown then.
            is_unknown = status >= 500 or (status == 409 and body is not bodies[0])
            assert isinstance(caught.value, SubmitOutcomeUnknown) is is_unknown
            with pytest.raises(APIError) as error:
                await client.cancel("ck1")
            assert error.value.status == status
            for text_of_error in (str(error.value), str(caught.value)):
                assert text_of_error.isprintable()
                assert len(text_of_error) < 1500
                assert "ak_test" not in text_of_error


async def test_a_list_that_reports_an_error_is_one_however_deep_its_other_fields_are() -> None:
    deep = b"[" * 900 + b"]" * 900
    service = Service()
    service.override = lambda _: text(
        200, b'{"status":"FAILED","message":"down","x":' + deep + b',"\\ud800":"\\ud800"}'
    )
    async with watching(service, retries=ONCE) as (_, client):
        with pytest.raises(APIError, match="200: down"):
            await client.list_tasks()


# --- ids ---------------------------------------------------------------------------------------------


ODD_IDS = ["a/b", "../x", "%2F", "a?b#c", "a\r\nkey: x", "\x1b[2J", "ключ", "x" * 5000, "-"]


@pytest.mark.parametrize("task_id", ODD_IDS)
async def test_a_task_with_an_odd_id_can_be_awaited(task_id: str, caplog: pytest.LogCaptureFixture) -> None:
    """By the list and by its own endpoints, and it breaks no log line."""
    caplog.set_level(logging.DEBUG, "aivideomaker_async")
    service = Service()

    def answer(arrival: Arrival) -> Action | None:
        if arrival.method == "POST":
            return Reply(200, {"status": "SUBMITTED", "taskId": task_id})
        if arrival.path == LIST:
            return None
        assert arrival.path.count("/") <= 5
        now = service.row(task_id, arrival.at)
        return Reply(200, {"status": now["status"]} if arrival.path.endswith("/status") else now)

    service.override = answer
    async with watching(service) as (_, client):
        service.add(task_id, *STEPS)
        task = await client.submit(SPEC)
        assert task.id == task_id
        assert await statuses(task) == IN_ORDER
        assert (await task.result()).id == task_id
        assert len(repr(task)) < 500
        service.add(task_id, (0.0, "FAILED"))
        with pytest.raises(AIVideoMakerError) as caught:
            await client.task(task_id).cancel()
            await client.task("x" + task_id).result(5.0)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500
    assert caplog.messages
    assert all(message.isprintable() and len(message) < 1500 for message in caplog.messages)


# --- waits -------------------------------------------------------------------------------------------


async def statuses(task: VideoTask) -> list[str]:
    return [str(change.status) async for change in task]


DRIPPING: dict[str, Action] = {
    "a byte a second": Endless(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" ", 1.0),
    "a header a second": Endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", 1.0),
    "nothing at all": Hang(),
}


def listed(*rows: object) -> bytes:
    return json.dumps({"tasks": rows}).encode()


A = row("a", "PROGRESS")
LISTS: dict[str, bytes] = {
    "null": b'{"tasks":null}',
    "an object": b'{"tasks":{"a":{"id":"a","status":"PROGRESS"}}}',
    "a text": b'{"tasks":"a"}',
    "rows that are not tasks": listed(None, [], "a", 5, [A], {"a": A}, A),
    "empty rows": b'{"tasks":[' + b"{}," * 20_000 + b"{}]}",
    "the same again and again": listed(*[A] * 500),
    "the same with every status": listed(A, *(row("a", name) for name in ("SUBMITTED", "NEW", "FAILED", "CANCEL"))),
    "no status": listed({"id": "a"}, {"id": "b", "status": None}, {"id": "c", "status": ["COMPLETED"]}),
    "odd statuses": listed(row("a", "x" * 10**6), row("b", "A\nB"), row("c", "")),
    "too deep": b'{"tasks":[{"id":"a","status":"COMPLETED","output":' + b"[" * 900 + b"]" * 900 + b"}]}",
    "much too deep": b'{"tasks":[{"id":"a","status":' + b"[" * 50_000 + b"]" * 50_000 + b"}]}",
    "too many values": b'{"tasks":[{"id":"a","status":"FAILED","input":[' + b"[]," * 150_000 + b"0]}]}",
    "many fields": json.dumps({str(number): 0 for number in range(10_000)} | {"tasks": [A]}).encode(),
    "two lists": listed(A)[:-1] + b',"tasks":[{"id":"b","status":"PROGRESS"}]}',
    "lists in lists": listed([A, [A]], {"tasks": [A]}),
}


@pytest.mark.parametrize("body", LISTS.values(), ids=LISTS)
async def test_no_list_ends_a_wait_wrongly(body: bytes) -> None:
    """Each task is queried by itself then."""
    service = Service()
    service.override = lambda arrival: Reply(200, body) if arrival.path == LIST else None
    async with watching(service) as (_, client):
        for name in "abc":
            service.add(name, *STEPS)
        histories = await asyncio.gather(*(statuses(client.task(name)) for name in "abc"))
        assert all(history[-1] == "COMPLETED" for history in histories)
        with suppress(BadResponse):
            assert len(await client.list_tasks()) <= 500


async def test_tasks_that_are_missing_from_every_second_list_are_followed_to_their_end() -> None:
    service = Service()
    shown = 0

    def answer(arrival: Arrival) -> Action | None:
        nonlocal shown
        if arrival.path == LIST:
            shown += 1
            service.unlisted = {name for number, name in enumerate("abcdef") if number % 3 != shown % 3}
        return None

    service.override = answer
    async with watching(service) as (_, client):
        for name in "abcdef":
            service.add(name, *STEPS)
        for history in await asyncio.gather(*(statuses(client.task(name)) for name in "abcdef")):
            assert history[-1] == "COMPLETED"


TIMES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "1970-01-01T00:00:00Z",
    "2999-12-31T23:59:59.999Z",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-23:59",
    "2026-03-19T08:00:00+23:59",
]
PAIRS = [*zip(TIMES, TIMES, strict=True), (TIMES[3], TIMES[2]), (TIMES[0], TIMES[4])]
DATES = ["Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 2999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359", "x", ""]


@pytest.mark.parametrize(
    ("date", "times"), [*zip(cycle(DATES), PAIRS, strict=False), *((date, PAIRS[3]) for date in DATES)]
)
async def test_clocks_that_are_years_off_do_no_harm(date: str, times: tuple[str, str]) -> None:
    """Neither to the frequency of polls, nor to the expiry of videos, nor to estimates."""
    service = Service()
    fields = {"createdAt": times[0], "completedAt": times[1]}
    service.old_rows = [row(f"old{number}", "COMPLETED", **fields) for number in range(50)]

    def answer(arrival: Arrival) -> Action | None:
        service.override = lambda _: None
        reply = service(arrival)
        service.override = answer
        assert isinstance(reply, Reply)
        return Reply(reply.status, reply.body, {"Date": date})

    service.override = answer
    loop = asyncio.get_running_loop()
    async with watching(service) as (server, client):
        for name in "ab":
            service.add(name, *STEPS)
            service.fields[name] = fields
        tasks = [client.task("a"), client.task("b"), await client.submit(SPEC)]
        began = loop.time()
        histories = asyncio.gather(*(statuses(task) for task in tasks[:2]))
        for task in tasks[:2]:
            video = await task.result()
            assert repr(video.details)
            assert video.expires_at.tzinfo is not None
            assert task.eta() is None
        assert (await histories)[0][-1] == "COMPLETED"
        assert loop.time() - began < 52
        assert (await client.get_task("a")).id == "a"
        eta = tasks[2].eta()
        assert eta is None or eta.earliest <= eta.at <= eta.latest
    assert len(server.arrivals) < 70


# --- anything ----------------------------------------------------------------------------------------

STALE = st.sampled_from(["SUBMITTED", "PROGRESS", "NEW", "x" * 200, "A\nB"])
mischief: st.SearchStrategy[Action | None] = st.one_of(
    st.none(),
    st.sampled_from([*USELESS_ANSWERS.values(), *DRIPPING.values(), *ODD_ANSWERS.values()]),
    st.sampled_from([text(200, body) for name, body in LISTS.items() if len(body) < 10_000]),
    st.binary(max_size=200).map(Raw),
    st.binary(max_size=100).map(lambda noise: Raw(b"HTTP/1.1 200 OK\r\n" + noise)),
    values.map(lambda value: text(200, json.dumps(value).encode())),
    STALE.map(lambda status: Reply(200, {**GOOD, "status": status, "tasks": [row("a", status), row("a", "NEW")]})),
    st.builds(
        lambda status, after: Reply(status, {"message": "later"}, {"Retry-After": after}),
        st.sampled_from([408, 429, 500, 503]),
        st.sampled_from(["0", "1", "-5", "1e9", "nan", "9" * 500, "Thu, 01 Jan 1970 00:00:00 GMT", "soon", ""]),
    ),
    st.builds(lambda delay: Reply(200, {"status": "PROGRESS"}, delay=delay), st.floats(0, 100)),
)


@given(st.lists(mischief, max_size=25), st.integers(1, 200), st.integers(0, 100))
@settings(max_examples=max(10, settings().max_examples // 3), deadline=None)
def test_every_wait_ends_well_after_any_sequence_of_answers(plan: list[Action | None], short: int, leaves: int) -> None:
    """Once the answers are good. Nothing is left behind."""
    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(wait_through(plan, short, leaves))


async def wait_through(plan: list[Action | None], short: int, leaves: int) -> None:
    loop, service, trouble = asyncio.get_running_loop(), Service(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: trouble.append(context))
    queue = list(plan)
    service.override = lambda _: queue.pop(0) if queue else None
    service.steps = lambda _: STEPS
    async with watching(service, wait_timeout=50_000.0) as (_, client):
        for name in "abcd":
            service.add(name, *STEPS)
        began = loop.time()
        results = [asyncio.ensure_future(client.task(name).result()) for name in "aab"]
        history = asyncio.ensure_future(statuses(client.task("a")))
        submits = asyncio.ensure_future(submit_until_created(client))
        gives_up = asyncio.ensure_future(client.task("c").result(short))
        is_cancelled = asyncio.ensure_future(statuses(client.task("d")))
        for call in (client.list_tasks, client.task("a").details, client.task("d").cancel, client.account):
            with suppress(AIVideoMakerError):
                await call()
        await asyncio.sleep(leaves)
        is_cancelled.cancel()
        try:
            assert (await gives_up).id == "c"
        except WaitTimeout:
            assert loop.time() - began >= short
        assert [(await result).url for result in results] == [f"https://cdn.example/{name}.mp4" for name in "aab"]
        known = [status for status in await history if status in IN_ORDER]
        assert known == [status for status in IN_ORDER if status in known]
        assert known[-1] == "COMPLETED"
        await submits
        await asyncio.wait([is_cancelled])
        del results, history, submits, gives_up, is_cancelled
    gc.collect()
    assert trouble == []


async def submit_until_created(client: AIVideoMaker) -> None:
    """Submit again and again until there is a handle."""
    while True:
        try:
            task = await client.submit(SPEC)
        except AIVideoMakerError as error:
            assert str(error).isprintable()
            await asyncio.sleep(60)
        else:
            with suppress(AIVideoMakerError):
                await task.result()
            return
