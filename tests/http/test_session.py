"""One call from start to end: what is tried again, what is not, and what is held when it is cut short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from aivideomaker_async import (
    AIVideoMaker,
    APIError,
    AuthenticationFailed,
    BadResponse,
    BudgetExceeded,
    ConfigurationError,
    ConnectFailed,
    ContentRejected,
    Disconnected,
    EndpointNotFound,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    RateLimited,
    RateLimiter,
    RequestTimeout,
    RetryPolicy,
    ServerError,
    TaskNotFound,
    TaskStatus,
    TextToVideo,
)
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import (
    LOST_ANSWERS,
    Action,
    Drop,
    Handler,
    Hang,
    Reply,
    ScriptedService,
    one_by_one,
    row,
    scripted,
    submitted,
)

pytestmark = pytest.mark.anyio

KEY = "ak_secret_of_this_test"
SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)
DONE = Reply(body={"status": "COMPLETED"})


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


@asynccontextmanager
async def talking_to(handler: Handler, **options: Any) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    async with scripted(handler) as service:
        options = {"limiter": RateLimiter(), **options}
        async with AIVideoMaker(KEY, base_url=service.url, **options) as client:
            yield service, client
            await assert_nothing_held(client)


@pytest.mark.parametrize("action", [action for action in LOST_ANSWERS if "taskId" not in repr(action)], ids=repr)
async def test_a_query_whose_answer_is_lost_is_sent_again(action: Action) -> None:
    """Asking twice does no harm."""
    async with talking_to(one_by_one([action, action, DONE])) as (service, client):
        assert await client.get_status("ck1") == TaskStatus.COMPLETED
    assert service.paths() == ["GET /api/v1/tasks/ck1/status"] * 3


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Drop(), Disconnected),
        (Reply(500, {"status": "FAILED", "message": "our fault"}), ServerError),
        (Reply(200, b"nonsense"), BadResponse),
        (Hang(), RequestTimeout),
    ],
)
async def test_after_four_attempts_the_error_is_told(action: Action, kind: type[Exception]) -> None:
    """The service had its chances."""
    async with talking_to(lambda _: action) as (service, client):
        with pytest.raises(kind):
            await client.get_task("ck1")
    assert len(service.arrivals) == 4


REFUSALS: list[tuple[int, Any, type[APIError]]] = [
    (400, {"status": "FAILED", "message": "duration must be 5 or 8"}, InvalidRequest),
    (400, {"status": "FAILED", "errorCode": "INVALID_MODEL", "message": "no"}, InvalidRequest),
    (401, {"status": "FAILED", "message": "Invalid API key"}, AuthenticationFailed),
    (403, "<html>Forbidden</html>", AuthenticationFailed),
    (402, {"status": "FAILED", "message": "Insufficient credits"}, InsufficientCredits),
    (400, {"status": "FAILED", "message": "Insufficient credits"}, InsufficientCredits),
    (200, {"status": "FAILED", "message": "Insufficient credits"}, InsufficientCredits),
    (200, {"status": "FAILED", "message": "The prompt is too long"}, APIError),
    (404, {"status": "FAILED", "message": "no such model"}, EndpointNotFound),
    (405, b"", APIError),
    (409, {"status": "FAILED", "errorCode": "IDEMPOTENCY_CONFLICT", "message": "x"}, IdempotencyConflict),
    (422, {"status": "FAILED", "errorCode": "BUDGET_EXCEEDED", "message": "x"}, BudgetExceeded),
    (422, {"status": "FAILED", "message": "not this picture"}, ContentRejected),
    (302, b"", APIError),
]


@pytest.mark.parametrize(("status", "body", "kind"), REFUSALS)
async def test_a_refused_submit_is_an_error_and_is_sent_once(status: int, body: Any, kind: type[APIError]) -> None:
    """The service's message, code, method and path are there; the key is not."""
    async with talking_to(lambda _: Reply(status, body)) as (service, client):
        with pytest.raises(APIError) as caught:
            await client.submit(SPEC)
    assert type(caught.value) is kind
    assert len(service.arrivals) == 1
    assert (caught.value.status, caught.value.method) == (status, "POST")
    assert caught.value.path == "/api/v1/generate/t2v"
    if isinstance(body, dict):
        assert caught.value.message == body["message"]
        assert caught.value.code == body.get("errorCode")
    assert KEY not in str(caught.value) + repr(caught.value.__dict__)


async def test_a_submit_that_was_never_sent_is_tried_again() -> None:
    """A refused connection costs nothing; the same key goes out in the end."""
    async with scripted(lambda _: submitted()) as service:
        port = int(service.url.rpartition(":")[2])
    # Now nobody listens there, until somebody does.
    client = AIVideoMaker(KEY, base_url=f"http://127.0.0.1:{port}", limiter=RateLimiter())
    with pytest.raises(ConnectFailed):
        await client.submit(SPEC)
    await assert_nothing_held(client)
    await client.aclose()


async def test_a_submit_after_refused_connections_arrives_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two failed connections, then a good one: one submit at the service."""
    real = aiohttp.TCPConnector._create_connection
    failures = iter([True, True])

    async def flaky(self: aiohttp.TCPConnector, *arguments: Any) -> Any:
        if next(failures, False):
            raise aiohttp.ClientConnectorError(arguments[0].connection_key, OSError(111, "refused"))
        return await real(self, *arguments)

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", flaky)
    async with talking_to(lambda _: submitted()) as (service, client):
        task = await client.submit(SPEC)
    assert task.id == "ck1"
    assert len(service.arrivals) == 1


@pytest.mark.parametrize("told", ["7", "Sun, 06 Nov 1994 08:49:44 GMT"])
async def test_a_429_is_waited_out_by_everyone(told: str) -> None:
    """Retry-After as seconds or as a date: no query goes out before, whoever asks."""
    refused = Reply(429, headers={"Retry-After": told, "Date": "Sun, 06 Nov 1994 08:49:37 GMT"})
    async with talking_to(one_by_one([refused, DONE])) as (service, client):
        first = asyncio.ensure_future(client.get_status("ck1"))
        await service.arrival()
        await asyncio.gather(first, client.get_status("ck2"))
    times = [item.at for item in service.arrivals]
    assert all(at - times[0] >= 7 for at in times[1:])


async def test_a_429_later_than_the_deadline_is_told_at_once() -> None:
    """Who cannot wait that long hears now, with the time that the service named."""
    async with talking_to(lambda _: Reply(429, headers={"Retry-After": "90"})) as (service, client):
        with pytest.raises(RateLimited) as caught:
            await client.get_status("ck1", timeout=60)
        assert caught.value.retry_after == 90
        assert client.statistics().limiter.paused_for > 80
    assert len(service.arrivals) == 1


async def test_a_429_on_submit_is_tried_again_with_the_same_key() -> None:
    """It was not created. Submits wait, and queries, which have a limit of their own, do not."""
    actions: list[Action] = [Reply(429, headers={"Retry-After": "30"}), submitted("ck1"), submitted("ck2")]

    def handle(arrival: Any) -> Action:
        return DONE if arrival.method == "GET" else actions.pop(0)

    async with talking_to(handle) as (service, client):
        first = asyncio.ensure_future(client.submit(SPEC))
        await service.arrival()
        await asyncio.gather(first, client.submit(SPEC), client.get_status("ck1"))
        assert client.statistics().limiter.rejected == 0
    posts = [item for item in service.arrivals if item.method == "POST"]
    assert [posts[0].at + 30 <= item.at for item in posts[1:]] == [True, True]
    keys = [item.headers["idempotency-key"] for item in posts]
    assert sorted(map(keys.count, keys)) == [1, 2, 2], "the refused submit kept its key, the other has its own"
    assert next(item.at for item in service.arrivals if item.method == "GET") - posts[0].at < 5


async def test_the_deadline_of_a_call_covers_all_its_attempts() -> None:
    """However often it is tried: the call ends in time."""
    loop = asyncio.get_running_loop()
    async with talking_to(lambda _: Hang(), retries=RetryPolicy(max_attempts=100)) as (_, client):
        began = loop.time()
        with pytest.raises(RequestTimeout):
            await client.get_status("ck1", timeout=95)
        assert loop.time() - began <= 95.1


async def test_a_call_that_never_gets_its_turn_says_so() -> None:
    """The wait for the limit counts, and the error tells it from a service that does not answer."""
    limiter = RateLimiter(1, 1000.0)
    async with talking_to(lambda _: DONE, limiter=limiter) as (service, client):
        await client.get_status("ck1")
        with pytest.raises(RequestTimeout, match="its turn") as caught:
            await client.get_status("ck1", timeout=10)
        assert not caught.value.sent
    assert len(service.arrivals) == 1


async def test_a_submit_that_never_gets_its_turn_is_no_unknown_outcome() -> None:
    """Nothing was sent, so nothing can have been bought."""
    refused = Reply(429, headers={"Retry-After": "500"})
    async with talking_to(lambda _: refused) as (service, client):
        with pytest.raises(RateLimited):
            await client.submit(SPEC, timeout=10)
        with pytest.raises(RequestTimeout) as caught:
            await client.submit(SPEC, timeout=10)
        assert not caught.value.sent
    assert len(service.arrivals) == 1


async def test_a_time_out_is_for_one_attempt() -> None:
    """A slow answer is given up after `timeout` seconds and asked for again."""
    async with talking_to(one_by_one([Reply(delay=8), DONE]), timeout=5) as (service, client):
        assert await client.get_status("ck1") == "COMPLETED"
    assert 5 <= service.arrivals[1].at - service.arrivals[0].at <= 6


async def test_a_submit_travels_on_a_connection_of_its_own() -> None:
    """A kept connection that the service closes at the wrong moment would leave the outcome unknown."""

    def handle(arrival: Any) -> Action:
        return submitted() if arrival.method == "POST" else DONE

    async with talking_to(handle) as (service, client):
        for _ in range(2):
            await client.get_status("ck1")
            await client.submit(SPEC)
    assert [item.connection for item in service.arrivals] == [1, 2, 1, 3]


async def test_many_submits_at_once_all_go_through() -> None:
    """More submits than places: they take turns, and none times out while it waits."""
    numbers = iter(range(1000))

    def slow(_: object) -> Action:
        answer = submitted(f"ck{next(numbers)}")
        return Reply(body=answer.body, delay=20)

    async with talking_to(slow) as (service, client):
        tasks = await asyncio.gather(*(client.submit(SPEC) for _ in range(100)))
    assert len({task.id for task in tasks}) == len(service.arrivals) == 100


CALLS: dict[str, Callable[[AIVideoMaker], Any]] = {
    "get_status": lambda client: client.get_status("ck1"),
    "get_task": lambda client: client.get_task("ck1"),
    "list_tasks": lambda client: client.list_tasks(),
    "submit": lambda client: client.submit(SPEC),
    "cancel": lambda client: client.cancel("ck1"),
    "account": lambda client: client.account(),
    "quote": lambda client: client.quote(SPEC),
    "result": lambda client: client.task("ck1").result(),
    "generate": lambda client: client.generate(SPEC),
}


def whole_service(arrival: Any) -> Action:
    if arrival.method == "POST" and "quote" in arrival.path:
        return Reply(body={"model": "t2v", "credits": 8})
    if arrival.method == "POST":
        return submitted()
    if arrival.path.endswith("/cancel"):
        return Reply(400, {"status": "FAILED", "message": "too late"})
    if arrival.path.endswith("/status"):
        return DONE
    if arrival.path.endswith("/account"):
        return Reply(body={"currentBalance": 5})
    finished = row("ck1", "COMPLETED")
    return Reply(body={"tasks": [finished]} if arrival.path.endswith("/tasks") else finished)


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_is_cancelled_anywhere_holds_nothing(name: str) -> None:
    """At each of its awaits: no permit, no place, no waiter, no background task is left."""
    limiter = RateLimiter(100_000, 1.0, burst=10_000)
    async with talking_to(whole_service, limiter=limiter) as (_, client):
        await cancel_everywhere(lambda: CALLS[name](client), lambda: assert_nothing_held(client), at_least=3)


async def test_a_cancelled_query_that_was_not_sent_gives_its_permit_back() -> None:
    """Nothing counts against the window that did not leave."""
    async with talking_to(lambda _: DONE, limiter=RateLimiter(1, 60.0)) as (service, client):
        task = asyncio.ensure_future(client.get_status("ck1"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert client.statistics().limiter.in_window == 0
        assert service.arrivals == []


async def test_a_cancelled_query_that_was_sent_counts() -> None:
    """The service may have counted it, so it counts here for a whole window and the time that it may be on its way."""
    loop = asyncio.get_running_loop()
    async with talking_to(one_by_one([Hang(), DONE]), limiter=RateLimiter(1, 60.0)) as (service, client):
        task = asyncio.ensure_future(client.get_status("ck1"))
        await service.arrival()
        cancelled_at = loop.time()
        task.cancel()
        await asyncio.wait([task])
        await client.get_status("ck1")
        assert service.arrivals[1].at - cancelled_at >= 65


async def test_a_cancelled_submit_under_way_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Its task may exist: the log names the key that finds it."""
    async with talking_to(lambda _: Hang()) as (service, client):
        task = asyncio.ensure_future(client.submit(SPEC, idempotency_key="key-of-a-lost-one"))
        await service.arrival()
        task.cancel()
        await asyncio.wait([task])
    assert "key-of-a-lost-one" in caplog.text


async def test_a_session_of_the_caller_is_used_and_left_open() -> None:
    """Proxies, certificates and pools are the caller's business, and so is closing."""
    async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as http:
        async with talking_to(lambda _: DONE, http=http) as (service, client):
            await client.get_status("ck1")
        assert not http.closed
    assert service.arrivals[0].headers["x-mine"] == "yes"


async def test_a_closed_client_says_that_it_is_closed() -> None:
    """Every call of a closed client raises the same clear error, and closing twice is fine."""
    client = AIVideoMaker(KEY, base_url="http://127.0.0.1:9", limiter=RateLimiter())
    await client.aclose()
    await client.aclose()
    for call in CALLS.values():
        with pytest.raises(ConfigurationError, match="closed"):
            await call(client)
    with pytest.raises(ConfigurationError, match="closed"):
        async with client:
            pass


async def test_closing_ends_calls_under_way() -> None:
    """A call that is in flight when the client is closed fails; it does not hang."""
    async with scripted(lambda _: Hang()) as service:
        client = AIVideoMaker(KEY, base_url=service.url, limiter=RateLimiter())
        call = asyncio.ensure_future(client.get_status("ck1"))
        await service.arrival()
        await client.aclose()
        with pytest.raises((ConfigurationError, Disconnected)):
            await call
        await assert_nothing_held(client)


async def test_closing_ends_calls_that_wait() -> None:
    """For Retry-After, for the limit, for a place among the submits: nobody hangs in a shutdown."""
    loop = asyncio.get_running_loop()
    async with scripted(lambda _: Reply(429, headers={"Retry-After": "300"})) as service:
        client = AIVideoMaker(KEY, base_url=service.url, limiter=RateLimiter())
        calls = [asyncio.ensure_future(call(client)) for call in CALLS.values()]
        await asyncio.sleep(5)
        began = loop.time()
        await asyncio.gather(client.aclose(), client.aclose())
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(error) for error in errors} <= {ConfigurationError, RateLimited}
        assert sum(isinstance(error, ConfigurationError) for error in errors) >= 7
        assert loop.time() == began
        await assert_nothing_held(client)


async def test_a_caller_s_session_that_raises_for_statuses_changes_nothing() -> None:
    """402 is 402, and no unknown outcome."""
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        async with talking_to(lambda _: Reply(402), http=http) as (_, client):
            with pytest.raises(InsufficientCredits):
                await client.submit(SPEC)


async def test_a_request_without_a_body_names_no_type_of_one() -> None:
    """PUT included, for which aiohttp would."""
    async with talking_to(lambda _: Reply(body={"status": "CANCEL", "taskId": "ck1"})) as (service, client):
        await client.cancel("ck1")
    assert "content-type" not in service.arrivals[0].headers


async def test_a_cancel_does_not_queue_behind_submits() -> None:
    """There are only seconds in which it works."""

    def handle(arrival: Any) -> Action:
        return Hang() if arrival.method == "POST" else Reply(body={"status": "CANCEL", "taskId": "ck1"})

    loop = asyncio.get_running_loop()
    async with talking_to(handle) as (_, client):
        submits = [asyncio.ensure_future(client.submit(SPEC)) for _ in range(40)]
        await asyncio.sleep(1)
        began = loop.time()
        assert (await client.cancel("ck1")).cancelled
        assert loop.time() - began < 1
        for submit in submits:
            submit.cancel()
        await asyncio.wait(submits)


async def test_a_retry_after_that_makes_no_sense_blocks_no_submits_for_good() -> None:
    """A pause lasts an hour at most."""
    actions: list[Action] = [Reply(429, headers={"Retry-After": "99999999999"}), submitted()]
    async with talking_to(one_by_one(actions)) as (_, client):
        with pytest.raises(RateLimited):
            await client.submit(SPEC)
        await asyncio.sleep(3600)
        assert (await client.submit(SPEC)).id == "ck1"


async def test_at_once_again_and_again_is_not_believed() -> None:
    """429 with Retry-After 0 for ever: asked again ever more slowly."""
    async with talking_to(lambda _: Reply(429, headers={"Retry-After": "0"})) as (service, client):
        with pytest.raises(RateLimited):
            await client.submit(SPEC, timeout=60)
    assert 5 < len(service.arrivals) < 20


async def test_a_submit_with_no_time_left_is_not_sent() -> None:
    """It could only become an unknown outcome."""
    async with talking_to(one_by_one([Reply(429, headers={"Retry-After": "9.3"}), Hang()])) as (service, client):
        with pytest.raises((RequestTimeout, RateLimited)):
            await client.submit(SPEC, timeout=10)
    assert len(service.arrivals) == 1


async def test_a_large_body_without_images_is_written_in_pieces() -> None:
    """A data URI in the fields of an unknown model; aiohttp would warn of it."""
    body = {"image": "data:image/png;base64," + "A" * 2_000_000}
    async with talking_to(lambda _: submitted()) as (service, client):
        await client.submit("new-model", body)
    assert service.arrivals[0].json() == body


async def test_a_404_of_a_task_and_of_an_endpoint_are_told_apart() -> None:
    """A task that is not there is another thing than a revision that lacks an endpoint."""
    async with talking_to(lambda _: Reply(404)) as (_, client):
        for missing_task in (client.get_status("ck1"), client.get_task("ck1"), client.cancel("ck1")):
            with pytest.raises(TaskNotFound):
                await missing_task
        for missing_endpoint in (client.account(), client.quote(SPEC), client.list_tasks()):
            with pytest.raises(EndpointNotFound):
                await missing_endpoint


async def test_a_key_that_the_service_tells_is_not_told_on() -> None:
    """Some services say which key was wrong."""
    echo = {"status": "FAILED", "message": f"Invalid API key: {KEY}", "errorCode": KEY}
    async with talking_to(one_by_one([Reply(401, echo), Reply(200, f'"{KEY}"')])) as (_, client):
        with pytest.raises(AuthenticationFailed, match="Invalid API key: <secret>") as refused:
            await client.get_status("ck1")
        with pytest.raises(BadResponse) as garbled:
            await client.get_status("ck1")
    for error in (refused.value, garbled.value):
        assert KEY not in f"{error} {error!r} {error.__dict__}"
