"""A large account is measured with a small one; what it measures is not judged here."""

from __future__ import annotations

from benchmarks import large_account
from benchmarks.contenders import BOUND, POLL_2, SDK
from benchmarks.large_account import Extent


def test_delays_bytes_and_stalls_are_told_for_each_contender() -> None:
    """Whoever reads every list whole reads most."""
    extent = Extent(history=200, runs={2: 1}, runs_of_bound=1, live_tasks=2, live_between=(0.1, 0.2), idle=0.02)
    found = large_account.measure(extent)
    read = {line.contender: line.bytes_per_task for line in found}
    assert list(read) == list(large_account.COMPARED)
    assert read[BOUND] > 100 * read[POLL_2] > 0
    stalls = large_account.measure_stalls(extent)
    assert [line.contender for line in stalls] == [SDK, BOUND]
    for line in stalls:
        assert line.stall > 0
        assert line.mean_delay >= 0
    report = large_account.report(found, stalls)
    assert "An account with 200 old tasks" in str(report)
    assert len(report.plots) == 2
