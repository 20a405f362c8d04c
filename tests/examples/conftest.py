"""The examples find a simulator by the environment, as they would find the service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aivideomaker_async import RateLimiter
from aivideomaker_async.simulator import Simulator


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    """Videos take minutes; the tests do not."""
    return virtual_clock


@pytest.fixture
def durations() -> tuple[float, float]:
    """Seconds in the queue and of work."""
    return 20.0, 100.0


@pytest.fixture
def balance() -> int:
    """Credits of the account."""
    return 10_000


@pytest.fixture
async def service(
    monkeypatch: pytest.MonkeyPatch, durations: tuple[float, float], balance: int
) -> AsyncIterator[Simulator]:
    """A simulator that the environment names."""
    async with Simulator(seed=1, durations=durations, credits=balance, render=False) as simulator:
        monkeypatch.setenv("AIVIDEO_API_KEY", simulator.api_key)
        monkeypatch.setenv("AIVIDEO_BASE_URL", simulator.url)
        # The default limiter outlives a test, and would keep times of the clock of its loop.
        monkeypatch.setattr("aivideomaker_async.client.client.default_limiter", lambda _: RateLimiter())
        yield simulator
