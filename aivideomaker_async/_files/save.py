"""A download to a file: what comes is written in a thread, and has its name when all of it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple, Unpack

from anyio import CancelScope, CapacityLimiter
from anyio.lowlevel import RunVar

from .._util.threads import DISK, limiter_of, run_at_once
from ..errors import DownloadError, OutputExpired
from .fetch import Fetch
from .part_file import PartFile
from .resume import Transfer

__all__ = ["Progress", "save", "turn"]

AT_ONCE: Final = 8
"""Downloads of one event loop that run at once; others wait."""

PIECE: Final = 256 * 1024
"""Bytes that are written to disk at once."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Progress = Callable[[int, int | None], object]

_turns: Final[RunVar[CapacityLimiter]] = RunVar("aivideomaker_async.downloads")


def turn() -> CapacityLimiter:
    """What a download must hold to run. One for each event loop, gone with it."""
    return limiter_of(_turns, AT_ONCE)


async def save(part: PartFile, begin: Callable[[Transfer], Fetch], *, most: int, progress: Progress | None) -> int:
    """Write a file, or nothing. Returns its size in bytes.

    Args:
        part: the file to be.
        begin: makes what brings it.
        most: bytes that it may have.
        progress: is told the bytes that are there, and those that are expected.

    Raises:
        DownloadError: it cannot be had, or not be written.
    """
    keep = True
    try:
        transfer = Transfer(await _on_disk(part, part.open), most=most)
        async with begin(transfer) as fetch:
            await _fill(part, fetch, progress)
        await _on_disk(part, part.commit)
    except OutputExpired:
        keep = False
        raise
    finally:
        with CancelScope(shield=True):
            await run_at_once(lambda: part.give_up(keep=keep))
    return transfer.position


async def _fill(part: PartFile, fetch: Fetch, progress: Progress | None) -> None:
    transfer = fetch.transfer
    buffer = bytearray()
    if progress is not None and transfer.position:
        progress(transfer.position, transfer.total)
    while (piece := await fetch.read()) is not None:
        if piece.start == 0 and transfer.version is not None:
            buffer = bytearray()
            await _on_disk(part, part.begin, transfer.version)
        buffer += piece.data
        if len(buffer) >= PIECE:
            data, buffer = buffer, bytearray()
            await _on_disk(part, part.write, data)
        if progress is not None:
            progress(transfer.position, transfer.total)
    await _on_disk(part, part.write, buffer)


async def _on_disk(part: PartFile, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
    """Let a thread do `work`; what the disk has against it names the file."""
    try:
        return await DISK.run(work, *arguments)
    except OSError as error:
        raise DownloadError(f"cannot write {part.target}: {error.strerror or error}") from error
    except ValueError as error:
        raise DownloadError(f"cannot write {str(part.target)!r}: {error}") from error
