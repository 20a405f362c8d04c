"""Try the agents' tools in every framework, each in an environment of its own: `make agents`, or FRAMEWORK=... for one.

The newest versions that resolve are installed. An environment is removed when its run is green.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.frameworks.glue import REQUIREMENTS

FOLDER = Path(".venv-agents")


def run(*command: str | Path) -> bool:
    return subprocess.run(list(map(str, command)), check=False).returncode == 0


def tried(name: str) -> str:
    """Install one framework and try it; return what came of it."""
    folder = FOLDER / name
    python = folder / "bin" / "python"
    if not python.exists() and not run(sys.executable, "-m", "venv", folder):
        return "no environment"
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install")
    installed = run(*pip, "uv") and run(
        *(folder / "bin" / "uv", "pip", "install", "--quiet", "--python", python, "--editable", ".[simulator]"),
        *REQUIREMENTS[name],
    )
    if not installed:
        return "cannot be installed here"
    if not run(python, "-m", "tests.frameworks.check", name):
        return "FAILED"
    if "KEEP" not in os.environ:
        shutil.rmtree(folder)
    return "ok"


def main() -> None:
    chosen = sys.argv[1:] or list(REQUIREMENTS)
    if unknown := [name for name in chosen if name not in REQUIREMENTS]:
        sys.exit(f"no such framework: {', '.join(unknown)}; there are {', '.join(REQUIREMENTS)}")
    found = {name: tried(name) for name in chosen}
    for name, result in found.items():
        print(f"{name:<16} {result}")
    sys.exit(any(result == "FAILED" for result in found.values()))


if __name__ == "__main__":
    main()
