"""Waiting with webhooks is measured with few tasks; what it measures is not judged here."""

from __future__ import annotations

from benchmarks import webhooks
from benchmarks.contenders import POLL_2, SDK


def test_every_task_is_known_with_deliveries_and_without() -> None:
    """Also when they stop half-way."""
    found, summaries = webhooks.measure(webhooks.Extent(tasks=4, runs=1))
    assert [line.part for line in found] == ["all", "all", "all", "before", "after", "before", "after"]
    assert [line.contender for line in summaries] == [webhooks.DELIVERED, SDK, POLL_2]
    for line in found:
        assert 0 <= line.mean_delay <= line.max_delay
        assert line.refused == 0 or line.contender == POLL_2
    report = webhooks.report(found, summaries)
    assert "is gone half-way | after |" in str(report)
    assert [plot.name for plot in report.plots] == ["webhooks-distribution"]
