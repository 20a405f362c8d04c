import contextlib
import inspect
import json
import threading
import urllib.error
import urllib.request
from typing import Any, get_type_hints

import pytest

from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.threaded import Options, ThreadedSimulator
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


def test_it_serves_and_obeys_without_an_event_loop_here() -> None:
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


def test_faults_are_handles_here_too() -> None:
    with ThreadedSimulator(idempotency="kept") as simulator:
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
        with pytest.raises(ValueError, match="takes only acted"):
            simulator.fault("drop", status=500)
        assert call(simulator, "POST", "/api/v1/generate/t2v", T2V)["idempotentReplay"] is False


def test_an_outage_is_over_when_its_time_is() -> None:
    with ThreadedSimulator() as simulator:
        simulator.outage(0.05)
        while True:
            with contextlib.suppress(urllib.error.URLError):
                assert call(simulator, "GET", "/api/v1/tasks") == {"tasks": []}
                break
        assert simulator.statistics().requests == 1
        with pytest.raises(ValueError, match="seconds must be"):
            simulator.outage(-1)
    with pytest.raises(RuntimeError, match="only while it runs"):
        simulator.outage(1)


def test_the_thread_ends_with_it_and_what_it_shows_stays_readable() -> None:
    before = threading.active_count()
    with ThreadedSimulator() as simulator:
        task_id = submit(simulator)
        assert threading.active_count() > before
    assert threading.active_count() == before
    assert list(simulator.tasks) == [task_id]
    simulator.close()


def test_errors_come_to_the_thread_that_asked() -> None:
    with ThreadedSimulator() as simulator:
        with pytest.raises(KeyError):
            simulator.finish("unknown")
        with pytest.raises(ValueError, match="cannot go by"):
            simulator.advance(-1)


def test_what_hinders_the_start_is_raised_by_the_start() -> None:
    with ThreadedSimulator() as first:
        port = int(first.url.rpartition(":")[2])
        second = ThreadedSimulator(port=port)
        with pytest.raises(OSError, match="cannot listen"):
            second.start()
        second.close()
    with pytest.raises(ValueError, match="revision"):
        ThreadedSimulator(revision="2020-01").start()


def test_before_its_start_there_is_nothing_to_see() -> None:
    simulator = ThreadedSimulator()
    with pytest.raises(RuntimeError, match="has not been started"):
        _ = simulator.url
    simulator.close()


def test_the_options_are_the_arguments_of_a_simulator() -> None:
    arguments = set(inspect.signature(Simulator).parameters)
    assert set(get_type_hints(Options)) == arguments
    for name, hint in get_type_hints(Simulator.__init__).items():
        if name != "return":
            assert get_type_hints(Options)[name] == hint
