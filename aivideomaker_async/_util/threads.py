"""Threads for blocking work, with limits that no other part of a program shares.

anyio has one limit of threads for an event loop, which web frameworks exhaust with their requests. Each kind of work
has a limit of its own here, so that work that may last for ever holds up only work of its kind.
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
    """A limit of threads for one kind of work in each event loop. It is dropped with the loop.

    Args:
        name: the kind of work.
        most: how many threads there may be at once.
    """

    def __init__(self, name: str, most: int) -> None:
        self.most: int = most
        self._limiters: RunVar[CapacityLimiter] = RunVar(f"aivideomaker_async.{name}")

    async def run(self, work: Callable[[Unpack[Ts]], T], *arguments: *Ts, abandon_on_cancel: bool = False) -> T:
        """Run `work` in a thread as soon as one is free; a call that is cancelled before does nothing.

        Args:
            work: the function to call.
            arguments: its arguments.
            abandon_on_cancel: whether a cancelled call ends while the thread is still at work.
        """
        limiter = limiter_of(self._limiters, self.most)
        return await to_thread.run_sync(work, *arguments, abandon_on_cancel=abandon_on_cancel, limiter=limiter)


DISK: Final = Threads("disk", 16)
"""Steps of downloads, each of which lasts as long as the disk needs."""

IMAGES: Final = Threads("images", 16)
"""Images that can be read to their end without waiting: in memory, or in a regular file."""

FOREIGN_FILES: Final = Threads("foreign_files", 40)
"""Images in files that the caller has open. Reading a pipe may block for hours."""


async def run_at_once(work: Callable[[], T], *, abandon_on_cancel: bool = False) -> T:
    """Run `work` in a thread beyond all limits: for the end of a call, which must not wait for a free one."""
    return await to_thread.run_sync(work, abandon_on_cancel=abandon_on_cancel, limiter=CapacityLimiter(1))


def limiter_of(limiters: RunVar[CapacityLimiter], most: int) -> CapacityLimiter:
    """Return the limiter of this event loop; make it with `most` tokens when there is none."""
    try:
        return limiters.get()
    except LookupError:
        limiter = CapacityLimiter(most)
        limiters.set(limiter)
        return limiter
