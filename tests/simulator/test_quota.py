"""The ways to count a rate limit, each held to an oracle that counts in the plainest way."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.quota import ClientQuota, Counting

# Quarters of a second are exact in floating point, so the oracles need no tolerance.
GAPS = st.lists(st.integers(0, 40).map(lambda quarters: quarters / 4), max_size=80)
LIMITS = st.integers(1, 6)
WINDOWS = st.integers(1, 30).map(float)

Oracle: TypeAlias = Callable[[list[float], float, float], float]
"""How many of the counted queries are in the window of a moment."""


def arrivals_of(gaps: list[float]) -> list[float]:
    now, arrivals = 0.0, list[float]()
    for gap in gaps:
        now += gap
        arrivals.append(now)
    return arrivals


def within(times: list[float], now: float, window: float) -> int:
    return sum(now - window < at <= now for at in times)


def in_sliding_window(counted: list[float], now: float, window: float) -> float:
    return within(counted, now, window)


def in_fixed_window(counted: list[float], now: float, window: float) -> float:
    return sum(at // window == now // window for at in counted)


def in_weighted_windows(counted: list[float], now: float, window: float) -> float:
    """The share that the window before has in the count fades."""
    share = 1 - (now % window) / window
    before = sum(at // window == now // window - 1 for at in counted)
    return before * share + in_fixed_window(counted, now, window)


@pytest.mark.parametrize(
    ("counting", "oracle"),
    [("sliding", in_sliding_window), ("fixed", in_fixed_window), ("weighted", in_weighted_windows)],
)
@given(GAPS, LIMITS, WINDOWS, st.booleans())
def test_a_query_is_refused_exactly_when_the_window_is_full(
    counting: Counting, oracle: Oracle, gaps: list[float], limit: int, window: float, count_rejected: bool
) -> None:
    """Refused queries fill it as well where they are counted."""
    quota, counted, rejected = ClientQuota(limit, window, counting, count_rejected), list[float](), 0
    for now in arrivals_of(gaps):
        is_full = oracle(counted, now, window) > limit - 1
        assert (quota.arrive("a", now) > 0) == is_full
        rejected += is_full
        if count_rejected or not is_full:
            counted.append(now)
    assert (quota.queries, quota.rejected) == (len(gaps), rejected)


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


def test_sixty_at_once_pass_and_the_next_waits_for_the_first_to_leave() -> None:
    quota = ClientQuota()
    assert [quota.arrive("a", 0.5) for _ in range(60)] == [0.0] * 60
    assert quota.arrive("a", 10.0) == 50.5


def test_a_query_leaves_the_window_when_it_is_as_old_as_the_window() -> None:
    quota = ClientQuota(limit=1)
    quota.arrive("a", 0.0)
    assert quota.arrive("a", math.nextafter(60.0, 0.0)) > 0
    assert quota.arrive("a", 60.0) == 0


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
