"""What became of submits whose answers were lost. The rules by which no credit is spent twice.

A submit is *under way* from the moment when any of it may have arrived. When it is answered, its task is *claimed*: no
other submit of this process can be it. When its answer is lost, the task list tells what became of it:

- a task with its idempotency key is its own, whatever else is true; one with a key of somebody else is not;
- else the candidates are the tasks of the same order that nobody has claimed and that were created since it was sent.
  One candidate that no other submit could own is adopted. Submits of equal orders are interchangeable: when all of them
  are lost, and there are no more candidates than submits, each takes one;
- no candidate in any list that was asked for until the grace time was over: it was not created, and may be sent again;
- anything else cannot be known, and is left to people, with the candidates.

Whether a task is as ordered (`likeness`) and was created since the submit was sent (`ages`) has three answers: yes, no,
or unsure. What is unsure is neither adopted nor ruled out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final, TypeAlias

from attrs import frozen

from ..tasks import TaskDetails, TaskStatus
from .assignments import Claim, Claims
from .matching import Likeness, Order, likeness, loose
from .recency import SURELY, Age, Row, Since, Stamps
from .state import CREDIBLE, Clock, Moment, State, Submit, Trace

__all__ = ["MOST_UNSETTLED", "Adopted", "Ledger", "LookAgain", "NotCreated", "Undecided", "Verdict", "Wanted"]

KEYS_KNOWN: Final = 10_000
"""Idempotency keys that may come again, which are remembered with their tasks."""

MOST_UNSETTLED: Final = 10_000
"""Submits that were given up and are remembered, so that a service that loses every answer does not fill the memory."""

FEWEST_SHOWN: Final = 10
"""No service shows fewer tasks than this, if there are more: a list that has as many of others' may hide older ones."""

_LOOKS: Final = (0.0, 1.0, 3.0, 7.0)
_LOOKS_AFTER: Final = 2.0


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
    """As `loose` has them."""
    keys: frozenset[str]
    task_ids: frozenset[str]

    def concerns(self, row: Mapping[str, object]) -> bool:
        """Whether this row can, before it is deciphered."""
        model, task_id, key = row.get("model"), row.get("id"), row.get("idempotencyKey")
        if not isinstance(model, str) or loose(model) in self.models:
            return True
        return (isinstance(task_id, str) and task_id in self.task_ids) or (isinstance(key, str) and key in self.keys)


class Ledger:
    """All submits of one account in this process: which tasks are claimed, and what became of lost ones."""

    def __init__(self) -> None:
        self._open: set[Submit] = set()
        self._claims = Claims()
        self._by_key: OrderedDict[str, tuple[str, Order]] = OrderedDict()
        self._handled: frozenset[str] = frozenset()
        self._rows: dict[str, Row] = {}
        self._in_order: list[Row] = []
        self._stamps = Stamps()
        self._keeping: set[str] = set()
        self._unfaithful: set[str] = set()
        self._asked_at = -inf
        self._unreadable = 0
        self._reaches_back: float | None = None
        self._strangers = 0

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
        submit.lost_at, submit.was_lost = now, True
        submit.search_anew()

    def give_up(self, submit: Submit) -> None:
        """Nobody looks for it any more; it may own a task all the same."""
        submit.state = State.GIVEN_UP
        given_up = [item for item in self._open if item.state is State.GIVEN_UP]
        if len(given_up) > MOST_UNSETTLED:
            self._open.discard(min(given_up, key=lambda item: item.lost_at))
        self._forget_rows()

    def give_up_all(self, now: Moment) -> None:
        """Nobody looks for any that is open; this process was forked, and the other one sees them through."""
        for submit in tuple(self._open):
            if submit.state is State.UNDER_WAY:
                self.lost(submit, now.loop)
            if submit.was_lost:
                submit.sent_elsewhere = True
                self.give_up(submit)
            else:
                self.close(submit)

    def resume(self, submit: Submit) -> None:
        """It is looked for again. What appeared meanwhile need not be its own."""
        submit.search_anew()

    def close(self, submit: Submit) -> None:
        """It is settled: it owns its task, or none."""
        submit.state = State.DONE
        self._open.discard(submit)
        self._forget_rows()

    def _forget_rows(self) -> None:
        if not any(item.was_lost and item.state is not State.GIVEN_UP for item in self._open):
            self._rows.clear()
            self._in_order.clear()
            self._stamps = Stamps()
            # What is forgotten proves no absence.
            self._asked_at = -inf

    def _claim(self, submit: Submit, task_id: str, now: Moment) -> None:
        submit.task_id = task_id
        self._rows.pop(task_id, None)
        self.close(submit)
        self._claims.add(task_id, submit, now, self._open)
        if submit.recurs or submit.was_lost:
            self._by_key[submit.key] = task_id, submit.order
            if len(self._by_key) > KEYS_KNOWN:
                self._by_key.popitem(last=False)

    # --- the list ------------------------------------------------------------------------------------

    @property
    def is_blank(self) -> bool:
        """Whether no list is remembered."""
        return self._asked_at == -inf

    def wanted(self) -> Wanted:
        """Which rows of the list can tell anything now."""
        lost = [item for item in self._open if item.was_lost]
        return Wanted(
            models=frozenset(loose(item.order.model) for item in lost),
            keys=frozenset(item.key for item in lost),
            task_ids=self._claims.ids(),
        )

    def take(
        self,
        rows: Iterable[TaskDetails],
        *,
        asked_at: float,
        now: float,
        handled: Iterable[str] = (),
        unreadable: int = 0,
        rows_read: int = 0,
        reaches_back: float | None = None,
    ) -> None:
        """A list has come.

        Args:
            rows: those that concern somebody.
            asked_at: when it was asked for, on the loop's clock.
            now: when it came.
            handled: ids of tasks for which there are handles that no submit has made.
            unreadable: how many rows could not be read.
            rows_read: how many rows the list has in all.
            reaches_back: when its oldest task was created, by the clock that stamps tasks; None if that is not known.
        """
        self._handled = frozenset(handled)
        self._asked_at, self._unreadable = asked_at, unreadable
        self._reaches_back, self._strangers = reaches_back, rows_read
        before = set(self._rows)
        listed: set[str] = set()
        for details in rows:
            listed.add(details.id)
            if (claim := self._claims.get(details.id)) is not None:
                self._take_claimed(claim, details)
                self._strangers -= 1
            elif (row := self._rows.get(details.id)) is not None:
                row.update(details)
            else:
                self._rows[details.id] = Row(details, now)
        self._in_order = sorted(self._rows.values(), key=_first)
        self._stamps = self._claims.stamps()
        for submit in self._open:
            # What was there at the first look since the loss may be old; what comes later is new.
            if submit.was_lost and asked_at >= submit.lost_at:
                if not submit.looks:
                    submit.met |= listed | before
                submit.looks += 1

    def _take_claimed(self, claim: Claim, details: TaskDetails) -> None:
        claim.listed_at = self._asked_at
        order, claim.order = claim.order, None
        if order is None:
            # Thousands are listed again and again.
            return
        claim.created = None if details.created_at is None else details.created_at.timestamp()
        if details.idempotency_key == claim.key:
            self._keeping.add(order.model)
        if likeness(order, details) is Likeness.SAME:
            self._unfaithful.discard(order.model)
        else:
            # What this service shows of an order is not what was ordered: that a row looks different proves nothing.
            self._unfaithful.add(order.model)

    # --- what became of it ---------------------------------------------------------------------------

    def decide(self, submit: Submit, clock: Clock) -> Verdict:
        """What the lists that have come tell of a lost submit. One that is adopted is claimed, and closed."""
        if submit.task_id is not None:
            # Another client of this process was at it, too.
            return Adopted(submit.found or TaskDetails(id=submit.task_id, status=TaskStatus.SUBMITTED))
        if (own := self._with_key(submit)) is not None:
            return self._adopt(submit, own, clock.now)
        possible, doubtful = self._candidates(submit, clock)
        rivals = self._rivals(submit, possible, clock) if possible else []
        # One of which it is only unsure how old it is may be its own, and what is new that of a rival.
        is_unsure = any(self._like(row, submit) is Likeness.SAME for row in doubtful)
        if possible and _is_clear(submit, possible, rivals) and not (rivals and is_unsure):
            return self._adopt(submit, possible[0], clock.now)
        asked_after = self._asked_at - submit.lost_at
        if asked_after < 0:
            return LookAgain(clock.now.loop)
        if not possible and not doubtful:
            return self._nothing_found(submit, asked_after, clock)
        if asked_after >= submit.grace and not any(item.state is State.UNDER_WAY for item in rivals):
            return Undecided(tuple(row.details for row in (*possible, *doubtful)))
        return LookAgain(self._next_look(submit, clock.now.loop))

    def bought_with(self, key: str) -> tuple[str, Order] | None:
        """The task of a submit with this key, and what was ordered, if its key may come again and is remembered."""
        return self._by_key.get(key)

    def open_with(self, key: str) -> Submit | None:
        """The submit with this key that is not settled."""
        return next((item for item in self._open if item.key == key), None)

    def settle(self, submit: Submit, task_id: str | None, now: Moment) -> None:
        """Somebody who knows has told: it is this task, or none.

        Raises:
            ValueError: this task belongs to another submit.
        """
        claim = None if task_id is None else self._claims.get(task_id)
        if claim is not None and claim.key != submit.key:
            raise ValueError
        if task_id is None:
            self.close(submit)
        else:
            self._claim(submit, task_id, now)

    def trace(self, submit: Submit, clock: Clock) -> Trace:
        """What to tell to whom may look for a submit that was sent, in another process."""
        assert submit.sent is not None  # noqa: S101  (it was sent)
        lost_at = clock.now.loop if submit.lost_at == -inf else submit.lost_at
        return Trace(
            submit.order,
            clock.at_service(submit.sent),
            clock.service_now - (clock.now.loop - lost_at),
            submit.taken | self._claims.since(submit.sent.loop - SURELY, submit.order.model),
        )

    def candidates(self, submit: Submit, clock: Clock) -> tuple[TaskDetails, ...]:
        """The tasks that may be it, as far as the lists have told."""
        possible, doubtful = self._candidates(submit, clock)
        return tuple(row.details for row in (*possible, *doubtful))

    def _nothing_found(self, submit: Submit, asked_after: float, clock: Clock) -> Verdict:
        if self._can_prove_absence(submit, clock):
            # Also where the service is known to keep keys: a task may be created late, and a repeat may be refused.
            if asked_after >= submit.grace:
                return NotCreated()
        elif asked_after >= CREDIBLE * submit.grace:
            return Undecided(())
        return LookAgain(self._next_look(submit, clock.now.loop))

    def _can_prove_absence(self, submit: Submit, clock: Clock) -> bool:
        """Whether the last list shows what it must: the tasks that were given to us while this one was lost."""
        since = self._stamps.since(submit, clock)
        # It may end after so many rows, and begin after this submit.
        is_cut = self._reaches_back is not None and self._reaches_back > since.at_latest
        if self._unreadable or (is_cut and self._strangers >= FEWEST_SHOWN):
            return False
        return self._claims.are_shown(self._asked_at, since.sent, submit.lost_at)

    def _next_look(self, submit: Submit, now: float) -> float:
        looked = self._asked_at - submit.lost_at
        later = [after for after in (*_LOOKS, submit.grace) if looked < after <= submit.grace]
        return max(now, submit.lost_at + later[0] if later else self._asked_at + _LOOKS_AFTER)

    def _with_key(self, submit: Submit) -> Row | None:
        return next((row for row in self._in_order if row.details.idempotency_key == submit.key), None)

    def _adopt(self, submit: Submit, row: Row, now: Moment) -> Adopted:
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

    def _candidates(self, submit: Submit, clock: Clock) -> tuple[list[Row], list[Row]]:
        """The tasks that are as ordered and new, and those of which that is not sure; the oldest first."""
        possible: list[Row] = []
        doubtful: list[Row] = []
        since = self._stamps.since(submit, clock)
        for row in self._in_order:
            if row.details.id in self._claims or row.details.id in submit.taken or (age := since.age(row)) is Age.OLD:
                continue
            like = self._like(row, submit)
            if like is Likeness.OTHER:
                continue
            sure = like is Likeness.SAME and age is Age.NEW and row.details.id not in self._handled
            (possible if sure else doubtful).append(row)
        return possible, doubtful

    def _rivals(self, submit: Submit, rows: Sequence[Row], clock: Clock) -> list[Submit]:
        """The other submits that could own any of these tasks."""
        rivals: list[Submit] = []
        for item in self._open:
            if item is submit or item.sent is None or item.state is State.IDLE:
                continue
            # Whose order is shown to the letter goes before one that it may be in another form.
            alike = [row for row in rows if self._like(row, item) is Likeness.SAME]
            if alike and self._can_own_any(self._stamps.since(item, clock), alike):
                rivals.append(item)
        return rivals

    @staticmethod
    def _can_own_any(since: Since, rows: Sequence[Row]) -> bool:
        is_over = since.submit.state is State.GIVEN_UP
        return any(since.age(row) is not Age.OLD and not (is_over and since.is_too_late(row)) for row in rows)

    def _like(self, row: Row, submit: Submit) -> Likeness:
        key = row.details.idempotency_key
        if key and not _may_be(key, submit.key):
            return Likeness.OTHER
        like = row.like(submit)
        model = submit.order.model
        if like is Likeness.OTHER:
            is_same_model = row.details.model is None or loose(row.details.model) == loose(model)
            return Likeness.MAYBE if model in self._unfaithful and is_same_model else Likeness.OTHER
        # The service would show the key, or shows it in another form.
        return Likeness.MAYBE if key or model in self._keeping else like


def _may_be(shown: str, key: str) -> bool:
    """Whether a key that is shown may be ours in another form: cut off, prefixed, in other letters."""
    one, other = shown.casefold(), key.casefold()
    return one in other or other in one


def _is_clear(submit: Submit, possible: Sequence[Row], rivals: Sequence[Submit]) -> bool:
    """Whether the first of the candidates can be given to this submit without taking it from another."""
    if any(rival.state is State.UNDER_WAY or rival.sent_elsewhere for rival in rivals):
        return False
    return len(possible) <= len(rivals) + 1 and all(rival.order == submit.order for rival in rivals)


def _first(row: Row) -> tuple[float, float]:
    return (inf if row.created is None else row.created, row.first_seen)
