"""Draws the plots of the scenes as SVG files: the same bytes for the same figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter

from .contenders import BOUND, CONTENDERS, SDK
from .report import Plot

__all__ = ["write_plots"]

SIZE: Final = (7.2, 4.2)
"""Inches."""

_STYLE: Final[dict[Any, Any]] = {
    # Names of elements are hashes: of this word instead of a random one.
    "svg.hashsalt": "benchmarks",
    # Text stays text, so that the files do not depend on the fonts of the machine.
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    # Readable on a dark page too.
    "figure.facecolor": "white",
}
_OWN: Final = "#c2410c"
_BOUND: Final = "#6b7280"
_OTHERS: Final = ("#1d4ed8", "#0891b2", "#7c3aed", "#15803d", "#a16207", "#be185d")


def write_plots(plots: Sequence[Plot], folder: Path) -> None:
    """Write each plot into `folder`, under its own name."""
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=SIZE, layout="constrained")
            _draw(plot, figure.add_subplot())
            # No date and no version: a file changes only with its figures.
            figure.savefig(folder / f"{plot.name}.svg", format="svg", metadata={"Date": None, "Creator": None})


def _draw(plot: Plot, axes: Axes) -> None:
    if plot.places:
        _bars(plot, axes)
    else:
        _lines(plot, axes)
    axes.set(title=plot.title, xlabel=plot.x, ylabel=plot.y)
    if plot.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    if plot.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    else:
        axes.set_ylim(bottom=0)
    if len(plot.series) > 1:
        axes.legend()


def _lines(plot: Plot, axes: Axes) -> None:
    for number, series in enumerate(plot.series):
        axes.plot(
            [x for x, _ in series.points],
            [y for _, y in series.points],
            label=series.label,
            color=_color(series.label, number),
            linewidth=2.4 if series.label.startswith(SDK) else 1.4,
            linestyle="--" if series.label == BOUND else "-",
            marker="o" if series.marks else None,
            markersize=4,
        )


def _bars(plot: Plot, axes: Axes) -> None:
    width = 0.8 / len(plot.series)
    for number, series in enumerate(plot.series):
        left = [x - 0.4 + (number + 0.5) * width for x, _ in series.points]
        axes.bar(left, [y for _, y in series.points], width, label=series.label, color=_color(series.label, number))
    axes.set_xticks(range(len(plot.places)), plot.places)
    axes.grid(visible=False, axis="x")
    # Room for the legend.
    axes.margins(y=0.25)


def _color(label: str, number: int) -> str:
    """A contender has one color in all plots."""
    if label == SDK:
        return _OWN
    if label == BOUND:
        return _BOUND
    names = [name for name in CONTENDERS if name not in {SDK, BOUND}]
    return _OTHERS[(names.index(label) if label in names else number) % len(_OTHERS)]
