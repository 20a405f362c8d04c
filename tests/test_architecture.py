"""The laws of the house that no linter knows: what importing costs, and what the package shows."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import attrs
import pytest

import aivideomaker_async
from aivideomaker_async import VideoSpec, errors, simulator
from aivideomaker_async.cli.exit_codes import Exit
from aivideomaker_async.specs import SPECS

PACKAGE = Path(aivideomaker_async.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_no_extra() -> None:
    """Who only uses the client pays for nothing else."""
    loaded = imported_by("import aivideomaker_async")
    extras = {"av", "PIL", "cyclopts", "rich", "numpy", "pytest", "fastapi", "redis"}
    assert not loaded & extras
    ours = {"simulator", "cli", "webhooks", "_watch.board", "_limits.redis"}
    assert not loaded & {f"aivideomaker_async.{name}" for name in ours}


def test_values_alone_need_no_aiohttp() -> None:
    """Specs and statuses can be used where nothing is sent."""
    for statement in ("from aivideomaker_async import TextToVideo", "from aivideomaker_async.tasks import TaskStatus"):
        assert "aiohttp" not in imported_by(statement)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_the_package_root(module: Path) -> None:
    """Rooms import rooms: the root imports everything, and would be a circle."""
    depth = len(module.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(name.name == "aivideomaker_async" for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            root = node.module == "aivideomaker_async" or (node.module is None and node.level == depth)
            names = {name.name for name in node.names}
            rooms = {path.stem for path in PACKAGE.iterdir()}
            assert not root or names <= rooms, f"{names} from the package root"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_what_it_is_for(module: Path) -> None:
    """A newcomer finds the room by its first line."""
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


def test_the_exported_names_are_these() -> None:
    """The public face changes on purpose only."""
    fixed = (
        "AIVideoMaker TextToVideo ImageToVideo LongVideo TextToVideoV3 ImageToVideoV3 VideoTask Video TaskStatus "
        "StatusChange TaskDetails TaskOutput SubmittedTask Quote Account Eta RateLimiter "
        "HostRateLimiter RedisRateLimiter StatusBoard"
    )
    exported = aivideomaker_async.__all__
    assert set(fixed.split()) <= set(exported)
    assert set(errors.__all__) <= set(exported)
    assert len(set(exported)) == len(exported)
    assert all(hasattr(aivideomaker_async, name) for name in exported)
    public = {name for name in vars(aivideomaker_async) if name[0] not in "_@"}
    rooms = {path.stem for path in PACKAGE.iterdir()}
    assert public - rooms <= set(exported), "what can be seen is exported"


ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
}


@pytest.mark.parametrize("package", [aivideomaker_async, simulator], ids=lambda package: package.__name__)
def test_every_public_name_stands_in_the_docs(package: ModuleType) -> None:
    """Who meets one in a traceback or a type finds what it is."""
    text = "\n".join(PAGES.values())
    assert [name for name in package.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_every_error_has_its_row_with_what_to_do() -> None:
    """And no row is of an error that there is not."""
    table = PAGES["docs/errors.md"].partition("## Other names")[0]
    rows = re.findall(r"^\| `(\w+)`(?: \(a `(\w+)`\))? \| .+ \| .+ \|$", table, re.MULTILINE)
    assert {name for name, _ in rows} == {*errors.__all__} - {"AIVideoMakerError", "FieldProblem"}
    for name, base in rows:
        assert issubclass(getattr(errors, name), getattr(builtins, base or "Exception"))


def test_every_exit_code_stands_in_the_readme() -> None:
    """As the help tells them."""
    sentence = re.search(r"Exit\s+codes: (.+?)\. ", PAGES["README.md"], re.DOTALL)
    assert sentence is not None
    assert [int(code) for code in re.findall(r"\b\d+\b", sentence[1])] == [int(code) for code in Exit]


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.__name__)
def test_every_field_of_a_spec_is_described(spec: type[VideoSpec]) -> None:
    """In the docstring, which editors and the command line show."""
    assert re.findall(r"^    (\w+): ", inspect.cleandoc(str(spec.__doc__)), re.MULTILINE) == [
        *(field.name for field in attrs.fields(spec) if field.name != "extra"),
        "extra",
    ]


def test_the_version_is_told_in_one_place() -> None:
    """Package and distribution agree."""
    from importlib.metadata import version

    assert aivideomaker_async.__version__ == version("aivideomaker-async")
