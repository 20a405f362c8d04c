"""The kinds of faults as data: what each takes, and its defaults. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal, TypedDict

from attrs import evolve, frozen

from .validation import Check, check_bool, check_integer, check_number, invalid

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

FaultBody = str | bytes | Mapping[str, object]
"""A body: text, bytes, or the fields of a JSON object."""

RetryAfterValue = float | str | datetime
"""The value of `Retry-After`: seconds, a moment, or a text that is sent as it is."""


class FaultDetails(TypedDict, total=False):
    """The details of a fault. `Details` documents them, and `FAULT_KINDS` has which kind takes which."""

    acted: bool
    status: int
    body: FaultBody | None
    retry_after: RetryAfterValue | None
    location: str
    seconds: float
    size: int
    depth: int
    by: int


@frozen(kw_only=True)
class Details:
    """How a fault appears to the client."""

    acted: bool = False
    """Whether the server carries out the request all the same."""
    status: int = 200
    """The HTTP status of the answer."""
    body: FaultBody | None = None
    """The body of the answer, in place of an error of the API."""
    retry_after: RetryAfterValue | None = None
    location: str = ""
    seconds: float = 0.0
    """Real seconds, whatever the speed of the simulator."""
    size: int | None = None
    """Bytes."""
    depth: int = 1
    """Nested lists."""
    by: int = 1
    """Bytes by which `Content-Length` is too large, or too small if negative."""


# aiohttp refuses to send other characters in a header.
_PRINTABLE = re.compile(r"[\x20-\x7e]+")


def _check_header(name: str, value: object) -> None:
    if not isinstance(value, str) or _PRINTABLE.fullmatch(value) is None:
        raise invalid(name, "a text of printable ASCII characters", value)


def _check_retry_after(name: str, value: object) -> None:
    if isinstance(value, str):
        _check_header(name, value)
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise invalid(name, "a datetime with a time zone", value)
    elif value is not None:
        check_number(name, value)


def _check_body(name: str, value: object) -> None:
    if value is None or isinstance(value, str | bytes):
        return
    if not isinstance(value, Mapping):
        raise invalid(name, "a text, bytes or a dict for JSON", value)
    try:
        json.dumps(dict(value))
    except (TypeError, ValueError) as error:
        raise invalid(name, f"what JSON can hold ({error})", value) from None


def _check_offset(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value == 0:
        raise invalid(name, "a whole number other than 0", value)


_CHECKS: Mapping[str, Check] = {
    "acted": check_bool,
    "status": check_integer,
    "body": _check_body,
    "retry_after": _check_retry_after,
    "location": _check_header,
    "seconds": check_number,
    "size": partial(check_integer, least=1),
    "depth": partial(check_integer, least=1),
    "by": _check_offset,
}


@frozen
class FaultDefinition:
    """A kind of fault: the defaults of its details, the details that it takes and those that are required.

    With `files`, it can only hit requests for files.
    """

    defaults: Details
    takes: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    statuses: Sequence[int] = range(200, 600)
    files: bool = False

    def details(self, kind: str, given: FaultDetails) -> Details:
        """Return the details of a fault. Raises `ValueError` with what is wrong and what is allowed."""
        if unknown := [one for one in given if one not in self.takes]:
            allowed = f"only {', '.join(self.takes)}" if self.takes else "no details"
            raise ValueError(f"a fault of the kind {kind} takes {allowed}, got {', '.join(unknown)}")
        if missing := [one for one in self.required if one not in given]:
            raise ValueError(f"a fault of the kind {kind} needs {', '.join(missing)}")
        for one, value in given.items():
            _CHECKS[one](one, value)
        details: Details = evolve(self.defaults, **given)
        if details.status not in self.statuses:
            is_span = isinstance(self.statuses, range)
            allowed = "from 200 to 599" if is_span else f"one of {', '.join(map(str, self.statuses))}"
            raise invalid("status", allowed, details.status)
        return details


# A fault without an answer, or with an error as its answer, usually means that the server has done nothing. A corrupted
# answer means that the server has acted.
_NOT_ACTED = Details(acted=False)
_ACTED = Details(acted=True)

FAULT_KINDS: Mapping[str, FaultDefinition] = {
    "drop": FaultDefinition(_NOT_ACTED, ("acted",)),
    "reset": FaultDefinition(_NOT_ACTED, ("acted",)),
    "hang": FaultDefinition(_NOT_ACTED, ("acted",)),
    "status": FaultDefinition(evolve(_NOT_ACTED, status=500), ("status", "body", "retry_after", "acted")),
    "html": FaultDefinition(evolve(_NOT_ACTED, status=502), ("status", "acted")),
    "redirect": FaultDefinition(
        evolve(_NOT_ACTED, status=307), ("location", "status", "acted"), ("location",), (301, 302, 303, 307, 308)
    ),
    "rate_limit": FaultDefinition(evolve(_NOT_ACTED, status=429, retry_after=1), ("retry_after",)),
    "slow": FaultDefinition(_ACTED, ("seconds",), ("seconds",)),
    "trickle": FaultDefinition(evolve(_ACTED, seconds=0.01, size=1), ("seconds", "size")),
    "truncate": FaultDefinition(_ACTED, ("size",)),
    "wrong_length": FaultDefinition(_ACTED, ("by",)),
    "truncated_json": FaultDefinition(_ACTED, ("size",)),
    "wrong_types": FaultDefinition(_ACTED),
    "garbage": FaultDefinition(evolve(_ACTED, size=512), ("size", "acted")),
    "empty": FaultDefinition(_ACTED, ("acted",)),
    "huge": FaultDefinition(evolve(_ACTED, size=100_000_000), ("size", "acted")),
    "endless": FaultDefinition(evolve(_ACTED, seconds=0.01, size=65_536), ("size", "seconds", "acted")),
    "gzip_bomb": FaultDefinition(evolve(_ACTED, size=1_000_000_000), ("size", "acted")),
    "deep_json": FaultDefinition(evolve(_ACTED, depth=100_000), ("depth", "acted")),
    "changed": FaultDefinition(_ACTED, files=True),
    "no_ranges": FaultDefinition(_ACTED, files=True),
}
"""The kinds of faults by their names."""


def fault_definition(kind: object) -> FaultDefinition:
    """Return the definition of a kind. Raises `ValueError` with all kinds when there is no such kind."""
    if not isinstance(kind, str) or kind not in FAULT_KINDS:
        raise ValueError(f"the kind of a fault must be one of {', '.join(FAULT_KINDS)}, got {kind!r}")
    return FAULT_KINDS[kind]
