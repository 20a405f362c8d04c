import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Unpack

import aiohttp
import pytest

from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.fault_kinds import KINDS, FaultDetails, FaultKind
from aivideomaker_async.simulator.faults import On
from tests.simulator.client import PNG_URI, T2V, Caller, running
from tests.support.leaks import settle

pytestmark = pytest.mark.anyio

SUBMIT = "/api/v1/generate/t2v"
LIST = "/api/v1/tasks"

NEEDED: Mapping[str, FaultDetails] = {"redirect": {"location": "/elsewhere"}, "slow": {"seconds": 60}}
"""The details that must be given."""

SMALL: Mapping[str, FaultDetails] = {
    "huge": {"size": 200_000},
    "gzip_bomb": {"size": 200_000},
    "trickle": {"seconds": 1, "size": 50},
}
"""Sizes at which tests are fast."""


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@pytest.fixture(autouse=True)
def nothing_is_complained_of(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever goes wrong on purpose, neither aiohttp nor asyncio takes it for a mistake."""
    yield
    complaints = [one.getMessage() for one in caplog.get_records("call") if one.levelno >= logging.WARNING]
    assert complaints == []


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    yield
    assert [task for task in asyncio.all_tasks() if "TestRunner" not in repr(task.get_coro())] == []


def detailed(kind: str, **more: Unpack[FaultDetails]) -> FaultDetails:
    return {**NEEDED.get(kind, {}), **SMALL.get(kind, {}), **more}


async def exchange(simulator: Simulator, method: str = "GET", path: str = LIST, body: object = None) -> bytes:
    """Send a request, and return all that comes until the connection ends. Raises what ends it otherwise."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]))
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\nConnection: close\r\n"
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    writer.write(f"{head}\r\n".encode() + content)
    try:
        return await reader.read()
    finally:
        writer.close()


async def finished(call: Caller) -> tuple[str, bytes]:
    """The path and the content of a finished video; tasks take no time."""
    path = f"/videos/{await call.submit()}.mp4"
    return path, (await call("GET", path)).body


def anything(method: str, path: str) -> bool:
    return True


async def until(so: Callable[[], object]) -> None:
    while not so():  # noqa: ASYNC110  (no time passes)
        await asyncio.sleep(0)


def last(simulator: Simulator) -> tuple[int, str | None]:
    arrival = simulator.requests[-1]
    return arrival.status, arrival.fault


# What holds for all


CHOOSABLE = [kind for kind, what in KINDS.items() if "acted" in what.takes]
ALWAYS = [kind for kind, what in KINDS.items() if "acted" not in what.takes and not what.files and kind != "rate_limit"]


@pytest.mark.parametrize("acted", [False, True])
@pytest.mark.parametrize("kind", CHOOSABLE)
async def test_the_server_acts_or_does_not(kind: FaultKind, acted: bool) -> None:
    async with running() as (simulator, call):
        fault = simulator.fault(kind, on="submit", **detailed(kind, acted=acted))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(call.session, "_timeout", aiohttp.ClientTimeout(total=5))
            with suppress(aiohttp.ClientError, TimeoutError):
                await call("POST", SUBMIT, T2V)
        assert (fault.hits, len(simulator.tasks), simulator.credits) == (1, int(acted), 10_000 - 5 * acted)
        assert len(simulator.requests) == 1
        assert simulator.requests[0].fault == kind


@pytest.mark.parametrize("kind", ALWAYS)
async def test_what_spoils_a_good_answer_needs_one(kind: FaultKind) -> None:
    async with running() as (simulator, call):
        simulator.fault(kind, on="submit", **detailed(kind))
        with suppress(aiohttp.ClientError):
            await call("POST", SUBMIT, T2V)
        assert simulator.credits == 10_000 - 5
        assert last(simulator) == (200, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_simulator_stays_sound(kind: FaultKind, method: str) -> None:
    """Every fault on every path, with a client that leaves: afterwards all is as usual."""
    async with running(durations=(0, 0)) as (simulator, call):
        path, content = await finished(call)
        on: On = "video" if KINDS[kind].files else anything
        with simulator.fault(kind, on=on, times=None, **detailed(kind)):
            for where in (path, LIST, "/nowhere", "/uploads/x.png"):
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with asyncio.timeout(5):
                        await call(method, where)
        await settle()
        hit = {one.path for one in simulator.requests if one.fault == kind}
        assert hit == ({path} if KINDS[kind].files else {path, LIST, "/nowhere", "/uploads/x.png"})
        assert (await call("GET", path)).body == content
        assert len((await call("GET", LIST)).json["tasks"]) == 1


@pytest.mark.parametrize("kind", ["hang", "slow", "trickle", "endless", "huge", "gzip_bomb"])
async def test_none_outlives_the_simulator(kind: FaultKind) -> None:
    """Its end takes no time, though a client waits, or reads nothing."""
    details: FaultDetails = {"seconds": 9000} if "seconds" in KINDS[kind].takes else {}
    async with running() as (simulator, _):
        fault = simulator.fault(kind, **details)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]), limit=1024)
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


# No answer


async def test_a_drop_ends_the_connection_without_a_byte() -> None:
    async with running() as (simulator, _):
        simulator.fault("drop", times=2)
        assert await exchange(simulator) == b""
        assert await exchange(simulator, "POST", SUBMIT, {**T2V, "prompt": "x" * 500_000}) == b""
        assert last(simulator) == (0, "drop")


async def test_a_reset_is_an_error_to_the_other_side() -> None:
    async with running() as (simulator, _):
        simulator.fault("reset")
        with pytest.raises(ConnectionResetError):
            await exchange(simulator)
        assert last(simulator) == (0, "reset")


async def test_a_hang_is_recorded_at_once_and_ends_when_the_client_leaves() -> None:
    async with running() as (simulator, call):
        simulator.fault("hang", on="submit", acted=True)
        waiting = asyncio.create_task(call("POST", SUBMIT, T2V))
        await until(lambda: simulator.requests)
        assert last(simulator) == (0, "hang")
        assert len(simulator.tasks) == 1
        await asyncio.sleep(200)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        await settle()
        ours = [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task)]
        assert ours == []


@pytest.mark.parametrize("kept", [False, True])
async def test_a_submit_whose_answer_was_lost_is_paid_again_unless_keys_are_kept(kept: bool) -> None:
    async with running(idempotency="kept" if kept else "ignored") as (simulator, call):
        simulator.fault("drop", on="submit", acted=True)
        headers = {"Idempotency-Key": "key-0001"}
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await call("POST", SUBMIT, T2V, headers=headers)
        answer = await call("POST", SUBMIT, T2V, headers=headers)
        assert answer.json.get("idempotentReplay") == (True if kept else None)
        assert [task.idempotency_key for task in simulator.tasks.values()] == ["key-0001"] * (1 if kept else 2)
        assert simulator.credits == 10_000 - (5 if kept else 10)


# Late


async def test_a_slow_answer_is_a_good_one() -> None:
    async with running() as (simulator, call):
        simulator.fault("slow", on="submit", seconds=60)
        begun = asyncio.get_running_loop().time()
        answer = await call("POST", SUBMIT, T2V)
        assert answer.json["taskId"] in simulator.tasks
        assert 60 <= asyncio.get_running_loop().time() - begun < 61
        assert last(simulator) == (200, "slow")


async def test_who_does_not_wait_for_a_slow_answer_is_recorded_as_unanswered() -> None:
    async with running() as (simulator, call):
        simulator.fault("slow", on="submit", seconds=60)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await call("POST", SUBMIT, T2V)
        await settle()
        assert last(simulator) == (0, "slow")
        assert len(simulator.tasks) == 1


async def test_a_connection_is_kept_after_a_slow_answer() -> None:
    async with running() as (simulator, call):
        simulator.fault("slow", seconds=60)
        for _ in range(3):
            assert (await call("GET", LIST)).json == {"tasks": []}
        connections = call.session.connector
        assert connections is not None
        assert sum(map(len, connections._conns.values())) == 1


async def test_a_trickle_takes_its_time() -> None:
    async with running() as (simulator, call):
        simulator.fault("trickle", on="list", seconds=2)
        begun = asyncio.get_running_loop().time()
        answer = await call("GET", LIST)
        assert answer.json == {"tasks": []}
        assert asyncio.get_running_loop().time() - begun == pytest.approx(2 * (len(answer.body) - 1), abs=1)
        assert answer.headers["Content-Length"] == str(len(answer.body))


# Failures


async def test_a_status_is_told_in_the_words_of_the_api() -> None:
    async with running() as (simulator, call):
        simulator.fault("status")
        answer = await call("GET", LIST)
        assert (answer.status, answer.json) == (500, {"status": "FAILED", "message": "Internal Server Error"})
        simulator.fault("status", status=503, retry_after=7)
        answer = await call("GET", LIST)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
        simulator.fault("status", status=599)
        assert (await call("GET", LIST)).json["message"] == "Unknown"
        assert simulator.statistics().queries == 0


@pytest.mark.parametrize(
    ("body", "media_type", "sent"),
    [
        ("no", "text/plain; charset=utf-8", b"no"),
        (b"\x00\xff", "application/octet-stream", b"\x00\xff"),
        ({"errorCode": "X"}, "application/json; charset=utf-8", b'{"errorCode": "X"}'),
        ({}, "application/json; charset=utf-8", b"{}"),
    ],
)
async def test_a_status_may_have_any_body(body: Any, media_type: str, sent: bytes) -> None:
    async with running() as (simulator, call):
        simulator.fault("status", status=422, body=body)
        answer = await call("GET", LIST)
        assert (answer.status, answer.headers["Content-Type"], answer.body) == (422, media_type, sent)


async def test_a_proxy_speaks_html() -> None:
    async with running() as (simulator, call):
        simulator.fault("html")
        simulator.fault("html", status=200)
        for status in (502, 200):
            answer = await call("GET", LIST)
            assert (answer.status, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
            assert answer.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_names_another_place(status: int) -> None:
    async with running() as (simulator, call):
        simulator.fault("redirect", location="http://evil.example/", status=status)
        answer = await call("GET", LIST)
        assert (answer.status, answer.headers["Location"]) == (status, "http://evil.example/")


@pytest.mark.parametrize(
    ("retry_after", "told"),
    [
        (3, "3"),
        (3.0, "3"),
        (1.5, "1.5"),
        ("soon", "soon"),
        (datetime(2026, 3, 19, 8, 0, 5, tzinfo=UTC), "Thu, 19 Mar 2026 08:00:05 GMT"),
        (None, None),
    ],
)
async def test_a_rate_limit_tells_when_to_come_back(retry_after: Any, told: str | None) -> None:
    async with running() as (simulator, call):
        simulator.fault("rate_limit", retry_after=retry_after)
        answer = await call("POST", SUBMIT, T2V)
        assert (answer.status, answer.json) == (429, {"status": "FAILED", "message": "Too many requests"})
        assert answer.headers.get("Retry-After") == told
        assert len(simulator.tasks) == 0


async def test_a_storm_of_refusals_ends() -> None:
    async with running() as (simulator, call):
        simulator.fault("rate_limit", on="query", times=3)
        assert [(await call("GET", LIST)).status for _ in range(4)] == [429, 429, 429, 200]
        counts = simulator.statistics()
        assert (counts.faults, counts.queries, counts.rejected) == (3, 1, 0)


# Bad answers


async def test_a_truncated_answer_breaks_off_in_the_middle() -> None:
    async with running() as (simulator, call):
        whole = (await call("GET", LIST)).body
        simulator.fault("truncate")
        head, _, body = (await exchange(simulator)).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(whole)}".encode() in head
        assert body == whole[: len(whole) // 2]
        simulator.fault("truncate", size=3)
        assert (await exchange(simulator)).endswith(b"\r\n\r\n" + whole[:3])
        simulator.fault("truncate")
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
async def test_who_asks_for_the_head_alone_gets_no_body(kind: FaultKind) -> None:
    async with running(durations=(0, 0)) as (simulator, call):
        path, _ = await finished(call)
        simulator.fault(kind, on="video", **detailed(kind))
        head, _, body = (await exchange(simulator, "HEAD", path)).partition(b"\r\n\r\n")
        assert (head[:12], body) == (b"HTTP/1.1 200", b"")
        assert last(simulator) == (200, kind)


async def test_requests_that_come_during_a_slow_answer_have_their_turn() -> None:
    async with running() as (simulator, _):
        simulator.fault("slow", seconds=60)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]))
        for number in range(3):
            close = "Connection: close\r\n" if number == 2 else ""
            writer.write(f"GET {LIST} HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\n{close}\r\n".encode())
            await asyncio.sleep(1)
        assert (await reader.read()).count(b'{"tasks": []}') == 3
        writer.close()
        assert [one.fault for one in simulator.requests] == ["slow", None, None]


async def test_json_that_is_cut_comes_in_a_complete_answer() -> None:
    async with running() as (simulator, call):
        whole = (await call("GET", LIST)).body
        simulator.fault("truncated_json")
        answer = await call("GET", LIST)
        assert answer.body == whole[: len(whole) // 2]
        assert answer.headers["Content-Type"].startswith("application/json")
        simulator.fault("truncated_json", size=10_000)
        assert (await call("GET", LIST)).body == whole[:-1]


async def test_every_field_has_a_wrong_type() -> None:
    async with running(durations=(0, 0)) as (simulator, call):
        task_id = await call.submit()
        for path in (LIST, f"{LIST}/{task_id}", f"{LIST}/{task_id}/status"):
            good = (await call("GET", path)).json
            simulator.fault("wrong_types")
            bad = (await call("GET", path)).json
            pairs = zip(good["tasks"], bad["tasks"], strict=True) if path == LIST else [(good, bad)]
            for right, wrong in pairs:
                assert right.keys() == wrong.keys()
                assert [name for name in right if type(right[name]) is type(wrong[name])] == []


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


async def test_an_empty_answer_is_complete() -> None:
    async with running() as (simulator, call):
        simulator.fault("empty")
        answer = await call("GET", LIST)
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


async def test_a_huge_answer_is_valid_and_huge() -> None:
    async with running() as (simulator, call):
        simulator.fault("huge", on="submit", size=1_000_001)
        answer = await call("POST", SUBMIT, T2V)
        assert len(answer.body) == 1_000_001
        assert answer.json["taskId"] in simulator.tasks
        assert simulator.statistics().bytes_sent == 1_000_001


async def test_a_bomb_is_small_until_it_is_unpacked() -> None:
    async with running() as (simulator, call):
        simulator.fault("gzip_bomb", on="list", size=10_000_001, times=2)
        packed = (await exchange(simulator)).partition(b"\r\n\r\n")[2]
        assert len(packed) < 20_000
        answer = await call("GET", LIST)
        assert (len(answer.body), answer.json) == (10_000_001, {"tasks": []})
        assert answer.headers["Content-Encoding"] == "gzip"


async def test_an_endless_answer_goes_on_until_the_client_leaves() -> None:
    async with running() as (simulator, call):
        simulator.fault("endless", seconds=1, size=1000)
        async with call.session.get(f"{simulator.url}{LIST}", headers={"key": simulator.api_key}) as response:
            assert "Content-Length" not in response.headers
            assert await response.content.readexactly(50_001) == b"{" + b" " * 50_000
        await settle()
        assert 50_001 <= simulator.statistics().bytes_sent < 200_000


async def test_deep_json_is_deep() -> None:
    async with running() as (simulator, call):
        simulator.fault("deep_json", depth=3)
        assert (await call("GET", LIST)).json == [[[]]]


@pytest.mark.parametrize("kind", ["huge", "gzip_bomb", "deep_json", "wrong_types"])
async def test_what_is_json_is_told_to_be_json(kind: FaultKind) -> None:
    """Instead of a file, too."""
    async with running(durations=(0, 0)) as (simulator, call):
        path, _ = await finished(call)
        details: FaultDetails = {"depth": 10} if kind == "deep_json" else detailed(kind)
        simulator.fault(kind, on="video", **details)
        answer = await call("GET", path)
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        json.loads(answer.body)


async def test_a_refusal_can_be_spoiled_too() -> None:
    async with running(credits=0) as (simulator, call):
        simulator.fault("empty", on="submit")
        assert (await call("POST", SUBMIT, T2V)).status == 402


async def test_a_long_list_is_spoiled_as_a_short_one() -> None:
    async with running(history=600, seed=1) as (simulator, call):
        whole = (await call("GET", LIST)).body
        assert len(whole) > 256 * 1024
        simulator.fault("truncate")
        assert (await exchange(simulator)).partition(b"\r\n\r\n")[2] == whole[: len(whole) // 2]
        simulator.fault("drop", acted=True)
        assert await exchange(simulator) == b""
        assert (await call("GET", LIST)).body == whole


# Files


async def test_a_download_breaks_off_and_goes_on() -> None:
    async with running(durations=(0, 0)) as (simulator, call):
        path, content = await finished(call)
        simulator.fault("truncate", on="video", size=1000)
        head, _, begun = (await exchange(simulator, path=path)).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(content)}".encode() in head
        etag = next(line.partition(b": ")[2].decode() for line in head.split(b"\r\n") if line.startswith(b"ETag"))
        rest = await call("GET", path, headers={"Range": "bytes=1000-", "If-Range": etag})
        assert (rest.status, begun + rest.body) == (206, content)


async def test_a_file_that_has_changed_has_other_bytes_and_another_tag() -> None:
    """So nothing of it fits to the file before, by whatever it is recognized."""
    async with running(durations=(0, 0)) as (simulator, call):
        path, content = await finished(call)
        before = await call("GET", path)
        simulator.fault("changed", times=None)
        after = await call("GET", path)
        assert after.headers["ETag"] != before.headers["ETag"]
        modified = [parsedate_to_datetime(answer.headers["Last-Modified"]) for answer in (before, after)]
        assert modified[1] > modified[0]
        assert after.body[:100] != content[:100]
        assert after.body[-10:] != content[-10:]
        for known in (before.headers["ETag"], before.headers["Last-Modified"]):
            rest = await call("GET", path, headers={"Range": "bytes=1000-", "If-Range": known})
            assert (rest.status, rest.body) == (200, after.body)
        rest = await call("GET", path, headers={"Range": "bytes=1000-", "If-Range": after.headers["ETag"]})
        assert (rest.status, rest.body) == (206, after.body[1000:])
        assert (await call("GET", "/videos/x.mp4")).status == 404


async def test_an_image_can_change_too() -> None:
    async with running() as (simulator, call):
        task_id = await call.submit("i2v", image=PNG_URI)
        url = str(simulator.tasks[task_id].input["image"])
        before = await call("GET", url)
        simulator.fault("changed", on="upload")
        assert (await call("GET", url)).body != before.body


async def test_a_server_may_know_no_ranges() -> None:
    async with running(durations=(0, 0)) as (simulator, call):
        path, content = await finished(call)
        simulator.fault("no_ranges")
        answer = await call("GET", path, headers={"Range": "bytes=1000-"})
        assert (answer.status, answer.body) == (200, content)
        assert "Accept-Ranges" not in answer.headers
        assert (await call("GET", path, headers={"Range": "bytes=1000-"})).status == 206


async def test_a_server_that_never_knows_ranges_has_other_faults_as_well() -> None:
    async with running(durations=(0, 0), ranges=False) as (simulator, call):
        path, content = await finished(call)
        simulator.fault("truncate", on="video")
        assert b"Accept-Ranges" not in await exchange(simulator, path=path)
        simulator.fault("changed")
        for same in (False, True):
            answer = await call("GET", path, headers={"Range": "bytes=1000-"})
            assert (answer.status, answer.body == content) == (200, same)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_file_can_be_gone_early(status: int) -> None:
    async with running(durations=(0, 0)) as (simulator, call):
        path, _ = await finished(call)
        simulator.fault("status", on="video", status=status)
        assert [(await call("GET", path)).status for _ in range(2)] == [status, 200]


# In between


async def test_a_function_chooses_and_may_be_wrong(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake in it is logged, and hits nothing."""
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


async def test_a_proxy_does_not_ask_for_the_key() -> None:
    async with running() as (simulator, call):
        simulator.fault("html")
        assert (await call("GET", LIST, key="wrong")).status == 502
        simulator.fault("empty")
        assert (await call("GET", LIST, key="wrong")).status == 401
