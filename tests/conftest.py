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

# A loaded machine is slow, and that is no fault.
for profile, examples in (("usual", 30), ("brief", 10), ("thorough", 1000)):
    settings.register_profile(
        profile, max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
# A search for more: HYPOTHESIS_PROFILE=thorough make test
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "usual"))


def pytest_collection_finish() -> None:
    """Thousands of collected tests are not searched by each test that looks for garbage of its own."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def anyio_backend() -> str | tuple[str, dict[str, object]]:
    """The plain asyncio loop. Modules with waits in them take `virtual_clock` instead."""
    return "asyncio"


@pytest.fixture
def virtual_clock() -> tuple[str, dict[str, object]]:
    """For `anyio_backend` fixtures: a loop whose clock jumps over every wait."""
    return "asyncio", {"loop_factory": VirtualClockLoop}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the key or address that the user of this machine has set."""
    for name in ("AIVIDEO_API_KEY", "AIVIDEO_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def submits_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process knows of submits belongs to an address, and ports of loopback are used again."""
    monkeypatch.setattr(registry, "_registries", registry._Registries())


@pytest.fixture(autouse=True, scope="session")
def state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test, and no process that a test starts, shares a limit with the user's own programs."""
    state = str(tmp_path_factory.mktemp("state"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_STATE_HOME", "XDG_DATA_HOME", "WIN_PD_OVERRIDE_LOCAL_APPDATA"):
            patch.setenv(name, state)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_blocking_calls() -> Iterator[None]:
    """A blocking call that our code makes in the event loop fails the test."""
    blockbuster = BlockBuster("aivideomaker_async")
    # Coverage waits for a lock of its own in the midst of any line. What is raised there may end a callback of an event
    # loop, for whose result somebody else then waits.
    blockbuster.functions["threading.Lock.acquire"].can_block_in("coverage/collector.py", {"lock_data"})
    blockbuster.activate()
    yield
    blockbuster.deactivate()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """The service, with durations like the real one's, on the clock of the test's loop."""
    async with Simulator(seed=1) as simulator:
        yield simulator


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[AIVideoMaker]:
    """A client of `simulator`, with a limiter of its own."""
    async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as client:
        yield client
