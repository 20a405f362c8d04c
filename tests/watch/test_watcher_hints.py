"""Webhooks only wake the watcher: what it does then, and how little that may cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from aivideomaker_async import AIVideoMaker, TextToVideo, VideoTask
from tests.support.leaks import settle
from tests.support.scripted import ScriptedService
from tests.support.service import Service, kinds, watching

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


class Receiver:
    """Claims every URL; what it hears of is told by the tests."""

    def __init__(self) -> None:
        self.bound: list[str] = []
        self.released: list[str] = []

    def bind(self, url: str, task_id: str) -> bool:
        self.bound.append(task_id)
        return True

    def release(self, task_id: str) -> None:
        self.released.append(task_id)

    def resolve(self, reference: str) -> None:
        raise AssertionError("there is no board")


@asynccontextmanager
async def hinted(service: Service) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker, Receiver]]:
    receiver = Receiver()
    async with watching(service) as (server, client):
        client._add_receiver(receiver)
        yield server, client, receiver


async def submit(client: AIVideoMaker) -> VideoTask:
    return await client.submit(SPEC, webhook_url="https://example.com/hook")


def queries(server: ScriptedService) -> int:
    return sum(kinds(server).values())


async def test_a_delivery_is_confirmed_at_once() -> None:
    """The waiter knows as soon as the service has confirmed it, with one query for all of the task."""
    service = Service()
    async with hinted(service) as (server, client, receiver):
        task = await submit(client)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(120)
        assert not waiting.done()
        before = queries(server)
        client._hint(task.id, urgent=True)
        await waiting
        assert asyncio.get_running_loop().time() - server.arrivals[0].at < 120.2
        assert queries(server) == before + 1 and server.paths()[-1] == f"GET /api/v1/tasks/{task.id}"
        assert receiver.bound == receiver.released == [task.id]


async def test_many_deliveries_at_once_are_confirmed_by_one_list() -> None:
    """Twenty tasks end in the same moment, and twenty deliveries come."""
    service = Service()
    async with hinted(service) as (server, client, _):
        tasks = [await submit(client) for _ in range(20)]
        waiting = [asyncio.ensure_future(task.result()) for task in tasks]
        await asyncio.sleep(119.9)
        before = queries(server)
        await asyncio.sleep(0.1)
        for task in tasks:
            client._hint(task.id, urgent=True)
        await asyncio.wait_for(asyncio.gather(*waiting), 3)
        assert queries(server) <= before + 2


async def test_deliveries_for_tasks_that_the_list_does_not_show_are_confirmed() -> None:
    """One by one, and not by asking for the list again and again."""
    service = Service()
    service.unlisted = {"ck1", "ck2", "ck3"}
    async with hinted(service) as (server, client, _):
        tasks = [await submit(client) for _ in range(3)]
        waiting = [asyncio.ensure_future(task.result()) for task in tasks]
        await asyncio.sleep(120)
        before = kinds(server)
        for task in tasks:
            client._hint(task.id, urgent=True)
        await asyncio.wait_for(asyncio.gather(*waiting), 6)
        assert (kinds(server) - before)["list"] <= 1


async def test_repeated_deliveries_cannot_use_up_the_limit() -> None:
    """Somebody repeats an old delivery ten times a second, for ten minutes: it costs a few queries a minute."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (10, "PROGRESS"), (900, "COMPLETED"))
    costs = []
    for repeats in (0, 6000):
        async with hinted(service) as (server, client, _):
            task = await submit(client)
            waiting = asyncio.ensure_future(task.result())
            await asyncio.sleep(20)
            before = queries(server)
            for _ in range(repeats):
                client._hint(task.id, urgent=True)
                await asyncio.sleep(0.1)
            await asyncio.sleep(600 - repeats * 0.1)
            costs.append(queries(server) - before)
            waiting.cancel()
            await settle()
    assert costs[1] <= costs[0] + 60


async def test_a_delivery_that_is_ahead_of_the_service_is_confirmed_a_little_later() -> None:
    """The webhook is sent before the status can be read: the task is asked for again soon."""
    service = Service()
    async with hinted(service) as (_, client, _):
        loop = asyncio.get_running_loop()
        task = await submit(client)
        began = loop.time()
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(119.5)
        client._hint(task.id, urgent=True)
        await waiting
        assert loop.time() - began < 121.5


async def test_a_delivery_that_tells_no_end_is_nothing_to_those_who_wait_for_the_end() -> None:
    """PROGRESS is no news for `result()`, and costs no query."""
    service = Service()
    async with hinted(service) as (server, client, _):
        task = await submit(client)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(20.01)
        before = queries(server)
        client._hint(task.id, urgent=False)
        await asyncio.sleep(0.1)
        assert queries(server) == before
        waiting.cancel()
        await settle()


async def test_a_delivery_that_tells_no_end_wakes_those_who_want_every_change() -> None:
    """PROGRESS is news for `async for change in task`."""
    service = Service()
    async with hinted(service) as (server, client, _):
        task = await submit(client)
        async with aclosing(task.watch()) as changes:
            await anext(changes)
            reading = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(20.01)
            before = queries(server)
            client._hint(task.id, urgent=False)
            assert (await asyncio.wait_for(reading, 0.1)).status == "PROGRESS"
            assert queries(server) == before + 1


async def test_polls_thin_out_while_deliveries_come_and_thicken_when_they_stop() -> None:
    """The next task with a webhook costs next to nothing, until one ends unannounced."""
    service = Service()
    async with hinted(service) as (server, client, _):

        async def cost(*, announced: bool) -> tuple[int, float]:
            before, began = queries(server), asyncio.get_running_loop().time()
            task = await submit(client)
            waiting = asyncio.ensure_future(task.result())
            await asyncio.sleep(20)
            if announced:
                client._hint(task.id, urgent=False)
            await asyncio.sleep(100)
            if announced:
                client._hint(task.id, urgent=True)
            await waiting
            return queries(server) - before, asyncio.get_running_loop().time() - began

        plain, _ = await cost(announced=False)
        await cost(announced=True)
        thin, took = await cost(announced=True)
        assert thin <= 6 and took < 120.3
        _, took = await cost(announced=False)
        assert took < 151, "never silent for longer than half a minute"
        thick, took = await cost(announced=False)
        assert thick > 2 * thin and took < 125
        assert thick < plain, "and what was learned meanwhile is kept"


async def test_a_delivery_for_an_unknown_task_asks_for_all_and_not_again_and_again() -> None:
    """After a restart the receiver may not know which task it is: the list tells, once in a while."""
    service = Service()
    async with hinted(service) as (server, client, _):
        tasks = [await submit(client) for _ in range(3)]
        waiting = asyncio.gather(*(task.result() for task in tasks))
        await asyncio.sleep(120)
        client._hint(None, urgent=True)
        await asyncio.wait_for(waiting, 0.5)
        before = queries(server)
        client._hint(None, urgent=True)
        await settle()
        assert queries(server) == before, "nobody waits any more"


async def test_hints_come_from_any_thread_and_also_when_it_is_too_late() -> None:
    """A receiver in another thread; a task that has ended; a client that was closed."""
    service = Service()
    async with hinted(service) as (_, client, _):
        task = await submit(client)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(120)
        await asyncio.to_thread(client._hint, task.id, urgent=True)
        await asyncio.wait_for(waiting, 0.5)
        client._hint(task.id, urgent=True)
        client._hint("ck404", urgent=True)
        await settle()
    client._hint(task.id, urgent=True)
    client._share_hint("reference")
    await settle()


async def test_repeated_deliveries_for_unknown_tasks_cannot_use_up_the_limit() -> None:
    """Old deliveries, repeated after a restart, ten times a second: fewer and fewer lists."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (10, "PROGRESS"), (1200, "COMPLETED"))
    async with hinted(service) as (server, client, _):
        tasks = [await submit(client) for _ in range(2)]
        waiting = asyncio.gather(*(task.result() for task in tasks))
        await asyncio.sleep(600)
        before = queries(server)
        await asyncio.sleep(200)
        quiet = queries(server) - before
        for _ in range(2000):
            client._hint(None, urgent=True)
            client._hint(None, urgent=False)
            await asyncio.sleep(0.1)
        assert queries(server) - before - quiet <= quiet + 12
        waiting.cancel()
        await settle()
