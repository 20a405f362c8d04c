"""The command in this process, against a simulator or a scripted service in a thread of its own."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

import pytest
from attrs import define, field, frozen

from aivideomaker_async import AIVideoMaker, RateLimiter, VideoSpec
from aivideomaker_async.cli.demo import png_image
from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.support.scripted import Arrival, Handler, Reply, ScriptedService, scripted

TIMEOUT_S = 20.0
"""How long to wait for something that should happen at once."""

T2V = ("generate", "t2v", "--prompt", "A sunset", "--aspect-ratio", "16:9", "--duration", "5")


@frozen
class Ran:
    """One run of the command."""

    code: int
    out: str
    err: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines; fails when there is anything else on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command(Protocol):
    def __call__(self, *argv: str) -> Ran: ...


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command, and return its exit code and its output."""

    def run(*argv: str) -> Ran:
        capsys.readouterr()
        code = main(argv)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty polls a second instead of one: the pace of the limit is tested elsewhere."""
    monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", lambda origin: RateLimiter(1200, 60.0))


@pytest.fixture(autouse=True)
def ctrl_c_works() -> Iterator[None]:
    """Also where the tests run in the background of a shell, which ignores SIGINT for its background processes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# --- services ----------------------------------------------------------------------------------------


@pytest.fixture
def serve(aivideomaker_simulator_factory: SimulatorFactory, monkeypatch: pytest.MonkeyPatch) -> SimulatorFactory:
    """Start simulators whose tasks are finished at once. The environment names the last one."""

    def start(**options: Any) -> ThreadedSimulator:
        options = {"limit": None, "render": False, "speed": 1, "durations": (0, 0), **options}
        simulator = aivideomaker_simulator_factory(**options)
        monkeypatch.setenv("AIVIDEO_API_KEY", simulator.api_key)
        monkeypatch.setenv("AIVIDEO_BASE_URL", simulator.url)
        return simulator

    return start


@pytest.fixture
def service(serve: SimulatorFactory) -> ThreadedSimulator:
    """A service of the revision 2026-03, which has no quotes, whose tasks are finished at once."""
    return serve()


@pytest.fixture
def september(serve: SimulatorFactory) -> ThreadedSimulator:
    """A service of the revision 2026-09 with 415 credits, whose tasks are finished at once."""
    return serve(revision="2026-09", credits=415)


@pytest.fixture
def slow_service(serve: SimulatorFactory) -> ThreadedSimulator:
    """A service whose tasks are in PROGRESS at once, and end when the test ends them."""
    return serve(durations=(0, 100_000))


def paths(simulator: ThreadedSimulator) -> list[str]:
    """Return method and path of each request, without /api/v1."""
    return [f"{one.method} {one.path.removeprefix('/api/v1')}" for one in simulator.requests]


class ScriptedThread:
    """A scripted service in a thread of its own, for answers that no simulator gives. A context manager."""

    def __init__(self) -> None:
        self.api_key = "ak_0123456789abcdef"
        self.handler: Handler = lambda arrival: Reply(404, {"status": "FAILED", "message": "Not found"})
        self._ready = threading.Event()
        self._service = ScriptedService(self.handler)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(TIMEOUT_S)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(TIMEOUT_S)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with scripted(lambda arrival: self.handler(arrival)) as self._service:
            self._ready.set()
            await self._stop.wait()

    @property
    def url(self) -> str:
        return self._service.url

    @property
    def arrivals(self) -> list[Arrival]:
        return list(self._service.arrivals)


@pytest.fixture
def scripted_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedThread]:
    """A scripted service. The environment names it."""
    with ScriptedThread() as service:
        monkeypatch.setenv("AIVIDEO_API_KEY", service.api_key)
        monkeypatch.setenv("AIVIDEO_BASE_URL", service.url)
        yield service


@define
class ClientCalls:
    """The arguments with which the command has called its client."""

    priced: list[VideoSpec] = field(factory=list[VideoSpec])
    submitted: list[VideoSpec] = field(factory=list[VideoSpec])
    max_credits: list[int | None] = field(factory=list["int | None"])


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> ClientCalls:
    """Record the calls of `price` and `submit`, which are made all the same."""
    calls, price, submit = ClientCalls(), AIVideoMaker.price, AIVideoMaker.submit

    async def recorded_price(client: AIVideoMaker, spec: VideoSpec, **options: Any) -> object:
        calls.priced.append(spec)
        return await price(client, spec, **options)

    async def recorded_submit(client: AIVideoMaker, spec: VideoSpec, **options: Any) -> object:
        calls.submitted.append(spec)
        calls.max_credits.append(options["max_credits"])
        return await submit(client, spec, **options)

    monkeypatch.setattr(AIVideoMaker, "price", recorded_price)
    monkeypatch.setattr(AIVideoMaker, "submit", recorded_submit)
    return calls


@pytest.fixture
def image(tmp_path: Path) -> str:
    """The name of an image file."""
    path = tmp_path / "picture.png"
    path.write_bytes(png_image(8, 8))
    return str(path)


# --- something that happens while the command runs ---------------------------------------------------


class When(Protocol):
    def __call__(self, is_so: Callable[[], object], then: Callable[[], object]) -> None: ...


@pytest.fixture
def when() -> Iterator[When]:
    """Do something in a thread as soon as something else is so."""
    threads: list[threading.Thread] = []
    over = threading.Event()

    def watch(is_so: Callable[[], object], then: Callable[[], object]) -> None:
        def wait() -> None:
            try:
                until(is_so, over)
            finally:
                # Also when it never was so: the test must fail, not hang.
                if not over.is_set():
                    then()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield watch
    over.set()
    for thread in threads:
        thread.join(TIMEOUT_S)


def until(is_so: Callable[[], object], over: threading.Event | None = None) -> None:
    """Wait until something is so; fail when that takes too long."""
    over = over or threading.Event()
    for _ in range(int(TIMEOUT_S * 100)):
        # A simulator may not answer in time on a machine under load.
        with suppress(TimeoutError):
            if is_so():
                return
        if over.wait(0.01):
            return
    raise AssertionError("it never happened")


def polled(simulator: ThreadedSimulator) -> Callable[[], bool]:
    """Return whether the status of a task has been polled."""
    return lambda: any(arrival.path.endswith("/status") for arrival in simulator.requests)


def finish_all(simulator: ThreadedSimulator) -> Callable[[], None]:
    """Return a function that completes every task."""

    def finish() -> None:
        for task_id in simulator.tasks:
            simulator.finish(task_id)

    return finish


def interrupt() -> None:
    """Press Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


# --- terminals ---------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A terminal that remembers its output."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Make standard error a terminal of 80 columns, when it is called."""
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def connect() -> Terminal:
        # Not before: pytest replaces the streams when the test begins.
        monkeypatch.setattr("sys.stderr", screen)
        return screen

    return connect


class Person(Protocol):
    def __call__(self, answer: bytes, /, *, before: bytes = b"") -> Terminal: ...


@pytest.fixture
def person(terminal: Callable[[], Terminal], when: When, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """A person at the terminal, who answers the first question, and types `before` it; b"" is no answer."""
    if sys.platform == "win32":
        pytest.skip("there are no pseudo-terminals")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "rb", buffering=0, closefd=False) as keyboard:

        def sit_down(answer: bytes, /, *, before: bytes = b"") -> Terminal:
            screen = terminal()
            monkeypatch.setattr("sys.stdin", keyboard)
            os.write(ours, before)
            if answer:
                when(lambda: "[y/N]" in screen.getvalue(), lambda: os.write(ours, answer))
            return screen

        yield sit_down
    os.close(ours)
    os.close(theirs)
