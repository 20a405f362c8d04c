"""The base URL of a service: parsed the way requests parse it, and safe to send an API key to."""

from __future__ import annotations

import re
import string
from contextlib import suppress
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from .._redaction import Secret
from ..errors import ConfigurationError

__all__ = ["base_url", "has_api_path_in", "is_loopback", "service_url"]

API_PATH: Final = "/api/v1"

_HOST: Final = re.compile(r"([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+(%25[\w.-]+)?\])(:[0-9]*)?", re.IGNORECASE)
"""An ASCII name or an IPv6 address in brackets, with an optional port."""


def service_url(value: Secret, *, allow_http: bool) -> str:
    """Return the base URL of the service as `base_url` does, if the API key travels to it encrypted.

    Args:
        value: the URL, in a form that no local variable shows: it may hold a password, and is refused then.
        allow_http: whether the key may travel in plain text to another machine; to this machine it always may.

    Raises:
        ConfigurationError: it is no base URL, or the key would travel in plain text.
    """
    # The documents show it behind the host, so that people copy it.
    url = base_url(value).removesuffix(API_PATH).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"base_url: http:// would send the API key unencrypted to {parts.hostname}; use https://, or allow it "
            "where nobody can listen on the way: AIVideoMaker(..., allow_http=True), or --allow-http"
        )
    return url


def has_api_path_in(value: Secret) -> bool:
    """Return whether a base URL was given with the path that each request adds."""
    return value.reveal().strip().rstrip("/").endswith(API_PATH)


def is_loopback(host: str) -> bool:
    """Return whether `host`, a name or an address, is this machine, whatever a name server answers.

    The only name is `localhost`: some systems look up names that end in `.localhost` like any other.
    """
    if host.rstrip(".").lower() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def base_url(value: Secret) -> str:
    """Return the base URL of a service in ASCII and without a trailing slash.

    Raises:
        ConfigurationError: it is no such URL. The message does not show it, since it may hold a password.
    """
    url = ""
    if isinstance(value.reveal(), str):
        with suppress(ValueError):
            # What has a user or a password is refused here, and stands in no frame when the error is raised.
            url = _as_requests_read_it(value.reveal().strip()) if _is_base_url(value.reveal().strip()) else ""
    if not url:
        raise ConfigurationError("base_url: must be http(s)://host, with nothing more than a port and a path")
    return url.rstrip("/")


def _is_base_url(value: str) -> bool:
    parts = urlsplit(value)
    is_web = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    return is_web and "@" not in parts.netloc and value.isprintable() and not set(value) & set("?#" + string.whitespace)


def _as_requests_read_it(value: str) -> str:
    # Two parsers that disagree on where the host ends would send the key to a stranger. Imported here, since values
    # alone do without.
    from yarl import URL

    # An international name travels in its ASCII form.
    text = value if value.isascii() else str(URL(value))
    url = URL(text, encoded=True)
    host = url.raw_host or ""
    if not _HOST.fullmatch(url.raw_authority) or host.lower() != urlsplit(text).hostname:
        return ""
    if ":" in host:
        ip_address(host)
    # Some hosts fail only when they are decoded.
    return text if url.host else ""
