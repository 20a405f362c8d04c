import math
import random
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.timing import Clock, draw, span
from tests.simulator.client import FakeClock

EPOCH = datetime(2026, 3, 19, 8, tzinfo=UTC)


def test_simulated_time_is_real_time_times_the_speed_plus_what_was_skipped() -> None:
    base, clock = FakeClock(), Clock(speed=20.0)
    clock.start(base)
    base.seconds += 3
    clock.advance(5)
    assert clock.now() == 65
    assert clock.real(60) == 3


def test_a_clock_stands_still_before_its_start_and_after_its_stop() -> None:
    base, clock = FakeClock(), Clock()
    base.seconds += 1
    assert clock.now() == 0
    clock.start(base)
    base.seconds += 2
    clock.stop()
    base.seconds += 4
    assert clock.now() == 2


def test_wall_times_begin_at_the_epoch() -> None:
    base, clock = FakeClock(), Clock(speed=10.0, epoch=EPOCH)
    assert clock.wall(0) == EPOCH
    clock.start(base)
    base.seconds += 2
    clock.advance(100)
    assert clock.wall(clock.now()) == EPOCH + timedelta(seconds=120)
    assert clock.real_wall() == EPOCH + timedelta(seconds=2)


def test_the_epoch_is_the_moment_of_the_start() -> None:
    clock = Clock()
    before = datetime.now(UTC)
    clock.start(FakeClock())
    assert before <= clock.wall(0) <= datetime.now(UTC)


@pytest.mark.parametrize("speed", [0.0, -1.0, math.inf, math.nan])
def test_a_senseless_speed_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed must be more than 0"):
        Clock(speed)


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
    queue, work = draw(model, seconds, random.Random(seed))
    assert 5 <= queue <= 30
    assert 60 <= work <= 13 * 60 - queue


@pytest.mark.parametrize(
    ("model", "seconds"),
    [
        *(("t2v", 5), ("i2v", 8), ("lv", 30), ("t2v_v3", 20)),
        *(("minimax", 20), ("seedance20", 15), ("wan27", 15), ("happyhorse", 15)),
    ],
)
def test_an_ordinary_task_takes_2_to_7_minutes(model: str, seconds: int) -> None:
    rng = random.Random(1)
    assert 120 <= median(sum(draw(model, seconds, rng)) for _ in range(301)) <= 420


def test_i2v_v3_takes_longest() -> None:
    rng = random.Random(1)
    slow, fast = (median(sum(draw(model, 5, rng)) for _ in range(301)) for model in ("i2v_v3", "t2v_v3"))
    assert slow > 1.5 * fast


def test_durations_can_be_one_span_a_span_by_model_or_a_function() -> None:
    rng = random.Random(1)
    assert span((1, 2), "t2v", 5, rng) == (1, 2)
    assert span({"t2v": (3, 4)}, "t2v", 5, rng) == (3, 4)
    assert span(lambda model, seconds: (len(model), seconds), "t2v_v3", 20, rng) == (6, 20)


@pytest.mark.parametrize("durations", [None, {"lv": (0, 0)}])
def test_durations_that_are_not_told_are_drawn(durations: dict[str, tuple[float, float]]) -> None:
    assert span(durations, "t2v", 5, random.Random(7)) == draw("t2v", 5, random.Random(7))
