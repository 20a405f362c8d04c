"""A simulator in a thread of its own, for callers that have no event loop or another one."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Self, TypedDict, TypeVar, Unpack

from attrs import frozen

from .fault_kinds import FaultKind
from .faults import Fault, FaultArguments
from .history import History
from .quota import Counting
from .server import RetryAfter
from .simulator import Idempotency, Simulator
from .timing import Durations
from .views import Arrival, Delivery, SimulatedTask, Statistics

T = TypeVar("T")

_PATIENCE_SECONDS = 30.0
"""Real seconds to wait for the other thread: far more than anything there takes."""


class Options(TypedDict, total=False):
    """The arguments of `Simulator`."""

    host: str
    port: int
    speed: float
    revision: str
    credits: int
    limit: int | None
    window: float
    api_key: str | None
    durations: Durations | None
    seed: int | None
    clock: Callable[[], float] | None
    epoch: datetime | None
    counting: Counting
    count_rejected: bool
    retry_after: RetryAfter
    late_cancel: int
    list_limit: int | None
    history: History
    list_lag: float
    lookup_lag: float
    clock_skew: float
    skew_date: bool
    idempotency: Idempotency | None
    generation_limit: int | None
    daily_credit_limit: int | None
    credit_warning_at: int | None
    supported_models: Collection[str] | None
    ranges: bool
    render: bool


@frozen
class _Running:
    simulator: Simulator
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


class ThreadedSimulator:
    """A `Simulator` that lives in a thread; its attributes and controls may be used anywhere.

    Takes the arguments of `Simulator`. A context manager, or `start` and `close`. All but
    `url` and `api_key` blocks for the moment that the other thread needs to answer, and
    returns a copy. A test that forbids every blocking call in its event loop asks by way of
    `asyncio.to_thread`.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        self._options = options
        self._started: Future[_Running] = Future()
        self._thread = threading.Thread(target=self._run, name="aivideomaker-simulator", daemon=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ThreadedSimulator {self._call(lambda simulator: repr(simulator))}>"

    def start(self) -> None:
        """Start, and return when it listens. Raises what `Simulator` raises."""
        self._thread.start()
        self._started.result(_PATIENCE_SECONDS)

    def close(self) -> None:
        """Stop, and return when the thread has ended. What it shows stays readable."""
        if self._started.done() and self._started.exception() is None:
            running = self._started.result()
            # The loop may be closed already.
            with contextlib.suppress(RuntimeError):
                running.loop.call_soon_threadsafe(running.stop.set)
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)

    @property
    def url(self) -> str:
        """The base URL."""
        return self._running().simulator.url

    @property
    def api_key(self) -> str:
        """The only valid key."""
        return self._running().simulator.api_key

    @property
    def credits(self) -> int:
        """The balance now, in credits."""
        return self._call(lambda simulator: simulator.credits)

    @property
    def requests(self) -> list[Arrival]:
        """The last arrivals."""
        return self._call(lambda simulator: list(simulator.requests))

    @property
    def deliveries(self) -> list[Delivery]:
        """The last webhook deliveries."""
        return self._call(lambda simulator: list(simulator.deliveries))

    @property
    def tasks(self) -> Mapping[str, SimulatedTask]:
        """The tasks by their ids, oldest first, as they are now."""
        return self._call(lambda simulator: dict(simulator.tasks))

    def statistics(self) -> Statistics:
        """Return the counts since the start."""
        return self._call(lambda simulator: simulator.statistics())

    def advance(self, seconds: float) -> None:
        """Skip simulated seconds. See `Simulator.advance`."""
        self._call(lambda simulator: simulator.advance(seconds))

    def finish(self, task_id: str) -> None:
        """Complete a task now. See `Simulator.finish`."""
        self._call(lambda simulator: simulator.finish(task_id))

    def fail(self, task_id: str, message: str | None = None) -> None:
        """Let a task fail now. See `Simulator.fail`."""
        self._call(lambda simulator: simulator.fail(task_id, message))

    def set_status(self, task_id: str, status: str) -> None:
        """Put a task into any status. See `Simulator.set_status`."""
        self._call(lambda simulator: simulator.set_status(task_id, status))

    def fault(self, kind: FaultKind, **arguments: Unpack[FaultArguments]) -> Fault:
        """Let requests go wrong from now on. See `Simulator.fault`.

        The fault that is returned may be used from any thread. A function given as `on` is called in the simulator's.
        """
        return self._call(lambda simulator: simulator.fault(kind, **arguments))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._call(lambda simulator: simulator.clear_faults())

    def outage(self, seconds: float) -> None:
        """Be away for so many real seconds. See `Simulator.outage`."""
        self._call(lambda simulator: simulator.outage(seconds))

    def _call(self, access: Callable[[Simulator], T]) -> T:
        running = self._running()
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(access(running.simulator))
            except Exception as error:  # noqa: BLE001 - it belongs to the thread that asked
                answer.set_exception(error)

        try:
            running.loop.call_soon_threadsafe(run)
        except RuntimeError:
            # The loop is closed, so nobody else uses the simulator now.
            run()
        return answer.result(_PATIENCE_SECONDS)

    def _running(self) -> _Running:
        if not self._started.done():
            raise RuntimeError("the simulator has not been started")
        return self._started.result()

    def _run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        stop = asyncio.Event()
        try:
            simulator = Simulator(**self._options)
            await simulator.start()
        except Exception as error:  # noqa: BLE001 - it belongs to the thread that started this one
            self._started.set_exception(error)
            return
        try:
            self._started.set_result(_Running(simulator, asyncio.get_running_loop(), stop))
            await stop.wait()
        finally:
            await simulator.aclose()
