"""`on_cancel`: whether a paid task is cancelled with the wait for it."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from aivideomaker_async import ConfigurationError, RateLimiter, TextToVideo, VideoTask, WaitTimeout
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import Hang, Reply, ScriptedService
from tests.support.shop import Lost, Shop, buying, ids, posts

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="a red fox in the snow", aspect_ratio="16:9", duration=5)


def cancels(service: ScriptedService) -> list[str]:
    return [arrival.path.split("/")[4] for arrival in service.arrivals if arrival.method == "PUT"]


@pytest.mark.parametrize("on_cancel", ["leave", "cancel"])
async def test_a_cancelled_wait_cancels_its_task_only_when_asked_to(on_cancel: Any) -> None:
    async with buying(Shop()) as (service, client):
        task = await client.submit(SPEC)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await task.result(on_cancel=on_cancel)
    assert cancels(service) == (["ck1"] if on_cancel == "cancel" else [])


async def test_a_cancel_scope_of_anyio_cancels_the_task_as_well() -> None:
    """It cancels again at every await."""
    async with buying(Shop()) as (service, client):
        with anyio.move_on_after(10) as scope:
            await client.generate(SPEC, on_cancel="cancel")
        assert scope.cancelled_caught
    assert cancels(service) == ["ck1"]


async def test_a_wait_timeout_does_not_cancel_the_task() -> None:
    async with buying(Shop()) as (service, client):
        with pytest.raises(WaitTimeout):
            await client.generate(SPEC, timeout=5, on_cancel="cancel")
    assert cancels(service) == []


async def test_a_submit_in_flight_is_completed_and_its_task_cancelled() -> None:
    shop = Shop()
    shop.answer_after = 5.0
    async with buying(shop) as (service, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await client.generate(SPEC, on_cancel="cancel")
        assert client.unsettled() == []
    assert cancels(service) == ["ck1"]


async def test_a_submit_in_flight_is_waited_for_some_seconds_only() -> None:
    shop = Shop(Lost(acted=True, action=Hang()))
    async with buying(shop) as (_, client):
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await client.generate(SPEC, on_cancel="cancel")
        assert asyncio.get_running_loop().time() - began == pytest.approx(12.0, abs=0.5)
        assert len(client.unsettled()) == 1


async def test_a_submit_that_was_not_sent_is_not_waited_for() -> None:
    shop = Shop(Reply(429, {"message": "later"}, {"Retry-After": "300"}))
    async with buying(shop) as (service, client):
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await client.generate(SPEC, on_cancel="cancel")
        assert asyncio.get_running_loop().time() - began == pytest.approx(2.0, abs=0.5)
    assert len(posts(service)) == 1


async def test_a_cancel_that_fails_does_not_replace_the_cancellation(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    shop.override = lambda arrival: Hang() if arrival.method == "PUT" else None
    async with buying(shop) as (_, client):
        began = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await client.generate(SPEC, on_cancel="cancel")
        assert asyncio.get_running_loop().time() - began <= 15.5
    assert "goes on" in caplog.text


async def test_leaving_generate_many_cancels_its_tasks_when_asked_to() -> None:
    specs = [TextToVideo(prompt=f"fox {number}", aspect_ratio="1:1", duration=5) for number in range(4)]
    async with buying(Shop()) as (service, client):
        outcomes = client.generate_many(specs, max_active=4, on_cancel="cancel")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10):
                await anext(outcomes)
        await outcomes.aclose()
    assert sorted(cancels(service)) == ["ck1", "ck2", "ck3", "ck4"]


async def test_a_generate_cancelled_at_any_await_leaves_no_running_task() -> None:
    """Each task that was created was cancelled, or its submit is in `unsettled`."""
    shop = Shop()
    shop.answer_after = 0.05
    shop.lasts = 0.2

    checked = 0

    async with buying(shop, limiter=RateLimiter(100_000)) as (service, client):

        async def check() -> None:
            nonlocal checked
            await assert_nothing_held(client)
            await asyncio.sleep(1.0)
            unsettled = [await client.reconcile(error) for error in client.unsettled()]
            for task_id in ids(task for task in unsettled if task is not None):
                await client.cancel(task_id)
            assert set(cancels(service)) == {sold.id for sold in shop.sold[checked:]}
            service.arrivals.clear()
            checked = len(shop.sold)

        async def call() -> None:
            await client.generate(SPEC, on_cancel="cancel", timeout=200)

        await cancel_everywhere(call, check, at_least=20)


@pytest.mark.parametrize("is_async", [False, True])
async def test_on_submit_gets_the_handle_before_the_wait(is_async: bool) -> None:
    handles: list[VideoTask] = []

    async def note(task: VideoTask) -> None:
        await asyncio.sleep(1)
        handles.append(task)

    async with buying(Shop()) as (_, client):
        with pytest.raises(WaitTimeout):
            await client.generate(SPEC, timeout=5, on_submit=note if is_async else handles.append)
    assert ids(handles) == ["ck1"]


async def test_another_value_of_on_cancel_is_refused() -> None:
    shop = Shop()
    wrong: Any = "kill"
    async with buying(shop) as (service, client):
        with pytest.raises(ConfigurationError, match="on_cancel='kill': must be 'leave' or 'cancel'"):
            await client.generate(SPEC, on_cancel=wrong)
        with pytest.raises(ConfigurationError):
            client.generate_many([SPEC], on_cancel=wrong)
        with pytest.raises(ConfigurationError):
            await client.task("ck1").result(on_cancel=wrong)
    assert service.arrivals == []
