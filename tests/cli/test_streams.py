"""Streams that are closed, full or gone lose nothing that is paid; and what services say steers no terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import T2V, Command, Person
from tests.cli.younger import YoungerService
from tests.support.scripted import Action, Arrival, Reply

posix = pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")


def shell(redirected: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command with such redirections."""
    line = f'exec "$@" {redirected}'
    command = ["/bin/sh", "-c", line, "sh", sys.executable, "-m", "aivideomaker_async", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@posix
def test_without_standard_error_it_works(service: ThreadedSimulator) -> None:
    ran = shell("2>&-", *T2V)
    (task,) = service.tasks
    assert (ran.returncode, ran.stdout) == (0, f"{service.url}/videos/{task}.mp4\n")
    assert shell("2>&-", "watch", task).returncode == 0


@posix
@pytest.mark.parametrize("json", [(), ("--json",)])
def test_without_standard_output_nothing_is_bought(service: ThreadedSimulator, json: tuple[str, ...]) -> None:
    """Nobody could be told what came of it."""
    ran = shell(">&-", *T2V, *json)
    assert (ran.returncode, ran.stderr) == (141, "error: standard output was closed\n")
    assert not service.tasks


@posix
def test_a_full_disk_does_not_lose_the_task(service: ThreadedSimulator) -> None:
    """The command that takes it up is told."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no full device")
    for json in ((), ("--json",)):
        ran = shell(">/dev/full", *T2V, *json)
        assert ran.returncode == 4
        assert f"aivideomaker watch {list(service.tasks)[-1]}" in ran.stderr
    ran = shell("2>/dev/full", *T2V)
    assert (ran.returncode, ran.stdout.count("/videos/")) == (0, 1)


@posix
def test_a_reader_that_has_gone_at_once_does_not_lose_the_task(service: ThreadedSimulator) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "aivideomaker_async", *T2V, "--json"]
    ran = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writing)
    (task,) = service.tasks
    assert ran.returncode == 141
    assert f"aivideomaker watch {task}" in ran.stderr


def test_what_was_typed_before_the_question_is_no_answer(younger: YoungerService, person: Person) -> None:
    """The price was not on the screen yet."""
    screen = person(b"n\n", before=b"y\n")
    assert main(list(T2V)) == 2
    assert "nothing was sent" in screen.getvalue()
    assert younger.submits == []


def test_what_is_charged_beyond_the_limit_is_told(cli: Command, younger: YoungerService) -> None:
    """Some services do not heed it."""

    def dearer(arrival: Arrival) -> Action | None:
        if "/generate/" not in arrival.path:
            return None
        reply = younger._usual(arrival)
        assert isinstance(reply, Reply) and isinstance(reply.body, dict)
        return Reply(body={**reply.body, "creditsCharged": 30})

    younger.override = dearer
    ran = cli(*T2V, "--max-credits", "15")
    assert ran.code == 0
    assert "note: the service has charged 30 credits (USD 0.30), more than the agreed 15" in ran.err
    ran = cli(*T2V, "--json")
    assert "more than the agreed 15" in ran.err


FORGED = "lv\nok       key accepted  FORGED"


@pytest.mark.parametrize(
    "words", [("account",), ("doctor",), ("generate", "lv", "--prompt", "a", "--image", "https://e.example/a.png")]
)
def test_names_of_models_forge_no_line(cli: Command, younger: YoungerService, words: tuple[str, ...]) -> None:
    """Nor fill the screen."""
    body = {"currentBalance": 5, "supportedModels": [FORGED, *(f"model {number}" for number in range(3000))]}
    body |= {"skillVersion": FORGED, "apiVersion": "v1"}
    younger.override = lambda arrival: Reply(body=body) if arrival.path.endswith("/account") else None
    ran = cli(*words)
    assert "\nok       key accepted  FORGED" not in ran.out + ran.err
    assert len(ran.out + ran.err) < 6000


@pytest.mark.parametrize("words", [("account",), ("account", "--json"), ("doctor",), ("doctor", "--json"), ("list",)])
def test_a_key_that_a_service_echoes_is_shown_nowhere(
    cli: Command, younger: YoungerService, words: tuple[str, ...]
) -> None:
    key = younger.api_key
    body = {"currentBalance": 5, "supportedModels": [f"t2v?{key}"], "apiKey": key, "note": f"glued{key}x"}
    task = {"id": f"tv_{key}", "status": "COMPLETED", "model": f"x{key}", "input": {}}
    younger.override = lambda arrival: (
        Reply(body=body) if arrival.path.endswith("/account") else Reply(body={"tasks": [task]})
    )
    ran = cli(*words)
    assert ran.code in {0, 4}
    assert key not in ran.out + ran.err


def test_a_key_that_was_not_sent_was_not_accepted(
    cli: Command, younger: YoungerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"currentBalance": 5, "supportedModels": ["t2v"]}
    younger.override = lambda arrival: Reply(body=body)
    monkeypatch.delenv("AIVIDEO_API_KEY")
    ran = cli("doctor")
    assert ran.code == 3
    assert "key accepted" not in ran.out


def test_wrong_images_are_told_in_the_words_of_a_command_line(cli: Command, service: ThreadedSimulator) -> None:
    for given in ("https://", "nope.png", ""):
        ran = cli("generate", "i2v", "--duration", "5", "--image", given)
        assert ran.code == 2
        assert not any(word in ran.err for word in ("pathlib", "Path(", "AIVideoMaker("))
