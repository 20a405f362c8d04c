"""The protocol of a limiter: priorities, permits, and statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self

from attrs import frozen

__all__ = ["BlockPermit", "Limiter", "LimiterStatistics", "Permit", "Priority"]


class Priority(IntEnum):
    """Which requests go first under the limit."""

    FOREGROUND = 0
    """A call of the user."""
    BACKGROUND = 1
    """A poll of the watcher, on behalf of all calls that wait for a video."""


@frozen(kw_only=True)
class LimiterStatistics:
    """A snapshot of a limiter."""

    limit: int
    window: float
    """Seconds."""
    burst: int
    in_window: int
    """Permits that count against the limit now."""
    in_flight: int
    """Permits among them whose answer has not arrived yet."""
    waiting_foreground: int
    waiting_background: int
    granted: int
    """Permits granted since the limiter was made, without refunded ones."""
    rejected: int
    """Answers of the service with status 429."""
    paused_for: float
    """Seconds until the pause after a 429 ends; 0 without a pause."""


class Permit(Protocol):
    """The right to send one request. Settle or refund it once; further calls have no effect."""

    def settle(self, *, answered: bool = True) -> None:
        """End the request.

        Args:
            answered: False if the request may have been sent and no answer will arrive.
        """
        ...

    def refund(self) -> None:
        """Return the permit of a request that was never sent."""
        ...


class BlockPermit(ABC):
    """A permit that is also a context manager: it settles at the end of the block, after an error as unanswered."""

    __slots__ = ()

    @abstractmethod
    def settle(self, *, answered: bool = True) -> None:
        """See `Permit`."""

    @abstractmethod
    def refund(self) -> None:
        """See `Permit`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.settle(answered=error is None)


class Limiter(Protocol):
    """The object that the client asks before each query. Write your own to share a limit in another way."""

    @property
    def pace(self) -> float:
        """Seconds between two requests in the long run."""
        ...

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        """Wait for a permit. A cancelled wait holds no permit."""
        ...

    def acquire_nowait(self) -> Permit | None:
        """Return a permit, or None if the request would have to wait."""
        ...

    def pause(self, seconds: float) -> None:
        """Grant no permit for `seconds`, since the service answered 429."""
        ...

    def statistics(self) -> LimiterStatistics:
        """Return the current state."""
        ...
