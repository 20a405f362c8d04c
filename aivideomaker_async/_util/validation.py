"""Argument checks. Each returns the checked value, or raises a `ConfigurationError` that says what is allowed."""

from __future__ import annotations

from math import inf
from sys import float_info
from typing import Final, TypeGuard

from .._redaction import Secret
from ..errors import ConfigurationError

__all__ = ["amount", "api_key", "count", "is_task_id", "seconds", "seconds_or_inf", "task_id"]

KEYS_PAGE: Final = "https://aivideomaker.ai"

MIN_KEY_CHARACTERS: Final = 4
"""A shorter key is none, and hiding it in messages would blank out letters of ordinary words."""


def count(name: str, value: object) -> int:
    """Return `value` if it is a whole number of 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name}={value!r}: must be a whole number, 1 or more")
    return value


def amount(name: str, value: object) -> int:
    """Return `value` if it is a whole number of credits, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{name}={value!r}: must be a whole number of credits, 0 or more")
    return value


def seconds(name: str, value: object) -> float:
    """Return `value` as a float if it is a finite number of seconds above 0."""
    if not _is_number(value) or not 0 < value <= float_info.max:
        raise ConfigurationError(f"{name}={value!r}: must be seconds, more than 0")
    return float(value)


def seconds_or_inf(name: str, value: object) -> float:
    """Return `value` as a float if it is 0 or more seconds; infinity means no limit."""
    if not _is_number(value) or not (0 <= value <= float_info.max or value == inf):
        raise ConfigurationError(f"{name}={value!r}: must be seconds, 0 or more (math.inf for no limit)")
    return float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def task_id(value: object) -> str:
    """Return `value` if it can be a task id. Ids are opaque, and nearly every text can stand in a path when quoted."""
    if not is_task_id(value):
        raise ConfigurationError(
            f"task_id={value!r}: must be a text that is not empty, not '.' or '..', and without lone surrogates"
        )
    return value


def is_task_id(value: object) -> TypeGuard[str]:
    """Return whether `value` can be a task id."""
    # Quoting cannot save "." and "..": proxies take them for steps in the path, quoted or not.
    if not isinstance(value, str) or not value or value in {".", ".."}:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def api_key(given: Secret | None) -> Secret:
    """Return the API key without surrounding spaces, if it can travel in a header.

    Neither a message nor a local variable of this frame shows it: it may be right but for one character.
    """
    if given is not None and not isinstance(given.reveal(), str):
        raise ConfigurationError(f"api_key: must be a text, not {type(given.reveal()).__name__}")
    if given is None or not given.reveal().strip():
        raise ConfigurationError(
            "no API key: pass AIVideoMaker(api_key=...) or set the environment variable AIVIDEO_API_KEY; "
            f"keys come from your account at {KEYS_PAGE}"
        )
    stripped = Secret(given.reveal().strip())
    if not stripped.reveal().isascii() or not stripped.reveal().isprintable() or " " in stripped.reveal():
        raise ConfigurationError("the API key has characters that no key has (spaces, line breaks or non-ASCII ones)")
    if len(stripped.reveal()) < MIN_KEY_CHARACTERS:
        raise ConfigurationError(f"api_key: must have {MIN_KEY_CHARACTERS} characters or more")
    return stripped
