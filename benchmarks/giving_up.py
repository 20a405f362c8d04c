"""An agent that gives up and is killed, again and again, with the same order: `python -m benchmarks.giving_up`.

A program with a tool set gives an order, and is killed within a second, a hundred times in a row. The service takes
half a second to answer, so many are killed while the order is on its way. Then it is left in peace once. What counts is
how many videos were bought: it should be one, also where the service keeps no idempotency keys.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from attrs import frozen

from aivideomaker_async.simulator.threaded import ThreadedSimulator

from .report import Report, Table, write_json

__all__ = ["PROGRAM", "Ordered", "measure", "report"]

PROGRAM: Final = """
import json, sys
from aivideomaker_async import AIVideoMaker, RateLimiter
from aivideomaker_async.agents import VideoTools

url, key, state, order = sys.argv[1:]
client = lambda: AIVideoMaker(key, base_url=url, limiter=RateLimiter(60_000))
tools = VideoTools(max_credits=50, budget=100, state=state, client=client)
submit = next(tool for tool in tools.blocking() if tool.__name__ == "submit_video")
print("begins", flush=True)
print(submit(**json.loads(order)), flush=True)
"""
"""Gives one order: its URL, key, folder and arguments are those of the command line."""

ORDER: Final = {"order": "fox-1", "model": "t2v", "prompt": "A fox", "aspect_ratio": "16:9", "duration": 5}
ANSWER_S: Final = 0.5


@frozen(kw_only=True)
class Ordered:
    """What came of one order."""

    revision: str
    killed: int
    submits: int
    """That the service received."""
    bought: int
    told: bool
    """Whether the last report has the id of the task that was bought."""


def measure(rounds: int, seed: int = 2026) -> list[Ordered]:
    """Kill the program `rounds` times, against a service of each revision."""
    return [_measure(revision, rounds, random.Random(seed)) for revision in ("2026-03", "2026-09")]


def _measure(revision: str, rounds: int, rng: random.Random) -> Ordered:
    with (
        ThreadedSimulator(revision=revision, render=False, limit=None) as service,
        tempfile.TemporaryDirectory() as state,
    ):
        service.fault("slow", on="submit", seconds=ANSWER_S, times=None)
        command = [sys.executable, "-c", PROGRAM, service.url, service.api_key, state, json.dumps(ORDER)]
        for _ in range(rounds):
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(rng.uniform(0.0, 1.0))
                process.kill()
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        told = json.loads(done.stdout.splitlines()[-1]).get("task_id")
        submits = sum(arrival.method == "POST" and "/generate/" in arrival.path for arrival in service.requests)
        return Ordered(
            revision=revision, killed=rounds, submits=submits, bought=len(service.tasks), told=told in service.tasks
        )


def report(found: list[Ordered]) -> Report:
    """One row for each revision."""
    rows = [
        (one.revision, str(one.killed), str(one.submits), str(one.bought), "yes" if one.told else "no") for one in found
    ]
    columns = ("revision of the service", "killed", "submits received", "videos bought", "told in the end")
    return Report(figures=found, tables=[Table(title="Giving up", columns=columns, rows=rows)])


def main() -> None:
    """Measure, print the table, and fail when anything was bought twice, or lost."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.giving_up", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("bench-output"), help="the folder of the JSON file")
    options = parser.parse_args()
    found = measure(options.rounds)
    print(report(found))
    write_json(options.output / "giving-up.json", report(found).figures)
    if not all(one.bought == 1 and one.told for one in found):
        raise SystemExit("an order has bought another number of videos than one")


if __name__ == "__main__":
    main()
