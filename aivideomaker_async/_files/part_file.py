"""A file that appears under its name only when it is complete.

All bytes are written to a part beside the target and synced before the part gets the target's name. A part that is kept
for a later download is locked by the operating system while a download runs, so that no two programs write it; the lock
ends with its process, however that ends. Its metadata is in a second file. Nothing on disk is trusted after a crash:
the metadata holds a hash of what was written, and a part that disagrees begins anew.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Final

from .._util.file_lock import lock_file, unlock_file
from ..errors import DownloadError
from .names import beside
from .resume import PartMetadata, Version, is_part_metadata

__all__ = ["PartFile"]

_CANNOT_SYNC: Final = frozenset({errno.EINVAL, errno.ENOSYS, errno.EROFS, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a file system answers that has no such promise to give. Any other error is one of the disk."""

MAX_METADATA_BYTES: Final = 64 * 1024

HASHED_BYTES: Final = 1024 * 1024
"""Bytes that are read and hashed at once."""


class PartFile:
    """Writes `target` by way of a part beside it, whose name ends in `.part`.

    Without a `key` the part has a random name and is removed when it stays incomplete: any number of downloads to one
    target do not disturb each other.

    With one, the part is `target.part`, its metadata is `target.part.json`, and a later download with the same key
    continues it, also in another process and after a crash. On a file system without locks it is as without a key.

    The methods block and run in threads. A cancelled coroutine leaves its thread at work, so each method holds a lock,
    and nothing is opened or written once the file was closed.

    Args:
        target: the file to be.
        overwrite: whether it may be there already.
        key: the `part_key` of what is downloaded, if an incomplete part is to be kept.
    """

    def __init__(self, target: Path, *, overwrite: bool, key: str | None = None) -> None:
        self.target: Path = target
        self._absolute = target
        self._overwrite = overwrite
        self._key = key
        self._part: Path | None = None
        self._fd: int | None = None
        self._metadata: Path | None = None
        """The file of the metadata, if the part is to be kept."""
        self._version: Version | None = None
        self._size = 0
        self._digest = sha256()
        self._closed = False
        self._lock = Lock()

    def open(self) -> PartMetadata | None:
        """Open the part. Returns what an earlier download has left of it, if that can be continued.

        Raises:
            DownloadError: the target exists and may not be replaced, or another download is writing it.
            OSError: the part cannot be opened.
        """
        with self._lock:
            if self._closed:
                return None
            self._absolute = self.target.absolute()
            self._check_target()
            if self._key is not None and self._open_kept():
                return self._continue(self._key)
            part = self._beside(f".{token_hex(4)}.part")
            self._fd, self._part = _open_regular(part, os.O_CREAT | os.O_EXCL), part
            return None

    def _open_kept(self) -> bool:
        """Open and lock `target.part`. Returns False where the file system has no locks."""
        part, metadata = self._beside(".part"), self._beside(".part.json")
        # Here for the error alone, before a part is made.
        _read_metadata(metadata)
        while self._fd is None:
            fd = _open_regular(part)
            try:
                is_locked, found = lock_file(fd), os.fstat(fd)
                if not is_locked:
                    if found.st_size == 0:
                        part.unlink()
                    return False
                if not _is_at(part, fd):
                    # The previous holder of the lock has just published or removed it.
                    continue
                if found.st_nlink > 1:
                    # A process was killed when it had linked the part to the target: to write here would change that.
                    part.unlink()
                    continue
                if found.st_size > 0 and _read_metadata(metadata) is None:
                    raise _in_the_way(part)
                self._fd, self._part, self._metadata = fd, part, metadata
            except BlockingIOError as error:
                raise DownloadError(f"another download is writing {self.target}") from error
            finally:
                if self._fd is None:
                    os.close(fd)
        return True

    def _continue(self, key: str) -> PartMetadata | None:
        """Return the metadata of the opened part, if the part agrees with them."""
        assert self._fd is not None  # noqa: S101
        assert self._metadata is not None  # noqa: S101
        metadata = PartMetadata.from_text(_read_metadata(self._metadata) or "", key)
        if metadata is None:
            return None
        digest, left = sha256(), metadata.size
        while data := os.read(self._fd, min(left, HASHED_BYTES)):
            digest.update(data)
            left -= len(data)
        if left or digest.hexdigest() != metadata.sha256:
            return None
        # Bytes beyond these were written just before a crash, and are in no hash.
        os.ftruncate(self._fd, metadata.size)
        self._version, self._size, self._digest = metadata.version, metadata.size, digest
        return metadata

    def begin(self, version: Version) -> None:
        """Begin the file anew, from its first byte, in this version."""
        with self._lock:
            if self._fd is None:
                return
            self._version, self._size, self._digest = version, 0, sha256()
            # Synced before the part has any byte: a part whose metadata a power cut has lost is not recognized as ours,
            # and every later download would stop at it.
            self._write_metadata(sync=True)
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
            if self._metadata is not None:
                self._digest.update(data)
                self._write_metadata()

    def _write_metadata(self, *, sync: bool = False) -> None:
        if self._metadata is None or self._key is None or self._version is None:
            return
        metadata = PartMetadata(version=self._version, size=self._size, sha256=self._digest.hexdigest())
        fd = _open_regular(self._metadata)
        try:
            # Truncated last: killed before, the process leaves the old text or one that is malformed, never none.
            os.ftruncate(fd, os.write(fd, metadata.to_text(self._key).encode()))
            if sync:
                _sync(fd)
        finally:
            os.close(fd)

    def commit(self) -> None:
        """Give the file, now complete, its name.

        Raises:
            DownloadError: the target has appeared and may not be replaced.
            OSError: the file cannot be synced or named.
        """
        with self._lock:
            if self._fd is None or self._part is None:
                return
            try:
                # Before it is named: after a power cut a name could lead to an empty file.
                _sync(self._fd)
                if os.fstat(self._fd).st_size != self._size:
                    raise OSError(errno.EIO, "another program has changed the part")
            except OSError:
                # After a failed sync the system may lose bytes that it goes on showing. They are not kept.
                self._version = None
                raise
            if self._closed:
                return
            if sys.platform == "win32":
                # An open file cannot be renamed there.
                self._close_part()
            self._publish(self._part)
            self._part = None
            if self._metadata is not None:
                with suppress(OSError):
                    self._metadata.unlink()
            self._close_part()

    def close(self, *, keep: bool = True) -> None:
        """Close an incomplete file. After `commit`, and a second time, this does nothing.

        Args:
            keep: whether a part that can be continued stays for a later download.
        """
        # Set before the lock is taken, so that a `commit` at work sees it.
        self._closed = True
        with self._lock:
            part, self._part = self._part, None
            can_continue = self._size > 0 and self._version is not None and self._version.etag is not None
            is_kept = keep and can_continue and self._metadata is not None
            with suppress(OSError):
                if sys.platform == "win32":
                    self._close_part()
                if part is not None and not is_kept:
                    part.unlink()
                    # Last: a part without metadata is not recognized as ours.
                    if self._metadata is not None:
                        self._metadata.unlink(missing_ok=True)
            with suppress(OSError):
                self._close_part()

    def _close_part(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            unlock_file(fd)
            os.close(fd)

    def _beside(self, ending: str) -> Path:
        return self._absolute.with_name(beside(self._absolute.name, ending))

    def _check_target(self) -> None:
        if self._absolute.name in {"", ".."}:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # A link counts as what it leads to: /dev/stdout is one, and must not be replaced by a file.
        with suppress(FileNotFoundError):
            mode = self._absolute.stat().st_mode
            if stat.S_ISDIR(mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not stat.S_ISREG(mode):
                raise DownloadError(f"{self.target} exists already and is not a regular file; it is not replaced")
        if not self._overwrite and os.path.lexists(self._absolute):
            raise DownloadError(f"{self.target} exists already; pass overwrite=True to replace it")

    def _publish(self, part: Path) -> None:
        if self._overwrite:
            part.replace(self._absolute)
            return
        try:
            _rename_to_new(part, self._absolute)
        except FileExistsError:
            # The target has appeared during the download.
            self._check_target()
            raise


def _rename_to_new(part: Path, target: Path) -> None:
    """Rename `part`, but replace nothing."""
    if sys.platform == "win32":
        # Fails there when the target exists.
        part.rename(target)
        return
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError as error:
        # A file system without hard links. Only a target that appears at this very moment would be replaced.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from error
        part.rename(target)
    else:
        part.unlink(missing_ok=True)


def _open_regular(path: Path, flags: int = os.O_CREAT) -> int:
    """Open a file for reading and writing; by default, make it if it does not exist. Returns its descriptor.

    No link is followed: in a folder that others write to, it could lead to any file. Nothing else than a regular file
    is opened: a pipe could wait for its other end for ever.
    """
    flags |= os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    fd = os.open(path, flags, 0o666)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


def _sync(fd: int) -> None:
    """Write a file to the disk, where its file system can do that: some mounts of a network cannot.

    Raises:
        OSError: it was not written.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _read_metadata(path: Path) -> str | None:
    """Return the text of a metadata file, or None if there is none or it is empty.

    Raises:
        DownloadError: it is not a metadata file.
    """
    try:
        fd = _open_regular(path, 0)
    except FileNotFoundError:
        return None
    try:
        text = os.read(fd, MAX_METADATA_BYTES).decode(errors="replace")
    finally:
        os.close(fd)
    if text and not is_part_metadata(text):
        raise _in_the_way(path)
    return text or None


def _in_the_way(path: Path) -> DownloadError:
    return DownloadError(f"{path} is in the way: it exists already, and no download has left it there")
