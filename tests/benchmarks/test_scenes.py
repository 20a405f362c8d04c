"""Every scene of the benchmarks runs with its smallest parameters. Its figures are not judged here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from benchmarks import __main__ as command
from benchmarks import (
    alone,
    board,
    cpu,
    detection,
    files,
    large_account,
    plugin,
    processes,
    ready,
    waiters,
    webhooks,
)
from benchmarks.contenders import CONTENDERS, POLL_2, SDK
from benchmarks.report import Report, write_json
from benchmarks.runs import run_once


def large_accounts() -> Report:
    extent = large_account.Extent(
        history=200, runs={2: 1}, runs_of_bound=1, live_tasks=2, live_between=(0.1, 0.2), idle=0.02
    )
    return large_account.report(large_account.measure(extent), large_account.measure_stalls(extent))


def boards() -> Report:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    extent = board.Extent(
        hosts=2, processes=1, tasks=1, runs_of_failover=1, compared=False, median=0.3, lease=0.3, settled=1.2
    )
    with board.redis_server() as url:
        return board.report(board.measure(extent, url), [board.measure_failover(extent, url)])


FORM = processes.Form(processes=2, tasks=2, limiting="of the host", speed=20, between=(5.0, 10.0))

SMALLEST: Final[dict[str, Callable[[], Report]]] = {
    "detection": lambda: detection.report(detection.measure(detection.Extent(runs={1: 1, 2: 1}, most_polled=1))),
    "alone": lambda: alone.report(alone.measure(alone.Extent(tasks=3, runs=1, fresh=1, learned=1, history=4))),
    "webhooks": lambda: webhooks.report(*webhooks.measure(webhooks.Extent(tasks=4, runs=1))),
    "processes": lambda: processes.report(processes.measure(processes.Extent(forms=(FORM,)))),
    "board": boards,
    "large_account": large_accounts,
    "waiters": lambda: waiters.report(waiters.measure(waiters.Extent(waiters=40, between=(0.8, 1.2), idle=0.02))),
    "files": lambda: files.report(files.measure(files.Extent(size=400_000, rounds=1, idle=0.01))),
    "cpu": lambda: cpu.report(cpu.measure(cpu.Extent(rounds=2, calls=10, widths=(1, 5)))),
    "ready": lambda: ready.report(ready.measure(1)),
    "plugin": lambda: plugin.report(plugin.measure(1)),
}


def test_every_scene_is_run_here_and_has_a_row_in_the_docs() -> None:
    assert SMALLEST.keys() == command.SCENES.keys()
    page = Path("docs", "benchmarks.md").read_text(encoding="utf-8")
    assert [name for name in command.SCENES if f"| `{name}` |" not in page] == []


@pytest.mark.parametrize("name", SMALLEST)
def test_a_scene_measures_and_reports(name: str, tmp_path: Path) -> None:
    report = SMALLEST[name]()
    write_json(tmp_path / "figures.json", report.figures)
    assert json.loads((tmp_path / "figures.json").read_text())["figures"]
    for table in report.tables:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
    assert all(series.points for plot in report.plots for series in plot.series)


def test_the_package_stays_within_the_limit_and_the_others_do_not() -> None:
    """Otherwise the scenes would compare nothing. No waiter knows of an end before it has happened."""
    ours, polling = (run_once(CONTENDERS[name], 20, seed=7) for name in (SDK, POLL_2))
    assert (ours.refused, min(ours.delays) >= 0) == (0, True)
    assert ours.worst_window <= 60
    assert polling.refused > 0


def test_without_a_redis_server_the_scene_of_boards_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "`redis-server` is not installed" in str(board.run(True))
