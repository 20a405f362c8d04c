"""What an answer about a task means: for those who wait for it, and for what is known of all tasks.

Whoever asks the service, the watcher or a user's own call, brings the answer here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Final

from attrs import define

from .._redaction import single_line
from ..tasks import Eta, StatusChange, TaskDetails, TaskStatus, video_seconds
from .durations import Durations, Estimate
from .record import Record
from .task_list import FinishedRow, told_seconds
from .transitions import Progression
from .trust import Announcements, ListTrust

__all__ = ["Observer"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

ANNOUNCED_WITHIN: Final = 10.0
"""Seconds before an end is observed in which a delivery counts as having announced it."""

MEASURED_WELL: Final = 0.2
"""The share of its time for which a task may have been unobserved before its end, to tell how long it took."""

LONGEST_AGE: Final = 24 * 3600.0
"""Seconds; what the service calls older than this is of another time, or its clock is wrong."""

LONGEST_ETA: Final = 30 * 86400.0

MOST_ENDED: Final = 100
MOST_SOUGHT: Final = 3
SOUGHT_IN: Final = 3
"""Tasks that the list is read on for, and in how many lists: those that it should tell of next."""

MOST_STRANGE: Final = 100

UNLIKELY: Final = 0.1
"""The share of tasks that end before the earliest, and after the latest moment of an `Eta`."""


@define(eq=False)
class _Ended:
    """A task whose end a single answer has told."""

    status: TaskStatus
    told_at: float
    lists: int = 0
    """How many lists were read on for it."""


class Observer:
    """Takes answers.

    Args:
        service_time: the time of day by the service's clock, in seconds since the epoch.
        observed: called with the id of a task and what the service has told of it: a new status, or a whole row.
        now: the time of day, for the moments of observations.
    """

    def __init__(
        self,
        *,
        service_time: Callable[[], float],
        observed: Callable[[str, TaskDetails | TaskStatus], object] = lambda _, __: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.durations: Durations = Durations()
        self.announcements: Announcements = Announcements()
        self.lists: ListTrust = ListTrust()
        self.share: Callable[[str, TaskDetails | TaskStatus], None] = lambda _, __: None
        """Tells other processes what the service told this one."""
        self.ended: Callable[[Record], None] = lambda _: None
        """Is told of each task that has ended."""
        self._service_time = service_time
        self._observed = observed
        self._now = now
        self._strange: set[str] = set()
        self._ended: dict[str, _Ended] = {}

    # --- answers -------------------------------------------------------------------------------------

    def take_status(self, record: Record, status: TaskStatus, now: float) -> None:
        """The service tells the status of this task alone.

        Args:
            record: the task.
            status: what it told.
            now: the time of the event loop.
        """
        change = record.observe(status, self._now(), self._eta_then(record, status, now))
        if change is not None:
            self._observed(record.task_id, status)
        self._tell(record, change, now, alone=True)
        self._note_strange(record, status)
        self.share(record.task_id, status)

    def take_details(self, record: Record, details: TaskDetails, now: float, *, alone: bool) -> None:
        """The service tells all of a task.

        Args:
            record: the task.
            details: what it told.
            now: the time of the event loop.
            alone: whether it was asked for this task alone, and not for the list.
        """
        self._place(record, details, now)
        had_ended = record.details is not None
        change = record.observe_details(details, self._now(), self._eta_then(record, details.status, now))
        self._observed(record.task_id, details)
        if record.details is not None and not had_ended:
            self._learn(record, record.details, now)
        self._tell(record, change, now, alone=alone)
        self._note_strange(record, details.status)
        self.share(record.task_id, details)

    def take_news(self, record: Record, news: TaskDetails | TaskStatus, now: float) -> None:
        """Another process tells what the service told it."""
        if isinstance(news, TaskDetails):
            self._place(record, news, now)
            change = record.observe_details(news, self._now(), self._eta_then(record, news.status, now))
        else:
            change = record.observe(news, self._now(), self._eta_then(record, news, now))
        if change is not None or isinstance(news, TaskDetails):
            self._observed(record.task_id, news)
        self._tell(record, change, now, alone=False)

    def submitted(self, record: Record, status: TaskStatus, now: float) -> None:
        """A submit was answered."""
        record.since, record.is_dated = now, True
        record.observe(status, self._now(), self.eta(record, now))
        record.asked_at = now

    def take_lesson(self, rows: list[FinishedRow]) -> None:
        """The list tells how long finished tasks took, newest first."""
        for row in reversed(rows):
            self.durations.learn_told(row.model, row.length, row.seconds)

    # --- what it means -------------------------------------------------------------------------------

    def eta(self, record: Record, now: float) -> Eta | None:
        """When the task will have ended; None when it has, and while nothing is known."""
        estimate = self.estimate(record)
        if not estimate.samples or record.is_terminal or record.since == -inf:
            return None
        age = max(0.0, now - record.since)
        earliest, at, latest = (
            # Nobody is told of years.
            self._now() + timedelta(seconds=min(estimate.age_at(share, age) - age, LONGEST_ETA))
            for share in (UNLIKELY, 0.5, 1 - UNLIKELY)
        )
        return Eta(at=at, earliest=earliest, latest=latest, samples=estimate.samples)

    def _eta_then(self, record: Record, status: TaskStatus, now: float) -> Eta | None:
        # It takes longer to work out than all else that is done with an answer.
        return None if status == record.status or status.is_terminal else self.eta(record, now)

    def estimate(self, record: Record) -> Estimate:
        """What is believed of the time that such a task takes."""
        return self.durations.estimate(record.model, record.length)

    def _place(self, record: Record, details: TaskDetails, now: float) -> None:
        if record.model is None:
            record.model, record.length = details.model, video_seconds(details.input)
        if record.is_dated or details.created_at is None:
            return
        record.is_dated = True
        age = self._service_time() - details.created_at.timestamp()
        if 0 <= age <= LONGEST_AGE:
            record.since = now - age

    def _learn(self, record: Record, details: TaskDetails, now: float) -> None:
        if details.status != TaskStatus.COMPLETED or record.model is None:
            return
        told, own = told_seconds(details), now - record.since
        watched = record.asked_at is not None and now - record.asked_at <= MEASURED_WELL * own
        if record.submitted is not None and watched:
            self.durations.learn_own(record.model, record.length, own, told)
        elif told is not None:
            self.durations.learn_told(record.model, record.length, told)

    def _tell(self, record: Record, change: StatusChange | None, now: float, *, alone: bool) -> None:
        if change is None:
            return
        logger.info("task %s: %s (was %s)", single_line(record.task_id), change.status, change.previous)
        if alone and change.status != TaskStatus.SUBMITTED:
            record.told_at = now
        if not change.status.is_terminal:
            return
        self.ended(record)
        if record.has_webhook and now - record.hinted_at > ANNOUNCED_WITHIN:
            self.announcements.missed(now)
        if alone:
            self._ended[record.task_id] = _Ended(change.status, now)
            if len(self._ended) > MOST_ENDED:
                del self._ended[next(iter(self._ended))]

    def _note_strange(self, record: Record, status: TaskStatus) -> None:
        if not status.is_known and status not in self._strange and len(self._strange) < MOST_STRANGE:
            self._strange.add(status)
            logger.warning(
                "task %s has the unknown status %r: waiting goes on", single_line(record.task_id), str(status)[:50]
            )

    # --- lists beside single answers -----------------------------------------------------------------

    def to_compare(self) -> frozenset[str]:
        """The ids of tasks whose end a single answer has told, and no list yet."""
        return frozenset(self._ended)

    def to_seek(self) -> list[str]:
        """The last few of them: the next list is to be read until it tells of these as well."""
        sought = [task_id for task_id, ended in self._ended.items() if ended.lists < SOUGHT_IN][-MOST_SOUGHT:]
        for task_id in sought:
            self._ended[task_id].lists += 1
        return sought

    def compare(self, task_id: str, listed: str, began: float, record: Record | None) -> None:
        """The list tells a status of a task.

        Args:
            task_id: the task.
            listed: its status in the list.
            began: when the list was asked for, by the time of the event loop.
            record: what is known of it, when somebody waits for it still.
        """
        ended = self._ended.get(task_id)
        if ended is not None:
            status, told_at = ended.status, ended.told_at
        elif record is not None and record.told_at is not None and record.status is not None:
            status, told_at = record.status, record.told_at
        else:
            return
        if told_at > began:
            return
        if Progression(status).observe(TaskStatus(listed)):
            # Something newer still: that is for the record.
            return
        if listed == status:
            self.lists.agreed(began - told_at)
            self._ended.pop(task_id, None)
            if record is not None:
                record.told_at = None
        elif self.lists.disagreed(began - told_at):
            logger.warning("the task list is behind by %.0f s or more: it is trusted less", began - told_at)
