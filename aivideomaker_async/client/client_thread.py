"""A client in an event loop and a thread of its own, for programs that have many loops, or none.

A client belongs to one event loop. Agent frameworks run a tool now in the caller's loop, now in a thread without one,
now in a new loop for each call. Here all of them share one client, with one poller and one limit.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Concatenate, Final, ParamSpec, TypeVar
from weakref import ref

from anyio import to_thread
from anyio.from_thread import BlockingPortal, start_blocking_portal

from .._util.fork import after_fork_in_child
from .._util.loops import loop_or_none
from ..errors import ConfigurationError
from .client import AIVideoMaker

__all__ = ["ClientThread"]

P = ParamSpec("P")
T = TypeVar("T")

_of_parents: Final[list[object]] = []
"""Portals of the processes that this one is a fork of."""

THREAD_NAME: Final = "aivideomaker_async client"

_OWN_THREAD: Final = "this is the thread of the client itself, which cannot wait for itself"

_CLOSED: Final = "a client in a thread of its own is closed; make a new one"


class ClientThread:
    """A client in an event loop and a thread of its own.

    Both are made on first use, in a forked process anew, and end with `close` or with the interpreter. Everything that
    runs there ends with them: what a paid task still does goes on at the service.

    Args:
        make: makes the client, in the thread.
    """

    def __init__(self, make: Callable[[], AIVideoMaker] = AIVideoMaker) -> None:
        self._make = make
        self._lock = Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: AbstractContextManager[BlockingPortal] | None = None
        self._client: AIVideoMaker | None = None
        self._closed = False
        after_fork_in_child(self, ClientThread._leave_to_parent)

    def start(
        self, function: Callable[Concatenate[AIVideoMaker, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> concurrent.futures.Future[T]:
        """Start `function(client, ...)` in the thread. To cancel the future cancels it.

        Raises:
            ConfigurationError: this was closed, the client cannot be made, or this is called in its own thread.
        """
        loop = self._loop or self._enter()
        if loop_or_none() is loop:
            raise ConfigurationError(_OWN_THREAD)
        work = self._run(function, args, kwargs)
        try:
            return asyncio.run_coroutine_threadsafe(work, loop)
        except RuntimeError:
            # Another thread has closed it at this moment.
            work.close()
            raise ConfigurationError(_CLOSED) from None

    async def call(
        self, function: Callable[Concatenate[AIVideoMaker, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of `function(client, ...)`, for a caller in another event loop. Cancelling cancels it."""
        if self._loop is None:
            # To start a thread takes some milliseconds, in which the caller's loop would stand still.
            await to_thread.run_sync(self._enter)
        return await asyncio.wrap_future(self.start(function, *args, **kwargs))

    def call_blocking(
        self, function: Callable[Concatenate[AIVideoMaker, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of `function(client, ...)`, for a caller without an event loop. Ctrl-C cancels it."""
        future = self.start(function, *args, **kwargs)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ConfigurationError(_CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the client, its loop and its thread. What still runs is cancelled. A second time does nothing.

        Raises:
            ConfigurationError: this is called in its own thread.
        """
        if self._loop is not None and loop_or_none() is self._loop:
            raise ConfigurationError(_OWN_THREAD)
        with self._lock:
            self._closed = True
            self._end()

    async def _run(
        self, function: Callable[..., Awaitable[T]], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> T:
        if self._client is None:
            self._client = self._make()
            # After the client is made: what is registered last runs first, and the client has a hook that would warn.
            _close_at_exit(self)
        return await function(self._client, *args, **kwargs)

    def _enter(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._closed:
                raise ConfigurationError(_CLOSED)
            if self._loop is None:
                # Of the portal only its thread and its end are used: it makes its callers wait until its loop is free.
                running = start_blocking_portal("asyncio", name=THREAD_NAME)
                self._loop = running.__enter__().call(asyncio.get_running_loop)
                self._running = running
            return self._loop

    def _end(self) -> None:
        loop, running = self._loop, self._running
        self._loop = self._running = None
        if loop is not None and running is not None:
            asyncio.run_coroutine_threadsafe(self._close_client(), loop).result()
            # What still runs there is cancelled with the loop.
            running.__exit__(None, None, None)

    async def _close_client(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _leave_to_parent(self) -> None:
        # Another thread may have held the lock, and neither the loop nor its thread came along. To drop the portal
        # would wait for that thread.
        self._lock = Lock()
        _of_parents.extend([self._running, self._client])
        self._loop = self._running = self._client = None


def _close_at_exit(thread: ClientThread) -> None:
    # By a weak reference: a tool set that is dropped need not live until the end of the process.
    weak = ref(thread)

    def close() -> None:
        if (alive := weak()) is not None:
            alive.close()

    atexit.register(close)
