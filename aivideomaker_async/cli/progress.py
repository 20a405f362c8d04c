"""The progress of tasks: lines that change in place at a terminal, else one line for each change. And text formats."""

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

__all__ = ["ProgressDisplay", "TaskRow", "format_elapsed", "format_size", "format_table"]

_STATUS_STYLES: Final = {
    "SUBMITTED": "yellow",
    "PROGRESS": "cyan",
    "COMPLETED": "green",
    "FAILED": "red",
    "CANCEL": "magenta",
}
_FRAMES_PER_SECOND: Final = 8


@define(eq=False)
class TaskRow:
    """One task in the display."""

    label: str
    task_id: str = ""
    credits: str = ""
    note: str = ""
    began: float = field(factory=time.monotonic)
    ended: float | None = None
    changes: list[tuple[TaskStatus, float]] = field(factory=list[tuple[TaskStatus, float]])
    """Each status, and the seconds after which it was observed."""

    @property
    def elapsed(self) -> float:
        """Seconds since the row was added, until the task has ended."""
        return (time.monotonic() if self.ended is None else self.ended) - self.began


class ProgressDisplay:
    """The progress of some tasks. A context manager: while it is open, a terminal shows them live.

    Args:
        output: where to show them; with `--json` nothing is shown.
        many: whether it is a table of tasks with all their changes, or a line for one task.
    """

    def __init__(self, output: Output, *, many: bool = False) -> None:
        self._output = output
        self._many = many
        self._rows: list[TaskRow] = []
        utf8 = output.console.encoding.lower().startswith("utf")
        self._spinner = Spinner("dots" if utf8 else "line")
        self._live: Live | None = None
        if output.is_animated:
            # The redirections of rich would send results to standard error.
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

    def add(self, label: str, *, task_id: str = "", credits: str = "") -> TaskRow:  # noqa: A002  (the API's word)
        """Add a row, and return it."""
        row = TaskRow(label, task_id, credits)
        self._rows.append(row)
        return row

    def changed(self, row: TaskRow, status: TaskStatus) -> None:
        """Show the new status of the task of `row`."""
        row.changes.append((status, row.elapsed))
        if status.is_terminal:
            row.ended = time.monotonic()
        if self._live is None and not self._output.json:
            words = (row.label.ljust(6 if self._many else 0), row.task_id, status.ljust(9), format_elapsed(row.elapsed))
            self._output.message("  ".join(word for word in words if word))

    def note(self, row: TaskRow, note: str) -> None:
        """Show a note beside `row`, such as the share of a file that was received, until the next note."""
        row.note = note

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        for row in list(self._rows):
            spinner = self._spinner if row.ended is None else " "
            names = [_plain(name) for name in (row.label, row.task_id) if name]
            status = [_history(row)] if self._many else [_status(row), format_elapsed(row.elapsed)]
            price = f"{row.credits} credits" if row.credits else ""
            table.add_row(spinner, *names, *status, _plain(price), _plain(row.note))
        for column in table.columns:
            column.no_wrap = True
        return table


def _plain(text: str) -> Text:
    # rich reads a string as markup.
    return Text(printable(text))


def _status(row: TaskRow) -> Text:
    status = row.changes[-1][0] if row.changes else "..."
    return Text(printable(status), _STATUS_STYLES.get(status, "bold"))


def _history(row: TaskRow) -> Text:
    parts = [
        Text(f"{printable(status)} {format_elapsed(seconds)}", _STATUS_STYLES.get(status, "bold"))
        for status, seconds in row.changes
    ]
    if row.ended is None:
        parts.append(Text(format_elapsed(row.elapsed)))
    return Text("  ").join(parts)


def format_elapsed(seconds: float) -> str:
    """Return seconds as minutes and seconds, such as `2:05`."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def format_size(count: int) -> str:
    """Return a number of bytes for people."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def format_table(rows: Mapping[str, str]) -> str:
    """Return a line for each row, with the values aligned."""
    width = max(map(len, rows), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows.items())
