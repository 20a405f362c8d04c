"""Where a client lives: in one event loop of one process, and with the connections that it has opened there.

What is not closed by its user is closed when the client is dropped, with a warning that names the line that made it.
"""

from __future__ import annotations

import asyncio
import os
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, TypeVarTuple, Unpack, final

from .._util.loops import running_loop
from ..errors import ConfigurationError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Home"]

Ts = TypeVarTuple("Ts")


@final
class Home:
    """The event loop and the process of a client, from its first use on, and what it has opened.

    It knows nothing of the client, so that it can outlive it.
    """

    __slots__ = ("__weakref__", "_pid", "closed", "entered", "loop", "opened")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.closed: bool = False
        self.entered: bool = False
        """Whether the client was opened as a context manager."""
        self.opened: list[aiohttp.ClientSession] = []
        self._pid = os.getpid()

    def check_usable(self) -> asyncio.AbstractEventLoop:
        """The event loop of the client.

        Raises:
            ConfigurationError: the client is closed, or lives elsewhere.
        """
        if self.closed:
            raise ConfigurationError("the client is closed; open a new one with `async with AIVideoMaker() as client:`")
        return self.check_place()

    def check_place(self) -> asyncio.AbstractEventLoop:
        """The event loop of the client, which is the running one from the first call on.

        Raises:
            ConfigurationError: the client lives in another loop, or in another process.
        """
        loop = running_loop()
        if self.loop is None:
            self.loop, self._pid = loop, os.getpid()
        elif self.is_of_parent:
            raise ConfigurationError(
                f"this client was first used in another process ({self._pid}), and this one is a fork of it; open a "
                "client in each process, after the fork (gunicorn: in post_fork, or without --preload)"
            )
        elif self.loop is not loop:
            raise ConfigurationError(
                "this client was first used in another event loop; open one client in each loop "
                "(each asyncio.run() makes a new loop, and each thread has its own)"
            )
        return loop

    @property
    def is_here(self) -> bool:
        """Whether the running event loop is that of the client."""
        return self.loop is not None and asyncio._get_running_loop() is self.loop and not self.is_of_parent

    @property
    def is_out_of_reach(self) -> bool:
        """Whether nothing of what was begun can be ended any more: the loop is closed, or another process has it."""
        return self.loop is not None and (self.loop.is_closed() or self.is_of_parent)

    @property
    def is_of_parent(self) -> bool:
        """Whether this process is a fork of the one that has used the client."""
        return self.loop is not None and self._pid != os.getpid()

    def soon(self, callback: Callable[[Unpack[Ts]], object], *args: *Ts) -> None:
        """Call this in the event loop, from any thread; a client that has none, or is closed, does nothing."""
        if self.loop is None or self.closed or self.is_of_parent:
            return
        # It may be closing at this moment.
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback, *args)

    async def aclose(self) -> None:
        """Close what was opened. A second time does nothing."""
        self.closed = True
        while self.opened:
            await self.opened.pop().close()

    def abandon(self) -> None:
        """Close what was opened, from any thread, and without waiting for it."""
        opened, self.opened = self.opened, []
        if self.loop is None or self.is_of_parent:
            return
        from .connections import abandon

        for session in opened:
            abandon(session, self.loop)

    def watch_over(self, client: object, name: str, made_by: FrameType) -> None:
        """Be abandoned, with a warning, when nobody has `client` any more and nobody has closed it.

        Args:
            client: whose home this is.
            name: what to call it.
            made_by: the frame that has made it.
        """
        weakref.finalize(client, _dropped, self, name, made_by.f_code.co_filename, made_by.f_lineno)


def _dropped(home: Home, name: str, file: str, line: int) -> None:
    is_open = not home.closed and (home.entered or bool(home.opened)) and not home.is_of_parent
    home.closed = True
    try:
        home.abandon()
    finally:
        if is_open:
            text = f"unclosed client {name}: use `async with AIVideoMaker() as client:`, or `await client.aclose()`"
            warnings.warn_explicit(text, ResourceWarning, file, line, source=home)
