"""Names that every file system takes: of ids that come from a server, and of what a caller makes up."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

__all__ = ["is_plain_name", "name_key", "video_name"]

LONGEST: Final = 100
"""Characters of an id that stand in a name."""

_STRANGE: Final = re.compile(r"[^A-Za-z0-9._-]|^[.-]|[.]$")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def video_name(task_id: str) -> str:
    """The name of a video's file: `<id>.mp4`.

    An id that is no good name (with separators, too long, reserved by Windows...) is changed, and what makes it differ
    from all others is added.
    """
    name = _STRANGE.sub("_", task_id)[:LONGEST] or "_"
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if name != task_id:
        name += f"-{hashlib.sha256(task_id.encode(errors='surrogatepass')).hexdigest()[:12]}"
    return f"{name}.mp4"


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in a folder, and of nothing elsewhere."""
    return name not in {"", ".", ".."} and not set(name) & set("/\\:\0")


def name_key(name: str) -> str:
    """What two names have in common that are one to some file system."""
    return unicodedata.normalize("NFC", name.casefold())
