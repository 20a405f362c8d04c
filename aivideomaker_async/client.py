"""The client: what users hold in their hands."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self
from urllib.parse import urlsplit

from attrs import frozen

from . import _checks
from ._core import answers, requests
from ._core.durations import video_length
from ._core.retry import RetryPolicy
from ._core.task_list import AllTasks
from .errors import (
    APIError,
    AuthenticationFailed,
    RateLimited,
    ServerError,
    TaskNotFound,
)
from .host_limiter import default_limiter
from .limiter import Limiter, LimiterStatistics
from .many import GenerateMany
from .media import load_image
from .observer import Observer
from .record import Record
from .session import Session, Settings
from .shared_limiter import SharedRateLimiter
from .specs import OtherModel, SpecLike, VideoSpec, as_spec
from .tasks import Account, CancelResult, Eta, Quote, SubmittedTask, TaskDetails, TaskStatus
from .video import Video
from .video_task import VideoTask
from .watcher import TaskWatcher

if TYPE_CHECKING:
    import aiohttp

    from .sharing import Sharing
    from .status_board import StatusBoard

__all__ = ["AIVideoMaker", "ClientStatistics"]

logger: Final = logging.getLogger(__name__)

DEFAULT_BASE_URL: Final = "https://aivideomaker.ai"


class HintTarget(Protocol):
    """What a client knows of a webhook receiver."""

    def bind(self, url: str, task_id: str) -> bool:
        """A submit with this webhook URL has become this task; returns whether the URL is the receiver's."""
        ...

    def release(self, task_id: str) -> None:
        """The task has ended."""
        ...

    def resolve(self, reference: str) -> None:
        """Another process has taken a delivery."""
        ...


@frozen(kw_only=True)
class ClientStatistics:
    """What a client was doing at one moment."""

    watched: int
    """Tasks that somebody waits for."""
    polls: int
    """Polls that the watcher has made."""
    limiter: LimiterStatistics


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
    ) -> None:
        from . import transport  # noqa: F401  (slow to import: better now than in the first request)

        url = _checks.base_url(base_url or os.environ.get("AIVIDEO_BASE_URL") or DEFAULT_BASE_URL)
        settings = Settings(
            base_url=url,
            key=_checks.key(api_key if api_key is not None else os.environ.get("AIVIDEO_API_KEY")),
            attempt_timeout=_checks.seconds("timeout", timeout),
            call_timeout=_checks.seconds("call_timeout", call_timeout),
            policy=RetryPolicy() if retries is None else retries,
        )
        self._wait_timeout = _checks.wait("wait_timeout", wait_timeout)
        origin = urlsplit(url).netloc.lower()
        if limiter is None:
            limiter = default_limiter(origin)
        elif isinstance(limiter, SharedRateLimiter):
            limiter = limiter.for_origin(origin)
        self._session = Session(settings, limiter=limiter, http=http)
        self._observer = Observer(service_time=self._session.service_time)
        self._watcher = TaskWatcher(self._session, self._observer)
        self._receivers: list[HintTarget] = []
        self._observer.ended = self._release
        self._sharing: Sharing | None = None
        if status_board is not None:
            from .sharing import Sharing

            self._sharing = Sharing(
                status_board,
                origin=urlsplit(url).netloc.lower(),
                key=settings.key,
                watcher=self._watcher,
                observer=self._observer,
                record=lambda task_id: self._record(task_id, float("-inf")),
                resolve=self._resolve,
            )
        self._records: weakref.WeakValueDictionary[str, Record] = weakref.WeakValueDictionary()

    def __repr__(self) -> str:
        state = "closed" if self._session.closed else "open"
        return f"<AIVideoMaker {self._session.settings.base_url} {state}>"

    async def __aenter__(self) -> Self:
        self._session.check_usable()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client. Who still waits gets a `ConfigurationError`; paid tasks go on. A second time does nothing.

        It may be called from another asyncio task than the one that opened the client.
        """
        # First of all: whoever is woken now must not submit another task on their way out.
        self._session.closed = True
        try:
            await self._watcher.aclose()
        finally:
            try:
                if self._sharing is not None:
                    await self._sharing.aclose()
            finally:
                await self._session.aclose()

    # --- generating ----------------------------------------------------------------------------------

    async def submit(
        self,
        spec: SpecLike | str,
        body: Mapping[str, object] | None = None,
        *,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        max_credits: int | None = None,
        timeout: float | None = None,
    ) -> VideoTask:
        """Submit a task. The service charges its credits now.

        Args:
            spec: what to generate; or the name of a model, with the fields of the request in `body`.
            body: the fields of the request under their wire names, when `spec` is a name.
            webhook_url: where the service shall tell of changes.
            idempotency_key: 8 to 128 characters that name this submit; by default a fresh one.
            max_credits: refuse when the price is higher (2026-09).
            timeout: seconds for the call with all its attempts; None for the client's `call_timeout`.

        Raises:
            InvalidSpec: the spec is wrong, or its image cannot be read. Nothing was sent.
            APIError: the service refuses, for example `InsufficientCredits`. Nothing was charged.
            ConnectFailed: the service cannot be reached. Nothing was sent.
            SubmitOutcomeUnknown: the answer was lost; the task may exist. It is never submitted twice.
            ConfigurationError: the client cannot be used, or an argument makes no sense.
        """
        checked = OtherModel(spec, {} if body is None else body) if isinstance(spec, str) else as_spec(spec)
        loop = self._session.check_usable()
        limit = None if timeout is None else _checks.seconds("timeout", timeout)
        request = requests.generate(
            checked.model,
            requests.write_body(checked, await load_image(checked)),
            idempotency_key=f"avm-{uuid.uuid4()}" if idempotency_key is None else idempotency_key,
            webhook_url=webhook_url,
            max_credits=max_credits,
        )
        answer = await self._session.call(request, answers.submitted, expected="taskId", timeout=limit)
        logger.info("submitted %s as task %s", checked.model, answer.task_id)
        return VideoTask(self, self._submitted(answer, checked, webhook_url, loop.time()))

    async def generate(
        self,
        spec: SpecLike,
        *,
        timeout: float | None = None,
        webhook_url: str | None = None,
        idempotency_key: str | None = None,
        max_credits: int | None = None,
    ) -> Video:
        """Submit a task and wait for its video: `submit`, then `result(timeout)`.

        Args:
            spec: what to generate.
            timeout: seconds to wait after the submit; None for the client's `wait_timeout`.
            webhook_url: as for `submit`.
            idempotency_key: as for `submit`.
            max_credits: as for `submit`.

        Raises:
            AIVideoMakerError: what `submit` and `VideoTask.result` raise. `WaitTimeout` carries the handle.
        """
        limit = self._wait_limit(timeout)
        task = await self.submit(
            spec, webhook_url=webhook_url, idempotency_key=idempotency_key, max_credits=max_credits
        )
        return await task.result(limit)

    def generate_many(
        self, specs: Iterable[SpecLike], *, max_active: int = 20, timeout: float | None = None
    ) -> GenerateMany:
        """Generate many videos, and give the outcome of each as it finishes: `async for outcome in ...`.

        One failure does not stop the others. Leaving the loop early submits nothing more; tasks that were submitted go
        on at the service.

        Args:
            specs: what to generate; taken one by one, so a generator of any length will do.
            max_active: how many tasks are submitted and not finished at any time.
            timeout: seconds to wait for each; None for the client's `wait_timeout`.
        """
        return GenerateMany(
            self, specs, max_active=_checks.count("max_active", max_active), timeout=self._wait_limit(timeout)
        )

    # --- tasks ---------------------------------------------------------------------------------------

    def task(self, task_id: str) -> VideoTask:
        """A handle for a task that exists, for example after a restart. No request is made.

        Raises:
            ConfigurationError: `task_id` can be no id.
        """
        return VideoTask(self, self._record(requests.check_task_id(task_id), float("-inf")))

    async def get_task(self, task_id: str, *, timeout: float | None = None) -> TaskDetails:
        """Everything that the service tells about a task.

        Args:
            task_id: its id.
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            TaskNotFound: the service knows no such task for this key.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        request = requests.task(task_id)
        details = await self._session.call(request, answers.task, expected="id", timeout=timeout)
        self._observe(task_id, details)
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
        request = requests.task_status(task_id)
        status = await self._session.call(request, answers.status, expected="status", timeout=timeout)
        self._observe(task_id, status)
        return status

    async def list_tasks(self, *, timeout: float | None = None) -> list[TaskDetails]:
        """All tasks of this key that the service lists, newest first.

        Args:
            timeout: seconds for the call; None for the client's `call_timeout`.

        Raises:
            AIVideoMakerError: an `APIError`, `TransportError` or `ConfigurationError`.
        """
        return (await self._session.read_list(requests.list_tasks(), AllTasks, timeout=timeout)).tasks

    async def cancel(self, task_id: str, *, timeout: float | None = None) -> CancelResult:
        """Cancel a task, which works only while it is SUBMITTED. Its credits are refunded in full.

        A cancel that comes too late is no error: the result says so, with the status.

        Args:
            task_id: its id.
            timeout: seconds for each of the one or two calls; None for the client's `call_timeout`.

        Raises:
            TaskNotFound: the service knows no such task for this key.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        status = None
        try:
            status = await self._session.call(
                requests.cancel(task_id), answers.cancelled, expected="taskId", timeout=timeout
            )
        except (AuthenticationFailed, TaskNotFound, RateLimited, ServerError):
            raise
        except APIError as error:
            logger.debug("cancel of task %s: %s", task_id, error)
        if status != TaskStatus.CANCEL:
            # Refused, or not cancelled: what an answer to a late cancel says is not documented, so the task is asked.
            status = await self.get_status(task_id, timeout=timeout)
        else:
            self._observe(task_id, status)
        return CancelResult(task_id=task_id, cancelled=status == TaskStatus.CANCEL, status=status)

    # --- account -------------------------------------------------------------------------------------

    async def account(self, *, timeout: float | None = None) -> Account:
        """Balance and guardrails of the account (2026-09).

        Raises:
            EndpointNotFound: a service of the 2026-03 revision does not have this.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        return await self._session.call(requests.account(), answers.account, expected="currentBalance", timeout=timeout)

    async def quote(self, spec: SpecLike, *, timeout: float | None = None) -> Quote:
        """The price of a spec, as the service computes it; costs nothing (2026-09).

        Raises:
            InvalidSpec: the spec is wrong, or its image cannot be read.
            EndpointNotFound: a service of the 2026-03 revision does not have this.
            AIVideoMakerError: any other `APIError`, `TransportError` or `ConfigurationError`.
        """
        checked = as_spec(spec)
        body = requests.write_body(checked, await load_image(checked))
        request = requests.quote_price(checked.model, body)
        return await self._session.call(request, answers.quote, expected="credits", timeout=timeout)

    def statistics(self) -> ClientStatistics:
        """What the client is doing at this moment."""
        return ClientStatistics(
            watched=self._watcher.watched, polls=self._watcher.polls, limiter=self._session.limiter.statistics()
        )

    # --- for the handles -----------------------------------------------------------------------------

    def _wait_limit(self, timeout: float | None) -> float:
        """The seconds that a wait may take: `timeout`, or the client's own when it is None."""
        return self._wait_timeout if timeout is None else _checks.wait("timeout", timeout)

    def _eta(self, record: Record) -> Eta | None:
        now = self._session.loop_time()
        return None if now is None else self._observer.eta(record, now)

    def _observe(self, task_id: str, answer: TaskStatus | TaskDetails) -> None:
        # What one caller hears, everyone who waits for this task hears.
        record = self._records.get(task_id)
        if record is None:
            return
        now = asyncio.get_running_loop().time()
        if isinstance(answer, TaskDetails):
            self._observer.take_details(record, answer, now, alone=True)
        else:
            self._observer.take_status(record, answer, now)
        self._watcher.observed(record)

    def _record(self, task_id: str, since: float) -> Record:
        record = self._records.get(task_id)
        if record is None:
            record = self._records[task_id] = Record(task_id, since)
        return record

    def _submitted(
        self, answer: SubmittedTask, spec: VideoSpec | OtherModel, webhook_url: str | None, now: float
    ) -> Record:
        record = self._record(answer.task_id, now)
        record.submitted, record.is_fresh = answer, True
        record.model = spec.model
        record.length = spec.seconds if isinstance(spec, VideoSpec) else video_length(spec.body)
        self._observer.submitted(record, answer.status, now)
        if webhook_url is not None:
            for receiver in self._receivers:
                record.has_webhook |= receiver.bind(webhook_url, record.task_id)
        return record

    # --- for webhook receivers, from any thread ------------------------------------------------------

    def _add_receiver(self, receiver: HintTarget) -> None:
        self._receivers.append(receiver)
        # Hints come from any thread, and need to know the loop of this client before it is first used.
        with suppress(RuntimeError):
            self._session.check_usable()

    def _release(self, record: Record) -> None:
        if record.has_webhook:
            for receiver in self._receivers:
                receiver.release(record.task_id)

    def _hint(self, task_id: str | None, *, urgent: bool) -> None:
        """A webhook says that something has happened: to this task, or (None) to one that is not known here."""
        self._session.soon(self._take_hint, task_id, urgent)

    def _take_hint(self, task_id: str | None, urgent: bool) -> None:
        record = None if task_id is None else self._records.get(task_id)
        if task_id is None or record is not None:
            self._watcher.hint(record, urgent=urgent)

    def _share_hint(self, reference: str) -> None:
        """A webhook came for a task that another process may wait for."""
        if self._sharing is not None:
            self._session.soon(self._sharing.hint, reference)

    def _resolve(self, reference: str) -> None:
        for receiver in self._receivers:
            receiver.resolve(reference)
