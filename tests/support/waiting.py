"""Every way to wait for tasks, and a service that is in trouble for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest

from aivideomaker_async import AIVideoMaker, RateLimiter, TextToVideo, VideoTask
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import Action, Arrival, Drop, Hang, Raw, Reply, ScriptedService, scripted
from tests.support.service import Service
from tests.support.virtual_clock import VirtualClockLoop

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)
LIST = "/api/v1/tasks"
STEPS = ((0.0, "SUBMITTED"), (5.0, "PROGRESS"), (30.0, "COMPLETED"))
TROUBLE = (8.0, 128.0)
"""Two minutes, in which the task ends."""

SOON = 12.0
"""Seconds after the trouble in which all waiters know: the longest pause between two attempts, and a few polls."""

PAST_DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
FUTURE_DATE = "Fri, 31 Dec 2099 23:59:59 GMT"
FAILED = Reply(200, {"status": "FAILED", "message": "Internal error"})


def refused(retry_after: str | None, date: str | None = None) -> Reply:
    """A 429 with these headers."""
    headers = {"Retry-After": retry_after, "Date": date}
    return Reply(429, {"message": "slow down"}, {name: value for name, value in headers.items() if value is not None})


USUAL_FAULTS: dict[str, Action] = {
    "drop": Drop(),
    "500": Reply(500),
    "hang": Hang(),
    "truncated": Reply(200, {"tasks": [], "status": "PROGRESS", "id": "ck1"}, cut=9),
    "429 3": refused("3"),
    "429 date": refused("Wed, 21 Oct 2015 07:28:03 GMT", date=PAST_DATE),
    "429 nonsense": refused("soon"),
}
ODD_FAULTS: dict[str, Action] = {
    "503 of a proxy": Reply(503, "<html>", {"Retry-After": "3600"}),
    "408": Reply(408),
    "half of it": Reply(200, b'{"tasks": [{"id": "ck1", "stat'),
    "half a head": Raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no HTTP": Raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "html": Reply(200, "<html>Maintenance</html>"),
    "wrong JSON": Reply(200, {"tasks": {}}),
    "FAILED": FAILED,
    "redirect": Reply(302, headers={"Location": "/maintenance"}),
    "429 past": refused(PAST_DATE),
    "429 without": refused(None),
    "429 -5": refused("-5"),
    "429 1e999": refused("1e999"),
    "429 NaN": refused("NaN"),
}
FAULTS = USUAL_FAULTS | ODD_FAULTS
"""What a network, a proxy or a service that is not well may answer, without any news of a task."""


# --- the ways to wait --------------------------------------------------------------------------------


async def result(client: AIVideoMaker, count: int) -> list[Any]:
    tasks = [await client.submit(SPEC) for _ in range(count)]
    return await asyncio.gather(*(task.result() for task in tasks), return_exceptions=True)


async def last_change(task: VideoTask) -> str:
    change = None
    async for item in task:
        change = item
    assert change is not None
    return str(change.status)


async def changes(client: AIVideoMaker, count: int) -> list[Any]:
    tasks = [await client.submit(SPEC) for _ in range(count)]
    return await asyncio.gather(*map(last_change, tasks), return_exceptions=True)


async def generate(client: AIVideoMaker, count: int) -> list[Any]:
    return await asyncio.gather(*(client.generate(SPEC) for _ in range(count)), return_exceptions=True)


async def generate_many(client: AIVideoMaker, count: int) -> list[Any]:
    outcomes = [outcome async for outcome in client.generate_many([SPEC] * count)]
    return [outcome.video or outcome.error for outcome in outcomes]


async def taken_up(client: AIVideoMaker, service: Service, count: int) -> list[Any]:
    """Wait for many tasks that were submitted elsewhere just now."""
    for number in range(count):
        service.add(f"ck{number}", *service.steps(number))
    return await asyncio.gather(*(client.task(f"ck{number}").result() for number in range(count)))


async def all_ways(client: AIVideoMaker, count: int) -> list[Any]:
    """Wait in all ways at once, each with `count` waiters."""
    return [item for each in await asyncio.gather(*(way(client, count) for way in WAYS)) for item in each]


Way: TypeAlias = Callable[[AIVideoMaker, int], Awaitable[list[Any]]]
WAYS: list[Way] = [result, changes, generate, generate_many]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
each_number = pytest.mark.parametrize("waiters", [1, 3])
"""One waiter, for whom /status is polled, and several, for whom the list is."""


def loop_of_test() -> VirtualClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    return loop


async def waits(way: Way, client: AIVideoMaker, count: int = 1) -> float:
    """Return the seconds until all waiters have their videos."""
    began = loop_of_test().time()
    outcomes = await way(client, count)
    assert not [item for item in outcomes if isinstance(item, Exception)]
    assert all(item == "COMPLETED" or item.url for item in outcomes)
    return loop_of_test().time() - began


async def seconds_of(task: VideoTask) -> float:
    """Return the seconds that the result of a task takes."""
    began = asyncio.get_running_loop().time()
    await task.result()
    return asyncio.get_running_loop().time() - began


# --- services ----------------------------------------------------------------------------------------


@asynccontextmanager
async def watched(
    service: Callable[[Arrival], Any], limiter: Any = None, **options: Any
) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    """Run the service, and a client that must hold nothing in the end."""
    async with scripted(service) as server:
        limiter = RateLimiter() if limiter is None else limiter
        async with AIVideoMaker("ak_test", base_url=server.url, limiter=limiter, **options) as client:
            yield server, client
            await assert_nothing_held(client)


def kind(path: str) -> str:
    return {4: "list", 5: "details", 6: "status"}[path.count("/") + 1]


def troubled(
    trouble: Callable[[Arrival], Action | None] | Action,
    *,
    where: tuple[str, ...] = ("list", "status", "details"),
    when: tuple[float, float] = TROUBLE,
    steps: tuple[tuple[float, str], ...] = STEPS,
) -> Service:
    """Return a service that answers queries of these kinds with `trouble`, for a while."""
    service, began = Service(), loop_of_test().time()
    service.steps = lambda _: steps

    def answer(arrival: Arrival) -> Action | None:
        if arrival.method != "GET" or kind(arrival.path) not in where:
            return None
        if not when[0] <= arrival.at - began < when[1]:
            return None
        return trouble(arrival) if callable(trouble) else trouble

    service.override = answer
    return service


def healthy(steps: tuple[tuple[float, str], ...] = STEPS) -> Service:
    return troubled(Drop(), when=(0, 0), steps=steps)


def most_in_a_minute(server: ScriptedService) -> int:
    times = [arrival.at for arrival in server.arrivals if arrival.method == "GET"]
    return max(sum(start <= at < start + 60 for at in times) for start in times)
