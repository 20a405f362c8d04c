"""Whatever is wrong with an option is told before anything listens."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, get_type_hints

import pytest

from aivideomaker_async.simulator import Simulator, ThreadedSimulator
from aivideomaker_async.simulator.options import CHECKS
from aivideomaker_async.simulator.threaded import Options
from aivideomaker_async.simulator.timing import span
from tests.simulator.client import running

WRONG: dict[str, list[object]] = {
    "host": ["", 5, None],
    "port": [-1, 65_536, 70_000, "80", 1.5, True, None],
    "speed": [0, -1.0, "x", math.inf, math.nan, True, None],
    "revision": ["2020-01", "", 5, None],
    "credits": [-1, "x", 2.5, True, None],
    "limit": [0, -1, "5", 1.5, True],
    "window": [0, -1.0, "x", math.inf, None],
    "api_key": ["", "a b", "ключ", "a\n", 5, b"x"],
    "durations": [
        *(5, (1,), (1, 2, 3), "ab", (-5, 5), (1, math.inf), (1, math.nan), ("1", 2), (True, 2), {1, 2}, []),
        *({"t2v": 5}, {"t2v": (1,)}, {"nope": (1, 2)}, {5: (1, 2)}),
        *(lambda model: (1, 2), lambda: (1, 2), lambda a, b, c: (1, 2)),
    ],
    "seed": ["x", 1.5, True],
    "clock": [5, "x"],
    "epoch": [datetime(2026, 3, 1), "2026", 5],  # noqa: DTZ001
    "counting": ["x", None, ["sliding"]],
    "count_rejected": [1, "no", None],
    "retry_after": ["Date", "x", 5, None],
    "late_cancel": [99, 600, "400", 400.0, True, None],
    "list_limit": [-1, "x", 1.5, True],
    "history": [-1, "x", 1.5, True, None, {"nope": 1}, {"t2v": "x"}, {"t2v": -1}],
    "list_lag": [-1, "x", math.inf, None],
    "lookup_lag": [-1, "x", math.nan, None],
    "clock_skew": ["x", None, True, math.nan, 1e12],
    "skew_date": ["no", 0, None],
    "idempotency": ["x", True],
    "generation_limit": [0, -1, "5", 1.5, True],
    "daily_credit_limit": [-1, "x", 1.5, True],
    "credit_warning_at": [-1, "x", 1.5, True],
    "supported_models": ["t2v", b"t2v", 5, ["t2v", 5], [""], {"t2v": 1}, iter(["t2v"])],
    "ranges": ["no", 0, None],
    "render": ["no", 1, None],
}
RIGHT: dict[str, list[object]] = {
    "port": [0, 65_535],
    "speed": [1, 0.5, 1e6],
    "credits": [0],
    "limit": [1, None],
    "api_key": [None, "ak_x"],
    "durations": [
        None,
        (0, 0),
        [1, 2.5],
        {},
        {"t2v": (1, 2)},
        lambda *_: (1, 2),
        lambda model, seconds: (1, seconds),
        max,
    ],
    "seed": [None, -1],
    "late_cancel": [200, 409],
    "list_limit": [None, 0, 5],
    "history": [0, 3, {"t2v": 2}],
    "revision": ["2026-03", "2026-09"],
    "idempotency": [None, "kept", "ignored"],
    "generation_limit": [None, 1],
    "daily_credit_limit": [None, 0],
    "credit_warning_at": [None, 0],
    "supported_models": [None, [], ("t2v", "veo9"), {"t2v"}],
    "clock_skew": [-3600, 1.5],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_option_is_told_with_its_name_and_value(name: str, value: Any) -> None:
    """And with what is allowed; never by another error, nor by the first request."""
    with pytest.raises(ValueError, match=rf"^{name}\b.* must be .+, got ") as caught:
        Simulator(**{name: value})
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_a_right_option_is_taken(name: str, value: Any) -> None:
    """Nothing is refused that made sense."""
    Simulator(**{name: value})


def test_every_option_is_checked_here() -> None:
    """A new one has a check, and its examples."""
    options = {name for name in inspect.signature(Simulator).parameters if name != "self"}
    assert options == {*CHECKS, "durations"} == WRONG.keys() == get_type_hints(Options).keys()


def test_a_simulator_in_a_thread_tells_what_is_wrong_when_it_starts() -> None:
    """In the thread that asked."""
    with pytest.raises(ValueError, match="port must be a whole number from 0 to 65535, got 70000"):
        ThreadedSimulator(port=70_000).start()


@pytest.mark.parametrize("drawn", [5, (1,), None, ("a", "b"), (1, -1)])
def test_a_function_that_draws_no_durations_is_told(drawn: Any) -> None:
    """Its result is known only when it is asked."""
    durations: Callable[[str, int], Any] = lambda model, seconds: drawn  # noqa: E731
    with pytest.raises(ValueError, match=r"durations\('t2v', 5\) must be a pair of seconds"):
        span(durations, "t2v", 5, None)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_no_task_is_shown_of_a_list_of_none() -> None:
    """The least that `list_limit` can be."""
    async with running(list_limit=0, history=3) as (_, call):
        assert (await call("GET", "/api/v1/tasks")).json["tasks"] == []
