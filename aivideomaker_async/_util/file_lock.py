"""Locks of the operating system on open files: they end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final

__all__ = ["lock_file", "unlock_file"]

_BUSY: Final = frozenset({errno.EACCES, errno.EAGAIN, errno.EDEADLK, errno.EWOULDBLOCK})


def lock_file(fd: int) -> bool:
    """Lock an open file without waiting. Return False where the file system has no locks.

    Raises:
        BlockingIOError: it is locked.
    """
    try:
        _try_lock(fd)
    except OSError as error:
        if error.errno in _BUSY:
            raise BlockingIOError(error.errno, error.strerror) from error
        return False
    return True


if sys.platform == "win32":
    import msvcrt

    def _try_lock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def unlock_file(fd: int) -> None:
        """Unlock a file, before it is closed."""
        with suppress(OSError):
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try_lock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def unlock_file(fd: int) -> None:
        """Unlock a file, before it is closed: a forked child may hold the descriptor as well."""
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
