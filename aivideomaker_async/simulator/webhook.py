"""Webhook deliveries: for every change of a task that asked for it, one POST, tried a few times.

The vendor documents neither method nor payload (api.md, Webhooks). This posts
`{"taskId": …, "status": …}` as JSON, in order for each task, and gives up in silence.
"""

import asyncio
import heapq
import logging
from collections import deque

import aiohttp

from .timing import Clock
from .views import Delivery
from .world import Task

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_ATTEMPT_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
# A timer may fire a little early; then it is set again, but not without a pause.
_SHORTEST_TIMER = 0.001


class Webhooks:
    """Watches the tasks that have a webhook and delivers their changes, as they come or planned.

    Call `changed` when the timeline of a task is new or was changed, and `run_due` when the
    clock was.
    """

    def __init__(self, clock: Clock, deliveries: deque[Delivery]) -> None:
        self._clock = clock
        self._deliveries = deliveries
        self._noticed: dict[str, int] = {}
        self._waiting: dict[str, deque[str]] = {}
        self._due: list[tuple[float, str, Task]] = []
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def changed(self, task: Task) -> None:
        """Deliver what is new of this task, if it has a webhook, and plan what follows."""
        if task.webhook_url is None or self._closed:
            return
        now = self._clock.now()
        passed = task.timeline.passed(now)
        # The first step, SUBMITTED, is no change.
        fresh = [status for _, status in passed[self._noticed.get(task.id, 1) :]]
        self._noticed[task.id] = len(passed)
        if fresh:
            self._waiting.setdefault(task.id, deque()).extend(fresh)
            self._send(task)
        following = task.timeline.next_step(now)
        if following is not None:
            heapq.heappush(self._due, (following, task.id, task))
        self._set_timer()

    def run_due(self) -> None:
        """Deliver the planned changes whose time has come."""
        now = self._clock.now()
        due: list[Task] = []
        while self._due and self._due[0][0] <= now:
            due.append(heapq.heappop(self._due)[2])
        for task in due:
            self.changed(task)
        self._set_timer()

    async def aclose(self) -> None:
        """Stop: no timer, no delivery and no connection is left."""
        self._closed = True
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
        senders = list(self._senders.values())
        for sender in senders:
            sender.cancel()
        await asyncio.gather(*senders, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._due:
            delay = self._clock.real(self._due[0][0] - self._clock.now())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(delay, _SHORTEST_TIMER), self.run_due)

    def _send(self, task: Task) -> None:
        if task.id not in self._senders:
            sender = asyncio.create_task(self._drain(task), name=f"webhook of {task.id}")
            self._senders[task.id] = sender
            sender.add_done_callback(lambda _: self._senders.pop(task.id))

    async def _drain(self, task: Task) -> None:
        waiting, url = self._waiting[task.id], task.webhook_url or ""
        while waiting:
            status = waiting[0]
            answer, attempts = await self._deliver(url, {"taskId": task.id, "status": status})
            waiting.popleft()
            self._deliveries.append(Delivery(task_id=task.id, status=status, url=url, answer=answer, attempts=attempts))

    async def _deliver(self, url: str, payload: dict[str, str]) -> tuple[int, int]:
        answer = 0
        for attempt in range(1, _ATTEMPTS + 1):
            answer = await self._post(url, payload)
            if 200 <= answer < 300:
                return answer, attempt
            if attempt < _ATTEMPTS:
                await asyncio.sleep(_PAUSE_SECONDS * attempt)
        return answer, _ATTEMPTS

    async def _post(self, url: str, payload: dict[str, str]) -> int:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.post(url, json=payload, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # The URL may hold the receiver's secret: only the kind of failure is told.
            logger.warning("a webhook delivery failed: %s", type(error).__name__)
            return 0
