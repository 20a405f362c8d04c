from __future__ import annotations

from itertools import pairwise
from math import inf, log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._watch.durations import USUAL, Estimate
from aivideomaker_async._watch.schedule import (
    DOUBTS_PER_LIST,
    ENOUGH_SAMPLES,
    EXPECTED_DELIVERIES,
    MAX_ANNOUNCED_INTERVAL_S,
    MAX_FOLLOWER_INTERVAL_S,
    MAX_INTERVAL_OF_CHANGES_S,
    MAX_INTERVAL_S,
    PROBE_INTERVAL_S,
    Ask,
    Batch,
    Plan,
    PollInput,
    WatchedTask,
    interval,
    list_is_cheaper,
    plan,
)

PACE = 60 / 57
NOW = 1000.0
SAMPLE = 8
"""Tasks of a batch that are weighed one by one here."""

KNOWN = Estimate(mu=log(90.0), sigma=0.2, samples=20, confirmed=True)
"""Nine of ten end between 65 and 125 s."""

estimates = st.just(USUAL) | st.builds(
    Estimate, mu=st.floats(1, 8), sigma=st.floats(0.05, 1.5), samples=st.integers(0, 50), confirmed=st.booleans()
)
moments = st.floats(NOW - 4000, NOW)
tasks = st.builds(
    WatchedTask,
    task_id=st.integers(0, 30).map(str),
    started_at=moments,
    asked_at=st.just(-inf) | moments,
    single_at=st.just(-inf) | moments,
    estimate=estimates,
    unlisted=st.booleans(),
    needs_details=st.booleans(),
    announced_at=st.none() | moments,
    changes_matter=st.booleans(),
    unknown=st.booleans(),
    not_before=st.just(-inf) | st.floats(NOW - 100, NOW + 100),
    in_doubt=st.just(False),
    failed=st.just(False),
    followed=st.just(False),
)
many = st.lists(tasks, min_size=1, max_size=30, unique_by=lambda item: item.task_id)
paces = st.floats(0.01, 10)
durations = st.floats(0, 60)
conditions = st.fixed_dictionaries(
    {"pace": paces, "list_seconds": durations, "lists_work": st.booleans()},
    optional={
        "needs_training": st.booleans(),
        "followed": st.booleans(),
        "may_probe": st.booleans(),
        "signal_at": st.none() | st.floats(NOW - 10, NOW + 10),
    },
)


def watched(task_id: str = "a", *, age: float = 60.0, asked: float | None = 2.0, **more: Any) -> WatchedTask:
    """A task of `age` seconds that was asked for `asked` seconds ago."""
    asked_at = -inf if asked is None else NOW - asked
    return WatchedTask(task_id=task_id, started_at=NOW - age, asked_at=asked_at, **more)


def input_of(*items: WatchedTask, pace: float = PACE, followed: bool = False, **conditions: Any) -> PollInput:
    """All that the plan depends on when these tasks wait."""
    batch = sorted(
        (item for item in items if not item.unlisted and not item.needs_details), key=lambda item: item.asked_at
    )
    return PollInput(
        singles=[item for item in items if item.needs_details]
        + [item for item in items if item.unlisted and not item.needs_details],
        batch=None
        if not batch
        else Batch(
            waiting=len(batch),
            sample=batch[:: -(-len(batch) // SAMPLE)],
            asked_at=batch[0].asked_at,
            longest_unasked=batch[0].task_id,
            followed=followed,
        ),
        pace=pace,
        **conditions,
    )


def next_poll(*items: WatchedTask, **conditions: Any) -> Plan:
    planned = plan(input_of(*items, **conditions), NOW)
    assert planned is not None
    return planned


def polls_until(end: float, estimate: Estimate, *, pace: float = PACE, **more: Any) -> list[float]:
    """The ages at which a task that waits alone is asked for; it ends at the age `end`, which the last poll finds."""
    ages = [0.0]
    while ages[-1] < end:
        item = WatchedTask(task_id="a", started_at=NOW, asked_at=NOW + ages[-1], estimate=estimate, **more)
        planned = plan(input_of(item, pace=pace), NOW + ages[-1])
        assert planned is not None
        assert planned.ask is Ask.STATUS
        ages.append(planned.at - NOW)
    return ages[1:]


# --- what is asked -----------------------------------------------------------------------------------


def test_without_waiters_nothing_is_asked() -> None:
    """Also where a list would teach something, or a delivery is to be confirmed."""
    assert plan(input_of(), NOW) is None
    assert plan(input_of(needs_training=True, signal_at=NOW), NOW) is None


def test_a_task_that_waits_alone_is_asked_for_by_itself() -> None:
    """Its status is a smaller answer than the list."""
    planned = next_poll(watched("a"))
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "a")


def test_the_details_of_a_task_of_unknown_model_are_asked_for() -> None:
    """They have its model and age, for one request as well."""
    planned = next_poll(watched("a", unknown=True))
    assert (planned.ask, planned.task_id) == (Ask.DETAILS, "a")


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_several_tasks_are_asked_for_together(count: int) -> None:
    planned = next_poll(*(watched(str(number)) for number in range(count)))
    assert (planned.ask, planned.task_id) == (Ask.LIST, None)


def test_doubts_about_several_tasks_are_settled_by_one_list() -> None:
    """Unless the list does not show them, or there is none, or they have ended and their details are wanted."""
    doubtful = {"needs_details": True, "in_doubt": True, "failed": True}
    several = [watched(str(number), **doubtful) for number in range(DOUBTS_PER_LIST)]
    assert next_poll(*several).ask is Ask.LIST
    assert next_poll(several[0]).ask is Ask.DETAILS
    assert next_poll(*several, lists_work=False).ask is Ask.DETAILS
    assert next_poll(*(item._replace(unlisted=True) for item in several)).ask is Ask.DETAILS
    assert next_poll(*(watched(str(number), needs_details=True) for number in range(9))).ask is Ask.DETAILS


def test_without_lists_tasks_are_asked_for_in_turn() -> None:
    """The longest unasked first, be they few or many."""
    for count in (2, SAMPLE, SAMPLE + 1, 1000):
        items = [watched(str(number), age=60.0, asked=10 + number) for number in range(count)]
        planned = next_poll(*items, lists_work=False)
        assert (planned.ask, planned.task_id) == (Ask.STATUS, str(count - 1))


def test_an_unlisted_task_is_asked_for_by_itself() -> None:
    """The others still share a list."""
    items = [watched("a"), watched("b"), watched("c", unlisted=True, asked=100.0)]
    planned = next_poll(*items)
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "c")
    assert next_poll(*items[:2], watched("c", unlisted=True, asked=0.0)).ask is Ask.LIST


def test_a_task_that_was_never_asked_for_is_asked_for_at_once() -> None:
    """Alone or together: the first status is news to its waiter."""
    assert next_poll(watched("a", asked=None)).at <= NOW
    together = next_poll(watched("a", asked=None), watched("b", asked=0.0))
    assert together.ask is Ask.LIST
    assert together.at <= NOW


def test_a_task_outside_of_the_sample_that_was_never_asked_for_goes_first() -> None:
    sample = [watched(str(number), asked=30.0) for number in range(SAMPLE)]
    batch = Batch(waiting=100, sample=sample, asked_at=-inf, longest_unasked="new")
    given = PollInput(singles=[], batch=batch, pace=PACE, lists_work=False)
    assert plan(given, NOW) == Plan(Ask.STATUS, -inf, "new")
    assert plan(given._replace(signal_at=NOW), NOW) == Plan(Ask.DETAILS, -inf, "new")


def test_many_tasks_in_turn_leave_their_share_to_unlisted_ones() -> None:
    """And where none of them can be done yet, none is asked for."""
    batch = [watched(str(number), age=90.0, asked=10.0 + number) for number in range(3 * SAMPLE)]
    longest = next_poll(*batch, watched("unlisted", age=90.0, asked=20.0, unlisted=True), lists_work=False)
    assert longest.task_id == str(len(batch) - 1)
    longest = next_poll(*batch, watched("unlisted", age=90.0, asked=100.0, unlisted=True), lists_work=False)
    assert longest.task_id == "unlisted"
    young = [watched(str(number), age=5.0, asked=1.0, estimate=KNOWN) for number in range(3 * SAMPLE)]
    assert next_poll(*young, lists_work=False).at > NOW + 10


# --- what goes first ---------------------------------------------------------------------------------


@pytest.mark.parametrize("since", [-inf, NOW - 1.0, NOW])
@pytest.mark.parametrize(
    "conditions", [{}, {"list_seconds": 30.0}, {"lists_work": False}, {"needs_training": True}, {"signal_at": NOW}]
)
def test_an_output_that_is_waited_for_goes_before_polls_that_are_overdue(
    since: float, conditions: dict[str, Any]
) -> None:
    """Where the limit leaves every poll late, the waiter of a task that has ended still gets its video first."""
    batch = [watched(str(number), asked=None if number % 5 else 30.0 + number) for number in range(3 * SAMPLE)]
    unlisted = watched("unlisted", asked=100.0, unlisted=True)
    planned = next_poll(unlisted, *batch, watched("done", needs_details=True, not_before=since), **conditions)
    assert (planned.ask, planned.task_id) == (Ask.DETAILS, "done")
    assert planned.at <= NOW


def test_outputs_are_asked_for_one_by_one() -> None:
    """The list is not read for the details of tasks that have ended."""
    items = [watched(str(number), needs_details=True) for number in range(3)]
    assert next_poll(*items, watched("z")) == Plan(Ask.DETAILS, -inf, "0")


@pytest.mark.parametrize("more", [{}, {"needs_details": True}, {"unlisted": True}, {"unknown": True}])
@pytest.mark.parametrize("signal_at", [None, NOW])
def test_a_task_is_left_alone_until_its_backoff_is_over(more: dict[str, bool], signal_at: float | None) -> None:
    assert next_poll(watched("a", asked=60.0, not_before=NOW + 7, **more), signal_at=signal_at).at == NOW + 7


def test_tasks_whose_polls_fail_leave_most_of_the_limit_to_the_others() -> None:
    """It may be so for ever: no two of them follow each other closely."""
    broken = [watched(str(number), needs_details=True, failed=True, not_before=NOW - 50) for number in range(20)]
    batch = [watched("a", asked=2.0), watched("b", asked=2.0)]
    assert next_poll(*broken, *batch).ask is Ask.DETAILS
    assert next_poll(*broken, *batch, retried_at=NOW - 0.5).ask is Ask.LIST
    later = broken[0]._replace(not_before=NOW + 7.0)
    assert next_poll(later, retried_at=NOW).at == NOW + 7.0


# --- webhook deliveries ------------------------------------------------------------------------------


def test_a_delivery_is_confirmed_by_one_list() -> None:
    """Which answers for all tasks, before any poll that is overdue."""
    batch = [watched(str(number), asked=30.0) for number in range(3)]
    assert next_poll(*batch, watched("x", asked=500.0, unlisted=True), signal_at=NOW) == Plan(Ask.LIST, -inf)
    assert next_poll(*(watched(str(number), asked=0.0) for number in range(3)), signal_at=NOW + 0.1).at == NOW + 0.1


@pytest.mark.parametrize("conditions", [{}, {"lists_work": False}])
def test_for_the_only_task_a_delivery_is_confirmed_by_its_details(conditions: dict[str, Any]) -> None:
    """They are a smaller answer than the list, and have the output as well."""
    assert next_poll(watched("a", asked=0.0), signal_at=NOW, **conditions) == Plan(Ask.DETAILS, -inf, "a")


def test_without_lists_a_delivery_is_confirmed_by_the_longest_unasked_task() -> None:
    items = [watched("a", asked=1.0), watched("b", asked=0.5)]
    assert next_poll(*items, signal_at=NOW, lists_work=False) == Plan(Ask.DETAILS, -inf, "a")


def test_a_follower_leaves_deliveries_to_the_process_that_polls() -> None:
    planned = next_poll(watched("a", asked=10.0, followed=True), followed=True, signal_at=NOW)
    assert planned.at == NOW - 10.0 + MAX_FOLLOWER_INTERVAL_S


# --- lists and how far they are trusted --------------------------------------------------------------


@given(paces, durations, st.integers(0, 1000))
def test_more_waiters_never_make_the_list_the_worse_choice(pace: float, list_seconds: float, waiting: int) -> None:
    """One alone has nothing to gain from a list; and where n gain, n + 1 do."""
    assert not list_is_cheaper(1, pace, list_seconds)
    if list_is_cheaper(waiting, pace, list_seconds):
        assert list_is_cheaper(waiting + 1, pace, list_seconds)
        assert list_is_cheaper(waiting, pace, list_seconds / 2)
        assert waiting * pace / 2 > list_seconds


def test_slow_lists_give_way_to_single_polls() -> None:
    """Few tasks are known sooner in turns, the longest unasked first; many still share a list."""
    items = [watched("a", asked=7.0), watched("b", asked=9.0), watched("c", asked=8.0)]
    planned = next_poll(*items, list_seconds=5.0)
    assert (planned.ask, planned.task_id) == (Ask.STATUS, "b")
    assert next_poll(*(watched(str(number)) for number in range(100)), list_seconds=5.0).ask is Ask.LIST


@pytest.mark.parametrize(
    ("overdue", "is_probed"),
    [
        ({"age": 200.0, "estimate": KNOWN}, True),
        ({"age": 200.0, "estimate": KNOWN, "single_at": NOW - PROBE_INTERVAL_S / 2}, False),
        ({"age": 200.0, "estimate": KNOWN, "single_at": NOW - 2 * PROBE_INTERVAL_S}, True),
        ({"age": 100.0, "estimate": KNOWN}, False),
        ({"age": 2 * PROBE_INTERVAL_S}, True),
        ({"age": PROBE_INTERVAL_S / 2}, False),
        ({"age": 2 * PROBE_INTERVAL_S, "not_before": NOW + 60}, False),
    ],
)
def test_an_overdue_task_is_probed_once_a_minute_in_place_of_a_list(overdue: dict[str, Any], is_probed: bool) -> None:
    """Past its 95th percentile, or a minute old while nothing is known. The others never wait longer for it."""
    items = [watched("young", age=5.0, estimate=KNOWN), watched("old", **overdue), watched("z", age=6.0)]
    usual, planned = next_poll(*items), next_poll(*items, may_probe=True)
    assert usual.ask is Ask.LIST
    assert planned.at == usual.at
    assert planned[::2] == ((Ask.STATUS, "old") if is_probed else (Ask.LIST, None))
    assert planned.is_probe is is_probed


def test_of_several_overdue_tasks_the_one_is_probed_that_was_not_asked_for_longest() -> None:
    items = [watched(str(number), age=500.0, single_at=NOW - 100 - number) for number in range(4)]
    assert next_poll(*items, may_probe=True).task_id == "3"


def test_a_batch_that_was_never_asked_for_is_not_probed() -> None:
    items = [watched(str(number), age=500.0, asked=None) for number in range(4)]
    assert next_poll(*items, may_probe=True) == Plan(Ask.LIST, -inf)


def test_one_list_teaches_how_long_tasks_take() -> None:
    """It reports as much as the poll that would have been due, at the same time."""
    lone = watched("a", asked=2.0)
    lesson, usual = next_poll(lone, needs_training=True), next_poll(lone)
    assert (lesson.ask, lesson.task_id, lesson.at) == (Ask.LIST, None, usual.at)
    # Where there is no list, or more than a status is wanted, nothing is learned.
    assert next_poll(lone, needs_training=True, lists_work=False) == usual
    assert next_poll(watched("a", needs_details=True), needs_training=True).ask is Ask.DETAILS
    assert next_poll(watched("a", unknown=True), needs_training=True).ask is Ask.DETAILS


def test_a_follower_asks_rarely() -> None:
    """The other process is not relied on for ever; and an output that is waited for does not wait for it."""
    items = [watched("a", asked=10.0, followed=True), watched("b", asked=20.0, followed=True)]
    assert next_poll(*items, followed=True) == Plan(Ask.LIST, NOW - 20.0 + MAX_FOLLOWER_INTERVAL_S)
    no_lists = next_poll(*items, followed=True, lists_work=False)
    assert no_lists == Plan(Ask.STATUS, NOW - 20.0 + MAX_FOLLOWER_INTERVAL_S, "b")
    assert next_poll(watched("new", asked=None), followed=True).at <= NOW
    assert next_poll(*items, watched("c", needs_details=True), followed=True).task_id == "c"
    unlisted = next_poll(watched("d", asked=30.0, followed=True, unlisted=True))
    assert unlisted == Plan(Ask.STATUS, NOW - 30.0 + MAX_FOLLOWER_INTERVAL_S, "d")


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
    """Whatever the estimate."""
    guess = estimate._replace(samples=min(estimate.samples, ENOUGH_SAMPLES - 1))
    assert polls_until(end, guess)[-1] - end <= min(MAX_INTERVAL_S, PACE + end / 5) + 1e-6
    # Where only old rows are known, by about twice its age.
    of_old_rows = estimate._replace(confirmed=False)
    assert polls_until(end, of_old_rows)[-1] - end <= min(MAX_INTERVAL_S, 3 * PACE + 2 * end) + 1e-6


def test_a_task_whose_end_is_announced_is_asked_for_seldom() -> None:
    """As long as webhooks announce what happens, but never left alone."""
    announced, usual = (polls_until(600.0, KNOWN, announced_at=at) for at in (NOW, None))
    assert len(announced) < len(usual) / 3
    assert all(late - early <= MAX_ANNOUNCED_INTERVAL_S + 1e-6 for early, late in pairwise(announced))


def test_the_more_ends_should_have_been_announced_the_sooner_a_poll_is_due() -> None:
    """Of fifty tasks one ends every second or so: some seconds without a webhook are suspicious; for one task not."""
    items = [watched(estimate=KNOWN, age=90.0, announced_at=NOW) for _ in range(50)]
    rate = 50 * KNOWN.hazard(90.0)
    assert interval(items, NOW, PACE) == pytest.approx(EXPECTED_DELIVERIES / rate, rel=0.3)
    assert interval(items[:1], NOW, PACE) == MAX_ANNOUNCED_INTERVAL_S
    # Each announced change shows that they come.
    lately = [item._replace(announced_at=NOW + 10) for item in items]
    assert interval(lately, NOW, PACE) == pytest.approx(10 + EXPECTED_DELIVERIES / rate, rel=0.3)


def test_a_consumer_of_every_change_misses_few() -> None:
    """A task may be queued, started and done before a poll for its end alone would be made."""
    assert interval([watched(estimate=KNOWN, age=2.0)], NOW, PACE) > MAX_INTERVAL_OF_CHANGES_S
    watching = interval([watched(estimate=KNOWN, age=2.0, changes_matter=True)], NOW, PACE)
    assert watching == pytest.approx(MAX_INTERVAL_OF_CHANGES_S)
    # One of them is enough.
    both = [watched(estimate=KNOWN, age=2.0), watched(estimate=KNOWN, age=2.0, changes_matter=True)]
    assert interval(both, NOW, PACE) <= MAX_INTERVAL_OF_CHANGES_S


@given(many, st.floats(NOW - 100, NOW), paces, st.none() | st.integers(1, 100_000))
def test_the_interval_is_never_below_the_pace_nor_above_the_longest(
    sample: list[WatchedTask], asked_at: float, pace: float, waiting: int | None
) -> None:
    longest = MAX_ANNOUNCED_INTERVAL_S if all(item.announced_at is not None for item in sample) else MAX_INTERVAL_S
    seconds = interval(sample, asked_at, pace, waiting=waiting)
    assert pace <= seconds <= max(pace, longest)


@given(many, st.floats(NOW - 100, NOW), paces, st.integers(1, 100_000))
def test_the_more_tasks_wait_the_sooner_they_are_asked_for(
    sample: list[WatchedTask], asked_at: float, pace: float, waiting: int
) -> None:
    """Down to the pace, give or take how exactly the interval is worked out."""
    few = interval(sample, asked_at, pace, waiting=waiting)
    most = interval(sample, asked_at, pace, waiting=100 * waiting)
    assert most <= few * 1.1
    assert interval([watched(age=90.0)], NOW, pace, waiting=10**7) == pace


def test_some_tasks_stand_for_all() -> None:
    """A hundred like one are as many as a hundred."""
    item = watched(age=90.0, estimate=KNOWN)
    assert interval([item], NOW, 0.01, waiting=100) == pytest.approx(interval([item] * 100, NOW, 0.01))
    alone = interval([item], NOW, 0.01)
    assert interval([item], NOW, 0.01, waiting=100) == pytest.approx(alone / 10, rel=0.15)


# --- whatever is waited for --------------------------------------------------------------------------


@given(many, conditions)
@settings(max_examples=60)
def test_if_a_task_waits_something_is_asked(items: list[WatchedTask], conditions: dict[str, Any]) -> None:
    """The plan names a task that waits for just this, or the list for those that it may show."""
    planned = next_poll(*items, **conditions)
    signal_at, followed = conditions.get("signal_at"), conditions.get("followed", False)
    if planned.ask is Ask.LIST:
        assert planned.task_id is None
        assert conditions["lists_work"]
        listed = [item for item in items if not item.needs_details and not item.unlisted]
        assert len(listed) > 1 or conditions.get("needs_training", False) or (followed and listed)
        return
    (item,) = (item for item in items if item.task_id == planned.task_id)
    if planned.ask is Ask.DETAILS:
        assert item.needs_details or item.unknown or signal_at is not None
    else:
        assert not item.needs_details
    if item.needs_details:
        assert planned.at >= item.not_before or item.not_before <= NOW


@given(many, conditions)
@settings(max_examples=60)
def test_no_task_is_left_unasked_for_longer_than_the_longest_interval(
    items: list[WatchedTask], conditions: dict[str, Any]
) -> None:
    planned = next_poll(*items, **conditions)
    for item in items:
        if item.needs_details:
            assert planned.at <= max(NOW, item.not_before)
            continue
        longest = MAX_ANNOUNCED_INTERVAL_S if item.announced_at is not None else MAX_INTERVAL_S
        if not item.unlisted and conditions.get("followed"):
            longest = MAX_FOLLOWER_INTERVAL_S
        turn = max((other.not_before for other in items if not other.needs_details), default=-inf)
        assert planned.at <= max(item.asked_at + max(conditions["pace"], longest), turn)


kinds = st.builds(
    WatchedTask,
    task_id=st.just(""),
    started_at=st.floats(NOW - 600, NOW),
    estimate=estimates,
    unlisted=st.booleans(),
    needs_details=st.booleans(),
    announced_at=st.none() | moments,
    changes_matter=st.booleans(),
    unknown=st.booleans(),
    asked_at=st.just(-inf),
    single_at=st.just(-inf),
    not_before=st.just(-inf),
    in_doubt=st.just(False),
    failed=st.just(False),
    followed=st.just(False),
)


@given(st.lists(kinds, min_size=1, max_size=25), st.sampled_from([0.0, 0.5, 3.0, 20.0]), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_task_gets_its_turn_however_crowded_it_is(
    some: list[WatchedTask], list_seconds: float, lists_work: bool, probes: bool
) -> None:
    """A poller that follows the plan, one request a pace, leaves no task out, young or old, listed or not."""
    now = NOW
    state = {str(number): item._replace(task_id=str(number)) for number, item in enumerate(some)}
    answered = dict.fromkeys(state, now)
    longest = MAX_ANNOUNCED_INTERVAL_S + 2 * len(state) * PACE + 2 * list_seconds
    lists = 0
    for _ in range(6 * len(state) + 20):
        given = input_of(
            *state.values(),
            may_probe=probes and lists >= 3,
            list_seconds=list_seconds,
            lists_work=lists_work,
        )
        planned = plan(given, now)
        if planned is None:
            break
        now = max(now + PACE, planned.at)
        if planned.ask is Ask.LIST:
            now += list_seconds
            lists += 1
            asked = [key for key, item in state.items() if not item.needs_details and not item.unlisted]
        else:
            assert planned.task_id is not None
            asked = [planned.task_id]
            lists = 0 if planned.is_probe else lists
        for task_id in asked:
            answered[task_id] = now
            state[task_id] = state[task_id]._replace(asked_at=now, unknown=False)
            if planned.ask is not Ask.LIST:
                state[task_id] = state[task_id]._replace(single_at=now)
        if planned.ask is Ask.DETAILS and state[asked[0]].needs_details:
            del state[asked[0]], answered[asked[0]]
        assert all(now - at <= longest for at in answered.values())
