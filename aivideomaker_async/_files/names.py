"""Names that every file system takes: of ids that come from a server, and of what a caller makes up."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

__all__ = ["beside", "is_plain_name", "name_key", "video_name"]

LONGEST: Final = 100
"""Characters of an id that stand in a name."""

LONGEST_NAME: Final = 255
"""Bytes of a name that file systems take; some count characters, which are never more."""

LONGEST_ENDING: Final = 16
"""Bytes that are put behind the name of a file, for one beside it."""

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


def beside(name: str, ending: str) -> str:
    """The name of a file beside that of this name: with the ending, and shortened where it would be too long.

    Args:
        name: of the file.
        ending: at most `LONGEST_ENDING` bytes.
    """
    data = name.encode(errors="surrogatepass")
    room = LONGEST_NAME - LONGEST_ENDING
    if len(data) > room:
        mark = f"-{hashlib.sha256(data).hexdigest()[:12]}"
        name = data[: room - len(mark)].decode(errors="ignore") + mark
    return name + ending


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in a folder, and of nothing elsewhere."""
    return name not in {"", ".", ".."} and not set(name) & set("/\\:\0")


def name_key(name: str) -> str:
    """What two names have in common that are one to some file system."""
    return unicodedata.normalize("NFC", name.casefold())
