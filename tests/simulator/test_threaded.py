"""A simulator in a thread, and the pytest fixtures that return one."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.simulator.client import T2V


def call(simulator: ThreadedSimulator, method: str, path: str, body: object = None) -> Any:
    """Send a request from this thread, which has no event loop."""
    request = urllib.request.Request(  # noqa: S310 - a URL of our own
        f"{simulator.url}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"key": simulator.api_key, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310 - a URL of our own
        return json.load(response)


def submit(simulator: ThreadedSimulator) -> str:
    return str(call(simulator, "POST", "/api/v1/generate/t2v", T2V)["taskId"])


def test_it_serves_and_is_controlled_from_a_thread_without_an_event_loop() -> None:
    with ThreadedSimulator(durations=(1000, 1000), credits=50) as simulator:
        good, bad, odd, slow = (submit(simulator) for _ in range(4))
        simulator.finish(good)
        simulator.fail(bad, "no")
        simulator.set_status(odd, "QUEUED")
        simulator.advance(1500)
        statuses = {one: task.status for one, task in simulator.tasks.items()}
        assert statuses == {good: "COMPLETED", bad: "FAILED", odd: "QUEUED", slow: "PROGRESS"}
        assert call(simulator, "GET", f"/api/v1/tasks/{bad}")["output"] == {"error": "no"}
        assert simulator.credits == 50 - 15
        assert simulator.statistics().tasks == 4
        assert [one.method for one in simulator.requests] == ["POST"] * 4 + ["GET"]
        assert simulator.deliveries == []
        assert simulator.url in repr(simulator)


def test_faults_are_handles_in_every_thread() -> None:
    with ThreadedSimulator() as simulator:
        with simulator.fault("status", on="list", status=503, times=None) as fault:
            for number in (1, 2):
                with pytest.raises(urllib.error.HTTPError, match="503") as refused:
                    call(simulator, "GET", "/api/v1/tasks")
                refused.value.close()
                assert fault.hits == number
        assert call(simulator, "GET", "/api/v1/tasks") == {"tasks": []}
        simulator.fault("status", on=lambda method, _: method == "GET", times=None)
        simulator.clear_faults()
        assert call(simulator, "GET", "/api/v1/tasks") == {"tasks": []}
        assert simulator.statistics().faults == 2


def test_an_outage_is_over_when_its_time_is() -> None:
    with ThreadedSimulator() as simulator:
        simulator.outage(0.05)
        while True:
            with contextlib.suppress(urllib.error.URLError):
                assert call(simulator, "GET", "/api/v1/tasks") == {"tasks": []}
                break
        assert simulator.statistics().requests == 1


def test_the_thread_ends_with_it_and_the_views_stay_readable() -> None:
    before = threading.active_count()
    with ThreadedSimulator() as simulator:
        task_id = submit(simulator)
        assert threading.active_count() > before
    assert threading.active_count() == before
    assert list(simulator.tasks) == [task_id]
    simulator.close()


def test_errors_are_raised_in_the_thread_that_called() -> None:
    with ThreadedSimulator() as simulator:
        for control in (simulator.finish, simulator.fail, lambda one: simulator.set_status(one, "FAILED")):
            with pytest.raises(KeyError, match="unknown"):
                control("unknown")
        with pytest.raises(ValueError, match="cannot go by -1"):
            simulator.advance(-1)
        with pytest.raises(ValueError, match="takes only acted"):
            simulator.fault("drop", status=500)


def test_errors_of_the_start_are_raised_by_it() -> None:
    with ThreadedSimulator() as first:
        port = int(first.url.rpartition(":")[2])
        second = ThreadedSimulator(port=port)
        with pytest.raises(OSError, match="cannot listen"):
            second.start()
        second.close()
    with pytest.raises(ValueError, match="port must be a whole number from 0 to 65535, got 70000"):
        ThreadedSimulator(port=70_000).start()


def test_before_its_start_it_has_no_attributes() -> None:
    simulator = ThreadedSimulator()
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = simulator.url
    simulator.close()


# --- the pytest plugin -------------------------------------------------------------------------------

IMPORT_THE_PLUGIN = """
import pathlib, sys, types, pytest
# What the root of the package imports is tested with the root.
root = types.ModuleType("aivideomaker_async")
root.__path__ = [str(pathlib.Path("aivideomaker_async").resolve())]
sys.modules["aivideomaker_async"] = root
before = set(sys.modules)
import aivideomaker_async.simulator.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""


def test_the_plugin_imports_nothing_that_pytest_has_not_imported() -> None:
    """Pytest imports it in every test run of every project, also without a simulator."""
    done = subprocess.run([sys.executable, "-c", IMPORT_THE_PLUGIN], capture_output=True, text=True, check=True)
    names = ["aivideomaker_async.simulator", "aivideomaker_async.simulator.pytest_plugin"]
    assert done.stdout.split() == names


def test_a_fixture_is_a_simulator_whose_tasks_take_a_second(aivideomaker_simulator: ThreadedSimulator) -> None:
    task_id = submit(aivideomaker_simulator)
    aivideomaker_simulator.advance(240)
    task = aivideomaker_simulator.tasks[task_id]
    assert task.completed_at is not None
    assert (task.completed_at - task.created_at).total_seconds() == pytest.approx(1, abs=1e-5)


def test_the_environment_names_the_simulator_of_the_fixture(
    aivideomaker_env: ThreadedSimulator, aivideomaker_simulator: ThreadedSimulator
) -> None:
    assert aivideomaker_env is aivideomaker_simulator
    assert os.environ["AIVIDEO_BASE_URL"] == aivideomaker_env.url
    assert os.environ["AIVIDEO_API_KEY"] == aivideomaker_env.api_key


def test_the_factory_takes_the_arguments_of_a_simulator(aivideomaker_simulator_factory: SimulatorFactory) -> None:
    poor, rich = (aivideomaker_simulator_factory(credits=balance) for balance in (1, 2))
    assert (poor.credits, rich.credits) == (1, 2)
    assert poor.url != rich.url
