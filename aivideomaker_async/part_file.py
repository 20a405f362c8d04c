"""A file that appears under its name only when it is complete.

The methods block and run in threads. A coroutine that is cancelled leaves its thread behind, still at work; so every
step takes the lock, and nothing is opened or written once the file was discarded.
"""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import BinaryIO

from .errors import DownloadError

__all__ = ["PartFile"]


class PartFile:
    """Writes `target` by way of a file beside it, whose name ends in `.part`.

    Args:
        target: the file to be.
        overwrite: whether it may be there already.
    """

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        self.target = target
        # A name of its own: two downloads to one place must not write into each other's file.
        self._part = target.with_name(f"{target.name}.{token_hex(4)}.part")
        self._overwrite = overwrite
        self._file: BinaryIO | None = None
        self._made = False
        self._over = False
        self._lock = Lock()

    def open(self) -> None:
        """Start the file.

        Raises:
            DownloadError: the target exists and may not be replaced.
            OSError: the file cannot be made.
        """
        with self._lock:
            if self._over:
                return
            self._check_target()
            self._file = self._part.open("wb")
            self._made = True

    def write(self, data: bytes | bytearray) -> None:
        """Append `data`."""
        with self._lock:
            if self._file is not None:
                self._file.write(data)

    def commit(self) -> None:
        """Give the file, now complete, its name."""
        with self._lock:
            if self._file is None or self._over:
                return
            self._file.flush()
            os.fsync(self._file.fileno())
            self._close()
            self._check_target()
            self._part.replace(self.target)
            self._over = True

    def discard(self) -> None:
        """Remove what is incomplete; after `commit`, and a second time, this does nothing."""
        with self._lock:
            if self._over:
                return
            self._over = True
            self._close()
            if self._made:
                self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _check_target(self) -> None:
        if not self._overwrite and self.target.exists():
            raise DownloadError(f"{self.target} exists already; pass overwrite=True to replace it")
