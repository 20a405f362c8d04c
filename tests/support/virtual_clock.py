"""An event loop whose clock jumps to the next timer as soon as nothing else can happen.

Tests that wait for minutes take milliseconds, and always see the same times. Real I/O works as long as both ends are in
this loop: bytes sent over loopback are there when the selector is called again. While a thread works, the clock stands
still and the loop waits in real time.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar, TypeVarTuple, Unpack

from anyio import to_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GRACE = 0.0002
"""Seconds of real time without an event, after which no bytes are expected on loopback."""


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """A selector loop with a clock of its own, in seconds from 1000.0."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._in_threads = 0
        selector = _JumpingSelector(self)
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        """Let this many seconds pass at once, as when a laptop sleeps."""
        self._now += seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    async def shutdown_default_executor(self, *arguments: Any) -> None:
        # Waits for a thread outside the executor.
        self._in_threads += 1
        try:
            await super().shutdown_default_executor(*arguments)
        finally:
            self._in_threads -= 1

    def _thread_done(self, _: object) -> None:
        self._in_threads -= 1

    def is_waiting_for_threads(self) -> bool:
        return self._in_threads > 0

    @contextmanager
    def in_thread(self) -> Iterator[None]:
        """Stop the clock while a call waits for a thread."""
        self._in_threads += 1
        try:
            yield
        finally:
            self._in_threads -= 1


_run_sync = to_thread.run_sync


async def _counted(*arguments: Any, **options: Any) -> Any:
    """Call anyio's `to_thread.run_sync` while the clock stands still, also while it waits under a limit."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualClockLoop):
        return await _run_sync(*arguments, **options)
    with loop.in_thread():
        return await _run_sync(*arguments, **options)


# anyio has threads of its own, beside the loop's executor, and reports only those under its default limit.
to_thread.run_sync = _counted  # type: ignore[assignment]


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            return super().select(None)
        # A busy loop, since a selector sleeps for a millisecond at least.
        deadline = time.perf_counter() + GRACE
        while not events and time.perf_counter() < deadline:
            events = super().select(0)
        while not events and self._loop.is_waiting_for_threads():
            events = super().select(0.01)
        if not events:
            self._loop.jump(timeout)
        return events
