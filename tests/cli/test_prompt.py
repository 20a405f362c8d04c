"""The question at the terminal."""

from __future__ import annotations

import asyncio
import os
import re
import signal

import pytest

from aivideomaker_async.cli.main import main
from aivideomaker_async.cli.output import Output
from aivideomaker_async.cli.prompt import confirm
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import T2V, Person, When, paths


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        *((answer, True) for answer in (b"y\n", b"YES\n", b" yes \r\n")),
        *((answer, False) for answer in (b"n\n", b"\n", b"yesterday\n", b"\x04", b"yes\x04\x04", b"\xff\n")),
    ],
    ids=repr,
)
def test_only_yes_is_yes(person: Person, answer: bytes, expected: bool) -> None:
    """The end of the input is no, too."""
    screen = person(answer)
    assert asyncio.run(confirm(Output(), "generate?")) is expected
    # The terminal itself shows a line break that is typed.
    assert screen.getvalue() == "generate? [y/N] " + ("" if b"\n" in answer else "\n")


def test_keys_that_were_typed_before_the_question_are_no_answer(person: Person) -> None:
    person(b"n\n", before=b"y\n")
    assert asyncio.run(confirm(Output(), "generate?")) is False


@pytest.mark.parametrize(("signalled", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_question(
    september: ThreadedSimulator, person: Person, when: When, signalled: signal.Signals, code: int
) -> None:
    """Nothing was sent, and there is no advice to look for a task."""
    screen = person(b"")
    when(lambda: "[y/N]" in screen.getvalue(), lambda: os.kill(os.getpid(), signalled))
    assert main(list(T2V)) == code
    assert paths(september) == ["POST /quote/t2v"]
    last = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()[-1]
    assert last == f"error: {'interrupted' if code == 130 else 'terminated'}"
