"""What answers teach: how long tasks take, and how far the list is to be believed."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aivideomaker_async import Eta, TextToVideo, VideoTask
from tests.support.scripted import Arrival, Reply, row
from tests.support.service import Service, kinds, watching

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5)
LIST = "/api/v1/tasks"


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


def finished(seconds: float, number: int, **fields: Any) -> dict[str, Any]:
    """The row of an old task that took so many seconds."""
    began = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=number)
    times = {"createdAt": began, "completedAt": began + timedelta(seconds=seconds)}
    told = {name: at.isoformat(timespec="milliseconds").replace("+00:00", "Z") for name, at in times.items()}
    return row(f"old{number}", "COMPLETED", **told, **fields)


async def waits(task: VideoTask) -> float:
    """Seconds that the result of a task takes."""
    began = asyncio.get_running_loop().time()
    await task.result()
    return asyncio.get_running_loop().time() - began


def slow(seconds: float) -> Service:
    """A service whose tasks all take so long."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (seconds / 5, "PROGRESS"), (seconds, "COMPLETED"))
    return service


# --- durations ---------------------------------------------------------------------------------------


async def test_a_fresh_client_learns_from_the_finished_tasks_of_the_account() -> None:
    """One list tells how long such tasks take: then hardly a query is made before one can be done."""
    service = slow(120)
    service.old_rows = [finished(120 + number % 7, number) for number in range(30)]
    async with watching(service) as (server, client):
        task = await client.submit(SPEC)
        assert await waits(task) < 122
        early = [item for item in server.arrivals if item.at - server.arrivals[0].at < 70 and item.method == "GET"]
        assert len(early) <= 8
        assert sum(kinds(server).values()) < 30


async def test_a_client_learns_from_the_tasks_that_it_has_seen() -> None:
    """The fifth task costs far less than the first, and its end is noticed as soon as can be."""
    costs: list[int] = []
    service = slow(100)
    async with watching(service) as (server, client):
        for _ in range(8):
            before = len(server.arrivals)
            assert await waits(await client.submit(SPEC)) < 105
            costs.append(len(server.arrivals) - before)
    assert costs[-1] < costs[0] / 2


async def test_a_service_with_a_fast_clock_is_not_believed_for_long() -> None:
    """Rows that tell of hours, where tasks take seconds: one is late by a few seconds, and then it is known."""
    service = slow(6)
    service.old_rows = [finished(3600, number) for number in range(30)]
    service.fields["ck1"] = {"createdAt": "2026-03-19T08:00:00.000Z", "completedAt": "2026-03-19T09:00:00.000Z"}
    service.fields["ck2"] = service.fields["ck1"]
    async with watching(service) as (_, client):
        assert await waits(await client.submit(SPEC)) < 20
        assert await waits(await client.submit(SPEC)) < 9


async def test_an_eta_is_known_as_soon_as_something_is() -> None:
    """None at first; then a moment with an interval, which moves on while the task goes on; None at the end."""
    service = slow(100)
    async with watching(service) as (_, client):
        first = await client.submit(SPEC)
        assert first.eta() is None
        await first.result()
        assert first.eta() is None
        for _ in range(3):
            await (await client.submit(SPEC)).result()
        task = await client.submit(SPEC)
        eta = task.eta()
        assert isinstance(eta, Eta) and eta.samples == 4
        assert eta.earliest < eta.at < eta.latest
        assert abs(eta.at - datetime.now(UTC) - timedelta(seconds=100)) < timedelta(seconds=25)
        await asyncio.sleep(300)
        later = task.eta()
        assert later is not None and later.earliest >= datetime.now(UTC) - timedelta(seconds=1)
        assert await waits(task) < 5


async def test_changes_tell_the_eta() -> None:
    """Whoever shows a change to a user can show when it will be done; the last change has nothing to expect."""
    service = slow(100)
    service.old_rows = [finished(100, number) for number in range(10)]
    async with watching(service) as (_, client):
        await (await client.submit(SPEC)).result()
        task = await client.submit(SPEC)
        changes = [change async for change in task]
    assert [change.eta is not None for change in changes] == [True, True, False]


async def test_a_task_of_an_earlier_process_has_the_age_that_the_service_tells() -> None:
    """Taken up again by its id: its end is not expected a whole task's time from now."""
    service = slow(100)
    service.old_rows = [finished(100, number) for number in range(10)]
    async with watching(service) as (_, client):
        loop = asyncio.get_running_loop()
        created = datetime.now(UTC) - timedelta(seconds=90)
        service.add("ck9", (0, "PROGRESS"), (8, "COMPLETED"))
        service.fields["ck9"] = {"createdAt": created.isoformat()}
        began = loop.time()
        task = client.task("ck9")
        assert task.eta() is None
        waiting = asyncio.ensure_future(task.result())
        await asyncio.sleep(4)
        eta = task.eta()
        assert eta is not None and eta.at - datetime.now(UTC) < timedelta(seconds=30)
        await waiting
        assert loop.time() - began < 12


# --- lists -------------------------------------------------------------------------------------------


def frozen_list(service: Service, *, lag: float) -> None:
    """The list of `service` comes from a cache that is behind by so many seconds; each status is right."""

    def stale(arrival: Arrival) -> Reply | None:
        if arrival.path != LIST:
            return None
        then = max(arrival.at - lag, 1000.0)
        shown = [key for key, status in service.timelines.items() if _existed(status, then)]
        return Reply(body={"tasks": [service.row(key, then) for key in reversed(shown)]})

    service.override = stale


def _existed(status: Any, then: float) -> bool:
    try:
        status(then)
    except IndexError:
        return False
    return True


async def test_a_list_that_never_changes_ends_no_wait(caplog: pytest.LogCaptureFixture) -> None:
    """A cache in front of the list: single answers are believed, and that is said once."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (60 + 10 * number, "COMPLETED"))
    for number in range(1, 7):
        service.fields[f"ck{number}"] = {}
    service.override = lambda item: (
        Reply(body={"tasks": [row(f"ck{number}", "SUBMITTED") for number in range(6, 0, -1)]})
        if item.path == LIST
        else None
    )
    async with watching(service) as (_, client):
        tasks = [await client.submit(SPEC) for _ in range(6)]
        with caplog.at_level(logging.WARNING):
            took = await asyncio.gather(*map(waits, tasks))
    late = [seconds - (60 + 10 * number) for number, seconds in enumerate(took, 1)]
    assert max(late) < 30 and sum(late) / 6 < 12
    assert sum("trusted less" in record.message for record in caplog.records) == 1


async def test_a_list_that_lags_a_little_is_still_the_best_for_many() -> None:
    """Asking for forty in turn would take longer than the list is late."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (60 + 3 * number, "COMPLETED"))
    frozen_list(service, lag=4.0)
    async with watching(service) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(40)]
        took = await asyncio.gather(*map(waits, tasks))
    late = [seconds - (60 + 3 * number) for number, seconds in enumerate(took, 1)]
    assert sum(late) / 40 < 7
    assert kinds(server)["list"] > kinds(server)["status"]


async def test_a_long_list_is_read_only_as_far_as_needed() -> None:
    """Behind what somebody waits for may stand anything: it is never looked at."""
    service = Service()
    old = json.dumps([row(f"old{number}", "COMPLETED") for number in range(1000)])[1:-1]

    def broken_tail(arrival: Arrival) -> Reply | None:
        if arrival.path != LIST:
            return None
        rows = [service.row(key, arrival.at) for key in service.timelines]
        body = '{"tasks": [' + json.dumps(rows)[1:-1] + "," + old + ", this is no JSON"
        return Reply(body=body.encode())

    service.override = broken_tail
    async with watching(service) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(4)]
        assert max(await asyncio.gather(*map(waits, tasks))) < 123
    asked = kinds(server)
    assert asked["list"] > 10 and asked["details"] <= 1


async def test_a_task_that_a_short_list_does_not_show_is_found_all_the_same() -> None:
    """The service may show only its newest tasks: the others are asked for by themselves."""
    service = Service()
    service.unlisted = {"ck1", "ck2"}
    async with watching(service) as (_, client):
        tasks = [await client.submit(SPEC) for _ in range(6)]
        assert max(await asyncio.gather(*map(waits, tasks))) < 126


async def test_many_missing_tasks_do_not_hide_that_the_list_is_frozen(caplog: pytest.LogCaptureFixture) -> None:
    """Asking for those tells nothing of the list; a check of its own does."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (60 + number, "COMPLETED"))
    service.override = lambda item: (
        Reply(body={"tasks": [row(f"ck{number}", "PROGRESS") for number in range(20, 0, -1)]})
        if item.path == LIST
        else None
    )
    async with watching(service) as (_, client):
        tasks = [await client.submit(SPEC) for _ in range(26)]
        with caplog.at_level(logging.WARNING):
            assert max(await asyncio.gather(*map(waits, tasks))) < 250
    assert sum("trusted less" in record.message for record in caplog.records) == 1


async def test_a_list_that_is_far_behind_is_noticed_in_a_steady_flow(caplog: pytest.LogCaptureFixture) -> None:
    """The row that gives it away stands behind all that somebody waits for: the list is read on to it."""
    service = Service()
    frozen_list(service, lag=60.0)
    late: list[float] = []

    async def one(number: int) -> None:
        await asyncio.sleep(6 * number)
        late.append(await waits(await client.submit(SPEC)) - 120)

    async with watching(service) as (_, client):
        with caplog.at_level(logging.WARNING):
            await asyncio.gather(*(one(number) for number in range(100)))
    assert sum(late[30:]) / len(late[30:]) < 20
    assert sum("trusted less" in record.message for record in caplog.records) == 1


async def test_nonsense_in_rows_ends_no_wait() -> None:
    """A task that took a microsecond, and others that took a day: an estimate may be wrong, and nothing more."""
    service = slow(30)
    instant = {"createdAt": "2026-03-19T08:00:00.000000Z", "completedAt": "2026-03-19T08:00:00.000001Z"}
    service.fields |= {f"ck{number}": instant for number in range(1, 5)}
    service.old_rows = [finished(86399, number, model="lv") for number in range(20)]
    async with watching(service) as (_, client):
        for _ in range(4):
            await (await client.submit(SPEC)).result()
        service.add("ck99", (0, "PROGRESS"), (10, "COMPLETED"))
        service.fields["ck99"] = {"model": "lv", "createdAt": "0001-01-01T00:00:00Z"}
        assert (await client.task("ck99").details()).model == "lv"
        assert [str(change.status) async for change in client.task("ck99")][-1] == "COMPLETED"


async def test_details_of_a_task_that_nobody_watches_tell_its_age() -> None:
    """Asked for before anything else: the eta counts from the moment that the service tells."""
    service = slow(100)
    async with watching(service) as (_, client):
        for _ in range(3):
            await (await client.submit(SPEC)).result()
        created = datetime.now(UTC) - timedelta(seconds=80)
        service.add("ck9", (0, "PROGRESS"))
        service.fields["ck9"] = {"createdAt": created.isoformat()}
        task = client.task("ck9")
        assert task.eta() is None
        await task.details()
        eta = task.eta()
        assert eta is not None and eta.at - datetime.now(UTC) < timedelta(seconds=60)
    assert task.eta() is not None, "no request is made, also not by a closed client"
