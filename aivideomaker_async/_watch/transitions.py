"""Which status of a task may follow which, as data.

A task is observed from outside, through a list that may lag and through answers that may arrive in another order than
the requests were sent. So an observation is not an event of the task: either it shows something new, or it is stale and
changes nothing. The order of what can be new:

    SUBMITTED -> PROGRESS -> COMPLETED | FAILED
    SUBMITTED -> CANCEL

A poll may miss PROGRESS. A status that this version does not know may stand anywhere before the end: it is new whenever
it differs from the current one, and never takes back what was observed before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..tasks import TaskStatus

__all__ = ["FOLLOWERS", "Progression"]

_ENDS: Final = frozenset(status for status in TaskStatus if status.is_terminal)

FOLLOWERS: Final[Mapping[TaskStatus | None, frozenset[TaskStatus]]] = {
    None: frozenset({TaskStatus.SUBMITTED, TaskStatus.PROGRESS}) | _ENDS,
    TaskStatus.SUBMITTED: frozenset({TaskStatus.PROGRESS}) | _ENDS,
    # A cancel that wins a race against the start is seen after PROGRESS.
    TaskStatus.PROGRESS: _ENDS,
    TaskStatus.COMPLETED: frozenset(),
    TaskStatus.FAILED: frozenset(),
    TaskStatus.CANCEL: frozenset(),
}
"""The known statuses that may be observed after a known one (None: nothing was observed yet)."""


class Progression:
    """The statuses observed of one task, as far as they decide which one can be new."""

    __slots__ = ("_known", "current")

    def __init__(self, current: TaskStatus | None = None) -> None:
        self.current: TaskStatus | None = None
        """The status observed last, or None."""
        self._known: TaskStatus | None = None
        if current is not None:
            self.observe(current)

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended."""
        return self.current is not None and self.current.is_terminal

    def observe(self, status: TaskStatus) -> bool:
        """Take an observation; return whether it was new. A stale one changes nothing."""
        if self.is_terminal or status == self.current:
            return False
        if not status.is_known:
            self.current = status
            return True
        if status not in FOLLOWERS[self._known]:
            return False
        self.current = self._known = status
        return True
