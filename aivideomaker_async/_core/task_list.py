"""The task list, read while it arrives.

The list tells every task that the account ever had, newest first, in one answer without pages: some hundred bytes for
an account that began today, many megabytes for an old one. So it is read row by row as the pieces come; rows that
nobody asked for are dropped at once, and nothing more is read when all that somebody waits for has been seen.

A row is decoded as soon as it is complete. A large one that is incomplete is not tried again before twice as much of it
is there, or the answer is over, so that a huge row costs no more than a few times its reading.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final

from attrs import frozen

from ..tasks import TaskDetails, TaskStatus
from . import answers
from .answers import MalformedAnswer
from .durations import video_length
from .ledger import Wanted

__all__ = ["AllTasks", "FinishedRow", "ListReader", "NewsOfTasks", "TasksOfSubmits"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_BETWEEN: Final = re.compile(r"[ \t\n\r,]*")
_OF_NUMBER: Final = re.compile(r"[-+.0-9eE]*")
_decode: Final = JSONDecoder().raw_decode


LARGE: Final = 1 << 16
"""Characters from which on an incomplete value is not tried again with every piece."""


class _At(Enum):
    START = auto()
    FIELD = auto()
    ROW = auto()
    END = auto()


class ListReader:
    """Takes the answer to `GET /tasks` in pieces. What becomes of a row is decided by a subclass.

    Feeding never raises; `finish` tells what was wrong.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        """What stands beside the rows, for example the message of an error."""
        self.rows_read: int = 0
        self.bytes_read: int = 0
        self._at = _At.START
        self._text = ""
        self._position = 0
        self._pending: list[str] = []
        self._awaited = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._error: MalformedAnswer | None = None

    @property
    def enough(self) -> bool:
        """Whether the rest of the answer tells nothing that is wanted."""
        return self._error is not None

    def take(self, row: object) -> None:
        """Here is the next row."""
        raise NotImplementedError

    def feed(self, piece: bytes) -> None:
        """Here are the next bytes: a slice of some ten thousand, after which the caller lets others run."""
        self.bytes_read += len(piece)
        self._read(piece)

    def _read(self, piece: bytes, *, last: bool = False) -> None:
        if self.enough:
            return
        try:
            self._pending.append(text := self._characters(piece, last=last))
            self._awaited -= len(text)
            if self._awaited <= 0 or last:
                self._text = self._text[self._position :] + "".join(self._pending)
                self._pending.clear()
                self._position = 0
                while self._step() and not self.enough:
                    pass
        except MalformedAnswer as error:
            self._error = error
        except RecursionError:
            self._error = self._no_json()

    def _characters(self, piece: bytes, *, last: bool) -> str:
        try:
            return self._utf8.decode(piece, final=last)
        except UnicodeDecodeError:
            raise self._no_json() from None

    def finish(self) -> None:
        """The answer is over, or `enough` of it was read.

        Raises:
            MalformedAnswer: it is no list of tasks, or it ends in the middle.
        """
        self._read(b"", last=True)
        if self._error is not None:
            raise self._error
        if self.enough:
            return
        if self._at is not _At.END:
            raise self._no_json(", or ends too early")
        if not self.rows_read:
            # An empty list is one; anything else in its place is not.
            answers.rows(self.fields)

    def _no_json(self, more: str = "") -> MalformedAnswer:
        return MalformedAnswer(f"the body is not JSON{more}: {answers.shown(self._text[self._position :][:60])}")

    # Each step takes one thing out of the text, and returns whether there may be another.

    def _step(self) -> bool:
        if self._at is _At.ROW:
            return self._step_row()
        if self._at is _At.FIELD:
            return self._step_field()
        return self._step_start() if self._at is _At.START else self._step_end()

    def _step_start(self) -> bool:
        position = self._after(_SPACE, self._position)
        if position == len(self._text):
            return False
        if self._text[position] != "{":
            raise self._no_json()
        self._position, self._at = position + 1, _At.FIELD
        return True

    def _step_field(self) -> bool:
        start = self._after(_BETWEEN, self._position)
        if start == len(self._text):
            return False
        if self._text[start] == "}":
            self._position, self._at = start + 1, _At.END
            return True
        found = self._try(start)
        if found is None:
            return False
        name, position = found
        position = self._after(_SPACE, position)
        if position == len(self._text):
            return False
        if not isinstance(name, str) or self._text[position] != ":":
            raise self._no_json()
        position = self._after(_SPACE, position + 1)
        if position == len(self._text):
            return False
        if name == "tasks" and self._text[position] == "[":
            self._position, self._at = position + 1, _At.ROW
            self.fields["tasks"] = []
            return True
        return self._take_value(name, position)

    def _take_value(self, name: str, position: int) -> bool:
        found = self._try(position)
        if found is None:
            return False
        self.fields[name], self._position = found
        return True

    def _step_row(self) -> bool:
        start = self._after(_BETWEEN, self._position)
        if start == len(self._text):
            return False
        if self._text[start] == "]":
            self._position, self._at = start + 1, _At.FIELD
            return True
        found = self._try(start)
        if found is None:
            self._position = start
            return False
        row, self._position = found
        self.rows_read += 1
        self.take(row)
        return True

    def _step_end(self) -> bool:
        if self._after(_SPACE, self._position) < len(self._text):
            raise self._no_json()
        return False

    def _try(self, position: int) -> tuple[Any, int] | None:
        try:
            value, end = _decode(self._text, position)
        except JSONDecodeError:
            # Incomplete, or wrong: the end of the answer tells.
            size = len(self._text) - position
            self._awaited = size if size >= LARGE else 0
            return None
        except ValueError:
            # A number of thousands of digits.
            raise self._no_json() from None
        if isinstance(value, int | float) and self._after(_OF_NUMBER, end) == len(self._text):
            # A number is over where something else begins.
            return None
        return value, end

    def _after(self, pattern: re.Pattern[str], position: int) -> int:
        found = pattern.match(self._text, position)
        assert found is not None  # noqa: S101  (it matches nothing, too)
        return found.end()


class AllTasks(ListReader):
    """Every task of the list.

    Raises in `finish` when any row cannot be read: a list with holes is not what was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[TaskDetails] = []

    def take(self, row: object) -> None:
        """Keep it."""
        self.tasks.append(answers.task_at(row, f"$.tasks[{len(self.tasks)}]"))


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

    def take(self, row: object) -> None:
        """Keep it, if it can tell anything."""
        if isinstance(row, dict) and not self._wanted.concerns(row):
            return
        try:
            self.tasks.append(answers.task_at(row, "$.tasks"))
        except MalformedAnswer:
            self.unreadable += 1


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
            details = answers.task(row)
        except MalformedAnswer:
            # It is there, and cannot be read: as good as missing, and no reason to read on.
            return
        self.seen[identity] = details.status
        self._tell(identity, details)

    def _learn(self, row: dict[str, Any]) -> None:
        if row.get("status") != TaskStatus.COMPLETED:
            return
        try:
            details = answers.task(row)
        except MalformedAnswer:
            return
        if details.model and (seconds := told_seconds(details)) is not None:
            self.finished.append(FinishedRow(details.model, video_length(details.input), seconds))


def told_seconds(details: TaskDetails) -> float | None:
    """Seconds from submit to end, as the service tells them; None where it does not."""
    if details.created_at is None or details.completed_at is None:
        return None
    return (details.completed_at - details.created_at).total_seconds()
