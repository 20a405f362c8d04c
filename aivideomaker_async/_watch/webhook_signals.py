"""When a webhook delivery makes a poll due, and whether webhooks announce what happens.

Deliveries are undocumented, and anybody who has seen the URL of one can repeat it. So a delivery is never trusted: it
only makes one poll due, which answers for all tasks. Three rules follow.

- **A delivery may be ahead of what the service answers.** If the poll does not show the end of as many tasks as
  deliveries came, it is repeated twice, after one and after two seconds.
- **Deliveries that announce nothing become cheap.** When the polls after a delivery have shown no change, the next
  delivery makes a poll due only after 2 seconds, then 4, up to a minute: repeated deliveries cannot use up the limit.
- **Webhooks are trusted as long as they announce every end.** A delivery counts once a later answer has shown a change.
  From then on tasks with a webhook are polled rarely, until an end was found that no delivery has announced.

All times are of one clock.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

__all__ = ["WebhookSignals"]

RETRIES: Final = 2
"""Polls after the first, until they show what was announced."""

MAX_PENDING: Final = 1000

MAX_MUTE_S: Final = 60.0
"""The longest time for which a delivery makes no poll due, after many that announced nothing."""

LATE_S: Final = 2.0
"""How much later than the poll that found an end its delivery may come."""


class WebhookSignals:
    """What deliveries and answers together say about the next poll."""

    def __init__(self) -> None:
        self.due_at: float | None = None
        """When a poll is due because of a delivery; None when there is nothing to confirm."""
        self._newest_at = -inf
        self._pending_ends = 0
        self._is_unconfirmed = False
        self._retries = 0
        self._muted_until = -inf
        self._in_vain = 0
        self._announced_at: float | None = None
        self._missed_at = inf
        self._unannounced: deque[float] = deque(maxlen=MAX_PENDING)

    def delivered(self, now: float, *, may_be_end: bool, changes_matter: bool) -> bool:
        """Take a delivery; return whether it makes a poll due, now or later.

        Args:
            now: the time.
            may_be_end: whether it may announce the end of a task.
            changes_matter: whether somebody wants to know any change.
        """
        while self._unannounced and self._unannounced[0] < now - LATE_S:
            self._unannounced.popleft()
        if may_be_end and self._unannounced:
            # The usual reading: a poll was faster than this delivery. One more poll makes up for the other reading.
            self._unannounced.popleft()
            self._confirm(now)
        else:
            self._is_unconfirmed = True
            self._pending_ends = min(self._pending_ends + may_be_end, MAX_PENDING)
        if not may_be_end and not changes_matter:
            return False
        self._newest_at = now
        if self.due_at is None:
            self.due_at, self._retries = max(now, self._muted_until), 0
        return True

    def changed(self, now: float, *, is_end: bool, has_webhook: bool) -> None:
        """Take a change that an answer has shown.

        Args:
            now: the time.
            is_end: whether the task has ended.
            has_webhook: whether a delivery should announce it.
        """
        if is_end and not self._pending_ends:
            if has_webhook:
                self._unannounced.append(now)
                self._missed_at = min(self._missed_at, now)
        elif self._is_unconfirmed:
            self._pending_ends -= is_end
            self._confirm(now)

    def polled(self, began: float, now: float) -> None:
        """Take note of a poll that was answered, and whose changes were reported by `changed`.

        Args:
            began: when the service was asked.
            now: the time.
        """
        if self.due_at is None:
            return
        if began >= self._newest_at and not self._pending_ends and not self._is_unconfirmed:
            self.due_at = None
        elif self._retries < RETRIES and not self._in_vain:
            # What came during the poll is asked about at once.
            pause = 2.0**self._retries if began >= self._newest_at else 0.0
            self._retries += 1
            self.due_at = now + pause
        else:
            self.due_at, self._pending_ends, self._is_unconfirmed = None, 0, False
            self._in_vain += 1
            self._muted_until = now + min(2.0**self._in_vain, MAX_MUTE_S)

    def announced_at(self, now: float) -> float | None:
        """Return when webhooks last announced a change; None when they do not announce the end of every task."""
        return self._announced_at if now < self._missed_at + LATE_S else None

    def _confirm(self, now: float) -> None:
        self._announced_at, self._missed_at = now, inf
        self._is_unconfirmed = self._pending_ends > 0
        self._retries = self._in_vain = 0
        self._muted_until = -inf
