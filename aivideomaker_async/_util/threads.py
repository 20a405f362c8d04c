"""Threads for what blocks, with limits that other parts of a program neither fill nor wait for.

anyio has one limit of threads for an event loop, which web frameworks fill with their requests. Each kind of work has a
limit of its own here, so that what may last for ever keeps nothing waiting but its like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple, Unpack

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

__all__ = ["DISK", "FOREIGN_FILES", "IMAGES", "Threads", "limiter_of", "run_at_once"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Threads:
    """A limit of threads, for each event loop one. It is gone with the loop.

    Args:
        name: what they do.
        most: how many there may be at once.
    """

    def __init__(self, name: str, most: int) -> None:
        self.most: int = most
        self._limiters: RunVar[CapacityLimiter] = RunVar(f"aivideomaker_async.{name}")

    async def run(self, work: Callable[[Unpack[Ts]], T], *arguments: *Ts, abandon_on_cancel: bool = False) -> T:
        """Let a thread do `work` as soon as one is free; a call that is cancelled before does nothing.

        Args:
            work: what to do.
            arguments: what to call it with.
            abandon_on_cancel: whether a cancelled call ends while the thread is still at work.
        """
        limiter = limiter_of(self._limiters, self.most)
        return await to_thread.run_sync(work, *arguments, abandon_on_cancel=abandon_on_cancel, limiter=limiter)


DISK: Final = Threads("disk", 16)
"""Steps of downloads, each of which lasts as long as the disk needs."""

IMAGES: Final = Threads("images", 16)
"""Images that come to their end by themselves: in memory, or in a regular file."""

FOREIGN_FILES: Final = Threads("foreign_files", 40)
"""Images in files that the caller has open. They may be pipes that give nothing for hours."""


async def run_at_once(work: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
    """Let a thread do `work` without waiting for one that is free: for the end of a call that may be cancelled."""
    return await to_thread.run_sync(work, abandon_on_cancel=abandon_on_cancel, limiter=CapacityLimiter(1))


def limiter_of(limiters: RunVar[CapacityLimiter], most: int) -> CapacityLimiter:
    """The limiter of this event loop; made with `most` tokens when there is none."""
    try:
        return limiters.get()
    except LookupError:
        limiter = CapacityLimiter(most)
        limiters.set(limiter)
        return limiter
