"""The query limit, shared by all processes of a host that run as one user.

What they share is a small SQLite file. It is opened, changed and closed for each visit, in a thread, so a fork inherits
nothing, a process that is killed leaves nothing locked, and a file that is deleted is made anew.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .shared import CellUnavailable, SharedRateLimiter

if TYPE_CHECKING:
    import sqlite3
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["HostRateLimiter", "default_limiter"]

T = TypeVar("T")

APPLICATION: Final = "aivideomaker-async"

FOLDER: Final = "limits"

BUSY: Final = 2.0
"""Seconds to wait for other processes; a change takes less than a thousandth of that."""

TURN: Final = 0.1
"""Seconds of them for which a fork may have to wait."""

AGAIN: Final = 0.002

PRIVATE: Final = 0o700

KEPT: Final = 2 * 86400.0
"""Seconds after its last use in which a file is kept."""


_no_fork: Final = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_no_fork.release)


class HostRateLimiter(SharedRateLimiter):
    """Keeps all processes of this host within `limit` requests in any `window` seconds, as the service counts them.

    Processes share one limit if they run as one user and their limiters have the same name and window. A limiter
    without a name keeps a window for each service: clients of one service share it. Each process that waits gets an
    equal share, and foreground requests go before background ones of all processes. A process that dies while it has
    permits gives them back after 10 seconds (or a window, if that is shorter) as if its requests had been answered.

    The state is a small file in the user's state directory, or in a private one for temporary files. Where neither can
    be written, only the clients of this process share the limit, and the log says so.

    Args:
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        name: which limit it is; by default one for each service.
        burst: requests that may go at once after a quiet time; by default 5 % of the limit.
        directory: where the file lies.
        clock: seconds of a clock that all processes of the host share; by default `time.monotonic`, which runs from
            the start of the host, and which nobody sets.

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
        super().__init__(self._cell, limit, window, burst=burst)
        self.name: Final = name
        self._directory = None if directory is None else Path(directory)
        self._clock = clock
        self._siblings: dict[str, HostRateLimiter] = {}

    def __repr__(self) -> str:
        return f"HostRateLimiter(limit={self.limit}, window={self.window}, name={self.name!r}, burst={self.burst})"

    def __reduce__(self) -> tuple[Any, ...]:
        # For processes that are spawned: there it is the same limit, and nothing else of this object.
        return _again, (self.limit, self.window, self.name, self.burst, self._directory, self._clock)

    def for_origin(self, origin: str) -> HostRateLimiter:
        """The limiter for the service at `origin` (host and port): this one if it has a name."""
        if self.name is not None:
            return self
        if origin not in self._siblings:
            sibling = _again(self.limit, self.window, origin, self.burst, self._directory, self._clock)
            # Of two threads that ask at once, both get the first.
            self._siblings.setdefault(origin, sibling)
        return self._siblings[origin]

    def find_file(self) -> Path | None:
        """Where the state is kept; None where no file can be. Looks into the file system, so call it in a thread."""
        try:
            return self._cell().find()
        except OSError:
            return None

    def _cell(self) -> _FileCell:
        file = file_name(self.name or "default", self.window)
        clock = time.monotonic if self._clock is None else self._clock
        if self._directory is None:
            return _FileCell(file, _usual_places, clock, tidies=True)
        return _FileCell(file, _only(self._directory), clock)


def _again(
    limit: int,
    window: float,
    name: str | None,
    burst: int,
    directory: Path | None,
    clock: Callable[[], float] | None,
) -> HostRateLimiter:
    return HostRateLimiter(limit, window, name, burst=burst, directory=directory, clock=clock)


_default: Final = HostRateLimiter()


def default_limiter(origin: str) -> HostRateLimiter:
    """The limiter of all clients of `origin` (host and port) on this host that are given none."""
    return _default.for_origin(origin)


# --- the file ----------------------------------------------------------------------------------------


class _FileCell:
    """A text in an SQLite file.

    Args:
        file: its name.
        places: tells the directories that it may lie in, the best first.
        clock: what the processes share.
        tidies: whether nothing else lies there, and files that nobody uses are removed.
    """

    def __init__(
        self, file: str, places: Callable[[], Iterator[Path]], clock: Callable[[], float], *, tidies: bool = False
    ) -> None:
        self._file = file
        self._places = places
        self._clock = clock
        self._tidies = tidies
        self._path: Path | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def change(self, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
        if self._thread is None:
            # Not the loop's own threads: all of them may be at work on something long.
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1, thread_name_prefix="aivideomaker_async.limiter")
        try:
            change = asyncio.get_running_loop().run_in_executor(self._thread, self._change, step)
        except RuntimeError as error:
            # The interpreter is about to exit.
            raise CellUnavailable(str(error)) from None
        return await change

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    def _change(self, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
        with _no_fork:
            import sqlite3
        try:
            if self._path is None:
                self._path = self.find()
            try:
                return self._transact_in_turn(self._path, step)
            except sqlite3.DatabaseError as error:
                if not _is_damaged(error):
                    raise
                # Not a database, or not any more. What it said is lost, which a text that says nothing tells.
                self._path.unlink(missing_ok=True)
                return self._transact_in_turn(self._path, lambda text, now: step(text or "", now))
        except (OSError, sqlite3.Error) as error:
            self._path = None
            raise CellUnavailable(f"{self._file}: {error}") from None

    def _transact_in_turn(self, path: Path, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
        import sqlite3

        deadline = time.monotonic() + BUSY
        while True:
            try:
                # A fork in the middle would leave the child with locks of SQLite's own that nobody gives back.
                with _no_fork:
                    return self._transact(path, step)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
                    raise
                if time.monotonic() > deadline:
                    raise
            time.sleep(AGAIN)

    def _transact(self, path: Path, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
        import sqlite3

        with closing(sqlite3.connect(path, timeout=TURN, isolation_level=None)) as database:
            # What a crash of the whole host may lose is of no use after it: the clock starts again.
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
        reasons = []
        for place in self._places():
            try:
                place.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
                path = place / self._file
                if not path.exists() and self._tidies:
                    _tidy(place)
                if os.access(place, os.W_OK | os.X_OK) and (not path.exists() or os.access(path, os.R_OK | os.W_OK)):
                    return path
                reasons.append(f"{place} cannot be written")
            except OSError as error:
                reasons.append(str(error))
        raise OSError("; ".join(reasons) or "there is no place for it")


def file_name(name: str, window: float) -> str:
    """The file of a limit: what can be read of its name, and what tells it from all others.

    Home directories may be shared by hosts, whose clocks and addresses are not.
    """
    import platform

    host = platform.node()
    short = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:40] or "limit"
    import hashlib

    digest = hashlib.sha256(repr((name, float(window), host)).encode()).hexdigest()[:12]
    return f"{short}-{digest}.sqlite3"


def _tidy(place: Path) -> None:
    """Remove what nobody has used for days: each port of a service under test leaves a file."""
    for file in place.glob("*.sqlite3*"):
        with suppress(OSError):
            if file.stat().st_mtime < time.time() - KEPT:
                file.unlink()


def _is_damaged(error: sqlite3.DatabaseError) -> bool:
    import sqlite3

    # An operational error is the world's, but for SQL that fails: then the file has other tables than ours.
    return not isinstance(error, sqlite3.OperationalError) or error.sqlite_errorcode == sqlite3.SQLITE_ERROR


def _only(directory: Path) -> Callable[[], Iterator[Path]]:
    return lambda: iter((directory,))


def _usual_places() -> Iterator[Path]:
    import tempfile

    from platformdirs import user_state_path

    # A container may have neither a home directory nor a name for its user.
    with suppress(RuntimeError, KeyError, OSError):
        usual = user_state_path(APPLICATION, appauthor=False)
        if usual.is_absolute():
            yield usual / FOLDER
    user = os.getuid() if hasattr(os, "getuid") else None
    private = Path(tempfile.gettempdir()) / (APPLICATION if user is None else f"{APPLICATION}-{user}")
    private.mkdir(mode=PRIVATE, exist_ok=True)
    status = private.lstat()
    # The directory for temporary files is everybody's: somebody else may have made this one.
    if user is None or (status.st_uid == user and not status.st_mode & 0o077 and not private.is_symlink()):
        yield private / FOLDER
