"""Exit codes, and which error ends the command with which of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from .._redaction import hide_base64, redact_text, shorten
from ..errors import AuthenticationFailed, ConfigurationError, InvalidSpec, TaskCancelled, TaskFailed, WaitTimeout

_LONGEST: Final = 1000
"""Characters of a message."""

__all__ = ["MEANINGS", "Exit", "OutputClosed", "Terminated", "UsageError", "code_of"]


class Exit(IntEnum):
    """How the command ended, for scripts."""

    OK = 0
    TASK_FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    SERVICE = 4
    TIMED_OUT = 5
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


MEANINGS: Final[Mapping[Exit, str]] = {
    Exit.OK: "it worked",
    Exit.TASK_FAILED: "the task failed or was cancelled; a cancel came too late",
    Exit.USAGE: "wrong usage, or no to the price; nothing was sent",
    Exit.CONFIGURATION: "configuration or authentication (API key, extras)",
    Exit.SERVICE: "refused by the service (too few credits, too), no answer,\n     unknown outcome, no download",
    Exit.TIMED_OUT: "the wait timed out; the task goes on",
    Exit.INTERRUPTED: "interrupted (Ctrl-C); the task goes on",
    Exit.OUTPUT_CLOSED: "nobody reads the output any more; the task goes on",
    Exit.TERMINATED: "terminated (SIGTERM); the task goes on",
}
"""What the codes mean, as the help tells it."""


class UsageError(Exception):
    """The command was called in a way that cannot work; nothing was sent.

    Args:
        message: what is wrong. It may quote arguments: images and the like in it are not shown.
    """

    def __init__(self, message: str) -> None:
        super().__init__(shorten(hide_base64(redact_text(message[: 8 * _LONGEST])), _LONGEST))


class Terminated(Exception):
    """The process was asked to end (SIGTERM)."""

    def __init__(self) -> None:
        super().__init__("terminated")


class OutputClosed(Exception):
    """Nobody reads standard output any more."""

    def __init__(self) -> None:
        super().__init__("standard output was closed")


_CODES: Final[Mapping[type[BaseException], Exit]] = {
    TaskFailed: Exit.TASK_FAILED,
    TaskCancelled: Exit.TASK_FAILED,
    UsageError: Exit.USAGE,
    InvalidSpec: Exit.USAGE,
    ConfigurationError: Exit.CONFIGURATION,
    AuthenticationFailed: Exit.CONFIGURATION,
    WaitTimeout: Exit.TIMED_OUT,
    KeyboardInterrupt: Exit.INTERRUPTED,
    OutputClosed: Exit.OUTPUT_CLOSED,
    Terminated: Exit.TERMINATED,
}


def code_of(error: BaseException) -> Exit:
    """The exit code for an error. What no other code is for is the service's or the network's."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), Exit.SERVICE)
