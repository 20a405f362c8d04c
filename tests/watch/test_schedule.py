from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf, log
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._watch.durations import USUAL, Estimate
from aivideomaker_async._watch.schedule import (
    LEARNED,
    LONGEST_ANNOUNCED,
    LONGEST_FOLLOWED,
    LONGEST_INTERVAL,
    LONGEST_UNSEEN_CHANGE,
    SEVERAL,
    SILENCE,
    Ask,
    Crowd,
    Plan,
    View,
    Watched,
    interval,
    list_is_cheaper,
    plan,
)

PACE = 60 / 57
NOW = 1000.0
SAMPLE = 8
"""Tasks of a crowd that are weighed one by one here."""

KNOWN = Estimate(mu=log(90.0), sigma=0.2, samples=20, measured=True)
"""Nine of ten end between 65 and 125 s."""

estimates = st.just(USUAL) | st.builds(
    Estimate, mu=st.floats(1, 8), sigma=st.floats(0.05, 1.5), samples=st.integers(0, 50), measured=st.booleans()
)
moments = st.floats(NOW - 4000, NOW)
tasks = st.builds(
    Watched,
    task_id=st.integers(0, 30).map(str),
    since=moments,
    asked_at=st.none() | moments,
    estimate=estimates,
    missing=st.booleans(),
    needs_details=st.booleans(),
    hinted=st.booleans(),
    heard_at=st.none() | moments,
    changes_matter=st.booleans(),
    whole=st.booleans(),
    not_before=st.just(-inf) | st.floats(NOW - 100, NOW + 100),
)
many = st.lists(tasks, min_size=1, max_size=30, unique_by=lambda item: item.task_id)
paces = st.floats(0.01, 10)
durations = st.floats(0, 60)
conditions = st.fixed_dictionaries(
    {"pace": paces, "list_seconds": durations, "list_lag": durations, "lists_work": st.booleans()},
    optional={"lesson_due": st.booleans(), "followed": st.booleans(), "checked": st.booleans()},
)


def watched(task_id: str = "a", *, age: float = 60.0, asked: float | None = 2.0, **more: Any) -> Watched:
    """A task of `age` seconds that was asked for `asked` seconds ago."""
    return Watched(task_id=task_id, since=NOW - age, asked_at=None if asked is None else NOW - asked, **more)


def is_urgent(item: Watched) -> bool:
    return item.needs_details or item.hinted


def asks_in_order(items: Sequence[Watched]) -> list[Watched]:
    """Those that were never asked for first, then those that were not asked for longest."""
    return sorted(items, key=lambda item: -inf if item.asked_at is None else item.asked_at)


def view_of(
    *items: Watched, pace: float = PACE, followed: bool = False, checked: bool = False, **conditions: Any
) -> View:
    """What there is to know when these tasks wait."""
    crowd = asks_in_order([item for item in items if not item.missing and not is_urgent(item)])
    sample = crowd[:: -(-len(crowd) // SAMPLE) or 1]
    moments = [item.asked_at for item in crowd if item.asked_at is not None]
    return View(
        alone=[item for item in items if is_urgent(item)]
        + [item for item in items if item.missing and not is_urgent(item)],
        crowd=None
        if not crowd
        else Crowd(
            waiting=len(crowd),
            sample=sample,
            asked_at=min(moments) if len(moments) == len(crowd) else None,
            longest_unasked=crowd[0].task_id,
            followed=followed,
            suspect=sample[-1].task_id if checked else None,
        ),
        pace=pace,
        **conditions,
    )


def next_poll(*items: Watched, **conditions: Any) -> Plan:
    planned = plan(view_of(*items, **conditions), NOW)
    assert planned is not None
    return planned


def polls_until(end: float, estimate: Estimate, *, pace: float = PACE, **more: Any) -> list[float]:
    """The ages at which a task that waits alone is asked for; it ends at the age `end`, which the last poll finds."""
    ages = [0.0]
    while ages[-1] < end:
        item = Watched(task_id="a", since=NOW, asked_at=NOW + ages[-1], estimate=estimate, **more)
        planned = plan(View(alone=[], crowd=_crowd(item), pace=pace), NOW + ages[-1])
        assert planned is not None
        assert planned.ask is Ask.STATUS
        ages.append(planned.at - NOW)
    return ages[1:]


def _crowd(*items: Watched, **more: Any) -> Crowd:
    usual = {"waiting": len(items), "asked_at": items[0].asked_at, "longest_unasked": items[0].task_id}
    return Crowd(sample=items, **{**usual, **more})


# --- what is asked -----------------------------------------------------------------------------------


def test_nobody_waits_and_nothing_is_asked() -> None:
    """No waiter costs no request, also where there would be something to learn."""
    assert plan(view_of(), NOW) is None
    assert plan(view_of(lesson_due=True), NOW) is None


def test_a_task_that_waits_alone_is_asked_for_by_itself() -> None:
    """Its status is a smaller answer than the list."""
    planned = next_poll(watched("a"))
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "a")


def test_a_task_of_which_nothing_is_known_is_asked_for_its_details() -> None:
    """They tell its model and age, for one request as well."""
    planned = next_poll(watched("a", whole=True))
    assert (planned.ask, planned.task_id) == (Ask.DETAILS, "a")


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_several_tasks_are_asked_for_together(count: int) -> None:
    """One list serves them all."""
    planned = next_poll(*(watched(str(number)) for number in range(count)))
    assert (planned.ask, planned.task_id) == (Ask.LIST, None)


def test_doubts_about_several_tasks_are_settled_by_one_list() -> None:
    """Unless the list does not show them, or there is none; the details of one that has ended are asked for by it."""
    doubtful = {"needs_details": True, "doubtful": True, "tried": True}
    several = [watched(str(number), **doubtful) for number in range(SEVERAL)]
    assert next_poll(*several).ask is Ask.LIST
    assert next_poll(several[0]).ask is Ask.DETAILS
    assert next_poll(*several, lists_work=False).ask is Ask.DETAILS
    missing = [evolve(item, missing=True) for item in several]
    assert next_poll(*missing).ask is Ask.DETAILS
    assert next_poll(*(watched(str(number), needs_details=True) for number in range(9))).ask is Ask.DETAILS


def test_hints_of_tasks_that_the_list_does_not_show_are_confirmed_one_by_one() -> None:
    """Or the list would be fetched for them for ever."""
    hinted = [watched(str(number), hinted=True) for number in range(SEVERAL)]
    assert next_poll(*hinted).ask is Ask.LIST
    assert next_poll(*(evolve(item, missing=True) for item in hinted)).ask is Ask.DETAILS


def test_where_there_is_no_list_each_is_asked_for() -> None:
    """The longest unasked first, be they few or many."""
    for count in (2, SAMPLE, SAMPLE + 1, 1000):
        items = [watched(str(number), age=60.0, asked=10 + number) for number in range(count)]
        planned = next_poll(*items, lists_work=False)
        assert (planned.ask, planned.task_id) == (Ask.STATUS, str(count - 1))


def test_a_task_that_the_list_does_not_show_is_asked_for_by_itself() -> None:
    """The others still share a list."""
    items = [watched("a"), watched("b"), watched("c", missing=True, asked=100.0)]
    planned = next_poll(*items)
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "c")
    assert next_poll(*items[:2], watched("c", missing=True, asked=0.0)).ask is Ask.LIST


def test_a_task_nobody_has_asked_for_is_asked_for_at_once() -> None:
    """Alone or together: the first status is news to whoever waits."""
    assert next_poll(watched("a", asked=None)).at <= NOW
    together = next_poll(watched("a", asked=None), watched("b", asked=0.0))
    assert together.ask is Ask.LIST
    assert together.at <= NOW


def test_of_too_many_to_weigh_one_that_was_never_asked_for_goes_first() -> None:
    """Also when it does not stand for the others."""
    sample = [watched(str(number), asked=30.0) for number in range(SAMPLE)]
    crowd = _crowd(*sample, waiting=100, asked_at=None, longest_unasked="new")
    planned = plan(View(alone=[], crowd=crowd, pace=PACE, lists_work=False), NOW)
    assert planned == Plan(Ask.STATUS, -inf, "new")


def test_too_many_to_weigh_leave_a_turn_to_those_that_are_asked_for_by_themselves() -> None:
    """And where none of them can be done yet, none is asked for."""
    crowd = [watched(str(number), age=90.0, asked=10.0 + number) for number in range(3 * SAMPLE)]
    longest = next_poll(*crowd, watched("missing", age=90.0, asked=20.0, missing=True), lists_work=False)
    assert longest.task_id == str(len(crowd) - 1)
    assert (
        next_poll(*crowd, watched("missing", age=90.0, asked=100.0, missing=True), lists_work=False).task_id
        == "missing"
    )
    young = [watched(str(number), age=5.0, asked=1.0, estimate=KNOWN) for number in range(3 * SAMPLE)]
    assert next_poll(*young, lists_work=False).at > NOW + 10


# --- what goes first ---------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["needs_details", "hinted"])
def test_a_task_that_has_news_is_asked_for_its_details_at_once(why: str) -> None:
    """It has ended and somebody waits for its output, or a webhook says that something has happened."""
    planned = next_poll(watched("a", asked=0.0, **{why: True}), watched("b"))
    assert (planned.ask, planned.task_id) == (Ask.DETAILS, "a")
    assert planned.at <= NOW


@pytest.mark.parametrize("why", ["needs_details", "hinted"])
@pytest.mark.parametrize("since", [-inf, NOW - 1.0, NOW])
@pytest.mark.parametrize("conditions", [{}, {"list_seconds": 30.0}, {"lists_work": False}, {"lesson_due": True}])
def test_what_has_news_goes_before_polls_that_are_overdue(why: str, since: float, conditions: dict[str, Any]) -> None:
    """Where the limit leaves every poll late, a task that has ended still hears of its video first."""
    crowd = [watched(str(number), asked=None if number % 5 else 30.0 + number) for number in range(3 * SAMPLE)]
    missing = watched("missing", asked=100.0, missing=True)
    planned = next_poll(missing, *crowd, evolve(watched("done", **{why: True}), not_before=since), **conditions)
    assert (planned.ask, planned.task_id) == (Ask.DETAILS, "done")
    assert planned.at <= NOW


def test_several_webhooks_are_confirmed_by_one_list() -> None:
    """Fewer requests, and the others hear as well."""
    hinted = [watched(str(number), asked=0.0, hinted=True, not_before=NOW) for number in range(SEVERAL)]
    planned = next_poll(*hinted, watched("z"))
    assert (planned.ask, planned.task_id) == (Ask.LIST, None)
    assert planned.at <= NOW


@pytest.mark.parametrize("conditions", [{"lists_work": False}, {"list_seconds": 5.0}, {"list_lag": 30.0}])
def test_webhooks_are_confirmed_one_by_one_where_lists_are_worse(conditions: dict[str, Any]) -> None:
    """Each by the details of its task."""
    hinted = [watched(str(number), asked=0.0, hinted=True) for number in range(SEVERAL)]
    assert next_poll(*hinted, **conditions) == Plan(Ask.DETAILS, -inf, "0")


def test_webhooks_that_were_just_confirmed_do_not_count() -> None:
    """One that is to be asked for later is no reason for a list now."""
    hinted = [watched("a", hinted=True), watched("b", hinted=True, not_before=NOW + 3)]
    assert next_poll(*hinted) == Plan(Ask.DETAILS, -inf, "a")


@pytest.mark.parametrize("hinted", [True, False])
def test_tasks_that_have_ended_are_asked_for_one_by_one(hinted: bool) -> None:
    """The list is not read for their details, also where a webhook was to be confirmed."""
    items = [watched(str(number), needs_details=True, hinted=hinted) for number in range(3)]
    assert next_poll(*items, watched("z")) == Plan(Ask.DETAILS, -inf, "0")


@pytest.mark.parametrize("more", [{}, {"needs_details": True}, {"hinted": True}, {"missing": True}, {"whole": True}])
def test_a_task_is_left_alone_after_an_attempt_that_failed(more: dict[str, bool]) -> None:
    """Until the time that was set for it, by status or details alike."""
    assert next_poll(watched("a", asked=60.0, not_before=NOW + 7, **more)).at == NOW + 7


# --- lists and how far they are believed -------------------------------------------------------------


@given(paces, durations, durations, st.integers(0, 1000))
def test_more_waiters_never_make_the_list_the_worse_choice(
    pace: float, list_seconds: float, lag: float, waiting: int
) -> None:
    """One alone has nothing to gain from a list; and where n gain, n + 1 do."""
    assert not list_is_cheaper(1, pace, list_seconds, lag)
    if list_is_cheaper(waiting, pace, list_seconds, lag):
        assert list_is_cheaper(waiting + 1, pace, list_seconds, lag)
        assert list_is_cheaper(waiting, pace, list_seconds / 2, lag)
        assert list_is_cheaper(waiting, pace, list_seconds, lag / 2)
        assert waiting * pace / 2 > list_seconds + lag


@pytest.mark.parametrize("trouble", [{"list_seconds": 5.0}, {"list_lag": 5.0}])
def test_lists_that_are_late_give_way_to_single_polls(trouble: dict[str, float]) -> None:
    """Where a list is slow, or lags, few hear sooner in turns, the longest unheard first; many still share it."""
    items = [watched("a", asked=7.0), watched("b", asked=9.0), watched("c", asked=8.0)]
    planned = next_poll(*items, **trouble)
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "b")
    crowd = [watched(str(number)) for number in range(100)]
    assert next_poll(*crowd, **trouble).ask is Ask.LIST


def test_a_list_is_checked_instead_of_read() -> None:
    """The check costs no request more than the list that would have been due."""
    items = [watched("a"), watched("b"), watched("c")]
    check, usual = next_poll(*items, checked=True), next_poll(*items)
    assert (check.ask, check.task_id) == (Ask.STATUS, "c")
    assert (usual.ask, check.at) == (Ask.LIST, usual.at)


def test_a_check_that_failed_keeps_nobody_waiting() -> None:
    """The next list comes first."""
    items = [watched("a", asked=30.0), watched("b", asked=30.0, not_before=NOW + 5)]
    assert next_poll(*items, checked=True).ask is Ask.LIST
    again = [evolve(item, asked_at=NOW + 10) for item in items]
    assert next_poll(*again, checked=True).task_id == "b"


def test_one_list_teaches_how_long_tasks_take() -> None:
    """It tells as much as the poll that would have been due, and at the same time."""
    lone = watched("a", asked=2.0)
    lesson, usual = next_poll(lone, lesson_due=True), next_poll(lone)
    assert (lesson.ask, lesson.task_id, lesson.at) == (Ask.LIST, None, usual.at)
    # Where there is no list, or what is asked for is more than a status, nothing is learned.
    assert next_poll(lone, lesson_due=True, lists_work=False) == usual
    assert next_poll(watched("a", needs_details=True), lesson_due=True).ask is Ask.DETAILS
    assert next_poll(watched("a", whole=True), lesson_due=True).ask is Ask.DETAILS


def test_who_is_told_by_another_process_asks_rarely() -> None:
    """It is not relied on for ever; and what is urgent does not wait for it."""
    items = [watched("a", asked=10.0, followed=True), watched("b", asked=20.0, followed=True)]
    assert next_poll(*items, followed=True) == Plan(Ask.LIST, NOW - 20.0 + LONGEST_FOLLOWED)
    unlisted = next_poll(*items, followed=True, lists_work=False)
    assert unlisted == Plan(Ask.STATUS, NOW - 20.0 + LONGEST_FOLLOWED, "b")
    assert next_poll(watched("new", asked=None), followed=True).at <= NOW
    assert next_poll(*items, watched("c", needs_details=True), followed=True).task_id == "c"
    unlisted = next_poll(watched("d", asked=30.0, followed=True, missing=True))
    assert unlisted == Plan(Ask.STATUS, NOW - 30.0 + LONGEST_FOLLOWED, "d")


def test_one_that_told_nothing_leaves_most_of_the_limit_to_the_others() -> None:
    """It may be so for ever: it waits for its time, and no two such follow each other closely."""
    broken = [watched(str(number), needs_details=True, tried=True, not_before=NOW - 50) for number in range(20)]
    crowd = [watched("a", asked=2.0), watched("b", asked=2.0)]
    assert next_poll(*broken, *crowd).ask is Ask.DETAILS
    assert next_poll(*broken, *crowd, retried_at=NOW - 0.5).ask is Ask.LIST
    later = evolve(broken[0], not_before=NOW + 7.0)
    assert next_poll(later, retried_at=NOW).at == NOW + 7.0


# --- when --------------------------------------------------------------------------------------------


def test_a_task_that_cannot_be_done_yet_is_hardly_asked_for() -> None:
    """And often where its end is likely; so few requests find it soon."""
    ages = polls_until(150.0, KNOWN)
    assert sum(age < 50 for age in ages) <= 3
    assert sum(80 <= age < 110 for age in ages) >= 10
    late = [polls_until(end, KNOWN)[-1] - end for end in range(65, 126)]
    assert sum(late) / len(late) < 2.5
    assert len(polls_until(90.0, KNOWN)) < 20


def test_with_nothing_known_a_task_is_asked_for_evenly() -> None:
    """It may be done in ten seconds or ten minutes, and a request also teaches something."""
    ages = polls_until(150.0, USUAL)
    assert sum(age < 20 for age in ages) >= 7
    # A task of the usual kind costs about as many requests as seconds that it may be late.
    assert 20 < len(polls_until(90.0, USUAL)) < 60


@given(st.floats(1, 3600), estimates)
@settings(max_examples=40, deadline=None)
def test_a_task_whose_kind_is_new_is_not_late_by_much_more_than_a_fifth_of_its_age(
    end: float, estimate: Estimate
) -> None:
    """Whatever was believed of it before."""
    guess = evolve(estimate, samples=min(estimate.samples, LEARNED - 1))
    assert polls_until(end, guess)[-1] - end <= min(LONGEST_INTERVAL, PACE + end / 5) + 1e-6
    # Neither is one of which only the list has told, by a clock that may run fast.
    told = evolve(estimate, measured=False)
    assert polls_until(end, told)[-1] - end <= min(LONGEST_INTERVAL, 3 * PACE + 2 * end) + 1e-6


def test_a_task_whose_end_is_announced_is_asked_for_seldom() -> None:
    """As long as webhooks arrive, but never left alone."""
    announced, usual = (polls_until(600.0, KNOWN, heard_at=told) for told in (NOW, None))
    assert len(announced) < len(usual) / 3
    assert all(late - early <= LONGEST_ANNOUNCED + 1e-6 for early, late in pairwise(announced))


def test_the_more_ends_should_have_been_announced_the_sooner_it_is_looked() -> None:
    """Of fifty tasks one ends every second or so: some seconds without a webhook are suspicious; for one task not."""
    items = [watched(estimate=KNOWN, age=90.0, heard_at=NOW) for _ in range(50)]
    rate = 50 * KNOWN.hazard(90.0)
    assert interval(items, NOW, PACE) == pytest.approx(SILENCE / rate, rel=0.3)
    assert interval(items[:1], NOW, PACE) == LONGEST_ANNOUNCED
    # Each delivery tells that they come.
    lately = [evolve(item, heard_at=NOW + 10) for item in items]
    assert interval(lately, NOW, PACE) == pytest.approx(10 + SILENCE / rate, rel=0.3)


@given(st.floats(0.02, 1.0), st.integers(0, 50), st.booleans())
def test_where_a_whole_world_runs_faster_so_do_the_polls(unit: float, samples: int, measured: bool) -> None:
    """Limit, durations and ages twenty times as fast: the same polls, twenty times as fast."""

    def seconds(unit: float) -> float:
        estimate = Estimate(mu=log(90.0 * unit), sigma=0.5, samples=samples, measured=measured) if samples else USUAL
        items = [watched(str(age), age=age * unit, estimate=estimate) for age in (30.0, 70.0)]
        return interval(items, NOW, PACE * unit, waiting=3)

    assert seconds(unit) == pytest.approx(seconds(1.0) * unit, rel=1e-6)


def test_who_watches_every_change_misses_few() -> None:
    """A task may be queued, started and done before anybody who waits for its end alone would ask."""
    assert interval([watched(estimate=KNOWN, age=2.0)], NOW, PACE) > LONGEST_UNSEEN_CHANGE
    watching = interval([watched(estimate=KNOWN, age=2.0, changes_matter=True)], NOW, PACE)
    assert watching == pytest.approx(LONGEST_UNSEEN_CHANGE)
    # One of them is enough.
    both = [watched(estimate=KNOWN, age=2.0), watched(estimate=KNOWN, age=2.0, changes_matter=True)]
    assert interval(both, NOW, PACE) <= LONGEST_UNSEEN_CHANGE


@given(many, st.floats(NOW - 100, NOW), paces, st.none() | st.integers(1, 100_000))
def test_the_interval_is_never_below_the_pace_nor_above_the_longest(
    sample: list[Watched], asked_at: float, pace: float, waiting: int | None
) -> None:
    """Whatever the clock says about the age."""
    longest = LONGEST_ANNOUNCED if all(item.heard_at is not None for item in sample) else LONGEST_INTERVAL
    seconds = interval(sample, asked_at, pace, waiting=waiting)
    assert pace <= seconds <= max(pace, longest)


@given(many, st.floats(NOW - 100, NOW), paces, st.integers(1, 100_000))
def test_the_more_wait_the_sooner_they_are_asked_for(
    sample: list[Watched], asked_at: float, pace: float, waiting: int
) -> None:
    """Down to the pace, give or take how exactly the interval is worked out."""
    few = interval(sample, asked_at, pace, waiting=waiting)
    most = interval(sample, asked_at, pace, waiting=100 * waiting)
    assert most <= few * 1.1
    assert interval([watched(age=90.0)], NOW, pace, waiting=10**7) == pace


def test_some_stand_for_all() -> None:
    """A hundred like one are as many as a hundred."""
    item = watched(age=90.0, estimate=KNOWN)
    assert interval([item], NOW, 0.01, waiting=100) == pytest.approx(interval([item] * 100, NOW, 0.01))
    alone = interval([item], NOW, 0.01)
    assert interval([item], NOW, 0.01, waiting=100) == pytest.approx(alone / 10, rel=0.15)


# --- whatever is waited for --------------------------------------------------------------------------


@given(many, conditions)
@settings(max_examples=60)
def test_somebody_waits_and_something_is_asked(items: list[Watched], conditions: dict[str, Any]) -> None:
    """The plan names a task that waits for just this, or the list for those that it may show."""
    planned = plan(view_of(*items, **conditions), NOW)
    assert planned is not None
    if planned.ask is Ask.LIST:
        assert planned.task_id is None
        assert conditions["lists_work"]
        listed = [item for item in items if not item.needs_details and (item.hinted or not item.missing)]
        lesson, followed = conditions.get("lesson_due", False), conditions.get("followed", False)
        assert len(listed) > 1 or lesson or (followed and listed)
        return
    (item,) = (item for item in items if item.task_id == planned.task_id)
    if planned.ask is Ask.DETAILS:
        assert is_urgent(item) or item.whole
    else:
        assert not is_urgent(item)
    if is_urgent(item):
        assert planned.at >= item.not_before or item.not_before <= NOW


@given(many, conditions)
@settings(max_examples=60)
def test_no_task_is_left_unasked_for_longer_than_the_longest_interval(
    items: list[Watched], conditions: dict[str, Any]
) -> None:
    """The next poll is never later than the moment at which the most patient task must be asked for."""
    planned = plan(view_of(*items, **conditions), NOW)
    assert planned is not None
    for item in items:
        if is_urgent(item):
            assert planned.at <= max(NOW, item.not_before)
            continue
        longest = LONGEST_ANNOUNCED if item.heard_at is not None else LONGEST_INTERVAL
        if not item.missing and conditions.get("followed"):
            longest = LONGEST_FOLLOWED
        asked_at = -inf if item.asked_at is None else item.asked_at
        turn = max((other.not_before for other in items if not is_urgent(other)), default=-inf)
        assert planned.at <= max(asked_at + max(conditions["pace"], longest), turn)


kinds = st.builds(
    Watched,
    task_id=st.just(""),
    since=st.floats(NOW - 600, NOW),
    asked_at=st.none(),
    estimate=estimates,
    missing=st.booleans(),
    needs_details=st.booleans(),
    hinted=st.booleans(),
    heard_at=st.none() | moments,
    changes_matter=st.booleans(),
    whole=st.booleans(),
)


@given(
    st.lists(kinds, min_size=1, max_size=25),
    st.sampled_from([0.0, 0.5, 3.0, 20.0]),
    st.sampled_from([0.0, 30.0]),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_everyone_is_heard_however_crowded_it_is(
    crowd: list[Watched], list_seconds: float, lag: float, lists_work: bool, checked: bool
) -> None:
    """A watcher that follows the plan, one request a pace, leaves nobody out, young or old, shown or missing."""
    now = NOW
    state = {str(number): evolve(item, task_id=str(number)) for number, item in enumerate(crowd)}
    heard = dict.fromkeys(state, now)
    longest = LONGEST_ANNOUNCED + 2 * len(state) * PACE + 2 * list_seconds
    lists_read = 0
    for _ in range(6 * len(state) + 20):
        check = checked and lists_read >= 3
        view = view_of(*state.values(), checked=check, list_seconds=list_seconds, list_lag=lag, lists_work=lists_work)
        planned = plan(view, now)
        if planned is None:
            break
        now = max(now + PACE, planned.at)
        if planned.ask is Ask.LIST:
            now += list_seconds
            lists_read += 1
            told = [key for key, item in state.items() if not item.needs_details and (item.hinted or not item.missing)]
        else:
            assert planned.task_id is not None
            told = [planned.task_id]
            lists_read = 0 if planned.ask is Ask.STATUS and check else lists_read
        for task_id in told:
            heard[task_id] = now
            state[task_id] = evolve(state[task_id], asked_at=now, hinted=False, whole=False)
        if planned.ask is Ask.DETAILS and state[told[0]].needs_details:
            del state[told[0]], heard[told[0]]
        assert all(now - at <= longest for at in heard.values())
