"""The values of answers: tasks, submits, cancels, prices and accounts. See the package for what holds for all."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from attrs import field, frozen

from .._redaction import hide_urls, repr_redacted
from . import TaskStatus
from .json_form import JSON, JSON_NAME, JSONForm, as_json, restore, utc_text

__all__ = [
    "JSON",
    "JSON_NAME",
    "Account",
    "CancelResult",
    "Eta",
    "FinishedVideo",
    "JSONForm",
    "LostSubmit",
    "Quote",
    "StatusChange",
    "SubmitTrace",
    "SubmittedTask",
    "TaskDetails",
    "TaskHandle",
    "TaskOutput",
    "as_json",
    "restore",
    "utc_text",
]


def _repr_host(url: str | None) -> str:
    # The service's own addresses; the path of a wrong one may be a token.
    return repr_redacted(url if url is None else hide_urls(url))


@frozen(kw_only=True)
class Eta(JSONForm):
    """When a task will have ended, estimated from others of its model and length. All times are aware, in UTC."""

    at: datetime
    """The median: as likely to end before as after."""
    earliest: datetime
    """One in ten tasks ends before."""
    latest: datetime
    """One in ten tasks ends after."""
    samples: int
    """How many tasks the estimate was learned from; few make it vague."""


@frozen(kw_only=True)
class StatusChange(JSONForm):
    """A transition of a task, as this process observed it.

    The first change that a watcher of a task gets is the current status, with `previous` None when nothing was known
    before. A poll may miss PROGRESS: then COMPLETED follows SUBMITTED.
    """

    task_id: str = field(repr=repr_redacted)
    status: TaskStatus = field(repr=repr_redacted)
    previous: TaskStatus | None = field(repr=repr_redacted)
    at: datetime
    """When it was observed (aware, UTC); the service does not report when it happened."""
    eta: Eta | None = None
    """The estimated end at that moment; None for a terminal status, and while nothing is known."""


@frozen(kw_only=True)
class TaskOutput(JSONForm):
    """The output of a task: the URL of a video, or what went wrong."""

    url: str | None = field(default=None, repr=repr_redacted)
    """Public address of the finished video; no key is needed. The file is deleted after 24 hours."""
    message: str | None = field(default=None, repr=repr_redacted)
    error: str | None = field(default=None, repr=repr_redacted)
    extra: Mapping[str, object] = field(factory=dict[str, object], repr=repr_redacted, hash=False)


@frozen(kw_only=True)
class TaskDetails(JSONForm):
    """Everything that the service reports about one task.

    The fields on credits and the idempotency key exist since the 2026-09 revision of the API and are None before.
    """

    id: str = field(repr=repr_redacted, metadata={JSON_NAME: "task_id"})
    status: TaskStatus = field(repr=repr_redacted)
    model: str | None = field(default=None, repr=repr_redacted)
    input: Mapping[str, object] = field(factory=dict[str, object], repr=repr_redacted, hash=False)
    """The request body as the service keeps it, under wire names. An uploaded image is shown as a URL."""
    output: TaskOutput | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    credits_charged: int | None = None
    credits_refunded: int | None = None
    list_value_cents: int | None = None
    idempotency_key: str | None = field(default=None, repr=repr_redacted)
    extra: Mapping[str, object] = field(factory=dict[str, object], repr=repr_redacted, hash=False)

    @property
    def url(self) -> str | None:
        """The URL of the finished video, or None while there is none."""
        return None if self.output is None else self.output.url

    @property
    def failure(self) -> str | None:
        """The service's reason for a failure, or None when it gives none."""
        if self.output is None:
            return None
        return self.output.error or self.output.message


@frozen(kw_only=True)
class SubmittedTask(JSONForm):
    """The answer to a submit.

    The three URLs name the service's own host. The client never uses them: it builds URLs from its base URL and the id,
    so that no answer can direct the API key to another host.
    """

    task_id: str = field(repr=repr_redacted)
    status: TaskStatus = field(default=TaskStatus.SUBMITTED, repr=repr_redacted)
    response_url: str | None = field(default=None, repr=_repr_host)
    status_url: str | None = field(default=None, repr=_repr_host)
    cancel_url: str | None = field(default=None, repr=_repr_host)
    credits_charged: int | None = None
    idempotent_replay: bool | None = None
    extra: Mapping[str, object] = field(factory=dict[str, object], repr=repr_redacted, hash=False)


@frozen(kw_only=True)
class CancelResult(JSONForm):
    """The outcome of a request to cancel.

    `cancelled` is True when the task is now in CANCEL, also if it was so before. Otherwise it was too late, and
    `status` says what the task was doing instead. Credits are refunded in full on a successful cancel.
    """

    task_id: str = field(repr=repr_redacted)
    cancelled: bool
    status: TaskStatus = field(repr=repr_redacted)

    @property
    def outcome(self) -> Literal["cancelled", "too_late", "finished"]:
        """One of "cancelled"; "too_late" when the task goes on; "finished" when it had ended before."""
        if self.cancelled:
            return "cancelled"
        return "finished" if self.status.is_terminal else "too_late"


@frozen(kw_only=True)
class Quote(JSONForm):
    """The price of a spec as the service computes it (2026-09). A quote costs nothing."""

    model: str = field(repr=repr_redacted)
    credits: int
    list_price_usd: float | None = None
    usd_per_credit: float | None = None
    current_balance: int | None = field(default=None, metadata={JSON_NAME: "balance"})
    affordable: bool | None = None
    billable: bool | None = None
    extra: Mapping[str, object] = field(factory=dict[str, object], repr=repr_redacted, hash=False)


@frozen(kw_only=True)
class Account(JSONForm):
    """Balance and guardrails of the account behind the key (2026-09). A guardrail of None means unlimited."""

    current_balance: int = field(metadata={JSON_NAME: "balance"})
    """Credits that can be spent now."""
    supported_models: tuple[str, ...] = field(default=(), repr=repr_redacted)
    daily_credit_limit: int | None = None
    generation_requests_per_minute: int | None = None
    credit_warning_at: int | None = None
    api_version: str | None = field(default=None, repr=repr_redacted)
    skill_version: str | None = field(default=None, repr=repr_redacted)
    extra: Mapping[str, object] = field(factory=dict[str, object], repr=repr_redacted, hash=False)


@frozen(kw_only=True)
class SubmitTrace(JSONForm):
    """What finds the task of a lost submit again, in any process: what was ordered, and when it was sent.

    Its form is what a `SubmitOutcomeUnknown` carries. It holds neither images nor addresses: only their digests.
    """

    model: str
    fields: Mapping[str, object]
    """The fields of the request by wire name, normalized so that values of the same meaning are equal."""
    uploads: Mapping[str, bytes]
    """Digests of images and long texts, by the wire name of their field."""
    sent_at: float
    """Seconds since the epoch, by the service's clock."""
    lost_at: float
    """When its answer was lost, likewise."""
    is_time_known: bool
    """Whether the service had reported its time."""
    may_still_arrive: bool
    """Whether it may arrive at any later time, since its connection was not reset."""
    assigned: tuple[str, ...] = ()
    """Tasks of the same model that were assigned to other submits."""


@frozen(kw_only=True)
class LostSubmit:
    """What a `SubmitOutcomeUnknown` is restored from: the fields of its form, checked."""

    message: str
    model: str
    idempotency_key: str
    began_at: datetime
    candidates: tuple[TaskDetails, ...] = ()
    trace: SubmitTrace | None = None


class FinishedVideo(Protocol):
    """What waiting for a task returns: a `Video`."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def url(self) -> str:
        """The public address of the video."""
        ...

    async def download(self, path: str | Path) -> Path:
        """Download the video to `path`; see `Video.download`."""
        ...


class TaskHandle(Protocol):
    """The handle of a task, as an error carries it: a `VideoTask`."""

    @property
    def id(self) -> str:
        """The task's id."""
        ...

    @property
    def last_status(self) -> TaskStatus | None:
        """The status observed last by the client, or None."""
        ...

    def result(self, timeout: float | None = None) -> Coroutine[Any, Any, FinishedVideo]:
        """Wait for the finished video; see `VideoTask.result`."""
        ...

    def cancel(self) -> Coroutine[Any, Any, CancelResult]:
        """Cancel the paid task; see `VideoTask.cancel`."""
        ...
