"""One thing that fails holds up nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from aivideomaker_async import APIError, TextToVideo, VideoTask
from aivideomaker_async._watch.setbacks import LASTING
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply
from tests.support.service import Service, kinds, watching

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)
LIST = "/api/v1/tasks"
FAILED = Reply(200, {"status": "FAILED", "message": "Internal error"})


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


async def waits(task: VideoTask) -> float:
    """Seconds that the result of a task takes."""
    began = asyncio.get_running_loop().time()
    await task.result()
    return asyncio.get_running_loop().time() - began


def failing(where: Callable[[str], bool], how: Action) -> Callable[[Arrival], Action | None]:
    return lambda arrival: how if arrival.method == "GET" and where(arrival.path) else None


@pytest.mark.parametrize("waiters", [1, 5])
@pytest.mark.parametrize("how", [Reply(500), Reply(408), FAILED, Drop(), Hang(), Reply(200, b"{")], ids=repr)
async def test_a_list_that_always_fails_leaves_each_task_to_be_asked_for(how: Action, waiters: int) -> None:
    """The status of a task works: nobody waits for the list."""
    service = Service()
    service.override = failing(lambda path: path == LIST, how)
    async with watching(service) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(waiters)]
        assert max(await asyncio.gather(*map(waits, tasks))) < 165
    assert kinds(server)["list"] <= 8


@pytest.mark.parametrize("how", [Reply(500), Drop(), Hang(), Reply(200, b"{"), FAILED], ids=repr)
@pytest.mark.parametrize("bad", [1, 12])
async def test_tasks_whose_answers_fail_hold_up_no_other(how: Action, bad: int) -> None:
    """They are asked for less and less often, and never twice in a row while others wait."""
    service = Service()
    service.unlisted = {f"ck{number}" for number in range(1, bad + 1)}
    service.override = failing(lambda path: path.split("/")[4:5] != [] and path.split("/")[4] in service.unlisted, how)
    async with watching(service) as (_, client):
        broken = [asyncio.ensure_future((await client.submit(SPEC)).result()) for _ in range(bad)]
        good = [await client.submit(SPEC) for _ in range(5)]
        assert max(await asyncio.gather(*map(waits, good))) < 120 + (8 if how != Hang() else 130)
        for task in broken:
            task.cancel()
        await asyncio.wait(broken)


async def test_a_task_of_which_only_failures_are_told_ends_its_wait() -> None:
    """Some servers say 200 and FAILED of an id that they do not know; others, while their database is away."""
    service = Service()
    service.override = failing(lambda path: "/ck404" in path, Reply(200, {"status": "FAILED", "message": "No task"}))
    async with watching(service) as (server, client):
        began = asyncio.get_running_loop().time()
        with pytest.raises(APIError, match="No task"):
            await client.task("ck404").result()
        assert LASTING <= asyncio.get_running_loop().time() - began < LASTING + 10
    assert len(server.arrivals) < 60


@pytest.mark.parametrize(
    "how",
    [
        Reply(302, headers={"Location": "https://login.example"}),
        Reply(400),
        Reply(410),
        Reply(499),
        FAILED,
        Reply(500, {"message": "x", "errorCode": "AUTH_FAILED"}),
        Reply(200, {"status": "FAILED", "message": "x", "errorCode": "AUTH_FAILED"}),
    ],
    ids=repr,
)
async def test_trouble_from_the_start_ends_no_wait_for_a_task_that_was_taken_up_again(how: Action) -> None:
    """The process was restarted, and the service is not well: two minutes later it tells of the task after all."""
    service = Service()
    service.add("old", (0, "PROGRESS"), (130, "COMPLETED"))
    began = asyncio.get_running_loop().time()
    service.override = lambda item: how if item.at - began < 120 else None
    async with watching(service) as (_, client):
        assert await waits(client.task("old")) < 150


async def test_what_failed_in_other_ways_before_does_not_shorten_the_patience_with_refusals() -> None:
    """Ten minutes of 502, and then the page of a proxy for two."""
    service = Service()
    service.add("old", (0, "PROGRESS"), (730, "COMPLETED"))
    began = asyncio.get_running_loop().time()

    def trouble(item: Arrival) -> Action | None:
        after = item.at - began
        return Reply(502) if after < 600 else Reply(302) if after < 720 else None

    service.override = trouble
    async with watching(service) as (_, client):
        assert await waits(client.task("old")) < 750


async def test_a_refusal_that_a_proxy_may_have_made_is_asked_about_again() -> None:
    """One odd 4xx ends no wait that is paid for; one that is repeated does."""
    service = Service()
    odd = iter([Reply(302, headers={"Location": "https://login.example"}), Reply(407)])
    service.override = lambda item: next(odd, None) if item.path.endswith("/status") else None
    async with watching(service) as (_, client):
        assert await waits(await client.submit(SPEC)) < 125
    service.override = failing(lambda path: path.endswith("/status"), Reply(418, {"message": "teapot"}))
    async with watching(service) as (_, client):
        with pytest.raises(APIError, match="teapot"):
            await client.generate(SPEC)


async def test_an_outage_of_everything_is_not_held_against_the_list() -> None:
    """Two minutes of nothing, and then hundreds wait for a list again, not for their turn."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (10, "PROGRESS"), (200, "COMPLETED"))
    began = asyncio.get_running_loop().time()
    service.override = lambda item: Drop() if item.method == "GET" and 30 < item.at - began < 150 else None
    async with watching(service) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(200)]
        assert max(await asyncio.gather(*map(waits, tasks))) < 215
    assert sum(item.path == LIST and item.at - began > 150 for item in server.arrivals) > 10


async def test_a_list_that_was_slow_once_is_tried_again() -> None:
    """The first one took half a minute: a minute later all share the list."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (200 + number / 10, "COMPLETED"))
    slow = iter([25.0])

    async def answer(arrival: Arrival) -> Action:
        if arrival.path == LIST and (delay := next(slow, None)):
            await asyncio.sleep(delay)
        action = service(arrival)
        assert isinstance(action, Reply)
        return action

    async with watching(answer) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(30)]
        took = await asyncio.gather(*map(waits, tasks))
        assert max(took) < 206
    assert kinds(server)["list"] > 30
