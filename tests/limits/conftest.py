from __future__ import annotations

import pytest


@pytest.fixture
def clock_without_loopback(
    virtual_clock: tuple[str, dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, dict[str, object]]:
    """A virtual clock for tests that send nothing over loopback in their event loop, so it need not wait for that."""
    monkeypatch.setattr("tests.support.virtual_clock.GRACE", 0.0)
    return virtual_clock
