"""The output of the command: results on standard output, messages on standard error.

With `--json`, standard output carries one JSON object a line and nothing else. Each has an `event`:

    submitted  task_id, model, idempotency_key, credits_estimated, credits_quoted, credits_charged, status,
               response_url, status_url, cancel_url, idempotent_replay, extra         a `SubmittedTask`, and more
    status     task_id, status, previous, at, eta       a `StatusChange`; of the command `status`, only the status
    result     task_id, model, status, url, path, bytes, expires_at, credits_charged, details
               a `Video`, and where it was saved
    task       task_id, status, model, input, output, created_at, completed_at, credits_charged, credits_refunded,
               list_value_cents, idempotency_key, extra
               a `TaskDetails`: `get`, and one for each task of `list`
    cancel     task_id, cancelled, status               a `CancelResult`
    account    balance, daily_credit_limit, generation_requests_per_minute, credit_warning_at, supported_models,
               missing_models, api_version, skill_version, extra
               an `Account`; a guardrail of null is no limit; missing_models have a class here and are not supported by
               the account; what looks like a secret in extra is hidden
    quote      model, credits, usd, by, table, balance, affordable, list_price_usd, usd_per_credit, billable, extra
               a `Quote`, and by is "quote", or "table" and then table is its revision
    model      model, class, fields, prices, supported, quote, quote_error       one for each model of `models`
               fields: field, option, required, default, allowed; prices: credits a second by the tables' revisions;
               quote: credits, usd, seconds, of
    doctor     exit_code, checks                        checks: name, verdict (ok, warning, problem), found, advice
    ready      url, api_key                             `simulate`
    summary    files, seconds, credits_charged, queries, limit, window, rejected          `demo`
    error      type, message, exit_code, task_id, idempotency_key, and what else the `to_dict()` of the error has

Where a class is named, the event has all fields of its `to_dict()`, and `from_dict()` takes it.
Unknown values are null. Fields may be added in later versions, and are never removed.
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
from .exit_codes import OutputClosed

__all__ = ["Output", "printable"]

_MIN_KEY_CHARS: Final = 8
"""A shorter text is not taken for a key: replacing it would damage words that happen to contain it."""

_MODELS_LOGGER: Final = "aivideomaker_async.models"
"""A logger whose warnings `generate` replaces by messages of its own."""


class _Stderr(Console):
    """A console on standard error. When it is closed, the command goes on without messages."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


class _StderrFile(io.TextIOBase):
    """The `sys.stderr` of the moment. Text that cannot be written is dropped, and does not end the command."""

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
        with _ignoring_lost_output():
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with _ignoring_lost_output():
            sys.stderr.flush()


@contextmanager
def _ignoring_lost_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # The console handles this one, by `on_broken_pipe`.
        raise
    except (OSError, ValueError, AttributeError):
        # The disk is full, the stream is closed, or the process was started without one.
        return


class _Stdout(Console):
    """A console on standard output, for the help."""

    def on_broken_pipe(self) -> None:
        _discard_stdout()
        raise OutputClosed


class Output:
    """The two streams of one run of the command."""

    def __init__(self) -> None:
        self.json = False
        self.verbose = False
        self.console = _Stderr(file=cast("TextIO", _StderrFile()), highlight=False, soft_wrap=True)
        self.help_console = _Stdout(highlight=False)
        # Texts of the service or of a person may have characters that the terminal's encoding lacks.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        key = os.environ.get("AIVIDEO_API_KEY", "").strip()
        self._key: Final = Secret(key) if len(key) >= _MIN_KEY_CHARS else None

    def check_stdout(self) -> None:
        """Check that results can be written, before anything is paid for them.

        Raises:
            OutputClosed: there is no standard output.
        """
        if sys.stdout is None or sys.stdout.closed:  # type: ignore[redundant-expr, unused-ignore]
            raise OutputClosed

    def _hide(self, text: str) -> str:
        # An answer of the service may quote the key.
        return text if self._key is None else text.replace(self._key.reveal(), "<secret>")

    @property
    def is_animated(self) -> bool:
        """Whether progress is shown in place, which needs a terminal, and a format other than JSON."""
        return not self.json and _is_terminal(sys.stderr) and not self.console.is_dumb_terminal

    @property
    def is_interactive(self) -> bool:
        """Whether a question can be shown and answered: both streams are terminals, and the format is not JSON."""
        return not self.json and _is_terminal(sys.stdin) and _is_terminal(sys.stderr)

    def event(self, event: str, /, **fields: object) -> None:
        """Write an event as one line of JSON. Without `--json`, do nothing."""
        if self.json:
            self._write(json.dumps({"event": event, **fields}))

    def result(self, text: str) -> None:
        """Write a result to standard output. With `--json`, do nothing."""
        if not self.json:
            self._write(printable(text))

    def message(self, text: str, *, style: str = "", start: str = "") -> None:
        """Write a line to standard error, whatever the format of the results.

        Args:
            text: the line; control characters are escaped.
            style: the style of `start`, where the terminal has colours.
            start: a word before the line.
        """
        self.console.print(Text.assemble((start, style), printable(self._hide(text))), soft_wrap=True)

    def prompt(self, question: str) -> None:
        """Write a question to standard error, without a line break."""
        self.console.print(Text(printable(question)), end="", soft_wrap=True)

    def traceback(self, error: BaseException) -> None:
        """Write the traceback of `error` to standard error, with private texts hidden."""
        import traceback

        text = self._hide(redact_text("".join(traceback.format_exception(error)).rstrip()))
        self.console.print(Text(text), soft_wrap=True)

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Log the package's warnings to standard error; with `--verbose`, all of its log."""
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
        self.check_stdout()
        try:
            sys.stdout.write(f"{self._hide(line)}\n")
            sys.stdout.flush()
        except BrokenPipeError:
            _discard_stdout()
            raise OutputClosed from None


def _discard_stdout() -> None:
    """Redirect standard output to nowhere, or the interpreter fails to flush it at its end and prints an error."""
    with suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


class _Handler(logging.Handler):
    """A handler that logs by way of the console, which keeps log lines above animated progress."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.NOTSET if output.verbose else logging.WARNING)
        self._output = output
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s" if output.verbose else "%(message)s"))
        if not output.verbose:
            self.addFilter(_is_unreported)

    def emit(self, record: logging.LogRecord) -> None:
        self._output.message(self.format(record), start="" if self._output.verbose else "note: ")


def _is_unreported(record: logging.LogRecord) -> bool:
    """Return whether the commands have no message of their own for it."""
    arguments = record.args if isinstance(record.args, tuple) else ()
    return record.name != _MODELS_LOGGER and not any(isinstance(one, SubmitOutcomeUnknown) for one in arguments)


def _is_terminal(stream: TextIO | None) -> bool:
    # A process without a console has no streams.
    return stream is not None and not stream.closed and stream.isatty()


def printable(text: str) -> str:
    """Return `text` with its control characters escaped, so that a text of the service cannot control the terminal."""
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
