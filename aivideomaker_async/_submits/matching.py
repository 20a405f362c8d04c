"""Whether a task of the list is what a submit ordered, and whether it was created since.

A service that keeps no idempotency keys shows only the model and the input of a task, and not always as they were sent:
an uploaded image becomes an address, defaults are filled in, texts are trimmed or escaped. Clocks disagree as well. So
both questions have a third answer beside yes and no, and a task of which either is unsure is neither adopted nor ruled
out.

Only the model and the words rule a task out. Settings that differ make it unsure: the service may show them in an
unforeseen form.
"""

from __future__ import annotations

import hashlib
import html
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from math import inf
from typing import Final, NamedTuple
from urllib.parse import unquote

from .._redaction import is_data_uri
from ..tasks import TaskDetails
from .body import Image, LongText
from .state import Fingerprint, Instant, ServiceClock, Submit

__all__ = [
    "ClockReference",
    "ListedTask",
    "Match",
    "Recency",
    "StampedTimes",
    "compare",
    "fold",
    "make_fingerprint",
    "recency",
    "stamped_times",
]

MIN_PREFIX_CHARACTERS: Final = 6
"""Letters and digits that are enough to recognise a text by its beginning."""

MIN_CUT_CHARACTERS: Final = 40
"""No list shortens texts to less than this, unless it shows so by an ellipsis."""

MAX_COMPARED_DEPTH: Final = 20

CLOCK_TOLERANCE_S: Final = 5.0
"""A task stamped up to this long before its submit may belong to it: headers have whole seconds, and the clocks of two
machines of one service differ."""

SURELY_OLDER_S: Final = 90.0
"""A task stamped this long before a known moment is older: servers of one service differ by less."""

DURATION_TOLERANCE_S: Final = 30.0
"""A finished task that took this much longer than the submit is ago is older, whatever its clock shows."""

_PROMPTS: Final = frozenset({"prompt", "content"})


# --- what was ordered --------------------------------------------------------------------------------


class Match(Enum):
    """How a listed task compares with a fingerprint."""

    SAME = auto()
    MAYBE = auto()
    """Nothing rules it out, and something that was sent is not shown, or shown in another form."""
    OTHER = auto()


def make_fingerprint(model: str, fields: Mapping[str, object]) -> Fingerprint:
    """Return what a request orders.

    Args:
        model: the model's wire name.
        fields: the fields of the body by wire name, with an `Image` or a `LongText` in place of all that is long.
    """
    uploads = {name: digest for name, value in fields.items() if (digest := _digest(value))}
    plain = {name: _normalize(value) for name, value in fields.items() if name not in uploads}
    return Fingerprint(model, plain, uploads)


def compare(fingerprint: Fingerprint, task: TaskDetails) -> Match:
    """Compare a listed task with `fingerprint`, without their idempotency keys."""
    sent, shown = fingerprint.fields, task.input
    if task.model is not None and fold(task.model) != fold(fingerprint.model):
        return Match.OTHER
    words = [_compare_words(sent[name], shown.get(name)) for name in sent if name in _PROMPTS]
    # With `promptExtend` the service may show the words that it has made of the prompt.
    if Match.OTHER in words and not sent.get("promptExtend"):
        return Match.OTHER
    if task.model is None or not shown or any(word is not Match.SAME for word in words):
        return Match.MAYBE
    for name, value in sent.items():
        if name in _PROMPTS:
            continue
        if name not in shown and words and not _has_url(value):
            # The words are the same: a setting that is not shown does not matter.
            continue
        is_same = _is_empty(value) if _is_empty(shown.get(name)) else _normalize(shown[name]) == value
        if not is_same:
            return Match.MAYBE
    # A model that takes an image may do without: then this is an order without one.
    if not all(shown.get(name) for name in fingerprint.uploads):
        return Match.MAYBE
    unasked = shown.keys() - sent.keys() - fingerprint.uploads.keys()
    return Match.MAYBE if any(_is_content(name, shown[name]) for name in unasked) else Match.SAME


def _compare_words(sent: object, shown: object) -> Match:
    """Compare a prompt, or a list of prompts, with what is shown in its place."""
    if _is_empty(shown):
        return Match.SAME if _is_empty(sent) else Match.MAYBE
    shown = _normalize(shown)
    if shown == sent:
        return Match.SAME
    if isinstance(sent, list) and isinstance(shown, list):
        if len(sent) != len(shown):
            return Match.OTHER
        parts = {_compare_words(one, other) for one, other in zip(sent, shown, strict=True)}
        return Match.OTHER if parts == {Match.OTHER} else Match.MAYBE
    if not isinstance(sent, str) or not isinstance(shown, str) or _is_url(sent):
        return Match.MAYBE
    one, other = fold(sent), fold(shown)
    is_cut_off = len(other) >= MIN_PREFIX_CHARACTERS and one.startswith(other) and _may_be_cut_off(shown)
    is_extended = len(one) >= 2 * MIN_PREFIX_CHARACTERS and one in other
    return Match.MAYBE if one == other or is_cut_off or is_extended else Match.OTHER


def _may_be_cut_off(shown: str) -> bool:
    """Return whether a list may have shortened a text to this. "postcard 3" is not what is left of "postcard 37"."""
    return len(shown) >= MIN_CUT_CHARACTERS or shown.rstrip("\"' ").endswith(("…", "..."))


def fold(text: str) -> str:
    """Return the letters and digits of a text: what is left of it however it was escaped, quoted or trimmed."""
    return "".join(filter(str.isalnum, unquote(html.unescape(text)).casefold()))


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def _is_content(name: str, value: object) -> bool:
    """Return whether a field shows what a user gives, and not a default that the service fills in."""
    is_url = isinstance(value, str) and _is_url(value)
    return bool(value) and (name in _PROMPTS or is_url or isinstance(value, list | dict))


def _has_url(value: object) -> bool:
    if isinstance(value, str):
        return _is_url(value)
    return isinstance(value, dict | list) and any(map(_has_url, value.values() if isinstance(value, dict) else value))


def _is_url(text: str) -> bool:
    return text.startswith(("http://", "https://", "data:"))


def _is_address(text: str) -> bool:
    return " " not in text and text.lower().startswith(("http://", "https://"))


def _digest(value: object) -> bytes | None:
    """Return the digest of a value that holds an image or a long text; None for any other."""
    if isinstance(value, Image | LongText):
        return value.digest
    if isinstance(value, str):
        return _hash(value.encode("utf-8", "replace")) if is_data_uri(value) else None
    if isinstance(value, Mapping):
        return _digest([value[name] for name in sorted(value, key=str)])
    if isinstance(value, list | tuple):
        parts = [_digest(item) for item in value]
        if any(parts):
            named = (part or repr(_normalize(item)).encode() for part, item in zip(parts, value, strict=True))
            return _hash(b"\0".join(named))
    return None


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _normalize(value: object, levels: int = MAX_COMPARED_DEPTH) -> object:
    """Return `value` so that values of the same meaning are equal: "8" and 8, texts that differ in spaces.

    Of an address only a digest is left: it may carry a signature or a token, and errors keep the value.
    """
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        text = " ".join(unicodedata.normalize("NFC", value).split())
        return f"https://{_hash(text.encode('utf-8', 'replace')).hex()}" if _is_address(text) else text
    if isinstance(value, int | float):
        return str(int(value)) if value == value // 1 else str(value)
    if levels == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(key): _normalize(item, levels - 1) for key, item in value.items()}
    return [_normalize(item, levels - 1) for item in value] if isinstance(value, Iterable) else str(value)


# --- when it was created -----------------------------------------------------------------------------


class ListedTask:
    """A row of the list that is assigned to no submit.

    Args:
        details: the row.
        first_seen: when the first list that showed it arrived, on the clock of the event loop.
    """

    __slots__ = ("_matches", "created_at", "details", "duration_s", "first_seen")

    def __init__(self, details: TaskDetails, first_seen: float) -> None:
        self.first_seen = first_seen
        self._matches: dict[Submit, Match] = {}
        self.update(details)

    def update(self, details: TaskDetails) -> None:
        """Take a later row of the same task."""
        self.details = details
        self.created_at = None if details.created_at is None else details.created_at.timestamp()
        """Seconds since the epoch, by the clock that stamps tasks."""
        ended_at = None if details.completed_at is None else details.completed_at.timestamp()
        self.duration_s = 0.0 if self.created_at is None or ended_at is None else ended_at - self.created_at
        """Seconds from its creation to its end; 0 while that is unknown."""

    def compare(self, submit: Submit) -> Match:
        """Compare it with what a submit ordered. The result is kept: each list brings the same rows again."""
        if submit not in self._matches:
            self._matches[submit] = compare(submit.fingerprint, self.details)
        return self._matches[submit]


class Recency(Enum):
    """Whether a task was created before a submit was sent, or since."""

    OLD = auto()
    UNSURE = auto()
    NEW = auto()


class ClockReference(NamedTuple):
    """A task of this process whose stamp is known. It compares the clock that stamps tasks with the service's."""

    assigned_at: Instant
    """When it was assigned to this process."""
    stamp: float
    """When it was created, by the clock that stamps tasks."""


class StampedTimes(NamedTuple):
    """The moments of a submit by the clock that stamps tasks, which need not be the one in the header of answers.

    Where the clocks of this machine or of the service disagree, each moment is taken so that fewer tasks count as old,
    or as new.
    """

    earliest: float
    """When it was sent, at the earliest."""
    latest: float
    """The same, at the latest."""
    end: float
    """When all that it can have created was created; infinite while an answer may come."""
    now: float
    age: float
    """Seconds since it was sent."""
    is_compared: bool
    """Whether the clocks were compared by a task that was assigned before."""


def stamped_times(submit: Submit, clock: ServiceClock, references: Sequence[ClockReference]) -> StampedTimes:
    """Return the moments of a submit that was sent by the clock that stamps tasks.

    Args:
        submit: the submit.
        clock: the time here and at the service.
        references: the last task that was assigned before it was sent, and the first one after, as far as known.
    """
    sent_at, now = submit.sent_at, clock.service_now
    assert sent_at is not None  # noqa: S101
    is_compared = any(item.assigned_at.loop < sent_at.loop for item in references)
    # By how much the stamps are ahead of the service's clock. Of two clocks of this machine that disagree, either may
    # be wrong.
    measures = clock.by_loop, clock.by_wall
    ahead = [item.stamp - measure(item.assigned_at) for item in references for measure in measures]
    low, high = min(ahead if is_compared else [0.0, *ahead]), max([0.0, *ahead])
    end = inf
    if submit.was_lost and not submit.may_still_arrive:
        # Which tasks were assigned to others in another process since then is unknown.
        tolerance = low + CLOCK_TOLERANCE_S if submit.sent_elsewhere else high + SURELY_OLDER_S
        end = now - (clock.now.loop - submit.lost_at) + submit.grace_s + tolerance
    return StampedTimes(
        earliest=clock.earliest(sent_at) + low,
        latest=clock.by_loop(sent_at) + high,
        end=end,
        now=now,
        age=now - clock.earliest(sent_at),
        is_compared=is_compared,
    )


def recency(task: ListedTask, submit: Submit, times: StampedTimes) -> Recency:
    """Return whether a listed task was created since `submit` was sent.

    Args:
        task: the listed task.
        submit: the submit.
        times: its moments, by `stamped_times`.
    """
    sent_at, created_at = submit.sent_at, task.created_at
    assert sent_at is not None  # noqa: S101
    # When another process sent it is known by the service's clock, whose seconds are whole.
    tolerance = CLOCK_TOLERANCE_S if submit.sent_elsewhere else 0.0
    if submit.is_time_known and task.first_seen < sent_at.loop - tolerance:
        return Recency.OLD
    appeared = submit.polls > 0 and task.details.id not in submit.seen_at_first_poll
    if created_at is None:
        return Recency.NEW if appeared else Recency.UNSURE

    is_old = submit.is_time_known and created_at < times.earliest - SURELY_OLDER_S
    if is_old and not times.is_compared:
        # The clock that stamps tasks may be any. It still measures durations.
        is_old = task.duration_s > times.age + DURATION_TOLERANCE_S
    if is_old:
        # Another server of the service may have a clock of its own.
        return Recency.UNSURE if appeared else Recency.OLD

    if created_at > times.end:
        return Recency.UNSURE
    if appeared:
        return Recency.NEW
    # By an unknown clock that runs ahead, older tasks look new, and the newest ones are in the future.
    is_in_future = not times.is_compared and created_at > times.now + CLOCK_TOLERANCE_S
    is_new = created_at >= times.latest - CLOCK_TOLERANCE_S and not is_in_future
    return Recency.NEW if is_new else Recency.UNSURE
