"""What became of submits whose answers were lost. The rules by which no credit is spent twice.

A submit is *under way* from the moment when any of it may have arrived. When it is answered, its task is *claimed*: no
other submit of this process can be it. When its answer is lost, the task list tells what became of it:

- a task with its idempotency key is its own, whatever else is true; one with a key of somebody else is not;
- else the candidates are the tasks of the same order that nobody has claimed and that were created since it was sent.
  One candidate that no other submit could own is adopted. Submits of equal orders are interchangeable: when all of them
  are lost, and there are no more candidates than submits, each takes one;
- no candidate in any list that was asked for until the grace time was over: it was not created, and may be sent again;
- anything else cannot be known, and is left to people, with the candidates.

Whether a task was created since the submit was sent is told by clocks that disagree, so it has three answers as well:
before, since, or unsure. What is unsure is neither adopted nor ruled out. The clock that stamps tasks is compared with
ours by the tasks that this process has been given, whose moments are known on both.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from math import inf
from typing import Final, TypeAlias

from attrs import define, field, frozen

from ..tasks import TaskDetails, TaskStatus
from .likeness import Likeness, Order, likeness

__all__ = [
    "GRACE",
    "Adopted",
    "Clock",
    "Ledger",
    "LookAgain",
    "Moment",
    "NotCreated",
    "State",
    "Submit",
    "Undecided",
    "Verdict",
]

GRACE: Final = 15.0
"""Seconds after the loss of an answer in which the task may still appear in the list, where nothing else is said."""

LIKELY: Final = 5.0
"""Seconds before a submit at which a task can have been stamped and be its own all the same: clocks are read by the
second, and those of two machines of one service differ."""

SURELY: Final = 90.0
"""Seconds before a submit at which a task is surely older, by a clock that is known. Servers of one service differ."""

LONGER: Final = 30.0
"""Seconds by which a finished task took longer than the submit is ago, which is then surely none of it."""

RUNNING: Final = 2 * 3600.0
"""Seconds after which no task is still under way: a clock that says so of one cannot be compared with ours."""

RECENT: Final = 300.0
"""Seconds before a submit in which tasks were given to us that a list must show, if it is to prove anything."""

WITNESSES: Final = 5
"""How many of these, the newest."""

CREDIBLE: Final = 3
"""How many times the grace time a list that hides known tasks is asked for again, before it is given up."""

MANY_CLAIMS: Final = 256
"""Claims that are not worth tidying up."""

MOST_CLAIMS: Final = 100_000
"""Claims that are remembered while a submit is open, so that one that is never settled does not fill the memory."""

KEPT: Final = 900.0
"""Seconds for which claims are remembered that no open submit needs."""

_LOOKS: Final = (0.0, 1.0, 3.0, 7.0)
_LOOKS_AFTER: Final = 2.0


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

    def at_service(self, moment: Moment) -> float:
        """When `moment` was, by the clock of the service; where clocks of this machine disagree, the earlier."""
        by_wall = moment.wall + self.service_now - self.now.wall
        return min(by_wall, self.service_now - (self.now.loop - moment.loop))


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
    state: State = State.IDLE
    sent: Moment | None = None
    """When the first attempt that may have arrived went out."""
    lost_at: float = -inf
    task_id: str | None = None
    found: TaskDetails | None = None
    """What the list told of it, where it was adopted."""
    was_lost: bool = False
    """Whether an earlier attempt was lost, so that `sent` stays that of the first."""
    _met: set[str] = field(factory=set[str])
    _looks: int = 0

    def needs(self, at: float) -> bool:
        """Whether it must be known which tasks were given to others at this moment."""
        if self.sent is None or at < self.sent.loop - RECENT:
            return False
        return self.state is not State.GIVEN_UP or at <= self.lost_at + KEPT


@frozen
class Adopted:
    """This task is the submit's own, and claimed now."""

    details: TaskDetails


@frozen
class NotCreated:
    """No task has come of it: it can be sent again."""


@frozen
class LookAgain:
    """The list must be asked for again, not before this moment of the loop's clock."""

    at: float


@frozen
class Undecided:
    """It cannot be known; these tasks may be it."""

    candidates: tuple[TaskDetails, ...]


Verdict: TypeAlias = Adopted | NotCreated | LookAgain | Undecided


@frozen
class Wanted:
    """Which rows of the list can tell anything of lost submits."""

    models: frozenset[str]
    keys: frozenset[str]
    task_ids: frozenset[str]

    def concerns(self, row: Mapping[str, object]) -> bool:
        """Whether this row can, before it is deciphered."""
        model, task_id, key = row.get("model"), row.get("id"), row.get("idempotencyKey")
        if not isinstance(model, str) or model in self.models:
            return True
        return (isinstance(task_id, str) and task_id in self.task_ids) or (isinstance(key, str) and key in self.keys)


@define(eq=False)
class _Claim:
    key: str
    order: Order
    sent: Moment
    answered: Moment
    created: float | None = None
    """By the service's clock, once a list has told."""
    listed_at: float = -inf


@frozen
class _Stamp:
    """A task that was given to us, by which the clock that stamps tasks is compared with ours."""

    answered: Moment
    created: float
    newest: float
    """The newest task of all that had been given to us by then."""


@define(eq=False)
class _Row:
    """A task of the list that nobody has claimed."""

    details: TaskDetails
    first_seen: float
    had_ended: bool
    """Whether it had ended when it was first seen."""
    likes: dict[Submit, Likeness] = field(factory=dict[Submit, Likeness])

    @property
    def created(self) -> float | None:
        return None if self.details.created_at is None else self.details.created_at.timestamp()

    @property
    def took(self) -> float:
        """Seconds from its creation to its end, by the service's clock; 0 where that is not told."""
        if self.details.created_at is None or self.details.completed_at is None:
            return 0.0
        return (self.details.completed_at - self.details.created_at).total_seconds()

    def like(self, submit: Submit) -> Likeness:
        """How it compares with what was ordered. Many are asked again and again."""
        if submit not in self.likes:
            self.likes[submit] = likeness(submit.order, self.details)
        return self.likes[submit]


class _Age(Enum):
    OLD = auto()
    UNSURE = auto()
    NEW = auto()


class Ledger:
    """All submits of one account in this process: which tasks are claimed, and what became of lost ones."""

    def __init__(self) -> None:
        self._open: set[Submit] = set()
        self._claims: dict[str, _Claim] = {}
        self._handled: frozenset[str] = frozenset()
        self._rows: dict[str, _Row] = {}
        self._stamps: list[_Stamp] = []
        self._in_order: list[_Row] = []
        self._keeping: set[str] = set()
        self._unfaithful: set[str] = set()
        self._enough_claims = MANY_CLAIMS
        self._asked_at = -inf
        self._unreadable = 0

    # --- the life of a submit ------------------------------------------------------------------------

    def open(self, submit: Submit) -> None:
        """A submit begins, or is taken up again."""
        self._open.add(submit)

    def sent(self, submit: Submit, now: Moment) -> None:
        """Any of it may arrive from now on."""
        submit.state = State.UNDER_WAY
        if not submit.was_lost:
            submit.sent = now

    def answered(self, submit: Submit, task_id: str, now: Moment) -> None:
        """The service has told its task."""
        self._claim(submit, task_id, now)

    def refused(self, submit: Submit) -> None:
        """The last attempt has created nothing, and is over."""
        submit.state = State.IDLE

    def lost(self, submit: Submit, now: float) -> None:
        """An attempt may have arrived, and its answer will not come."""
        submit.state, submit.lost_at, submit.was_lost = State.LOST, now, True
        submit._met, submit._looks = set(), 0

    def give_up(self, submit: Submit) -> None:
        """Nobody looks for it any more; it may own a task all the same."""
        submit.state = State.GIVEN_UP
        self._forget_rows()

    def resume(self, submit: Submit) -> None:
        """It is looked for again. What appeared meanwhile need not be its own."""
        submit.state, submit._met, submit._looks = State.LOST, set(), 0

    def close(self, submit: Submit) -> None:
        """It is settled: it owns its task, or none."""
        submit.state = State.DONE
        self._open.discard(submit)
        self._forget_rows()

    def _forget_rows(self) -> None:
        if not any(item.was_lost and item.state is not State.GIVEN_UP for item in self._open):
            self._rows.clear()
            self._in_order.clear()
            # What is forgotten proves no absence.
            self._asked_at = -inf

    def _claim(self, submit: Submit, task_id: str, now: Moment) -> None:
        submit.task_id = task_id
        self._rows.pop(task_id, None)
        self.close(submit)
        self._claims.pop(task_id, None)
        self._claims[task_id] = _Claim(submit.key, submit.order, submit.sent or now, now)
        if len(self._claims) > self._enough_claims:
            needed = [item for item in self._claims.items() if self._is_needed(item[1], now.loop)]
            self._claims = dict(needed[-MOST_CLAIMS:])
            self._enough_claims = 2 * len(self._claims) + MANY_CLAIMS

    def _is_needed(self, claim: _Claim, now: float) -> bool:
        if claim.answered.loop >= now - KEPT:
            return True
        return any(item.needs(claim.answered.loop) for item in self._open)

    # --- the list ------------------------------------------------------------------------------------

    @property
    def is_blank(self) -> bool:
        """Whether no list is remembered."""
        return self._asked_at == -inf

    def wanted(self) -> Wanted:
        """Which rows of the list can tell anything now."""
        lost = [item for item in self._open if item.was_lost]
        return Wanted(
            models=frozenset(item.order.model for item in lost),
            keys=frozenset(item.key for item in lost),
            task_ids=frozenset(self._claims),
        )

    def take(
        self,
        rows: Iterable[TaskDetails],
        *,
        asked_at: float,
        now: float,
        handled: Iterable[str] = (),
        unreadable: int = 0,
    ) -> None:
        """A list has come.

        Args:
            rows: those that concern somebody.
            asked_at: when it was asked for, on the loop's clock.
            now: when it came.
            handled: ids of tasks for which there are handles that no submit has made.
            unreadable: how many rows could not be read.
        """
        self._handled = frozenset(handled)
        self._asked_at, self._unreadable = asked_at, unreadable
        before = set(self._rows)
        listed: set[str] = set()
        for details in rows:
            listed.add(details.id)
            if (claim := self._claims.get(details.id)) is not None:
                self._take_claimed(claim, details)
            elif (row := self._rows.get(details.id)) is not None:
                row.details = details
            else:
                self._rows[details.id] = _Row(details, now, details.status.is_terminal)
        self._in_order = sorted(self._rows.values(), key=_first)
        self._compare_clocks()
        for submit in self._open:
            # What was there at the first look since the loss may be old; what comes later is new.
            if submit.was_lost and asked_at >= submit.lost_at:
                if not submit._looks:
                    submit._met |= listed | before
                submit._looks += 1

    def _compare_clocks(self) -> None:
        stamps: list[_Stamp] = []
        newest = -inf
        for claim in sorted(self._claims.values(), key=lambda claim: claim.answered.loop):
            if claim.created is not None:
                newest = max(newest, claim.created)
                stamps.append(_Stamp(claim.answered, claim.created, newest))
        self._stamps = stamps

    def _take_claimed(self, claim: _Claim, details: TaskDetails) -> None:
        is_known = claim.listed_at > -inf
        claim.listed_at = self._asked_at
        if is_known:
            # Thousands are listed again and again.
            return
        claim.created = None if details.created_at is None else details.created_at.timestamp()
        model = claim.order.model
        if details.idempotency_key == claim.key:
            self._keeping.add(model)
        if likeness(claim.order, details) is Likeness.SAME:
            self._unfaithful.discard(model)
        else:
            # What this service shows of an order is not what was ordered: that a row looks different proves nothing.
            self._unfaithful.add(model)

    # --- what became of it ---------------------------------------------------------------------------

    def decide(self, submit: Submit, clock: Clock) -> Verdict:
        """What the lists that have come tell of a lost submit. One that is adopted is claimed, and closed."""
        if submit.task_id is not None:
            # Another client of this process was at it, too.
            return Adopted(submit.found or TaskDetails(id=submit.task_id, status=TaskStatus.SUBMITTED))
        if (own := self._with_key(submit)) is not None:
            return self._adopt(submit, own, clock.now)
        possible, doubtful = self._candidates(submit, clock)
        rivals = [item for item in self._open if item is not submit and self._can_own_any(item, possible, clock)]
        # One of which it is only unsure how old it is may be its own, and what is new that of a rival.
        is_unsure = any(self._like(row, submit) is Likeness.SAME for row in doubtful)
        if possible and _is_clear(submit, possible, rivals) and not (rivals and is_unsure):
            return self._adopt(submit, possible[0], clock.now)
        asked_after = self._asked_at - submit.lost_at
        if asked_after < 0:
            return LookAgain(clock.now.loop)
        if not possible and not doubtful:
            return self._nothing_found(submit, asked_after, clock.now.loop)
        if asked_after >= submit.grace and not any(item.state is State.UNDER_WAY for item in rivals):
            return Undecided(tuple(row.details for row in (*possible, *doubtful)))
        return LookAgain(self._next_look(submit, clock.now.loop))

    def claimed_with(self, key: str) -> tuple[str, Order] | None:
        """The task that was claimed by a submit with this key, and what was ordered, if that is remembered."""
        found = ((task_id, claim.order) for task_id, claim in self._claims.items() if claim.key == key)
        return next(found, None)

    def open_with(self, key: str) -> Submit | None:
        """The submit with this key that is not settled."""
        return next((item for item in self._open if item.key == key), None)

    def settle(self, submit: Submit, task_id: str | None, now: Moment) -> None:
        """Somebody who knows has told: it is this task, or none."""
        if task_id is None:
            self.close(submit)
        else:
            self._claim(submit, task_id, now)

    def candidates(self, submit: Submit, clock: Clock) -> tuple[TaskDetails, ...]:
        """The tasks that may be it, as far as the lists have told."""
        possible, doubtful = self._candidates(submit, clock)
        return tuple(row.details for row in (*possible, *doubtful))

    def _nothing_found(self, submit: Submit, asked_after: float, now: float) -> Verdict:
        if self._can_prove_absence(submit):
            # Also where the service is known to keep keys: a task may be created late, and a repeat may be refused.
            if asked_after >= submit.grace:
                return NotCreated()
        elif asked_after >= CREDIBLE * submit.grace:
            return Undecided(())
        return LookAgain(self._next_look(submit, now))

    def _can_prove_absence(self, submit: Submit) -> bool:
        """Whether the last list shows what it must: the tasks that were given to us while this one was lost."""
        assert submit.sent is not None  # noqa: S101  (it was lost)
        since, until = submit.sent.loop, submit.lost_at
        claims = self._claims.values()
        must = [claim for claim in claims if claim.sent.loop >= since and claim.answered.loop <= until]
        before = [claim for claim in claims if since - RECENT <= claim.answered.loop < since]
        witnesses = [*must, *sorted(before, key=lambda claim: claim.answered.loop)[-WITNESSES:]]
        return not self._unreadable and all(claim.listed_at == self._asked_at for claim in witnesses)

    def _next_look(self, submit: Submit, now: float) -> float:
        looked = self._asked_at - submit.lost_at
        later = [after for after in (*_LOOKS, submit.grace) if looked < after <= submit.grace]
        return max(now, submit.lost_at + later[0] if later else self._asked_at + _LOOKS_AFTER)

    def _with_key(self, submit: Submit) -> _Row | None:
        return next((row for row in self._in_order if row.details.idempotency_key == submit.key), None)

    def _adopt(self, submit: Submit, row: _Row, now: Moment) -> Adopted:
        if row.details.idempotency_key == submit.key:
            self._keeping.add(submit.order.model)
        for rival in self._open:
            if rival.order == submit.order and rival.state in {State.LOST, State.GIVEN_UP}:
                # It may have been the rival's: what this one has ordered may still be created, for the other to take.
                rival.lost_at = max(rival.lost_at, submit.lost_at)
        self._in_order = [known for known in self._in_order if known is not row]
        submit.found = row.details
        self._claim(submit, row.details.id, now)
        return Adopted(row.details)

    def _candidates(self, submit: Submit, clock: Clock) -> tuple[list[_Row], list[_Row]]:
        """The tasks that are as ordered and new, and those of which that is not sure; the oldest first."""
        possible: list[_Row] = []
        doubtful: list[_Row] = []
        for row in self._in_order:
            if row.details.id in self._claims or (age := self._age(row, submit, clock)) is _Age.OLD:
                continue
            like = self._like(row, submit)
            if like is Likeness.OTHER:
                continue
            sure = like is Likeness.SAME and age is _Age.NEW and row.details.id not in self._handled
            (possible if sure else doubtful).append(row)
        return possible, doubtful

    def _like(self, row: _Row, submit: Submit) -> Likeness:
        key = row.details.idempotency_key
        if key and not _may_be(key, submit.key):
            return Likeness.OTHER
        like = row.like(submit)
        model = submit.order.model
        if like is Likeness.OTHER:
            is_same_model = row.details.model in {None, model}
            return Likeness.MAYBE if model in self._unfaithful and is_same_model else Likeness.OTHER
        # The service would show the key, or shows it in another form.
        return Likeness.MAYBE if key or model in self._keeping else like

    def _can_own_any(self, submit: Submit, rows: Sequence[_Row], clock: Clock) -> bool:
        return any(self._can_own(submit, row, clock) for row in rows)

    def _can_own(self, submit: Submit, row: _Row, clock: Clock) -> bool:
        if submit.sent is None or submit.state is State.IDLE or self._age(row, submit, clock) is _Age.OLD:
            return False
        # Whose order is shown to the letter goes before one that it may be in another form.
        return self._like(row, submit) is Likeness.SAME

    def _is_later(self, row: _Row, submit: Submit, clock: Clock) -> bool:
        """Whether a task was created when nothing can have come of a lost submit any more, as far as clocks tell."""
        if row.created is None or submit.sent is None or not self._stamps:
            return False
        until = self._expected(submit.sent, clock) + (submit.lost_at - submit.sent.loop) + CREDIBLE * submit.grace
        return row.created > until + SURELY

    def _age(self, row: _Row, submit: Submit, clock: Clock) -> _Age:
        assert submit.sent is not None  # noqa: S101  (only what was sent is compared)
        if row.first_seen < submit.sent.loop:
            return _Age.OLD
        met_later = submit._looks > 0 and row.details.id not in submit._met
        created = row.created
        if created is None:
            return _Age.NEW if met_later else _Age.UNSURE
        later = self._stamps_before(submit.sent)
        expected = self._expected(submit.sent, clock)
        # A clock that runs at any speed, and has never been compared with ours, still runs forwards.
        is_old = later > 0 and (created < self._stamps[later - 1].newest - SURELY or created < expected - SURELY)
        if not is_old and not later:
            is_old = created < expected - SURELY and row.took > row.first_seen - submit.sent.loop + LONGER
        if is_old:
            # Another server of the same service may have a clock of its own.
            return _Age.UNSURE if met_later else _Age.OLD
        if created >= expected - LIKELY:
            if clock.now.loop - submit.lost_at > KEPT and self._is_later(row, submit, clock):
                return _Age.UNSURE
            # Finished, and by an unknown clock not even begun: it says nothing.
            unknown = not later and row.had_ended and created > clock.service_now + LIKELY
            return _Age.UNSURE if unknown and not met_later else _Age.NEW
        # Under way since hours, by a clock that was never compared with ours: it cannot be, and was just created.
        just_created = not later and not row.had_ended and created < expected - RUNNING
        return _Age.NEW if met_later or just_created else _Age.UNSURE

    def _stamps_before(self, moment: Moment) -> int:
        return bisect_left(self._stamps, moment.loop, key=lambda stamp: stamp.answered.loop)

    def _expected(self, moment: Moment, clock: Clock) -> float:
        """What the clock that stamps tasks showed at a moment, at the earliest."""
        later = self._stamps_before(moment)
        # The tasks given to us just before and just after: in between, the clock may have drifted either way.
        nearest = self._stamps[max(0, later - 1) : later + 1]
        offsets = [stamp.created - clock.at_service(stamp.answered) for stamp in nearest]
        return clock.at_service(moment) + min(offsets if later else [0.0, *offsets])


def _may_be(shown: str, key: str) -> bool:
    """Whether a key that is shown may be ours in another form: cut off, prefixed, in other letters."""
    one, other = shown.casefold(), key.casefold()
    return one in other or other in one


def _is_clear(submit: Submit, possible: Sequence[_Row], rivals: Sequence[Submit]) -> bool:
    """Whether the first of the candidates can be given to this submit without taking it from another."""
    if any(rival.state is State.UNDER_WAY for rival in rivals):
        return False
    return len(possible) <= len(rivals) + 1 and all(rival.order == submit.order for rival in rivals)


def _first(row: _Row) -> tuple[float, float]:
    return (inf if row.created is None else row.created, row.first_seen)
