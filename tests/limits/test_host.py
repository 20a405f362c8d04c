"""Special to the limiter of a host: real processes in real time, and the file."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest

from aivideomaker_async import AIVideoMaker, HostRateLimiter, RateLimiter
from aivideomaker_async._limits.host import default_limiter, file_name_of
from aivideomaker_async._limits.store import StoreUnavailable
from tests.support.limiters import assert_idle, use
from tests.support.servers import ExactSliding

pytestmark = pytest.mark.anyio

POSIX: Final = pytest.mark.skipif(os.name != "posix", reason="needs forks and signals")

WORKER: Final = """
import asyncio, json, os, sys, time
from contextlib import suppress
from aivideomaker_async import HostRateLimiter

options = json.loads(sys.argv[1])
limiter = HostRateLimiter(options["limit"], options["window"], "test", directory=options["directory"])
spans = []

async def work():
    while True:
        permit = await limiter.acquire()
        sent = time.monotonic()
        try:
            await asyncio.sleep(options["answer"])
        finally:
            spans.append((sent, time.monotonic()))
            permit.settle(answered=False)

async def main():
    with suppress(TimeoutError):
        async with asyncio.timeout(options["seconds"]):
            await asyncio.gather(*(work() for _ in range(options["waiters"])))

def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""

RUN: Final = """
ready()
asyncio.run(main())
print(json.dumps(spans))
"""


class Worker:
    """A process that sends requests after `go`. Each warning in it is an error."""

    def __init__(self, directory: Path, code: str = RUN, **options: Any) -> None:
        usual = {"limit": 10, "window": 0.5, "seconds": 1.5, "waiters": 1, "answer": 0.01, "directory": str(directory)}
        command = [sys.executable, "-W", "error", "-c", WORKER + textwrap.dedent(code)]
        self.process = subprocess.Popen(
            [*command, json.dumps({**usual, **options})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read())
        return line.strip()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def spans(self) -> list[tuple[float, float]]:
        """Return when each of its requests was sent, and when it was over."""
        out, err = self.process.communicate(timeout=30)
        assert (self.process.returncode, err) == (0, "")
        return [(sent, over) for line in out.splitlines() for sent, over in json.loads(line)]


class Workers(list[Worker]):
    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def start(self, code: str = RUN, **options: Any) -> Worker:
        self.append(Worker(self.directory, code, **options))
        return self[-1]

    def go(self) -> None:
        """Let all of them go at once."""
        assert [worker.line() for worker in self] == ["ready"] * len(self)
        for worker in self:
            worker.go()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    for worker in workers:
        with worker.process as process:
            process.kill()


def assert_limit_kept(spans: list[tuple[float, float]], limit: int = 10, window: float = 0.5) -> None:
    """Assert it for requests that arrive as early as they can, and for those that arrive as late."""
    for arrivals in ([sent for sent, _ in spans], [over for _, over in spans]):
        counter = ExactSliding(limit, window)
        assert all(counter.admit(at) for at in sorted(arrivals))


# --- processes ---------------------------------------------------------------------------------------


def test_processes_share_one_limit_equally(workers: Workers) -> None:
    """A process with one waiter gets as much as one with fifty."""
    for waiters in (1, 50, 5):
        workers.start(waiters=waiters)
    workers.go()
    spans = [worker.spans() for worker in workers]
    assert_limit_kept([*chain.from_iterable(spans)])
    shares = [len(each) for each in spans]
    assert sum(shares) >= 14
    assert min(shares) >= 0.5 * max(shares)


FORKING: Final = """
asyncio.run(main())
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        spans.clear()
        asyncio.run(main())
        with open(os.path.join(options["directory"], f"{os.getpid()}.json"), "w") as file:
            json.dump(spans, file)
        os._exit(0)
    children.append(pid)
asyncio.run(main())
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
print(json.dumps(spans))
for pid in children:
    with open(os.path.join(options["directory"], f"{pid}.json")) as file:
        print(file.read())
"""


@POSIX
def test_forked_processes_share_the_limit_with_their_parent(workers: Workers) -> None:
    spans = workers.start(FORKING, waiters=5, seconds=0.7).spans()
    assert_limit_kept(spans)
    assert len(spans) >= 12


FORKING_IN_USE: Final = """
import threading

stop = threading.Event()

async def some(count):
    for _ in range(count):
        (await limiter.acquire()).settle()

def busy():
    while not stop.is_set():
        asyncio.run(some(5))
        # Leave the file to the children now and then.
        time.sleep(0.002)

thread = threading.Thread(target=busy)
thread.start()
failed = 0
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        asyncio.run(some(2))
        os._exit(1 if limiter._client.fallback_limit else 0)
    failed += os.waitpid(pid, 0)[1] != 0
stop.set()
thread.join()
assert failed == 0
"""


@POSIX
def test_a_fork_waits_until_no_thread_uses_the_file(workers: Workers) -> None:
    """Or the child would inherit locks of SQLite that nobody releases."""
    assert workers.start(FORKING_IN_USE, limit=1000, window=1.0).spans() == []


SPAWNING: Final = """
import pickle
limiter = pickle.loads(pickle.dumps(limiter))
ready()
asyncio.run(main())
print(json.dumps(spans))
"""


def test_a_pickled_limiter_is_the_same_limit(workers: Workers) -> None:
    """As in a process that is spawned."""
    workers.start(SPAWNING, waiters=5, seconds=0.7)
    workers.start(waiters=5, seconds=0.7)
    workers.go()
    assert_limit_kept([span for worker in workers for span in worker.spans()])
    with pytest.raises(AttributeError):
        pickle.dumps(HostRateLimiter(clock=lambda: 0.0))


HOLDING: Final = """
async def hold():
    permits = [await limiter.acquire()]
    asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(0.01)
    print("holds", flush=True)
    await asyncio.sleep(60)
asyncio.run(hold())
"""


@POSIX
async def test_the_permits_of_a_killed_process_expire(workers: Workers) -> None:
    """After their lease and a window; as long as the process lives, it holds them."""
    holder = workers.start(HOLDING, limit=1, window=0.4)
    assert await asyncio.to_thread(holder.line) == "holds"
    limiter = HostRateLimiter(1, 0.4, "test", directory=workers.directory)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(limiter.acquire(), 1.0)
    os.kill(holder.process.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    await asyncio.wait_for(use(limiter), 10)
    assert 0.6 <= time.monotonic() - killed_at <= 1.5
    await assert_idle(limiter)


@POSIX
async def test_a_process_that_is_killed_while_it_changes_the_file_does_no_harm(workers: Workers) -> None:
    for _ in range(3):
        workers.start(limit=10_000, window=1.0, waiters=20, answer=0.0, seconds=60)
    await asyncio.to_thread(workers.go)
    limiter = HostRateLimiter(10_000, 1.0, "test", directory=workers.directory)
    for worker in workers:
        for _ in range(10):
            await asyncio.wait_for(use(limiter), 5)
        os.kill(worker.process.pid, signal.SIGKILL)
    await asyncio.wait_for(use(limiter), 5)
    assert limiter._client.fallback_limit is None
    await assert_idle(limiter)


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
    with pytest.raises(StoreUnavailable, match=r"x-.*sqlite3: .*file") as caught:
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


async def test_without_a_home_it_lies_with_the_temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container may have neither a home directory nor a name for its user."""

    def nowhere(*_: object, **__: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_state_path", nowhere)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert tmp_path in (await used_file(HostRateLimiter(name="x"))).parents


def test_importing_the_package_opens_no_file_and_loads_nothing_for_it() -> None:
    # A tool that measures the tests may have loaded something already.
    code = (
        "import sys; before = set(sys.modules); import aivideomaker_async; "
        "print(*({'sqlite3', 'platformdirs', 'redis'} & (set(sys.modules) - before)))"
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


async def test_a_custom_clock_is_used(tmp_path: Path) -> None:
    """One that runs fast lets requests go fast."""
    limiter = HostRateLimiter(60, 60.0, "x", directory=tmp_path, clock=lambda: time.monotonic() * 10_000)
    for _ in range(10):
        await asyncio.wait_for(use(limiter), 5)
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
