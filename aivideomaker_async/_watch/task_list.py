"""What the task list reports of the tasks that are waited for, read row by row while it arrives.

Rows of other tasks are dropped at once, and nothing more is read when all wanted tasks have been seen: the list of an
old account has many megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .._http import ListReader, MalformedAnswer, decode_task
from ..tasks import TaskDetails, TaskStatus, video_seconds

__all__ = ["FinishedRow", "NewsOfTasks", "reported_seconds"]


class FinishedRow(NamedTuple):
    """How long a finished task took, by the service's clock."""

    model: str
    length: int | None
    """Seconds of video."""
    seconds: float


class NewsOfTasks(ListReader):
    """Reads the rows of the tasks that are waited for.

    Args:
        wanted: the ids of those tasks, each with the status that is known already: a row with the same status is not
            decoded any further. None as a status means that any row is news.
        on_news: called with each row that is news, as soon as it is read: of thousands, none is kept here.
        optional: ids whose rows are used if they come, and for which the list is not read on.
        training_rows: how many of the first rows are read to learn how long tasks take.
    """

    def __init__(
        self,
        wanted: Mapping[str, str | None],
        on_news: Callable[[str, TaskDetails], None],
        *,
        optional: frozenset[str] = frozenset(),
        training_rows: int = 0,
    ) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}
        """The status of each task that was met, by id."""
        self.finished: list[FinishedRow] = []
        self._wanted = wanted
        self._on_news = on_news
        self._optional = optional
        self._unmet = set(wanted)
        self._training_rows = training_rows

    @property
    def enough(self) -> bool:
        """Whether all wanted tasks have been met, and the training rows are over."""
        return (not self._unmet and self.rows_read >= self._training_rows) or super().enough

    def take(self, row: object) -> None:
        """Use the next row, if its task is waited for."""
        if not isinstance(row, dict):
            return
        if self.rows_read <= self._training_rows:
            self._take_training_row(row)
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
        status = row.get("status")
        if type(status) is str and status == known:
            self.seen[identity] = status
            return
        try:
            details = decode_task(row)
        except MalformedAnswer:
            # As good as missing, and no reason to read on.
            return
        self.seen[identity] = details.status
        self._on_news(identity, details)

    def _take_training_row(self, row: dict[str, Any]) -> None:
        if row.get("status") != TaskStatus.COMPLETED:
            return
        try:
            details = decode_task(row)
        except MalformedAnswer:
            return
        if details.model and (seconds := reported_seconds(details)) is not None:
            self.finished.append(FinishedRow(details.model, video_seconds(details.input), seconds))


def reported_seconds(details: TaskDetails) -> float | None:
    """Return the seconds from submit to end, as the service reports them; None where it does not."""
    if details.created_at is None or details.completed_at is None:
        return None
    return (details.completed_at - details.created_at).total_seconds()
