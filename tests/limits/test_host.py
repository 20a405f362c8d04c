"""Special to the limiter of a host: real processes in real time, and the file."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from aivideomaker_async import AIVideoMaker, HostRateLimiter, RateLimiter
from aivideomaker_async._limits.host import default_limiter, file_name_of
from aivideomaker_async._limits.store import StoreUnavailable
from tests.support.limiters import assert_idle, use

pytestmark = pytest.mark.anyio

POSIX: Final = pytest.mark.skipif(os.name != "posix", reason="needs forks and signals")

# --- the file ----------------------------------------------------------------------------------------


async def test_without_a_file_the_process_uses_the_whole_limit_and_logs_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="aivideomaker_async")
    (tmp_path / "file").write_text("no directory")
    limiter = HostRateLimiter(100, 0.5, "x", directory=tmp_path / "file" / "state")
    for _ in range(20):
        await use(limiter)
    assert len(caplog.messages) == 1
    assert "this process alone sends at most 100 queries in 0.5 s" in caplog.text
    assert await asyncio.to_thread(limiter.find_file) is None
    await assert_idle(limiter)


async def test_a_python_without_sqlite_keeps_a_share_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some that were built from source: said once, and no query fails for it."""
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    limiter = HostRateLimiter(100, 0.5, "x", directory=tmp_path)
    for _ in range(5):
        await use(limiter)
    assert len([one for one in caplog.messages if "this Python has no SQLite" in one]) == 1
    assert await asyncio.to_thread(limiter.find_file) is None
    await assert_idle(limiter)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_damaged_file_is_replaced_without_a_burst(tmp_path: Path, content: bytes) -> None:
    limiter = HostRateLimiter(50, 0.5, "x", directory=tmp_path)
    path = tmp_path / file_name_of("x", 0.5)
    await use(limiter)
    await assert_idle(limiter)
    path.write_bytes(content)
    began = time.monotonic()
    await use(limiter)
    assert time.monotonic() - began >= 0.009
    await assert_idle(limiter)
    assert limiter._client.fallback_limit is None
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    "damage", ["UPDATE cell SET text = CAST(x'7bff' AS TEXT)", "DROP TABLE cell; CREATE TABLE cell (odd INT)"]
)
async def test_a_file_with_a_damaged_text_or_table_is_repaired(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = HostRateLimiter(name="x", directory=tmp_path)
    await use(limiter)

    def break_it() -> None:
        with closing(sqlite3.connect(tmp_path / file_name_of("x", 60.0))) as database:
            # At once: the limiter would make a table that is missing.
            database.executescript(f"BEGIN IMMEDIATE; {damage}; COMMIT")

    await asyncio.to_thread(break_it)
    await use(limiter)
    await assert_idle(limiter)
    assert not caplog.records


async def test_a_deleted_file_is_made_anew(tmp_path: Path) -> None:
    """Also while it is in use; the permits in flight are reported to the new one."""
    limiter = HostRateLimiter(50, 0.5, "x", directory=tmp_path)
    permit = await limiter.acquire()
    (tmp_path / file_name_of("x", 0.5)).unlink()
    permit.settle()
    await use(limiter)
    await assert_idle(limiter)
    assert limiter.statistics().in_window == 2


async def test_a_file_that_a_stopped_process_has_locked_is_unavailable_after_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aivideomaker_async._limits.host.LOCK_TIMEOUT_S", 0.1)
    limiter = HostRateLimiter(50, 0.5, "x", directory=tmp_path)
    await use(limiter)
    await assert_idle(limiter)
    with closing(sqlite3.connect(tmp_path / file_name_of("x", 0.5), isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        await asyncio.wait_for(use(limiter), 5)
        assert limiter._client.fallback_limit is not None
    await assert_idle(limiter)


async def test_a_store_that_fails_keeps_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = HostRateLimiter(name="x", directory=tmp_path / "file")._open_store()
    with pytest.raises(StoreUnavailable, match=r"the file of the limit 'x': .*file") as caught:
        await store.update(lambda text, _: (text, None))
    assert isinstance(caught.value.__cause__, OSError)
    await store.aclose()


def test_file_names_are_safe_and_unique() -> None:
    """Names and windows that look alike have different files."""
    names = [
        file_name_of(name, 60.0) for name in ("a:80", "a-80", "A:80", "../../etc/passwd", "", "ü" * 300, "a" * 300)
    ]
    names.append(file_name_of("a:80", 30.0))
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert Path(name).name == name
        assert len(name) < 80
        assert name.isascii()
        assert name[0] not in ".-"


# --- where the file lies -----------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of this test's user."""
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


async def used_file(limiter: HostRateLimiter) -> Path:
    await use(limiter)
    await assert_idle(limiter)
    path = await asyncio.to_thread(limiter.find_file)
    assert path is not None
    assert path.exists()
    return path


async def test_the_file_lies_in_a_private_folder_of_the_state_directory(state: Path) -> None:
    path = await used_file(HostRateLimiter(name="x"))
    assert state in path.parents
    assert path.name == file_name_of("x", 60.0)
    if os.name == "posix":
        assert path.parent.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("origin", ["127.0.0.1:46659", "localhost:80", "[::1]:8080"])
async def test_a_service_on_this_machine_leaves_no_file_behind_in_the_state_directory(origin: str, state: Path) -> None:
    """Each simulator has a port of its own."""
    assert await asyncio.to_thread(default_limiter("aivideomaker.ai").find_file) is not None
    found = await asyncio.to_thread(default_limiter(origin).find_file)
    assert found is not None
    assert not found.is_relative_to(state)


async def test_files_that_were_not_used_for_days_are_removed_when_another_is_made(state: Path) -> None:
    """But not in a directory of the caller, where anything may lie."""

    def names() -> set[str]:
        return {path.name for path in state.rglob("*.sqlite3")}

    for name, age in (("old", 3 * 86400), ("new", 3600), ("next", 0)):
        path = await used_file(HostRateLimiter(name=name))
        os.utime(path, (time.time() - age, time.time() - age))
    kept = {file_name_of(name, 60.0) for name in ("new", "next")}
    assert names() == kept
    os.utime(path.parent / file_name_of("new", 60.0), (0, 0))
    await used_file(HostRateLimiter(name="x", directory=path.parent))
    assert names() == {*kept, file_name_of("x", 60.0)}


@POSIX
async def test_without_a_state_directory_it_lies_with_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory of this user alone; one that others can write is not used."""
    (tmp_path / "file").touch()
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limiter = HostRateLimiter(name="x")
    private = (await used_file(limiter)).parent.parent
    assert private == tmp_path / f"aivideomaker-async-{os.getuid()}"
    assert private.stat().st_mode & 0o077 == 0
    private.chmod(0o777)
    with pytest.raises(StoreUnavailable):
        await limiter._open_store().update(lambda text, _: (text, None))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have rules of their own, which platformdirs knows")
@pytest.mark.parametrize(
    ("state_home", "parent"),
    [(None, "home/.local/state"), ("", "home/.local/state"), (" ", "home/.local/state"), ("state", "state")],
)
async def test_on_linux_it_lies_where_the_xdg_specification_says(
    state_home: str | None, parent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    if state_home is None:
        monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    else:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / state_home) if state_home.strip() else state_home)
    file = await used_file(HostRateLimiter(name="x"))
    assert file.parent == tmp_path / parent / "aivideomaker-async" / "limits"


async def test_without_a_home_it_lies_with_the_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container may have neither a home directory nor a name for its user."""

    def nowhere(*_: object, **__: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    if sys.platform != "linux":
        monkeypatch.setattr("platformdirs.user_state_path", nowhere)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert tmp_path in (await used_file(HostRateLimiter(name="x"))).parents


def test_importing_the_package_opens_no_file_and_loads_nothing_for_it() -> None:
    # A tool that measures the tests may have loaded something already.
    code = (
        "import sys; before = set(sys.modules); import aivideomaker_async; "
        "print(*({'sqlite3', 'redis'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- one process -------------------------------------------------------------------------------------


async def test_busy_threads_of_the_event_loop_do_not_stop_it(tmp_path: Path) -> None:
    loop, over = asyncio.get_running_loop(), threading.Event()
    busy = [loop.run_in_executor(None, over.wait) for _ in range(64)]
    limiter = HostRateLimiter(name="x", directory=tmp_path)
    try:
        await asyncio.wait_for(use(limiter), 5)
    finally:
        over.set()
        await asyncio.gather(*busy)
    await assert_idle(limiter)


async def test_clients_use_the_limiter_of_their_service() -> None:
    """The default one, or that of a given limiter without a name; one of another kind as it is."""
    async with AIVideoMaker("ak_test", base_url="https://A.example:81") as client:
        assert client.limiter is default_limiter("a.example:81")
        assert client.limiter is not default_limiter("a.example:82")
        assert repr(client.limiter) == "HostRateLimiter(limit=60, window=60.0, name='a.example:81', burst=3)"
    shared, own = HostRateLimiter(), RateLimiter()
    async with AIVideoMaker("ak_test", base_url="https://a.example", limiter=shared) as client:
        assert client.limiter is shared.for_origin("a.example")
    async with AIVideoMaker("ak_test", base_url="https://a.example", limiter=own) as client:
        assert client.limiter is own


async def test_a_limiter_without_a_name_can_be_used_without_a_client(tmp_path: Path) -> None:
    limiter = HostRateLimiter(30, 10.0, burst=2, directory=tmp_path)
    assert (await used_file(limiter)).name == file_name_of("default", 10.0)
    sibling = limiter.for_origin("a.example")
    assert (sibling.limit, sibling.window, sibling.burst) == (30, 10.0, 2)
    assert await used_file(sibling) == tmp_path / file_name_of("a.example", 10.0)


FORKED_IMPORTS: Final = """
import asyncio, importlib.abc, os, sys, threading, time
from aivideomaker_async import HostRateLimiter

limiter = HostRateLimiter(1000, 1.0)
importing = threading.Event()

class SlowImports(importlib.abc.MetaPathFinder):
    def find_spec(self, *_):
        if threading.current_thread() is not threading.main_thread():
            importing.set()
            time.sleep(0.02)

async def use():
    (await limiter.acquire()).settle()

# A tool that measures the tests may have loaded them already.
for name in ("sqlite3", "sqlite3.dbapi2"):
    sys.modules.pop(name, None)
sys.meta_path.insert(0, SlowImports())
thread = threading.Thread(target=lambda: asyncio.run(use()))
thread.start()
forks = 0
while thread.is_alive():
    if importing.wait(0.01):
        importing.clear()
        forks += 1
        pid = os.fork()
        if pid == 0:
            asyncio.run(use())
            os._exit(1 if limiter.statistics().granted != 1 else 0)
        assert os.waitpid(pid, 0)[1] == 0
assert forks
"""


@POSIX
def test_a_fork_waits_until_no_thread_imports_what_the_file_needs(state: Path) -> None:
    """Or the child would wait for a module that no thread loads."""
    command = [sys.executable, "-W", "error", "-c", FORKED_IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
