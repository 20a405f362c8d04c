"""The entry point: help, version, exit codes, the missing extra, and the options for all commands."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import aivideomaker_async
from aivideomaker_async import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectFailed,
    InsufficientCredits,
    InvalidSpec,
    TaskCancelled,
    TaskDetails,
    TaskFailed,
    TaskStatus,
    UnknownPrice,
)
from aivideomaker_async.cli import main as entry
from aivideomaker_async.cli.context import Context
from aivideomaker_async.cli.exit_codes import MEANINGS, Exit, OutputClosed, Terminated, UsageError, exit_code_of
from aivideomaker_async.cli.main import main
from aivideomaker_async.errors import FieldProblem
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from aivideomaker_async.specs import SPECS
from tests.cli.conftest import Command, ScriptedThread
from tests.support.scripted import Reply


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
    listed = re.findall(r"^    (\d+) ", entry.__doc__ or "", re.MULTILINE)
    assert list(map(int, listed)) == sorted(Exit) == sorted(MEANINGS)


@pytest.mark.parametrize("command", ["generate", "quote"])
def test_the_help_of_a_command_for_models_names_every_model(cli: Command, command: str) -> None:
    out = cli(command, "--help").out
    assert all(f"│ {model} " in out for model in SPECS)


def test_the_version_and_the_arguments_of_the_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["aivideomaker", "--version"])
    assert main() == 0
    assert capsys.readouterr().out == f"{aivideomaker_async.__version__}\n"


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


def test_usage_errors_are_events_also_before_json_was_parsed(cli: Command) -> None:
    ran = cli("list", "--json", "--base-url")
    assert ran.code == 2
    assert [(event["type"], event["exit_code"]) for event in ran.events] == [("UsageError", 2)]


def test_options_for_all_commands_have_any_place(cli: Command, service: ThreadedSimulator) -> None:
    assert cli("--json", "list").events == cli("list", "--json").events == []
    assert cli("--base-url", "http://user@host", "list").code == 3


def test_a_key_goes_unencrypted_only_with_allow_http(cli: Command, service: ThreadedSimulator) -> None:
    """The message has the option, and so has a command to copy."""
    refused = cli("--base-url", "http://nowhere.invalid", "list")
    assert (refused.code, "--allow-http" in refused.err) == (3, True)
    assert cli("--allow-http", "list").code == 0
    context = Context(base_url="http://h", allow_http=True)
    assert context.command("watch", "ck1") == "aivideomaker watch ck1 --base-url http://h --allow-http"


@pytest.mark.parametrize("name", ["env", "URL"])
def test_all_goes_through_the_proxy(
    cli: Command, scripted_service: ScriptedThread, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """The API and the file, by the names of their hosts. A password of the proxy is in no command to copy."""
    proxy = scripted_service.url.replace("http://", "http://me:pa55word@")
    monkeypatch.setenv("HTTP_PROXY", proxy)
    done = {"id": "ck1", "model": "t2v", "status": "COMPLETED", "output": {"url": "http://files.invalid/ck1.mp4"}}
    video = b"\0\0\0\x18ftypisom" + bytes(100)
    scripted_service.handler = lambda arrival: (
        Reply(200, video, {"Content-Type": "video/mp4"})
        if arrival.path.startswith("http://files.invalid/")
        else Reply(200, done if "ck1" in arrival.path else {"tasks": [done]})
    )
    option = "env" if name == "env" else proxy
    file = tmp_path / "video.mp4"
    api = ("--base-url", "http://nowhere.invalid", "--allow-http", "--proxy", option)
    ran = cli("watch", "ck1", "--output", str(file), *api)
    assert (ran.code, file.read_bytes()) == (0, video), ran.err
    assert {urlsplit(one.path).hostname for one in scripted_service.arrivals} == {"nowhere.invalid", "files.invalid"}
    assert {one.headers.get("proxy-authorization") for one in scripted_service.arrivals} == {"Basic bWU6cGE1NXdvcmQ="}
    assert "pa55word" not in Context(proxy=option).command("watch", "ck1")


def test_verbose_logs_and_shows_tracebacks(cli: Command, service: ThreadedSimulator) -> None:
    """The logger is left as it was."""
    logger = logging.getLogger("aivideomaker_async")
    before = (logger.level, list(logger.handlers))
    ran = cli("list", "-v")
    assert re.search(r"^DEBUG aivideomaker_async\.\S+: GET /api/v1/tasks: 200", ran.err, re.MULTILINE)
    assert "DEBUG" not in cli("list").err
    assert "Traceback (most recent call last)" in cli("get", "nothing", "--verbose").err
    assert "Traceback" not in cli("get", "nothing").err
    assert (logger.level, list(logger.handlers)) == before


def test_a_warning_of_the_package_is_a_note(cli: Command, service: ThreadedSimulator) -> None:
    service.fault("rate_limit", on="list", times=1, retry_after=0.05)
    ran = cli("list")
    assert ran.code == 0
    assert ran.err.startswith("note: the service limits the rate (429)")
    assert "aivideomaker_async" not in ran.err


def test_an_unexpected_error_propagates(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours does not look like an error of the service."""

    async def broken(client: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.list_tasks", broken)
    with pytest.raises(ZeroDivisionError):
        cli("list")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TaskFailed(TaskDetails(id="x", status=TaskStatus.FAILED)), 1),
        (TaskCancelled(TaskDetails(id="x", status=TaskStatus.CANCEL)), 1),
        (UsageError("no"), 2),
        (InvalidSpec("TextToVideo", [FieldProblem("prompt", "5", "a text")]), 2),
        (ConfigurationError("no API key"), 3),
        (AuthenticationFailed("no", status=401, method="GET", path="/"), 3),
        (InsufficientCredits("no", status=402, method="POST", path="/"), 4),
        (ConnectFailed("no", method="GET", path="/"), 4),
        (UnknownPrice("lv", "2026-09"), 4),
        (OSError("no"), 4),
        (KeyboardInterrupt(), 130),
        (OutputClosed(), 141),
        (Terminated(), 143),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    """Whatever has no code of its own is a trouble of the service or of the network."""
    assert exit_code_of(error) == code


# --- imports -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["cyclopts", "rich.console"])
def test_without_its_extra_the_command_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    for name in [name for name in sys.modules if name.startswith("aivideomaker_async.cli.") and name != entry.__name__]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["--help"]) == 3
    hint = 'run pip install ".[cli]" in a checkout of the repository of aivideomaker-async'
    assert capsys.readouterr().err == f'error: the command needs its extra "cli": {hint}\n'


def test_another_failed_import_is_not_blamed_on_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "aivideomaker_async.cli.app")
    monkeypatch.setitem(sys.modules, "aivideomaker_async.cli.spec_commands", None)
    with pytest.raises(ImportError, match=r"cli\.spec_commands"):
        main(["--help"])


def test_ctrl_c_during_the_imports_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "aivideomaker_async.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "aivideomaker_async.cli.app")
    monkeypatch.setattr("sys.meta_path", [Interrupting(), *sys.meta_path])
    assert main(["--help"]) == 130


def test_a_process_imports_only_what_it_needs_and_works_as_a_module() -> None:
    """The package does not import the command, nor the help anything slow. Without the extra, the module reports it."""
    code = """
import runpy, sys, aivideomaker_async
loaded = [name for name in sys.modules if name.partition(".")[0] in {"cyclopts", "rich"} or ".cli." in name]
from aivideomaker_async.cli.main import main
code = main(["generate", "t2v", "--help"])
slow = [name for name in ("av", "PIL", "aiohttp", "aivideomaker_async.simulator.simulator") if name in sys.modules]
print("RESULT", code, loaded, slow)
for name in [name for name in sys.modules if name.startswith("aivideomaker_async.cli")]:
    del sys.modules[name]
sys.modules["cyclopts"] = None
runpy.run_module("aivideomaker_async", run_name="__main__")
"""
    ran = python(code)
    assert ran.stdout.splitlines()[-1] == "RESULT 0 [] []"
    assert ran.returncode == 3
    assert 'pip install ".[cli]"' in ran.stderr
    assert "Traceback" not in ran.stderr
