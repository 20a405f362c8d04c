"""The tracker in a client: one state for each task, and deliveries that wake the poller, for little."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from aivideomaker_async import AIVideoMaker, VideoTask
from aivideomaker_async._watch import tracker
from aivideomaker_async._watch.tracker import KEPT_S
from tests.support.leaks import settle
from tests.support.scripted import ScriptedService
from tests.support.service import Service, kinds, watching
from tests.support.waiting import SPEC

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@asynccontextmanager
async def with_receiver(service: Service) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    """A client with a receiver of its own, to which every URL leads."""
    async with watching(service) as (server, client):
        client._add_receiver(lambda _: True)
        yield server, client


async def submit(client: AIVideoMaker) -> VideoTask:
    return await client.submit(SPEC, webhook_url="https://example.com/hook")


def queries(server: ScriptedService) -> int:
    return sum(kinds(server).values())


# --- states ------------------------------------------------------------------------------------------


async def test_handles_of_one_task_share_one_state_as_long_as_there_is_any() -> None:
    async with watching(Service()) as (_, client):
        task = client.task("ck9")
        assert client.task("ck9")._state is task._state
        assert list(client._rooms.tracker.ids()) == ["ck9"]
        del task
        gc.collect()
        assert list(client._rooms.tracker.ids()) == []


async def test_a_finished_task_costs_no_query_however_often_it_is_looked_at() -> None:
    """Browsers come back to it, each with a handle of its own; after a day, when its file is gone, it is asked for."""
    service = Service()
    service.add("ck9", (0, "SUBMITTED"), (5, "COMPLETED"))
    async with watching(service) as (server, client):
        await client.task("ck9").result()
        asked = len(server.arrivals)
        for _ in range(20):
            assert (await client.task("ck9").result()).url
            assert [str(change.status) async for change in client.task("ck9")] == ["COMPLETED"]
        assert len(server.arrivals) == asked
        await asyncio.sleep(KEPT_S)
        assert client.task("ck9").last_status is None


async def test_a_handle_knows_what_was_submitted_lately() -> None:
    async with watching(Service()) as (server, client):
        task_id = (await client.submit(SPEC)).id
        gc.collect()
        asked = len(server.arrivals)
        first = await anext(client.task(task_id).watch())
        assert (str(first.status), len(server.arrivals)) == ("SUBMITTED", asked)


async def test_a_limited_number_of_tasks_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "MAX_KEPT", 2)
    async with watching(Service()) as (_, client):
        tasks = [(await client.submit(SPEC)).id for _ in range(3)]
        gc.collect()
        assert sorted(client._rooms.tracker.ids()) == sorted(tasks[1:])


async def test_an_answer_about_a_task_without_a_handle_is_not_kept() -> None:
    service = Service()
    service.add("ck9", (0, "COMPLETED"))
    async with watching(service) as (_, client):
        assert await client.get_status("ck9") == "COMPLETED"
        assert list(client._rooms.tracker.ids()) == []
        assert client.task("ck9").last_status is None


async def test_whether_a_delivery_is_to_be_expected_depends_on_the_url_of_the_submit() -> None:
    async with watching(Service()) as (_, client):
        client._add_receiver(lambda url: url.reveal().endswith("/ours"))
        urls = [None, "https://example.com/ours", "https://example.com/theirs"]
        tasks = [await client.submit(SPEC, webhook_url=url) for url in urls]
        assert [task._state.observed.has_webhook for task in tasks] == [False, True, False]


# --- webhook deliveries ------------------------------------------------------------------------------


async def test_a_delivery_is_confirmed_at_once() -> None:
    """The waiter knows as soon as the service has confirmed it, with one query."""
    service = Service()
    async with with_receiver(service) as (server, client):
        task = await submit(client)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(120)
        assert not waiting.done()
        before = queries(server)
        client._wake(may_be_end=True)
        await waiting
        assert asyncio.get_running_loop().time() - server.arrivals[0].at < 120.2
        assert queries(server) == before + 1


async def test_many_deliveries_at_once_are_confirmed_by_one_list() -> None:
    """Twenty tasks end in the same moment, and twenty deliveries come."""
    service = Service()
    async with with_receiver(service) as (server, client):
        tasks = [await submit(client) for _ in range(20)]
        waiting = [asyncio.ensure_future(task.result()) for task in tasks]
        await asyncio.sleep(119.9)
        before = queries(server)
        await asyncio.sleep(0.1)
        for _ in tasks:
            client._wake(may_be_end=True)
        await asyncio.wait_for(asyncio.gather(*waiting), 3)
        assert queries(server) <= before + 2


async def test_tasks_that_the_list_does_not_show_are_polled_for_as_without_webhooks() -> None:
    """Although deliveries announce every end of the others."""
    service = Service()
    service.unlisted = {"ck3", "ck4"}
    async with with_receiver(service) as (_, client):
        loop = asyncio.get_running_loop()
        tasks = [await submit(client) for _ in range(4)]
        waiting = [asyncio.ensure_future(task.result()) for task in tasks]
        service.add("ck1", (0, "PROGRESS"), (50, "COMPLETED"))
        await asyncio.sleep(50)
        client._wake(may_be_end=True)
        await asyncio.wait_for(waiting[0], 1)
        began = loop.time()
        await asyncio.gather(*waiting[2:])
        assert loop.time() - began < 70 + 6
        client._wake(may_be_end=True)
        await asyncio.wait_for(waiting[1], 3)


@pytest.mark.parametrize("may_be_end", [True, False])
@pytest.mark.parametrize("every_change", [True, False])
async def test_repeated_deliveries_cannot_use_up_the_limit(may_be_end: bool, every_change: bool) -> None:
    """Somebody repeats an old delivery ten times a second, for minutes: it costs a few queries a minute."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (10, "PROGRESS"), (900, "COMPLETED"))
    costs = []
    for repeats in (0, 1500):
        async with with_receiver(service) as (server, client):
            tasks = [await submit(client) for _ in range(2)]
            waits = [item async for item in _waits(tasks, every_change)]
            await asyncio.sleep(20)
            before = queries(server)
            for _ in range(repeats):
                client._wake(may_be_end=may_be_end)
                await asyncio.sleep(0.1)
            await asyncio.sleep(150 - repeats * 0.1)
            costs.append(queries(server) - before)
            for wait in waits:
                wait.cancel()
            await settle()
            gc.collect()
    assert costs[1] <= costs[0] + 15


async def _waits(tasks: list[VideoTask], every_change: bool) -> AsyncIterator[asyncio.Future[object]]:
    for task in tasks:
        if every_change:
            yield asyncio.ensure_future(_read(task))
        else:
            yield asyncio.ensure_future(task.result())


async def _read(task: VideoTask) -> None:
    async with aclosing(task.watch()) as changes:
        async for _ in changes:
            pass


async def test_a_repeated_delivery_does_not_hide_the_next_end() -> None:
    """While it is not confirmed, tasks are polled for as without webhooks, and no waiter is late."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (60.0 * number, "COMPLETED"))
    async with with_receiver(service) as (_, client):
        began = asyncio.get_running_loop().time()
        tasks = [await submit(client) for _ in range(6)]

        async def repeat() -> None:
            while True:
                client._wake(may_be_end=True)
                await asyncio.sleep(0.1)

        repeating = asyncio.ensure_future(repeat())
        for number, task in enumerate(tasks, 1):
            await task.result()
            assert asyncio.get_running_loop().time() - began < 60 * number + 32
        repeating.cancel()


async def test_a_delivery_that_is_ahead_of_the_service_is_confirmed_a_little_later() -> None:
    """The webhook is sent before the status can be read: the service is asked again soon."""
    service = Service()
    async with with_receiver(service) as (_, client):
        loop = asyncio.get_running_loop()
        task = await submit(client)
        began = loop.time()
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(119.5)
        client._wake(may_be_end=True)
        await waiting
        assert loop.time() - began < 121.5


async def test_a_delivery_that_is_no_end_costs_nothing_where_only_ends_are_waited_for() -> None:
    """PROGRESS is no news for `result()`."""
    service = Service()
    async with with_receiver(service) as (server, client):
        task = await submit(client)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(20.01)
        before = queries(server)
        client._wake(may_be_end=False)
        await asyncio.sleep(0.1)
        assert queries(server) == before
        waiting.cancel()
        await settle()


async def test_a_delivery_that_is_no_end_wakes_consumers_of_every_change() -> None:
    """PROGRESS is news for `async for change in task`."""
    service = Service()
    async with with_receiver(service) as (server, client):
        task = await submit(client)
        async with aclosing(task.watch()) as changes:
            await anext(changes)
            reading = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(20.01)
            before = queries(server)
            client._wake(may_be_end=False)
            assert (await asyncio.wait_for(reading, 0.1)).status == "PROGRESS"
            assert queries(server) == before + 1


async def test_polls_thin_out_while_deliveries_come_and_thicken_when_they_stop() -> None:
    """The next task with a webhook costs next to nothing, until one ends unannounced."""
    service = Service()
    async with with_receiver(service) as (server, client):

        async def cost(*, announced: bool) -> tuple[int, float]:
            before, began = queries(server), asyncio.get_running_loop().time()
            task = await submit(client)
            waiting = asyncio.ensure_future(task.result())
            await asyncio.sleep(20)
            if announced:
                client._wake(may_be_end=False)
            await asyncio.sleep(100)
            if announced:
                client._wake(may_be_end=True)
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
        assert thick < plain, "and what was learned is kept"


async def test_deliveries_come_from_any_thread_and_when_nothing_is_waited_for() -> None:
    """A receiver in another thread; after the last task has ended; after the client was closed."""
    service = Service()
    async with with_receiver(service) as (server, client):
        task = await submit(client)
        client._wake(may_be_end=True)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(120)
        await asyncio.to_thread(client._wake, may_be_end=True)
        await asyncio.wait_for(waiting, 0.5)
        before = queries(server)
        client._wake(may_be_end=True)
        await asyncio.sleep(10)
        assert queries(server) == before
    client._wake(may_be_end=True)
    await settle()
