"""The quota against the ways in which a service may count, over random times and over simulated hours."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from itertools import islice
from math import inf, isfinite
from typing import Final, Protocol

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aivideomaker_async._limits.quota import LONGEST_PAUSE, MARGIN, PACE, UNANSWERED, Grant, Quota, usual_burst
from tests.support.servers import Counter, ExactSliding, FixedMinute, WeightedTwoWindows

MINUTE: Final = 60.0


def fresh(limit: int = 60, window: float = MINUTE, burst: int = 3) -> Quota:
    return Quota(limit, window, burst)


def take_all(quota: Quota, now: float) -> list[Grant]:
    """Everything that may go at this moment."""
    return list(iter(lambda: quota.take(now), None))


def granted(quota: Quota, now: float) -> Grant:
    grant = quota.take(now)
    assert grant is not None
    return grant


def refused(counter: Counter, arrivals: list[float]) -> int:
    return sum(not counter.admit(at) for at in sorted(arrivals))


# --- what it does, case by case ----------------------------------------------------------------------


def test_a_burst_goes_at_once_and_then_an_even_pace() -> None:
    """After a quiet time `burst` requests go together; each further one waits its share of the window."""
    quota = fresh(burst=3)
    assert len(take_all(quota, 100.0)) == 3
    assert quota.ready_at(100.0) == pytest.approx(100.0 + MINUTE / (60 * PACE))
    assert take_all(quota, 100.0 + 10 * MINUTE / (60 * PACE))[3:] == []


@pytest.mark.parametrize(("limit", "burst"), [(1, 1), (5, 1), (20, 1), (60, 3), (100, 5), (1000, 50)])
def test_the_usual_burst_is_what_the_pace_leaves(limit: int, burst: int) -> None:
    """Five of a hundred, and never less than one."""
    assert usual_burst(limit) == burst


def test_a_full_window_waits_for_an_answer() -> None:
    """While every permit is under way there is no time at which the next may go; an answer makes one."""
    quota = fresh(limit=2, window=10.0, burst=2)
    first, second = take_all(quota, 0.0)
    assert quota.ready_at(1000.0) == inf
    assert quota.take(1000.0) is None
    quota.settle(first, 1000.0)
    assert quota.ready_at(1000.0) == pytest.approx(1000.0 + 10.0 * (1 + MARGIN))
    quota.settle(second, 1001.0)
    assert quota.ready_at(1000.0) == pytest.approx(1000.0 + 10.0 * (1 + MARGIN))


def test_a_request_without_an_answer_counts_as_if_it_came_late() -> None:
    """It may still be on its way for seconds, so its window begins after them."""
    quota = fresh(limit=1, window=60.0, burst=1)
    quota.settle(granted(quota, 0.0), 30.0, answered=False)
    assert quota.ready_at(30.0) == pytest.approx(30.0 + UNANSWERED + quota.held)


def test_answers_free_the_window_in_their_own_order() -> None:
    """One whose answer never came does not hold up those that were answered after it."""
    quota = fresh(limit=2, window=10.0, burst=2)
    lost, answered = take_all(quota, 0.0)
    quota.settle(lost, 1.0, answered=False)
    quota.settle(answered, 2.0)
    assert quota.ready_at(2.0) == pytest.approx(2.0 + quota.held)


@pytest.mark.parametrize("first", ["settle", "refund"])
@pytest.mark.parametrize("second", ["settle", "settle unanswered", "refund"])
def test_giving_a_permit_back_twice_changes_nothing(first: str, second: str) -> None:
    """Whatever was done first holds."""
    quota = fresh()
    grant, _other = granted(quota, 0.0), granted(quota, 0.0)
    for step, now in ((first, 1.0), (second, 1.0)):
        if step == "refund":
            quota.refund(grant, now)
        else:
            quota.settle(grant, now, answered=step == "settle")
        if step is first:
            before = (quota.statistics(1.0), quota.ready_at(1.0), copy.copy(grant.settled_at), grant.refunded)
    assert not grant.is_open
    assert (quota.statistics(1.0), quota.ready_at(1.0), grant.settled_at, grant.refunded) == before


def test_a_pause_stops_everyone_and_ends_at_an_even_pace() -> None:
    """Nobody goes before its end; after it one goes, not a burst, since whoever shares the address starts again too."""
    quota = fresh(burst=3)
    assert quota.pause(10.0, 20.0) == 30.0
    assert quota.ready_at(10.0) == 30.0
    assert quota.statistics(12.0).paused_for == 18.0
    assert quota.take(29.999) is None
    assert len(take_all(quota, 30.0)) == 1
    assert quota.ready_at(30.0) == pytest.approx(30.0 + 1 / quota.rate)
    assert quota.statistics(31.0).paused_for == 0


def test_a_refund_during_a_pause_brings_no_burst_after_it() -> None:
    """Who gave up before sending leaves the pause as it is."""
    quota = fresh(burst=3)
    grants = take_all(quota, 0.0)
    quota.pause(0.0, 10.0)
    for grant in grants:
        quota.refund(grant, 5.0)
    assert len(take_all(quota, 10.0)) == 1


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    """Two answers of 429 may tell different times; the later one holds."""
    quota = fresh()
    quota.pause(0.0, 60.0)
    assert quota.pause(1.0, 5.0) == 60.0
    assert quota.take(59.0) is None


@pytest.mark.parametrize(("seconds", "ends"), [(-5.0, 10.0), (0.0, 10.0), (1e9, 10.0 + LONGEST_PAUSE), (inf, 3610.0)])
def test_a_nonsensical_pause_is_bounded(seconds: float, ends: float) -> None:
    """A negative time is none at all, and nobody stops for more than an hour."""
    assert fresh().pause(10.0, seconds) == ends


def test_a_clock_that_runs_backwards_gives_nothing_away() -> None:
    """The last reading holds: what was full then is full now."""
    quota = fresh(limit=3, window=60.0, burst=3)
    grants = take_all(quota, 1000.0)
    for grant in grants:
        quota.settle(grant, 1001.0)
    for now in (500.0, 0.0, -1e6, 1001.0 + 59.0):
        assert quota.take(now) is None
    assert quota.ready_at(0.0) == pytest.approx(1001.0 + quota.held)


def test_a_clock_that_jumps_ahead_refills_one_burst_only() -> None:
    """A laptop that slept for a week has not saved up permits."""
    quota = fresh(burst=3)
    take_all(quota, 0.0)
    assert len(take_all(quota, 7 * 86400.0)) == 3


def test_a_reserve_is_left_for_others() -> None:
    """Who leaves one goes when there are two, and at the same pace in the long run."""
    quota = fresh(burst=3)
    assert len(list(iter(lambda: quota.take(0.0, 1), None))) == 2
    assert quota.ready_at(0.0, 1) == pytest.approx(1 / quota.rate)
    assert quota.ready_at(0.0) == 0.0
    now, went = 0.0, 0
    while (now := quota.ready_at(now, 1)) <= 600.0:
        quota.settle(quota.take(now, 1) or granted(quota, now), now)
        went += 1
    assert went == pytest.approx(570, abs=1)
    assert quota.take(now) is not None


@pytest.mark.parametrize(("burst", "reserve", "at_once"), [(1, 1, 1), (3, 2, 1), (3, 100, 1), (3, 0, 3)])
def test_a_reserve_is_never_the_whole_burst(burst: int, reserve: int, at_once: int) -> None:
    """Whoever leaves much for others goes as well when nobody else does."""
    quota = fresh(burst=burst)
    assert len(list(iter(lambda: quota.take(0.0, reserve), None))) == at_once


def test_a_quota_goes_on_from_its_state() -> None:
    """As if it had never been away; a smaller burst keeps no more than it may."""
    quota = fresh(limit=5, window=10.0, burst=4)
    first, second, _third = take_all(quota, 1.0)[:3]
    quota.settle(first, 2.0)
    quota.settle(second, 3.0, answered=False)
    quota.pause(3.0, 5.0)
    again = Quota.restore(5, 10.0, 4, quota.state())
    assert again.state() == quota.state()
    assert again.statistics(4.0) == quota.statistics(4.0)
    assert [again.ready_at(at) for at in (4.0, 9.0)] == [quota.ready_at(at) for at in (4.0, 9.0)]
    assert len(take_all(Quota.restore(5, 10.0, 1, fresh(burst=4).state()), 0.0)) == 1


# --- any sequence of events --------------------------------------------------------------------------

limits = st.integers(1, 8)
windows = st.sampled_from([0.5, 1.0, 7.0, 60.0, 3600.0])
starts = st.sampled_from([0.0, 1000.0, 12_345_678.9])
shares = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


class QuotaMachine(RuleBasedStateMachine):
    """Requests are let go, answered, lost, given back and refused, under a clock that does what it likes.

    Every request that may have been sent arrives somewhere between its grant and its answer. The service counts
    exactly. It must never refuse one.
    """

    @initialize(limit=limits, window=windows, burst=limits, start=starts)
    def begin(self, limit: int, window: float, burst: int, start: float) -> None:
        self.quota = Quota(limit, window, min(burst, limit))
        self.clock = self.now = start
        self.pause_ends = -inf
        self.open: list[Grant] = []
        self.settled: list[float] = []
        self.arrivals: list[float] = []

    def read(self, clock: float) -> None:
        self.clock = clock
        self.now = max(self.now, clock)

    @rule(share=st.floats(-1.0, 2.5))
    def time_passes(self, share: float) -> None:
        """Also backwards."""
        self.read(self.clock + share * self.quota.window)

    @rule(seconds=st.floats(0, 0.1))
    def a_moment_passes(self, seconds: float) -> None:
        self.read(self.clock + seconds)

    @rule(count=st.integers(1, 8), reserve=st.integers(0, 3))
    def take(self, count: int, reserve: int = 0) -> None:
        for _ in range(count):
            ready = self.quota.ready_at(self.clock, reserve)
            grant = self.quota.take(self.clock, reserve)
            assert (grant is not None) is (ready <= self.now)
            if grant is not None:
                assert self.now >= self.pause_ends
                assert grant.granted_at == self.now
                self.open.append(grant)

    @rule(count=st.integers(1, 8))
    def take_as_soon_as_possible(self, count: int) -> None:
        for _ in range(count):
            ready = self.quota.ready_at(self.clock)
            if isfinite(ready):
                self.read(ready)
                self.take(1)

    @rule()
    def move_elsewhere(self) -> None:
        """All that it knows is written down, and another goes on from there."""
        self.quota = Quota.restore(self.quota.limit, self.quota.window, self.quota.burst, self.quota.state())

    @precondition(lambda self: self.open)
    @rule(place=st.integers(0, 20), answered=st.booleans(), share=shares)
    def settle(self, place: int, answered: bool, share: float) -> None:
        grant = self.open.pop(place % len(self.open))
        self.quota.settle(grant, self.clock, answered=answered)
        latest = self.now + (0.0 if answered else min(UNANSWERED, self.quota.window))
        assert grant.settled_at == latest
        self.settled.append(latest)
        self.arrivals.append(min(latest, grant.granted_at + share * (latest - grant.granted_at)))

    @precondition(lambda self: self.open)
    @rule(share=shares)
    def settle_all(self, share: float) -> None:
        while self.open:
            self.settle(0, answered=True, share=share)

    @precondition(lambda self: self.open)
    @rule(place=st.integers(0, 20))
    def refund(self, place: int) -> None:
        self.quota.refund(self.open.pop(place % len(self.open)), self.clock)

    @rule(seconds=st.floats(-1, 100))
    def pause(self, seconds: float) -> None:
        self.pause_ends = max(self.pause_ends, self.now + max(0.0, seconds))
        assert self.quota.pause(self.clock, seconds) == self.pause_ends

    @invariant()
    def the_time_that_it_tells_is_honest(self) -> None:
        """A request goes at that time if nothing else happens, and does not go earlier."""
        ready = self.quota.ready_at(self.clock)
        assert ready == self.quota.ready_at(self.clock) >= self.now
        at, earlier, much_later = (copy.deepcopy(self.quota) for _ in range(3))
        if ready == inf:
            assert self.open
            assert much_later.take(self.now + 1e9) is None
            return
        assert at.take(ready) is not None
        tolerance = 1e-6 * self.quota.window
        if ready - tolerance > self.now:
            assert earlier.take(ready - tolerance) is None

    @invariant()
    def the_statistics_are_those_of_the_model(self) -> None:
        state = self.quota.statistics(self.clock)
        assert (state.limit, state.window, state.burst) == (self.quota.limit, self.quota.window, self.quota.burst)
        assert state.in_flight == len(self.open)
        held = [at for at in self.settled if at + self.quota.held > self.now]
        assert state.in_window == len(self.open) + len(held) <= state.limit
        assert 0 <= state.tokens <= state.burst
        assert state.paused_for == max(0.0, self.pause_ends - self.now)

    def teardown(self) -> None:
        if hasattr(self, "quota"):
            while self.open:
                self.settle(0, answered=True, share=1.0)
            assert refused(ExactSliding(self.quota.limit, self.quota.window), self.arrivals) == 0


TestQuota = QuotaMachine.TestCase
TestQuota.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


@given(limits, windows, st.integers(1, 3), st.lists(st.tuples(shares, shares, st.booleans()), max_size=60))
@settings(max_examples=60, deadline=None)
def test_full_demand_never_exceeds_the_limit_whatever_the_latency(
    limit: int, window: float, burst: int, latencies: list[tuple[float, float, bool]]
) -> None:
    """Each goes as soon as it may; arrival and answer take up to two windows each, or the answer never comes."""
    quota, arrivals = Quota(limit, window, min(burst, limit)), list[float]()
    under_way: list[tuple[float, int, Grant, bool]] = []
    now = 0.0
    for number, (up, down, answered) in enumerate(latencies):
        while (ready := quota.ready_at(now)) > now:
            if under_way and under_way[0][0] <= ready:
                now, _, grant, known = heappop(under_way)
                quota.settle(grant, now, answered=known)
            else:
                now = ready
        grant = granted(quota, now)
        arrives = now + 2 * window * up
        # A lost answer is given up on at any time, and its request may arrive seconds later.
        over = arrives + 2 * window * down if answered else max(now, arrives - min(UNANSWERED, window) * down)
        arrivals.append(arrives)
        heappush(under_way, (over, number, grant, answered))
    assert refused(ExactSliding(limit, window), arrivals) == 0


@given(limits, windows, limits, st.lists(st.floats(0, 3), max_size=60), st.floats(0, 3))
@settings(max_examples=100, deadline=None)
def test_the_pace_holds_over_any_span(limit: int, window: float, burst: int, gaps: list[float], span: float) -> None:
    """In no span of time do more go than a burst and what the pace allows in that span."""
    quota, times, now = Quota(limit, window, min(burst, limit)), list[float](), 0.0
    for gap in gaps:
        now += gap * window / limit
        for grant in take_all(quota, now):
            times.append(now)
            quota.settle(grant, now)
    seconds = span * window
    most = max((sum(begin <= at <= begin + seconds for at in times) for begin in times), default=0)
    assert most <= quota.burst + quota.rate * seconds + 1e-6


@given(limits, windows, limits, st.lists(st.floats(0, 2), max_size=10))
@settings(max_examples=100, deadline=None)
def test_a_refund_at_once_gives_everything_back(limit: int, window: float, burst: int, gaps: list[float]) -> None:
    """Taken and given back, it is as if nothing had happened."""
    quota, now = Quota(limit, window, min(burst, limit)), 0.0
    for gap in gaps:
        now += gap * window
        for grant in take_all(quota, now)[::2]:
            quota.settle(grant, now)
    before, ready = quota.statistics(now), quota.ready_at(now)
    taken = take_all(quota, now)
    for grant in taken:
        quota.refund(grant, now)
    after = quota.statistics(now)
    assert (after.in_window, after.in_flight) == (before.in_window, before.in_flight)
    assert after.tokens == pytest.approx(before.tokens, abs=1e-6)
    assert quota.ready_at(now) == pytest.approx(ready)
    assert len(take_all(quota, now)) == len(taken)


# --- simulated hours ---------------------------------------------------------------------------------


class Paced(Protocol):
    """What decides when a request goes. `Quota`, and the mistakes below."""

    def ready_at(self, now: float) -> float: ...

    def take(self, now: float) -> Grant | None: ...

    def settle(self, grant: Grant, now: float) -> None: ...


class TokenBucket:
    """A mistake: a bucket that refills at the limit admits twice the limit in its first minute."""

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity, self.rate = capacity, rate
        self.tokens, self.at = capacity, 0.0

    def _refill(self, now: float) -> None:
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.rate)
        self.at = now

    def ready_at(self, now: float) -> float:
        self._refill(now)
        return now + max(0.0, 1 - self.tokens) / self.rate

    def take(self, now: float) -> Grant | None:
        self._refill(now)
        if self.tokens < 1 - 1e-9:
            return None
        self.tokens -= 1
        return Grant(now)

    def settle(self, grant: Grant, now: float) -> None:
        """Nothing: it forgets what it let go."""


class LogOfSendTimes:
    """A mistake: counting what was *sent* in the last minute, where the service counts what *arrives*."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit, self.window = limit, window
        self.sent: deque[float] = deque()

    def ready_at(self, now: float) -> float:
        while self.sent and self.sent[0] + self.window <= now:
            self.sent.popleft()
        return now if len(self.sent) < self.limit else self.sent[0] + self.window

    def take(self, now: float) -> Grant | None:
        if self.ready_at(now) > now:
            return None
        self.sent.append(now)
        return Grant(now)

    def settle(self, grant: Grant, now: float) -> None:
        """Nothing: what counts for it is the sending."""


@frozen(kw_only=True)
class Hour:
    """What full demand for an hour looks like."""

    late: float = 0.0
    """The share of requests that are held up 1 to 5 seconds on their way."""
    idle: float = 0.0
    """How often nobody asks for half a minute to almost seven, for each request."""


STEADY: Final = Hour()
HOURS: Final = {"steady": STEADY, "late": Hour(late=0.01), "idle": Hour(idle=0.01), "both": Hour(late=0.01, idle=0.01)}


def arrivals_of(paced: Paced, hour: Hour, rnd: random.Random) -> list[float]:
    """The times at which the service sees the requests, in order."""
    now, arrivals = 0.0, list[float]()
    answers: list[tuple[float, int, Grant]] = []
    while now < 3600:
        while answers and answers[0][0] <= now:
            at, _, grant = heappop(answers)
            paced.settle(grant, at)
        sent = paced.take(now)
        if sent is None:
            ready = paced.ready_at(now)
            # A timer may come a trifle late, never early.
            now = max(min(ready, answers[0][0] if answers else inf), now + 1e-6)
            continue
        up = rnd.uniform(1, 5) if rnd.random() < hour.late else rnd.uniform(0, 0.4)
        arrivals.append(now + up)
        heappush(answers, (now + up + rnd.uniform(0, 0.05), len(arrivals), sent))
        if rnd.random() < hour.idle:
            now += rnd.uniform(30, 400)
    return sorted(arrivals)


COUNTERS: Final[dict[str, Callable[[float], Counter]]] = {
    "exact sliding": lambda _: ExactSliding(),
    "fixed minute": lambda phase: FixedMinute(phase=phase),
    "two-window weighted counter": lambda phase: WeightedTwoWindows(phase=phase),
    "sliding that counts rejects": lambda _: ExactSliding(rejects=True),
}


def refusals(arrivals: list[float], rnd: random.Random) -> dict[str, int]:
    """How often each kind of service would have said 429, by its name; its minutes begin at a random moment."""
    phase = rnd.uniform(0, MINUTE)
    return {name: refused(make(phase), arrivals) for name, make in COUNTERS.items()}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", HOURS)
def test_an_hour_of_full_demand_is_never_refused(name: str, seed: int) -> None:
    """Not by any way of counting, whatever the jitter; the edge limiters' weighted counter may say no once."""
    rnd = random.Random(seed)
    arrivals = arrivals_of(fresh(burst=usual_burst(60)), HOURS[name], rnd)
    for _ in range(3):
        counted = refusals(arrivals, rnd)
        assert counted.pop("two-window weighted counter") <= 1
        assert not any(counted.values()), counted


@pytest.mark.parametrize("name", ["steady", "late"])
def test_an_hour_of_full_demand_uses_the_limit(name: str) -> None:
    """Being careful costs four requests a minute at most."""
    arrivals = arrivals_of(fresh(burst=usual_burst(60)), HOURS[name], random.Random(1))
    assert len(arrivals) >= 56 * 60


def minutes_worst(arrivals: list[float]) -> int:
    """The most arrivals in any minute."""
    return max(sum(1 for _ in _within(arrivals, begin)) for begin in range(len(arrivals)))


def _within(arrivals: list[float], begin: int) -> Iterator[float]:
    for at in islice(arrivals, begin, None):
        if at >= arrivals[begin] + MINUTE:
            return
        yield at


@pytest.mark.parametrize("seed", range(3))
def test_a_token_bucket_alone_would_be_refused(seed: int) -> None:
    """The proof that the hours above can fail: 60 at once and one a second are almost 120 in the first minute."""
    rnd = random.Random(seed)
    arrivals = arrivals_of(TokenBucket(60, 1.0), STEADY, rnd)
    assert minutes_worst(arrivals) >= 115
    assert all(refusals(arrivals, rnd).values())


@pytest.mark.parametrize("seed", range(3))
def test_a_log_of_send_times_alone_would_be_refused(seed: int) -> None:
    """The proof that the hours above can fail: late arrivals of one minute meet early ones of the next."""
    rnd = random.Random(seed)
    arrivals = arrivals_of(LogOfSendTimes(60, MINUTE), STEADY, rnd)
    counted = refusals(arrivals, rnd)
    assert minutes_worst(arrivals) > 60
    assert counted["exact sliding"] > 0
    assert counted["sliding that counts rejects"] > 0
