"""What the processes that share one poller decide and exchange, without a clock or a connection.

Each process that waits for tasks is a *member*, named by a random text. One of them leads for as long as a lease holds,
which it renews three times as often as it must. The leader keeps a copy of the *interests* of the others: which tasks
they wait for. Malformed messages are ignored: anybody who can reach Redis can write to it.

Times are seconds on the member's own clock, except `Interest.started_at`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from math import inf, isfinite
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from attrs import define, field, frozen

from ..._http import decode_status, decode_task, encode_task
from ..._util.validation import is_task_id
from ...tasks import TaskDetails, TaskStatus

__all__ = [
    "HEARTBEATS_PER_LEASE",
    "INTERESTS_PER_STEP",
    "BoardPort",
    "Interest",
    "Kind",
    "LeaderLease",
    "Message",
    "News",
    "RemoteInterests",
    "Step",
    "is_id",
    "is_news",
    "news_message",
    "read_interest",
    "read_message",
    "read_news",
    "write_message",
    "write_news",
]

News: TypeAlias = TaskDetails | TaskStatus
Step: TypeAlias = "tuple[str, Interest | None]"
"""A task, and what all other members together want of it from now on; None for nothing any more."""

MAX_SHARED_ID_CHARACTERS: Final = 1000

MAX_NEWS_CHARACTERS: Final = 100_000
"""The longest news of one task. With an image in its input it is longer: then its status alone is published."""

MAX_MESSAGE_CHARACTERS: Final = 1 << 24
"""The longest message that is read: more than a hundred of the longest news."""

INTERESTS_PER_STEP: Final = 100
"""Interests in one message, or in one step of anything: one or two milliseconds of work."""

HEARTBEATS_PER_LEASE: Final = 3

LEASE_TRUST: Final = 0.9
"""The share of its lease in which a leader relies on it: clocks run apart, and a request takes its time."""


class BoardPort(Protocol):
    """What a board client reports to. All calls come in the event loop of the client, and never raise."""

    def observed_elsewhere(self, task_id: str, news: News) -> None:
        """Another process observed this. It may be older than what is known."""
        ...

    def missing_elsewhere(self, task_id: str) -> None:
        """The leader was answered that there is no such task (404)."""
        ...

    def delivered_elsewhere(self, *, may_be_end: bool) -> None:
        """A webhook delivery arrived at another process."""
        ...

    def lead_changed(self) -> None:
        """`is_leader` or `is_follower` has changed. With the end of `is_leader`, all remote interests are void."""
        ...

    def interest_added(self, task_id: str, interest: Interest) -> None:
        """Only while leading: other processes wait for this task. Called again when they want something else.

        What is known of it should be published at once, also if it has ended.
        """
        ...

    def interest_removed(self, task_id: str) -> None:
        """Only while leading: no other process waits for this task any more."""
        ...


# --- interests of members ----------------------------------------------------------------------------


class Interest(NamedTuple):
    """What a process wants of one task that it waits for."""

    started_at: float
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
        """Return it as text, for `read_interest`."""
        flags = self.details + 2 * self.webhook + 4 * self.fresh
        return json.dumps([self.started_at, self.model, self.length, flags], separators=(",", ":"))


def read_interest(text: str | bytes) -> Interest | None:
    """Return what `Interest.write` wrote; None for anything else."""
    match _parsed(text):
        case [int() | float() as started_at, str() | None as model, int() | None as length, int() as flags]:
            pass
        case _:
            return None
    if isinstance(started_at, bool) or abs(started_at) > 1e12 or not isfinite(started_at) or isinstance(length, bool):
        return None
    return Interest(
        started_at=float(started_at),
        model=model,
        length=length,
        details=bool(flags & 1),
        webhook=bool(flags & 2),
        fresh=bool(flags & 4),
    )


def _merge(interests: Iterable[Interest]) -> Interest | None:
    """Return one interest for all processes that wait for a task; None when there is none."""
    some = list(interests)
    if len(some) < 2:
        return some[0] if some else None
    return Interest(
        started_at=min(interest.started_at for interest in some),
        model=next((interest.model for interest in some if interest.model is not None), None),
        length=next((interest.length for interest in some if interest.length is not None), None),
        details=any(interest.details for interest in some),
        webhook=any(interest.webhook for interest in some),
        fresh=any(interest.fresh for interest in some),
    )


@define(eq=False)
class _Process:
    version: int = 0
    """The number of its last change that is known."""
    interests: dict[str, Interest] = field(factory=dict[str, Interest])
    seen: set[str] | None = None
    """The tasks seen so far while all its interests are being read; None at other times."""
    held_back: dict[int, Mapping[str, Interest | None]] = field(factory=dict[int, "Mapping[str, Interest | None]"])
    """Changes that came while they were being read."""


@define(eq=False)
class RemoteInterests:
    """The leader's copy of the interests of all other members.

    Members publish their changes, numbered from 1. Where a number is missing, the member is in `stale`, and all its
    interests must be read again: `begin`, `page` for as many as are read at a time, `finish`.
    """

    stale: set[str] = field(factory=set[str], init=False)
    """Members whose interests must be read anew."""
    _heard_from: set[str] = field(factory=set[str], init=False)
    """Members that have sent a change since the count began."""
    _members: dict[str, _Process] = field(factory=dict[str, _Process], init=False)
    _wanted_by: dict[str, dict[_Process, Interest]] = field(factory=dict[str, "dict[_Process, Interest]"], init=False)
    _merged: dict[str, Interest] = field(factory=dict[str, Interest], init=False)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._merged

    def __len__(self) -> int:
        return len(self._merged)

    def change(self, member: str, version: int, changes: Mapping[str, Interest | None]) -> list[Step]:
        """Apply the change number `version` of a member."""
        known = self._members.setdefault(member, _Process())
        self._heard_from.add(member)
        if known.seen is not None:
            known.held_back[version] = changes
            return []
        if version != known.version + 1:
            if version > known.version:
                self.stale.add(member)
            return []
        known.version = version
        return self._apply(known, changes)

    def begin(self, member: str) -> None:
        """Begin to read all interests of a member; its changes are held back until `finish`."""
        self.stale.discard(member)
        self._members.setdefault(member, _Process()).seen = set()

    def page(self, member: str, interests: Mapping[str, Interest]) -> list[Step]:
        """Apply some of the interests of a member that is being read."""
        known = self._members.get(member)
        if known is None or known.seen is None:
            return []
        known.seen.update(interests)
        return self._apply(known, interests)

    def finish(self, member: str, version: int) -> list[Step]:
        """End the reading of a member, which had made `version` changes when it began."""
        known = self._members.get(member)
        if known is None or known.seen is None:
            return []
        changes: dict[str, Interest | None] = dict.fromkeys(known.interests.keys() - known.seen)
        for number in sorted(known.held_back):
            if number > version:
                changes.update(known.held_back[number])
                if number != version + 1:
                    self.stale.add(member)
                version = number
        known.version, known.seen = version, None
        known.held_back.clear()
        return self._apply(known, changes)

    def count(self) -> None:
        """Begin to count all members, for `compare`."""
        self._heard_from.clear()

    def compare(self, versions: Mapping[str, int]) -> Iterator[list[Step]]:
        """Compare with the members that are alive, each with the number of its last change when it was counted.

        A member of which less is known becomes stale. The interests of all others are void, as by `drop`, except those
        of members that have sent a change since the count began: they had just come.
        """
        for member, version in versions.items():
            known = self._members.get(member)
            if known is None or (known.seen is None and not self._is_up_to_date(member, known.version, version)):
                self.stale.add(member)
        alive = versions.keys() | self._heard_from
        self.stale &= alive
        return chain.from_iterable([self.drop(member) for member in self._members.keys() - alive])

    def _is_up_to_date(self, member: str, known: int, version: int) -> bool:
        # More than when it was counted is right, if it has sent a change since.
        return known == version or (known > version and member in self._heard_from)

    def drop(self, member: str) -> Iterator[list[Step]]:
        """Remove a member with its interests: some at a time, to be taken to the end, with pauses if need be."""
        self.stale.discard(member)
        known = self._members.pop(member, _Process())
        interests = tuple(known.interests)
        slices = (interests[at : at + INTERESTS_PER_STEP] for at in range(0, len(interests), INTERESTS_PER_STEP))
        return (self._apply(known, dict.fromkeys(some)) for some in slices)

    def _apply(self, known: _Process, changes: Mapping[str, Interest | None]) -> list[Step]:
        steps: list[Step] = []
        for task_id, interest in changes.items():
            by = self._wanted_by.setdefault(task_id, {})
            if interest is None:
                known.interests.pop(task_id, None)
                by.pop(known, None)
            else:
                known.interests[task_id] = by[known] = interest
            before, after = self._merged.get(task_id), _merge(by.values())
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
class LeaderLease:
    """Which member leads, as far as this one can rely on it.

    Each *heartbeat* renews the lease if the member leads, takes the lead if nobody does, and returns which member has
    it and for how long. A leader whose heartbeats fail or come late stops leading by its own clock, before another one
    can begin.

    Args:
        me: this member.
        lease: seconds for which one heartbeat makes a leader.
    """

    me: str
    lease: float
    leader: str | None = None
    until: float = -inf
    """When the lease ends, unless another heartbeat prolongs it."""
    heartbeat_at: float = -inf
    """When the next heartbeat is due."""

    def renewed(self, sent_at: float, leader: str, left: float, random: float) -> bool:
        """Take the answer to a heartbeat; return whether the leader is another one than before.

        Args:
            sent_at: when the heartbeat was sent.
            leader: the member that has the lead.
            left: the seconds for which it has it.
            random: from 0 to 1; it keeps members from claiming a free lead all at once.
        """
        is_new = leader != self.leader
        self.leader, self.until = leader, sent_at + min(max(left, 0.0), self.lease)
        self.heartbeat_at = sent_at + self.lease / HEARTBEATS_PER_LEASE
        if leader != self.me:
            free_at = self.until + random * self.lease / 20
            self.heartbeat_at = min(self.heartbeat_at, max(free_at, sent_at + self.lease / 100))
        return is_new

    def announced(self, leader: str, now: float) -> None:
        """Take the message of a member that it leads. If that is new, a heartbeat is due now, which decides."""
        if leader != self.leader:
            self.heartbeat_at = min(self.heartbeat_at, now)

    def resigned(self, leader: str, now: float) -> None:
        """Take the message of a member that it leads no more. If it was the leader, a heartbeat is due now."""
        if leader == self.leader and leader != self.me:
            self.until = min(self.until, now)
            self.heartbeat_at = min(self.heartbeat_at, now)

    def disconnected(self) -> None:
        """Forget the leader: the connection to the others is lost."""
        self.leader, self.until, self.heartbeat_at = None, -inf, -inf

    def is_leader(self, now: float) -> bool:
        """Return whether this member leads."""
        return self.leader == self.me and now < self._ends_at()

    def is_follower(self, now: float) -> bool:
        """Return whether another member is known to lead."""
        return self.leader is not None and self.leader != self.me and now < self._ends_at()

    def changes_at(self, now: float) -> float | None:
        """Return when `is_leader` or `is_follower` ends by itself; None when neither holds."""
        ends_at = self._ends_at()
        return ends_at if self.leader is not None and now < ends_at else None

    def _ends_at(self) -> float:
        if self.leader == self.me:
            return self.until - (1 - LEASE_TRUST) * self.lease
        # A follower gives a successor the time of one heartbeat, before everybody begins to poll.
        return self.until + self.lease / HEARTBEATS_PER_LEASE


# --- messages ----------------------------------------------------------------------------------------

Kind: TypeAlias = Literal["lead", "free", "news", "gone", "hint", "want", "bye"]
_KINDS: Final[frozenset[str]] = frozenset(get_args(Kind))


@frozen(kw_only=True)
class Message:
    """A message of a member to the others."""

    kind: Kind
    sender: str
    ids: tuple[str, ...] = ()
    """`gone`: the tasks; `hint`: whether a webhook delivery may announce an end, as one word."""
    rows: tuple[Mapping[str, Any], ...] = ()
    """`news`: what `write_news` wrote, parsed."""
    version: int = 0
    """`want`: the number of the change."""
    interests: Mapping[str, Interest | None] = field(factory=dict[str, "Interest | None"])
    """`want`: the change; None for a task that is not waited for any more."""


def write_message(kind: Kind, sender: str, **more: object) -> str:
    """Return a message as text.

    Args:
        kind: its kind.
        sender: the member that sends it.
        more: `ids`, or `version` and `wants` with interests as `Interest.write` wrote them.
    """
    return json.dumps({"kind": kind, "sender": sender, **more}, separators=(",", ":"))


def news_message(sender: str, rows: Iterable[str]) -> str:
    """Return a message of kind `news`, of rows that are JSON already."""
    return f'{write_message("news", sender)[:-1]},"rows":[{",".join(rows)}]}}'


def read_message(text: str | bytes) -> Message | None:
    """Return the message of another member; None when it is malformed."""
    match _parsed(text):
        case {"kind": str() as kind, "sender": str() as sender, **more} if kind in _KINDS and sender:
            pass
        case _:
            return None
    ids, rows, interests, version = (more.get(name) for name in ("ids", "rows", "wants", "version"))
    return Message(
        kind=kind,  # type: ignore[arg-type]  # (one of them, as checked above)
        sender=sender,
        ids=tuple(item for item in ids if is_id(item)) if isinstance(ids, list) else (),
        rows=tuple(item for item in rows if isinstance(item, dict) and is_id(item.get("id")))
        if isinstance(rows, list)
        else (),
        version=version if isinstance(version, int) else 0,
        interests=_read_interests(interests) if isinstance(interests, dict) else {},
    )


def _read_interests(texts: Mapping[str, object]) -> dict[str, Interest | None]:
    read: dict[str, Interest | None] = {}
    for task_id, text in texts.items():
        interest = read_interest(text) if isinstance(text, str) else None
        if is_id(task_id) and (interest is not None or text is None):
            read[task_id] = interest
    return read


def is_id(value: object) -> bool:
    """Return whether `value` can be an id."""
    return is_task_id(value) and len(value) <= MAX_SHARED_ID_CHARACTERS


def _parsed(text: str | bytes) -> object:
    if len(text) > MAX_MESSAGE_CHARACTERS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- news --------------------------------------------------------------------------------------------


def write_news(task_id: str, news: News) -> str:
    """Return an observation as the row of JSON that the service might have sent, for `read_news`."""
    if isinstance(news, TaskDetails):
        with suppress(TypeError, ValueError, RecursionError):
            row = json.dumps({**encode_task(news), "id": task_id}, separators=(",", ":"))
            if len(row) <= MAX_NEWS_CHARACTERS:
                return row
        # Too long, or nothing that came from the service; its status can be published all the same.
        news = news.status
    return json.dumps({"id": task_id, "status": str(news)}, separators=(",", ":"))


def read_news(row: object) -> tuple[str, News] | None:
    """Return the task and the observation; None when the row is malformed.

    Args:
        row: the JSON, or what it decodes to.
    """
    if isinstance(row, str | bytes):
        row = _parsed(row)
    if not isinstance(row, dict) or not is_id(row.get("id")):
        return None
    try:
        return row["id"], decode_status(row) if row.keys() == {"id", "status"} else decode_task(row)
    except ValueError:
        return None


def is_news(news: News, published: News | None) -> bool:
    """Return whether `news` has more to say than `published`, which was published last."""
    if published is None:
        return True
    status = published.status if isinstance(published, TaskDetails) else published
    if isinstance(news, TaskDetails):
        return news != published and (news.status.is_terminal or not status.is_terminal)
    return news != status and not status.is_terminal
