"""What this process knows of one task, and who waits to hear more.

All handles of a task share one record. Records are changed between two awaits and never wait themselves.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from datetime import datetime
from typing import Final

from attrs import define, field

from ._core.transitions import Progression
from .errors import AIVideoMakerError
from .tasks import StatusChange, SubmittedTask, TaskDetails, TaskStatus

__all__ = ["Record", "Subscription"]

UNREAD: Final = 100
"""Changes kept for a consumer that does not read them; a task has five, a confused server may tell more."""


class Subscription:
    """One consumer of a task's changes. It holds nothing but its place in the record.

    Args:
        record: the task.
        wants_details: whether the consumer waits for the output as well.
    """

    __slots__ = ("_waiter", "error", "pending", "record", "wants_answer", "wants_details")

    def __init__(self, record: Record, *, wants_details: bool) -> None:
        self.record: Record = record
        self.wants_details: bool = wants_details
        self.wants_answer: bool = False
        """Whether any answer about the task is news to this consumer, also one that tells no change."""
        self.pending: deque[StatusChange] = deque(maxlen=UNREAD)
        self.error: AIVideoMakerError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """There is something new: wake the consumer, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until there is something new.

        Raises:
            AIVideoMakerError: the wait cannot go on.
        """
        if self.error is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.error is not None:
            # One error may end the wait of thousands; raised as one object it would collect all their frames.
            raise copy.copy(self.error) from self.error.__cause__


@define(eq=False, weakref_slot=True)
class Record:
    """What is known of one task.

    Times named `since` and `asked_at` are seconds on the clock of the event loop.
    """

    task_id: str
    since: float
    submitted: SubmittedTask | None = None
    progression: Progression = field(factory=Progression)
    last_change: StatusChange | None = None
    details: TaskDetails | None = None
    """The details of the ended task; None before it has ended."""
    asked_at: float | None = None
    missing_until: float = float("-inf")
    """Until when it is asked for by itself, since the last list did not show it."""
    not_before: float = float("-inf")
    in_doubt: bool = False
    """Whether a status came that may have been an error of the service, so that only the details can tell."""
    blips: int = 0
    """Answers in a row that were of no use."""
    subscriptions: set[Subscription] = field(factory=set[Subscription])

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended."""
        return self.progression.is_terminal

    @property
    def status(self) -> TaskStatus | None:
        """The status observed last."""
        return self.progression.current

    def asked(self, now: float) -> None:
        """The service has been asked for the status, and has told or will tell it in the same breath."""
        self.asked_at = now
        for subscription in self.subscriptions:
            if subscription.wants_answer:
                subscription.notify()

    def observe(self, status: TaskStatus, at: datetime) -> StatusChange | None:
        """Take an observation; returns the change, or None when it told nothing new."""
        previous = self.progression.current
        if not self.progression.observe(status):
            return None
        self.last_change = StatusChange(task_id=self.task_id, status=status, previous=previous, at=at)
        for subscription in self.subscriptions:
            subscription.pending.append(self.last_change)
            subscription.notify()
        return self.last_change

    def observe_details(self, details: TaskDetails, at: datetime) -> StatusChange | None:
        """Take a whole row; what it tells of an ended task is kept.

        Where a whole row and a bare status disagree on how the task ended, the row has the output, and is believed.
        """
        self.in_doubt = False
        change = self.observe(details.status, at)
        if self.is_terminal and details.status.is_terminal:
            self.details = details
            for subscription in self.subscriptions:
                subscription.notify()
        return change

    def needs_details(self) -> bool:
        """Whether the task has ended, somebody waits for its output, and it has not come; or nobody knows."""
        if self.in_doubt:
            return True
        return self.is_terminal and self.details is None and any(item.wants_details for item in self.subscriptions)

    def is_done_for(self, subscription: Subscription) -> bool:
        """Whether nothing more can come for this consumer."""
        return self.is_terminal and not (subscription.wants_details and self.details is None)
