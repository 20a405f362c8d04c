"""A simulator in a process of its own, so that its work is not taken for the client's.

It prints where it listens. For each line on its standard input it prints what it has seen so far, and it ends when that
input does. Times are those of a `ScaledLoop`, about which all processes of a machine agree.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Final, cast

from attrs import asdict, define, frozen

from aivideomaker_async.simulator import Simulator

from .loops import ScaledLoop
from .runs import EPOCH, QUEUE_SHARE, TaskTimes, ended_at

__all__ = ["Account", "RemoteSimulator", "Seen", "remote_simulator"]

ENOUGH_CREDITS: Final = 10**9


@frozen(kw_only=True)
class Account:
    """What is simulated, in seconds of a clock that is `speed` times as fast as the machine's."""

    seed: int = 0
    speed: float = 1.0
    window: float = 60.0
    history: int = 0
    median: float = 90.0
    """Of the lognormal time that a task takes."""
    between: tuple[float, float] | None = None
    """The least and the most that a task takes instead, all equally likely."""


@frozen(kw_only=True)
class Seen:
    """What a simulator has seen so far."""

    queries: int
    refused: int
    worst_window: int
    ended: Mapping[str, float]
    """When each new task has ended, by the clock of the loops; those that have not are not in it."""


class _Even:
    """Times of tasks that are equally likely between two bounds."""

    def __init__(self, seed: int, old: int, least: float, most: float) -> None:
        self._rng = random.Random(seed)
        self._old = TaskTimes(seed, old=old)
        self._left = old
        self._bounds = least, most

    def __call__(self, model: str, seconds: int) -> tuple[float, float]:
        if self._left > 0:
            self._left -= 1
            return self._old(model, seconds)
        total = self._rng.uniform(*self._bounds)
        return total * QUEUE_SHARE, total * (1 - QUEUE_SHARE)


@define
class _Watch:
    """Seconds of the loop's clock since it was first asked, which is when the simulator starts."""

    now: Callable[[], float]
    began: float | None = None

    def __call__(self) -> float:
        if self.began is None:
            self.began = self.now()
        return self.now() - self.began


async def _serve(account: Account) -> None:
    loop = asyncio.get_running_loop()
    watch = _Watch(loop.time)
    old = account.history
    lognormal = TaskTimes(account.seed, old=old, median=account.median)
    durations = lognormal if account.between is None else _Even(account.seed, old, *account.between)
    simulator = Simulator(
        render=False,
        seed=account.seed,
        window=account.window,
        epoch=EPOCH,
        credits=ENOUGH_CREDITS,
        durations=durations,
        history={"t2v": old},
        clock=watch,
    )
    async with simulator:
        print(json.dumps([simulator.url, simulator.api_key]), flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(asdict(_seen(simulator, account, watch))), flush=True)


def _seen(simulator: Simulator, account: Account, watch: _Watch) -> Seen:
    counts = simulator.statistics()
    assert watch.began is not None
    new = list(simulator.tasks)[account.history :]
    done = [task_id for task_id in new if simulator.tasks[task_id].completed_at is not None]
    return Seen(
        queries=counts.queries,
        refused=counts.rejected,
        worst_window=counts.worst_window,
        ended={task_id: watch.began + ended_at(simulator, task_id) for task_id in done},
    )


class RemoteSimulator:
    """A simulator in another process: where it is, and what it has seen."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self.url, self.key = cast("list[str]", json.loads(process.stdout.readline()))

    def seen(self) -> Seen:
        """Ask what it has seen. Blocks for the moment that this takes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Seen(**json.loads(self._process.stdout.readline()))


@contextmanager
def remote_simulator(account: Account) -> Iterator[RemoteSimulator]:
    """Run a simulator in another process."""
    command = [sys.executable, "-m", "benchmarks.remote_simulator", json.dumps(asdict(account))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield RemoteSimulator(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


def main(text: str) -> None:
    """Serve the account that `text` describes."""
    account = Account(**json.loads(text))
    with asyncio.Runner(loop_factory=partial(ScaledLoop, account.speed)) as runner:
        runner.run(_serve(account))


if __name__ == "__main__":
    main(sys.argv[1])
