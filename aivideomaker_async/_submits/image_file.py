"""The content of an image file, read in pieces by a thread.

A file that the caller has open is read from where it stands to its end. It stays open, and stands there again
afterwards, whatever happens. What is read is held as memoryviews, which no traceback with local variables shows.
"""

from __future__ import annotations

import inspect
import io
import os
import select
import stat
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import IO, Final

from .._redaction import hide_data_uris, shorten
from .body import PIECE

__all__ = ["ImageFile", "borrow", "open_path"]

CHUNK: Final = 4 * PIECE
"""Bytes that are read at once."""

TICK: Final = 0.1
"""Seconds after which a thread that waits for a pipe, or for its turn, looks whether it is still wanted."""

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
}

# Two submits may share one open file; each must read it whole.
_file_locks: Final[weakref.WeakKeyDictionary[object, Lock]] = weakref.WeakKeyDictionary()
_locks_lock: Final = Lock()


class ImageFile:
    """A file that is open for reading.

    Args:
        file: the file.
        size: the bytes from where it stands to its end, as far as known; there may be more or less.
        check: raises when nobody waits for the content any longer.
    """

    def __init__(self, file: IO[bytes], *, size: int | None, check: Callable[[], None]) -> None:
        self._size = size
        self._file = file
        self._check = check

    def excess(self, largest: int) -> int | None:
        """The bytes of the content if these are more than `largest`, as far as is known before reading; else None."""
        return self._size if self._size is not None and self._size > largest else None

    def chunks(self) -> Iterator[memoryview]:
        """The content. Each chunk but the last has `CHUNK` bytes.

        Raises:
            OSError, ValueError: it cannot be read.
        """
        if type(self._file) is io.BytesIO:
            # It gives away what it has without a copy, if asked for the whole.
            yield self._take(self._file.read, -1)
        elif not _takes_size(self._file.read):
            yield self._take(self._file.read)
        else:
            yield from self._in_chunks()

    def _in_chunks(self) -> Iterator[memoryview]:
        # A pipe is read as far as it has something, so that there is a moment to stop.
        is_pipe = self._size is None and _is_plain(self._file)
        read = getattr(self._file, "read1", self._file.read) if is_pipe else self._file.read
        while True:
            chunk = self._chunk(read, is_pipe=is_pipe)
            yield chunk
            if len(chunk) < CHUNK:
                return

    def _chunk(self, read: Callable[[int], object], *, is_pipe: bool) -> memoryview:
        parts: list[memoryview] = []
        missing = CHUNK
        while missing:
            if is_pipe:
                self._wait()
            parts.append(self._take(read, missing))
            if len(parts[-1]) > missing:
                raise ValueError(f"the file gave {len(parts[-1])} bytes when it was asked for {missing}")
            if not parts[-1]:
                break
            missing -= len(parts[-1])
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))

    def _take(self, read: Callable[..., object], *size: int) -> memoryview:
        self._check()
        with _understood("reading it"):
            view, problem = _view(read(*size))
        if problem:
            raise ValueError(problem)
        return view

    def _wait(self) -> None:
        """Wait until a pipe has something, or has ended."""
        # Windows cannot tell: there, who waits in vain can be cancelled, and the thread waits on.
        if not hasattr(select, "poll"):
            return
        poll = select.poll()
        poll.register(self._file.fileno(), select.POLLIN)
        while not poll.poll(TICK * 1000):
            self._check()


@contextmanager
def _understood(what: str) -> Iterator[None]:
    """Makes what a file of others raises, which is what it likes, an error of a file."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except Exception as error:
        reason = shorten(hide_data_uris(f"{type(error).__name__}: {error}"))
        raise ValueError(f"{what} failed with {reason}") from error


def _view(data: object) -> tuple[memoryview, str]:
    """What a file gave, and what is wrong with it. Here it has a name, so here nothing may be raised."""
    nothing = memoryview(b"")
    if isinstance(data, bytes):
        return memoryview(data), ""
    if inspect.iscoroutine(data):
        data.close()
        return nothing, "the file is async: read it first, and pass its bytes"
    if data is None:
        return nothing, "the file has nothing to read yet: it must not be in non-blocking mode"
    return nothing, f"the file gives {type(data).__name__}, and no bytes: open it in mode 'rb'"


def _takes_size(read: Callable[..., object]) -> bool:
    """Whether `read(size)` can be called; a file of the caller's own making may only know `read()`."""
    try:
        inspect.signature(read).bind(CHUNK)
    except TypeError:
        return False
    except ValueError:  # built in
        return True
    return True


def _is_plain(file: IO[bytes]) -> bool:
    """Whether it is a file or pipe of the system, as `open` makes them: not unpacked, decoded or fetched."""
    return type(file) in {io.BufferedReader, io.BufferedRandom, io.FileIO} and isinstance(
        getattr(file, "raw", file), io.FileIO
    )


@contextmanager
def open_path(path: os.PathLike[str], check: Callable[[], None]) -> Iterator[ImageFile]:
    """The file at `path`.

    Args:
        path: where it is.
        check: raises when nobody waits for the content any longer.

    Raises:
        OSError: it cannot be opened.
        ValueError: it is no regular file. To open a named pipe would wait for whoever writes to it, perhaps for ever.
    """
    _check_regular(Path(path).stat())
    with Path(path).open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        # It may have been replaced meanwhile.
        _check_regular(status)
        yield ImageFile(file, size=status.st_size, check=check)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, and no regular file")


@contextmanager
def borrow(file: IO[bytes], check: Callable[[], None], moving: Lock) -> Iterator[ImageFile]:
    """A file of the caller's, which others may borrow at the same time: they take turns.

    Args:
        file: the file.
        check: raises when nobody waits for the content any longer.
        moving: is held while the file does not stand where it stood.

    Raises:
        OSError, ValueError: it is closed, or cannot be moved back.
    """
    with _turn(file, check):
        with moving:
            # Who has stopped this meanwhile has not waited.
            check()
            position = _position(file)
            if position is not None:
                try:
                    yield ImageFile(file, size=_size(file, position), check=check)
                finally:
                    with _understood("moving it back"):
                        file.seek(position)
                return
        yield ImageFile(file, size=None, check=check)


@contextmanager
def _turn(file: IO[bytes], check: Callable[[], None]) -> Iterator[None]:
    with _locks_lock:
        try:
            lock = _file_locks.setdefault(file, Lock())
        except TypeError:  # a file object of a kind that cannot be remembered
            lock = Lock()
    while not lock.acquire(timeout=TICK):
        check()
    try:
        yield
    finally:
        lock.release()


def _position(file: IO[bytes]) -> int | None:
    """Where it stands; None when it cannot be moved back there."""
    seekable = getattr(file, "seekable", None)
    if seekable is None:
        # Such as `mmap`, before Python 3.13: whether it can be moved is seen by doing so.
        with suppress(Exception):
            file.seek(position := file.tell())
            return position
        return None
    with _understood("asking where it stands"):
        if not seekable():
            return None
        position = file.tell()
    if not isinstance(position, int):
        raise ValueError(f"it gives {type(position).__name__} for where it stands, and no int")  # noqa: TRY004  (like all that is wrong with a file)
    return position


def _size(file: IO[bytes], position: int) -> int | None:
    # Others may have to unpack or fetch all of it to know where it ends.
    if type(file) is not io.BytesIO and not _is_plain(file):
        return None
    size = file.seek(0, os.SEEK_END) - position
    file.seek(position)
    return size
