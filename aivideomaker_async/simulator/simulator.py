"""The simulator itself: its start and end, its controls and what it shows."""

import asyncio
import random
import secrets
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime
from types import TracebackType
from typing import Literal, Self

from aiohttp import web
from attrs import evolve

from .contract import Revision
from .contract import revision as revision_named
from .controls import Controls
from .faults import Faults
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
from .wire import Guardrails, Scribe
from .world import World

Idempotency = Literal["ignored", "kept"]
"""What becomes of an `Idempotency-Key`."""

_KEPT_RECORDS = 10_000
_SHUTDOWN_SECONDS = 1.0


class Simulator(Controls):
    """A server of the AI Video Maker API on loopback, in this event loop.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        speed: how many simulated seconds pass in a real one. It holds for the tasks, the times
            they tell, the 24 hours of a file and the window of the limit.
        revision: the contract that is spoken, "2026-03" or "2026-09".
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
            task of the first one and is not charged, or "ignored". By default it is kept from revision 2026-09 on.
        generation_limit: submits in 60 simulated seconds before one is answered 429; None for no limit.
        daily_credit_limit: credits that may be spent in 24 simulated hours before a submit is answered 402; None for
            no limit.
        credit_warning_at: the balance that the account tells as the one to warn at; None for none.
        supported_models: the names of models that the account tells, and that are not refused; None for all that the
            revision has.
        ranges: whether files are served in parts; False answers every `Range` with the whole.
        render: whether videos are rendered; False serves one bundled clip for all of them.

    A prompt with `[fail]` or `[fail: a reason]` in it makes its task fail, one with `[reject]` or `[reject: a reason]`
    is refused by moderation.

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
        idempotency: Idempotency | None = None,
        generation_limit: int | None = None,
        daily_credit_limit: int | None = None,
        credit_warning_at: int | None = None,
        supported_models: Collection[str] | None = None,
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
        self._world = World(credits, random.Random(seed), durations, daily_credit_limit)
        spoken = _spoken(revision, idempotency, supported_models)
        self._world.remember(old_tasks(history, revision_named(revision), durations, self._world))
        self._scribe = Scribe(self._clock.told, keys=spoken.idempotency, billing=spoken.billing)
        self._server = Server(
            api_key=self.api_key,
            revision=spoken,
            clock=self._clock,
            world=self._world,
            quota=Quota(limit, window, counting, count_rejected),
            generations=Quota(generation_limit),
            guardrails=Guardrails(
                models=tuple(spoken.models if supported_models is None else supported_models),
                daily_credits=daily_credit_limit,
                generations=generation_limit,
                warning_at=credit_warning_at,
            ),
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
        self._listener = None
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


def _spoken(name: str, idempotency: Idempotency | None, supported: Collection[str] | None) -> Revision:
    found = revision_named(name)
    if supported is not None:
        found = evolve(found, models={one: model for one, model in found.models.items() if one in supported})
    return found if idempotency is None else evolve(found, idempotency=idempotency == "kept")


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
    idempotency: Idempotency | None = None,
    on_ready: Callable[[Simulator], None] | None = None,
) -> None:
    """Run a simulator until this is cancelled. `on_ready` gets it as soon as it listens."""
    async with Simulator(
        port=port, speed=speed, revision=revision, credits=credits, limit=limit, idempotency=idempotency
    ) as simulator:
        if on_ready is not None:
            on_ready(simulator)
        await asyncio.get_running_loop().create_future()
