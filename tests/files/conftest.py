"""Downloads are tested with a clock that jumps over pauses."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock
