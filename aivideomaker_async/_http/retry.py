"""What to do after an attempt that brought no good answer.

What is known about the attempt decides, not what kind of exception it was:

- it was never sent: try again, whatever it was;
- the service said 429: try again when it wants to be asked again, also if that is later than a minute;
- it may have arrived and the answer is lost (408, 5xx, dropped connection, timeout, a body that cannot be read): a
  query may be sent again; the outcome of a submit is unknown, and is never blindly repeated;
- the service refused it (other 4xx): an error.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from math import isfinite
from typing import Final

from attrs import frozen

from .._util import validation as _checks
from .._util.http_dates import parse_http_date

__all__ = ["Failure", "GiveUp", "Retry", "RetryPolicy", "classify_status", "parse_retry_after"]

UNTOLD_PAUSE: Final = 5.0
"""Seconds to wait after a 429 that does not tell how long."""


class Failure(Enum):
    """What is known about an attempt that brought no good answer."""

    NEVER_SENT = auto()
    RATE_LIMITED = auto()
    LOST = auto()
    """It may have arrived, and what became of it is not known."""
    REFUSED = auto()


@frozen
class Retry:
    """Try again after `after` seconds."""

    after: float


class GiveUp(Enum):
    """Do not try again."""

    RAISE = auto()
    OUTCOME_UNKNOWN = auto()
    """Look it up: the service may have done what was asked."""


@frozen(kw_only=True)
class RetryPolicy:
    """How often and how fast to try again.

    The pause before attempt n + 1 is drawn evenly from 0 to `min(longest_pause, first_pause * 2**(n - 1))` seconds
    (full jitter), so that clients which failed together do not come back together.

    Args:
        max_attempts: attempts in all; an attempt that ended in 429 does not count, since waiting is what cures it.
        first_pause: seconds.
        longest_pause: seconds.
        grace: seconds for which the task of a submit whose answer was lost is looked for in the task list, before it
            is taken for not created and submitted again.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    max_attempts: int = 4
    first_pause: float = 0.5
    longest_pause: float = 8.0
    grace: float = 15.0

    def __attrs_post_init__(self) -> None:
        _checks.count("max_attempts", self.max_attempts)
        _checks.seconds("first_pause", self.first_pause)
        _checks.seconds("longest_pause", self.longest_pause)
        _checks.seconds("grace", self.grace)

    def backoff(self, attempt: int, random: float) -> float:
        """Seconds to wait after attempt number `attempt`, for a `random` in [0, 1)."""
        return random * min(self.longest_pause, self.first_pause * 2.0 ** min(attempt - 1, 60))

    def least_pause(self, refused: int) -> float:
        """Seconds to wait after so many 429 in a row, whatever they say: "at once" is not believed again and again."""
        return min(self.longest_pause, self.first_pause * 2.0 ** min(refused - 1, 60)) if refused > 1 else 0.0

    def decide(
        self,
        failure: Failure,
        *,
        attempt: int,
        random: float,
        repeatable: bool,
        time_left: float,
        retry_after: float | None = None,
        refused: int = 0,
    ) -> Retry | GiveUp:
        """What to do after a failed attempt.

        Args:
            failure: what is known about it.
            attempt: its number, from 1, those that ended in 429 not counted.
            random: in [0, 1).
            repeatable: whether a request that may have arrived can be sent again without harm.
            time_left: seconds until the deadline of the call.
            retry_after: what the service asked for, in seconds.
            refused: how many attempts ended in 429 so far.
        """
        if failure is Failure.LOST and not repeatable:
            return GiveUp.OUTCOME_UNKNOWN
        if failure is Failure.REFUSED:
            return GiveUp.RAISE
        if failure is Failure.RATE_LIMITED:
            # A little later than asked for: everyone who was refused is told the same moment.
            asked = UNTOLD_PAUSE if retry_after is None else retry_after
            after = max(asked, self.least_pause(refused)) + self.first_pause * random
        elif attempt >= self.max_attempts:
            return GiveUp.RAISE
        else:
            after = max(self.backoff(attempt, random), retry_after or 0.0)
        return Retry(after) if after < time_left else GiveUp.RAISE


def classify_status(status: int) -> Failure | None:
    """What an HTTP status tells about the attempt; None for success."""
    if 200 <= status < 300:
        return None
    if status == 429:
        return Failure.RATE_LIMITED
    if status == 408 or status >= 500:
        return Failure.LOST
    return Failure.REFUSED


def parse_retry_after(value: str | None, *, date: str | None, wall_clock: Callable[[], float]) -> float | None:
    """Seconds that a `Retry-After` header asks for; None when it says nothing that can be understood.

    Args:
        value: the header: seconds, or an HTTP date.
        date: the `Date` header of the same answer. A date is measured against the clock that wrote it.
        wall_clock: seconds since the epoch, asked only when the answer has no usable date.
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
