"""Those who wait for a shared query limit in one event loop, and the asyncio task that asks for them: the pump.

It runs while somebody waits or has a permit there, or something is to be told. It visits the cell: it brings what was
settled and refunded, renews the leases of what is under way, and asks for those who wait.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .cell import Cell, CellUnavailable
from .queue import Priority, Turns
from .shared_quota import Visit, lease

if TYPE_CHECKING:
    from .limiter_process import ProcessLimiter, SharedPermit

__all__ = ["Pump", "loop_or_none"]

logger: Final = logging.getLogger("aivideomaker_async.limits")

LAST_WORDS: Final = 0.5
"""Seconds for which the end of an event loop waits at most, so that the others learn of the last answers."""


class Pump:
    """Those who wait in one event loop, and the task that asks for them."""

    def __init__(self, limiter: ProcessLimiter, loop: asyncio.AbstractEventLoop, place: int) -> None:
        self.limiter = limiter
        self.loop = loop
        self.place = place
        self.turns: Turns[asyncio.Future[SharedPermit | None]] = Turns()
        self.cell: Cell = limiter.cells()
        self.task: asyncio.Task[None] | None = None
        self.awake: asyncio.Event = asyncio.Event()
        self.doubtful: Visit | None = None
        """A visit that may have been made, and whose answer has not come."""

    async def wait(self, priority: Priority) -> SharedPermit | None:
        """A permit; None if this pump has ended, and another is to be asked."""
        ticket: asyncio.Future[SharedPermit | None] = self.loop.create_future()
        news = not self.turns.waiting(priority) and not self.turns.waiting(Priority.FOREGROUND)
        self.turns.add(ticket, priority)
        self.start()
        if news:
            self.awake.set()
        permit = None
        try:
            permit = await ticket
        finally:
            self._leave(ticket, collected=permit is not None)
        return permit

    def _leave(self, ticket: asyncio.Future[SharedPermit | None], *, collected: bool) -> None:
        self.turns.discard(ticket)
        if not collected and ticket.done() and not ticket.cancelled() and ticket.exception() is None:
            unseen = ticket.result()
            if unseen is not None:
                unseen.refund()
        if not len(self.turns):
            self.awake.set()

    def start(self) -> None:
        """Start the task, if it does not run."""
        if self.task is None:
            # An empty context: whoever comes first lends nothing (no request id, no span) to all who come later.
            self.task = self.loop.create_task(
                self._run(), name="aivideomaker_async.limiter", context=contextvars.Context()
            )
            # A loop that is closed under it loses nothing: what it holds are leases.
            self.task._log_destroy_pending = False  # type: ignore[attr-defined]
            # A task that is cancelled before it began does not run at all.
            self.task.add_done_callback(lambda _: self._end())

    def told(self) -> None:
        """There is something to tell, which can wait until the next visit if there is to be one."""
        if not len(self.turns):
            self.hurry()

    def hurry(self) -> None:
        """Visit at once; from any thread."""
        if loop_or_none() is self.loop:
            self.awake.set()
        else:
            # Another thread may have closed its loop.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.awake.set)

    # --- the task ------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._busy():
                self.awake.clear()
                due = await self._visit()
                if self._busy():
                    await self._rest(due)
            self._end()
        except asyncio.CancelledError:
            self._end()
            await self._last_words()
            await self._close()
            raise
        except Exception as error:  # noqa: BLE001  (nobody who waits may hang, whatever it was)
            self._end(error)
        await self._close()

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self.cell.aclose()
        except Exception as error:  # noqa: BLE001  (nobody is left who could do anything about it)
            logger.debug("the place of the shared query limit was not closed well: %r", error)

    async def _rest(self, due: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self.awake.wait()

    def _busy(self) -> bool:
        with self.limiter.lock:
            under_way = any(permit.pump is self for permit in self.limiter.permits.values())
            return bool(len(self.turns)) or under_way or self.limiter.has_words

    def _end(self, error: Exception | None = None) -> None:
        with self.limiter.lock:
            if self.limiter.pumps.get(self.loop) is self:
                del self.limiter.pumps[self.loop]
        # Who still waits goes to the next pump; not in a loop that ends, since there they are cancelled as well.
        while len(self.turns):
            ticket = self.turns.pop()
            if not ticket.done():
                ticket.set_result(None) if error is None else ticket.set_exception(error)

    async def _visit(self) -> float:
        """Visit the cell, give out what was granted, and return when the next visit is due."""
        limiter, pauses, began_at = self.limiter, self.limiter.pauses, self.loop.time()
        visit = self.doubtful = limiter.visit(self, began_at)
        answer = await limiter.carry(visit, self.cell, began_at)
        self.doubtful = None
        now = self.loop.time()
        limiter.heard(visit, answer, now, pauses)
        if pauses == limiter.pauses:
            self._hand_out(answer.granted)
        else:
            # Somebody was refused meanwhile.
            limiter.give_back(answer.granted)
            self.awake.set()
        if answer.again_in is None and len(self.turns):
            # They came while the visit was made.
            self.awake.set()
        renewal = lease(limiter.window) / 3
        return min(now + (renewal if answer.again_in is None else answer.again_in), began_at + renewal)

    def _hand_out(self, granted: Iterable[str]) -> None:
        for name in granted:
            ticket = self._next()
            if ticket is None:
                self.limiter.give_back([name])
                self.awake.set()
            else:
                ticket.set_result(self.limiter.grant(name, self))

    def _next(self) -> asyncio.Future[SharedPermit | None] | None:
        while len(self.turns):
            ticket = self.turns.pop()
            if not ticket.done():
                return ticket
        return None

    async def _last_words(self) -> None:
        """The loop ends: let the others know what is over, if that is quickly done. Leases cover the rest."""
        if self.doubtful is not None:
            self.limiter.give_back(map(self.doubtful.permit, range(self.limiter.burst)))
        with suppress(TimeoutError, CellUnavailable):
            async with asyncio.timeout(LAST_WORDS):
                # Others, cancelled at the same moment, settle now.
                for _ in range(5):
                    await asyncio.sleep(0)
                while self.limiter.has_words and self.limiter.spare is None:
                    now, pauses = self.loop.time(), self.limiter.pauses
                    visit = self.limiter.visit(self, now)
                    self.limiter.heard(visit, await self.cell.change(self.limiter.step(visit)), now, pauses)


def loop_or_none() -> asyncio.AbstractEventLoop | None:
    """The running loop of this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
