"""When something ends the command early, the paid task goes on, and a person gets the command that finds it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from aivideomaker_async import RequestTimeout, SubmitOutcomeUnknown
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import T2V, TIMEOUT_S, Command, When, interrupt, paths, polled


@pytest.mark.parametrize(
    ("number", "code", "kind", "message"),
    [(signal.SIGINT, 130, "Interrupted", "interrupted"), (signal.SIGTERM, 143, "Terminated", "terminated")],
)
def test_a_signal_leaves_the_task_running(
    cli: Command, slow_service: ThreadedSimulator, when: When, number: int, code: int, kind: str, message: str
) -> None:
    """The command that picks the task up again is shown."""
    when(polled(slow_service), lambda: os.kill(os.getpid(), number))
    ran = cli(*T2V, "--json")
    (task,) = slow_service.tasks.values()
    assert (ran.code, task.status) == (code, "PROGRESS")
    assert ran.err.splitlines()[-3:] == [
        f"error: {message}",
        "the task goes on; pick it up again with:",
        f"  aivideomaker watch {task.id}",
    ]
    error = ran.events[-1]
    assert (error["type"], error["exit_code"], error["task_id"]) == (kind, code, task.id)
    slow_service.finish(task.id)
    assert cli("watch", task.id).code == 0


def test_a_submit_that_is_interrupted_has_an_unknown_outcome(
    cli: Command, september: ThreadedSimulator, when: When
) -> None:
    """The error has the idempotency key, by which the task can be found where the service keeps keys."""
    september.fault("hang", on="submit")
    when(lambda: "POST /generate/t2v" in paths(september), interrupt)
    ran = cli(*T2V, "--json")
    assert ran.code == 130
    (event,) = ran.events
    assert event["idempotency_key"].startswith("avm-")
    assert event["task_id"] is None
    price, _, unknown, command = ran.err.splitlines()
    assert price.startswith("price: 15 credits")
    assert f"outcome is unknown (idempotency key {event['idempotency_key']})" in unknown
    assert command == "  aivideomaker list"


def test_a_lost_answer_is_exit_code_4_with_the_key_of_the_submit(
    cli: Command, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert SubmitOutcomeUnknown.from_dict(ran.events[-1]).idempotency_key == sent[0]
    assert sent[0] in ran.err
    assert "aivideomaker list" in ran.err


# --- a process of its own ----------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_process_that_asks_ends_at_once_on_sigterm(september: ThreadedSimulator) -> None:
    """Though a thread of it still reads from the terminal."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "aivideomaker_async", *T2V], stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(ours, 1024)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    # Linux reports the end of a pseudo-terminal by an error.
    with suppress(OSError):
        while piece := os.read(ours, 1024):
            shown += piece
    os.close(ours)
    assert (process.returncode, out, september.tasks) == (143, b"", {})
    assert shown.endswith(b"terminated\r\n")
    assert b"Traceback" not in shown
    assert b"Fatal" not in shown
