"""Dates in headers of HTTP."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

__all__ = ["parse_http_date"]


def parse_http_date(value: str | None) -> float | None:
    """Return the seconds since the epoch of an HTTP date, or None when it is missing or malformed."""
    if value is None:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # A date that names no zone is UTC, as in the obsolete forms of HTTP; Python would take it for local time.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None
