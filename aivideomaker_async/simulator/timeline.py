"""The states of a task over time. What happens later is planned at once, so no timer is needed.

The state at a moment is the last step that is not in the future. To cancel, to finish early or
to fail is to drop the planned steps and to append others; steps of the past never change.
"""

import math
from collections.abc import Iterable

from attrs import frozen

SUBMITTED = "SUBMITTED"
PROGRESS = "PROGRESS"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCEL = "CANCEL"
TERMINAL = frozenset({COMPLETED, FAILED, CANCEL})

# The way to the end of a task that is ended early, from where it is: the statuses that follow.
# Whoever is not in the table goes there directly.
_STOPS: dict[str, tuple[str, ...]] = {SUBMITTED: (PROGRESS,)}

Step = tuple[float, str]
"""The simulated second at which a status begins, and the status."""


@frozen
class Timeline:
    """The steps of a task in order of time, past and planned."""

    steps: tuple[Step, ...]

    @classmethod
    def planned(cls, at: float, queue: float, work: float, end: str) -> "Timeline":
        """Plan a task submitted at `at` that waits `queue` and works `work` seconds."""
        return cls(((at, SUBMITTED), (at + queue, PROGRESS), (at + queue + work, end)))

    def passed(self, now: float) -> tuple[Step, ...]:
        """Return the steps that have begun. The first always has."""
        return self.steps[:1] + tuple(step for step in self.steps[1:] if step[0] <= now)

    def status(self, now: float) -> str:
        """Return the status at `now`."""
        return self.passed(now)[-1][1]

    def since(self, now: float) -> float:
        """Return when the status of `now` began."""
        return self.passed(now)[-1][0]

    def next_step(self, now: float) -> float | None:
        """Return when the next planned step begins, None when nothing is planned."""
        return next((at for at, _ in self.steps[1:] if at > now), None)

    def good_until(self, now: float) -> float:
        """Return when the status of `now` ends: infinity when nothing is planned."""
        following = self.next_step(now)
        return math.inf if following is None else following

    def then(self, now: float, statuses: Iterable[str]) -> "Timeline":
        """Drop what is planned after `now` and take these statuses at once."""
        return Timeline((*self.passed(now), *((now, status) for status in statuses)))

    def ended(self, now: float, end: str) -> "Timeline":
        """End the task now, by the legal way. Raises `ValueError` when it has ended before."""
        status = self.status(now)
        if status in TERMINAL:
            raise ValueError(f"the task is {status}: it cannot become {end}")
        return self.then(now, (*_STOPS.get(status, ()), end))
