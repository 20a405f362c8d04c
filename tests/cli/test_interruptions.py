"""Whatever ends the command early, the paid task goes on and a person is told how to find it."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from aivideomaker_async import RequestTimeout, SubmitOutcomeUnknown
from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import PATIENCE, T2V, Command, When, interrupt, polled, until


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


class SilentServer:
    """Accepts requests and never answers."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            if connection.recv(65536):
                self.received.set()
            self._over.wait(PATIENCE)

    def close(self) -> None:
        self._over.set()
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join(PATIENCE)
        self._listener.close()


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[SilentServer]:
    server = SilentServer()
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_any")
    monkeypatch.setenv("AIVIDEO_BASE_URL", server.url)
    yield server
    server.close()


def test_a_submit_that_is_interrupted_has_an_unknown_outcome(cli: Command, silent: SilentServer, when: When) -> None:
    """The key is told, by which the task can be found where the service keeps keys."""
    when(silent.received.is_set, interrupt)
    ran = cli(*T2V, "--json")
    assert ran.code == 130
    (event,) = ran.events
    assert event["idempotency_key"].startswith("avm-")
    assert event["task_id"] is None
    *_, unknown, command = ran.err.splitlines()
    assert f"outcome is unknown (idempotency key {event['idempotency_key']})" in unknown
    assert command == "  aivideomaker list"


def test_an_answer_that_is_lost_is_exit_code_4(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key in the error is the one that went out."""
    sent: list[str] = []

    async def lose(client: object, spec: object, *, idempotency_key: str) -> None:
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
