"""Statuses and answers of the API, as frozen values without I/O.

Every value that was read from the wire keeps the fields that this version does not know in `extra`, under their wire
names, so that a newer server loses nothing on its way to you.

Values are as the service sent them, whatever they hold. Their reprs, which end up in logs, show no image, no query of a
URL, no API key and nothing that goes by the name of a key, a token or a webhook.

Each is written as JSON by `to_dict()`, and restored by `from_dict()`: see `json_form`.

A program that asks for no more than a status does not load the other values: they are imported on use.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .values import (
        JSON,
        JSON_NAME,
        Account,
        CancelResult,
        Eta,
        FinishedVideo,
        JSONForm,
        LostSubmit,
        Quote,
        StatusChange,
        SubmittedTask,
        SubmitTrace,
        TaskDetails,
        TaskHandle,
        TaskOutput,
        as_json,
        restore,
        utc_text,
    )

__all__ = [
    "JSON",
    "JSON_NAME",
    "OUTPUT_KEPT_FOR",
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
    "TaskStatus",
    "as_json",
    "restore",
    "utc_text",
    "video_seconds",
]

OUTPUT_KEPT_FOR: Final = timedelta(hours=24)
"""How long the service keeps a finished video before it deletes the file."""


class TaskStatus(StrEnum):
    """The status of a task. Members equal their wire strings and print as them.

    The set is open: `TaskStatus("QUEUED")` is a status that this version does not know (`is_known` is False). It is
    kept, compared and printed like any other, and is never terminal.
    """

    SUBMITTED = "SUBMITTED"
    PROGRESS = "PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCEL = "CANCEL"

    @classmethod
    def _missing_(cls, value: object) -> TaskStatus | None:
        if not isinstance(value, str):
            return None
        # Not registered as a member: a server that invents statuses must not fill the memory.
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended: no other status follows."""
        return self in _TERMINAL

    @property
    def is_known(self) -> bool:
        """Whether this version of the package knows the status."""
        return self.value in TaskStatus.__members__


_TERMINAL: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCEL})


SEGMENT_S: Final = 5
"""Seconds of video that the service makes of each prompt of a list (`lv`)."""


def video_seconds(body: Mapping[str, object]) -> int | None:
    """Return the seconds of video that a request body asks for, or None when it does not say.

    Args:
        body: the fields of the request under their wire names, as sent and as `TaskDetails.input` shows them.
    """
    duration = body.get("duration")
    if isinstance(duration, str) and duration.isascii() and duration.isdigit() and len(duration) < 6:
        return int(duration)
    if isinstance(duration, int | float) and not isinstance(duration, bool) and 0 < duration < 1e6:
        return int(duration)
    prompts = body.get("prompt")
    return SEGMENT_S * len(prompts) if isinstance(prompts, list | tuple) and prompts else None


if not TYPE_CHECKING:
    # Type checkers would take every wrong name for one of these.
    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import values

        value: object = getattr(values, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
