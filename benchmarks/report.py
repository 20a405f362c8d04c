"""Figures for machines (JSON) and for people (Markdown)."""

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

__all__ = ["DOCS", "Table", "machine", "put_into_docs", "write_json"]

DOCS: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"

_BEGIN: Final = "<!-- figures: written by `python -m benchmarks --write-docs` -->"
_END: Final = "<!-- end of figures -->"


@frozen(kw_only=True)
class Table:
    """A table in Markdown."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def __str__(self) -> str:
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join([f"### {self.title}", "", *(f"| {' | '.join(line)} |" for line in lines)])


def machine() -> dict[str, str]:
    """What the figures depend on."""
    packages = {name: version(name) for name in ("aiohttp", "attrs", "cattrs", "anyio")}
    return {"python": platform.python_version(), "cores": str(os.cpu_count()), **packages}


def write_json(path: Path, figures: Sequence[AttrsInstance]) -> None:
    """Write the figures of one benchmark, with what they depend on."""
    content = {"machine": machine(), "figures": [asdict(line) for line in figures]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def put_into_docs(tables: Sequence[Table], docs: Path = DOCS) -> None:
    """Replace the figures in the documentation, between their markers."""
    stack = ", ".join(f"{name} {number}" for name, number in machine().items() if name != "cores")
    block = "\n\n".join([_BEGIN, f"Measured with {stack}.", *map(str, tables), _END])
    text, count = re.subn(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", lambda _: block, docs.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{docs}: expected the markers of the figures exactly once, found {count}")
    docs.write_text(text)
