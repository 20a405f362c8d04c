"""Pytest fixtures: a simulated AI Video Maker API for the tests of your own application.

Installing the package is enough, pytest finds them. They need no async plugin and suit any: the
simulator runs in a thread of its own.

    async def test_greeting(aivideomaker_env):
        # AIVIDEO_API_KEY and AIVIDEO_BASE_URL name the simulator.
        async with AIVideoMaker() as client:
            video = await client.generate(TextToVideo(prompt="hi", aspect_ratio="1:1", duration=5))
        assert aivideomaker_env.statistics().credits_charged == 5

`aivideomaker_simulator`
    A running `ThreadedSimulator`: `url`, `api_key`, `credits`, `requests`, `tasks`, `statistics()`, and to control it
    `advance(seconds)`, `finish(id)`, `fail(id)`, `set_status(id, status)`, `fault(kind, …)`, `outage(seconds)`. A task
    takes about one second.
`aivideomaker_simulator_factory`
    Starts others: `aivideomaker_simulator_factory(credits=3, limit=5)`, with the arguments of `Simulator`. All are
    closed when the test ends.
`aivideomaker_env`
    `aivideomaker_simulator` with the two environment variables pointing to it.
"""

# Imported at the start of every test run of every project in the environment: nothing here may import more than pytest
# has imported already. `python -m benchmarks plugin` measures it.
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, Unpack

import pytest

if TYPE_CHECKING:
    from .options import SimulatorOptions
    from .threaded import ThreadedSimulator

# 240 simulated seconds, an ordinary task, take one second.
_SPEED = 240.0
_DURATIONS = (60.0, 180.0)


class SimulatorFactory(Protocol):
    """Starts simulators that are closed when the test ends."""

    def __call__(self, **options: "Unpack[SimulatorOptions]") -> "ThreadedSimulator":
        """Start a simulator with these arguments of `Simulator`."""
        ...


@pytest.fixture
def aivideomaker_simulator_factory() -> Iterator[SimulatorFactory]:
    """Start simulators with your own arguments."""
    from .threaded import ThreadedSimulator

    with ExitStack() as running:

        def start(**options: "Unpack[SimulatorOptions]") -> "ThreadedSimulator":
            options.setdefault("speed", _SPEED)
            options.setdefault("durations", _DURATIONS)
            return running.enter_context(ThreadedSimulator(**options))

        yield start


@pytest.fixture
def aivideomaker_simulator(aivideomaker_simulator_factory: SimulatorFactory) -> "ThreadedSimulator":
    """Start a simulator in which a task takes about one second."""
    return aivideomaker_simulator_factory()


@pytest.fixture
def aivideomaker_env(
    aivideomaker_simulator: "ThreadedSimulator", monkeypatch: pytest.MonkeyPatch
) -> "ThreadedSimulator":
    """Start a simulator, and point AIVIDEO_API_KEY and AIVIDEO_BASE_URL to it."""
    monkeypatch.setenv("AIVIDEO_API_KEY", aivideomaker_simulator.api_key)
    monkeypatch.setenv("AIVIDEO_BASE_URL", aivideomaker_simulator.url)
    return aivideomaker_simulator
