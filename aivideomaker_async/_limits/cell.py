"""The place that processes share a query limit in: one text, which one of them at a time changes.

`HostRateLimiter` has it in a file, `RedisRateLimiter` in Redis. What the text says, only `_core.shared_quota` knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["Cell", "CellUnavailable"]

T = TypeVar("T")


class CellUnavailable(Exception):
    """The place that the processes share cannot be used now."""


class Cell(Protocol):
    """One text that many processes share, changed by one at a time. Used in one event loop."""

    async def change(self, step: Callable[[str | None, float], tuple[str | None, T]]) -> T:
        """Let `step` change the text, atomically.

        `step` is given the text (None: there is none yet) and the cell's clock in seconds, and returns the new text
        (None: leave it as it is) and what it decided. It is pure and may be called several times (compare-and-set).

        A cancelled call either did it or did not; nothing is locked afterwards.

        Raises:
            CellUnavailable: the place cannot be used.
        """
        ...

    async def aclose(self) -> None:
        """Give back what the cell holds open, since nobody in this event loop needs it now. It may be used again."""
        ...
