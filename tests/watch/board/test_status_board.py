"""The board over a real Redis. Leases are short, and whatever is waited for is waited for generously."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import re
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from anyio import to_thread

from aivideomaker_async import ConfigurationError, StatusBoard, TaskDetails, TaskOutput, TaskStatus
from aivideomaker_async._redaction import Secret
from aivideomaker_async._watch.board.client import BoardClient
from aivideomaker_async._watch.board.messages import Interest
from tests.support.leaks import our_tasks, settle
from tests.support.redis import RedisServer, start_redis

pytestmark = pytest.mark.anyio

# The first use is slow, and reads files: not in the event loop of a test.
importlib.import_module("redis.asyncio")

LEASE = 5.0
"""Seconds; long enough for a machine that is busy with other things."""

SHORT = 0.6
"""Seconds; for tests that wait until it ends."""

COMPLETED, PROGRESS = TaskStatus.COMPLETED, TaskStatus.PROGRESS
WANT = Interest(started_at=1000.0, model="t2v", length=5, details=True, webhook=False, fresh=True)


def details(task_id: str) -> TaskDetails:
    return TaskDetails(id=task_id, status=COMPLETED, output=TaskOutput(url=f"https://a/{task_id}.mp4"))


class Port:
    """A port that only notes what is reported to it."""

    def __init__(self) -> None:
        self.link: BoardClient
        self.news: list[tuple[str, TaskDetails | TaskStatus]] = []
        self.gone: list[str] = []
        self.deliveries: list[bool] = []
        self.wanted: dict[str, Interest] = {}
        self.turns: list[tuple[bool, bool]] = []

    def observed_elsewhere(self, task_id: str, news: TaskDetails | TaskStatus) -> None:
        self.news.append((task_id, news))

    def missing_elsewhere(self, task_id: str) -> None:
        self.gone.append(task_id)

    def delivered_elsewhere(self, *, may_be_end: bool) -> None:
        self.deliveries.append(may_be_end)

    def lead_changed(self) -> None:
        self.turns.append((self.link.is_leader, self.link.is_follower))
        if not self.link.is_leader:
            self.wanted.clear()

    def interest_added(self, task_id: str, want: Interest) -> None:
        self.wanted[task_id] = want

    def interest_removed(self, task_id: str) -> None:
        del self.wanted[task_id]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (signalled by no event)
            await asyncio.sleep(0.002)


class World:
    """Boards of one name on one Redis, and the links that were made."""

    def __init__(self, url: str, lease: float = LEASE) -> None:
        self.url = url
        self.name = uuid.uuid4().hex
        self.lease = lease
        self.board = StatusBoard(url, name=self.name, lease=lease)
        self.ports: list[Port] = []

    def join(self, *tasks: str, key: str = "key", board: StatusBoard | None = None) -> Port:
        """Another client, that waits for `tasks`."""
        port = Port()
        port.link = (board or self.board).client(origin="service", key=key, port=port)
        self.ports.append(port)
        for task_id in tasks:
            port.link.add_interest(task_id, WANT)
        return port

    async def pair(self) -> tuple[Port, Port]:
        """A leader that waits for `own`, and a follower that waits for `a` and `b`."""
        leader = self.join("own")
        await until(lambda: leader.link.is_leader)
        follower = self.join("a", "b")
        await until(lambda: follower.link.is_follower and leader.wanted.keys() == {"a", "b"})
        # It has read what was published before, too: nothing is under way.
        await until(lambda: follower.link._waker is not None)
        return leader, follower

    def process(self, task_id: str) -> subprocess.Popen[str]:
        """A client in a process of its own, that waits for one task."""
        script = f"""
import asyncio
from aivideomaker_async._watch.board import StatusBoard
from aivideomaker_async._watch.board.messages import Interest
class Port:
    def __getattr__(self, name): return lambda *_, **__: None
async def main():
    board = StatusBoard({self.url!r}, name={self.name!r}, lease={self.lease})
    link = board.client(origin="service", key="key", port=Port())
    link.add_interest({task_id!r}, Interest(1.0, None, None, False, False, False))
    while not (link.is_leader or link.is_follower):
        await asyncio.sleep(0.01)
    print("leads" if link.is_leader else "follows", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


@asynccontextmanager
async def world_at(url: str, lease: float = LEASE) -> AsyncIterator[World]:
    """Everybody leaves at the end, and nothing is left."""
    world = World(url, lease)
    try:
        yield world
    finally:
        for port in world.ports:
            await port.link.aclose()
        await world.board.aclose()
    await settle()
    assert our_tasks() == []


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with world_at(redis_url) as world:
        yield world


@pytest.fixture
async def brief(redis_url: str) -> AsyncIterator[World]:
    """A world with short leases."""
    async with world_at(redis_url, SHORT) as world:
        yield world


async def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return (await to_thread.run_sync(process.stdout.readline)).strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


async def raw(url: str, *command: str | bytes | int) -> Any:
    """One command, as any program that can reach Redis might send it."""
    from redis.asyncio import Redis

    client: Any = Redis.from_url(url)
    async with client:
        return await client.execute_command(*command)


# --- who leads ---------------------------------------------------------------------------------------


async def test_one_of_many_leads(world: World) -> None:
    """And knows the interests of all others; a process without any takes no part."""
    idle = world.join()
    other_board = StatusBoard(world.url, name=world.name, lease=LEASE)
    ports = [world.join(str(number), board=[None, other_board][number % 2]) for number in range(20)]
    await until(
        lambda: sum(port.link.is_leader for port in ports) == 1 and sum(port.link.is_follower for port in ports) == 19
    )
    leader = next(port for port in ports if port.link.is_leader)
    await until(lambda: len(leader.wanted) == 19)
    await asyncio.sleep(0.5)
    assert [port.link.is_leader for port in ports] == [port is leader for port in ports]
    assert sum(len(port.wanted) for port in ports) == 19
    assert not idle.turns
    assert not (idle.link.is_leader or idle.link.is_follower)


async def test_a_leader_that_has_enough_is_followed_at_once(world: World) -> None:
    """Long before its lease would end; and the new one knows what everybody wants."""
    leader, follower = await world.pair()
    third = world.join("c")
    await until(lambda: third.link.is_follower)
    began = time.monotonic()
    leader.link.remove_interest("own")
    await until(lambda: follower.link.is_leader or third.link.is_leader)
    assert time.monotonic() - began < LEASE / 3
    new, other = (follower, third) if follower.link.is_leader else (third, follower)
    await until(lambda: other.link.is_follower and new.wanted.keys() == other.link.interests.keys())
    assert leader.turns[-1] == (False, False)
    # It may come back.
    leader.link.add_interest("own", WANT)
    await until(lambda: leader.link.is_follower and "own" in new.wanted)


async def test_a_leader_whose_task_is_cancelled_is_followed_when_its_lease_ends(brief: World) -> None:
    """Nothing hangs on the cancelled one, which takes part again with its next want."""
    leader, follower = await brief.pair()
    [task] = [task for task in asyncio.all_tasks() if task is leader.link._task]
    task.cancel()
    await until(lambda: leader.turns[-1] == (False, False))
    await until(lambda: follower.link.is_leader, 2 * SHORT + 5)
    leader.link.add_interest("more", WANT)
    await until(lambda: leader.link.is_follower and follower.wanted.keys() == {"own", "more"})


async def test_a_leader_that_is_killed_is_followed_within_seconds(redis_url: str) -> None:
    """With the usual lease; followers do not poll until the last moment."""
    async with world_at(redis_url, 3.0) as world:
        process = world.process("theirs")
        try:
            assert await first_line(process) == "leads"
            follower, other = world.join("a"), world.join("b")
            await until(lambda: follower.link.is_follower and other.link.is_follower)
        finally:
            kill(process)
        began = time.monotonic()
        await until(lambda: follower.link.is_leader or other.link.is_leader)
        assert time.monotonic() - began < 5
        assert (False, False) not in follower.turns + other.turns


async def test_a_leader_that_stood_still_knows_that_it_may_lead_no_more(brief: World) -> None:
    """By its own clock, before any message arrives."""
    leader, _ = await brief.pair()
    time.sleep(SHORT)  # noqa: ASYNC251  (stands still)
    assert not leader.link.is_leader
    await until(lambda: sum(port.link.is_leader for port in brief.ports) == 1)
    new = next(port for port in brief.ports if port.link.is_leader)
    await until(lambda: len(new.wanted) == 3 - len(new.link.interests))


# --- interests of the others -------------------------------------------------------------------------


async def test_the_leader_gets_interests_as_they_change(world: World) -> None:
    """Together with those of others, and until nobody wants the task any more."""
    leader, follower = await world.pair()
    third = world.join("a")
    third.link.add_interest("a", WANT._replace(started_at=1.0, webhook=True))
    await until(lambda: leader.wanted["a"] == WANT._replace(started_at=1.0, webhook=True))
    follower.link.remove_interest("a")
    follower.link.remove_interest("nobody's")
    await until(lambda: leader.wanted["a"] == WANT._replace(started_at=1.0, webhook=True))
    await asyncio.sleep(0.05)
    assert leader.wanted.keys() == {"a", "b"}
    third.link.remove_interest("a")
    await until(lambda: leader.wanted.keys() == {"b"})
    await until(lambda: third.link._task is not None and third.link._task.done())


async def test_the_interests_of_a_process_that_dies_vanish(brief: World) -> None:
    """Some leases after its last sign."""
    leader = brief.join("own")
    await until(lambda: leader.link.is_leader)
    process = brief.process("theirs")
    try:
        assert await first_line(process) == "follows"
        await until(lambda: "theirs" in leader.wanted)
    finally:
        kill(process)
    await until(lambda: not leader.wanted)


async def test_ten_thousand_interests_are_published_in_some_hundred_steps(world: World) -> None:
    """The loop goes on all the time, also when another takes over and must read them all."""
    leader, follower = await world.pair()
    before = await commands(world.url)
    stalls: list[float] = []

    async def watch() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            stalls.append(time.perf_counter() - last)
            last = time.perf_counter()

    for number in range(10_000):
        follower.link.add_interest(f"task-{number}", WANT)
    watcher = asyncio.create_task(watch())
    await until(lambda: len(leader.wanted) == 10_002)
    assert await commands(world.url) - before < 2500
    # As when it takes over.
    leader.wanted.clear()
    assert leader.link._membership is not None
    leader.link._membership.forget_remote()
    leader.link.wake()
    await until(lambda: len(leader.wanted) == 10_002)
    watcher.cancel()
    # Mostly a few milliseconds; the machine may be busy with other things, and garbage is collected.
    assert sorted(stalls)[-10] < 0.05


async def commands(url: str) -> int:
    """How many commands Redis has carried out, each member of a transaction counted."""
    return int((await raw(url, "INFO", "stats"))["total_commands_processed"])


async def test_what_is_lost_on_the_way_is_found_again(brief: World) -> None:
    """Changes that never reached the leader, and interests that Redis has forgotten."""
    leader, follower = await brief.pair()
    member = follower.link._membership
    assert member is not None
    key = member._store._interests_of(member.me)
    more = Interest(started_at=1.0, model=None, length=None, details=False, webhook=False, fresh=False)
    await raw(brief.url, "HSET", key, "", 7, "unheard", more.write())
    await until(lambda: leader.wanted.get("unheard") == more)
    await raw(brief.url, "DEL", key)
    await until(lambda: leader.wanted.keys() == {"a", "b"})
    follower.link.add_interest("c", WANT)
    await until(lambda: leader.wanted.keys() == {"a", "b", "c"})


# --- what the leader publishes -----------------------------------------------------------------------


async def test_a_follower_gets_what_the_leader_observed(world: World) -> None:
    """Of the tasks that it waits for, once, with all details; and of those that do not exist."""
    leader, follower = await world.pair()
    for _ in range(3):
        leader.link.publish("own", PROGRESS)
        leader.link.publish("a", PROGRESS)
        leader.link.publish("b", PROGRESS)
    leader.link.publish_missing("own")
    leader.link.publish_missing("b")
    await until(lambda: len(follower.news) == 2 and follower.gone)
    leader.link.publish("a", COMPLETED)
    await until(lambda: len(follower.news) == 3)
    leader.link.publish("a", details("a"))
    leader.link.publish("a", PROGRESS)
    await until(lambda: len(follower.news) == 4)
    await asyncio.sleep(0.05)
    assert sorted(follower.news[:2]) == [("a", PROGRESS), ("b", PROGRESS)]
    assert follower.news[2:] == [("a", COMPLETED), ("a", details("a"))]
    assert follower.gone == ["b"]
    assert not leader.news
    # Only the leader publishes.
    follower.link.publish("own", COMPLETED)
    follower.link.publish_missing("own")
    await asyncio.sleep(0.05)
    assert not leader.news
    assert not leader.gone


async def test_a_process_that_comes_late_gets_the_last_news(world: World) -> None:
    """Also when the leader that observed it is gone."""
    leader, follower = await world.pair()
    leader.link.publish("a", details("a"))
    leader.link.publish("b", PROGRESS)
    await until(lambda: len(follower.news) == 2)
    late = world.join("a", "b", "c")
    await until(lambda: len(dict(late.news)) == 2)
    assert dict(late.news) == {"a": details("a"), "b": PROGRESS}
    await leader.link.aclose()
    await follower.link.aclose()
    later = world.join("a")
    await until(lambda: later.news)
    assert later.news[0] == ("a", details("a"))


async def test_a_new_interest_gets_the_news_again(world: World) -> None:
    """Though the leader has published the same before."""
    leader, follower = await world.pair()
    leader.link.publish("a", PROGRESS)
    await until(lambda: follower.news)
    follower.link.add_interest("a", WANT._replace(details=False))
    await until(lambda: not leader.wanted["a"].details)
    follower.news.clear()
    leader.link.publish("a", PROGRESS)
    await until(lambda: ("a", PROGRESS) in follower.news)


async def test_keys_services_and_names_do_not_mix(world: World) -> None:
    """Each has a leader of its own, which gets nothing from the others; a key is the same as a text and as a secret."""
    board = world.board
    first = world.join("a")
    await until(lambda: first.link.is_leader)
    other_key = world.join("a", key="other")
    other_name = world.join("a", board=StatusBoard(world.url, name=world.name + "x", lease=LEASE))
    other_service, same = Port(), Port()
    other_service.link = board.client(origin="elsewhere", key="key", port=other_service)
    same.link = board.client(origin="service", key=Secret("key"), port=same)
    world.ports += [other_service, same]
    other_service.link.add_interest("a", WANT)
    same.link.add_interest("b", WANT)
    others = [other_key, other_name, other_service]
    await until(lambda: all(port.link.is_leader for port in others) and same.link.is_follower)
    await until(lambda: first.wanted.keys() == {"b"})
    assert not any(port.wanted for port in others)
    keys = await raw(world.url, "KEYS", "*")
    assert not any(b"key" in key or b"service" in key for key in keys)


# --- webhook deliveries ------------------------------------------------------------------------------


async def test_a_delivery_reaches_everybody_else(world: World) -> None:
    """Also from a process that waits for nothing, which then holds nothing; several at once are one."""
    leader, follower = await world.pair()
    follower.link.publish_delivery(may_be_end=True)
    await until(lambda: leader.deliveries)
    receiver = world.join()
    receiver.link.publish_delivery(may_be_end=False)
    await until(lambda: len(leader.deliveries) == 2 and follower.deliveries)
    assert (leader.deliveries, follower.deliveries, receiver.deliveries) == ([True, False], [False], [])
    await until(lambda: receiver.link._task is not None and receiver.link._task.done())
    assert not receiver.turns
    for may_be_end in (False, True, False):
        receiver.link.publish_delivery(may_be_end=may_be_end)
    await receiver.link.aclose()
    receiver.link.publish_delivery(may_be_end=True)
    receiver.link.add_interest("late", WANT)
    await until(lambda: len(leader.deliveries) == 3)
    assert leader.deliveries[-1]


# --- trouble -----------------------------------------------------------------------------------------


async def test_nonsense_in_redis_is_ignored(brief: World) -> None:
    """A program that can write there cannot break a process."""
    leader, follower = await brief.pair()
    store = leader.link.store
    nonsense: list[str | bytes] = [
        b"\xff\xfe",
        "",
        "[]",
        "{",
        '{"kind":"want","sender":"x","version":1,"wants":{"a":5}}',
    ]
    nonsense += [json.dumps({"kind": "news", "sender": "x", "rows": [5, {"id": "a"}, {"id": "a", "status": 7}]})]
    nonsense += [json.dumps({"kind": kind, "sender": "x"}) for kind in ("lead", "free", "gone", "hint", "bye")]
    for text in nonsense:
        await raw(brief.url, "PUBLISH", store.events, text)
        await raw(brief.url, "PUBLISH", store.interests, text)
    await raw(brief.url, "SADD", store._members, "x", b"\xff")
    await raw(brief.url, "HSET", store._interests_of("x"), "", "many", "a", b"\xff", b"\xfe", "[]")
    await raw(brief.url, "SET", store._news_of("c"), b"\xff")
    await raw(brief.url, "PERSIST", store._leader)
    follower.link.add_interest("c", WANT)
    await until(lambda: "c" in leader.wanted)
    await asyncio.sleep(SHORT)
    leader.link.publish("c", PROGRESS)
    await until(lambda: ("c", PROGRESS) in follower.news)
    await raw(brief.url, "DEL", store._interests_of("x"))
    assert leader.turns == [(True, False)]


async def test_a_broken_subscription_is_made_again(brief: World, caplog: pytest.LogCaptureFixture) -> None:
    """Messages that were missed are read, and interests are published anew."""
    leader, follower = await brief.pair()
    caplog.set_level(logging.INFO)
    await raw(brief.url, "CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: "can be used again" in caplog.text)
    await until(lambda: sum(port.link.is_leader for port in brief.ports) == 1)
    await until(lambda: sum(port.link.is_follower for port in brief.ports) == 1)
    new, other = (leader, follower) if leader.link.is_leader else (follower, leader)
    await until(lambda: new.wanted.keys() == other.link.interests.keys())
    new.link.publish(next(iter(new.wanted)), PROGRESS)
    await until(lambda: other.news)


async def test_without_redis_everybody_polls(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """One log line when it is gone, and one when it is back."""
    caplog.set_level(logging.INFO)
    async with world_at(redis_server.url, SHORT) as world:
        leader, follower = await world.pair()
        await to_thread.run_sync(redis_server.stop)
        await until(lambda: not (leader.link.is_leader or follower.link.is_follower or follower.link.is_leader))
        leader.link.publish("a", PROGRESS)
        leader.link.publish_delivery(may_be_end=True)
        follower.link.add_interest("c", WANT)
        await asyncio.sleep(SHORT)
        await to_thread.run_sync(redis_server.start)
        await until(lambda: sum(port.link.is_leader for port in world.ports) == 1)
        await until(lambda: sum(port.link.is_follower for port in world.ports) == 1)
        new, other = (leader, follower) if leader.link.is_leader else (follower, leader)
        await until(lambda: new.wanted.keys() == other.link.interests.keys())
        assert "c" in follower.link.interests
    levels = [record.levelname for record in caplog.records if record.name == "aivideomaker_async.watch"]
    assert levels == ["WARNING", "INFO"]


async def test_a_redis_that_was_never_there_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Neither for a wait, nor for a delivery that is passed on, nor for closing."""
    async with world_at("redis://127.0.0.1:1") as world:
        port, sender = world.join("a"), world.join()
        sender.link.publish_delivery(may_be_end=True)
        await until(lambda: caplog.records and sender.link._task is not None and sender.link._task.done())
        await asyncio.sleep(0.3)
        port.link.remove_interest("a")
        await until(lambda: our_tasks() == [])
        port.link.add_interest("b", WANT)
        assert not (port.link.is_leader or port.link.is_follower or port.turns)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "each process polls for itself" in record.message


async def test_a_redis_that_never_answers_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It counts as gone soon, and closing does not wait for it."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    async with server:
        port_number = server.sockets[0].getsockname()[1]
        async with world_at(f"redis://127.0.0.1:{port_number}?socket_timeout=0.2") as world:
            port = world.join("a")
            await until(lambda: caplog.records)
            assert not (port.link.is_leader or port.link.is_follower)
            began = time.monotonic()
            await port.link.aclose()
            assert time.monotonic() - began < 1
        for writer in writers:
            writer.close()
    assert "no answer within 0.2 s" in caplog.text


async def test_a_mistake_of_ours_is_logged_and_stops_only_the_board(
    brief: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process polls for itself, and a little later the board is tried again."""
    leader, follower = await brief.pair()
    with monkeypatch.context() as patch:
        patch.setattr(leader, "interest_added", lambda *_: 1 / 0)
        follower.link.add_interest("c", WANT)
        await until(lambda: "mistake in aivideomaker_async" in caplog.text)
    await until(lambda: sum(port.link.is_leader for port in brief.ports) == 1)
    await until(lambda: sum(port.link.is_follower for port in brief.ports) == 1)


async def test_cancelled_anywhere_nothing_is_left(world: World) -> None:
    """Neither a task nor a connection, whatever the background task was about to do."""
    other = world.join("other")
    await until(lambda: other.link.is_leader)
    steady = await connections(world.url)
    for steps in [*range(60), 80, 120, 200]:
        port = world.join("a", "b")
        for _ in range(steps):
            await asyncio.sleep(0)
        task = port.link._task
        assert task is not None
        task.cancel()
        await asyncio.wait([task])
        assert not (port.link.is_leader or port.link.is_follower)
        await port.link.aclose()
        assert our_tasks() == ["aivideomaker_async.StatusBoard", "aivideomaker_async.StatusBoard.listener"] or set(
            our_tasks()
        ) == {"aivideomaker_async.StatusBoard", "aivideomaker_async.StatusBoard.listener"}
    # Those of the pool are kept for the next one.
    assert await connections(world.url) <= steady + 4


async def test_closed_anywhere_nothing_is_left(world: World) -> None:
    """Closing resigns, so the next one leads at once."""
    for steps in [*range(0, 60, 3), 100, 200]:
        port = world.join("a")
        for _ in range(steps):
            await asyncio.sleep(0)
        await port.link.aclose()
        await port.link.aclose()
        assert our_tasks() == []
    began = time.monotonic()
    port = world.join("a")
    await until(lambda: port.link.is_leader)
    assert time.monotonic() - began < LEASE / 2


async def connections(url: str) -> int:
    return int((await raw(url, "INFO", "clients"))["connected_clients"])


async def test_connections_are_closed_with_the_last_link(redis_server: RedisServer) -> None:
    """Or at the latest with the event loop, also when nobody closes anything."""
    before = await connections(redis_server.url)
    async with world_at(redis_server.url) as world:
        await world.pair()
        assert await connections(redis_server.url) > before
    await until_closed(redis_server.url, before)

    async def careless() -> None:
        world = World(redis_server.url)
        await world.pair()

    await to_thread.run_sync(lambda: asyncio.run(careless()))
    await until_closed(redis_server.url, before)


async def until_closed(url: str, before: int) -> None:
    async with asyncio.timeout(10):
        while await connections(url) > before:  # noqa: ASYNC110  (signalled by no event)
            await asyncio.sleep(0.01)


# --- arguments and secrets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "message"),
    [("", "must be redis://"), ("http://a", "must be redis://"), ("redis://a?nonsense=1", "options in its query")],
)
def test_a_url_that_is_none_is_refused(url: str, message: str) -> None:
    """When the board is made, not when it is used."""
    with pytest.raises(ConfigurationError, match=message):
        StatusBoard(url)


def test_a_lease_must_be_seconds() -> None:
    """More than none."""
    with pytest.raises(ConfigurationError, match="lease=0"):
        StatusBoard("redis://a", lease=0)


def test_without_the_package_redis_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported on use only."""
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=re.escape('pip install ".[redis]" in a checkout')):
        StatusBoard("redis://localhost")
    code = "import aivideomaker_async, sys; assert not any(name.split('.')[0] == 'redis' for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_the_password_is_never_seen(caplog: pytest.LogCaptureFixture) -> None:
    """Right or wrong: in no repr, log, error or frame of one."""
    caplog.set_level(logging.DEBUG)
    for server in start_redis("hunter%2F2"):
        for password in ("hunter%252F2", "wr0ng"):
            url = f"redis://:{password}@127.0.0.1:{server.port}/0"
            async with world_at(url) as world:
                port = world.join("a")
                await until(lambda port=port: port.link.is_leader or caplog.records)  # type: ignore[misc]
                shown = f"{world.board!r} {port.link!r} {port.link._task!r} {world.board._connections!r}"
                assert str(server.port) in shown
                assert "hunter" not in shown + caplog.text
                assert "wr0ng" not in shown + caplog.text
    assert "cannot be used" in caplog.text
