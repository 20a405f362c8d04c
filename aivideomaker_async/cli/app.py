"""The app with all commands, and one run of it from the arguments to the exit code."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

from cyclopts import App, CycloptsError, Group, Parameter

from .._util.version import __version__
from ..errors import AIVideoMakerError, InvalidSpec, WaitTimeout
from ..tasks import JSON
from . import commands
from .context import Context, Job
from .demo import demo
from .doctor import doctor
from .exit_codes import MEANINGS, Exit, OutputClosed, Terminated, UsageError, exit_code_of
from .mcp import mcp
from .models import models
from .simulate import simulate
from .spec_commands import generate_commands, quote_commands
from .spec_options import in_command_line_terms

__all__ = ["build", "run"]

_HELP: Final = """Videos from texts and images, by the AI Video Maker API.

The API key is read from the environment variable AIVIDEO_API_KEY, never from the command line, which other users of the
machine can see. `aivideomaker models` lists what can be generated, and `aivideomaker doctor` checks whether it would
work. `aivideomaker demo` shows everything without a key, on a simulator."""

_CODES_HELP: Final = "Exit codes:\n" + "\n".join(f"{code:>4} {meaning}" for code, meaning in MEANINGS.items())

_EXPECTED: Final = (AIVideoMakerError, UsageError, OutputClosed, Terminated, KeyboardInterrupt, OSError)


def build() -> App:
    """Return the app with all its commands. Its `meta` app takes the options for all commands."""
    app = App(
        name="aivideomaker",
        help=_HELP,
        help_format="plaintext",
        help_epilogue=_CODES_HELP,
        version=__version__,
        result_action="return_value",
    )
    app.command(generate_commands())
    app.command(quote_commands())
    of_tasks = (commands.watch, commands.status, commands.get, commands.cancel)
    for command in (*of_tasks, commands.account, models, doctor, simulate, demo, mcp):
        app.command(command)
    app.command(commands.list_tasks, name="list")
    options = Group("Options for all commands", sort_key=1)
    for flag in ("--help", "--version"):
        app[flag].group = options
    app.meta.group_parameters = options
    return app


def run(argv: Sequence[str]) -> int:
    """Run the command with these arguments, and return the exit code.

    Expected errors are reported in one line. All others propagate.
    """
    context = Context()
    # An error in the arguments is reported before all of them are read.
    context.output.json = "--json" in argv
    try:
        # A result that cannot be written must not be paid for.
        context.output.check_stdout()
        job = _parse(argv, context)
        if job is None:
            return Exit.OK
        with context.output.logging():
            return _run_job(job)
    except _EXPECTED as error:
        return _report(error, context)


def _parse(argv: Sequence[str], context: Context) -> Job | None:
    """Return the job that the arguments ask for, or None when they ask for help, which is printed then."""
    app = build()

    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
        verbose: Annotated[bool, Parameter(name=("--verbose", "-v"), negative=(), show_default=False)] = False,
        base_url: Annotated[str | None, Parameter(metavar="URL")] = None,
        allow_http: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
        proxy: Annotated[str | None, Parameter(metavar="URL|env")] = None,
    ) -> Job:
        """Videos.

        Args:
            tokens: the command and its own arguments.
            json: one JSON object a line on standard output, and nothing else there.
            verbose: the log, and tracebacks, on standard error.
            base_url: scheme and host of the service; by default AIVIDEO_BASE_URL, else https://aivideomaker.ai.
            allow_http: let the API key go to another machine unencrypted, by a URL with http://.
            proxy: an HTTP proxy for all requests and downloads, or env for HTTPS_PROXY and the like; by default
                AIVIDEO_PROXY, else none. Other users of the machine can see a password in it; AIVIDEO_PROXY hides it.
        """
        context.output.json, context.output.verbose = json, verbose
        context.base_url, context.allow_http, context.proxy = base_url, allow_http, proxy
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        if command == app.help_print:
            app.help_print(tokens, console=context.output.console)
            raise UsageError("a command is missing")
        job: Job = command(*bound.args, **bound.kwargs, context=context)
        return job

    app.meta.default(launch)
    try:
        result: Job | None = app.meta(
            list(argv), console=context.output.help_console, exit_on_error=False, print_error=False
        )
    except CycloptsError as error:
        # Without the cause: its traceback quotes the arguments unredacted.
        raise UsageError(str(error)) from None
    return result


def _run_job(job: Job) -> int:
    """Run `job` in an event loop of its own. SIGINT and SIGTERM cancel it."""
    terminated = False

    async def supervised() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # noqa: S101

        def terminate() -> None:
            nonlocal terminated
            terminated = True
            task.cancel()

        # Not every platform and thread supports this; there SIGTERM ends the process without a message.
        with suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGTERM, terminate)
        return await job

    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise


def _report(error: BaseException, context: Context) -> int:
    """Report an error to people and to readers of JSON, with what to do next, and return the exit code."""
    output, code = context.output, exit_code_of(error)
    message = _message(error)
    if output.verbose:
        output.traceback(error)
    output.message(" ".join(message.split()), start="error: ", style="bold red")
    if context.advice is not None:
        output.message(context.advice)
    # The task or the submit of the command, where the error names none itself; and the message of the command.
    known = {"task_id": context.task_id, "idempotency_key": context.idempotency_key}
    with suppress(OutputClosed, OSError):
        output.event("error", **{**known, **_form(error), "message": message}, exit_code=int(code))
    return code


def _form(error: BaseException) -> dict[str, JSON]:
    if isinstance(error, AIVideoMakerError):
        return error.to_dict()
    return {"type": "Interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__}


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, WaitTimeout):
        # The error's own advice is for programs; that of the context has a command.
        return f"gave up after {error.elapsed:.0f} s; the task was last seen in {error.last_status or 'no status'}"
    if isinstance(error, InvalidSpec):
        return in_command_line_terms(str(error))
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__
