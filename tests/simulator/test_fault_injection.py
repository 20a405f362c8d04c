"""Faults and outages over HTTP, in virtual time: what the client sees, and that the simulator stays sound."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Unpack
from unittest.mock import call as mock_call
from unittest.mock import create_autospec

import aiohttp
import pytest

from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.fault_kinds import FAULT_KINDS, FaultDetails, FaultKind
from aivideomaker_async.simulator.faults import FaultOn
from aivideomaker_async.simulator.open_exchanges import sleep_while_connected
from tests.simulator.client import PNG_URI, T2V, Caller, FakeClock, running
from tests.support.leaks import settle

pytestmark = pytest.mark.anyio

SUBMIT = "/api/v1/generate/t2v"
LIST = "/api/v1/tasks"

NEEDED: Mapping[str, FaultDetails] = {"redirect": {"location": "/elsewhere"}, "slow": {"seconds": 60}}
"""The required details."""

SMALL: Mapping[str, FaultDetails] = {
    "huge": {"size": 200_000},
    "gzip_bomb": {"size": 200_000},
    "trickle": {"seconds": 1, "size": 50},
    "deep_json": {"depth": 100},
    "endless": {"seconds": 1, "size": 1000},
}
"""Sizes at which tests are fast."""


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Neither aiohttp nor asyncio takes a fault for a bug of the server."""
    yield
    assert [one.getMessage() for one in caplog.get_records("call") if one.levelno >= logging.WARNING] == []


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    yield
    assert [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task.get_coro())] == []


def detailed(kind: str, **more: Unpack[FaultDetails]) -> FaultDetails:
    return {**NEEDED.get(kind, {}), **SMALL.get(kind, {}), **more}


def port(simulator: Simulator) -> int:
    return int(simulator.url.rpartition(":")[2])


async def exchange(simulator: Simulator, method: str = "GET", path: str = LIST, body: object = None) -> bytes:
    """Send a request, and return everything that arrives until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port(simulator))
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\nConnection: close\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    writer.write(f"{head}\r\n".encode() + content)
    try:
        return await reader.read()
    finally:
        writer.close()


@asynccontextmanager
async def with_a_video(*, ranges: bool = True) -> AsyncIterator[tuple[Simulator, Caller, str, bytes]]:
    """Run a simulator with a finished task, and give the path and the content of its video."""
    async with running(durations=(0, 0), ranges=ranges) as (simulator, call):
        path = f"/videos/{await call.submit()}.mp4"
        yield simulator, call, path, (await call("GET", path)).body


def anything(method: str, path: str) -> bool:
    return True


async def until(is_so: Callable[[], object]) -> None:
    while not is_so():  # noqa: ASYNC110  (no time passes)
        await asyncio.sleep(0)


def last(simulator: Simulator) -> tuple[int, str | None]:
    arrival = simulator.requests[-1]
    return arrival.status, arrival.fault


# --- every kind --------------------------------------------------------------------------------------


def acts(kind: str) -> list[bool]:
    return [False, True] if "acted" in FAULT_KINDS[kind].takes else [FAULT_KINDS[kind].defaults.acted]


@pytest.mark.parametrize(
    ("kind", "acted"), [(kind, acted) for kind, one in FAULT_KINDS.items() if not one.files for acted in acts(kind)]
)
async def test_the_server_acts_or_does_not(kind: FaultKind, acted: bool) -> None:
    async with running() as (simulator, call):
        more: FaultDetails = {"acted": acted} if len(acts(kind)) == 2 else {}
        fault = simulator.fault(kind, on="submit", **detailed(kind, **more))
        with suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(120):
                await call("POST", SUBMIT, T2V)
        assert (fault.hits, len(simulator.tasks), simulator.credits) == (1, int(acted), 10_000 - 5 * acted)
        assert [one.fault for one in simulator.requests] == [kind]


@pytest.mark.parametrize("kind", FAULT_KINDS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_after_a_fault_on_every_path_everything_is_as_usual(kind: FaultKind, method: str) -> None:
    async with with_a_video() as (simulator, call, path, content):
        on: FaultOn = "video" if FAULT_KINDS[kind].files else anything
        with simulator.fault(kind, on=on, times=None, **detailed(kind)):
            for where in (path, LIST, "/nowhere", "/uploads/x.png"):
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with asyncio.timeout(5):
                        await call(method, where)
        await settle()
        hit = {one.path for one in simulator.requests if one.fault == kind}
        assert hit == ({path} if FAULT_KINDS[kind].files else {path, LIST, "/nowhere", "/uploads/x.png"})
        assert (await call("GET", path)).body == content
        assert len((await call("GET", LIST)).json["tasks"]) == 1


@pytest.mark.parametrize("kind", ["hang", "slow", "trickle", "endless", "huge", "gzip_bomb"])
async def test_no_fault_outlives_the_simulator(kind: FaultKind) -> None:
    """The end takes no time, though a client waits, or reads nothing."""
    details: FaultDetails = {"seconds": 9000} if "seconds" in FAULT_KINDS[kind].takes else {}
    async with running() as (simulator, _):
        fault = simulator.fault(kind, **details)
        reader, writer = await asyncio.open_connection("127.0.0.1", port(simulator), limit=1024)
        writer.write(f"GET {LIST} HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\n\r\n".encode())
        await until(lambda: fault.hits)
        await settle(100)
        before = asyncio.get_running_loop().time()
        await simulator.aclose()
        assert asyncio.get_running_loop().time() - before < 1
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(10**8)
        writer.close()
    assert len(simulator.requests) == 1


# --- no answer ---------------------------------------------------------------------------------------


async def test_a_drop_ends_the_connection_without_a_byte() -> None:
    async with running() as (simulator, _):
        simulator.fault("drop", times=2)
        assert await exchange(simulator) == b""
        assert await exchange(simulator, "POST", SUBMIT, {**T2V, "prompt": "x" * 500_000}) == b""
        assert last(simulator) == (0, "drop")


async def test_a_reset_is_an_error_of_the_connection() -> None:
    async with running() as (simulator, _):
        simulator.fault("reset")
        with pytest.raises(ConnectionResetError):
            await exchange(simulator)
        assert last(simulator) == (0, "reset")


async def test_a_hang_is_recorded_at_once_and_ends_when_the_client_disconnects() -> None:
    async with running() as (simulator, call):
        simulator.fault("hang", on="submit", acted=True)
        waiting = asyncio.create_task(call("POST", SUBMIT, T2V))
        await until(lambda: simulator.requests)
        assert last(simulator) == (0, "hang")
        await asyncio.sleep(200)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        await settle()
        assert [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task)] == []


# --- late answers ------------------------------------------------------------------------------------


async def test_a_slow_answer_is_good_and_keeps_its_connection() -> None:
    async with running() as (simulator, call):
        simulator.fault("slow", seconds=60, times=2)
        begun = asyncio.get_running_loop().time()
        for _ in range(3):
            assert (await call("GET", LIST)).json == {"tasks": []}
        assert 120 <= asyncio.get_running_loop().time() - begun < 121
        connections = call.session.connector
        assert connections is not None
        assert sum(map(len, connections._conns.values())) == 1
        assert [one.fault for one in simulator.requests] == ["slow", "slow", None]


async def test_a_client_that_does_not_wait_for_a_slow_answer_is_recorded_as_unanswered() -> None:
    async with running() as (simulator, call):
        simulator.fault("slow", on="submit", seconds=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await call("POST", SUBMIT, T2V)
        await settle()
        assert last(simulator) == (0, "slow")
        assert len(simulator.tasks) == 1


async def test_a_trickle_takes_its_time() -> None:
    async with running() as (simulator, call):
        simulator.fault("trickle", on="list", seconds=2)
        begun = asyncio.get_running_loop().time()
        answer = await call("GET", LIST)
        assert answer.json == {"tasks": []}
        assert asyncio.get_running_loop().time() - begun == pytest.approx(2 * (len(answer.body) - 1), abs=1)
        assert answer.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize("half_closed", [False, True])
async def test_the_connection_is_served_while_an_answer_waits(half_closed: bool) -> None:
    """Requests that are sent in the meantime wait. A client that closes its side disconnects, as ever with aiohttp."""
    async with running() as (simulator, _):
        simulator.fault("slow", seconds=60)
        reader, writer = await asyncio.open_connection("127.0.0.1", port(simulator))
        head = f"GET {LIST} HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\n".encode()
        writer.write(head + b"\r\n")
        await asyncio.sleep(1)
        writer.write(head + b"\r\n")
        writer.write(head + b"Connection: close\r\n\r\n")
        if half_closed:
            writer.write_eof()
        answers = (await reader.read()).count(b'{"tasks": []}')
        writer.close()
        await settle()
        faults = [one.fault for one in simulator.requests]
        assert (answers, faults) == ((0, ["slow"]) if half_closed else (3, ["slow", None, None]))


async def test_the_protocol_of_a_connection_gets_every_call_while_an_answer_waits() -> None:
    inner, transport = (
        create_autospec(asyncio.Protocol, instance=True),
        create_autospec(asyncio.Transport, instance=True),
    )
    transport.get_protocol.return_value = inner
    sleeping = asyncio.create_task(sleep_while_connected(transport, None))
    await settle()
    watcher = transport.set_protocol.call_args[0][0]
    calls = [
        mock_call.pause_writing(),
        mock_call.resume_writing(),
        mock_call.data_received(b"x"),
        mock_call.eof_received(),
    ]
    for name, arguments, _ in [*calls, mock_call.connection_lost(None), mock_call.connection_lost(None)]:
        getattr(watcher, name)(*arguments)
    with pytest.raises(ConnectionResetError, match="has disconnected"):
        await sleeping
    assert inner.mock_calls == [*calls, mock_call.connection_lost(None), mock_call.connection_lost(None)]


# --- errors ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("details", "status", "media_type", "body"),
    [
        ({}, 500, "application/json; charset=utf-8", b'{"status": "FAILED", "message": "Internal Server Error"}'),
        ({"status": 599}, 599, "application/json; charset=utf-8", b'{"status": "FAILED", "message": "Unknown"}'),
        ({"status": 422, "body": "no"}, 422, "text/plain; charset=utf-8", b"no"),
        ({"body": b"\x00\xff"}, 500, "application/octet-stream", b"\x00\xff"),
        ({"body": {"errorCode": "X"}}, 500, "application/json; charset=utf-8", b'{"errorCode": "X"}'),
        ({"body": {}}, 500, "application/json; charset=utf-8", b"{}"),
    ],
    ids=str,
)
async def test_a_status_has_the_body_of_the_api_or_another(
    details: dict[str, Any], status: int, media_type: str, body: bytes
) -> None:
    async with running() as (simulator, call):
        simulator.fault("status", retry_after=7, **details)
        answer = await call("GET", LIST)
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (status, media_type, body)
        assert answer.headers["Retry-After"] == "7"
        assert simulator.statistics().queries == 0


async def test_a_proxy_answers_in_html_before_the_key_is_checked() -> None:
    async with running() as (simulator, call):
        simulator.fault("html")
        simulator.fault("html", status=200)
        for status in (502, 200):
            answer = await call("GET", LIST, key="wrong")
            assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
            assert answer.body.startswith(b"<!DOCTYPE html>")
        simulator.fault("empty")
        assert (await call("GET", LIST, key="wrong")).status == 401


async def test_a_redirect_has_a_location() -> None:
    async with running() as (simulator, call):
        for status in (301, 302, 303, 307, 308):
            simulator.fault("redirect", location="http://evil.example/", status=status)
            answer = await call("GET", LIST)
            assert (answer.status, answer.headers["Location"]) == (status, "http://evil.example/")


@pytest.mark.parametrize(
    ("retry_after", "sent"),
    [
        (3, "3"),
        (3.0, "3"),
        (1.5, "1.5"),
        ("soon", "soon"),
        (datetime(2026, 3, 19, 8, 0, 5, tzinfo=UTC), "Thu, 19 Mar 2026 08:00:05 GMT"),
        (None, None),
    ],
)
async def test_a_rate_limit_has_a_retry_after(retry_after: Any, sent: str | None) -> None:
    async with running() as (simulator, call):
        simulator.fault("rate_limit", retry_after=retry_after)
        answer = await call("POST", SUBMIT, T2V)
        assert (answer.status, answer.json) == (429, {"status": "FAILED", "message": "Too many requests"})
        assert answer.headers.get("Retry-After") == sent


# --- corrupted answers -------------------------------------------------------------------------------


async def test_a_truncated_answer_breaks_off_in_the_middle() -> None:
    async with running() as (simulator, call):
        whole = (await call("GET", LIST)).body
        simulator.fault("truncate")
        head, _, body = (await exchange(simulator)).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(whole)}".encode() in head
        assert body == whole[: len(whole) // 2]
        simulator.fault("truncate", size=3)
        with pytest.raises(aiohttp.ClientPayloadError):
            await call("GET", LIST)


@pytest.mark.parametrize("by", [5, -5, -10_000])
async def test_a_length_is_wrong(by: int) -> None:
    async with running() as (simulator, call):
        whole = (await call("GET", LIST)).body
        simulator.fault("wrong_length", by=by)
        head, _, body = (await exchange(simulator)).partition(b"\r\n\r\n")
        assert f"Content-Length: {max(len(whole) + by, 1)}".encode() in head
        assert body == whole
        assert simulator.statistics().bytes_sent == 2 * len(whole)


@pytest.mark.parametrize("kind", ["truncate", "wrong_length", "trickle", "huge", "endless", "gzip_bomb"])
async def test_the_answer_to_head_has_no_body(kind: FaultKind) -> None:
    async with with_a_video() as (simulator, _, path, _):
        simulator.fault(kind, on="video", **detailed(kind))
        head, _, body = (await exchange(simulator, "HEAD", path)).partition(b"\r\n\r\n")
        assert (head[:12], body) == (b"HTTP/1.1 200", b"")
        assert last(simulator) == (200, kind)


@pytest.mark.parametrize(
    ("kind", "corrupted"),
    [
        ("empty", lambda whole: b""),
        ("truncated_json", lambda whole: whole[: len(whole) // 2]),
        ("wrong_types", lambda whole: b'{"status": 7, "message": 7}'),
    ],
)
async def test_a_corrupted_answer_is_complete_and_keeps_its_status(
    kind: FaultKind, corrupted: Callable[[bytes], bytes]
) -> None:
    """Errors of the service are corrupted as well."""
    async with running(credits=0) as (simulator, call):
        refused = await call("POST", SUBMIT, T2V)
        simulator.fault(kind, on="submit")
        answer = await call("POST", SUBMIT, T2V)
        assert (answer.status, answer.body) == (402, corrupted(refused.body))
        assert answer.headers["Content-Type"] == refused.headers["Content-Type"]
        assert answer.headers["Content-Length"] == str(len(answer.body))


async def test_garbage_repeats_with_the_seed() -> None:
    bodies = []
    for _ in range(2):
        async with running(seed=3) as (simulator, call):
            simulator.fault("garbage", times=2)
            simulator.fault("garbage", size=10)
            bodies.append([(await call("GET", LIST)).body for _ in range(3)])
    assert bodies[0] == bodies[1]
    assert [len(body) for body in bodies[0]] == [512, 512, 10]
    assert bodies[0][0] != bodies[0][1]


@pytest.mark.parametrize(("kind", "encoding"), [("huge", None), ("gzip_bomb", "gzip")])
async def test_a_huge_answer_is_valid_json(kind: FaultKind, encoding: str | None) -> None:
    """A gzip bomb is huge only after it has been unpacked."""
    async with running() as (simulator, call):
        simulator.fault(kind, on="submit", size=1_000_001)
        answer = await call("POST", SUBMIT, T2V)
        assert (len(answer.body), answer.headers.get("Content-Encoding")) == (1_000_001, encoding)
        assert answer.json["taskId"] in simulator.tasks
        sent = simulator.statistics().bytes_sent
        assert sent < 5_000 if encoding else sent == 1_000_001


async def test_an_endless_answer_goes_on_until_the_client_disconnects() -> None:
    async with running() as (simulator, call):
        simulator.fault("endless", seconds=1, size=1000)
        async with call.session.get(f"{simulator.url}{LIST}", headers={"key": simulator.api_key}) as response:
            assert "Content-Length" not in response.headers
            assert await response.content.readexactly(50_001) == b"{" + b" " * 50_000
        await settle()
        assert 50_001 <= simulator.statistics().bytes_sent < 200_000


@pytest.mark.parametrize("kind", ["huge", "gzip_bomb", "deep_json", "wrong_types"])
async def test_json_in_place_of_a_file_has_the_type_of_json(kind: FaultKind) -> None:
    async with with_a_video() as (simulator, call, path, _):
        simulator.fault(kind, on="video", **detailed(kind))
        answer = await call("GET", path)
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        json.loads(answer.body)


async def test_a_long_list_is_corrupted_like_a_short_one() -> None:
    async with running(history=600, seed=1) as (simulator, call):
        whole = (await call("GET", LIST)).body
        assert len(whole) > 256 * 1024
        simulator.fault("truncate")
        assert (await exchange(simulator)).partition(b"\r\n\r\n")[2] == whole[: len(whole) // 2]
        simulator.fault("drop", acted=True)
        assert await exchange(simulator) == b""
        assert (await call("GET", LIST)).body == whole


# --- files -------------------------------------------------------------------------------------------


async def test_a_download_breaks_off_and_can_be_resumed() -> None:
    async with with_a_video() as (simulator, call, path, content):
        simulator.fault("truncate", on="video", size=1000)
        head, _, begun = (await exchange(simulator, path=path)).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(content)}".encode() in head
        etag = next(line.partition(b": ")[2].decode() for line in head.split(b"\r\n") if line.startswith(b"ETag"))
        rest = await call("GET", path, headers={"Range": "bytes=1000-", "If-Range": etag})
        assert (rest.status, begun + rest.body) == (206, content)


async def test_a_changed_file_has_other_bytes_and_another_tag() -> None:
    async with with_a_video() as (simulator, call, path, _):
        before = await call("GET", path)
        simulator.fault("changed", times=None)
        after = await call("GET", path)
        assert after.headers["ETag"] != before.headers["ETag"]
        modified = [parsedate_to_datetime(answer.headers["Last-Modified"]) for answer in (before, after)]
        assert modified[1] > modified[0]
        for known in (before.headers["ETag"], before.headers["Last-Modified"]):
            rest = await call("GET", path, headers={"Range": "bytes=1000-", "If-Range": known})
            assert (rest.status, rest.body) == (200, after.body)
        rest = await call("GET", path, headers={"Range": "bytes=1000-", "If-Range": after.headers["ETag"]})
        assert (rest.status, rest.body) == (206, after.body[1000:])
        assert (await call("GET", "/videos/x.mp4")).status == 404


async def test_an_uploaded_image_can_change_too() -> None:
    async with running() as (simulator, call):
        url = str(simulator.tasks[await call.submit("i2v", image=PNG_URI)].input["image"])
        before = await call("GET", url)
        simulator.fault("changed", on="upload")
        assert (await call("GET", url)).body != before.body


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_server_may_ignore_ranges_once_or_always(ranges: bool) -> None:
    async with with_a_video(ranges=ranges) as (simulator, call, path, content):
        headers = {"Range": "bytes=1000-"}
        if ranges:
            simulator.fault("no_ranges")
        answer = await call("GET", path, headers=headers)
        assert (answer.status, answer.body) == (200, content)
        assert "Accept-Ranges" not in answer.headers
        assert (await call("GET", path, headers=headers)).status == (206 if ranges else 200)
        simulator.fault("changed")
        changed = await call("GET", path, headers=headers)
        assert (changed.status, content.endswith(changed.body)) == (206 if ranges else 200, False)


# --- functions that choose requests ------------------------------------------------------------------


async def test_an_error_of_the_function_is_logged_and_hits_nothing(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[tuple[str, str]] = []

    def chosen(method: str, path: str) -> bool:
        asked.append((method, path))
        if path.endswith("b"):
            raise LookupError("oh no")
        return True

    async with running() as (simulator, call):
        fault = simulator.fault("status", on=chosen)
        assert (await call("GET", "/api/v1/tasks/a%2Fb")).status == 404
        assert "oh no" in caplog.text
        caplog.clear()
        assert (await call("GET", "/any/where")).status == 500
        assert asked == [("GET", "/api/v1/tasks/a%2Fb"), ("GET", "/any/where")]
        assert fault.hits == 1


# --- outages -----------------------------------------------------------------------------------------


async def is_refused(call: Caller) -> bool:
    try:
        await call("GET", LIST)
    except aiohttp.ClientConnectorError as error:
        assert isinstance(error.os_error, ConnectionRefusedError)
        return True
    return False


async def test_connections_are_refused_in_an_outage_and_tasks_go_on() -> None:
    """By the clock of the loop, whatever the clock and the speed of the simulator."""
    async with running(durations=(10, 50), clock=FakeClock(), speed=1000) as (simulator, call):
        task_id = await call.submit()
        simulator.outage(60)
        simulator.advance(1000)
        for _ in range(2):
            assert await is_refused(call)
            await asyncio.sleep(29)
        await asyncio.sleep(3)
        assert (await call("GET", f"{LIST}/{task_id}/status")).json == {"status": "COMPLETED"}
        assert len(simulator.requests) == 2


async def test_an_outage_breaks_open_connections_and_keeps_the_port() -> None:
    async with running() as (simulator, call):
        reader, writer = await asyncio.open_connection("127.0.0.1", port(simulator))
        simulator.fault("hang")
        waiting = asyncio.create_task(call("GET", LIST))
        await settle()
        assert simulator.requests[-1].fault == "hang"
        simulator.outage(60)
        with pytest.raises(aiohttp.ClientError):
            await waiting
        assert await reader.read() == b""
        writer.close()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port(simulator)))
            other.listen()


async def test_outages_that_overlap_are_one() -> None:
    async with running() as (simulator, call):
        simulator.outage(60)
        await asyncio.sleep(30)
        simulator.outage(60)
        simulator.outage(1)
        await asyncio.sleep(59)
        assert await is_refused(call)
        await asyncio.sleep(2)
        assert not await is_refused(call)
        simulator.outage(10)
        assert await is_refused(call)
        await asyncio.sleep(11)
        assert not await is_refused(call)


@pytest.mark.parametrize("seconds", [0, 59, 60, 61])
async def test_the_end_of_the_simulator_ends_an_outage(seconds: float) -> None:
    async with running() as (simulator, _):
        simulator.outage(60)
        await asyncio.sleep(seconds)
        before = asyncio.get_running_loop().time()
        await simulator.aclose()
        assert asyncio.get_running_loop().time() - before < 1
        with socket.create_server(("127.0.0.1", port(simulator))):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
async def test_an_outage_of_ipv6() -> None:
    try:
        simulator = Simulator(host="::1")
        await simulator.start()
    except OSError:
        pytest.skip("no IPv6 address here")
    async with aiohttp.ClientSession() as session:
        simulator.outage(60)
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(simulator.url)
        await asyncio.sleep(61)
        assert (await session.get(simulator.url)).status == 404
    await simulator.aclose()


async def test_only_a_running_simulator_has_outages() -> None:
    simulator = Simulator()
    with pytest.raises(RuntimeError, match="only while it runs"):
        simulator.outage(1)
    async with simulator:
        with pytest.raises(ValueError, match="seconds must be a number of at least 0, got inf"):
            simulator.outage(float("inf"))
    with pytest.raises(RuntimeError, match="only while it runs"):
        simulator.outage(1)
