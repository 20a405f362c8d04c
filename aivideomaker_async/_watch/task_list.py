"""The task list, read while it arrives.

The list tells every task that the account ever had, newest first, in one answer without pages: some hundred bytes for
an account that began today, many megabytes for an old one. So it is read row by row as the pieces come; rows that
nobody asked for are dropped at once, and nothing more is read when all that somebody waits for has been seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from .._http import ListReader, MalformedAnswer, decode_task
from ..tasks import TaskDetails, TaskStatus, video_seconds

__all__ = ["FinishedRow", "NewsOfTasks", "told_seconds"]


@frozen
class FinishedRow:
    """How long a finished task took, by the service's clock."""

    model: str
    length: int | None
    seconds: float


class NewsOfTasks(ListReader):
    """What the list tells of the tasks that somebody waits for.

    Args:
        wanted: the ids of those tasks, each with the status that is known already; a row that tells the same again is
            not looked at any further. None as a status means that any row is news.
        tell: is told each row that tells something new, as soon as it is read: of thousands, none is kept here.
        optional: ids that are taken when they are met, and not waited for.
        lesson: how many of the first rows are looked at to learn how long tasks take.
    """

    def __init__(
        self,
        wanted: Mapping[str, str | None],
        tell: Callable[[str, TaskDetails], None],
        *,
        optional: frozenset[str] = frozenset(),
        lesson: int = 0,
    ) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}
        """The status of each task that was met, by id."""
        self.finished: list[FinishedRow] = []
        self._wanted = wanted
        self._tell = tell
        self._optional = optional
        self._unmet = set(wanted)
        self._lesson = lesson

    @property
    def enough(self) -> bool:
        """Whether all that are wanted have been met, and the lesson is over."""
        return (not self._unmet and self.rows_read >= self._lesson) or super().enough

    def take(self, row: object) -> None:
        """Look whether somebody waits for it."""
        if not isinstance(row, dict):
            return
        if self.rows_read <= self._lesson:
            self._learn(row)
        identity = row.get("id")
        if type(identity) is int:
            # Ids are opaque; a server that writes numbers means the same.
            identity = str(identity)
        if type(identity) is not str or identity in self.seen:
            # Of rows with the same id the first counts: the list is newest first.
            return
        known = self._wanted.get(identity, self)
        if known is not self:
            self._unmet.discard(identity)
        elif identity not in self._optional:
            return
        self._meet(identity, row, known)

    def _meet(self, identity: str, row: dict[str, Any], known: object) -> None:
        status = row.get("status")
        if type(status) is str and status == known:
            self.seen[identity] = status
            return
        try:
            details = decode_task(row)
        except MalformedAnswer:
            # It is there, and cannot be read: as good as missing, and no reason to read on.
            return
        self.seen[identity] = details.status
        self._tell(identity, details)

    def _learn(self, row: dict[str, Any]) -> None:
        if row.get("status") != TaskStatus.COMPLETED:
            return
        try:
            details = decode_task(row)
        except MalformedAnswer:
            return
        if details.model and (seconds := told_seconds(details)) is not None:
            self.finished.append(FinishedRow(details.model, video_seconds(details.input), seconds))


def told_seconds(details: TaskDetails) -> float | None:
    """Seconds from submit to end, as the service tells them; None where it does not."""
    if details.created_at is None or details.completed_at is None:
        return None
    return (details.completed_at - details.created_at).total_seconds()
