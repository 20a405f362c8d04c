"""What can go wrong with an exchange: each kind of fault as data, with its details and their defaults. Pure."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, TypedDict

from attrs import evolve, frozen

FaultKind = Literal[
    "drop",
    "reset",
    "hang",
    "status",
    "html",
    "redirect",
    "rate_limit",
    "slow",
    "trickle",
    "truncate",
    "wrong_length",
    "truncated_json",
    "wrong_types",
    "garbage",
    "empty",
    "huge",
    "endless",
    "gzip_bomb",
    "deep_json",
    "changed",
    "no_ranges",
]
"""The kinds of faults."""

Body = str | bytes | Mapping[str, object]
"""A body: text, bytes, or what becomes a JSON object."""

RetryAfterValue = float | str | datetime
"""The value of `Retry-After`: seconds, a moment, or a text that goes out as it is."""


class FaultDetails(TypedDict, total=False):
    """The details of a fault. `Details` says what they are, `KINDS` which kind takes which."""

    acted: bool
    status: int
    body: Body | None
    retry_after: RetryAfterValue | None
    location: str
    seconds: float
    size: int
    depth: int
    by: int


@frozen(kw_only=True)
class Details:
    """How a fault shows itself.

    `acted` is whether the server carries out the request all the same, `status` the HTTP status that is told, `body`
    what is told instead of an error of the API, `seconds` are real ones, `size` is in bytes, `depth` in nested lists,
    and `by` says how many bytes too many (if negative, too few) Content-Length promises.
    """

    acted: bool = False
    status: int = 200
    body: Body | None = None
    retry_after: RetryAfterValue | None = None
    location: str = ""
    seconds: float = 0.0
    size: int | None = None
    depth: int = 1
    by: int = 1


# What is allowed


def wrong(name: str, allowed: str, value: object) -> ValueError:
    """Return the error that says which value is wrong, and what is allowed."""
    return ValueError(f"{name} must be {allowed}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise `ValueError` unless it is a bool."""
    if not isinstance(value, bool):
        raise wrong(name, "True or False", value)


def check_whole(name: str, value: object, least: int = 0) -> None:
    """Raise `ValueError` unless it is an int of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise wrong(name, f"a whole number of at least {least}", value)


def check_number(name: str, value: object, most: float = math.inf) -> None:
    """Raise `ValueError` unless it is a finite number from 0 to `most`."""
    number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else value
    if not (0 <= number <= most and math.isfinite(number)):
        raise wrong(name, "a number of at least 0" if math.isinf(most) else f"a number from 0 to {most:g}", value)


def _check_offset(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value == 0:
        raise wrong(name, "a whole number other than 0", value)


# aiohttp refuses to send the others in a header.
_PRINTABLE = re.compile(r"[\x20-\x7e]+")


def _check_header(name: str, value: object) -> None:
    if not isinstance(value, str) or _PRINTABLE.fullmatch(value) is None:
        raise wrong(name, "a text of printable ASCII characters", value)


def _check_retry_after(name: str, value: object) -> None:
    if isinstance(value, str):
        _check_header(name, value)
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise wrong(name, "a datetime with a time zone", value)
    elif value is not None:
        check_number(name, value)


def _check_body(name: str, value: object) -> None:
    if value is None or isinstance(value, str | bytes):
        return
    if not isinstance(value, Mapping):
        raise wrong(name, "a text, bytes or a dict for JSON", value)
    try:
        json.dumps(dict(value))
    except (TypeError, ValueError) as error:
        raise wrong(name, f"what JSON can hold ({error})", value) from None


_CHECKS: Mapping[str, Callable[[str, object], None]] = {
    "acted": check_flag,
    "status": check_whole,
    "body": _check_body,
    "retry_after": _check_retry_after,
    "location": _check_header,
    "seconds": check_number,
    "size": partial(check_whole, least=1),
    "depth": partial(check_whole, least=1),
    "by": _check_offset,
}


# The kinds


@frozen
class Kind:
    """A kind of fault: its details' defaults, the details that it takes and those that must be given.

    One of `files` makes no sense elsewhere.
    """

    defaults: Details
    takes: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    statuses: Sequence[int] = range(200, 600)
    files: bool = False

    def details(self, name: str, given: FaultDetails) -> Details:
        """Return the details of a fault. Raises `ValueError`, naming what is wrong and what is allowed."""
        if unknown := [one for one in given if one not in self.takes]:
            allowed = f"only {', '.join(self.takes)}" if self.takes else "no details"
            raise ValueError(f"a fault of the kind {name} takes {allowed}, got {', '.join(unknown)}")
        if missing := [one for one in self.required if one not in given]:
            raise ValueError(f"a fault of the kind {name} needs {', '.join(missing)}")
        for one, value in given.items():
            _CHECKS[one](one, value)
        details: Details = evolve(self.defaults, **given)
        if details.status not in self.statuses:
            span = isinstance(self.statuses, range)
            allowed = "from 200 to 599" if span else f"one of {', '.join(map(str, self.statuses))}"
            raise wrong("status", allowed, details.status)
        return details


# No answer, or one that tells of a failure, usually means that nothing was done; a bad answer comes from who did it.
_UNDONE = Details(acted=False)
_DONE = Details(acted=True)

KINDS: Mapping[str, Kind] = {
    "drop": Kind(_UNDONE, ("acted",)),
    "reset": Kind(_UNDONE, ("acted",)),
    "hang": Kind(_UNDONE, ("acted",)),
    "status": Kind(evolve(_UNDONE, status=500), ("status", "body", "retry_after", "acted")),
    "html": Kind(evolve(_UNDONE, status=502), ("status", "acted")),
    "redirect": Kind(
        evolve(_UNDONE, status=307), ("location", "status", "acted"), ("location",), (301, 302, 303, 307, 308)
    ),
    "rate_limit": Kind(evolve(_UNDONE, status=429, retry_after=1), ("retry_after",)),
    "slow": Kind(_DONE, ("seconds",), ("seconds",)),
    "trickle": Kind(evolve(_DONE, seconds=0.01, size=1), ("seconds", "size")),
    "truncate": Kind(_DONE, ("size",)),
    "wrong_length": Kind(_DONE, ("by",)),
    "truncated_json": Kind(_DONE, ("size",)),
    "wrong_types": Kind(_DONE),
    "garbage": Kind(evolve(_DONE, size=512), ("size", "acted")),
    "empty": Kind(_DONE, ("acted",)),
    "huge": Kind(evolve(_DONE, size=100_000_000), ("size", "acted")),
    "endless": Kind(evolve(_DONE, seconds=0.01, size=65_536), ("size", "seconds", "acted")),
    "gzip_bomb": Kind(evolve(_DONE, size=1_000_000_000), ("size", "acted")),
    "deep_json": Kind(evolve(_DONE, depth=100_000), ("depth", "acted")),
    "changed": Kind(_DONE, files=True),
    "no_ranges": Kind(_DONE, files=True),
}
"""The kinds of faults by their names."""


def kind_named(name: object) -> Kind:
    """Return the kind of that name. Raises `ValueError`, naming them all, when there is none."""
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(f"the kind of a fault must be one of {', '.join(KINDS)}, got {name!r}")
    return KINDS[name]
