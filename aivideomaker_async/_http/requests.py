"""Requests, built as values. Nothing is sent here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from functools import lru_cache
from typing import Final, Protocol, TypeGuard
from urllib.parse import quote, urlsplit

from attrs import field, frozen

from .._redaction import Secret
from .._util import validation as _checks
from ..errors import ConfigurationError
from .sizes import LIST, SMALL, TASK, Size

__all__ = [
    "Kind",
    "Request",
    "RequestBody",
    "Sending",
    "account",
    "cancel",
    "check_task_id",
    "generate",
    "generate_path",
    "is_task_id",
    "list_tasks",
    "quote_price",
    "task",
    "task_status",
]

_API: Final = "/api/v1"

SHORTEST_TOKEN: Final = 8


class Kind(Enum):
    """What a request is, as far as limits and retries are concerned."""

    QUERY = auto()
    """Counts against the shared query limit; may be sent again."""
    COMMAND = auto()
    """Counts against nothing; may be sent again."""
    SUBMIT = auto()
    """Costs money: is never sent again while its outcome is unknown."""


class RequestBody(Protocol):
    """The bytes of a request, of a length that is known before the first is written."""

    def __len__(self) -> int:
        """Return the length in bytes."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Return the bytes in pieces, from the start each time."""
        ...


@frozen(kw_only=True)
class Request:
    """One call of the API."""

    method: str
    path: str
    """Quoted, and to be sent as it is."""
    kind: Kind
    headers: Mapping[str, str] = field(factory=dict[str, str], repr=False)
    secrets: Mapping[str, Secret] = field(factory=dict[str, Secret], repr=False)
    """Further headers, whose values nobody may see."""
    body: RequestBody | None = field(default=None, repr=False)
    about: str = "task"
    """What a 404 says does not exist: `task` or `endpoint`."""
    size: Size = SMALL
    """The most that a good answer may hold."""

    def hide_in(self, text: str) -> str:
        """`text` without what nobody may see of this request, for texts of others who may tell it."""
        for secret in self.secrets.values():
            text = hide_address(secret, text)
        return text


class Sending:
    """How far a request has got on its way; who sends it keeps this up to date.

    Args:
        changed: called with whether any of it may have left, just before it does, and when nothing came of it.
    """

    __slots__ = ("_changed", "_sent")

    def __init__(self, changed: Callable[[bool], None] | None = None) -> None:
        self._changed = changed
        self._sent = False

    @property
    def sent(self) -> bool:
        """Whether any of it may have left, and what became of that is not known."""
        return self._sent

    @sent.setter
    def sent(self, value: bool) -> None:
        if value is not self._sent and self._changed is not None:
            self._changed(value)
        self._sent = value


def list_tasks() -> Request:
    """All tasks of this key, newest first."""
    return Request(method="GET", path=f"{_API}/tasks", kind=Kind.QUERY, about="endpoint", size=LIST)


def task(task_id: str) -> Request:
    """Full details of one task."""
    return Request(method="GET", path=_task_path(task_id), kind=Kind.QUERY, size=TASK)


def task_status(task_id: str) -> Request:
    """The status of one task, and nothing else."""
    return _task_status(check_task_id(task_id))


@lru_cache(maxsize=1024)
def _task_status(task_id: str) -> Request:
    return Request(method="GET", path=f"{_task_path(task_id)}/status", kind=Kind.QUERY)


def cancel(task_id: str) -> Request:
    """Cancel one task; works only while it is SUBMITTED."""
    return Request(method="PUT", path=f"{_task_path(task_id)}/cancel", kind=Kind.COMMAND)


def account() -> Request:
    """Balance and guardrails (2026-09)."""
    return Request(method="GET", path=f"{_API}/account", kind=Kind.QUERY, about="endpoint")


def quote_price(model: str, body: RequestBody) -> Request:
    """What a generate would cost (2026-09)."""
    path = f"{_API}/quote/{_segment(model)}"
    return Request(method="POST", path=path, kind=Kind.COMMAND, body=body, about="endpoint")


def generate(
    model: str, body: RequestBody, *, idempotency_key: str, webhook_url: Secret | None, max_credits: int | None
) -> Request:
    """Submit a task.

    Raises:
        ConfigurationError: an argument cannot travel in a header.
    """
    headers = {"Idempotency-Key": _check_key(idempotency_key)}
    secrets = {} if webhook_url is None else {"webhookUrl": _check_webhook(webhook_url)}
    if max_credits is not None:
        headers["X-Max-Credits"] = str(_checks.amount("max_credits", max_credits))
    return Request(
        method="POST",
        path=generate_path(model),
        kind=Kind.SUBMIT,
        headers=headers,
        secrets=secrets,
        body=body,
        about="endpoint",
    )


def generate_path(model: str) -> str:
    """Where tasks of a model are submitted."""
    return f"{_API}/generate/{_segment(model)}"


def check_task_id(task_id: object) -> str:
    """`task_id`, if it can stand in a path; ids are opaque, and almost everything can when it is quoted.

    Raises:
        ConfigurationError: it cannot.
    """
    if not is_task_id(task_id):
        raise ConfigurationError(
            f"task_id={task_id!r}: must be a text that is not empty, not '.' or '..', and without lone surrogates"
        )
    return task_id


def is_task_id(value: object) -> TypeGuard[str]:
    """Whether `value` can be an id."""
    # Quoting cannot save "." and "..": proxies take them for steps in the path, quoted or not.
    if not isinstance(value, str) or not value or value in {".", ".."}:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _task_path(task_id: str) -> str:
    return f"{_API}/tasks/{_segment(check_task_id(task_id))}"


def _segment(text: str) -> str:
    # The ids of the service need no quoting.
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def _check_key(key: object) -> str:
    if not isinstance(key, str) or not re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", key) or not 8 <= len(key) <= 128:
        raise ConfigurationError(f"idempotency_key={key!r}: must be 8 to 128 printable ASCII characters")
    return key


def _check_webhook(url: Secret) -> Secret:
    # The URL may hold a token, so neither the message shows it nor a local variable of this frame.
    if not _is_webhook(url.reveal()):
        raise ConfigurationError("webhook_url: must be an http(s) URL in ASCII, without spaces")
    return url


def _is_webhook(url: object) -> bool:
    return isinstance(url, str) and re.fullmatch(r"https?://[!-~]+", url) is not None and _has_host(url)


def hide_address(url: Secret, text: str) -> str:
    """`text` without the private parts of `url`."""
    for part in _private_parts(url.reveal()):
        text = Secret(part).hide_in(text)
    return text


def _private_parts(url: str) -> list[str]:
    # Scheme and host are known to everybody, and what is shorter is no token.
    authority, *rest = re.split(r"(?=[/?#])", url.partition("://")[2], maxsplit=1)
    return [part for part in (authority.rpartition("@")[0], *rest) if len(part) >= SHORTEST_TOKEN]


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False
