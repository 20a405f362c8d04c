"""What ties one client to the status board: what it wants, what it has to tell, and the task that takes part for it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections import deque
from typing import TYPE_CHECKING, Final, final

from ..._util.redis import RedisUnavailable
from ...tasks import TaskDetails, TaskStatus
from . import messages as board
from .member import GOODBYE, NEWS_AT_ONCE, Member, ended
from .messages import Want
from .store import Place

if TYPE_CHECKING:
    from .status_board import BoardPort, StatusBoard

__all__ = ["BoardLink"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

LONGEST_REST: Final = 5.0
"""Seconds between two attempts to reach a Redis that is gone, at most."""

HINTS_KEPT: Final = 1000
"""Hints that are kept until they can be told; they are no more than hints."""


@final
class BoardLink:
    """What ties one client to the board. Made by `StatusBoard.link`; it belongs to the loop that uses it first."""

    def __init__(self, owner: StatusBoard, place: Place, lease: float, port: BoardPort) -> None:
        self._owner = owner
        self._place = place
        self._lease = lease
        self.port: BoardPort = port
        self.loop: asyncio.AbstractEventLoop | None = None
        self.wants: dict[str, Want] = {}
        self.hints: deque[str] = deque(maxlen=HINTS_KEPT)
        self._task: asyncio.Task[None] | None = None
        self._member: Member | None = None
        self._waker: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._shown = (False, False)
        self._closed = False
        self._steps_down = False

    @property
    def leads(self) -> bool:
        """Whether this process polls for all."""
        return self._member is not None and self._member.seat.leads(self._member.now())

    @property
    def follows(self) -> bool:
        """Whether another process is known to be alive and to poll for all."""
        return self._member is not None and self._member.seat.follows(self._member.now())

    def want(self, task_id: str, want: Want) -> None:
        """Wait for a task, or want something else of it. Starts the background task, if it does not run."""
        if self._closed or self.wants.get(task_id) == want:
            return
        self.wants[task_id] = want
        if self._member is not None:
            self._member.unsaid[task_id] = want
        self._start()

    def unwant(self, task_id: str) -> None:
        """Wait for a task no more. After the last one the background task resigns, and ends."""
        if self.wants.pop(task_id, None) is not None:
            if self._member is not None:
                self._member.unsaid[task_id] = None
            self.wake()

    def tell(self, task_id: str, news: TaskDetails | TaskStatus) -> None:
        """The leader observed this. To be called for each observation: what the others know is not told again."""
        if self._member is not None and self.leads:
            self._member.tell(task_id, news)

    def tell_gone(self, task_id: str) -> None:
        """The leader was told that there is no such task."""
        if self._member is not None and self.leads and task_id in self._member.others:
            self._member.gone.append(task_id)
            self.wake()

    def hint(self, reference: str) -> None:
        """Tell all other processes that a webhook delivery arrived here; also if this one waits for nothing."""
        if not self._closed and board.is_id(reference):
            self.hints.append(reference)
            self._start()

    def step_down(self) -> None:
        """This process cannot reach the service: if it leads, it resigns, and does not lead again at once."""
        if self.leads:
            self._steps_down = True
            self.wake()

    @property
    def steps_down(self) -> bool:
        """Whether it is to take part no more for a while."""
        return self._steps_down

    async def aclose(self) -> None:
        """Wait for nothing any more, resign, and end the background task. A second time does nothing."""
        self._closed = True
        self.wants.clear()
        task, loop = self._task, self.loop
        if task is not None:
            self.wake()
            try:
                if self._member is not None or self.hints:
                    await asyncio.wait([task], timeout=GOODBYE)
            finally:
                task.cancel()
            await ended(task)
        if loop is not None:
            self.loop = None
            await self._owner._left(self, loop)

    # --- for the member ------------------------------------------------------------------------------

    def wake(self) -> None:
        """There is something to do."""
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def sleep(self, until: float) -> None:
        """Wait for `wake`, until a time of the loop's clock at most."""
        loop = asyncio.get_running_loop()
        self._waker = loop.create_future()
        timer = loop.call_at(until, self.wake)
        try:
            await self._waker
        finally:
            timer.cancel()
            self._waker = None

    def look(self) -> None:
        """Tell the port if `leads` or `follows` has changed, now and when time alone changes it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        member = self._member
        if member is not None:
            member.look()
            turns_at = member.seat.turns_at(member.now())
            if turns_at is not None:
                self._timer = member.loop.call_at(turns_at, self.look)
        shown = self.leads, self.follows
        if shown != self._shown:
            self._shown = shown
            self.port.lead_changed()

    # --- the background task -------------------------------------------------------------------------

    def _start(self) -> None:
        if self._task is not None and not self._task.done():
            self.wake()
            return
        self.loop = asyncio.get_running_loop()
        self._task = self.loop.create_task(
            self._run(), name="aivideomaker_async.StatusBoard", context=contextvars.Context()
        )

    async def _run(self) -> None:
        failures = 0
        try:
            while self.wants or self.hints:
                try:
                    if self.wants:
                        await self._take_part()
                    else:
                        await self._place.say([self._hints_message("-")])
                        self._owner._found()
                    failures = 0
                except RedisUnavailable as error:
                    # Who has met the others since then begins anew.
                    failures = 1 if not self._owner._is_gone else failures + 1
                    self._owner._lost(error)
                    await self._rest(failures)
                except Exception:
                    # Nobody hangs for it: whoever waits polls for itself meanwhile.
                    logger.exception("the status board failed; this is a mistake in aivideomaker_async")
                    failures += 1
                    await self._rest(failures)
                if self._steps_down:
                    # Long enough for another to take the lead.
                    self._steps_down = False
                    await self._rest_for(2 * self._lease)
        finally:
            # Cancelled anywhere above, by `aclose` or from outside, nothing is left but this.
            self._leave()

    async def _take_part(self) -> None:
        self._member = member = Member(self, self._place, self._lease)
        try:
            await member.live(self._owner._found)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._member = None
        self.look()

    async def _rest(self, failures: int) -> None:
        # A hint is worth no waiting: the leader polls anyway.
        self.hints.clear()
        await self._rest_for(min(LONGEST_REST, 0.2 * 2**failures) * random.uniform(0.5, 1))

    async def _rest_for(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while self.wants and asyncio.get_running_loop().time() < until:
            await self.sleep(until)

    def _hints_message(self, sender: str) -> str:
        hints = [self.hints.popleft() for _ in range(min(len(self.hints), NEWS_AT_ONCE))]
        return board.write_message("hint", sender, ids=hints)

    def take_hints(self, sender: str) -> list[str]:
        """The message that tells the hints, if there are any."""
        return [self._hints_message(sender)] if self.hints else []
