"""The limit that many share: one text, many members, and a service that counts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import pairwise
from math import inf
from typing import Any, Final

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from aivideomaker_async._limits.quota import MARGIN, UNANSWERED, usual_burst
from aivideomaker_async._limits.shared_quota import Answer, SharedQuota, Visit, lease
from tests.support.servers import ExactSliding

MINUTE: Final = 60.0
PACE: Final = 60 / 57
GRACE: Final = PACE / 4
HELD: Final = MINUTE * (1 + MARGIN)


class Place:
    """Where the text lies, with the members' ways to visit it."""

    def __init__(self, limit: int = 60, window: float = MINUTE, burst: int | None = None) -> None:
        self.limit, self.window = limit, window
        self.burst = usual_burst(limit) if burst is None else burst
        self.text: str | None = None
        self.numbers = 0

    def load(self, now: float) -> SharedQuota:
        return SharedQuota.load(self.limit, self.window, self.burst, self.text, now)

    def visit(self, now: float, member: str = "a", **told: Any) -> Answer:
        self.numbers += 100
        shared = self.load(now)
        answer = shared.visit(Visit(member=member, first=self.numbers, **told))
        self.text = shared.dump()
        return answer

    def granted(self, now: float, member: str = "a", **told: Any) -> str:
        """The one permit that a visit brings."""
        (permit,) = self.visit(now, member, foreground=1, **told).granted
        return permit

    def used(self, now: float) -> int:
        """How many permits count, as somebody sees who asks for nothing."""
        return self.visit(now, "onlooker").in_window


# --- permits -----------------------------------------------------------------------------------------


def test_a_burst_goes_at_once_and_the_rest_at_the_pace() -> None:
    """As with a quota of one's own."""
    place = Place()
    answer = place.visit(100.0, foreground=5)
    assert len(set(answer.granted)) == 3
    assert answer.again_in == pytest.approx(PACE)
    assert place.visit(100.0 + PACE, foreground=2).granted != ()


def test_a_permit_counts_until_a_window_after_it_is_settled() -> None:
    """Whoever settled it, and however long it was under way."""
    place = Place()
    permit = place.granted(0.0)
    for now in range(0, 300, 5):
        assert place.visit(float(now), held=[permit]).in_window == 1
    place.visit(300.0, settled={permit: 0.0})
    assert place.used(300.0 + HELD - 0.01) == 1
    assert place.used(300.0 + HELD) == 0


def test_a_permit_that_was_settled_before_it_is_told_counts_from_then() -> None:
    """The cell may not have been at hand when the answer came."""
    place = Place()
    permit = place.granted(0.0)
    place.visit(8.0, settled={permit: 5.0})
    assert place.used(3.0 + HELD - 0.01) == 1
    assert place.used(3.0 + HELD) == 0


def test_a_request_without_an_answer_counts_as_if_it_came_late() -> None:
    """For seconds more, and not for as long as somebody says."""
    for later in (UNANSWERED, 1e9):
        place = Place()
        place.visit(1.0, settled={place.granted(0.0): -later})
        assert place.used(1.0 + UNANSWERED + HELD - 0.01) == 1
        assert place.used(1.0 + UNANSWERED + HELD) == 0


@pytest.mark.parametrize("told", [{"settled": 0.0}, {"refunded": None}])
def test_to_tell_the_same_twice_changes_nothing(told: dict[str, float | None]) -> None:
    """It is not known of a lost answer whether the visit was made."""
    place = Place()
    permit = place.granted(0.0)
    words: dict[str, Any] = {what: {permit: age} if age is not None else [permit] for what, age in told.items()}
    first = place.visit(1.0, **words)
    assert place.visit(1.0, **words) == first
    assert first.in_window == (1 if "settled" in told else 0)


def test_a_refund_gives_the_permit_back() -> None:
    """To whoever asks next; one that is not known gives nothing."""
    place = Place(limit=1)
    permit = place.granted(0.0)
    assert place.visit(1.0, "b", foreground=1, refunded=["never-1"]).granted == ()
    assert place.visit(1.0, refunded=[permit]).in_window == 0
    assert len(place.visit(1.0 + GRACE, "b", foreground=1).granted) == 1


def test_the_permits_of_a_process_that_was_killed_expire() -> None:
    """After the lease they count as settled, and after a window they are gone."""
    place = Place(limit=1)
    place.granted(0.0)
    assert place.used(lease(MINUTE) + HELD - 0.01) == 1
    assert place.visit(lease(MINUTE) + HELD, "b", foreground=1).granted != ()


def test_a_process_that_was_held_up_goes_on_with_its_permit() -> None:
    """Its lease has run out, and the request is under way all the same; it counts once."""
    place = Place()
    permit = place.granted(0.0)
    assert place.visit(20.0, held=[permit]).in_window == 1
    assert place.visit(25.0, settled={permit: 0.0}).in_window == 1
    assert place.used(25.0 + HELD - 0.01) == 1
    assert place.used(25.0 + HELD) == 0


def test_a_lease_that_ran_out_can_be_refunded() -> None:
    """Nothing was sent."""
    place = Place()
    permit = place.granted(0.0)
    assert place.visit(20.0, refunded=[permit]).in_window == 0


def test_a_refusal_stops_everybody() -> None:
    """Whoever heard it; and the pause ends without a burst."""
    place = Place()
    answer = place.visit(0.0, "a", pause=30.0)
    assert answer.paused_for == 30.0
    waiting = place.visit(1.0, "b", foreground=2)
    assert (waiting.granted, waiting.paused_for) == ((), 29.0)
    assert len(place.visit(30.0, "b", foreground=2).granted) == 1
    assert place.visit(30.0, "a", pause=1e9).paused_for == 3600.0


def test_members_may_have_different_limits() -> None:
    """Each keeps to its own: the stricter one stops earlier."""
    place = Place(limit=10, burst=10)
    place.visit(0.0, "a", foreground=5)
    place.limit = place.burst = 5
    assert place.visit(0.0, "b", foreground=1).granted == ()
    place.limit = place.burst = 10
    assert place.visit(GRACE * 100, "a", foreground=1).granted != ()


def test_what_went_out_elsewhere_can_be_told() -> None:
    """A quota that stood in tells its permits with their ages, and its pause."""
    spare, place = Place(), Place()
    old, open_ = spare.granted(0.0), spare.granted(1.0)
    spare.visit(2.0, settled={old: 0.0}, pause=30.0)
    ages = spare.load(5.0).ages()
    assert ages == {old: 3.0}
    assert spare.load(5.0).paused_for() == 27.0
    assert place.visit(1000.0, settled=ages, held=[open_]).in_window == 2
    assert place.used(1000.0 - 3.0 + HELD) == 1


# --- the text ----------------------------------------------------------------------------------------

GARBAGE: Final = [
    "",
    "null",
    "[]",
    "{}",
    "[" * 100_000,
    '{"version":1}',
    "\x00\xff",
    '{"version": 2, "window": 60.0}',
]


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_a_text_that_says_nothing_is_started_anew_without_a_burst(text: str) -> None:
    """What went before is not known; at the pace it does not matter."""
    place = Place()
    place.text = text
    answer = place.visit(100.0, foreground=5)
    assert answer.granted == ()
    assert answer.again_in == pytest.approx(PACE)
    assert len(place.visit(100.0 + PACE, foreground=5).granted) == 1


WRONG: Final[list[tuple[str, Any]]] = [
    ("version", 2),
    ("window", 61.0),
    ("now", 1e18),
    ("now", "now"),
    ("tokens", float("nan")),
    ("tokens", True),
    ("refilled_at", 1e18),
    ("refilled_at", 10**400),
    ("paused_until", 1e18),
    ("open", {"a-1": 1e18}),
    ("open", []),
    ("settled", {"a-1": 1e18}),
    ("settled", {"a-1": None}),
    ("members", {"a": [0.0, 0.0, 1e18, 0]}),
    ("members", {"a": [0.0, 0.0, 0.0, 7]}),
    ("members", {"a": [0.0]}),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=range(len(WRONG)))
def test_no_wrong_value_blocks_anybody(name: str, value: object) -> None:
    """A moment that cannot be is taken for damage, not for a reason to wait."""
    place = Place()
    place.visit(100.0, foreground=5)
    assert place.text is not None
    place.text = json.dumps({**json.loads(place.text), name: value})
    answer = place.visit(101.0, foreground=5)
    assert (answer.granted, answer.in_window) == ((), 0)
    assert answer.again_in == pytest.approx(PACE)


def test_a_clock_that_was_started_again_starts_anew_without_a_burst() -> None:
    """After a reboot all that was written lies in the future."""
    place = Place()
    place.visit(5_000_000.0, foreground=5, pause=100.0)
    answer = place.visit(30.0, foreground=5)
    assert (answer.granted, answer.paused_for) == ((), 0.0)
    assert len(place.visit(30.0 + PACE, foreground=5).granted) == 1


def test_a_clock_that_runs_back_a_little_gives_nothing_away() -> None:
    """The last reading holds."""
    place = Place(limit=3, burst=3)
    place.visit(100.0, foreground=3)
    answer = place.visit(95.0, foreground=1)
    assert (answer.granted, answer.in_window) == ((), 3)


def test_the_text_stays_small() -> None:
    """Who has not come for a window is forgotten, and so are permits."""
    place = Place()
    for number in range(300):
        answer = place.visit(number * PACE, f"member-{number}", foreground=1)
        place.visit(number * PACE, f"member-{number}", settled=dict.fromkeys(answer.granted, 0.0))
    assert place.text is not None
    assert len(place.text) < 10_000
    assert place.used(1e6) == 0
    assert place.visit(1e6).members == 2


# --- whose turn it is --------------------------------------------------------------------------------


def exhausted(*members: str) -> Place:
    """All have been served, in this order, and the next request may go at PACE."""
    place = Place(burst=1)
    now = -PACE * len(members)
    for member in members:
        now += PACE
        place.visit(now, member, settled={place.granted(now, member): 0.0})
    return place


def test_who_was_served_longest_ago_goes_next() -> None:
    """However many wait elsewhere; the others come a grace later each."""
    place = exhausted("a", "b", "c")
    told = {member: place.visit(0.1, member, foreground=1000).again_in for member in "cab"}
    assert told == pytest.approx({"c": PACE - 0.1, "a": PACE - 0.1, "b": PACE - 0.1 + GRACE})
    assert len(place.visit(PACE, "a", foreground=1000).granted) == 1


def test_out_of_turn_means_to_come_again() -> None:
    """The one whose turn it is has a grace to come."""
    place = exhausted("a", "b")
    for member in "ab":
        place.visit(0.1, member, foreground=1)
    early = place.visit(PACE, "b", foreground=1)
    assert early.granted == ()
    assert early.again_in == pytest.approx(GRACE)
    assert place.visit(PACE + GRACE, "b", foreground=1).granted != ()


def test_who_does_not_come_loses_the_turn_and_keeps_the_place() -> None:
    """Nobody waits for it again, and when it comes it goes first."""
    place = exhausted("a", "b")
    for member in "ab":
        place.visit(0.1, member, foreground=1)
    now = PACE + GRACE
    for _ in range(3):
        assert place.visit(now, "b", foreground=1).granted != ()
        now += PACE
    assert place.visit(now, "a", foreground=1).granted != ()


def test_a_user_goes_before_polls_of_other_processes() -> None:
    """Although its process was served last."""
    place = exhausted("a", "b", "c")
    for member in "ab":
        place.visit(0.1, member, background=1)
    assert place.visit(0.1, "c", foreground=1).again_in == pytest.approx(PACE - 0.1)


def test_users_without_end_do_not_starve_the_polls_of_another_process() -> None:
    """They have at least every tenth turn."""
    place, now, turns = exhausted("a", "b"), 0.1, list[str]()
    due, over = {"a": now, "b": now}, dict[str, float]()
    while len(turns) < 100:
        member = min(due, key=due.__getitem__)
        now = due[member]
        answer = place.visit(now, member, settled=over, **{"foreground" if member == "a" else "background": 5})
        turns += [member] * len(answer.granted)
        over = dict.fromkeys(answer.granted, 0.0)
        assert answer.again_in is not None
        due[member] = now + answer.again_in
    assert 10 <= turns.count("b") <= 30


def test_polls_leave_the_last_token_unless_a_user_waits() -> None:
    """In whatever process; a user of another process finds it."""
    place = Place()
    answer = place.visit(0.0, "a", background=5)
    assert len(answer.granted) == 2
    assert answer.again_in == pytest.approx(PACE)
    assert len(place.visit(0.1, "b", foreground=1).granted) == 1


def test_whoever_was_told_a_later_moment_does_not_hold_up_a_user() -> None:
    """A poll waits for two tokens; the one that is there goes to the user at once, whoever was served longer ago."""
    place = Place()
    place.visit(0.0, "b", foreground=1)
    place.visit(0.1, "b", background=1)
    place.visit(0.2, "a", background=9)
    place.visit(0.3, "b", background=9)
    assert len(place.visit(0.4, "c", foreground=1).granted) == 1


def test_a_full_window_is_looked_at_again() -> None:
    """Nobody knows when an answer comes, or when a permit is given back."""
    place = Place(limit=2, burst=2)
    place.visit(0.0, foreground=2)
    assert place.visit(5.0, "b", foreground=1).again_in == 5.0
    assert Place(1, 1.0).visit(0.0, "b", foreground=2).again_in == 0.25


def test_how_many_share_the_limit_is_told() -> None:
    """Those who came within a window."""
    place = Place()
    assert [place.visit(0.0, member).members for member in "abca"] == [1, 2, 3, 3]
    assert place.visit(30.0, "a").members == 3
    assert place.visit(80.0, "a").members == 1


# --- many members, simulated -------------------------------------------------------------------------


@define(eq=False)
class Member:
    """A process: so many wait in it at any time, and each of its requests takes its time."""

    name: str
    waiters: int = 1
    background: bool = False
    slow: float = 0.0
    """Seconds by which it may come late."""
    dies_at: float = inf
    served: list[float] = field(factory=list[float])
    over: dict[str, float] = field(factory=dict[str, float])
    """Permits that the next visit settles, and when they were over."""
    held: set[str] = field(factory=set[str])


class World:
    """Many members, one place, and a service that counts arrivals."""

    def __init__(self, place: Place, members: list[Member], seed: int, latency: float) -> None:
        self.place, self.rnd, self.latency = place, random.Random(seed), latency
        self.arrivals: list[float] = []
        self.visits = 0
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        for member in members:
            self.at(self.rnd.uniform(0, 1e-3), self.coming(member))

    def at(self, when: float, what: Callable[[float], None]) -> None:
        heappush(self.events, (when, len(self.events) + self.visits * 10_000, what))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] < until:
            now, _, what = heappop(self.events)
            what(now)

    def coming(self, member: Member) -> Callable[[float], None]:
        return lambda now: self.come(member, now)

    def come(self, member: Member, now: float) -> None:
        if now >= member.dies_at:
            return
        self.visits += 1
        asks = {"background" if member.background else "foreground": member.waiters}
        told = {permit: now - at for permit, at in member.over.items()}
        answer = self.place.visit(now, member.name, settled=told, held=member.held, **asks)
        member.over.clear()
        for permit in answer.granted:
            member.served.append(now)
            member.held.add(permit)
            self.send(member, permit, now)
        # Whoever has been served comes again soon.
        again_in = 0.01 if answer.again_in is None else min(answer.again_in, lease(self.place.window) / 3)
        self.at(now + again_in + self.rnd.uniform(0, member.slow), self.coming(member))

    def send(self, member: Member, permit: str, now: float) -> None:
        arrives = now + self.rnd.uniform(0, self.latency)
        over = arrives + self.rnd.uniform(0, self.latency)
        # A process that is killed sends nothing any more.
        if arrives < member.dies_at:
            self.arrivals.append(arrives)

        def end(at: float) -> None:
            member.held.discard(permit)
            member.over[permit] = at

        self.at(over, end)

    def refused(self) -> int:
        counter = ExactSliding(self.place.limit, self.place.window)
        return sum(not counter.admit(at) for at in sorted(self.arrivals))


crowds = st.lists(
    st.builds(
        lambda waiters, background, slow: (waiters, background, slow),
        st.sampled_from([1, 2, 1000]),
        st.booleans(),
        st.sampled_from([0.0, 0.01, 0.1]),
    ),
    min_size=1,
    max_size=8,
)


@given(
    crowds, st.integers(0, 9), st.sampled_from([(60, MINUTE), (10, 5.0), (3, 1.0)]), st.sampled_from([0.0, 0.3, 2.0])
)
@settings(max_examples=25, deadline=None)
def test_no_crowd_exceeds_the_limit_whatever_the_latency(
    crowd: list[tuple[int, bool, float]], seed: int, limit: tuple[int, float], latency: float
) -> None:
    """Arrivals are counted exactly, and each member is served."""
    members = [Member(str(n), *each) for n, each in enumerate(crowd)]
    world = World(Place(*limit), members, seed, latency * limit[1] / MINUTE)
    polls = sum(member.background for member in members)
    paces = 10 + 2 * (len(members) - polls) + 5 * polls
    world.run(max(3.0, paces / limit[0]) * limit[1] / 0.95)
    assert world.refused() == 0
    assert all(member.served for member in members)


@given(st.lists(st.sampled_from([1, 3, 1000]), min_size=2, max_size=10), st.booleans(), st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_every_process_gets_its_fair_share(waiters: list[int], background: bool, seed: int) -> None:
    """One with a single waiter as much as one with a thousand, and the limit is used."""
    members = [Member(str(number), count, background, slow=0.02) for number, count in enumerate(waiters)]
    world = World(Place(), members, seed, latency=0.1)
    world.run(3 * MINUTE)
    shares = [len(member.served) for member in members]
    assert sum(shares) >= 0.97 * 171
    assert max(shares) - min(shares) <= 0.1 * max(shares) + 3


@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 5))
@settings(max_examples=8, deadline=None)
def test_processes_that_die_do_not_delay_the_others(seed: int, dying: int, living: int) -> None:
    """Nor do they keep their permits."""
    dead = [Member(f"dead-{n}", 1000, dies_at=20.0 + 7 * n) for n in range(dying)]
    alive = [Member(f"alive-{n}", 5, slow=0.01) for n in range(living)]
    world = World(Place(), [*dead, *alive], seed, latency=0.2)
    world.run(3 * MINUTE)
    assert world.refused() == 0
    served = sorted(at for member in alive for at in member.served)
    late = [b - a for a, b in pairwise(served) if a > 20.0 + 7 * dying]
    assert max(late) <= 2 * PACE
    assert sum(at >= 2 * MINUTE for at in served) >= 0.95 * 57


def test_two_kinds_of_demand_share_by_priority() -> None:
    """Users of two processes and polls of two others: each poll has its turn, most turns are the users'."""
    users, polls = [Member("u1", 9), Member("u2", 9)], [Member("p1", 9, True), Member("p2", 9, True)]
    world = World(Place(), [*users, *polls], 1, latency=0.1)
    world.run(10 * MINUTE)
    assert all(len(member.served) >= 200 for member in users)
    assert all(len(member.served) >= 15 for member in polls)


def test_few_visits_are_made() -> None:
    """A few a second, however many wait in each of many processes."""
    for count in (1, 2, 30):
        world = World(Place(), [Member(str(n), 100) for n in range(count)], 1, latency=0.1)
        world.run(MINUTE)
        assert world.visits <= 60 * (2 + 0.7 * count)
