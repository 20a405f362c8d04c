"""When a request may go: its permit under the query limit, its slot among other commands, and the end of all waiting.

Queries ask the limiter, which the whole IP address shares. Submits and other commands have no such limit: only a
bounded number is in flight at once, and a submit that the service refused with 429 delays the next submits of this
client.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Final

from .._limits import MAX_LIMIT_PAUSE_S, Limiter, Permit, Priority
from .._redaction import shorten
from ..errors import RequestTimeout
from .requests import Kind, Request

__all__ = ["Deadline", "RequestGate", "deadline_exceeded"]

COMMANDS_AT_ONCE: Final = 32
"""Submits in flight at once, and as many cancels and quotes; the limiter bounds queries."""

ABSURD_PAUSE_REPLACEMENT_S: Final = 60.0
"""Pause of queries when the service asks for more than `MAX_LIMIT_PAUSE_S`: the limit is one of requests a minute, so a
clock is wrong somewhere, and everything behind this address would stand still for it."""


class Deadline:
    """The end of one call with all its attempts and waits, computed once and passed down.

    Args:
        timeout: seconds for the call.
        now: the time of the event loop.
        is_default: whether the caller has set no limit, so that an upload may take as long as it makes progress.
    """

    __slots__ = ("_is_default", "at", "timeout")

    def __init__(self, timeout: float, now: float, *, is_default: bool = False) -> None:
        self.at: float = now + timeout
        """The moment on the clock of the event loop."""
        self.timeout: float = timeout
        self._is_default = is_default

    def prolong(self, until: float) -> float:
        """Go on until this moment at least, since an upload makes progress; return when the attempt ends then."""
        if self._is_default:
            self.at = max(self.at, until)
        return min(self.at, until)

    def left(self, now: float) -> float:
        """Return the seconds left."""
        return self.at - now

    def is_too_close_to_submit(self, now: float) -> bool:
        """Return whether a submit sent now would only become an unknown outcome."""
        return self.left(now) < min(1.0, self.timeout / 2)


class RequestGate:
    """Lets the requests of one client go.

    Args:
        limiter: counts queries.
        check_usable: raises when the client is closed or used in another event loop.
    """

    def __init__(self, limiter: Limiter, check_usable: Callable[[], object]) -> None:
        self._limiter = limiter
        self._check_usable = check_usable
        # Separate, so that a cancel, for which there are only seconds, does not queue behind uploads.
        self._slots: dict[tuple[Kind, bool], asyncio.Semaphore] = {}
        self._submits_resume_at = -inf
        self._waits: set[asyncio.Timeout] = set()

    def enter_nowait(self, request: Request[object], deadline: Deadline, now: float) -> Permit | None:
        """Return the permit of a query that may go at once; None where a request has to wait.

        Raises:
            RequestTimeout: the deadline passed; nothing was sent.
        """
        if deadline.at <= now:
            # A free permit or slot needs no wait that could time out.
            raise deadline_exceeded(request)
        return self._limiter.acquire_nowait() if request.kind is Kind.QUERY else None

    async def enter(self, request: Request[object], priority: Priority, deadline: Deadline) -> Permit:
        """Wait until `request` may go, and return its permit. A cancelled wait holds nothing.

        Raises:
            RequestTimeout: the deadline passed; nothing was sent.
            ConfigurationError: the client was closed.
        """
        permit = self.enter_nowait(request, deadline, asyncio.get_running_loop().time())
        if permit is not None:
            return permit
        async with self._waiting(request, deadline.at):
            if request.kind is Kind.QUERY:
                return await self._limiter.acquire(priority)
            slots = self._slots.setdefault((request.kind, request.body is None), asyncio.Semaphore(COMMANDS_AT_ONCE))
            await slots.acquire()
            slot = _Slot(slots)
            if request.kind is Kind.SUBMIT:
                try:
                    await self._wait_to_submit(request, deadline)
                except BaseException:
                    slot.refund()
                    raise
            return slot

    async def _wait_to_submit(self, request: Request[object], deadline: Deadline) -> None:
        loop = asyncio.get_running_loop()
        # In a loop, since another 429 may move the moment on.
        while (wait := self._submits_resume_at - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(wait)
        if deadline.is_too_close_to_submit(loop.time()):
            raise deadline_exceeded(request)

    async def sleep(self, request: Request[object], seconds: float, until: float = inf) -> None:
        """Wait before the next attempt at `request`.

        Args:
            request: what is to be tried again.
            seconds: how long.
            until: the deadline on the clock of the event loop.

        Raises:
            RequestTimeout: the deadline passed.
            ConfigurationError: the client was closed.
        """
        async with self._waiting(request, until):
            await asyncio.sleep(seconds)

    def pause(self, request: Request[object], seconds: float) -> None:
        """Hold back requests after a 429: queries of the whole IP address, or submits of this client."""
        if request.kind is Kind.QUERY:
            self._limiter.pause(seconds if seconds <= MAX_LIMIT_PAUSE_S else ABSURD_PAUSE_REPLACEMENT_S)
        elif request.kind is Kind.SUBMIT:
            resume_at = asyncio.get_running_loop().time() + min(seconds, MAX_LIMIT_PAUSE_S)
            self._submits_resume_at = max(self._submits_resume_at, resume_at)

    def wake_all(self) -> None:
        """End all waits: the client is closed, and each wait raises that."""
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(-inf)

    @asynccontextmanager
    async def _waiting(self, request: Request[object], until: float) -> AsyncIterator[None]:
        self._check_usable()
        try:
            async with asyncio.timeout_at(until) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            self._check_usable()
            raise deadline_exceeded(request) from None


class _Slot:
    """A slot among the commands in flight, in the form of a permit."""

    __slots__ = ("_slots",)

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots: asyncio.Semaphore | None = slots

    def settle(self, *, answered: bool = True) -> None:
        del answered
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.release()

    def refund(self) -> None:
        self.settle()


def deadline_exceeded(request: Request[object]) -> RequestTimeout:
    """Return the error of a request that had no time left to be sent."""
    message = "the deadline of the call passed while it waited for its turn under the limit; nothing was sent"
    return RequestTimeout(message, method=request.method, path=shorten(request.path), sent=False)
