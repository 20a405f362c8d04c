"""Streams that are closed, full or terminals, live progress, and texts of a service that must not do harm."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aivideomaker_async.cli.main import main
from aivideomaker_async.cli.output import Output
from aivideomaker_async.cli.progress import format_elapsed, format_size
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import T2V, Command, ScriptedThread, Terminal, When, finish_all
from tests.support.scripted import Reply

posix = pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")


def test_numbers_for_people() -> None:
    assert [format_elapsed(seconds) for seconds in (0, 59.9, 60, 3725)] == ["0:00", "0:59", "1:00", "62:05"]
    assert [format_size(count) for count in (0, 999, 24_368, 1_260_000)] == ["0 bytes", "999 bytes", "24 kB", "1.3 MB"]


def test_events_are_json_whatever_their_texts_are(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.json = True
    output.event("error", message="é\ud800\n")
    assert capsys.readouterr().out == '{"event": "error", "message": "\\u00e9\\ud800\\n"}\n'


def test_a_character_that_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """`LANG=C` is common in containers."""
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    Output().result("é")
    assert written.getvalue().splitlines() == [b"\\xe9"]


# --- live progress -----------------------------------------------------------------------------------


def test_a_terminal_shows_a_live_line(
    slow_service: ThreadedSimulator, when: When, terminal: Callable[[], Terminal], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is drawn again in place, the cursor returns, and standard output has the result alone."""
    service, screen = slow_service, terminal()
    when(lambda: screen.getvalue().count("PROGRESS") > 1, finish_all(service))
    assert main(list(T2V)) == 0
    (task,) = service.tasks.values()
    shown = screen.getvalue()
    assert "~5 credits" in shown
    assert "\x1b[2K" in shown
    assert "\x1b[?25l" in shown
    assert shown.rstrip().rpartition("\x1b[?25h")[1]
    assert "COMPLETED" in shown.rpartition(task.id)[2]
    assert capsys.readouterr().out == f"{service.url}/videos/{task.id}.mp4\n"


def test_a_terminal_shows_the_download(
    service: ThreadedSimulator, terminal: Callable[[], Terminal], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    place = "aivideomaker_async.cli.progress.ProgressDisplay.note"
    monkeypatch.setattr(place, lambda display, row, note: notes.append(note))
    screen = terminal()
    assert main([*T2V, "-v", "--output", f"{tmp_path}/a.mp4"]) == 0
    assert "DEBUG" in screen.getvalue()
    assert notes[-2:] == ["100 %", ""]


@pytest.mark.parametrize(("flags", "term"), [(["--json"], "xterm"), ([], "dumb")])
def test_nothing_moves_with_json_or_on_a_dumb_terminal(
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


# --- streams that fail, in this process --------------------------------------------------------------


class ClosedPipe(io.StringIO):
    """Standard output whose reader ends after some lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._left = lines

    def write(self, text: str) -> int:
        if not self._left:
            raise BrokenPipeError(32, "Broken pipe")
        self._left -= 1
        return super().write(text)


def test_a_reader_that_ends_ends_the_command_and_not_the_task(
    slow_service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though the error itself cannot be written to standard output."""
    monkeypatch.setattr("sys.stdout", ClosedPipe(1))
    code = main([*T2V, "--json"])
    (task,) = slow_service.tasks.values()
    err = capsys.readouterr().err
    assert (code, task.status) == (141, "PROGRESS")
    assert "error: standard output was closed\n" in err
    assert f"aivideomaker watch {task.id}" in err


def test_the_help_may_be_cut_short(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout", ClosedPipe(0))
    assert main(["--help"]) == 141
    assert capsys.readouterr().err == "error: standard output was closed\n"


def test_standard_error_needs_no_reader(
    service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", ClosedPipe(0))
    assert main(list(T2V)) == 0
    assert capsys.readouterr().out.startswith(service.url)


def test_a_full_disk_is_an_error_in_one_line(
    slow_service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    assert main(["list", "--json", "--base-url", slow_service.url]) == 0
    assert main([*T2V, "--json"]) == 4
    assert "error: No space left on device\n" in capsys.readouterr().err


# --- streams that fail, in processes of their own ----------------------------------------------------


def start(redirected: str, *words: str) -> subprocess.Popen[str]:
    """Start the command with these redirections of a shell."""
    command = ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, "-m", "aivideomaker_async", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@posix
def test_no_stream_that_is_missing_or_full_loses_a_paid_task(service: ThreadedSimulator) -> None:
    """Without standard output nothing is bought. The processes run at once: most of their time is their start."""
    full = Path("/dev/full").exists()
    started = {
        "no stderr": start("2>&-", *T2V),
        "no stdout": start(">&-", *T2V, "--json"),
        **({"full stdout": start(">/dev/full", *T2V), "full stderr": start("2>/dev/full", *T2V)} if full else {}),
    }
    ran = {name: (*process.communicate(timeout=60), process.returncode) for name, process in started.items()}
    out, _, code = ran["no stderr"]
    assert (code, out.count("/videos/")) == (0, 1)
    _, err, code = ran["no stdout"]
    assert (code, err) == (141, "error: standard output was closed\n")
    if full:
        _, err, code = ran["full stdout"]
        assert code == 4
        assert any(f"aivideomaker watch {task}" in err for task in service.tasks)
        out, _, code = ran["full stderr"]
        assert (code, out.count("/videos/")) == (0, 1)
    assert len(service.tasks) == len(ran) - 1


@posix
def test_a_process_survives_a_broken_pipe(service: ThreadedSimulator) -> None:
    """The interpreter prints nothing at its end."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "aivideomaker_async", *T2V, "--json"]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    (task,) = service.tasks
    assert ran.returncode == 141
    assert "error: standard output was closed" in ran.stderr
    assert f"aivideomaker watch {task}" in ran.stderr
    assert "Exception ignored" not in ran.stderr
    assert "Traceback" not in ran.stderr


# --- texts of a service ------------------------------------------------------------------------------

FORGED = "lv\nok       key accepted  FORGED"


@pytest.mark.parametrize(
    "words", [("account",), ("doctor",), ("generate", "lv", "--prompt", "a", "--image", "https://e.example/a.png")]
)
def test_names_of_models_neither_forge_a_line_nor_fill_the_screen(
    cli: Command, scripted_service: ScriptedThread, words: tuple[str, ...]
) -> None:
    body = {"currentBalance": 5, "supportedModels": [FORGED, *(f"model {number}" for number in range(3000))]}
    body |= {"skillVersion": FORGED, "apiVersion": "v1"}
    scripted_service.handler = lambda arrival: (
        Reply(body=body) if arrival.path.endswith("/account") else Reply(400, {"message": "no"})
    )
    ran = cli(*words)
    assert "\nok       key accepted  FORGED" not in ran.out + ran.err
    assert len(ran.out + ran.err) < 6000


@pytest.mark.parametrize("words", [("account",), ("account", "--json"), ("doctor",), ("doctor", "--json"), ("list",)])
def test_a_key_that_a_service_echoes_is_not_shown(
    cli: Command, scripted_service: ScriptedThread, words: tuple[str, ...]
) -> None:
    key = scripted_service.api_key
    body = {"currentBalance": 5, "supportedModels": [f"t2v?{key}"], "apiKey": key, "note": f"glued{key}x"}
    task = {"id": f"tv_{key}", "status": "COMPLETED", "model": f"x{key}", "input": {}}
    scripted_service.handler = lambda arrival: (
        Reply(body=body) if arrival.path.endswith("/account") else Reply(body={"tasks": [task]})
    )
    ran = cli(*words)
    assert ran.code in {0, 4}
    assert key not in ran.out + ran.err
