"""How long an answer is waited for.

Answers mostly take a fraction of a second, and one that has not come after many times that will hardly come at all: its
connection has died without a word, as after a laptop slept, or the service hangs. Whoever asks in the background for
thousands does not wait half a minute for that. But the service may also have become slow: each time that was not enough
doubles the patience, so that every answer that comes within the longest time is waited for in the end.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Patience"]

LEAST: Final = 10.0
"""Seconds, however fast answers were so far."""

TIMES: Final = 4.0
"""How many times as long as the slowest answer lately."""

FADES: Final = 0.9
"""What is left of a slow answer with each one that is faster."""


class Patience:
    """How long the next answer is waited for.

    Args:
        most: seconds that are never exceeded, and are given while nothing is known.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._slowest: float | None = None
        self._in_vain = 0

    @property
    def seconds(self) -> float:
        """Seconds for the next attempt."""
        if self._slowest is None:
            return self._most
        return min(self._most, max(LEAST, TIMES * self._slowest) * 2.0**self._in_vain)

    def answered(self, seconds: float) -> None:
        """An answer came after so many seconds."""
        self._slowest = seconds if self._slowest is None else max(seconds, FADES * self._slowest)
        self._in_vain = 0

    def timed_out(self) -> None:
        """None came in time."""
        # Once everything is allowed, more of it changes nothing.
        self._in_vain += self.seconds < self._most
