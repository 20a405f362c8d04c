"""Tasks as a person sees them: lines that change in place at a terminal, else one line for each change."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from attrs import define, field
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ..tasks import TaskStatus
from .output import Output, printable

__all__ = ["Board", "Row", "clock", "size", "table"]

_STYLES: Final = {"SUBMITTED": "yellow", "PROGRESS": "cyan", "COMPLETED": "green", "FAILED": "red", "CANCEL": "magenta"}
_FRAMES_PER_SECOND: Final = 8


@define(eq=False)
class Row:
    """One task on the board."""

    label: str
    task_id: str = ""
    credits: str = ""
    note: str = ""
    began: float = field(factory=time.monotonic)
    ended: float | None = None
    changes: list[tuple[TaskStatus, float]] = field(factory=list[tuple[TaskStatus, float]])
    """Each status, and after how many seconds it was seen."""

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning, until the end."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began


class Board:
    """The rows of some tasks. A context manager: while it is open, a terminal shows them live.

    Args:
        output: where to show them; nothing is shown beside `--json`.
        many: whether it is a table of tasks with all their changes, or a line for one.
    """

    def __init__(self, output: Output, *, many: bool = False) -> None:
        self._output = output
        self._many = many
        self._rows: list[Row] = []
        utf8 = output.console.encoding.lower().startswith("utf")
        self._spinner = Spinner("dots" if utf8 else "line")
        self._live: Live | None = None
        if output.animated:
            # Its redirections would send results to standard error.
            self._live = Live(
                console=output.console,
                get_renderable=self._table,
                refresh_per_second=_FRAMES_PER_SECOND,
                redirect_stdout=False,
                redirect_stderr=False,
            )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for row in self._rows:
            row.ended = row.ended or time.monotonic()
        if self._live is not None:
            self._live.stop()

    def add(self, label: str, *, task_id: str = "", credits: str = "") -> Row:  # noqa: A002  (the API's word)
        """A new row."""
        row = Row(label, task_id, credits)
        self._rows.append(row)
        return row

    def changed(self, row: Row, status: TaskStatus) -> None:
        """The task of `row` has this status now."""
        row.changes.append((status, row.elapsed))
        if status.is_terminal:
            row.ended = time.monotonic()
        if self._live is None and not self._output.json:
            words = (row.label.ljust(6 if self._many else 0), row.task_id, status.ljust(9), clock(row.elapsed))
            self._output.say("  ".join(word for word in words if word))

    def note(self, row: Row, note: str) -> None:
        """Something about `row` that passes, such as how much of a file has come."""
        row.note = note

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for row in list(self._rows):
            spinner = self._spinner if row.ended is None else " "
            names = [_safe(name) for name in (row.label, row.task_id) if name]
            status = [_history(row)] if self._many else [_status(row), clock(row.elapsed)]
            price = f"{row.credits} credits" if row.credits else ""
            table.add_row(spinner, *names, *status, _safe(price), _safe(row.note))
        for column in table.columns:
            column.no_wrap = True
        return table


def _safe(text: str) -> Text:
    # A plain string would be read as markup.
    return Text(printable(text))


def _status(row: Row) -> Text:
    status = row.changes[-1][0] if row.changes else "..."
    return Text(printable(status), _STYLES.get(status, "bold"))


def _history(row: Row) -> Text:
    parts = [
        Text(f"{printable(status)} {clock(seconds)}", _STYLES.get(status, "bold")) for status, seconds in row.changes
    ]
    if row.ended is None:
        parts.append(Text(clock(row.elapsed)))
    return Text("  ").join(parts)


def clock(seconds: float) -> str:
    """Seconds as minutes and seconds, such as `2:05`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def size(count: int) -> str:
    """A number of bytes for people."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def table(rows: Mapping[str, str]) -> str:
    """A line for each: the name, and at the same place the value."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows.items())
