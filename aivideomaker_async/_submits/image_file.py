"""The content of an image file, read in chunks by a thread.

A file that the caller has open is read from its position to its end. It stays open, and is put back to that position
afterwards, whatever happens. One that does not say that it can be put back, such as a pipe, is read to its end.
"""

from __future__ import annotations

import io
import os
import stat
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import IO, Final

from .._redaction import hide_data_uris, shorten
from .._util.paths import expanded
from .body import PIECE_BYTES

__all__ = ["ImageTooLarge", "ReadJob", "read_open_file", "read_path"]

CHUNK_BYTES: Final = 4 * PIECE_BYTES
"""Bytes that are read at once. A chunk is encoded in whole pieces."""

TURN_CHECK_S: Final = 0.1
"""How often a thread that waits for a shared file checks whether its result is still wanted."""

_FILE_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}

_file_locks: Final[weakref.WeakKeyDictionary[object, Lock]] = weakref.WeakKeyDictionary()
"""Held by the thread that reads a file. Calls that share an open file would otherwise each get a part of it."""
_file_locks_lock: Final = Lock()


class ImageTooLarge(ValueError):
    """An image has more bytes than it may have; the message has their number."""


class JobCancelled(Exception):
    """The call that wanted the image was cancelled."""


class ReadJob:
    """The thread that reads one image, seen from the call that waits for it and may be cancelled."""

    def __init__(self) -> None:
        self.cancelled: bool = False
        self.moved: Lock = Lock()
        """Held while a file of the caller's is not at its position."""

    def check(self) -> None:
        """Stop the thread if the call was cancelled.

        Raises:
            JobCancelled: it was.
        """
        if self.cancelled:
            raise JobCancelled

    def wait_until_restored(self, timeout: float) -> None:
        """Block until the file is back at its position, at most `timeout` seconds."""
        if self.moved.acquire(timeout=timeout):
            self.moved.release()


def read_path(path: os.PathLike[str], max_bytes: int, job: ReadJob) -> list[bytes]:
    """Return the content of a file in chunks. Each chunk but the last has `CHUNK_BYTES`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not a regular file: to open a named pipe would wait for a writer, and some devices never end.
        ImageTooLarge: it has more than `max_bytes`.
    """
    path = expanded(path)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"it is {_FILE_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, and not a regular file")
    if status.st_size > max_bytes:
        raise ImageTooLarge(f"it has {status.st_size:,} bytes")
    with path.open("rb", buffering=0) as file:
        return _read_chunks(file, max_bytes, job)


def read_open_file(file: IO[bytes], max_bytes: int, job: ReadJob) -> list[bytes]:
    """Return the rest of a caller's file in chunks. Each chunk but the last has `CHUNK_BYTES`.

    Raises:
        OSError, ValueError: it cannot be read, or not be put back.
        ImageTooLarge: it has more than `max_bytes`.
    """
    with _only_reader(file, job), _file_errors():
        seekable: Callable[[], bool] | None = getattr(file, "seekable", None)
        if seekable is None or not seekable():
            return _read_chunks(file, max_bytes, job)
        with job.moved:
            # A call that was cancelled before this moment has not waited for the file.
            job.check()
            position = file.tell()
            try:
                return _read_chunks(file, max_bytes, job)
            finally:
                file.seek(position)


@contextmanager
def _only_reader(file: IO[bytes], job: ReadJob) -> Iterator[None]:
    with _file_locks_lock:
        try:
            lock = _file_locks.setdefault(file, Lock())
        except TypeError:
            # A file object that cannot be weakly referenced: nothing can be remembered about it.
            lock = Lock()
    while not lock.acquire(timeout=TURN_CHECK_S):
        job.check()
    try:
        yield
    finally:
        lock.release()


def _read_chunks(file: IO[bytes], max_bytes: int, job: ReadJob) -> list[bytes]:
    if type(file) is io.BytesIO:
        # Its size is known, and read as a whole it gives away its bytes without a copy.
        return [file.read()]
    chunks: list[bytes] = []
    size = 0
    while True:
        chunk = _read_chunk(file, job)
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise ImageTooLarge(f"it has more than {max_bytes:,} bytes")
        if len(chunk) < CHUNK_BYTES:
            return chunks


def _read_chunk(file: IO[bytes], job: ReadJob) -> bytes:
    parts: list[bytes] = []
    missing = CHUNK_BYTES
    # A socket or an unbuffered file may give less than it is asked for; only nothing at all is the end.
    while missing:
        job.check()
        part: object = file.read(missing)
        if part is None:
            raise ValueError("the file has nothing to read yet: it must not be in non-blocking mode")
        if not isinstance(part, bytes):
            raise ValueError(f"the file gives {type(part).__name__}, and not bytes: open it in mode 'rb'")  # noqa: TRY004  (as for all that is wrong with a file)
        if len(part) > missing:
            raise ValueError(f"the file gave {len(part)} bytes when it was asked for {missing}")
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


@contextmanager
def _file_errors() -> Iterator[None]:
    """Turn whatever a file object of others raises into an error of a file."""
    try:
        yield
    except io.UnsupportedOperation as error:
        # Its own text is the name of the method.
        raise ValueError("reading it is not supported: open it in mode 'rb'") from error
    except (OSError, ValueError, JobCancelled):
        raise
    except Exception as error:
        reason = shorten(hide_data_uris(f"{type(error).__name__}: {error}"))
        raise ValueError(f"reading it failed with {reason}") from error
