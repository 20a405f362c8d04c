"""Simulated seconds, the time of the clients, and how long tasks take."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.timing import Clock, draw_span, span
from tests.simulator.client import FakeClock

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


def test_simulated_seconds_pass_faster_by_the_speed_and_can_be_skipped() -> None:
    base, clock = FakeClock(), Clock(speed=20.0)
    clock.start(base)
    base.seconds += 3
    clock.advance(5)
    assert clock.now() == 65
    assert clock.client_seconds(60) == 3


def test_a_clock_stands_still_before_its_start_and_after_its_stop() -> None:
    base, clock = FakeClock(), Clock()
    base.seconds += 1
    assert clock.now() == 0
    clock.start(base)
    base.seconds += 2
    clock.stop()
    base.seconds += 4
    assert clock.now() == 2


@given(speed=st.sampled_from([0.5, 1.0, 60.0, 600.0]), seconds=st.floats(0, 1e6))
def test_reported_times_advance_with_the_clock_of_the_clients(speed: float, seconds: float) -> None:
    base, clock = FakeClock(), Clock(speed=speed, epoch=EPOCH, skew=30)
    clock.start(base)
    base.seconds += seconds
    expected = EPOCH + timedelta(seconds=seconds)
    tolerance = timedelta(microseconds=10)
    assert abs(clock.client_time(clock.now()) - expected) < tolerance
    assert abs(clock.reported(clock.now()) - expected - timedelta(seconds=30)) < tolerance
    clock.advance(600)
    assert abs(clock.client_time(clock.now()) - expected - timedelta(seconds=600 / speed)) < tolerance
    assert abs(clock.client_now() - expected) < tolerance


def test_the_epoch_is_the_moment_of_the_start() -> None:
    clock = Clock()
    before = datetime.now(UTC)
    clock.start(FakeClock())
    assert before <= clock.client_time(0) <= datetime.now(UTC)


@pytest.mark.parametrize("seconds", [-0.1, math.inf, math.nan])
def test_the_clock_does_not_go_back(seconds: float) -> None:
    clock = Clock()
    with pytest.raises(ValueError, match="cannot go by"):
        clock.advance(seconds)
    assert clock.now() == 0


@given(
    st.sampled_from(["t2v", "i2v", "lv", "t2v_v3", "i2v_v3", "another"]),
    st.integers(1, 30),
    st.integers(),
)
def test_no_task_takes_longer_than_13_minutes(model: str, seconds: int, seed: int) -> None:
    queue, work = draw_span(model, seconds, random.Random(seed))
    assert 5 <= queue <= 30
    assert 60 <= work <= 13 * 60 - queue


@pytest.mark.parametrize(
    ("model", "seconds", "least", "most"),
    [
        *((model, seconds, 120, 420) for model, seconds in (("t2v", 5), ("i2v", 8), ("lv", 30), ("t2v_v3", 20))),
        *((model, 15, 120, 420) for model in ("minimax", "seedance20", "wan27", "happyhorse")),
        ("i2v_v3", 5, 300, 600),
    ],
)
def test_an_ordinary_task_takes_2_to_7_minutes(model: str, seconds: int, least: float, most: float) -> None:
    rng = random.Random(1)
    assert least <= median(sum(draw_span(model, seconds, rng)) for _ in range(301)) <= most


def test_durations_are_one_span_or_by_model_or_a_function_and_else_drawn() -> None:
    rng = random.Random(1)
    assert span((1, 2), "t2v", 5, rng) == (1, 2)
    assert span({"t2v": (3, 4)}, "t2v", 5, rng) == (3, 4)
    assert span(lambda model, seconds: (len(model), seconds), "t2v_v3", 20, rng) == (6, 20)
    for missing in (None, {"lv": (0, 0)}):
        assert span(missing, "t2v", 5, random.Random(7)) == draw_span("t2v", 5, random.Random(7))


@pytest.mark.parametrize("drawn", [5, (1,), None, ("a", "b"), (1, -1)])
def test_the_result_of_a_function_is_checked_when_it_is_called(drawn: Any) -> None:
    durations: Callable[[str, int], Any] = lambda model, seconds: drawn  # noqa: E731
    with pytest.raises(ValueError, match=r"durations\('t2v', 5\) must be a pair of seconds"):
        span(durations, "t2v", 5, None)  # type: ignore[arg-type]
