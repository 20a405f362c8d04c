"""What became of submits whose answers were lost: the rules by which no credit is spent twice.

A submit is in flight from the moment when any of it may have arrived. When it is answered, its task is assigned to it,
and no other submit of this process can own that task. When its answer is lost, the task list decides:

1. A task with its idempotency key is its own, whatever else is true; one with another key is not.
2. Else the candidates are the unassigned tasks that are what was ordered and were created since it was sent. A single
   one that no other submit could own is adopted. Submits with equal fingerprints are interchangeable: when all of them
   are lost, and there are no more candidates than submits, each takes one.
3. No candidate in any list that was requested until the grace time was over: it was not created, and may be sent again.
   A list proves that only if it shows the tasks that were assigned to this process in that time and shortly before,
   and only of a submit that cannot arrive any more.
4. Everything else is undecided, and left to people, with the candidates.

What a task is, and when it was created, can be unsure (`matching`). A task that is unsure is neither adopted nor ruled
out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Final, NamedTuple, TypeAlias

from attrs import evolve

from ..tasks import JSON, TaskDetails, TaskStatus
from .matching import (
    SURELY_OLDER_S,
    ClockReference,
    ListedTask,
    Match,
    Recency,
    StampedTimes,
    compare,
    fold,
    recency,
    stamped_times,
)
from .state import Fingerprint, Instant, ServiceClock, Submit, SubmitState, take_snapshot

__all__ = [
    "MAX_UNSETTLED",
    "Adopted",
    "LookAgain",
    "NotCreated",
    "Reconciler",
    "RowFilter",
    "Undecided",
    "Verdict",
]

MAX_REMEMBERED_KEYS: Final = 10_000
"""Idempotency keys that may be used again, remembered with their tasks."""

MAX_UNSETTLED: Final = 10_000
"""Remembered submits that were given up: a service that loses every answer must not fill the memory."""

MAX_ASSIGNMENTS: Final = 20_000
"""Remembered assignments: a submit that is never settled must not fill the memory."""

MAX_SNAPSHOT_TASKS: Final = 200
"""Assigned tasks in the snapshot of a submit."""

RETENTION_S: Final = 900.0
"""How long assignments are remembered, and how long before a submit it may count on them in a list."""

WITNESSES: Final = 5
"""How many of the tasks assigned shortly before a submit a list must show, the newest of them, to prove an absence."""

FEWEST_SHOWN: Final = 10
"""No service lists fewer tasks than this if there are more: a list that has as many of others may hide older ones."""

POLL_AFTER_S: Final = (0.0, 1.0, 3.0, 7.0)
"""When the list is requested after the loss of an answer, and once more at the end of the grace time."""

POLL_EVERY_S: Final = 2.0
"""The interval after that."""

UNPROVABLE_GRACE: Final = 3
"""How many times the grace time a list that proves nothing is requested again, before the search is given up."""


class Adopted(NamedTuple):
    """This task is the submit's own, and is assigned to it now."""

    details: TaskDetails


class NotCreated(NamedTuple):
    """The submit has no task: it can be sent again."""


class LookAgain(NamedTuple):
    """The list must be requested again, not before this moment on the clock of the event loop."""

    at: float


class Undecided(NamedTuple):
    """It cannot be known; these tasks may belong to the submit."""

    candidates: tuple[TaskDetails, ...]


Verdict: TypeAlias = Adopted | NotCreated | LookAgain | Undecided


class RowFilter:
    """Which rows of the list concern lost submits, so that no others are decoded.

    Args:
        models: the folded names of their models.
        keys: their idempotency keys.
        task_ids: the tasks that are assigned.
        since: when the first of them was sent at the earliest, by the service's clock: a task that was created later
            may be theirs under another model's name.
    """

    __slots__ = ("_keys", "_models", "_task_ids", "since")

    def __init__(
        self, *, models: Iterable[str], keys: Iterable[str], task_ids: Iterable[str], since: float = inf
    ) -> None:
        self._models, self._keys, self._task_ids = frozenset(models), frozenset(keys), frozenset(task_ids)
        self.since = since

    def matches(self, row: Mapping[str, object]) -> bool:
        """Return whether a row that is not decoded yet is needed."""
        model, task_id, key = row.get("model"), row.get("id"), row.get("idempotencyKey")
        if not isinstance(model, str) or fold(model) in self._models:
            return True
        return (isinstance(task_id, str) and task_id in self._task_ids) or (isinstance(key, str) and key in self._keys)


class _Assignment:
    """A task that belongs to a submit of this process."""

    __slots__ = ("answered_at", "created_at", "fingerprint", "key", "listed_at", "model", "sent_at")

    def __init__(self, submit: Submit, answered_at: Instant) -> None:
        self.sent_at = answered_at.loop if submit.sent_at is None else submit.sent_at.loop
        self.answered_at = answered_at
        self.key = submit.key
        self.model = submit.fingerprint.model
        self.fingerprint: Fingerprint | None = submit.fingerprint
        """What was ordered, until a list has shown the task."""
        self.created_at: float | None = None
        """By the clock that stamps tasks, once a list has shown it."""
        self.listed_at = -inf
        """When the last list was requested that showed it."""


class _LastList:
    """What is remembered of the lists that were read for lost submits; blank before the first one."""

    __slots__ = (
        "in_order",
        "known_tasks",
        "oldest_at",
        "references",
        "requested_at",
        "rows",
        "strangers",
        "unreadable",
    )

    def __init__(self) -> None:
        self.requested_at = -inf
        """When the last one was requested, on the clock of the event loop."""
        self.rows: dict[str, ListedTask] = {}
        """Tasks that were listed and are not assigned, by id."""
        self.in_order: list[ListedTask] = []
        """The same, the oldest first."""
        self.references: list[ClockReference] = []
        """The stamps of listed tasks that are assigned, in the order of their assignment."""
        self.known_tasks: frozenset[str] = frozenset()
        self.unreadable = 0
        self.oldest_at: float | None = None
        self.strangers = 0
        """Rows of the last one that are not assigned."""


class Reconciler:
    """The submits of one key in this process: which tasks are assigned, and what became of lost submits.

    Methods change it at once and wait for nothing; its owner holds a lock around them.
    """

    def __init__(self) -> None:
        self._open: dict[str, Submit] = {}
        self._assignments: OrderedDict[str, _Assignment] = OrderedDict()
        """By task id, in the order in which they were assigned."""
        self._by_key: OrderedDict[str, tuple[str, Fingerprint]] = OrderedDict()
        self._models_with_keys: set[str] = set()
        """Models of which a task was listed with its idempotency key."""
        self._unrecognised_models: set[str] = set()
        """Models of which the last assigned task that was listed did not look as it was ordered."""
        self._list = _LastList()

    # --- the life of a submit ------------------------------------------------------------------------

    def open(self, submit: Submit) -> None:
        """Register a submit that begins."""
        self._open[submit.key] = submit

    def resume(self, submit: Submit) -> None:
        """Search anew for a lost submit. Tasks that appeared since the last search need not be its own."""
        self.open(submit)
        submit.search_anew()

    def sent(self, submit: Submit, now: Instant) -> None:
        """Mark the submit as sent; the service may have received it."""
        submit.state = SubmitState.IN_FLIGHT
        if not submit.was_lost:
            submit.sent_at = now

    def answered(self, submit: Submit, task_id: str, now: Instant) -> None:
        """Assign the task of a good answer."""
        self._assign(submit, task_id, now)

    def refused(self, submit: Submit) -> None:
        """Mark the last attempt as over: it has created nothing."""
        submit.state = SubmitState.IDLE

    def lost(self, submit: Submit, now: float, *, may_still_arrive: bool = False) -> None:
        """Mark the last attempt as lost: it may have arrived, and its answer will not come.

        Args:
            submit: the submit.
            now: the time of the event loop.
            may_still_arrive: whether it may arrive later than now, since its connection was not reset.
        """
        submit.lost_at, submit.was_lost = now, True
        submit.may_still_arrive |= may_still_arrive
        submit.search_anew()

    def correct_times(self, submit: Submit, restored: Submit) -> None:
        """Take the moments of a submit of another process again: the service has reported its time since."""
        submit.sent_at, submit.lost_at = restored.sent_at, restored.lost_at

    def give_up(self, submit: Submit) -> None:
        """Stop the search. The submit may own a task all the same, and can be taken up again."""
        submit.state = SubmitState.GIVEN_UP
        given_up = [item for item in self._open.values() if item.state is SubmitState.GIVEN_UP]
        if len(given_up) > MAX_UNSETTLED:
            del self._open[min(given_up, key=lambda item: item.lost_at).key]
        self._forget_list_unless_searching()

    def give_up_all(self, now: Instant) -> None:
        """Give up every submit in a forked process: the parent process sees them through."""
        for submit in tuple(self._open.values()):
            if submit.state is SubmitState.IN_FLIGHT:
                self.lost(submit, now.loop, may_still_arrive=True)
            if submit.was_lost:
                submit.sent_elsewhere = True
                self.give_up(submit)
            else:
                self.close(submit)

    def close(self, submit: Submit) -> None:
        """Mark the submit as settled: it owns its task, or none."""
        submit.state = SubmitState.DONE
        if self._open.get(submit.key) is submit:
            del self._open[submit.key]
        self._forget_list_unless_searching()

    def settle(self, submit: Submit, task_id: str | None, now: Instant) -> bool:
        """Take what a person found out: the id of the task, or None when there is none.

        Returns:
            False when the task belongs to another submit; then nothing has changed.
        """
        assignment = None if task_id is None else self._assignments.get(task_id)
        if assignment is not None and assignment.key != submit.key:
            return False
        if task_id is None:
            self.close(submit)
        else:
            self._assign(submit, task_id, now)
        return True

    def _assign(self, submit: Submit, task_id: str, now: Instant) -> None:
        submit.task_id = task_id
        self._list.rows.pop(task_id, None)
        self.close(submit)
        self._assignments.pop(task_id, None)
        self._assignments[task_id] = _Assignment(submit, now)
        self._forget_assignments(now.loop)
        if submit.has_callers_key or submit.was_lost:
            self._by_key[submit.key] = task_id, submit.fingerprint
            if len(self._by_key) > MAX_REMEMBERED_KEYS:
                self._by_key.popitem(last=False)

    def _forget_assignments(self, now: float) -> None:
        """Forget the oldest assignments, except those that an open submit needs, while there are not too many."""
        needed_since = -inf
        while True:
            oldest = next(iter(self._assignments.values())).answered_at.loop
            if needed_since == -inf and oldest < now - RETENTION_S:
                sent_at = (item.sent_at.loop for item in self._open.values() if item.sent_at is not None)
                needed_since = min([now, *sent_at]) - RETENTION_S
            if oldest >= needed_since and len(self._assignments) <= MAX_ASSIGNMENTS:
                return
            self._assignments.popitem(last=False)

    # --- what is known of a submit -------------------------------------------------------------------

    def bought_with(self, key: str) -> tuple[str, Fingerprint] | None:
        """Return the id of the task that this key bought, and what was ordered; None when unknown or forgotten."""
        return self._by_key.get(key)

    def open_with(self, key: str) -> Submit | None:
        """Return the submit with this key that is not settled."""
        return self._open.get(key)

    def snapshot(self, submit: Submit, clock: ServiceClock) -> dict[str, JSON]:
        """Return a submit that was sent as plain data, for reconciling in another process."""
        assert submit.sent_at is not None  # noqa: S101
        assigned = self.assigned_since(submit.sent_at, submit.fingerprint.model)
        return take_snapshot(submit, clock, submit.assigned_elsewhere.union(assigned))

    def assigned_since(self, moment: Instant, model: str) -> list[str]:
        """Return the newest tasks of a model that were assigned shortly before `moment` or later."""
        assigned: list[str] = []
        for task_id, assignment in reversed(self._assignments.items()):
            if assignment.answered_at.loop < moment.loop - RETENTION_S or len(assigned) == MAX_SNAPSHOT_TASKS:
                break
            if assignment.model == model:
                assigned.append(task_id)
        return assigned

    def candidates(self, submit: Submit, clock: ServiceClock) -> tuple[TaskDetails, ...]:
        """Return the tasks that may belong to a lost submit, as far as the lists show, the oldest first."""
        possible, unsure = self._candidates(submit, clock)
        return tuple(row.details for row in (*possible, *unsure))

    # --- the list ------------------------------------------------------------------------------------

    @property
    def is_blank(self) -> bool:
        """Whether no list is remembered."""
        return self._list.requested_at == -inf

    def row_filter(self, clock: ServiceClock) -> RowFilter:
        """Return which rows of the list are needed now."""
        lost = [item for item in self._open.values() if item.was_lost]
        return RowFilter(
            since=min((self._times(item, clock).earliest for item in lost), default=inf) - SURELY_OLDER_S,
            models=(fold(item.fingerprint.model) for item in lost),
            keys=(item.key for item in lost),
            task_ids=self._assignments,
        )

    def take_list(
        self,
        rows: Iterable[TaskDetails],
        *,
        requested_at: float,
        now: float,
        known_tasks: Iterable[str] = (),
        unreadable: int = 0,
        rows_read: int = 0,
        oldest_at: float | None = None,
    ) -> None:
        """Take a list.

        Args:
            rows: those that the filter lets through.
            requested_at: when it was requested, on the clock of the event loop.
            now: when it arrived.
            known_tasks: ids of tasks that have handles which no submit has made.
            unreadable: rows that could not be decoded, and may be any task.
            rows_read: rows of the list in all.
            oldest_at: when its oldest task was created, by the clock that stamps tasks; None if unknown.
        """
        last = self._list
        last.requested_at, last.oldest_at, last.unreadable = requested_at, oldest_at, unreadable
        last.known_tasks, last.strangers = frozenset(known_tasks), rows_read
        before = set(last.rows)
        listed: set[str] = set()
        for details in rows:
            listed.add(details.id)
            if (assignment := self._assignments.get(details.id)) is not None:
                self._take_assigned(assignment, details)
                last.strangers -= 1
            elif (row := last.rows.get(details.id)) is not None:
                row.update(details)
            else:
                last.rows[details.id] = ListedTask(details, now)
        last.in_order = sorted(last.rows.values(), key=_age_order)
        stamped = [item for item in self._assignments.values() if item.created_at is not None]
        last.references = sorted(ClockReference(item.answered_at, item.created_at or 0.0) for item in stamped)
        for submit in self._open.values():
            # What the first list since the loss shows may be old; what appears in a later one is new.
            if submit.was_lost and requested_at >= submit.lost_at:
                if not submit.polls:
                    submit.seen_at_first_poll |= listed | before
                submit.polls += 1

    def _take_assigned(self, assignment: _Assignment, details: TaskDetails) -> None:
        assignment.listed_at = self._list.requested_at
        fingerprint, assignment.fingerprint = assignment.fingerprint, None
        if fingerprint is None:
            # Thousands are listed again and again: once is enough.
            return
        assignment.created_at = None if details.created_at is None else details.created_at.timestamp()
        if details.idempotency_key == assignment.key:
            self._models_with_keys.add(fingerprint.model)
        if compare(fingerprint, details) is Match.SAME:
            self._unrecognised_models.discard(fingerprint.model)
        else:
            # The service does not show orders as they were sent: that a row looks different proves nothing.
            self._unrecognised_models.add(fingerprint.model)

    def _forget_list_unless_searching(self) -> None:
        # A list that is forgotten proves no absence.
        if not self.is_blank and not any(
            item.was_lost and item.state is not SubmitState.GIVEN_UP for item in self._open.values()
        ):
            self._list = _LastList()

    # --- what became of it ---------------------------------------------------------------------------

    def decide(self, submit: Submit, clock: ServiceClock) -> Verdict:
        """Return what the lists so far prove about a lost submit. It is closed when a task is adopted for it."""
        if submit.task_id is not None:
            # Another client of this process has settled it.
            return Adopted(submit.details or TaskDetails(id=submit.task_id, status=TaskStatus.SUBMITTED))

        own = next((row for row in self._list.in_order if row.details.idempotency_key == submit.key), None)
        if own is not None:
            self._models_with_keys.add(submit.fingerprint.model)
            return self._adopt(submit, own, clock.now)

        possible, unsure = self._candidates(submit, clock)
        contenders = self._contenders(submit, possible, clock) if possible else []
        # A task of which only the age is unsure may be this submit's, and the new one another's.
        is_contested = any(self._compare(row, submit) is Match.SAME for row in unsure)
        if possible and not is_contested and len(possible) <= len(contenders) + 1:
            # The answer of one in flight may name the candidate; what one of another process took is unknown.
            is_open = any(item.state is SubmitState.IN_FLIGHT or item.sent_elsewhere for item in contenders)
            if not is_open and all(item.fingerprint == submit.fingerprint for item in contenders):
                return self._adopt(submit, possible[0], clock.now)

        waited = self._list.requested_at - submit.lost_at
        if waited < 0:
            return LookAgain(clock.now.loop)
        if possible or unsure:
            if waited >= submit.grace_s and not any(item.state is SubmitState.IN_FLIGHT for item in contenders):
                return Undecided(tuple(row.details for row in (*possible, *unsure)))
        elif self._can_prove_absence(submit, clock):
            # Also where the service keeps keys: a task may be created late, and a repeat may be refused.
            if waited >= submit.grace_s:
                return Undecided(()) if submit.may_still_arrive else NotCreated()
        elif waited >= UNPROVABLE_GRACE * submit.grace_s:
            return Undecided(())
        later = [after for after in (*POLL_AFTER_S, submit.grace_s) if waited < after <= submit.grace_s]
        next_at = submit.lost_at + later[0] if later else self._list.requested_at + POLL_EVERY_S
        return LookAgain(max(clock.now.loop, next_at))

    def _adopt(self, submit: Submit, row: ListedTask, now: Instant) -> Adopted:
        for item in self._open.values():
            if item.fingerprint == submit.fingerprint and item.state in {SubmitState.LOST, SubmitState.GIVEN_UP}:
                # The adopted task may be the other's; then this one's may still appear, for the other to take.
                item.lost_at = max(item.lost_at, submit.lost_at)
        self._list.in_order = [item for item in self._list.in_order if item is not row]
        submit.details = row.details
        self._assign(submit, row.details.id, now)
        return Adopted(row.details)

    def _candidates(self, submit: Submit, clock: ServiceClock) -> tuple[list[ListedTask], list[ListedTask]]:
        """Return the tasks that are what was ordered and new, and those of which that is unsure; the oldest first."""
        possible: list[ListedTask] = []
        unsure: list[ListedTask] = []
        times = self._times(submit, clock)
        for row in self._list.in_order:
            task_id = row.details.id
            if task_id in self._assignments or task_id in submit.assigned_elsewhere:
                continue
            age = recency(row, submit, times)
            if age is Recency.OLD:
                continue
            match = self._compare(row, submit)
            if match is Match.OTHER and not (age is Recency.NEW and self._may_be_altered(row, submit, clock)):
                continue
            is_sure = match is Match.SAME and age is Recency.NEW and task_id not in self._list.known_tasks
            (possible if is_sure else unsure).append(row)
        return possible, unsure

    def _may_be_altered(self, row: ListedTask, submit: Submit, clock: ServiceClock) -> bool:
        """Return whether a new task may be what was ordered, shown under another model's name or with other words.

        A service may translate, shorten or moderate a prompt, and name a model anew. So what is new and nobody's is
        ruled out only where both differ, or where it is known to be somebody else's.
        """
        key, model = row.details.idempotency_key, submit.fingerprint.model
        if key or model in self._models_with_keys or row.details.id in self._list.known_tasks:
            return False
        is_same_model = row.details.model is None or fold(row.details.model) == fold(model)
        renamed = evolve(submit.fingerprint, model=row.details.model or model)
        if not is_same_model and compare(renamed, row.details) is Match.OTHER:
            return False
        return not self._is_of_another(row, submit, clock)

    def _is_of_another(self, row: ListedTask, submit: Submit, clock: ServiceClock) -> bool:
        return any(
            item is not submit
            and item.sent_at is not None
            and item.state is not SubmitState.IDLE
            and row.compare(item) is Match.SAME
            and recency(row, item, self._times(item, clock)) is not Recency.OLD
            for item in self._open.values()
        )

    def _contenders(self, submit: Submit, rows: Sequence[ListedTask], clock: ServiceClock) -> list[Submit]:
        """Return the other submits that could own any of these tasks."""
        contenders: list[Submit] = []
        for item in self._open.values():
            if item is submit or item.sent_at is None or item.state is SubmitState.IDLE:
                continue
            # A submit whose order is shown exactly goes before one that it may be in another form.
            same = [row for row in rows if self._compare(row, item) is Match.SAME]
            if same:
                times = self._times(item, clock)
                if any(recency(row, item, times) is not Recency.OLD for row in same):
                    contenders.append(item)
        return contenders

    def _times(self, submit: Submit, clock: ServiceClock) -> StampedTimes:
        assert submit.sent_at is not None  # noqa: S101
        references = self._list.references
        after = bisect_left(references, submit.sent_at.loop, key=lambda item: item.assigned_at.loop)
        return stamped_times(submit, clock, references[max(0, after - 1) : after + 1])

    def _compare(self, row: ListedTask, submit: Submit) -> Match:
        key, model = row.details.idempotency_key, submit.fingerprint.model
        if key:
            shown, own = key.casefold(), submit.key.casefold()
            if shown not in own and own not in shown:
                return Match.OTHER
        match = row.compare(submit)
        if match is Match.OTHER:
            is_same_model = row.details.model is None or fold(row.details.model) == fold(model)
            return Match.MAYBE if model in self._unrecognised_models and is_same_model else Match.OTHER
        # The service would show the key; or it shows it in another form: cut off, prefixed, in other letters.
        return Match.MAYBE if key or model in self._models_with_keys else match

    def _can_prove_absence(self, submit: Submit, clock: ServiceClock) -> bool:
        """Return whether a task that the last list does not show does not exist."""
        sent_at = submit.sent_at
        assert sent_at is not None  # noqa: S101
        # It may be cut after a number of rows, and begin after this submit, whose age another process may not know.
        begin = self._times(submit, clock).earliest if submit.is_time_known else -inf
        is_cut = self._list.oldest_at is not None and self._list.oldest_at > begin
        if self._list.unreadable or (is_cut and self._list.strangers >= FEWEST_SHOWN):
            return False
        # Its witnesses: what was sent and assigned between the submit and its loss, and the last ones before.
        earlier = 0
        for item in reversed(self._assignments.values()):
            if item.answered_at.loop < sent_at.loop:
                earlier += 1
                if earlier > WITNESSES or item.answered_at.loop < sent_at.loop - RETENTION_S:
                    break
            elif item.sent_at < sent_at.loop or item.answered_at.loop > submit.lost_at:
                continue
            if item.listed_at != self._list.requested_at:
                return False
        return True


def _age_order(row: ListedTask) -> tuple[float, float]:
    return (inf if row.created_at is None else row.created_at, row.first_seen)
