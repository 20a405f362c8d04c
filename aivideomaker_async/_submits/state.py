"""A submit, how far it got, and the clocks that its moments are measured by.

Two clocks measure each moment, since neither can be trusted alone: that of the event loop never jumps, and may stand
still while the machine sleeps; that of the day goes on, and may be set at any time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from math import inf
from typing import Final, NamedTuple

from attrs import field, frozen

from ..tasks import JSON, SubmitTrace, TaskDetails

__all__ = [
    "DEFAULT_GRACE_S",
    "Fingerprint",
    "Instant",
    "ServiceClock",
    "Submit",
    "SubmitState",
    "restore_submit",
    "take_snapshot",
]

DEFAULT_GRACE_S: Final = 15.0
"""How long after the loss of an answer the task may still appear in the list."""


class Instant(NamedTuple):
    """A moment on both clocks of this machine, in seconds."""

    loop: float
    """On the clock of the event loop."""
    wall: float
    """Since the epoch."""


class ServiceClock:
    """The time here and at the service, to convert moments of this machine to the service's clock.

    Args:
        now: the time on both clocks of this machine.
        service_now: the time of the service in seconds since the epoch, by the header of its answers.
        is_known: whether the service has reported its time; else `service_now` is this machine's.
    """

    __slots__ = ("is_known", "now", "service_now")

    def __init__(self, now: Instant, service_now: float, *, is_known: bool = True) -> None:
        self.now = now
        self.service_now = service_now
        self.is_known = is_known

    def by_loop(self, instant: Instant) -> float:
        """Return `instant` by the service's clock, or a later time if the machine has slept since."""
        return self.service_now - (self.now.loop - instant.loop)

    def by_wall(self, instant: Instant) -> float:
        """Return `instant` by the service's clock, unless the wall clock was set since."""
        return self.service_now - (self.now.wall - instant.wall)

    def earliest(self, instant: Instant) -> float:
        """Return the earlier of the two."""
        return min(self.by_loop(instant), self.by_wall(instant))


@frozen
class Fingerprint:
    """What a submit orders, as far as the task list shows it. Submits with equal fingerprints are interchangeable.

    An uploaded image is no part of `fields`: the service shows an address of its own in its place.
    """

    model: str
    fields: Mapping[str, object] = field(repr=False)
    """By wire name, normalized so that values of the same meaning are equal."""
    uploads: Mapping[str, bytes] = field(factory=dict[str, bytes], repr=False)
    """Digests of the uploaded images, by the wire name of their field."""
    is_known: bool = True
    """Whether it is known what was ordered; else only the model is."""


class SubmitState(Enum):
    """How far a submit got."""

    IDLE = auto()
    """No attempt can have arrived."""
    IN_FLIGHT = auto()
    """An attempt may have arrived, and its answer may still come."""
    LOST = auto()
    """An attempt may have arrived, its answer will not come, and its task is searched for."""
    GIVEN_UP = auto()
    """As `LOST`, without a search."""
    DONE = auto()


class Submit:
    """One submit with all its attempts. Only the `Reconciler` changes it.

    Args:
        key: the idempotency key that is sent with it.
        fingerprint: what it orders.
        grace_s: seconds after the loss of an answer in which its task may still appear in the list.
        has_callers_key: whether the caller chose the key, so that it may be used again.
    """

    __slots__ = (
        "__weakref__",
        "assigned_elsewhere",
        "details",
        "fingerprint",
        "grace_s",
        "has_callers_key",
        "is_time_known",
        "key",
        "lost_at",
        "may_still_arrive",
        "polls",
        "seen_at_first_poll",
        "sent_at",
        "sent_elsewhere",
        "state",
        "task_id",
        "was_lost",
    )

    def __init__(
        self,
        key: str,
        fingerprint: Fingerprint,
        grace_s: float = DEFAULT_GRACE_S,
        *,
        has_callers_key: bool = False,
    ) -> None:
        self.key: str = key
        self.fingerprint: Fingerprint = fingerprint
        self.grace_s: float = grace_s
        self.has_callers_key: bool = has_callers_key
        self.state: SubmitState = SubmitState.IDLE
        self.sent_at: Instant | None = None
        """When the first attempt that may have arrived was sent."""
        self.was_lost: bool = False
        """Whether an attempt was lost: from then on `sent_at` stays that of the first."""
        self.lost_at: float = -inf
        """When the last answer was lost, on the clock of the event loop."""
        self.may_still_arrive: bool = False
        """Whether a lost attempt may arrive at any later time, since its connection was not reset."""
        self.polls: int = 0
        """Lists that were requested since the loss."""
        self.seen_at_first_poll: set[str] = set()
        """Ids of the tasks that the first of these lists showed, or that were known before."""
        self.task_id: str | None = None
        self.details: TaskDetails | None = None
        """The row of its task, where that was adopted from the list."""
        self.sent_elsewhere: bool = False
        """Whether another process sent it. Which tasks were assigned to others there since then is unknown here."""
        self.assigned_elsewhere: frozenset[str] = frozenset()
        """Tasks that were assigned to other submits in that process."""
        self.is_time_known: bool = True
        """Whether `sent_at` can be trusted: another process may not have known the time of the service."""

    def search_anew(self) -> None:
        """Begin a search: what earlier lists showed proves nothing about tasks that appeared since."""
        self.state, self.polls, self.seen_at_first_poll = SubmitState.LOST, 0, set()


def take_snapshot(submit: Submit, clock: ServiceClock, assigned: Iterable[str]) -> dict[str, JSON]:
    """Return a submit that was sent as plain data, to be reconciled in another process: the form of a `SubmitTrace`.

    Args:
        submit: the submit.
        clock: the time.
        assigned: ids of the tasks of the same model that were assigned to other submits.
    """
    assert submit.sent_at is not None  # noqa: S101
    lost_at = clock.now.loop if submit.lost_at == -inf else submit.lost_at
    return SubmitTrace(
        model=submit.fingerprint.model,
        fields=submit.fingerprint.fields,
        uploads=submit.fingerprint.uploads,
        sent_at=clock.earliest(submit.sent_at),
        lost_at=clock.service_now - (clock.now.loop - lost_at),
        is_time_known=clock.is_known,
        may_still_arrive=submit.may_still_arrive,
        assigned=tuple(sorted(assigned)),
    ).to_dict()


def restore_submit(
    snapshot: Mapping[str, object] | None, *, key: str, model: str, began_at: float, clock: ServiceClock, grace_s: float
) -> Submit:
    """Return the submit of a snapshot, given up.

    Args:
        snapshot: as `take_snapshot` made it; None when a user made the error by hand.
        key: the idempotency key.
        model: the model's wire name, used without a snapshot.
        began_at: when it was sent by the service's clock, used without a snapshot.
        clock: the time.
        grace_s: as for `Submit`.
    """
    if snapshot is None:
        trace = SubmitTrace(
            model=model,
            fields={},
            uploads={},
            sent_at=began_at,
            lost_at=began_at,
            is_time_known=False,
            may_still_arrive=False,
        )
    else:
        trace = SubmitTrace.from_dict(snapshot)
    fingerprint = Fingerprint(trace.model, trace.fields, trace.uploads, is_known=snapshot is not None)

    def here(moment: float) -> Instant:
        age = max(0.0, clock.service_now - moment)
        return Instant(clock.now.loop - age, clock.now.wall - age)

    submit = Submit(key, fingerprint, grace_s, has_callers_key=True)
    submit.state = SubmitState.GIVEN_UP
    submit.sent_at = here(trace.sent_at)
    submit.lost_at = here(trace.lost_at).loop
    submit.was_lost = submit.sent_elsewhere = True
    submit.is_time_known = trace.is_time_known
    submit.may_still_arrive = trace.may_still_arrive
    submit.assigned_elsewhere = frozenset(trace.assigned)
    return submit
