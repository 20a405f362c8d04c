"""One background poller for everyone who waits.

The watcher runs in an asyncio task of its own while anybody waits, and is gone with the last of them. It asks
`_core.schedule` what to ask the service next, and tells the records what it heard. A blip (a dropped connection, 5xx, a
time-out, 429) never ends a wait; that the key is refused ends all of them, and that a task does not exist ends its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from ._core import answers, requests, schedule
from ._core.schedule import Ask, Plan, Watched
from .errors import (
    AIVideoMakerError,
    APIError,
    AuthenticationFailed,
    BadResponse,
    ConfigurationError,
    RateLimited,
    ServerError,
    TransportError,
)
from .limiter import Permit, Priority
from .record import Record, Subscription
from .session import Session
from .tasks import StatusChange, TaskDetails, TaskStatus

__all__ = ["TaskWatcher"]

logger: Final = logging.getLogger(__name__)

FRESH: Final = 30.0
"""Seconds after its submit in which a task that the service does not know yet is waited for: it may lag."""

LISTED_AGAIN: Final = 60.0
"""Seconds after which the list is tried again, when it was of no use or did not show a task."""

DETAILS_TRIED: Final = 5
"""Answers without a URL after which a task that has COMPLETED is taken to have none."""


class TaskWatcher:
    """Polls for all records that somebody has subscribed to.

    Args:
        session: how to ask.
        now: the time of day, for the moments of observations.
    """

    def __init__(self, session: Session, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._session = session
        self._now = now
        self._watched: dict[str, Record] = {}
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._list_seconds = 0.0
        self._no_lists_until = float("-inf")
        self._not_before = float("-inf")
        self._blips = 0
        self._strange: set[str] = set()
        self.polls: int = 0

    @property
    def watched(self) -> int:
        """How many tasks somebody waits for."""
        return len(self._watched)

    def subscribe(self, record: Record, *, wants_details: bool) -> Subscription:
        """Hear of the changes of `record` from now on. Give the subscription back with `unsubscribe`."""
        loop = self._session.check_usable()
        if record.since == float("-inf"):
            record.since = loop.time()
        subscription = Subscription(record, wants_details=wants_details)
        record.subscriptions.add(subscription)
        self._watched[record.task_id] = record
        if self._task is None or self._task.done():
            # An empty context: whoever comes first lends nothing (no request id, no span) to all who come later.
            self._task = loop.create_task(
                self._run(), name="aivideomaker_async.TaskWatcher", context=contextvars.Context()
            )
        else:
            self._replan()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Hear no more. With the last subscription the watcher stops. A second time does nothing."""
        record = subscription.record
        record.subscriptions.discard(subscription)
        if not record.subscriptions and self._watched.get(record.task_id) is record:
            del self._watched[record.task_id]
        if not self._watched and self._task is not None:
            self._task.cancel()
            self._task = None

    async def aclose(self) -> None:
        """Stop, and tell everyone who waits that the client was closed."""
        task, self._task = self._task, None
        self._fail_all(ConfigurationError("the client was closed while this wait went on; the task itself goes on"))
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    # --- the poller ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._watched:
                if await self._sleep_until_due():
                    await self._poll()
        except asyncio.CancelledError:
            # Not by `unsubscribe` or `aclose`, which let go of the task first: somebody cancelled what is not theirs.
            if self._task is asyncio.current_task():
                self._fail_all(AIVideoMakerError("the watcher was cancelled from outside; watch again to go on"))
            raise
        except Exception as error:  # noqa: BLE001  (nobody who waits may hang, whatever it was)
            self._fail_all(_as_own(error))

    async def _sleep_until_due(self) -> bool:
        """Sleep until the next poll is due; False when something changed and it must be planned anew."""
        loop = asyncio.get_running_loop()
        plan = self._plan(loop.time())
        if plan is None:
            return False
        if plan.at <= loop.time():
            return True
        wake = self._wake = loop.create_future()
        timer = loop.call_at(plan.at, self._replan)
        try:
            await wake
        finally:
            timer.cancel()
            if self._wake is wake:
                self._wake = None
        return plan.at <= loop.time()

    def _replan(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _plan(self, now: float) -> Plan | None:
        watched = [self._view(record, now) for record in self._watched.values()]
        pace = self._session.limiter.pace
        plan = schedule.plan(watched, now=now, pace=pace, list_seconds=self._list_seconds)
        return plan and Plan(plan.ask, max(plan.at, self._not_before), plan.task_id)

    def _view(self, record: Record, now: float) -> Watched:
        return Watched(
            task_id=record.task_id,
            since=record.since,
            asked_at=record.asked_at,
            missing=now < max(record.missing_until, self._no_lists_until),
            needs_details=record.needs_details(),
            not_before=record.not_before,
        )

    async def _poll(self) -> None:
        permit = await self._session.acquire(Priority.BACKGROUND)
        plan = None
        try:
            # The wait for the permit may have been long: what is best to ask is decided now.
            plan = self._due_plan()
        finally:
            if plan is None:
                permit.refund()
        if plan is not None:
            self.polls += 1
            await self._carry_out(plan, permit)

    def _due_plan(self) -> Plan | None:
        now = asyncio.get_running_loop().time()
        plan = self._plan(now)
        return plan if plan is not None and plan.at <= now else None

    async def _carry_out(self, plan: Plan, permit: Permit) -> None:
        record = self._watched[plan.task_id] if plan.task_id else None
        try:
            if record is None:
                await self._ask_list(permit)
            elif plan.ask is Ask.DETAILS:
                await self._ask_details(record, permit)
            else:
                await self._ask_status(record, permit)
        except (APIError, TransportError) as error:
            self._take_failure(error, record)
        else:
            self._blips = 0

    async def _ask_list(self, permit: Permit) -> None:
        loop = asyncio.get_running_loop()
        asked = dict(self._watched)
        began = loop.time()
        wanted = frozenset(asked)
        rows = await self._session.ask(
            requests.list_tasks(),
            lambda fields: answers.readable_tasks(fields, wanted),
            expected="tasks",
            permit=permit,
        )
        self._list_seconds = loop.time() - began
        for task_id, record in asked.items():
            row = rows.get(task_id)
            if row is not None:
                self._take_details(record, row)
                record.asked(loop.time())
            else:
                record.asked_at = loop.time()
                record.missing_until = loop.time() + LISTED_AGAIN

    async def _ask_status(self, record: Record, permit: Permit) -> None:
        request = requests.task_status(record.task_id)
        status = await self._session.ask(request, answers.status, expected="status", permit=permit)
        self._tell(record, status, record.observe(status, self._now()))
        record.asked(asyncio.get_running_loop().time())

    async def _ask_details(self, record: Record, permit: Permit) -> None:
        details = await self._session.ask(requests.task(record.task_id), answers.task, expected="id", permit=permit)
        self._take_details(record, details)
        record.asked(asyncio.get_running_loop().time())

    def _take_details(self, record: Record, details: TaskDetails) -> None:
        if details.status == TaskStatus.COMPLETED and not details.url and record.blips < DETAILS_TRIED:
            # The status may be ahead of the output: tell the one, and ask again for the other.
            self._set_back(record)
            self._tell(record, details.status, record.observe(details.status, self._now()))
            return
        self._tell(record, details.status, record.observe_details(details, self._now()))
        if record.needs_details():
            # It has ended, and the details are of an earlier moment: another server answered. They are asked for again,
            # but not before everything else.
            self._set_back(record)
        else:
            record.blips = 0

    def _tell(self, record: Record, status: TaskStatus, change: StatusChange | None) -> None:
        if change is not None:
            logger.info("task %s: %s (was %s)", record.task_id, change.status, change.previous)
        if not status.is_known and status not in self._strange and len(self._strange) < 100:
            self._strange.add(status)
            logger.warning("task %s has the unknown status %r: waiting goes on", record.task_id, str(status)[:50])

    # --- trouble -------------------------------------------------------------------------------------

    def _take_failure(self, error: AIVideoMakerError, record: Record | None) -> None:
        if isinstance(error, AuthenticationFailed):
            self._fail_all(error)
        elif isinstance(error, RateLimited | ServerError) or _is_blip(error):
            self._take_blip(error, record)
        elif record is None:
            # A service without a task list: every task can still be asked for by itself.
            logger.warning("the task list cannot be had (%s): asking for each task instead", error)
            self._no_lists_until = asyncio.get_running_loop().time() + LISTED_AGAIN
        elif self._is_fresh(record):
            self._set_back(record)
        else:
            self._fail(record, error)

    def _take_blip(self, error: AIVideoMakerError, record: Record | None) -> None:
        self._blips += 1
        level = logging.WARNING if self._blips == 1 else logging.DEBUG
        logger.log(level, "a poll brought nothing (%s); waiting goes on", error)
        if isinstance(error, APIError) and error.status == 200 and record is not None:
            # FAILED with a message is an error of the service, or news of the task: its details tell which.
            record.in_doubt = True
            self._set_back(record)
        elif isinstance(error, BadResponse) and record is not None:
            self._set_back(record)
        elif isinstance(error, BadResponse) and self._blips > DETAILS_TRIED:
            self._no_lists_until = asyncio.get_running_loop().time() + LISTED_AGAIN
        elif not isinstance(error, RateLimited):
            now = asyncio.get_running_loop().time()
            self._not_before = now + self._session.settings.policy.backoff(self._blips, random.random())

    def _set_back(self, record: Record) -> None:
        record.blips += 1
        pause = self._session.settings.policy.backoff(record.blips, 1.0)
        record.asked_at = asyncio.get_running_loop().time()
        record.not_before = record.asked_at + pause

    def _is_fresh(self, record: Record) -> bool:
        now = asyncio.get_running_loop().time()
        return record.submitted is not None and now - record.since < FRESH

    def _fail(self, record: Record, error: AIVideoMakerError) -> None:
        self._watched.pop(record.task_id, None)
        for subscription in tuple(record.subscriptions):
            subscription.error = error
            subscription.notify()
        record.subscriptions.clear()

    def _fail_all(self, error: AIVideoMakerError) -> None:
        for record in tuple(self._watched.values()):
            self._fail(record, error)


def _is_blip(error: AIVideoMakerError) -> bool:
    # A 200 that is an error all the same: the service was not well, or so it seems.
    return isinstance(error, TransportError) or (isinstance(error, APIError) and error.status in {200, 408})


def _as_own(error: Exception) -> AIVideoMakerError:
    if isinstance(error, AIVideoMakerError):
        return error
    own = AIVideoMakerError(f"the watcher failed: {type(error).__name__}; this is a mistake in aivideomaker_async")
    own.__cause__ = error
    logger.error("the watcher failed", exc_info=error)
    return own
