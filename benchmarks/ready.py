"""How long a fresh interpreter needs until its first answer, as a ratio to a bare aiohttp session.

Each start is a process of its own. The starts take turns, and what counts is the CPU time (user and system) of the
whole process, the interpreter's own start included, since that is what a short-lived script pays. All modules are
compiled beforehand, as they are where a package was installed.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Final

from attrs import frozen

from .report import Report, Table
from .status_server import status_server

__all__ = ["FULL", "SHORT", "ReadyRatio", "cpu_seconds", "measure", "report", "run"]

FULL: Final = 24
"""Rounds: in each, every program starts once."""

SHORT: Final = 10

BARE: Final = "a bare aiohttp session"

PROGRAMS: Final[Mapping[str, str]] = {
    BARE: """
import asyncio, sys
import aiohttp

async def main():
    async with aiohttp.ClientSession(headers={"key": "ak_benchmark"}) as session:
        async with session.get(sys.argv[1] + "/api/v1/tasks/ck1/status") as response:
            assert (await response.json())["status"] == "PROGRESS"

asyncio.run(main())
""",
    "a client of this package": """
import asyncio, sys
from aivideomaker_async import AIVideoMaker

async def main():
    async with AIVideoMaker("ak_benchmark", base_url=sys.argv[1]) as client:
        assert await client.get_status("ck1") == "PROGRESS"

asyncio.run(main())
""",
    "specs alone": """
import sys
from aivideomaker_async.specs import TextToVideo

assert "aiohttp" not in sys.modules
""",
    "an empty interpreter": "pass",
}
"""The programs by their names in the table."""


@frozen(kw_only=True)
class ReadyRatio:
    """One line of the table: the CPU time of a program over that of a bare aiohttp session."""

    program: str
    rounds: int
    ratio: float
    """The median over the rounds."""
    lower_quartile: float
    upper_quartile: float


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(rounds: int) -> list[ReadyRatio]:
    """Start every program `rounds` times, taking turns."""
    with status_server() as url, TemporaryDirectory(prefix="benchmark-ready-") as compiled:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        _round(url, environment, reverse=False)
        costs = [_round(url, environment, reverse=bool(number % 2)) for number in range(rounds)]
    return [_summary(name, [cost[name] / cost[BARE] for cost in costs]) for name in PROGRAMS if name != BARE]


def _round(url: str, environment: Mapping[str, str], *, reverse: bool) -> dict[str, float]:
    names = sorted(PROGRAMS, reverse=reverse)
    return {name: cpu_seconds(["-c", PROGRAMS[name], url], environment) for name in names}


def cpu_seconds(arguments: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a fresh interpreter with these arguments, and return the seconds of CPU time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _summary(name: str, ratios: Sequence[float]) -> ReadyRatio:
    quartiles = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else list(ratios) * 3
    return ReadyRatio(
        program=name,
        rounds=len(ratios),
        ratio=median(ratios),
        lower_quartile=quartiles[0],
        upper_quartile=quartiles[2],
    )


def report(found: Sequence[ReadyRatio]) -> Report:
    """The figures for people."""
    table = Table(
        title="A fresh process until its first answer, as a ratio to a bare aiohttp session",
        columns=("program", "ratio", "middle half of the rounds", "rounds"),
        rows=[
            (
                line.program,
                f"{line.ratio:.2f}",
                f"{line.lower_quartile:.2f} to {line.upper_quartile:.2f}",
                str(line.rounds),
            )
            for line in found
        ],
    )
    return Report(figures=found, tables=[table])
