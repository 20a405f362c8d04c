"""The code in README.md and docs/ is run as tests, each page from top to bottom in a folder of its own.

A block that awaits at its top level runs in one event loop a page, with a `client` that is connected to a fast
simulator. A block with tests in it runs under pytest. Everything else runs as it stands.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser


def _setup(namespace: dict[str, Any]) -> None:
    from aivideomaker_async import AIVideoMaker, RateLimiter
    from aivideomaker_async.simulator import ThreadedSimulator

    # In a thread of its own, for the blocks that run an event loop of theirs.
    simulator = namespace["_simulator"] = ThreadedSimulator(speed=600, limit=None)
    simulator.__enter__()

    async def open_client() -> AIVideoMaker:
        stack = namespace["_stack"] = contextlib.AsyncExitStack()
        return await stack.enter_async_context(AIVideoMaker(limiter=RateLimiter(6000)))

    folder = namespace["_folder"] = tempfile.TemporaryDirectory()
    namespace["_before"] = Path.cwd(), dict(os.environ)
    os.chdir(folder.name)
    os.environ["AIVIDEO_API_KEY"] = simulator.api_key
    os.environ["AIVIDEO_BASE_URL"] = simulator.url
    os.environ["XDG_STATE_HOME"] = folder.name
    namespace["_runner"] = asyncio.Runner()
    namespace["client"] = namespace["_runner"].run(open_client())


def _teardown(namespace: dict[str, Any]) -> None:
    namespace["_runner"].run(namespace["_stack"].aclose())
    namespace["_runner"].close()
    namespace["_simulator"].__exit__(None, None, None)
    before, environment = namespace["_before"]
    os.chdir(before)
    os.environ.clear()
    os.environ.update(environment)
    namespace["_folder"].cleanup()


def _evaluate(example: Example) -> None:
    source = textwrap.dedent(str(example.parsed))
    if "def test_" in source:
        _run_tests(source)
        return
    # The lines of tracebacks are those of the page.
    padded = "\n" * (example.line + example.parsed.line_offset) + source
    code = compile(padded, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    result = eval(code, example.namespace)  # noqa: S307  (our own pages)
    if inspect.iscoroutine(result):
        example.namespace["_runner"].run(result)


def _run_tests(source: str) -> None:
    Path("test_page.py").write_text(source, encoding="utf-8")
    # Without the plugins that are installed here for other tests, which take longer to load than all the rest.
    plugins = ["no:cacheprovider", "aivideomaker_async.simulator.pytest_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", *(f"-p{name}" for name in plugins), "test_page.py"]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
    assert done.returncode == 0, done.stdout + done.stderr  # noqa: S101


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", _evaluate)],
    patterns=["README.md", "docs/*.md"],
    setup=_setup,
    teardown=_teardown,
).pytest()
