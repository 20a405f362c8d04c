"""The tasks that were given to us: nobody else can own them, and they tell what the list and its clock are worth."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import inf
from typing import Final

from attrs import define, field

from .matching import Order
from .recency import Stamps
from .state import KEPT, RECENT, Moment, Submit

__all__ = ["Claim", "Claims"]

WITNESSES: Final = 5
"""How many of the tasks that were given to us shortly before a submit a list must show: the newest of them."""

MOST: Final = 20_000
"""Claims that are remembered at most, so that a submit that is never settled does not fill the memory."""

TOLD: Final = 200
"""Claims that are told to another process which looks for a submit."""

TIDIED: Final = 60.0
"""Seconds between two searches for claims that nobody needs any more."""


@define(eq=False)
class Claim:
    """A task that was given to us."""

    sent: float
    """When its submit was sent, on the loop's clock."""
    answered: Moment
    key: str
    """The idempotency key of its submit."""
    model: str
    order: Order | None
    """What was ordered, until a list has shown the task."""
    created: float | None = None
    """By the clock that stamps tasks, in seconds since the epoch, once a list has told."""
    listed_at: float = -inf
    """When the last list was asked for that showed it."""


@define(eq=False)
class Claims:
    """All of them, in the order in which they were given to us."""

    _claims: dict[str, Claim] = field(init=False, factory=dict[str, Claim])
    _tidied_at: float = field(init=False, default=-inf)

    def __contains__(self, task_id: str) -> bool:
        return task_id in self._claims

    def get(self, task_id: str) -> Claim | None:
        """What is known of a task that was given to us; None if it was not, or long ago."""
        return self._claims.get(task_id)

    def add(self, task_id: str, submit: Submit, now: Moment, others: Iterable[Submit]) -> None:
        """This task belongs to this submit; forget those that none of the others needs."""
        sent = now if submit.sent is None else submit.sent
        self._claims.pop(task_id, None)
        self._claims[task_id] = Claim(sent.loop, now, submit.key, submit.order.model, submit.order)
        if now.loop >= self._tidied_at + TIDIED or len(self._claims) > MOST + MOST // 10:
            self._tidied_at = now.loop
            self._tidy(now.loop, [submit.era for submit in others])

    def ids(self) -> frozenset[str]:
        """The tasks."""
        return frozenset(self._claims)

    def since(self, at: float, model: str) -> frozenset[str]:
        """The newest tasks of a model that were given to us since a moment of the loop's clock, so many at most."""
        found: set[str] = set()
        for task_id, claim in reversed(self._claims.items()):
            if claim.answered.loop < at or len(found) == TOLD:
                break
            if claim.model == model:
                found.add(task_id)
        return frozenset(found)

    def stamps(self) -> Stamps:
        """How the clock that stamps tasks compares with ours."""
        return Stamps((item.answered, item.created) for item in self._claims.values() if item.created is not None)

    def are_shown(self, asked_at: float, since: float, until: float) -> bool:
        """Whether the list that was asked for at a moment shows what it must, to prove an absence by anything.

        That is all that was sent and given to us between `since` and `until`, and the last few before. Moments are
        those of the loop's clock.
        """
        earlier = 0
        for claim in reversed(self._claims.values()):
            if claim.answered.loop < since:
                earlier += 1
                if earlier > WITNESSES or claim.answered.loop < since - RECENT:
                    break
            elif claim.sent < since or claim.answered.loop > until:
                continue
            if claim.listed_at != asked_at:
                return False
        return True

    def _tidy(self, now: float, eras: Iterable[tuple[float, float] | None]) -> None:
        begins: list[float] = []
        ends: list[float] = []
        for begin, end in sorted([(now - KEPT, inf), *filter(None, eras)]):
            if ends and begin <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                begins.append(begin)
                ends.append(end)

        def is_needed(at: float) -> bool:
            place = bisect_right(begins, at)
            return place > 0 and at <= ends[place - 1]

        needed = [item for item in self._claims.items() if is_needed(item[1].answered.loop)]
        self._claims = dict(needed[-MOST:])
