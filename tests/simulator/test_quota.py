"""The ways to count a rate limit, each held to an oracle that counts in the plainest way."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.quota import ClientQuota, Counting

# Quarters of a second are exact in floating point, so the oracles need no tolerance.
GAPS = st.lists(st.integers(0, 40).map(lambda quarters: quarters / 4), max_size=80)
LIMITS = st.integers(1, 6)
WINDOWS = st.integers(1, 30).map(float)


def arrivals_of(gaps: list[float]) -> list[float]:
    now, arrivals = 0.0, list[float]()
    for gap in gaps:
        now += gap
        arrivals.append(now)
    return arrivals


def within(times: list[float], now: float, window: float) -> int:
    return sum(now - window < at <= now for at in times)


@given(GAPS, LIMITS, WINDOWS)
def test_a_query_is_refused_exactly_when_the_window_is_full(gaps: list[float], limit: int, window: float) -> None:
    quota, admitted = ClientQuota(limit, window), list[float]()
    for now in arrivals_of(gaps):
        full = within(admitted, now, window) >= limit
        assert (quota.arrive("a", now) > 0) == full
        if not full:
            admitted.append(now)
    assert quota.queries == len(gaps)
    assert quota.rejected == len(gaps) - len(admitted)


@given(GAPS, LIMITS, WINDOWS, st.sampled_from(["sliding", "fixed", "weighted"]), st.booleans())
def test_a_client_that_waits_as_long_as_it_must_is_admitted(
    gaps: list[float], limit: int, window: float, counting: Counting, count_rejected: bool
) -> None:
    quota = ClientQuota(limit, window, counting, count_rejected)
    now = 0.0
    for gap in gaps:
        now += gap
        wait = quota.arrive("a", now)
        if wait > 0:
            # Clients wait whole seconds; a millionth makes up for rounding.
            now += wait + 1e-6
            assert quota.arrive("a", now) == 0


@given(GAPS, LIMITS, WINDOWS)
def test_the_worst_window_counts_refused_queries_too(gaps: list[float], limit: int, window: float) -> None:
    quota, arrivals = ClientQuota(limit, window), arrivals_of(gaps)
    for now in arrivals:
        quota.arrive("a", now)
    assert quota.worst_window == max((within(arrivals, at, window) for at in arrivals), default=0)


@given(GAPS, LIMITS, WINDOWS)
def test_refused_queries_can_count_as_well(gaps: list[float], limit: int, window: float) -> None:
    quota, seen = ClientQuota(limit, window, count_rejected=True), list[float]()
    for now in arrivals_of(gaps):
        assert (quota.arrive("a", now) > 0) == (within(seen, now, window) >= limit)
        seen.append(now)


@given(GAPS, LIMITS, WINDOWS)
def test_fixed_windows_hold_the_limit_each(gaps: list[float], limit: int, window: float) -> None:
    quota, admitted = ClientQuota(limit, window, "fixed"), list[int]()
    for now in arrivals_of(gaps):
        index = math.floor(now / window)
        full = admitted.count(index) >= limit
        assert (quota.arrive("a", now) > 0) == full
        if not full:
            admitted.append(index)


@given(GAPS, LIMITS, WINDOWS)
def test_weighted_windows_remember_a_fading_share_of_the_one_before(
    gaps: list[float], limit: int, window: float
) -> None:
    quota, admitted = ClientQuota(limit, window, "weighted"), list[int]()
    for now in arrivals_of(gaps):
        index = math.floor(now / window)
        share = 1 - (now - index * window) / window
        full = admitted.count(index - 1) * share + admitted.count(index) > limit - 1
        assert (quota.arrive("a", now) > 0) == full
        if not full:
            admitted.append(index)


def test_sixty_at_once_pass_and_the_next_waits_for_the_first_to_leave() -> None:
    quota = ClientQuota()
    assert [quota.arrive("a", 0.5) for _ in range(60)] == [0.0] * 60
    assert quota.arrive("a", 10.0) == 50.5


def test_clients_have_a_limit_each() -> None:
    quota = ClientQuota(limit=1)
    assert [quota.arrive(client, 0.0) for client in ("a", "b")] == [0.0, 0.0]
    assert quota.worst_window == 1


def test_without_a_limit_everything_passes_and_is_counted() -> None:
    quota = ClientQuota(limit=None)
    assert not any(quota.arrive("a", 0.0) for _ in range(1000))
    assert (quota.queries, quota.rejected, quota.worst_window) == (1000, 0, 1000)


def test_waits_shrink_as_time_passes() -> None:
    quota = ClientQuota(limit=1, window=10.0, counting="weighted")
    quota.arrive("a", 0.0)
    waits = [quota.arrive("a", float(now)) for now in range(1, 10)]
    assert all(earlier - later == pytest.approx(1.0) for earlier, later in pairwise(waits))
