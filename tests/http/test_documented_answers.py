"""Every answer that a revision documents, on every call of the client, over real HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aivideomaker_async import (
    AIVideoMaker,
    APIError,
    AuthenticationFailed,
    BudgetExceeded,
    ContentRejected,
    EndpointNotFound,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    RateLimited,
    RateLimiter,
    ServerError,
    TaskNotFound,
    TextToVideo,
)
from aivideomaker_async.simulator.contract import REVISIONS
from aivideomaker_async.simulator.openapi import document
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import Arrival, Reply, scripted

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="A fox", aspect_ratio="16:9", duration=5)

CALLS: dict[str, Callable[[AIVideoMaker], Awaitable[object]]] = {
    "generate_t2v": lambda client: client.submit(SPEC, timeout=20),
    "quote_t2v": lambda client: client.quote(SPEC, timeout=20),
    "get_account": lambda client: client.account(timeout=20),
    "list_tasks": lambda client: client.list_tasks(timeout=20),
    "get_task": lambda client: client.get_task("ck1", timeout=20),
    "get_status": lambda client: client.get_status("ck1", timeout=20),
    "cancel_task": lambda client: client.cancel("ck1", timeout=20),
}

CODES: dict[int, dict[str | None, type[APIError]]] = {
    400: {"INVALID_MODEL": InvalidRequest, "INVALID_PAYLOAD": InvalidRequest, None: InvalidRequest},
    401: {"AUTH_FAILED": AuthenticationFailed, None: AuthenticationFailed},
    402: {"INSUFFICIENT_CREDITS": InsufficientCredits, None: InsufficientCredits},
    403: {"AUTH_FAILED": AuthenticationFailed, None: AuthenticationFailed},
    404: {None: EndpointNotFound},
    405: {None: APIError},
    409: {"IDEMPOTENCY_CONFLICT": IdempotencyConflict, None: IdempotencyConflict},
    413: {None: APIError},
    415: {"INVALID_PAYLOAD": InvalidRequest, None: APIError},
    422: {"BUDGET_EXCEEDED": BudgetExceeded, "CONTENT_REJECTED": ContentRejected, None: ContentRejected},
    429: {"RATE_LIMITED": RateLimited, None: RateLimited},
    500: {None: ServerError},
    503: {None: ServerError},
}
"""The error class of each documented status and code. None stands for an answer without a code."""

ABOUT_A_TASK = {"get_task", "get_status", "cancel_task"}


def documented() -> list[Any]:
    """Return operation and status of all documented refusals, of both revisions. All models have the same answers."""
    found = {
        (operation["operationId"], int(status))
        for revision in REVISIONS.values()
        for path in document(revision, "http://127.0.0.1:1")["paths"].values()  # type: ignore[attr-defined]
        for method, operation in path.items()
        if method != "parameters" and operation["operationId"] in CALLS
        for status in operation["responses"]
        if status != "200"
    }
    return sorted(found)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


def test_every_documented_call_and_status_has_its_row_here() -> None:
    assert {name for name, _ in documented()} == set(CALLS)
    assert {status for _, status in documented()} <= set(CODES)


CASES = [
    (name, status, code)
    for name, status in sorted({*documented(), *((name, status) for name in CALLS for status in (403, 405))})
    for code in CODES[status]
]


@pytest.mark.parametrize(("name", "status", "code"), CASES)
async def test_each_documented_refusal_is_an_error_of_its_class(name: str, status: int, code: str | None) -> None:
    """With the message of the service, which names the field, and its code. It is not repeated."""
    message = "Invalid payload: duration must be one of 5, 8"
    body = {"status": "FAILED", "message": message} | ({"errorCode": code, "error": message} if code else {})
    reply = Reply(status, body, {"Retry-After": "60"} if status == 429 else {})
    async with scripted(lambda _: reply) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            with pytest.raises(APIError) as caught:
                await CALLS[name](client)
            await assert_nothing_held(client)
    error = caught.value
    expected = TaskNotFound if status == 404 and name in ABOUT_A_TASK else CODES[status][code]
    assert type(error) is expected
    assert (error.status, error.code, error.message) == (status, code, message)
    assert error.retry_after == (60.0 if status == 429 else None)
    # A cancel that is refused queries the status of the task.
    assert len(service.arrivals) == (2 if name == "cancel_task" and status != 429 else 1)


@pytest.mark.parametrize("name", CALLS)
async def test_a_200_that_reports_an_error_is_a_refusal(name: str) -> None:
    """The 2026-03 revision documents no status for errors."""
    reply = Reply(200, {"status": "FAILED", "message": "Insufficient credits"})
    async with scripted(lambda _: reply) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            with pytest.raises(InsufficientCredits, match="Insufficient credits"):
                await CALLS[name](client)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_query_that_the_service_fails_to_answer_is_repeated(status: int) -> None:
    """A submit is not: the task list is searched for its task instead."""

    def answer(arrival: Arrival) -> Reply:
        if arrival.method == "POST" and "/generate/" in arrival.path:
            return Reply(status)
        return Reply(body={"tasks": []}) if arrival.path.endswith("/tasks") else Reply(status)

    async with scripted(answer) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            for name in sorted(set(CALLS) - {"list_tasks"}):
                with pytest.raises(APIError) as caught:
                    await CALLS[name](client)
                assert type(caught.value) is ServerError
                assert sum(item.path == service.arrivals[-1].path for item in service.arrivals) > 1
