from __future__ import annotations

import asyncio

import aiohttp
import pytest


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    """All sleeps of these tests are on the virtual clock."""
    return virtual_clock


@pytest.fixture
def never_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt to connect ends."""

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", never)
