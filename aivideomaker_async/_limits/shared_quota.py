"""One limit that many processes share: a quota and a line of members, as a text that each changes in its turn.

The text lies where all of them reach it. A member *visits*: the text is loaded, what the member has to tell is written
down, permits are granted if it is its turn, and the text is stored again. Between two visits nobody holds anything.

**Nothing blocks for ever.** A permit that is under way carries a lease, which its member renews by visiting. When the
lease runs out, because the process was killed, the permit counts as settled at that moment, and expires like any other.

**Whose turn it is.** Of the members that wait, the one goes first that was served longest ago, so one with a single
waiter gets as much as one with a thousand. One that waits in the foreground is treated as if it had been served
`PATIENCE` paces earlier for each member that waits in the background, so these have a fifth of the turns at least when
there are as many of the ones as of the others, and none of them waits for ever. Members do not hear of each other: each
is told when to come again, those further back in the line a short grace later each. Who does not come by then loses
the turn, not the place, so a dead process delays the others once, by one grace.

Moments are seconds of the clock that the text is changed under. After it was started anew (a reboot), and when the
text cannot be read, there is no burst: at an even pace the limit holds without knowing what went before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from itertools import chain
from math import inf, isfinite
from typing import Any, Final

from attrs import define, evolve, field, frozen

from .queue import PATIENCE, Priority
from .quota import LONGEST_PAUSE, UNANSWERED, Grant, Quota, QuotaState

__all__ = ["Answer", "SharedQuota", "Visit", "lease"]

VERSION: Final = 1

LONGEST_LEASE: Final = 10.0
"""Seconds for which a permit of a process that died counts as under way; a window at most."""

BACKWARDS: Final = 10.0
"""Seconds by which a clock may run back and is taken for the same one; a window at most."""

GRACE: Final = 1 / 4
"""Paces for which the others wait for the one whose turn it is."""

ROUNDING: Final = 1e-6
"""Seconds by which a moment may be missed without being late."""

SHORTEST_GRACE: Final = 0.005
LONGEST_GRACE: Final = 1.0
"""Seconds, however fast or slow the pace is."""

LOOKS: Final = 4
"""How often in a window a waiting member looks again, since a permit may have been given back meanwhile."""

LONGEST_WAIT: Final = 5.0
"""Seconds after which it looks again at the latest."""

LATELY: Final = 1.0
"""Seconds for which a member is remembered after its last visit, or a window if that is longer."""


def lease(window: float) -> float:
    """Seconds after its member's last visit in which a permit counts as under way."""
    return min(LONGEST_LEASE, window)


@frozen(kw_only=True)
class Visit:
    """What a member has to tell and to ask. To tell the same twice changes nothing."""

    member: str
    """A name that no other has, also after a restart: that of the process, a dot, and its place there."""
    settled: Mapping[str, float] = field(factory=dict[str, float])
    """Permits that are over, and seconds since then; less than 0 if they may still be on their way for so long."""
    refunded: Collection[str] = ()
    """Permits that were not used."""
    held: Collection[str] = ()
    """Permits that are under way."""
    pause: float = 0.0
    """Seconds for which everybody shall stop; 0 for none."""
    foreground: int = 0
    """How many wait for a permit."""
    background: int = 0
    """And how many in the background."""
    first: int = 0
    """The number of the first permit, if one is granted; others follow. A number that was used is never used again."""

    @property
    def process(self) -> str:
        """What the members of one process have in common."""
        return self.member.partition(".")[0]

    def permit(self, place: int) -> str:
        """The name of a permit of this visit."""
        return f"{self.member}-{self.first + place}"


@frozen(kw_only=True)
class Answer:
    """What a member is told."""

    granted: tuple[str, ...]
    """Permits for those who wait, one each."""
    again_in: float | None
    """Seconds after which to visit again for those who still wait; None when nobody does."""
    members: int
    """Members that came lately, the one who asks included."""
    in_window: int
    """Permits of all members that count against the limit."""
    in_window_of_others: int
    """Those of them that went to other processes than the one that asks."""
    paused_for: float
    """Seconds until a pause ends; 0 when there is none."""


@define
class _Member:
    served: float
    """When it was granted a permit last; before that, when it came first."""
    seen: float
    due: float
    """When it was told to come again."""
    waits: Priority | None = None


@define(eq=False)
class SharedQuota:
    """The text, unfolded.

    Args:
        limit: requests that the service accepts in a window, as this member has it; others may have other limits.
        window: its length in seconds, the same for all.
        burst: requests that may go at once after a quiet time, as this member has it.
        now: the moment of the visit.
    """

    limit: int
    window: float
    burst: int
    now: float
    _quota: QuotaState
    _open: dict[str, float] = field(factory=dict[str, float])
    """When the lease of each permit under way runs out."""
    _settled: dict[str, float] = field(factory=dict[str, float])
    _members: dict[str, _Member] = field(factory=dict[str, _Member])

    @classmethod
    def load(cls, limit: int, window: float, burst: int, text: str | None, now: float) -> SharedQuota:
        """Unfold `text` as it is at the moment `now`; None when there is none yet."""
        tokens = float(burst)
        if text is not None:
            try:
                return cls._read(limit, window, burst, text, now)
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
                tokens = 0.0
        return cls(limit, window, burst, now, QuotaState(now=now, tokens=tokens, refilled_at=now))

    @classmethod
    def _read(cls, limit: int, window: float, burst: int, text: str, now: float) -> SharedQuota:
        fields: dict[str, Any] = json.loads(text)
        if (fields["version"], fields["window"]) != (VERSION, window):
            raise ValueError("written by another version")
        now = max(now, _number(fields["now"], now + min(BACKWARDS, window)))
        paused_until = -inf if fields["paused_until"] is None else _number(fields["paused_until"], now + LONGEST_PAUSE)
        quota = QuotaState(
            now=now,
            tokens=max(0.0, _number(fields["tokens"], inf)),
            refilled_at=_number(fields["refilled_at"], max(now, paused_until)),
            paused_until=paused_until,
        )
        return cls(
            limit,
            window,
            burst,
            now,
            quota,
            {permit: _number(at, now + lease(window)) for permit, at in fields["open"].items()},
            {permit: _number(at, now + min(UNANSWERED, window)) for permit, at in fields["settled"].items()},
            {name: _member(values, now) for name, values in fields["members"].items()},
        )._forgotten()

    def dump(self) -> str:
        """The text."""
        return json.dumps(
            {
                "version": VERSION,
                "window": self.window,
                "now": self.now,
                "tokens": self._quota.tokens,
                "refilled_at": self._quota.refilled_at,
                "paused_until": self._quota.paused_until if isfinite(self._quota.paused_until) else None,
                "open": self._open,
                "settled": self._settled,
                "members": {
                    name: (member.served, member.seen, member.due, member.waits)
                    for name, member in self._members.items()
                },
            },
            separators=(",", ":"),
            allow_nan=False,
        )

    def ages(self) -> dict[str, float]:
        """The permits that are over and still count, and the seconds since then, as for `Visit.settled`."""
        return {permit: self.now - at for permit, at in self._settled.items()}

    def paused_for(self) -> float:
        """Seconds until a pause ends; 0 when there is none."""
        return max(0.0, self._quota.paused_until - self.now)

    def visit(self, visit: Visit) -> Answer:
        """Write down what a member tells, and answer what it asks."""
        quota = self._told(visit)
        member = self._members.setdefault(visit.member, _Member(self.now, self.now, self.now))
        member.seen = self.now
        granted, again_at = self._served(visit, member, quota)
        member.due = self.now if again_at is None else again_at
        self._quota = quota.state()
        return Answer(
            granted=granted,
            again_in=None if again_at is None else again_at - self.now,
            members=len(self._members),
            in_window=quota.statistics(self.now).in_window,
            in_window_of_others=self._held_by_others(visit.process),
            paused_for=self.paused_for(),
        )

    def _held_by_others(self, process: str) -> int:
        return sum(not permit.startswith(f"{process}.") for permit in chain(self._open, self._settled))

    # --- what is told --------------------------------------------------------------------------------

    def _forgotten(self) -> SharedQuota:
        """Without what time has made void."""
        for permit, ends in list(self._open.items()):
            if ends <= self.now:
                self._settled[permit] = self._open.pop(permit)
        held = Quota(self.limit, self.window, self.burst).held
        self._settled = {permit: at for permit, at in self._settled.items() if at + held > self.now}
        since = self.now - max(LATELY, self.window)
        self._members = {name: member for name, member in self._members.items() if member.seen > since}
        return self

    def _told(self, visit: Visit) -> Quota:
        for permit, age in visit.settled.items():
            self._settle(permit, self.now - age)
        for permit in visit.held:
            # Its lease may have run out while its process was held up; it is under way all the same.
            self._settled.pop(permit, None)
            self._open[permit] = self.now + lease(self.window)
        unused = sum(self._drop(permit) for permit in visit.refunded)
        state = evolve(self._quota, open=len(self._open) + unused, settled=tuple(sorted(self._settled.values())))
        quota = Quota.restore(self.limit, self.window, self.burst, state)
        for _ in range(unused):
            quota.refund(Grant(granted_at=self.now), self.now)
        if visit.pause > 0:
            quota.pause(self.now, visit.pause)
        return quota

    def _settle(self, permit: str, at: float) -> None:
        self._open.pop(permit, None)
        at = max(at, self._settled.get(permit, -inf))
        self._settled[permit] = min(at, self.now + min(UNANSWERED, self.window))

    def _drop(self, permit: str) -> bool:
        return self._open.pop(permit, None) is not None or self._settled.pop(permit, None) is not None

    # --- whose turn it is ----------------------------------------------------------------------------

    def _served(self, visit: Visit, member: _Member, quota: Quota) -> tuple[tuple[str, ...], float | None]:
        """The permits that are granted to `member`, and when it shall come again."""
        waiting = {Priority.FOREGROUND: visit.foreground, Priority.BACKGROUND: visit.background}
        granted: list[str] = []
        while True:
            member.waits = next((priority for priority, count in waiting.items() if count > 0), None)
            if member.waits is None:
                return tuple(granted), None
            line = self._line(member, quota)
            # Polls alone leave a token for whoever comes.
            reserve = int(all(other.waits is Priority.BACKGROUND for other in (member, *line)))
            at = self._turn_at(member, line, quota, reserve)
            if at > self.now or quota.take(self.now, reserve) is None:
                return tuple(granted), min(at, self.now + min(LONGEST_WAIT, self.window / LOOKS))
            permit = visit.permit(len(granted))
            granted.append(permit)
            self._open[permit] = self.now + lease(self.window)
            member.served = self.now
            waiting[member.waits] -= 1

    def _turn_at(self, member: _Member, line: list[_Member], quota: Quota, reserve: int) -> float:
        """When it is the turn of `member`, if nothing else happens."""
        grace = _grace(quota)
        ahead = _ahead(member, line, quota)
        ready_at = quota.ready_at(self.now, reserve)
        if ready_at > self.now:
            return ready_at + len(ahead) * grace
        # Somebody ahead who was told a later moment does not know that a request may go already.
        coming = [other.due for place, other in enumerate(ahead, 1) if other.due <= self.now + place * grace]
        return max(coming) + grace if coming else self.now

    def _line(self, member: _Member, quota: Quota) -> list[_Member]:
        """The others who wait, as far as they come when they are told."""
        on_time = self.now - _grace(quota) + ROUNDING
        return [
            other
            for other in self._members.values()
            if other is not member and other.waits is not None and other.due > on_time
        ]


def _grace(quota: Quota) -> float:
    return min(max(GRACE / quota.rate, SHORTEST_GRACE), LONGEST_GRACE)


def _ahead(member: _Member, line: list[_Member], quota: Quota) -> list[_Member]:
    """Those of `line` who go before `member`, in order."""
    polls = sum(other.waits is Priority.BACKGROUND for other in (member, *line))
    head_start = PATIENCE * polls / quota.rate

    def since(other: _Member) -> float:
        return other.served - (head_start if other.waits is Priority.FOREGROUND else 0.0)

    return sorted((other for other in line if since(other) < since(member)), key=since)


def _number(value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value > most:
        raise ValueError("no sensible moment")
    return float(value)


def _member(values: Any, now: float) -> _Member:  # noqa: ANN401
    served, seen, due, waits = values
    return _Member(
        _number(served, now),
        _number(seen, now),
        _number(due, now + LONGEST_WAIT),
        None if waits is None else Priority(waits),
    )
