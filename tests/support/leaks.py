"""Checks that nothing is left when a call is over, however it ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aivideomaker_async._http.gate import COMMANDS_AT_ONCE

if TYPE_CHECKING:
    from aivideomaker_async import AIVideoMaker
    from aivideomaker_async._http import ApiClient


async def settle(rounds: int = 20) -> None:
    """Let everything that is ready run, without any time passing."""
    for _ in range(rounds):
        await asyncio.sleep(0)


def our_tasks() -> list[str]:
    """Return the names of the package's own asyncio tasks that are alive."""
    return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("aivideomaker_async")]


async def assert_no_request_in_flight(api: ApiClient) -> None:
    """Check that no permit and no slot is held, and that nothing waits for one."""
    await settle()
    statistics = api.limiter.statistics()
    assert statistics.in_flight == 0
    assert statistics.waiting_foreground == statistics.waiting_background == 0
    assert all(slots._value == COMMANDS_AT_ONCE for slots in api._gate._slots.values())
    assert api._gate._waits == set()


async def assert_nothing_held(client: AIVideoMaker) -> None:
    """Check that no permit, slot, waiter, watched task or background task is left."""
    await settle()
    for _ in range(500):
        if "aivideomaker_async.limiter" not in our_tasks():
            break
        # The shared limiter still reports its last requests to other processes.
        await asyncio.sleep(0.01)
    assert client.statistics().watched == 0
    await assert_no_request_in_flight(client._api)
    assert our_tasks() == []
    submits = client._rooms._submits
    if submits is not None:
        assert submits._at_work == {}
        assert not submits._lookup._reading.locked()
