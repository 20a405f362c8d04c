"""The live handle of one remote task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from typing import TYPE_CHECKING, NoReturn, Self, final

from .._files import Video
from .._http.lifecycle import Home
from .._http.requests import hide_address
from .._redaction import shorten
from .._watch.record import Record, Subscription
from .._watch.waiting import CURRENT
from ..errors import TaskCancelled, TaskFailed, WaitTimeout
from ..tasks import CancelResult, Eta, StatusChange, SubmittedTask, TaskDetails, TaskStatus
from .cancelling import OnCancel, cancel_paid, check_on_cancel

if TYPE_CHECKING:
    from .client import AIVideoMaker

__all__ = ["StatusWatch", "VideoTask"]


@final
class VideoTask:
    """A task of the service, as a handle: watch it, wait for it, cancel it.

    Handles come from `client.submit(...)` and `client.task(task_id)`. Any number of handles of one task and any number
    of consumers share one poller.
    """

    __slots__ = ("__weakref__", "_client", "_record")

    def __init__(self, client: AIVideoMaker, record: Record) -> None:
        self._client = client
        self._record = record

    def __repr__(self) -> str:
        return f"<VideoTask {shorten(repr(self.id))} {self.last_status or 'not seen yet'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a handle cannot be copied or pickled: keep its id, and take the task up by client.task(id)")

    @property
    def id(self) -> str:
        """The task's id. Keep it: `client.task(id)` takes up the task again, also in another process."""
        return self._record.task_id

    @property
    def last_status(self) -> TaskStatus | None:
        """The status observed last by this client, or None. No request is made."""
        return self._record.status

    @property
    def submitted(self) -> SubmittedTask | None:
        """The service's answer to the submit; None when the handle was made from an id."""
        return self._record.submitted

    def eta(self) -> Eta | None:
        """When the task will have ended, as others of its model and length tell. No request is made.

        None while nothing is known, and when the task has ended. What is known comes from finished tasks in the
        task list and from those that this client has seen.
        """
        return self._client._eta(self._record)

    def watch(self, *, timeout: float | None = None) -> StatusWatch:
        """The current status first, then every change as it is observed, up to and including a terminal one.

        `async for change in task` is the same with the default timeout. Leaving the loop early ends the watch.

        Args:
            timeout: seconds for the whole watch; None for the client's `wait_timeout`, `math.inf` for no limit.

        Raises:
            WaitTimeout: from the iteration, when the time is over. The task may still be running.
            TaskNotFound: from the iteration, when the service knows no such task for this key.
            AuthenticationFailed: from the iteration, when the service refuses the key.
            ConfigurationError: the client is closed, or belongs to another event loop.
        """
        return StatusWatch(self, self._client._wait_limit(timeout))

    def __aiter__(self) -> AsyncIterator[StatusChange]:
        return self.watch()

    async def result(self, timeout: float | None = None, *, on_cancel: OnCancel = "leave") -> Video:
        """Wait for the finished video.

        Args:
            timeout: seconds; None for the client's `wait_timeout`, `math.inf` for no limit.
            on_cancel: what becomes of the paid task when this wait is cancelled: "leave" lets it go on; "cancel"
                cancels it, which works only while it is SUBMITTED, and takes at most 10 more seconds. A wait that ends
                in `WaitTimeout` always leaves it.

        Raises:
            TaskFailed: the task ended in FAILED; the credits are refunded.
            TaskCancelled: the task ended in CANCEL; the credits are refunded.
            WaitTimeout: the time is over. The task may still be running and is paid.
            TaskNotFound: the service knows no such task for this key.
            AuthenticationFailed: the service refuses the key.
            BadResponse: the task is COMPLETED, and the service has told no URL for five minutes. Wait again later.
            ConfigurationError: the client is closed, or belongs to another event loop.
        """
        limit = self._client._wait_limit(timeout)
        check_on_cancel(on_cancel)
        if self._record.details is None:
            loop = self._client._session.check_usable()
            began = loop.time()
            watcher = self._client._watcher
            deadline = None if limit == inf else began + limit
            subscription = watcher.subscribe(self._record, wants_details=True, deadline=deadline)
            try:
                while self._record.details is None:
                    if subscription.expired:
                        raise WaitTimeout(self, last_status=self.last_status, elapsed=loop.time() - began)
                    await subscription.news()
            except asyncio.CancelledError:
                if on_cancel == "cancel":
                    await cancel_paid(self)
                raise
            finally:
                watcher.unsubscribe(subscription)
        return self._video(self._record.details)

    def _video(self, details: TaskDetails) -> Video:
        if details.status == TaskStatus.FAILED:
            raise TaskFailed(details, hide=self._hide)
        if details.status == TaskStatus.CANCEL:
            raise TaskCancelled(details)
        return Video.of(details, allow_private=self._client._is_private)

    def _hide(self, text: str) -> str:
        # What the service says of a task may quote what came with its submit.
        text = self._client._session.settings.key.hide_in(text)
        hook = self._record.webhook_url
        return text if hook is None else hide_address(hook, text)

    async def status(self, *, timeout: float | None = None) -> TaskStatus:
        """Ask the service for the status, now. See `client.get_status`."""
        return await self._client.get_status(self.id, timeout=timeout)

    async def details(self, *, timeout: float | None = None) -> TaskDetails:
        """Ask the service for everything it tells about the task, now. See `client.get_task`."""
        return await self._client.get_task(self.id, timeout=timeout)

    async def cancel(self, *, timeout: float | None = None) -> CancelResult:
        """Cancel the paid task, which works only while it is SUBMITTED. See `client.cancel`."""
        return await self._client.cancel(self.id, timeout=timeout)


@final
class StatusWatch(AsyncIterator[StatusChange]):
    """The changes of one task, for one consumer.

    It is a listener from its first step until its end, until `aclose`, or until it is dropped.
    """

    __slots__ = ("__weakref__", "_began", "_ended", "_limit", "_loop", "_reading", "_subscription", "_task")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch cannot be copied or pickled: each consumer needs one of its own: task.watch()")

    def __init__(self, task: VideoTask, limit: float) -> None:
        self._task = task
        self._limit = limit
        self._began: float | None = None
        self._ended = False
        self._reading = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscription: Subscription | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StatusChange:
        if self._loop is not None:
            self._home.check_place()
        if self._reading:
            raise RuntimeError("this watch is being read already; each consumer needs one of its own: task.watch()")
        if self._ended:
            raise StopAsyncIteration
        if self._began is None:
            first = self._start()
            if first is not None:
                return self._deliver(first)
        self._reading = True
        try:
            return self._deliver(await self._next())
        except BaseException:
            self._end()
            raise
        finally:
            self._reading = False

    async def aclose(self) -> None:
        """End the watch. A second time does nothing."""
        if self._home.is_here:
            self._end()
        else:
            self._drop()

    @property
    def _home(self) -> Home:
        return self._task._client._session.home

    def _start(self) -> StatusChange | None:
        record = self._task._record
        if record.is_terminal:
            # Nothing needs the client any more.
            self._began = 0.0
            return record.last_change
        self._loop = self._task._client._session.check_usable()
        self._began = self._loop.time()
        deadline = None if self._limit == inf else self._began + self._limit
        self._subscription = self._task._client._watcher.subscribe(record, wants_details=False, deadline=deadline)
        if record.asked_at is not None and self._began - record.asked_at <= CURRENT:
            return record.last_change
        # What was heard long ago may be wrong by now: the current status is whatever the next answer says.
        self._subscription.wants_answer = True
        return None

    async def _next(self) -> StatusChange:
        subscription, loop, began = self._subscription, self._loop, self._began
        assert subscription is not None and loop is not None and began is not None  # noqa: S101, PT018
        while (change := self._news(subscription, began)) is None:
            if subscription.expired:
                elapsed = loop.time() - began
                raise WaitTimeout(self._task, last_status=self._task.last_status, elapsed=elapsed)
            await subscription.news()
        return change

    def _news(self, subscription: Subscription, began: float) -> StatusChange | None:
        if subscription.pending:
            subscription.wants_answer = False
            return subscription.pending.popleft()
        record = subscription.record
        if subscription.wants_answer and record.asked_at is not None and record.asked_at >= began:
            subscription.wants_answer = False
            return record.last_change
        return None

    def _deliver(self, change: StatusChange) -> StatusChange:
        if change.status.is_terminal:
            self._end()
        return change

    def _end(self) -> None:
        self._ended = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._task._client._watcher.unsubscribe(subscription)

    def _drop(self) -> None:
        """End the watch from wherever this is: the watcher lives in its loop's thread."""
        self._ended = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._home.soon(self._task._client._watcher.unsubscribe, subscription)

    def __del__(self) -> None:
        # Left early, for example by `break`. A collector may run in any thread.
        self._drop()
