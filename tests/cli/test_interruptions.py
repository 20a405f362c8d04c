"""Whatever ends the command early, the paid task goes on and a person is told how to find it."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from aivideomaker_async import RequestTimeout, SubmitOutcomeUnknown
from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import PATIENCE, T2V, Command, When, interrupt, polled, until
from tests.cli.younger import YoungerService
from tests.support.scripted import Hang


def test_ctrl_c_leaves_the_task_running(cli: Command, slow_service: ThreadedSimulator, when: When) -> None:
    """Exit code 130, and the command that picks the task up again."""
    when(polled(slow_service), interrupt)
    ran = cli(*T2V, "--json")
    (task,) = slow_service.tasks.values()
    assert (ran.code, task.status) == (130, "PROGRESS")
    assert ran.err.splitlines()[-3:] == [
        "error: interrupted",
        "the task goes on; pick it up again with:",
        f"  aivideomaker watch {task.id}",
    ]
    error = ran.events[-1]
    assert (error["type"], error["exit_code"], error["task_id"]) == ("Interrupted", 130, task.id)
    slow_service.finish(task.id)
    assert cli("watch", task.id).code == 0


def test_sigterm_is_exit_code_143(cli: Command, slow_service: ThreadedSimulator, when: When) -> None:
    """A container that stops loses no paid task either."""
    when(polled(slow_service), lambda: os.kill(os.getpid(), signal.SIGTERM))
    ran = cli(*T2V)
    (task,) = slow_service.tasks.values()
    assert (ran.code, task.status) == (143, "PROGRESS")
    assert f"aivideomaker watch {task.id}" in ran.err


def test_a_submit_that_is_interrupted_has_an_unknown_outcome(cli: Command, younger: YoungerService, when: When) -> None:
    """The key is told, by which the task can be found where the service keeps keys."""
    younger.override = lambda arrival: Hang() if "/generate/" in arrival.path else None
    when(lambda: "POST /generate/t2v" in younger.paths, interrupt)
    ran = cli(*T2V, "--json")
    assert ran.code == 130
    (event,) = ran.events
    assert event["idempotency_key"].startswith("avm-")
    assert event["task_id"] is None
    price, _, unknown, command = ran.err.splitlines()
    assert price.startswith("price: 15 credits")
    assert f"outcome is unknown (idempotency key {event['idempotency_key']})" in unknown
    assert command == "  aivideomaker list"


def test_an_answer_that_is_lost_is_exit_code_4(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key in the error is the one that went out."""
    sent: list[str] = []

    async def lose(client: object, spec: object, *, idempotency_key: str, max_credits: int | None) -> None:
        sent.append(idempotency_key)
        raise SubmitOutcomeUnknown(
            "lost", model="t2v", idempotency_key=idempotency_key, began_at=datetime.now(UTC)
        ) from RequestTimeout("no answer", method="POST", path="/")

    monkeypatch.setattr("aivideomaker_async.AIVideoMaker.submit", lose)
    ran = cli(*T2V, "--json")
    assert ran.code == 4
    assert ran.events[-1]["type"] == "SubmitOutcomeUnknown"
    assert [ran.events[-1]["idempotency_key"]] == sent
    assert sent[0] in ran.err
    assert "aivideomaker list" in ran.err


class ClosedPipe(io.StringIO):
    """Standard output that somebody stops to read after some lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self._left = lines

    def write(self, text: str) -> int:
        if not self._left:
            raise BrokenPipeError(32, "Broken pipe")
        self._left -= 1
        return super().write(text)


def test_a_reader_that_goes_away_ends_the_command_not_the_task(
    slow_service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when the error itself cannot be told on standard output."""
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


def test_nobody_needs_to_read_standard_error(
    service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result still comes."""
    monkeypatch.setattr("sys.stderr", ClosedPipe(0))
    assert main(list(T2V)) == 0
    assert capsys.readouterr().out.startswith(service.url)


def test_a_full_disk_is_an_error_in_a_line(
    slow_service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())
    assert main(["list", "--json", "--base-url", slow_service.url]) == 0
    assert main([*T2V, "--json"]) == 4
    assert "error: No space left on device\n" in capsys.readouterr().err


# --- real processes ----------------------------------------------------------------------------------


def start(*argv: str, **options: object) -> subprocess.Popen[str]:
    """The command in a process of its own."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        [sys.executable, "-m", "aivideomaker_async", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_a_process_ends_with_130_on_ctrl_c(slow_service: ThreadedSimulator) -> None:
    """No traceback, nothing on standard output, and the task is still running."""
    process = start(*T2V)
    until(polled(slow_service))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    (task,) = slow_service.tasks.values()
    assert (process.returncode, out, task.status) == (130, "", "PROGRESS")
    assert err.endswith(f"pick it up again with:\n  aivideomaker watch {task.id}\n")
    assert "Traceback" not in err


def test_a_process_survives_a_broken_pipe(slow_service: ThreadedSimulator) -> None:
    """The interpreter has nothing to complain about at its end."""
    process = start(*T2V, "--json")
    until(lambda: slow_service.tasks)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    slow_service.finish(next(iter(slow_service.tasks)))
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(PATIENCE) == 141
    assert "error: standard output was closed" in err
    assert "Exception ignored" not in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize(("signalled", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_that_asks_ends_at_once(younger: YoungerService, signalled: signal.Signals, code: int) -> None:
    """Though a thread of it still reads from the terminal."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "aivideomaker_async", *T2V], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 1024)
    process.send_signal(signalled)
    out, _ = process.communicate(timeout=PATIENCE)
    # What is left of it, up to the end that Linux tells by an error.
    with suppress(OSError):
        while piece := os.read(ours, 1024):
            shown += piece
    os.close(ours)
    assert (process.returncode, out, younger.submits) == (code, b"", [])
    assert shown.endswith(b"interrupted\r\n" if code == 130 else b"terminated\r\n")
    assert b"Traceback" not in shown
    assert b"Fatal" not in shown
