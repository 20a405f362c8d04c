"""`generate_many`: a bounded number of tasks at once, outcomes as they finish, and nothing left when it ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from aivideomaker_async import (
    AIVideoMaker,
    APIError,
    AuthenticationFailed,
    ConfigurationError,
    InsufficientCredits,
    InvalidSpec,
    RateLimiter,
    SpecLike,
    TaskFailed,
    TextToVideo,
    VideoTask,
    WaitTimeout,
)
from aivideomaker_async.simulator import Simulator
from tests.support.leaks import assert_nothing_held, our_tasks, settle
from tests.support.scripted import Reply
from tests.support.shop import Shop, buying, posts

pytestmark = pytest.mark.anyio


def spec(text: str) -> TextToVideo:
    return TextToVideo(prompt=text, aspect_ratio="1:1", duration=5)


def active(simulator: Simulator) -> int:
    return sum(task.status in {"SUBMITTED", "PROGRESS"} for task in simulator.tasks.values())


async def test_each_spec_has_one_outcome_and_a_failure_stops_no_other(
    simulator: Simulator, client: AIVideoMaker
) -> None:
    """A video, a failed task or a refused submit, with the index of the spec and the handle."""
    specs: list[SpecLike] = [spec("a"), spec("[fail]"), ("no-such-model", {"a": 1}), spec("b"), ("", {})]
    outcomes = {outcome.index: outcome async for outcome in client.generate_many(specs, max_active=2)}
    assert sorted(outcomes) == [0, 1, 2, 3, 4]
    for index in (0, 3):
        assert outcomes[index].unwrap().id == outcomes[index].task.id  # type: ignore[union-attr]
        assert outcomes[index].spec is specs[index]
    assert isinstance(outcomes[1].error, TaskFailed) and outcomes[1].task is not None
    assert outcomes[2].task is None and isinstance(outcomes[4].error, InvalidSpec)
    with pytest.raises(TaskFailed):
        outcomes[1].unwrap()
    assert simulator.statistics().tasks == 3
    await assert_nothing_held(client)


async def test_the_number_of_unfinished_tasks_reaches_max_active_and_never_exceeds_it(
    simulator: Simulator, client: AIVideoMaker
) -> None:
    most = 0

    async def look() -> None:
        nonlocal most
        while True:
            most = max(most, active(simulator))
            await asyncio.sleep(0.5)

    looking = asyncio.ensure_future(look())
    outcomes = [outcome async for outcome in client.generate_many((spec(str(n)) for n in range(12)), max_active=4)]
    looking.cancel()
    assert len(outcomes) == 12
    assert most == 4


async def test_a_consumer_that_takes_no_outcomes_stops_the_submits(simulator: Simulator, client: AIVideoMaker) -> None:
    many = client.generate_many((spec(str(n)) for n in range(100)), max_active=3)
    await anext(many)
    await asyncio.sleep(3600)
    assert simulator.statistics().tasks <= 3 + 3 + 1
    await many.aclose()


async def test_specs_are_taken_from_their_iterator_as_they_are_needed(client: AIVideoMaker) -> None:
    """It may be endless."""
    taken = 0

    def endless() -> Iterator[TextToVideo]:
        nonlocal taken
        while True:
            taken += 1
            yield spec(str(taken))

    many = client.generate_many(endless(), max_active=2)
    assert taken == 0
    await anext(many)
    assert taken <= 4
    await many.aclose()


async def test_breaking_out_of_the_loop_submits_nothing_more_and_leaves_nothing_running(
    simulator: Simulator, client: AIVideoMaker
) -> None:
    """Submitted tasks go on at the service."""
    async for _ in client.generate_many((spec(str(n)) for n in range(50)), max_active=5):
        break
    gc.collect()
    await settle()
    assert our_tasks() == []
    created = simulator.statistics().tasks
    await asyncio.sleep(1000)
    assert simulator.statistics().tasks == created <= 6
    assert "CANCEL" not in simulator.statistics().by_status
    await assert_nothing_held(client)


async def test_an_error_of_the_iterator_of_specs_comes_after_the_outcomes_of_paid_tasks(
    simulator: Simulator, client: AIVideoMaker
) -> None:
    """As of a generator over the prompts of users, one of which is blank."""
    many = client.generate_many((spec(text) for text in ["a", "b", "c", "d", "e", " ", "f"]), max_active=3)
    outcomes = []
    with pytest.raises(InvalidSpec):
        async for outcome in many:
            outcomes.append(outcome)
    assert len(outcomes) == simulator.statistics().tasks == 5
    await assert_nothing_held(client)


async def test_a_batch_as_a_context_manager_submits_nothing_after_its_block(
    simulator: Simulator, client: AIVideoMaker
) -> None:
    async with client.generate_many((spec(str(n)) for n in range(50)), max_active=2) as many:
        await anext(many)
    created = simulator.statistics().tasks
    await asyncio.sleep(1000)
    assert simulator.statistics().tasks == created
    await assert_nothing_held(client)


async def test_on_submit_gets_each_handle_at_once(simulator: Simulator, client: AIVideoMaker) -> None:
    """So that a program which ends early has recorded them."""
    noted: dict[int, str] = {}

    def note(index: int, task: VideoTask) -> None:
        assert simulator.tasks[task.id].status == "SUBMITTED"
        noted[index] = task.id

    specs = [spec(text) for text in ("one", "two", "three")]
    async with client.generate_many(specs, on_submit=note) as outcomes:
        async for outcome in outcomes:
            assert outcome.task is not None
            assert noted[outcome.index] == outcome.task.id
            break
    assert sorted(noted) == [0, 1, 2]
    assert set(noted.values()) == set(simulator.tasks)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(402, "INSUFFICIENT_CREDITS", InsufficientCredits), (401, "AUTH_FAILED", AuthenticationFailed)],
)
async def test_after_a_refusal_that_holds_for_all_nothing_more_is_submitted(
    status: int, code: str, kind: type[APIError]
) -> None:
    """Each other spec has an outcome that says so, and what was submitted before is waited for."""
    shop = Shop()
    refusal = Reply(status, {"status": "FAILED", "message": "no", "errorCode": code})
    shop.override = lambda arrival: refusal if arrival.method == "POST" and len(posts(service)) > 3 else None
    async with buying(shop) as (service, client):
        outcomes = [one async for one in client.generate_many([spec(str(n)) for n in range(40)], max_active=2)]
    assert sorted(one.index for one in outcomes) == list(range(40))
    assert len(shop.sold) == sum(one.video is not None for one in outcomes) == 3
    assert {type(one.error) for one in outcomes if one.video is None} == {kind}
    assert len(posts(service)) <= 5
    assert sum("not submitted, since an earlier submit was refused" in str(one.error) for one in outcomes) >= 35


async def test_after_the_page_of_a_gateway_a_batch_waits_until_a_query_is_answered() -> None:
    """A blip of some seconds costs the specs that it has met, and no others."""
    shop = Shop()
    page = Reply(403, b"<html>Just a moment")
    began = asyncio.get_running_loop().time()
    blocked = (began + 30, began + 90)
    shop.override = lambda arrival: page if blocked[0] <= arrival.at < blocked[1] else None
    async with buying(shop) as (service, client):
        outcomes = [one async for one in client.generate_many([spec(str(n)) for n in range(12)], max_active=2)]
    assert len(shop.sold) >= 10
    assert len(shop.sold) == sum(one.video is not None for one in outcomes)
    assert len([one for one in posts(service) if blocked[0] <= one.at < blocked[1]]) <= 2


async def test_each_wait_has_its_own_timeout(client: AIVideoMaker) -> None:
    """The outcome has the handle, which can wait again."""
    outcomes = [outcome async for outcome in client.generate_many([spec("a")], timeout=5)]
    assert isinstance(outcomes[0].error, WaitTimeout)
    assert outcomes[0].task is not None
    assert (await outcomes[0].task.result()).id == outcomes[0].task.id


async def test_a_batch_without_specs_has_no_outcomes(client: AIVideoMaker) -> None:
    many = client.generate_many([])
    assert [outcome async for outcome in many] == []
    with pytest.raises(StopAsyncIteration):
        await anext(many)


async def test_a_batch_that_was_closed_before_it_began_submits_nothing(
    simulator: Simulator, client: AIVideoMaker
) -> None:
    many = client.generate_many([spec("a")])
    await many.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(many)
    assert len(simulator.requests) == 0


async def test_closing_the_client_ends_the_batch_with_an_error_for_each_unfinished_spec(
    simulator: Simulator,
) -> None:
    client = AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter())

    async def consume() -> list[type | None]:
        return [type(item.error) async for item in client.generate_many([spec("a"), spec("b")], max_active=1)]

    batch = asyncio.ensure_future(consume())
    await asyncio.sleep(5)
    await client.aclose()
    assert await batch == [ConfigurationError, ConfigurationError]
    assert simulator.statistics().tasks == 1


@pytest.mark.parametrize("max_active", [0, -1, 1.5, "2", True])
async def test_a_bound_that_is_not_a_whole_number_from_1_is_refused(max_active: int, client: AIVideoMaker) -> None:
    with pytest.raises(ConfigurationError, match="max_active"):
        client.generate_many([], max_active=max_active)
