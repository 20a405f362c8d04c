"""Print the files of the modules that decide without waiting for anything, as pyproject.toml lists them."""

import tomllib
from pathlib import Path

settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
for contract in settings["tool"]["importlinter"]["contracts"]:
    if "asyncio" in contract.get("forbidden_modules", ()):
        print(",".join(f"{name.replace('.', '/')}.py" for name in contract["source_modules"]))
