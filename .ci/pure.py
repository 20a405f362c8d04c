"""Print the files of the modules that decide without waiting for anything, as pyproject.toml lists them."""

import tomllib
from pathlib import Path

settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
for contract in settings["tool"]["importlinter"]["contracts"]:
    if "asyncio" in contract.get("forbidden_modules", ()):
        paths = (Path(name.replace(".", "/")) for name in contract["source_modules"])
        print(",".join(f"{path}/*.py" if path.is_dir() else f"{path}.py" for path in paths))
