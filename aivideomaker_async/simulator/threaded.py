"""A simulator in a thread of its own, for callers without an event loop or with another one."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar, Unpack

from attrs import frozen

from .fault_kinds import FaultKind
from .faults import Fault, FaultArguments
from .options import SimulatorOptions
from .simulator import Simulator
from .views import Arrival, Delivery, SimulatedTask, Statistics

T = TypeVar("T")

_THREAD_TIMEOUT_S = 30.0
"""How long to wait for the other thread: far longer than any work there takes."""


@frozen
class _Running:
    simulator: Simulator
    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event


class ThreadedSimulator:
    """A `Simulator` in a thread of its own. Its attributes and controls may be used in any thread.

    Takes the arguments of `Simulator`. Use it as a context manager, or call `start` and `close`. All attributes but
    `url` and `api_key` block until the other thread has answered, and return a copy. A test that forbids blocking calls
    in its event loop uses them by way of `asyncio.to_thread`.
    """

    def __init__(self, **options: Unpack[SimulatorOptions]) -> None:
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
        """Start, and return when it listens. Raises the errors of `Simulator`."""
        self._thread.start()
        self._started.result(_THREAD_TIMEOUT_S)

    def close(self) -> None:
        """Stop, and return when the thread has ended. The views stay readable."""
        if self._started.done() and self._started.exception() is None:
            running = self._started.result()
            # The loop may be closed already.
            with contextlib.suppress(RuntimeError):
                running.loop.call_soon_threadsafe(running.stop.set)
        if self._thread.is_alive():
            self._thread.join(_THREAD_TIMEOUT_S)

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
        """The current balance, in credits."""
        return self._call(lambda simulator: simulator.credits)

    @property
    def requests(self) -> list[Arrival]:
        """The last requests."""
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
        """Let a task fail now, and refund it. See `Simulator.fail`."""
        self._call(lambda simulator: simulator.fail(task_id, message))

    def set_status(self, task_id: str, status: str) -> None:
        """Put a task into any status. See `Simulator.set_status`."""
        self._call(lambda simulator: simulator.set_status(task_id, status))

    def fault(self, kind: FaultKind, **arguments: Unpack[FaultArguments]) -> Fault:
        """Let requests go wrong from now on. See `Simulator.fault`.

        The returned fault may be used in any thread. A function `on` is called in the thread of the simulator.
        """
        return self._call(lambda simulator: simulator.fault(kind, **arguments))

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._call(lambda simulator: simulator.clear_faults())

    def outage(self, seconds: float) -> None:
        """Be away for some real seconds. See `Simulator.outage`."""
        self._call(lambda simulator: simulator.outage(seconds))

    def _call(self, access: Callable[[Simulator], T]) -> T:
        running = self._running()
        answer: Future[T] = Future()

        def run() -> None:
            try:
                answer.set_result(access(running.simulator))
            except Exception as error:  # noqa: BLE001 - raised in the thread that called
                answer.set_exception(error)

        try:
            running.loop.call_soon_threadsafe(run)
        except RuntimeError:
            # The loop is closed, so no other thread uses the simulator.
            run()
        return answer.result(_THREAD_TIMEOUT_S)

    def _running(self) -> _Running:
        if not self._started.done():
            raise RuntimeError("the simulator has not been started")
        return self._started.result()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        stop = asyncio.Event()
        try:
            simulator = Simulator(**self._options)
            await simulator.start()
        except Exception as error:  # noqa: BLE001 - raised in the thread that called `start`
            self._started.set_exception(error)
            return
        try:
            self._started.set_result(_Running(simulator, asyncio.get_running_loop(), stop))
            await stop.wait()
        finally:
            await simulator.aclose()
