"""Parameters that several commands have, and their checks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import CoercionError, Parameter, Token
from cyclopts.validators import Number

from .._util import validation
from .._util.paths import expanded
from ..errors import ConfigurationError
from .exit_codes import UsageError

__all__ = ["AllowPrivate", "Overwrite", "SaveTo", "TaskId", "Timeout", "check_target", "whole_number"]


def _task_id(kind: object, value: str) -> None:
    del kind
    try:
        validation.task_id(value)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


def whole_number(kind: object, tokens: Sequence[Token]) -> int:
    """Convert a whole number. The converter of cyclopts would round other numbers."""
    del kind
    try:
        return int(tokens[0].value)
    except ValueError:
        raise CoercionError(token=tokens[0], target_type=int) from None


TaskId: TypeAlias = Annotated[str, Parameter(metavar="ID", validator=_task_id, help="the id of the task.")]

Timeout: TypeAlias = Annotated[
    float | None,
    Parameter(metavar="SECONDS", validator=Number(gt=0), help="seconds to wait at most; by default an hour."),
]

SaveTo: TypeAlias = Annotated[
    Path | None,
    Parameter(name="--output", metavar="FILE", help="where to save the video; by default its URL is printed."),
]

Overwrite: TypeAlias = Annotated[
    bool, Parameter(negative=(), show_default=False, help="replace the file if it is there already.")
]


AllowPrivate: TypeAlias = Annotated[
    bool,
    Parameter(
        negative=(),
        show_default=False,
        help="save a file also from an address that is not of the public internet, as some networks give to all.",
    ),
]


def check_target(path: Path | None, *, overwrite: bool) -> None:
    """Check that the video can be saved, before anything is paid.

    Raises:
        UsageError: it cannot be saved.
    """
    if path is None:
        return
    path = expanded(path)
    if path.is_dir():
        raise UsageError(f"--output {path}: this is a folder; name a file")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}")
    if path.exists() and not overwrite:
        raise UsageError(f"--output {path}: the file exists already; --overwrite replaces it")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"--output {path}: the folder {path.parent} cannot be written to")
