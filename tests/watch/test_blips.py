"""A wait survives whatever happens to the network, the service and the machine, and ends at its deadline.

Everything here happens during a wait, in each of the ways to wait, for one waiter (who polls /status) and for several
(who poll the list).
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from aivideomaker_async import (
    AIVideoMaker,
    APIError,
    AuthenticationFailed,
    HostRateLimiter,
    RateLimited,
    RateLimiter,
    RequestTimeout,
    TaskNotFound,
    TaskStatus,
    TextToVideo,
    VideoTask,
    WaitTimeout,
)
from aivideomaker_async._limits import MAX_LIMIT_PAUSE_S
from aivideomaker_async._watch.expiry import LAST_CHANCE
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import Action, Arrival, Drop, Hang, Raw, Reply, ScriptedService, row, scripted
from tests.support.service import Service, kinds
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)
LIST = "/api/v1/tasks"
STEPS = ((0.0, "SUBMITTED"), (5.0, "PROGRESS"), (30.0, "COMPLETED"))
TROUBLE = (8.0, 128.0)
"""Two minutes, in which the task ends."""

SOON = 12.0
"""Seconds after the trouble in which everybody knows: the longest pause between two attempts, and a few polls."""

PAST_DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
FUTURE_DATE = "Fri, 31 Dec 2099 23:59:59 GMT"
FAILED = Reply(200, {"status": "FAILED", "message": "Internal error"})


def refused(retry_after: str | None, date: str | None = None) -> Reply:
    headers = {"Retry-After": retry_after, "Date": date}
    return Reply(429, {"message": "slow down"}, {name: value for name, value in headers.items() if value is not None})


NAMED: dict[str, Action] = {
    "drop": Drop(),
    "500": Reply(500),
    "hang": Hang(),
    "truncated": Reply(200, {"tasks": [], "status": "PROGRESS", "id": "ck1"}, cut=9),
    "429 3": refused("3"),
    "429 date": refused("Wed, 21 Oct 2015 07:28:03 GMT", date=PAST_DATE),
    "429 nonsense": refused("soon"),
}
ODD: dict[str, Action] = {
    "503 of a proxy": Reply(503, "<html>", {"Retry-After": "3600"}),
    "408": Reply(408),
    "half of it": Reply(200, b'{"tasks": [{"id": "ck1", "stat'),
    "half a head": Raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "no HTTP": Raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "html": Reply(200, "<html>Maintenance</html>"),
    "FAILED": FAILED,
    "redirect": Reply(302, headers={"Location": "/maintenance"}),
    "429 past": refused(PAST_DATE),
    "429 without": refused(None),
    "429 -5": refused("-5"),
    "429 1e999": refused("1e999"),
    "429 NaN": refused("NaN"),
}
BLIPS = NAMED | ODD


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


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
    """Many waiters, whose tasks were submitted elsewhere just now."""
    for number in range(count):
        service.add(f"ck{number}", *service.steps(number))
    return await asyncio.gather(*(client.task(f"ck{number}").result() for number in range(count)))


async def all_ways(client: AIVideoMaker, count: int) -> list[Any]:
    """All of them at once, of `count` waiters each."""
    return [item for each in await asyncio.gather(*(way(client, count) for way in WAYS)) for item in each]


Way: TypeAlias = Callable[[AIVideoMaker, int], Awaitable[list[Any]]]
WAYS: list[Way] = [result, changes, generate, generate_many]
each_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
each_number = pytest.mark.parametrize("waiters", [1, 3])


def loop_of_test() -> VirtualClockLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualClockLoop)
    return loop


async def waits(way: Way, client: AIVideoMaker, count: int = 1) -> float:
    """Seconds until all of them have what they waited for."""
    began = loop_of_test().time()
    outcomes = await way(client, count)
    assert not [item for item in outcomes if isinstance(item, Exception)]
    assert all(item == "COMPLETED" or item.url for item in outcomes)
    return loop_of_test().time() - began


@asynccontextmanager
async def watched(
    service: Callable[[Arrival], Any], limiter: Any = None, **options: Any
) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    """The service, and a client that holds nothing in the end."""
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
    """A service that answers the queries of these kinds so, for a while."""
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


def most_in_a_minute(server: ScriptedService) -> int:
    times = [arrival.at for arrival in server.arrivals if arrival.method == "GET"]
    return max(sum(start <= at < start + 60 for at in times) for start in times)


# --- trouble for a while, and for ever ---------------------------------------------------------------


async def survives(blip: str, way: Way, waiters: int) -> None:
    async with watched(troubled(BLIPS[blip])) as (server, client):
        # A request that hangs is first given up, which takes up to the time of an attempt.
        assert await waits(way, client, waiters) < TROUBLE[1] + SOON + (30 if blip == "hang" else 0)
    assert most_in_a_minute(server) <= 60
    began = server.arrivals[0].at
    during = sum(TROUBLE[0] <= arrival.at - began < TROUBLE[1] for arrival in server.arrivals)
    assert 3 <= during <= 50, "neither given up, nor hammered"


@each_number
@each_way
@pytest.mark.parametrize("blip", NAMED)
async def test_two_minutes_of_trouble_end_no_wait(blip: str, way: Way, waiters: int) -> None:
    """Each blip, in each way to wait, alone and with others: it goes on, and ends soon after the trouble."""
    await survives(blip, way, waiters)


@pytest.mark.parametrize("blip", ODD)
async def test_nor_do_odder_troubles(blip: str) -> None:
    """Alone, and in all ways together."""
    await survives(blip, result, 1)
    await survives(blip, all_ways, 1)


@pytest.mark.parametrize(
    ("blip", "way"),
    [(blip, result) for blip in NAMED] + [(blip, all_ways) for blip in BLIPS],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_trouble_without_end_ends_at_the_deadline(blip: str, way: Way) -> None:
    """Not before, and not later; the error has the handle, and says that the task may go on."""
    service = troubled(BLIPS[blip], when=(TROUBLE[0], 1e9))
    async with watched(service, wait_timeout=90.0) as (server, client):
        began = loop_of_test().time()
        errors = await way(client, 1)
        assert loop_of_test().time() - began == pytest.approx(90, abs=0.5)
        for error in errors:
            assert isinstance(error, WaitTimeout)
            assert error.elapsed == pytest.approx(90, abs=0.1)
            assert error.last_status in {"SUBMITTED", "PROGRESS"}
            assert "may still be running" in str(error) and f"client.task({error.task.id!r})" in str(error)
        service.override = lambda _: None
        assert (await errors[0].task.result()).url, "the handle goes on"
    assert len(server.arrivals) < 100


@each_number
@pytest.mark.parametrize("blip", ["drop", "FAILED", "redirect", "429 3", "hang"])
@pytest.mark.parametrize("where", ["list", "status", "details"])
async def test_trouble_with_one_kind_of_query_only(where: str, blip: str, waiters: int) -> None:
    """What another kind of query tells is heard in time, and nothing is lost where there is no other."""
    async with watched(troubled(BLIPS[blip], where=(where,), when=(TROUBLE[0], 120))) as (server, client):
        took = await waits(all_ways, client, 1) if waiters > 1 else await waits(result, client)
        assert took < 120 + SOON + (30 if blip == "hang" else 0)
        if where == "list" and blip != "429 3":
            assert took < 30 + (12 if waiters == 1 or blip != "hang" else 75), "each is asked for by itself"
        if where == "details" and waiters > 1:
            assert took < 30 + 5, "the rows of the list are whole"
    assert most_in_a_minute(server) <= 60


@pytest.mark.parametrize("blip", ["drop", "hang", "FAILED", "redirect", "429 3"])
async def test_a_status_that_fails_takes_the_list_from_nobody(blip: str) -> None:
    """The list is checked by the status of a task now and then: checks that fail hold up nobody."""
    service = troubled(BLIPS[blip], where=("status",), when=(0, 1e9))
    async with watched(service) as (server, client):
        began = loop_of_test().time()
        await taken_up(client, service, 100)
        assert loop_of_test().time() - began < 30 + (12 if blip == "hang" else 5)
    assert kinds(server)["status"] <= kinds(server)["list"] / 4


@pytest.mark.parametrize("blip", ["drop", "FAILED", "429 3"])
@pytest.mark.parametrize("waiters", [1, 5, 50])
async def test_most_answers_are_bad_or_every_second_one(blip: str, waiters: int) -> None:
    """Alternating: hardly later. Nine of ten: later, and not lost."""
    for share, within in ((None, 15), (0.9, 600)):
        dice, turns = random.Random(7), iter(range(10**6))

        def sometimes(_: Arrival, share: float | None = share, d: Any = dice, t: Any = turns) -> Action | None:
            return BLIPS[blip] if (next(t) % 2 if share is None else d.random() < share) else None

        service = troubled(sometimes, when=(20, 1e9))
        async with watched(service) as (server, client):
            began = loop_of_test().time()
            assert len(await taken_up(client, service, waiters)) == waiters
            assert loop_of_test().time() - began < 30 + within
        assert most_in_a_minute(server) <= 60


async def test_details_that_always_fail_do_not_hide_that_the_task_has_ended() -> None:
    """The wait goes on for the output until the deadline, and its error tells that the task is COMPLETED."""
    async with watched(troubled(Reply(500), where=("details",), when=(0, 1e9))) as (server, client):
        with pytest.raises(WaitTimeout, match="last seen in COMPLETED") as caught:
            await client.generate(SPEC, timeout=600)
        assert caught.value.last_status == TaskStatus.COMPLETED and caught.value.elapsed == pytest.approx(600)
    assert 50 < kinds(server)["details"] < 100


# --- a restart, and names that do not resolve --------------------------------------------------------


@asynccontextmanager
async def restarted(service: Service, limiter: Any, **options: Any) -> AsyncIterator[tuple[AIVideoMaker, list[Any]]]:
    """A client of a service that is really gone from the 20th to the 140th second, and what listened at the port."""
    loop, servers = loop_of_test(), []
    async with scripted(service) as first:
        port = int(first.url.rpartition(":")[2])
        async with AIVideoMaker("ak_test", base_url=first.url, limiter=limiter, **options) as client:
            loop.call_later(TROUBLE[0], first.stop_listening)

            async def again() -> None:
                await asyncio.sleep(TROUBLE[1])
                async with scripted(service, port=port) as second:
                    servers.append(second)
                    await asyncio.Event().wait()

            restart = asyncio.ensure_future(again())
            servers.append(first)
            yield client, servers
            await assert_nothing_held(client)
            restart.cancel()
            await asyncio.wait([restart])


@each_way
@pytest.mark.parametrize("waiters", [1, 5])
async def test_a_restart_of_two_minutes(way: Way, waiters: int) -> None:
    """Connections are refused, and when it is back, everyone knows within seconds."""
    async with restarted(troubled(Drop(), when=(0, 0)), RateLimiter()) as (client, servers):
        assert TROUBLE[1] < await waits(way, client, waiters) < TROUBLE[1] + SOON
        assert client.statistics().polls < 120, "no storm of connections"
    assert len(servers) == 2 and all(most_in_a_minute(server) <= 60 for server in servers)


async def test_a_thousand_waiters_outlive_a_restart_together() -> None:
    """As fast as one, for as many requests."""
    service = troubled(Drop(), when=(0, 0))
    async with restarted(service, RateLimiter()) as (client, servers):
        began = loop_of_test().time()
        await asyncio.sleep(17)
        await taken_up(client, service, 1000)
        assert loop_of_test().time() - began < TROUBLE[1] + SOON
        assert client.statistics().polls < 120
    assert most_in_a_minute(servers[1]) <= 12


async def test_a_short_blip_does_not_take_the_list_from_a_thousand_waiters() -> None:
    """Two lists in a row fail just when all tasks end: the next one is not a minute away."""
    service = troubled(Drop(), when=(3, 5.2), steps=((0.0, "PROGRESS"), (4.0, "COMPLETED")))
    async with watched(service) as (server, client):
        began = loop_of_test().time()
        await taken_up(client, service, 1000)
        assert loop_of_test().time() - began < 5.2 + 12
    assert sum(3 <= arrival.at - began < 5.2 and arrival.path == LIST for arrival in server.arrivals) == 2


async def test_a_restart_with_the_limiter_of_the_host(tmp_path: Path) -> None:
    """Refused connections cost no permits there either."""
    loop = loop_of_test()
    limiter = HostRateLimiter(directory=tmp_path, clock=loop.time)
    async with restarted(troubled(Drop(), when=(0, 0)), limiter) as (client, servers):
        assert await waits(all_ways, client) < TROUBLE[1] + SOON
    assert all(most_in_a_minute(server) <= 60 for server in servers)


class Resolver(AbstractResolver):
    """Knows no name for a while."""

    def __init__(self, is_down: Callable[[], bool]) -> None:
        self.is_down = is_down

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self.is_down():
            raise OSError(None, "Temporary failure in name resolution")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


@each_way
@each_number
async def test_a_name_that_does_not_resolve_for_a_while(
    way: Way, waiters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resolver of the system fails for two minutes."""
    began = loop_of_test().time()
    asked: list[float] = []

    async def getaddrinfo(loop: VirtualClockLoop, host: str, port: int, **_: Any) -> list[Any]:
        now = loop.time() - began
        asked.append(now)
        if TROUBLE[0] <= now < TROUBLE[1]:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    # A connection that is there already breaks as well.
    async with scripted(troubled(Drop())) as server:
        monkeypatch.setattr(VirtualClockLoop, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr("aiohttp.connector.DefaultResolver", aiohttp.ThreadedResolver)
        # By this clock names are remembered for ten seconds.
        monkeypatch.setattr("aiohttp.connector.monotonic", loop_of_test().time)
        url = server.url.replace("127.0.0.1", "service.example")
        async with AIVideoMaker("ak_test", base_url=url, limiter=RateLimiter(), allow_http=True) as client:
            assert TROUBLE[1] < await waits(way, client, waiters) < TROUBLE[1] + SOON
    assert 5 < sum(TROUBLE[0] <= at < TROUBLE[1] for at in asked) < 60


async def test_a_name_that_does_not_resolve_in_a_session_of_the_caller() -> None:
    """Also where the caller has brought the session."""
    loop = loop_of_test()
    began = loop.time()
    down = Resolver(lambda: TROUBLE[0] <= loop.time() - began < TROUBLE[1])
    async with scripted(troubled(Drop(), when=(0, 0))) as server:
        connector = aiohttp.TCPConnector(resolver=down, use_dns_cache=False, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            url = server.url.replace("127.0.0.1", "service.example")
            async with AIVideoMaker(
                "ak_test", base_url=url, limiter=RateLimiter(), allow_http=True, http=http
            ) as client:
                assert TROUBLE[1] < await waits(all_ways, client) < TROUBLE[1] + SOON
    assert most_in_a_minute(server) <= 60


# --- a service that never answers --------------------------------------------------------------------


@each_number
async def test_a_list_that_hangs_holds_up_nobody_for_long(waiters: int) -> None:
    """Answers took milliseconds so far: one that has not come after ten seconds is not waited for."""
    async with watched(troubled(Hang(), where=("list",), when=(TROUBLE[0], 1e9))) as (server, client):
        assert await waits(result, client, waiters) < (32 if waiters == 1 else TROUBLE[0] + 10 + 20 + 8)
    assert kinds(server)["list"] < 30


async def test_a_list_that_always_hangs_is_hardly_asked_for() -> None:
    """Most of the time is for those who answer."""
    steps = ((0.0, "PROGRESS"), (900.0, "COMPLETED"))
    async with watched(troubled(Hang(), where=("list",), when=(0, 1e9), steps=steps)) as (server, client):
        assert await waits(result, client, 3) < 960
    assert kinds(server)["list"] * 30 < 900 / 4


async def test_connections_that_become_slow_are_waited_for_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new one takes twelve seconds: the first attempt gives up, and the next ones do not."""
    began = loop_of_test().time()
    connect = VirtualClockLoop.sock_connect

    async def slowly(loop: VirtualClockLoop, *args: Any) -> None:
        await asyncio.sleep(12 if loop.time() - began > TROUBLE[0] else 0)
        await connect(loop, *args)

    monkeypatch.setattr(VirtualClockLoop, "sock_connect", slowly)

    def closing(arrival: Arrival) -> Action:
        answer = service(arrival)
        assert isinstance(answer, Reply)
        return Reply(answer.status, answer.body, {"Connection": "close"})

    service = troubled(Drop(), when=(0, 0))
    for waiters in (1, 3):
        began = loop_of_test().time()
        async with watched(closing) as (_, client):
            assert await waits(result, client, waiters) < 30 + 12 + 30


async def test_one_answer_that_hangs_costs_ten_seconds() -> None:
    """As on a connection that has died without a word: the next attempt makes a new one."""
    for waiters in (1, 3):
        async with watched(troubled(Hang(), when=(29, 35))) as (_, client):
            assert await waits(result, client, waiters) < 29 + 10 + 6


async def test_answers_that_become_slow_are_waited_for_in_the_end() -> None:
    """Patience grows up to the time-out of an attempt: a service that needs 25 s for each answer is heard."""
    service = troubled(Drop(), when=(0, 0))
    began = loop_of_test().time()

    async def slow(arrival: Arrival) -> Action:
        if arrival.method == "GET" and arrival.at - began > 20:
            await asyncio.sleep(25)
        return service(arrival)

    for waiters in (1, 3):
        began = loop_of_test().time()
        async with watched(slow) as (_, client):
            assert await waits(result, client, waiters) < 30 + 150


# --- 429 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["list", "status", "details"])
@pytest.mark.parametrize("shared", [False, True])
async def test_an_hour_of_pause_does_not_move_the_deadline(where: str, shared: bool, tmp_path: Path) -> None:
    """Everyone who shares the limiter waits, and everyone's deadline holds, also that of a single call."""
    loop = loop_of_test()
    limiter: Any = HostRateLimiter(directory=tmp_path, clock=loop.time) if shared else RateLimiter()
    service = troubled(refused("3600"), where=(where,), when=(0, 1e9))
    async with scripted(service) as server:
        client = AIVideoMaker("ak_test", base_url=server.url, limiter=limiter, wait_timeout=300.0)
        other = AIVideoMaker("ak_other", base_url=server.url, limiter=limiter)
        async with client, other:
            began = loop.time()
            errors = await (result if where != "list" else all_ways)(client, 1)
            assert all(isinstance(error, WaitTimeout) for error in errors), errors
            assert loop.time() - began == pytest.approx(300, abs=0.5)
            assert client.statistics().limiter.paused_for > 3200
            asked, began = len(server.arrivals), loop.time()
            with pytest.raises(RequestTimeout, match="nothing was sent"):
                await other.task("ck1").status(timeout=20)
            assert loop.time() - began == pytest.approx(20, abs=0.1)
            assert len(server.arrivals) == asked
            if where != "status":
                return
            await asyncio.sleep(3400)
            service.override = lambda _: None
            assert (await other.task("ck1").result()).url, "and then it goes on"


@pytest.mark.parametrize("value", ["3601", FUTURE_DATE])
@pytest.mark.parametrize("shared", [False, True])
async def test_an_absurd_retry_after_stops_nobody_for_long(value: str, shared: bool, tmp_path: Path) -> None:
    """Some clock is wrong: one answer must not stop all processes of a host for hours."""
    loop = loop_of_test()
    limiter: Any = HostRateLimiter(directory=tmp_path, clock=loop.time) if shared else RateLimiter()
    service = troubled(refused(value), when=(20, 21.5))
    async with scripted(service) as server:
        async with AIVideoMaker("ak_test", base_url=server.url, limiter=limiter) as client:
            assert await waits(all_ways, client) < 90
            began = loop.time()
            service.override = lambda _: refused(value)
            with pytest.raises(RateLimited) as caught:
                await client.task("ck1").status()
            assert caught.value.retry_after is not None and caught.value.retry_after > MAX_LIMIT_PAUSE_S
            assert loop.time() - began < 2
            assert 50 < client.statistics().limiter.paused_for <= 60


@each_number
@pytest.mark.parametrize("value", ["0", "-5", PAST_DATE])
async def test_at_once_again_and_again_is_not_believed(value: str, waiters: int) -> None:
    """A server that refuses for five minutes and says "now" each time is not asked every second."""
    async with watched(troubled(refused(value), when=(20, 320))) as (server, client):
        assert await waits(result, client, waiters) < 320 + SOON
    began = server.arrivals[0].at
    assert 20 < sum(20 <= arrival.at - began < 320 for arrival in server.arrivals) < 60


# --- what ends a wait at once ------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b'{"status": "FAILED", "message": "Key disabled"}', b"<html>Forbidden by the WAF"])
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", ["list", "status", "details"])
async def test_a_refused_key_ends_every_wait_at_once(where: str, status: int, body: bytes) -> None:
    """Whoever says so, and of whatever kind the query is."""
    service = troubled(Reply(status, body), where=(where,), when=(20, 1e9))
    # Where the list serves several, only one who waits alone asks for the details.
    alone = where != "list"
    async with watched(service) as (server, client):
        began = loop_of_test().time()
        errors = await (result(client, 1) if alone else all_ways(client, 1))
        assert [type(error) for error in errors] == [AuthenticationFailed] * len(errors)
        assert loop_of_test().time() - began < (36 if where == "details" else 26)
        asked = len(server.arrivals)
        await asyncio.sleep(100)
        assert len(server.arrivals) == asked


@pytest.mark.parametrize("where", ["status", "details"])
async def test_an_unknown_task_ends_its_wait_at_once(where: str) -> None:
    """One 404 is enough, however well the task was known before; the handle can be taken up again."""
    gone = Reply(404, {"message": "Task not found"})
    service = troubled(gone, where=(where,), when=(35, 1e9), steps=((0.0, "PROGRESS"), (50.0, "COMPLETED")))
    async with watched(service) as (server, client):
        began = loop_of_test().time()
        errors = await result(client, 1)
        assert [type(error) for error in errors] == [TaskNotFound]
        assert loop_of_test().time() - began < (40 if where == "status" else 55)
        asked = sum(arrival.at - began >= 35 and kind(arrival.path) == where for arrival in server.arrivals[1:])
        assert asked == 1
        service.override = lambda _: None
        assert (await client.task("ck1").result()).url


async def test_an_unknown_task_that_was_taken_up_again_is_not_waited_for() -> None:
    """Only a submit of this client may be ahead of what the service knows."""
    async with watched(Service()) as (server, client):
        for way in (client.task("nobody").result(), last_change(client.task("nobody"))):
            began = loop_of_test().time()
            with pytest.raises(TaskNotFound):
                await way
            assert loop_of_test().time() - began < 3
    assert len(server.arrivals) <= 3


@each_way
@each_number
async def test_a_404_right_after_the_submit_is_forgiven(way: Way, waiters: int) -> None:
    """The service may lag behind its own answer, in the list as well; but not for ever."""
    unknown = lambda item: Reply(404) if kind(item.path) != "list" else Reply(body={"tasks": []})  # noqa: E731
    service = troubled(unknown, when=(0, 25))
    async with watched(service) as (_, client):
        assert await waits(way, client, waiters) < 30 + 10
    began = loop_of_test().time()
    async with watched(troubled(unknown, when=(0, 1e9))) as (_, client):
        errors = await way(client, waiters)
        assert [type(error) for error in errors] == [TaskNotFound] * waiters
        assert 30 <= loop_of_test().time() - began < 45


@each_way
async def test_a_service_without_a_list_serves_all_the_same(
    way: Way,
) -> None:
    """404 on the list alone says nothing of any task."""
    async with watched(troubled(Reply(404, "<html>"), where=("list",), when=(0, 1e9))) as (server, client):
        assert await waits(way, client, 3) < 30 + 6
    assert kinds(server)["list"] <= 2


@each_number
async def test_refusals_end_a_wait_when_they_last(waiters: int) -> None:
    """A page of maintenance for minutes is survived; what goes on for longer is told, long before the deadline."""
    service = troubled(Reply(302, headers={"Location": "/maintenance"}), when=(20, 1e9))
    async with watched(service) as (_, client):
        began = loop_of_test().time()
        errors = await result(client, waiters)
        assert all(isinstance(error, APIError) and error.status == 302 for error in errors)
        assert 300 < loop_of_test().time() - began < 400


async def test_failures_in_disguise_leave_no_backlog_of_doubts() -> None:
    """All of two hundred tasks were told to have FAILED, with a message: one list settles that, not 200 queries."""
    lists_too = troubled(FAILED, when=(20, 320))
    async with watched(lists_too) as (server, client):
        assert await waits(result, client, 200) < 320 + SOON
    # The list says the same as before, and so that nothing has happened.
    async with watched(troubled(FAILED, where=("status", "details"), when=(0, 1e9))) as (server, client):
        assert await waits(result, client, 40) < 30 + SOON
    assert kinds(server)["details"] <= kinds(server)["status"] + 1


# --- a laptop that sleeps ----------------------------------------------------------------------------


class Laptop:
    """Sleeps for an hour: its loop's clock goes on meanwhile, or (as on Linux) only the time of day does."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch, *, clock_stops: bool) -> None:
        self.service = service
        self.clock_stops = clock_stops
        self.awake_at = 0.0
        self._loop = loop_of_test()
        self._slept = 0.0
        monkeypatch.setattr(time, "time", lambda: 1.7e9 + self._loop.time() + self._slept)

    def sleep(
        self, server: ScriptedService, seconds: float = 3600.0, *, resets: bool = False, ends: bool = True
    ) -> None:
        """Nothing runs for so long. Its connections are dead after an hour, with a word (`resets`) or without one."""
        for task_id in self.service.timelines if ends else ():
            self.service.add(task_id, (-1.0, "COMPLETED"))
        if self.clock_stops:
            self._slept += seconds
        else:
            self._loop.jump(seconds)
        self.awake_at = self._loop.time()
        if resets:
            for writer in tuple(server.connections):
                writer.transport.abort()
        elif seconds >= 3600:
            dead, before = server.opened, self.service.override
            self.service.override = lambda item: Hang() if item.connection <= dead else before(item)


laptops = pytest.mark.parametrize("clock_stops", [False, True], ids=["clock goes on", "clock stops"])
deaths = pytest.mark.parametrize("resets", [False, True], ids=["silent", "reset"])


@laptops
@deaths
@each_way
@each_number
async def test_a_laptop_that_slept_an_hour_finds_its_results(
    way: Way,
    waiters: int,
    clock_stops: bool,
    resets: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Although the deadline of half an hour has passed meanwhile, and its connections are dead."""
    service = troubled(Drop(), when=(0, 0), steps=((0, "SUBMITTED"), (5, "PROGRESS")))
    laptop = Laptop(service, monkeypatch, clock_stops=clock_stops)
    async with watched(service, wait_timeout=1800.0) as (server, client):
        loop_of_test().call_later(25.3, lambda: laptop.sleep(server, resets=resets))
        await waits(way, client, waiters)
        assert loop_of_test().time() - laptop.awake_at < (12 if resets else 22)
    assert most_in_a_minute(server) <= 60


@laptops
@each_number
async def test_a_laptop_that_fell_asleep_just_before_the_deadline(
    waiters: int, clock_stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its clock says that there are some seconds left: they are too few for a dead connection."""
    service = troubled(Drop(), when=(0, 0), steps=((0, "SUBMITTED"), (5, "PROGRESS")))
    # Such tasks are known to take hours, so that they are hardly asked for.
    service.old_rows = [row(f"old{n}", "COMPLETED", completedAt="2026-03-19T12:00:00.000Z") for n in range(30)]
    laptop = Laptop(service, monkeypatch, clock_stops=clock_stops)
    async with watched(service, wait_timeout=107.0) as (server, client):
        loop_of_test().call_later(104.0, lambda: laptop.sleep(server))
        await waits(result, client, waiters)
        assert loop_of_test().time() - laptop.awake_at < 15


@laptops
@each_number
async def test_a_laptop_with_the_limiter_of_the_host(
    waiters: int, clock_stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it keeps in a file is as old as the rest."""
    service = troubled(Drop(), when=(0, 0), steps=((0, "SUBMITTED"), (5, "PROGRESS")))
    laptop = Laptop(service, monkeypatch, clock_stops=clock_stops)
    limiter = HostRateLimiter(directory=tmp_path, clock=loop_of_test().time)
    async with watched(service, limiter, wait_timeout=60.0) as (server, client):
        loop_of_test().call_later(20.3, lambda: laptop.sleep(server))
        await waits(all_ways, client, waiters)
        assert loop_of_test().time() - laptop.awake_at < 24
    assert most_in_a_minute(server) <= 60


@laptops
@each_number
async def test_after_a_sleep_a_wait_that_is_over_asks_once_more_and_ends(
    waiters: int, clock_stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task goes on: the deadline holds as soon as that is known."""
    service = troubled(Drop(), when=(0, 0), steps=((0, "SUBMITTED"), (5, "PROGRESS")))
    laptop = Laptop(service, monkeypatch, clock_stops=clock_stops)
    async with watched(service, wait_timeout=60.0) as (server, client):
        loop_of_test().call_later(58.7, lambda: laptop.sleep(server, resets=True, ends=False))
        errors = await all_ways(client, waiters)
        assert all(isinstance(error, WaitTimeout) and error.last_status == "PROGRESS" for error in errors)
        assert loop_of_test().time() - laptop.awake_at < 8
        assert any(arrival.at >= laptop.awake_at for arrival in server.arrivals)


@laptops
@pytest.mark.parametrize("blip", ["drop", "hang", "429 3"])
async def test_a_sleep_does_not_put_off_the_deadline_for_ever(
    blip: str, clock_stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is answered after it: the wait ends all the same."""
    service = troubled(BLIPS[blip], when=(58, 1e9))
    service.steps = lambda _: ((0, "SUBMITTED"), (5, "PROGRESS"))
    laptop = Laptop(service, monkeypatch, clock_stops=clock_stops)
    async with watched(service, wait_timeout=60.0) as (server, client):
        loop_of_test().call_later(58.7, lambda: laptop.sleep(server, resets=True))
        errors = await all_ways(client, 1)
        assert all(isinstance(error, WaitTimeout) for error in errors)
        assert LAST_CHANCE <= loop_of_test().time() - laptop.awake_at < LAST_CHANCE + 3


async def test_an_answer_of_before_the_sleep_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lay in a buffer for some seconds: the task is asked for again before the wait ends."""
    service = troubled(Drop(), when=(0, 0), steps=((0, "SUBMITTED"), (5, "PROGRESS")))
    laptop = Laptop(service, monkeypatch, clock_stops=False)
    async with watched(service, wait_timeout=60.0) as (server, client):

        def answers_and_sleeps(arrival: Arrival) -> Action | None:
            if arrival.method == "GET" and arrival.at - server.arrivals[0].at > 54:
                service.override = lambda _: None
                # When the answer is on its way.
                asyncio.get_running_loop().call_soon(laptop.sleep, server, 9.0)
                return Reply(body={"status": "PROGRESS"})
            return None

        service.override = answers_and_sleeps
        await waits(result, client)
        assert 60 < laptop.awake_at - server.arrivals[0].at < 70


@laptops
@pytest.mark.parametrize("shared", [False, True])
async def test_a_sleep_breaks_no_limit_and_locks_nobody_out(
    clock_stops: bool, shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty requests a minute hold before, over and after it; and nobody waits for windows that are long over."""
    loop = loop_of_test()
    limiter: Any = HostRateLimiter(directory=tmp_path, clock=loop.time) if shared else RateLimiter()
    service = troubled(Drop(), when=(0, 0), steps=((0, "SUBMITTED"), (5, "PROGRESS")))
    laptop = Laptop(service, monkeypatch, clock_stops=clock_stops)
    async with scripted(service) as server:
        async with AIVideoMaker("ak_test", base_url=server.url, limiter=limiter) as client:
            task = await client.submit(SPEC)
            await asyncio.gather(*(task.status() for _ in range(50)))
            laptop.sleep(server, resets=True)
            began = loop.time()
            await task.status()
            assert loop.time() - began < 6
            await asyncio.gather(*(task.status() for _ in range(70)))
    assert most_in_a_minute(server) <= 60


@pytest.mark.parametrize("step", [3600.0, -3600.0, 5.0, -5.0])
async def test_a_step_of_the_clock_that_processes_share(step: float, tmp_path: Path) -> None:
    """An NTP step under a limiter on the time of day, which is not the default: nobody is locked out.

    Back, the limit holds; on, it is as if time had passed, and a burst is let go that was not due.
    """
    loop = loop_of_test()
    ahead = [0.0]
    limiter = HostRateLimiter(directory=tmp_path, clock=lambda: loop.time() + ahead[0])
    async with scripted(troubled(Drop(), when=(0, 0))) as server:
        async with AIVideoMaker("ak_test", base_url=server.url, limiter=limiter) as client:
            task = await client.submit(SPEC)
            await asyncio.gather(*(task.status() for _ in range(30)))
            ahead[0] += step
            began = loop.time()
            await task.status()
            assert loop.time() - began < 12
            await asyncio.gather(*(task.status() for _ in range(40)))
    assert most_in_a_minute(server) <= 60 + (3 if step > 0 else 0)
