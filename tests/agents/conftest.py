"""Tool sets against a simulated service in a thread of its own, as frameworks use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from aivideomaker_async import AIVideoMaker, RateLimiter
from aivideomaker_async.agents import VideoTools
from aivideomaker_async.simulator.threaded import ThreadedSimulator

FOX: dict[str, Any] = {"order": "fox-1", "model": "t2v", "prompt": "A fox", "aspect_ratio": "16:9", "duration": 5}


@pytest.fixture(params=["2026-03", "2026-09"])
def revision(request: pytest.FixtureRequest) -> str:
    """Of the API. The older one keeps no idempotency keys, and reports neither prices nor an account."""
    return str(request.param)


@pytest.fixture
def price(revision: str) -> int:
    """Credits for the fox."""
    return {"2026-03": 5, "2026-09": 15}[revision]


@pytest.fixture
def service(revision: str) -> Iterator[ThreadedSimulator]:
    """Its tasks are finished at once."""
    with ThreadedSimulator(revision=revision, render=False, limit=None, durations=(0, 0), credits=1000) as simulator:
        yield simulator


class ToolSets(Protocol):
    def __call__(self, **options: Any) -> VideoTools: ...


@pytest.fixture
def tool_sets(service: ThreadedSimulator, tmp_path: Path) -> Iterator[ToolSets]:
    """Make tool sets of the service. All have the same state, as if they were of several processes."""
    made: list[VideoTools] = []

    def make(**options: Any) -> VideoTools:
        usual: dict[str, Any] = {
            "max_credits": 50,
            "budget": 100,
            "folder": tmp_path / "videos",
            "state": tmp_path / "state",
            "client": lambda: AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter(60_000)),
        }
        made.append(VideoTools(**usual | options))
        return made[-1]

    yield make
    for tools in made:
        tools.close()


@pytest.fixture
def tools(tool_sets: ToolSets) -> VideoTools:
    return tool_sets()


def blocking(tools: VideoTools) -> dict[str, Callable[..., dict[str, Any]]]:
    return {function.__name__: function for function in tools.blocking()}


def awaited(tools: VideoTools) -> dict[str, Callable[..., Awaitable[dict[str, Any]]]]:
    return {function.__name__: function for function in tools.functions()}
