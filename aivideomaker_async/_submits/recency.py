"""Whether a task was created before a submit was sent, or since: told by clocks that disagree.

So there are three answers: before, since, or unsure. The clock that stamps tasks is compared with ours by the tasks
that this process has been given, whose moments are known on both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from enum import Enum, auto
from math import inf
from typing import Final

from attrs import define, field, frozen

from ..tasks import TaskDetails
from .matching import Likeness, likeness
from .state import CREDIBLE, KEPT, Clock, Moment, Submit

__all__ = ["Age", "Row", "Since", "Stamps"]

LIKELY: Final = 5.0
"""Seconds before a submit at which a task can have been stamped and be its own all the same: clocks are read by the
second, and those of two machines of one service differ."""

SURELY: Final = 90.0
"""Seconds before a submit at which a task is surely older, by a clock that is known. Servers of one service differ."""

LONGER: Final = 30.0
"""Seconds by which a finished task took longer than the submit is ago, which is then surely none of it."""

RUNNING: Final = 7 * 86_400.0
"""Seconds after which no task is still under way: a clock that says so of one cannot be compared with ours."""

TOO_LATE: Final = 3600.0
"""Seconds after all that a submit may need, from when on a task is none of its own, though nobody knows what became of
it."""


class Age(Enum):
    """When a task was created: before a submit was sent, or since."""

    OLD = auto()
    UNSURE = auto()
    NEW = auto()


@define(eq=False)
class Row:
    """A task of the list that nobody has claimed."""

    details: TaskDetails
    first_seen: float
    """When the list that showed it first came, on the loop's clock."""
    had_ended: bool = field(init=False)
    """Whether it had ended when it was first seen."""
    created: float | None = field(init=False)
    """Seconds since the epoch, by the clock that stamps tasks."""
    took: float = field(init=False)
    """Seconds from its creation to its end, by the same clock; 0 where that is not told."""
    _likes: dict[Submit, Likeness] = field(init=False, factory=dict[Submit, Likeness])

    def __attrs_post_init__(self) -> None:
        self.had_ended = self.details.status.is_terminal
        self.update(self.details)

    def update(self, details: TaskDetails) -> None:
        """A later list tells this of it."""
        self.details = details
        self.created = None if details.created_at is None else details.created_at.timestamp()
        ended = None if details.completed_at is None else details.completed_at.timestamp()
        self.took = 0.0 if self.created is None or ended is None else ended - self.created

    def like(self, submit: Submit) -> Likeness:
        """How it compares with what was ordered. Many are asked again and again."""
        if submit not in self._likes:
            self._likes[submit] = likeness(submit.order, self.details)
        return self._likes[submit]


@frozen
class Since:
    """What the clocks tell of the moment at which a submit was sent.

    Attributes:
        submit: the submit.
        sent: that moment, on the loop's clock.
        now: what the service says that it is now, in seconds since the epoch.
        expected: what the clock that stamps tasks showed at that moment, at the earliest.
        at_latest: the same, at the latest. They differ when this machine has slept since, or its clock was set.
        newest: the newest task that had been given to us by then; -inf if there is none, so that the clock that stamps
            tasks had not been compared with ours.
        until: when all that can come of the submit has come, by the clock that stamps tasks; inf if that is not known.
    """

    submit: Submit
    sent: float
    now: float
    expected: float
    at_latest: float
    newest: float
    until: float

    def age(self, row: Row) -> Age:
        """When a task was created."""
        if row.first_seen < self.sent:
            return Age.OLD
        met_later = self.submit.looks > 0 and row.details.id not in self.submit.met
        created, is_compared = row.created, self.newest > -inf
        if created is None:
            return Age.NEW if met_later else Age.UNSURE
        # A clock that runs at any speed, and has never been compared with ours, still runs forwards.
        is_old = created < max(self.newest, self.expected) - SURELY
        if is_old and not is_compared:
            is_old = row.took > row.first_seen - self.sent + LONGER
        if is_old:
            # Another server of the same service may have a clock of its own.
            return Age.UNSURE if met_later else Age.OLD
        if created >= self.at_latest - LIKELY:
            # Finished, and by an unknown clock not even begun: it says nothing.
            is_ahead = not is_compared and row.had_ended and created > self.now + LIKELY and not met_later
            return Age.UNSURE if is_ahead or created > self.until else Age.NEW
        # Under way since hours, by a clock that was never compared with ours: it cannot be, and was just created.
        just_created = not is_compared and not row.had_ended and created < self.expected - RUNNING
        return Age.NEW if met_later or just_created else Age.UNSURE

    def is_too_late(self, row: Row) -> bool:
        """Whether a task was created so long after the submit that it cannot be its own, as far as clocks tell."""
        return row.created is not None and row.created > self.until + TOO_LATE


@frozen
class _Stamp:
    answered: Moment
    created: float
    newest: float
    """The newest task of all that had been given to us by then."""


class Stamps:
    """Tasks that were given to us, by which the clock that stamps tasks is compared with ours.

    Args:
        known: when each was given to us, and when it was created by the clock that stamps tasks, in seconds since the
            epoch.
    """

    def __init__(self, known: Iterable[tuple[Moment, float]] = ()) -> None:
        self._stamps: list[_Stamp] = []
        newest = -inf
        for answered, created in sorted(known, key=lambda pair: pair[0].loop):
            newest = max(newest, created)
            self._stamps.append(_Stamp(answered, created, newest))

    def since(self, submit: Submit, clock: Clock) -> Since:
        """What is known of the moment at which this one was sent."""
        sent, stamps = submit.sent, self._stamps
        assert sent is not None  # noqa: S101  (only what was sent is compared)
        before = bisect_left(stamps, sent.loop, key=lambda stamp: stamp.answered.loop)
        # The tasks given to us just before and just after: in between, the clock may have drifted either way.
        nearest = stamps[max(0, before - 1) : before + 1]

        def expected(at_service: Callable[[Moment], float]) -> float:
            offsets = [stamp.created - at_service(stamp.answered) for stamp in nearest]
            return at_service(sent) + min(offsets if before else [0.0, *offsets])

        # The clock that may have stood still tells of no more time than has passed; the other one may have been set.
        latest = expected(clock.by_loop)
        earliest = min(latest, expected(clock.by_wall))
        until = inf
        if submit.sent_elsewhere:
            # Which tasks were given to others since is not known.
            until = latest + (submit.lost_at - sent.loop) + submit.grace + LIKELY
        elif stamps and submit.lost_at > -inf and clock.now.loop - submit.lost_at > KEPT:
            until = latest + (submit.lost_at - sent.loop) + CREDIBLE * submit.grace + SURELY
        newest = stamps[before - 1].newest if before else -inf
        return Since(submit, sent.loop, clock.service_now, earliest, latest, newest, until)
