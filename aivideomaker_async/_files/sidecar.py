"""A small file beside one that is begun: it tells what is there, and is locked while somebody works at it.

The lock is the operating system's, so that of a process which was killed is gone with it. The methods block.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["Locked", "Sidecar", "Unlockable", "open_regular"]

LONGEST: Final = 64 * 1024
"""Bytes of a note that are read."""

_LOCKED_AT: Final = 1 << 30
"""Where Windows locks a byte: beyond the note, since what is locked cannot be read by others."""

_BUSY: Final = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EWOULDBLOCK})
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL})


if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> None:
        os.lseek(fd, _LOCKED_AT, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int) -> None:
        with suppress(OSError):
            os.lseek(fd, _LOCKED_AT, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        # Closing is not enough where a child process has inherited the descriptor.
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)


class Locked(Exception):
    """Somebody else has the file: another process, or another download of this one."""


class Unlockable(Exception):
    """The file system knows no locks."""


class Sidecar:
    """A note in a file, for whoever has locked it.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self._fd: int | None = None

    def open(self) -> None:
        """Open and lock the file; it is made if it is not there.

        Raises:
            Locked: somebody else has it.
            Unlockable: it cannot be locked at all.
            OSError: it cannot be opened.
        """
        while self._fd is None:
            fd = open_regular(self.path)
            try:
                _lock(fd)
                if self._is_at_path(fd):
                    self._fd = fd
            except BaseException as error:
                if isinstance(error, Unlockable) and os.fstat(fd).st_size == 0:
                    with suppress(OSError):
                        self.path.unlink()
                os.close(fd)
                raise
            if self._fd is None:
                # Whoever had it has just removed it: this is no file that others would find.
                os.close(fd)

    def _is_at_path(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.stat())
        except FileNotFoundError:
            return False

    def read(self) -> str:
        """The note; empty when there is none."""
        assert self._fd is not None  # noqa: S101
        os.lseek(self._fd, 0, os.SEEK_SET)
        return os.read(self._fd, LONGEST).decode(errors="replace")

    def write(self, text: str, *, durable: bool) -> None:
        """Replace the note.

        Args:
            text: the new one.
            durable: whether it must be on disk when this returns, since what follows contradicts the old one.
        """
        assert self._fd is not None  # noqa: S101
        data = text.encode()
        os.lseek(self._fd, 0, os.SEEK_SET)
        written = os.write(self._fd, data)
        # Cut short by a full disk, or by a crash between the two, it cannot be understood: then nothing is relied on.
        os.ftruncate(self._fd, written)
        if durable:
            os.fsync(self._fd)

    def close(self, *, remove: bool) -> None:
        """Give the file back; a second time does nothing.

        Args:
            remove: whether it is not needed any more.
        """
        fd, self._fd = self._fd, None
        if fd is None:
            return
        if sys.platform != "win32" and remove:
            # Before it is unlocked: nobody must lock what is about to go.
            with suppress(OSError):
                self.path.unlink()
        _unlock(fd)
        os.close(fd)
        if sys.platform == "win32" and remove:
            # An open file cannot be removed there; if somebody has opened it meanwhile, it is theirs now.
            with suppress(OSError):
                self.path.unlink()


def open_regular(path: Path, *, new: bool = False) -> int:
    """Open a file for reading and writing, and make it if it is not there. Returns its descriptor.

    Args:
        path: where it is. In a folder that others can write to, a link may lie in wait there: none is followed.
        new: whether it must not be there yet.
    """
    flags = os.O_RDWR | os.O_CREAT | (os.O_EXCL if new else 0)
    fd = os.open(path, flags | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0), 0o666)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


def _lock(fd: int) -> None:
    try:
        _try_lock(fd)
    except OSError as error:
        if error.errno in _BUSY:
            raise Locked from None
        if error.errno in _NO_LOCKS:
            raise Unlockable from None
        raise
