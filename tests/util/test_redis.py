"""Connections to Redis: URLs, secrets, timeouts, event loops and forks."""

from __future__ import annotations

import asyncio
import importlib
import re
import subprocess
import sys
import uuid

import pytest
from anyio import to_thread

from aivideomaker_async import ConfigurationError
from aivideomaker_async._util.redis import RedisConnections, RedisTarget, RedisUnavailable, digest_name
from tests.support.prying import assert_hidden, frames_behind, texts_of
from tests.support.redis import start_redis

pytestmark = pytest.mark.anyio

# The first import is slow, and reads files: not in the event loop of a test.
importlib.import_module("redis.asyncio")


def connections_at(url: str) -> RedisConnections:
    return RedisConnections(RedisTarget(url))


# --- URLs and secrets --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("redis://", "localhost:6379/0"),
        ("redis://user:pa55@host:1/2", "host:1/2"),
        ("rediss://:pa55@host", "host:6379/0"),
        ("unix://user:pa55@/run/redis.sock?db=3", "/run/redis.sock/3"),
        ("redis://host?username=user&password=pa55", "host:6379/0"),
        ("redis://user@host", "host:6379/0"),
    ],
)
def test_urls_are_those_of_redis_py_and_the_password_is_not_shown(url: str, location: str) -> None:
    """Wherever it stands in the URL."""
    target = RedisTarget(url)
    assert target.location == location
    assert repr(RedisConnections(target)) == f"<Redis at {location}>"
    assert "pa55" not in repr(target._options) + repr(target._secrets)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "must be redis://"),
        ("http://localhost", "must be redis://"),
        ("redis://localhost?socket_timeout=long", "must be redis://"),
        ("redis://localhost?nonsense=1", "options in its query"),
    ],
)
def test_a_wrong_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RedisTarget(url)


def test_without_the_package_redis_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=re.escape('pip install ".[redis]" in a checkout')):
        RedisTarget("redis://localhost")


async def test_a_refused_password_is_in_no_text_and_no_frame_of_the_error() -> None:
    for server in start_redis("s3same"):
        right = connections_at(server.url)
        assert await right.transaction(("GET", "x")) == [None]
        await right.aclose()
        wrong = connections_at(server.url.replace("s3same", "wr0ng-s3cr3t%2F"))
        with pytest.raises(RedisUnavailable, match="AuthenticationError") as caught:
            await wrong.transaction(("GET", "x"))
        await wrong.aclose()
    shown = texts_of(caught.value) + frames_behind(caught.value)
    assert_hidden(shown, "wr0ng-s3cr3t")


def test_digest_names_differ_for_different_parts() -> None:
    names = {digest_name(*parts) for parts in [("a", "b"), ("ab",), ("a\0b",), ("a\\", "b"), ("a\\\0b",), ("", "ab")]}
    assert len(names) == 6
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in names)


# --- connections -------------------------------------------------------------------------------------


async def test_a_redis_that_never_answers_is_unavailable_after_the_timeout_of_the_url() -> None:
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        connections = connections_at(f"redis://127.0.0.1:{port}?socket_timeout=0.2")
        with pytest.raises(RedisUnavailable, match=re.escape("no answer within 0.2 s")):
            await connections.transaction(("GET", "x"))
        await connections.aclose()
        for writer in writers:
            writer.close()


async def test_an_unreachable_redis_is_unavailable_with_the_reason() -> None:
    with pytest.raises(RedisUnavailable, match=r"ConnectionError: .*127.0.0.1:1"):
        await connections_at("redis://127.0.0.1:1").transaction(("GET", "x"))


async def test_messages_of_a_subscription_arrive_until_it_is_closed(redis_url: str) -> None:
    connections, channel = connections_at(redis_url), uuid.uuid4().hex
    subscription = await connections.subscribe(channel)
    assert await connections.next_message(subscription, 0.01) is None
    await connections.transaction(("PUBLISH", channel, "hello"))
    message = await connections.next_message(subscription, 5.0)
    assert message is not None
    assert message["data"] == b"hello"
    await connections.unsubscribe(subscription)
    await connections.aclose()


async def test_each_event_loop_has_connections_of_its_own(redis_url: str) -> None:
    """Those of a loop that ended are dropped when another one connects."""
    connections = connections_at(redis_url)
    await connections.transaction(("GET", "x"))
    await to_thread.run_sync(lambda: asyncio.run(_get(connections)))
    await connections.aclose()
    await _get(connections)
    assert list(connections._pools) == [asyncio.get_running_loop()]
    await connections.aclose()
    assert not connections._pools


async def _get(connections: RedisConnections) -> None:
    await connections.transaction(("GET", "x"))


FORK = """
import asyncio, gc, os, sys, threading
from aivideomaker_async._util.redis import RedisConnections, RedisTarget

connections = RedisConnections(RedisTarget(sys.argv[1]))

async def use():
    await connections.run_script("return redis.call('INCR', KEYS[1])", [sys.argv[2]])

def in_child():
    # In a thread: the loop that runs here belongs to the parent.
    thread = threading.Thread(target=lambda: asyncio.run(use()))
    thread.start()
    thread.join()
    # Collecting a connection closes it.
    del globals()["connections"]
    gc.collect()
    print("child", flush=True)
    os._exit(0)

async def main():
    await use()
    child = os.fork() or in_child()
    await use()
    assert os.waitpid(child, 0)[1] == 0
    await use()
    print("parent")

asyncio.run(main())
"""


async def test_a_forked_child_leaves_the_connections_of_its_parent_alone(redis_url: str) -> None:
    command = [sys.executable, "-W", "error", "-c", FORK, redis_url, uuid.uuid4().hex]
    done = await to_thread.run_sync(lambda: subprocess.run(command, capture_output=True, text=True, timeout=30))
    assert (done.stdout.split(), done.stderr) == (["child", "parent"], "")
