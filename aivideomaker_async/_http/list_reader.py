"""The task list, read row by row while it arrives.

`GET /tasks` answers every task that the account ever had, newest first, in one answer without pages: a few hundred
bytes for an account that began today, many megabytes for an old one. So it is decoded row by row as the pieces come,
and nothing more is read once the subclass has seen all that it needs.

A row that is incomplete when a piece ends is decoded again when more has arrived. A long one (an image in base64) is
tried again only when a quote has arrived, which may end its text, and when earlier attempts together have cost no more
than three times its length: decoding stays linear, whatever the list is made of.
"""

from __future__ import annotations

import codecs
import re
from enum import Enum, auto
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, Final

from .decoding import MAX_COMMAS, MalformedAnswer, decode_task, excerpt, raw_decode
from .requests import TASK_ANSWER_BYTES

if TYPE_CHECKING:
    from ..tasks import TaskDetails

__all__ = ["AllTasks", "FirstTask", "ListReader"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_SEPARATORS: Final = re.compile(r"[ \t\n\r,]*")

LONG_VALUE_CHARACTERS: Final = 1 << 16
"""From this length on, an incomplete value is not decoded again with every piece."""

MAX_ROWS: Final = 250_000
"""Real rows fill the largest answer long before."""

MAX_FIELDS: Final = 100
"""Fields beside the rows; the documented list has none."""


class _State(Enum):
    START = auto()
    FIELD = auto()
    ROW = auto()
    END = auto()


class ListReader:
    """Takes the answer to `GET /tasks` in pieces; a subclass decides what becomes of each row.

    Feeding never raises; `finish` raises what was wrong, also an error of the subclass.
    """

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        """The fields beside the rows, for example the message of an error."""
        self.rows_read: int = 0
        self.bytes_read: int = 0
        self._state = _State.START
        self._unread: list[str] = []
        self._unread_characters = 0
        self._incomplete_characters = 0
        self._characters_decoded_in_vain = 0
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._error: Exception | None = None

    @property
    def enough(self) -> bool:
        """Whether the rest of the answer is of no use."""
        return self._error is not None

    def take(self, row: object) -> None:
        """Use the next row."""
        raise NotImplementedError

    def feed(self, piece: bytes) -> None:
        """Read the next bytes: a slice of some ten thousand, between which the caller lets other tasks run."""
        self.bytes_read += len(piece)
        self._feed(piece)

    def finish(self) -> None:
        """Check that the answer was complete, or that `enough` of it was read.

        Raises:
            MalformedAnswer: it is no list of tasks, or it ends in the middle.
        """
        self._feed(b"", last=True)
        if self._error is not None:
            raise self._error
        if self.enough:
            return
        if self._state is not _State.END:
            raise MalformedAnswer(f"the body is not JSON, or ends too early: {self._excerpt()}")
        if not isinstance(self.fields.get("tasks"), list):
            raise MalformedAnswer(f"expected a list of tasks @ $.tasks: {excerpt(self.fields.get('tasks'))}")

    def _feed(self, piece: bytes, *, last: bool = False) -> None:
        if self.enough:
            return
        try:
            try:
                text = self._utf8.decode(piece, final=last)
            except UnicodeDecodeError:
                raise MalformedAnswer(f"the body is not JSON: {self._excerpt()}") from None
            self._unread.append(text)
            self._unread_characters += len(text)
            may_be_complete = '"' in text and self._characters_decoded_in_vain <= 3 * self._unread_characters
            if last or may_be_complete or self._incomplete_characters < LONG_VALUE_CHARACTERS:
                self._decode("".join(self._unread))
            elif self._unread_characters > TASK_ANSWER_BYTES:
                raise MalformedAnswer(f"one value in it is too large: {self._excerpt()}")
        except Exception as error:  # noqa: BLE001  (raised by `finish`: here it would look like a broken connection)
            self._error = error

    def _decode(self, text: str) -> None:
        """Read as many fields and rows of the unread text as are complete."""
        position = 0
        try:
            while not self.enough:
                between_items = self._state in {_State.FIELD, _State.ROW}
                position = _skip(_SEPARATORS if between_items else _SPACE, text, position)
                if position == len(text):
                    break
                if self._state is _State.ROW and text[position] != "]":
                    found = self._value(text, position)
                    if found is None:
                        break
                    row, position = found
                    self.rows_read += 1
                    if self.rows_read > MAX_ROWS:
                        raise MalformedAnswer(f"more than {MAX_ROWS} tasks")
                    self.take(row)
                elif self._state is _State.FIELD and text[position] != "}":
                    end = self._field(text, position)
                    if end is None:
                        break
                    position = end
                elif self._state is _State.END or (self._state is _State.START and text[position] != "{"):
                    raise MalformedAnswer(f"the body is not JSON: {excerpt(text[position : position + 60])}")
                else:
                    # Into the object, out of the rows, or out of the object.
                    after = {_State.START: _State.FIELD, _State.ROW: _State.FIELD, _State.FIELD: _State.END}
                    self._state = after[self._state]
                    position += 1
        finally:
            rest = text[position:]
            self._unread = [rest]
            self._unread_characters = len(rest)
            # A number is short, however many spaces follow it.
            self._incomplete_characters = len(rest) if rest[:1] in {"{", "[", '"'} else 0
            self._characters_decoded_in_vain = 0 if position else self._characters_decoded_in_vain + len(rest)

    def _field(self, text: str, start: int) -> int | None:
        """Read a field beside the rows; return the position behind it, or None when it is incomplete."""
        if text[start] != '"':
            raise MalformedAnswer(f"the body is not JSON: {excerpt(text[start : start + 60])}")
        try:
            name, position = raw_decode(text, start)
        except JSONDecodeError:
            self._check_length(text, start)
            return None
        position = _skip(_SPACE, text, position)
        if position == len(text):
            return None
        if text[position] != ":":
            raise MalformedAnswer(f"the body is not JSON: {excerpt(text[start : start + 60])}")
        position = _skip(_SPACE, text, position + 1)
        if name == "tasks" and text[position : position + 1] == "[":
            self._state = _State.ROW
            self.fields[name] = []
            return position + 1
        found = self._value(text, position)
        if found is None:
            return None
        if len(self.fields.keys() - {"tasks"}) >= MAX_FIELDS:
            raise MalformedAnswer(f"more than {MAX_FIELDS} fields beside the tasks")
        self.fields[name], position = found
        return position

    def _value(self, text: str, start: int) -> tuple[Any, int] | None:
        """Decode the value at `start`; return it and the position behind it, or None when it is incomplete."""
        if len(text) - start >= LONG_VALUE_CHARACTERS and text.count(",", start) > MAX_COMMAS:
            # Between two yields to the event loop: see `MAX_COMMAS`.
            raise MalformedAnswer(f"one value in it is too large: {excerpt(text[start : start + 60])}")
        try:
            value, end = raw_decode(text, start)
        except JSONDecodeError:
            self._check_length(text, start)
            return None
        except (ValueError, RecursionError):
            # A number of thousands of digits, or nested thousands of levels deep.
            raise MalformedAnswer(f"the body is not JSON: {excerpt(text[start : start + 60])}") from None
        if not isinstance(value, int | float):
            return value, end
        # The next piece may bring more digits: a number is complete when the next item begins behind it.
        end = _skip(_SPACE, text, end)
        if end == len(text):
            return None
        if text[end] in ",]}":
            return value, end
        self._check_length(text, start)
        return None

    def _check_length(self, text: str, start: int) -> None:
        """Check a value that is incomplete or malformed, which only the end of the answer decides.

        Raises:
            MalformedAnswer: it is as long as only a text or a row can be, and is neither.
        """
        if len(text) - start >= LONG_VALUE_CHARACTERS and text[start] not in '{["':
            raise MalformedAnswer(f"the body is not JSON: {excerpt(text[start : start + 60])}")

    def _excerpt(self) -> str:
        return excerpt("".join(self._unread)[:60])


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    assert found is not None  # noqa: S101  (the pattern matches the empty string)
    return found.end()


class AllTasks(ListReader):
    """Keeps every task of the list.

    `finish` also raises when any row cannot be decoded: a list with holes is not what was asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[TaskDetails] = []

    def take(self, row: object) -> None:
        """Keep the task."""
        self.tasks.append(decode_task(row, f"$.tasks[{len(self.tasks)}]"))


class FirstTask(ListReader):
    """Reads no further than the first task: that the service answers is all that is wanted."""

    @property
    def enough(self) -> bool:
        """Whether a task was read, or there is none."""
        return self.rows_read > 0 or super().enough

    def take(self, row: object) -> None:
        """Ignore the task."""
