"""Error answers of the service, turned into the exception that says what happened.

There are two forms: an HTTP status of 3xx, 4xx or 5xx, and (2026-03) a 200 whose body says FAILED and carries a
message. The body may also be a proxy's HTML page, or empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from .._redaction import sanitize, shorten
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

__all__ = ["REDIRECTS", "error_from_answer", "is_error_in_disguise"]

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

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
}
_NEVER_FOLLOWED: Final = (
    "which is not followed: the API key goes to the configured address alone; "
    "if the service has moved, change the base URL"
)
_OVER_BUDGET: Final = r"(?i)max[\s_-]?credits|budget"
_NO_CREDITS: Final = r"(?i)insufficient\s+credits?"


def is_error_in_disguise(answer: Mapping[str, Any], *, expected: str) -> bool:
    """Return whether a 200 is an error: it says FAILED, has a message, and lacks the field that was asked for.

    A status endpoint answers the status and nothing else, so there a message beside it makes it an error.
    """
    if answer.get("status") != "FAILED" or not ("message" in answer or "error" in answer):
        return False
    return expected not in answer or expected == "status"


def error_from_answer(
    request: Request[object],
    status: int,
    body: bytes | bytearray | Mapping[str, Any],
    *,
    hide: Callable[[str], str] = str,
    retry_after: float | None = None,
    location: str | None = None,
    hint_for_404: str = "",
) -> APIError:
    """Return the exception that an error answer stands for.

    Args:
        request: what was asked.
        status: the HTTP status of the answer.
        body: its body, whatever it is, or the fields of its JSON object.
        hide: removes secrets from a text of the service.
        retry_after: the seconds after which the service wants to be asked again.
        location: where a redirect points.
        hint_for_404: what a 404 may be due to.
    """
    fields = body if isinstance(body, Mapping) else _json_fields(body)
    code = fields.get("errorCode")
    code = sanitize(hide(code), 100) if isinstance(code, str) and code else None
    if location is not None:
        message = f"the service redirects to {sanitize(hide(_host(location)), 100)} ({status}), {_NEVER_FOLLOWED}"
    else:
        message = _message(fields, status, body, hide)
    kind = _kind(request, status, code, message)
    if status in {404, 405}:
        message += hint_for_404
    return kind(
        message,
        status=status,
        method=request.method,
        path=shorten(request.path),
        code=code,
        retry_after=retry_after,
        by_service=_is_by_service(fields),
    )


def _kind(request: Request[object], status: int, code: str | None, message: str) -> type[APIError]:
    if status >= 500:
        # Whatever it says about the request: what failed is the server.
        return ServerError
    if status == 429:
        # Whatever its code: waiting is what cures it, and everybody behind the same limit has to.
        return RateLimited
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    # The 2026-03 revision documents no status for errors; only the text identifies this one.
    if code is None and re.search(_NO_CREDITS, message):
        return InsufficientCredits
    if status == 422 and code is None and "X-Max-Credits" in request.headers and re.search(_OVER_BUDGET, message):
        return BudgetExceeded
    if status == 404:
        return TaskNotFound if request.missing == "task" else EndpointNotFound
    return _BY_STATUS.get(status, APIError)


def _is_by_service(fields: Mapping[str, Any]) -> bool:
    """Return whether an error answer has the documented form. A gateway answers with a page, or with other fields."""
    return isinstance(fields.get("errorCode"), str) or (
        fields.get("status") == "FAILED" and any(isinstance(fields.get(name), str) for name in ("message", "error"))
    )


def _json_fields(body: bytes | bytearray) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _message(
    fields: Mapping[str, Any], status: int, body: bytes | bytearray | Mapping[str, Any], hide: Callable[[str], str]
) -> str:
    for name in ("message", "error", "detail"):
        text = fields.get(name)
        if isinstance(text, str) and text.strip():
            return sanitize(hide(text))
    if 300 <= status < 400:
        return f"the service answers with a redirect, {_NEVER_FOLLOWED}"
    if isinstance(body, Mapping):
        return "no reason given"
    if not body.strip():
        return "no reason given (empty body)"
    return f"no reason given (the body is {'HTML' if b'<html' in body[:1000].lower() else 'not the documented JSON'})"


def _host(location: str) -> str:
    """Return scheme and host of an address: its path and query may hold secrets."""
    try:
        parts = urlsplit(location)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "a malformed address"
    if not location.isascii() or not location.isprintable():
        return "a malformed address"
    if not host:
        return "another path"
    shown = f"[{host}]" if ":" in host else host
    shown = shown if port is None else f"{shown}:{port}"
    return f"{parts.scheme}://{shown}" if parts.scheme else shown
