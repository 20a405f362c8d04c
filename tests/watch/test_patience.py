"""How long an answer is waited for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._watch.patience import LEAST, TIMES, Patience


def test_while_nothing_is_known_all_the_time_is_given() -> None:
    """A list may be long, and a first answer slow."""
    patience = Patience(30.0)
    assert patience.seconds == 30
    patience.timed_out()
    assert patience.seconds == 30


def test_after_fast_answers_little_is_given() -> None:
    """Also where the longest time is shorter still."""
    for most in (30.0, 5.0):
        patience = Patience(most)
        patience.answered(0.1)
        assert patience.seconds == min(LEAST, most)


def test_each_time_out_doubles_it_and_an_answer_ends_that() -> None:
    """What comes within the longest time is waited for in the end."""
    patience = Patience(30.0)
    patience.answered(0.1)
    allowed = []
    for _ in range(4):
        allowed.append(patience.seconds)
        patience.timed_out()
    assert allowed == [10, 20, 30, 30]
    for _ in range(2000):
        patience.timed_out()
    assert patience.seconds == 30
    patience.answered(0.1)
    assert patience.seconds == 10


def test_slow_answers_are_remembered_for_a_while() -> None:
    """Where one took five seconds, the next may take twenty."""
    patience = Patience(60.0)
    patience.answered(5.0)
    assert patience.seconds == 20
    patience.answered(0.1)
    assert LEAST < patience.seconds < 20
    for _ in range(20):
        patience.answered(0.1)
    assert patience.seconds == LEAST


@given(st.floats(0.1, 600), st.lists(st.none() | st.floats(0, 1000), max_size=30))
def test_it_is_never_more_than_the_longest_and_never_little(most: float, script: list[float | None]) -> None:
    """Whatever happened: never less than a few times what the last answer took, as far as that is allowed."""
    patience = Patience(most)
    for took in script:
        patience.timed_out() if took is None else patience.answered(took)
        assert min(LEAST, most) <= patience.seconds <= most
        if took is not None:
            assert patience.seconds >= min(most, TIMES * took) - 1e-9
    for _ in range(10):
        patience.timed_out()
    assert patience.seconds == pytest.approx(most) or most > LEAST * 2**10
