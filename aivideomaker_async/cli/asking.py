"""A question to the person at the terminal, while the event loop goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress
from typing import Final

from .output import Output

__all__ = ["ask"]

_YES: Final = frozenset({b"y", b"yes"})


async def ask(output: Output, question: str) -> bool:
    """Whether the answer is yes. Anything else is no, also the end of the input.

    The answer is read in a thread that nobody waits for: Ctrl-C and SIGTERM end the question at once, and the process,
    though the thread still stands at the terminal. It reads from the file itself, since Python's own buffer has a lock
    that would be held when the interpreter ends.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        line = _read_line(stdin)
        # The loop may have gone meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_deliver, answer, line)

    stdin = sys.stdin.fileno()
    # What was typed before the question is no answer to it.
    _forget_typed(stdin)
    output.prompt(f"{question} [y/N] ")
    threading.Thread(target=read, name="aivideomaker_async.question", daemon=True).start()
    line = b""
    try:
        line = await answer
    finally:
        if not line.endswith(b"\n"):
            # The cursor still stands behind the question.
            output.say("")
    return line.endswith(b"\n") and line.strip().lower() in _YES


def _forget_typed(file: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            msvcrt.getwch()
    else:
        import termios

        with suppress(termios.error):
            termios.tcflush(file, termios.TCIFLUSH)


def _read_line(file: int) -> bytes:
    line = b""
    with suppress(OSError):
        while not line.endswith(b"\n") and (piece := os.read(file, 1024)):
            line += piece
    return line


def _deliver(answer: asyncio.Future[bytes], line: bytes) -> None:
    if not answer.done():
        answer.set_result(line)
