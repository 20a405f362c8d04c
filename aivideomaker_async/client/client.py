"""The client: what users hold in their hands."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self
from urllib.parse import urlsplit

from attrs import frozen

from .._files import Downloaded, Video, VideoProgress, download_all, is_private_host
from .._http import (
    AllTasks,
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
from .._submits import MAX_IMAGE_BYTES, Budget, IdempotencyKey, SubmitResult, SubmitService, registry_of
from .._util import validation
from .._util.base_url import service_url
from .._watch import TaskTracker
from ..errors import APIError, ConfigurationError, RateLimited, SubmitOutcomeUnknown, TransportError
from ..pricing import Price, PriceTable
from ..specs import OtherModel, SpecLike, VideoSpec, as_spec
from ..tasks import Account, CancelResult, Quote, TaskDetails, TaskStatus, video_seconds
from .generate_many import GenerateMany
from .task import OnCancel, VideoTask, check_on_cancel, submit_or_cancel

if TYPE_CHECKING:
    import aiohttp

    from .._watch.board import StatusBoard

__all__ = ["AIVideoMaker", "ClientStatistics"]

logger: Final = logging.getLogger("aivideomaker_async.client")

DEFAULT_BASE_URL: Final = "https://aivideomaker.ai"


@frozen(kw_only=True)
class ClientStatistics:
    """What a client was doing at one moment."""

    watched: int
    """Tasks that somebody waits for."""
    polls: int
    """Polls that the watcher has made."""
    limiter: LimiterStatistics
    clock_offset: float | None = None
    """Seconds by which the service's clock is ahead of this machine's, by its last answer (which tells whole seconds);
    None while it has not told."""


class AIVideoMaker:
    """A client of the AI Video Maker API.

    Use it as an async context manager, or call `aclose()` at the end. It opens its connections on first use, in the
    event loop that runs then, and belongs to that loop.

    Args:
        api_key: the API key; by default the environment variable `AIVIDEO_API_KEY`.
        base_url: scheme and host of the service; by default `AIVIDEO_BASE_URL`, else https://aivideomaker.ai.
        limiter: what keeps queries within the service's limit of 60 a minute for one IP address; by default all
            clients of one service on this host share one, in whatever process.
        timeout: seconds for one attempt at one request.
        http: a caller's own `aiohttp.ClientSession`, for proxies or certificates; it is not closed here.
        call_timeout: seconds for one call with all its attempts, and its waits for the limit and for `Retry-After`.
        wait_timeout: seconds that `watch()` and `result()` wait at most when they are not told. Videos take minutes,
            and giving up does not give the credits back.
        retries: how often and how fast failed attempts are repeated.
        status_board: lets all processes with the same key poll as one, over Redis.
        on_unsettled: called with a `SubmitOutcomeUnknown` for each submit that was cancelled after any of it had been
            sent. It is in `unsettled()` as well.
        max_image_size: bytes that an image may have, before it is encoded. A larger one is refused, a file before it
            is read.
        allow_http: whether the key may go to another machine unencrypted, by a base URL with http://.
        budget: credits that all submits of this client may cost together.
        prices: the table by which prices are estimated where the service has no quotes; by default that of 2026-03, and
            that of 2026-09 for younger models.

    Raises:
        ConfigurationError: there is no key, or an argument makes no sense.
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
        url = base_url or os.environ.get("AIVIDEO_BASE_URL") or DEFAULT_BASE_URL
        url = service_url(url, allow_http=allow_http)
        if http is not None:
            check_session(http)
        settings = Settings(
            base_url=url,
            key=validation.api_key(key),
            attempt_timeout=validation.seconds("timeout", timeout),
            call_timeout=validation.seconds("call_timeout", call_timeout),
            policy=RetryPolicy() if retries is None else retries,
        )
        self._wait_timeout = validation.seconds_or_inf("wait_timeout", wait_timeout)
        max_image_bytes = validation.count("max_image_size", max_image_size)
        self._http = http
        self._is_private = is_private_host(urlsplit(url).hostname or "")
        origin = urlsplit(url).netloc.lower()
        if limiter is None:
            limiter = default_limiter(origin)
        elif isinstance(limiter, SharedRateLimiter):
            limiter = limiter.for_origin(origin)
        self._api = ApiClient(settings, limiter=limiter, http=http)
        self._registry = registry_of(url, settings.key)
        self._tracker = TaskTracker(
            self._api, observed=self._registry.observe, status_board=status_board, origin=origin
        )
        self._receivers: list[Callable[[Secret], bool]] = []
        self._submits = SubmitService(
            self._api,
            self._registry,
            known_tasks=self._tracker.ids,
            max_image_bytes=max_image_bytes,
            budget=budget,
            prices=prices,
            on_unsettled=on_unsettled,
        )
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
        """Close the client. Who still waits gets a `ConfigurationError`; paid tasks go on. A second time does nothing.

        It may be called from another asyncio task than the one that opened the client. When the event loop of the
        client is closed, nothing is left to be awaited, and it may be called from any other.

        Raises:
            ConfigurationError: the client belongs to another event loop, which is open: it has to be closed there.
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
            await self._tracker.aclose()
        finally:
            await self._api.aclose()

    # --- generating ----------------------------------------------------------------------------------

    async def submit(
        self,
        spec: SpecLike | str,
        body: Mapping[str, object] | None = None,
        *,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        max_credits: int | None = None,
        budget: Budget | None = None,
        timeout: float | None = None,
    ) -> VideoTask:
        """Submit a task. The service charges its credits now, and once.

        When the answer is lost (a dropped connection, a timeout, 5xx, an answer that cannot be read), the task is
        looked for in the task list and its handle returned. It is submitted again only when it was surely not created.

        Cancelling this call after any of it was sent leaves that to you: see `unsettled`.

        Args:
            spec: what to generate; or the name of a model, with the fields of the request in `body`.
            body: the fields of the request under their wire names, when `spec` is a name.
            webhook_url: where the service shall tell of changes.
            idempotency_key: 8 to 128 characters that name this submit; by default a fresh one. Within one process the
                same key gives the same task, whatever the service does with keys.
            max_credits: credits that it may cost at most. The service is asked for the price first, and where it has no
                quotes it is estimated; the service is told as well.
            budget: credits that this submit and others may cost together, beside the client's own `budget`.
            timeout: seconds for the call with all its attempts; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is wrong, or its image cannot be read or is too large. Nothing was sent.
            BudgetExceeded: it costs more than it may; or its price cannot be known, and there is a limit to it.
            APIError: the service refuses, for example `InsufficientCredits`. Nothing was charged.
            TransportError: the service cannot be reached; or the answers were lost, and nothing was created.
            SubmitOutcomeUnknown: the answer was lost, and it cannot be known whether there is a task. The error tells
                the key and the candidates, and `reconcile` looks again.
            ConfigurationError: the client cannot be used, or an argument makes no sense.
        """
        # The argument may hold a token, and would stand in crash reports as a local variable.
        hook = None if webhook_url is None else Secret(webhook_url)
        del webhook_url
        order = OtherModel(spec, {} if body is None else body) if isinstance(spec, str) else as_spec(spec)
        key = IdempotencyKey.of(idempotency_key)
        return await self._buy(order, key, hook=hook, max_credits=max_credits, budget=budget, timeout=timeout)

    def unsettled(self) -> list[SubmitOutcomeUnknown]:
        """The submits of this client of which it is not known whether there is a task, the oldest first.

        They are those that ended in `SubmitOutcomeUnknown`, and those that were cancelled after any of them was sent.
        `reconcile` settles one. The list can also be had after the client was closed.
        """
        return self._submits.unsettled()

    async def reconcile(self, error: SubmitOutcomeUnknown, *, timeout: float | None = None) -> VideoTask | None:
        """Look again what became of a submit whose answer was lost.

        Args:
            error: from `submit`, `unsettled` or `on_unsettled`; of this client, another one, or another process.
            timeout: seconds for the whole search; None for the client's `call_timeout`.

        Returns:
            The handle of its task, or None when it was surely not created: it can be submitted again.

        Raises:
            SubmitOutcomeUnknown: it still cannot be known.
            ConfigurationError: the client cannot be used.
        """
        return self._settled(error, await self._submits.reconcile(error, timeout))

    def settle(self, error: SubmitOutcomeUnknown, task_id: str | None) -> VideoTask | None:
        """Tell what became of a submit, when you have found out by other means. No request is made.

        Args:
            error: from `submit`, `unsettled` or `on_unsettled`.
            task_id: the id of its task, for example of one of the `candidates`; None when there is none.

        Returns:
            The handle of the task, or None.

        Raises:
            ConfigurationError: the client cannot be used, or `task_id` can be no id; or the submit is under way again.
        """
        self._api.lifecycle.check_usable()
        return self._settled(
            error, self._submits.settle(error, None if task_id is None else validation.task_id(task_id))
        )

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
            on_cancel: as for `VideoTask.result`. With "cancel", a submit that is on its way when this call is cancelled
                is waited for, at most 10 seconds, so that its task can be cancelled.
            on_submit: called with the handle as soon as there is one, to note its id before the long wait.

        Raises:
            AIVideoMakerError: what `submit` and `VideoTask.result` raise. `WaitTimeout` carries the handle.
        """
        hook = None if webhook_url is None else Secret(webhook_url)
        del webhook_url
        order = as_spec(spec)
        limit = self._handles.wait_limit(timeout)
        check_on_cancel(on_cancel)
        key = IdempotencyKey.of(idempotency_key)
        submit = self._buy(order, key, hook=hook, max_credits=max_credits, budget=budget)
        task = await self._unless_cancelled(submit, key, on_cancel)
        if on_submit is not None:
            on_submit(task)
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
        """Generate many videos, and give the outcome of each as it finishes: `async for outcome in ...`.

        One failure does not stop the others. Leaving the loop early submits nothing more; `on_cancel` says what becomes
        of the tasks that were submitted.

        Args:
            specs: what to generate; taken one by one, so a generator of any length will do.
            max_active: how many tasks are submitted and not finished at any time.
            timeout: seconds to wait for each; None for the client's `wait_timeout`.
            max_credits: credits that each of them may cost at most, as for `submit`.
            budget: credits that all of them may cost together. What it has not enough left for has the outcome
                `BudgetExceeded`, and nothing is sent.
            on_cancel: as for `generate`; leaving the loop early counts as a cancellation.
            on_submit: called with the place of a spec and the handle of its task as soon as there is one, to note its
                id before the long wait.
        """
        check_on_cancel(on_cancel)
        self._submits.check_budget(budget)
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
        )

    # --- tasks ---------------------------------------------------------------------------------------

    def task(self, task_id: str) -> VideoTask:
        """A handle for a task that exists, for example after a restart. No request is made.

        Raises:
            ConfigurationError: `task_id` can be no id.
        """
        return VideoTask(self._handles, self._tracker.state(validation.task_id(task_id)))

    async def get_task(self, task_id: str, *, timeout: float | None = None) -> TaskDetails:
        """Everything that the service tells about a task.

        Args:
            task_id: its id.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            TaskNotFound: the service knows no such task for this key.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        details = await self._api.call(get_task(task_id), self._api.deadline(timeout))
        self._registry.observe(task_id, details)
        self._tracker.observe(task_id, details)
        return details

    async def get_status(self, task_id: str, *, timeout: float | None = None) -> TaskStatus:
        """The status of a task, now.

        Args:
            task_id: its id.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            TaskNotFound: the service knows no such task for this key.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        status = await self._api.call(get_status(task_id), self._api.deadline(timeout))
        self._registry.observe(task_id, status)
        self._tracker.observe(task_id, status)
        return status

    async def list_tasks(self, *, timeout: float | None = None) -> list[TaskDetails]:
        """All tasks of this key that the service lists, newest first.

        Args:
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            AIVideoMakerError: an `APIError`, `TransportError` or `ConfigurationError`.
        """
        tasks = (await self._api.read_list(AllTasks, self._api.deadline(timeout))).tasks
        if self._registry.holds_credits:
            # Statuses are not taken from here: a list may be behind what is known.
            for details in tasks:
                self._registry.observe(details.id, details)
        return tasks

    async def cancel(self, task_id: str, *, timeout: float | None = None) -> CancelResult:
        """Cancel a task, which works only while it is SUBMITTED. Its credits are refunded in full.

        A cancel that comes too late is no error: the result says so, with the status.

        Args:
            task_id: its id.
            timeout: seconds for each of the one or two calls; None for the client's `call_timeout`.

        Returns:
            What happened: `outcome` is "cancelled", "too_late" or "finished", and `status` what the task is in now. A
            task that was cancelled before counts as cancelled.

        Raises:
            TaskNotFound: the service knows no such task for this key.
            APIError: the service refuses, and the task is SUBMITTED all the same or its status cannot be had.
            AIVideoMakerError: a `TransportError` or `ConfigurationError`.
        """
        try:
            status = await self._api.call(cancel_task(task_id), self._api.deadline(timeout))
        except RateLimited:
            raise
        except (APIError, TransportError) as error:
            if isinstance(error, TransportError) and not error.sent:
                raise
            # What the answer to a late cancel looks like is not documented, and a lost one may have been carried out.
            logger.debug("cancel of task %s: %s", single_line(task_id), error)
            status = await self._status_in_spite_of(error, task_id, timeout)
        else:
            if status == TaskStatus.CANCEL:
                self._registry.observe(task_id, status)
                self._tracker.observe(task_id, status)
            else:
                status = await self.get_status(task_id, timeout=timeout)
        return CancelResult(task_id=task_id, cancelled=status == TaskStatus.CANCEL, status=status)

    async def _status_in_spite_of(
        self, error: APIError | TransportError, task_id: str, timeout: float | None
    ) -> TaskStatus:
        """The status of a task whose cancel has failed, unless it can still be cancelled."""
        try:
            status = await self.get_status(task_id, timeout=timeout)
        except (APIError, TransportError):
            raise error from None
        if status == TaskStatus.SUBMITTED:
            # Not since it was too late.
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
        http: aiohttp.ClientSession | None = None,
    ) -> list[Downloaded]:
        """Download every finished video of this key that the service still has, into one folder.

        The one goes first that the service deletes first. See `aivideomaker_async.download_all`, also for what happens
        to files that are there already and to downloads that break off.

        Args:
            directory: the folder. It is made if it is not there.
            concurrency: how many are downloaded at once.
            overwrite: whether files that are already there are replaced.
            name: gives the name of a video's file in the folder; by default `<id>.mp4`.
            progress: called with the video, the bytes that are there so far, and the bytes expected.
            timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
            http: an aiohttp session whose connections and proxies to use; by default the client's, if it was given one.

        Returns:
            What became of each, the newest task first.

        Raises:
            DownloadError: the folder cannot be made. What goes wrong with a video is in its outcome.
            AIVideoMakerError: the tasks cannot be listed: an `APIError`, `TransportError` or `ConfigurationError`.
        """
        completed = (task for task in await self.list_tasks() if task.status == TaskStatus.COMPLETED and task.url)
        videos = [Video.of(task, allow_private=self._is_private) for task in completed]
        # The service's clock and this machine's may be days apart, and none is skipped that one of them calls alive.
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
            http=self._http if http is None else http,
        )

    # --- account -------------------------------------------------------------------------------------

    async def account(self, *, timeout: float | None = None) -> Account:
        """Balance, guardrails and models of the account (2026-09).

        Args:
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            EndpointNotFound: a service of the 2026-03 revision does not have this.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        return await self._submits.account(timeout)

    async def quote(self, spec: SpecLike, *, timeout: float | None = None) -> Quote:
        """The price of a spec, as the service computes it; costs nothing (2026-09).

        Args:
            spec: what would be generated. An image travels as for a submit.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is wrong, or its image cannot be read.
            EndpointNotFound: a service of the 2026-03 revision does not have this.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        return await self._submits.quote(as_spec(spec), timeout)

    async def price(self, spec: SpecLike, *, timeout: float | None = None) -> Price:
        """What a spec costs: the service's quote, or a table's estimate where the service has no quotes.

        Args:
            spec: what would be generated.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is wrong, or its image cannot be read.
            UnknownPrice: the service has no quotes, and the table no price.
            AIVideoMakerError: the service refuses to tell, or cannot be asked.
        """
        return await self._submits.price(as_spec(spec), timeout)

    def statistics(self) -> ClientStatistics:
        """What the client is doing at this moment."""
        return ClientStatistics(
            watched=self._tracker.watched,
            polls=self._tracker.polls,
            limiter=self._api.limiter.statistics(),
            clock_offset=self._api.clock_offset(),
        )

    @property
    def base_url(self) -> str:
        """Where the service is: scheme, host and port, and perhaps a path."""
        return self._api.settings.base_url

    @property
    def limiter(self) -> Limiter:
        """What keeps the queries of this client within the service's limit."""
        return self._api.limiter

    # --- for the submits -----------------------------------------------------------------------------

    async def _buy(
        self,
        spec: VideoSpec | OtherModel,
        key: IdempotencyKey,
        *,
        hook: Secret | None = None,
        max_credits: int | None = None,
        budget: Budget | None = None,
        timeout: float | None = None,
    ) -> VideoTask:
        result = await self._submits.submit(
            spec, key, webhook_url=hook, max_credits=max_credits, budget=budget, timeout=timeout
        )
        length = spec.seconds if isinstance(spec, VideoSpec) else video_seconds(spec.body)
        # The client may have been closed meanwhile: the task has its handle all the same.
        now = asyncio.get_running_loop().time()
        state = self._tracker.submitted(
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
        now = self._api.lifecycle.check_usable().time()
        state = self._tracker.submitted(result.answer, error.model, now=now, details=result.details)
        return VideoTask(self._handles, state)

    async def _unless_cancelled(
        self, submit: Coroutine[Any, Any, VideoTask], key: IdempotencyKey, on_cancel: OnCancel
    ) -> VideoTask:
        if on_cancel == "leave":
            return await submit
        return await submit_or_cancel(
            submit,
            lambda: self._submits.is_in_flight(key.text),
            on_unknown=self._submits.report_unsettled,
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
        """Ask the service soon, since a webhook delivery came; from any thread."""
        self._api.lifecycle.call_soon(partial(self._tracker.wake, may_be_end=may_be_end))


class _HandleContext:
    """What the handles of a client need of it: see `TaskContext`. It keeps the client alive, as handles must."""

    __slots__ = ("_client", "cancel", "get_status", "get_task", "lifecycle", "tracker")

    def __init__(self, client: AIVideoMaker) -> None:
        self._client = client
        self.lifecycle: ClientLifecycle = client._api.lifecycle
        self.tracker: TaskTracker = client._tracker
        self.get_status = client.get_status
        self.get_task = client.get_task
        self.cancel = client.cancel

    def wait_limit(self, timeout: float | None) -> float:
        return self._client._wait_timeout if timeout is None else validation.seconds_or_inf("timeout", timeout)

    def hide_key_in(self, text: str) -> str:
        return self._client._api.settings.key.hide_in(text)

    def video(self, details: TaskDetails) -> Video:
        return Video.of(details, allow_private=self._client._is_private)
