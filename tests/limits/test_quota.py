"""The quota against the ways in which a service may count, over random times and over simulated hours."""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from math import inf, isfinite
from typing import Final, Protocol

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aivideomaker_async._limits.quota import (
    PACE_SHARE,
    UNANSWERED_S,
    Quota,
    holding_time,
    usual_burst,
)
from tests.support.servers import Counter, ExactSliding, FixedMinute, WeightedTwoWindows

MINUTE: Final = 60.0
HELD: Final = holding_time(MINUTE)


def fresh(limit: int = 60, window: float = MINUTE, burst: int = 3) -> Quota:
    return Quota(limit, window, burst)


def moved(quota: Quota) -> Quota:
    """Return a quota that continues from the state of `quota`, as the shared one does between processes."""
    return Quota(
        quota.limit,
        quota.window,
        quota.burst,
        now=quota._now,
        tokens=quota.tokens,
        refilled_at=quota.refilled_at,
        paused_until=quota.paused_until,
        in_flight=quota.in_flight,
        settled=quota._settled,
    )


def take_all(quota: Quota, now: float, headroom: int = 0) -> int:
    """Take all permits that may go at this time, and return their number."""
    taken = 0
    while quota.take(now, headroom):
        taken += 1
    return taken


def refused(counter: Counter, arrivals: list[float]) -> int:
    return sum(not counter.admit(at) for at in sorted(arrivals))


# --- case by case ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "burst"), [(1, 1), (5, 1), (20, 1), (60, 3), (100, 5), (1000, 50)])
def test_the_usual_burst_is_the_slack_of_the_pace(limit: int, burst: int) -> None:
    assert usual_burst(limit) == burst


def test_a_burst_goes_at_once_and_then_an_even_pace() -> None:
    """An idle time brings one burst only: a laptop that slept for a week has not saved up permits."""
    quota = fresh(burst=3)
    assert take_all(quota, 100.0) == 3
    assert quota.ready_at(100.0) == pytest.approx(100.0 + MINUTE / (60 * PACE_SHARE))
    for idle in (10 * MINUTE / (60 * PACE_SHARE), 7 * 86400.0):
        assert take_all(quota, 100.0 + idle) == 3


def test_a_request_without_an_answer_counts_as_if_it_came_late() -> None:
    """And it does not hold up those that were answered after it."""
    quota = fresh(limit=2, burst=2)
    take_all(quota, 0.0)
    quota.settle(30.0, answered=False)
    quota.settle(31.0)
    assert quota.ready_at(31.0) == pytest.approx(31.0 + HELD)
    assert quota.in_window(31.0 + HELD) == 1
    assert quota.in_window(30.0 + UNANSWERED_S + HELD) == 0


def test_a_pause_stops_everyone_and_ends_without_a_burst() -> None:
    quota = fresh(burst=3)
    assert quota.pause(10.0, 20.0) == 30.0
    assert quota.ready_at(10.0) == 30.0
    assert quota.paused_for(12.0) == 18.0
    assert not quota.take(29.999)
    assert take_all(quota, 30.0) == 1
    assert quota.ready_at(30.0) == pytest.approx(30.0 + 1 / quota.rate)
    assert quota.paused_for(31.0) == 0


def test_a_refund_during_a_pause_brings_no_burst_after_it() -> None:
    quota = fresh(burst=3)
    grants = take_all(quota, 0.0)
    quota.pause(0.0, 10.0)
    for _ in range(grants):
        quota.refund(5.0)
    assert take_all(quota, 10.0) == 1


def test_headroom_is_left_for_others_without_slowing_the_pace() -> None:
    quota = fresh(burst=3)
    assert take_all(quota, 0.0, 1) == 2
    assert quota.ready_at(0.0, 1) == pytest.approx(1 / quota.rate)
    assert quota.ready_at(0.0) == 0.0
    now, went = 0.0, 0
    while (now := quota.ready_at(now, 1)) <= 600.0:
        assert quota.take(now, 1)
        quota.settle(now)
        went += 1
    assert went == pytest.approx(570, abs=1)
    assert quota.take(now)


@pytest.mark.parametrize(("burst", "headroom", "at_once"), [(1, 1, 1), (3, 2, 1), (3, 100, 1), (3, 0, 3)])
def test_headroom_is_never_the_whole_burst(burst: int, headroom: int, at_once: int) -> None:
    assert take_all(fresh(burst=burst), 0.0, headroom) == at_once


def test_a_quota_that_continues_with_a_smaller_burst_keeps_no_more_tokens() -> None:
    quota = Quota(5, 10.0, 1, tokens=4.0)
    assert take_all(quota, 0.0) == 1


# --- any sequence of events --------------------------------------------------------------------------

limits = st.integers(1, 8)
windows = st.sampled_from([0.5, 1.0, 7.0, 60.0, 3600.0])
starts = st.sampled_from([0.0, 1000.0, 12_345_678.9])
shares = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))


class QuotaMachine(RuleBasedStateMachine):
    """Requests are granted, answered, lost, refunded and refused, under a clock that also jumps and runs backwards.

    Every request that may have been sent arrives somewhere between its grant and its answer. The service counts
    exactly. It must never refuse one.
    """

    @initialize(limit=limits, window=windows, burst=limits, start=starts)
    def begin(self, limit: int, window: float, burst: int, start: float) -> None:
        self.quota = Quota(limit, window, min(burst, limit))
        self.clock = self.now = start
        self.pause_ends = -inf
        self.granted: list[float] = []
        """When the requests in flight were granted."""
        self.settled: list[float] = []
        self.arrivals: list[float] = []

    def read(self, clock: float) -> None:
        self.clock = clock
        self.now = max(self.now, clock)

    @rule(share=st.floats(-1.0, 2.5))
    def time_passes_or_runs_back(self, share: float) -> None:
        self.read(self.clock + share * self.quota.window)

    @rule(seconds=st.floats(0, 0.1))
    def a_moment_passes(self, seconds: float) -> None:
        self.read(self.clock + seconds)

    @rule(count=st.integers(1, 8), headroom=st.integers(0, 3))
    def take(self, count: int, headroom: int = 0) -> None:
        for _ in range(count):
            ready = self.quota.ready_at(self.clock, headroom)
            taken = self.quota.take(self.clock, headroom)
            assert taken is (ready <= self.now)
            if taken:
                assert self.now >= self.pause_ends
                self.granted.append(self.now)

    @rule(count=st.integers(1, 8))
    def take_as_soon_as_possible(self, count: int) -> None:
        for _ in range(count):
            ready = self.quota.ready_at(self.clock)
            if isfinite(ready):
                self.read(ready)
                self.take(1)

    @rule()
    def move_elsewhere(self) -> None:
        self.quota = moved(self.quota)

    @precondition(lambda self: self.granted)
    @rule(place=st.integers(0, 20), answered=st.booleans(), share=shares)
    def settle(self, place: int, answered: bool, share: float) -> None:
        granted_at = self.granted.pop(place % len(self.granted))
        self.quota.settle(self.clock, answered=answered)
        latest = self.now + (0.0 if answered else min(UNANSWERED_S, self.quota.window))
        self.settled.append(latest)
        self.arrivals.append(min(latest, granted_at + share * (latest - granted_at)))

    @precondition(lambda self: self.granted)
    @rule(share=shares)
    def settle_all(self, share: float) -> None:
        while self.granted:
            self.settle(0, answered=True, share=share)

    @precondition(lambda self: self.granted)
    @rule(place=st.integers(0, 20))
    def refund(self, place: int) -> None:
        self.granted.pop(place % len(self.granted))
        self.quota.refund(self.clock)

    @rule(seconds=st.floats(-1, 100))
    def pause(self, seconds: float) -> None:
        self.pause_ends = max(self.pause_ends, self.now + max(0.0, seconds))
        assert self.quota.pause(self.clock, seconds) == self.pause_ends

    @invariant()
    def ready_at_is_right(self) -> None:
        """A request goes at that time if nothing else happens, and does not go earlier."""
        ready = self.quota.ready_at(self.clock)
        assert ready == self.quota.ready_at(self.clock) >= self.now
        at, earlier, much_later = (copy.deepcopy(self.quota) for _ in range(3))
        if ready == inf:
            assert self.granted
            assert not much_later.take(self.now + 1e9)
            return
        assert at.take(ready)
        tolerance = 1e-6 * self.quota.window
        if ready - tolerance > self.now:
            assert not earlier.take(ready - tolerance)

    @invariant()
    def the_counts_are_those_of_the_model(self) -> None:
        quota = self.quota
        assert quota.in_flight == len(self.granted)
        held = [at for at in self.settled if at + holding_time(quota.window) > self.now]
        assert quota.in_window(self.clock) == len(self.granted) + len(held) <= quota.limit
        assert 0 <= quota.tokens <= quota.burst
        assert quota.paused_for(self.clock) == max(0.0, self.pause_ends - self.now)

    def teardown(self) -> None:
        if hasattr(self, "quota"):
            while self.granted:
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
    in_flight: list[tuple[float, bool]] = []
    now = 0.0
    for up, down, answered in latencies:
        while (ready := quota.ready_at(now)) > now:
            if in_flight and in_flight[0][0] <= ready:
                now, known = heappop(in_flight)
                quota.settle(now, answered=known)
            else:
                now = ready
        assert quota.take(now)
        arrives = now + 2 * window * up
        # A lost answer is given up on at any time, and its request may arrive seconds later.
        over = arrives + 2 * window * down if answered else max(now, arrives - min(UNANSWERED_S, window) * down)
        arrivals.append(arrives)
        heappush(in_flight, (over, answered))
    assert refused(ExactSliding(limit, window), arrivals) == 0


@given(limits, windows, limits, st.lists(st.floats(0, 3), max_size=60), st.floats(0, 3))
@settings(max_examples=100, deadline=None)
def test_the_pace_holds_over_any_span(limit: int, window: float, burst: int, gaps: list[float], span: float) -> None:
    """In no span of time go more than a burst and what the pace allows in that span."""
    quota, times, now = Quota(limit, window, min(burst, limit)), list[float](), 0.0
    for gap in gaps:
        now += gap * window / limit
        for _ in range(take_all(quota, now)):
            times.append(now)
            quota.settle(now)
    seconds = span * window
    most = max((sum(begin <= at <= begin + seconds for at in times) for begin in times), default=0)
    assert most <= quota.burst + quota.rate * seconds + 1e-6


@given(limits, windows, limits, st.lists(st.floats(0, 2), max_size=10))
@settings(max_examples=100, deadline=None)
def test_a_refund_at_once_gives_everything_back(limit: int, window: float, burst: int, gaps: list[float]) -> None:
    quota, now = Quota(limit, window, min(burst, limit)), 0.0
    for gap in gaps:
        now += gap * window
        for _ in range(take_all(quota, now) // 2):
            quota.settle(now)
    in_window, in_flight, tokens, ready = quota.in_window(now), quota.in_flight, quota.tokens, quota.ready_at(now)
    taken = take_all(quota, now)
    for _ in range(taken):
        quota.refund(now)
    assert (quota.in_window(now), quota.in_flight) == (in_window, in_flight)
    assert quota.tokens == pytest.approx(tokens, abs=1e-6)
    assert quota.ready_at(now) == pytest.approx(ready)
    assert take_all(quota, now) == taken


# --- simulated hours ---------------------------------------------------------------------------------


class Paced(Protocol):
    """The part of `Quota` that decides when a request goes, and the wrong ways below."""

    def ready_at(self, now: float) -> float: ...

    def take(self, now: float) -> bool: ...

    def settle(self, now: float) -> None: ...


class TokenBucket:
    """A wrong way: a bucket that refills at the limit admits twice the limit in its first minute."""

    def __init__(self, capacity: float, rate: float) -> None:
        self.capacity, self.rate = capacity, rate
        self.tokens, self.at = capacity, 0.0

    def _refill(self, now: float) -> None:
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.rate)
        self.at = now

    def ready_at(self, now: float) -> float:
        self._refill(now)
        return now + max(0.0, 1 - self.tokens) / self.rate

    def take(self, now: float) -> bool:
        self._refill(now)
        if self.tokens < 1 - 1e-9:
            return False
        self.tokens -= 1
        return True

    def settle(self, now: float) -> None:
        """Do nothing: the bucket forgets the requests that it let go."""


class LogOfSendTimes:
    """A wrong way: counting the requests *sent* in the last minute, where the service counts those that *arrive*."""

    def __init__(self, limit: int, window: float) -> None:
        self.limit, self.window = limit, window
        self.sent: deque[float] = deque()

    def ready_at(self, now: float) -> float:
        while self.sent and self.sent[0] + self.window <= now:
            self.sent.popleft()
        return now if len(self.sent) < self.limit else self.sent[0] + self.window

    def take(self, now: float) -> bool:
        if self.ready_at(now) > now:
            return False
        self.sent.append(now)
        return True

    def settle(self, now: float) -> None:
        """Do nothing: only the sending counts here."""


@frozen(kw_only=True)
class Hour:
    """An hour of full demand."""

    late: float = 0.0
    """The share of requests that are held up 1 to 5 seconds on their way."""
    idle: float = 0.0
    """How often an idle time of half a minute to almost seven follows a request."""


STEADY: Final = Hour()
HOURS: Final = {"steady": STEADY, "late": Hour(late=0.01), "idle": Hour(idle=0.01), "both": Hour(late=0.01, idle=0.01)}


def arrivals_of(paced: Paced, hour: Hour, rnd: random.Random) -> list[float]:
    """Return the times at which the service sees the requests, in order."""
    now, arrivals = 0.0, list[float]()
    answers: list[float] = []
    while now < 3600:
        while answers and answers[0] <= now:
            paced.settle(heappop(answers))
        if not paced.take(now):
            ready = paced.ready_at(now)
            # A timer may come a trifle late, never early.
            now = max(min(ready, answers[0] if answers else inf), now + 1e-6)
            continue
        up = rnd.uniform(1, 5) if rnd.random() < hour.late else rnd.uniform(0, 0.4)
        arrivals.append(now + up)
        heappush(answers, now + up + rnd.uniform(0, 0.05))
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
    """Return how often each kind of service would answer 429, by its name; its minutes begin at a random moment."""
    phase = rnd.uniform(0, MINUTE)
    return {name: refused(make(phase), arrivals) for name, make in COUNTERS.items()}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", HOURS)
def test_an_hour_of_full_demand_is_never_refused(name: str, seed: int) -> None:
    """By no way of counting, whatever the jitter; only the weighted counter of edge limiters may refuse one."""
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


def worst_minute(arrivals: list[float]) -> int:
    """Return the most arrivals in any minute."""
    begin = most = 0
    for number, at in enumerate(arrivals):
        while arrivals[begin] <= at - MINUTE:
            begin += 1
        most = max(most, number - begin + 1)
    return most


SEES_LATE_ARRIVALS: Final = {"exact sliding", "sliding that counts rejects"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("wrong", "most", "refusing"),
    [
        # 60 at once and one a second.
        pytest.param(lambda: TokenBucket(60, 1.0), 115, set(COUNTERS), id="token bucket"),
        # Late arrivals of one minute meet early ones of the next.
        pytest.param(lambda: LogOfSendTimes(60, MINUTE), 61, SEES_LATE_ARRIVALS, id="log of send times"),
    ],
)
def test_a_simpler_limiter_would_be_refused(
    wrong: Callable[[], Paced], most: int, refusing: set[str], seed: int
) -> None:
    """The proof that the hours above can fail."""
    rnd = random.Random(seed)
    arrivals = arrivals_of(wrong(), STEADY, rnd)
    assert worst_minute(arrivals) >= most
    counted = refusals(arrivals, rnd)
    assert all(counted[name] > 0 for name in refusing)
