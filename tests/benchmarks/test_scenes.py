"""The quick scenes of the benchmarks, with their smallest parameters. Figures are not judged here.

`make bench-short` runs all of them, also those that start many processes.
"""

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
    webhooks,
)
from benchmarks.contenders import CONTENDERS, POLL_2, SDK
from benchmarks.report import Report, write_json
from benchmarks.runs import run_once

SMALLEST: Final[dict[str, Callable[[], Report]]] = {
    "detection": lambda: detection.report(detection.measure(detection.Extent(runs={1: 1, 2: 1}, most_polled=1))),
    "alone": lambda: alone.report(alone.measure(alone.Extent(tasks=3, runs=1, fresh=1, learned=1, history=4))),
    "webhooks": lambda: webhooks.report(*webhooks.measure(webhooks.Extent(tasks=4, runs=1))),
    "files": lambda: files.report(files.measure(files.Extent(size=400_000, rounds=1, idle=0.01))),
    "cpu": lambda: cpu.report(cpu.measure(cpu.Extent(rounds=2, calls=10, widths=(1, 5)))),
}


def test_every_scene_has_a_row_in_the_docs() -> None:
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
