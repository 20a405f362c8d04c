"""What this client knows of one task, and the consumers that wait for it.

All handles of a task share one `TaskState`. It is changed between two awaits and never waits itself. Each group of its
fields has one module that writes it:

- `observed`: what the service has answered (`updates`);
- `backoff`: what became of failed polls (`failures`);
- `list_misses` and `unlisted_until`: whether the list shows it (`wait_set`);
- the subscriptions (this module).
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Iterable
from enum import Enum, auto
from math import inf
from typing import Final, NamedTuple

from .._redaction import Secret
from ..errors import AIVideoMakerError
from ..tasks import StatusChange, SubmittedTask, TaskDetails, TaskStatus
from .transitions import Progression

__all__ = [
    "NEVER",
    "NO_BACKOFF",
    "WOKEN_AT_ONCE",
    "Backoff",
    "Observation",
    "Subscription",
    "TaskState",
    "Trouble",
    "wake",
]

WOKEN_AT_ONCE: Final = 500
"""Waiters that are woken before other callbacks of the event loop may run."""

MAX_UNREAD_CHANGES: Final = 100
"""Changes kept for a consumer that does not read them; a task has five, a confused service may report more."""

NEVER: Final = -inf
"""A moment that was not yet. One object for thousands of states: `-inf` would be a new one each time."""

CURRENT_S: Final = 5.0
"""Seconds for which an answer counts as the current status."""


class Observation:
    """What the service has answered about one task. Only `updates` writes it. Times are of the event loop's clock."""

    __slots__ = (
        "details",
        "has_webhook",
        "is_dated",
        "is_fresh",
        "last_answer_at",
        "last_change",
        "last_single_answer_at",
        "length",
        "model",
        "progression",
        "started_at",
        "submitted",
        "unknown_end",
        "unknown_end_at",
        "webhook_url",
    )

    def __init__(self) -> None:
        self.progression: Progression = Progression()
        self.last_change: StatusChange | None = None
        self.details: TaskDetails | None = None
        """The details of the ended task; None before it has ended, and while they lack the URL of a video."""
        self.unknown_end: TaskDetails | None = None
        """Details under an unknown status that show an end all the same: its time, an error, or a URL."""
        self.unknown_end_at: float = NEVER
        """When they were first seen."""
        self.model: str | None = None
        self.length: int | None = None
        """Seconds of video."""
        self.started_at: float = NEVER
        """When it was submitted, as far as known; else when it was first watched."""
        self.is_dated: bool = False
        """Whether `started_at` is as exact as it will be."""
        self.last_answer_at: float = NEVER
        """When an answer last reported its status."""
        self.last_single_answer_at: float = NEVER
        """The same of answers about this task alone, and not of lists."""
        self.submitted: SubmittedTask | None = None
        """The answer to the submit, if this client has made it."""
        self.is_fresh: bool = False
        """Whether a waiting process has submitted it, so that the service may not know it at first."""
        self.webhook_url: Secret | None = None
        """Where the service was asked to report changes, if this client has asked."""
        self.has_webhook: bool = False
        """Whether a webhook receiver of ours is to be notified of its changes."""


class Trouble(Enum):
    """Why the last poll of a task was of no use."""

    LOST = auto()
    """There was no usable answer, or it was older than what is known. This never ends a wait."""
    REFUSED = auto()
    """The service refused, or answered FAILED with a message and nothing of the task. This ends a wait if it lasts."""
    NO_OUTPUT = auto()
    """The task is COMPLETED, and its details have no URL. This ends a wait if it lasts."""


class Backoff(NamedTuple):
    """How far the polls of one task are put off after failures. Only `failures` makes one. Times are of the loop."""

    failures: int = 0
    """Polls in a row that were of no use."""
    failed_at: float = NEVER
    """When the last of them failed."""
    not_before: float = NEVER
    """When the task may be asked for by itself again."""
    trouble: Trouble = Trouble.LOST
    since: float = NEVER
    """When this kind of trouble began."""
    in_doubt: bool = False
    """Whether a status came that may have been an error of the service, so that only the details decide."""


NO_BACKOFF: Final = Backoff()
"""The last answer was of use."""


class TaskState:
    """What this client knows of one task, and the consumers that wait for it.

    Args:
        task_id: the id of the task.
    """

    __slots__ = (
        "__weakref__",
        "_local",
        "_local_for_details",
        "_watching",
        "backoff",
        "list_misses",
        "observed",
        "subscriptions",
        "task_id",
        "unlisted_until",
    )

    def __init__(self, task_id: str) -> None:
        self.task_id: str = task_id
        self.observed: Observation = Observation()
        self.backoff: Backoff = NO_BACKOFF
        self.list_misses: int = 0
        """Lists in a row that did not show the task."""
        self.unlisted_until: float = NEVER
        """Until when it is asked for by itself, since the last list did not show it."""
        self.subscriptions: set[Subscription] = set()
        self._watching = 0
        self._local = 0
        self._local_for_details = 0

    @property
    def status(self) -> TaskStatus | None:
        """The status observed last."""
        return self.observed.progression.current

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended."""
        return self.observed.progression.is_terminal

    def is_current(self, now: float) -> bool:
        """Return whether the last answer is so recent that it counts as the current status."""
        return now - self.observed.last_answer_at <= CURRENT_S

    def lacks_output(self) -> bool:
        """Return whether the task has ended, and a consumer waits for its output, which has not come."""
        return self.is_terminal and self.observed.details is None and len(self.subscriptions) > self._watching

    def needs_details(self) -> bool:
        """Return whether the next poll must ask for the details: for the output, or since there is a doubt."""
        return self.backoff.in_doubt or self.lacks_output()

    def is_over(self) -> bool:
        """Return whether no consumer needs another answer of the service."""
        return self.is_terminal and not self.needs_details()

    # --- consumers -----------------------------------------------------------------------------------

    def subscribe(self, subscription: Subscription) -> None:
        """Add a consumer."""
        if subscription not in self.subscriptions:
            self.subscriptions.add(subscription)
            self._count(subscription, 1)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a consumer. A second time does nothing."""
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)
            self._count(subscription, -1)

    def _count(self, subscription: Subscription, change: int) -> None:
        # Counted, since thousands may wait for one task.
        self._watching += change * (not subscription.wants_details)
        self._local += change * (not subscription.is_remote)
        self._local_for_details += change * (subscription.wants_details and not subscription.is_remote)

    @property
    def is_awaited_here(self) -> bool:
        """Whether a consumer in this process waits."""
        return self._local > 0

    @property
    def details_are_awaited_here(self) -> bool:
        """Whether a consumer in this process waits for the output."""
        return self._local_for_details > 0

    @property
    def changes_matter(self) -> bool:
        """Whether a consumer wants every change, and not only the end."""
        return self._watching > 0

    def deliver(self, change: StatusChange) -> None:
        """Pass a change on to the consumers that want every change."""
        if self._watching:
            watching = [item for item in self.subscriptions if not item.wants_details]
            for subscription in watching:
                subscription.append(change)
            wake(watching)

    def wake_for_answer(self) -> None:
        """Wake the consumers to which any answer is news."""
        if self._watching:
            wake(item for item in self.subscriptions if item.wants_answer)


class Subscription:
    """One consumer of a task's changes. It holds nothing but its place in the state.

    Args:
        state: the task.
        wants_details: whether the consumer waits for the output, instead of every change.
        is_remote: whether it stands for consumers in other processes.
    """

    __slots__ = ("_waiter", "error", "expired", "is_remote", "state", "unread", "wants_answer", "wants_details")

    def __init__(self, state: TaskState, *, wants_details: bool, is_remote: bool = False) -> None:
        self.state: TaskState = state
        self.is_remote: bool = is_remote
        self.wants_details: bool = wants_details
        self.wants_answer: bool = False
        """Whether any answer about the task is news to this consumer, also one without a change."""
        self.unread: deque[StatusChange] | None = None
        """Changes that were not read yet; None before the first."""
        self.error: AIVideoMakerError | None = None
        self.expired: bool = False
        """Whether its deadline has passed."""
        self._waiter: asyncio.Future[None] | None = None

    def append(self, change: StatusChange) -> None:
        """Keep a change until it is read."""
        if self.unread is None:
            self.unread = deque(maxlen=MAX_UNREAD_CHANGES)
        self.unread.append(change)

    def notify(self) -> None:
        """Wake the consumer, if it waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def next_update(self) -> asyncio.Future[None]:
        """Return a future that is done when there is something new, or the deadline has passed.

        One consumer waits for one future at a time. It is no coroutine, since thousands wait.

        Raises:
            AIVideoMakerError: the wait cannot go on.
        """
        if self.error is not None:
            # One error may end the wait of thousands; raised as one object it would collect all their frames.
            raise copy.copy(self.error) from self.error.__cause__
        self._waiter = asyncio.get_running_loop().create_future()
        return self._waiter


def wake(waiters: Iterable[Subscription]) -> None:
    """Notify consumers: thousands in groups, between which other callbacks run."""
    some = list(waiters)
    for subscription in some[:WOKEN_AT_ONCE]:
        subscription.notify()
    if len(some) > WOKEN_AT_ONCE:
        asyncio.get_running_loop().call_soon(wake, some[WOKEN_AT_ONCE:])
