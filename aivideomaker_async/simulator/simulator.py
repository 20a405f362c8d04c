"""The simulator itself: its start and end, its controls and what it shows."""

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Literal, Self, Unpack

from aiohttp import web
from attrs import evolve

from .contract import revision as revision_named
from .fault_kinds import FaultDetails, FaultKind, check_number
from .faults import Fault, Faults, On, Times
from .gallery import Gallery
from .history import History, old_tasks
from .listener import Listener
from .listing import Listing
from .options import check_options
from .quota import Counting, Quota
from .server import LONGEST_LINE, RetryAfter, Server
from .timing import Clock, Durations
from .views import Arrival, Delivery, Statistics, TaskViews
from .webhook import Webhooks
from .wire import Scribe
from .world import World

Idempotency = Literal["ignored", "kept"]
"""What becomes of an `Idempotency-Key`."""

_KEPT_RECORDS = 10_000
_SHUTDOWN_SECONDS = 1.0


class Simulator:
    """A server of the AI Video Maker API on loopback, in this event loop.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        speed: how many simulated seconds pass in a real one. It holds for the tasks, the times
            they tell, the 24 hours of a file and the window of the limit.
        revision: the contract that is spoken.
        credits: the balance at the start.
        limit: queries that one address may send in any window; None for no limit.
        window: its length in simulated seconds.
        api_key: the only valid key; random by default.
        durations: simulated seconds `(in the queue, of work)` for all tasks, for each model, or
            as a function of the model and the seconds of video; drawn by default.
        seed: makes ids and durations the same in every run.
        clock: real seconds from any origin; the event loop's time by default.
        epoch: the wall time of the start; now by default.
        counting: how the limit counts: in an exact sliding window, in fixed windows, or in the
            weighted two windows of common edge limiters.
        count_rejected: whether a query answered 429 counts against the limit as well.
        retry_after: whether `Retry-After` tells seconds or a date.
        late_cancel: HTTP status of the answer to a cancel that comes too late; 200 answers with
            the status the task has.
        list_limit: how many tasks `GET /tasks` shows, the newest; None for all.
        history: how many finished tasks the account has from the 30 days before the start, of all
            models mixed, or a mapping of how many of each model. They were paid before; the files
            of most have expired.
        list_lag: by how many simulated seconds `GET /tasks` lags behind: it shows what was true
            then, so a new task appears late.
        lookup_lag: for how many simulated seconds after its submit the details and the status of
            a task are answered 404.
        clock_skew: by how many seconds the clock of the server is wrong: all times that it tells
            are shifted by them, the `Date` header too.
        skew_date: False leaves `Date` right, and with it a `Retry-After` that is a date.
        idempotency: whether an `Idempotency-Key` is "kept", so that a repeated submit gets the
            task of the first one and is not charged, or "ignored".
        ranges: whether files are served in parts; False answers every `Range` with the whole.
        render: whether videos are rendered; False serves one bundled clip for all of them.

    A prompt with `[fail]` or `[fail: a reason]` in it makes its task fail.

    Raises:
        ValueError: an option is wrong; it names which, and what is allowed.
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
        retry_after: RetryAfter = "seconds",
        late_cancel: int = 400,
        list_limit: int | None = None,
        history: History = 0,
        list_lag: float = 0.0,
        lookup_lag: float = 0.0,
        clock_skew: float = 0.0,
        skew_date: bool = True,
        idempotency: Idempotency = "ignored",
        ranges: bool = True,
        render: bool = True,
    ) -> None:
        check_options(locals(), lambda: revision_named(revision).models)
        self.host = host
        self.api_key = api_key or f"ak_{secrets.token_hex(16)}"
        self.requests: deque[Arrival] = deque(maxlen=_KEPT_RECORDS)
        """The last arrivals, in the order in which they were answered."""
        self.deliveries: deque[Delivery] = deque(maxlen=_KEPT_RECORDS)
        """The last webhook deliveries, in the order in which they ended."""
        self._port = port
        self._base_clock = clock
        self._clock = Clock(speed, epoch, clock_skew)
        self._world = World(credits, random.Random(seed), durations)
        spoken = evolve(revision_named(revision), idempotency=idempotency == "kept")
        self._world.remember(old_tasks(history, spoken, durations, self._world))
        self._scribe = Scribe(self._clock.told, keys=spoken.idempotency)
        self._server = Server(
            api_key=self.api_key,
            revision=spoken,
            clock=self._clock,
            world=self._world,
            quota=Quota(limit, window, counting, count_rejected),
            scribe=self._scribe,
            listing=Listing(self._world, self._scribe),
            gallery=Gallery(render=render),
            webhooks=Webhooks(self._clock, self.deliveries),
            faults=Faults(seed),
            arrivals=self.requests,
            late_cancel=late_cancel,
            retry_after=retry_after,
            list_limit=list_limit,
            list_lag=list_lag,
            lookup_lag=lookup_lag,
            skew_date=skew_date,
            ranges=ranges,
        )
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self.tasks = TaskViews(self._world, self._clock, self._scribe)
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
        where = self._scribe.base_url or "not started"
        return f"<Simulator {where}, {len(self.tasks)} tasks, {self.credits} credits>"

    async def start(self) -> None:
        """Listen. Raises `OSError`, which names the address, when that cannot be done."""
        if self._runner is not None:
            raise RuntimeError("a simulator starts only once")
        self._runner = web.AppRunner(
            self._server.application(),
            access_log=None,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101
        self._listener = Listener(self._runner.server)
        try:
            self._scribe.base_url = base_url(*await self._listener.start(self.host, self._port))
        except OSError:
            await self._runner.cleanup()
            raise
        self._clock.start(self._base_clock or asyncio.get_running_loop().time)

    async def aclose(self) -> None:
        """Stop. No connection, task or thread is left; what it shows stays readable."""
        if self._runner is None or self._listener is None:
            return
        listener, self._listener = self._listener, None
        self._server.mischief.exchanges.close()
        await listener.aclose()
        await self._runner.cleanup()
        await self._server.webhooks.aclose()
        await self._server.gallery.aclose()
        self._clock.stop()

    @property
    def url(self) -> str:
        """The base URL, such as `http://127.0.0.1:40123`. Known once it has started."""
        if not self._scribe.base_url:
            raise RuntimeError("the simulator has no URL before it has started")
        return self._scribe.base_url

    @property
    def credits(self) -> int:
        """The balance now, in credits."""
        return self._world.balance(self._clock.now())

    def statistics(self) -> Statistics:
        """Return the counts since the start."""
        now = self._clock.now()
        self._world.balance(now)
        quota = self._server.quota
        return Statistics(
            requests=self._server.requests,
            queries=quota.queries,
            rejected=quota.rejected,
            worst_window=quota.worst_window,
            bytes_sent=self._server.bytes_sent,
            tasks=len(self._world.tasks),
            by_status=self._world.count(now),
            credits_charged=self._world.charged,
            credits_refunded=self._world.refunded,
            faults=self._server.faults.hits,
        )

    # Control. All of it takes effect at once, without awaiting.

    def advance(self, seconds: float) -> None:
        """Skip simulated seconds: tasks go on, files expire, the window of the limit moves."""
        self._clock.advance(seconds)
        self._server.webhooks.run_due()

    def finish(self, task_id: str) -> None:
        """Complete a task now.

        Raises `KeyError` for an unknown id, `ValueError` when the task has ended before.
        """
        self._server.webhooks.changed(self._world.finish(self._known(task_id), self._clock.now()))

    def fail(self, task_id: str, message: str | None = None) -> None:
        """Let a task fail now and refund it. `message` is the error that its output tells.

        Raises `KeyError` for an unknown id, `ValueError` when the task has ended before.
        """
        task = self._world.fail(self._known(task_id), message, self._clock.now())
        self._server.webhooks.changed(task)

    def set_status(self, task_id: str, status: str) -> None:
        """Put a task into any status, also one that the API does not have or a step back.

        It stays there until it is changed again. FAILED and CANCEL refund. Raises `KeyError`
        for an unknown id.
        """
        task = self._world.set_status(self._known(task_id), status, self._clock.now())
        self._server.webhooks.changed(task)

    def fault(
        self,
        kind: FaultKind,
        *,
        on: On = None,
        task_id: str | None = None,
        model: str | None = None,
        after: int = 0,
        times: Times = ...,
        probability: float = 1.0,
        **details: Unpack[FaultDetails],
    ) -> Fault:
        """Let requests go wrong from now on. docs/simulator.md has the kinds and their details in a table.

        A request is hit by one fault at most: by that which was added first, of those that it matches and whose turn
        it is. So faults that are added one after the other happen one after the other.

        Args:
            kind: what goes wrong.
            on: which requests: "submit", "list", "details", "status", "cancel", "query" for all three queries, "any"
                for all calls of the API (the default), "video" or "upload" for files; or a function of the method and
                the path (percent-encoded) that tells whether a request is meant.
            task_id: only requests for this task.
            model: only submits to this model, and requests for tasks of it.
            after: so many matching requests pass first.
            times: how many requests are hit; None for no end. By default one, or no end with a `probability`.
            probability: how likely a matching request is hit. The draws repeat with the simulator's `seed`.
            **details: `acted` (whether the server carries out the request all the same) and what else the kind takes.

        Returns:
            The fault, which counts its `hits`, and ends with `remove()` or as a context manager.

        Raises:
            ValueError: an argument is wrong; it names which, and what is allowed.
        """
        return self._server.faults.add(
            kind, on=on, task_id=task_id, model=model, after=after, times=times, probability=probability, **details
        )

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._server.faults.clear()

    def outage(self, seconds: float) -> None:
        """Be away for so many real seconds, by the event loop's clock, as when a server is restarted.

        Open connections break and new ones are refused; tasks go on. Outages that overlap are one, until the last ends.
        Raises `RuntimeError` when it is not running.
        """
        check_number("seconds", seconds)
        if self._listener is None:
            raise RuntimeError("a simulator has outages only while it runs")
        self._listener.pause(seconds)

    def _known(self, task_id: str) -> str:
        if task_id not in self._world.tasks:
            raise KeyError(task_id)
        return task_id


def base_url(host: str, port: int) -> str:
    """Return the URL of a server at this address; one of IPv6 needs brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def serve(
    *,
    port: int = 0,
    speed: float = 1.0,
    revision: str = "2026-03",
    credits: int = 10_000,  # noqa: A002 - the API's word
    limit: int | None = 60,
    idempotency: Idempotency = "ignored",
    on_ready: Callable[[Simulator], None] | None = None,
) -> None:
    """Run a simulator until this is cancelled. `on_ready` gets it as soon as it listens."""
    async with Simulator(
        port=port, speed=speed, revision=revision, credits=credits, limit=limit, idempotency=idempotency
    ) as simulator:
        if on_ready is not None:
            on_ready(simulator)
        await asyncio.get_running_loop().create_future()
