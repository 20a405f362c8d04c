"""All tasks of the list, for a caller who wants them."""

from __future__ import annotations

from ..tasks import TaskDetails
from . import decoding as answers
from .decoding import MalformedAnswer
from .list_reader import ListReader
from .sizes import LIST, marks

__all__ = ["AllTasks"]


class AllTasks(ListReader):
    """Every task of the list.

    Raises in `finish` when any row cannot be read: a list with holes is not what was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[TaskDetails] = []
        self._marks = 0

    def feed(self, piece: bytes) -> None:
        """Here are the next bytes. All values are kept, so they are counted."""
        self._marks += marks(piece)
        if self._marks > LIST.marks and self._error is None:
            self._error = MalformedAnswer(f"the list has more than {LIST.marks} values")
        super().feed(piece)

    def take(self, row: object) -> None:
        """Keep it."""
        self.tasks.append(answers.task_at(row, f"$.tasks[{len(self.tasks)}]"))
