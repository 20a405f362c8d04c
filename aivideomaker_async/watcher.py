"""One background poller for everyone who waits.

The watcher runs in an asyncio task of its own while anybody waits, and is gone with the last of them. It asks
`_core.schedule` what to ask the service next, and brings the answers to the `Observer`. A blip (a dropped connection,
5xx, a time-out, 429) never ends a wait; that the key is refused ends all of them, and that a task does not exist ends
its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Iterable
from math import inf
from typing import Final, Protocol

from ._core import answers, requests, schedule
from ._core.schedule import Ask, Plan
from ._core.task_list import NewsOfTasks
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
from .expiry import AT_ONCE, Expiry
from .hints import Hints
from .limiter import Permit, Priority
from .observer import Observer
from .record import Record, Subscription
from .session import Session
from .tasks import TaskDetails, TaskStatus
from .waiting import Waiting

__all__ = ["TaskWatcher"]

logger: Final = logging.getLogger(__name__)

FRESH: Final = 30.0
"""Seconds after its submit in which a task that the service does not know yet is waited for: it may lag."""

LISTED_AGAIN: Final = 60.0
"""Seconds after which the list is tried again, when it was of no use; longer each time."""

DETAILS_TRIED: Final = 5
"""Answers without a URL after which a task that has COMPLETED is taken to have none."""

LESSON: Final = 200
"""Rows of the list that are looked at to learn how long tasks take."""

LESSON_AGAIN: Final = 600.0
"""Seconds after which that is tried again, when it taught nothing."""


class Peers(Protocol):
    """What the watcher knows of those of other processes."""

    @property
    def follows(self) -> bool:
        """Whether another process polls for this one."""
        ...

    def wants(self, record: Record) -> None:
        """Who waits for `record` in this process has changed."""
        ...


class TaskWatcher:
    """Polls for all records that somebody has subscribed to.

    Args:
        session: how to ask.
        observer: who takes the answers.
    """

    def __init__(self, session: Session, observer: Observer) -> None:
        self._session = session
        self._observer = observer
        self._waiting = Waiting(observer.durations, observer.announcements, observer.lists)
        self._hints = Hints(observer.announcements)
        self._expiry = Expiry()
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._list_seconds = 0.0
        self._not_before = -inf
        self._blips = 0
        self._useless_lists = 0
        self.polls: int = 0
        self.peers: Peers | None = None
        """The watchers of other processes, where there is a board."""

    @property
    def watched(self) -> int:
        """How many tasks somebody waits for."""
        return len(self._waiting)

    def subscribe(self, record: Record, *, wants_details: bool, deadline: float | None = None) -> Subscription:
        """Hear of the changes of `record` from now on. Give the subscription back with `unsubscribe`.

        Args:
            record: the task.
            wants_details: whether the output is waited for as well.
            deadline: when the subscription expires, on the clock of the event loop; None for never.
        """
        subscription = Subscription(record, wants_details=wants_details)
        self.add(subscription, deadline=deadline)
        return subscription

    def add(self, subscription: Subscription, *, deadline: float | None = None) -> None:
        """As `subscribe`, for a subscription that exists."""
        loop = self._session.check_usable()
        now, record = loop.time(), subscription.record
        if record.since == -inf:
            record.since = now
        record.subscriptions.add(subscription)
        self._waiting.add(record, now)
        if self.peers is not None and not subscription.is_foreign:
            self.peers.wants(record)
        if deadline is not None:
            self._expiry.add(subscription, deadline)
        if self._task is None or self._task.done():
            # An empty context: whoever comes first lends nothing (no request id, no span) to all who come later.
            self._task = loop.create_task(
                self._run(), name="aivideomaker_async.TaskWatcher", context=contextvars.Context()
            )
        else:
            self.replan()

    def unsubscribe(self, subscription: Subscription) -> None:
        """Hear no more. With the last subscription the watcher stops. A second time does nothing."""
        record = subscription.record
        record.subscriptions.discard(subscription)
        self._expiry.discard(subscription)
        if not record.subscriptions:
            self._waiting.discard(record)
        if self.peers is not None and not subscription.is_foreign:
            self.peers.wants(record)
        if not self._waiting:
            self._stop()

    def _stop(self) -> None:
        self._expiry.stop()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def aclose(self) -> None:
        """Stop, and tell everyone who waits that the client was closed."""
        task, self._task = self._task, None
        self._fail_all(ConfigurationError("the client was closed while this wait went on; the task itself goes on"))
        self._stop()
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    # --- what comes from elsewhere -------------------------------------------------------------------

    def observed(self, record: Record) -> None:
        """A user's own call was answered with news of this task."""
        self._waiting.asked(record, asyncio.get_running_loop().time())
        self.replan()

    def hint(self, record: Record | None, *, urgent: bool) -> None:
        """A webhook says that something has happened: to this task, or (None) to one that is not known here.

        Args:
            record: the task.
            urgent: whether it may be the end of the task, as far as the delivery tells.
        """
        now = asyncio.get_running_loop().time()
        if record is None:
            if self._hints.take_stray(now, urgent=urgent):
                self._waiting.ask_all_soon()
                self.replan()
        elif self._hints.take(record, now, urgent=urgent):
            self._waiting.sort(record, now)
            self.replan()

    # --- the poller ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._waiting:
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
        if plan is not None and plan.at <= loop.time():
            return True
        wake = self._wake = loop.create_future()
        timer = None if plan is None else loop.call_at(plan.at, self.replan)
        try:
            await wake
        finally:
            if timer is not None:
                timer.cancel()
            if self._wake is wake:
                self._wake = None
        return plan is not None and plan.at <= loop.time()

    def replan(self) -> None:
        """Something has changed that may make another poll the next one."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _plan(self, now: float) -> Plan | None:
        view = self._waiting.view(
            now,
            pace=self._session.limiter.pace,
            list_seconds=self._list_seconds,
            followed=self.peers is not None and self.peers.follows,
        )
        plan = None if view is None else schedule.plan(view, now)
        return plan and Plan(plan.ask, max(plan.at, self._not_before), plan.task_id)

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
        record = self._waiting.records[plan.task_id] if plan.task_id else None
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

    async def _ask_status(self, record: Record, permit: Permit) -> None:
        request = requests.task_status(record.task_id)
        status = await self._session.ask(request, answers.status, expected="status", permit=permit)
        now = asyncio.get_running_loop().time()
        if self._observer.lists.check_is_due:
            self._observer.lists.checked()
        self._observer.take_status(record, status, now)
        self._was_asked(record, now)

    async def _ask_details(self, record: Record, permit: Permit) -> None:
        details = await self._session.ask(requests.task(record.task_id), answers.task, expected="id", permit=permit)
        now = asyncio.get_running_loop().time()
        self._take_details(record, details, now, alone=True)
        self._was_asked(record, now)

    async def _ask_list(self, permit: Permit) -> None:
        loop = asyncio.get_running_loop()
        asked = self._waiting.listable()
        began = loop.time()
        reader = NewsOfTasks(
            {task_id: _known(record) for task_id, record in asked.items()},
            lambda task_id, details: self._take_row(asked.get(task_id), task_id, details),
            optional=self._waiting.unlisted() | self._observer.to_compare(),
            lesson=LESSON if began >= self._waiting.lesson_until else 0,
        )
        await self._session.ask_list(requests.list_tasks(), reader, permit=permit)
        self._list_seconds = loop.time() - began
        self._useless_lists = 0
        self._observer.lists.listed(loop.time())
        if reader.finished or began >= self._waiting.lesson_until:
            self._observer.take_lesson(reader.finished)
            self._waiting.lesson_until = loop.time() + LESSON_AGAIN
        await self._take_list(reader, asked, began)

    def _take_row(self, record: Record | None, task_id: str, details: TaskDetails) -> None:
        record = record or self._waiting.records.get(task_id)
        if record is not None:
            self._take_details(record, details, asyncio.get_running_loop().time(), alone=False)

    async def _take_list(self, reader: NewsOfTasks, asked: dict[str, Record], began: float) -> None:
        now = asyncio.get_running_loop().time()
        for task_id in self._observer.to_compare() & reader.seen.keys():
            self._observer.compare(task_id, reader.seen[task_id], began, None)
        known = self._waiting.records
        for number, (task_id, status) in enumerate(reader.seen.items(), 1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            if (record := asked.get(task_id) or known.get(task_id)) is None:
                continue
            if record.told_at is not None:
                self._observer.compare(task_id, status, began, record)
            self._hints.answered(record, now)
            self._waiting.was_listed(record, now)
        for task_id in asked.keys() - reader.seen.keys():
            self._waiting.was_not_listed(asked[task_id], now)
        self._waiting.all_listed(now)

    def _take_details(self, record: Record, details: TaskDetails, now: float, *, alone: bool) -> None:
        if details.status == TaskStatus.COMPLETED and not details.url and record.blips < DETAILS_TRIED:
            # The status may be ahead of the output: tell the one, and ask again for the other.
            self._set_back(record)
            self._observer.take_status(record, details.status, now)
            return
        self._observer.take_details(record, details, now, alone=alone)
        if record.needs_details():
            # It has ended, and the details are of an earlier moment: another server answered. They are asked for again,
            # but not before everything else.
            self._set_back(record)
        else:
            record.blips = 0

    # --- after an answer -----------------------------------------------------------------------------

    def _was_asked(self, record: Record, now: float) -> None:
        self._hints.answered(record, now)
        self._waiting.asked(record, now)

    # --- trouble -------------------------------------------------------------------------------------

    def _take_failure(self, error: AIVideoMakerError, record: Record | None) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(error, AuthenticationFailed):
            self._fail_all(error)
        elif isinstance(error, RateLimited | ServerError) or _is_blip(error):
            self._take_blip(error, record, now)
        elif record is None:
            # A service without a task list: every task can still be asked for by itself.
            logger.warning("the task list cannot be had (%s): asking for each task instead", error)
            self._do_without_lists(now)
        elif record.is_fresh and now - record.since < FRESH:
            self._set_back(record)
        else:
            self._fail([record], error)

    def _take_blip(self, error: AIVideoMakerError, record: Record | None, now: float) -> None:
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
            self._do_without_lists(now)
        elif not isinstance(error, RateLimited):
            self._not_before = now + self._session.settings.policy.backoff(self._blips, random.random())

    def _do_without_lists(self, now: float) -> None:
        self._waiting.no_lists_until = now + LISTED_AGAIN * 2.0 ** min(self._useless_lists, 6)
        self._useless_lists += 1

    def _set_back(self, record: Record) -> None:
        now = asyncio.get_running_loop().time()
        record.blips += 1
        record.not_before = now + self._session.settings.policy.backoff(record.blips, 1.0)
        self._waiting.set_back(record, now)

    def _fail_all(self, error: AIVideoMakerError) -> None:
        self._fail(tuple(self._waiting.records.values()), error)

    def _fail(self, records: Iterable[Record], error: AIVideoMakerError) -> None:
        failed: list[Subscription] = []
        for record in records:
            self._waiting.discard(record)
            for subscription in record.subscriptions:
                subscription.error = error
                self._expiry.discard(subscription)
                failed.append(subscription)
            record.subscriptions.clear()
            if self.peers is not None:
                self.peers.wants(record)
        self._wake_some(failed)

    def _wake_some(self, waiters: list[Subscription]) -> None:
        for subscription in waiters[:AT_ONCE]:
            subscription.notify()
        if len(waiters) > AT_ONCE:
            asyncio.get_running_loop().call_soon(self._wake_some, waiters[AT_ONCE:])


def _known(record: Record) -> str | None:
    """The status that tells nothing new of this task."""
    return None if record.is_terminal or record.model is None else record.status


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
