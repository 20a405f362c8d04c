"""The simulator: its start and end, its controls and its views."""

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack

from aiohttp import web
from attrs import evolve

from .contract import Revision, revision_named
from .fault_kinds import FaultDetails, FaultKind
from .faults import Fault, FaultOn, Faults, FaultTimes
from .history import History, old_tasks
from .listener import Listener
from .options import Idempotency, RetryAfterFormat, SimulatorOptions, check_options
from .quota import ClientQuota, Counting
from .response_bodies import Guardrails, TaskListWriter, TaskWriter
from .server import MAX_LINE_BYTES, Server
from .state import AccountState
from .timing import Clock, Durations
from .validation import check_number
from .video_store import VideoStore
from .views import Arrival, Delivery, Statistics, TaskViews
from .webhook_sender import WebhookSender

_MAX_RECORDS = 10_000
_SHUTDOWN_S = 1.0


class Simulator:
    """A server of the AI Video Maker API on loopback, in the running event loop.

    Seconds of the service are simulated: `speed` of them pass in each second of the clients. What the service reports,
    such as the creation time of a task or a `Retry-After`, is in the time of the clients.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        speed: how many times sooner everything happens: the steps of tasks, the end of the 24 hours of a file, of the
            windows of the limits, and of the pauses between the attempts of a webhook delivery.
        revision: the contract that is spoken, "2026-03" or "2026-09".
        credits: the balance at the start.
        limit: queries that one client address may send in any window; None for no limit.
        window: the length of the window, in simulated seconds.
        api_key: the only valid key; random by default.
        durations: simulated seconds `(in the queue, of work)` for all tasks, for each model, or as a function of the
            model and the seconds of video; drawn at random by default.
        seed: makes ids and durations the same in every run.
        clock: a function that returns the seconds of the clients from any origin; the event loop's time by default.
        epoch: the clients' wall time at the start; the current time by default.
        counting: how the limit counts: in an exact sliding window, in fixed windows, or in the weighted two windows of
            common edge limiters.
        count_rejected: whether a query answered 429 counts against the limit as well.
        retry_after: whether `Retry-After` is in seconds or a date.
        late_cancel: the HTTP status of the answer to a cancel that comes too late; 200 answers with the status that the
            task has.
        list_limit: how many tasks `GET /tasks` shows, the newest; None for all.
        history: how many finished tasks the account has from the 30 days before the start, of all models mixed, or a
            mapping of how many of each model. They were paid before; the files of most have expired.
        list_lag: by how many simulated seconds `GET /tasks` lags behind, so that a new task appears late.
        lookup_lag: for how many simulated seconds after its submit the details and the status of a task are answered
            404.
        late_files: for how many simulated seconds after a task is COMPLETED its file is still answered 404.
        link_lifetime: for how many simulated seconds the address of a video works. Then it is answered 403, and each
            answer that shows the task has a new one. None for addresses that stay.
        clock_skew: by how many seconds the clock of the service is wrong: all times that it reports are shifted, the
            `Date` header, too.
        skew_date: False leaves `Date` right, and with it a `Retry-After` that is a date.
        idempotency: whether an `Idempotency-Key` is "kept", so that a repeated submit gets the task of the first one
            and is not charged, or "ignored". By default it is kept from revision 2026-09 on.
        generation_limit: submits in 60 simulated seconds before one is answered 429; None for no limit.
        daily_credit_limit: credits that may be spent in 24 simulated hours before a submit is answered 402; None for no
            limit.
        credit_warning_at: the balance at which the account reports that its owner wants a warning; None for none.
        supported_models: the names of models that the account reports, and that are not refused; None for all models of
            the revision.
        strict_headers: whether all calls of the API need `Content-Type: application/json` and a `User-Agent` that
            begins with `Mozilla/5.0`, as an edge in front of the service may demand. Others are answered 403 with a
            page in HTML, before the key is looked at.
        ranges: whether files are served in parts; False answers every `Range` with the whole file.
        render: whether videos are rendered; False serves one bundled clip for all of them.

    A prompt with `[fail]` or `[fail: a reason]` in it makes its task fail. A prompt with `[reject]` or
    `[reject: a reason]` is refused by moderation.

    Raises:
        ValueError: an option is wrong; the message has its name, its value and what is allowed.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        revision: str = "2026-03",
        credits: int = 10_000,  # noqa: A002 - the API's word
        limit: int | None = 60,
        window: float = 60.0,
        api_key: str | None = None,
        durations: Durations | None = None,
        seed: int | None = None,
        clock: Callable[[], float] | None = None,
        epoch: datetime | None = None,
        counting: Counting = "sliding",
        count_rejected: bool = False,
        retry_after: RetryAfterFormat = "seconds",
        late_cancel: int = 400,
        list_limit: int | None = None,
        history: History = 0,
        list_lag: float = 0.0,
        lookup_lag: float = 0.0,
        late_files: float = 0.0,
        link_lifetime: float | None = None,
        clock_skew: float = 0.0,
        skew_date: bool = True,
        idempotency: Idempotency | None = None,
        generation_limit: int | None = None,
        daily_credit_limit: int | None = None,
        credit_warning_at: int | None = None,
        supported_models: Collection[str] | None = None,
        strict_headers: bool = False,
        ranges: bool = True,
        render: bool = True,
    ) -> None:
        check_options(locals(), lambda: revision_named(revision).models)
        self.host = host
        self.api_key = api_key or f"ak_{secrets.token_hex(16)}"
        self.requests: deque[Arrival] = deque(maxlen=_MAX_RECORDS)
        """The last requests, in the order in which they were answered."""
        self.deliveries: deque[Delivery] = deque(maxlen=_MAX_RECORDS)
        """The last webhook deliveries, in the order in which they ended."""
        self._port = port
        self._base_clock = clock
        self._clock = Clock(speed, epoch, clock_skew)
        self._state = AccountState(credits, random.Random(seed), durations, daily_credit_limit)
        self._state.add_history(old_tasks(history, revision_named(revision), durations, self._state))
        contract = _contract(revision, idempotency, supported_models)
        self._task_writer = TaskWriter(
            self._clock.reported,
            keys=contract.idempotency,
            billing=contract.billing,
            link_lifetime=link_lifetime,
        )
        self._server = Server(
            api_key=self.api_key,
            revision=contract,
            clock=self._clock,
            state=self._state,
            query_quota=ClientQuota(limit, window, counting, count_rejected),
            submit_quota=ClientQuota(generation_limit),
            guardrails=Guardrails(
                models=tuple(contract.models if supported_models is None else supported_models),
                daily_credits=daily_credit_limit,
                submits_per_minute=generation_limit,
                warning_at=credit_warning_at,
            ),
            task_writer=self._task_writer,
            list_writer=TaskListWriter(self._state, self._task_writer),
            videos=VideoStore(render=render),
            webhooks=WebhookSender(self._clock, self.deliveries),
            faults=Faults(seed),
            arrivals=self.requests,
            late_cancel=late_cancel,
            retry_after=retry_after,
            list_limit=list_limit,
            list_lag=list_lag,
            lookup_lag=lookup_lag,
            late_files=late_files,
            link_lifetime=link_lifetime,
            strict_headers=strict_headers,
            skew_date=skew_date,
            ranges=ranges,
        )
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self.tasks = TaskViews(self._state, self._clock, self._task_writer)
        """The tasks by their ids, oldest first, read-only."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        where = self._task_writer.base_url or "not started"
        return f"<Simulator {where}, {len(self.tasks)} tasks, {self.credits} credits>"

    async def start(self) -> None:
        """Listen. Raises `OSError` with the address when that is not possible."""
        if self._runner is not None:
            raise RuntimeError("a simulator starts only once")
        self._runner = web.AppRunner(
            self._server.application(),
            access_log=None,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            shutdown_timeout=_SHUTDOWN_S,
        )
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101
        self._listener = Listener(self._runner.server)
        try:
            self._task_writer.base_url = base_url(*await self._listener.start(self.host, self._port))
        except OSError:
            await self._runner.cleanup()
            raise
        self._clock.start(self._base_clock or asyncio.get_running_loop().time)

    async def aclose(self) -> None:
        """Stop. No connection, task or thread is left, and the views stay readable."""
        if self._runner is None or self._listener is None:
            return
        listener, self._listener = self._listener, None
        self._server.injector.exchanges.close()
        await listener.aclose()
        await self._runner.cleanup()
        await self._server.webhooks.aclose()
        await self._server.videos.aclose()
        self._clock.stop()

    # --- views ---------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:40123`. Raises `RuntimeError` before the start."""
        if not self._task_writer.base_url:
            raise RuntimeError("the simulator has no URL before it has started")
        return self._task_writer.base_url

    @property
    def credits(self) -> int:
        """The current balance, in credits."""
        return self._state.balance(self._clock.now())

    def statistics(self) -> Statistics:
        """Return the counts since the start."""
        now = self._clock.now()
        self._state.balance(now)
        quota = self._server.query_quota
        return Statistics(
            requests=self._server.requests,
            queries=quota.queries,
            rejected=quota.rejected,
            worst_window=quota.worst_window,
            bytes_sent=self._server.bytes_sent,
            tasks=len(self._state.tasks),
            by_status=self._state.count(now),
            credits_charged=self._state.charged,
            credits_refunded=self._state.refunded,
            faults=self._server.faults.hits,
        )

    # --- controls, which take effect at once ---------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Skip simulated seconds: tasks go on, files expire, the windows of the limits move.

        Raises `ValueError` when the seconds are negative or not finite.
        """
        self._clock.advance(seconds)
        self._server.webhooks.run_due()

    def finish(self, task_id: str) -> None:
        """Complete a task now.

        Raises `KeyError` for an unknown id, `ValueError` when the task has ended before.
        """
        self._server.webhooks.changed(self._state.finish(self._known(task_id), self._clock.now()))

    def fail(self, task_id: str, message: str | None = None) -> None:
        """Let a task fail now, and refund it. `message` is the error in its output.

        Raises `KeyError` for an unknown id, `ValueError` when the task has ended before.
        """
        task = self._state.fail(self._known(task_id), message, self._clock.now())
        self._server.webhooks.changed(task)

    def set_status(self, task_id: str, status: str) -> None:
        """Put a task into any status, also one that the API does not have or an earlier one.

        It stays there until it is changed again. FAILED and CANCEL refund. Raises `KeyError` for an unknown id.
        """
        task = self._state.set_status(self._known(task_id), status, self._clock.now())
        self._server.webhooks.changed(task)

    def fault(
        self,
        kind: FaultKind,
        *,
        on: FaultOn = None,
        task_id: str | None = None,
        model: str | None = None,
        after: int = 0,
        times: FaultTimes = ...,
        probability: float = 1.0,
        **details: Unpack[FaultDetails],
    ) -> Fault:
        """Let requests go wrong from now on. docs/simulator.md has tables of the kinds and their details.

        A request is hit by one fault at most: the first that was added, of those that match it and whose turn it is. So
        faults that are added one after the other happen one after the other.

        Args:
            kind: what goes wrong.
            on: which requests: "submit", "list", "details", "status", "cancel", "query" for all three queries of tasks,
                "account", "quote", "any" for all calls of the API (the default), "video" or "upload" for files; or a
                function of the method and the path (percent-encoded) that returns whether a request matches.
            task_id: only requests for this task.
            model: only submits to this model, quotes of it, and requests for tasks of it.
            after: how many matching requests pass first.
            times: how many requests are hit; None for no end. By default one, or no end with a `probability`.
            probability: how likely a matching request is hit. The draws repeat with the simulator's `seed`.
            **details: `acted` (whether the server carries out the request all the same) and the other details of the
                kind.

        Returns:
            The fault, which counts its `hits`, and ends with `remove()` or as a context manager.

        Raises:
            ValueError: an argument is wrong; the message has its name and what is allowed.
        """
        return self._server.faults.add(
            kind, on=on, task_id=task_id, model=model, after=after, times=times, probability=probability, **details
        )

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._server.faults.clear()

    def outage(self, seconds: float) -> None:
        """Be away for some real seconds, by the event loop's clock, as when a server is restarted.

        Open connections break and new ones are refused; tasks go on. Outages that overlap are one, until the last ends.
        Raises `RuntimeError` when the simulator is not running.
        """
        check_number("seconds", seconds)
        if self._listener is None:
            raise RuntimeError("a simulator has outages only while it runs")
        self._listener.pause(seconds)

    def _known(self, task_id: str) -> str:
        if task_id not in self._state.tasks:
            raise KeyError(task_id)
        return task_id


def _contract(name: str, idempotency: Idempotency | None, supported: Collection[str] | None) -> Revision:
    found = revision_named(name)
    if supported is not None:
        found = evolve(found, models={one: model for one, model in found.models.items() if one in supported})
    return found if idempotency is None else evolve(found, idempotency=idempotency == "kept")


def base_url(host: str, port: int) -> str:
    """Return the URL of a server at this address. An IPv6 address needs brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(*, on_ready: Callable[[Simulator], None] | None = None, **options: Unpack[SimulatorOptions]) -> None:
    """Run a simulator until this is cancelled.

    Args:
        on_ready: called with the simulator as soon as it listens.
        **options: the arguments of `Simulator`.

    Raises:
        ValueError: an option is wrong; the message has its name, its value and what is allowed.
        OSError: it cannot listen; the message has the address.
    """
    async with Simulator(**options) as simulator:
        if on_ready is not None:
            on_ready(simulator)
        await asyncio.get_running_loop().create_future()
