"""The poller: one background asyncio task for all waiters of a client.

It runs while any task is waited for, and ends with the last waiter. `schedule` decides what is asked next, `updates`
what an answer means, and `failures` what follows a poll that brought nothing; here that is carried out.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from .._http import ApiClient, get_status, get_task
from .._limits import Permit, Priority
from .._redaction import single_line
from ..errors import (
    AIVideoMakerError,
    APIError,
    BadResponse,
    ConfigurationError,
    RateLimited,
    TransportError,
    UnknownTaskEnd,
)
from ..tasks import TaskDetails, TaskStatus
from .deadlines import Deadlines
from .durations import Durations
from .failures import LASTING_S, Ends, PollFailures
from .schedule import Ask, Plan, PollInput, plan
from .task_list import NewsOfTasks
from .task_state import WOKEN_AT_ONCE, Subscription, TaskState, Trouble, wake
from .updates import AnswerSource, StatusUpdates
from .wait_set import WaitSet
from .webhook_signals import WebhookSignals

__all__ = ["TaskWatcher"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

LIST_TIME_VALID_S: Final = 60.0
"""How long the time that a list took counts: one that was slow once is tried again."""

TRAINING_ROWS: Final = 200
"""Rows of the list that are read to learn how long tasks take."""

TRAINING_AGAIN_S: Final = 600.0
"""When that is tried again, if the rows taught nothing."""

TRAINING_AFTER_FAILURE_S: Final = 60.0
"""The same after a list that failed: what it would teach is not worth another failure soon."""


FIRST_LISTS_PER_PROBE: Final = 8
"""Lists between two probes, at first. Each probe that finds nothing doubles them, so that overdue tasks take next to
nothing of the limit from the others; after one that finds an end, which the list has not shown, the next follows."""

MAX_LISTS_PER_PROBE: Final = 32

FAILED_PROBE_FACTOR: Final = 4
"""How many times as many they are after a probe that failed: it may have taken half a minute."""


class TaskWatcher:
    """Polls for all tasks that have a subscription.

    Args:
        api: makes the calls.
        updates: applies the answers.
        durations: estimates how long tasks take.
        signals: reports when webhook deliveries make a poll due.
        is_follower: returns whether another process polls for this one.
        on_interest: called with a task when other consumers of this process wait for it than before.
        on_cut_off: called when the service does not answer this process.
    """

    def __init__(
        self,
        api: ApiClient,
        updates: StatusUpdates,
        durations: Durations,
        signals: WebhookSignals,
        *,
        is_follower: Callable[[], bool],
        on_interest: Callable[[TaskState], object],
        on_cut_off: Callable[[], object],
    ) -> None:
        self._api = api
        self._updates = updates
        self._durations = durations
        self._signals = signals
        self._is_follower = is_follower
        self._on_interest = on_interest
        self._on_cut_off = on_cut_off
        self._wait_set = WaitSet(durations)
        self._deadlines = Deadlines(self.unsubscribe, self._awoke)
        self._failures = PollFailures(api.settings.policy, api.settings.attempt_timeout)
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._has_changed = False
        self._list_seconds = 0.0
        self._listed_at = -inf
        self._lists_per_probe = self._lists_until_probe = FIRST_LISTS_PER_PROBE
        self._training_at = -inf
        self._followed_since: float | None = None
        self.polls: int = 0
        """Polls made so far."""

    @property
    def watched(self) -> int:
        """How many tasks are waited for."""
        return len(self._wait_set)

    # --- waiters -------------------------------------------------------------------------------------

    def subscribe(self, subscription: Subscription, *, deadline: float | None = None) -> None:
        """Poll for the task of a subscription from now on.

        Args:
            subscription: the consumer.
            deadline: when the subscription expires, on the clock of the event loop; None for never.
        """
        loop = self._api.lifecycle.check_usable()
        now, state = loop.time(), subscription.state
        self._updates.first_watched(state, now)
        state.subscribe(subscription)
        self._wait_set.add(state, now)
        if not subscription.is_remote:
            self._on_interest(state)
        if deadline is not None:
            self._deadlines.add(subscription, deadline)
        if self._task is None or self._task.done():
            # An empty context: the first waiter lends nothing (no request id, no span) to all that come later.
            self._task = loop.create_task(
                self._run(), name="aivideomaker_async.TaskWatcher", context=contextvars.Context()
            )
        else:
            self.replan()

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription. With the last one the poller stops. A second time does nothing."""
        state = subscription.state
        state.unsubscribe(subscription)
        self._deadlines.discard(subscription)
        if not state.subscriptions:
            self._wait_set.discard(state)
        # A poll that was planned for it is not made; no other one becomes due by that.
        self._has_changed = True
        if not subscription.is_remote:
            self._on_interest(state)
        if not self._wait_set:
            self._stop()

    def _stop(self) -> None:
        self._deadlines.stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def aclose(self) -> None:
        """Stop, and end every wait with the error that the client was closed."""
        task, self._task = self._task, None
        self._fail_all(ConfigurationError("the client was closed during this wait; the task itself goes on"))
        self._stop()
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    # --- news from elsewhere -------------------------------------------------------------------------

    def answered(self, state: TaskState) -> None:
        """Sort a task anew: it was answered by a user's own call, or by another process."""
        self._failures.clear(state)
        self._resort(state)

    def expect_from_peer(self, state: TaskState, seconds: float) -> None:
        """Leave it to another process for some seconds to report the output of a task that has ended."""
        self._failures.hold_off(state, asyncio.get_running_loop().time() + seconds)
        self._resort(state)

    def doubt(self, state: TaskState) -> None:
        """Ask for a task at once: another process was answered that it does not exist."""
        self._failures.doubt(state)
        self._resort(state)

    def _resort(self, state: TaskState) -> None:
        self._wait_set.polled(state, asyncio.get_running_loop().time())
        self.replan()

    def delivered(self, *, may_be_end: bool) -> None:
        """Ask the service soon, since a webhook delivery came.

        Args:
            may_be_end: whether it may announce the end of a task, as far as its body shows.
        """
        if self._wait_set and not self._is_follower():
            now, changes_matter = asyncio.get_running_loop().time(), self._wait_set.wants_changes
            if self._signals.delivered(now, may_be_end=may_be_end, changes_matter=changes_matter):
                self.replan()

    def _awoke(self) -> None:
        """Ask for everything at once: the machine has slept, and all answers are old."""
        self._wait_set.ask_all_soon()
        self.replan()

    def replan(self) -> None:
        """Plan the next poll anew: something has changed on which it depends."""
        self._has_changed = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # --- the poller ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            # An eager task would run before the other waiters of this step have come, and poll for the first alone.
            await asyncio.sleep(0)
            while self._wait_set:
                planned = self._plan(loop.time())
                if planned is None or planned.at > loop.time():
                    await self._sleep(None if planned is None else planned.at)
                    continue
                permit = await self._api.acquire(Priority.BACKGROUND)
                is_due = False
                try:
                    # The wait for the permit may have been long. Only a change makes another poll the best one.
                    if self._has_changed:
                        planned = self._plan(loop.time())
                    is_due = planned is not None and planned.at <= loop.time()
                finally:
                    if not is_due:
                        permit.refund()
                if is_due and planned is not None:
                    await self._poll(planned, permit)
        except asyncio.CancelledError:
            # `unsubscribe` and `aclose` let go of the task before they cancel it. This was somebody else.
            if self._task is asyncio.current_task():
                self._fail_all(AIVideoMakerError("the watcher was cancelled from outside; watch again to go on"))
            raise
        except Exception as error:  # noqa: BLE001  (no waiter may hang, whatever it was)
            self._fail_all(_as_own(error))

    async def _sleep(self, until: float | None) -> None:
        """Sleep until a moment (None: for ever), or until `replan`."""
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = None if until is None else loop.call_at(until, self.replan)
        try:
            await self._wake
        finally:
            if timer is not None:
                timer.cancel()
            self._wake = None

    def _plan(self, now: float) -> Plan | None:
        self._has_changed = False
        if not self._is_follower():
            self._followed_since = None
        elif self._followed_since is None:
            self._followed_since = now
        lists_work = now >= self._failures.lists_resume_at
        # Deliveries are confirmed by the list, or by asking for the only task. Otherwise they thin no polls out.
        announced_at = self._signals.announced_at(now) if lists_work or self._wait_set.batch_size == 1 else None
        singles = self._wait_set.singles(now, followed_since=self._followed_since)
        batch = self._wait_set.batch(now, followed_since=self._followed_since, announced_at=announced_at)
        watched = singles if batch is None else [*singles, *batch.sample]
        given = PollInput(
            singles=singles,
            batch=batch,
            pace=self._api.limiter.pace,
            list_seconds=self._list_seconds if now < self._listed_at + LIST_TIME_VALID_S else 0.0,
            lists_work=lists_work,
            may_probe=self._lists_until_probe <= 0,
            needs_training=self._followed_since is None
            and now >= self._training_at
            and any(not item.estimate.samples for item in watched),
            signal_at=self._signals.due_at,
            retried_at=self._failures.retried_at,
        )
        planned = plan(given, now)
        return planned and planned._replace(at=max(planned.at, self._failures.not_before))

    async def _poll(self, planned: Plan, permit: Permit) -> None:
        loop = asyncio.get_running_loop()
        state = None if planned.task_id is None else self._wait_set.states[planned.task_id]
        self.polls += 1
        began = loop.time()
        self._failures.begun(state, began)
        try:
            if state is None:
                await self._ask_list(permit)
            else:
                await self._ask_single(state, planned, permit)
        except (APIError, TransportError) as error:
            if planned.is_probe:
                self._lists_per_probe *= FAILED_PROBE_FACTOR
                self._lists_until_probe = self._lists_per_probe
            self._failed(error, state, began)
        else:
            self._failures.answered(state, loop.time() - began)
            self._deadlines.answered(began, loop.time())

    async def _ask_single(self, state: TaskState, planned: Plan, permit: Permit) -> None:
        loop = asyncio.get_running_loop()
        began, timeout = loop.time(), self._failures.timeout(state)
        answers_for_batch = self._wait_set.is_in_batch(state) and not planned.is_probe
        answer: TaskStatus | TaskDetails
        if planned.ask is Ask.DETAILS:
            answer = await self._api.attempt(get_task(state.task_id), permit=permit, timeout=timeout)
        else:
            answer = await self._api.attempt(get_status(state.task_id), permit=permit, timeout=timeout)
        now = loop.time()
        change = self._updates.apply(state, answer, AnswerSource.SINGLE, now)
        if answers_for_batch:
            self._signals.polled(began, now)
        if planned.is_probe:
            found_end = change is not None and change.status.is_terminal
            self._lists_per_probe = 1 if found_end else min(2 * self._lists_per_probe, MAX_LISTS_PER_PROBE)
            self._lists_until_probe = 0 if found_end else self._lists_per_probe
        if isinstance(answer, TaskDetails) and state.lacks_output():
            # The status is ahead of the output, or the details are of an earlier moment: another server has answered.
            trouble = Trouble.NO_OUTPUT if answer.status == TaskStatus.COMPLETED else Trouble.LOST
            if self._failures.put_off(state, now, trouble):
                path = f"task {single_line(state.task_id)}"
                error = BadResponse("the task is COMPLETED, and its output has no URL", method="GET", path=path)
                self._fail([state], error)
        else:
            self._failures.clear(state)
        self._wait_set.polled(state, now)
        self._end_unknown(state, now)

    async def _ask_list(self, permit: Permit) -> None:
        loop = asyncio.get_running_loop()
        began, timeout = loop.time(), self._failures.timeout(None)
        asked, known = self._wait_set.listable(), self._wait_set.states
        applied: set[str] = set()

        def take_row(task_id: str, details: TaskDetails) -> None:
            state = asked.get(task_id) or known.get(task_id)
            if state is not None:
                applied.add(task_id)
                self._updates.apply(state, details, AnswerSource.LIST, loop.time())

        trains = began >= self._training_at
        reader = NewsOfTasks(
            {task_id: _known_status(state) for task_id, state in asked.items()},
            take_row,
            optional=self._wait_set.optional(),
            training_rows=TRAINING_ROWS if trains else 0,
        )
        await self._api.attempt_list(reader, permit=permit, timeout=timeout)
        now = loop.time()
        self._listed_at, self._list_seconds = now, now - began
        self._lists_until_probe -= 1
        for row in reader.finished:
            self._durations.learn(row.model, row.length, reported=row.seconds)
        if trains:
            self._training_at = now + TRAINING_AGAIN_S
        for number, (task_id, status) in enumerate(reader.seen.items(), 1):
            if number % WOKEN_AT_ONCE == 0:
                await asyncio.sleep(0)
            if (state := asked.get(task_id) or known.get(task_id)) is None:
                continue
            if task_id not in applied:
                self._updates.apply(state, TaskStatus(status), AnswerSource.LIST, now)
            if not state.lacks_output():
                self._failures.clear(state)
            elif not state.backoff.failures:
                # The details are asked for, but not before everything else; no other list puts that off again.
                self._failures.put_off(state, now)
            self._wait_set.listed(state, now)
            self._end_unknown(state, now)
        for task_id in asked.keys() - reader.seen.keys():
            self._wait_set.not_listed(asked[task_id], now)
        self._wait_set.list_read(now)
        self._signals.polled(began, now)

    def _end_unknown(self, state: TaskState, now: float) -> None:
        """End the waits for a task that has ended in an unknown status, when that has lasted for a while."""
        ended = state.observed.unknown_end
        if ended is not None and now - state.observed.unknown_end_at >= LASTING_S:
            self._fail([state], UnknownTaskEnd(ended, hide=self._api.settings.key.hide_in))

    def _failed(self, error: APIError | TransportError, state: TaskState | None, began: float) -> None:
        now = asyncio.get_running_loop().time()
        ends = self._failures.failed(error, state, now, now - began)
        if ends is Ends.ALL:
            self._fail_all(error)
        elif state is not None and ends is Ends.OF_TASK:
            self._fail([state], error)
        elif not isinstance(error, RateLimited):
            if state is None:
                self._training_at = max(self._training_at, now + TRAINING_AFTER_FAILURE_S)
            else:
                self._wait_set.polled(state, now)
        if self._failures.is_cut_off:
            self._on_cut_off()

    def _fail_all(self, error: AIVideoMakerError) -> None:
        self._fail(tuple(self._wait_set.states.values()), error)

    def _fail(self, states: Iterable[TaskState], error: AIVideoMakerError) -> None:
        """End the waits for these tasks with an error."""
        failed: list[Subscription] = []
        for state in states:
            self._wait_set.discard(state)
            for subscription in tuple(state.subscriptions):
                subscription.error = error
                self._deadlines.discard(subscription)
                state.unsubscribe(subscription)
                failed.append(subscription)
            self._on_interest(state)
        wake(failed)


def _known_status(state: TaskState) -> str | None:
    """Return the status that would be no news in the list; None when any row is news."""
    if state.is_terminal or state.backoff.in_doubt or state.observed.model is None:
        return None
    return state.status if state.status is None or state.status.is_known else None


def _as_own(error: Exception) -> AIVideoMakerError:
    if isinstance(error, AIVideoMakerError):
        return error
    own = AIVideoMakerError(f"the watcher failed: {type(error).__name__}; this is a mistake in aivideomaker_async")
    own.__cause__ = error
    logger.error("the watcher failed", exc_info=error)
    return own
