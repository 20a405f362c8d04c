"""Request bodies with images in them, written in pieces.

A body is a sequence of parts: bytes that go out as they are, images that go out as base64 text, and long texts. Nothing
is ever joined: an image of 20 MB would otherwise stand in memory four times (image, base64, JSON, bytes). No call works
on more than a piece, since most of them let no other thread run meanwhile.

What holds a part of an image in a local variable holds it as a memoryview, which no traceback shows.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final, Protocol, Self, TypeAlias

from attrs import field, frozen

__all__ = ["DIGEST_SIZE", "PIECE", "Base64Text", "Body", "Content", "Image", "Part", "Text", "Views"]

PIECE: Final = 48 * 1024
"""Bytes of an image that are encoded at once. A multiple of 3, so that only the last piece is padded."""

CHARACTERS: Final = PIECE // 3 * 4
"""Characters of base64 text that are looked at at once."""

DIGEST_SIZE: Final = 16
"""Bytes of a digest."""

_PADDING: Final = ord("=")


class Content(Protocol):
    """What an image is made of, in one form or another. It can be gone through any number of times."""

    def excess(self, largest: int) -> int | None:
        """The bytes of the image if these are more than `largest`, else None. It is not gone through for that."""
        ...

    def decoded(self) -> Iterator[memoryview]:
        """The bytes of the image, in pieces of at most `PIECE`.

        Raises:
            ValueError: they cannot be had.
        """
        ...

    def encoded(self) -> Iterator[bytes]:
        """The same as base64 text, in pieces of at most `CHARACTERS`."""
        ...


class Views:
    """The bytes of an image, as they lie in memory.

    Args:
        views: in order; each but the last has a multiple of `PIECE` bytes.
    """

    def __init__(self, views: Sequence[memoryview]) -> None:
        self._views = tuple(views)

    def excess(self, largest: int) -> int | None:
        """The bytes of the image if these are more than `largest`, else None."""
        size = sum(map(len, self._views))
        return size if size > largest else None

    def decoded(self) -> Iterator[memoryview]:
        """The bytes of the image, in pieces."""
        for view in self._views:
            for start in range(0, len(view), PIECE):
                yield view[start : start + PIECE]

    def encoded(self) -> Iterator[bytes]:
        """The same as base64 text, in pieces."""
        for piece in self.decoded():
            yield binascii.b2a_base64(piece, newline=False)


class Base64Text:
    """The base64 text of a data URI, which may have line breaks.

    Args:
        uri: the whole data URI.
    """

    def __init__(self, uri: str) -> None:
        self._text = uri
        self._start = uri.find(",") + 1

    def excess(self, largest: int) -> int | None:
        """The bytes of the image, by the length of the text, if these are more than `largest`, else None."""
        if (len(self._text) - self._start) * 3 // 4 <= largest:
            return None
        # With its line breaks and its padding the text is too long; without them it may not be.
        size = sum(map(len, self.encoded())) * 3 // 4 - self._text[-4:].rstrip().count("=")
        return size if size > largest else None

    def decoded(self) -> Iterator[memoryview]:
        """The bytes of the image, in pieces.

        Raises:
            ValueError: it is no base64 text.
        """
        rest = memoryview(b"")
        padded = False
        for piece in _as_views(self.encoded()):
            if padded:
                raise ValueError("not base64: more text after its end")
            text = memoryview(b"".join((rest, piece)))
            # Four characters hold three bytes.
            end = len(text) // 4 * 4
            rest = text[end:]
            if end:
                padded = text[end - 1] == _PADDING
                yield _decode(text[:end])
        if rest:
            yield _decode(rest)

    def encoded(self) -> Iterator[bytes]:
        """The text without line breaks, in pieces."""
        starts = range(self._start, len(self._text), CHARACTERS)
        return filter(None, (_compact(self._text[start : start + CHARACTERS]) for start in starts))


def _as_views(pieces: Iterator[bytes]) -> Iterator[memoryview]:
    return (memoryview(piece) for piece in pieces)


def _compact(text: str) -> bytes:
    # What is not ASCII cannot be base64, and neither can a question mark.
    return "".join(text.split()).encode("ascii", "replace")


def _decode(text: memoryview) -> memoryview:
    try:
        return memoryview(binascii.a2b_base64(text, strict_mode=True))
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


@frozen
class Image:
    """An image on its way into a body."""

    mime: str
    size: int
    """Bytes of the image itself."""
    digest: bytes = field(repr=bytes.hex)
    """Of content and type: the same for the same image, whether it came as bytes, as a file or as a data URI."""
    content: Content = field(repr=False, eq=False)

    @property
    def head(self) -> bytes:
        """What stands before the base64 text."""
        return f"data:{self.mime};base64,".encode("ascii")

    def __len__(self) -> int:
        """Bytes on the wire."""
        return len(self.head) + (self.size + 2) // 3 * 4

    def pieces(self) -> Iterator[bytes]:
        """The bytes on the wire, in order."""
        yield self.head
        yield from self.content.encoded()


@frozen
class Text:
    """A long text inside of a body, for example a data URI that nobody but the service looks into."""

    size: int
    """Bytes on the wire, without the quotes."""
    digest: bytes = field(repr=bytes.hex)
    _text: str = field(repr=False, eq=False)

    @classmethod
    def of(cls, text: str) -> Self:
        """`text`, measured.

        Raises:
            UnicodeEncodeError: it has lone surrogates.
        """
        size = 0
        seen = blake2b(digest_size=DIGEST_SIZE)
        for piece in _as_views(_escaped(text)):
            size += len(piece)
            seen.update(piece)
        return cls(size, seen.digest(), text)

    def __len__(self) -> int:
        return self.size

    def pieces(self) -> Iterator[bytes]:
        """The bytes on the wire, in order."""
        return _escaped(self._text)


def _escaped(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), PIECE):
        yield json.dumps(text[start : start + PIECE], ensure_ascii=False)[1:-1].encode()


Part: TypeAlias = bytes | Image | Text


@frozen
class Body:
    """A JSON request body. It can be written any number of times, and is the same each time."""

    parts: tuple[Part, ...] = field(repr=False)

    def __len__(self) -> int:
        """Bytes on the wire, known before the first is written."""
        return sum(map(len, self.parts))

    @property
    def digest(self) -> bytes:
        """Equal for bodies that ask for the same, whichever way their images came in. Costs next to nothing."""
        seen = blake2b(digest_size=DIGEST_SIZE)
        for part in self.parts:
            # Each with its length: so nothing is mistaken for something else that follows it.
            seen.update(b"%d:" % len(part))
            seen.update(part if isinstance(part, bytes) else part.digest)
        return seen.digest()

    def pieces(self) -> Iterator[bytes]:
        """The bytes on the wire, in pieces of about 64 KiB."""
        for part in self.parts:
            if isinstance(part, bytes):
                for start in range(0, len(part), PIECE):
                    yield part[start : start + PIECE]
            else:
                yield from part.pieces()
