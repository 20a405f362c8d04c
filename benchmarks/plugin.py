"""What the pytest plugin of this package costs a test run that does not use it, as a ratio to a run without it.

pytest imports the plugin at the start of every test run in the environment. A run is a process of its own, with one
test that does nothing. Runs with and without the plugin take turns, and what counts is the CPU time (user and system)
of the whole process. All other plugins are switched off: they would only make the run longer, and the ratio smaller.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

from .ready import cpu_seconds
from .report import Report, Table

__all__ = ["FULL", "SHORT", "PluginRatio", "measure", "report", "run"]

FULL: Final = 40
"""Rounds: in each, both runs take place once."""

SHORT: Final = 10

PLUGIN: Final = "aivideomaker"


@frozen(kw_only=True)
class PluginRatio:
    """The one line of the table: the CPU time of a test run with the plugin over that of a run without it."""

    rounds: int
    ratio: float
    """The median over the rounds."""
    lower_quartile: float
    upper_quartile: float
    without: float
    """The median of the CPU time of a run without the plugin, in seconds."""


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(rounds: int) -> list[PluginRatio]:
    """Run both `rounds` times, taking turns."""
    with TemporaryDirectory(prefix="benchmark-plugin-") as folder:
        test = Path(folder, "test_nothing.py")
        test.write_text("def test_nothing():\n    pass\n", encoding="utf-8")
        environment = os.environ | {"PYTHONPYCACHEPREFIX": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        others = {entry.name for entry in entry_points(group="pytest11")} - {PLUGIN}
        command = ["-m", "pytest", "-q", "--rootdir", folder, str(test), *_without("cacheprovider", *sorted(others))]
        commands = {True: command, False: [*command, *_without(PLUGIN)]}
        # The first round compiles the modules.
        _round(commands, environment, first=False)
        costs = [_round(commands, environment, first=bool(number % 2)) for number in range(rounds)]
    ratios = [cost[True] / cost[False] for cost in costs]
    quartiles = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return [
        PluginRatio(
            rounds=rounds,
            ratio=median(ratios),
            lower_quartile=quartiles[0],
            upper_quartile=quartiles[2],
            without=median(cost[False] for cost in costs),
        )
    ]


def _round(commands: Mapping[bool, list[str]], environment: Mapping[str, str], *, first: bool) -> dict[bool, float]:
    """Return the CPU seconds with the plugin (True) and without it (False); `first` is run first."""
    return {has_plugin: cpu_seconds(commands[has_plugin], environment) for has_plugin in (first, not first)}


def _without(*plugins: str) -> list[str]:
    return [argument for name in plugins for argument in ("-p", f"no:{name}")]


def report(found: Sequence[PluginRatio]) -> Report:
    """The figures for people."""
    table = Table(
        title="A test run with the pytest plugin, as a ratio to one without it",
        columns=("ratio", "middle half of the rounds", "a run without, ms", "rounds"),
        rows=[
            (
                f"{line.ratio:.2f}",
                f"{line.lower_quartile:.2f} to {line.upper_quartile:.2f}",
                f"{1000 * line.without:.0f}",
                str(line.rounds),
            )
            for line in found
        ],
    )
    return Report(figures=found, tables=[table])
