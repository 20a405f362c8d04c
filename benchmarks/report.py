"""Figures for machines (JSON) and for people (Markdown and SVG)."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from attrs import AttrsInstance, asdict, frozen

__all__ = ["DOCS", "FIGURES", "Plot", "Report", "Series", "Table", "machine", "put_into_docs", "write_json"]

DOCS: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
FIGURES: Final = DOCS.parent / "figures"

_BEGIN: Final = "<!-- figures: written by `python -m benchmarks --write-docs` -->"
_END: Final = "<!-- end of figures -->"


@frozen(kw_only=True)
class Table:
    """A table in Markdown, with what must be known to read it above."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""

    def __str__(self) -> str:
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        above = [f"### {self.title}", "", *([self.note, ""] if self.note else [])]
        return "\n".join([*above, *(f"| {' | '.join(line)} |" for line in lines)])


@frozen(kw_only=True)
class Series:
    """One line of a plot, or with `bars` one group of them."""

    label: str
    points: Sequence[tuple[float, float]]
    marks: bool = True


@frozen(kw_only=True)
class Plot:
    """A figure: lines over x, or bars at the places that `places` names."""

    name: str
    """Of the file, without its ending."""
    title: str
    x: str
    y: str
    series: Sequence[Series]
    log_x: bool = False
    log_y: bool = False
    places: tuple[str, ...] = ()


@frozen(kw_only=True)
class Report:
    """What one scene found."""

    figures: Sequence[AttrsInstance]
    tables: Sequence[Table]
    plots: Sequence[Plot] = ()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables))

    def markdown(self) -> str:
        """The tables, and the plots as files beside the documentation."""
        images = [f"![{plot.title}]({FIGURES.name}/{plot.name}.svg)" for plot in self.plots]
        return "\n\n".join([str(self), *images])


def machine() -> dict[str, str]:
    """What the figures depend on."""
    packages = {name: version(name) for name in ("aiohttp", "attrs", "cattrs", "anyio")}
    return {"python": platform.python_version(), "cores": str(os.cpu_count()), **packages}


def write_json(path: Path, figures: Sequence[AttrsInstance]) -> None:
    """Write the figures of one scene, with what they depend on."""
    content = {"machine": machine(), "figures": [asdict(line) for line in figures]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def put_into_docs(reports: Sequence[Report], docs: Path = DOCS) -> None:
    """Replace the figures in the documentation, between their markers."""
    stack = ", ".join(f"{name} {number}" for name, number in machine().items() if name != "cores")
    block = "\n\n".join([_BEGIN, f"Measured with {stack}.", *(one.markdown() for one in reports), _END])
    text, count = re.subn(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", lambda _: block, docs.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{docs}: expected the markers of the figures exactly once, found {count}")
    docs.write_text(text)
