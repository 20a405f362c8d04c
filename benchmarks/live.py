"""One contender in real time, against a simulator in another process: what it does to its event loop."""

from __future__ import annotations

import asyncio
import gc

from attrs import frozen

from .contenders import Contender, Job
from .remote_simulator import Account, RemoteSimulator, Seen, remote_simulator
from .runs import Run
from .stalls import StallMeter, idle_stall

__all__ = ["Live", "live_run", "run_live"]


@frozen(kw_only=True)
class Live:
    """What a contender did, and how long its event loop kept others waiting at most, in seconds."""

    run: Run
    stall: float
    idle_stall: float
    """Of the same loop while it did nothing, before and afterwards."""


def run_live(contender: Contender, account: Account, tasks: int, *, idle: float) -> Live:
    """Let `contender` wait for `tasks` tasks, between two idle times of `idle` seconds."""
    with remote_simulator(account) as simulator:
        return asyncio.run(_run_live(contender, simulator, tasks, idle))


async def _run_live(contender: Contender, simulator: RemoteSimulator, tasks: int, idle: float) -> Live:
    now = asyncio.get_running_loop().time
    known: dict[str, float] = {}

    def note(task_id: str) -> None:
        known[task_id] = now()

    # What other scenes left behind is no business of the collector during this one.
    gc.collect()
    quiet = await idle_stall(idle)
    began = now()
    async with StallMeter() as meter:
        await contender(Job(url=simulator.url, key=simulator.key, tasks=tasks, known=note))
    quiet = max(quiet, await idle_stall(idle))
    return Live(run=live_run(known, simulator.seen(), began), stall=meter.longest, idle_stall=quiet)


def live_run(known: dict[str, float], seen: Seen, began: float) -> Run:
    """Put together when waiters knew, in any process, and what the simulator has seen."""
    assert known.keys() == seen.ended.keys()
    return Run(
        delays=tuple(at - seen.ended[task_id] for task_id, at in known.items()),
        seconds=max(known.values()) - began,
        queries=seen.queries,
        refused=seen.refused,
        worst_window=seen.worst_window,
    )
