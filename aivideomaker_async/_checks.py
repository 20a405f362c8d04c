"""Checks of arguments. Each returns the value, or raises a `ConfigurationError` that says what is allowed."""

from __future__ import annotations

import string
from math import inf
from sys import float_info
from typing import Final, TypeGuard
from urllib.parse import urlsplit

from .errors import ConfigurationError
from .secrecy import Secret

__all__ = ["base_url", "count", "key", "seconds", "wait"]

KEYS_PAGE: Final = "https://aivideomaker.ai"


def count(name: str, value: object) -> int:
    """A whole number, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name}={value!r}: must be a whole number, 1 or more")
    return value


def wait(name: str, value: object) -> float:
    """A time to wait in seconds; 0 for not at all, infinity for no limit."""
    if not _is_number(value) or not (0 <= value <= float_info.max or value == inf):
        raise ConfigurationError(f"{name}={value!r}: must be seconds, 0 or more (math.inf for no limit)")
    return float(value)


def seconds(name: str, value: object) -> float:
    """A length of time in seconds that is neither nothing nor endless."""
    if not _is_number(value) or not 0 < value <= float_info.max:
        raise ConfigurationError(f"{name}={value!r}: must be seconds, more than 0")
    return float(value)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def key(value: str | None) -> Secret:
    """An API key that can travel in a header. No message shows it: it may be right but for one character."""
    value = value.strip() if isinstance(value, str) else None
    if not value:
        raise ConfigurationError(
            "no API key: pass AIVideoMaker(api_key=...) or set the environment variable AIVIDEO_API_KEY; "
            f"keys come from your account at {KEYS_PAGE}"
        )
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError("the API key has characters that no key has (spaces, line breaks or non-ASCII ones)")
    return Secret(value)


def base_url(value: str) -> str:
    """The URL of a service, without a slash at the end. The message does not show it: it may hold a password."""
    value = value.strip() if isinstance(value, str) else ""  # type: ignore[redundant-expr]
    try:
        parts = urlsplit(value)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        valid = valid and "@" not in parts.netloc and not set(value) & set("?#" + string.whitespace)
    except ValueError:
        valid = False
    if not valid or not value.isprintable():
        raise ConfigurationError("base_url: must be http(s)://host, with nothing more than a port and a path")
    return value.rstrip("/")
