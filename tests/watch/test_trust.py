from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._watch.trust import (
    FIRST_SPACING,
    LATE,
    LONGEST_SPACING,
    PERSISTENT,
    TRIED_AGAIN,
    Announcements,
    ListTrust,
)

NOW = 1000.0


def lists_to_check(trust: ListTrust) -> int:
    """How many lists are read until one is to be checked."""
    for number in range(LONGEST_SPACING + 1):
        if trust.check_is_due:
            return number
        trust.listed(NOW)
    raise AssertionError("no list is ever checked")


def mistrusted(seconds: float = 30.0) -> ListTrust:
    trust = ListTrust()
    trust.listed(NOW)
    for _ in range(PERSISTENT):
        trust.disagreed(seconds)
    return trust


# --- lists -------------------------------------------------------------------------------------------


def test_lists_are_believed_at_first() -> None:
    """Nothing speaks against them."""
    assert ListTrust().lag(NOW) == 0
    assert not ListTrust().check_is_due


def test_lists_are_checked_more_rarely_the_longer_all_is_well() -> None:
    """Each check costs a request; there is always a next one."""
    trust = ListTrust()
    spacings = []
    for _ in range(6):
        spacings.append(lists_to_check(trust))
        trust.checked()
        trust.agreed(1.0)
    assert spacings == [FIRST_SPACING, 16, 32, LONGEST_SPACING, LONGEST_SPACING, LONGEST_SPACING]


def test_a_check_that_failed_is_not_made_again_at_once() -> None:
    """Lists are read meanwhile."""
    trust = ListTrust()
    for _ in range(3):
        assert lists_to_check(trust) == FIRST_SPACING
        trust.check_failed()


def test_one_list_that_disagrees_may_have_crossed_the_other_answer() -> None:
    """It is not held against lists, but the next check comes soon."""
    trust = ListTrust()
    trust.listed(NOW)
    trust.checked()
    assert not trust.disagreed(30.0)
    assert trust.lag(NOW) == 0
    assert lists_to_check(trust) == FIRST_SPACING // 2


def test_lists_that_disagree_again_and_again_are_behind() -> None:
    """By as much as was seen; that it became so is told once."""
    trust = ListTrust()
    trust.listed(NOW)
    told = [trust.disagreed(seconds) for seconds in (3.0, 20.0, 50.0, 10.0)]
    assert told == [False, True, False, False]
    assert trust.lag(NOW + 1) == 50.0


def test_a_list_that_agrees_is_no_further_behind_than_that() -> None:
    """That it has caught up after a minute says nothing of half a minute; that it is told once is kept."""
    trust = mistrusted(40.0)
    trust.agreed(60.0)
    assert trust.lag(NOW) == 40.0
    trust.agreed(0.5)
    assert trust.lag(NOW) == 0.5
    assert not trust.disagreed(50.0)
    assert trust.lag(NOW) == 0.5
    assert not trust.disagreed(50.0)
    assert trust.lag(NOW) == 50.0


def test_a_list_that_is_behind_is_tried_again_after_a_while() -> None:
    """The lag counts until then, and again when that list does not agree either."""
    trust = mistrusted(30.0)
    assert trust.lag(NOW + TRIED_AGAIN - 1) == 30.0
    assert trust.lag(NOW + TRIED_AGAIN) == 0
    trust.listed(NOW + TRIED_AGAIN)
    assert trust.lag(NOW + TRIED_AGAIN + 1) == 30.0


steps = st.lists(
    st.tuples(st.sampled_from(["listed", "checked", "agreed", "disagreed"]), st.floats(0.1, 300)), max_size=60
)


@given(steps)
def test_the_lag_is_what_was_seen_since_a_list_agreed(history: list[tuple[str, float]]) -> None:
    """Whatever happens: a check is never more lists away than the longest spacing, and one mistake is none."""
    trust, now, lag, row, has_told = ListTrust(), NOW, 0.0, 0, False
    for event, seconds in history:
        now += 1
        if event == "listed":
            trust.listed(now)
        elif event == "checked":
            trust.checked()
        elif event == "agreed":
            trust.agreed(seconds)
            lag, row = min(lag, seconds), 0
        else:
            row += 1
            lag = max(lag, seconds) if row >= PERSISTENT else lag
            assert trust.disagreed(seconds) is (row >= PERSISTENT and not has_told)
            has_told = has_told or row >= PERSISTENT
        trust.listed(now)
        assert trust.lag(now) == lag
    assert lists_to_check(trust) <= LONGEST_SPACING


# --- webhooks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "arrive"),
    [
        ([], False),
        (["heard"], True),
        (["missed"], False),
        (["heard", "missed"], False),
        (["heard", "missed", "heard"], True),
        (["heard", "heard", "heard", "missed"], False),
    ],
)
def test_webhooks_are_believed_as_long_as_they_tell_of_every_end(events: list[str], arrive: bool) -> None:
    """They are not documented: the last event tells whether they come."""
    announcements = Announcements()
    for event in events:
        announcements.heard(1.0) if event == "heard" else announcements.missed(1.0)
    assert (announcements.heard_at(1.0 + LATE) is not None) is arrive


def test_a_delivery_may_be_a_little_later_than_the_poll() -> None:
    """Both tell of the same end, and the poll was the quicker."""
    announcements = Announcements()
    announcements.heard(0.0)
    announcements.missed(10.0)
    announcements.missed(11.0)
    assert announcements.heard_at(10.0 + LATE - 0.01) == 0.0
    assert announcements.heard_at(10.0 + LATE) is None
    announcements.heard(11.5)
    assert announcements.heard_at(100.0) == 11.5
