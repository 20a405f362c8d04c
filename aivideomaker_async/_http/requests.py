"""Requests as values: what is sent, how its answer is decoded, and how it counts.

Each call of the API has one function here, which is the only place that knows its path, its headers and the shape of
its answer (facts: docs/api-revisions.md). Nothing is sent here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar
from urllib.parse import quote, urlsplit

from .._redaction import Secret
from .._util import validation
from ..errors import ConfigurationError
from ..tasks import TaskStatus
from . import decoding

if TYPE_CHECKING:
    from ..tasks import Account, Quote, SubmittedTask, TaskDetails

__all__ = [
    "MAX_HEADER_BYTES",
    "Kind",
    "Request",
    "RequestBody",
    "Sending",
    "cancel_task",
    "generate",
    "generate_path",
    "get_account",
    "get_status",
    "get_task",
    "hide_webhook_url",
    "list_tasks",
    "quote_price",
]

MIB: Final = 1 << 20

SMALL_ANSWER_BYTES: Final = MIB
"""Limit of a status, an account, a price or the answer to a submit: they have some hundred bytes."""

TASK_ANSWER_BYTES: Final = 48 * MIB
"""Limit of one task: its `input` may show the submitted image, and 32 MiB are 43 MiB in base64."""

LIST_ANSWER_BYTES: Final = 64 * MIB
"""Limit of the task list: about 100,000 tasks of the usual size."""

MAX_HEADER_BYTES: Final = 64 * 1024
"""The size limit of a header in any answer. Policies and cookies of gateways exceed aiohttp's own limit of 8 KiB, and
an answer that cannot be read is a lost submit."""

MIN_TOKEN_CHARACTERS: Final = 8
"""Shorter parts of a webhook URL are no tokens: hiding them would blank out ordinary words."""

_API: Final = "/api/v1"
_MAX_CREDITS: Final = "X-Max-Credits"

T_co = TypeVar("T_co", covariant=True)


class Kind(Enum):
    """How a request counts for limits and retries."""

    QUERY = auto()
    """Counts against the shared query limit; safe to repeat."""
    COMMAND = auto()
    """Counts against no limit; safe to repeat."""
    SUBMIT = auto()
    """Costs money: never repeated while its outcome is unknown."""


class RequestBody(Protocol):
    """The bytes of a request body, whose length is known before the first is written."""

    def __len__(self) -> int:
        """Return the length in bytes."""
        ...

    def pieces(self) -> Iterator[bytes]:
        """Return the bytes in pieces, from the start each time."""
        ...


class Request(NamedTuple, Generic[T_co]):
    """One call of the API, whose good answer decodes to a `T_co`."""

    method: str
    path: str
    """The quoted path, which is sent as it is."""
    kind: Kind
    decode: Callable[[Mapping[str, Any]], T_co]
    """Makes the result from the JSON object of a good answer."""
    expected: str
    """A field that every good answer has; an error in disguise (200 with FAILED) lacks it."""
    headers: Mapping[str, str] = MappingProxyType({})
    secrets: Mapping[str, Secret] = MappingProxyType({})
    """Further headers, whose values appear in no repr, log or error."""
    body: RequestBody | None = None
    missing: str = "task"
    """What a 404 says does not exist: `task` or `endpoint`."""
    max_answer_bytes: int = SMALL_ANSWER_BYTES
    """The size limit of a good answer, unpacked."""

    def __repr__(self) -> str:
        # Headers and bodies are private.
        return f"<Request {self.method} {self.path}>"

    def with_max_credits(self, max_credits: int | None) -> Self:
        """Return the same submit with another price limit in credits; None for no limit."""
        headers = {name: value for name, value in self.headers.items() if name != _MAX_CREDITS}
        if max_credits is not None:
            headers[_MAX_CREDITS] = str(max_credits)
        return self._replace(headers=headers)

    def hide_in(self, text: str) -> str:
        """Return `text` without the secrets of this request, which a server or a proxy may echo."""
        for secret in self.secrets.values():
            text = hide_webhook_url(secret, text)
        return text


class Sending:
    """How far a request got: whether the service may have received it. The transport keeps it up to date.

    A request with a body may have been received once the last piece of the body has left; any other one, once any byte
    of it has left.

    Args:
        changed: called with the new value of `sent`, just before those bytes leave, and when nothing came of it.
    """

    __slots__ = ("_changed", "may_still_arrive", "sent")

    def __init__(self, changed: Callable[[bool], None] | None = None) -> None:
        self._changed = changed
        self.sent: bool = False
        """Whether the request may have been received, and the outcome is unknown. Read it; `mark` changes it."""
        self.may_still_arrive: bool = False
        """Whether a request that was given up may be received later, since its connection could not be reset."""

    def mark(self, *, sent: bool) -> None:
        """Change `sent`."""
        if sent is not self.sent and self._changed is not None:
            self._changed(sent)
        self.sent = sent


def get_status(task_id: str) -> Request[TaskStatus]:
    """`GET /tasks/{id}/status`: the status of one task and nothing else."""
    try:
        return _get_status(task_id)
    except TypeError:
        # A wrong value, which is not hashable.
        return _get_status(validation.task_id(task_id))


@lru_cache(maxsize=1024)
def _get_status(task_id: str) -> Request[TaskStatus]:
    path = f"{_API}/tasks/{_segment(validation.task_id(task_id))}/status"
    return Request(method="GET", path=path, kind=Kind.QUERY, decode=decoding.decode_status, expected="status")


def get_task(task_id: str) -> Request[TaskDetails]:
    """`GET /tasks/{id}`: the full details of one task."""
    return Request(
        method="GET",
        path=f"{_API}/tasks/{_segment(validation.task_id(task_id))}",
        kind=Kind.QUERY,
        decode=decoding.decode_task_with_id(task_id),
        expected="id",
        max_answer_bytes=TASK_ANSWER_BYTES,
    )


def list_tasks() -> Request[list[TaskDetails]]:
    """`GET /tasks`: all tasks of this key, newest first."""
    return Request(
        method="GET",
        path=f"{_API}/tasks",
        kind=Kind.QUERY,
        decode=decoding.decode_task_list,
        expected="tasks",
        missing="endpoint",
        max_answer_bytes=LIST_ANSWER_BYTES,
    )


def cancel_task(task_id: str) -> Request[TaskStatus]:
    """`PUT /tasks/{id}/cancel`: works only while the task is SUBMITTED."""
    path = f"{_API}/tasks/{_segment(validation.task_id(task_id))}/cancel"
    return Request(method="PUT", path=path, kind=Kind.COMMAND, decode=decoding.decode_status, expected="taskId")


def get_account() -> Request[Account]:
    """`GET /account`: balance, guardrails and models (2026-09)."""
    return Request(
        method="GET",
        path=f"{_API}/account",
        kind=Kind.QUERY,
        decode=decoding.decode_account,
        expected="currentBalance",
        missing="endpoint",
    )


def quote_price(model: str, body: RequestBody) -> Request[Quote]:
    """`POST /quote/{model}`: what a submit would cost (2026-09)."""
    return Request(
        method="POST",
        path=f"{_API}/quote/{_segment(model)}",
        kind=Kind.COMMAND,
        decode=decoding.decode_quote_for(model),
        expected="credits",
        body=body,
        missing="endpoint",
    )


def generate(
    model: str, body: RequestBody, *, idempotency_key: str, webhook_url: Secret | None, max_credits: int | None
) -> Request[SubmittedTask]:
    """`POST /generate/{model}`: submit a task.

    Args:
        model: the model's wire name.
        body: the request body.
        idempotency_key: 8 to 128 printable ASCII characters.
        webhook_url: where the service reports changes of the task.
        max_credits: the price above which the service refuses (2026-09).

    Raises:
        ConfigurationError: an argument cannot travel in a header.
    """
    headers = {"Idempotency-Key": _check_idempotency_key(idempotency_key)}
    if max_credits is not None:
        headers[_MAX_CREDITS] = str(validation.amount("max_credits", max_credits))
    return Request(
        method="POST",
        path=generate_path(model),
        kind=Kind.SUBMIT,
        decode=decoding.decode_submitted,
        expected="taskId",
        headers=headers,
        secrets={} if webhook_url is None else {"webhookUrl": _check_webhook_url(webhook_url)},
        body=body,
        missing="endpoint",
    )


def generate_path(model: str) -> str:
    """Return the path where tasks of a model are submitted."""
    return f"{_API}/generate/{_segment(model)}"


def _segment(text: str) -> str:
    # Ids of the live service need no quoting.
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def _check_idempotency_key(key: object) -> str:
    if not isinstance(key, str) or not re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", key) or not 8 <= len(key) <= 128:
        raise ConfigurationError(f"idempotency_key={key!r}: must be 8 to 128 printable ASCII characters")
    return key


def _check_webhook_url(url: Secret) -> Secret:
    # The URL may hold a token: neither the message nor a local variable of this frame shows it.
    if not _is_webhook_url(url.reveal()):
        raise ConfigurationError("webhook_url: must be an http(s) URL in ASCII, without spaces")
    return url


def _is_webhook_url(url: object) -> bool:
    if not isinstance(url, str) or re.fullmatch(r"https?://[!-~]+", url) is None:
        return False
    try:
        return bool(urlsplit(url).hostname)
    except ValueError:
        return False


def hide_webhook_url(url: Secret, text: str) -> str:
    """Return `text` without the private parts of `url`: its user info, path, query and fragment."""
    authority, *rest = re.split(r"(?=[/?#])", url.reveal().partition("://")[2], maxsplit=1)
    for part in (authority.rpartition("@")[0], *rest):
        if len(part) >= MIN_TOKEN_CHARACTERS:
            text = Secret(part).hide_in(text)
    return text
