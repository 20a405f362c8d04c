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
from collections.abc import Iterable
from math import inf
from typing import Final, Protocol

from attrs import evolve

from .._http import ApiClient, get_status, get_task
from .._limits import Permit, Priority
from .._redaction import single_line
from ..errors import (
    AIVideoMakerError,
    APIError,
    AuthenticationFailed,
    BadResponse,
    ConfigurationError,
    EndpointNotFound,
    TaskNotFound,
    TransportError,
)
from ..tasks import TaskDetails, TaskStatus
from . import schedule
from .expiry import Expiry
from .hints import Hints
from .observer import Observer
from .record import AT_ONCE, Record, Subscription, wake
from .schedule import Ask, Plan
from .setbacks import LISTED_AGAIN, Setbacks
from .task_list import NewsOfTasks
from .waiting import Waiting

__all__ = ["TaskWatcher"]

logger: Final = logging.getLogger("aivideomaker_async.watch")

FRESH: Final = 30.0
"""Seconds after its submit in which a task that the service does not know yet is waited for: it may lag."""

OUTPUT_LATE: Final = 300.0
"""Seconds for which a task that has COMPLETED is asked for its URL, while the service tells none."""

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

    def cannot_poll(self) -> None:
        """The service does not answer this process."""
        ...


class TaskWatcher:
    """Polls for all records that somebody has subscribed to.

    Args:
        api: makes the calls.
        observer: who takes the answers.
    """

    def __init__(self, api: ApiClient, observer: Observer) -> None:
        self._api = api
        self._observer = observer
        self._waiting = Waiting(observer.durations, observer.announcements, observer.lists)
        self._hints = Hints(observer.announcements)
        self._expiry = Expiry(self.unsubscribe, self._awoke)
        self._setbacks = Setbacks(self._waiting, api.settings.policy, api.settings.attempt_timeout)
        self._task: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._list_seconds = 0.0
        self._listed_at = -inf
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
        loop = self._api.lifecycle.check_usable()
        now, record = loop.time(), subscription.record
        if record.since == -inf:
            record.since = now
        record.subscribe(subscription)
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
        record.unsubscribe(subscription)
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

    def doubted(self, record: Record) -> None:
        """Another process was told that there is no such task."""
        self._waiting.sort(record, asyncio.get_running_loop().time())
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

    def _awoke(self) -> None:
        """The machine has slept: all that was heard is old."""
        self._waiting.ask_all_soon()
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
            pace=self._api.limiter.pace,
            # A list that was slow once is tried again.
            list_seconds=self._list_seconds if now < self._listed_at + LISTED_AGAIN else 0.0,
            followed=self.peers is not None and self.peers.follows,
        )
        plan = None if view is None else schedule.plan(view, now)
        return plan and evolve(plan, at=max(plan.at, self._setbacks.not_before))

    async def _poll(self) -> None:
        permit = await self._api.acquire(Priority.BACKGROUND)
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
        loop = asyncio.get_running_loop()
        began = loop.time()
        record = self._waiting.records[plan.task_id] if plan.task_id else None
        if record is not None and record.blips:
            self._waiting.retried_at = began
        try:
            if record is None:
                await self._ask_list(permit)
            elif plan.ask is Ask.DETAILS:
                await self._ask_details(record, permit)
            else:
                await self._ask_status(record, permit, checks_list=plan.checks_list)
        except (APIError, TransportError) as error:
            if plan.checks_list:
                self._observer.lists.check_failed()
            self._take_failure(error, record, loop.time() - began)
        else:
            self._setbacks.succeeded(record, loop.time() - began)
            self._expiry.answered(began, loop.time())

    async def _ask_status(self, record: Record, permit: Permit, *, checks_list: bool) -> None:
        began = asyncio.get_running_loop().time()
        request, timeout = get_status(record.task_id), self._setbacks.patience(record)
        status = await self._api.attempt(request, permit=permit, timeout=timeout)
        now = asyncio.get_running_loop().time()
        if checks_list:
            self._observer.lists.checked()
        self._observer.take_status(record, status, now)
        self._was_asked(record, began, now)

    async def _ask_details(self, record: Record, permit: Permit) -> None:
        began = asyncio.get_running_loop().time()
        request, timeout = get_task(record.task_id), self._setbacks.patience(record)
        details = await self._api.attempt(request, permit=permit, timeout=timeout)
        now = asyncio.get_running_loop().time()
        if self._take_details(record, details, now, alone=True):
            self._was_asked(record, began, now)
        elif details.status == TaskStatus.COMPLETED and record.details is None:
            self._lacks_output(record, now)

    async def _ask_list(self, permit: Permit) -> None:
        loop = asyncio.get_running_loop()
        asked = self._waiting.listable()
        began = loop.time()
        reader = NewsOfTasks(
            dict.fromkeys(self._observer.to_seek()) | {key: _known(record) for key, record in asked.items()},
            lambda task_id, details: self._take_row(asked.get(task_id), task_id, details),
            optional=self._waiting.unlisted() | self._observer.to_compare(),
            lesson=LESSON if began >= self._waiting.lesson_until else 0,
        )
        timeout = self._setbacks.patience(None)
        await self._api.attempt_list(reader, permit=permit, timeout=timeout)
        self._listed_at = loop.time()
        self._list_seconds = self._listed_at - began
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
            self._hints.answered(record, began, now)
            self._waiting.was_listed(record, now)
        for task_id in asked.keys() - reader.seen.keys():
            self._waiting.was_not_listed(asked[task_id], now)
        self._waiting.all_listed(now)

    def _take_details(self, record: Record, details: TaskDetails, now: float, *, alone: bool) -> bool:
        """Take a whole row; returns whether it told all that it should."""
        self._observer.take_details(record, details, now, alone=alone)
        if record.needs_details():
            # It has ended, and the details are of an earlier moment (another server answered), or the status is ahead
            # of the output. They are asked for again, but not before everything else; no list puts that off again.
            if alone or not record.blips:
                self._setbacks.set_back(record, now)
            return False
        return True

    def _lacks_output(self, record: Record, now: float) -> None:
        """The task is COMPLETED, and the service tells no URL."""
        record.without_output_since = min(record.without_output_since, now)
        if now - record.without_output_since >= OUTPUT_LATE:
            path = f"task {single_line(record.task_id)}"
            error = BadResponse("the task is COMPLETED, and its output has no URL", method="GET", path=path)
            self._fail([record], error)

    # --- after an answer -----------------------------------------------------------------------------

    def _was_asked(self, record: Record, began: float, now: float) -> None:
        self._hints.answered(record, began, now)
        self._waiting.asked(record, now)

    # --- trouble -------------------------------------------------------------------------------------

    def _take_failure(self, error: AIVideoMakerError, record: Record | None, took: float) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(error, AuthenticationFailed) and error.status >= 400:
            self._fail_all(error)
        elif isinstance(error, TaskNotFound | EndpointNotFound) and record is not None:
            if record.is_fresh and now - record.since < FRESH:
                self._setbacks.set_back(record, now)
            else:
                self._fail([record], error)
        elif self._setbacks.failed(error, record, now, took) and record is not None:
            self._fail([record], error)
        if self.peers is not None and self._setbacks.is_cut_off:
            self.peers.cannot_poll()

    def _fail_all(self, error: AIVideoMakerError) -> None:
        self._fail(tuple(self._waiting.records.values()), error)

    def _fail(self, records: Iterable[Record], error: AIVideoMakerError) -> None:
        failed: list[Subscription] = []
        for record in records:
            self._waiting.discard(record)
            for subscription in tuple(record.subscriptions):
                subscription.error = error
                self._expiry.discard(subscription)
                record.unsubscribe(subscription)
                failed.append(subscription)
            if self.peers is not None:
                self.peers.wants(record)
        wake(failed)


def _known(record: Record) -> str | None:
    """The status that tells nothing new of this task."""
    return None if record.is_terminal or record.in_doubt or record.model is None else record.status


def _as_own(error: Exception) -> AIVideoMakerError:
    if isinstance(error, AIVideoMakerError):
        return error
    own = AIVideoMakerError(f"the watcher failed: {type(error).__name__}; this is a mistake in aivideomaker_async")
    own.__cause__ = error
    logger.error("the watcher failed", exc_info=error)
    return own
