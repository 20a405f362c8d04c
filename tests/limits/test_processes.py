"""What the limiters that processes share have in common, with real processes in real time."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest

from aivideomaker_async import HostRateLimiter
from tests.support import limiters
from tests.support.limiters import MakeLimiter, assert_idle, use
from tests.support.servers import ExactSliding

pytestmark = pytest.mark.anyio

POSIX: Final = pytest.mark.skipif(os.name != "posix", reason="needs forks and signals")

WORKER: Final = """
import asyncio, json, os, sys, time
from contextlib import suppress
from pathlib import Path
from tests.support import limiters

options = json.loads(sys.argv[1])
kinds = {
    "local": limiters.local,
    "host": lambda: limiters.host(Path(options["directory"])),
    "redis": lambda: limiters.redis(options["url"], options["name"]),
}
limiter = kinds[options["kind"]]()(options["limit"], options["window"])
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

    def __init__(self, code: str, options: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORKER + code, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
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
    """Processes with limiters of one kind, and the way to make such a limiter here."""

    def __init__(self, make: MakeLimiter, options: dict[str, Any]) -> None:
        super().__init__()
        self.limiter = make
        self.options = {"limit": 10, "window": 0.5, "seconds": 1.5, "waiters": 1, "answer": 0.01, **options}

    def start(self, code: str = RUN, **options: Any) -> Worker:
        self.append(Worker(code, {**self.options, **options}))
        return self[-1]

    def go(self) -> None:
        """Let all of them go at once."""
        assert [worker.line() for worker in self] == ["ready"] * len(self)
        for worker in self:
            worker.go()


@pytest.fixture(params=["host", "redis"])
def workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Workers]:
    options: dict[str, str] = {"kind": request.param}
    if request.param == "redis":
        options |= {"url": request.getfixturevalue("redis_url"), "name": uuid.uuid4().hex}
        make = limiters.redis(options["url"], options["name"])
    else:
        options |= {"directory": str(tmp_path)}
        make = limiters.local() if request.param == "local" else limiters.host(tmp_path)
    workers = Workers(make, options)
    yield workers
    for worker in workers:
        with worker.process as process:
            process.kill()


def assert_limit_kept(spans: list[tuple[float, float]], limit: int = 10, window: float = 0.5) -> None:
    """Assert it for requests that arrive as early as they can, and for those that arrive as late."""
    for arrivals in ([sent for sent, _ in spans], [over for _, over in spans]):
        counter = ExactSliding(limit, window)
        assert all(counter.admit(at) for at in sorted(arrivals))


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


SPAWNING: Final = """
import pickle
limiter = pickle.loads(pickle.dumps(limiter))
ready()
asyncio.run(main())
print(json.dumps(spans))
"""


@pytest.mark.parametrize("workers", ["host"], indirect=True)
def test_a_pickled_limiter_is_the_same_limit(workers: Workers) -> None:
    """As in a process that is spawned."""
    workers.start(SPAWNING, waiters=5, seconds=0.7)
    workers.start(waiters=5, seconds=0.7)
    workers.go()
    assert_limit_kept([span for worker in workers for span in worker.spans()])
    with pytest.raises(AttributeError):
        pickle.dumps(HostRateLimiter(clock=lambda: 0.0))


# --- forks -------------------------------------------------------------------------------------------

FORKING: Final = """
asyncio.run(main())
children = []
for _ in range(2):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        spans.clear()
        asyncio.run(main())
        os.write(write, json.dumps(spans).encode())
        os._exit(0)
    os.close(write)
    children.append((pid, read))
asyncio.run(main())
print(json.dumps(spans))
for pid, read in children:
    with os.fdopen(read) as pipe:
        print(pipe.read())
    assert os.waitpid(pid, 0)[1] == 0
"""


@POSIX
def test_forked_processes_share_the_limit_with_their_parent(workers: Workers) -> None:
    spans = workers.start(FORKING, waiters=5, seconds=0.7).spans()
    assert_limit_kept(spans)
    assert len(spans) >= 12


FORKING_INSIDE: Final = """
async def fork():
    permit = await limiter.acquire()
    waiter = asyncio.ensure_future(limiter.acquire())
    await asyncio.sleep(0.05)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        permit.settle()
        permit.refund()
        state = limiter.statistics()
        os.write(write, json.dumps([state.in_flight, state.waiting_foreground, state.granted]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert json.loads(os.read(read, 100)) == [0, 0, 0]
    assert limiter.statistics().in_flight + limiter.statistics().waiting_foreground == 2
    permit.refund()
    (await waiter).refund()

asyncio.run(fork())
"""


@POSIX
@pytest.mark.parametrize("workers", ["local", "host", "redis"], indirect=True)
def test_a_forked_child_has_no_permits_and_no_waiters(workers: Workers) -> None:
    """Settling a permit of the parent there does nothing, and the parent goes on."""
    assert workers.start(FORKING_INSIDE, limit=1, window=60.0).spans() == []


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
@pytest.mark.parametrize("workers", ["host"], indirect=True)
def test_a_fork_waits_until_no_thread_uses_the_file(workers: Workers) -> None:
    """Or the child would inherit locks of SQLite that nobody releases."""
    assert workers.start(FORKING_IN_USE, limit=1000, window=1.0).spans() == []


# --- killed processes --------------------------------------------------------------------------------

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
    limiter = workers.limiter(1, 0.4)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(limiter.acquire(), 1.0)
    os.kill(holder.process.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    await asyncio.wait_for(use(limiter), 10)
    assert 0.6 <= time.monotonic() - killed_at <= 1.5
    await assert_idle(limiter)


@POSIX
async def test_a_process_that_is_killed_while_it_changes_the_store_does_no_harm(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        workers.start(limit=10_000, window=1.0, waiters=20, answer=0.0, seconds=60)
    await asyncio.to_thread(workers.go)
    limiter = workers.limiter(10_000, 1.0)
    for worker in workers:
        for _ in range(10):
            await asyncio.wait_for(use(limiter), 5)
        os.kill(worker.process.pid, signal.SIGKILL)
    await asyncio.wait_for(use(limiter), 5)
    await assert_idle(limiter)
    # Such as that the store is unavailable.
    assert caplog.messages == []
