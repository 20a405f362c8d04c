"""Laws of the package that no linter checks: what importing it loads, and what it exports and documents."""

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
    """Return the modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_no_extra() -> None:
    loaded = imported_by("import aivideomaker_async")
    extras = {"av", "PIL", "cyclopts", "rich", "numpy", "pytest", "fastapi", "redis"}
    assert not loaded & extras
    ours = {"simulator", "cli", "webhooks", "_watch.board", "_limits.redis"}
    assert not loaded & {f"aivideomaker_async.{name}" for name in ours}


def test_values_alone_need_no_aiohttp() -> None:
    """Specs and statuses are also used where nothing is sent."""
    for statement in ("from aivideomaker_async import TextToVideo", "from aivideomaker_async.tasks import TaskStatus"):
        assert "aiohttp" not in imported_by(statement)


def test_values_need_no_converter_until_they_are_written_as_json() -> None:
    """It takes as long to import as much of the package."""
    assert "cattrs" not in imported_by("from aivideomaker_async import AIVideoMaker, StatusChange, TaskDetails, Video")


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_the_package_root(module: Path) -> None:
    """Rooms import rooms: the root imports everything, which would be a circle."""
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
def test_every_module_has_a_docstring(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))


def test_the_root_exports_its_public_names() -> None:
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
    assert public - rooms <= set(exported), "a name without an underscore is exported"


ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
}


@pytest.mark.parametrize("package", [aivideomaker_async, simulator], ids=lambda package: package.__name__)
def test_every_public_name_is_mentioned_in_the_docs(package: ModuleType) -> None:
    text = "\n".join(PAGES.values())
    assert [name for name in package.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_the_docs_have_a_row_for_each_error_and_for_nothing_else() -> None:
    table = PAGES["docs/errors.md"].partition("## Other names")[0]
    rows = re.findall(r"^\| `(\w+)`(?: \(a `(\w+)`\))? \| .+ \| .+ \|$", table, re.MULTILINE)
    assert {name for name, _ in rows} == {*errors.__all__} - {"AIVideoMakerError", "FieldProblem"}
    for name, base in rows:
        assert issubclass(getattr(errors, name), getattr(builtins, base or "Exception"))


def test_the_readme_lists_every_exit_code() -> None:
    sentence = re.search(r"Exit\s+codes: (.+?)\. ", PAGES["README.md"], re.DOTALL)
    assert sentence is not None
    assert [int(code) for code in re.findall(r"\b\d+\b", sentence[1])] == [int(code) for code in Exit]


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.__name__)
def test_the_docstring_of_a_spec_describes_every_field(spec: type[VideoSpec]) -> None:
    """Editors and the command line show it."""
    assert re.findall(r"^    (\w+): ", inspect.cleandoc(str(spec.__doc__)), re.MULTILINE) == [
        *(field.name for field in attrs.fields(spec) if field.name != "extra"),
        "extra",
    ]


def test_package_and_distribution_have_the_same_version() -> None:
    from importlib.metadata import version

    assert aivideomaker_async.__version__ == version("aivideomaker-async")
