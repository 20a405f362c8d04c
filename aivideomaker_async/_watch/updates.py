"""What an answer about a task means: for the consumers that wait for it, and for what is learned about all tasks.

Whatever asked the service (the poller, a user's own call, another process), the answer ends up in
`StatusUpdates.apply`, which alone writes the `Observation` of a task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final, TypeAlias

from .._redaction import Secret, single_line
from ..tasks import Eta, StatusChange, SubmittedTask, TaskDetails, TaskStatus, video_seconds
from .durations import Durations
from .task_list import reported_seconds
from .task_state import NEVER, Observation, TaskState, wake

__all__ = ["Answer", "AnswerSource", "StatusUpdates"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

Answer: TypeAlias = TaskStatus | TaskDetails

MAX_UNOBSERVED_SHARE: Final = 0.2
"""The share of its time for which a task may have been unobserved before its end, to measure how long it took."""

MAX_AGE_S: Final = 24 * 3600.0
"""A task that seems to be older was created by another clock than that of the answer."""

MAX_ETA_S: Final = 30 * 86400.0

MAX_UNKNOWN_STATUSES: Final = 100
"""Unknown statuses that are logged, each once."""

ETA_TAIL: Final = 0.1
"""The share of tasks that end before the earliest, and after the latest moment of an `Eta`."""


class AnswerSource(Enum):
    """Where an answer comes from."""

    SUBMIT = auto()
    SINGLE = auto()
    """A query about this task alone."""
    LIST = auto()
    PEER = auto()
    """Another process that shares the poller."""


class StatusUpdates:
    """Applies answers to the states of tasks.

    Args:
        durations: learns from finished tasks.
        service_time: returns the time of day by the service's clock, in seconds since the epoch.
        on_update: called after each answer with the task, the answer, the change that it brought, if any, and its
            source.
        wall_clock: returns the time of day, for the moments of observations.
    """

    def __init__(
        self,
        durations: Durations,
        *,
        service_time: Callable[[], float],
        on_update: Callable[[TaskState, Answer, StatusChange | None, AnswerSource], object] = lambda *_: None,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._durations = durations
        self._service_time = service_time
        self._on_update = on_update
        self._wall_clock = wall_clock
        self._unknown_statuses: set[str] = set()

    def apply(self, state: TaskState, answer: Answer, source: AnswerSource, now: float) -> StatusChange | None:
        """Apply an answer of the service; return the change that it brought, or None when its status is not new.

        Where details and a bare status disagree on how the task ended, the details have the output and are kept.

        Args:
            state: the task.
            answer: its status or its details.
            source: where the answer comes from.
            now: the time of the event loop.
        """
        observed = state.observed
        details = answer if isinstance(answer, TaskDetails) else None
        status = answer if isinstance(answer, TaskStatus) else answer.status
        if details is not None:
            self._date(observed, details, now)
        change, previous = None, state.status
        if observed.progression.observe(status):
            eta = None if status.is_terminal else self.eta(state, now)
            change = StatusChange(
                task_id=state.task_id, status=status, previous=previous, at=self._wall_clock(), eta=eta
            )
            observed.last_change = change
            state.deliver(change)
            logger.info("task %s: %s (was %s)", single_line(state.task_id), status, previous)
        # The URL of a finished video may come later than the status.
        is_whole = details is not None and status.is_terminal and (status != TaskStatus.COMPLETED or details.url)
        if details is not None and is_whole and state.is_terminal:
            if observed.details is None:
                self._learn(observed, details, now)
            observed.details = details
            wake(state.subscriptions)
        if details is not None:
            self._take_unknown_end(state, details, now)
        observed.last_answer_at = now
        if source in {AnswerSource.SINGLE, AnswerSource.SUBMIT}:
            observed.last_single_answer_at = now
        state.wake_for_answer()
        if not status.is_known:
            self._warn_of_unknown(state.task_id, status)
        self._on_update(state, answer, change, source)
        return change

    def _take_unknown_end(self, state: TaskState, details: TaskDetails, now: float) -> None:
        """Note an end under a status that this version does not know. With a URL it is a video all the same."""
        observed = state.observed
        shows_end = details.completed_at is not None or details.failure is not None or details.url is not None
        if details.status.is_known or not shows_end:
            observed.unknown_end, observed.unknown_end_at = None, NEVER
            return
        if observed.unknown_end is None:
            observed.unknown_end_at = now
        observed.unknown_end = details
        if details.url is not None and details.completed_at is not None:
            observed.details = details
            wake(state.subscriptions)

    def submitted(
        self,
        state: TaskState,
        answer: SubmittedTask,
        *,
        model: str,
        length: int | None,
        webhook_url: Secret | None,
        has_webhook: bool,
        now: float,
    ) -> None:
        """Apply the answer to a submit of this client.

        Args:
            state: the task.
            answer: the answer.
            model: the model of the task.
            length: seconds of video, if known.
            webhook_url: where the service was asked to report changes.
            has_webhook: whether that is a webhook receiver of ours.
            now: the time of the event loop.
        """
        observed = state.observed
        observed.submitted, observed.is_fresh = answer, True
        observed.model, observed.length = model, length
        observed.started_at, observed.is_dated = now, True
        observed.webhook_url = webhook_url or observed.webhook_url
        observed.has_webhook |= has_webhook
        self.apply(state, answer.status, AnswerSource.SUBMIT, now)

    def awaited_elsewhere(
        self,
        state: TaskState,
        *,
        started_at: float | None,
        model: str | None,
        length: int | None,
        is_fresh: bool,
        has_webhook: bool,
    ) -> None:
        """Take over what a process that waits for the task knows about it.

        Args:
            state: the task.
            started_at: when it was submitted, by the clock of this event loop; None when that is unknown.
            model: its model.
            length: seconds of video.
            is_fresh: whether that process has submitted it.
            has_webhook: whether it is announced by webhook.
        """
        observed = state.observed
        if started_at is not None and not observed.is_dated:
            observed.started_at = started_at
        if observed.model is None:
            observed.model, observed.length = model, length
        observed.is_fresh |= is_fresh
        observed.has_webhook |= has_webhook

    def first_watched(self, state: TaskState, now: float) -> None:
        """Count the age of a task of unknown age from now on."""
        if state.observed.started_at == NEVER:
            state.observed.started_at = now

    def eta(self, state: TaskState, now: float) -> Eta | None:
        """Return when the task will have ended; None when it has, and while nothing is known."""
        observed = state.observed
        estimate = self._durations.estimate(observed.model, observed.length)
        if not estimate.samples or state.is_terminal or observed.started_at == NEVER:
            return None
        age = max(0.0, now - observed.started_at)
        earliest, at, latest = (
            self._wall_clock() + timedelta(seconds=min(estimate.age_at(share, age) - age, MAX_ETA_S))
            for share in (ETA_TAIL, 0.5, 1 - ETA_TAIL)
        )
        return Eta(at=at, earliest=earliest, latest=latest, samples=estimate.samples)

    def _date(self, observed: Observation, details: TaskDetails, now: float) -> None:
        if observed.model is None:
            observed.model, observed.length = details.model, video_seconds(details.input)
        if observed.is_dated or details.created_at is None:
            return
        observed.is_dated = True
        age = self._service_time() - details.created_at.timestamp()
        if 0 <= age <= MAX_AGE_S:
            observed.started_at = now - age

    def _learn(self, observed: Observation, details: TaskDetails, now: float) -> None:
        if details.status != TaskStatus.COMPLETED or observed.model is None:
            return
        seconds = now - observed.started_at
        is_measured = observed.submitted is not None and now - observed.last_answer_at <= MAX_UNOBSERVED_SHARE * seconds
        self._durations.learn(
            observed.model,
            observed.length,
            reported=reported_seconds(details),
            measured=seconds if is_measured else None,
        )

    def _warn_of_unknown(self, task_id: str, status: TaskStatus) -> None:
        if status not in self._unknown_statuses and len(self._unknown_statuses) < MAX_UNKNOWN_STATUSES:
            self._unknown_statuses.add(status)
            logger.warning(
                "task %s has the unknown status %r: the wait for it goes on", single_line(task_id), str(status)[:50]
            )
