"""The shared poller: what it asks, which consumers get the answers, and what ends a wait."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from collections import Counter
from contextlib import aclosing
from typing import Any

import pytest

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    BadResponse,
    ConfigurationError,
    RateLimiter,
    TaskCancelled,
    TaskFailed,
    TaskStatus,
    TextToVideo,
    UnknownTaskEnd,
    VideoTask,
    WaitTimeout,
)
from aivideomaker_async._watch.schedule import Plan, PollInput, plan
from aivideomaker_async._watch.task_state import WOKEN_AT_ONCE
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import assert_nothing_held, our_tasks, settle
from tests.support.scripted import (
    Action,
    Arrival,
    Reply,
    row,
    scripted,
)
from tests.support.service import STEPS, Service, kinds, watching

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


async def statuses(task: VideoTask) -> list[str]:
    return [str(change.status) async for change in task]


IN_ORDER = ["SUBMITTED", "PROGRESS", "COMPLETED"]


# --- what is asked, and which consumers get it -------------------------------------------------------


async def test_one_waiter_polls_the_status_and_then_the_details_once() -> None:
    """A task that waits alone costs small answers, one list to learn from, and one whole answer at the end."""
    service = Service()
    async with watching(service) as (server, client):
        video = await client.generate(SPEC)
    assert video.url == "https://cdn.example/ck1.mp4"
    asked = kinds(server)
    assert asked["details"] == 1 and asked["list"] == 1
    assert 20 <= asked["status"] <= 80


async def test_several_waiters_share_the_list_and_need_no_details() -> None:
    """The rows of the list are whole: a finished task costs no second request."""
    service = Service()
    async with watching(service) as (server, client):
        videos = await asyncio.gather(*(client.generate(SPEC) for _ in range(50)))
    assert len({video.url for video in videos}) == 50
    asked = kinds(server)
    assert asked["list"] <= 125, "fifty cost what two would"
    assert asked["status"] <= asked["list"] / 8, "only to check the list, now and then"
    assert asked["details"] <= 1, "only for one that such a check has seen to end"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_with_eager_tasks_the_waiters_of_one_step_share_the_first_poll() -> None:
    """The poller would begin before the second of them has come, and ask for the first alone."""
    service = Service()
    async with watching(service) as (server, client):
        for name in "abcde":
            service.add(name, (0, "SUBMITTED"), (30, "COMPLETED"))
        loop = asyncio.get_running_loop()
        loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009  (not in 3.11)
        try:
            await asyncio.gather(*(client.task(name).result() for name in "abcde"))
        finally:
            loop.set_task_factory(None)
    assert kinds(server)["list"] == sum(kinds(server).values())


async def test_every_consumer_gets_every_change_in_order() -> None:
    """Several consumers of several handles of one task: the same story for each, at the cost of one."""
    service = Service()
    async with watching(service) as (server, client):
        task = await client.submit(SPEC)
        stories = await asyncio.gather(
            statuses(task), statuses(task), statuses(client.task(task.id)), task.result(), task.result()
        )
        assert list(stories[:3]) == [IN_ORDER] * 3
        assert stories[3] == stories[4]
    assert kinds(server)["list"] <= 1 and kinds(server)["details"] == 1


async def test_a_late_consumer_starts_with_the_current_status() -> None:
    """A consumer that comes in the middle gets the current status at once, and then what is new."""
    service = Service()
    loop = asyncio.get_running_loop()
    async with watching(service) as (_, client):
        task = await client.submit(SPEC)
        early = asyncio.ensure_future(statuses(task))
        await asyncio.sleep(60)
        began = loop.time()
        late = task.watch()
        first = await anext(late)
        assert (first.status, first.previous) == ("PROGRESS", "SUBMITTED")
        assert loop.time() == began, "known things need no request"
        assert [str(change.status) async for change in late] == ["COMPLETED"]
        assert await early == IN_ORDER


async def test_an_old_answer_is_not_the_current_status() -> None:
    """A handle that was not watched for a while starts with what the service answers now."""
    async with watching(Service()) as (_, client):
        task = await client.submit(SPEC)
        await asyncio.sleep(60)
        assert await statuses(task) == IN_ORDER[1:]
        other = await client.submit(SPEC)
        await asyncio.sleep(10)
        assert await statuses(other) == IN_ORDER, "the same status as before is a first change as well"
        late = await client.submit(SPEC)
        await asyncio.sleep(500)
        assert await statuses(late) == ["COMPLETED"]


async def test_the_end_of_a_finished_task_needs_no_request() -> None:
    """A task that is known to have ended is not asked for again."""
    async with watching(Service()) as (server, client):
        task = await client.submit(SPEC)
        video = await task.result()
        before = len(server.arrivals)
        assert await statuses(task) == ["COMPLETED"]
        assert await task.result() == video
        assert len(server.arrivals) == before


async def test_a_change_has_the_status_before_it_and_its_moment() -> None:
    """Each change is a value with aware times that do not run backwards."""
    async with watching(Service()) as (_, client):
        task = await client.submit(SPEC)
        changes = [change async for change in task]
    assert [change.previous for change in changes] == [None, *IN_ORDER[:2]]
    assert all(change.task_id == "ck1" and change.at.utcoffset() is not None for change in changes)
    assert sorted(change.at for change in changes) == [change.at for change in changes]


async def test_a_slow_consumer_misses_nothing() -> None:
    """Changes are kept until they are read."""
    async with watching(Service()) as (_, client):
        task = await client.submit(SPEC)
        got = []
        async for change in task:
            got.append(str(change.status))
            await asyncio.sleep(500)
    assert got == IN_ORDER


async def test_a_task_that_the_list_does_not_show_is_asked_for_by_itself() -> None:
    """Lists may be short or late; no task is lost with them."""
    service = Service()
    service.unlisted = {"ck1"}
    async with watching(service) as (server, client):
        await asyncio.gather(*(client.generate(SPEC) for _ in range(3)))
    assert kinds(server)["list"] > 10
    asked = Counter(item.path for item in server.arrivals if item.path.endswith("/status"))
    assert asked["/api/v1/tasks/ck1/status"] > 10
    assert asked.total() - asked["/api/v1/tasks/ck1/status"] <= kinds(server)["list"] / 8, "only to check the list"


async def test_details_that_lag_behind_the_status_starve_no_other_task() -> None:
    """One task ends by its status and not by its details: the others end all the same, and it does in the end."""
    service = Service()
    loop = asyncio.get_running_loop()
    began = loop.time()
    service.add("lags", (0, "PROGRESS"))
    done = Reply(body={"status": "COMPLETED"})

    def lagging(item: Arrival) -> Action | None:
        if item.path.endswith("/lags/status"):
            return done
        return Reply(body=row("lags", "COMPLETED")) if item.path.endswith("/lags") and item.at - began > 300 else None

    service.override = lagging
    service.unlisted = {"lags"}
    async with watching(service) as (server, client):
        lags = asyncio.ensure_future(client.task("lags").result())
        await asyncio.sleep(10)
        await asyncio.gather(*(client.generate(SPEC) for _ in range(3)))
        assert loop.time() - began < 150
        assert (await lags).id == "lags"
    assert kinds(server)["details"] < 60


async def test_where_status_and_details_disagree_on_the_end_the_details_count() -> None:
    """They have the output."""
    service = Service()
    service.add("odd", (0, "COMPLETED"))
    service.override = lambda item: Reply(body={"status": "FAILED"}) if item.path.endswith("/status") else None
    async with watching(service) as (_, client):
        assert (await client.task("odd").result()).url == "https://cdn.example/odd.mp4"


async def test_a_row_that_cannot_be_read_costs_only_its_own_task() -> None:
    """One broken row: its task is asked for by itself, the others never notice."""
    service = Service()
    for task_id in ("one", "odd", "two"):
        service.add(task_id, *STEPS)
    service.fields["odd"] = {"status": 7}
    service.override = lambda item: Reply(body=row("odd", "COMPLETED")) if item.path.endswith("/odd") else None
    async with watching(service) as (server, client):
        videos = await asyncio.gather(*(client.task(task_id).result() for task_id in ("one", "odd", "two")))
        assert [video.id for video in videos] == ["one", "odd", "two"]
        assert kinds(server)["list"] > 10


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(0, "SUBMITTED"), (2, "COMPLETED")], ["SUBMITTED", "COMPLETED"]),
        ([(0, "QUEUED"), (5, "SUBMITTED"), (9, "PROGRESS"), (20, "COMPLETED")], ["QUEUED", *IN_ORDER]),
        ([(0, "PROGRESS"), (9, "UPSCALING"), (20, "COMPLETED")], ["PROGRESS", "UPSCALING", "COMPLETED"]),
        ([(0, "PROGRESS"), (9, "SUBMITTED"), (20, "COMPLETED")], ["PROGRESS", "COMPLETED"]),
        ([(0, "SUBMITTED"), (9, "CANCEL")], ["SUBMITTED", "CANCEL"]),
    ],
)
async def test_odd_stories_end_well(steps: list[tuple[float, str]], expected: list[str]) -> None:
    """Missed, unknown and backward statuses: the consumer gets a story that makes sense."""
    service = Service()
    service.add("odd", *steps)
    async with watching(service) as (_, client):
        assert await statuses(client.task("odd")) == expected


@pytest.mark.parametrize("waiters", [1, 5])
@pytest.mark.parametrize("status", ["EXPIRED", "completed"])
@pytest.mark.parametrize("evidence", ["time", "error", "url and time"])
async def test_an_end_in_an_unknown_status_is_one(evidence: str, status: str, waiters: int) -> None:
    """After some minutes, or at the deadline, there is an error with the details; with a URL there is a video."""
    stamp = "2026-03-19T08:09:10.123Z"
    fields: dict[str, Any] = {"completedAt": None, "output": None}
    if "time" in evidence:
        fields["completedAt"] = stamp
    if evidence == "error":
        fields["output"] = {"error": "too dark"}
    if "url" in evidence:
        fields["output"] = {"url": "https://cdn.example/a.mp4"}

    def answer(arrival: Arrival) -> Action:
        rows = [row(f"ck{number}", status, **fields) for number in range(waiters)]
        if arrival.path.endswith("/status"):
            return Reply(body={"status": status})
        if arrival.path.endswith("/tasks"):
            return Reply(body={"tasks": rows})
        return Reply(body=next(one for one in rows if arrival.path.endswith(one["id"])))

    loop = asyncio.get_running_loop()
    async with scripted(answer) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            tasks = [client.task(f"ck{number}") for number in range(waiters)]
            began = loop.time()
            if "url" in evidence:
                videos = await asyncio.gather(*(task.result() for task in tasks))
                assert {video.url for video in videos} == {"https://cdn.example/a.mp4"}
                assert loop.time() - began < 10
                return
            for wait in (tasks[0].result(timeout=20), statuses(tasks[0])):
                with pytest.raises(UnknownTaskEnd, match=f"unknown status '{status}'") as caught:
                    await wait
                assert caught.value.details.status == status
            errors = await asyncio.gather(*(task.result() for task in tasks), return_exceptions=True)
            assert {type(error) for error in errors} == {UnknownTaskEnd}
            assert 300 <= loop.time() - began < 700


async def test_an_unknown_status_with_an_end_may_still_become_a_known_one() -> None:
    """A service that notes the time first, and then the end."""
    service = Service()
    service.add("a", (0, "PROGRESS"), (20, "UPLOADING"), (200, "COMPLETED"))
    async with watching(service) as (_, client):
        assert (await client.task("a").result()).url


async def test_an_unknown_status_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A new status is worth a warning, not one a poll."""
    service = Service()
    service.add("odd", (0, "QUEUED"), (100, "COMPLETED"))
    async with watching(service) as (_, client):
        await asyncio.gather(statuses(client.task("odd")), statuses(client.task("odd")))
    assert len([item for item in caplog.records if "QUEUED" in item.message and item.levelno == logging.WARNING]) == 1


async def test_a_completed_task_without_a_url_is_asked_again() -> None:
    """The status may be ahead of the output."""
    service = Service()
    service.add("ahead", (0, "PROGRESS"), (10, "COMPLETED"))
    service.fields["ahead"] = {"output": None}
    asyncio.get_running_loop().call_later(14, service.fields.clear)
    async with watching(service) as (_, client):
        assert (await client.task("ahead").result()).url == "https://cdn.example/ahead.mp4"


async def test_a_completed_task_that_never_gets_a_url_is_an_error() -> None:
    """After minutes, and not for ever: the handle can be waited for again."""
    service = Service()
    loop = asyncio.get_running_loop()
    service.add("empty", (0, "COMPLETED"))
    service.fields["empty"] = {"output": {"msg": "?"}}
    async with watching(service) as (server, client):
        task, began = client.task("empty"), loop.time()
        errors = await asyncio.gather(*(task.result() for _ in range(3)), return_exceptions=True)
        assert all(isinstance(error, BadResponse) and "no URL" in str(error) for error in errors)
        assert 300 <= loop.time() - began < 320
        assert len(server.arrivals) < 60
        with pytest.raises(BadResponse, match="no URL"):
            await task.result()
        assert loop.time() - began < 320
        service.fields.clear()
        assert (await task.result()).url == "https://cdn.example/empty.mp4"


async def test_an_output_that_comes_minutes_late_is_waited_for() -> None:
    """A watch ends with the status; a wait for the video goes on until the deadline."""
    service = Service()
    loop = asyncio.get_running_loop()
    began = loop.time()
    service.add("late", (0, "PROGRESS"), (10, "COMPLETED"))
    service.fields["late"] = {"output": None}
    loop.call_later(200, service.fields.clear)
    async with watching(service) as (_, client):
        task = client.task("late")
        video = asyncio.ensure_future(task.result())
        assert (await statuses(task))[-1] == "COMPLETED"
        assert loop.time() - began < 20
        assert (await task.details()).url is None
        with pytest.raises(WaitTimeout):
            await task.result(timeout=5)
        assert (await video).url
        assert 200 < loop.time() - began < 215


async def test_a_list_without_the_output_keeps_nobody_from_the_details() -> None:
    """It is read again and again for others, and never has the URL; the details have it after a minute."""
    service = Service()
    service.steps = lambda number: ((0, "PROGRESS"), (10 if number == 1 else 300, "COMPLETED"))
    began = asyncio.get_running_loop().time()

    def lagging(item: Arrival) -> Action | None:
        if item.path.endswith("/ck1") and item.at - began < 60:
            return Reply(body={**service.row("ck1", item.at), "output": None})
        if item.path != "/api/v1/tasks":
            return None
        return Reply(body={"tasks": [{**service.row(key, item.at), "output": None} for key in service.timelines]})

    service.override = lambda item: lagging(item) if item.method == "GET" else None
    async with watching(service) as (_, client):
        first = await client.submit(SPEC)
        others = [await client.submit(SPEC) for _ in range(20)]
        waits = [asyncio.ensure_future(task.result()) for task in others]
        assert (await first.result()).url
        assert asyncio.get_running_loop().time() - began < 75
        for wait in waits:
            wait.cancel()
        await asyncio.wait(waits)


async def test_the_row_of_another_task_is_no_answer() -> None:
    """A cache that mixes things up: it is a blip of a wait, and an error of a call."""
    service = Service()
    loop = asyncio.get_running_loop()
    began = loop.time()
    service.add("A", (0, "COMPLETED"))
    other = Reply(body=row("B", "COMPLETED"))
    service.override = lambda item: other if item.path.endswith("/A") and item.at - began < 100 else None
    async with watching(service) as (_, client):
        with pytest.raises(BadResponse, match="another task"):
            await client.get_task("A")
        video = await client.task("A").result()
        assert (video.id, video.url) == ("A", "https://cdn.example/A.mp4")
        assert 100 < loop.time() - began < 115


async def test_an_id_may_be_written_as_a_number() -> None:
    """It is the same task."""
    service = Service()
    service.add("7", (0, "COMPLETED"))
    service.fields["7"] = {"id": 7}
    async with watching(service) as (_, client):
        assert (await client.get_task("7")).id == "7"
        assert (await client.task("7").result()).id == "7"


async def test_failed_and_cancelled_tasks_raise_with_their_details() -> None:
    """The reason that the service gives is in the error."""
    service = Service()
    service.add("bad", (0, "SUBMITTED"), (30, "FAILED"))
    service.add("gone", (0, "SUBMITTED"), (30, "CANCEL"))
    service.fields["bad"] = {"output": {"error": "The prompt was refused"}}
    async with watching(service) as (_, client):
        with pytest.raises(TaskFailed, match="The prompt was refused") as failed:
            await client.task("bad").result()
        with pytest.raises(TaskCancelled) as cancelled:
            await client.task("gone").result()
    assert failed.value.details.status == TaskStatus.FAILED
    assert cancelled.value.details.id == "gone"


async def test_the_answer_to_one_caller_wakes_all_waiters() -> None:
    """A foreground query that sees the end wakes the waiters; no poll is needed for it."""
    service = Service()
    async with watching(service) as (_, client):
        task = await client.submit(SPEC)
        waiter = asyncio.ensure_future(statuses(task))
        await asyncio.sleep(60)
        service.add(task.id, (0, "COMPLETED"))
        assert await task.status() == "COMPLETED"
        await settle()
        assert waiter.done()


# --- the poller itself ----------------------------------------------------------------------------------


async def test_a_poll_that_is_not_due_any_more_is_not_made() -> None:
    """While it waits for its permit, an answer comes from elsewhere: the permit is given back."""
    async with watching(Service()) as (server, client):
        loop = asyncio.get_running_loop()
        task = await client.submit(SPEC)
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(10)
        client.limiter.pause(5)
        loop.call_later(4.9, client._rooms.tracker.observe, task.id, TaskStatus.PROGRESS)
        asked = len(server.arrivals)
        await asyncio.sleep(5.5)
        assert len(server.arrivals) == asked
        assert client.statistics().limiter.in_flight == 0
        await asyncio.sleep(5)
        assert len(server.arrivals) > asked
        assert (await waiting).id == task.id


async def test_a_poll_is_planned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless something changes between the plan and the permit."""
    planned = []

    def count(given: PollInput, now: float) -> Plan | None:
        planned.append(plan(given, now))
        return planned[-1]

    monkeypatch.setattr("aivideomaker_async._watch.watcher.plan", count)
    async with watching(Service()) as (_, client):
        await client.generate(SPEC)
        # A plan that sleeps until its moment is made again then.
        assert len(planned) <= 2 * client.statistics().polls + 2


async def test_a_thousand_tasks_cost_a_few_lists_and_no_details() -> None:
    """More tasks than are processed before other callbacks run."""
    service = Service()
    count = 2 * WOKEN_AT_ONCE + 1
    async with watching(service) as (server, client):
        for number in range(count):
            service.add(f"ck{number}", (0, "PROGRESS"), (30, "COMPLETED"))
        videos = await asyncio.gather(*(client.task(f"ck{number}").result() for number in range(count)))
    assert len({video.id for video in videos}) == count
    assert kinds(server)["details"] == 0
    assert kinds(server)["list"] < 40


async def test_a_mistake_in_the_watcher_reaches_every_waiter(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the poller dies, no waiter hangs; and the next wait starts a new one."""
    service = Service()
    async with watching(service) as (_, client):
        waits = [asyncio.ensure_future(client.generate(SPEC)) for _ in range(3)]
        await asyncio.sleep(10)
        with monkeypatch.context() as patch:
            patch.setattr("aivideomaker_async._watch.watcher.plan", lambda *_, **__: 1 / 0)
            errors = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(error) for error in errors] == [AIVideoMakerError] * 3
        assert isinstance(errors[0], AIVideoMakerError) and isinstance(errors[0].__cause__, ZeroDivisionError)
        assert (await client.task("ck1").result()).id == "ck1"


async def test_a_poller_that_is_cancelled_from_outside_leaves_no_waiter_hanging() -> None:
    """Somebody cancels every asyncio task that they find."""
    async with watching(Service()) as (_, client):
        wait = asyncio.ensure_future(client.generate(SPEC))
        await asyncio.sleep(10)
        for task in asyncio.all_tasks():
            if task.get_name() == "aivideomaker_async.TaskWatcher":
                task.cancel()
        with pytest.raises(AIVideoMakerError, match="cancelled from outside"):
            await wait


# --- the end of a wait ----------------------------------------------------------------------------


async def test_a_wait_ends_at_its_deadline_with_the_handle() -> None:
    """The error has the status and the handle, and a message that the task is paid."""
    async with watching(Service()) as (_, client):
        with pytest.raises(WaitTimeout, match="do not submit it again") as caught:
            await client.generate(SPEC, timeout=60)
        assert (caught.value.last_status, round(caught.value.elapsed)) == ("PROGRESS", 60)
        assert caught.value.task.id in str(caught.value)
        assert isinstance(caught.value, TimeoutError)
        assert (await caught.value.task.result()).id == "ck1"


async def test_a_watch_ends_at_its_deadline_too() -> None:
    """The time is for the whole watch, not for each change."""
    async with watching(Service()) as (_, client):
        task = await client.submit(SPEC)
        got = []
        with pytest.raises(WaitTimeout):
            async for change in task.watch(timeout=60):
                got.append(str(change.status))
        assert got == IN_ORDER[:2]


async def test_by_default_a_wait_lasts_an_hour() -> None:
    """Half an hour would give up on paid work; for ever would hang."""
    service = Service()
    service.add("slow", (0, "PROGRESS"))
    loop = asyncio.get_running_loop()
    async with watching(service) as (_, client):
        began = loop.time()
        with pytest.raises(WaitTimeout):
            await client.task("slow").result()
        assert round(loop.time() - began) == 3600


async def test_no_time_to_wait_means_no_wait() -> None:
    """A zero timeout returns what is known, or gives up at once."""
    async with watching(Service()) as (_, client):
        task = await client.submit(SPEC)
        with pytest.raises(WaitTimeout):
            await task.result(timeout=0)
        await task.result()
        assert (await task.result(timeout=0)).id == task.id


@pytest.mark.parametrize("timeout", [-1, float("nan"), "60", True])
async def test_a_timeout_that_makes_no_sense_is_refused(timeout: Any) -> None:
    """The message names the argument and what is allowed."""
    async with watching(Service()) as (server, client):
        with pytest.raises(ConfigurationError, match="timeout"):
            await client.generate(SPEC, timeout=timeout)
        assert server.arrivals == [], "nothing was bought"


async def test_leaving_the_loop_early_stops_the_watcher() -> None:
    """`break`, an exception, `aclose`: nothing runs on, and the task can be watched again."""
    async with watching(Service()) as (server, client):
        task = await client.submit(SPEC)
        async for _ in task:
            break
        await assert_nothing_held(client)
        with pytest.raises(ZeroDivisionError):
            async for change in task.watch():
                raise ZeroDivisionError(change)
        gc.collect()
        await assert_nothing_held(client)
        watch = task.watch()
        await anext(watch)
        assert client.statistics().watched == 1
        await watch.aclose()
        await watch.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        await assert_nothing_held(client)
        asked = len(server.arrivals)
        await asyncio.sleep(100)
        assert len(server.arrivals) == asked
        assert (await statuses(task))[-1] == "COMPLETED"


async def test_a_watch_that_is_cancelled_anywhere_holds_nothing() -> None:
    """At each of its awaits."""
    service = Service()
    async with watching(service) as (_, client):

        async def watch() -> None:
            service.add("short", (0, "PROGRESS"), (1, "COMPLETED"))
            await statuses(client.task("short"))

        await cancel_everywhere(watch, lambda: assert_nothing_held(client), at_least=5)


async def test_a_watch_survives_steps_that_are_cancelled() -> None:
    """`wait_for(anext(watch), 15)` is how a backend keeps a connection alive. No change is lost, or comes twice."""
    service = Service()
    async with watching(service) as (server, client):
        service.add("a", (0, "SUBMITTED"), (40, "PROGRESS"), (100, "COMPLETED"))
        watch, seen = client.task("a").watch(), list[str]()
        while not seen or seen[-1] != "COMPLETED":
            try:
                seen.append(str((await asyncio.wait_for(anext(watch), 15)).status))
            except TimeoutError:
                await assert_nothing_held(client)
        assert seen == IN_ORDER
        with pytest.raises(StopAsyncIteration):
            await anext(watch)
        cut = len(server.arrivals)
        service.add("b", (0, "SUBMITTED"), (40, "PROGRESS"), (100, "COMPLETED"))
        assert await statuses(client.task("b")) == IN_ORDER
        assert cut < 1.25 * (len(server.arrivals) - cut)


async def test_what_others_have_seen_between_two_steps_of_a_watch_is_not_lost() -> None:
    service = Service()
    async with watching(service) as (_, client):
        service.add("a", (0, "SUBMITTED"), (20, "PROGRESS"), (60, "COMPLETED"))
        watch = client.task("a").watch()
        assert (await anext(watch)).status == "SUBMITTED"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 2)
        await client.task("a").result()
        assert [str(change.status) async for change in watch] == ["COMPLETED"]


async def test_cancelling_one_waiter_leaves_the_others() -> None:
    """And cancels nothing at the service."""
    async with watching(Service()) as (server, client):
        task = await client.submit(SPEC)
        one, other = asyncio.ensure_future(task.result()), asyncio.ensure_future(task.result())
        await asyncio.sleep(10)
        one.cancel()
        assert (await other).id == task.id
        assert not [path for path in server.paths() if path.startswith("PUT")]


async def test_the_client_may_be_opened_and_closed_in_different_tasks() -> None:
    """As web frameworks and test fixtures do."""
    async with scripted(Service()) as server:
        client = AIVideoMaker("ak_test", base_url=server.url, limiter=RateLimiter())
        await asyncio.create_task(client.__aenter__())
        wait = asyncio.create_task(client.generate(SPEC))
        await asyncio.sleep(10)
        await asyncio.create_task(client.aclose())
        with pytest.raises(ConfigurationError, match="closed during this wait"):
            await wait
        await assert_nothing_held(client)


async def test_closing_the_client_ends_every_wait_with_a_clear_error() -> None:
    """Also that of an iteration; and the paid task is not touched."""
    async with scripted(Service()) as server:
        client = AIVideoMaker("ak_test", base_url=server.url, limiter=RateLimiter())
        task = await client.submit(SPEC)
        waits = [asyncio.ensure_future(item) for item in (task.result(), statuses(task), statuses(task))]
        await asyncio.sleep(10)
        await client.aclose()
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert [type(item) for item in results] == [ConfigurationError] * 3
        with pytest.raises(ConfigurationError, match="closed"):
            await task.result()
        assert our_tasks() == []
        assert [path for path in server.paths() if path.startswith("PUT")] == []


def test_a_second_event_loop_must_open_its_own_client() -> None:
    """A client belongs to the loop that used it first."""
    made: list[AIVideoMaker] = []

    async def first() -> None:
        async with scripted(Service()) as server:
            made.append(AIVideoMaker("ak_test", base_url=server.url, limiter=RateLimiter()))
            await made[0].submit(SPEC)
            await made[0].aclose()
            made[0]._api.lifecycle.closed = False

    async def second() -> None:
        for call in (made[0].submit(SPEC), made[0].get_status("ck1"), made[0].task("ck1").result()):
            with pytest.raises(ConfigurationError, match="another event loop"):
                await call

    asyncio.run(first())
    asyncio.run(second())


async def test_a_watch_that_is_not_read_costs_nothing_after_the_end() -> None:
    """Nor after its own deadline; what it has not read is still there."""
    service = Service()
    async with watching(service) as (server, client):
        task = await client.submit(SPEC)
        watch, short = task.watch(timeout=300), task.watch(timeout=1)
        await anext(watch)
        await anext(short)
        await asyncio.sleep(150)
        before = len(server.arrivals)
        await asyncio.sleep(7200)
        assert len(server.arrivals) == before
        assert [str(change.status) async for change in watch] == ["PROGRESS", "COMPLETED"]
        await short.aclose()


async def test_a_watch_that_has_expired_costs_nothing() -> None:
    """Its consumer is busy elsewhere, and the task goes on."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"),)
    async with watching(service) as (server, client):
        watch = (await client.submit(SPEC)).watch(timeout=10)
        await anext(watch)
        await asyncio.sleep(60)
        before = len(server.arrivals)
        await asyncio.sleep(3600)
        assert len(server.arrivals) == before
        with pytest.raises(WaitTimeout):
            await anext(watch)


async def test_a_watch_has_one_reader() -> None:
    """A second one would hang for ever."""
    service = Service()
    async with watching(service) as (_, client):
        async with aclosing((await client.submit(SPEC)).watch()) as watch:
            await anext(watch)
            reading = asyncio.ensure_future(anext(watch))
            await settle()
            with pytest.raises(RuntimeError, match=r"task\.watch\(\)"):
                await anext(watch)
            assert (await reading).status == "PROGRESS"


async def test_early_404s_shorten_no_wait_for_the_output() -> None:
    """The service lags after the submit, and again with the output: neither loses a paid video."""
    service = Service()
    began = asyncio.get_running_loop().time()
    asked_for_details = iter(range(3))

    def lagging(arrival: Arrival) -> Action | None:
        if arrival.method == "GET" and arrival.at - began < 12:
            return Reply(404, {"message": "Task not found"})
        if arrival.path.endswith("/ck1") and next(asked_for_details, None) is not None:
            return Reply(body=row("ck1", "COMPLETED", output=None))
        return None

    service.override = lagging
    async with watching(service) as (_, client):
        assert (await client.generate(SPEC)).url
    assert next(asked_for_details, None) is None


async def test_after_a_failed_poll_an_old_answer_is_not_the_current_status() -> None:
    """A poll that failed is no answer: a new watch waits for one."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (1000, "PROGRESS"), (9000, "COMPLETED"))
    async with watching(service) as (_, client):
        task = await client.submit(SPEC)
        await asyncio.sleep(3600)
        trouble = iter([Reply(200, b"{"), Reply(200, b"{")])
        service.override = lambda item: next(trouble, None) if item.method == "GET" else None
        async with aclosing(task.watch()) as first:
            reading = asyncio.ensure_future(anext(first))
            await asyncio.sleep(0.1)
            async with aclosing(task.watch()) as second:
                assert (await anext(second)).status == "PROGRESS"
            assert (await reading).status == "PROGRESS"


async def test_an_answer_whose_needless_rest_hangs_is_used_all_the_same() -> None:
    """All that somebody waits for has come; the connection is closed and nobody waits for the end of the body."""
    service = Service()

    def endless(arrival: Arrival) -> Action | None:
        if arrival.path != "/api/v1/tasks":
            return None
        rows = [service.row(key, arrival.at) for key in service.timelines]
        body = b'{"tasks": [' + json.dumps(rows)[1:-1].encode() + b", "
        return Reply(body=body, headers={"Content-Length": str(len(body) + 1000)})

    service.override = endless
    async with watching(service) as (server, client):
        took = await asyncio.gather(*(client.generate(SPEC) for _ in range(10)))
        assert len(took) == 10
        assert asyncio.get_running_loop().time() - server.arrivals[0].at < 126
