from __future__ import annotations

import random
from math import exp, inf, isfinite, log, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._watch.durations import (
    MAX_DURATION_S,
    MAX_LEARNED_KINDS,
    MAX_NAME_CHARACTERS,
    MIN_DURATION_S,
    SAMPLES_KEPT,
    USUAL,
    Durations,
    Estimate,
)

estimates = st.builds(Estimate, mu=st.floats(0, 8), sigma=st.floats(0.05, 2))
shares = st.floats(0.001, 0.999)


def learned(*seconds: float, model: str = "t2v", length: int | None = 5) -> Durations:
    durations = Durations()
    for item in seconds:
        durations.learn(model, length, measured=item)
    return durations


def at_z(estimate: Estimate, z: float) -> float:
    """The age that is `z` standard deviations from the middle."""
    return exp(estimate.mu + z * estimate.sigma)


# --- estimates ---------------------------------------------------------------------------------------


def test_half_of_the_tasks_end_by_the_median() -> None:
    """Before anything is learned, after a minute and a half."""
    assert USUAL.done_by(90.0) == pytest.approx(0.5)
    assert USUAL.age_at(0.5, 0.0) == pytest.approx(90.0)
    assert USUAL.samples == 0


@pytest.mark.parametrize("age", [0.0, -5.0, -inf])
def test_nothing_ends_before_it_began(age: float) -> None:
    assert USUAL.done_by(age) == 0
    assert USUAL.hazard(age) == 0


@given(estimates, st.floats(-4, 4))
def test_the_hazard_is_the_growth_of_the_share_that_has_ended(estimate: Estimate, z: float) -> None:
    """Among those that have not ended yet."""
    age = at_z(estimate, z)
    step = age * estimate.sigma * 1e-4
    ended = (estimate.done_by(age + step) - estimate.done_by(age - step)) / (2 * step)
    assert estimate.hazard(age) == pytest.approx(ended / (1 - estimate.done_by(age)), rel=1e-4, abs=1e-12)


@given(estimates, st.floats(1e-6, 1e12))
def test_the_hazard_is_finite_at_any_age(estimate: Estimate, age: float) -> None:
    """Also where the probability to live so long is too small for a float."""
    assert isfinite(estimate.hazard(age))
    assert estimate.hazard(age) >= 0
    assert 0 <= estimate.done_by(age) <= 1


@given(estimates)
def test_the_hazard_has_no_step_where_its_formula_changes(estimate: Estimate) -> None:
    near, far = estimate.hazard(at_z(estimate, 29.999)), estimate.hazard(at_z(estimate, 30.001))
    assert near == pytest.approx(far, rel=0.01)


@given(estimates, shares, st.floats(-6, 3))
def test_age_at_is_the_inverse_of_done_by(estimate: Estimate, share: float, z: float) -> None:
    """For those that have lived to some age; at first, for all."""
    assert estimate.done_by(estimate.age_at(share, 0.0)) == pytest.approx(share, rel=1e-6)
    age = at_z(estimate, z)
    then = estimate.age_at(share, age)
    lived = estimate.done_by(age)
    assert (estimate.done_by(then) - lived) / (1 - lived) == pytest.approx(share, rel=1e-3, abs=1e-6)


@given(estimates, st.tuples(st.floats(0, 1), st.floats(0, 1)), st.tuples(st.floats(-10, 1e5), st.floats(-10, 1e5)))
def test_the_older_a_task_the_later_its_expected_end(
    estimate: Estimate, share: tuple[float, float], age: tuple[float, float]
) -> None:
    """And the larger the share, the later it has ended; never before now."""
    (few, most), (young, old) = sorted(share), sorted(age)
    assert young <= estimate.age_at(few, young) <= estimate.age_at(most, young) * (1 + 1e-9)
    assert estimate.age_at(few, young) <= estimate.age_at(few, old) * (1 + 1e-9)
    assert isfinite(estimate.age_at(1.0, old))


# --- learning ----------------------------------------------------------------------------------------


def test_nothing_is_known_of_a_model_that_was_never_seen() -> None:
    assert Durations().estimate("t2v", 5) is USUAL
    durations = learned(30.0, 31.0)
    assert durations.estimate(None, 5) is USUAL
    assert durations.estimate("i2v", 5) is USUAL


@given(st.integers(0, 1 << 32), st.floats(2, 7), st.floats(0.05, 1.0))
@settings(max_examples=60)
def test_what_is_learned_is_near_the_truth(seed: int, mu: float, sigma: float) -> None:
    chance = random.Random(seed)
    estimate = learned(*(chance.lognormvariate(mu, sigma) for _ in range(SAMPLES_KEPT))).estimate("t2v", 5)
    assert estimate.mu == pytest.approx(mu, abs=5 * sigma / SAMPLES_KEPT**0.5 + 0.01)
    assert 0.55 * sigma < estimate.sigma < 1.6 * (sigma**2 + 0.02) ** 0.5
    assert estimate.samples == SAMPLES_KEPT


def test_one_sample_is_no_certainty() -> None:
    """The middle is where it was, and the spread stays wide; it becomes narrow with more of the same."""
    spreads = [learned(*[20.0] * count).estimate("t2v", 5) for count in (1, 2, 5, 20)]
    assert spreads[0].age_at(0.5, 0.0) == pytest.approx(20.0, rel=0.2)
    assert spreads[0].sigma > 0.5
    assert [item.sigma for item in spreads] == sorted((item.sigma for item in spreads), reverse=True)
    assert spreads[-1].sigma < 0.25


def test_a_service_that_becomes_slower_is_followed() -> None:
    """The newest samples count, and only they."""
    slow = [300.0 + number for number in range(SAMPLES_KEPT)]
    assert learned(*[20.0] * 500, *slow).estimate("t2v", 5) == learned(*slow).estimate("t2v", 5)


def test_every_sample_changes_the_estimate() -> None:
    """A cached estimate is not kept."""
    durations = learned(20.0)
    before = durations.estimate("t2v", 5)
    assert durations.estimate("t2v", 5) is before
    durations.learn("t2v", 5, reported=40.0)
    assert durations.estimate("t2v", 5).mu > before.mu
    assert durations.estimate("t2v", 5).samples == 2


def test_a_video_of_another_length_takes_about_as_long() -> None:
    """Less surely so; once that length was seen, only it counts."""
    durations = learned(*[100.0] * 10)
    known, other = durations.estimate("t2v", 5), durations.estimate("t2v", 10)
    assert (other.mu, other.samples) == (known.mu, known.samples)
    assert other.sigma == pytest.approx((known.sigma**2 + 0.4**2) ** 0.5)
    durations.learn("t2v", 10, measured=200.0)
    assert durations.estimate("t2v", 10).age_at(0.5, 0.0) == pytest.approx(200.0, rel=0.1)
    assert durations.estimate("t2v", 5) == known
    # For a third length, both count.
    third = durations.estimate("t2v", None)
    assert third.samples == 11
    assert known.mu < third.mu < log(200.0)


def test_of_two_durations_of_one_task_the_shorter_one_counts() -> None:
    """A poll sees an end late, and the clocks of the service may be wrong."""
    durations = Durations()
    durations.learn("t2v", 5, measured=66.0, reported=60.0)
    assert durations.estimate("t2v", 5) == learned(60.0).estimate("t2v", 5)
    durations = Durations()
    durations.learn("t2v", 5, measured=60.0, reported=3600.0)
    assert durations.estimate("t2v", 5) == learned(60.0).estimate("t2v", 5)


def test_old_rows_of_the_list_alone_confirm_nothing() -> None:
    """They may be of another time; one task that this client has seen end confirms all kinds."""
    durations = Durations()
    durations.learn("t2v", 5, reported=60.0)
    assert not durations.estimate("t2v", 5).confirmed
    durations.learn("i2v", 5, measured=60.0, reported=60.0)
    assert durations.estimate("t2v", 5).confirmed
    assert durations.estimate("t2v", 10).confirmed


@pytest.mark.parametrize("seconds", [nan, inf, -inf, 0.0, -5.0, -1e9, MIN_DURATION_S / 2, MAX_DURATION_S + 1, 3e11])
def test_an_absurd_duration_teaches_nothing(seconds: float) -> None:
    """A row of a task that was forgotten for days, or times that run backwards."""
    durations = Durations()
    durations.learn("t2v", 5, reported=seconds)
    durations.learn("t2v", 5, measured=seconds)
    durations.learn("t2v", 5, measured=seconds, reported=seconds)
    durations.learn("t2v", 5)
    assert durations.estimate("t2v", 5) is USUAL
    # The other one counts all the same.
    durations.learn("t2v", 5, measured=60.0, reported=seconds)
    assert durations.estimate("t2v", 5) == learned(60.0).estimate("t2v", 5)


def test_invented_models_take_no_room() -> None:
    """The names of models come from answers: only the latest are remembered, and no endless one."""
    durations = Durations()
    for number in range(3 * MAX_LEARNED_KINDS):
        durations.learn(f"m{number}", number, reported=60.0)
        durations.estimate(f"e{number}", None)
    assert len(durations._samples) == MAX_LEARNED_KINDS
    durations.learn("m0", 5, reported=60.0)
    for number in range(3 * MAX_LEARNED_KINDS):
        durations.estimate(f"e{number}", None)
    assert len(durations._estimates) <= MAX_LEARNED_KINDS
    assert durations.estimate(f"m{3 * MAX_LEARNED_KINDS - 1}", 3 * MAX_LEARNED_KINDS - 1).samples == 1
    assert durations.estimate("m1", 1) is USUAL
    endless = "x" * (MAX_NAME_CHARACTERS + 1)
    durations.learn(endless, 5, measured=60.0, reported=60.0)
    assert durations.estimate(endless, 5) is USUAL
