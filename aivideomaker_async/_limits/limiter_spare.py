"""What stands in for the cell of a shared query limit while that cannot be used: a limit of this process alone."""

from __future__ import annotations

import threading

from attrs import evolve

from .shared_quota import Answer, SharedQuota, Visit

__all__ = ["Spare"]


class Spare:
    """Stands in for a cell that cannot be used: the same quota, in this process alone. It starts without a burst."""

    def __init__(self, limit: int, window: float, burst: int) -> None:
        self.limit = limit
        self.window = window
        self._burst = burst
        self._text = ""
        self._lock = threading.Lock()

    def visit(self, visit: Visit, now: float) -> Answer:
        """What the cell would do."""
        with self._lock:
            shared = self._load(now)
            answer = shared.visit(visit)
            self._text = shared.dump()
        return answer

    def handed_over(self, visit: Visit, now: float) -> Visit:
        """`visit`, telling also what went out meanwhile."""
        shared = self._load(now)
        return evolve(visit, settled={**shared.ages(), **visit.settled}, pause=max(visit.pause, shared.paused_for()))

    def _load(self, now: float) -> SharedQuota:
        return SharedQuota.load(self.limit, self.window, self._burst, self._text, now)
