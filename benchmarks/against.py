"""This tree beside an earlier revision of it: what the client costs now and then.

    python -m benchmarks.against REV [--short]

The revision is unpacked into a temporary folder, and both trees run the same programs in processes that take turns, so
that a busy moment of the machine meets both. What counts is the CPU time of the processes (user and system):

- `ready`: a fresh process until its first answer, the interpreter's start included;
- `call, 1 at once` and `call, 50 at once`: one status call in a process that makes many.

Each ratio is this tree over the revision: the median over the rounds.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from .status_server import status_server

__all__ = ["RATIO_TO_WARN_FROM", "compare", "lines", "main"]

ROOT: Final = Path(__file__).parents[1]

RATIO_TO_WARN_FROM: Final = 1.05

ROUNDS: Final = 20
SHORT_ROUNDS: Final = 8

CALLS: Final = 1500

READY: Final = """
import asyncio, sys
from aivideomaker_async import AIVideoMaker

async def main():
    async with AIVideoMaker("ak_benchmark", base_url=sys.argv[1]) as client:
        assert await client.get_status("ck1") == "PROGRESS"

asyncio.run(main())
"""

CALL: Final = """
import asyncio, sys, time
from aivideomaker_async import AIVideoMaker, RateLimiter

async def main():
    width, calls = int(sys.argv[2]), int(sys.argv[3])
    limiter = RateLimiter(limit=10**7, burst=10**7)
    async with AIVideoMaker("ak_benchmark", base_url=sys.argv[1], limiter=limiter) as client:
        async def work(number):
            for _ in range(number // width):
                await client.get_status("ckxw1v7d80001qzrm3ov5mf4a")

        await asyncio.gather(*(work(calls // 5) for _ in range(width)))
        began = time.process_time()
        await asyncio.gather(*(work(calls) for _ in range(width)))
        print((time.process_time() - began) / (calls // width * width))

asyncio.run(main())
"""


def compare(revision: str, *, rounds: int, calls: int = CALLS) -> dict[str, float]:
    """Measure both trees; return the ratio of this one to `revision` for each program.

    Args:
        revision: any name of a commit that git knows here.
        rounds: how often each program runs in each tree.
        calls: status calls in one run of the programs that make many.
    """
    with status_server() as url, TemporaryDirectory(prefix="benchmark-against-") as folder:
        before = Path(folder) / "before"
        _unpack(revision, before)
        trees = {"now": ROOT, "before": before}
        costs: dict[str, dict[str, list[float]]] = {}
        for number in range(rounds + 1):
            for tree in sorted(trees, reverse=bool(number % 2)):
                for name, cost in _run_all(trees[tree], url, _environment(trees[tree], Path(folder)), calls).items():
                    # The first round compiles the modules.
                    if number:
                        costs.setdefault(name, {}).setdefault(tree, []).append(cost)
    return {
        name: median(now / earlier for now, earlier in zip(found["now"], found["before"], strict=True))
        for name, found in costs.items()
    }


def _unpack(revision: str, folder: Path) -> None:
    archive = subprocess.run(
        ["git", "archive", "--format=tar", revision, "aivideomaker_async"],  # noqa: S607  (whichever git is there)
        cwd=ROOT,
        check=True,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def _environment(tree: Path, folder: Path) -> Mapping[str, str]:
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        # The shared limiter of this user's own programs is left alone.
        "XDG_STATE_HOME": str(folder / "state" / tree.name),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _run_all(tree: Path, url: str, environment: Mapping[str, str], calls: int) -> dict[str, float]:
    costs = {"ready": _cpu_seconds([READY, url], tree, environment)}
    for width in (1, 50):
        program = [sys.executable, "-c", CALL, url, str(width), str(calls)]
        done = subprocess.run(program, check=True, env=environment, cwd=tree, capture_output=True, text=True)
        costs[f"call, {width} at once"] = float(done.stdout)
    return costs


def _cpu_seconds(program: Sequence[str], tree: Path, environment: Mapping[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", *program], check=True, env=environment, cwd=tree)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratios, and a warning where this tree costs more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against")
    parser.add_argument("revision", help="the commit to compare with")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_ROUNDS} rounds instead of {ROUNDS}")
    options = parser.parse_args(arguments)
    ratios = compare(options.revision, rounds=SHORT_ROUNDS if options.short else ROUNDS)
    print(f"CPU time of the client, as a ratio to that at {options.revision}:")
    print(*lines(ratios), sep="\n")


def lines(ratios: Mapping[str, float]) -> list[str]:
    """Return a line for each ratio, with a warning where this tree costs noticeably more."""
    return [
        f"  {name:18} {ratio:.2f} x{'   WARNING: slower than before' if ratio >= RATIO_TO_WARN_FROM else ''}"
        for name, ratio in ratios.items()
    ]


if __name__ == "__main__":
    main()
