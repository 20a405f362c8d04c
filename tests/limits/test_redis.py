"""The limit of several hosts over a real Redis: windows are short, and what counts is when requests were let go."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import re
import subprocess
import sys
import time
import uuid
from typing import Any

import pytest
from anyio import to_thread

from aivideomaker_async import ConfigurationError, RedisRateLimiter
from aivideomaker_async._limits import limiter_process
from aivideomaker_async._limits.redis import _RedisCell
from aivideomaker_async._limits.shared import CellUnavailable
from aivideomaker_async._util.redis import Connections
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import our_tasks
from tests.support.redis import RedisServer, start_redis

pytestmark = pytest.mark.anyio

# The first use is slow, and reads files: not in the event loop of a test.
importlib.import_module("redis.asyncio")


def limiter_at(url: str, limit: int = 60, window: float = 60.0, **more: Any) -> RedisRateLimiter:
    return RedisRateLimiter(url, limit, window, **{"name": uuid.uuid4().hex, **more})


async def use(limiter: RedisRateLimiter) -> None:
    (await limiter.acquire()).settle()


async def try_to_use(limiter: RedisRateLimiter, caplog: pytest.LogCaptureFixture) -> None:
    """Until it is said that Redis cannot be used."""
    waiting = asyncio.create_task(limiter.acquire())
    async with asyncio.timeout(10):
        while "cannot be used" not in caplog.text:  # noqa: ASYNC110  (told by no event)
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])


async def idle() -> None:
    """Wait until nobody waits for anything, and all connections are closed."""
    async with asyncio.timeout(10):
        while our_tasks():  # noqa: ASYNC110  (told by no event)
            await asyncio.sleep(0.01)


async def connections(url: str) -> int:
    from redis.asyncio import Redis

    client: Any = Redis.from_url(url)
    async with client:
        return int((await client.info("clients"))["connected_clients"])


# --- the limit ---------------------------------------------------------------------------------------

HAMMER = """
import asyncio, sys, time
from aivideomaker_async import RedisRateLimiter
async def main():
    limiter = RedisRateLimiter(sys.argv[1], 20, 1.0, name=sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    async def hammer():
        while True:
            permit = await limiter.acquire()
            print(time.monotonic(), flush=True)
            permit.settle()
    with __import__("contextlib").suppress(TimeoutError):
        async with asyncio.timeout(2.5):
            await asyncio.gather(*(hammer() for _ in range(5)))
asyncio.run(main())
"""


async def test_all_processes_together_keep_to_the_limit(redis_url: str) -> None:
    """No window has more than the limit, the limit is used, and each process gets its share."""
    command = [sys.executable, "-W", "error", "-c", HAMMER, redis_url, uuid.uuid4().hex]

    def hammered() -> list[list[float]]:
        pipe = subprocess.PIPE
        processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        ended = [process.communicate() for process in processes]
        assert not any(errors for _, errors in ended), ended
        return [[float(line) for line in output.split()] for output, _ in ended]

    sent = await to_thread.run_sync(hammered)
    arrivals = sorted(moment for one in sent for moment in one)
    for first, last in zip(arrivals, arrivals[20:], strict=False):
        assert last - first >= 1.0
    assert 30 <= len(arrivals) <= 60
    assert min(map(len, sent)) >= len(arrivals) / 6


async def test_a_pause_holds_for_all(redis_url: str) -> None:
    """Whoever was told 429."""
    name = uuid.uuid4().hex
    one, other = limiter_at(redis_url, name=name), limiter_at(redis_url, name=name)
    await use(one)
    await use(other)
    one.pause(0.5)
    began = time.monotonic()
    await asyncio.sleep(0.1)
    await use(other)
    assert time.monotonic() - began > 0.4
    assert other.statistics().limit == 60
    await idle()


async def test_a_limiter_without_a_name_keeps_a_window_for_each_service(redis_url: str) -> None:
    """Clients of one service share it, also with one who names it; another window is another limit."""
    limiter = RedisRateLimiter(redis_url, 5, 30.0, burst=5)
    origin = uuid.uuid4().hex
    same = limiter.for_origin(origin)
    assert limiter.for_origin(origin) is same
    assert same.for_origin("other") is same
    assert (same.limit, same.window, same.burst) == (5, 30.0, 5)
    named = RedisRateLimiter(redis_url, 5, 30.0, name=origin, burst=5)
    for each in (same, same, named, named, named):
        await use(each)
    others = (limiter.for_origin(origin + "x"), RedisRateLimiter(redis_url, 5, 31.0, name=origin, burst=5))
    for each in others:
        async with asyncio.timeout(5):
            await use(each)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await use(named)
    await idle()


# --- the cell ----------------------------------------------------------------------------------------


def cell_at(url: str, key: str, kept: float = 60.0) -> _RedisCell:
    return _RedisCell(Connections(url), key, kept)


async def test_changes_of_many_are_made_one_after_the_other(redis_url: str) -> None:
    """None is lost, however many come at once; and the clock is Redis's own."""
    key = uuid.uuid4().hex
    cells = [cell_at(redis_url, key) for _ in range(8)]

    async def count(cell: _RedisCell) -> None:
        for _ in range(25):
            await cell.change(lambda text, _: (str(int(text or 0) + 1), None))

    await asyncio.gather(*map(count, cells))
    assert await cells[0].change(lambda text, now: (None, (text, abs(now - time.time()) < 5))) == ("200", True)
    for cell in cells:
        await cell.aclose()
        await cell.aclose()


async def test_a_change_that_is_cancelled_was_made_or_not(redis_url: str) -> None:
    """Wherever it is cancelled: nothing is locked, and the connection can be used."""
    key = uuid.uuid4().hex
    cell = cell_at(redis_url, key)
    changes = 0

    async def change() -> None:
        nonlocal changes
        changes += 1
        await cell.change(lambda text, _: (str(int(text or 0) + 1), None))
        await cell.change(lambda text, _: (str(int(text or 0) + 1), None))

    async def check() -> None:
        async with asyncio.timeout(5):
            assert 0 <= await cell.change(lambda text, _: (None, int(text or 0))) <= 2 * changes

    await cancel_everywhere(change, check, at_least=4)
    await cell.aclose()


async def test_a_text_that_is_no_text_is_read_somehow(redis_url: str) -> None:
    """It is compared as it is, so it can be replaced; and what is no text at all cannot be used."""
    from redis.asyncio import Redis

    key = uuid.uuid4().hex
    client: Any = Redis.from_url(redis_url)
    async with client:
        await client.set(key, b"\xff")
        cell = cell_at(redis_url, key)
        assert await cell.change(lambda text, _: ("new", text)) == "\ufffd"
        assert await client.get(key) == b"new"
        assert 50_000 < await client.pttl(key) <= 60_000
        await client.delete(key)
        await client.hset(key, "a", "b")
        with pytest.raises(CellUnavailable, match="WRONGTYPE"):
            await cell.change(lambda text, _: ("new", text))
        await cell.aclose()


async def test_one_who_never_comes_first_gives_up(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than trying for ever."""
    monkeypatch.setattr("aivideomaker_async._limits.redis.MOST_CONFLICTS", 8)
    monkeypatch.setattr(
        "aivideomaker_async._limits.redis._SWAP", "return {redis.call('GET', KEYS[1]), redis.call('TIME')}"
    )
    cell = cell_at(redis_url, uuid.uuid4().hex)
    with pytest.raises(CellUnavailable, match="others always come first"):
        await cell.change(lambda *_: ("mine", None))
    await cell.aclose()


# --- without Redis -----------------------------------------------------------------------------------


async def test_without_redis_a_process_keeps_to_its_share(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that used it lately; it is said once, and once that Redis is back."""
    monkeypatch.setattr(limiter_process, "RETRY_AFTER", 0.2)
    caplog.set_level(logging.INFO)
    name = uuid.uuid4().hex
    one, other = (limiter_at(redis_server.url, 40, 2.0, name=name, local_share=0.001) for _ in range(2))
    held = await other.acquire()
    await use(one)
    await use(one)
    await to_thread.run_sync(redis_server.stop)
    async with asyncio.timeout(10):
        await use(one)
        await use(one)
    assert "keeps to 20 in 2 s" in caplog.text
    await to_thread.run_sync(redis_server.start)
    async with asyncio.timeout(20):
        while "is used again" not in caplog.text:
            await use(one)
    held.settle()
    await idle()
    messages = [record.message for record in caplog.records if "limit" in record.name]
    assert sum("cannot be used" in message for message in messages) <= 2
    assert messages.count("the shared query limit is used again") <= 2


async def test_who_has_never_reached_redis_is_careful(caplog: pytest.LogCaptureFixture) -> None:
    """It cannot know how many others there are."""
    await try_to_use(limiter_at("redis://127.0.0.1:1"), caplog)
    assert "keeps to 6 in 60 s" in caplog.text
    await idle()


async def test_a_redis_that_never_answers_is_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    """For longer than the URL says."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        limiter = limiter_at(f"redis://127.0.0.1:{port}?socket_timeout=0.2", local_share=0.5)
        await try_to_use(limiter, caplog)
        assert "no answer within 0.2 s" in caplog.text
        assert "keeps to 30 in 60 s" in caplog.text
        await idle()
        for writer in writers:
            writer.close()


# --- connections -------------------------------------------------------------------------------------


async def test_connections_are_closed_when_nobody_waits(redis_server: RedisServer) -> None:
    """And with the event loop, if somebody still does; nothing is left to be collected."""
    before = await connections(redis_server.url)
    limiter = limiter_at(redis_server.url, 2, 60.0, burst=1)
    await use(limiter)
    await idle()
    assert await connections(redis_server.url) == before

    async def careless() -> None:
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.05)
        assert not waiting.done()

    await to_thread.run_sync(lambda: asyncio.run(careless()))
    gc.collect()
    async with asyncio.timeout(5):
        while await connections(redis_server.url) > before:  # noqa: ASYNC110  (told by no event)
            await asyncio.sleep(0.01)


FORK = """
import asyncio, os, sys, threading
from aivideomaker_async import RedisRateLimiter
limiter = RedisRateLimiter(sys.argv[1], 100, 1.0, name=sys.argv[2], burst=100)
async def use():
    (await limiter.acquire()).settle()
def in_child():
    # In a thread: the loop that runs here belongs to the parent.
    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    thread.join()
    print("child", flush=True)
    os._exit(0)
async def main():
    permit = await limiter.acquire()
    child = os.fork() or in_child()
    await use()
    permit.settle()
    assert os.waitpid(child, 0)[1] == 0
    await use()
    print("parent")
asyncio.run(main())
"""


async def test_a_forked_process_has_connections_of_its_own(redis_url: str) -> None:
    """Those of the parent go on to work for the parent."""
    command = [sys.executable, "-W", "error", "-c", FORK, redis_url, uuid.uuid4().hex]
    done = await to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, text=True, timeout=30))
    assert done.stdout.split() == ["child", "parent"], done.stderr
    assert not done.stderr


# --- arguments and secrets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "limit=0"),
        ({"window": 0}, "window=0"),
        ({"burst": 0}, "burst=0"),
        ({"local_share": 0}, "local_share=0"),
        ({"local_share": 1.1}, re.escape("local_share=1.1: must be a share")),
        ({"url": "http://localhost"}, "must be redis://"),
        ({"url": "redis://localhost?socket_timeout=long"}, "must be redis://"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    """At once, by name."""
    with pytest.raises(ConfigurationError, match=message):
        RedisRateLimiter(**{"url": "redis://localhost", **arguments})


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://", "localhost:6379/0"),
        ("redis://user:pa55@host:1/2", "host:1/2"),
        ("rediss://:pa55@host", "host:6379/0"),
        ("unix://user:pa55@/run/redis.sock?db=3", "/run/redis.sock/3"),
        ("redis://host?username=user&password=pa55", "host:6379/0"),
        ("redis://user@host", "host:6379/0"),
    ],
)
def test_urls_are_those_of_redis_py_and_passwords_are_not_shown(url: str, place: str) -> None:
    """Wherever they stand in it."""
    limiter = RedisRateLimiter(url, name="n")
    assert repr(limiter) == f"RedisRateLimiter({place!r}, limit=60, window=60.0, burst=3, name='n')"
    shown = repr(limiter._connections) + repr(vars(limiter)) + repr(limiter._connections._options)
    assert "pa55" not in shown
    assert repr(RedisRateLimiter(url)) == f"RedisRateLimiter({place!r}, limit=60, window=60.0, burst=3)"


async def test_a_password_that_is_refused_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Only that it is; with the right one all is well."""
    caplog.set_level(logging.DEBUG)
    for server in start_redis("s3same"):
        async with asyncio.timeout(10):
            await use(limiter_at(server.url))
            assert not caplog.records
            await try_to_use(limiter_at(server.url.replace("s3same", "wr0ng")), caplog)
        await idle()
    assert "cannot be used" in caplog.text
    assert "s3same" not in caplog.text
    assert "wr0ng" not in caplog.text


def test_without_the_package_redis_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a limiter is made."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=re.escape('pip install "aivideomaker-async[redis]"')):
        RedisRateLimiter("redis://localhost")


async def test_a_process_that_has_not_asked_lately_takes_a_careful_share(redis_server: RedisServer) -> None:
    """It does not know how many others there are by now: nobody takes the whole limit."""
    limiters = [limiter_at(redis_server.url, 40, 0.5, name="quiet", local_share=0.1) for _ in range(4)]
    for limiter in limiters:
        (await limiter.acquire()).settle()
        await asyncio.sleep(0.01)
    await asyncio.sleep(1.2)
    await asyncio.to_thread(redis_server.stop)
    for limiter in limiters:
        (await limiter.acquire()).settle()
        assert limiter.pace == pytest.approx(0.5 / (0.95 * 4))
