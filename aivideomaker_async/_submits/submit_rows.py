"""The rows of the task list that may tell what became of a submit."""

from __future__ import annotations

from .._http import ListReader, MalformedAnswer, decode_task, parse_timestamp
from ..tasks import TaskDetails
from .reconcile import Wanted

__all__ = ["TasksOfSubmits"]


class TasksOfSubmits(ListReader):
    """The rows that may tell what became of a submit.

    Args:
        wanted: which those are.
    """

    def __init__(self, wanted: Wanted) -> None:
        super().__init__()
        self.tasks: list[TaskDetails] = []
        self.unreadable: int = 0
        """Rows that cannot be read, and may be any."""
        self._wanted = wanted
        self._ends: tuple[object, object] = None, None

    @property
    def reaches_back(self) -> float | None:
        """When the first or the last task of the list was created, whichever is older; None where that is not told."""
        told = [at for end in self._ends if (at := parse_timestamp(end)) is not None]
        return min(told, default=None)

    def take(self, row: object) -> None:
        """Keep it, if it can tell anything."""
        if isinstance(row, dict):
            last = row.get("createdAt")
            self._ends = last if self.rows_read == 1 else self._ends[0], last
            if not self._wanted.concerns(row):
                return
        try:
            self.tasks.append(decode_task(row, "$.tasks"))
        except MalformedAnswer:
            self.unreadable += 1
