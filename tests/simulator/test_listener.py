import asyncio
import socket

import aiohttp
import pytest

from aivideomaker_async.simulator import Simulator
from tests.simulator.client import FakeClock, running
from tests.support.leaks import settle

pytestmark = pytest.mark.anyio

LIST = "/api/v1/tasks"


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


async def test_nobody_is_heard_in_an_outage_and_all_is_well_after_it() -> None:
    async with running(durations=(10, 50)) as (simulator, call):
        task_id = await call.submit()
        simulator.outage(60)
        for _ in range(2):
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await call("GET", LIST)
            assert isinstance(refused.value.os_error, ConnectionRefusedError)
            await asyncio.sleep(29)
        await asyncio.sleep(3)
        # Tasks went on meanwhile.
        assert (await call("GET", f"{LIST}/{task_id}/status")).json == {"status": "COMPLETED"}
        assert len(simulator.requests) == 2


async def test_an_outage_breaks_what_is_open() -> None:
    async with running() as (simulator, call):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]))
        simulator.fault("hang")
        waiting = asyncio.create_task(call("GET", LIST))
        await settle()
        assert simulator.requests[-1].fault == "hang"
        simulator.outage(60)
        with pytest.raises(aiohttp.ClientError):
            await waiting
        assert await reader.read() == b""
        writer.close()


async def test_outages_that_overlap_are_one() -> None:
    async with running() as (simulator, call):
        simulator.outage(60)
        await asyncio.sleep(30)
        simulator.outage(60)
        simulator.outage(1)
        await asyncio.sleep(59)
        with pytest.raises(aiohttp.ClientConnectorError):
            await call("GET", LIST)
        await asyncio.sleep(2)
        assert (await call("GET", LIST)).status == 200
        simulator.outage(10)
        with pytest.raises(aiohttp.ClientConnectorError):
            await call("GET", LIST)
        await asyncio.sleep(11)
        assert (await call("GET", LIST)).status == 200


async def test_nobody_else_gets_the_port_in_an_outage() -> None:
    async with running() as (simulator, call):
        simulator.outage(60)
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(simulator.url.rpartition(":")[2])))
            other.listen()
        await asyncio.sleep(61)
        assert (await call("GET", LIST)).status == 200


async def test_an_outage_is_by_the_clock_of_the_loop() -> None:
    async with running(clock=FakeClock(), speed=1000) as (simulator, call):
        simulator.outage(60)
        simulator.advance(1000)
        with pytest.raises(aiohttp.ClientConnectorError):
            await call("GET", LIST)
        await asyncio.sleep(61)
        assert (await call("GET", LIST)).status == 200


@pytest.mark.parametrize("seconds", [0, 59, 60, 61])
async def test_the_end_of_the_simulator_ends_an_outage(seconds: float) -> None:
    async with running() as (simulator, _):
        simulator.outage(60)
        await asyncio.sleep(seconds)
        before = asyncio.get_running_loop().time()
        await simulator.aclose()
        assert asyncio.get_running_loop().time() - before < 1
        with socket.create_server(("127.0.0.1", int(simulator.url.rpartition(":")[2]))):
            pass
    assert [task for task in asyncio.all_tasks() if "outage" in task.get_name()] == []


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


async def test_only_who_runs_has_outages() -> None:
    simulator = Simulator()
    with pytest.raises(RuntimeError, match="only while it runs"):
        simulator.outage(1)
    async with simulator:
        with pytest.raises(ValueError, match="seconds must be a number of at least 0, got inf"):
            simulator.outage(float("inf"))
    with pytest.raises(RuntimeError, match="only while it runs"):
        simulator.outage(1)
