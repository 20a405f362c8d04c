"""The client: checks arguments, and hands each call to the room that does it.

A room is imported when it is first entered. A process that only asks for a status loads neither the specs nor the
submits, the poller or the downloads.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import weakref
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, overload
from urllib.parse import urlsplit

from attrs import frozen

from .._http import (
    ApiClient,
    ClientLifecycle,
    RetryPolicy,
    Settings,
    cancel_task,
    check_session,
    get_status,
    get_task,
)
from .._limits import Limiter, LimiterStatistics, SharedRateLimiter, default_limiter
from .._redaction import Secret, single_line
from .._util import callbacks, validation
from .._util.base_url import has_api_path_in, service_url
from ..errors import AIVideoMakerError, APIError, ConfigurationError, RateLimited, SubmitOutcomeUnknown, TransportError
from ..tasks import TaskStatus, video_seconds
from .rooms import Rooms

if TYPE_CHECKING:
    from datetime import datetime

    import aiohttp

    from .._files import Downloaded, Video, VideoProgress
    from .._submits import Budget, IdempotencyKey, Intent, SubmitResult
    from .._watch import StatusBoard, TaskTracker
    from ..pricing import Price, PriceTable
    from ..specs import OtherModel, SpecLike, VideoSpec
    from ..tasks import Account, CancelResult, Quote, TaskDetails
    from .generate_many import GenerateMany
    from .task import OnCancel, VideoTask

__all__ = ["AIVideoMaker", "ClientStatistics"]

logger: Final = logging.getLogger("aivideomaker_async.client")

DEFAULT_BASE_URL: Final = "https://aivideomaker.ai"

MAX_IMAGE_BYTES: Final = 32 * 1024 * 1024
"""The default size limit of an image, before it is encoded."""


@frozen(kw_only=True)
class ClientStatistics:
    """A snapshot of what a client does."""

    watched: int
    """Tasks that are waited for."""
    polls: int
    """Polls that were made for them."""
    limiter: LimiterStatistics
    clock_offset: float | None = None
    """Seconds by which the service's clock is ahead of this machine's, by the `Date` of its last answer (in whole
    seconds); None before the first."""


class AIVideoMaker:
    """A client of the AI Video Maker API.

    Use it as an async context manager, or call `aclose()` at the end. It opens its connections on first use, in the
    event loop that runs then, and belongs to that loop.

    Args:
        api_key: the API key; by default the environment variable `AIVIDEO_API_KEY`.
        base_url: scheme and host of the service; by default `AIVIDEO_BASE_URL`, else https://aivideomaker.ai.
        limiter: keeps queries within the service's limit of 60 a minute for one IP address; by default one limiter that
            all clients of the service on this host share, across processes.
        timeout: seconds for one attempt at one request.
        http: a caller's own `aiohttp.ClientSession`, for proxies or certificates; it is not closed here.
        call_timeout: seconds for one call with all its attempts, its waits for the limit and for `Retry-After`.
        wait_timeout: seconds that `watch()` and `result()` wait at most when they have no `timeout` of their own.
            Videos take minutes, and giving up does not give the credits back.
        retries: how often and how fast failed attempts are repeated.
        status_board: lets all processes with the same key poll as one, over Redis.
        on_unsettled: called with a `SubmitOutcomeUnknown` for each submit that was cancelled after any of its bytes had
            been sent. `unsettled()` lists it as well.
        max_image_size: bytes that an image may have, before it is encoded. A larger one is refused, a file before it
            is read.
        allow_http: whether the key may go unencrypted to another machine, with a base URL of http://.
        budget: credits that all submits of this client may cost together.
        prices: the table for estimates where the service has no quotes; by default that of 2026-03, and that of 2026-09
            for younger models.

    Raises:
        ConfigurationError: there is no key, or an argument is invalid.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        limiter: Limiter | None = None,
        timeout: float = 30.0,
        http: aiohttp.ClientSession | None = None,
        call_timeout: float = 600.0,
        wait_timeout: float = 3600.0,
        retries: RetryPolicy | None = None,
        status_board: StatusBoard | None = None,
        on_unsettled: Callable[[SubmitOutcomeUnknown], object] | None = None,
        max_image_size: int = MAX_IMAGE_BYTES,
        allow_http: bool = False,
        budget: Budget | None = None,
        prices: PriceTable | None = None,
    ) -> None:
        # The argument would stand in crash reports as a local variable.
        key = Secret(os.environ.get("AIVIDEO_API_KEY", "") if api_key is None else api_key)
        del api_key
        # One with a password is refused, and must not be shown either.
        given_url = Secret(base_url or os.environ.get("AIVIDEO_BASE_URL") or DEFAULT_BASE_URL)
        del base_url
        url, has_api_path = service_url(given_url, allow_http=allow_http), has_api_path_in(given_url)
        if http is not None:
            check_session(http)
        settings = Settings(
            base_url=url,
            key=validation.api_key(key),
            attempt_timeout=validation.seconds("timeout", timeout),
            call_timeout=validation.seconds("call_timeout", call_timeout),
            policy=RetryPolicy() if retries is None else retries,
            has_api_path=has_api_path,
        )
        self._wait_timeout = validation.seconds_or_inf("wait_timeout", wait_timeout)
        max_image_bytes = validation.count("max_image_size", max_image_size)
        self._http = http
        origin = urlsplit(url).netloc.lower()
        if limiter is None:
            limiter = default_limiter(origin)
        elif isinstance(limiter, SharedRateLimiter):
            limiter = limiter.for_origin(origin)
        self._api = ApiClient(settings, limiter=limiter, http=http)
        self._rooms = Rooms(
            self._api,
            origin=origin,
            status_board=status_board,
            max_image_bytes=max_image_bytes,
            budget=budget,
            prices=prices,
            on_unsettled=on_unsettled,
        )
        self._receivers: list[Callable[[Secret], bool]] = []
        self._api.lifecycle.warn_if_dropped(self, f"<{type(self).__name__} {url}>", sys._getframe(1))

    def __repr__(self) -> str:
        # A crash report may show a client whose `__init__` has failed.
        api = getattr(self, "_api", None)
        if api is None:
            return "<AIVideoMaker>"
        return f"<AIVideoMaker {api.settings.base_url} {'closed' if api.lifecycle.closed else 'open'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client cannot be copied or pickled: make one where it is needed, from the key")

    async def __aenter__(self) -> Self:
        self._api.lifecycle.check_usable()
        self._api.lifecycle.entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client. Calls in progress raise `ConfigurationError`; paid tasks go on. A second call does nothing.

        Any asyncio task of the client's event loop may close it. Once that loop is closed, any other may.

        Raises:
            ConfigurationError: the client belongs to another event loop, which is open: close it there.
        """
        lifecycle = self._api.lifecycle
        if lifecycle.is_unreachable:
            lifecycle.closed = True
            lifecycle.abandon()
            return
        if lifecycle.loop is not None:
            lifecycle.check_place()
        # First of all: a waiter that is woken now must not submit another task on its way out.
        lifecycle.closed = True
        try:
            await self._rooms.aclose()
        finally:
            await self._api.aclose()

    # --- generating ----------------------------------------------------------------------------------

    @overload
    async def submit(
        self,
        spec: SpecLike,
        *,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        intent: Intent | None = None,
        known: Iterable[str] = (),
        max_credits: int | None = None,
        budget: Budget | None = None,
        timeout: float | None = None,
    ) -> VideoTask: ...

    @overload
    async def submit(
        self,
        spec: str,
        body: Mapping[str, object] | None = None,
        *,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        intent: Intent | None = None,
        known: Iterable[str] = (),
        max_credits: int | None = None,
        budget: Budget | None = None,
        timeout: float | None = None,
    ) -> VideoTask: ...

    async def submit(
        self,
        spec: SpecLike | str,
        body: Mapping[str, object] | None = None,
        *,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        intent: Intent | None = None,
        known: Iterable[str] = (),
        max_credits: int | None = None,
        budget: Budget | None = None,
        timeout: float | None = None,
    ) -> VideoTask:
        """Submit a task. The service charges its credits now, and once.

        When the answer is lost (a dropped connection, a timeout, 5xx, an unreadable answer), the task is searched for
        in the task list, and its handle returned. It is submitted again only when it was surely not created.

        A call that is cancelled after any byte was sent leaves an unknown outcome: see `unsettled`.

        Args:
            spec: what to generate; or the name of a model, with the fields of the request in `body`.
            body: the fields of the request under their wire names, when `spec` is a name.
            webhook_url: where the service reports changes of the task.
            idempotency_key: 8 to 128 characters that name this submit; by default a fresh one. Within one process the
                same key gives the same task, whatever the service does with keys.
            intent: what `intend` has returned for this order, here or in a process that has ended, in place of a key.
                Its process must not be at work on it any more. What it may have bought is searched for first.
            known: with an intent of another process: ids of tasks that you know to be those of other submits.
            max_credits: credits that the task may cost at most. The price is the service's quote, or an estimate where
                it has no quotes. The limit is sent with the submit as well.
            budget: credits that this submit and others may cost together, beside the client's own `budget`.
            timeout: seconds for the call with all its attempts; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is invalid, or its image cannot be read or is too large. Nothing was sent.
            BudgetExceeded: the task costs more than allowed; or its price is unknown, and there is a limit.
            APIError: the service refuses, for example `InsufficientCredits`. Nothing was charged.
            TransportError: the service cannot be reached; or the answers were lost, and nothing was created.
            SubmitOutcomeUnknown: the answer was lost, and it is unknown whether there is a task. The error carries the
                key and the candidates, and `reconcile` searches again.
            ConfigurationError: the client cannot be used, or an argument is invalid.
        """
        from .._submits import IdempotencyKey
        from ..specs import OtherModel, as_spec

        # The argument may hold a token, and would stand in crash reports as a local variable.
        hook = None if webhook_url is None else Secret(webhook_url)
        del webhook_url
        if isinstance(spec, str):
            order: VideoSpec | OtherModel = OtherModel(spec, {} if body is None else body)
        elif body is not None:
            raise ConfigurationError(
                "body: only beside the name of a model; a spec has its own fields, and takes others as extra={...}"
            )
        else:
            order = as_spec(spec)
        if intent is not None and idempotency_key is not None:
            raise ConfigurationError("idempotency_key: not beside an intent, which has its own")
        key = IdempotencyKey.of(idempotency_key if intent is None else intent.idempotency_key)
        return await self._buy(
            order,
            key,
            intent=intent,
            known=_task_ids(known),
            hook=hook,
            max_credits=max_credits,
            budget=budget,
            timeout=timeout,
        )

    async def intend(self, spec: SpecLike, *, key: str | None = None, timeout: float | None = None) -> Intent:
        """Return a record of a submit that is about to be made, to be stored before `submit(spec, intent=...)`.

        When the program dies after that, the next one restores it (`Intent.from_dict`) and submits with it: what the
        dead one has bought is found and returned, and what it surely has not is bought now.

        The price is not asked for. The service's time is, once, where it is not known yet.

        Args:
            spec: what to generate.
            key: the idempotency key of the submit, 8 to 128 characters; by default a fresh one.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is invalid, or its image cannot be read or is too large.
            TransportError: the service cannot be reached.
            ConfigurationError: the client cannot be used, or an argument is invalid.
        """
        from .._submits import IdempotencyKey
        from ..specs import as_spec

        return await self._rooms.submits.intend(as_spec(spec), IdempotencyKey.of(key), timeout)

    def unsettled(self) -> list[SubmitOutcomeUnknown]:
        """Return the submits of this client whose outcome is unknown, the oldest first; also after it was closed.

        They ended in `SubmitOutcomeUnknown`, or were cancelled after any byte was sent. `reconcile` settles one.
        """
        return self._rooms.submits.unsettled()

    async def reconcile(
        self, error: SubmitOutcomeUnknown, *, known: Iterable[str] = (), timeout: float | None = None
    ) -> VideoTask | None:
        """Search again for the task of a submit whose answer was lost.

        Args:
            error: from `submit`, `unsettled` or `on_unsettled`; of this client, another one, or another process.
            known: ids of tasks that you know to be those of other submits, so that none of them is taken for this one,
                nor keeps it unknown.
            timeout: seconds for the whole search; None for the client's `call_timeout`.

        Returns:
            The handle of its task, or None when it was surely not created: it can be submitted again.

        Raises:
            SubmitOutcomeUnknown: the outcome is still unknown.
            ConfigurationError: the client cannot be used.
        """
        return self._settled(error, await self._rooms.submits.reconcile(error, timeout, _task_ids(known)))

    def settle(self, error: SubmitOutcomeUnknown, task_id: str | None) -> VideoTask | None:
        """Record what became of a submit, after you have found out by other means. No request is made.

        Args:
            error: from `submit`, `unsettled` or `on_unsettled`.
            task_id: the id of its task, for example of one of the `candidates`; None if there is none.

        Returns:
            The handle of the task, or None.

        Raises:
            ConfigurationError: the client cannot be used, `task_id` is no possible id, or the submit is in flight
                again.
        """
        self._api.lifecycle.check_usable()
        found = None if task_id is None else validation.task_id(task_id)
        return self._settled(error, self._rooms.submits.settle(error, found))

    async def generate(
        self,
        spec: SpecLike,
        *,
        timeout: float | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        max_credits: int | None = None,
        budget: Budget | None = None,
        on_cancel: OnCancel = "leave",
        on_submit: Callable[[VideoTask], object] | None = None,
    ) -> Video:
        """Submit a task and wait for its video: `submit`, then `result(timeout)`.

        Args:
            spec: what to generate.
            timeout: seconds to wait after the submit; None for the client's `wait_timeout`.
            webhook_url: as for `submit`.
            idempotency_key: as for `submit`.
            max_credits: as for `submit`.
            budget: as for `submit`.
            on_cancel: as for `VideoTask.result`. With "cancel", a submit that is in flight when this call is cancelled
                is awaited for at most 10 seconds, so that its task can be cancelled.
            on_submit: called with the handle as soon as there is one, to store its id before the long wait; a plain or
                an async function.

        Raises:
            AIVideoMakerError: what `submit` and `VideoTask.result` raise. `WaitTimeout` carries the handle.
        """
        from .._submits import IdempotencyKey
        from ..specs import as_spec
        from .task import check_on_cancel

        hook = None if webhook_url is None else Secret(webhook_url)
        del webhook_url
        order = as_spec(spec)
        limit = self._handles.wait_limit(timeout)
        check_on_cancel(on_cancel)
        key = IdempotencyKey.of(idempotency_key)
        submit = self._buy(order, key, hook=hook, max_credits=max_credits, budget=budget)
        task = await self._unless_cancelled(submit, key, on_cancel)
        await callbacks.call(on_submit, task)
        return await task.result(limit, on_cancel=on_cancel)

    def generate_many(
        self,
        specs: Iterable[SpecLike],
        *,
        max_active: int = 20,
        timeout: float | None = None,
        max_credits: int | None = None,
        budget: Budget | None = None,
        on_cancel: OnCancel = "leave",
        on_submit: Callable[[int, VideoTask], object] | None = None,
    ) -> GenerateMany:
        """Generate many videos, and yield the outcome of each as it finishes: `async for outcome in ...`.

        One failure does not stop the others, unless it holds for all: when the key is refused or the credits are used
        up, nothing more is submitted, and each other spec has an outcome that says so. Leaving the loop early submits
        nothing more; `on_cancel` decides about the tasks that were submitted.

        Args:
            specs: what to generate; taken one by one, so a generator of any length works.
            max_active: how many tasks are submitted and not finished at any time.
            timeout: seconds to wait for each; None for the client's `wait_timeout`.
            max_credits: credits that each of them may cost at most, as for `submit`.
            budget: credits that all of them may cost together. A spec that costs more than is left has the outcome
                `BudgetExceeded`, and nothing is sent.
            on_cancel: as for `generate`; leaving the loop early counts as a cancellation.
            on_submit: called with the index of a spec and the handle of its task as soon as there is one, to store its
                id before the long wait; a plain or an async function.
        """
        from .._submits import IdempotencyKey
        from ..specs import as_spec
        from .generate_many import GenerateMany
        from .task import check_on_cancel

        check_on_cancel(on_cancel)
        self._rooms.submits.check_budget(budget)
        limit = None if max_credits is None else validation.amount("max_credits", max_credits)

        async def submit(spec: SpecLike) -> VideoTask:
            key = IdempotencyKey.of(None)
            task = self._buy(as_spec(spec), key, max_credits=limit, budget=budget)
            return await self._unless_cancelled(task, key, on_cancel)

        return GenerateMany(
            self._api.lifecycle,
            submit,
            specs,
            max_active=validation.count("max_active", max_active),
            timeout=self._handles.wait_limit(timeout),
            on_cancel=on_cancel,
            on_submit=on_submit,
            check=self._check,
        )

    async def _check(self) -> None:
        """Make a query that costs the service little."""
        from .._http import FirstTask

        await self._api.read_list(FirstTask, self._api.deadline())

    # --- tasks ---------------------------------------------------------------------------------------

    def task(self, task_id: str) -> VideoTask:
        """Return a handle for an existing task, for example after a restart. No request is made.

        Raises:
            ConfigurationError: `task_id` is no possible id.
        """
        from .task import VideoTask

        return VideoTask(self._handles, self._rooms.tracker.state(validation.task_id(task_id)))

    async def get_task(self, task_id: str, *, timeout: float | None = None) -> TaskDetails:
        """Return everything that the service reports about a task.

        Args:
            task_id: the id of the task.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            TaskNotFound: the service has no such task for this key.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        details = await self._api.call(get_task(task_id), self._api.deadline(timeout))
        self._rooms.observe(task_id, details)
        return details

    async def get_status(self, task_id: str, *, timeout: float | None = None) -> TaskStatus:
        """Return the current status of a task.

        Args:
            task_id: the id of the task.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            TaskNotFound: the service has no such task for this key.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        status = await self._api.call(get_status(task_id), self._api.deadline(timeout))
        self._rooms.observe(task_id, status)
        return status

    async def list_tasks(self, *, timeout: float | None = None) -> list[TaskDetails]:
        """Return all tasks of this key that the service lists, newest first.

        Args:
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            AIVideoMakerError: an `APIError`, `TransportError` or `ConfigurationError`.
        """
        from .._http import AllTasks

        tasks = (await self._api.read_list(AllTasks, self._api.deadline(timeout))).tasks
        if self._rooms.hold_credits:
            for details in tasks:
                self._rooms.observe_listed(details)
        return tasks

    async def cancel(self, task_id: str, *, timeout: float | None = None) -> CancelResult:
        """Cancel a task, which works only while it is SUBMITTED. Its credits are refunded in full.

        A cancel that comes too late is no error: the result reports it, with the status.

        Args:
            task_id: the id of the task.
            timeout: seconds for each of the one or two calls; None for the client's `call_timeout`.

        Returns:
            The result: its `outcome` is "cancelled", "too_late" or "finished", and `status` the current one. A task
            that was cancelled before counts as cancelled.

        Raises:
            TaskNotFound: the service has no such task for this key.
            APIError: the service refuses although the task is SUBMITTED, or its status is not available.
            AIVideoMakerError: a `TransportError` or `ConfigurationError`.
        """
        from ..tasks import CancelResult

        try:
            status = await self._api.call(cancel_task(task_id), self._api.deadline(timeout))
        except RateLimited:
            raise
        except (APIError, TransportError) as error:
            if isinstance(error, TransportError) and not error.sent:
                raise
            # The answer to a late cancel is not documented, and one whose answer was lost may have been carried out.
            logger.debug("cancel of task %s: %s", single_line(task_id), error)
            status = await self._status_in_spite_of(error, task_id, timeout)
        else:
            if status == TaskStatus.CANCEL:
                self._rooms.observe(task_id, status)
            else:
                status = await self.get_status(task_id, timeout=timeout)
        return CancelResult(task_id=task_id, cancelled=status == TaskStatus.CANCEL, status=status)

    async def _status_in_spite_of(
        self, error: APIError | TransportError, task_id: str, timeout: float | None
    ) -> TaskStatus:
        """Return the status of a task whose cancel has failed; raise `error` if it can still be cancelled."""
        try:
            status = await self.get_status(task_id, timeout=timeout)
        except (APIError, TransportError):
            raise error from None
        if status == TaskStatus.SUBMITTED:
            raise error
        return status

    async def download_all(
        self,
        directory: str | os.PathLike[str],
        *,
        concurrency: int = 4,
        overwrite: bool = False,
        name: Callable[[Video], str] | None = None,
        progress: VideoProgress | None = None,
        timeout: float = 60.0,
        allow_private: bool | None = None,
        http: aiohttp.ClientSession | None = None,
    ) -> list[Downloaded]:
        """Download every finished video of this key that the service still has, into one folder.

        The videos that the service deletes first go first. See `aivideomaker_async.download_all` for existing files and
        for downloads that break off.

        Args:
            directory: the folder, which is created if it is missing.
            concurrency: how many videos are downloaded at once.
            overwrite: whether existing files are replaced.
            name: returns the name of a video's file in the folder; by default `<id>.mp4`.
            progress: called with the video, the bytes that have arrived, and the bytes expected.
            timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
            allow_private: as for `Video.download`.
            http: an aiohttp session whose connections and proxies to use; by default the client's own `http`.

        Returns:
            The outcome of each, the newest task first.

        Raises:
            DownloadError: the folder cannot be created. The failure of one video is in its outcome.
            AIVideoMakerError: the tasks cannot be listed: an `APIError`, `TransportError` or `ConfigurationError`.
        """
        from .._files import download_all

        completed = (task for task in await self.list_tasks() if task.status == TaskStatus.COMPLETED and task.url)
        videos = [self._handles.video(task) for task in completed]
        # The service's clock and this machine's may be days apart: a video is skipped only if both call it expired.
        now = min(time.time(), self._api.service_time())
        kept = [video for video in videos if video.expires_at.timestamp() > now]
        logger.info("%d finished videos, of which the service has deleted %d", len(videos), len(videos) - len(kept))
        return await download_all(
            kept,
            directory,
            concurrency=concurrency,
            overwrite=overwrite,
            name=name,
            progress=progress,
            timeout=timeout,
            allow_private=allow_private,
            http=http,
        )

    # --- account -------------------------------------------------------------------------------------

    async def account(self, *, timeout: float | None = None) -> Account:
        """Return balance, guardrails and models of the account (2026-09).

        Args:
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            EndpointNotFound: a service of the 2026-03 revision does not have this.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        return await self._rooms.submits.account(timeout)

    async def quote(self, spec: SpecLike, *, timeout: float | None = None) -> Quote:
        """Return the price of a spec as the service computes it; costs nothing (2026-09).

        Args:
            spec: what would be generated. An image is sent as for a submit.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is invalid, or its image cannot be read.
            EndpointNotFound: a service of the 2026-03 revision does not have this.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        from ..specs import as_spec

        return await self._rooms.submits.quote(as_spec(spec), timeout)

    async def price(self, spec: SpecLike, *, timeout: float | None = None) -> Price:
        """Return what a spec costs: the service's quote, or a table's estimate where the service has no quotes.

        Args:
            spec: what would be generated.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is invalid, or its image cannot be read.
            UnknownPrice: the service has no quotes, and the table no price.
            AIVideoMakerError: the service refuses to answer, or cannot be reached.
        """
        from ..specs import as_spec

        return await self._rooms.submits.price(as_spec(spec), timeout)

    def statistics(self) -> ClientStatistics:
        """Return what the client does at this moment."""
        watched, polls = self._rooms.watching()
        return ClientStatistics(
            watched=watched,
            polls=polls,
            limiter=self._api.limiter.statistics(),
            clock_offset=self._api.clock_offset(),
        )

    @property
    def base_url(self) -> str:
        """Scheme, host and port of the service, and its path, if any."""
        return self._api.settings.base_url

    @property
    def limiter(self) -> Limiter:
        """The limiter that keeps the queries of this client within the service's limit."""
        return self._api.limiter

    @property
    def _allows_private_files(self) -> bool:
        from .._files import is_private_host

        # A service on this network keeps its files there as well.
        return is_private_host(urlsplit(self._api.settings.base_url).hostname or "")

    # --- for the submits -----------------------------------------------------------------------------

    async def _buy(
        self,
        spec: VideoSpec | OtherModel,
        key: IdempotencyKey,
        *,
        intent: Intent | None = None,
        known: Collection[str] = (),
        hook: Secret | None = None,
        max_credits: int | None = None,
        budget: Budget | None = None,
        timeout: float | None = None,
    ) -> VideoTask:
        from ..specs import VideoSpec
        from .task import VideoTask

        result = await self._rooms.submits.submit(
            spec,
            key,
            intent=intent,
            known=known,
            webhook_url=hook,
            max_credits=max_credits,
            budget=budget,
            timeout=timeout,
        )
        length = spec.seconds if isinstance(spec, VideoSpec) else video_seconds(spec.body)
        # The client may have been closed by now: the task has its handle all the same.
        now = asyncio.get_running_loop().time()
        state = self._rooms.tracker.submitted(
            result.answer,
            spec.model,
            now=now,
            details=result.details,
            length=length,
            webhook_url=hook,
            has_webhook=hook is not None and any(is_url_of(hook) for is_url_of in self._receivers),
        )
        return VideoTask(self._handles, state)

    def _settled(self, error: SubmitOutcomeUnknown, result: SubmitResult | None) -> VideoTask | None:
        if result is None:
            return None
        from .task import VideoTask

        now = self._api.lifecycle.check_usable().time()
        state = self._rooms.tracker.submitted(result.answer, error.model, now=now, details=result.details)
        return VideoTask(self._handles, state)

    async def _unless_cancelled(
        self, submit: Coroutine[Any, Any, VideoTask], key: IdempotencyKey, on_cancel: OnCancel
    ) -> VideoTask:
        from .task import submit_or_cancel

        if on_cancel == "leave":
            return await submit
        submits = self._rooms.submits
        return await submit_or_cancel(
            submit, lambda: submits.is_in_flight(key.text), on_unknown=submits.report_unsettled
        )

    @property
    def _handles(self) -> _HandleContext:
        # Made anew for each handle: kept here, it would be a reference cycle, and a dropped client would be
        # noticed only when the garbage collector runs.
        return _HandleContext(self)

    # --- for webhook receivers -----------------------------------------------------------------------

    @property
    def _api_key(self) -> Secret:
        return self._api.settings.key

    def _add_receiver(self, is_url_of: Callable[[Secret], bool]) -> None:
        """Add a webhook receiver.

        Args:
            is_url_of: returns whether a URL leads to the receiver.
        """
        lifecycle = self._api.lifecycle
        if lifecycle.closed:
            lifecycle.check_usable()
        self._receivers.append(is_url_of)
        # Deliveries come from any thread, also before the first use of the client binds it to its event loop.
        if lifecycle.loop is None:
            with suppress(ConfigurationError):
                lifecycle.check_place()

    def _wake(self, *, may_be_end: bool) -> None:
        """Poll soon, since a webhook delivery came; from any thread."""
        self._api.lifecycle.call_soon(partial(self._rooms.tracker.wake, may_be_end=may_be_end))


def _task_ids(known: Iterable[str]) -> frozenset[str]:
    if isinstance(known, str):
        raise ConfigurationError(f"known={known!r}: must be task ids in a list or a set, not one text")
    return frozenset(map(validation.task_id, known))


class _HandleContext:
    """What the handles of a client need of it: see `TaskContext`. It keeps the client alive, as handles must."""

    __slots__ = ("_client", "cancel", "get_status", "get_task", "lifecycle", "tracker")

    def __init__(self, client: AIVideoMaker) -> None:
        self._client = client
        self.lifecycle: ClientLifecycle = client._api.lifecycle
        self.tracker: TaskTracker = client._rooms.tracker
        self.get_status = client.get_status
        self.get_task = client.get_task
        self.cancel = client.cancel

    def wait_limit(self, timeout: float | None) -> float:
        return self._client._wait_timeout if timeout is None else validation.seconds_or_inf("timeout", timeout)

    def hide_key_in(self, text: str) -> str:
        return self._client._api.settings.key.hide_in(text)

    def video(self, details: TaskDetails, seen_at: datetime | None = None) -> Video:
        from .._files import Video

        client = self._client
        # A video that is kept does not keep its client.
        reference = weakref.ref(client)

        async def renew() -> str | None:
            if (alive := reference()) is None:
                return None
            try:
                return (await alive.get_task(details.id)).url
            except AIVideoMakerError as error:
                logger.info("no fresh address of the video of task %s: %s", single_line(details.id), error)
                return None

        return Video.of(
            details,
            allow_private=client._allows_private_files,
            seen_at=seen_at,
            clock_ahead=timedelta(seconds=client._api.clock_offset() or 0.0),
            http=client._http,
            renew=renew,
        )
