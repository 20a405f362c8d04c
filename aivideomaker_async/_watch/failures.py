"""What follows a poll that brought nothing: when to ask again, and whether a wait is over.

| failure | what follows |
|---|---|
| the service refuses the key (401, 403) | every wait ends |
| the service knows no such task (404), once it has known it | the wait for this task ends |
| 429 | the limiter pauses every query as long as the service asks for; repeated ones make a pause in any case |
| the list does not exist (404, 405, 410) | each task is asked for by itself for a minute, then longer |
| any other refusal, or the page of a gateway; FAILED with a message (200) | this ends a wait after five minutes |
| anything else: 5xx, 408, timeouts, dropped connections, undecodable answers | the poll is repeated later |

One thing that fails must not hold up the others. A list that fails twice leaves each task to be asked for by itself for
a while. A task that fails is asked for less and less often. Only when nothing succeeds, everything waits, and the list
and tasks are tried in turn.
"""

from __future__ import annotations

import logging
import random
from enum import Enum, auto
from math import inf
from typing import Final

from .._http import RetryPolicy
from ..errors import (
    AIVideoMakerError,
    APIError,
    AuthenticationFailed,
    BadResponse,
    EndpointNotFound,
    RateLimited,
    RequestTimeout,
    ServerError,
    TaskNotFound,
    TransportError,
)
from .task_state import NO_BACKOFF, TaskState, Trouble

__all__ = ["Ends", "PollFailures"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

POLL_TIMEOUT_S: Final = 10.0
"""How long a poll may take. Answers mostly take a fraction of a second, and one that has not come after ten will hardly
come: its connection has died silently, as after a laptop slept."""

TIMEOUTS_OF_SLOW_SERVICE: Final = 2
"""Timeouts in a row, after which the service may be slow: then a poll gets all the time of an attempt."""

TIMED_OUT_SHARE: Final = 0.8
"""The share of its time that an attempt has used up, if it failed by lack of time; connecting is given a bit less."""

MAX_TASK_PAUSE_S: Final = 60.0
"""The longest pause of a task whose polls fail while others are answered."""

LIST_FAILURES: Final = 2
"""Lists in a row that fail, after which each task is asked for by itself. One is a blip, and thousands may wait."""

LIST_PAUSE_S: Final = 10.0
"""How long the list is left alone then; doubled each time, up to `MAX_LIST_PAUSE_S`."""

MAX_LIST_PAUSE_S: Final = 60.0

LIST_PAUSE_FACTOR: Final = 5
"""From the third failure on, that pause is at least this multiple of the time that the list took to fail."""

NO_LIST_STATUSES: Final = frozenset({404, 405, 410})
"""The answers of a service that has no task list."""

NO_LIST_PAUSE_S: Final = 60.0
"""How long such a service is not asked for the list again; doubled each time."""

FAILURES_TO_STEP_DOWN: Final = 3
"""Polls in a row that fail, after which another process may do better."""

UNKNOWN_AFTER_SUBMIT_S: Final = 30.0
"""How long after its submit a task may be unknown to the service, which may lag behind its own answer."""

LASTING_S: Final = 300.0
"""How long refusals, or an end in an unknown status, must last before the wait ends, so that no paid video is given up
because of some minutes of maintenance, or of the page of a proxy."""


class Ends(Enum):
    """Which waits a failure ends."""

    NONE = auto()
    OF_TASK = auto()
    ALL = auto()


class PollFailures:
    """Counts failures, and makes the `Backoff` of each task. All times are of the event loop.

    Args:
        policy: how long to pause.
        attempt_timeout: seconds that one attempt may take at most.
    """

    def __init__(self, policy: RetryPolicy, attempt_timeout: float) -> None:
        self._policy = policy
        self._attempt_timeout = attempt_timeout
        self._slow_polls = {"list": 0, "task": 0}
        self._rate_limited = 0
        # In a row; an answer resets them.
        self._failures = 0
        self._task_failures = 0
        self._timeouts = 0
        self._list_failures = 0
        self.not_before: float = -inf
        """When the service may be asked for anything again."""
        self.lists_resume_at: float = -inf
        """When the list may be asked for again."""
        self.retried_at: float = -inf
        """When a task was last asked for again, whose last poll had failed."""

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing is answered: some polls have failed, or one that took all its time."""
        return self._failures >= FAILURES_TO_STEP_DOWN or self._timeouts > 0

    def timeout(self, state: TaskState | None) -> float:
        """Return the seconds that the next poll may take: for a task, or (None) the list.

        After some timeouts the next ones get all the time of an attempt, until answers are fast again: a slow service
        must be able to answer, too.
        """
        is_slow = self._slow_polls[_kind(state)] >= TIMEOUTS_OF_SLOW_SERVICE
        return self._attempt_timeout if is_slow else min(POLL_TIMEOUT_S, self._attempt_timeout)

    def begun(self, state: TaskState | None, now: float) -> None:
        """Note that a poll begins: for a task, or (None) the list."""
        if state is not None and state.backoff.failures:
            self.retried_at = now

    def answered(self, state: TaskState | None, took: float) -> None:
        """Note that a poll was answered, after `took` seconds: for a task, or (None) the list."""
        if took < POLL_TIMEOUT_S:
            self._slow_polls[_kind(state)] = 0
        if state is None:
            self._list_failures = 0
        else:
            self._acquit_list()
        self._failures = self._task_failures = self._timeouts = self._rate_limited = 0

    def failed(self, error: AIVideoMakerError, state: TaskState | None, now: float, took: float) -> Ends:
        """Note that a poll has failed; return which waits that ends.

        Args:
            error: how it failed.
            state: the task that was asked for, or None for the list.
            now: the time.
            took: the seconds until it failed.
        """
        if isinstance(error, AuthenticationFailed) and error.status >= 400 and error.by_service:
            return Ends.ALL
        if state is not None and isinstance(error, TaskNotFound | EndpointNotFound) and error.by_service:
            if not state.observed.is_fresh or now - state.observed.started_at >= UNKNOWN_AFTER_SUBMIT_S:
                return Ends.OF_TASK
            self.put_off(state, now)
            return Ends.NONE
        if took >= TIMED_OUT_SHARE * self.timeout(state):
            self._slow_polls[_kind(state)] += 1
        if state is None and isinstance(error, APIError) and error.status in NO_LIST_STATUSES:
            logger.warning("the task list cannot be had (%s): each task is asked for by itself", error)
            self.lists_resume_at = now + NO_LIST_PAUSE_S * 2.0 ** min(self._list_failures, 6)
            self._list_failures += 1
            return Ends.NONE
        if isinstance(error, RateLimited):
            # The limiter pauses everybody, as long as the service asked for.
            self._rate_limited += 1
            self.not_before = now + self._policy.min_rate_limit_pause(self._rate_limited)
            return Ends.NONE
        self._failures += 1
        self._timeouts += isinstance(error, RequestTimeout)
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        logger.log(level, "a poll brought nothing (%s); waiting goes on", error)
        if self._failures > 1:
            self.not_before = now + self._policy.backoff(self._failures - 1, random.random())
        if state is None:
            self._list_failed(now, took)
            return Ends.NONE
        self._task_failures += 1
        self._acquit_list()
        # While nothing is answered, everything waits anyway; a longer pause is for one that fails where others do not.
        longest = MAX_TASK_PAUSE_S if self._failures == 1 else self._policy.longest_pause
        in_doubt = isinstance(error, APIError) and error.status == 200
        trouble = Trouble.LOST if _is_transient(error) and not in_doubt else Trouble.REFUSED
        return Ends.OF_TASK if self.put_off(state, now, trouble, in_doubt=in_doubt, longest=longest) else Ends.NONE

    def _list_failed(self, now: float, took: float) -> None:
        self._list_failures += 1
        if self._list_failures >= LIST_FAILURES:
            pause = min(LIST_PAUSE_S * 2.0 ** min(self._list_failures - LIST_FAILURES, 6), MAX_LIST_PAUSE_S)
            if self._list_failures > LIST_FAILURES:
                pause = max(pause, LIST_PAUSE_FACTOR * took)
            self.lists_resume_at = now + pause

    def _acquit_list(self) -> None:
        """Let the list be tried again, if nothing is answered at all: then the list is not the cause."""
        if self._failures > self._task_failures > 0:
            self.lists_resume_at = -inf
            self._list_failures = LIST_FAILURES - 1

    # --- the backoff of a task -----------------------------------------------------------------------

    def put_off(
        self,
        state: TaskState,
        now: float,
        trouble: Trouble = Trouble.LOST,
        *,
        in_doubt: bool = False,
        longest: float | None = None,
    ) -> bool:
        """Ask for this task later, and later each time; return whether its wait is over since the trouble lasts.

        Args:
            state: the task.
            now: the time.
            trouble: why its last poll was of no use.
            in_doubt: whether only its details decide what has become of it.
            longest: the longest pause in seconds; None for that of any retry.
        """
        before = state.backoff
        most = self._policy.longest_pause if longest is None else longest
        pause = min(most, self._policy.first_pause * 2.0 ** min(before.failures, 30))
        goes_on = before.trouble is trouble and now - before.failed_at < LASTING_S
        since = before.since if goes_on else now
        state.backoff = before._replace(
            failures=before.failures + 1,
            failed_at=now,
            # Clients that failed together do not come back together.
            not_before=now + pause * random.uniform(0.5, 1.0),
            trouble=trouble,
            since=since,
            in_doubt=before.in_doubt or in_doubt,
        )
        return trouble is not Trouble.LOST and now - since >= LASTING_S

    @staticmethod
    def clear(state: TaskState) -> None:
        """Forget the failures of a task: it was answered."""
        state.backoff = NO_BACKOFF

    @staticmethod
    def doubt(state: TaskState) -> None:
        """Ask for the details of a task: another process was answered that it does not exist."""
        state.backoff = state.backoff._replace(in_doubt=True)

    @staticmethod
    def hold_off(state: TaskState, until: float) -> None:
        """Ask for this task by itself no earlier than at this moment: another process is about to report it."""
        state.backoff = state.backoff._replace(not_before=until)


def _kind(state: TaskState | None) -> str:
    return "list" if state is None else "task"


def _is_transient(error: AIVideoMakerError) -> bool:
    transient = isinstance(error, RateLimited | ServerError | TransportError | BadResponse)
    return transient or (isinstance(error, APIError) and error.status == 408)
