"""Many waiters are measured with few; what it measures is not judged here."""

from __future__ import annotations

from benchmarks import waiters


def test_all_waiters_know_within_the_limit() -> None:
    """Memory, stalls and delays are told."""
    (line,) = waiters.measure(waiters.Extent(waiters=40, between=(0.8, 1.2), idle=0.02))
    assert (line.waiters, line.refused) == (40, 0)
    assert line.worst_window <= line.queries
    assert line.bytes_per_waiter > 100
    assert line.mean_delay >= 0
    assert min(line.start_stall, line.stall, line.idle_stall) >= 0
    assert "| 40 |" in str(waiters.report([line]))
