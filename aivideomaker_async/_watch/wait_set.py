"""The tasks that are waited for, sorted by how they are asked for.

Most are in the *batch*, for which the list answers. *Unlisted* ones, which the list does not show, are asked for one by
one. *Urgent* ones need their details now: they have ended and their output is wanted, or there is a doubt. Thousands
may wait, so nothing that is done for every poll or every new waiter looks at all of them.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Final

from .durations import Durations
from .schedule import Batch, WatchedTask
from .task_state import NEVER, TaskState

__all__ = ["WaitSet"]

SAMPLE_SIZE: Final = 32
"""Tasks that stand for thousands in the arithmetic of one poll."""

UNLISTED_FOR_S: Final = 60.0
"""How long a task that the list does not show is asked for by itself; longer each time."""


class WaitSet:
    """The tasks that are waited for. All times are of the event loop.

    Args:
        durations: estimates how long tasks take.
    """

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self.states: dict[str, TaskState] = {}
        self._urgent: dict[str, TaskState] = {}
        self._unlisted: dict[str, TaskState] = {}
        self._batch: dict[str, TaskState] = {}
        self._unasked: set[str] = set()
        self._unasked_in_batch: set[str] = set()
        # Members of the batch for which a shorter interval may hold.
        self._wanting_changes: dict[str, TaskState] = {}
        self._without_webhook: dict[str, TaskState] = {}
        self._batch_asked_at = -inf

    def __len__(self) -> int:
        return len(self.states)

    @property
    def batch_size(self) -> int:
        """How many tasks the list answers for."""
        return len(self._batch)

    def is_in_batch(self, state: TaskState) -> bool:
        """Return whether the list answers for this task."""
        return state.task_id in self._batch

    @property
    def wants_changes(self) -> bool:
        """Whether somebody wants every change of a task in the batch."""
        return bool(self._wanting_changes)

    def add(self, state: TaskState, now: float) -> None:
        """Add a task that is waited for; a second time sorts it anew."""
        self.states[state.task_id] = state
        if not state.is_current(now):
            self._unasked.add(state.task_id)
        elif not self._batch:
            self._batch_asked_at = state.observed.last_answer_at
        self.sort(state, now)

    def discard(self, state: TaskState) -> None:
        """Remove a task that is not waited for any more."""
        if self.states.get(state.task_id) is state:
            for place in (self.states, *self._places()):
                place.pop(state.task_id, None)
            self._was_asked(state)

    def sort(self, state: TaskState, now: float) -> None:
        """Move the task to the end of its queue, or remove it when no consumer needs another answer."""
        task_id = state.task_id
        if self.states.get(task_id) is not state:
            return
        if state.is_over():
            self.discard(state)
            return
        for place in self._places():
            place.pop(task_id, None)
        if state.needs_details():
            self._urgent[task_id] = state
        elif now < state.unlisted_until:
            self._unlisted[task_id] = state
        else:
            self._batch[task_id] = state
            if state.changes_matter:
                self._wanting_changes[task_id] = state
            if not state.observed.has_webhook:
                self._without_webhook[task_id] = state
        if task_id in self._unasked and task_id in self._batch:
            self._unasked_in_batch.add(task_id)
        else:
            self._unasked_in_batch.discard(task_id)

    def _places(self) -> tuple[dict[str, TaskState], ...]:
        return self._urgent, self._unlisted, self._batch, self._wanting_changes, self._without_webhook

    def _was_asked(self, state: TaskState) -> None:
        self._unasked.discard(state.task_id)
        self._unasked_in_batch.discard(state.task_id)

    # --- after a poll --------------------------------------------------------------------------------

    def polled(self, state: TaskState, now: float) -> None:
        """Sort a task that was asked for by itself, whether the answer was of use or not."""
        self._was_asked(state)
        self.sort(state, now)

    def listed(self, state: TaskState, now: float) -> None:
        """Sort a task that the list has shown."""
        self._was_asked(state)
        state.list_misses = 0
        if state.task_id not in self._batch or state.is_terminal:
            state.unlisted_until = NEVER
            self.sort(state, now)

    def not_listed(self, state: TaskState, now: float) -> None:
        """Sort a task that the list does not show: for a while it is asked for by itself."""
        state.list_misses += 1
        state.unlisted_until = now + UNLISTED_FOR_S * 2.0 ** min(state.list_misses - 1, 10)
        self.sort(state, now)

    def list_read(self, now: float) -> None:
        """Note that a list has answered for the whole batch."""
        self._batch_asked_at = now

    def ask_all_soon(self) -> None:
        """Make a poll for the batch due at once."""
        some = list(islice(self._batch, SAMPLE_SIZE))
        self._unasked.update(some)
        self._unasked_in_batch.update(some)

    # --- what a list is read for ---------------------------------------------------------------------

    def listable(self) -> dict[str, TaskState]:
        """Return the tasks for which the list can answer, at this moment."""
        return self._batch | {key: state for key, state in self._urgent.items() if not state.is_terminal}

    def optional(self) -> frozenset[str]:
        """Return the ids of the others: their rows are used, but the list is not read any further for them."""
        return frozenset(self._unlisted) | self._urgent.keys()

    # --- what the next poll depends on ---------------------------------------------------------------

    def singles(self, now: float, *, followed_since: float | None) -> list[WatchedTask]:
        """Return the tasks that are asked for one by one; of each kind, the first few.

        Args:
            now: the time.
            followed_since: since when another process polls for this one; None when none does.
        """
        for state in list(islice(self._unlisted.values(), SAMPLE_SIZE)):
            if now >= state.unlisted_until:
                self.sort(state, now)
        some = [*islice(self._urgent.values(), SAMPLE_SIZE), *islice(self._unlisted.values(), SAMPLE_SIZE)]
        return [self._watched(state, now, followed_since, None) for state in some]

    def batch(self, now: float, *, followed_since: float | None, announced_at: float | None) -> Batch | None:
        """Return the tasks for which the list answers, or None when there are none.

        Args:
            now: the time.
            followed_since: since when another process polls for this one; None when none does.
            announced_at: when webhooks last announced a change; None when they do not announce the end of every task.
        """
        if not self._batch:
            return None
        unasked = next(iter(self._unasked_in_batch), None)
        asked_at = self._batch_asked_at if unasked is None else -inf
        return Batch(
            waiting=len(self._batch),
            sample=[self._watched(state, now, followed_since, announced_at) for state in self._sample()],
            asked_at=asked_at if followed_since is None else max(asked_at, followed_since),
            longest_unasked=next(iter(self._batch)) if unasked is None else unasked,
            followed=followed_since is not None,
        )

    def _sample(self) -> list[TaskState]:
        stride = -(-len(self._batch) // SAMPLE_SIZE)
        sample = list(islice(self._batch.values(), 0, None, stride))
        if stride > 1:
            # Those for which a shorter interval may hold: the newest, one with a consumer of every change, one without
            # a webhook.
            places = (reversed(self._batch.values()), self._wanting_changes.values(), self._without_webhook.values())
            sample += [state for place in places if (state := next(iter(place), None)) and state not in sample]
        return sample

    def _watched(
        self, state: TaskState, now: float, followed_since: float | None, announced_at: float | None
    ) -> WatchedTask:
        observed, backoff = state.observed, state.backoff
        asked_at = -inf if state.task_id in self._unasked else observed.last_answer_at
        asked_at = max(asked_at, backoff.failed_at)
        return WatchedTask(
            task_id=state.task_id,
            started_at=observed.started_at,
            # The process that polls does so at once for a task that was never asked for.
            asked_at=asked_at if followed_since is None else max(asked_at, followed_since),
            single_at=observed.last_single_answer_at,
            estimate=self._durations.estimate(observed.model, observed.length),
            unlisted=now < state.unlisted_until,
            needs_details=state.needs_details(),
            in_doubt=backoff.in_doubt and not state.is_terminal,
            announced_at=announced_at if observed.has_webhook else None,
            changes_matter=state.changes_matter,
            unknown=observed.model is None or (state.status is not None and not state.status.is_known),
            not_before=backoff.not_before,
            failed=backoff.failures > 0,
            followed=followed_since is not None,
        )
