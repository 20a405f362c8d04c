"""Answers that are errors, turned into the error that says what happened.

There are two forms: an HTTP status of 4xx or 5xx, and (2026-03) a 200 whose body says FAILED and carries a message. The
body may also be the HTML of a proxy, or nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from .._redaction import shorten, told
from ..errors import (
    APIError,
    AuthenticationFailed,
    BudgetExceeded,
    ContentRejected,
    EndpointNotFound,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidRequest,
    RateLimited,
    ServerError,
    TaskNotFound,
)
from .requests import Request

__all__ = ["is_disguised_refusal", "refusal"]

_BY_CODE: Final[Mapping[str, type[APIError]]] = {
    "INVALID_MODEL": InvalidRequest,
    "INVALID_PAYLOAD": InvalidRequest,
    "AUTH_FAILED": AuthenticationFailed,
    "INSUFFICIENT_CREDITS": InsufficientCredits,
    "IDEMPOTENCY_CONFLICT": IdempotencyConflict,
    "BUDGET_EXCEEDED": BudgetExceeded,
    "RATE_LIMITED": RateLimited,
}
_BY_STATUS: Final[Mapping[int, type[APIError]]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    402: InsufficientCredits,
    403: AuthenticationFailed,
    409: IdempotencyConflict,
    422: ContentRejected,
    429: RateLimited,
}
_NEVER_FOLLOWED: Final = (
    "which is not followed: the API key goes to the configured address alone; "
    "if the service has moved, change the base URL"
)
_OVER_BUDGET: Final = re.compile(r"max[\s_-]?credits|budget", re.IGNORECASE)
_NO_CREDITS: Final = re.compile(r"insufficient\s+credits?", re.IGNORECASE)


def is_disguised_refusal(answer: Mapping[str, Any], *, expected: str) -> bool:
    """Whether a 200 is an error all the same: it says FAILED, has a message, and lacks what was asked for.

    Where the status is all that was asked for, it comes with nothing else, and a message beside it is an error.
    """
    if answer.get("status") != "FAILED" or not ("message" in answer or "error" in answer):
        return False
    return expected not in answer or expected == "status"


def refusal(
    request: Request,
    status: int,
    body: bytes | bytearray,
    *,
    hide: Callable[[str], str] = str,
    retry_after: float | None = None,
    location: str | None = None,
) -> APIError:
    """The error that an answer stands for.

    Args:
        request: what was asked.
        status: the HTTP status of the answer.
        body: its body, whatever it is.
        hide: takes out of a text what nobody shall see.
        retry_after: seconds after which the service wants to be asked again, if it said so.
        location: where the answer points, if it points anywhere.
    """
    answer = _fields(body)
    code = answer.get("errorCode")
    code = told(hide(code), 100) if isinstance(code, str) and code else None
    message = _message(answer, status, body, hide) if location is None else _redirected(location, status, hide)
    kind = _kind(request, status, code, message)
    return kind(
        message, status=status, method=request.method, path=shorten(request.path), code=code, retry_after=retry_after
    )


def _kind(request: Request, status: int, code: str | None, message: str) -> type[APIError]:
    if status >= 500:
        # Whatever it says of the request: what failed is the server.
        return ServerError
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    # The 2026-03 revision documents no status for errors; this one is known by its text alone.
    if code is None and _NO_CREDITS.search(message):
        return InsufficientCredits
    if status == 422 and code is None and "X-Max-Credits" in request.headers and _OVER_BUDGET.search(message):
        return BudgetExceeded
    if status == 404:
        return TaskNotFound if request.about == "task" else EndpointNotFound
    return _BY_STATUS.get(status, APIError)


def _fields(body: bytes | bytearray) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _message(answer: Mapping[str, Any], status: int, body: bytes | bytearray, hide: Callable[[str], str]) -> str:
    for name in ("message", "error", "detail"):
        text = answer.get(name)
        if isinstance(text, str) and text.strip():
            return told(hide(text))
    if 300 <= status < 400:
        return f"the service answers with a redirect, {_NEVER_FOLLOWED}"
    if not body.strip():
        return "no reason given (empty body)"
    return f"no reason given (the body is {'HTML' if b'<html' in body[:1000].lower() else 'not the documented JSON'})"


def _redirected(location: str, status: int, hide: Callable[[str], str]) -> str:
    return f"the service redirects to {told(hide(_place(location)), 100)} ({status}), {_NEVER_FOLLOWED}"


def _place(location: str) -> str:
    """Scheme and host of an address. Its path and query may hold what is nobody's business."""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "an address that makes no sense"
    if not location.isascii() or not location.isprintable():
        return "an address that makes no sense"
    if not host:
        return "another path"
    shown = f"[{host}]" if ":" in host else host
    shown = shown if port is None else f"{shown}:{port}"
    return f"{parts.scheme}://{shown}" if parts.scheme else shown
