"""The command in this process, against a simulator in a thread of its own."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import pytest
from attrs import frozen

from aivideomaker_async import RateLimiter
from aivideomaker_async.cli.demo import png_image
from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.younger import YoungerService

PATIENCE = 20.0
"""Seconds after which something that should have happened has not."""

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
    """Runs the command and tells its exit code and what it wrote."""

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
    """Also where the tests run in the background of a shell, which ignores SIGINT for what it starts there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def serve(aivideomaker_simulator_factory: SimulatorFactory, monkeypatch: pytest.MonkeyPatch) -> SimulatorFactory:
    """Starts simulators; the environment points to the last one."""

    def start(**options: Any) -> ThreadedSimulator:
        options = {"limit": None, "render": False, **options}
        simulator = aivideomaker_simulator_factory(**options)
        monkeypatch.setenv("AIVIDEO_API_KEY", simulator.api_key)
        monkeypatch.setenv("AIVIDEO_BASE_URL", simulator.url)
        return simulator

    return start


@pytest.fixture
def service(serve: SimulatorFactory) -> ThreadedSimulator:
    """A service whose tasks are finished as soon as they are asked for."""
    return serve(speed=1, durations=(0, 0))


@pytest.fixture
def slow_service(serve: SimulatorFactory) -> ThreadedSimulator:
    """A service whose tasks are in PROGRESS at once, and end when the test says so."""
    return serve(speed=1, durations=(0, 100_000))


@pytest.fixture
def younger(monkeypatch: pytest.MonkeyPatch) -> Iterator[YoungerService]:
    """A service of the revision 2026-09; the environment points to it."""
    with YoungerService() as service:
        monkeypatch.setenv("AIVIDEO_API_KEY", service.api_key)
        monkeypatch.setenv("AIVIDEO_BASE_URL", service.url)
        yield service


@pytest.fixture
def image(tmp_path: Path) -> str:
    """The name of an image file."""
    path = tmp_path / "picture.png"
    path.write_bytes(png_image(8, 8))
    return str(path)


@pytest.fixture
def image_uri(image: str) -> str:
    """The same as it travels."""
    return "data:image/png;base64," + base64.b64encode(Path(image).read_bytes()).decode()


class Person(Protocol):
    def __call__(self, answer: bytes, /, *, before: bytes = b"") -> Terminal: ...


@pytest.fixture
def person(terminal: Callable[[], Terminal], when: When, monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    """Puts somebody at the terminal, who answers the first question, and types `before` it; b"" is silence."""
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


class When(Protocol):
    def __call__(self, so: Callable[[], object], then: Callable[[], object]) -> None: ...


@pytest.fixture
def when() -> Iterator[When]:
    """Does something in a thread as soon as something else is so."""
    threads: list[threading.Thread] = []
    over = threading.Event()

    def watch(so: Callable[[], object], then: Callable[[], object]) -> None:
        def wait() -> None:
            try:
                until(so, over)
            finally:
                # Also when it never was so: the test is to fail, and not to hang.
                if not over.is_set():
                    then()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield watch
    over.set()
    for thread in threads:
        thread.join(PATIENCE)


def until(so: Callable[[], object], over: threading.Event | None = None) -> None:
    """Wait until something is so; fails when that takes too long."""
    over = over or threading.Event()
    for _ in range(int(PATIENCE * 100)):
        # A machine that stood still for a while has not answered in time.
        with suppress(TimeoutError):
            if so():
                return
        if over.wait(0.01):
            return
    raise AssertionError("it never happened")


def polled(simulator: ThreadedSimulator) -> Callable[[], bool]:
    """Whether the status of a task has been asked for."""
    return lambda: any(arrival.path.endswith("/status") for arrival in simulator.requests)


def finish_all(simulator: ThreadedSimulator) -> Callable[[], None]:
    """Completes every task."""

    def finish() -> None:
        for task_id in simulator.tasks:
            simulator.finish(task_id)

    return finish


def interrupt() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


class Terminal(io.StringIO):
    """A terminal that remembers what was written to it."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Makes standard error a terminal of 80 columns, from when it is called."""
    screen = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def connect() -> Terminal:
        # Not before: pytest puts its own streams in place when the test begins.
        monkeypatch.setattr("sys.stderr", screen)
        return screen

    return connect
