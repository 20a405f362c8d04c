"""Save a file: bytes are written in threads as they arrive, and the file gets its name when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple, Unpack

from anyio import CancelScope

from .._util.threads import DISK, run_at_once
from ..errors import DownloadError, OutputExpired
from .fetch import Fetch
from .part_file import PartFile
from .resume import Transfer, part_key
from .source import Progress, Source

__all__ = ["save"]

WRITE_BYTES: Final = 256 * 1024
"""Bytes that are collected before a thread writes them."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def save(source: Source, path: Path, *, overwrite: bool, resume: bool, progress: Progress | None) -> int:
    """Write a file, or nothing. Returns its size in bytes.

    Args:
        source: where the file is.
        path: where to write it.
        overwrite: whether it may be there already.
        resume: whether an incomplete download is kept and continued.
        progress: called with the bytes that have arrived and those that are expected.

    Raises:
        DownloadError: it cannot be fetched, or not be written.
    """
    part = PartFile(path, overwrite=overwrite, key=part_key(source.url, source.task_id) if resume else None)
    keep = True
    try:
        metadata = await _on_disk(part, part.open)
        transfer = Transfer(metadata, max_bytes=source.options.max_bytes)
        if progress is not None and transfer.position:
            progress(transfer.position, transfer.total)
        buffer = bytearray()
        async with Fetch(source, transfer) as fetch:
            while data := await fetch.read():
                if transfer.position == len(data) and transfer.version is not None:
                    buffer = bytearray()
                    await _on_disk(part, part.begin, transfer.version)
                buffer += data
                if len(buffer) >= WRITE_BYTES:
                    written, buffer = buffer, bytearray()
                    await _on_disk(part, part.write, written)
                if progress is not None:
                    progress(transfer.position, transfer.total)
            await _on_disk(part, part.write, buffer)
        await _on_disk(part, part.commit)
    except OutputExpired:
        # It will never be whole.
        keep = False
        raise
    finally:
        with CancelScope(shield=True):
            await run_at_once(lambda: part.close(keep=keep))
    return transfer.position


async def _on_disk(part: PartFile, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
    """Let a thread do `work`. An error of the disk becomes a `DownloadError` that names the file."""
    try:
        return await DISK.run(work, *arguments)
    except OSError as error:
        raise DownloadError(f"cannot write {part.target}: {error.strerror or error}") from error
    except ValueError as error:
        raise DownloadError(f"cannot write {str(part.target)!r}: {error}") from error
