"""How much of an answer is taken, by what was asked for.

Bytes bound the memory. They do not bound the time for which the JSON decoder keeps everything else waiting, since it
cannot be interrupted, in a thread no more than here: a MB of one long text, such as an image in base64, takes it 2 ms;
a MB of empty lists or of small numbers, 60. So the values are counted as well, while the bytes arrive.

The longest that the largest answers then hold the loop, by a heartbeat that shows 2 ms when nothing happens: a text of
46 MB in base64 130 ms, or 200 where it is full of escapes; 20,000 values, however they are nested, 16; any step in
which a part of a list is read, apart from such a text, 30. Where all of 250,000 tasks are kept, Python's garbage
collector takes 110. The worst is such a text with one character beyond U+FFFF, since Python then takes four bytes for
each: it holds the loop for 430 ms, and takes 420 MB. That is left as it is: a smaller limit would lose the video of
whoever has submitted an image of 32 MB and is shown it, and all other answers have some thousand characters.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

__all__ = ["LIST", "SMALL", "TASK", "Size", "marks"]

MIB: Final = 1 << 20


@frozen
class Size:
    """The most that an answer may hold."""

    bytes: int
    """Unpacked."""
    marks: int
    """See `marks`."""


SMALL: Final = Size(MIB, 20_000)
"""A status, an account, a price, the answer to a submit: some hundred bytes in truth."""

TASK: Final = Size(48 * MIB, 20_000)
"""All of one task. Its `input` may show the image that was submitted: 32 MB are 43 in base64."""

LIST: Final = Size(64 * MIB, 4_000_000)
"""All tasks of an account: 100,000 of the usual size. It is decoded row by row, each of which is a `TASK`."""


def marks(piece: bytes | bytearray | str) -> int:
    """The commas and opening brackets in a piece of JSON: no JSON has more values than these and one.

    Those inside of texts are counted too: a prompt has few, base64 has none.
    """
    if isinstance(piece, str):
        return piece.count(",") + piece.count("[") + piece.count("{")
    return piece.count(b",") + piece.count(b"[") + piece.count(b"{")
