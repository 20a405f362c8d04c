import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from tests.simulator.client import Caller

if TYPE_CHECKING:
    from aivideomaker_async.simulator.threaded import ThreadedSimulator

STUB_ROOT = """
import pathlib, sys, types
root = types.ModuleType("aivideomaker_async")
root.__path__ = [str(pathlib.Path("aivideomaker_async").resolve())]
sys.modules["aivideomaker_async"] = root
import aivideomaker_async.simulator.pytest_plugin
print([name for name in ("aiohttp", "asyncio", "av", "PIL", "attrs") if name in sys.modules])
"""


def test_the_plugin_costs_a_test_run_nothing() -> None:
    """The package root is stubbed: what it imports is its own matter."""
    command = [sys.executable, "-c", STUB_ROOT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(eval(done.stdout)) <= {"asyncio", "attrs"}  # noqa: S307 - a list that we print


@pytest.mark.anyio
async def test_an_async_test_gets_a_simulator_whose_tasks_take_a_second(
    aivideomaker_simulator: "ThreadedSimulator",
) -> None:
    async with aiohttp.ClientSession() as session:
        call = Caller(aivideomaker_simulator.url, aivideomaker_simulator.api_key, session)
        task_id = await call.submit()
        await asyncio.to_thread(aivideomaker_simulator.advance, 240)
        task = (await asyncio.to_thread(lambda: aivideomaker_simulator.tasks))[task_id]
        assert task.completed_at is not None
        assert (task.completed_at - task.created_at).total_seconds() == 240
        # The clock runs 240 times as fast: a finished file is kept for six real minutes.
        assert (await call("GET", f"/videos/{task_id}.mp4")).status == 200


def test_the_environment_points_to_the_simulator(aivideomaker_env: "ThreadedSimulator") -> None:
    assert os.environ["AIVIDEO_BASE_URL"] == aivideomaker_env.url
    assert os.environ["AIVIDEO_API_KEY"] == aivideomaker_env.api_key


def test_the_environment_and_the_plain_fixture_are_one_simulator(
    aivideomaker_env: "ThreadedSimulator", aivideomaker_simulator: "ThreadedSimulator"
) -> None:
    assert aivideomaker_env is aivideomaker_simulator


def test_the_factory_takes_the_arguments_of_a_simulator(
    aivideomaker_simulator_factory: SimulatorFactory,
) -> None:
    poor, rich = (aivideomaker_simulator_factory(credits=balance) for balance in (1, 2))
    assert (poor.credits, rich.credits) == (1, 2)
    assert poor.url != rich.url
