from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async import TaskStatus
from aivideomaker_async._watch.transitions import FOLLOWERS, Progression

SUBMITTED, PROGRESS = TaskStatus.SUBMITTED, TaskStatus.PROGRESS
ENDS = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCEL)
KNOWN = tuple(TaskStatus)

# As the API documents them, with what a poll may miss and a cancel that wins a race: by hand, not from the table.
LEGAL = {
    (None, SUBMITTED),
    (None, PROGRESS),
    *((None, end) for end in ENDS),
    (SUBMITTED, PROGRESS),
    *((SUBMITTED, end) for end in ENDS),
    *((PROGRESS, end) for end in ENDS),
}

statuses = st.one_of(st.sampled_from(KNOWN), st.sampled_from(["QUEUED", "PAUSED", "completed", ""]).map(TaskStatus))


def test_the_table_names_every_known_status() -> None:
    """No status of this version is left without a row, and none is a follower without one."""
    assert set(FOLLOWERS) == {None, *KNOWN}
    assert set().union(*FOLLOWERS.values()) <= set(KNOWN)


def test_the_table_is_frozen_data() -> None:
    """What follows what is a frozen set of statuses, not code."""
    assert all(isinstance(row, frozenset) for row in FOLLOWERS.values())


@pytest.mark.parametrize(("before", "after"), list(product((None, *KNOWN), KNOWN)))
def test_exactly_the_documented_transitions_are_new(before: TaskStatus | None, after: TaskStatus) -> None:
    """Any other observation is stale and changes nothing."""
    progression = Progression(before)
    legal = (before, after) in LEGAL
    assert progression.observe(after) is legal
    assert progression.current == (after if legal else before)


@pytest.mark.parametrize("status", KNOWN)
def test_only_the_three_ends_end_a_task(status: TaskStatus) -> None:
    """COMPLETED, FAILED and CANCEL are terminal, and nothing else is."""
    assert Progression(status).is_terminal is (status in ENDS)


def test_nothing_observed_is_not_the_end() -> None:
    """A task that nobody has asked for is not terminal."""
    assert Progression().current is None
    assert not Progression().is_terminal


def test_an_unknown_status_is_kept_and_is_not_the_end() -> None:
    """A server may invent a status; the wait goes on."""
    progression = Progression(SUBMITTED)
    assert progression.observe(TaskStatus("QUEUED"))
    assert progression.current == "QUEUED"
    assert not progression.is_terminal
    assert progression.observe(TaskStatus.COMPLETED)


def test_an_unknown_status_takes_nothing_back() -> None:
    """What was known before it stays known: SUBMITTED after PROGRESS is stale also with something odd between."""
    progression = Progression(PROGRESS)
    assert progression.observe(TaskStatus("RENDERING"))
    assert not progression.observe(SUBMITTED)
    assert not progression.observe(PROGRESS)
    assert progression.current == "RENDERING"


@given(st.lists(statuses, max_size=20))
def test_whatever_is_observed_the_path_is_legal_and_ends_once(observed: list[TaskStatus]) -> None:
    """The known statuses of what was new are a path of the table; nothing is new after an end or twice in a row."""
    progression = Progression()
    path = [status for status in observed if progression.observe(status)]
    known = [status for status in path if status.is_known]
    assert all((before, after) in LEGAL for before, after in pairwise([None, *known]))
    assert all(before != after for before, after in pairwise(path))
    assert not any(status.is_terminal for status in path[:-1])
    assert progression.current == (path[-1] if path else None)
    assert progression.is_terminal is any(status.is_terminal for status in observed)
