"""The text that many members share: what they report, whose turn it is, and simulated crowds against a service."""

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

from aivideomaker_async._limits.quota import UNANSWERED_S, holding_time, usual_burst
from aivideomaker_async._limits.shared_quota import QuotaReply, QuotaRequest, SharedQuota, lease
from tests.support.servers import ExactSliding

MINUTE: Final = 60.0
PACE: Final = 60 / 57
GRACE: Final = PACE / 4
HELD: Final = holding_time(MINUTE)


class Place:
    """A text, and a way for members to send requests."""

    def __init__(self, limit: int = 60, window: float = MINUTE, burst: int | None = None) -> None:
        self.limit, self.window = limit, window
        self.burst = usual_burst(limit) if burst is None else burst
        self.text: str | None = None
        self.numbers = 0

    def load(self, now: float) -> SharedQuota:
        return SharedQuota.load(self.limit, self.window, self.burst, self.text, now)

    def send(self, now: float, member: str = "a", **request: Any) -> QuotaReply:
        self.numbers += 100
        quota = self.load(now)
        reply = quota.handle(QuotaRequest(member=member, first=self.numbers, **request))
        self.text = quota.dump()
        return reply

    def granted(self, now: float, member: str = "a") -> str:
        """Return the one permit that a waiter gets."""
        (permit,) = self.send(now, member, foreground=1).granted
        return permit

    def in_window(self, now: float) -> int:
        """Return how many permits count, as a member without waiters sees it."""
        return self.send(now, "onlooker").in_window


# --- permits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "counts_from"),
    [
        pytest.param(0.0, 0.0, id="reported at once"),
        pytest.param(5.0, -5.0, id="reported later, since the store was not at hand"),
        pytest.param(-UNANSWERED_S, UNANSWERED_S, id="without an answer"),
        pytest.param(-1e9, UNANSWERED_S, id="nonsense"),
    ],
)
def test_a_permit_counts_from_when_its_request_was_over(age: float, counts_from: float) -> None:
    place = Place()
    place.send(8.0, settled={place.granted(0.0): age})
    assert place.in_window(8.0 + counts_from + HELD - 0.01) == 1
    assert place.in_window(8.0 + counts_from + HELD) == 0


@pytest.mark.parametrize(("report", "in_window"), [("settled", 1), ("refunded", 0)])
def test_sending_the_same_report_twice_has_no_effect(report: str, in_window: int) -> None:
    """Without a reply it is unknown whether the request arrived."""
    place = Place()
    permit = place.granted(0.0)
    request: dict[str, Any] = {report: {permit: 0.0} if report == "settled" else [permit]}
    first = place.send(1.0, **request)
    assert place.send(1.0, **request) == first
    assert first.in_window == in_window


def test_the_permits_of_a_killed_process_expire() -> None:
    """After the lease they count as settled, and after a window no more."""
    place = Place(limit=1)
    place.granted(0.0)
    assert place.in_window(lease(MINUTE) + HELD - 0.01) == 1
    assert place.send(lease(MINUTE) + HELD, "b", foreground=1).granted != ()


def test_a_process_that_was_held_up_keeps_its_permit() -> None:
    """The lease has ended, and the request is in flight all the same; it counts once."""
    place = Place()
    permit = place.granted(0.0)
    assert place.send(20.0, in_flight=[permit]).in_window == 1
    assert place.send(25.0, settled={permit: 0.0}).in_window == 1
    assert place.in_window(25.0 + HELD - 0.01) == 1
    assert place.in_window(25.0 + HELD) == 0


def test_a_permit_whose_lease_ended_can_be_refunded() -> None:
    place = Place()
    permit = place.granted(0.0)
    assert place.send(20.0, refunded=[permit]).in_window == 0


def test_a_pause_of_one_member_stops_all_and_ends_without_a_burst() -> None:
    place = Place()
    assert place.send(0.0, "a", pause=30.0).paused_for == 30.0
    waiting = place.send(1.0, "b", foreground=2)
    assert (waiting.granted, waiting.paused_for) == ((), 29.0)
    assert len(place.send(30.0, "b", foreground=2).granted) == 1


def test_members_may_have_different_limits() -> None:
    """Each keeps to its own: the stricter one stops earlier."""
    place = Place(limit=10, burst=10)
    place.send(0.0, "a", foreground=5)
    place.limit = place.burst = 5
    assert place.send(0.0, "b", foreground=1).granted == ()
    place.limit = place.burst = 10
    assert place.send(GRACE * 100, "a", foreground=1).granted != ()


def test_requests_sent_under_another_quota_can_be_reported() -> None:
    """The fallback hands over its permits with their ages, and its pause."""
    fallback, place = Place(), Place()
    old, in_flight = fallback.granted(0.0), fallback.granted(1.0)
    fallback.send(2.0, settled={old: 0.0}, pause=30.0)
    ages = fallback.load(5.0).ages()
    assert ages == {old: 3.0}
    assert fallback.load(5.0).paused_for() == 27.0
    assert place.send(1000.0, settled=ages, in_flight=[in_flight]).in_window == 2
    assert place.in_window(1000.0 - 3.0 + HELD) == 1


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
def test_an_unreadable_text_is_started_anew_without_a_burst(text: str) -> None:
    """What was sent before is unknown; at the pace it does not matter."""
    place = Place()
    place.text = text
    reply = place.send(100.0, foreground=5)
    assert reply.granted == ()
    assert reply.again_in == pytest.approx(PACE)
    assert len(place.send(100.0 + PACE, foreground=5).granted) == 1


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
def test_a_wrong_value_blocks_nobody(name: str, value: object) -> None:
    """An impossible time is damage, not a reason to wait."""
    place = Place()
    place.send(100.0, foreground=5)
    assert place.text is not None
    place.text = json.dumps({**json.loads(place.text), name: value})
    reply = place.send(101.0, foreground=5)
    assert (reply.granted, reply.in_window) == ((), 0)
    assert reply.again_in == pytest.approx(PACE)


def test_the_stored_format_is_unchanged() -> None:
    """Processes with different versions of this package share the text."""
    place = Place(limit=10, burst=2)
    place.send(100.0, "p.0", foreground=2, pause=0.0)
    place.send(101.0, "p.0", settled={"p.0-100": 0.5}, background=1)
    assert json.loads(place.text or "") == {
        "version": 1,
        "window": 60.0,
        "now": 101.0,
        "tokens": pytest.approx(10 / 60 * 0.95),
        "refilled_at": 101.0,
        "paused_until": None,
        "open": {"p.0-101": 110.0},
        "settled": {"p.0-100": 100.5},
        "members": {"p.0": [100.0, 101.0, 106.0, 1]},
    }


def test_a_restarted_clock_starts_anew_without_a_burst() -> None:
    """After a reboot all that was written lies in the future."""
    place = Place()
    place.send(5_000_000.0, foreground=5, pause=100.0)
    reply = place.send(30.0, foreground=5)
    assert (reply.granted, reply.paused_for) == ((), 0.0)
    assert len(place.send(30.0 + PACE, foreground=5).granted) == 1


def test_a_clock_that_runs_back_a_little_gives_nothing_away() -> None:
    place = Place(limit=3, burst=3)
    place.send(100.0, foreground=3)
    reply = place.send(95.0, foreground=1)
    assert (reply.granted, reply.in_window) == ((), 3)


def test_the_text_stays_small() -> None:
    """Members and permits are forgotten after a window."""
    place = Place()
    for number in range(300):
        reply = place.send(number * PACE, f"member-{number}", foreground=1)
        place.send(number * PACE, f"member-{number}", settled=dict.fromkeys(reply.granted, 0.0))
    assert place.text is not None
    assert len(place.text) < 10_000
    assert place.in_window(1e6) == 0
    assert place.send(1e6).members == 2


# --- whose turn it is --------------------------------------------------------------------------------


def exhausted(*members: str) -> Place:
    """Return a place where all have been served, in this order, and the next request may go at PACE."""
    place = Place(burst=1)
    now = -PACE * len(members)
    for member in members:
        now += PACE
        place.send(now, member, settled={place.granted(now, member): 0.0})
    return place


def test_the_member_that_was_served_longest_ago_goes_next() -> None:
    """However many wait elsewhere; the others return a grace later each."""
    place = exhausted("a", "b", "c")
    again_in = {member: place.send(0.1, member, foreground=1000).again_in for member in "cab"}
    assert again_in == pytest.approx({"c": PACE - 0.1, "a": PACE - 0.1, "b": PACE - 0.1 + GRACE})
    assert len(place.send(PACE, "a", foreground=1000).granted) == 1


def test_a_member_out_of_turn_has_to_return() -> None:
    """The member whose turn it is has a grace to come."""
    place = exhausted("a", "b")
    for member in "ab":
        place.send(0.1, member, foreground=1)
    early = place.send(PACE, "b", foreground=1)
    assert early.granted == ()
    assert early.again_in == pytest.approx(GRACE)
    assert place.send(PACE + GRACE, "b", foreground=1).granted != ()


def test_a_member_that_does_not_return_loses_the_turn_and_keeps_the_place() -> None:
    """The others do not wait for it again, and when it returns it goes first."""
    place = exhausted("a", "b")
    for member in "ab":
        place.send(0.1, member, foreground=1)
    now = PACE + GRACE
    for _ in range(3):
        assert place.send(now, "b", foreground=1).granted != ()
        now += PACE
    assert place.send(now, "a", foreground=1).granted != ()


def test_a_user_goes_before_polls_of_other_processes() -> None:
    """Although its process was served last."""
    place = exhausted("a", "b", "c")
    for member in "ab":
        place.send(0.1, member, background=1)
    assert place.send(0.1, "c", foreground=1).again_in == pytest.approx(PACE - 0.1)


def test_polls_leave_the_last_token_to_a_user_of_any_process() -> None:
    place = Place()
    reply = place.send(0.0, "a", background=5)
    assert len(reply.granted) == 2
    assert reply.again_in == pytest.approx(PACE)
    assert len(place.send(0.1, "b", foreground=1).granted) == 1


def test_a_member_that_was_given_a_later_time_does_not_hold_up_a_user() -> None:
    """A poll waits for two tokens. The one that is there goes to the user at once, though served more recently."""
    place = Place()
    place.send(0.0, "b", foreground=1)
    place.send(0.1, "b", background=1)
    place.send(0.2, "a", background=9)
    place.send(0.3, "b", background=9)
    assert len(place.send(0.4, "c", foreground=1).granted) == 1


def test_a_waiting_member_returns_although_the_window_is_full() -> None:
    """Another member may settle or refund a permit at any time."""
    place = Place(limit=2, burst=2)
    place.send(0.0, foreground=2)
    assert place.send(5.0, "b", foreground=1).again_in == 5.0
    assert Place(1, 1.0).send(0.0, "b", foreground=2).again_in == 0.25


def test_members_count_for_a_window() -> None:
    place = Place()
    assert [place.send(0.0, member).members for member in "abca"] == [1, 2, 3, 3]
    assert place.send(30.0, "a").members == 3
    assert place.send(80.0, "a").members == 1


def test_permits_of_other_processes_are_counted_apart() -> None:
    """Two event loops of one process are one process."""
    place = Place()
    for member in ("p.0", "p.1", "q.0"):
        place.granted(0.0, member)
    reply = place.send(1.0, "p.0")
    assert (reply.in_window, reply.in_window_of_others) == (3, 1)


# --- many members, simulated -------------------------------------------------------------------------


@define(eq=False)
class Member:
    """A process with this number of waiters at any time, whose requests take their time."""

    name: str
    waiters: int = 1
    background: bool = False
    slow: float = 0.0
    """Seconds by which it may return late."""
    dies_at: float = inf
    served: list[float] = field(factory=list[float])
    over: dict[str, float] = field(factory=dict[str, float])
    """Permits that the next request settles, and when they were over."""
    in_flight: set[str] = field(factory=set[str])


class World:
    """Many members, one place, and a service that counts arrivals."""

    def __init__(self, place: Place, members: list[Member], seed: int, latency: float) -> None:
        self.place, self.rnd, self.latency = place, random.Random(seed), latency
        self.arrivals: list[float] = []
        self.requests = 0
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        for member in members:
            self.at(self.rnd.uniform(0, 1e-3), self.returning(member))

    def at(self, when: float, what: Callable[[float], None]) -> None:
        heappush(self.events, (when, len(self.events) + self.requests * 10_000, what))

    def run(self, until: float) -> None:
        while self.events and self.events[0][0] < until:
            now, _, what = heappop(self.events)
            what(now)

    def returning(self, member: Member) -> Callable[[float], None]:
        return lambda now: self.let_send(member, now)

    def let_send(self, member: Member, now: float) -> None:
        if now >= member.dies_at:
            return
        self.requests += 1
        asks = {"background" if member.background else "foreground": member.waiters}
        ages = {permit: now - at for permit, at in member.over.items()}
        reply = self.place.send(now, member.name, settled=ages, in_flight=member.in_flight, **asks)
        member.over.clear()
        for permit in reply.granted:
            member.served.append(now)
            member.in_flight.add(permit)
            self.query(member, permit, now)
        # After its last waiter was served, the next one comes soon.
        again_in = 0.01 if reply.again_in is None else min(reply.again_in, lease(self.place.window) / 3)
        self.at(now + again_in + self.rnd.uniform(0, member.slow), self.returning(member))

    def query(self, member: Member, permit: str, now: float) -> None:
        arrives = now + self.rnd.uniform(0, self.latency)
        over = arrives + self.rnd.uniform(0, self.latency)
        # A killed process sends nothing any more.
        if arrives < member.dies_at:
            self.arrivals.append(arrives)

        def end(at: float) -> None:
            member.in_flight.discard(permit)
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


def test_users_of_two_processes_go_first_without_starving_the_polls_of_two_others() -> None:
    users, polls = [Member("u1", 9), Member("u2", 9)], [Member("p1", 9, True), Member("p2", 9, True)]
    world = World(Place(), [*users, *polls], 1, latency=0.1)
    world.run(10 * MINUTE)
    assert all(len(member.served) >= 220 for member in users)
    assert all(len(member.served) >= 45 for member in polls)


def test_few_requests_are_sent() -> None:
    """A few a second, however many wait in each of many processes."""
    for count in (1, 2, 30):
        world = World(Place(), [Member(str(n), 100) for n in range(count)], 1, latency=0.1)
        world.run(MINUTE)
        assert world.requests <= 60 * (2 + 0.7 * count)
