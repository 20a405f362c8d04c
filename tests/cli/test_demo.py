"""What the demo shows: `test_servers.py` has how."""

from __future__ import annotations

from aivideomaker_async import PRICES_2026_03
from aivideomaker_async.cli import demo


def test_the_demo_has_every_model_that_its_simulator_has() -> None:
    """It is of the revision 2026-03. Each model has its durations, and one request."""
    models = [spec.model for spec in demo.specs()]
    assert sorted(models) == sorted(demo.DURATIONS) == sorted(PRICES_2026_03.per_second)
