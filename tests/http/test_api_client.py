"""One API call from start to end: what is repeated, what is not, and what is held when it is cut short."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any

import aiohttp
import pytest

from aivideomaker_async import (
    APIError,
    AuthenticationFailed,
    BadResponse,
    ConfigurationError,
    ConnectFailed,
    Disconnected,
    InsufficientCredits,
    InvalidRequest,
    Priority,
    RateLimited,
    RateLimiter,
    RequestTimeout,
    RetryPolicy,
    ServerError,
)
from aivideomaker_async._http import (
    AllTasks,
    ApiClient,
    Request,
    Sending,
    cancel_task,
    get_account,
    get_status,
    get_task,
    quote_price,
)
from tests.support.api import BytesBody, api_client_of, submit_request
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import assert_no_request_in_flight, settle
from tests.support.limiters import now
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply, one_by_one, row, submitted

pytestmark = pytest.mark.anyio

QUERY = get_status("ck1")
CANCEL = cancel_task("ck1")
SUBMIT = submit_request()
REQUESTS: dict[str, Request[Any]] = {"query": QUERY, "cancel": CANCEL, "submit": SUBMIT}
COMPLETED = Reply(body={"status": "COMPLETED"})


async def call(api: ApiClient, request: Request[Any] = QUERY, *, timeout: float | None = None) -> Any:
    return await api.call(request, api.deadline(timeout))


def good_answer(arrival: Arrival) -> Action:
    """Answer every request well."""
    if arrival.method == "POST":
        return submitted()
    if arrival.path.endswith("/tasks"):
        return Reply(body={"tasks": [row("ck1", "COMPLETED")]})
    return Reply(body=row("ck1", "CANCEL" if arrival.method == "PUT" else "COMPLETED"))


# --- retries: the decisions are tested with `retry` --------------------------------------------------

LOST: list[tuple[Action, type[Exception]]] = [
    (Drop(), Disconnected),
    (Hang(), RequestTimeout),
    (Reply(500, {"status": "FAILED", "message": "our fault"}), ServerError),
    (Reply(200, b"nonsense"), BadResponse),
]
lost = pytest.mark.parametrize(("action", "kind"), LOST, ids=[kind.__name__ for _, kind in LOST])


@lost
@pytest.mark.parametrize("name", ["query", "cancel"])
async def test_a_call_whose_answer_is_lost_is_repeated(name: str, action: Action, kind: type[Exception]) -> None:
    del kind
    async with api_client_of(one_by_one([action, action, COMPLETED])) as (service, api):
        assert await call(api, REQUESTS[name]) == "COMPLETED"
    assert service.paths() == [f"{REQUESTS[name].method} {REQUESTS[name].path}"] * 3


@lost
async def test_after_the_last_attempt_the_error_is_raised(action: Action, kind: type[Exception]) -> None:
    async with api_client_of(lambda _: action, policy=RetryPolicy(max_attempts=3)) as (service, api):
        with pytest.raises(kind):
            await call(api)
    assert len(service.arrivals) == 3


@lost
async def test_a_submit_whose_answer_is_lost_is_not_repeated(action: Action, kind: type[Exception]) -> None:
    """The caller learns from `sending` that its outcome is unknown."""
    sending = Sending()
    async with api_client_of(lambda _: action) as (service, api):
        with pytest.raises(kind):
            await api.call(SUBMIT, api.deadline(), sending=sending)
    assert len(service.arrivals) == 1
    assert sending.sent


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("status", [200, 302, 400])
async def test_a_refusal_is_raised_at_once(name: str, status: int) -> None:
    """A 200 that reports an error is a refusal too. Its outcome is known."""
    sending = Sending()
    refusal = Reply(status, {"status": "FAILED", "message": "Insufficient credits"})
    async with api_client_of(lambda _: refusal) as (service, api):
        with pytest.raises(InsufficientCredits) as caught:
            await api.call(REQUESTS[name], api.deadline(), sending=sending)
    assert (caught.value.status, caught.value.path) == (status, REQUESTS[name].path)
    assert len(service.arrivals) == 1
    assert not sending.sent


@pytest.fixture
def failing_connections(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """For each item, one attempt to connect fails."""
    failures: list[None] = []
    connect = aiohttp.TCPConnector._create_connection

    async def flaky(self: aiohttp.TCPConnector, *arguments: Any) -> Any:
        if failures:
            failures.pop()
            raise aiohttp.ClientConnectorError(arguments[0].connection_key, OSError(111, "refused"))
        return await connect(self, *arguments)

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", flaky)
    return failures


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_that_was_never_sent_is_repeated(name: str, failing_connections: list[None]) -> None:
    """Also a submit."""
    failing_connections += [None] * 3
    async with api_client_of(good_answer) as (service, api):
        await call(api, REQUESTS[name])
    assert len(service.arrivals) == 1


@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_that_could_never_be_sent_promises_so_and_does_not_count(
    name: str, failing_connections: list[None]
) -> None:
    failing_connections += [None] * 4
    changes: list[bool] = []
    sending = Sending(changes.append)
    async with api_client_of(good_answer) as (service, api):
        with pytest.raises(ConnectFailed) as caught:
            await api.call(REQUESTS[name], api.deadline(), sending=sending)
        assert api.limiter.statistics().in_window == 0
    assert service.arrivals == []
    assert not caught.value.sent
    assert not sending.sent and changes == []


async def test_pauses_between_attempts_follow_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.random", lambda: 0.5)
    policy = RetryPolicy(max_attempts=4, first_pause=100.0, longest_pause=300.0)
    async with api_client_of(lambda _: Drop(), policy=policy) as (service, api):
        with pytest.raises(Disconnected):
            await call(api)
    times = [item.at for item in service.arrivals]
    assert [after - before for before, after in pairwise(times)] == pytest.approx([50, 100, 150], abs=1)


# --- 429 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        # By the clock of the service.
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:44 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, 7),
        ({}, 5),
    ],
    ids=["until a moment", "unspecified"],
)
async def test_a_429_pauses_every_query(headers: dict[str, str], seconds: float) -> None:
    refusal = Reply(429, headers=headers)
    async with api_client_of(one_by_one([refusal, COMPLETED])) as (service, api):
        first = asyncio.ensure_future(call(api))
        await service.arrival()
        await asyncio.gather(first, call(api, get_status("ck2")))
    times = [item.at for item in service.arrivals]
    assert len(times) == 3
    assert all(at - times[0] >= seconds for at in times[1:])


@pytest.mark.parametrize("code", [None, "INSUFFICIENT_CREDITS"])
async def test_a_429_that_lasts_beyond_the_deadline_is_raised_at_once(code: str | None) -> None:
    """With the time that the service named. The pause holds for others all the same, whatever the code."""
    refusal = Reply(429, {"status": "FAILED", "message": "slow down", "errorCode": code}, {"Retry-After": "90"})
    async with api_client_of(lambda _: refusal) as (service, api):
        began = now()
        with pytest.raises(RateLimited) as caught:
            await call(api, timeout=60)
        assert now() == began
        assert caught.value.retry_after == 90
        assert api.limiter.statistics().paused_for > 80
    assert len(service.arrivals) == 1


async def test_a_submit_refused_with_429_is_repeated_with_the_same_key_when_its_pause_is_over() -> None:
    """Other submits wait as well; queries, which have a limit of their own, do not."""
    submits: list[Action] = [Reply(429, headers={"Retry-After": "30"}), submitted("ck1"), submitted("ck2")]

    def handle(arrival: Arrival) -> Action:
        return COMPLETED if arrival.method == "GET" else submits.pop(0)

    async with api_client_of(handle) as (service, api):
        first = asyncio.ensure_future(call(api, SUBMIT))
        await service.arrival()
        await asyncio.gather(first, call(api, submit_request(idempotency_key="another-key")), call(api))
        assert api.limiter.statistics().rejected == 0
    refused, query, *later = service.arrivals
    assert (refused.method, query.method) == ("POST", "GET")
    assert query.at - refused.at < 5
    assert all(item.at - refused.at >= 30 for item in later)
    assert sorted(item.headers["idempotency-key"] for item in later) == ["another-key", "key-of-a-submit"]


async def test_a_service_that_keeps_answering_retry_after_0_is_asked_ever_more_slowly() -> None:
    async with api_client_of(lambda _: Reply(429, headers={"Retry-After": "0"})) as (service, api):
        with pytest.raises(RateLimited):
            await call(api, SUBMIT, timeout=60)
    assert 5 < len(service.arrivals) < 20


# --- deadlines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("timeout", "ends_at"), [(95.0, 95.0), (None, 50.0)])
async def test_the_deadline_covers_all_attempts_and_pauses(timeout: float | None, ends_at: float) -> None:
    """Without a timeout of its own, a call has that of the client."""
    policy = RetryPolicy(max_attempts=100)
    async with api_client_of(lambda _: Hang(), policy=policy, call_timeout=50) as (_, api):
        began = now()
        with pytest.raises(RequestTimeout):
            await call(api, timeout=timeout)
        assert ends_at - 10 <= now() - began <= ends_at + 0.1


async def test_an_attempt_ends_with_its_timeout_and_is_repeated() -> None:
    async with api_client_of(one_by_one([Reply(delay=8), COMPLETED]), attempt_timeout=5) as (service, api):
        assert await call(api) == "COMPLETED"
    assert 5 <= service.arrivals[1].at - service.arrivals[0].at <= 6


async def test_a_submit_that_would_have_no_time_to_learn_its_outcome_is_not_sent() -> None:
    async with api_client_of(one_by_one([Reply(429, headers={"Retry-After": "9.3"}), Hang()])) as (service, api):
        with pytest.raises((RequestTimeout, RateLimited)):
            await call(api, SUBMIT, timeout=10)
    assert len(service.arrivals) == 1


async def test_a_submit_without_time_to_learn_its_outcome_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting makes it only later."""
    monkeypatch.setattr("random.random", lambda: 0.5)
    async with api_client_of(good_answer) as (service, api):
        deadline = api.deadline(60)
        # In virtual time.
        await asyncio.sleep(59.1)
        began = now()
        with pytest.raises(RequestTimeout, match="nothing was sent"):
            await api.call(SUBMIT, deadline)
        assert now() == began
    assert service.arrivals == []


async def test_a_wait_before_something_else_is_done_ends_with_the_deadline() -> None:
    async with api_client_of(good_answer) as (_, api):
        await api.sleep(QUERY, 100, api.deadline(200))
        with pytest.raises(RequestTimeout):
            await api.sleep(QUERY, 100, api.deadline(50))


# --- permits -----------------------------------------------------------------------------------------


async def test_a_query_that_was_cancelled_before_it_was_sent_returns_its_permit() -> None:
    async with api_client_of(lambda _: COMPLETED, limiter=RateLimiter(1, 60.0)) as (service, api):
        query = asyncio.ensure_future(call(api))
        await asyncio.sleep(0)
        query.cancel()
        await asyncio.wait([query])
        assert api.limiter.statistics().in_window == 0
    assert service.arrivals == []


async def test_a_query_that_was_cancelled_after_it_was_sent_counts() -> None:
    """For a whole window, and for as long as it may be on its way."""
    async with api_client_of(one_by_one([Hang(), COMPLETED]), limiter=RateLimiter(1, 60.0)) as (service, api):
        query = asyncio.ensure_future(call(api))
        await service.arrival()
        cancelled_at = now()
        query.cancel()
        await asyncio.wait([query])
        await call(api)
    assert service.arrivals[1].at - cancelled_at >= 65


async def test_a_reader_that_cannot_be_made_holds_no_permit() -> None:
    def broken() -> AllTasks:
        raise ZeroDivisionError

    async with api_client_of(good_answer) as (_, api):
        with pytest.raises(ZeroDivisionError):
            await api.read_list(broken, api.deadline())


async def test_a_single_attempt_uses_its_permit_and_is_not_repeated() -> None:
    limiter = RateLimiter(60, burst=10)
    async with api_client_of(one_by_one([Drop(), Reply(400), COMPLETED]), limiter=limiter) as (service, api):
        for kind in (Disconnected, InvalidRequest):
            with pytest.raises(kind):
                await api.attempt(QUERY, permit=await api.acquire(Priority.BACKGROUND), timeout=5)
        assert await api.attempt(QUERY, permit=await api.acquire(Priority.FOREGROUND), timeout=5) == "COMPLETED"
        assert limiter.statistics().in_flight == 0
        assert limiter.statistics().in_window == 3
    assert len(service.arrivals) == 3


async def test_a_single_attempt_at_the_list_fills_its_reader() -> None:
    async with api_client_of(one_by_one([Reply(body={"tasks": [row("a", "PROGRESS")]}), Drop()])) as (_, api):
        reader = AllTasks()
        permit = await api.acquire(Priority.BACKGROUND)
        assert await api.attempt_list(reader, permit=permit, timeout=5) is reader
        assert [task.id for task in reader.tasks] == ["a"]
        with pytest.raises(Disconnected):
            await api.attempt_list(AllTasks(), permit=await api.acquire(Priority.BACKGROUND), timeout=5)


# --- answers -----------------------------------------------------------------------------------------


async def test_an_answer_that_cannot_be_decoded_names_the_call_and_the_place() -> None:
    async with api_client_of(lambda _: Reply(200, {"state": "?"}), policy=RetryPolicy(max_attempts=1)) as (_, api):
        with pytest.raises(BadResponse) as caught:
            await call(api)
    assert str(caught.value) == (
        "GET /api/v1/tasks/ck1/status: the answer (200) cannot be understood: required field missing @ $.status"
    )


async def test_each_attempt_at_the_list_has_a_reader_of_its_own() -> None:
    """A list that broke off leaves nothing in the next."""
    whole = {"tasks": [row(name, "PROGRESS") for name in "abc"]}
    async with api_client_of(one_by_one([Reply(200, whole, cut=300), Reply(200, whole)])) as (service, api):
        reader = await api.read_list(AllTasks, api.deadline())
        assert [task.id for task in reader.tasks] == ["a", "b", "c"]
    assert len(service.arrivals) == 2


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (Reply(200, {"status": "FAILED", "message": "down"}), APIError, "200: down"),
        (Reply(401, {"message": "no"}), AuthenticationFailed, "401: no"),
        (Reply(200, {"tasks": 5}), BadResponse, r"expected a list of tasks @ \$\.tasks: 5"),
    ],
)
async def test_a_list_that_is_an_error_or_malformed_is_raised_as_such(
    answer: Action, kind: type[Exception], message: str
) -> None:
    async with api_client_of(lambda _: answer, policy=RetryPolicy(max_attempts=1)) as (_, api):
        with pytest.raises(kind, match=message):
            await api.read_list(AllTasks, api.deadline())


async def test_each_exchange_and_each_retry_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aivideomaker_async.http")
    answers: list[Action] = [Reply(500, b"xyz"), COMPLETED, Reply(body={"tasks": []})]
    async with api_client_of(one_by_one(answers)) as (_, api):
        await call(api)
        await api.read_list(AllTasks, api.deadline())
    failed, retried, succeeded, listed = caplog.messages
    assert failed == "GET /api/v1/tasks/ck1/status: 500, 3 bytes"
    assert retried.startswith("GET /api/v1/tasks/ck1/status: 500: no reason given")
    assert "; attempt 1, next in " in retried
    assert succeeded == "GET /api/v1/tasks/ck1/status: 200, 23 bytes"
    assert listed == "GET /api/v1/tasks: 200, 13 bytes"


# --- connections -------------------------------------------------------------------------------------


async def test_a_submit_has_a_connection_of_its_own() -> None:
    """The service may close a kept connection at the wrong moment, which would leave the outcome unknown."""
    async with api_client_of(good_answer) as (service, api):
        for _ in range(2):
            await call(api, QUERY)
            await call(api, SUBMIT)
    assert [item.connection for item in service.arrivals] == [1, 2, 1, 3]


async def test_many_submits_at_once_take_turns() -> None:
    """None times out while it waits for a slot."""
    slow = Reply(body=submitted().body, delay=20)
    async with api_client_of(lambda _: slow) as (service, api):
        await asyncio.gather(*(call(api, SUBMIT) for _ in range(100)))
    assert len(service.arrivals) == 100


async def test_a_session_of_the_caller_is_used_for_everything_and_left_open() -> None:
    async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as http:
        async with api_client_of(good_answer, http=http) as (service, api):
            for request in REQUESTS.values():
                await call(api, request)
        assert not http.closed
    assert [item.headers["x-mine"] for item in service.arrivals] == ["yes"] * 3


async def test_a_session_of_the_caller_that_raises_for_statuses_changes_nothing() -> None:
    """Its exception would make a refused submit an unknown outcome."""
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        async with api_client_of(lambda _: Reply(402), http=http) as (_, api):
            with pytest.raises(InsufficientCredits):
                await call(api, SUBMIT)


async def test_a_session_of_the_caller_that_is_closed_under_a_call_is_named() -> None:
    async with aiohttp.ClientSession() as http:
        async with api_client_of(lambda _: Hang(), http=http) as (service, api):
            query = asyncio.ensure_future(call(api))
            await service.arrival()
            await http.close()
            for request in (query, call(api, SUBMIT)):
                with pytest.raises(ConfigurationError, match="`http` is closed"):
                    await request


# --- closing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"), [("query", ConfigurationError), ("cancel", ConfigurationError), ("submit", Disconnected)]
)
async def test_closing_ends_a_call_in_flight(name: str, kind: type[Exception]) -> None:
    """A submit that was sent reports the lost answer instead: its outcome is unknown."""
    async with api_client_of(lambda _: Hang()) as (service, api):
        pending = asyncio.ensure_future(call(api, REQUESTS[name]))
        await service.arrival()
        began = now()
        await api.aclose()
        with pytest.raises(kind, match="closed"):
            await pending
        assert now() - began < 1


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.usefixtures("never_connected")
async def test_closing_ends_a_call_that_is_still_connecting(name: str) -> None:
    async with api_client_of(good_answer) as (_, api):
        pending = asyncio.ensure_future(call(api, REQUESTS[name]))
        await settle()
        await api.aclose()
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await pending


async def test_closing_ends_all_calls_that_wait() -> None:
    """For Retry-After, for the limiter and for a slot: a shutdown waits for none of them."""
    async with api_client_of(lambda _: Reply(429, headers={"Retry-After": "300"})) as (_, api):
        waiting = [asyncio.ensure_future(call(api, request)) for request in REQUESTS.values() for _ in range(40)]
        waiting.append(asyncio.ensure_future(api.sleep(QUERY, 1000)))
        # In virtual time; the first of them were refused by then.
        await asyncio.sleep(5)
        began = now()
        await asyncio.gather(api.aclose(), api.aclose())
        errors = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(error) for error in errors} == {ConfigurationError}
        assert now() == began


# --- cancellation ------------------------------------------------------------------------------------


CALLS: dict[str, Callable[[ApiClient], Coroutine[Any, Any, object]]] = {
    "status": lambda api: call(api, QUERY),
    "details": lambda api: call(api, get_task("ck1")),
    "submit": lambda api: call(api, SUBMIT),
    "cancel": lambda api: call(api, CANCEL),
    "quote": lambda api: call(api, quote_price("t2v", BytesBody(bytes(200_000)))),
    "list": lambda api: api.read_list(AllTasks, api.deadline()),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_cancelled_at_any_await_holds_nothing(name: str) -> None:
    """Also between the attempts."""
    answers = 0

    def every_other(arrival: Arrival) -> Action:
        nonlocal answers
        answers += 1
        if arrival.method == "POST" and "quote" in arrival.path:
            return Reply(body={"credits": 5})
        return good_answer(arrival) if arrival.method == "POST" or answers % 2 else Reply(500)

    async with api_client_of(every_other, limiter=RateLimiter(100_000, 1.0, burst=10_000)) as (_, api):
        await cancel_everywhere(lambda: CALLS[name](api), lambda: assert_no_request_in_flight(api), at_least=3)


# --- clocks ------------------------------------------------------------------------------------------


async def test_the_clock_of_the_service_is_known_from_its_last_answer() -> None:
    """It is ahead of this machine by that offset. Without a usable date, the clock of this machine is used."""
    answers = [Reply(401, headers={"Date": "Fri, 31 Dec 2999 23:59:59 GMT"})]
    answers += [Reply(401), Reply(401, headers={"Date": "yesterday"})]
    async with api_client_of(one_by_one(answers)) as (_, api):
        assert api.loop_time() is None, "it was not used yet"
        assert api.clock_offset() is None
        for expected in (32503679999, None, None):
            with pytest.raises(AuthenticationFailed):
                await call(api, get_account())
            assert api.service_time() == pytest.approx(expected or time.time(), abs=5)
            assert (api.clock_offset() is None) is (expected is None)
        assert api.loop_time() == now()
