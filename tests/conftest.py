"""Fixtures for all tests: the asyncio backend, a virtual clock, a simulator, and no blocking calls in the loop."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

from aivideomaker_async import AIVideoMaker, RateLimiter
from aivideomaker_async._submits import registry
from aivideomaker_async.simulator import Simulator
from tests.support.redis import redis_server, redis_url  # noqa: F401  (fixtures)
from tests.support.virtual_clock import VirtualClockLoop

# A loaded machine is slow, which is not an error.
for profile, examples in (("usual", 30), ("brief", 10), ("thorough", 1000)):
    settings.register_profile(
        profile, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
# For a longer search: HYPOTHESIS_PROFILE=thorough make test
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))


def pytest_collection_finish() -> None:
    """Exclude thousands of collected tests from each garbage collection that a test runs."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str | tuple[str, dict[str, object]]:
    """The plain asyncio loop. Modules whose tests wait use `virtual_clock` instead."""
    return "asyncio"


@pytest.fixture
def virtual_clock() -> tuple[str, dict[str, object]]:
    """For `anyio_backend` fixtures: a loop whose clock jumps over every wait."""
    return "asyncio", {"loop_factory": VirtualClockLoop}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the key and the address that the user of this machine has set."""
    for name in ("AIVIDEO_API_KEY", "AIVIDEO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def submits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process knows of submits belongs to an address, and ports of loopback are used again."""
    monkeypatch.setattr(registry, "_registries", registry._Registries())


@pytest.fixture(autouse=True, scope="session")
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests, and the processes that they start, from sharing a limit with the user's own programs."""
    state = str(tmp_path_factory.mktemp("state"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
            patch.setenv(name, state)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_blocking_calls() -> Iterator[None]:
    """Fail a test in which our code makes a blocking call in the event loop."""
    blockbuster = BlockBuster("aivideomaker_async")
    # Coverage waits for a lock of its own in the midst of any line. An error raised there could end a callback of an
    # event loop whose result is awaited.
    blockbuster.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
    blockbuster.activate()
    yield
    blockbuster.deactivate()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A simulator with durations like those of the real service, on the clock of the test's loop."""
    async with Simulator(seed=1) as simulator:
        yield simulator


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AIVideoMaker]:
    """A client of `simulator`, with a limiter of its own."""
    async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as client:
        yield client
