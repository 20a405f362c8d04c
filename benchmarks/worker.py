"""A process that waits for tasks with the package, among others that do the same.

It prints a line for everything that happens, as JSON: a task that it knows to have ended, a poll of its watcher, and at
its end how late its event loop was at most. Times are those of its loop, about which all processes of a machine agree.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

from attrs import asdict, frozen

from aivideomaker_async import AIVideoMaker, RateLimiter

from .contenders import SPEC
from .loops import ScaledLoop
from .stalls import StallMeter

__all__ = ["Happened", "Limiting", "Work", "Worker", "read", "workers"]

Limiting = Literal["none given", "of the host", "of the process", "over Redis", "over Redis, and a board"]

TICK: Final = 0.01
"""Real seconds between two looks at the loop and at the polls."""


@frozen(kw_only=True)
class Work:
    """What a worker has to do."""

    url: str
    key: str
    tasks: int
    limiting: Limiting
    speed: float = 1.0
    """How much faster its clock is than the machine's."""
    window: float = 60.0
    """Seconds in which the service lets 60 queries through."""
    redis_url: str = ""
    """Of the limiter and the status board that hosts share."""
    lease: float = 3.0
    """Seconds after which another worker polls in the place of one that is gone."""


@frozen(kw_only=True)
class Happened:
    """The reports of a worker."""

    known: Mapping[str, float]
    """When it knew that a task had ended."""
    polls: Sequence[float]
    """When it was seen to have polled."""
    began: float
    lag: float
    """The longest time for which its event loop was late, in seconds of its clock."""


def _options(work: Work) -> Mapping[str, Any]:
    """Return what the client is given to keep within the limit."""
    if work.limiting == "none given":
        return {}
    if work.limiting == "of the process":
        return {"limiter": RateLimiter(window=work.window)}
    # They load what only a process of this kind needs.
    package = import_module("aivideomaker_async")
    if work.limiting == "of the host":
        clock = partial(_scaled, work.speed)
        return {"limiter": package.HostRateLimiter(window=work.window, clock=clock)}
    limiter = package.RedisRateLimiter(work.redis_url, limit=60, window=work.window)
    if work.limiting == "over Redis":
        return {"limiter": limiter}
    return {"limiter": limiter, "status_board": package.StatusBoard(work.redis_url, lease=work.lease)}


def _scaled(speed: float) -> float:
    return time.monotonic() * speed


async def _work(work: Work) -> None:
    now = asyncio.get_running_loop().time
    _tell("began", now())
    async with AIVideoMaker(work.key, base_url=work.url, **_options(work)) as client:

        async def one() -> None:
            task = await client.submit(SPEC)
            await task.result()
            _tell("known", now(), task.id)

        async def tell_polls() -> None:
            polls = 0
            while True:
                await asyncio.sleep(TICK * work.speed)
                if client.statistics().polls > polls:
                    polls = client.statistics().polls
                    _tell("poll", now())

        telling = asyncio.create_task(tell_polls())
        async with StallMeter(TICK * work.speed) as meter:
            await asyncio.gather(*(one() for _ in range(work.tasks)))
        telling.cancel()
    _tell("lag", meter.longest)


def _tell(what: str, seconds: float, task_id: str = "") -> None:
    print(json.dumps([what, seconds, task_id]), flush=True)


class Worker:
    """A process that works, and what it has reported so far."""

    def __init__(self, work: Work, state: str) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(work))]
        # What the processes of a host share lies there, and is not left behind.
        environment = os.environ | {"XDG_STATE_HOME": state}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def finish(self) -> Happened:
        """Wait until it is done, and return what it reported. One that failed raises."""
        self._reader.join()
        if code := self._process.wait():
            raise RuntimeError(f"a worker failed with {code}")
        return self.happened()

    def happened(self) -> Happened:
        """Return what it has reported until now."""
        return read(tuple(self._lines))

    def kill(self) -> None:
        """End it at once, as the system does when memory runs out."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                # A process that is killed may have been in the middle of a line.
                if line.endswith("\n"):
                    self._lines.append(line)


@contextmanager
def workers(work: Work, count: int) -> Iterator[list[Worker]]:
    """Start workers that all do the same; none is left afterwards."""
    with TemporaryDirectory(prefix="benchmark-state-") as state:
        started = [Worker(work, state) for _ in range(count)]
        try:
            yield started
        finally:
            for worker in started:
                worker.kill()


def read(lines: Sequence[str]) -> Happened:
    """Read the reports of a worker."""
    reports = [(what, seconds, task_id) for what, seconds, task_id in map(json.loads, lines)]
    return Happened(
        known={task_id: seconds for what, seconds, task_id in reports if what == "known"},
        polls=[seconds for what, seconds, _ in reports if what == "poll"],
        began=min((seconds for what, seconds, _ in reports if what == "began"), default=math.inf),
        lag=max((seconds for what, seconds, _ in reports if what == "lag"), default=0.0),
    )


def main(text: str) -> None:
    """Do the work that `text` describes."""
    # That the limit was exceeded is counted, not reported.
    logging.disable(logging.WARNING)
    work = Work(**json.loads(text))
    with asyncio.Runner(loop_factory=partial(ScaledLoop, work.speed)) as runner:
        runner.run(_work(work))


if __name__ == "__main__":
    main(sys.argv[1])
