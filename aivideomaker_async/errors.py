"""Every error that this package raises.

    AIVideoMakerError
    ├─ ConfigurationError             no key, bad base URL, client closed, wrong event loop, a bad argument
    ├─ InvalidSpec (ValueError)       problems: field, value, what is allowed
    ├─ UnknownPrice (LookupError)     the price table has no price for it
    ├─ APIError                       the service answered, and the answer is an error
    │   ├─ InvalidRequest             400
    │   ├─ AuthenticationFailed       401, 403
    │   ├─ InsufficientCredits        402
    │   ├─ TaskNotFound               404, no such task for this key
    │   ├─ EndpointNotFound           404, this revision of the service lacks the endpoint
    │   ├─ IdempotencyConflict        409
    │   ├─ BudgetExceeded             422
    │   ├─ ContentRejected            422
    │   ├─ RateLimited                429
    │   └─ ServerError                5xx
    ├─ TransportError                 no usable answer
    │   ├─ ConnectFailed              the request was never sent
    │   ├─ RequestTimeout
    │   ├─ Disconnected
    │   └─ BadResponse                an answer that cannot be understood
    ├─ SubmitOutcomeUnknown           the task may or may not exist: do not submit again blindly
    ├─ TaskFailed
    ├─ TaskCancelled
    ├─ UnknownTaskEnd                 it shows an end under a status that this version does not know
    ├─ WaitTimeout (TimeoutError)     the task may still be running
    └─ DownloadError
        ├─ OutputExpired              the service has deleted the file
        └─ IncompleteDownload

No text and no repr of an error shows the API key, an image, a webhook's token or a signed query. What the service
reported about a task is in the error's `details` as it came. Errors can be pickled, and keep the error that caused
them.

`to_dict()` writes an error as plain JSON: its type, its text, and its attributes under their names, without anything
that the text may not show. Of `details` it has what the service measured, and none of its texts. Only a
`SubmitOutcomeUnknown` can be restored from that, since it is the only one that something is done with: `reconcile`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import frozen

from ._redaction import printable, sanitize, shorten, single_line
from .tasks import TaskStatus

if TYPE_CHECKING:
    from .tasks import JSON, TaskDetails, TaskHandle

__all__ = [
    "AIVideoMakerError",
    "APIError",
    "AuthenticationFailed",
    "BadResponse",
    "BudgetExceeded",
    "ConfigurationError",
    "ConnectFailed",
    "ContentRejected",
    "Disconnected",
    "DownloadError",
    "EndpointNotFound",
    "FieldProblem",
    "IdempotencyConflict",
    "IncompleteDownload",
    "InsufficientCredits",
    "InvalidRequest",
    "InvalidSpec",
    "OutputExpired",
    "RateLimited",
    "RequestTimeout",
    "ServerError",
    "SubmitOutcomeUnknown",
    "TaskCancelled",
    "TaskFailed",
    "TaskNotFound",
    "TransportError",
    "UnknownPrice",
    "UnknownTaskEnd",
    "WaitTimeout",
]


class AIVideoMakerError(Exception):
    """The base of every error that this package raises."""

    def __str__(self) -> str:
        # Foreign texts (ids, paths, messages) must not forge a second line in a log, or steer a terminal.
        return printable(super().__str__())

    def to_dict(self) -> dict[str, JSON]:
        """Return the error as plain JSON, for an answer, a log or a queue: docs/errors.md lists the fields.

        It has the name of the class as `type`, the text as `message`, and the attributes of the class that are plain.
        Durations are seconds, moments texts in ISO 8601 (UTC, with a Z), and unknown values null. It shows no more than
        the text may show: no API key, image, webhook's token or signed query.
        """
        return {"type": type(self).__name__, "message": str(self), **self._attributes()}

    def _attributes(self) -> dict[str, JSON]:
        """Return what `to_dict` writes beside the type and the text."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own pickling loses keyword arguments, which most errors take.
        return _restore, (type(self), self.args), self.__dict__


_MEASURED: Final = (
    "task_id",
    "status",
    "created_at",
    "completed_at",
    "credits_charged",
    "credits_refunded",
    "list_value_cents",
)
"""Fields of the details of a task that repeat no texts of the user or the service."""


def _measured(details: TaskDetails) -> dict[str, JSON]:
    form = details.to_dict()
    return {name: form[name] for name in _MEASURED}


def _restore(cls: type[AIVideoMakerError], args: tuple[object, ...]) -> AIVideoMakerError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    return error


class ConfigurationError(AIVideoMakerError):
    """The client is set up or used in a way that cannot work. The message says what to change."""


@frozen
class FieldProblem:
    """One wrong field of a spec."""

    field: str
    """The Python name of the field, with an index where it is a list: `prompts[2]`."""
    value: str
    """The wrong value, shortened and redacted."""
    allowed: str
    """What the field allows."""

    def __str__(self) -> str:
        return f"{self.field}={self.value}: must be {self.allowed}"


class InvalidSpec(AIVideoMakerError, ValueError):
    """A spec has wrong values. Nothing was sent and nothing was charged."""

    def __init__(self, spec: str, problems: Sequence[FieldProblem]) -> None:
        self.spec = spec
        """The name of the spec's class, or the model's name."""
        self.problems: tuple[FieldProblem, ...] = tuple(problems)
        """All wrong fields in their order; the first of them where there are very many."""
        super().__init__("; ".join([f"{spec}: {problems[0]}", *map(str, problems[1:])]))

    @property
    def field(self) -> str:
        """The first wrong field."""
        return self.problems[0].field

    @property
    def value(self) -> str:
        """The value of the first wrong field, shortened and redacted."""
        return self.problems[0].value

    @property
    def allowed(self) -> str:
        """What the first wrong field allows."""
        return self.problems[0].allowed

    def _attributes(self) -> dict[str, JSON]:
        problems: list[JSON] = [
            {"field": one.field, "value": one.value, "allowed": one.allowed} for one in self.problems
        ]
        return {"spec": self.spec, "problems": problems}


class UnknownPrice(AIVideoMakerError, LookupError):
    """The price table has no price for this."""

    def __init__(self, model: str, revision: str, *, only_quoted: bool = False, with_fields: bool = False) -> None:
        self.model = model
        """The model's wire name."""
        self.revision = revision
        """The revision of the table."""
        hint = ": ask the service for a quote" if only_quoted else ""
        of = f"the model {shorten(repr(model))}{' with these fields' if with_fields else ''}"
        super().__init__(f"the price table {revision} has no price for {of}{hint}")

    def _attributes(self) -> dict[str, JSON]:
        return {"model": self.model, "revision": self.revision}


class APIError(AIVideoMakerError):
    """The service answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int,
        method: str,
        path: str,
        code: str | None = None,
        retry_after: float | None = None,
        by_service: bool = True,
    ) -> None:
        self.message = message
        """The service's own words, shortened and redacted."""
        self.status = status
        """The HTTP status. It is 200 when a 2026-03 server reports an error in the body alone."""
        self.code = code
        """The service's `errorCode`, which exists since the 2026-09 revision."""
        self.method = method
        self.path = path
        self.retry_after = retry_after
        """Seconds after which the service wants to be asked again; None where it did not say."""
        self.by_service = by_service
        """Whether the service itself has answered, and not a gateway in front of it: the answer has an `errorCode`, or
        a status of FAILED with a message."""
        named = f"{status} {code}" if code else str(status)
        super().__init__(f"{method} {path}: {named}: {message}")

    def _attributes(self) -> dict[str, JSON]:
        return {
            "reason": self.message,
            "status": self.status,
            "code": self.code,
            "method": self.method,
            "path": self.path,
            "retry_after": self.retry_after,
            "by_service": self.by_service,
        }


class InvalidRequest(APIError):
    """The service refuses the request as invalid (400)."""


class AuthenticationFailed(APIError):
    """The API key is missing, invalid, disabled or deleted (401, 403)."""


class InsufficientCredits(APIError):
    """The balance is too low for this task (402). Nothing was charged."""


class TaskNotFound(APIError):
    """The service knows no such task for this key (404)."""


class EndpointNotFound(APIError):
    """This revision of the service lacks the endpoint (404)."""


class IdempotencyConflict(APIError):
    """The idempotency key was used before with another request (409)."""


class BudgetExceeded(APIError):
    """The price is above `max_credits`, or above what a `Budget` has left. Nothing was charged.

    Either the service refuses (422), or the client does before anything is sent; then `credits` and `allowed` are set.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        method: str,
        path: str,
        code: str | None = None,
        retry_after: float | None = None,
        by_service: bool = True,
        credits: int | None = None,  # noqa: A002  (the API's word)
        allowed: int | None = None,
    ) -> None:
        super().__init__(
            message,
            status=status,
            method=method,
            path=path,
            code=code,
            retry_after=retry_after,
            by_service=by_service,
        )
        self.credits = credits
        """The price; None when it is unknown, or when the service refused."""
        self.allowed = allowed
        """Credits that could have been spent; None when the service refused."""

    def _attributes(self) -> dict[str, JSON]:
        return {**super()._attributes(), "credits": self.credits, "allowed": self.allowed}


class ContentRejected(APIError):
    """The service refuses the content (422). Nothing was charged."""


class RateLimited(APIError):
    """Too many requests (429), and the deadline of the call left no room to wait for `retry_after`."""


class ServerError(APIError):
    """The service failed (5xx), also when it was asked again."""


class TransportError(AIVideoMakerError):
    """There was no usable answer."""

    def __init__(self, message: str, *, method: str, path: str, sent: bool = True) -> None:
        self.message = message
        self.method = method
        self.path = path
        self.sent = sent
        """Whether any of the request may have reached the service. Only False is certain."""
        super().__init__(f"{method} {path}: {message}")

    def _attributes(self) -> dict[str, JSON]:
        return {
            "reason": self.message,
            "method": self.method,
            "path": self.path,
            "sent": self.sent,
        }


class ConnectFailed(TransportError):
    """No connection could be made (name not found, refused, TLS): the request was never sent."""

    def __init__(self, message: str, *, method: str, path: str, sent: bool = False) -> None:
        super().__init__(message, method=method, path=path, sent=sent)


class RequestTimeout(TransportError):
    """No answer came in time."""


class Disconnected(TransportError):
    """The connection broke before the whole answer had arrived."""


class BadResponse(TransportError):
    """An answer arrived that cannot be decoded; the message names the place."""


class SubmitOutcomeUnknown(AIVideoMakerError):
    """A submit was sent and its answer was lost: the task may exist, and may have been paid.

    Do not submit again blindly. `await client.reconcile(error)` looks it up again, now or later, with this client or
    another, also in another process: the error can be pickled, and written as JSON.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str,
        idempotency_key: str,
        began_at: datetime,
        candidates: Sequence[TaskDetails] = (),
        trace: object = None,
    ) -> None:
        self.model = model
        self.idempotency_key = idempotency_key
        """The key that went out with the submit."""
        self.began_at = began_at
        """When the submit was sent (aware, UTC), by the service's clock where it is known."""
        self.candidates: tuple[TaskDetails, ...] = tuple(candidates)
        """Listed tasks that may be this one, the oldest first. Each may also be somebody else's."""
        self._trace: object = trace
        count = len(self.candidates)
        found = f"{count} listed task{'s' * (count != 1)} may be it" if count else "no listed task looks like it"
        super().__init__(
            f"{message}; the outcome of this {model} submit is unknown (idempotency key {idempotency_key}; {found}): "
            "it may have been created and charged, so do not submit it again before client.reconcile(error)"
        )

    def _attributes(self) -> dict[str, JSON]:
        from .tasks import as_json, utc_text

        candidates: list[JSON] = [_measured(one) for one in self.candidates]
        return {
            "model": self.model,
            "idempotency_key": self.idempotency_key,
            "began_at": utc_text(self.began_at),
            "candidates": candidates,
            "trace": as_json(self._trace),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Return the error that `to_dict` has written, for `client.reconcile` in any process.

        The form has of the order what finds its task again: its words and settings, and digests of its images and
        addresses. Of each candidate it has the id, the status, times and credits; `client.get_task` has the rest.

        Args:
            data: the form. Fields that this version does not know are ignored.

        Raises:
            ValueError: a field is missing or wrong. The message names all of these, with what is allowed.
        """
        from .tasks import LostSubmit, restore

        lost = restore(LostSubmit, data, cls.__name__)
        error = cls.__new__(cls)
        Exception.__init__(error, lost.message)
        error.model = lost.model
        error.idempotency_key = lost.idempotency_key
        error.began_at = lost.began_at
        error.candidates = lost.candidates
        error._trace = None if lost.trace is None else lost.trace.to_dict()
        return error


class TaskFailed(AIVideoMakerError):
    """The task ended in FAILED. The service refunds its credits in full.

    Args:
        details: the task. `details.failure` has the whole reason as the service gives it; the text of the error has it
            shortened and redacted.
        hide: removes secrets from the reason.
    """

    def __init__(self, details: TaskDetails, *, hide: Callable[[str], str] = str) -> None:
        self.details: TaskDetails = details
        reason = sanitize(hide(details.failure or "")) or "the service gave no reason"
        super().__init__(f"task {single_line(details.id)} failed: {reason}")

    def _attributes(self) -> dict[str, JSON]:
        return {"task_id": self.details.id, "details": _measured(self.details)}


class TaskCancelled(AIVideoMakerError):
    """The task ended in CANCEL. The service refunds its credits in full."""

    def __init__(self, details: TaskDetails) -> None:
        self.details: TaskDetails = details
        super().__init__(f"task {single_line(details.id)} was cancelled")

    def _attributes(self) -> dict[str, JSON]:
        return {"task_id": self.details.id, "details": _measured(self.details)}


class UnknownTaskEnd(AIVideoMakerError):
    """The task has ended in a status that this version does not know: it shows an end or an error, and no video.

    Args:
        details: the task. `details.status` is that status, and `details.failure` the whole reason, if there is one.
        hide: removes secrets from the reason.
    """

    def __init__(self, details: TaskDetails, *, hide: Callable[[str], str] = str) -> None:
        self.details: TaskDetails = details
        reason = sanitize(hide(details.failure or "")) or "the service gave no reason"
        super().__init__(
            f"task {single_line(details.id)} has ended in the unknown status {shorten(repr(str(details.status)))}: "
            f"{reason}. Whether it was charged shows in the account"
        )

    def _attributes(self) -> dict[str, JSON]:
        return {"task_id": self.details.id, "details": _measured(self.details)}


class WaitTimeout(AIVideoMakerError, TimeoutError):
    """The wait ended before the task did, or before its video was there. The task is paid: do not buy it again."""

    def __init__(self, task: TaskHandle, *, last_status: TaskStatus | None, elapsed: float) -> None:
        self.task: TaskHandle = task
        """The handle, a `VideoTask`: wait again with `await error.task.result()`. A pickled error has the id alone."""
        self.task_id: str = task.id
        self.last_status = last_status
        self.elapsed = elapsed
        """Seconds that this wait took."""
        known = f"last seen in {last_status}" if last_status else "its status was never seen"
        again = f"client.task({shorten(repr(task.id))})"
        if last_status is None or not last_status.is_terminal:
            advice = f"It may still be running and is paid: wait for it again with {again}, do not submit it again"
        elif last_status == TaskStatus.COMPLETED:
            advice = f"It has ended and is paid, and its video was not reported yet: wait for it again with {again}"
        else:
            advice = f"It has ended without a video, and the reason was not reported yet: ask again with {again}"
        super().__init__(f"gave up after {elapsed:.0f} s on task {single_line(task.id)} ({known}). {advice}")

    def _attributes(self) -> dict[str, JSON]:
        last_status = None if self.last_status is None else str(self.last_status)
        return {"task_id": self.task_id, "last_status": last_status, "elapsed": self.elapsed}

    def __reduce__(self) -> tuple[Any, ...]:
        # A handle lives in one event loop of one process; what survives the journey is the text, with the id.
        state = {name: value for name, value in self.__dict__.items() if name != "task"}
        return _restore, (type(self), self.args), state


class DownloadError(AIVideoMakerError):
    """The video could not be downloaded. The message names the path or the reason."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        self.status = status
        """The HTTP status by which the file's server refused; None for any other reason."""
        super().__init__(message)

    def _attributes(self) -> dict[str, JSON]:
        return {"status": self.status}


class OutputExpired(DownloadError):
    """The service has deleted the file: it keeps one for 24 hours."""

    def __init__(self, message: str, *, age: timedelta | None, status: int | None = None) -> None:
        self.age = age
        """How long ago the task was completed; None where that is unknown."""
        super().__init__(message, status=status)

    def _attributes(self) -> dict[str, JSON]:
        return {**super()._attributes(), "age": None if self.age is None else self.age.total_seconds()}


class IncompleteDownload(DownloadError):
    """The connection ended before the whole file had arrived."""

    def __init__(self, message: str, *, received: int, expected: int | None) -> None:
        self.received = received
        """Bytes that arrived."""
        self.expected = expected
        super().__init__(message)

    def _attributes(self) -> dict[str, JSON]:
        return {**super()._attributes(), "received": self.received, "expected": self.expected}
