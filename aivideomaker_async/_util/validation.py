"""Checks of arguments. Each returns the value, or raises a `ConfigurationError` that says what is allowed."""

from __future__ import annotations

import re
import string
from ipaddress import ip_address
from math import inf
from sys import float_info
from typing import Final, TypeGuard
from urllib.parse import urlsplit

from .._redaction import Secret
from ..errors import ConfigurationError

__all__ = ["amount", "base_url", "count", "is_loopback", "key", "seconds", "service_url", "wait"]

# A name in ASCII, or an address of IPv6, and perhaps a port.
_HOST: Final = re.compile(r"([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+(%25[\w.-]+)?\])(:[0-9]*)?", re.IGNORECASE)

KEYS_PAGE: Final = "https://aivideomaker.ai"


def count(name: str, value: object) -> int:
    """A whole number, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{name}={value!r}: must be a whole number, 1 or more")
    return value


def amount(name: str, value: object) -> int:
    """A whole number of credits, 0 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{name}={value!r}: must be a whole number of credits, 0 or more")
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


def key(given: Secret | None) -> Secret:
    """An API key that can travel in a header. No message shows it: it may be right but for one character."""
    # Nor does a local variable of this frame.
    if given is not None and not isinstance(given.reveal(), str):
        raise ConfigurationError(f"api_key: must be a text, not {type(given.reveal()).__name__}")
    stripped = None if given is None else _stripped(given)
    if stripped is None:
        raise ConfigurationError(
            "no API key: pass AIVideoMaker(api_key=...) or set the environment variable AIVIDEO_API_KEY; "
            f"keys come from your account at {KEYS_PAGE}"
        )
    if not _can_travel(stripped.reveal()):
        raise ConfigurationError("the API key has characters that no key has (spaces, line breaks or non-ASCII ones)")
    return stripped


def _stripped(given: Secret) -> Secret | None:
    return Secret(given.reveal().strip()) if given.reveal().strip() else None


def _can_travel(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def service_url(value: str, *, allow_http: bool) -> str:
    """The base URL of the service: as `base_url`, and the key travels encrypted.

    Args:
        value: the URL.
        allow_http: whether the key may travel in plain text; on this machine it may anyway.
    """
    url = base_url(value)
    parts = urlsplit(url)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"base_url: http:// would send the API key unencrypted to {parts.hostname}; use https://, or allow it "
            "where nobody can listen on the way: AIVideoMaker(..., allow_http=True), or --allow-http"
        )
    return url


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine, whatever a name server says.

    Of names that is `localhost` alone: those that end in `.localhost` some systems look up like any other.
    """
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def base_url(value: str) -> str:
    """The URL of a service, in ASCII and without a slash at the end.

    The message does not show it: it may hold a password.
    """
    value = value.strip() if isinstance(value, str) else ""  # type: ignore[redundant-expr]
    try:
        url = _encoded(value) if _is_base(value) else ""
    except ValueError:
        url = ""
    if not url:
        raise ConfigurationError("base_url: must be http(s)://host, with nothing more than a port and a path")
    return url.rstrip("/")


def _is_base(value: str) -> bool:
    parts = urlsplit(value)
    is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    return is_web and "@" not in parts.netloc and value.isprintable() and not set(value) & set("?#" + string.whitespace)


def _encoded(value: str) -> str:
    # As requests read it: two readers that disagree on where the host ends are how a key goes astray.
    from yarl import URL

    # A name in letters of its own goes by another one on the way.
    text = value if value.isascii() else str(URL(value))
    url = URL(text, encoded=True)
    host = url.raw_host or ""
    if not _HOST.fullmatch(url.raw_authority) or host.lower() != urlsplit(text).hostname:
        return ""
    if ":" in host:
        ip_address(host)
    # What requests make of it in the end, which fails for some.
    return text if url.host else ""
