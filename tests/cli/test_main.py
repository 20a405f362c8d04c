"""The entry: help, version, the missing extra, imports, and the streams."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

import aivideomaker_async
from aivideomaker_async.cli import main as entry
from aivideomaker_async.cli.context import Context
from aivideomaker_async.cli.exit_codes import MEANINGS, Exit
from aivideomaker_async.cli.main import main
from aivideomaker_async.cli.output import Output
from aivideomaker_async.cli.progress import format_elapsed, format_size
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from aivideomaker_async.specs import SPECS
from tests.cli.conftest import T2V, Command, Terminal, When, finish_all


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_the_help_names_commands_and_exit_codes(cli: Command) -> None:
    ran = cli("--help")
    assert ran.code == 0
    tasks = ("generate", "watch", "status", "get", "list", "cancel")
    for word in (*tasks, "account", "quote", "models", "doctor", "simulate", "demo", "--json", "--base-url"):
        assert re.search(rf"│ {word}\b", ran.out), word
    for code in Exit:
        assert re.search(rf"^ +{code.value} {re.escape(MEANINGS[code])}", ran.out, re.MULTILINE), code
    assert "--api-key" not in ran.out


def test_the_docstring_lists_every_exit_code() -> None:
    listed = re.findall(r"^    (\d+) ", entry.__doc__ or "", re.MULTILINE)
    assert list(map(int, listed)) == sorted(Exit)
    assert set(MEANINGS) == set(Exit)


def test_the_help_of_generate_names_every_model(cli: Command) -> None:
    for command in ("generate", "quote"):
        out = cli(command, "--help").out
        assert all(f"│ {model} " in out for model in SPECS)


def test_the_version(cli: Command) -> None:
    assert cli("--version").out == f"{aivideomaker_async.__version__}\n"


@pytest.mark.parametrize("argv", [(), ("generate",), ("--json",)])
def test_a_missing_command_is_a_usage_error(cli: Command, argv: tuple[str, ...]) -> None:
    """The help goes to standard error: a script that forgot the command gets no output."""
    ran = cli(*argv)
    assert ran.code == 2
    assert "Usage: aivideomaker" in ran.err
    assert ran.err.endswith("error: a command is missing\n")
    assert [event["event"] for event in ran.events] == (["error"] if argv == ("--json",) else [])


@pytest.mark.parametrize("argv", [("bogus",), ("--bogus",), ("status",), ("status", "a", "b"), ("generate", "t2v")])
def test_a_wrong_command_line_is_a_usage_error(cli: Command, argv: tuple[str, ...]) -> None:
    ran = cli(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert len(ran.err.splitlines()) == 1


def test_a_reader_of_json_hears_of_every_usage_error(cli: Command) -> None:
    """Also of one that comes before `--json` was read."""
    ran = cli("list", "--json", "--base-url")
    assert ran.code == 2
    assert [(event["type"], event["exit_code"]) for event in ran.events] == [("UsageError", 2)]


def test_options_for_all_commands_stand_anywhere(cli: Command, service: ThreadedSimulator) -> None:
    assert cli("--json", "list").events == cli("list", "--json").events == []
    assert cli("--base-url", "http://user@host", "list").code == 3


def test_a_key_goes_unencrypted_only_where_that_is_allowed(cli: Command, service: ThreadedSimulator) -> None:
    """The message names the option, and a command to copy has it."""
    refused = cli("--base-url", "http://nowhere.invalid", "list")
    assert (refused.code, "--allow-http" in refused.err) == (3, True)
    assert cli("--allow-http", "list").code == 0
    context = Context(base_url="http://h", allow_http=True)
    assert context.command("watch", "ck1") == "aivideomaker watch ck1 --base-url http://h --allow-http"
    assert "http://h open" in repr(context.client())


def test_verbose_logs_to_stderr_and_shows_tracebacks(cli: Command, service: ThreadedSimulator) -> None:
    """The logger is left as it was."""
    logger = logging.getLogger("aivideomaker_async")
    before = (logger.level, list(logger.handlers))
    ran = cli("list", "-v")
    assert "DEBUG aivideomaker_async.http: GET /api/v1/tasks: 200" in ran.err
    assert "DEBUG" not in cli("list").err
    assert "Traceback (most recent call last)" in cli("get", "nothing", "--verbose").err
    assert "Traceback" not in cli("get", "nothing").err
    assert (logger.level, list(logger.handlers)) == before


def test_a_warning_is_a_note(cli: Command, service: ThreadedSimulator) -> None:
    """Why the command waits, for one."""
    service.fault("rate_limit", on="list", times=1, retry_after=0.05)
    ran = cli("list")
    assert ran.code == 0
    assert ran.err.startswith("note: the service limits the rate (429)")
    assert "aivideomaker_async" not in ran.err


def test_what_is_unexpected_propagates(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours is not dressed up as an error of the service."""

    async def broken(client: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.list_tasks", broken)
    with pytest.raises(ZeroDivisionError):
        cli("list")


def test_arguments_come_from_the_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["aivideomaker", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"{aivideomaker_async.__version__}\n"


@pytest.mark.parametrize("missing", ["cyclopts", "rich.console"])
def test_without_its_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("aivideomaker_async.cli.") and name != entry.__name__]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["--help"]) == 3
    assert capsys.readouterr().err == 'error: the command needs its extra: pip install "aivideomaker-async[cli]"\n'


def test_a_process_without_the_extra() -> None:
    ran = python(
        "import sys, runpy\nsys.modules['cyclopts'] = None\nrunpy.run_module('aivideomaker_async', run_name='__main__')"
    )
    assert ran.returncode == 3
    assert 'pip install "aivideomaker-async[cli]"' in ran.stderr
    assert "Traceback" not in ran.stderr


def test_another_import_that_fails_is_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "aivideomaker_async.cli.app")
    monkeypatch.setitem(sys.modules, "aivideomaker_async.cli.spec_commands", None)
    with pytest.raises(ImportError, match=r"cli\.spec_commands"):
        main(["--help"])


def test_ctrl_c_while_the_modules_load_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "aivideomaker_async.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "aivideomaker_async.cli.app")
    monkeypatch.setattr("sys.meta_path", [Impatient(), *sys.meta_path])
    assert main(["--help"]) == 130


def test_the_package_does_not_import_the_command_nor_the_help_what_is_slow() -> None:
    code = """
import sys, aivideomaker_async
loaded = [name for name in sys.modules if name.partition(".")[0] in {"cyclopts", "rich"} or ".cli." in name]
from aivideomaker_async.cli.main import main
code = main(["generate", "t2v", "--help"])
slow = [name for name in ("av", "PIL", "aiohttp", "aivideomaker_async.simulator.simulator") if name in sys.modules]
print("RESULT", code, loaded, slow)
"""
    assert python(code).stdout.splitlines()[-1] == "RESULT 0 [] []"


def test_a_terminal_shows_a_live_line(
    slow_service: ThreadedSimulator, when: When, terminal: Callable[[], Terminal], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is drawn over again in place, the cursor comes back, and standard output has the result alone."""
    service, screen = slow_service, terminal()
    when(lambda: screen.getvalue().count("PROGRESS") > 1, finish_all(service))
    assert main(list(T2V)) == 0
    (task,) = service.tasks.values()
    shown = screen.getvalue()
    assert "\x1b[2K" in shown
    assert "\x1b[?25l" in shown
    assert shown.rstrip().rpartition("\x1b[?25h")[1]
    assert "COMPLETED" in shown.rpartition(task.id)[2]
    assert capsys.readouterr().out == f"{service.url}/videos/{task.id}.mp4\n"


def test_a_terminal_shows_the_download(
    service: ThreadedSimulator, terminal: Callable[[], Terminal], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(
        "aivideomaker_async.cli.progress.ProgressDisplay.note", lambda display, row, note: notes.append(note)
    )
    screen = terminal()
    assert main([*T2V, "-v", "--output", f"{tmp_path}/a.mp4"]) == 0
    assert "DEBUG" in screen.getvalue()
    assert notes[-2:] == ["100 %", ""]


@pytest.mark.parametrize(("flags", "term"), [(["--json"], "xterm"), ([], "dumb")])
def test_nothing_moves_beside_json_or_where_it_cannot(
    service: ThreadedSimulator,
    terminal: Callable[[], Terminal],
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    term: str,
) -> None:
    monkeypatch.setenv("TERM", term)
    screen = terminal()
    assert main([*T2V, *flags]) == 0
    assert "\x1b[?25l" not in screen.getvalue()
    assert ("COMPLETED" in screen.getvalue()) == (not flags)


def test_force_color_does_not_animate_a_file(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Build servers set it and keep the log."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[?25l" not in cli(*T2V).err


def test_a_text_that_the_encoding_lacks_is_escaped() -> None:
    """`LANG=C` is common in containers."""
    ran = python(
        "import io, sys\n"
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='ascii')\n"
        "from aivideomaker_async.cli.output import Output\n"
        "Output().result('é')\n"
    )
    assert (ran.returncode, ran.stdout) == (0, "\\xe9\n")


def test_events_are_json_whatever_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.json = True
    output.event("error", message="é\ud800\n")
    assert capsys.readouterr().out == '{"event": "error", "message": "\\u00e9\\ud800\\n"}\n'


def test_numbers_for_people() -> None:
    assert [format_elapsed(seconds) for seconds in (0, 59.9, 60, 3725)] == ["0:00", "0:59", "1:00", "62:05"]
    assert [format_size(count) for count in (0, 999, 24_368, 1_260_000)] == ["0 bytes", "999 bytes", "24 kB", "1.3 MB"]
