"""Figures are drawn the same way each time."""

from __future__ import annotations

from pathlib import Path

from benchmarks.contenders import BOUND, SDK
from benchmarks.plots import write_plots
from benchmarks.report import Plot, Series

LINES = Plot(
    name="lines",
    title="Lines",
    x="tasks",
    y="seconds",
    log_x=True,
    log_y=True,
    series=[
        Series(label=SDK, points=[(1, 2.0), (10, 1.0)]),
        Series(label=BOUND, points=[(1, 0.5), (10, 0.5)]),
        Series(label="somebody", points=[(1, 5.0), (10, 9.0)], marks=False),
    ],
)
BARS = Plot(
    name="bars",
    title="Bars",
    x="",
    y="queries",
    places=("few", "many"),
    series=[Series(label=SDK, points=[(0, 3), (1, 4)])],
)


def test_the_same_figures_are_the_same_bytes(tmp_path: Path) -> None:
    """No date, no random name; so the files change only when the figures do."""
    for folder in ("one", "two"):
        write_plots([LINES, BARS], tmp_path / folder)
    for name in ("lines.svg", "bars.svg"):
        drawn = (tmp_path / "one" / name).read_text()
        assert drawn == (tmp_path / "two" / name).read_text()
        assert drawn.startswith("<?xml")
        assert "<dc:date>" not in drawn
    assert "seconds" in (tmp_path / "one" / "lines.svg").read_text()
