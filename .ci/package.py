"""Build the distributions, check them, and try each in an empty environment with the core dependencies alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent

TRY = """
import sys
import aivideomaker_async, aivideomaker_async.errors, aivideomaker_async.simulator
spec = aivideomaker_async.TextToVideo(prompt="x", aspect_ratio="16:9", duration=8)
assert spec.credits() == 8
client = aivideomaker_async.AIVideoMaker("ak_x")
from importlib.metadata import distributions
from importlib.resources import files
package = files("aivideomaker_async")
assert (package / "py.typed").is_file() and (package / "simulator" / "clip.mp4").is_file()
print(*sorted(item.name.lower().replace("_", "-") for item in distributions()))
"""


def run(*command: object) -> str:
    """Run a command, and return what it prints."""
    return subprocess.run([str(item) for item in command], check=True, text=True, capture_output=True, cwd=ROOT).stdout


def installed_with(distribution: Path) -> set[str]:
    """Install `distribution` into an empty environment, use it there, and return what came along."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        run(python, "-m", "pip", "--quiet", "install", distribution)
        check_types(Path(folder))
        done = subprocess.run([python, "-c", TRY], check=True, text=True, capture_output=True, cwd=folder)
        return set(done.stdout.split())


def check_types(environment: Path) -> None:
    """Let a user's type checker look at the installed package: the SDK's own rooms have no unknown types."""
    checker = Path(sys.executable).with_name("basedpyright")
    report = json.loads(
        subprocess.run(
            [checker, "--outputjson", "--ignoreexternal", "--verifytypes", "aivideomaker_async"],
            text=True,
            capture_output=True,
            cwd=environment,
            env={**os.environ, "VIRTUAL_ENV": str(environment), "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"},
            check=False,
        ).stdout
    )
    symbols = [item for item in report["typeCompleteness"]["symbols"] if item["isExported"]]
    assert len(symbols) > 500, "the package was not found"
    extras = ("aivideomaker_async.simulator.", "aivideomaker_async.cli.")
    unknown = [
        item["name"]
        for item in symbols
        if (not item["isTypeKnown"] or item["isTypeAmbiguous"]) and not item["name"].startswith(extras)
    ]
    assert not unknown, unknown


def main() -> None:
    """Build, check and try."""
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", ROOT / "dist")
    built = sorted((ROOT / "dist").iterdir())
    assert len(built) == 2, built
    run(sys.executable, "-m", "twine", "check", "--strict", *built)
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirements = [Requirement(item) for item in dependencies]
    core = {item.name for item in requirements if item.marker is None or item.marker.evaluate()}
    extras = {"av", "pillow", "cyclopts", "rich", "pytest", "numpy"}
    for distribution in built:
        found = installed_with(distribution)
        assert core <= found, core - found
        assert not found & extras, found & extras
        print(f"{distribution.name}: builds, passes twine, installs with {len(found)} distributions and no extra")


main()
