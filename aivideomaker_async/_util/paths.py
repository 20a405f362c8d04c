"""Paths as people write them, and the folder where this package keeps what must outlive a process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

__all__ = ["APPLICATION", "expanded", "user_state_folder"]

APPLICATION: Final = "aivideomaker-async"
"""The name of the folder of this package among those of other programs."""


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path in which a leading `~` stands for the home folder, as in a shell. A wrong name stays as it is."""
    given = Path(path)
    try:
        return given.expanduser()
    except RuntimeError:
        # There is no such user.
        return given


def user_state_folder() -> Path:
    """Return the folder for the state of this package; it may not exist yet.

    Raises:
        RuntimeError, KeyError, OSError: the user has no home folder.
    """
    if sys.platform == "linux":
        # The rule of the XDG specification, as platformdirs has it, which costs a program more to import than a call.
        home = os.environ.get("XDG_STATE_HOME", "").strip()
        return Path(home or Path.home() / ".local/state", APPLICATION)
    from platformdirs import user_state_path

    return user_state_path(APPLICATION, appauthor=False)
