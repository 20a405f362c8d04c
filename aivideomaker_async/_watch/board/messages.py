"""What the processes that share one poller decide: who leads, who is overdue, what all of them wait for, what is news.

Each process that waits for something is a *member*, named by a random text. One of them leads for as long as a lease
holds, which it renews three times as often as it must. Everything that comes from other members is read here, and what
cannot be read is nothing: the place where members meet may be written to by anybody who can reach it.

Times are seconds on the member's own clock, but for `Want.since`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from math import inf, isfinite
from typing import Any, Final, Literal, TypeAlias, get_args

from attrs import define, field, frozen

from ..._http import decode_status, decode_task, encode_task
from ..._util.validation import is_task_id
from ...tasks import TaskDetails, TaskStatus

__all__ = [
    "AT_ONCE",
    "RENEWALS",
    "Kind",
    "Message",
    "News",
    "Others",
    "Seat",
    "Step",
    "Want",
    "is_id",
    "is_news",
    "news_message",
    "read_message",
    "read_news",
    "read_want",
    "write_message",
    "write_news",
]

News: TypeAlias = TaskDetails | TaskStatus
Step: TypeAlias = "tuple[str, Want | None]"
"""A task, and what all the others together want of it from now on; None for nothing any more."""

LONGEST_ID: Final = 1000
"""Characters of an id or reference that is taken seriously."""

LARGEST_NEWS: Final = 100_000
"""Characters of what is told of one task. With an image in its input it is more: who waits for it asks the service."""

LARGEST_MESSAGE: Final = 1 << 24
"""Characters of a message that is looked at: more than a hundred of the largest news."""

AT_ONCE: Final = 100
"""Wants in one message, or in one step of anything: one or two milliseconds of work."""

RENEWALS: Final = 3
"""How often a lease is renewed while it lasts."""

SURE: Final = 0.9
"""The share of its lease in which a leader trusts it: clocks run apart, and a request takes its time."""


# --- what members want -------------------------------------------------------------------------------


@frozen(kw_only=True)
class Want:
    """What somebody waits for."""

    since: float
    """When the task was submitted, or else first watched; seconds since 1970."""
    model: str | None
    length: int | None
    """Seconds of video."""
    details: bool
    """Whether the output is waited for as well, not just the status."""
    webhook: bool
    """Whether changes are announced by webhook."""
    fresh: bool
    """Whether the process that waits has submitted it, so that a 404 soon after is forgiven."""

    def write(self) -> str:
        """As text, for `read_want`."""
        flags = self.details + 2 * self.webhook + 4 * self.fresh
        return json.dumps([self.since, self.model, self.length, flags], separators=(",", ":"))


def read_want(text: str | bytes) -> Want | None:
    """What `Want.write` wrote; None for anything else."""
    match _parsed(text):
        case [int() | float() as since, str() | None as model, int() | None as length, int() as flags]:
            pass
        case _:
            return None
    if isinstance(since, bool) or abs(since) > 1e12 or not isfinite(since) or isinstance(length, bool):
        return None
    return Want(
        since=float(since),
        model=model,
        length=length,
        details=bool(flags & 1),
        webhook=bool(flags & 2),
        fresh=bool(flags & 4),
    )


def _together(wants: Iterable[Want]) -> Want | None:
    """One want for all who wait for a task; None when nobody does."""
    some = list(wants)
    if len(some) < 2:
        return some[0] if some else None
    return Want(
        since=min(want.since for want in some),
        model=next((want.model for want in some if want.model is not None), None),
        length=next((want.length for want in some if want.length is not None), None),
        details=any(want.details for want in some),
        webhook=any(want.webhook for want in some),
        fresh=any(want.fresh for want in some),
    )


@define(eq=False)
class _Member:
    version: int = 0
    """How many changes of this member are known; it counts them."""
    wants: dict[str, Want] = field(factory=dict[str, Want])
    seen: set[str] | None = None
    """The tasks seen so far while all its wants are being read; None when they are not."""
    held_back: dict[int, Mapping[str, Want | None]] = field(factory=dict[int, "Mapping[str, Want | None]"])
    """Changes that came meanwhile."""


@define(eq=False)
class Others:
    """What all other members want, as the leader knows it.

    Members tell their changes, numbered from 1. Where a number is missing, the member is in `stale`, and all its wants
    must be read again: `begin`, `page` for as many as are read at a time, `finish`.
    """

    stale: set[str] = field(factory=set[str], init=False)
    """Members whose wants must be read anew."""
    _heard: set[str] = field(factory=set[str], init=False)
    """Members that have told something since all members are being counted."""
    _members: dict[str, _Member] = field(factory=dict[str, _Member], init=False)
    _wanted_by: dict[str, dict[_Member, Want]] = field(factory=dict[str, "dict[_Member, Want]"], init=False)
    _merged: dict[str, Want] = field(factory=dict[str, Want], init=False)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._merged

    def __len__(self) -> int:
        return len(self._merged)

    def change(self, member: str, version: int, changes: Mapping[str, Want | None]) -> list[Step]:
        """A member has told its change number `version`."""
        known = self._members.setdefault(member, _Member())
        self._heard.add(member)
        if known.seen is not None:
            known.held_back[version] = changes
            return []
        if version != known.version + 1:
            if version > known.version:
                self.stale.add(member)
            return []
        known.version = version
        return self._merge(known, changes)

    def begin(self, member: str) -> None:
        """All wants of this member are being read from now on; what it tells meanwhile waits."""
        self.stale.discard(member)
        known = self._members.setdefault(member, _Member())
        known.seen = set()

    def page(self, member: str, wants: Mapping[str, Want]) -> list[Step]:
        """Some of the wants of a member that are being read."""
        known = self._members.get(member)
        if known is None or known.seen is None:
            return []
        known.seen.update(wants)
        return self._merge(known, wants)

    def finish(self, member: str, version: int) -> list[Step]:
        """All wants were read; when that began, the member had told `version` changes."""
        known = self._members.get(member)
        if known is None or known.seen is None:
            return []
        changes: dict[str, Want | None] = dict.fromkeys(known.wants.keys() - known.seen)
        for number in sorted(known.held_back):
            if number > version:
                changes.update(known.held_back[number])
                if number != version + 1:
                    self.stale.add(member)
                version = number
        known.version, known.seen = version, None
        known.held_back.clear()
        return self._merge(known, changes)

    def count(self) -> None:
        """All members are being counted from now on, for `compare`."""
        self._heard.clear()

    def compare(self, versions: Mapping[str, int]) -> Iterator[list[Step]]:
        """These members are alive, and had told so many changes when they were counted.

        One of which less is known becomes stale. The wants of all others are void, as by `drop`, but of those that have
        told something since the count began: they had just come.
        """
        for member, version in versions.items():
            known = self._members.get(member)
            if known is None or (known.seen is None and not self._knows(member, known.version, version)):
                self.stale.add(member)
        alive = versions.keys() | self._heard
        self.stale &= alive
        return chain.from_iterable([self.drop(member) for member in self._members.keys() - alive])

    def _knows(self, member: str, known: int, version: int) -> bool:
        # More than it had told when it was counted is right, if it has told something since.
        return known == version or (known > version and member in self._heard)

    def drop(self, member: str) -> Iterator[list[Step]]:
        """A member is gone, and its wants with it: some at a time, to be taken to the end, with pauses if need be."""
        self.stale.discard(member)
        known = self._members.pop(member, _Member())
        wants = tuple(known.wants)
        slices = (wants[at : at + AT_ONCE] for at in range(0, len(wants), AT_ONCE))
        return (self._merge(known, dict.fromkeys(some)) for some in slices)

    def _merge(self, known: _Member, changes: Mapping[str, Want | None]) -> list[Step]:
        steps: list[Step] = []
        for task_id, want in changes.items():
            by = self._wanted_by.setdefault(task_id, {})
            if want is None:
                known.wants.pop(task_id, None)
                by.pop(known, None)
            else:
                known.wants[task_id] = by[known] = want
            before, after = self._merged.get(task_id), _together(by.values())
            if after is None:
                del self._wanted_by[task_id]
                self._merged.pop(task_id, None)
            else:
                self._merged[task_id] = after
            if after != before:
                steps.append((task_id, after))
        return steps


# --- who leads ---------------------------------------------------------------------------------------


@define(eq=False)
class Seat:
    """Who leads, as one member knows it.

    Each *beat* renews the lease if the member leads, takes the lead if nobody does, and tells who has it and for how
    long. A leader whose beats fail or come late stops leading by its own clock, before anybody else can begin.

    Args:
        me: this member.
        lease: seconds for which one beat makes a leader.
    """

    me: str
    lease: float
    leader: str | None = None
    until: float = -inf
    """When the lease ends, unless another beat says more."""
    beat_at: float = -inf
    """When the next beat is due."""

    def beaten(self, sent_at: float, leader: str, left: float, random: float) -> bool:
        """A beat that was sent at `sent_at` says that `leader` has the lead for `left` seconds more.

        Returns whether this is another leader than before. `random`, from 0 to 1, keeps members from claiming a free
        lead all at once.
        """
        is_new = leader != self.leader
        self.leader, self.until = leader, sent_at + min(max(left, 0.0), self.lease)
        self.beat_at = sent_at + self.lease / RENEWALS
        if leader != self.me:
            free_at = self.until + random * self.lease / 20
            self.beat_at = min(self.beat_at, max(free_at, sent_at + self.lease / 100))
        return is_new

    def heard(self, leader: str, now: float) -> None:
        """A member says that it leads. If that is new, the next beat, which is due now, tells the truth of it."""
        if leader != self.leader:
            self.beat_at = min(self.beat_at, now)

    def freed(self, leader: str, now: float) -> None:
        """A member says that it has resigned. If it was the leader, a beat is due now."""
        if leader == self.leader and leader != self.me:
            self.until = min(self.until, now)
            self.beat_at = min(self.beat_at, now)

    def lost(self) -> None:
        """The connection to the others is lost: nobody is known to lead."""
        self.leader, self.until, self.beat_at = None, -inf, -inf

    def leads(self, now: float) -> bool:
        """Whether this member leads."""
        return self.leader == self.me and now < self._ends_at()

    def follows(self, now: float) -> bool:
        """Whether another member is known to lead."""
        return self.leader is not None and self.leader != self.me and now < self._ends_at()

    def turns_at(self, now: float) -> float | None:
        """When `leads` or `follows` ends by itself; None when neither holds."""
        ends_at = self._ends_at()
        return ends_at if self.leader is not None and now < ends_at else None

    def _ends_at(self) -> float:
        if self.leader == self.me:
            return self.until - (1 - SURE) * self.lease
        # Who follows gives a successor the time of one beat, before everybody begins to poll.
        return self.until + self.lease / RENEWALS


# --- what is said ------------------------------------------------------------------------------------

Kind: TypeAlias = Literal["lead", "free", "news", "gone", "hint", "want", "bye"]
_KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))


@frozen(kw_only=True)
class Message:
    """What a member says to the others."""

    kind: Kind
    sender: str
    ids: tuple[str, ...] = ()
    """`gone`: the tasks; `hint`: the references."""
    rows: tuple[Mapping[str, Any], ...] = ()
    """`news`: what `write_news` wrote, parsed."""
    version: int = 0
    """`want`: the number of the change."""
    wants: Mapping[str, Want | None] = field(factory=dict[str, "Want | None"])
    """`want`: the change; None for what is not wanted any more."""


def write_message(kind: Kind, sender: str, **more: object) -> str:
    """A message as text. `more`: `ids`, or `version` and `wants` with wants as `Want.write` wrote them."""
    return json.dumps({"kind": kind, "sender": sender, **more}, separators=(",", ":"))


def news_message(sender: str, rows: Iterable[str]) -> str:
    """A message of kind `news`, of rows that are JSON already."""
    return f'{write_message("news", sender)[:-1]},"rows":[{",".join(rows)}]}}'


def read_message(text: str | bytes) -> Message | None:
    """What another member said; None when it is not understood."""
    match _parsed(text):
        case {"kind": str() as kind, "sender": str() as sender, **more} if kind in _KINDS and sender:
            pass
        case _:
            return None
    ids, rows, wants, version = (more.get(name) for name in ("ids", "rows", "wants", "version"))
    return Message(
        kind=kind,  # type: ignore[arg-type]  # (one of them, it was asked above)
        sender=sender,
        ids=tuple(item for item in ids if is_id(item)) if isinstance(ids, list) else (),
        rows=tuple(item for item in rows if isinstance(item, dict) and is_id(item.get("id")))
        if isinstance(rows, list)
        else (),
        version=version if isinstance(version, int) else 0,
        wants=_read_wants(wants) if isinstance(wants, dict) else {},
    )


def _read_wants(wants: Mapping[str, object]) -> dict[str, Want | None]:
    read: dict[str, Want | None] = {}
    for task_id, text in wants.items():
        want = read_want(text) if isinstance(text, str) else None
        if is_id(task_id) and (want is not None or text is None):
            read[task_id] = want
    return read


def is_id(value: object) -> bool:
    """Whether `value` may be an id or a reference."""
    return is_task_id(value) and len(value) <= LONGEST_ID


def _parsed(text: str | bytes) -> object:
    if len(text) > LARGEST_MESSAGE:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- news --------------------------------------------------------------------------------------------


def write_news(task_id: str, news: News) -> str:
    """An observation as the row of JSON that the service might have sent, for `read_news`."""
    if isinstance(news, TaskDetails):
        with suppress(TypeError, ValueError, RecursionError):
            row = json.dumps({**encode_task(news), "id": task_id}, separators=(",", ":"))
            if len(row) <= LARGEST_NEWS:
                return row
        # Too long, or nothing that came from the service; its status can be told all the same.
        news = news.status
    return json.dumps({"id": task_id, "status": str(news)}, separators=(",", ":"))


def read_news(row: object) -> tuple[str, News] | None:
    """The task, and the observation; None when it is not understood. `row`: the JSON, or what it says."""
    if isinstance(row, str | bytes):
        row = _parsed(row)
    if not isinstance(row, dict) or not is_id(row.get("id")):
        return None
    try:
        return row["id"], decode_status(row) if row.keys() == {"id", "status"} else decode_task(row)
    except ValueError:
        return None


def is_news(news: News, told: News | None) -> bool:
    """Whether `news` says more than `told`, which the others have been told last."""
    if told is None:
        return True
    status = told.status if isinstance(told, TaskDetails) else told
    if isinstance(news, TaskDetails):
        return news != told and (news.status.is_terminal or not status.is_terminal)
    return news != status and not status.is_terminal
