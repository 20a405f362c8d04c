"""Where the command writes: results to standard output, everything that is said beside them to standard error.

With `--json`, standard output carries one JSON object a line and nothing else. Each has an `event`:

    submitted  task_id, model, idempotency_key, credits_estimated, credits_quoted, credits_charged
    status     task_id, status, previous, at            a status as it was observed; at is ISO 8601 in UTC
    result     task_id, model, status, url, path, bytes, expires_at, credits_charged
    task       task_id, status, model, input, output, created_at, completed_at, credits_charged, credits_refunded,
               idempotency_key, extra                   `get`, and one for each task of `list`
    cancel     task_id, cancelled, status
    account    balance, daily_credit_limit, generation_requests_per_minute, credit_warning_at, supported_models,
               missing_models, api_version, skill_version, extra
               a guardrail of null is none; missing_models have a class here and are not among the supported ones
    quote      model, credits, usd, by, table, balance, affordable
               by is "quote", or "table" and then table is its revision
    model      model, class, fields, prices, supported, quote, quote_error       one for each model of `models`
               fields: field, option, required, default, allowed; prices: credits a second by the tables' revisions;
               quote: credits, usd, seconds, of
    doctor     exit_code, checks                        checks: name, verdict (ok, warning, problem), found, advice
    ready      url, api_key                             `simulate`
    summary    files, seconds, credits_charged, queries, limit, window, rejected          `demo`
    error      type, message, exit_code, task_id, idempotency_key

Values that are not known are null. Fields may be added; none is taken away.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO, cast

from rich.console import Console
from rich.text import Text

from .._redaction import Secret, redact_text
from ..errors import SubmitOutcomeUnknown
from .exits import OutputClosed

__all__ = ["Output", "printable"]

_SHORTEST_KEY: Final = 8
"""Characters of what can be a key: what is shorter would be hidden in words that have nothing to do with it."""

_TOLD: Final = "aivideomaker_async.models"
"""The logger whose warnings `generate` tells itself."""


class _Stderr(Console):
    """Standard error, as it is when it is written to. When nobody reads it, the command goes on in silence."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class _StderrFile(io.TextIOBase):
    """Standard error, as it is when it is written to. What cannot be written there is lost, and ends nothing."""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # (a stream has a fixed one)
        return getattr(sys.stderr, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return _is_terminal(sys.stderr)

    def fileno(self) -> int:
        if sys.stderr is None:  # type: ignore[unreachable, unused-ignore]  # (a process may have been started without)
            raise OSError("there is no standard error")
        return sys.stderr.fileno()

    def write(self, text: str, /) -> int:
        with _unless_lost():
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with _unless_lost():
            sys.stderr.flush()


@contextmanager
def _unless_lost() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # Nobody reads any more, which the console knows what to do about.
        raise
    except (OSError, ValueError, AttributeError):
        # The disk is full, the stream is closed, or there never was one.
        return


class _Stdout(Console):
    """Standard output, for the help."""

    def on_broken_pipe(self) -> None:
        _let_go_of_stdout()
        raise OutputClosed


class Output:
    """The two streams of one run of the command."""

    def __init__(self) -> None:
        self.json = False
        self.verbose = False
        self.console = _Stderr(file=cast("TextIO", _StderrFile()), highlight=False, soft_wrap=True)
        self.help_console = _Stdout(highlight=False)
        # What a service or a person wrote may have characters that the terminal's encoding lacks.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        key = os.environ.get("AIVIDEO_API_KEY", "").strip()
        self._key: Final = Secret(key) if len(key) >= _SHORTEST_KEY else None

    def check(self) -> None:
        """Make sure that results can be told, before anything is paid for them.

        Raises:
            OutputClosed: there is no standard output.
        """
        if sys.stdout is None or sys.stdout.closed:  # type: ignore[redundant-expr, unused-ignore]
            raise OutputClosed

    def _hide(self, text: str) -> str:
        # Whatever a service tells: the key is not among it.
        return text if self._key is None else text.replace(self._key.reveal(), "<secret>")

    @property
    def animated(self) -> bool:
        """Whether progress is shown in place, which needs a terminal and no reader of JSON beside it."""
        return not self.json and _is_terminal(sys.stderr) and not self.console.is_dumb_terminal

    @property
    def has_person(self) -> bool:
        """Whether somebody is there to be asked: at a terminal that shows the question and takes the answer."""
        return not self.json and _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    def event(self, event: str, /, **fields: object) -> None:
        """With `--json`: one line. Else nothing."""
        if self.json:
            self._write(json.dumps({"event": event, **fields}))

    def result(self, text: str) -> None:
        """Without `--json`: what was asked for, on standard output. Else nothing."""
        if not self.json:
            self._write(printable(text))

    def say(self, text: str, *, style: str = "", start: str = "") -> None:
        """A line on standard error, whatever the format of the results.

        Args:
            text: the line; control characters are shown, not sent.
            style: of `start`, where the terminal has colours.
            start: a word before the line.
        """
        self.console.print(Text.assemble((start, style), printable(self._hide(text))), soft_wrap=True)

    def prompt(self, question: str) -> None:
        """A question on standard error; the answer follows in the same line."""
        self.console.print(Text(printable(question)), end="", soft_wrap=True)

    def traceback(self, error: BaseException) -> None:
        """The traceback of `error` on standard error, without what is private in the texts of errors."""
        import traceback

        text = self._hide(redact_text("".join(traceback.format_exception(error)).rstrip()))
        self.console.print(Text(text), soft_wrap=True)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """The package's warnings on standard error; with `--verbose` all of its log."""
        logger = logging.getLogger("aivideomaker_async")
        handler, level = _Handler(self), logger.level
        logger.addHandler(handler)
        if self.verbose:
            logger.setLevel(logging.DEBUG)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    def _write(self, line: str) -> None:
        self.check()
        try:
            sys.stdout.write(f"{self._hide(line)}\n")
            sys.stdout.flush()
        except BrokenPipeError:
            _let_go_of_stdout()
            raise OutputClosed from None


def _let_go_of_stdout() -> None:
    """Nobody reads: what is still in the buffer goes nowhere, or the interpreter would complain at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Handler(logging.Handler):
    """Writes by way of the console, which keeps log lines above what is animated."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.NOTSET if output.verbose else logging.WARNING)
        self._output = output
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if output.verbose else "%(message)s"))
        if not output.verbose:
            self.addFilter(_is_news)

    def emit(self, record: logging.LogRecord) -> None:
        self._output.say(self.format(record), start="" if self._output.verbose else "note: ")


def _is_news(record: logging.LogRecord) -> bool:
    """Whether the commands do not tell it themselves."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return record.name != _TOLD and not any(isinstance(one, SubmitOutcomeUnknown) for one in arguments)


def _is_terminal(stream: TextIO | None) -> bool:
    # A process without a console has no streams.
    return stream is not None and not stream.closed and stream.isatty()


def printable(text: str) -> str:
    """`text` with its control characters shown as escapes, so that no text of others steers the terminal."""
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
