"""The limit of all processes of a host that run as one user, kept in a small SQLite file.

The file is opened, changed and closed for each request, in a thread. So a fork inherits nothing, a killed process
leaves nothing locked, and a deleted file is made anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, final

from .._util.base_url import is_loopback
from .._util.paths import APPLICATION, expanded, user_state_folder
from .shared import SharedRateLimiter
from .store import Step, StoreUnavailable

if TYPE_CHECKING:
    import sqlite3

__all__ = ["HostRateLimiter", "default_limiter"]

T = TypeVar("T")

LOCK_TIMEOUT_S: Final = 2.0
"""How long to wait for other processes; a change takes less than a thousandth of that."""

LOCK_ATTEMPT_S: Final = 0.1
"""The length of one attempt within `LOCK_TIMEOUT_S`. A fork of this process has to wait for its end."""

LOCK_RETRY_S: Final = 0.002

UNUSED_FILE_S: Final = 2 * 86400.0
"""How long a file is kept after its last use."""

ONLY_USER: Final = 0o700

_fork_lock: Final = threading.Lock()
"""Held while SQLite is at work and while a thread imports modules. A fork in the middle would leave the child with
locks that nobody releases: those of SQLite, or those of modules that never finish loading."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_fork_lock.acquire, after_in_parent=_fork_lock.release, after_in_child=_fork_lock.release
    )


class HostRateLimiter(SharedRateLimiter):
    """Keeps all processes of this host within `limit` requests in any `window` seconds, as the service counts them.

    Processes share one limit if they run as one user and their limiters have the same name and window. A limiter
    without a name keeps a window for each service: clients of one service share it. Each process that waits gets an
    equal share, and foreground requests go before background ones of all processes. The permits of a killed process
    count as answered after 10 seconds (or a window, if that is shorter).

    The state is a small file in the user's state directory, or in a private one for temporary files. Where neither can
    be written, only the clients of this process share the limit, and that is logged.

    Args:
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        name: which limit it is; by default one for each service.
        burst: requests that may go at once after an idle time; by default 5 % of the limit.
        directory: where the file lies.
        clock: a clock in seconds that all processes of the host share; by default `time.monotonic`, which runs from the
            start of the host, and which nobody sets.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        limit: int = 60,
        window: float = 60.0,
        name: str | None = None,
        *,
        burst: int | None = None,
        directory: str | os.PathLike[str] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(limit, window, name, burst=burst)
        self._directory = None if directory is None else expanded(directory)
        self._clock = clock

    def __reduce__(self) -> tuple[Any, ...]:
        # For spawned processes: there it is the same limit, and nothing else of this object.
        return self._again(self.name), ()

    def find_file(self) -> Path | None:
        """Return the file of the state, or None if it cannot be kept anywhere. Blocks: call it in a thread."""
        try:
            with _fork_lock:
                import sqlite3  # noqa: F401  (some Pythons were built without it)
            return self._open_store().find()
        except (OSError, ImportError):
            return None

    def _again(self, name: str | None) -> partial[Self]:
        return partial(
            type(self), self.limit, self.window, name, burst=self.burst, directory=self._directory, clock=self._clock
        )

    def _with_name(self, name: str) -> Self:
        return self._again(name)()

    def _open_store(self) -> _FileStore:
        clock = time.monotonic if self._clock is None else self._clock
        name = self.name or "default"
        return _FileStore(name, self.window, self._directory, clock, is_passing=_is_loopback_port(name))


_default: Final = HostRateLimiter()


def default_limiter(origin: str) -> HostRateLimiter:
    """Return the limiter that all clients of `origin` (host and port) on this host use by default."""
    return _default.for_origin(origin)


def _is_loopback_port(name: str) -> bool:
    """Return whether a limit is that of a service on this machine, such as a simulator at a port of its own."""
    host, separator, port = name.rpartition(":")
    return bool(separator) and port.isdigit() and is_loopback(host.strip("[]"))


def file_name_of(name: str, window: float) -> str:
    """Return the file name of a limit: the readable part of its name, and a digest that makes it unique.

    The digest includes the host: several may share home directories, but not their clocks and addresses.
    """
    import hashlib
    import platform

    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:40] or "limit"
    digest = hashlib.sha256(repr((name, float(window), platform.node())).encode()).hexdigest()[:12]
    return f"{readable}-{digest}.sqlite3"


@final
class _FileStore:
    """A text in an SQLite file. See `SharedStore`.

    Args:
        name: the name of the limit.
        window: the length of its window in seconds.
        directory: where the file lies; None for the usual places, where unused files are removed.
        clock: a clock that all processes of the host share.
        is_passing: whether the limit is hardly used again, so that its file lies with the temporary ones.
    """

    def __init__(
        self, name: str, window: float, directory: Path | None, clock: Callable[[], float], *, is_passing: bool
    ) -> None:
        self._is_passing = is_passing
        self._name = name
        self._window = window
        self._directory = directory
        self._clock = clock
        self._path: Path | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def update(self, step: Step[T]) -> T:
        if self._thread is None:
            # A thread of its own, since those of the event loop may all be busy for long.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="aivideomaker_async.limiter")
        try:
            updated = asyncio.get_running_loop().run_in_executor(self._thread, self._update, step)
        except RuntimeError as error:
            # The interpreter is about to exit, and starts no more threads.
            raise StoreUnavailable(str(error)) from error
        return await updated

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    def _update(self, step: Step[T]) -> T:
        try:
            with _fork_lock:
                # Imported on use: only this limiter needs it.
                import sqlite3
        except ImportError as error:
            raise StoreUnavailable(f"this Python has no SQLite ({error})") from error
        try:
            if self._path is None:
                self._path = self.find()
            try:
                return self._wait_and_transact(self._path, step)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                # The text is lost, which an empty one stands for.
                self._path.unlink(missing_ok=True)
                return self._wait_and_transact(self._path, lambda text, now: step(text or "", now))
        except (OSError, sqlite3.Error) as error:
            self._path = None
            raise StoreUnavailable(f"the file of the limit {self._name!r}: {error}") from error

    def _wait_and_transact(self, path: Path, step: Step[T]) -> T:
        """Change the text when no other process does, for which `LOCK_TIMEOUT_S` seconds are enough."""
        import sqlite3

        deadline = time.monotonic() + LOCK_TIMEOUT_S
        while True:
            try:
                with _fork_lock:
                    return self._transact(path, step)
            except sqlite3.OperationalError as error:
                is_locked = error.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
                if not is_locked or time.monotonic() > deadline:
                    raise
            # Without the lock, so that this process can fork.
            time.sleep(LOCK_RETRY_S)

    def _transact(self, path: Path, step: Step[T]) -> T:
        import sqlite3

        with closing(sqlite3.connect(path, timeout=LOCK_ATTEMPT_S, isolation_level=None)) as database:
            # What a crash of the host may lose is of no use after it, since the clock starts again.
            database.execute("PRAGMA synchronous = OFF")
            database.execute("BEGIN IMMEDIATE")
            database.execute("CREATE TABLE IF NOT EXISTS cell (id INTEGER PRIMARY KEY CHECK (id = 1), text TEXT)")
            row = database.execute("SELECT CAST(text AS BLOB) FROM cell").fetchone()
            text, result = step(None if row is None else bytes(row[0] or b"").decode(errors="replace"), self._clock())
            if text is not None:
                database.execute("INSERT OR REPLACE INTO cell VALUES (1, ?)", (text,))
            database.execute("COMMIT")
        return result

    def find(self) -> Path:
        """Return the path of the file in the first directory where it can be read and written.

        Raises:
            OSError: there is no such directory.
        """
        reasons = []
        with _fork_lock:
            file_name = file_name_of(self._name, self._window)
            usual = _usual_directories(is_passing=self._is_passing)
            for directory in usual if self._directory is None else (self._directory,):
                try:
                    directory.mkdir(mode=ONLY_USER, parents=True, exist_ok=True)
                    path = directory / file_name
                    exists = path.exists()
                    if not exists and self._directory is None:
                        _remove_unused_files(directory)
                    if os.access(directory, os.W_OK | os.X_OK) and (not exists or os.access(path, os.R_OK | os.W_OK)):
                        return path
                    reasons.append(f"{directory} cannot be written")
                except OSError as error:
                    reasons.append(str(error))
        raise OSError("; ".join(reasons) or "no directory is private to this user")


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    import sqlite3

    # Operational errors come from outside (locks, a full disk), but for failed SQL: then the file has other tables.
    return not isinstance(error, sqlite3.OperationalError) or error.sqlite_errorcode == sqlite3.SQLITE_ERROR


def _remove_unused_files(directory: Path) -> None:
    # Each port of a service under test leaves a file.
    for file in directory.glob("*.sqlite3*"):
        with suppress(OSError):
            if file.stat().st_mtime < time.time() - UNUSED_FILE_S:
                file.unlink()


def _usual_directories(*, is_passing: bool) -> Iterator[Path]:
    # A container may have neither a home directory nor a name for its user.
    with suppress(RuntimeError, KeyError, OSError):
        state = None if is_passing else user_state_folder()
        if state is not None and state.is_absolute():
            yield state / "limits"
    import tempfile

    user = os.getuid() if hasattr(os, "getuid") else None
    private = Path(tempfile.gettempdir()) / (APPLICATION if user is None else f"{APPLICATION}-{user}")
    private.mkdir(mode=ONLY_USER, exist_ok=True)
    status = private.lstat()
    # Another user may have made this directory: that for temporary files is shared by all.
    if user is None or (status.st_uid == user and not status.st_mode & 0o077 and not private.is_symlink()):
        yield private / "limits"
