import asyncio
import errno
import inspect
import io
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import av
import pytest
from attrs.exceptions import FrozenInstanceError

import aivideomaker_async.simulator as package
from aivideomaker_async.simulator import Simulator, serve
from aivideomaker_async.simulator.simulator import base_url
from tests.simulator.client import T2V, Caller, FakeClock, running

pytestmark = pytest.mark.anyio

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


# Start and end


async def test_it_listens_on_loopback_at_a_free_port() -> None:
    async with Simulator() as simulator:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", simulator.url)
        assert re.fullmatch(r"ak_[0-9a-f]{32}", simulator.api_key)
        assert repr(simulator) == f"<Simulator {simulator.url}, 0 tasks, 10000 credits>"
        assert repr(simulator.tasks) == "<TaskViews of 0 tasks>"


async def test_before_its_start_it_has_credits_and_no_url() -> None:
    simulator = Simulator(credits=7)
    assert simulator.credits == 7
    assert "not started" in repr(simulator)
    with pytest.raises(RuntimeError, match="no URL before"):
        _ = simulator.url
    await simulator.aclose()


async def test_it_starts_once_and_ends_as_often_as_one_likes() -> None:
    simulator = Simulator()
    await simulator.start()
    with pytest.raises(RuntimeError, match="starts only once"):
        await simulator.start()
    await simulator.aclose()
    await simulator.aclose()


async def test_a_port_in_use_is_named() -> None:
    async with Simulator() as first:
        port = int(first.url.rpartition(":")[2])
        second = Simulator(port=port)
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}") as refused:
            await second.start()
        assert refused.value.errno == errno.EADDRINUSE
        await second.aclose()


async def test_several_at_once_know_nothing_of_each_other() -> None:
    async with running() as (one, call), running() as (two, _):
        await call.submit()
        assert (len(one.tasks), len(two.tasks)) == (1, 0)
        assert one.url != two.url


async def test_nothing_is_left_when_it_has_ended() -> None:
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    async with running(durations=(0, 0), render=True) as (_, call):
        assert (await call("GET", f"/videos/{await call.submit()}.mp4")).status == 200
        assert threading.active_count() > threads
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads


async def test_what_it_shows_stays_readable_and_still_after_its_end() -> None:
    clock = FakeClock()
    async with running(durations=(10, 50), clock=clock) as (simulator, call):
        task_id = await call.submit()
    clock.seconds += 1000
    assert simulator.tasks[task_id].status == "SUBMITTED"
    assert simulator.statistics().by_status == {"SUBMITTED": 1}
    assert simulator.credits == 10_000 - 5


@pytest.mark.parametrize(
    "bad",
    [
        {"revision": "2020-01"},
        {"speed": 0.0},
        {"limit": 0},
        {"window": -1.0},
        {"list_lag": -1.0},
        {"lookup_lag": float("inf")},
        {"clock_skew": float("nan")},
        {"clock_skew": 1e12},
        {"idempotency": "yes"},
    ],
)
def test_senseless_arguments_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Simulator(**bad)


def test_an_address_of_ipv6_has_brackets() -> None:
    assert base_url("::1", 80) == "http://[::1]:80"


# Time


async def test_time_is_the_event_loops_time_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real, skipped = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + skipped)
    async with running(durations=(1000, 1000), speed=10.0) as (simulator, call):
        task_id = await call.submit()
        skipped = 100.0
        assert simulator.tasks[task_id].status == "PROGRESS"
        skipped = 200.0
        assert simulator.tasks[task_id].status == "COMPLETED"


async def test_a_clock_of_ones_own_drives_it() -> None:
    clock = FakeClock()
    async with running(durations=(10, 50), clock=clock, epoch=EPOCH) as (simulator, call):
        clock.seconds += 5
        task_id = await call.submit()
        clock.seconds += 60
        task = simulator.tasks[task_id]
        assert task.created_at == EPOCH + timedelta(seconds=5)
        assert task.completed_at == EPOCH + timedelta(seconds=65)
        assert simulator.requests[0].at == 1005.0


# Views


async def test_a_task_is_shown_with_its_history() -> None:
    async with running(durations=(10, 50), clock=FakeClock(), epoch=EPOCH) as (simulator, call):
        task_id = await call.submit(prompt="[fail: no]")
        simulator.advance(100)
        task = simulator.tasks[task_id]
        assert (task.id, task.model, task.input) == (task_id, "t2v", {**T2V, "prompt": "[fail: no]"})
        assert (task.status, task.output) == ("FAILED", {"error": "no"})
        assert (task.credits_charged, task.credits_refunded) == (5, 5)
        assert task.history == (
            (EPOCH, "SUBMITTED"),
            (EPOCH + timedelta(seconds=10), "PROGRESS"),
            (EPOCH + timedelta(seconds=60), "FAILED"),
        )
        with pytest.raises(FrozenInstanceError):
            task.status = "COMPLETED"  # type: ignore[misc]


async def test_tasks_are_a_mapping_oldest_first() -> None:
    async with running() as (simulator, call):
        ids = [await call.submit() for _ in range(3)]
        assert list(simulator.tasks) == ids
        assert ids[1] in simulator.tasks
        assert [task.id for task in simulator.tasks.values()] == ids
        with pytest.raises(KeyError):
            _ = simulator.tasks["unknown"]


async def test_requests_are_recorded_with_their_answers() -> None:
    async with running(clock=FakeClock()) as (simulator, call):
        await call.submit()
        await call("GET", "/api/v1/tasks/a%2Fb")
        await call("GET", "/api/v1/tasks", key="wrong")
        seen = [(one.method, one.path, one.status, one.at) for one in simulator.requests]
        assert seen == [
            ("POST", "/api/v1/generate/t2v", 200, 1000.0),
            ("GET", "/api/v1/tasks/a%2Fb", 404, 1000.0),
            ("GET", "/api/v1/tasks", 401, 1000.0),
        ]


async def test_statistics_count_everything_since_the_start() -> None:
    async with running(durations=(10, 50)) as (simulator, call):
        await call.submit()
        await call.submit(prompt="[fail]")
        await call("GET", "/api/v1/tasks")
        simulator.advance(100)
        counts = simulator.statistics()
        assert (counts.requests, counts.queries, counts.tasks) == (3, 1, 2)
        assert counts.by_status == {"COMPLETED": 1, "FAILED": 1}
        assert (counts.credits_charged, counts.credits_refunded) == (10, 5)
        assert simulator.credits == 10_000 - 5


async def test_the_same_seed_gives_the_same_tasks() -> None:
    seen: list[list[tuple[str, object]]] = []
    for _ in range(2):
        async with running(seed=5, clock=FakeClock(), epoch=EPOCH) as (simulator, call):
            for _ in range(3):
                await call.submit()
            simulator.advance(1000)
            seen.append([(one.id, one.history) for one in simulator.tasks.values()])
    assert seen[0] == seen[1]


async def test_faults_are_counted_and_told() -> None:
    async with running() as (simulator, call):
        simulator.fault("status", on="list", status=503)
        simulator.fault("drop", on="submit")
        # A submit, since aiohttp tries a query again by itself.
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await call("POST", "/api/v1/generate/t2v", T2V)
        for _ in range(2):
            await call("GET", "/api/v1/tasks")
        assert [(one.status, one.fault) for one in simulator.requests] == [(0, "drop"), (503, "status"), (200, None)]
        assert simulator.statistics().faults == 2


async def test_the_draws_of_faults_repeat_with_the_seed() -> None:
    seen = []
    for _ in range(2):
        async with running(seed=5) as (simulator, call):
            simulator.fault("status", probability=0.5)
            seen.append([(await call("GET", "/api/v1/tasks")).status for _ in range(30)])
    assert seen[0] == seen[1]
    assert set(seen[0]) == {200, 500}


async def test_faults_do_not_change_what_else_is_drawn() -> None:
    ids = []
    for faulty in (False, True):
        async with running(seed=5) as (simulator, call):
            if faulty:
                simulator.fault("garbage", on="list", probability=0.5)
                await call("GET", "/api/v1/tasks")
            ids.append(await call.submit())
    assert ids[0] == ids[1]


async def test_all_faults_can_be_removed_at_once() -> None:
    async with running() as (simulator, call):
        fault = simulator.fault("status", times=None)
        assert (await call("GET", "/api/v1/tasks")).status == 500
        simulator.clear_faults()
        assert (await call("GET", "/api/v1/tasks")).status == 200
        assert (fault.hits, fault.over) == (1, True)


# Control


async def test_tasks_can_be_finished_failed_and_put_into_any_status() -> None:
    async with running() as (simulator, call):
        good, bad, odd = [await call.submit() for _ in range(3)]
        simulator.finish(good)
        simulator.fail(bad, "out of memory")
        simulator.set_status(odd, "QUEUED")
        simulator.advance(10_000)
        assert simulator.tasks[good].status == "COMPLETED"
        assert simulator.tasks[bad].output == {"error": "out of memory"}
        answer = await call("GET", f"/api/v1/tasks/{odd}/status")
        assert answer.json == {"status": "QUEUED"}
        assert simulator.credits == 10_000 - 10


async def test_a_status_can_go_back() -> None:
    async with running() as (simulator, call):
        task_id = await call.submit()
        simulator.finish(task_id)
        simulator.set_status(task_id, "PROGRESS")
        assert simulator.tasks[task_id].status == "PROGRESS"
        assert simulator.tasks[task_id].completed_at is None


async def test_what_has_ended_cannot_end_again() -> None:
    async with running() as (simulator, call):
        task_id = await call.submit()
        simulator.finish(task_id)
        with pytest.raises(ValueError, match="is COMPLETED"):
            simulator.fail(task_id)
        assert simulator.tasks[task_id].status == "COMPLETED"


async def test_an_unknown_id_is_a_key_error() -> None:
    async with running() as (simulator, _):
        for control in (simulator.finish, simulator.fail):
            with pytest.raises(KeyError, match="unknown"):
                control("unknown")
        with pytest.raises(KeyError, match="unknown"):
            simulator.set_status("unknown", "FAILED")


async def test_the_clock_does_not_go_back() -> None:
    async with running() as (simulator, _):
        with pytest.raises(ValueError, match="cannot go by -1"):
            simulator.advance(-1)


# The whole way


async def test_a_rendered_video_plays_as_long_as_ordered() -> None:
    async with running(durations=(0, 0), render=True) as (_, call):
        task_id = await call.submit("t2v_v3", aspectRatio="9:16", duration="10")
        answer = await call("GET", f"/videos/{task_id}.mp4")
        with av.open(io.BytesIO(answer.body), "r") as container:
            assert container.duration == 10 * av.time_base
            assert container.streams.video[0].height > container.streams.video[0].width


async def test_serving_goes_on_until_it_is_cancelled() -> None:
    ready: asyncio.Future[Simulator] = asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(credits=3, limit=5, speed=2.0, on_ready=ready.set_result))
    simulator = await ready
    assert simulator.credits == 3
    async with aiohttp.ClientSession() as session:
        call = Caller(simulator.url, simulator.api_key, session)
        assert (await call("GET", "/api/v1/tasks")).json == {"tasks": []}
        assert not server.done()
        server.cancel()
        with pytest.raises(asyncio.CancelledError):
            await server
        with pytest.raises(aiohttp.ClientConnectionError):
            await call("GET", "/api/v1/tasks")


async def test_serving_needs_nobody_who_listens() -> None:
    server = asyncio.create_task(serve())
    for _ in range(5):
        await asyncio.sleep(0)
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server


def test_the_package_shows_three_names() -> None:
    assert package.__all__ == ["Simulator", "ThreadedSimulator", "serve"]
    assert [getattr(package, name).__name__ for name in package.__all__] == package.__all__
    assert inspect.iscoroutinefunction(package.serve)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing
