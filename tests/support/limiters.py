"""Limiters of all kinds for tests, in virtual time where the event loop has it, and what tests do with them."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aivideomaker_async import HostRateLimiter, Limiter, Priority, RateLimiter, RedisRateLimiter
from aivideomaker_async._limits.shared import SharedRateLimiter
from aivideomaker_async._limits.store import SharedStore, Step, StoreUnavailable
from tests.support.leaks import our_tasks
from tests.support.virtual_clock import VirtualClockLoop

T = TypeVar("T")


def now() -> float:
    return asyncio.get_running_loop().time()


async def use(limiter: Limiter, priority: Priority = Priority.FOREGROUND) -> None:
    """Wait for a permit, and be answered at once."""
    (await limiter.acquire(priority)).settle()


async def served(limiter: Limiter, name: str, order: list[str], priority: Priority = Priority.FOREGROUND) -> None:
    """As `use`, and append `name` to `order`."""
    permit = await limiter.acquire(priority)
    order.append(name)
    permit.settle()


async def use_burst(limiter: Limiter) -> None:
    """Take all permits that may go at once, so that the next caller has to wait."""
    for _ in range(limiter.statistics().burst):
        await use(limiter)


async def assert_idle(*limiters: Limiter) -> None:
    """Assert that nothing is held and nothing runs, as soon as the last reports are sent.

    The limiters of a `MemoryPlace` must all be given: nothing is held there either.
    """
    async with asyncio.timeout(10):
        while our_tasks():  # noqa: ASYNC110  (no event says so)
            await asyncio.sleep(0.01)
    for limiter in limiters:
        state = limiter.statistics()
        assert (state.in_flight, state.waiting_foreground, state.waiting_background) == (0, 0, 0)
        if isinstance(limiter, SharedRateLimiter):
            assert not limiter._workers
            assert not limiter._has_reports
        if isinstance(limiter, InMemoryRateLimiter):
            assert limiter.place.open_stores == 0
            assert '"open":{}' in (limiter.place.text or '"open":{}')
        if isinstance(limiter, RateLimiter):
            assert not limiter._groups


# --- all kinds ---------------------------------------------------------------------------------------


class MakeLimiter(Protocol):
    """Makes limiters of one kind; those of a kind that processes share have one limit together."""

    def __call__(self, limit: int = 60, window: float = 60.0, **options: Any) -> Limiter: ...


def local() -> MakeLimiter:
    def make(limit: int = 60, window: float = 60.0, **options: Any) -> Limiter:
        return RateLimiter(limit, window, **options)

    return make


def host(directory: Path) -> MakeLimiter:
    def make(limit: int = 60, window: float = 60.0, **options: Any) -> Limiter:
        loop = _virtual_loop()
        clock = time.monotonic if loop is None else loop.time
        return HostRateLimiter(limit, window, "test", directory=directory, clock=clock, **options)

    return make


def redis(url: str, name: str | None = None) -> MakeLimiter:
    name = name or uuid.uuid4().hex

    def make(limit: int = 60, window: float = 60.0, **options: Any) -> Limiter:
        kind = RedisRateLimiter if _virtual_loop() is None else _RedisInVirtualTime
        return kind(url, limit, window, name=name, **options)

    return make


def _virtual_loop() -> VirtualClockLoop | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, VirtualClockLoop) else None


class _RedisInVirtualTime(RedisRateLimiter):
    def _open_store(self) -> Any:
        return _OnLoopTime(super()._open_store())


class _OnLoopTime:
    """A store whose clock is that of the virtual loop, which waits for the store in real time."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    async def update(self, step: Step[T]) -> T:
        loop = _virtual_loop()
        assert loop is not None
        with loop.in_thread():
            return await self._store.update(lambda text, _: step(text, loop.time()))

    async def aclose(self) -> None:
        loop = _virtual_loop()
        assert loop is not None
        with loop.in_thread():
            await self._store.aclose()


# --- a store in memory -------------------------------------------------------------------------------


class MemoryPlace:
    """A text in memory. Each limiter that `limiter` returns is like a process that shares it.

    Args:
        latency: seconds that pass before and after each change.
    """

    def __init__(self, *, latency: float = 0.0) -> None:
        self.text: str | None = None
        self.latency = latency
        self.fails = False
        self.updates = 0
        self.open_stores = 0
        self.lock = threading.Lock()

    def limiter(self, limit: int = 60, window: float = 60.0, **options: Any) -> InMemoryRateLimiter:
        return InMemoryRateLimiter(self, limit, window, **options)


class InMemoryRateLimiter(SharedRateLimiter):
    def __init__(self, place: MemoryPlace, limit: int, window: float, **options: Any) -> None:
        self.place = place
        self.store: Callable[[MemoryPlace], SharedStore] = MemoryStore
        super().__init__(limit, window, **options)

    def _open_store(self) -> SharedStore:
        return self.store(self.place)

    def _with_name(self, name: str) -> InMemoryRateLimiter:
        return InMemoryRateLimiter(self.place, self.limit, self.window, name=name, burst=self.burst)


class MemoryStore:
    """On the clock of the event loop, a while ahead of it."""

    def __init__(self, place: MemoryPlace) -> None:
        self.place = place
        self.used = False

    async def update(self, step: Step[T]) -> T:
        place = self.place
        if not self.used:
            self.used = True
            place.open_stores += 1
        await asyncio.sleep(place.latency)
        if place.fails:
            raise StoreUnavailable("it is away")
        with place.lock:
            place.updates += 1
            text, result = step(place.text, now() + 5000.0)
            place.text = place.text if text is None else text
        await asyncio.sleep(place.latency)
        return result

    async def aclose(self) -> None:
        if self.used:
            self.used = False
            self.place.open_stores -= 1
