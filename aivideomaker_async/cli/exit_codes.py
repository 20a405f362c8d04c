"""Exit codes, and the errors of the command itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from .._redaction import hide_base64, redact_text, shorten
from ..errors import AuthenticationFailed, ConfigurationError, InvalidSpec, TaskCancelled, TaskFailed, WaitTimeout

__all__ = ["MEANINGS", "Exit", "OutputClosed", "Terminated", "UsageError", "exit_code_of"]

_MAX_MESSAGE_CHARS: Final = 1000


class Exit(IntEnum):
    """The exit code of the command, for scripts."""

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
    Exit.OK: "success",
    Exit.TASK_FAILED: "the task failed or was cancelled; a cancel came too late",
    Exit.USAGE: "wrong usage, or the price was declined; nothing was sent",
    Exit.CONFIGURATION: "configuration or authentication (API key, extras)",
    Exit.SERVICE: "refused by the service (also: too few credits), no answer,\n     unknown outcome, no download",
    Exit.TIMED_OUT: "the wait timed out; the task goes on",
    Exit.INTERRUPTED: "interrupted (Ctrl-C); the task goes on",
    Exit.OUTPUT_CLOSED: "standard output was closed; the task goes on",
    Exit.TERMINATED: "terminated (SIGTERM); the task goes on",
}
"""The meanings of the codes in the help."""


class UsageError(Exception):
    """The command was called in a way that cannot work; nothing was sent.

    Args:
        message: what is wrong. It may quote arguments: secrets and images in it are hidden.
    """

    def __init__(self, message: str) -> None:
        # Only the start is shown, and hiding secrets in an image of many megabytes would take long.
        start = message[: 8 * _MAX_MESSAGE_CHARS]
        super().__init__(shorten(hide_base64(redact_text(start)), _MAX_MESSAGE_CHARS))


class Terminated(Exception):
    """The process received SIGTERM."""

    def __init__(self) -> None:
        super().__init__("terminated")


class OutputClosed(Exception):
    """Standard output is closed, or the program that reads it has ended."""

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


def exit_code_of(error: BaseException) -> Exit:
    """Return the exit code for an error. Errors without a code of their own are the service's or the network's."""
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), Exit.SERVICE)
