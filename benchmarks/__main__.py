"""The command: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from . import alone, board, cpu, detection, files, large_account, plugin, processes, ready, waiters, webhooks
from .report import FIGURES, Report, put_into_docs, write_json

Scene = Callable[[bool], Report]
"""Measures, in the short form or in full, and prints what it found."""

SCENES: Final[Mapping[str, Scene]] = {
    "detection": detection.run,
    "alone": alone.run,
    "webhooks": webhooks.run,
    "processes": processes.run,
    "board": board.run,
    "large_account": large_account.run,
    "waiters": waiters.run,
    "files": files.run,
    "cpu": cpu.run,
    "ready": ready.run,
    "plugin": plugin.run,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the scenes, print their tables and write their figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="scene", help=f"some of {', '.join(SCENES)}; all by default")
    parser.add_argument("--short", action="store_true", help="fewer rounds: about a minute, for CI")
    parser.add_argument("--output", type=Path, default=Path("bench-output"), help="the folder of JSON and SVG files")
    parser.add_argument("--write-docs", action="store_true", help="refresh tables and plots of docs/benchmarks.md")
    options = parser.parse_args(arguments)
    if unknown := sorted(set(options.only) - SCENES.keys()):
        parser.error(f"no such scene: {', '.join(unknown)}")
    if options.write_docs and options.only:
        parser.error("--write-docs writes all tables: run all scenes")
    reports = []
    for name in options.only or SCENES:
        began = time.perf_counter()
        report = SCENES[name](options.short)
        write_json(options.output / f"{name}.json", report.figures)
        print(f"{report}\n\n({name}: {time.perf_counter() - began:.0f} s)\n", flush=True)
        reports.append(report)
    # Not before all is measured: what draws is large, and would take part in the event loops' stalls.
    from .plots import write_plots

    write_plots([plot for report in reports for plot in report.plots], options.output / FIGURES.name)
    if options.write_docs:
        write_plots([plot for report in reports for plot in report.plots], FIGURES)
        put_into_docs(reports)


if __name__ == "__main__":
    # Refusals and deliveries that fail are counted, not reported.
    logging.disable(logging.WARNING)
    main()
