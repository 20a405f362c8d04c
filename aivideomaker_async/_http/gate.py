"""When a request may go: its turn under the limit, its place among others, and the end of all waiting.

Queries ask the limiter, which the whole address shares. Submits and other commands have no such limit; only so many are
under way at once, and a submit that the service refused with 429 holds back the others of this client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from .._limits import MAX_LIMIT_PAUSE_S, Limiter, Permit, Priority
from .._redaction import shorten
from ..errors import RequestTimeout
from .requests import Kind, Request

__all__ = ["Admission", "too_late"]

COMMANDS_AT_ONCE: Final = 32
"""Submits under way at once, and as many cancels and quotes; queries are bounded by the limiter."""

INSTEAD: Final = 60.0
"""Seconds for which queries pause when more than `MAX_LIMIT_PAUSE_S` are asked for: the limit is one of requests a
minute, so a clock is wrong somewhere, and everything behind this address would stand still for it."""


class Admission:
    """Lets the requests of one client go.

    Args:
        limiter: what queries ask.
        check_usable: raises when the client is closed, or used in another event loop.
    """

    def __init__(self, limiter: Limiter, check_usable: Callable[[], object]) -> None:
        self._limiter = limiter
        self._check_usable = check_usable
        # Apart, so that a cancel, for which there are only seconds, does not queue behind uploads.
        self._places: dict[tuple[Kind, bool], asyncio.Semaphore] = {}
        self._submits_resume_at = float("-inf")
        self._waits: set[asyncio.Timeout] = set()

    def admit_nowait(self, request: Request) -> Permit | None:
        """A permit for a query that may go at once, which is the usual case and needs no timer; else None."""
        return self._limiter.acquire_nowait() if request.kind is Kind.QUERY else None

    async def admit(self, request: Request, priority: Priority, deadline: float) -> Permit:
        """Wait until `request` may go. A cancelled wait holds nothing.

        Args:
            request: what is to go.
            priority: who waits for it.
            deadline: on the clock of the event loop.

        Raises:
            RequestTimeout: the deadline passed; nothing was sent.
            ConfigurationError: the client was closed.
        """
        async with self._waiting(request, deadline):
            if request.kind is Kind.QUERY:
                return await self._limiter.acquire(priority)
            loop = asyncio.get_running_loop()
            # In a loop, since the moment may move on meanwhile.
            while request.kind is Kind.SUBMIT and (wait := self._submits_resume_at - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(wait)
            name = request.kind, request.body is None
            places = self._places.setdefault(name, asyncio.Semaphore(COMMANDS_AT_ONCE))
            await places.acquire()
            return _Place(places)

    async def rest(self, request: Request, seconds: float, deadline: float) -> None:
        """Wait before the next attempt at `request`.

        Raises:
            RequestTimeout: the deadline passed.
            ConfigurationError: the client was closed.
        """
        async with self._waiting(request, deadline):
            await asyncio.sleep(seconds)

    def pause(self, request: Request, seconds: float) -> None:
        """The service refused `request` with 429. The limit on queries is the address's, that on submits the key's."""
        if request.kind is Kind.QUERY:
            self._limiter.pause(seconds if seconds <= MAX_LIMIT_PAUSE_S else INSTEAD)
        elif request.kind is Kind.SUBMIT:
            resume_at = asyncio.get_running_loop().time() + min(seconds, MAX_LIMIT_PAUSE_S)
            self._submits_resume_at = max(self._submits_resume_at, resume_at)

    def wake_all(self) -> None:
        """The client is closed: whoever waits stops waiting, and finds that out."""
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(float("-inf"))

    @asynccontextmanager
    async def _waiting(self, request: Request, deadline: float) -> AsyncIterator[None]:
        self._check_usable()
        try:
            async with asyncio.timeout_at(deadline) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            self._check_usable()
            raise too_late(request) from None


class _Place:
    """A place among the commands under way; it looks like a permit, and there is no window to hold."""

    __slots__ = ("_places",)

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places: asyncio.Semaphore | None = places

    def settle(self, *, answered: bool = True) -> None:
        del answered
        places, self._places = self._places, None
        if places is not None:
            places.release()

    def refund(self) -> None:
        self.settle()


def too_late(request: Request) -> RequestTimeout:
    """The error of a request for which no time was left. Nothing was sent."""
    message = "the deadline of the call passed while it waited for its turn under the limit; nothing was sent"
    return RequestTimeout(message, method=request.method, path=shorten(request.path), sent=False)
