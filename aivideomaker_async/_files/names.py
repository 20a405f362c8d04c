"""File names that every file system accepts: made of ids from a server, and checked when a caller makes them up."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

__all__ = ["beside", "is_plain_name", "name_key", "video_name"]

MAX_FILE_NAME_ID_CHARACTERS: Final = 100
"""The length to which an id is cut in a name."""

MAX_NAME_BYTES: Final = 255
"""What file systems accept; some count characters, which are never more."""

MAX_ENDING_BYTES: Final = 16
"""The longest ending that `beside` appends."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]|^[.-]|[.]$")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def video_name(task_id: str) -> str:
    """Return the name of a video's file: `<id>.mp4`.

    An id that is not a good name (with separators, too long, reserved by Windows...) is changed, and a hash of it is
    appended, so that two ids never share a name.
    """
    name = _UNSAFE.sub("_", task_id)[:MAX_FILE_NAME_ID_CHARACTERS] or "_"
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    if name != task_id:
        name += f"-{hashlib.sha256(task_id.encode(errors='surrogatepass')).hexdigest()[:12]}"
    return f"{name}.mp4"


def beside(name: str, ending: str) -> str:
    """Return the name of a file beside another: its name with an ending, shortened if it would be too long.

    Args:
        name: the name of the other file.
        ending: at most `MAX_ENDING_BYTES` bytes.
    """
    data = name.encode(errors="surrogatepass")
    room = MAX_NAME_BYTES - MAX_ENDING_BYTES
    if len(data) > room:
        mark = f"-{hashlib.sha256(data).hexdigest()[:12]}"
        name = data[: room - len(mark)].decode(errors="ignore") + mark
    return name + ending


def is_plain_name(name: str) -> bool:
    """Return whether a name is that of a file in a folder and leads nowhere else."""
    return name not in {"", ".", ".."} and not set(name) & set("/\\:\0")


def name_key(name: str) -> str:
    """Return a key that is equal for names that some file system takes to be the same."""
    return unicodedata.normalize("NFC", name.casefold())
