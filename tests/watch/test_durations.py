from __future__ import annotations

import random
from collections.abc import Mapping
from math import exp, inf, isfinite, log, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._watch.durations import (
    KEPT,
    LONGEST,
    LONGEST_NAME,
    MOST_KEYS,
    SAME_CLOCK,
    USUAL,
    Durations,
    Estimate,
)
from aivideomaker_async.tasks import SEGMENT_S, video_seconds

estimates = st.builds(Estimate, mu=st.floats(0, 8), sigma=st.floats(0.05, 2))
shares = st.floats(0.001, 0.999)


def learned(*seconds: float, model: str = "t2v", length: int | None = 5) -> Durations:
    durations = Durations()
    for item in seconds:
        durations.learn_own(model, length, item)
    return durations


def at_z(estimate: Estimate, z: float) -> float:
    """The age that is so many standard deviations from the middle."""
    return exp(estimate.mu + z * estimate.sigma)


# --- what an estimate says ---------------------------------------------------------------------------


def test_half_of_the_tasks_end_by_the_median() -> None:
    """Before anything is known, after a minute and a half."""
    assert USUAL.done_by(90.0) == pytest.approx(0.5)
    assert USUAL.age_at(0.5, 0.0) == pytest.approx(90.0)
    assert USUAL.samples == 0


@pytest.mark.parametrize("age", [0.0, -5.0, -inf])
def test_nothing_ends_before_it_began(age: float) -> None:
    """Whatever the clock says about the age."""
    assert USUAL.done_by(age) == 0
    assert USUAL.hazard(age) == 0


@given(estimates, st.floats(-4, 4))
def test_the_hazard_is_how_fast_the_share_of_the_ended_grows(estimate: Estimate, z: float) -> None:
    """Among those that have not ended yet."""
    age = at_z(estimate, z)
    step = age * estimate.sigma * 1e-4
    ended = (estimate.done_by(age + step) - estimate.done_by(age - step)) / (2 * step)
    assert estimate.hazard(age) == pytest.approx(ended / (1 - estimate.done_by(age)), rel=1e-4, abs=1e-12)


@given(estimates, st.floats(1e-6, 1e12))
def test_the_hazard_is_a_number_at_any_age(estimate: Estimate, age: float) -> None:
    """Also where the probability to live so long is too small for a float."""
    assert isfinite(estimate.hazard(age))
    assert estimate.hazard(age) >= 0
    assert 0 <= estimate.done_by(age) <= 1


@given(estimates)
def test_the_hazard_goes_on_into_the_tail_without_a_step(estimate: Estimate) -> None:
    """Where it is worked out in another way, it is the same."""
    near, far = estimate.hazard(at_z(estimate, 29.999)), estimate.hazard(at_z(estimate, 30.001))
    assert near == pytest.approx(far, rel=0.01)


@given(estimates, shares, st.floats(-6, 3))
def test_the_age_at_which_a_share_has_ended_is_the_inverse_of_the_share_at_an_age(
    estimate: Estimate, share: float, z: float
) -> None:
    """Of those that have lived to some age; at first, of all."""
    assert estimate.done_by(estimate.age_at(share, 0.0)) == pytest.approx(share, rel=1e-6)
    age = at_z(estimate, z)
    then = estimate.age_at(share, age)
    lived = estimate.done_by(age)
    assert (estimate.done_by(then) - lived) / (1 - lived) == pytest.approx(share, rel=1e-3, abs=1e-6)


@given(estimates, st.tuples(st.floats(0, 1), st.floats(0, 1)), st.tuples(st.floats(-10, 1e5), st.floats(-10, 1e5)))
def test_the_older_a_task_the_later_its_end(
    estimate: Estimate, share: tuple[float, float], age: tuple[float, float]
) -> None:
    """And the larger the share, the later it has ended; never before now."""
    (few, most), (young, old) = sorted(share), sorted(age)
    assert young <= estimate.age_at(few, young) <= estimate.age_at(most, young) * (1 + 1e-9)
    assert estimate.age_at(few, young) <= estimate.age_at(few, old) * (1 + 1e-9)
    assert isfinite(estimate.age_at(1.0, old))


# --- what is learned ---------------------------------------------------------------------------------


def test_nothing_is_known_at_first() -> None:
    """Nor ever of a task whose model is unknown, nor of a model that was never seen."""
    assert Durations().estimate("t2v", 5) is USUAL
    durations = learned(30.0, 31.0)
    assert durations.estimate(None, 5) is USUAL
    assert durations.estimate("i2v", 5) is USUAL


@given(st.integers(0, 1 << 32), st.floats(2, 7), st.floats(0.05, 1.0), st.booleans())
@settings(max_examples=60)
def test_what_is_learned_is_near_the_truth(seed: int, mu: float, sigma: float, own: bool) -> None:
    """From many samples of one model, measured or told."""
    chance = random.Random(seed)
    durations = Durations()
    for _ in range(KEPT):
        seconds = chance.lognormvariate(mu, sigma)
        if own:
            durations.learn_own("t2v", 5, seconds)
        else:
            durations.learn_told("t2v", 5, seconds)
    estimate = durations.estimate("t2v", 5)
    assert estimate.mu == pytest.approx(mu, abs=5 * sigma / KEPT**0.5 + 0.01)
    assert 0.55 * sigma < estimate.sigma < 1.6 * (sigma**2 + 0.02) ** 0.5
    assert (estimate.samples, estimate.measured) == (KEPT, own)


def test_one_sample_is_no_certainty() -> None:
    """The middle is where it was, and the spread stays wide; it becomes narrow with more of the same."""
    spreads = [learned(*[20.0] * count).estimate("t2v", 5) for count in (1, 2, 5, 20)]
    assert spreads[0].age_at(0.5, 0.0) == pytest.approx(20.0, rel=0.2)
    assert spreads[0].sigma > 0.5
    assert [item.sigma for item in spreads] == sorted((item.sigma for item in spreads), reverse=True)
    assert spreads[-1].sigma < 0.25


def test_a_service_that_becomes_slower_is_followed() -> None:
    """The newest samples count, and only they."""
    slow = [300.0 + number for number in range(KEPT)]
    after = learned(*[20.0] * 500, *slow).estimate("t2v", 5)
    assert after == learned(*slow).estimate("t2v", 5)


def test_every_sample_changes_what_is_believed() -> None:
    """What was worked out before is not kept."""
    durations = learned(20.0)
    before = durations.estimate("t2v", 5)
    assert durations.estimate("t2v", 5) is before
    durations.learn_told("t2v", 5, 40.0)
    assert durations.estimate("t2v", 5).mu > before.mu
    durations.learn_own("t2v", 5, 40.0)
    assert durations.estimate("t2v", 5).samples == 3


def test_a_video_of_another_length_takes_about_as_long() -> None:
    """Less surely so; once that length was seen, only it counts."""
    durations = learned(*[100.0] * 10)
    known, other = durations.estimate("t2v", 5), durations.estimate("t2v", 10)
    assert (other.mu, other.samples, other.measured) == (known.mu, known.samples, known.measured)
    assert other.sigma == pytest.approx((known.sigma**2 + 0.4**2) ** 0.5)
    durations.learn_told("t2v", 10, 200.0)
    assert durations.estimate("t2v", 10).age_at(0.5, 0.0) == pytest.approx(200.0, rel=0.1)
    assert durations.estimate("t2v", 5) == known
    # Of a third length, both tell.
    third = durations.estimate("t2v", None)
    assert third.samples == 11
    assert known.mu < third.mu < log(200.0)


@pytest.mark.parametrize("seconds", [nan, inf, -inf, 0.0, -5.0, LONGEST + 1])
def test_what_makes_no_sense_teaches_nothing(seconds: float) -> None:
    """A row of a task that was forgotten for days, or times that run backwards."""
    durations = Durations()
    durations.learn_told("t2v", 5, seconds)
    durations.learn_own("t2v", 5, seconds)
    durations.learn_own("t2v", 5, seconds, told=60.0)
    assert durations.estimate("t2v", 5) is USUAL
    # The own clock is right all the same.
    durations.learn_own("t2v", 5, 60.0, told=seconds)
    assert durations.estimate("t2v", 5) == learned(60.0).estimate("t2v", 5)


# --- two clocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["rows", "own"])
def test_rows_of_a_clock_that_runs_fast_are_scaled(first: str) -> None:
    """One task that was seen both ways tells how fast, and then all rows are of use, also the earlier ones."""
    durations = Durations()
    if first == "own":
        durations.learn_own("lv", 5, 2.0, told=120.0)
    for _ in range(40):
        durations.learn_told("t2v", 5, 5400.0)
    before = durations.estimate("t2v", 5)
    if first == "rows":
        assert before.age_at(0.5, 0.0) == pytest.approx(5400, rel=0.1)
        assert not before.measured
        durations.learn_own("lv", 5, 2.0, told=120.0)
    after = durations.estimate("t2v", 5)
    assert after.age_at(0.5, 0.0) == pytest.approx(90, rel=0.1)
    assert after.measured


def test_of_two_clocks_that_run_alike_the_service_s_is_the_more_exact() -> None:
    """An end is seen at the next poll, so somewhat later than it was."""
    durations = Durations()
    durations.learn_own("t2v", 5, 66.0, told=60.0)
    assert durations.estimate("t2v", 5) == learned(60.0).estimate("t2v", 5)
    assert durations.estimate("t2v", 5).measured


@pytest.mark.parametrize("ratio", [SAME_CLOCK, 1 / SAME_CLOCK])
def test_the_clocks_are_compared_by_the_last_tasks(ratio: float) -> None:
    """What most of them tell holds, so that one odd row changes nothing."""
    durations = Durations()
    durations.learn_told("t2v", 5, 60.0)
    durations.learn_own("lv", 5, 1.0, told=60.0)
    assert durations.estimate("t2v", 5).mu < log(10)
    for _ in range(2):
        durations.learn_own("lv", 5, 60.0 * ratio, told=60.0)
    assert durations.estimate("t2v", 5).mu == pytest.approx(log(60.0), rel=0.05)
    durations.learn_own("lv", 5, 1000.0, told=0.2)
    assert durations.estimate("t2v", 5).mu == pytest.approx(log(60.0), rel=0.05)


# --- lengths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({}, None),
        ({"duration": "5"}, 5),
        ({"duration": "10", "prompt": "A cat"}, 10),
        ({"duration": 8}, 8),
        ({"duration": 8.0}, 8),
        ({"duration": "8s"}, None),
        ({"duration": "-5"}, None),
        ({"duration": "٣"}, None),
        ({"duration": "²"}, None),
        ({"duration": "9" * 5000}, None),
        ({"duration": ""}, None),
        ({"duration": True}, None),
        ({"duration": nan}, None),
        ({"duration": inf}, None),
        ({"duration": 10**400}, None),
        ({"duration": -1}, None),
        ({"duration": 0}, None),
        ({"duration": [5]}, None),
        ({"prompt": "A cat"}, None),
        ({"prompt": []}, None),
        ({"prompt": ["A cat", "A dog"]}, 2 * SEGMENT_S),
        ({"prompt": ("A cat", "A dog", "A cow")}, 3 * SEGMENT_S),
        ({"prompt": ["A cat"], "duration": None}, SEGMENT_S),
    ],
)
def test_how_long_a_video_will_be_is_read_from_what_was_asked_for(
    body: Mapping[str, object], seconds: int | None
) -> None:
    """Numbers come as texts, and a list of prompts is as many segments; whatever else comes tells nothing."""
    assert video_seconds(body) == seconds


# --- a service that tells nonsense -------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-1e9, -1.0, 0.0, 1e-6, 0.05, LONGEST + 1, 3e11, inf, -inf, nan])
def test_rows_of_a_clock_that_is_wrong_teach_nothing(seconds: float) -> None:
    """Neither alone nor beside what was measured here."""
    durations = Durations()
    durations.learn_told("t2v", 5, seconds)
    assert durations.estimate("t2v", 5) is USUAL
    durations.learn_own("t2v", 5, 60.0, told=seconds)
    assert durations.estimate("t2v", 5) == learned(60.0).estimate("t2v", 5)


def test_invented_models_take_no_room() -> None:
    """Only so many are remembered, the latest; and no name that is none."""
    durations = Durations()
    for number in range(3 * MOST_KEYS):
        durations.learn_told(f"m{number}", number, 60.0)
        durations.estimate(f"e{number}", None)
    assert len(durations._samples) == MOST_KEYS
    durations.learn_own("m0", 5, 60.0)
    for number in range(3 * MOST_KEYS):
        durations.estimate(f"e{number}", None)
    assert len(durations._estimates) <= MOST_KEYS
    assert durations.estimate(f"m{3 * MOST_KEYS - 1}", 3 * MOST_KEYS - 1).samples == 1
    assert durations.estimate("m1", 1) is USUAL
    endless = "x" * (LONGEST_NAME + 1)
    durations.learn_own(endless, 5, 60.0)
    durations.learn_told(endless, 5, 60.0)
    assert durations.estimate(endless, 5) is USUAL
