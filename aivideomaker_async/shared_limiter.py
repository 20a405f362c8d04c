"""A query limit that many processes share: the machinery under `HostRateLimiter` and `RedisRateLimiter`.

What all of them share is one text in a `Cell`; what may go when is decided in `_core.shared_quota`, on the clock of the
cell. Here people wait. In each event loop in which somebody waits or has a permit, one asyncio task, the pump, visits
the cell: it brings what was settled and refunded, renews the leases of what is under way, and asks for those who wait.
Nothing is locked and nothing is promised between two visits, so wherever a pump or a process ends, the others go on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from secrets import token_hex
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar, final

from attrs import evolve

from . import _checks
from ._core.quota import LONGEST_PAUSE, PACE, UNANSWERED, usual_burst
from ._core.shared_quota import Answer, SharedQuota, Visit, lease
from ._core.turns import Priority, Turns
from .limiter import LimiterStatistics, Permit

__all__ = ["Cell", "CellUnavailable", "SharedRateLimiter"]

logger: Final = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_AFTER: Final = 15.0
"""Seconds after which a cell that could not be used is tried again."""

LAST_WORDS: Final = 0.5
"""Seconds for which the end of an event loop waits at most, so that the others learn of the last answers."""


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


class SharedRateLimiter:
    """Keeps all processes that share a cell within `limit` requests in any `window` seconds of the service's time.

    What `RateLimiter` says of the limit, the pace and the order holds here for all processes together, and each process
    that waits gets an equal share. One limiter can serve many clients, also in event loops of several threads, and in
    processes that are forked. When the cell cannot be used, this process limits itself until it can.

    Args:
        cells: makes a cell, when somebody begins to wait in an event loop; it is closed when nobody waits there.
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        burst: requests that may go at once after a quiet time; by default 5 % of the limit.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self, cells: Callable[[], Cell], limit: int = 60, window: float = 60.0, *, burst: int | None = None
    ) -> None:
        self.limit: Final = _checks.count("limit", limit)
        self.window: Final = _checks.seconds("window", window)
        self.burst: Final = min(limit, _checks.count("burst", usual_burst(limit) if burst is None else burst))
        self._cells = cells
        self._office: _Office | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(limit={self.limit}, window={self.window}, burst={self.burst})"

    @property
    def pace(self) -> float:
        """Seconds between two requests that the limit sustains here: what the other processes leave of it."""
        return self._here().pace()

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        """Wait for a permit. A cancelled wait holds none, also if the permit came at the same moment."""
        permit = None
        while permit is None:
            permit = await self._here().line().wait(priority)
        return permit

    def acquire_nowait(self) -> None:
        """None: whether a request may go is not known without asking the others."""

    def pause(self, seconds: float) -> None:
        """The service said 429: nobody in any process gets a permit for so many seconds (an hour at most)."""
        self._here().pause(seconds)

    def statistics(self) -> LimiterStatistics:
        """The state when it was last seen, with those who wait and have permits in this process."""
        return self._here().statistics()

    def for_origin(self, origin: str) -> SharedRateLimiter:
        """The limiter for the service at `origin` (host and port)."""
        del origin
        return self

    def _alone(self, members: int) -> int:
        """Requests in a window that this process allows itself while the cell cannot be used.

        Args:
            members: how many shared the limit when it was last seen, this process included.
        """
        return max(1, self.limit // members)

    def _here(self) -> _Office:
        # A forked process inherits no waiters, no permits, no tasks, and no lock that another thread may have held.
        if self._office is None or self._office.pid != os.getpid():
            self._office = _Office(self, self._cells)
        return self._office


class _Office:
    """A limiter in one process: permits, what the cell is to be told, and what it told.

    The lock guards what several threads change. Nothing waits while it is held.
    """

    def __init__(self, limiter: SharedRateLimiter, cells: Callable[[], Cell]) -> None:
        self.limiter = limiter
        self.cells = cells
        self.pid = os.getpid()
        self.name = token_hex(5)
        self.lock = threading.Lock()
        self.lines: dict[asyncio.AbstractEventLoop, _Line] = {}
        self.permits: dict[str, _Permit] = {}
        """Those under way."""
        self.settled: dict[str, float] = {}
        """Permits that the cell does not know to be over, and when they were."""
        self.refunded: set[str] = set()
        """Permits that the cell does not know to be unused."""
        self.untold_pause = False
        self.paused_until = float("-inf")
        self.pauses = 0
        self.granted = 0
        self.numbers = 0
        self.seen = Answer(granted=(), again_in=None, members=1, in_window=0, in_window_of_others=0, paused_for=0.0)
        self.spare: _Spare | None = None
        self.retry_at = float("-inf")

    # --- for the limiter -----------------------------------------------------------------------------

    def pace(self) -> float:
        if self.spare is not None:
            return self.limiter.window / (PACE * self.spare.limit)
        # What the others leave, and an equal share at least; who asks rarely takes nothing from the others.
        usable = PACE * self.limiter.limit
        share = usable / max(1, self.seen.members)
        return self.limiter.window / max(share, usable - self.seen.in_window_of_others)

    def line(self) -> _Line:
        """The line of the running loop."""
        loop = asyncio.get_running_loop()
        with self.lock:
            self._sweep()
            if loop not in self.lines:
                taken = {line.place for line in self.lines.values()}
                place = next(place for place in range(len(taken) + 1) if place not in taken)
                self.lines[loop] = _Line(self, loop, place)
            return self.lines[loop]

    def pause(self, seconds: float) -> None:
        now = _now()
        with self.lock:
            self.pauses += 1
            self.untold_pause = True
            self.paused_until = max(self.paused_until, now + min(max(seconds, 0.0), LONGEST_PAUSE))
        logger.warning(
            "the service limits the rate (429): all queries pause for %.1f s", max(0.0, self.paused_until - now)
        )
        with suppress(RuntimeError):
            # Outside of any loop, the next visit tells it.
            self.line().start()
        self.hurry()

    def statistics(self) -> LimiterStatistics:
        with self.lock:
            self._sweep()
            lines = list(self.lines.values())
            return LimiterStatistics(
                limit=self.limiter.limit,
                window=self.limiter.window,
                burst=self.limiter.burst,
                in_window=max(self.seen.in_window, len(self.permits)),
                in_flight=len(self.permits),
                waiting_foreground=sum(line.turns.waiting(Priority.FOREGROUND) for line in lines),
                waiting_background=sum(line.turns.waiting(Priority.BACKGROUND) for line in lines),
                granted=self.granted,
                rejected=self.pauses,
                paused_for=max(0.0, self.paused_until - _now()),
            )

    # --- permits -------------------------------------------------------------------------------------

    def grant(self, name: str, line: _Line) -> _Permit:
        with self.lock:
            self.granted += 1
            permit = self.permits[name] = _Permit(self, line, name)
        return permit

    def settle(self, permit: _Permit, *, answered: bool) -> None:
        if self.pid == os.getpid():
            with self.lock:
                self._settle(permit, answered=answered)
            permit.line.told()

    def _settle(self, permit: _Permit, *, answered: bool) -> None:
        if self.permits.pop(permit.name, None) is not None:
            later = 0.0 if answered else min(UNANSWERED, self.limiter.window)
            self.settled[permit.name] = permit.line.loop.time() + later

    def refund(self, permit: _Permit) -> None:
        if self.pid != os.getpid():
            return
        with self.lock:
            if self.permits.pop(permit.name, None) is None:
                return
            self.granted -= 1
            self.refunded.add(permit.name)
        self.hurry()

    def give_back(self, names: Iterable[str]) -> None:
        """Permits that nobody has seen."""
        with self.lock:
            self.refunded.update(names)

    def hurry(self) -> None:
        """Somebody may go at once because of what is to be told."""
        with self.lock:
            lines = list(self.lines.values())
        for line in lines:
            line.hurry()

    def _sweep(self) -> None:
        # A loop that was closed while somebody waited in it leaves its line and its permits behind.
        for loop in [loop for loop in self.lines if loop.is_closed()]:
            del self.lines[loop]
        for permit in [permit for permit in self.permits.values() if permit.line.loop.is_closed()]:
            self._settle(permit, answered=False)

    # --- visits --------------------------------------------------------------------------------------

    @property
    def has_words(self) -> bool:
        """Whether there is something to tell the cell."""
        return bool(self.settled or self.refunded or self.untold_pause)

    def visit(self, line: _Line, now: float) -> Visit:
        """What there is to tell and to ask now."""
        with self.lock:
            self._sweep()
            self.numbers += self.limiter.burst
            return Visit(
                member=f"{self.name}.{line.place}",
                settled={name: now - at for name, at in self.settled.items()},
                refunded=tuple(self.refunded),
                held=tuple(self.permits),
                pause=max(0.0, self.paused_until - now) if self.untold_pause else 0.0,
                foreground=line.turns.waiting(Priority.FOREGROUND),
                background=line.turns.waiting(Priority.BACKGROUND),
                first=self.numbers - self.limiter.burst,
            )

    def heard(self, visit: Visit, answer: Answer, now: float, pauses: int) -> None:
        """The cell knows now what `visit` told."""
        with self.lock:
            for name in visit.held:
                if name not in self.permits and name not in self.settled and name not in self.refunded:
                    # Another loop told that it is over while this visit, made earlier, said that it is not.
                    self.settled[name] = now
            for name in visit.settled:
                self.settled.pop(name, None)
            self.refunded.difference_update(visit.refunded)
            if pauses == self.pauses:
                self.untold_pause = False
            self.seen = answer
            if answer.paused_for:
                self.paused_until = max(self.paused_until, now + answer.paused_for)

    async def carry(self, visit: Visit, cell: Cell, now: float) -> Answer:
        """Visit the cell, or what stands in for it while it cannot be used."""
        spare = self.spare
        if spare is None or now >= self.retry_at:
            try:
                answer = await cell.change(self._step(spare.handed_over(visit, now) if spare else visit))
            except CellUnavailable as error:
                spare = self._fall_back(error, now)
            else:
                self._recover()
                return answer
        return spare.visit(visit, now)

    def _step(self, visit: Visit) -> Callable[[str | None, float], tuple[str | None, Answer]]:
        def step(text: str | None, now: float) -> tuple[str | None, Answer]:
            shared = SharedQuota.load(self.limiter.limit, self.limiter.window, self.limiter.burst, text, now)
            answer = shared.visit(visit)
            return shared.dump(), answer

        return step

    def _fall_back(self, error: CellUnavailable, now: float) -> _Spare:
        with self.lock:
            self.retry_at = now + RETRY_AFTER
            if self.spare is not None:
                return self.spare
            limit = self.limiter._alone(max(1, self.seen.members))
            spare = self.spare = _Spare(limit, self.limiter.window, min(self.limiter.burst, usual_burst(limit)))
        logger.warning(
            "the shared query limit cannot be used (%s): this process alone keeps to %d in %g s",
            error,
            limit,
            spare.window,
        )
        return spare

    def _recover(self) -> None:
        with self.lock:
            spare, self.spare = self.spare, None
        if spare is not None:
            logger.info("the shared query limit is used again")


class _Line:
    """Those who wait in one event loop, and the task that asks for them."""

    def __init__(self, office: _Office, loop: asyncio.AbstractEventLoop, place: int) -> None:
        self.office = office
        self.loop = loop
        self.place = place
        self.turns: Turns[asyncio.Future[_Permit | None]] = Turns()
        self.cell = office.cells()
        self.task: asyncio.Task[None] | None = None
        self.awake = asyncio.Event()
        self.doubtful: Visit | None = None
        """A visit that may have been made, and whose answer has not come."""

    async def wait(self, priority: Priority) -> _Permit | None:
        """A permit; None if this line has ended, and another is to be asked."""
        ticket: asyncio.Future[_Permit | None] = self.loop.create_future()
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

    def _leave(self, ticket: asyncio.Future[_Permit | None], *, collected: bool) -> None:
        self.turns.discard(ticket)
        if not collected and ticket.done() and not ticket.cancelled() and ticket.exception() is None:
            unseen = ticket.result()
            if unseen is not None:
                unseen.refund()
        if not len(self.turns):
            self.awake.set()

    def start(self) -> None:
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
        if _running_loop() is self.loop:
            self.awake.set()
        else:
            # Another thread may have closed its loop.
            with suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self.awake.set)

    # --- the pump ------------------------------------------------------------------------------------

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
        with self.office.lock:
            under_way = any(permit.line is self for permit in self.office.permits.values())
            return bool(len(self.turns)) or under_way or self.office.has_words

    def _end(self, error: Exception | None = None) -> None:
        with self.office.lock:
            if self.office.lines.get(self.loop) is self:
                del self.office.lines[self.loop]
        # Who still waits goes to the next line; not in a loop that ends, since there they are cancelled as well.
        while len(self.turns):
            ticket = self.turns.pop()
            if not ticket.done():
                ticket.set_result(None) if error is None else ticket.set_exception(error)

    async def _visit(self) -> float:
        """Visit the cell, give out what was granted, and return when the next visit is due."""
        office, pauses, began_at = self.office, self.office.pauses, self.loop.time()
        visit = self.doubtful = office.visit(self, began_at)
        answer = await office.carry(visit, self.cell, began_at)
        self.doubtful = None
        now = self.loop.time()
        office.heard(visit, answer, now, pauses)
        if pauses == office.pauses:
            self._hand_out(answer.granted)
        else:
            # Somebody was refused meanwhile.
            office.give_back(answer.granted)
            self.awake.set()
        if answer.again_in is None and len(self.turns):
            # They came while the visit was made.
            self.awake.set()
        renewal = lease(office.limiter.window) / 3
        return min(now + (renewal if answer.again_in is None else answer.again_in), began_at + renewal)

    def _hand_out(self, granted: Iterable[str]) -> None:
        for name in granted:
            ticket = self._next()
            if ticket is None:
                self.office.give_back([name])
                self.awake.set()
            else:
                ticket.set_result(self.office.grant(name, self))

    def _next(self) -> asyncio.Future[_Permit | None] | None:
        while len(self.turns):
            ticket = self.turns.pop()
            if not ticket.done():
                return ticket
        return None

    async def _last_words(self) -> None:
        """The loop ends: let the others know what is over, if that is quickly done. Leases cover the rest."""
        if self.doubtful is not None:
            self.office.give_back(map(self.doubtful.permit, range(self.office.limiter.burst)))
        with suppress(TimeoutError, CellUnavailable):
            async with asyncio.timeout(LAST_WORDS):
                # Others, cancelled at the same moment, settle now.
                for _ in range(5):
                    await asyncio.sleep(0)
                while self.office.has_words and self.office.spare is None:
                    now, pauses = self.loop.time(), self.office.pauses
                    visit = self.office.visit(self, now)
                    self.office.heard(visit, await self.cell.change(self.office._step(visit)), now, pauses)


@final
class _Permit:
    """A grant of a `SharedRateLimiter`, as a context manager that settles."""

    __slots__ = ("_office", "line", "name")

    def __init__(self, office: _Office, line: _Line, name: str) -> None:
        self._office = office
        self.line = line
        self.name = name

    def settle(self, *, answered: bool = True) -> None:
        self._office.settle(self, answered=answered)

    def refund(self) -> None:
        self._office.refund(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.settle(answered=error is None)


class _Spare:
    """Stands in for a cell that cannot be used: the same quota, in this process alone. It starts without a burst."""

    def __init__(self, limit: int, window: float, burst: int) -> None:
        self.limit = limit
        self.window = window
        self._burst = burst
        self._text = ""
        self._lock = threading.Lock()

    def visit(self, visit: Visit, now: float) -> Answer:
        with self._lock:
            shared = self._load(now)
            answer = shared.visit(visit)
            self._text = shared.dump()
        return answer

    def handed_over(self, visit: Visit, now: float) -> Visit:
        """`visit`, telling also what went out meanwhile."""
        shared = self._load(now)
        return evolve(visit, settled={**shared.ages(), **visit.settled}, pause=max(visit.pause, shared.paused_for()))

    def _load(self, now: float) -> SharedQuota:
        return SharedQuota.load(self.limit, self.window, self._burst, self._text, now)


def _now() -> float:
    loop = _running_loop()
    # Outside of any loop; the usual ones read this very clock.
    return time.monotonic() if loop is None else loop.time()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
