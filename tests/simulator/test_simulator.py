"""The simulator as its users hold it: start and end, options, views and controls."""

from __future__ import annotations

import asyncio
import errno
import inspect
import math
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

import aiohttp
import pytest
from attrs.exceptions import FrozenInstanceError

import aivideomaker_async.simulator as package
from aivideomaker_async.simulator import Simulator, serve
from aivideomaker_async.simulator.options import CHECKS, SimulatorOptions
from aivideomaker_async.simulator.simulator import base_url
from tests.simulator.client import T2V, Caller, FakeClock, running

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


def test_the_package_exports_three_names() -> None:
    assert package.__all__ == ["Simulator", "ThreadedSimulator", "serve"]
    assert [getattr(package, name).__name__ for name in package.__all__] == package.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing  # type: ignore[attr-defined]


# --- options -----------------------------------------------------------------------------------------

WRONG: dict[str, list[object]] = {
    "host": ["", 5, None],
    "port": [-1, 65_536, "80", 1.5, True, None],
    "speed": [0, -1.0, "x", math.inf, math.nan, True, None],
    "revision": ["2020-01", "", 5, None],
    "credits": [-1, "x", 2.5, True, None],
    "limit": [0, -1, "5", 1.5, True],
    "window": [0, -1.0, "x", math.inf, None],
    "api_key": ["", "a b", "ключ", "a\n", 5, b"x"],
    "durations": [
        *(5, (1,), (1, 2, 3), "ab", (-5, 5), (1, math.inf), (1, math.nan), ("1", 2), (True, 2), {1, 2}, []),
        *({"t2v": 5}, {"t2v": (1,)}, {"nope": (1, 2)}, {5: (1, 2)}),
        *(lambda model: (1, 2), lambda: (1, 2), lambda a, b, c: (1, 2)),
    ],
    "seed": ["x", 1.5, True],
    "clock": [5, "x"],
    "epoch": [datetime(2026, 3, 1), "2026", 5],  # noqa: DTZ001
    "counting": ["x", None, ["sliding"]],
    "count_rejected": [1, "no", None],
    "retry_after": ["Date", "x", 5, None],
    "late_cancel": [99, 600, "400", 400.0, True, None],
    "list_limit": [-1, "x", 1.5, True],
    "history": [-1, "x", 1.5, True, None, {"nope": 1}, {"t2v": "x"}, {"t2v": -1}],
    "list_lag": [-1, "x", math.inf, None],
    "lookup_lag": [-1, "x", math.nan, None],
    "clock_skew": ["x", None, True, math.nan, 1e12],
    "skew_date": ["no", 0, None],
    "idempotency": ["x", True],
    "generation_limit": [0, -1, "5", 1.5, True],
    "daily_credit_limit": [-1, "x", 1.5, True],
    "credit_warning_at": [-1, "x", 1.5, True],
    "supported_models": ["t2v", b"t2v", 5, ["t2v", 5], [""], {"t2v": 1}, iter(["t2v"])],
    "late_files": [-1, "x", math.inf, None],
    "link_lifetime": [0, -1, "x", math.nan, True],
    "strict_headers": ["no", 0, None],
    "ranges": ["no", 0, None],
    "render": ["no", 1, None],
}
RIGHT: dict[str, list[object]] = {
    "port": [0, 65_535],
    "speed": [1, 0.5, 1e6],
    "credits": [0],
    "limit": [1, None],
    "api_key": [None, "ak_x"],
    "durations": [
        *(None, (0, 0), [1, 2.5], {}, {"t2v": (1, 2)}, max),
        *(lambda *_: (1, 2), lambda model, seconds: (1, seconds)),
    ],
    "seed": [None, -1],
    "late_cancel": [200, 409],
    "list_limit": [None, 0, 5],
    "history": [0, 3, {"t2v": 2}],
    "idempotency": [None, "kept", "ignored"],
    "late_files": [0, 2.5],
    "link_lifetime": [None, 0.5, 3600],
    "supported_models": [None, [], ("t2v", "veo9"), {"t2v"}],
    "clock_skew": [-3600, 1.5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_option_is_named_with_its_value_and_what_is_allowed(name: str, value: Any) -> None:
    """Before anything listens, and never by another error."""
    with pytest.raises(ValueError, match=rf"^{name}\b.* must be .+, got ") as caught:
        Simulator(**{name: value})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", RIGHT)
def test_right_options_are_accepted(name: str) -> None:
    for value in RIGHT[name]:
        Simulator(**{name: value})  # type: ignore[arg-type]


def test_every_option_is_typed_and_checked() -> None:
    """A new one has a check, and its examples."""
    options = {name for name in inspect.signature(Simulator).parameters if name != "self"}
    assert options == {*CHECKS, "durations"} == WRONG.keys() == get_type_hints(SimulatorOptions).keys()
    for name, hint in get_type_hints(Simulator.__init__).items():
        assert name == "return" or get_type_hints(SimulatorOptions)[name] == hint


# --- start and end -----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_it_listens_on_loopback_at_a_free_port() -> None:
    simulator = Simulator(credits=7)
    assert (simulator.credits, "not started" in repr(simulator)) == (7, True)
    with pytest.raises(RuntimeError, match="no URL before"):
        _ = simulator.url
    await simulator.aclose()
    async with simulator:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", simulator.url)
        assert re.fullmatch(r"ak_[0-9a-f]{32}", simulator.api_key)
        assert repr(simulator) == f"<Simulator {simulator.url}, 0 tasks, 7 credits>"
        assert repr(simulator.tasks) == "<TaskViews of 0 tasks>"
        with pytest.raises(RuntimeError, match="starts only once"):
            await simulator.start()
    await simulator.aclose()
    assert base_url("::1", 80) == "http://[::1]:80"


@pytest.mark.anyio
async def test_a_port_in_use_is_named() -> None:
    async with Simulator() as first:
        port = int(first.url.rpartition(":")[2])
        second = Simulator(port=port)
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}") as refused:
            await second.start()
        assert refused.value.errno == errno.EADDRINUSE
        await second.aclose()


@pytest.mark.anyio
async def test_nothing_is_left_when_it_has_ended() -> None:
    tasks, threads = asyncio.all_tasks(), threading.active_count()
    async with running(durations=(0, 0), render=True) as (_, call):
        assert (await call("GET", f"/videos/{await call.submit()}.mp4")).status == 200
        assert threading.active_count() > threads
    assert asyncio.all_tasks() == tasks
    assert threading.active_count() == threads


@pytest.mark.anyio
async def test_the_views_stay_readable_and_still_after_its_end() -> None:
    clock = FakeClock()
    async with running(durations=(10, 50), clock=clock) as (simulator, call):
        task_id = await call.submit()
    clock.seconds += 1000
    assert simulator.tasks[task_id].status == "SUBMITTED"
    assert simulator.statistics().by_status == {"SUBMITTED": 1}
    assert simulator.credits == 10_000 - 5


@pytest.mark.anyio
async def test_the_clock_is_that_of_the_event_loop_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    real, skipped = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + skipped)
    async with running(durations=(1000, 1000), speed=10.0) as (simulator, call):
        task_id = await call.submit()
        skipped = 100.0
        assert simulator.tasks[task_id].status == "PROGRESS"
        skipped = 200.0
        assert simulator.tasks[task_id].status == "COMPLETED"


@pytest.mark.anyio
@pytest.mark.parametrize("listens", [True, False])
async def test_serving_goes_on_until_it_is_cancelled(listens: bool) -> None:
    ready: asyncio.Future[Simulator] = asyncio.get_running_loop().create_future()
    on_ready = ready.set_result if listens else None
    server = asyncio.create_task(serve(credits=3, limit=5, speed=2.0, on_ready=on_ready))
    if listens:
        simulator = await ready
        assert simulator.credits == 3
        async with aiohttp.ClientSession() as session:
            call = Caller(simulator.url, simulator.api_key, session)
            assert (await call("GET", "/api/v1/tasks")).json == {"tasks": []}
    else:
        for _ in range(5):
            await asyncio.sleep(0)
    assert not server.done()
    server.cancel()
    with pytest.raises(asyncio.CancelledError):
        await server


# --- views -------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_task_is_shown_with_its_history() -> None:
    async with running(durations=(10, 50), clock=FakeClock(), epoch=EPOCH) as (simulator, call):
        task_id = await call.submit(prompt="[fail: no]")
        simulator.advance(100)
        task = simulator.tasks[task_id]
        assert (task.id, task.model, task.input) == (task_id, "t2v", {**T2V, "prompt": "[fail: no]"})
        assert (task.status, task.output) == ("FAILED", {"error": "no"})
        assert (task.credits_charged, task.credits_refunded) == (5, 5)
        assert (task.created_at, task.completed_at) == (EPOCH, EPOCH + timedelta(seconds=60))
        assert task.history == (
            (EPOCH, "SUBMITTED"),
            (EPOCH + timedelta(seconds=10), "PROGRESS"),
            (EPOCH + timedelta(seconds=60), "FAILED"),
        )
        with pytest.raises(FrozenInstanceError):
            task.status = "COMPLETED"  # type: ignore[misc]


@pytest.mark.anyio
async def test_tasks_are_a_mapping_oldest_first() -> None:
    async with running() as (simulator, call):
        ids = [await call.submit() for _ in range(3)]
        assert list(simulator.tasks) == ids
        assert [task.id for task in simulator.tasks.values()] == ids
        with pytest.raises(KeyError):
            _ = simulator.tasks["unknown"]


@pytest.mark.anyio
async def test_requests_are_recorded_with_their_answers_and_faults() -> None:
    async with running(clock=FakeClock()) as (simulator, call):
        await call.submit()
        await call("GET", "/api/v1/tasks/a%2Fb")
        await call("GET", "/api/v1/tasks", key="wrong")
        simulator.fault("status", on="list", status=503)
        await call("GET", "/api/v1/tasks")
        assert [(one.method, one.path, one.status, one.at, one.fault) for one in simulator.requests] == [
            ("POST", "/api/v1/generate/t2v", 200, 1000.0, None),
            ("GET", "/api/v1/tasks/a%2Fb", 404, 1000.0, None),
            ("GET", "/api/v1/tasks", 401, 1000.0, None),
            ("GET", "/api/v1/tasks", 503, 1000.0, "status"),
        ]


@pytest.mark.anyio
async def test_statistics_count_everything_since_the_start() -> None:
    async with running(durations=(10, 50)) as (simulator, call):
        await call.submit()
        await call.submit(prompt="[fail]")
        await call("GET", "/api/v1/tasks")
        simulator.advance(100)
        counts = simulator.statistics()
        assert (counts.requests, counts.queries, counts.tasks, counts.faults) == (3, 1, 2, 0)
        assert counts.by_status == {"COMPLETED": 1, "FAILED": 1}
        assert (counts.credits_charged, counts.credits_refunded) == (10, 5)
        simulator.fault("rate_limit", on="list")
        await call("GET", "/api/v1/tasks")
        counts = simulator.statistics()
        assert (counts.requests, counts.queries, counts.rejected, counts.faults) == (4, 1, 0, 1)


@pytest.mark.anyio
async def test_a_seed_repeats_tasks_and_the_draws_of_faults() -> None:
    seen = []
    for faulty in (False, True, True):
        async with running(seed=5, clock=FakeClock(), epoch=EPOCH) as (simulator, call):
            if faulty:
                simulator.fault("status", on="list", probability=0.5)
            statuses = [(await call("GET", "/api/v1/tasks")).status for _ in range(20)]
            for _ in range(3):
                await call.submit()
            simulator.advance(1000)
            seen.append((statuses, [(one.id, one.history) for one in simulator.tasks.values()]))
    assert seen[1] == seen[2]
    assert set(seen[1][0]) == {200, 500}
    assert seen[0][1] == seen[1][1], "faults draw by themselves"
