"""What follows a poll that brought nothing: which faults end a wait, and that one fault holds up nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from aivideomaker_async import (
    APIError,
    AuthenticationFailed,
    BadResponse,
    Disconnected,
    InvalidRequest,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    TaskNotFound,
    TaskStatus,
    WaitTimeout,
)
from aivideomaker_async._watch.failures import (
    FAILURES_TO_STEP_DOWN,
    LASTING_S,
    LIST_PAUSE_FACTOR,
    LIST_PAUSE_S,
    MAX_LIST_PAUSE_S,
    MAX_TASK_PAUSE_S,
    NO_LIST_PAUSE_S,
    POLL_TIMEOUT_S,
    UNKNOWN_AFTER_SUBMIT_S,
    Ends,
    PollFailures,
)
from aivideomaker_async._watch.task_state import TaskState, Trouble
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply
from tests.support.service import Service, kinds, watching
from tests.support.waiting import (
    FAILED,
    FAULTS,
    LIST,
    ODD_FAULTS,
    SOON,
    SPEC,
    TROUBLE,
    USUAL_FAULTS,
    Way,
    all_ways,
    each_number,
    each_way,
    kind,
    last_change,
    loop_of_test,
    most_in_a_minute,
    result,
    seconds_of,
    taken_up,
    troubled,
    waits,
    watched,
)

pytestmark = pytest.mark.anyio

ALL = ("list", "status", "details")
NOW = 1000.0


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


# --- faults that end no wait -------------------------------------------------------------------------


async def survives(fault: str, way: Way, waiters: int) -> None:
    async with watched(troubled(FAULTS[fault])) as (server, client):
        # A request that hangs is first given up, which takes up to the time of an attempt.
        assert await waits(way, client, waiters) < TROUBLE[1] + SOON + (30 if fault == "hang" else 0)
    assert most_in_a_minute(server) <= 60
    began = server.arrivals[0].at
    during = sum(TROUBLE[0] <= arrival.at - began < TROUBLE[1] for arrival in server.arrivals)
    assert 3 <= during <= 50, "neither given up, nor hammered"


@each_number
@each_way
@pytest.mark.parametrize("fault", USUAL_FAULTS)
async def test_two_minutes_of_faults_end_no_wait(fault: str, way: Way, waiters: int) -> None:
    """Each fault, in each way to wait, alone and with others: it goes on, and ends soon after the trouble."""
    await survives(fault, way, waiters)


@pytest.mark.parametrize("fault", ODD_FAULTS)
async def test_two_minutes_of_odd_faults_end_no_wait(fault: str) -> None:
    """Alone, and in all ways together."""
    await survives(fault, result, 1)
    await survives(fault, all_ways, 1)


@pytest.mark.parametrize(
    ("fault", "way"),
    [(fault, result) for fault in USUAL_FAULTS] + [(fault, all_ways) for fault in FAULTS],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_a_fault_without_end_ends_in_a_timeout_at_the_deadline(fault: str, way: Way) -> None:
    """Not before, and not later; the error has the handle, and a message that the task may go on."""
    service = troubled(FAULTS[fault], when=(TROUBLE[0], 1e9))
    async with watched(service, wait_timeout=90.0) as (server, client):
        began = loop_of_test().time()
        errors = await way(client, 1)
        assert loop_of_test().time() - began == pytest.approx(90, abs=0.5)
        for error in errors:
            assert isinstance(error, WaitTimeout)
            assert error.elapsed == pytest.approx(90, abs=0.1)
            assert error.last_status in {"SUBMITTED", "PROGRESS"}
            assert "may still be running" in str(error)
            assert f"client.task({error.task.id!r})" in str(error)
        service.override = lambda _: None
        assert (await errors[0].task.result()).url, "the handle goes on"
    assert len(server.arrivals) < 100


@each_number
@pytest.mark.parametrize("fault", ["drop", "500", "408", "half of it", "FAILED", "redirect", "429 3", "hang"])
@pytest.mark.parametrize("where", ALL)
async def test_faults_of_one_kind_of_query_hide_no_end_that_another_kind_shows(
    where: str, fault: str, waiters: int
) -> None:
    """And nothing is lost where there is no other kind."""
    async with watched(troubled(FAULTS[fault], where=(where,), when=(TROUBLE[0], 120))) as (server, client):
        took = await waits(all_ways, client, 1) if waiters > 1 else await waits(result, client)
        assert took < 120 + SOON + (30 if fault == "hang" else 0)
        if where == "list" and fault != "429 3":
            assert took < 30 + (12 if waiters == 1 or fault != "hang" else 75), "each is asked for by itself"
        if where == "details" and waiters > 1:
            assert took < 30 + 5, "the rows of the list are whole"
    assert most_in_a_minute(server) <= 60


@pytest.mark.parametrize("fault", ["drop", "FAILED", "429 3"])
@pytest.mark.parametrize("waiters", [1, 5, 50])
async def test_waits_end_although_most_answers_are_bad(fault: str, waiters: int) -> None:
    """Every second one: hardly later. Nine of ten: later, and not lost."""
    for share, within in ((None, 15), (0.9, 600)):
        dice, turns = random.Random(7), iter(range(10**6))

        def sometimes(_: Arrival, share: float | None = share, d: Any = dice, t: Any = turns) -> Action | None:
            return FAULTS[fault] if (next(t) % 2 if share is None else d.random() < share) else None

        service = troubled(sometimes, when=(20, 1e9))
        async with watched(service) as (server, client):
            began = loop_of_test().time()
            assert len(await taken_up(client, service, waiters)) == waiters
            assert loop_of_test().time() - began < 30 + within
        assert most_in_a_minute(server) <= 60


async def test_details_that_always_fail_do_not_hide_that_the_task_has_ended() -> None:
    """The wait goes on for the output until the deadline; its error shows that the task is COMPLETED."""
    async with watched(troubled(Reply(500), where=("details",), when=(0, 1e9))) as (server, client):
        with pytest.raises(WaitTimeout, match="last seen in COMPLETED") as caught:
            await client.generate(SPEC, timeout=600)
        assert caught.value.last_status == TaskStatus.COMPLETED
        assert caught.value.elapsed == pytest.approx(600)
    assert 50 < kinds(server)["details"] < 100


async def test_a_failed_status_with_a_message_counts_when_the_details_confirm_it() -> None:
    """It may be news of the task, against the documents; the details decide."""
    service = Service()
    service.add("bad", (0, "FAILED"))
    failed = Reply(body={"status": "FAILED", "message": "refused"})
    service.override = lambda item: failed if item.path.endswith("/status") else None
    async with watching(service) as (server, client):
        assert await last_change(client.task("bad")) == "FAILED"
    assert len(server.arrivals) < 5


# --- faults that end a wait at once ------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"status": "FAILED", "message": "Key disabled"}, {"errorCode": "AUTH_FAILED"}])
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("where", ALL)
async def test_a_refused_key_ends_every_wait_at_once(where: str, status: int, body: dict[str, str]) -> None:
    """Whatever kind of query is refused. Each waiter gets an error of its own, and the service is left alone."""
    service = troubled(Reply(status, body), where=(where,), when=(20, 1e9))
    # Where the list serves several, only for a waiter who is alone the details are asked for.
    alone = where != "list"
    async with watched(service) as (server, client):
        began = loop_of_test().time()
        errors = await (result(client, 1) if alone else all_ways(client, 1))
        assert [type(error) for error in errors] == [AuthenticationFailed] * len(errors)
        assert len(set(map(id, errors))) == len(errors)
        assert loop_of_test().time() - began < (36 if where == "details" else 26)
        asked = len(server.arrivals)
        await asyncio.sleep(100)
        assert len(server.arrivals) == asked


@pytest.mark.parametrize(
    ("body", "way"),
    [
        *((body, result) for body in (b"<html>Just a moment", b"", b'{"message": "Forbidden"}', b'{"error": "no"}')),
        (b"<html>Just a moment", all_ways),
    ],
)
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_the_page_of_a_gateway_ends_no_wait(status: int, body: bytes, way: Way) -> None:
    """The words are not the service's: it refuses neither the key nor the task. This is survived for minutes."""
    service = troubled(Reply(status, body), where=ALL, when=(20, 140))
    async with watched(service) as (_, client):
        await waits(way, client, 5)
    service = troubled(Reply(status, body), where=ALL, when=(20, 1e9))
    async with watched(service) as (_, client):
        began = loop_of_test().time()
        errors = await way(client, 1)
        assert {type(error) for error in errors} == {TaskNotFound if status == 404 else AuthenticationFailed}
        assert 300 <= loop_of_test().time() - began < 450


NO_TASK = {"status": "FAILED", "message": "Task not found"}


@pytest.mark.parametrize("where", ["status", "details"])
async def test_a_404_ends_the_wait_for_a_task_that_was_known(where: str) -> None:
    """One is enough; the handle can be waited for again."""
    gone = Reply(404, NO_TASK)
    service = troubled(gone, where=(where,), when=(35, 1e9), steps=((0.0, "PROGRESS"), (50.0, "COMPLETED")))
    async with watched(service) as (server, client):
        began = loop_of_test().time()
        errors = await result(client, 1)
        assert [type(error) for error in errors] == [TaskNotFound]
        assert loop_of_test().time() - began < (40 if where == "status" else 55)
        asked = sum(arrival.at - began >= 35 and kind(arrival.path) == where for arrival in server.arrivals[1:])
        assert asked == 1
        service.override = lambda _: None
        assert (await client.task("ck1").result()).url


async def test_a_task_that_does_not_exist_ends_its_own_wait_only() -> None:
    """At once, since only a submit of this client may be ahead of what the service knows. The others go on."""
    async with watched(Service()) as (server, client):
        for way in (client.task("nobody").result(), last_change(client.task("../x?y"))):
            began = loop_of_test().time()
            with pytest.raises(TaskNotFound):
                await way
            assert loop_of_test().time() - began < 3
        assert len(server.arrivals) <= 3
        good = asyncio.ensure_future(client.generate(SPEC))
        with pytest.raises(TaskNotFound):
            await client.task("nobody").result()
        assert (await good).id == "ck1"


@each_way
@each_number
async def test_a_404_right_after_the_submit_is_forgiven(way: Way, waiters: int) -> None:
    """The service may lag behind its own answer, in the list as well; but not for ever."""
    unknown = lambda item: Reply(404, NO_TASK) if kind(item.path) != "list" else Reply(body={"tasks": []})  # noqa: E731
    async with watched(troubled(unknown, when=(0, 25))) as (_, client):
        assert await waits(way, client, waiters) < 30 + 10
    began = loop_of_test().time()
    async with watched(troubled(unknown, when=(0, 1e9))) as (_, client):
        errors = await way(client, waiters)
        assert [type(error) for error in errors] == [TaskNotFound] * waiters
        assert UNKNOWN_AFTER_SUBMIT_S <= loop_of_test().time() - began < 45


# --- refusals, which end a wait if they last ---------------------------------------------------------


@each_number
@pytest.mark.parametrize(
    "how", [Reply(302, headers={"Location": "/maintenance"}), Reply(400, {"message": "bad id"}), Reply(418)], ids=repr
)
async def test_refusals_end_a_wait_when_they_last_for_five_minutes(how: Reply, waiters: int) -> None:
    """The page of a proxy for some minutes is survived; what goes on for longer is raised, long before the deadline."""
    async with watched(troubled(how, when=(20, 1e9))) as (_, client):
        began = loop_of_test().time()
        errors = await result(client, waiters)
        assert all(isinstance(error, APIError) and error.status == how.status for error in errors)
        assert 20 + LASTING_S < loop_of_test().time() - began < 400


async def test_only_failures_of_one_task_end_its_wait_when_they_last() -> None:
    """Some servers answer 200 and FAILED for an id that they do not know; others, while their database is away."""
    service = Service()
    service.override = failing(lambda path: "/ck404" in path, Reply(200, {"status": "FAILED", "message": "No task"}))
    async with watching(service) as (server, client):
        began = asyncio.get_running_loop().time()
        with pytest.raises(APIError, match="No task"):
            await client.task("ck404").result()
        assert LASTING_S <= asyncio.get_running_loop().time() - began < LASTING_S + 10
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
async def test_two_minutes_of_refusals_end_no_wait_for_a_task_that_was_taken_up_again(how: Action) -> None:
    """The process was restarted, and the service is not well: two minutes later it knows the task after all."""
    service = Service()
    service.add("old", (0, "PROGRESS"), (130, "COMPLETED"))
    began = asyncio.get_running_loop().time()
    service.override = lambda item: how if item.at - began < 120 else None
    async with watching(service) as (_, client):
        assert await seconds_of(client.task("old")) < 150


async def test_failures_of_other_kinds_do_not_count_as_refusals() -> None:
    """Ten minutes of 502, and then the page of a proxy for two."""
    service = Service()
    service.add("old", (0, "PROGRESS"), (730, "COMPLETED"))
    began = asyncio.get_running_loop().time()

    def trouble(item: Arrival) -> Action | None:
        after = item.at - began
        return Reply(502) if after < 600 else Reply(302) if after < 720 else None

    service.override = trouble
    async with watching(service) as (_, client):
        assert await seconds_of(client.task("old")) < 750


async def test_single_refusals_cost_no_time() -> None:
    """One odd answer of a proxy is followed by another query soon."""
    service = Service()
    odd = iter([Reply(302, headers={"Location": "https://login.example"}), Reply(407), FAILED])
    service.override = lambda item: next(odd, None) if item.path.endswith("/status") else None
    async with watching(service) as (_, client):
        assert await seconds_of(await client.submit(SPEC)) < 125


async def test_failures_in_disguise_leave_no_backlog_of_doubts() -> None:
    """Two hundred tasks were answered with FAILED and a message: one list settles that, not 200 queries."""
    async with watched(troubled(FAILED, when=(20, 320))) as (server, client):
        assert await waits(result, client, 200) < 320 + SOON
    # The list shows the same as before, and so that nothing has happened.
    async with watched(troubled(FAILED, where=("status", "details"), when=(0, 1e9))) as (server, client):
        assert await waits(result, client, 40) < 30 + SOON
    assert kinds(server)["details"] <= kinds(server)["status"] + 1


# --- one thing that fails holds up nothing else ------------------------------------------------------


def failing(where: Callable[[str], bool], how: Action) -> Callable[[Arrival], Action | None]:
    return lambda arrival: how if arrival.method == "GET" and where(arrival.path) else None


@each_way
async def test_a_service_without_a_list_serves_all_the_same(way: Way) -> None:
    """404 on the list alone says nothing about any task."""
    async with watched(troubled(Reply(404, "<html>"), where=("list",), when=(0, 1e9))) as (server, client):
        assert await waits(way, client, 3) < 30 + 6
    assert kinds(server)["list"] <= 2


@pytest.mark.parametrize("odd", [Reply(404, "<html>"), Reply(body={"tasks": []})], ids=repr)
async def test_one_odd_answer_to_the_list_does_not_end_lists_for_good(odd: Reply) -> None:
    """A 404 of a deploy, or an empty list: a minute later all waiters share the list again."""
    service = Service()
    answers = iter([odd])
    service.override = lambda item: next(answers, None) if item.path == LIST else None
    async with watching(service) as (server, client):
        await asyncio.gather(*(client.generate(SPEC) for _ in range(12)))
    assert kinds(server)["list"] > 30


@pytest.mark.parametrize("waiters", [1, 5])
@pytest.mark.parametrize("how", [Reply(500), FAILED, Hang()], ids=repr)
async def test_a_list_that_always_fails_is_hardly_asked_for(how: Action, waiters: int) -> None:
    """The status of a task works, and no waiter waits for the list."""
    service = Service()
    service.override = failing(lambda path: path == LIST, how)
    async with watching(service) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(waiters)]
        assert max(await asyncio.gather(*map(seconds_of, tasks))) < 165
    assert kinds(server)["list"] <= 8


@pytest.mark.parametrize("how", [Reply(500), Drop(), Hang(), Reply(200, b"{"), FAILED], ids=repr)
@pytest.mark.parametrize("bad", [1, 12])
async def test_tasks_whose_polls_fail_hold_up_no_other(how: Action, bad: int) -> None:
    """They are asked for less and less often, and never twice in a row while others wait."""
    service = Service()
    service.unlisted = {f"ck{number}" for number in range(1, bad + 1)}
    service.override = failing(lambda path: path.split("/")[4:5] != [] and path.split("/")[4] in service.unlisted, how)
    async with watching(service) as (_, client):
        broken = [asyncio.ensure_future((await client.submit(SPEC)).result()) for _ in range(bad)]
        good = [await client.submit(SPEC) for _ in range(5)]
        assert max(await asyncio.gather(*map(seconds_of, good))) < 120 + (8 if how != Hang() else 130)
        for task in broken:
            task.cancel()
        await asyncio.wait(broken)


@pytest.mark.parametrize("fault", ["drop", "hang", "FAILED", "redirect", "429 3"])
async def test_probes_that_fail_take_the_list_from_no_waiter(fault: str) -> None:
    """A list is checked by the status of an overdue task now and then."""
    service = troubled(FAULTS[fault], where=("status",), when=(0, 1e9), steps=((0.0, "PROGRESS"), (150.0, "COMPLETED")))
    async with watched(service) as (server, client):
        began = loop_of_test().time()
        await taken_up(client, service, 100)
        assert loop_of_test().time() - began < 150 + (12 if fault == "hang" else 5)
    assert 0 < kinds(server)["status"] <= kinds(server)["list"] / 16


async def test_an_outage_of_everything_is_not_held_against_the_list() -> None:
    """Two minutes of nothing, and then hundreds wait for a list again, not for their turn."""
    service = Service()
    service.steps = lambda _: ((0, "SUBMITTED"), (10, "PROGRESS"), (200, "COMPLETED"))
    began = asyncio.get_running_loop().time()
    service.override = lambda item: Drop() if item.method == "GET" and 30 < item.at - began < 150 else None
    async with watching(service) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(200)]
        assert max(await asyncio.gather(*map(seconds_of, tasks))) < 215
    assert sum(item.path == LIST and item.at - began > 150 for item in server.arrivals) > 10


async def test_a_list_that_was_slow_once_is_tried_again() -> None:
    """The first one took nine seconds: a minute later all share the list."""
    service = Service()
    service.steps = lambda number: ((0, "SUBMITTED"), (10, "PROGRESS"), (200 + number / 10, "COMPLETED"))
    slow = iter([9.0])

    async def answer(arrival: Arrival) -> Action:
        if arrival.path == LIST and (delay := next(slow, None)):
            await asyncio.sleep(delay)
        action = service(arrival)
        assert isinstance(action, Reply)
        return action

    async with watching(answer) as (server, client):
        tasks = [await client.submit(SPEC) for _ in range(15)]
        took = await asyncio.gather(*map(seconds_of, tasks))
        assert max(took) < 206
    assert kinds(server)["list"] > 30


# --- the counters ------------------------------------------------------------------------------------

DROPPED = Disconnected("gone", method="GET", path="/", sent=True)
TIMED_OUT = RequestTimeout("late", method="GET", path="/", sent=True)
UNWELL = ServerError("500", status=500, method="GET", path="/")
REFUSED = InvalidRequest("400", status=400, method="GET", path="/")
DISGUISED = APIError("FAILED", status=200, method="GET", path="/")
UNREADABLE = BadResponse("?", method="GET", path="/")


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> PollFailures:
    """Counters whose jitter is always the longest pause."""
    monkeypatch.setattr(random, "random", lambda: 1.0)
    monkeypatch.setattr(random, "uniform", lambda _, most: most)
    return PollFailures(RetryPolicy(first_pause=0.5, longest_pause=8.0), 30.0)


def test_a_task_is_put_off_longer_each_time(failures: PollFailures) -> None:
    """Up to a minute, while others are answered."""
    state, pauses, now = TaskState("a"), list[float](), NOW
    for _ in range(10):
        failures.answered(None, 0.1)
        assert failures.failed(UNWELL, state, now, 0.1) is Ends.NONE
        pauses.append(state.backoff.not_before - now)
        now = state.backoff.not_before
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, MAX_TASK_PAUSE_S]
    failures.clear(state)
    failures.failed(UNWELL, state, now, 0.1)
    assert state.backoff.not_before == now + 0.5


def test_while_nothing_is_answered_everything_waits_and_no_task_for_long(failures: PollFailures) -> None:
    """So that all of them are asked for soon after the outage."""
    some, now = [TaskState(str(number)) for number in range(3)], NOW
    for number in range(30):
        failures.failed(DROPPED, some[number % 3], now, 0.1)
        assert all(state.backoff.not_before <= now + 8 for state in some)
        assert failures.not_before <= now + 8
        now += 8
    assert failures.not_before == now - 8 + 8
    failures.answered(some[0], 0.1)
    failures.failed(DROPPED, some[0], now, 0.1)
    assert failures.not_before <= now, "the first failure is a blip"


@pytest.mark.parametrize(
    ("error", "trouble", "in_doubt"),
    [
        (UNWELL, Trouble.LOST, False),
        (DROPPED, Trouble.LOST, False),
        (UNREADABLE, Trouble.LOST, False),
        (APIError("408", status=408, method="GET", path="/"), Trouble.LOST, False),
        (REFUSED, Trouble.REFUSED, False),
        (DISGUISED, Trouble.REFUSED, True),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "status", "")),
)
def test_kinds_of_failures_are_distinguished(
    failures: PollFailures, error: APIError, trouble: Trouble, in_doubt: bool
) -> None:
    state = TaskState("a")
    assert failures.failed(error, state, NOW, 0.1) is Ends.NONE
    assert (state.backoff.trouble, state.backoff.in_doubt) == (trouble, in_doubt)
    # Refused for five minutes without an answer, its wait ends.
    ends = [failures.failed(error, state, NOW + 60.0 * minute, 0.1) for minute in range(1, 7)]
    assert ends[:4] == [Ends.NONE] * 4
    assert ends[-1] is (Ends.NONE if trouble is Trouble.LOST else Ends.OF_TASK)


def test_refusals_with_something_else_between_them_begin_anew(failures: PollFailures) -> None:
    """So do those with hours between them."""
    state = TaskState("a")
    failures.failed(REFUSED, state, NOW, 0.1)
    failures.failed(UNWELL, state, NOW + 200, 0.1)
    assert failures.failed(REFUSED, state, NOW + LASTING_S + 1, 0.1) is Ends.NONE
    assert failures.failed(REFUSED, state, NOW + 10_000, 0.1) is Ends.NONE
    failures.clear(state)
    assert failures.failed(REFUSED, state, NOW + 10_200, 0.1) is Ends.NONE


def test_a_doubt_outlasts_other_failures(failures: PollFailures) -> None:
    """Until an answer comes, only the details decide."""
    state = TaskState("a")
    failures.failed(DISGUISED, state, NOW, 0.1)
    failures.failed(UNWELL, state, NOW + 1, 0.1)
    assert state.needs_details()
    failures.clear(state)
    assert not state.needs_details()


def test_lists_that_fail_again_and_again_are_asked_for_rarely(failures: PollFailures) -> None:
    """One is a blip. Where they take long to fail, more of the time is for single polls."""
    pauses = []
    for _ in range(6):
        failures.failed(UNWELL, None, NOW, 0.1)
        pauses.append(failures.lists_resume_at - NOW)
    assert pauses == [float("-inf"), LIST_PAUSE_S, 2 * LIST_PAUSE_S, 4 * LIST_PAUSE_S, MAX_LIST_PAUSE_S, 60]
    failures.failed(TIMED_OUT, None, NOW, 30.0)
    assert failures.lists_resume_at == NOW + LIST_PAUSE_FACTOR * 30.0
    failures.answered(None, 0.1)
    failures.failed(UNWELL, None, NOW + 1000, 0.1)
    assert failures.lists_resume_at < NOW + 1000


def test_a_missing_list_is_asked_for_again_after_a_minute_and_then_later(failures: PollFailures) -> None:
    missing = APIError("404", status=404, method="GET", path="/")
    pauses = []
    for _ in range(3):
        assert failures.failed(missing, None, NOW, 0.1) is Ends.NONE
        pauses.append(failures.lists_resume_at - NOW)
    assert pauses == [NO_LIST_PAUSE_S, 2 * NO_LIST_PAUSE_S, 4 * NO_LIST_PAUSE_S]
    assert failures.not_before == float("-inf"), "nothing else waits for that"


@pytest.mark.parametrize("then", ["answered", "failed"])
def test_when_single_polls_fail_as_well_the_list_is_not_to_blame(failures: PollFailures, then: str) -> None:
    for _ in range(4):
        failures.failed(DROPPED, None, NOW, 0.1)
    assert failures.lists_resume_at > NOW
    failures.failed(DROPPED, TaskState("a"), NOW, 0.1)
    assert failures.lists_resume_at < NOW
    # The next list that fails is alone again.
    failures.failed(DROPPED, None, NOW, 0.1)
    assert failures.lists_resume_at == NOW + LIST_PAUSE_S


def test_after_repeated_429s_there_is_a_pause_whatever_they_ask_for(failures: PollFailures) -> None:
    """The first 429 pauses the limiter as the service wants; then there is a pause whatever it wants."""
    limited = RateLimited("429", status=429, method="GET", path="/", retry_after=0.0)
    state, pauses = TaskState("a"), []
    for _ in range(6):
        assert failures.failed(limited, state, NOW, 0.1) is Ends.NONE
        pauses.append(failures.not_before - NOW)
    assert pauses == [0, 1, 2, 4, 8, 8]
    assert state.backoff.failures == 0
    assert not failures.is_cut_off


def test_polls_are_given_little_time_until_the_service_is_slow(failures: PollFailures) -> None:
    """For each kind of query by itself; fast answers end it. A shorter time of an attempt is never exceeded."""
    state = TaskState("a")
    assert failures.timeout(state) == failures.timeout(None) == POLL_TIMEOUT_S
    failures.failed(TIMED_OUT, state, NOW, POLL_TIMEOUT_S)
    assert failures.timeout(state) == POLL_TIMEOUT_S, "one may be a dead connection"
    failures.failed(TIMED_OUT, state, NOW, POLL_TIMEOUT_S)
    assert (failures.timeout(state), failures.timeout(None)) == (30.0, POLL_TIMEOUT_S)
    failures.answered(state, 25.0)
    assert failures.timeout(state) == 30.0
    failures.answered(state, 0.1)
    assert failures.timeout(state) == POLL_TIMEOUT_S
    assert PollFailures(RetryPolicy(), 5.0).timeout(state) == 5.0


def test_a_process_is_cut_off_after_some_failures_or_one_timeout(failures: PollFailures) -> None:
    for _ in range(FAILURES_TO_STEP_DOWN - 1):
        failures.failed(DROPPED, None, NOW, 0.1)
    assert not failures.is_cut_off
    failures.failed(DROPPED, TaskState("a"), NOW, 0.1)
    assert failures.is_cut_off
    failures.answered(None, 0.1)
    assert not failures.is_cut_off
    failures.failed(TIMED_OUT, None, NOW, POLL_TIMEOUT_S)
    assert failures.is_cut_off
