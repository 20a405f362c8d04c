import asyncio
import json
import random
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async.simulator.contract import Order
from aivideomaker_async.simulator.listing import BLOCK, Listing
from aivideomaker_async.simulator.wire import Scribe
from aivideomaker_async.simulator.world import World
from tests.simulator.client import running

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


def listed(listing: Listing, now: float, limit: int | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(b"".join(listing.pieces(now, limit)))["tasks"]
    return rows


def account(tasks: int) -> tuple[World, Listing, Scribe]:
    world = World(10**6, random.Random(1), lambda *_: (10, 50))
    scribe = Scribe(lambda at: EPOCH + timedelta(seconds=at))
    for number in range(tasks):
        world.submit(Order(model="t2v", input={}, seconds=5, credits=1, prompts=("x",)), number / 100)
    return world, Listing(world, scribe), scribe


def test_an_empty_list_is_json_too() -> None:
    assert account(0)[1].pieces(0) == [b'{"tasks": [', b"]}"]


@settings(deadline=None)
@given(
    tasks=st.integers(0, 3 * BLOCK),
    limit=st.none() | st.integers(0, 3 * BLOCK),
    moments=st.lists(st.floats(8, 80), max_size=4),
    cancelled=st.integers(0, 3 * BLOCK - 1),
)
def test_blocks_say_what_the_tasks_say(tasks: int, limit: int | None, moments: list[float], cancelled: int) -> None:
    world, listing, scribe = account(tasks)
    for now in sorted(moments):
        newest_first = [*reversed(world.in_order)][:limit]
        assert listed(listing, now, limit) == [json.loads(scribe.task(task, now)) for task in newest_first]
        if cancelled < tasks:
            world.set_status(world.in_order[cancelled].id, "QUEUED", now)
            assert {"QUEUED"} >= {
                row["status"] for row in listed(listing, now) if row["id"] == world.in_order[cancelled].id
            }


@settings(deadline=None)
@given(lag=st.floats(0, 20), moments=st.lists(st.floats(0, 100), max_size=3), changed=st.floats(0, 100))
def test_the_past_is_listed_as_it_was(lag: float, moments: list[float], changed: float) -> None:
    """Whether or not the present was listed before, and a task has left its plan since then."""
    world, listing, _ = account(BLOCK + 10)
    for now in sorted(moments):
        if now >= changed and not world.changes:
            world.set_status(world.in_order[0].id, "QUEUED", changed)
        for then in (now, now - lag):
            seen = [(row["id"], row["status"]) for row in listed(listing, then)]
            there = [task for task in world.in_order if task.created <= then]
            assert seen == [(task.id, task.status(then)) for task in reversed(there)]


def test_a_block_is_kept_until_one_of_its_tasks_takes_a_step() -> None:
    world, listing, _ = account(2 * BLOCK)
    assert listing.pieces(9)[1] is listing.pieces(9.5)[1]
    assert listing.pieces(9)[1] is not listing.pieces(10)[1]
    settled = listing.pieces(100)[1]
    assert listing.pieces(10_000)[1] is settled
    world.set_status(world.in_order[0].id, "QUEUED", 10_000)
    assert listing.pieces(10_000)[1] is not settled


@pytest.mark.anyio
async def test_the_bytes_that_were_sent_are_counted() -> None:
    async with running(history=2 * BLOCK) as (simulator, call):
        one = len((await call("GET", "/api/v1/tasks/ck1")).body)
        assert simulator.statistics().bytes_sent == one
        body = (await call("GET", "/api/v1/tasks")).body
        assert len(json.loads(body)["tasks"]) == 2 * BLOCK
        assert simulator.statistics().bytes_sent == one + len(body)


@pytest.mark.anyio
async def test_who_hangs_up_is_not_sent_the_rest() -> None:
    async with running(history=20_000, seed=1) as (simulator, call):
        whole = len((await call("GET", "/api/v1/tasks")).body)
        assert whole > 8_000_000
        before = simulator.statistics().bytes_sent
        # A buffer of its own: with the system's, all of it may be under way at once.
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(simulator.url.rpartition(":")[2])))
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(f"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Content-Type: application/json; charset=utf-8" in head
        assert len(await reader.readexactly(1000)) == 1000
        # Long enough for everything that fits between the two to be under way.
        await asyncio.sleep(0.1)
        writer.close()
        await asyncio.sleep(0.1)
        assert [one.path for one in simulator.requests] == ["/api/v1/tasks"] * 2
        assert 1000 < simulator.statistics().bytes_sent - before < whole
        assert (await call("GET", "/api/v1/tasks/ck1")).status == 404
