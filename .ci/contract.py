"""Hold the simulator to its own OpenAPI documents: schemathesis sends what they allow, and what they do not."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

import openapi_spec_validator

from aivideomaker_async.simulator import ThreadedSimulator
from aivideomaker_async.simulator.contract import REVISIONS

HERE = Path(__file__).resolve().parent
LONGEST = 180
"""Seconds; usual are 15."""


def check(revision: str) -> bool:
    """Check a revision, and tell whether the simulator does as it documents."""
    with ThreadedSimulator(
        revision=revision, limit=None, credits=10**9, history=20, late_cancel=409, seed=1, render=False
    ) as simulator:
        with urlopen(f"{simulator.url}/openapi.json") as answer:  # noqa: S310  (a URL of our own)
            openapi_spec_validator.validate(json.load(answer))
        done = attacked(simulator)
        seen = simulator.requests
        hosts = {urlsplit(task.webhook_url).hostname for task in simulator.tasks.values() if task.webhook_url}
    assert hosts <= {"127.0.0.1", "::1"}, hosts
    print(f"{revision}: {len(seen)} requests, answered {sorted({one.status for one in seen})}", flush=True)
    # With a wrong key, or none of its operations found, nothing would be refused.
    assert {200, 400, 401, 404} <= {one.status for one in seen}
    return done.returncode == 0


def attacked(simulator: ThreadedSimulator) -> subprocess.CompletedProcess[bytes]:
    """Let schemathesis at a simulator. What it leaves behind goes into a folder of its own."""
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml", "run"]
    arguments = [f"{simulator.url}/openapi.json", "--header", f"key: {simulator.api_key}", "--no-color"]
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [*command, *arguments],
            cwd=folder,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")},
            timeout=LONGEST,
            check=False,
        )


def main() -> int:
    """Check all revisions, also when one of them is wrong."""
    # That nobody takes the webhooks is known.
    logging.disable(logging.WARNING)
    wrong = [revision for revision in REVISIONS if not check(revision)]
    if wrong:
        print(f"the simulator is not as it documents: {', '.join(wrong)}")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
