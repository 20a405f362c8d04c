"""What this process knows of one task, and who waits to hear more.

All handles of a task share one record. Records are changed between two awaits and never wait themselves.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from math import inf
from typing import Final

from attrs import define, field

from .._redaction import Secret
from ..errors import AIVideoMakerError
from ..tasks import Eta, StatusChange, SubmittedTask, TaskDetails, TaskStatus
from .transitions import Progression

__all__ = ["AT_ONCE", "Hint", "Record", "Subscription", "wake"]

AT_ONCE: Final = 500
"""Waiters that are woken before others may run."""

UNREAD: Final = 100
"""Changes kept for a consumer that does not read them; a task has five, a confused server may tell more."""


class Subscription:
    """One consumer of a task's changes. It holds nothing but its place in the record.

    Args:
        record: the task.
        wants_details: whether the consumer waits for the output as well.
        is_foreign: whether it stands for consumers in other processes.
    """

    __slots__ = ("_waiter", "error", "expired", "is_foreign", "pending", "record", "wants_answer", "wants_details")

    def __init__(self, record: Record, *, wants_details: bool, is_foreign: bool = False) -> None:
        self.record: Record = record
        self.is_foreign: bool = is_foreign
        self.wants_details: bool = wants_details
        self.wants_answer: bool = False
        """Whether any answer about the task is news to this consumer, also one that tells no change."""
        self.pending: deque[StatusChange] | None = None
        """Changes that were not read yet; None for a consumer that only waits for the end."""
        self.error: AIVideoMakerError | None = None
        self.expired: bool = False
        """Whether its deadline has passed."""
        self._waiter: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """There is something new: wake the consumer, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def news(self) -> asyncio.Future[None]:
        """Is done when there is something new, or the deadline has passed. One consumer waits for one at a time.

        A future and no coroutine: thousands wait.

        Raises:
            AIVideoMakerError: the wait cannot go on.
        """
        if self.error is not None:
            # One error may end the wait of thousands; raised as one object it would collect all their frames.
            raise copy.copy(self.error) from self.error.__cause__
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter


@define(eq=False)
class Hint:
    """That a webhook has said something of a task, which is not confirmed yet."""

    at: float
    """When it came."""
    status: TaskStatus | None
    """The status when it came: a change of it confirms the hint."""
    tries_left: int


@define(eq=False, weakref_slot=True)
class Record:
    """What is known of one task.

    Times named `since` and `asked_at` are seconds on the clock of the event loop.
    """

    task_id: str
    since: float
    """When it was submitted, as far as known; else when it was first watched."""
    submitted: SubmittedTask | None = None
    webhook_url: Secret | None = None
    """Where the service was asked to tell of changes, if this client has asked."""
    is_fresh: bool = False
    """Whether it was submitted by those who wait, so that the service may not know it at first."""
    model: str | None = None
    length: int | None = None
    """Seconds of video."""
    progression: Progression = field(factory=Progression)
    last_change: StatusChange | None = None
    details: TaskDetails | None = None
    """The details of the ended task; None before it has ended."""
    is_dated: bool = False
    """Whether `since` is as exact as it will be."""
    asked_at: float | None = None
    """When the service last told its status."""
    tried_at: float = -inf
    """When it was last asked for by itself, and told nothing."""
    told_at: float | None = None
    """When an answer that tells of this task alone last brought a change."""
    missing_until: float = -inf
    """Until when it is asked for by itself, since the last list did not show it."""
    missed: int = 0
    """Lists in a row that did not show it."""
    not_before: float = -inf
    in_doubt: bool = False
    """Whether a status came that may have been an error of the service, so that only the details can tell."""
    blips: int = 0
    """Answers in a row that were of no use."""
    doubts: int = 0
    """Answers in a row that were FAILED with a message, and nothing else."""
    refusals: int = 0
    """Refusals in a row."""
    refused_since: float = -inf
    """When the first of them came, or of the doubts."""
    without_output_since: float = inf
    """When its details first said COMPLETED, and told no URL."""
    has_webhook: bool = False
    """Whether a webhook receiver of this client hears of its changes."""
    hint: Hint | None = None
    hinted_at: float = -inf
    """When the last delivery came."""
    deaf_until: float = -inf
    """Until when deliveries are not confirmed: the last ones told nothing."""
    empty_hints: int = 0
    """Hints in a row that told nothing."""
    subscriptions: set[Subscription] = field(factory=set[Subscription])
    _watching: int = 0
    _local: int = 0
    _local_for_details: int = 0

    def subscribe(self, subscription: Subscription) -> None:
        """One more consumer."""
        if subscription not in self.subscriptions:
            self.subscriptions.add(subscription)
            self._count(subscription, 1)

    def unsubscribe(self, subscription: Subscription) -> None:
        """One consumer less; one that is none is no mistake."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
            self._count(subscription, -1)

    def _count(self, subscription: Subscription, change: int) -> None:
        # Counted, since thousands may wait for one task.
        self._watching += change * (not subscription.wants_details)
        self._local += change * (not subscription.is_foreign)
        self._local_for_details += change * (subscription.wants_details and not subscription.is_foreign)

    @property
    def is_waited_for_here(self) -> bool:
        """Whether a consumer in this process waits."""
        return self._local > 0

    @property
    def details_are_waited_for_here(self) -> bool:
        """Whether one of them waits for the output."""
        return self._local_for_details > 0

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended."""
        return self.progression.is_terminal

    @property
    def status(self) -> TaskStatus | None:
        """The status observed last."""
        return self.progression.current

    @property
    def changes_matter(self) -> bool:
        """Whether somebody watches each change, and not only the end."""
        return self._watching > 0

    def asked(self, now: float) -> None:
        """The service has been asked for the status, and has told or will tell it in the same breath."""
        self.asked_at = now
        if self._watching:
            wake(item for item in self.subscriptions if item.wants_answer)

    def observe(self, status: TaskStatus, at: datetime, eta: Eta | None = None) -> StatusChange | None:
        """Take an observation; returns the change, or None when it told nothing new."""
        previous = self.progression.current
        if not self.progression.observe(status):
            return None
        self.last_change = StatusChange(task_id=self.task_id, status=status, previous=previous, at=at, eta=eta)
        watching = [item for item in self.subscriptions if not item.wants_details] if self._watching else []
        for subscription in watching:
            if subscription.pending is None:
                subscription.pending = deque(maxlen=UNREAD)
            subscription.pending.append(self.last_change)
        wake(watching)
        return self.last_change

    def observe_details(self, details: TaskDetails, at: datetime, eta: Eta | None = None) -> StatusChange | None:
        """Take a whole row; what it tells of an ended task is kept, unless it lacks the URL of a finished video.

        Where a whole row and a bare status disagree on how the task ended, the row has the output, and is believed.
        """
        self.in_doubt, self.doubts = False, 0
        change = self.observe(details.status, at, eta)
        is_whole = details.status != TaskStatus.COMPLETED or bool(details.url)
        if self.is_terminal and details.status.is_terminal and is_whole:
            self.details = details
            wake(self.subscriptions)
        return change

    def needs_details(self) -> bool:
        """Whether the task has ended, somebody waits for its output, and it has not come; or nobody knows."""
        if self.in_doubt:
            return True
        return self.is_terminal and self.details is None and len(self.subscriptions) > self._watching

    def is_over(self) -> bool:
        """Whether nobody needs another answer of the service."""
        return self.is_terminal and not self.needs_details()


def wake(waiters: Iterable[Subscription]) -> None:
    """There is something new for these: thousands are woken in groups, between which others run."""
    some = list(waiters)
    for subscription in some[:AT_ONCE]:
        subscription.notify()
    if len(some) > AT_ONCE:
        asyncio.get_running_loop().call_soon(wake, some[AT_ONCE:])
