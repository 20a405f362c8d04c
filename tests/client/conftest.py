from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    """All sleeps of these tests are on the virtual clock."""
    return virtual_clock
