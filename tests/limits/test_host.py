"""The limiter that all processes of a host share, with real processes, a real file and real time."""

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
from aivideomaker_async._limits.host import default_limiter, file_name
from aivideomaker_async._limits.shared import CellUnavailable
from tests.support.leaks import our_tasks
from tests.support.servers import ExactSliding

pytestmark = pytest.mark.anyio

POSIX: Final = pytest.mark.skipif(os.name != "posix", reason="needs fork and signals")

WORKER: Final = """
import asyncio, json, os, sys, time
from contextlib import suppress
from aivideomaker_async import HostRateLimiter, Priority

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
    """A process of its own, which waits for `go` when it is ready, and complains about everything."""

    def __init__(self, directory: Path, code: str = RUN, **options: Any) -> None:
        usual = {"limit": 10, "window": 0.5, "seconds": 1.5, "waiters": 1, "answer": 0.01, "directory": str(directory)}
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", WORKER + textwrap.dedent(code)]
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
        """When each of its requests was sent, and when it was over."""
        out, err = self.process.communicate(timeout=30)
        assert (self.process.returncode, err) == (0, "")
        return [(sent, over) for line in out.splitlines() for sent, over in json.loads(line)]


class Workers(list[Worker]):
    """Processes that are started, and gone at the end of the test."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def start(self, code: str = RUN, **options: Any) -> Worker:
        self.append(Worker(self.directory, code, **options))
        return self[-1]

    def go(self) -> None:
        """All at once."""
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
    """Whenever the requests arrived: as early as they could, or as late."""
    for arrivals in ([sent for sent, _ in spans], [over for _, over in spans]):
        counter = ExactSliding(limit, window)
        assert all(counter.admit(at) for at in sorted(arrivals))


def files(directory: Path) -> list[Path]:
    return list(directory.rglob("*.sqlite3"))


async def idle(limiter: HostRateLimiter) -> None:
    async with asyncio.timeout(5):
        while our_tasks():  # noqa: ASYNC110  (told by no event)
            await asyncio.sleep(0.005)
    assert limiter.statistics().in_flight == 0


# --- processes ---------------------------------------------------------------------------------------


def test_processes_keep_the_limit_together_and_share_it(workers: Workers) -> None:
    """One waiter gets as much as fifty elsewhere; no window holds more than the limit, whenever requests arrive."""
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
def test_a_limiter_goes_on_in_forked_processes(workers: Workers) -> None:
    """It was used before the fork, and all of them use it at once."""
    spans = workers.start(FORKING, waiters=5, seconds=0.7).spans()
    assert_limit_kept(spans)
    assert len(spans) >= 12


FORKED_INSIDE: Final = """
async def inside():
    permit = await limiter.acquire()
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(0.01)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        permit.settle()
        permit.refund()
        state = limiter.statistics()
        os.write(write, json.dumps([state.in_flight, state.waiting_foreground]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads(os.read(read, 100)) == [0, 0]
    assert limiter.statistics().in_flight + limiter.statistics().waiting_foreground == 2
    permit.settle()
    (await waiter).settle()

asyncio.run(inside())
"""


@POSIX
def test_a_fork_inherits_no_permits_and_no_waiters(workers: Workers) -> None:
    """And giving back a permit of the parent does nothing."""
    assert workers.start(FORKED_INSIDE, limit=1).spans() == []


SPAWNING: Final = """
import pickle
limiter = pickle.loads(pickle.dumps(limiter))
ready()
asyncio.run(main())
print(json.dumps(spans))
"""


def test_a_limiter_can_be_handed_to_a_spawned_process(workers: Workers) -> None:
    """There it is the same limit."""
    workers.start(SPAWNING, waiters=5, seconds=0.7)
    workers.start(waiters=5, seconds=0.7)
    workers.go()
    spans = [span for worker in workers for span in worker.spans()]
    assert_limit_kept(spans)
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
async def test_a_process_that_is_killed_gives_its_permits_back(workers: Workers) -> None:
    """After its lease and a window, and not before; it delays the others no longer."""
    holder = workers.start(HOLDING, limit=1, window=0.4)
    assert await asyncio.to_thread(holder.line) == "holds"
    limiter = HostRateLimiter(1, 0.4, "test", directory=workers.directory)
    with pytest.raises(TimeoutError):
        # As long as it lives it may hold its permit.
        await asyncio.wait_for(limiter.acquire(), 1.0)
    os.kill(holder.process.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    (await asyncio.wait_for(limiter.acquire(), 10)).settle()
    assert 0.6 <= time.monotonic() - killed_at <= 1.5
    await idle(limiter)


@POSIX
async def test_a_process_that_is_killed_at_any_moment_does_no_harm(workers: Workers) -> None:
    """Also while it changes the file, which it does all the time."""
    for _ in range(3):
        workers.start(limit=10_000, window=1.0, waiters=20, answer=0.0, seconds=60)
    await asyncio.to_thread(workers.go)
    limiter = HostRateLimiter(10_000, 1.0, "test", directory=workers.directory)
    for worker in workers:
        for _ in range(10):
            (await asyncio.wait_for(limiter.acquire(), 5)).settle()
        os.kill(worker.process.pid, signal.SIGKILL)
    (await asyncio.wait_for(limiter.acquire(), 5)).settle()
    assert limiter._here().spare is None
    await idle(limiter)


PAUSING: Final = """
async def pause():
    (await limiter.acquire()).settle()
    limiter.pause(0.7)
    while limiter._here().has_words:
        await asyncio.sleep(0.005)
    print("paused", flush=True)
    await asyncio.sleep(60)
asyncio.run(pause())
"""


async def test_a_refusal_stops_other_processes(workers: Workers) -> None:
    """Who has not heard of it asks, and is told."""
    limiter = HostRateLimiter(10, 0.5, "test", directory=workers.directory)
    worker = workers.start(PAUSING)
    assert await asyncio.to_thread(worker.line) == "paused"
    began = time.monotonic()
    (await limiter.acquire()).settle()
    assert time.monotonic() - began >= 0.4
    await idle(limiter)


# --- the file ----------------------------------------------------------------------------------------


async def test_a_place_that_cannot_be_written_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And the clients of this process share the whole limit."""
    caplog.set_level(logging.INFO, logger="aivideomaker_async")
    (tmp_path / "file").write_text("no directory")
    limiter = HostRateLimiter(100, 0.5, "x", directory=tmp_path / "file" / "state")
    for _ in range(20):
        (await limiter.acquire()).settle()
    assert len(caplog.messages) == 1
    assert "this process alone keeps to 100 in 0.5 s" in caplog.text
    await idle(limiter)


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_damaged_is_replaced(tmp_path: Path, content: bytes) -> None:
    """Once, and then there is no burst, since what it said is lost."""
    limiter = HostRateLimiter(50, 0.5, "x", directory=tmp_path)
    path = tmp_path / file_name("x", 0.5)
    (await limiter.acquire()).settle()
    await idle(limiter)
    path.write_bytes(content)
    began = time.monotonic()
    (await limiter.acquire()).settle()
    assert time.monotonic() - began >= 0.009
    await idle(limiter)
    assert limiter._here().spare is None
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_a_file_that_is_deleted_is_made_anew(tmp_path: Path) -> None:
    """While it is in use, too."""
    limiter = HostRateLimiter(50, 0.5, "x", directory=tmp_path)
    permit = await limiter.acquire()
    (tmp_path / file_name("x", 0.5)).unlink()
    permit.settle()
    (await limiter.acquire()).settle()
    await idle(limiter)
    assert limiter.statistics().in_window == 2


async def test_a_file_that_another_holds_is_waited_for_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped in the middle of a change stops nobody else for long."""
    monkeypatch.setattr("aivideomaker_async._limits.host.BUSY", 0.1)
    limiter = HostRateLimiter(50, 0.5, "x", directory=tmp_path)
    (await limiter.acquire()).settle()
    await idle(limiter)
    with closing(sqlite3.connect(tmp_path / file_name("x", 0.5), isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        (await asyncio.wait_for(limiter.acquire(), 5)).settle()
        assert limiter._here().spare is not None
    await idle(limiter)


def test_file_names_are_safe_and_apart() -> None:
    """They tell names, windows and hosts apart, also those that look alike."""
    names = [file_name(name, 60.0) for name in ("a:80", "a-80", "A:80", "../../etc/passwd", "", "ü" * 300, "a" * 300)]
    names.append(file_name("a:80", 30.0))
    assert len({name.lower() for name in names}) == len(names)
    for name in names:
        assert Path(name).name == name
        assert len(name) < 80
        assert name.isascii()
        assert name[0] not in ".-"


async def test_the_file_lies_in_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a private directory."""
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    limiter = HostRateLimiter(name="x")
    (await limiter.acquire()).settle()
    await idle(limiter)
    (path,) = files(tmp_path)
    assert path.name == file_name("x", 60.0)
    if os.name == "posix":
        assert path.parent.stat().st_mode & 0o077 == 0


async def test_files_that_nobody_uses_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After days, when another is made; but not in a directory of the caller's, where anything may lie."""
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    for name, age in (("old", 3 * 86400), ("new", 3600), ("next", 0)):
        limiter = HostRateLimiter(name=name)
        (await limiter.acquire()).settle()
        await idle(limiter)
        (path,) = (path for path in files(tmp_path) if path.name == file_name(name, 60.0))
        os.utime(path, (time.time() - age, time.time() - age))
    assert {path.name for path in files(tmp_path)} == {file_name(name, 60.0) for name in ("new", "next")}
    (path,) = {path.parent for path in files(tmp_path)}
    limiter = HostRateLimiter(name="x", directory=path)
    os.utime(path / file_name("new", 60.0), (0, 0))
    (await limiter.acquire()).settle()
    await idle(limiter)
    assert len(files(tmp_path)) == 3


@POSIX
async def test_without_a_state_directory_it_lies_with_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a directory that is this user's alone; one that others can write is not used."""
    (tmp_path / "file").touch()
    for name in ("XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    limiter = HostRateLimiter(name="x")
    (await limiter.acquire()).settle()
    await idle(limiter)
    (path,) = files(tmp_path)
    private = path.parent.parent
    assert private.name == f"aivideomaker-async-{os.getuid()}"
    assert private.stat().st_mode & 0o077 == 0
    private.chmod(0o777)
    with pytest.raises(CellUnavailable):
        await limiter._cell().change(lambda text, _: (text, None))


# --- one process -------------------------------------------------------------------------------------


async def test_busy_threads_do_not_stop_it(tmp_path: Path) -> None:
    """All threads of the loop may be at work on something long."""
    loop, over = asyncio.get_running_loop(), threading.Event()
    busy = [loop.run_in_executor(None, over.wait) for _ in range(64)]
    limiter = HostRateLimiter(name="x", directory=tmp_path)
    try:
        (await asyncio.wait_for(limiter.acquire(), 5)).settle()
    finally:
        over.set()
        await asyncio.gather(*busy)
    await idle(limiter)


async def test_a_clock_of_the_caller_s_own_is_asked(tmp_path: Path) -> None:
    """Here one that runs fast."""
    limiter = HostRateLimiter(60, 60.0, "x", directory=tmp_path, clock=lambda: time.monotonic() * 10_000)
    for _ in range(10):
        (await asyncio.wait_for(limiter.acquire(), 5)).settle()
    await idle(limiter)


async def test_each_service_has_a_window_of_its_own() -> None:
    """Unless the limiter has a name."""
    limiter = HostRateLimiter(30, 10.0)
    one = limiter.for_origin("a.example")
    assert one is limiter.for_origin("a.example")
    assert one is not limiter.for_origin("b.example")
    assert repr(one) == "HostRateLimiter(limit=30, window=10.0, name='a.example', burst=2)"
    named = HostRateLimiter(name="mine")
    assert named.for_origin("a.example") is named
    assert default_limiter("a.example") is default_limiter("a.example")
    assert default_limiter("a.example") is not default_limiter("b.example")


async def test_clients_use_the_limiter_of_their_service() -> None:
    """The usual one, or that of the limiter that they are given; one of another kind as it is."""
    async with AIVideoMaker("ak_test", base_url="https://A.example:81") as client:
        assert client.limiter is default_limiter("a.example:81")
    shared, own = HostRateLimiter(), RateLimiter()
    async with AIVideoMaker("ak_test", base_url="https://a.example", limiter=shared) as client:
        assert client.limiter is shared.for_origin("a.example")
    async with AIVideoMaker("ak_test", base_url="https://a.example", limiter=own) as client:
        assert client.limiter is own


async def test_a_limiter_without_a_service_has_a_window_of_its_own(tmp_path: Path) -> None:
    """For whoever calls it without a client."""
    limiter = HostRateLimiter(directory=tmp_path)
    (await limiter.acquire()).settle()
    await idle(limiter)
    assert (tmp_path / file_name("default", 60.0)).exists()


def test_importing_the_package_opens_no_file() -> None:
    """Nor does it load what is needed for one."""
    # What measures the tests may have loaded something already.
    code = (
        "import sys; before = set(sys.modules); import aivideomaker_async; "
        "print(*({'sqlite3', 'platformdirs'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_fork_while_the_file_is_in_use_leaves_the_child_a_limiter(tmp_path: Path) -> None:
    """SQLite's own locks are not for two processes: a fork waits until nobody holds them."""
    code = f"""
import asyncio, os, sys, threading
from pathlib import Path
from aivideomaker_async import HostRateLimiter

limiter = HostRateLimiter(limit=1000, window=1.0, name="fork", directory=Path({str(tmp_path)!r}))
stop = threading.Event()

async def some(count):
    for _ in range(count):
        (await limiter.acquire()).settle()

def busy():
    while not stop.is_set():
        asyncio.run(some(20))

thread = threading.Thread(target=busy)
thread.start()
failed = 0
for _ in range(25):
    pid = os.fork()
    if pid == 0:
        asyncio.run(some(2))
        os._exit(1 if next(iter(limiter._processes.values())).spare else 0)
    failed += os.waitpid(pid, 0)[1] != 0
stop.set()
thread.join()
print("failed", failed)
"""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "failed 0", done.stderr


async def test_without_a_home_the_directory_for_temporary_files_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A container may have neither a home nor a name for its user."""

    def nowhere(*_: object, **__: object) -> Path:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("platformdirs.user_state_path", nowhere)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    limiter = HostRateLimiter(name="homeless")
    (await limiter.acquire()).settle()
    assert await asyncio.to_thread(lambda: list(tmp_path.rglob("homeless-*.sqlite3")))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE cell SET text = CAST(x'7bff' AS TEXT)",
        "DROP TABLE cell; CREATE TABLE cell (odd INT)",
    ],
)
async def test_a_file_that_is_damaged_inside_is_made_anew(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A text that is none, or a table of another shape."""
    limiter = HostRateLimiter(name="damaged", directory=tmp_path)
    (await limiter.acquire()).settle()

    def break_it() -> None:
        (file,) = tmp_path.glob("*.sqlite3")
        with closing(sqlite3.connect(file)) as database:
            # At once: the limiter would make a table that is missing.
            database.executescript(f"BEGIN IMMEDIATE; {damage}; COMMIT")

    await asyncio.to_thread(break_it)
    (await limiter.acquire()).settle()
    assert not caplog.records
