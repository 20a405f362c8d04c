"""Paths as people write them."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path in which a leading `~` stands for the home folder, as in a shell. A wrong name stays as it is."""
    given = Path(path)
    try:
        return given.expanduser()
    except RuntimeError:
        # There is no such user.
        return given
