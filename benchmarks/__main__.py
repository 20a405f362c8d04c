"""The command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import AttrsInstance

from . import cpu, detection, ready
from .report import Table, put_into_docs, write_json

Benchmark = Callable[[bool], tuple[Sequence[AttrsInstance], Table]]


def _detection(short: bool) -> tuple[Sequence[AttrsInstance], Table]:
    found = detection.measure(detection.SHORT if short else detection.FULL)
    return found, detection.table(found)


def _cpu(short: bool) -> tuple[Sequence[AttrsInstance], Table]:
    found = cpu.measure(cpu.SHORT if short else cpu.FULL)
    return found, cpu.table(found)


def _ready(short: bool) -> tuple[Sequence[AttrsInstance], Table]:
    found = ready.measure(ready.SHORT if short else ready.FULL)
    return found, ready.table(found)


BENCHMARKS: Final[Mapping[str, Benchmark]] = {"detection": _detection, "cpu": _cpu, "ready": _ready}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks, print their tables and write their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="benchmark", help=f"one of {', '.join(BENCHMARKS)}; all by default")
    parser.add_argument("--short", action="store_true", help="fewer rounds: under a minute, for CI")
    parser.add_argument("--output", type=Path, default=Path("bench-output"), help="the folder of the JSON files")
    parser.add_argument("--write-docs", action="store_true", help="refresh the tables in docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.only) - BENCHMARKS.keys()):
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    if options.write_docs and options.only:
        parser.error("--write-docs writes all tables: run all benchmarks")
    tables = []
    for name in options.only or BENCHMARKS:
        figures, table = BENCHMARKS[name](options.short)
        write_json(options.output / f"{name}.json", figures)
        print(f"{table}\n", flush=True)
        tables.append(table)
    if options.write_docs:
        put_into_docs(tables)


if __name__ == "__main__":
    main()
