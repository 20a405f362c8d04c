"""Names of packages that are imported on first use."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from aivideomaker_async._util.lazy import names_on_use


def test_a_name_is_imported_on_its_first_use_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("package"), ModuleType("package.shelf")
    module.book = object()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "package", package)
    monkeypatch.setitem(sys.modules, "package.shelf", module)
    get = names_on_use("package", {"shelf": "book lamp"})
    assert get("book") is module.book
    assert vars(package)["book"] is module.book


def test_any_other_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'package' has no attribute 'chair'"):
        names_on_use("package", {"shelf": "book"})("chair")


def test_a_status_call_needs_neither_specs_nor_submits_nor_the_poller_nor_files() -> None:
    """They take longer to import than everything that it needs."""
    code = """
import asyncio, sys
from aivideomaker_async import AIVideoMaker, ConnectFailed, RateLimiter, RetryPolicy

async def main():
    options = {"limiter": RateLimiter(), "retries": RetryPolicy(max_attempts=1)}
    async with AIVideoMaker("ak_test", base_url="http://127.0.0.1:9", **options) as client:
        try:
            await client.get_status("ck1")
        except ConnectFailed:
            print(*sorted(name for name in sys.modules if name.count(".") == 1 and "aivideomaker" in name))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {name.partition(".")[2] for name in done.stdout.split()}
    assert rooms == {"_http", "_limits", "_redaction", "_util", "client", "errors", "tasks"}
