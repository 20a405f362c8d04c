"""A file that appears under its name only when it is complete.

The methods block and run in threads. A coroutine that is cancelled leaves its thread behind, still at work; so every
step takes the lock, and nothing is opened or written once the file was given up.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Final

from ..errors import DownloadError
from .names import beside
from .sidecar import Locked, Sidecar, Unlockable, open_regular
from .versions import Begun, Version, is_note

__all__ = ["PartFile"]

SAFE_EVERY: Final = 4 * 1024 * 1024
"""Bytes after which what was written is made safe from a crash, and noted: no more than these are fetched twice."""


class PartFile:
    """Writes `target` by way of a file beside it, whose name ends in `.part`.

    Without an `identity` the part has a name of its own, and is removed when it is given up: any number of downloads
    to one place do not come into each other's way.

    With one, it is `target.part`, which a later download of the same file takes up again, also in another process and
    after a crash. What is surely there, and of which version, stands beside it in `target.part.json`, which is locked
    meanwhile. Where the file system knows no locks, it is as without.

    Args:
        target: the file to be.
        overwrite: whether it may be there already.
        identity: what the file is a download of, if it is to be kept.
    """

    def __init__(self, target: Path, *, overwrite: bool, identity: str | None = None) -> None:
        self.target: Path = target
        self._absolute = target
        self._overwrite = overwrite
        self._identity = identity
        self._part: Path | None = None
        self._sidecar: Sidecar | None = None
        self._version: Version | None = None
        self._fd: int | None = None
        self._size = 0
        self._safe = 0
        self._given_up = False
        self._lock = Lock()

    def open(self) -> Begun | None:
        """Start the file, or take it up again. Returns what of it is there.

        Raises:
            DownloadError: the target exists and may not be replaced, or somebody else is writing it.
            OSError: the file cannot be made.
        """
        with self._lock:
            if self._given_up:
                return None
            self._absolute = self.target.absolute()
            self._check_target()
            if self._identity is not None and (sidecar := self._lock_sidecar()) is not None:
                return self._take_up(sidecar, self._identity)
            part = self._beside(f".{token_hex(4)}.part")
            self._fd, self._part = open_regular(part, new=True), part
            return None

    def begin(self, version: Version) -> None:
        """What is written from now on is the file from its first byte on, in this version."""
        with self._lock:
            if self._fd is None:
                return
            self._version, self._size, self._safe = version, 0, 0
            # First of all: what the old note tells is not so any more.
            self._note(durable=True)
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)

    def write(self, data: bytes | bytearray) -> None:
        """Append `data`."""
        with self._lock:
            if self._fd is None:
                return
            written = 0
            with memoryview(data) as view:
                while written < len(view):
                    written += os.write(self._fd, view[written:])
            self._size += written
            if self._sidecar is not None and self._size >= self._safe + SAFE_EVERY:
                self._make_safe(self._fd)

    def commit(self) -> None:
        """Give the file, now complete, its name.

        Raises:
            DownloadError: the target has appeared meanwhile and may not be replaced.
            OSError: it cannot be written, or not be given the name.
        """
        with self._lock:
            if self._fd is None or self._part is None:
                return
            self._make_safe(self._fd)
            if os.fstat(self._fd).st_size != self._size:
                self._safe = 0
                raise OSError(errno.EIO, "somebody else has changed the part meanwhile")
            if self._given_up:
                return
            self._close()
            self._publish(self._part)
            self._part = None
            if self._sidecar is not None:
                self._sidecar.close(remove=True)
            _sync_folder(self._absolute.parent)

    def give_up(self, *, keep: bool = True) -> None:
        """Close what is incomplete; after `commit`, and a second time, this does nothing.

        Args:
            keep: whether it stays for a later download, where it can be taken up again. Else it is removed.
        """
        # Before the lock is had: a commit that is under way may still see it.
        self._given_up = True
        with self._lock:
            part, self._part = self._part, None
            if self._fd is not None:
                with suppress(OSError):
                    if keep and self._sidecar is not None and self._size > self._safe:
                        self._make_safe(self._fd)
                with suppress(OSError):
                    self._close()
            keep = keep and self._safe > 0 and self._version is not None and self._version.validator is not None
            if part is not None and (self._sidecar is None or not keep):
                with suppress(OSError):
                    part.unlink()
                    part = None
            if self._sidecar is not None:
                # A note is never taken from a part that is still there: nobody would know whose it is.
                self._sidecar.close(remove=part is None)

    def _close(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    # --- beside the target ---------------------------------------------------------------------------

    def _beside(self, ending: str) -> Path:
        return self._absolute.with_name(beside(self._absolute.name, ending))

    def _check_target(self) -> None:
        if self._absolute.name in {"", ".."}:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        # A link counts as what it leads to: /dev/stdout is one, and must not become a file.
        with suppress(FileNotFoundError):
            mode = self._absolute.stat().st_mode
            if stat.S_ISDIR(mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                raise DownloadError(f"{self.target} exists already, and is no regular file: it is not replaced")
        if not self._overwrite and os.path.lexists(self._absolute):
            raise DownloadError(f"{self.target} exists already; pass overwrite=True to replace it")

    def _publish(self, part: Path) -> None:
        if self._overwrite:
            part.replace(self._absolute)
            return
        try:
            _rename_to_new(part, self._absolute)
        except FileExistsError:
            # It has appeared meanwhile.
            self._check_target()
            raise

    def _lock_sidecar(self) -> Sidecar | None:
        sidecar = Sidecar(self._beside(".part.json"))
        try:
            sidecar.open()
        except Locked:
            raise DownloadError(f"another download is writing {self.target}") from None
        except Unlockable:
            return None
        return sidecar

    # --- what is kept --------------------------------------------------------------------------------

    def _take_up(self, sidecar: Sidecar, identity: str) -> Begun | None:
        part = self._beside(".part")
        note = ""
        try:
            note = sidecar.read()
            if note and not is_note(note):
                raise _in_the_way(sidecar.path)
            fd = _open_part(part, is_ours=bool(note))
        except BaseException:
            sidecar.close(remove=not note)
            raise
        self._sidecar, self._part, self._fd = sidecar, part, fd
        begun = Begun.from_text(note, identity)
        if begun is None or begun.size > os.fstat(fd).st_size:
            return None
        self._version, self._size, self._safe = begun.version, begun.size, begun.size
        # What lies beyond may never have reached the disk.
        os.ftruncate(fd, begun.size)
        os.lseek(fd, begun.size, os.SEEK_SET)
        return begun

    def _make_safe(self, fd: int) -> None:
        # When this fails, nobody can tell what is on the disk.
        self._safe = 0
        os.fsync(fd)
        self._safe = self._size
        self._note(durable=False)

    def _note(self, *, durable: bool) -> None:
        if self._sidecar is not None and self._identity is not None and self._version is not None:
            begun = Begun(version=self._version, size=self._safe)
            self._sidecar.write(begun.to_text(self._identity), durable=durable)


def _in_the_way(path: Path) -> DownloadError:
    return DownloadError(f"{path} is in the way: it exists already, and no download has left it there")


def _open_part(part: Path, *, is_ours: bool) -> int:
    fd = open_regular(part)
    found = os.fstat(fd)
    if found.st_size > 0 and not is_ours:
        os.close(fd)
        raise _in_the_way(part)
    if found.st_nlink > 1:
        # A process was killed between naming the target and removing the part: to write here would change the target.
        os.close(fd)
        part.unlink()
        return open_regular(part, new=True)
    return fd


def _rename_to_new(part: Path, target: Path) -> None:
    if os.name == "nt":
        # Fails there when the target exists.
        part.rename(target)
        return
    try:
        # Unlike a rename, a link replaces nothing.
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links. Only a file that appears this very moment would be replaced.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        part.rename(target)
    else:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the new name survive a crash, where the system has a way to."""
    if os.name == "nt":
        return
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
