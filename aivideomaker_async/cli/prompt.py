"""A question to the person at the terminal, answered without blocking the event loop."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from contextlib import suppress
from typing import Final

from .output import Output

__all__ = ["confirm"]

_YES: Final = frozenset({b"y", b"yes"})


async def confirm(output: Output, question: str) -> bool:
    """Ask a question, and return whether the answer is yes. Any other answer and the end of the input are no.

    The answer is read in a daemon thread, which is never joined: so Ctrl-C and SIGTERM end the question and the process
    at once, while the thread still reads from the terminal. It reads from the file descriptor, since the buffer of
    `sys.stdin` has a lock, and a thread that holds it lets the interpreter abort at its end.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        line = _read_line(stdin)
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_deliver, answer, line)

    stdin = sys.stdin.fileno()
    # Keys that were typed before the question was shown are not an answer.
    _discard_typed(stdin)
    output.prompt(f"{question} [y/N] ")
    threading.Thread(target=read, name="aivideomaker_async.question", daemon=True).start()
    line = b""
    try:
        line = await answer
    finally:
        if not line.endswith(b"\n"):
            # The cursor is still behind the question.
            output.message("")
    return line.endswith(b"\n") and line.strip().lower() in _YES


def _discard_typed(file: int) -> None:
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
