"""What webhooks say, and how much is done about it: they are undocumented, and may be repeated by anybody.

A hint asks for a confirmation by the service. Hints that come while one is waiting to be confirmed are nothing new, and
after hints that told nothing, the next ones are not listened to for a while.
"""

from __future__ import annotations

from math import inf
from typing import Final

from .record import Hint, Record
from .trust import Announcements

__all__ = ["Hints"]

TRIES: Final = 3
"""Queries after a webhook, until one tells of a change: the delivery may be ahead of what the service answers."""

LONGEST_DEAF: Final = 60.0
"""Seconds for which deliveries are not confirmed, when many of them have told nothing."""


class Hints:
    """Decides which webhooks are confirmed, and when. All times are of the event loop.

    Args:
        announcements: whether webhooks tell of what happens.
    """

    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements
        self._strays = 0
        self._stray_until = -inf

    def take(self, record: Record, now: float, *, urgent: bool) -> bool:
        """A webhook says that something has happened to this task; returns whether it is to be asked for now.

        Args:
            record: the task.
            now: the time.
            urgent: whether it may be the end of the task, as far as the delivery tells.
        """
        if record.is_terminal:
            return False
        self._announcements.heard(now)
        record.hinted_at = now
        wanted = urgent or record.changes_matter
        if not wanted or now < record.deaf_until or record.hint is not None or not record.subscriptions:
            return False
        record.hint = Hint(now, record.status, TRIES)
        record.not_before = now
        return True

    def take_stray(self, now: float, *, urgent: bool) -> bool:
        """A webhook is about a task that is not known here; returns whether all are to be asked for now."""
        if not urgent or now < self._stray_until:
            return False
        # Somebody who repeats old deliveries gets fewer and fewer queries.
        quiet = now - self._stray_until
        self._strays = 0 if quiet > LONGEST_DEAF else self._strays + 1
        self._stray_until = now + min(2.0**self._strays, LONGEST_DEAF)
        return True

    @staticmethod
    def answered(record: Record, began: float, now: float) -> None:
        """The service has told of this task, and perhaps what a webhook had announced.

        Args:
            record: the task.
            began: when the service was asked.
            now: the time.
        """
        hint = record.hint
        if hint is None or (began < hint.at and record.status == hint.status):
            return
        hint.tries_left -= 1
        if record.status != hint.status:
            record.hint, record.empty_hints = None, 0
        elif hint.tries_left:
            record.not_before = now + 2.0 ** (TRIES - 1 - hint.tries_left)
        else:
            record.hint, record.empty_hints = None, record.empty_hints + 1
            record.deaf_until = now + min(2.0**record.empty_hints, LONGEST_DEAF)
