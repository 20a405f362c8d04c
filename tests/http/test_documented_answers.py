"""Every answer that a revision documents, on every call of the client, over real HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aivideomaker_async import (
    AIVideoMaker,
    APIError,
    AuthenticationFailed,
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
from tests.support.scripted import Reply, scripted

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


KINDS: dict[int, type[APIError]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    402: InsufficientCredits,
    403: AuthenticationFailed,
    404: EndpointNotFound,
    405: APIError,
    409: IdempotencyConflict,
    413: APIError,
    415: APIError,
    422: ContentRejected,
    429: RateLimited,
    500: ServerError,
    503: ServerError,
}
"""The error class of each documented status. What the codes add is tested where the errors are made."""

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


def test_every_documented_call_and_status_has_its_row_here() -> None:
    assert {name for name, _ in documented()} == set(CALLS)
    assert {status for _, status in documented()} <= set(KINDS)


CASES = sorted({*documented(), *((name, status) for name in CALLS for status in (403, 405))})


@pytest.mark.parametrize(("name", "status"), CASES)
async def test_each_documented_refusal_is_an_error_of_its_class(name: str, status: int) -> None:
    """With the message of the service, which names the field. It is not repeated."""
    message = "Invalid payload: duration must be one of 5, 8"
    reply = Reply(status, {"status": "FAILED", "message": message}, {"Retry-After": "60"} if status == 429 else {})
    async with scripted(lambda _: reply) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            with pytest.raises(APIError) as caught:
                await CALLS[name](client)
            await assert_nothing_held(client)
    error = caught.value
    expected = TaskNotFound if status == 404 and name in ABOUT_A_TASK else KINDS[status]
    assert type(error) is expected
    assert (error.status, error.message) == (status, message)
    assert error.retry_after == (60.0 if status == 429 else None)
    # A cancel that is refused queries the status of the task.
    assert len(service.arrivals) == (2 if name == "cancel_task" and status != 429 else 1)
