"""The lifecycle of a client: bound to one event loop of one process, closed once, and cleaned up when it is dropped.

A client that its user does not close is closed when it is garbage-collected, with a warning that names the line that
made it. The lifecycle holds no reference to the client, so that it can outlive it for that.
"""

from __future__ import annotations

import asyncio
import warnings
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import FrameType
from typing import TypeVarTuple, Unpack, final

from .._util.fork import after_fork_in_child
from .._util.loops import running_loop
from ..errors import ConfigurationError

__all__ = ["ClientLifecycle"]

Ts = TypeVarTuple("Ts")


@final
class ClientLifecycle:
    """The event loop and process of a client, from its first use on, and what it has opened there."""

    __slots__ = ("__weakref__", "_opened", "closed", "entered", "is_of_parent", "loop")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop of the client; None before its first use."""
        self.closed: bool = False
        self.entered: bool = False
        """Whether the client was opened as a context manager."""
        self._opened: list[tuple[Callable[[], Awaitable[object]], Callable[[], object]]] = []
        self.is_of_parent: bool = False
        """Whether this process is a fork of the one that used the client."""
        after_fork_in_child(self, ClientLifecycle._leave_to_parent)

    def _leave_to_parent(self) -> None:
        # A client that was not used before the fork works in both processes.
        self.is_of_parent = self.loop is not None

    def check_usable(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the client.

        Raises:
            ConfigurationError: the client is closed, or belongs to another event loop or process.
        """
        loop = asyncio._get_running_loop()
        if loop is not None and loop is self.loop and not self.closed and not self.is_of_parent:
            # The usual case, which each call passes more than once.
            return loop
        if self.closed:
            raise ConfigurationError("the client is closed; open a new one with `async with AIVideoMaker() as client:`")
        return self.check_place()

    def check_place(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of the client, which the first call binds it to.

        Raises:
            ConfigurationError: the client belongs to another event loop or process.
        """
        loop = running_loop()
        if self.loop is None:
            self.loop = loop
        elif self.is_of_parent:
            raise ConfigurationError(
                "this client was first used in another process, of which this one is a fork; open a client in each "
                "process, after the fork (gunicorn: in post_fork, or without --preload)"
            )
        elif self.loop is not loop:
            raise ConfigurationError(
                "this client was first used in another event loop; open one client in each loop "
                "(each asyncio.run() makes a new loop, and each thread has its own)"
            )
        return loop

    @property
    def is_here(self) -> bool:
        """Whether the running event loop is the client's."""
        return self.loop is not None and asyncio._get_running_loop() is self.loop and not self.is_of_parent

    @property
    def is_unreachable(self) -> bool:
        """Whether nothing that was started can be ended any more: the loop is closed, or belongs to another process."""
        return self.loop is not None and (self.loop.is_closed() or self.is_of_parent)

    def call_soon(self, callback: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        """Call `callback` in the client's event loop, from any thread; do nothing for an unused or closed client."""
        if self.loop is None or self.closed or self.is_of_parent:
            return
        # The loop may be closing at this moment.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback, *args)

    def add(self, close: Callable[[], Awaitable[object]], abandon: Callable[[], object]) -> None:
        """Remember something that was opened.

        Args:
            close: closes it in the client's event loop.
            abandon: closes it from any thread and without waiting, also when the loop is closed.
        """
        self._opened.append((close, abandon))

    async def aclose(self) -> None:
        """Close everything that was opened. A second time does nothing."""
        self.closed = True
        while self._opened:
            await self._opened.pop()[0]()

    def abandon(self) -> None:
        """Close everything that was opened, from any thread and without waiting."""
        opened, self._opened = self._opened, []
        if self.loop is None or self.is_of_parent:
            return
        for _, abandon in opened:
            abandon()

    def warn_if_dropped(self, client: object, name: str, made_by: FrameType) -> None:
        """When `client` is garbage-collected without having been closed, abandon everything and warn.

        Args:
            client: the client.
            name: how to name it in the warning.
            made_by: the frame that made it.
        """
        weakref.finalize(client, _dropped, self, name, made_by.f_code.co_filename, made_by.f_lineno)


def _dropped(lifecycle: ClientLifecycle, name: str, file: str, line: int) -> None:
    is_open = not lifecycle.closed and (lifecycle.entered or bool(lifecycle._opened)) and not lifecycle.is_of_parent
    lifecycle.closed = True
    try:
        lifecycle.abandon()
    finally:
        if is_open:
            text = f"unclosed client {name}: use `async with AIVideoMaker() as client:`, or `await client.aclose()`"
            warnings.warn_explicit(text, ResourceWarning, file, line, source=lifecycle)
