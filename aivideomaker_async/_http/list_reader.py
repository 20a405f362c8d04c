"""A list in JSON, read row by row while it arrives.

A row is decoded as soon as it is complete. Of a large one the end is looked for while it arrives, and it is decoded
then. All that is done between two moments in which others run is bounded, whatever the list is made of.
"""

from __future__ import annotations

import codecs
import re
from enum import Enum, auto
from json import JSONDecodeError
from typing import Any, Final

from . import decoding as answers
from .decoding import MalformedAnswer
from .extent import Extent
from .sizes import TASK

__all__ = ["ListReader"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_BETWEEN: Final = re.compile(r"[ \t\n\r,]*")
_OF_NUMBER: Final = re.compile(r"[-+.0-9eE]*")
_decode: Final = answers.decoder.raw_decode

LARGE: Final = 1 << 16
"""Characters from which on an incomplete value is not tried again with every piece."""

STEPS_AT_ONCE: Final = 500
"""Rows that are dealt with before others run: a slice has room for 20,000 empty ones."""

MOST_ROWS: Final = 250_000
"""Real ones fill more than the largest answer long before."""

MOST_FIELDS: Final = 100
"""Fields beside the rows; the documented list has none."""


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
        self._extent: Extent | None = None
        self._behind = False
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._error: MalformedAnswer | None = None

    @property
    def enough(self) -> bool:
        """Whether the rest of the answer tells nothing that is wanted."""
        return self._error is not None

    @property
    def behind(self) -> bool:
        """Whether there is more to do with what was fed: let others run, and feed it nothing."""
        return self._behind

    def take(self, row: object) -> None:
        """Here is the next row."""
        raise NotImplementedError

    def feed(self, piece: bytes) -> None:
        """Here are the next bytes: a slice of some ten thousand, after which the caller lets others run."""
        self.bytes_read += len(piece)
        self._read(piece)

    def _read(self, piece: bytes, *, last: bool = False) -> None:
        self._behind = False
        if self.enough:
            return
        try:
            self._pending.append(text := self._characters(piece, last=last))
            if self._extent is not None and not self._is_complete(self._extent, text):
                return
            self._text = "".join((self._text[self._position :], *self._pending))
            self._pending.clear()
            self._position = 0
            self._take_steps()
        except MalformedAnswer as error:
            self._error = error
        except RecursionError:
            self._error = self._no_json()

    def _take_steps(self) -> None:
        for _ in range(STEPS_AT_ONCE):
            if self.enough or not self._step():
                return
        self._behind = True

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
        while self._behind:
            self._read(b"")
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
        return MalformedAnswer(f"the body is not JSON{more}: {self._beginning()}")

    def _beginning(self) -> str:
        return answers.shown(self._text[self._position : self._position + 60])

    # Each step takes one thing out of the text, and returns whether there may be another.

    def _step(self) -> bool:
        if self._at is _At.ROW:
            return self._step_row()
        if self._at is _At.FIELD:
            return self._step_field()
        return self._step_start() if self._at is _At.START else self._step_end()

    def _step_start(self) -> bool:
        position = self._position = self._after(_SPACE, self._position)
        if position == len(self._text):
            return False
        if self._text[position] != "{":
            raise self._no_json()
        self._position, self._at = position + 1, _At.FIELD
        return True

    def _step_field(self) -> bool:
        start = self._position = self._after(_BETWEEN, self._position)
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
            return self._more(start)
        if not isinstance(name, str) or self._text[position] != ":":
            raise self._no_json()
        position = self._after(_SPACE, position + 1)
        if position == len(self._text):
            return self._more(start)
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
        if len(self.fields) > MOST_FIELDS:
            raise MalformedAnswer(f"more than {MOST_FIELDS} fields beside the tasks")
        return True

    def _step_row(self) -> bool:
        start = self._position = self._after(_BETWEEN, self._position)
        if start == len(self._text):
            return False
        if self._text[start] == "]":
            self._position, self._at = start + 1, _At.FIELD
            return True
        found = self._try(start)
        if found is None:
            return False
        row, self._position = found
        self.rows_read += 1
        if self.rows_read > MOST_ROWS:
            raise MalformedAnswer(f"more than {MOST_ROWS} tasks")
        self.take(row)
        return True

    def _step_end(self) -> bool:
        self._position = self._after(_SPACE, self._position)
        if self._position < len(self._text):
            raise self._no_json()
        return False

    def _try(self, position: int) -> tuple[Any, int] | None:
        try:
            value, end = _decode(self._text, position)
        except JSONDecodeError:
            # Incomplete, or wrong: the end of the answer tells.
            self._look_for_end(position)
            return None
        except ValueError:
            # A number of hundreds of digits.
            raise self._no_json() from None
        if isinstance(value, int | float) and self._after(_OF_NUMBER, end) == len(self._text):
            # A number is over where something else begins.
            self._more(position)
            return None
        return value, end

    def _more(self, position: int) -> bool:
        """What begins at `position` is not over; nothing that is so long is part of a list, but for texts and rows."""
        if len(self._text) - position >= LARGE:
            raise self._no_json()
        return False

    def _look_for_end(self, position: int) -> None:
        if len(self._text) - position < LARGE:
            return
        if self._text[position] not in '{["':
            raise self._no_json()
        self._extent = Extent()
        if self._is_complete(self._extent, self._text, position):
            # Its end is there, and it cannot be decoded.
            raise self._no_json()

    def _is_complete(self, extent: Extent, text: str, position: int = 0) -> bool:
        ended = extent.ends_in(text, position)
        if extent.marks > TASK.marks or extent.length > TASK.bytes:
            raise MalformedAnswer(f"one value in it is too large: {self._beginning()}")
        if ended:
            self._extent = None
        return ended

    def _after(self, pattern: re.Pattern[str], position: int) -> int:
        found = pattern.match(self._text, position)
        assert found is not None  # noqa: S101  (it matches nothing, too)
        return found.end()
