"""What must be gone when a call is over, however it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aivideomaker_async import AIVideoMaker


async def settle(rounds: int = 20) -> None:
    """Let everything that is ready run, without any time passing."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def our_tasks() -> list[str]:
    """The names of the package's own asyncio tasks that are alive."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("aivideomaker_async")]


async def assert_nothing_held(client: AIVideoMaker) -> None:
    """No permit, no place, no waiter, no watched task, no background task."""
    await settle()
    for _ in range(500):
        if "aivideomaker_async.limiter" not in our_tasks():
            break
        # What other processes must know is being told.
        await asyncio.sleep(0.01)
    statistics = client.statistics()
    assert statistics.watched == 0
    assert statistics.limiter.in_flight == 0
    assert statistics.limiter.waiting_foreground == statistics.limiter.waiting_background == 0
    assert our_tasks() == []
    assert all(slots._value == 32 for slots in client._api._gate._slots.values())
    assert client._api._gate._waits == set()
    assert client._submits._at_work == {}
    assert not client._submits._lookup._reading.locked()
