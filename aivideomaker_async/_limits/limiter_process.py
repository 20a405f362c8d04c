"""A shared query limit in one process: its permits, what its visits tell the cell, and what they hear from it.

All threads and event loops of the process meet here; each loop in which somebody waits or has a permit has a pump.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from secrets import token_hex
from types import TracebackType
from typing import Final, Self, final

from .._util.loops import running_loop
from ..errors import ConfigurationError
from .cell import Cell, CellUnavailable
from .limiter_pump import Pump, loop_or_none
from .limiter_spare import Spare
from .local import LimiterStatistics
from .queue import Priority
from .quota import LONGEST_PAUSE, PACE, UNANSWERED, usual_burst
from .shared_quota import LATELY, Answer, SharedQuota, Visit

__all__ = ["ProcessLimiter", "SharedPermit"]

logger: Final = logging.getLogger("aivideomaker_async.limits")

RETRY_AFTER: Final = 15.0
"""Seconds after which a cell that could not be used is tried again, at most."""

FIRST_RETRY_AFTER: Final = 1.0
"""The same after the first failure; twice as long after each that follows."""


class ProcessLimiter:
    """A limiter in one process: permits, what the cell is to be told, and what it told.

    The lock guards what several threads change. Nothing waits while it is held.

    Args:
        cells: makes a cell for an event loop.
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        burst: requests that may go at once after a quiet time.
        alone: requests in a window that this process allows itself while the cell cannot be used, given how many
            members there were; None when that is not known, or was so long ago that it says nothing.
    """

    def __init__(
        self, cells: Callable[[], Cell], *, limit: int, window: float, burst: int, alone: Callable[[int | None], int]
    ) -> None:
        self.cells = cells
        self.limit = limit
        self.window = window
        self.burst = burst
        self.pid: int = os.getpid()
        self.name: str = token_hex(5)
        self.lock: threading.Lock = threading.Lock()
        self.pumps: dict[asyncio.AbstractEventLoop, Pump] = {}
        self.permits: dict[str, SharedPermit] = {}
        """Those under way."""
        self.settled: dict[str, float] = {}
        """Permits that the cell does not know to be over, and when they were."""
        self.refunded: set[str] = set()
        """Permits that the cell does not know to be unused."""
        self.untold_pause: bool = False
        self.paused_until: float = float("-inf")
        self.pauses: int = 0
        self.granted: int = 0
        self.numbers: int = 0
        self.seen: Answer = Answer(
            granted=(), again_in=None, members=1, in_window=0, in_window_of_others=0, paused_for=0.0
        )
        self.spare: Spare | None = None
        self.retry_at: float = float("-inf")
        self._alone = alone
        self._heard_at: float | None = None
        self._failures = 0

    # --- for the limiter -----------------------------------------------------------------------------

    def pace(self) -> float:
        """Seconds between two requests that the limit sustains here."""
        if self.spare is not None:
            return self.window / (PACE * self.spare.limit)
        # What the others leave, and an equal share at least; who asks rarely takes nothing from the others.
        usable = PACE * self.limit
        share = usable / max(1, self.seen.members)
        return self.window / max(share, usable - self.seen.in_window_of_others)

    def pump(self) -> Pump:
        """The pump of the running loop."""
        loop = running_loop()
        with self.lock:
            self._sweep()
            if loop not in self.pumps:
                taken = {pump.place for pump in self.pumps.values()}
                place = next(place for place in range(len(taken) + 1) if place not in taken)
                self.pumps[loop] = Pump(self, loop, place)
            return self.pumps[loop]

    def pause(self, seconds: float) -> None:
        """The service said 429."""
        now = _now()
        with self.lock:
            self.pauses += 1
            self.untold_pause = True
            if self.spare is not None:
                # Others still use what this process has taken for its share.
                self.spare.limit = max(1, self.spare.limit // 2)
            self.paused_until = max(self.paused_until, now + min(max(seconds, 0.0), LONGEST_PAUSE))
        logger.warning(
            "the service limits the rate (429): all queries pause for %.1f s", max(0.0, self.paused_until - now)
        )
        with suppress(ConfigurationError):
            # Outside of any loop, the next visit tells it.
            self.pump().start()
        self.hurry()

    def statistics(self) -> LimiterStatistics:
        """The state when it was last seen."""
        with self.lock:
            self._sweep()
            pumps = list(self.pumps.values())
            return LimiterStatistics(
                limit=self.limit,
                window=self.window,
                burst=self.burst,
                in_window=max(self.seen.in_window, len(self.permits)),
                in_flight=len(self.permits),
                waiting_foreground=sum(pump.turns.waiting(Priority.FOREGROUND) for pump in pumps),
                waiting_background=sum(pump.turns.waiting(Priority.BACKGROUND) for pump in pumps),
                granted=self.granted,
                rejected=self.pauses,
                paused_for=max(0.0, self.paused_until - _now()),
            )

    # --- permits -------------------------------------------------------------------------------------

    def grant(self, name: str, pump: Pump) -> SharedPermit:
        """A permit that the cell has granted."""
        with self.lock:
            self.granted += 1
            permit = self.permits[name] = SharedPermit(self, pump, name)
        return permit

    def settle(self, permit: SharedPermit, *, answered: bool) -> None:
        """The request of a permit is over."""
        if self.pid == os.getpid():
            with self.lock:
                self._settle(permit, answered=answered)
            permit.pump.told()

    def _settle(self, permit: SharedPermit, *, answered: bool) -> None:
        if self.permits.pop(permit.name, None) is not None:
            later = 0.0 if answered else min(UNANSWERED, self.window)
            self.settled[permit.name] = permit.pump.loop.time() + later

    def refund(self, permit: SharedPermit) -> None:
        """The request of a permit was never sent."""
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
            pumps = list(self.pumps.values())
        for pump in pumps:
            pump.hurry()

    def _sweep(self) -> None:
        # A loop that was closed while somebody waited in it leaves its pump and its permits behind.
        for loop in [loop for loop in self.pumps if loop.is_closed()]:
            del self.pumps[loop]
        for permit in [permit for permit in self.permits.values() if permit.pump.loop.is_closed()]:
            self._settle(permit, answered=False)

    # --- visits --------------------------------------------------------------------------------------

    @property
    def has_words(self) -> bool:
        """Whether there is something to tell the cell."""
        return bool(self.settled or self.refunded or self.untold_pause)

    def visit(self, pump: Pump, now: float) -> Visit:
        """What there is to tell and to ask now."""
        with self.lock:
            self._sweep()
            self.numbers += self.burst
            return Visit(
                member=f"{self.name}.{pump.place}",
                settled={name: now - at for name, at in self.settled.items()},
                refunded=tuple(self.refunded),
                held=tuple(self.permits),
                pause=max(0.0, self.paused_until - now) if self.untold_pause else 0.0,
                foreground=pump.turns.waiting(Priority.FOREGROUND),
                background=pump.turns.waiting(Priority.BACKGROUND),
                first=self.numbers - self.burst,
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
            if self.spare is None:
                self._heard_at, self._failures = now, 0
            if answer.paused_for:
                self.paused_until = max(self.paused_until, now + answer.paused_for)

    async def carry(self, visit: Visit, cell: Cell, now: float) -> Answer:
        """Visit the cell, or what stands in for it while it cannot be used."""
        spare = self.spare
        if spare is None or now >= self.retry_at:
            try:
                answer = await cell.change(self.step(spare.handed_over(visit, now) if spare else visit))
            except CellUnavailable as error:
                spare = self._fall_back(error, now)
            else:
                self._recover()
                return answer
        return spare.visit(visit, now)

    def step(self, visit: Visit) -> Callable[[str | None, float], tuple[str | None, Answer]]:
        """What a visit changes in the cell, for `Cell.change`."""
        has_heard = self._heard_at is not None

        def step(text: str | None, now: float) -> tuple[str | None, Answer]:
            if text is None and has_heard:
                # There was one: what it said is lost, and there is no burst.
                text = ""
            shared = SharedQuota.load(self.limit, self.window, self.burst, text, now)
            answer = shared.visit(visit)
            return shared.dump(), answer

        return step

    def _fall_back(self, error: CellUnavailable, now: float) -> Spare:
        with self.lock:
            self.retry_at = now + min(RETRY_AFTER, FIRST_RETRY_AFTER * 2.0 ** min(self._failures, 10))
            self._failures += 1
            if self.spare is not None:
                return self.spare
            known = self._heard_at is not None and now - self._heard_at <= max(LATELY, self.window)
            limit = self._alone(max(1, self.seen.members) if known else None)
            spare = self.spare = Spare(limit, self.window, min(self.burst, usual_burst(limit)))
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


@final
class SharedPermit:
    """A grant of a `SharedRateLimiter`, as a context manager that settles."""

    __slots__ = ("_limiter", "name", "pump")

    def __init__(self, limiter: ProcessLimiter, pump: Pump, name: str) -> None:
        self._limiter = limiter
        self.pump: Pump = pump
        self.name: str = name

    def settle(self, *, answered: bool = True) -> None:
        """The request is over."""
        self._limiter.settle(self, answered=answered)

    def refund(self) -> None:
        """The request was never sent."""
        self._limiter.refund(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.settle(answered=error is None)


def _now() -> float:
    loop = loop_or_none()
    # Outside of any loop; the usual ones read this very clock.
    return time.monotonic() if loop is None else loop.time()
