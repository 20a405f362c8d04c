"""Processes of several hosts run with the smallest of parameters; what they measure is not judged here."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import board
from benchmarks.board import Extent

EXTENT = Extent(hosts=2, processes=1, tasks=1, runs_of_failover=1, compared=False, median=0.3, lease=0.3, settled=1.2)

needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@needs_redis
def test_processes_share_what_they_know_and_outlive_each_other() -> None:
    """Every task is known, and another process polls when the one that did is killed."""
    with board.redis_server() as url:
        (line,) = board.measure(EXTENT, url)
        taken_over = board.measure_failover(EXTENT, url)
    assert (line.processes, line.tasks, line.refused) == (2, 2, 0)
    assert taken_over.seconds > 0
    text = str(board.report([line], [taken_over]))
    assert "| 2 | 2 | over Redis, and a board |" in text
    assert "| 2 | 0.3 |" in text


def test_without_a_redis_server_the_scene_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left out, and everything else is measured."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "`redis-server` is not installed" in str(board.run(True))
