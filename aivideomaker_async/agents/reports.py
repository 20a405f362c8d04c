"""What a tool answers: a plain dict, whatever happened. Pure.

An exception must not leave a tool: some frameworks end the whole run with it, others hide its text from the model. A
dict with a status and with what to do next is the one form that all of them pass on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from .._redaction import sanitize
from ..errors import (
    AIVideoMakerError,
    AuthenticationFailed,
    BudgetExceeded,
    ConfigurationError,
    ContentRejected,
    DownloadError,
    IdempotencyConflict,
    InsufficientCredits,
    InvalidSpec,
    OutputExpired,
    RateLimited,
    SubmitOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    UnknownTaskEnd,
    WaitTimeout,
)
from ..tasks import TaskStatus

__all__ = ["Report", "next_step", "report_of_error", "report_of_failure"]


class Report(dict[str, Any]):
    """A report of a tool. As text it is JSON: half of the frameworks give `str(result)` to the model."""

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)

    __repr__ = __str__


_WAIT: Final = "Call wait_for_video with this task_id, again and again until it has ended. Do not submit it again."

_NEXT_BY_STATUS: Final[Mapping[str, str]] = {
    TaskStatus.SUBMITTED: _WAIT,
    TaskStatus.PROGRESS: _WAIT,
    TaskStatus.COMPLETED: "Call download_video now: the service deletes the file 24 hours after it was completed.",
    TaskStatus.FAILED: "Its credits came back. To try again, change the arguments and use a new order.",
    TaskStatus.CANCEL: "It was cancelled and its credits came back. To try again, use a new order.",
}

SUBMITTING: Final = "SUBMITTING"
"""The status of an order whose submit goes on after the call."""

UNKNOWN: Final = "UNKNOWN"
"""The status of an order that may have been bought."""

ERROR: Final = "ERROR"
"""The status of a call that has come to nothing."""


def next_step(status: str) -> str:
    """Return what to do about a task with this status."""
    if status == SUBMITTING:
        return "Call the same tool again with the same arguments and the same order: it is not bought twice."
    return _NEXT_BY_STATUS.get(status, _WAIT)


_NEXT_BY_ERROR: Final[tuple[tuple[type[AIVideoMakerError], str], ...]] = (
    (InvalidSpec, "Nothing was sent. Mend the arguments as the message says, and call again."),
    (BudgetExceeded, "Nothing was sent. Choose something cheaper (quote_video tells prices), or ask the person."),
    (InsufficientCredits, "Nothing was bought. The account needs more credits: tell the person."),
    (ContentRejected, "Nothing was bought. The service refuses this content: change the prompt or the image."),
    (AuthenticationFailed, "The service refuses the API key: tell the person to check AIVIDEO_API_KEY."),
    (IdempotencyConflict, "This order was used for another video. Choose a new order."),
    (TaskNotFound, "There is no such task. Call list_videos for the ids."),
    (RateLimited, "Too many requests. Call again in a minute."),
    (OutputExpired, "The file is gone. It would have to be bought again: ask the person."),
    (DownloadError, "The video itself is not lost. Call download_video again, or pass its url on."),
    (ConfigurationError, "This cannot work as it is set up: tell the person what the message says."),
)


def report_of_error(error: AIVideoMakerError) -> Report:
    """Return what a tool reports of an error.

    Args:
        error: any error of the package.

    Returns:
        `status`, `error`, `message` and `next`; `task_id` where there is one.
    """
    if isinstance(error, WaitTimeout):
        status = str(error.last_status or TaskStatus.SUBMITTED)
        return Report(status=status, task_id=error.task_id, next=next_step(status))
    if isinstance(error, UnknownTaskEnd):
        return Report(
            status=str(error.details.status),
            task_id=error.details.id,
            error=type(error).__name__,
            message=str(error),
            next="It has ended, and nobody here knows how. Tell the person: the account shows whether it was charged.",
        )
    if isinstance(error, TaskFailed | TaskCancelled):
        status = str(error.details.status)
        return Report(
            status=status,
            task_id=error.details.id,
            error=type(error).__name__,
            message=str(error),
            next=next_step(status),
        )
    if isinstance(error, SubmitOutcomeUnknown):
        return Report(
            status=UNKNOWN,
            error=type(error).__name__,
            message=str(error),
            next="It may have been bought. Call the same tool again with the same order: it looks for it first. Never "
            "submit it under another order.",
        )
    usual = "Call again in a minute; with the same order, if it was a submit."
    advice = next((advice for kind, advice in _NEXT_BY_ERROR if isinstance(error, kind)), usual)
    return Report(status=ERROR, error=type(error).__name__, message=str(error), next=advice)


def report_of_failure(error: Exception) -> Report:
    """Return what a tool reports of an error that the package does not promise, such as a full disk."""
    return Report(
        status=ERROR,
        error=type(error).__name__,
        message=sanitize(str(error)),
        next="Call again in a minute; with the same order, if it was a submit. Tell the person when it fails again.",
    )
