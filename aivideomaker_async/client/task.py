"""The live handle of one remote task: watch it, wait for it, cancel it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime
from math import inf
from typing import Any, Final, Literal, NoReturn, Protocol, Self, TypeAlias, final, get_args

from anyio import CancelScope, fail_after

from .._files import Video
from .._http import ClientLifecycle, hide_webhook_url
from .._redaction import shorten
from .._watch import Subscription, TaskState, TaskTracker
from ..errors import (
    AIVideoMakerError,
    ConfigurationError,
    SubmitOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    UnknownTaskEnd,
    WaitTimeout,
)
from ..tasks import CancelResult, Eta, StatusChange, SubmittedTask, TaskDetails, TaskStatus

__all__ = ["OnCancel", "StatusWatch", "TaskContext", "VideoTask", "check_on_cancel", "submit_or_cancel"]

logger: Final = logging.getLogger("aivideomaker_async.client")

OnCancel: TypeAlias = Literal["leave", "cancel"]
"""Whether a paid task is left alone or cancelled when the wait for it is cancelled."""

CANCEL_TIMEOUT_S: Final = 10.0
"""How much longer a cancellation may take, to cancel the paid task as well."""


class TaskContext(Protocol):
    """What handles need of their client."""

    @property
    def lifecycle(self) -> ClientLifecycle:
        """The event loop and process of the client."""
        ...

    @property
    def tracker(self) -> TaskTracker:
        """The states of the client's tasks, and the shared poller."""
        ...

    def wait_limit(self, timeout: float | None) -> float:
        """Return the seconds that a wait may take: `timeout`, or the client's own when it is None."""
        ...

    def hide_key_in(self, text: str) -> str:
        """Return `text` without the API key."""
        ...

    def video(self, details: TaskDetails, seen_at: datetime | None = None) -> Video:
        """Return the video of a COMPLETED task, which was first seen to have ended at `seen_at`."""
        ...

    def get_status(self, task_id: str, *, timeout: float | None = None) -> Awaitable[TaskStatus]:
        """See `AIVideoMaker.get_status`."""
        ...

    def get_task(self, task_id: str, *, timeout: float | None = None) -> Awaitable[TaskDetails]:
        """See `AIVideoMaker.get_task`."""
        ...

    def cancel(self, task_id: str, *, timeout: float | None = None) -> Awaitable[CancelResult]:
        """See `AIVideoMaker.cancel`."""
        ...


@final
class VideoTask:
    """A task of the service, as a handle: watch it, wait for it, cancel it.

    Handles come from `client.submit(...)` and `client.task(task_id)`. Any number of handles of one task and any number
    of consumers share one poller.
    """

    __slots__ = ("__weakref__", "_context", "_state")

    def __init__(self, context: TaskContext, state: TaskState) -> None:
        self._context = context
        self._state = state

    def __repr__(self) -> str:
        return f"<VideoTask {shorten(repr(self.id))} {self.last_status or 'not seen yet'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a handle cannot be copied or pickled: keep its id, and take the task up by client.task(id)")

    @property
    def id(self) -> str:
        """The task's id. Keep it: `client.task(id)` takes up the task again, also in another process."""
        return self._state.task_id

    @property
    def last_status(self) -> TaskStatus | None:
        """The status that this client observed last, or None. No request is made."""
        return self._state.status

    @property
    def submitted(self) -> SubmittedTask | None:
        """The service's answer to the submit; None when the handle was made from an id."""
        return self._state.observed.submitted

    def eta(self) -> Eta | None:
        """Return when the task will have ended, estimated from other tasks of its model and length.

        No request is made. None while nothing is known, and when the task has ended. The estimate is learned from
        finished tasks in the task list and from those that this client has seen.
        """
        return self._context.tracker.eta(self._state)

    def watch(self, *, timeout: float | None = None) -> StatusWatch:
        """Iterate over the current status first, then every change as it is observed, up to a terminal one.

        `async for change in task` is the same with the default timeout. Leaving the loop early ends the watch.

        Args:
            timeout: seconds for the whole watch; None for the client's `wait_timeout`, `math.inf` for no limit.

        Raises:
            WaitTimeout: from the iteration, when the time is over. The task may still be running.
            TaskNotFound: from the iteration, when the service knows no such task for this key.
            AuthenticationFailed: from the iteration, when the service refuses the key.
            ConfigurationError: the client is closed, or belongs to another event loop.
        """
        return StatusWatch(self, self._context.wait_limit(timeout))

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
            UnknownTaskEnd: the task has ended in a status that this version does not know.
            TaskNotFound: the service knows no such task for this key.
            AuthenticationFailed: the service refuses the key.
            BadResponse: the task is COMPLETED, and the service has answered no URL for five minutes. Wait again later.
            ConfigurationError: the client is closed, or belongs to another event loop.
        """
        limit = self._context.wait_limit(timeout)
        check_on_cancel(on_cancel)
        observed = self._state.observed
        if observed.details is None:
            loop = self._context.lifecycle.check_usable()
            began = loop.time()
            tracker = self._context.tracker
            deadline = None if limit == inf else began + limit
            subscription = tracker.subscribe(self._state, wants_details=True, deadline=deadline)
            try:
                while observed.details is None:
                    if subscription.expired:
                        raise self._expired(loop.time() - began)
                    await subscription.next_update()
            except asyncio.CancelledError:
                if on_cancel == "cancel":
                    await _cancel_paid_task(self)
                raise
            finally:
                tracker.unsubscribe(subscription)
        details = observed.details
        if details.status == TaskStatus.FAILED:
            raise TaskFailed(details, hide=self._hide_in)
        if details.status == TaskStatus.CANCEL:
            raise TaskCancelled(details)
        ended = observed.last_change
        return self._context.video(details, None if ended is None else ended.at)

    def _expired(self, elapsed: float) -> WaitTimeout | UnknownTaskEnd:
        """Return the error for a wait whose time is over after so many seconds."""
        ended = self._state.observed.unknown_end
        if ended is not None:
            return UnknownTaskEnd(ended, hide=self._hide_in)
        return WaitTimeout(self, last_status=self.last_status, elapsed=elapsed)

    def _hide_in(self, text: str) -> str:
        # The service's words about a task may quote what came with its submit.
        text = self._context.hide_key_in(text)
        url = self._state.observed.webhook_url
        return text if url is None else hide_webhook_url(url, text)

    async def status(self, *, timeout: float | None = None) -> TaskStatus:
        """Ask the service for the status, now. See `client.get_status`."""
        return await self._context.get_status(self.id, timeout=timeout)

    async def details(self, *, timeout: float | None = None) -> TaskDetails:
        """Ask the service for everything about the task, now. See `client.get_task`."""
        return await self._context.get_task(self.id, timeout=timeout)

    async def cancel(self, *, timeout: float | None = None) -> CancelResult:
        """Cancel the paid task, which works only while it is SUBMITTED. See `client.cancel`."""
        return await self._context.cancel(self.id, timeout=timeout)


@final
class StatusWatch(AsyncIterator[StatusChange]):
    """The changes of one task, for one consumer.

    It is subscribed from its first step until its end, until `aclose`, or until it is dropped. A step that is
    cancelled, for example by `asyncio.wait_for(anext(watch), 15)`, holds nothing and loses no change: the next step
    goes on from there.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_ended",
        "_is_new",
        "_last",
        "_limit",
        "_loop",
        "_reading",
        "_subscription",
        "_task",
        "_unread",
    )

    def __init__(self, task: VideoTask, limit: float) -> None:
        self._task = task
        self._limit = limit
        self._began: float | None = None
        self._ended = False
        self._reading = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscription: Subscription | None = None
        self._is_new = True
        """Whether nothing was returned yet."""
        self._last: StatusChange | None = None
        """The change that was known last, when a step was cancelled."""
        self._unread: deque[StatusChange] = deque()
        """Changes that came before that."""

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch cannot be copied or pickled: each consumer needs one of its own: task.watch()")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StatusChange:
        if self._loop is not None:
            self._lifecycle.check_place()
        if self._reading:
            raise RuntimeError("this watch is being read already; each consumer needs one of its own: task.watch()")
        if self._ended:
            raise StopAsyncIteration
        change = None if self._began is not None else self._start()
        if change is None:
            self._reading = True
            try:
                change = await self._next()
            except Exception:
                self._end()
                raise
            except BaseException:
                # This ends the step only: `wait_for(anext(watch), 15)` is how a backend keeps a connection alive.
                self._pause()
                raise
            finally:
                self._reading = False
        self._is_new = False
        if change.status.is_terminal:
            self._end()
        return change

    async def aclose(self) -> None:
        """End the watch. A second time does nothing."""
        if self._lifecycle.is_here:
            self._end()
        else:
            self._drop()

    @property
    def _lifecycle(self) -> ClientLifecycle:
        return self._task._context.lifecycle

    def _start(self) -> StatusChange | None:
        """Subscribe; return the current status if it is known and fresh."""
        state = self._task._state
        if state.is_terminal:
            # Nothing needs the client any more.
            self._began = 0.0
            return state.observed.last_change
        self._loop = self._lifecycle.check_usable()
        self._began = self._loop.time()
        self._subscribe()
        return state.observed.last_change if state.is_current(self._began) else None

    def _subscribe(self) -> Subscription:
        assert self._began is not None  # noqa: S101
        state, tracker = self._task._state, self._task._context.tracker
        deadline = None if self._limit == inf else self._began + self._limit
        self._subscription = tracker.subscribe(state, wants_details=False, deadline=deadline)
        # An old observation may be wrong by now: the current status is whatever the next answer reports.
        self._subscription.wants_answer = self._is_new and not state.is_current(self._began)
        return self._subscription

    def _pause(self) -> None:
        """Unsubscribe until the next step."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._unread.extend(subscription.unread or ())
            self._last = subscription.state.observed.last_change
            self._task._context.tracker.unsubscribe(subscription)

    def _resume(self) -> Subscription:
        subscription = self._subscribe()
        missed = subscription.state.observed.last_change
        if missed is not None and missed is not self._last and not self._is_new:
            # Seen meanwhile for somebody else.
            self._unread.append(missed)
        for change in self._unread:
            subscription.append(change)
        self._unread.clear()
        return subscription

    async def _next(self) -> StatusChange:
        subscription, loop, began = self._subscription or self._resume(), self._loop, self._began
        assert loop is not None and began is not None  # noqa: S101, PT018
        while True:
            if subscription.unread:
                subscription.wants_answer = False
                return subscription.unread.popleft()
            observed = subscription.state.observed
            if subscription.wants_answer and observed.last_answer_at >= began:
                subscription.wants_answer = False
                if observed.last_change is not None:
                    return observed.last_change
            if subscription.expired:
                raise self._task._expired(loop.time() - began)
            await subscription.next_update()

    def _end(self) -> None:
        self._ended = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._task._context.tracker.unsubscribe(subscription)

    def _drop(self) -> None:
        """End the watch from any thread: the poller runs in the thread of its event loop."""
        self._ended = True
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._lifecycle.call_soon(self._task._context.tracker.unsubscribe, subscription)

    def __del__(self) -> None:
        # Left early, for example by `break`. The garbage collector may run in any thread.
        self._drop()


# --- what becomes of the paid task when its wait is cancelled ----------------------------------------


def check_on_cancel(value: OnCancel) -> None:
    """Check an `on_cancel` argument.

    Raises:
        ConfigurationError: it is neither "leave" nor "cancel".
    """
    if value not in get_args(OnCancel):
        raise ConfigurationError(f"on_cancel={value!r}: must be 'leave' or 'cancel'")


async def submit_or_cancel(
    submit: Coroutine[Any, Any, VideoTask],
    is_in_flight: Callable[[], bool],
    on_unknown: Callable[[SubmitOutcomeUnknown], object],
) -> VideoTask:
    """Submit; when this call is cancelled, wait for the submit and cancel its task.

    Args:
        submit: the call.
        is_in_flight: returns whether the service may have received any of it.
        on_unknown: called with the error when the outcome is unknown, since nobody else receives it.
    """
    # In an asyncio task of its own, since a cancelled coroutine cannot go on.
    own = asyncio.get_running_loop().create_task(submit, name="aivideomaker_async.submit")
    try:
        return await asyncio.shield(own)
    except asyncio.CancelledError:
        with CancelScope(shield=True):
            if is_in_flight():
                await asyncio.wait([own], timeout=CANCEL_TIMEOUT_S)
            if own.done() and not own.cancelled():
                if own.exception() is None:
                    await _cancel_paid_task(own.result())
                elif isinstance(unknown := own.exception(), SubmitOutcomeUnknown):
                    on_unknown(unknown)
        raise
    finally:
        if not own.done():
            own.cancel()
            with CancelScope(shield=True):
                await asyncio.wait([own])


async def _cancel_paid_task(task: VideoTask) -> None:
    """Cancel the paid task while the caller is being cancelled; shielded, bounded in time, and without raising."""
    try:
        with CancelScope(shield=True), fail_after(CANCEL_TIMEOUT_S):
            result = await task.cancel(timeout=CANCEL_TIMEOUT_S)
            logger.info("cancelled together with its wait: task %s is %s", shorten(task.id), result.status)
    except (AIVideoMakerError, TimeoutError) as error:
        logger.warning(
            "task %s could not be cancelled together with its wait, and goes on: %s", shorten(task.id), error
        )
