"""Webhook deliveries: one POST for every change of a task that has a webhook URL, in order for each task.

The vendor documents neither method nor payload (api.md, Webhooks). This posts `{"taskId": …, "status": …}` as JSON,
with a few attempts, and then gives up.
"""

import asyncio
import heapq
import logging
from collections import deque

import aiohttp

from .state import Task
from .timing import Clock
from .views import Delivery

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_ATTEMPT_TIMEOUT_S = 5.0
"""Real seconds, since the receiver answers in real time."""

_RETRY_PAUSE_S = 0.2
"""Simulated seconds after the first attempt. The pause grows by as much with each attempt."""

# A timer may fire slightly early. Then it is set again, with this pause at least.
_MIN_TIMER_S = 0.001


class WebhookSender:
    """Watches the tasks that have a webhook URL, and delivers their changes when they happen.

    Call `changed` when a timeline is new or was changed, and `run_due` when the clock was moved.
    """

    def __init__(self, clock: Clock, deliveries: deque[Delivery]) -> None:
        self._clock = clock
        self._deliveries = deliveries
        self._seen_steps: dict[str, int] = {}
        self._queued: dict[str, deque[str]] = {}
        self._planned: list[tuple[float, str, Task]] = []
        self._senders: dict[str, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    def changed(self, task: Task) -> None:
        """Deliver the new steps of this task, and plan the delivery of the next one."""
        if task.webhook_url is None or self._closed:
            return
        now = self._clock.now()
        passed = task.timeline.passed(now)
        # The first step, SUBMITTED, is no change.
        new = [status for _, status in passed[self._seen_steps.get(task.id, 1) :]]
        self._seen_steps[task.id] = len(passed)
        if new:
            self._queued.setdefault(task.id, deque()).extend(new)
            if task.id not in self._senders:
                sender = asyncio.create_task(self._send_queued(task), name=f"webhook of {task.id}")
                self._senders[task.id] = sender
        following = task.timeline.next_step(now)
        if following is not None:
            heapq.heappush(self._planned, (following, task.id, task))
        self._set_timer()

    def run_due(self) -> None:
        """Deliver the planned changes that have happened by now."""
        now = self._clock.now()
        due: list[Task] = []
        while self._planned and self._planned[0][0] <= now:
            due.append(heapq.heappop(self._planned)[2])
        for task in due:
            self.changed(task)
        self._set_timer()

    async def aclose(self) -> None:
        """Stop. No timer, delivery or connection is left."""
        self._closed = True
        self._planned.clear()
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
        if self._planned:
            delay = self._clock.client_seconds(self._planned[0][0] - self._clock.now())
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(delay, _MIN_TIMER_S), self.run_due)

    async def _send_queued(self, task: Task) -> None:
        queued, url = self._queued[task.id], task.webhook_url or ""
        try:
            while queued:
                status = queued[0]
                answer, attempts = await self._deliver(url, {"taskId": task.id, "status": status})
                queued.popleft()
                delivery = Delivery(task_id=task.id, status=status, url=url, answer=answer, attempts=attempts)
                self._deliveries.append(delivery)
        finally:
            # At once, and not by a callback: a change that comes in between would wait for a sender that has ended.
            del self._senders[task.id]

    async def _deliver(self, url: str, payload: dict[str, str]) -> tuple[int, int]:
        """Return the HTTP status of the last answer, 0 for none, and the number of attempts."""
        answer = 0
        for attempt in range(1, _ATTEMPTS + 1):
            answer = await self._post(url, payload)
            if 200 <= answer < 300:
                return answer, attempt
            if attempt < _ATTEMPTS:
                await asyncio.sleep(self._clock.client_seconds(_RETRY_PAUSE_S * attempt))
        return answer, _ATTEMPTS

    async def _post(self, url: str, payload: dict[str, str]) -> int:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_ATTEMPT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(timeout=timeout)
        try:
            async with self._session.post(url, json=payload, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            # The URL may hold a token of the receiver: log only the class of the error.
            logger.warning("a webhook delivery failed: %s", type(error).__name__)
            return 0
