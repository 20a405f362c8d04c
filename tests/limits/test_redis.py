"""Special to the limiter over Redis: several hosts in real time, compare-and-set, and an unreachable Redis."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import re
import time
import uuid
from typing import Any

import pytest
from anyio import to_thread

from aivideomaker_async import ConfigurationError, RedisRateLimiter
from aivideomaker_async._limits.redis import _RedisStore
from aivideomaker_async._limits.store import StoreUnavailable
from aivideomaker_async._util.redis import RedisConnections, RedisTarget
from tests.support.cancelling import cancel_everywhere
from tests.support.limiters import assert_idle, use
from tests.support.redis import RedisServer

pytestmark = pytest.mark.anyio

# The first import is slow, and reads files: not in the event loop of a test.
importlib.import_module("redis.asyncio")


def limiter_at(url: str, limit: int = 60, window: float = 60.0, **options: Any) -> RedisRateLimiter:
    return RedisRateLimiter(url, limit, window, **{"name": uuid.uuid4().hex, **options})


async def wait_until_unavailable(limiter: RedisRateLimiter, caplog: pytest.LogCaptureFixture) -> None:
    waiting = asyncio.create_task(limiter.acquire())
    async with asyncio.timeout(10):
        while "is unavailable" not in caplog.text:  # noqa: ASYNC110  (no event says so)
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    if not waiting.cancelled():
        waiting.result().refund()
    await assert_idle()


# --- the limit ---------------------------------------------------------------------------------------


async def test_a_limiter_without_a_name_keeps_a_window_for_each_service(redis_url: str) -> None:
    """Clients of one service share it, also with a limiter of that name; another window is another limit."""
    limiter, origin = RedisRateLimiter(redis_url, 5, 30.0, burst=5), uuid.uuid4().hex
    same = limiter.for_origin(origin)
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
    await assert_idle(same, named, *others)


# --- the store ---------------------------------------------------------------------------------------


def store_at(url: str, key: str) -> _RedisStore:
    return _RedisStore(RedisConnections(RedisTarget(url)), key, 60.0)


def increment(text: str | None, _: float) -> tuple[str, None]:
    return str(int(text or 0) + 1), None


async def test_no_change_is_lost_however_many_come_at_once(redis_url: str) -> None:
    """And the clock is that of Redis."""
    key = uuid.uuid4().hex
    stores = [store_at(redis_url, key) for _ in range(8)]

    async def count(store: _RedisStore) -> None:
        for _ in range(25):
            await store.update(increment)

    await asyncio.gather(*map(count, stores))
    assert await stores[0].update(lambda text, now: (None, (text, abs(now - time.time()) < 5))) == ("200", True)
    for store in stores:
        await store.aclose()
        await store.aclose()


async def test_a_cancelled_change_was_made_or_not(redis_url: str) -> None:
    """Wherever it is cancelled: nothing is locked, and the store can be used."""
    store, changes = store_at(redis_url, uuid.uuid4().hex), 0

    async def change() -> None:
        nonlocal changes
        changes += 1
        await store.update(increment)
        await store.update(increment)

    async def check() -> None:
        async with asyncio.timeout(5):
            assert 0 <= await store.update(lambda text, _: (None, int(text or 0))) <= 2 * changes

    await cancel_everywhere(change, check, at_least=4)
    await store.aclose()


async def test_an_undecodable_text_is_replaced_and_another_type_is_an_error(redis_url: str) -> None:
    from redis.asyncio import Redis

    key = uuid.uuid4().hex
    client: Any = Redis.from_url(redis_url)
    async with client:
        await client.set(key, b"\xff")
        store = store_at(redis_url, key)
        assert await store.update(lambda text, _: ("new", text)) == "\ufffd"
        assert await client.get(key) == b"new"
        assert 50_000 < await client.pttl(key) <= 60_000
        await client.delete(key)
        await client.hset(key, "a", "b")
        with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
            await store.update(lambda text, _: ("new", text))
        await store.aclose()


async def test_a_change_gives_up_when_others_always_come_first(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aivideomaker_async._limits.redis.MAX_CONFLICTS", 8)
    script = "return {redis.call('GET', KEYS[1]), redis.call('TIME')}"
    monkeypatch.setattr("aivideomaker_async._limits.redis.COMPARE_AND_SET", script)
    store = store_at(redis_url, uuid.uuid4().hex)
    with pytest.raises(StoreUnavailable, match="8 changes of other processes came first"):
        await store.update(lambda *_: ("mine", None))
    await store.aclose()


async def test_connections_are_closed_when_no_call_waits(redis_server: RedisServer) -> None:
    """And with the event loop if one still does; nothing is left to the garbage collector."""
    from redis.asyncio import Redis

    async def connected() -> int:
        client: Any = Redis.from_url(redis_server.url)
        async with client:
            return int((await client.info("clients"))["connected_clients"])

    before = await connected()
    limiter = limiter_at(redis_server.url, 2, 60.0, burst=1)
    await use(limiter)
    await assert_idle(limiter)
    assert await connected() == before

    async def careless() -> None:
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.05)
        assert not waiting.done()

    await to_thread.run_sync(lambda: asyncio.run(careless()))
    gc.collect()
    async with asyncio.timeout(5):
        while await connected() > before:  # noqa: ASYNC110  (no event says so)
            await asyncio.sleep(0.01)


# --- without Redis -----------------------------------------------------------------------------------


async def test_without_redis_a_process_keeps_to_its_share(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that used it lately. The end and the return of Redis are logged."""
    monkeypatch.setattr("aivideomaker_async._limits.store.MAX_RETRY_S", 0.2)
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
    assert "sends at most 20 queries in 2 s" in caplog.text
    await to_thread.run_sync(redis_server.start)
    async with asyncio.timeout(20):
        while "is available again" not in caplog.text:
            await use(one)
    held.settle()
    await assert_idle(one, other)
    messages = [record.message for record in caplog.records if "limit" in record.name]
    assert sum("is unavailable" in message for message in messages) <= 2
    assert sum("is available again" in message for message in messages) <= 2


@pytest.mark.parametrize(("local_share", "queries"), [(None, 6), (0.5, 30)])
async def test_a_process_that_has_never_reached_redis_keeps_to_its_local_share(
    caplog: pytest.LogCaptureFixture, local_share: float | None, queries: int
) -> None:
    """The number of the others is unknown to it."""
    options: dict[str, Any] = {} if local_share is None else {"local_share": local_share}
    await wait_until_unavailable(limiter_at("redis://127.0.0.1:1", **options), caplog)
    assert f"sends at most {queries} queries in 60 s" in caplog.text


# --- arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"local_share": 0}, "local_share=0"),
        ({"local_share": 1.1}, re.escape("local_share=1.1: must be a share")),
        ({"url": "http://localhost"}, "must be redis://"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RedisRateLimiter(**{"url": "redis://localhost", **arguments})


def test_its_repr_shows_where_redis_is_without_the_password() -> None:
    limiter = RedisRateLimiter("redis://user:pa55@host:1/2", name="n")
    assert repr(limiter) == "RedisRateLimiter('host:1/2', limit=60, window=60.0, burst=3, name='n')"
    assert repr(limiter.for_origin("other")) == repr(limiter)
    assert repr(RedisRateLimiter("redis://")) == "RedisRateLimiter('localhost:6379/0', limit=60, window=60.0, burst=3)"
    assert "pa55" not in repr(vars(limiter))
