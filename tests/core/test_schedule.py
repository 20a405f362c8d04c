from __future__ import annotations

from math import inf

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._core.schedule import LONGEST_INTERVAL, Ask, Plan, Watched, interval, list_is_cheaper, plan

PACE = 60 / 57
NOW = 1000.0

ids = st.integers(0, 30).map(str)
moments = st.floats(NOW - 4000, NOW)
tasks = st.builds(
    Watched,
    task_id=ids,
    since=moments,
    asked_at=st.none() | moments,
    missing=st.booleans(),
    needs_details=st.booleans(),
    not_before=st.just(-inf) | st.floats(NOW - 100, NOW + 100),
)
many = st.lists(tasks, min_size=1, max_size=30, unique_by=lambda item: item.task_id)
paces = st.floats(0.01, 10)
durations = st.floats(0, 60)


def watched(task_id: str = "a", *, age: float = 60.0, asked: float | None = 2.0, **more: bool) -> Watched:
    """A task of `age` seconds that was asked for `asked` seconds ago."""
    return Watched(task_id=task_id, since=NOW - age, asked_at=None if asked is None else NOW - asked, **more)


def next_poll(*items: Watched, list_seconds: float = 0.1) -> Plan:
    planned = plan(items, now=NOW, pace=PACE, list_seconds=list_seconds)
    assert planned is not None
    return planned


# --- what is asked -----------------------------------------------------------------------------------


def test_nobody_waits_and_nothing_is_asked() -> None:
    """No waiter costs no request."""
    assert plan([], now=NOW, pace=PACE, list_seconds=0.0) is None


def test_a_task_that_waits_alone_is_asked_for_by_itself() -> None:
    """Its status is a smaller answer than the list."""
    planned = next_poll(watched("a"))
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "a")


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_several_tasks_are_asked_for_together(count: int) -> None:
    """One list serves them all."""
    planned = next_poll(*(watched(str(number)) for number in range(count)))
    assert (planned.ask, planned.task_id) == (Ask.LIST, None)


def test_a_task_that_the_list_does_not_show_is_asked_for_by_itself() -> None:
    """The others still share a list."""
    items = [watched("a"), watched("b"), watched("c", missing=True, asked=100.0)]
    assert next_poll(*items).task_id == "c"
    assert next_poll(*items).ask is Ask.STATUS
    assert next_poll(*items[:2], watched("c", missing=True, asked=0.0)).ask is Ask.LIST


def test_a_finished_task_whose_output_is_wanted_is_asked_for_its_details() -> None:
    """At once: somebody waits for nothing else."""
    planned = next_poll(watched("a", needs_details=True), watched("b"))
    assert (planned.ask, planned.task_id) == (Ask.DETAILS, "a")
    assert planned.at <= NOW


def test_the_details_of_a_finished_task_go_before_polls_that_are_overdue() -> None:
    """Where the limit leaves every poll late, a task that has ended still hears of its video first."""
    crowd = [watched(str(number), asked=30.0 + number) for number in range(12)]
    planned = next_poll(watched("done", needs_details=True), *crowd, list_seconds=30.0)
    assert (planned.ask, planned.task_id) == (Ask.DETAILS, "done")


def test_lists_that_are_slow_give_way_to_single_polls() -> None:
    """Where a list takes longer than asking for each in turn, they take turns, the longest unheard first."""
    items = [watched("a", asked=7.0), watched("b", asked=9.0), watched("c", asked=8.0)]
    planned = next_poll(*items, list_seconds=5.0)
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "b")


def test_a_task_nobody_has_asked_for_is_asked_for_at_once() -> None:
    """Alone or together: the first status is news to whoever waits."""
    assert next_poll(watched("a", asked=None)).at <= NOW
    assert next_poll(watched("a", asked=None), watched("b", asked=0.0)).at <= NOW


@pytest.mark.parametrize("more", [{}, {"needs_details": True}])
def test_a_task_is_left_alone_after_an_attempt_that_failed(more: dict[str, bool]) -> None:
    """Until the time that was set for it, by status or details alike."""
    item = evolve(watched("a", asked=60.0, **more), not_before=NOW + 7)
    assert next_poll(item).at == NOW + 7


# --- when --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "age", "seconds"),
    [
        (1, 0.0, 1.0),
        (1, 30.0, 1.0),
        (1, 60.0, 2.0),
        (1, 150.0, 5.0),
        (1, 86400.0, 5.0),
        (4, 150.0, 2.5),
        (25, 150.0, 1.0),
        (10_000, 150.0, 1.0),
        (1, -50.0, 1.0),
        (0, 150.0, 5.0),
    ],
)
def test_the_interval_grows_with_age_and_shrinks_with_company(waiting: int, age: float, seconds: float) -> None:
    """A thirtieth of the age, at most 5 s, divided by the root of the number, never below the pace."""
    assert interval(waiting, age, 1.0) == pytest.approx(seconds)


@given(st.integers(0, 100_000), st.floats(-1e9, 1e9), paces)
def test_the_interval_is_never_below_the_pace_nor_above_the_longest(waiting: int, age: float, pace: float) -> None:
    """Whatever the clock says about the age."""
    assert pace <= interval(waiting, age, pace) <= max(pace, LONGEST_INTERVAL)


@given(paces, durations, st.integers(0, 1000))
def test_more_waiters_never_make_the_list_the_worse_choice(pace: float, list_seconds: float, waiting: int) -> None:
    """One alone has nothing to gain from a list; and where n gain, n + 1 do."""
    assert not list_is_cheaper(1, pace, list_seconds)
    if list_is_cheaper(waiting, pace, list_seconds):
        assert list_is_cheaper(waiting + 1, pace, list_seconds)
        assert waiting * pace / 2 > list_seconds


@given(many, paces, durations)
def test_somebody_waits_and_something_is_asked(items: list[Watched], pace: float, list_seconds: float) -> None:
    """The plan names a task that waits for just this, or the list for those that it may show."""
    planned = plan(items, now=NOW, pace=pace, list_seconds=list_seconds)
    assert planned is not None
    if planned.ask is Ask.LIST:
        assert planned.task_id is None
        assert sum(not item.missing and not item.needs_details for item in items) > 1
        return
    (item,) = (item for item in items if item.task_id == planned.task_id)
    assert (planned.ask is Ask.DETAILS) is item.needs_details
    assert planned.at >= item.not_before


@given(many, paces, durations)
def test_no_task_is_left_unasked_for_longer_than_the_longest_interval(
    items: list[Watched], pace: float, list_seconds: float
) -> None:
    """The next poll is never later than the moment at which the most patient task must be asked for."""
    planned = plan(items, now=NOW, pace=pace, list_seconds=list_seconds)
    assert planned is not None
    for item in items:
        if item.needs_details:
            assert planned.at <= max(NOW, item.not_before)
        else:
            asked_at = -inf if item.asked_at is None else item.asked_at
            assert planned.at <= max(asked_at + max(pace, LONGEST_INTERVAL), item.not_before)


@given(
    st.lists(st.tuples(st.floats(0, 600), st.booleans(), st.booleans()), min_size=1, max_size=25),
    st.sampled_from([0.0, 0.5, 3.0, 20.0]),
)
@settings(max_examples=60, deadline=None)
def test_everyone_is_heard_however_crowded_it_is(kinds: list[tuple[float, bool, bool]], list_seconds: float) -> None:
    """A watcher that follows the plan, one request a pace, leaves nobody out, young or old, shown or missing."""
    now = NOW
    state = {
        str(number): Watched(
            task_id=str(number), since=now - age, asked_at=None, missing=missing, needs_details=details
        )
        for number, (age, missing, details) in enumerate(kinds)
    }
    heard = dict.fromkeys(state, now)
    longest = LONGEST_INTERVAL + 2 * len(state) * PACE + 2 * list_seconds
    for _ in range(8 * len(state) + 20):
        planned = plan(state.values(), now=now, pace=PACE, list_seconds=list_seconds)
        if planned is None:
            break
        now = max(now + PACE, planned.at)
        if planned.ask is Ask.LIST:
            now += list_seconds
            told = [item.task_id for item in state.values() if not item.missing and not item.needs_details]
        else:
            assert planned.task_id is not None
            told = [planned.task_id]
        for task_id in told:
            heard[task_id] = now
            state[task_id] = evolve(state[task_id], asked_at=now)
        if planned.ask is Ask.DETAILS:
            del state[told[0]], heard[told[0]]
        assert all(now - at <= longest for at in heard.values())
