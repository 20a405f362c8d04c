"""Faults of the simulator, as they are written on the command line: KIND[:NAME=VALUE,...]."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, cast

from ..simulator.fault_kinds import FaultKind, kind_named
from ..simulator.faults import FaultArguments, Faults
from .exits import UsageError

__all__ = ["read_fault"]


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text == "true"


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _text(text: str) -> str | None:
    return None if text == "none" else text


def _times(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number, or none for no end") from None


def _retry_after(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return _text(text)


_COMMA: Final = re.compile(r"(?<!\\),")
_RULES: Final[Mapping[str, Callable[[str], object]]] = {
    "on": _text,
    "task_id": _text,
    "model": _text,
    "after": _whole,
    "times": _times,
    "probability": _number,
}
_DETAILS: Final[Mapping[str, Callable[[str], object]]] = {
    "acted": _flag,
    "status": _whole,
    "body": _text,
    "retry_after": _retry_after,
    "location": _text,
    "seconds": _number,
    "size": _whole,
    "depth": _whole,
    "by": _whole,
}
_READERS: Final = {**_RULES, **_DETAILS}


def read_fault(text: str) -> tuple[FaultKind, FaultArguments]:
    """The kind and the other arguments of `Simulator.fault`, checked.

    `none` is None wherever that is allowed. A comma that is part of a value has a backslash before it.

    Raises:
        UsageError: the text is wrong; it names the part, and what is allowed.
    """
    name, _, rest = text.partition(":")
    try:
        names = (*_RULES, *kind_named(name).takes)
        arguments: dict[str, object] = {}
        for part in _COMMA.split(rest) if rest else ():
            key, value = _part(part.replace("\\,", ","), names)
            if key in arguments:
                raise ValueError(f"{key} is given twice")
            arguments[key] = value
        kind, checked = cast("FaultKind", name), cast("FaultArguments", arguments)
        Faults().add(kind, **checked)
    except ValueError as error:
        raise UsageError(f"--fault {text}: {error}") from None
    return kind, checked


def _part(part: str, names: tuple[str, ...]) -> tuple[str, object]:
    key, equals, value = part.partition("=")
    if not equals or key not in names:
        raise ValueError(f"{part!r} must be NAME=VALUE, with a name out of {', '.join(names)}")
    try:
        return key, _READERS[key](value)
    except ValueError as error:
        raise ValueError(f"{key} must be {error}, got {value!r}") from None
