"""What answers mean: for the consumers of a task, for its age and eta, and for what is learned about all tasks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import Eta, StatusChange, SubmittedTask, TaskDetails, TaskOutput, TaskStatus, TextToVideo
from aivideomaker_async._redaction import Secret
from aivideomaker_async._watch.durations import Durations
from aivideomaker_async._watch.task_state import Backoff, Subscription, TaskState
from aivideomaker_async._watch.updates import Answer, AnswerSource, StatusUpdates
from tests.support.scripted import Arrival, Reply, row
from tests.support.service import Service, kinds, watching
from tests.support.waiting import LIST, seconds_of

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5)
NOW = 1000.0
MORNING = datetime(2026, 9, 1, 8, tzinfo=UTC)
SUBMITTED, PROGRESS, COMPLETED, FAILED = map(TaskStatus, ("SUBMITTED", "PROGRESS", "COMPLETED", "FAILED"))


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


# --- one answer --------------------------------------------------------------------------------------


class Updates(StatusUpdates):
    """Updates at eight in the morning, by all clocks, which note what they report."""

    def __init__(self) -> None:
        self.durations = Durations()
        self.reported: list[tuple[str, Answer, StatusChange | None, AnswerSource]] = []
        super().__init__(
            self.durations,
            service_time=MORNING.timestamp,
            on_update=lambda state, *more: self.reported.append((state.task_id, *more)),
            wall_clock=lambda: MORNING,
        )


@pytest.fixture
def updates() -> Updates:
    return Updates()


def details(status: TaskStatus = COMPLETED, url: str | None = "https://cdn.example/a.mp4", **more: Any) -> TaskDetails:
    return TaskDetails(id="a", status=status, output=TaskOutput(url=url), **more)


def submit(updates: Updates, state: TaskState, *, now: float = NOW) -> None:
    answer = SubmittedTask(task_id=state.task_id)
    updates.submitted(state, answer, model="t2v", length=5, webhook_url=None, has_webhook=False, now=now)


def test_a_new_status_is_a_change_and_a_stale_one_is_none(updates: Updates) -> None:
    """Whichever answer came later: statuses never go backwards."""
    state = TaskState("a")
    change = updates.apply(state, PROGRESS, AnswerSource.LIST, NOW)
    assert change == StatusChange(task_id="a", status=PROGRESS, previous=None, at=MORNING)
    assert updates.apply(state, SUBMITTED, AnswerSource.SINGLE, NOW + 1) is None
    assert (state.status, state.observed.last_change) == (PROGRESS, change)
    end = updates.apply(state, details(), AnswerSource.PEER, NOW + 2)
    assert end is not None and (end.status, end.previous) == (COMPLETED, PROGRESS)
    assert updates.reported == [
        ("a", PROGRESS, change, AnswerSource.LIST),
        ("a", SUBMITTED, None, AnswerSource.SINGLE),
        ("a", details(), end, AnswerSource.PEER),
    ]


def test_any_answer_counts_as_one_and_only_single_ones_as_single(updates: Updates) -> None:
    state = TaskState("a")
    for now, source in enumerate(AnswerSource, 1):
        updates.apply(state, PROGRESS, source, now)
        assert state.observed.last_answer_at == now
    singles = [
        number for number, source in enumerate(AnswerSource, 1) if source in {AnswerSource.SUBMIT, AnswerSource.SINGLE}
    ]
    assert state.observed.last_single_answer_at == singles[-1] == 2


async def test_consumers_of_changes_get_each_of_them_and_waiters_for_the_end_only_the_output(
    updates: Updates,
) -> None:
    state = TaskState("a")
    watching, waiting = (Subscription(state, wants_details=wants) for wants in (False, True))
    for subscription in (watching, waiting):
        state.subscribe(subscription)
    changed, ended = watching.next_update(), waiting.next_update()
    first = updates.apply(state, PROGRESS, AnswerSource.LIST, NOW)
    assert (list(watching.unread or ()), waiting.unread) == ([first], None)
    assert (changed.done(), ended.done()) == (True, False)
    updates.apply(state, details(url=None), AnswerSource.SINGLE, NOW)
    assert not ended.done(), "its URL has not come"
    updates.apply(state, details(), AnswerSource.SINGLE, NOW)
    assert ended.done()


async def test_an_answer_without_a_change_wakes_a_consumer_that_waits_for_the_current_status(updates: Updates) -> None:
    state = TaskState("a")
    updates.apply(state, PROGRESS, AnswerSource.LIST, NOW)
    usual, current = (Subscription(state, wants_details=False) for _ in range(2))
    current.wants_answer = True
    futures = []
    for subscription in (usual, current):
        state.subscribe(subscription)
        futures.append(subscription.next_update())
    updates.apply(state, PROGRESS, AnswerSource.LIST, NOW + 1)
    assert [future.done() for future in futures] == [False, True]


@pytest.mark.parametrize(
    ("answers", "kept"),
    [
        ([details(PROGRESS)], False),
        ([details()], True),
        ([details(url=None)], False),
        ([details(FAILED, url=None)], True),
        ([COMPLETED], False),
        ([COMPLETED, details(PROGRESS)], False),
        ([COMPLETED, details()], True),
        # Where they disagree on the end, the details have the output.
        ([FAILED, details()], True),
    ],
)
def test_only_whole_details_of_an_end_are_kept(updates: Updates, answers: list[Answer], kept: bool) -> None:
    state = TaskState("a")
    for answer in answers:
        updates.apply(state, answer, AnswerSource.SINGLE, NOW)
    assert state.observed.details == (answers[-1] if kept else None)
    state.subscribe(Subscription(state, wants_details=True))
    assert state.needs_details() is (state.is_terminal and not kept)
    assert state.is_over() is kept


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*TaskStatus, TaskStatus("QUEUED"), details(PROGRESS), details(), details(FAILED)]),
            st.sampled_from(AnswerSource),
        ),
        max_size=12,
    )
)
def test_whatever_is_answered_consumers_get_a_story_that_ends_once(answers: list[tuple[Answer, AnswerSource]]) -> None:
    """Each change follows the one before it, and none follows the end."""
    updates, state = Updates(), TaskState("a")
    subscription = Subscription(state, wants_details=False)
    state.subscribe(subscription)
    changes = [change for answer in answers if (change := updates.apply(state, *answer, NOW)) is not None]
    assert list(subscription.unread or ()) == changes
    assert [change.previous for change in changes] == [None, *(change.status for change in changes)][:-1] or not changes
    assert not any(change.status.is_terminal for change in changes[:-1])
    assert state.observed.last_change == (changes[-1] if changes else None)
    assert len(updates.reported) == len(answers)


def test_a_submit_dates_a_task_and_makes_it_fresh(updates: Updates) -> None:
    """What else was known of its webhook is kept, if the same task is submitted again."""
    state = TaskState("a")
    hook = Secret("https://example.com/hook")
    answer = SubmittedTask(task_id="a")
    updates.submitted(state, answer, model="t2v", length=5, webhook_url=hook, has_webhook=True, now=NOW)
    submit(updates, state, now=NOW + 5)
    observed = state.observed
    assert (state.status, observed.submitted, observed.started_at) == (SUBMITTED, answer, NOW + 5)
    assert (observed.model, observed.length, observed.is_fresh) == ("t2v", 5, True)
    assert (observed.webhook_url, observed.has_webhook) == (hook, True)
    updates.apply(
        state, details(PROGRESS, model="i2v", created_at=MORNING - timedelta(hours=1)), AnswerSource.LIST, NOW + 9
    )
    assert (observed.model, observed.started_at) == ("t2v", NOW + 5), "this client knows it better"


@pytest.mark.parametrize(
    ("created", "started_at"),
    [
        (MORNING - timedelta(seconds=90), NOW - 90),
        (MORNING + timedelta(seconds=90), NOW - 7),
        (MORNING - timedelta(days=2), NOW - 7),
        (datetime(1, 1, 1, tzinfo=UTC), NOW - 7),
        (None, NOW - 7),
    ],
)
def test_the_age_of_a_task_that_was_taken_up_is_that_of_the_service(
    updates: Updates, created: datetime | None, started_at: float
) -> None:
    """Unless it makes no sense: then it counts from the first watch."""
    state = TaskState("a")
    updates.first_watched(state, NOW - 7)
    updates.apply(
        state, details(PROGRESS, created_at=created, model="t2v", input={"duration": "5"}), AnswerSource.LIST, NOW
    )
    updates.first_watched(state, NOW)
    assert state.observed.started_at == started_at
    assert (state.observed.model, state.observed.length) == ("t2v", 5)


def test_what_another_process_knows_fills_gaps_only(updates: Updates) -> None:
    known, unknown = TaskState("a"), TaskState("b")
    submit(updates, known)
    for state in (known, unknown):
        updates.awaited_elsewhere(state, started_at=NOW - 60, model="i2v", length=10, is_fresh=False, has_webhook=True)
    updates.awaited_elsewhere(unknown, started_at=None, model="x", length=1, is_fresh=True, has_webhook=False)
    seen = [
        (item.started_at, item.model, item.length, item.is_fresh, item.has_webhook)
        for item in (known.observed, unknown.observed)
    ]
    assert seen == [(NOW, "t2v", 5, True, True), (NOW - 60, "i2v", 10, True, True)]


@pytest.mark.parametrize(
    ("is_ours", "last_answer", "reported", "learned"),
    [
        (True, 1.0, None, 100.0),
        (True, 1.0, 90.0, 90.0),
        (True, 50.0, 90.0, 90.0),
        (True, 50.0, None, None),
        (False, 1.0, 90.0, 90.0),
        (False, 1.0, None, None),
    ],
)
def test_an_end_teaches_how_long_tasks_take(
    updates: Updates, is_ours: bool, last_answer: float, reported: float | None, learned: float | None
) -> None:
    """By the own clock if the end was observed soon after it; by that of the service if it has reported both times."""
    state = TaskState("a")
    submit(updates, state) if is_ours else updates.first_watched(state, NOW)
    updates.apply(state, PROGRESS, AnswerSource.LIST, NOW + 100 - last_answer)
    completed = None if reported is None else MORNING + timedelta(seconds=reported)
    end = details(model="t2v", input={"duration": "5"}, created_at=MORNING, completed_at=completed)
    # Asked for again, the same end teaches nothing more.
    for _ in range(2):
        updates.apply(state, end, AnswerSource.LIST, NOW + 100)
    found, expected = updates.durations.estimate("t2v", 5), Durations()
    if learned is not None:
        expected.learn("t2v", 5, reported=learned)
    assert (found.mu, found.samples) == (expected.estimate("t2v", 5).mu, int(learned is not None))


def test_failed_tasks_teach_nothing(updates: Updates) -> None:
    state = TaskState("a")
    submit(updates, state)
    end = details(FAILED, url=None, created_at=MORNING, completed_at=MORNING + timedelta(seconds=90))
    updates.apply(state, end, AnswerSource.SINGLE, NOW + 90)
    assert not updates.durations.estimate("t2v", 5).samples


def test_a_doubt_makes_the_details_wanted(updates: Updates) -> None:
    """Also before the task has ended, and where only changes are watched."""
    state = TaskState("a")
    state.subscribe(Subscription(state, wants_details=False))
    updates.apply(state, PROGRESS, AnswerSource.LIST, NOW)
    state.backoff = Backoff(in_doubt=True)
    assert state.needs_details()
    assert not state.lacks_output()


def finished(seconds: float, number: int, **fields: Any) -> dict[str, Any]:
    """The row of an old task that took this many seconds."""
    began = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=number)
    times = {"createdAt": began, "completedAt": began + timedelta(seconds=seconds)}
    shown = {name: at.isoformat(timespec="milliseconds").replace("+00:00", "Z") for name, at in times.items()}
    return row(f"old{number}", "COMPLETED", **shown, **fields)


def slow(seconds: float) -> Service:
    """A service whose tasks all take so long."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (seconds / 5, "PROGRESS"), (seconds, "COMPLETED"))
    return service


# --- durations ---------------------------------------------------------------------------------------


async def test_a_fresh_client_learns_from_the_finished_tasks_of_the_account() -> None:
    """One list teaches how long such tasks take: then hardly a query is made before one can be done."""
    service = slow(120)
    service.old_rows = [finished(120 + number % 7, number) for number in range(30)]
    async with watching(service) as (server, client):
        task = await client.submit(SPEC)
        assert await seconds_of(task) < 122
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
            assert await seconds_of(await client.submit(SPEC)) < 105
            costs.append(len(server.arrivals) - before)
    assert costs[-1] < costs[0] / 2


async def test_old_rows_that_do_not_fit_make_no_waiter_much_later_than_the_task_took() -> None:
    """Rows of hours, where tasks take seconds: the first one is late by a few seconds, and then it is known."""
    service = slow(6)
    service.old_rows = [finished(3600, number) for number in range(30)]
    async with watching(service) as (_, client):
        assert await seconds_of(await client.submit(SPEC)) < 20


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
        assert await seconds_of(task) < 5


async def test_changes_have_the_eta() -> None:
    """So that a program can show both; the last change has none."""
    service = slow(100)
    service.old_rows = [finished(100, number) for number in range(10)]
    async with watching(service) as (_, client):
        await (await client.submit(SPEC)).result()
        task = await client.submit(SPEC)
        changes = [change async for change in task]
    assert [change.eta is not None for change in changes] == [True, True, False]


async def test_a_task_of_an_earlier_process_has_the_age_that_the_service_shows() -> None:
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


@pytest.mark.parametrize("unlisted", [0, 6])
@pytest.mark.parametrize("tasks", [6, 20])
async def test_a_list_that_never_changes_ends_no_wait(tasks: int, unlisted: int) -> None:
    """A cache in front of the list: overdue tasks are asked for by themselves, and known a minute or two late.

    Single polls for tasks that the list does not show do not count as probes of the list.
    """
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (60 + 10 * number, "COMPLETED"))
    frozen = [row(f"ck{number}", "PROGRESS") for number in range(tasks, 0, -1)]
    service.override = lambda item: Reply(body={"tasks": frozen}) if item.path == LIST else None
    async with watching(service) as (server, client):
        some = [await client.submit(SPEC) for _ in range(tasks + unlisted)]
        took = (await asyncio.gather(*map(seconds_of, some)))[:tasks]
    late = [seconds - (60 + 10 * number) for number, seconds in enumerate(took, 1)]
    assert max(late) < 240
    assert sum(late) / tasks < 120
    assert kinds(server)["list"] > 30


async def test_a_list_that_lags_a_little_is_still_the_best_for_many() -> None:
    """Asking for forty in turn would take longer than the list is late."""
    service, lag = Service(), 4.0
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (60 + 3 * number, "COMPLETED"))
    service.override = lambda item: (
        Reply(body={"tasks": [service.row(key, max(item.at - lag, began)) for key in service.timelines]})
        if item.path == LIST
        else None
    )
    async with watching(service) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(40)]
        began = asyncio.get_running_loop().time()
        took = await asyncio.gather(*map(seconds_of, tasks))
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
        assert max(await asyncio.gather(*map(seconds_of, tasks))) < 123
    asked = kinds(server)
    assert asked["list"] > 10 and asked["details"] <= 1


async def test_a_task_that_a_short_list_does_not_show_is_found_all_the_same() -> None:
    """The service may show only its newest tasks: the others are asked for by themselves."""
    service = Service()
    service.unlisted = {"ck1", "ck2"}
    async with watching(service) as (_, client):
        tasks = [await client.submit(SPEC) for _ in range(6)]
        assert max(await asyncio.gather(*map(seconds_of, tasks))) < 126


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


async def test_details_of_a_task_that_is_not_watched_show_its_age() -> None:
    """Asked for before anything else: the eta counts from the moment that the service shows."""
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
