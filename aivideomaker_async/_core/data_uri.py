"""Request bodies with images in them, written in pieces.

A body is a sequence of parts: bytes that go out as they are, and images that go out as base64 text. Nothing is ever
joined: an image of 20 MB would otherwise stand in memory four times (image, base64, JSON, bytes).
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Final, TypeAlias

from attrs import field, frozen

__all__ = ["PIECE", "Body", "Image", "Part"]

PIECE: Final = 48 * 1024
"""Bytes of an image that are encoded at once. A multiple of 3, so that only the last piece is padded."""


@frozen
class Image:
    """The bytes of an image on their way into a body."""

    mime: str
    data: bytes = field(repr=False)

    @property
    def head(self) -> bytes:
        """What stands before the base64 text."""
        return f"data:{self.mime};base64,".encode("ascii")

    def __len__(self) -> int:
        """Bytes on the wire."""
        return len(self.head) + (len(self.data) + 2) // 3 * 4

    def pieces(self) -> Iterator[bytes]:
        """The bytes on the wire, in order."""
        yield self.head
        view = memoryview(self.data)
        for start in range(0, len(view), PIECE):
            yield binascii.b2a_base64(view[start : start + PIECE], newline=False)


Part: TypeAlias = bytes | Image


@frozen
class Body:
    """A JSON request body. It can be written any number of times, and is the same each time."""

    parts: tuple[Part, ...] = field(repr=False)

    def __len__(self) -> int:
        """Bytes on the wire, known before the first is written."""
        return sum(map(len, self.parts))

    def pieces(self) -> Iterator[bytes]:
        """The bytes on the wire, in pieces of about 64 KiB."""
        for part in self.parts:
            if isinstance(part, Image):
                yield from part.pieces()
            else:
                for start in range(0, len(part), PIECE):
                    yield part[start : start + PIECE]
