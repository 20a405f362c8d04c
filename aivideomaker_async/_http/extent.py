"""Where a JSON value ends, found while it arrives, without decoding it.

A decoder cannot tell how far an incomplete value has come: each try begins anew. For a large value that would be many
times its reading, so its end is looked for first, and then it is decoded once. What is no JSON may seem to end
anywhere; the decoder tells.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Extent"]

_MARK: Final = re.compile(r'[\[\]{}",]')
_REST_OF_TEXT: Final = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)


class Extent:
    """One object, array or text of JSON, of which the pieces arrive."""

    __slots__ = ("_depth", "_escaped", "_in_text", "length", "marks")

    def __init__(self) -> None:
        self.length: int = 0
        """Characters so far."""
        self.marks: int = 0
        """Commas, brackets that open and texts so far."""
        self._depth = 0
        self._in_text = False
        self._escaped = False

    def ends_in(self, piece: str, position: int = 0) -> bool:
        """Take the next piece, from `position` on; returns whether the value ends in it."""
        self.length += len(piece) - position
        while True:
            if self._in_text:
                position = self._pass_text(piece, position)
                if self._in_text:
                    return False
            else:
                found = _MARK.search(piece, position)
                if found is None:
                    return False
                position = found.end()
                self._take(found[0])
            if not self._depth and not self._in_text:
                return True

    def _take(self, mark: str) -> None:
        if mark in "]}":
            self._depth -= 1
            return
        self.marks += 1
        if mark == '"':
            self._in_text = True
        elif mark != ",":
            self._depth += 1

    def _pass_text(self, piece: str, position: int) -> int:
        """Go on in a text; returns the place behind its end, or the end of the piece."""
        if self._escaped and piece:
            self._escaped = False
            position += 1
        found = _REST_OF_TEXT.match(piece, position)
        assert found is not None  # noqa: S101  (it matches nothing, too)
        end = found.end()
        if end < len(piece):
            # A quote; or the backslash with which the piece ends, and what it escapes comes with the next.
            self._escaped = piece[end] == "\\"
            self._in_text = self._escaped
            end += 1
        return end
