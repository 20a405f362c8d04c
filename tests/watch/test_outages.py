"""Waits outlive restarts, names that do not resolve, slow services, pauses, and the sleep of a laptop."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from aivideomaker_async import AIVideoMaker, HostRateLimiter, RateLimited, RateLimiter, RequestTimeout, WaitTimeout
from aivideomaker_async._limits import MAX_LIMIT_PAUSE_S
from aivideomaker_async._watch.deadlines import GRACE_AFTER_SLEEP_S
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply, ScriptedService, row, scripted
from tests.support.service import Service, kinds
from tests.support.virtual_clock import VirtualClockLoop
from tests.support.waiting import (
    FAULTS,
    FUTURE_DATE,
    LIST,
    PAST_DATE,
    SOON,
    SPEC,
    TROUBLE,
    Way,
    all_ways,
    each_number,
    each_way,
    healthy,
    loop_of_test,
    most_in_a_minute,
    refused,
    result,
    taken_up,
    troubled,
    waits,
    watched,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


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
    async with restarted(healthy(), RateLimiter()) as (client, servers):
        assert TROUBLE[1] < await waits(way, client, waiters) < TROUBLE[1] + SOON
        assert client.statistics().polls < 120, "no storm of connections"
    assert len(servers) == 2 and all(most_in_a_minute(server) <= 60 for server in servers)


async def test_a_thousand_waiters_outlive_a_restart_together() -> None:
    """As fast as one, for as many requests."""
    service = healthy()
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
    async with restarted(healthy(), limiter) as (client, servers):
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
    async with scripted(healthy()) as server:
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
    """Most of the time is left for queries that are answered."""
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

    service = healthy()
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
    """After two timeouts a poll gets all the time of an attempt: the answers of a service that needs 25 s arrive."""
    service = healthy()
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
    """All clients of the limiter wait, and all deadlines hold, also that of a single call."""
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
async def test_repeated_429s_that_ask_for_no_pause_make_one(value: str, waiters: int) -> None:
    """A server that refuses for five minutes, each time without a pause, is not asked every second."""
    async with watched(troubled(refused(value), when=(20, 320))) as (server, client):
        assert await waits(result, client, waiters) < 320 + SOON
    began = server.arrivals[0].at
    assert 20 < sum(20 <= arrival.at - began < 320 for arrival in server.arrivals) < 60


# --- a laptop that sleeps ----------------------------------------------------------------------------


class Laptop:
    """Sleeps for an hour, in which its loop's clock goes on, or (as on Linux) only the time of day."""

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
    """Although the deadline of half an hour has passed, and its connections are dead."""
    service = healthy(((0, "SUBMITTED"), (5, "PROGRESS")))
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
    """Also where its clock shows that there are some seconds left: they are too few for a dead connection."""
    service = healthy(((0, "SUBMITTED"), (5, "PROGRESS")))
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
    service = healthy(((0, "SUBMITTED"), (5, "PROGRESS")))
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
    service = healthy(((0, "SUBMITTED"), (5, "PROGRESS")))
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
    service = troubled(FAULTS[blip], when=(58, 1e9))
    service.steps = lambda _: ((0, "SUBMITTED"), (5, "PROGRESS"))
    laptop = Laptop(service, monkeypatch, clock_stops=clock_stops)
    async with watched(service, wait_timeout=60.0) as (server, client):
        loop_of_test().call_later(58.7, lambda: laptop.sleep(server, resets=True))
        errors = await all_ways(client, 1)
        assert all(isinstance(error, WaitTimeout) for error in errors)
        assert GRACE_AFTER_SLEEP_S <= loop_of_test().time() - laptop.awake_at < GRACE_AFTER_SLEEP_S + 3


async def test_an_answer_of_before_the_sleep_is_no_news(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lay in a buffer for some seconds: the task is asked for again before the wait ends."""
    service = healthy(((0, "SUBMITTED"), (5, "PROGRESS")))
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
    service = healthy(((0, "SUBMITTED"), (5, "PROGRESS")))
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
    async with scripted(healthy()) as server:
        async with AIVideoMaker("ak_test", base_url=server.url, limiter=limiter) as client:
            task = await client.submit(SPEC)
            await asyncio.gather(*(task.status() for _ in range(30)))
            ahead[0] += step
            began = loop.time()
            await task.status()
            assert loop.time() - began < 12
            await asyncio.gather(*(task.status() for _ in range(40)))
    assert most_in_a_minute(server) <= 60 + (3 if step > 0 else 0)
