"""How far lists and webhooks are believed.

A list may lag behind `/status`, or come from a cache. It is checked now and then against the status of a single task,
rarely as long as both agree. When they disagree again and again, the lag that was seen counts against lists, so that
few tasks are asked for one by one, and many still by a list that is late but tells of all.

Webhooks are not documented at all. As long as they announce what polls would have found, polls are few; the first end
that no webhook has announced makes polls frequent again, until the next delivery.
"""

from __future__ import annotations

from math import inf
from typing import Final

__all__ = ["Announcements", "ListTrust"]

FIRST_SPACING: Final = 8
"""Lists between two checks, at first."""

LONGEST_SPACING: Final = 64

PERSISTENT: Final = 2
"""Disagreements in a row that make a lag: one may be an answer that crossed another."""

TRIED_AGAIN: Final = 60.0
"""Seconds after which a list that lags is tried again."""

LATE: Final = 2.0
"""Seconds after a poll in which the delivery for what it found may still come."""


class ListTrust:
    """Whether the list tells what `/status` tells. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._spacing = FIRST_SPACING
        self._lists = 0
        self._disagreements = 0
        self._lag = 0.0
        self._tried_at = -inf
        self._has_told = False

    def lag(self, now: float) -> float:
        """Seconds that lists are taken to be behind; 0 as well when it is time to try one again."""
        return self._lag if now < self._tried_at + TRIED_AGAIN else 0.0

    @property
    def check_is_due(self) -> bool:
        """Whether the next poll should check a list instead of being one."""
        return self._lists >= self._spacing

    def listed(self, now: float) -> None:
        """A list was read."""
        self._lists += 1
        self._tried_at = now

    def checked(self) -> None:
        """A task was asked for by itself, to compare it with the list."""
        self._lists = 0
        self._spacing = min(self._spacing * 2, LONGEST_SPACING)

    def check_failed(self) -> None:
        """It told nothing. Another task might tell no more, and the list goes on telling of all meanwhile."""
        self._lists = 0

    def agreed(self, seconds: float) -> None:
        """A list told what a single answer had told so many seconds before it: it is not further behind than that."""
        self._disagreements = 0
        self._lag = min(self._lag, max(seconds, 0.0))

    def disagreed(self, seconds: float) -> bool:
        """A list told an older status than a single answer so many seconds before it.

        Returns whether lists are trusted less from now on, the first time that they are.
        """
        self._disagreements += 1
        self._spacing = FIRST_SPACING
        # To be sure, look again soon.
        self._lists = max(self._lists, FIRST_SPACING // 2)
        if self._disagreements < PERSISTENT:
            return False
        self._lag = max(self._lag, seconds)
        first, self._has_told = not self._has_told, True
        return first


class Announcements:
    """Whether webhooks tell of what happens."""

    def __init__(self) -> None:
        self._heard_at: float | None = None
        self._missed_at = inf

    def heard_at(self, now: float) -> float | None:
        """When the last delivery came; None when an end will not be announced, as far as the last events tell."""
        return self._heard_at if now < self._missed_at + LATE else None

    def heard(self, now: float) -> None:
        """A delivery has come."""
        self._heard_at, self._missed_at = now, inf

    def missed(self, now: float) -> None:
        """A task that has a webhook has ended, and a poll has found it first."""
        self._missed_at = min(self._missed_at, now)
