"""What a poll that brought nothing means for the next ones.

One thing that fails must not hold up the others: a list that fails leaves each task to be asked for by itself, and a
task that fails is asked for less and less often. Only when nothing succeeds, everything waits, and the list and tasks
are tried in turn.
"""

from __future__ import annotations

import logging
import random
from math import inf
from typing import Final

from .._http import RetryPolicy
from ..errors import AIVideoMakerError, APIError, BadResponse, RateLimited, RequestTimeout, ServerError, TransportError
from .patience import Patience
from .record import Record
from .waiting import Waiting

__all__ = ["Setbacks"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

LISTED_AGAIN: Final = 60.0
"""Seconds after which the list is tried again, when there is none; longer each time."""

LISTED_SOON: Final = 10.0
"""The same after lists that failed; longer each time, up to `LISTED_AGAIN`."""

WORTH: Final = 5
"""The same from the second time on, in multiples of the time that the last list took to fail, if that is longer."""

LISTS_TRIED: Final = 2
"""Lists in a row that fail, after which each task is asked for by itself."""

SPENT: Final = 0.8
"""The share of its time that an attempt has used up, if it failed by lack of time; connecting is given a bit less."""

LONGEST: Final = 60.0
"""Seconds until a task whose answers fail again and again is asked for again."""

CUT_OFF: Final = 3
"""Polls in a row that fail, after which another process may do better."""

DOUBTS: Final = 10
"""Answers in a row of FAILED with a message, and nothing of the task, after which they are taken for the truth."""

REFUSALS: Final = 3
"""Refusals in a row that are neither 401, 403 nor 404, after which a task's wait ends: one may come from a proxy."""

NO_SUCH: Final = frozenset({404, 405, 410})
"""What a service says that has no task list."""

LASTING: Final = 300.0
"""Seconds for which that must have gone on, or doubts: a service that is not well for a while, or a page that says so,
loses nobody a paid video."""


class Setbacks:
    """Counts what fails. All times are of the event loop.

    Args:
        waiting: who waits.
        policy: how long to pause.
        attempt_timeout: seconds that a poll may take at most.
    """

    def __init__(self, waiting: Waiting, policy: RetryPolicy, attempt_timeout: float) -> None:
        self._waiting = waiting
        self._policy = policy
        self._patience = {asks_list: Patience(attempt_timeout) for asks_list in (True, False)}
        self._refused = 0
        self._in_a_row = 0
        self._tasks_in_a_row = 0
        self._hangs = 0
        self._lists_in_a_row = 0
        self._useless_lists = 0
        self.not_before: float = -inf
        """When the service is asked for anything again."""

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing has been answered for a while: a few polls, or one that took all its time."""
        return self._in_a_row >= CUT_OFF or self._hangs > 0

    def patience(self, record: Record | None) -> float:
        """Seconds that the next poll may take: for a task, or (None) the list."""
        return self._patience[record is None].seconds

    def succeeded(self, record: Record | None, took: float) -> None:
        """A poll was answered: for a task, or (None) the list; it took so many seconds."""
        self._patience[record is None].answered(took)
        if record is None:
            self._lists_in_a_row = self._useless_lists = 0
        else:
            self._acquit_list()
        self._in_a_row = self._tasks_in_a_row = self._hangs = self._refused = 0

    def failed(self, error: AIVideoMakerError, record: Record | None, now: float, took: float) -> bool:
        """A poll has failed; returns whether the wait for this task is over.

        Args:
            error: how; not by a key or an id that the service does not know.
            record: the task, or None for the list.
            now: the time.
            took: seconds until it failed.
        """
        patience = self._patience[record is None]
        if took >= SPENT * patience.seconds:
            patience.timed_out()
        if record is None and isinstance(error, APIError) and error.status in NO_SUCH:
            # A service without a task list.
            logger.warning("the task list cannot be had (%s): asking for each task instead", error)
            self.do_without_lists(now)
            return False
        if isinstance(error, RateLimited):
            # The limiter pauses everybody, and says so. That it is over at once is not believed again and again.
            self._refused += 1
            self.not_before = now + self._policy.min_rate_limit_pause(self._refused)
            return False
        self._in_a_row += 1
        self._hangs += isinstance(error, RequestTimeout)
        level = logging.WARNING if self._in_a_row == 1 else logging.DEBUG
        logger.log(level, "a poll brought nothing (%s); waiting goes on", error)
        if self._in_a_row > 1:
            self.not_before = now + self._policy.backoff(self._in_a_row - 1, random.random())
        if record is None:
            self._list_failed(now, took)
            return False
        self._tasks_in_a_row += 1
        self._acquit_list()
        return self._task_failed(error, record, now)

    def set_back(self, record: Record, now: float, *, longest: float | None = None) -> None:
        """Ask for this task again later, and later each time, up to `longest` seconds (None: as for any retry)."""
        record.blips += 1
        most = self._policy.longest_pause if longest is None else longest
        pause = min(most, self._policy.first_pause * 2.0 ** min(record.blips - 1, 30))
        # Clients that failed together do not come back together.
        record.not_before = now + pause * random.uniform(0.5, 1.0)
        self._waiting.set_back(record, now)

    def do_without_lists(self, now: float) -> None:
        """Ask for each task by itself, for a while that becomes longer each time."""
        self._waiting.no_lists_until = now + LISTED_AGAIN * 2.0 ** min(self._useless_lists, 6)
        self._useless_lists += 1

    def _acquit_list(self) -> None:
        if self._in_a_row > self._tasks_in_a_row > 0:
            # Lists have failed, and tasks as well, and nothing was answered since: it is the service that is not well.
            self._waiting.no_lists_until = -inf
            self._lists_in_a_row, self._useless_lists = LISTS_TRIED - 1, 0

    def _list_failed(self, now: float, took: float) -> None:
        self._lists_in_a_row += 1
        # What a list would teach is not worth another failure.
        self._waiting.lesson_until = max(self._waiting.lesson_until, now + LISTED_AGAIN)
        if self._lists_in_a_row >= LISTS_TRIED:
            soon = min(LISTED_SOON * 2.0 ** min(self._useless_lists, 6), LISTED_AGAIN)
            # Once is a blip, and thousands may wait.
            self._waiting.no_lists_until = now + max(soon, WORTH * took if self._useless_lists else 0.0)
            self._useless_lists += 1

    def _task_failed(self, error: AIVideoMakerError, record: Record, now: float) -> bool:
        if not record.doubts and not record.refusals:
            record.refused_since = now
        if isinstance(error, APIError) and error.status == 200:
            # FAILED with a message is an error of the service, or news of the task: its details tell which.
            record.in_doubt = True
            record.doubts += 1
        elif not _is_blip(error):
            record.refusals += 1
        # While nothing is answered, everybody waits anyway; this is for one that fails where others do not.
        self.set_back(record, now, longest=LONGEST if self._in_a_row == 1 else None)
        lasts = now - record.refused_since >= LASTING
        return lasts and (record.doubts >= DOUBTS or record.refusals >= REFUSALS)


def _is_blip(error: AIVideoMakerError) -> bool:
    # A 200 that is an error all the same: the service was not well, or so it seems.
    passing = isinstance(error, RateLimited | ServerError | TransportError | BadResponse)
    return passing or (isinstance(error, APIError) and error.status in {200, 408})
