"""One limit for many processes: a quota and a list of members, kept as a text that one member at a time changes.

The text lies in a store that all members reach. A member is one event loop of one process. It sends a `QuotaRequest`:
the text is loaded, the member's reports are written down, permits are granted if it is the member's turn, and the text
is stored again. Nothing is held between two requests.

**Nothing blocks for ever.** A permit in flight carries a lease, which its member renews with each request. When the
lease ends, because the process was killed, the permit counts as settled at that moment, and expires like any other.

**Whose turn it is.** Of the waiting members, the one that was served longest ago goes first, so a member with a single
waiter gets as much as one with a thousand. A member with foreground waiters is treated as if it had been served
`FOREGROUND_STREAK` paces earlier for each member that has only background waiters. So these get at least a fifth of the
turns when there are as many of one kind as of the other, and none of them waits for ever. Members do not communicate:
each is given the time of its next request, those further back in the order a short grace later each. A member that does
not return by then loses the turn, not its place, so a dead process delays the others once, by one grace.

Times are seconds of the clock of the store. When that was restarted (a reboot), and when the text cannot be read, there
is no burst: at an even pace the limit holds without knowing what was sent before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from math import inf, isfinite
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from .base import Priority
from .queue import FOREGROUND_STREAK
from .quota import MAX_LIMIT_PAUSE_S, UNANSWERED_S, Quota, holding_time

__all__ = ["MEMBER_MEMORY_S", "QuotaReply", "QuotaRequest", "SharedQuota", "lease"]

TEXT_VERSION: Final = 1

MAX_LEASE_S: Final = 10.0
"""How long a permit of a dead process counts as in flight; a window at most."""

MAX_CLOCK_STEP_BACK_S: Final = 10.0
"""A clock that runs back by more than this (or a window, if that is shorter) was restarted."""

TURN_GRACE_PACES: Final = 1 / 4
"""Paces for which the others wait for the member whose turn it is."""

MIN_TURN_GRACE_S: Final = 0.005
MAX_TURN_GRACE_S: Final = 1.0

DUE_ROUNDING_S: Final = 1e-6
"""A request that misses its time by less is not late."""

REQUESTS_PER_WINDOW: Final = 4
"""How often a waiting member asks again at least, since another member may have refunded a permit."""

MAX_REQUEST_INTERVAL_S: Final = 5.0
"""The longest time until a waiting member asks again, however long the window is."""

MEMBER_MEMORY_S: Final = 1.0
"""How long a member counts after its last request; a window if that is longer."""


def lease(window: float) -> float:
    """Return the seconds after its member's last request for which a permit counts as in flight."""
    return min(MAX_LEASE_S, window)


class QuotaRequest(NamedTuple):
    """The reports of a member, and the numbers of its waiters. Sending the same reports twice has no effect."""

    member: str
    """A name that no other member has, also after a restart: that of the process, a dot, and a number."""
    settled: Mapping[str, float] = MappingProxyType({})
    """Permits whose request is over, and for how many seconds; negative if it may still arrive in that time."""
    refunded: Collection[str] = ()
    """Permits that were not used."""
    in_flight: Collection[str] = ()
    """Permits whose request is in flight."""
    pause: float = 0.0
    """Seconds for which all members stop; 0 for no pause."""
    foreground: int = 0
    """Waiters in the foreground."""
    background: int = 0
    """Waiters in the background."""
    first: int = 0
    """The number of the first permit that is granted; others follow. A number is never used twice."""

    @property
    def process(self) -> str:
        """The name that the members of one process share."""
        return self.member.partition(".")[0]

    def permit(self, position: int) -> str:
        """Return the name of a permit that this request may get."""
        return f"{self.member}-{self.first + position}"


class QuotaReply(NamedTuple):
    """The answer to a `QuotaRequest`."""

    granted: tuple[str, ...] = ()
    """Permits for the waiters, one each."""
    again_in: float | None = None
    """Seconds until the next request for the remaining waiters; None without any."""
    members: int = 1
    """Members that sent a request lately, including this one."""
    in_window: int = 0
    """Permits of all members that count against the limit."""
    in_window_of_others: int = 0
    """Permits among them that other processes got."""
    paused_for: float = 0.0
    """Seconds until a pause ends; 0 without a pause."""


class _QuotaMember:
    """A member in the text."""

    __slots__ = ("due", "seen", "served", "waits")

    def __init__(self, served: float, seen: float, due: float, waits: Priority | None = None) -> None:
        self.served = served
        """When it got its last permit; at first when it sent its first request."""
        self.seen = seen
        """When it sent its last request."""
        self.due = due
        """When it will send the next one."""
        self.waits = waits
        """The priority of its first waiter; None without waiters."""


class SharedQuota:
    """The text, parsed, at the moment of one request.

    Args:
        limit: requests that the service accepts in a window, as this member was configured; others may differ.
        window: the length of the window in seconds, the same for all.
        burst: requests that may go at once after an idle time, as this member was configured.
        now: the time.
        tokens: requests that may go at once as far as the pace is concerned.
        refilled_at: when the tokens were counted last.
        paused_until: when a pause ends.
    """

    __slots__ = (
        "_in_flight",
        "_members",
        "_paused_until",
        "_refilled_at",
        "_settled",
        "_tokens",
        "burst",
        "limit",
        "now",
        "window",
    )

    def __init__(
        self,
        limit: int,
        window: float,
        burst: int,
        now: float,
        *,
        tokens: float,
        refilled_at: float,
        paused_until: float = -inf,
    ) -> None:
        self.limit = limit
        self.window = window
        self.burst = burst
        self.now = now
        self._tokens = tokens
        self._refilled_at = refilled_at
        self._paused_until = paused_until
        self._in_flight: dict[str, float] = {}
        """When the lease of each permit in flight ends."""
        self._settled: dict[str, float] = {}
        """When each of the others that still count was settled."""
        self._members: dict[str, _QuotaMember] = {}

    # --- the text ------------------------------------------------------------------------------------

    @classmethod
    def load(cls, limit: int, window: float, burst: int, text: str | None, now: float) -> SharedQuota:
        """Parse `text` as it is at the time `now`; None if there is no text yet."""
        if text is None:
            return cls(limit, window, burst, now, tokens=float(burst), refilled_at=now)
        try:
            shared = cls._parse(limit, window, burst, text, now)
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
            return cls(limit, window, burst, now, tokens=0.0, refilled_at=now)
        shared._forget_expired()
        return shared

    @classmethod
    def _parse(cls, limit: int, window: float, burst: int, text: str, now: float) -> SharedQuota:
        fields: dict[str, Any] = json.loads(text)
        if (fields["version"], fields["window"]) != (TEXT_VERSION, window):
            raise ValueError("written by another version")
        # Times beyond these bounds are damage, and must not make a member wait.
        now = max(now, _number(fields["now"], now + min(MAX_CLOCK_STEP_BACK_S, window)))
        paused_until = -inf
        if fields["paused_until"] is not None:
            paused_until = _number(fields["paused_until"], now + MAX_LIMIT_PAUSE_S)
        shared = cls(
            limit,
            window,
            burst,
            now,
            tokens=max(0.0, _number(fields["tokens"], inf)),
            refilled_at=_number(fields["refilled_at"], max(now, paused_until)),
            paused_until=paused_until,
        )
        latest = now + lease(window)
        shared._in_flight = {permit: _number(at, latest) for permit, at in fields["open"].items()}
        latest = now + min(UNANSWERED_S, window)
        shared._settled = {permit: _number(at, latest) for permit, at in fields["settled"].items()}
        for name, (served, seen, due, waits) in fields["members"].items():
            shared._members[name] = _QuotaMember(
                _number(served, now),
                _number(seen, now),
                _number(due, now + MAX_REQUEST_INTERVAL_S),
                None if waits is None else Priority(waits),
            )
        return shared

    def dump(self) -> str:
        """Return the text."""
        return json.dumps(
            {
                "version": TEXT_VERSION,
                "window": self.window,
                "now": self.now,
                "tokens": self._tokens,
                "refilled_at": self._refilled_at,
                "paused_until": self._paused_until if isfinite(self._paused_until) else None,
                "open": self._in_flight,
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
        """Return the settled permits that still count, as in `QuotaRequest.settled`."""
        return {permit: self.now - at for permit, at in self._settled.items()}

    def paused_for(self) -> float:
        """Return the seconds until a pause ends; 0 without a pause."""
        return max(0.0, self._paused_until - self.now)

    def _forget_expired(self) -> None:
        for permit, ends in list(self._in_flight.items()):
            if ends <= self.now:
                self._settled[permit] = self._in_flight.pop(permit)
        hold = holding_time(self.window)
        self._settled = {permit: at for permit, at in self._settled.items() if at + hold > self.now}
        since = self.now - max(MEMBER_MEMORY_S, self.window)
        self._members = {name: member for name, member in self._members.items() if member.seen > since}

    # --- one request ---------------------------------------------------------------------------------

    def handle(self, request: QuotaRequest) -> QuotaReply:
        """Write down the reports of a member, and grant permits to its waiters if it is its turn."""
        quota = self._apply_reports(request)
        member = self._members.get(request.member)
        if member is None:
            member = self._members[request.member] = _QuotaMember(self.now, self.now, self.now)
        member.seen = self.now
        granted, again_at = self._grant(request, member, quota)
        member.due = self.now if again_at is None else again_at
        self._tokens, self._refilled_at, self._paused_until = quota.tokens, quota.refilled_at, quota.paused_until
        own = f"{request.process}."
        return QuotaReply(
            granted=granted,
            again_in=None if again_at is None else again_at - self.now,
            members=len(self._members),
            in_window=quota.in_window(self.now),
            in_window_of_others=sum(not permit.startswith(own) for permit in (*self._in_flight, *self._settled)),
            paused_for=self.paused_for(),
        )

    def _apply_reports(self, request: QuotaRequest) -> Quota:
        """Write down the reports, and return the quota as it is then."""
        latest = self.now + min(UNANSWERED_S, self.window)
        for permit, age in request.settled.items():
            self._in_flight.pop(permit, None)
            # Its lease may have ended, and counts from then if that was later.
            settled_at = max(self.now - age, self._settled.get(permit, -inf))
            self._settled[permit] = min(settled_at, latest)
        for permit in request.in_flight:
            # Its lease may have ended while its process was held up; the request is in flight all the same.
            self._settled.pop(permit, None)
            self._in_flight[permit] = self.now + lease(self.window)
        refunds = 0
        for permit in request.refunded:
            known = self._in_flight.pop(permit, None) is not None or self._settled.pop(permit, None) is not None
            refunds += known
        quota = Quota(
            self.limit,
            self.window,
            self.burst,
            now=self.now,
            tokens=self._tokens,
            refilled_at=self._refilled_at,
            paused_until=self._paused_until,
            in_flight=len(self._in_flight) + refunds,
            settled=sorted(self._settled.values()),
        )
        for _ in range(refunds):
            quota.refund(self.now)
        if request.pause > 0:
            quota.pause(self.now, request.pause)
        return quota

    def _grant(self, request: QuotaRequest, member: _QuotaMember, quota: Quota) -> tuple[tuple[str, ...], float | None]:
        """Grant permits to `member` as long as it is its turn, and return them with the time of its next request."""
        waiting = {Priority.FOREGROUND: request.foreground, Priority.BACKGROUND: request.background}
        granted: list[str] = []
        while True:
            member.waits = next((priority for priority, count in waiting.items() if count > 0), None)
            if member.waits is None:
                return tuple(granted), None
            others = self._waiting_besides(member, quota)
            # Polls alone leave a token for a call of the user.
            headroom = int(all(each.waits is Priority.BACKGROUND for each in (member, *others)))
            turn_at = self._turn_at(member, others, quota, headroom)
            if turn_at > self.now or not quota.take(self.now, headroom):
                latest = self.now + min(MAX_REQUEST_INTERVAL_S, self.window / REQUESTS_PER_WINDOW)
                return tuple(granted), min(turn_at, latest)
            permit = request.permit(len(granted))
            granted.append(permit)
            self._in_flight[permit] = self.now + lease(self.window)
            member.served = self.now
            waiting[member.waits] -= 1

    def _waiting_besides(self, member: _QuotaMember, quota: Quota) -> list[_QuotaMember]:
        """Return the other members that have waiters and do not miss the time of their next request."""
        on_time = self.now - _turn_grace(quota) + DUE_ROUNDING_S
        return [
            other
            for other in self._members.values()
            if other is not member and other.waits is not None and other.due > on_time
        ]

    def _turn_at(self, member: _QuotaMember, others: list[_QuotaMember], quota: Quota, headroom: int) -> float:
        """Return when it is the turn of `member` if nothing else happens."""
        grace = _turn_grace(quota)
        ahead = _ahead_of(member, others, quota)
        ready_at = quota.ready_at(self.now, headroom)
        if ready_at > self.now:
            return ready_at + len(ahead) * grace
        # A member ahead that was given a later time will not return in time for a request that may go already.
        coming = [other.due for position, other in enumerate(ahead, 1) if other.due <= self.now + position * grace]
        return max(coming) + grace if coming else self.now


def _turn_grace(quota: Quota) -> float:
    return min(max(TURN_GRACE_PACES / quota.rate, MIN_TURN_GRACE_S), MAX_TURN_GRACE_S)


def _ahead_of(member: _QuotaMember, others: list[_QuotaMember], quota: Quota) -> list[_QuotaMember]:
    """Return those of `others` that go before `member`, in order."""
    polling = sum(each.waits is Priority.BACKGROUND for each in (member, *others))
    head_start = FOREGROUND_STREAK * polling / quota.rate

    def rank(each: _QuotaMember) -> float:
        return each.served - (head_start if each.waits is Priority.FOREGROUND else 0.0)

    return sorted((other for other in others if rank(other) < rank(member)), key=rank)


def _number(value: object, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value > most:
        raise ValueError("no sensible time")
    return float(value)
