"""Webhook deliveries over HTTP: in order, at the moment of each change, and with a few attempts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.views import Delivery
from tests.simulator.client import FakeClock, running

pytestmark = pytest.mark.anyio


class Receiver:
    """A webhook receiver with scripted answers, and then 200."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.bodies: list[Any] = []
        self.types: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self._news = asyncio.Event()

    async def receive(self, request: web.Request) -> web.Response:
        self.types.append(request.content_type)
        self.bodies.append(await request.json())
        self._news.set()
        await self.hold.wait()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"Location": "http://127.0.0.1:9/"})

    async def statuses(self, count: int) -> list[str]:
        """Wait for a number of deliveries, and return their statuses."""
        async with asyncio.timeout(10):
            while len(self.bodies) < count:
                self._news.clear()
                await self._news.wait()
        return [body["status"] for body in self.bodies]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


async def delivered(simulator: Simulator, count: int) -> None:
    """Wait until a number of deliveries have ended."""
    async with asyncio.timeout(10):
        while len(simulator.deliveries) < count:  # noqa: ASYNC110  (there is no event for it)
            await asyncio.sleep(0)


async def test_a_change_at_the_end_of_a_delivery_is_delivered_as_well() -> None:
    """Its sender has just ended: another one is started."""
    async with receiving() as receiver, running() as (simulator, call):
        task_id = await call.submit(headers={"webhookUrl": receiver.url})
        for count, status in enumerate(("PROGRESS", "COMPLETED"), 1):
            simulator.set_status(task_id, status)
            await delivered(simulator, count)
        assert await receiver.statuses(2) == ["PROGRESS", "COMPLETED"]


async def test_every_change_is_delivered_in_order() -> None:
    async with receiving() as receiver, running(durations=(10, 50)) as (simulator, call):
        task_id = await call.submit(headers={"webhookUrl": receiver.url})
        assert simulator.tasks[task_id].webhook_url == receiver.url
        simulator.advance(100)
        assert await receiver.statuses(2) == ["PROGRESS", "COMPLETED"]
        assert receiver.bodies[0] == {"taskId": task_id, "status": "PROGRESS"}
        assert receiver.types == ["application/json"] * 2


async def test_planned_changes_are_delivered_when_they_happen_at_any_speed() -> None:
    async with receiving() as receiver, running(durations=(60, 60), speed=6000) as (_, call):
        await call.submit(headers={"webhookUrl": receiver.url})
        assert await receiver.statuses(2) == ["PROGRESS", "COMPLETED"]


async def test_a_timer_is_set_again_while_the_clock_stands_still() -> None:
    clock = FakeClock()
    async with receiving() as receiver, running(durations=(0.001, 5), clock=clock) as (_, call):
        await call.submit(headers={"webhookUrl": receiver.url})
        for _ in range(3):
            await asyncio.sleep(0.002)
        assert receiver.bodies == []
        clock.seconds += 1
        assert await receiver.statuses(1) == ["PROGRESS"]


async def test_controls_and_a_cancel_are_changes_too() -> None:
    async with receiving() as receiver, running(durations=(10, 50)) as (simulator, call):
        headers = {"webhookUrl": receiver.url}
        cancelled, finished, failed, odd = [await call.submit(headers=headers) for _ in range(4)]
        await call("PUT", f"/api/v1/tasks/{cancelled}/cancel")
        simulator.finish(finished)
        simulator.fail(failed)
        simulator.set_status(odd, "QUEUED")
        simulator.advance(1000)
        await receiver.statuses(6)
        delivered: dict[str, list[str]] = {}
        for body in receiver.bodies:
            delivered.setdefault(body["taskId"], []).append(body["status"])
        assert delivered == {
            cancelled: ["CANCEL"],
            finished: ["PROGRESS", "COMPLETED"],
            failed: ["PROGRESS", "FAILED"],
            odd: ["QUEUED"],
        }


async def test_a_change_during_a_delivery_waits_for_its_turn() -> None:
    async with receiving() as receiver, running(durations=(10, 50)) as (simulator, call):
        receiver.hold.clear()
        task_id = await call.submit(headers={"webhookUrl": receiver.url})
        simulator.set_status(task_id, "QUEUED")
        await receiver.statuses(1)
        simulator.finish(task_id)
        assert len(receiver.bodies) == 1
        receiver.hold.set()
        assert await receiver.statuses(2) == ["QUEUED", "COMPLETED"]


@pytest.mark.parametrize(
    ("answers", "answer", "attempts"), [([], 200, 1), ([500, 302], 200, 3), ([500, 500, 503], 503, 3)]
)
async def test_a_delivery_is_tried_up_to_three_times(answers: list[int], answer: int, attempts: int) -> None:
    """After pauses that the speed divides. The next change is delivered all the same."""
    async with receiving() as receiver, running(durations=(1e12, 0), speed=1e6) as (simulator, call):
        receiver.answers = list(answers)
        task_id = await call.submit(headers={"webhookUrl": receiver.url})
        simulator.set_status(task_id, "QUEUED")
        simulator.set_status(task_id, "LATER")
        await delivered(simulator, 2)
        assert list(simulator.deliveries) == [
            Delivery(task_id=task_id, status="QUEUED", url=receiver.url, answer=answer, attempts=attempts),
            Delivery(task_id=task_id, status="LATER", url=receiver.url, answer=200, attempts=1),
        ]


async def test_a_receiver_that_cannot_be_reached_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    async with running(durations=(1e12, 0), speed=1e6) as (simulator, call):
        url = "http://127.0.0.1:9/hook?token=secret"
        task_id = await call.submit(headers={"webhookUrl": url})
        simulator.finish(task_id)
        await delivered(simulator, 2)
        assert {one.answer for one in simulator.deliveries} == {0}
    assert "ClientConnectorError" in caplog.text
    assert "secret" not in caplog.text


async def test_closing_stops_timers_and_deliveries() -> None:
    before = asyncio.all_tasks()
    async with receiving() as receiver:
        receiver.answers = [500] * 9
        async with running(durations=(10, 50)) as (simulator, call):
            for _ in range(3):
                await call.submit(headers={"webhookUrl": receiver.url})
            simulator.advance(20)
            await receiver.statuses(3)
        simulator.set_status(next(iter(simulator.tasks)), "QUEUED")
        simulator.advance(1000)
        assert len(receiver.bodies) == 3
    assert asyncio.all_tasks() == before
