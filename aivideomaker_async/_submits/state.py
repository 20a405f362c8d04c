"""A submit, how far it has got, and the clocks by which its moments are told."""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import Final

from attrs import define, field, frozen

from ..tasks import TaskDetails
from .matching import Order

__all__ = ["CREDIBLE", "GRACE", "KEPT", "RECENT", "Clock", "Moment", "State", "Submit", "Trace"]

GRACE: Final = 15.0
"""Seconds after the loss of an answer in which the task may still appear in the list, where nothing else is said."""

CREDIBLE: Final = 3
"""How many times the grace time a list that hides known tasks is asked for again, before it is given up."""

RECENT: Final = 300.0
"""Seconds before a submit in which tasks were given to us that a list must show, if it is to prove anything."""

KEPT: Final = 900.0
"""Seconds for which it is remembered which tasks were given to us, though no open submit needs it."""


@frozen
class Moment:
    """A moment on two clocks: one that never jumps and may stand still while the machine sleeps, and one of the day."""

    loop: float
    wall: float


@frozen
class Clock:
    """What time it is, here and at the service."""

    now: Moment
    service_now: float
    """Seconds since the epoch, as the service tells it in the header of its answers."""

    def by_loop(self, moment: Moment) -> float:
        """When `moment` was, by the clock of the service, if the machine has not slept since."""
        return self.service_now - (self.now.loop - moment.loop)

    def by_wall(self, moment: Moment) -> float:
        """The same, if nobody has set the clock of this machine since."""
        return self.service_now - (self.now.wall - moment.wall)

    def at_service(self, moment: Moment) -> float:
        """The same; where the clocks of this machine disagree, the earlier."""
        return min(self.by_loop(moment), self.by_wall(moment))


class State(Enum):
    """How far a submit has got."""

    IDLE = auto()
    """Nothing of it can have arrived."""
    UNDER_WAY = auto()
    LOST = auto()
    """It may have arrived, and what became of it is being looked up."""
    GIVEN_UP = auto()
    """What became of it is not known, and nobody is looking."""
    DONE = auto()


@define(eq=False)
class Submit:
    """One submit, with all its attempts."""

    key: str
    """The idempotency key that goes out with it."""
    order: Order
    grace: float = GRACE
    """Seconds after the loss of an answer in which the task may still appear in the list."""
    recurs: bool = False
    """Whether its key may come again, because the caller has chosen it."""
    state: State = State.IDLE
    sent: Moment | None = None
    """When the first attempt that may have arrived went out."""
    lost_at: float = -inf
    task_id: str | None = None
    found: TaskDetails | None = None
    """What the list told of it, where it was adopted."""
    was_lost: bool = False
    """Whether an earlier attempt was lost, so that `sent` stays that of the first."""
    met: set[str] = field(factory=set[str])
    """The tasks that were there at the first look since the loss."""
    looks: int = 0
    """Lists that were asked for since the loss."""
    taken: frozenset[str] = frozenset()
    """Tasks that were given to others, in another process."""
    sent_elsewhere: bool = False
    """Whether another process has sent it: which tasks were given to others there since is not known here."""

    def search_anew(self) -> None:
        """What was seen so far counts no more."""
        self.state, self.met, self.looks = State.LOST, set(), 0

    @property
    def era(self) -> tuple[float, float] | None:
        """From when until when, on the loop's clock, it must be known which tasks were given to others."""
        if self.sent is None:
            return None
        return self.sent.loop - RECENT, self.lost_at + KEPT if self.state is State.GIVEN_UP else inf


@frozen
class Trace:
    """What is told of a submit to whom may look for it in another process. Moments by the clock of the service."""

    order: Order
    sent: float
    lost_at: float
    taken: frozenset[str]
    """Tasks of the same model that were given to others by now."""

    def restore(self, key: str, clock: Clock, grace: float) -> Submit:
        """The submit, as far as it can be had again."""

        def ago(at: float) -> Moment:
            age = max(0.0, clock.service_now - at)
            return Moment(clock.now.loop - age, clock.now.wall - age)

        return Submit(
            key,
            self.order,
            grace,
            recurs=True,
            state=State.GIVEN_UP,
            sent=ago(self.sent),
            lost_at=ago(self.lost_at).loop,
            was_lost=True,
            taken=self.taken,
            sent_elsewhere=True,
        )
