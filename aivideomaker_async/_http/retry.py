"""Retries: what follows an attempt that brought no good answer.

What is known about the attempt decides, not the kind of exception:

- it was never sent: try again, whatever the request was;
- the service answered 429: try again when it wants to be asked again, also if that is later than a minute;
- it may have arrived and the answer is lost (408, 5xx, dropped connection, timeout, undecodable body): repeat a query;
  the outcome of a submit is unknown, and it is never repeated blindly;
- the service refused it (any other 4xx, a redirect): raise.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from math import isfinite
from typing import Final

from attrs import frozen

from .._util import validation
from .._util.http_dates import parse_http_date
from ..errors import AIVideoMakerError, APIError, RateLimited, TransportError

__all__ = [
    "DEFAULT_RATE_LIMIT_PAUSE_S",
    "Failure",
    "RetryPolicy",
    "classify_error",
    "classify_status",
    "parse_retry_after",
]

DEFAULT_RATE_LIMIT_PAUSE_S: Final = 5.0
"""Pause after a 429 without a `Retry-After`."""


class Failure(Enum):
    """What is known about an attempt that brought no good answer."""

    NEVER_SENT = auto()
    RATE_LIMITED = auto()
    LOST = auto()
    """It may have arrived, and its outcome is unknown."""
    REFUSED = auto()


def classify_status(status: int) -> Failure | None:
    """Return what an HTTP status means for the attempt; None for success."""
    if 200 <= status < 300:
        return None
    if status == 429:
        return Failure.RATE_LIMITED
    if status == 408 or status >= 500:
        return Failure.LOST
    return Failure.REFUSED


def classify_error(error: AIVideoMakerError) -> Failure:
    """Return what an error means for the attempt that raised it."""
    if isinstance(error, TransportError) and not error.sent:
        return Failure.NEVER_SENT
    if isinstance(error, RateLimited):
        return Failure.RATE_LIMITED
    if isinstance(error, APIError):
        return classify_status(error.status) or Failure.REFUSED
    return Failure.LOST


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how fast failed attempts are repeated.

    The pause before attempt n + 1 is drawn evenly from 0 to `min(longest_pause, first_pause * 2**(n - 1))` seconds
    (full jitter), so that clients which failed together do not come back together.

    Args:
        max_attempts: attempts in all; an attempt that ended in 429 does not count, since waiting is what cures it.
        first_pause: upper bound of the first pause in seconds.
        longest_pause: upper bound of any pause in seconds.
        grace: seconds for which the task list is searched for a submit whose answer was lost, before it counts as not
            created and is submitted again.

    Raises:
        ConfigurationError: an argument is out of range.
    """

    max_attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 8.0
    grace: float = 15.0

    def __attrs_post_init__(self) -> None:
        validation.count("max_attempts", self.max_attempts)
        validation.seconds("first_pause", self.first_pause)
        validation.seconds("longest_pause", self.longest_pause)
        validation.seconds("grace", self.grace)

    def backoff(self, attempt: int, random: float) -> float:
        """Return the pause in seconds after attempt number `attempt`, for a `random` in [0, 1)."""
        return random * self.max_backoff(attempt)

    def max_backoff(self, attempt: int) -> float:
        """Return the upper bound of the pause in seconds after attempt number `attempt`."""
        return min(self.longest_pause, self.first_pause * 2.0 ** min(attempt - 1, 60))

    def min_rate_limit_pause(self, refusals: int) -> float:
        """Return the least pause in seconds after `refusals` answers of 429 in a row, whatever they ask for.

        A server that keeps answering "retry after 0 seconds" must not be asked in a tight loop.
        """
        return self.max_backoff(refusals) if refusals > 1 else 0.0

    def pause_before_retry(
        self,
        failure: Failure,
        *,
        attempt: int,
        random: float,
        repeatable: bool,
        time_left: float,
        retry_after: float | None = None,
        refusals: int = 0,
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None when there is to be none.

        Args:
            failure: what is known about the failed attempt.
            attempt: its number, from 1; attempts that ended in 429 are not counted.
            random: a number in [0, 1).
            repeatable: whether a request that may have arrived can be sent again without harm.
            time_left: seconds until the deadline of the call.
            retry_after: the seconds that the service asked for.
            refusals: how many attempts ended in 429 so far.
        """
        if failure is Failure.REFUSED or (failure is Failure.LOST and not repeatable):
            return None
        if failure is Failure.RATE_LIMITED:
            asked = DEFAULT_RATE_LIMIT_PAUSE_S if retry_after is None else retry_after
            # Jitter on top: everybody who was refused got the same moment.
            pause = max(asked, self.min_rate_limit_pause(refusals)) + self.first_pause * random
        elif attempt >= self.max_attempts:
            return None
        else:
            pause = max(self.backoff(attempt, random), retry_after or 0.0)
        return pause if pause < time_left else None


def parse_retry_after(value: str | None, *, date: str | None, wall_clock: Callable[[], float]) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, or None when it is missing or malformed.

    Args:
        value: the header: seconds, or an HTTP date.
        date: the `Date` header of the same answer: a date is measured against the clock that wrote it.
        wall_clock: returns seconds since the epoch; called only when the answer has no usable date.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        at = parse_http_date(value)
        if at is None:
            return None
        sent_at = parse_http_date(date)
        seconds = at - (wall_clock() if sent_at is None else sent_at)
    return max(0.0, seconds) if isfinite(seconds) else None
