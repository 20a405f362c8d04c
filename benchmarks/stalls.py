"""How long the event loop keeps everybody waiting: a ticker that notes how late it is called."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

__all__ = ["StallMeter", "idle_stall"]

TICK: Final = 0.001
"""Seconds between two ticks of a loop that has nothing else to do."""


class StallMeter:
    """Ticks while its block runs. `longest` is how late a tick came at most, in seconds of the loop's clock."""

    def __init__(self, tick: float = TICK) -> None:
        self.longest = 0.0
        self._tick_seconds = tick
        self._began = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        self._task = asyncio.create_task(self._tick())
        # The block may begin with a stall.
        await asyncio.sleep(0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        # The block may end in the middle of a stall.
        self._note()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _tick(self) -> None:
        while True:
            self._began = asyncio.get_running_loop().time()
            await asyncio.sleep(self._tick_seconds)
            self._note()

    def _note(self) -> None:
        late = asyncio.get_running_loop().time() - self._began - self._tick_seconds
        self.longest = max(self.longest, late)


async def idle_stall(seconds: float) -> float:
    """Return the longest stall of a loop that does nothing for so long: what the machine itself is good for."""
    async with StallMeter() as meter:
        await asyncio.sleep(seconds)
    return meter.longest
