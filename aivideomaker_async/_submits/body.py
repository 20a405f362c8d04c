"""Request bodies with images in them, written in pieces.

A body is a sequence of parts: bytes that are sent as they are, images that are sent as base64 text, and long texts.
They are never joined: an image of 20 MB would otherwise be in memory four times (image, base64, JSON, bytes). No step
works on more than one piece, since encoding and decoding let no other thread run.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Final, TypeAlias

from attrs import field, frozen

__all__ = ["PIECE_BYTES", "Base64Content", "Body", "BytesContent", "Content", "Image", "LongText", "write_body"]

PIECE_BYTES: Final = 48 * 1024
"""Bytes of an image that are encoded at once. A multiple of 3, so that only the last piece is padded."""

PIECE_CHARACTERS: Final = PIECE_BYTES // 3 * 4
"""Characters of base64 text that are decoded at once."""

DIGEST_BYTES: Final = 16

_PADDING: Final = ord("=")


class BytesContent:
    """The bytes of an image in memory. They can be iterated over any number of times.

    Args:
        chunks: in order; each but the last has a multiple of `PIECE_BYTES` bytes.
    """

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._chunks = chunks

    def size_over(self, limit: int) -> int | None:
        """Return the size in bytes if it is more than `limit`, else None."""
        size = sum(map(len, self._chunks))
        return size if size > limit else None

    def decoded(self) -> Iterator[memoryview]:
        """Yield the bytes in pieces of at most `PIECE_BYTES`, without copying them."""
        for chunk in self._chunks:
            view = memoryview(chunk)
            for start in range(0, len(view), PIECE_BYTES):
                yield view[start : start + PIECE_BYTES]

    def encoded(self) -> Iterator[bytes]:
        """Yield the same as base64 text, in pieces of at most `PIECE_CHARACTERS`."""
        for piece in self.decoded():
            yield binascii.b2a_base64(piece, newline=False)


class Base64Content:
    """The base64 text of a data URI, which may have line breaks. It can be iterated over any number of times.

    Args:
        uri: the whole data URI.
    """

    def __init__(self, uri: str) -> None:
        self._text = uri
        self._start = uri.find(",") + 1

    def size_over(self, limit: int) -> int | None:
        """Return the size in bytes if it is more than `limit`, else None, without decoding it."""
        if (len(self._text) - self._start) * 3 // 4 <= limit:
            return None
        # With its line breaks and its padding the text is too long; without them it may not be.
        size = sum(map(len, self.encoded())) * 3 // 4 - self._text[-4:].rstrip().count("=")
        return size if size > limit else None

    def decoded(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most `PIECE_BYTES`.

        Raises:
            ValueError: the text is not base64.
        """
        rest = b""
        padded = False
        for piece in self.encoded():
            if padded:
                raise ValueError("not base64: more text after its end")
            text = rest + piece
            # Four characters hold three bytes.
            end = len(text) // 4 * 4
            rest = text[end:]
            if end:
                padded = text[end - 1] == _PADDING
                yield _decode(text[:end])
        if rest:
            yield _decode(rest)

    def encoded(self) -> Iterator[bytes]:
        """Yield the text without line breaks, in pieces of at most `PIECE_CHARACTERS`."""
        for start in range(self._start, len(self._text), PIECE_CHARACTERS):
            # Neither what is not ASCII nor a question mark is base64.
            text = "".join(self._text[start : start + PIECE_CHARACTERS].split()).encode("ascii", "replace")
            if text:
                yield text


Content: TypeAlias = BytesContent | Base64Content
"""The bytes of an image in one form or another."""


def _decode(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


@frozen
class Image:
    """An image that is sent as data."""

    mime: str
    size: int
    """Bytes of the image itself."""
    digest: bytes = field(repr=bytes.hex)
    """Of content and type: the same for the same image, whether it came as bytes, as a file or as a data URI."""
    content: Content = field(repr=False, eq=False)

    def __len__(self) -> int:
        """Return the bytes on the wire."""
        return len(self._head) + (self.size + 2) // 3 * 4

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes on the wire, in order."""
        yield self._head
        yield from self.content.encoded()

    @property
    def _head(self) -> bytes:
        return f"data:{self.mime};base64,".encode("ascii")


class LongText:
    """A long text in a body, for example a data URI in a field that only the service understands.

    Args:
        text: the text.

    Raises:
        UnicodeEncodeError: it has lone surrogates.
    """

    __slots__ = ("_size", "_text", "digest")

    def __init__(self, text: str) -> None:
        self._text = text
        self._size = 0
        digest = blake2b(digest_size=DIGEST_BYTES)
        for piece in self.pieces():
            self._size += len(piece)
            digest.update(piece)
        self.digest: bytes = digest.digest()

    def __len__(self) -> int:
        """Return the bytes on the wire, without the quotes."""
        return self._size

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes on the wire, in order."""
        for start in range(0, len(self._text), PIECE_BYTES):
            yield json.dumps(self._text[start : start + PIECE_BYTES], ensure_ascii=False)[1:-1].encode()


Part: TypeAlias = bytes | Image | LongText


class Body:
    """A JSON request body. It can be written any number of times, and is the same each time.

    Args:
        parts: in order.
    """

    __slots__ = ("_size", "parts")

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts: tuple[Part, ...] = tuple(parts)
        self._size = sum(map(len, self.parts))

    def __len__(self) -> int:
        """Return the bytes on the wire."""
        return self._size

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes on the wire in pieces of at most 64 KiB."""
        for part in self.parts:
            if isinstance(part, bytes):
                for start in range(0, len(part), PIECE_BYTES):
                    yield part[start : start + PIECE_BYTES]
            else:
                yield from part.pieces()


def write_body(fields: Mapping[str, object]) -> Body:
    """Return the request body of these fields.

    Args:
        fields: by wire name, with an `Image` or a `LongText` in place of all that is long.

    Raises:
        TypeError, ValueError: JSON has no such value.
    """
    found: list[Image | LongText] = []

    def placeholder(value: object) -> str:
        if not isinstance(value, Image | LongText):
            raise TypeError(f"JSON has no {type(value).__name__}")
        found.append(value)
        return _PLACEHOLDER

    written = json.dumps(fields, default=placeholder, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    first, *others = (text.encode() for text in written.split(_PLACEHOLDER))
    parts: list[Part] = [first]
    for part, after in zip(found, others, strict=True):
        parts += [part, after]
    return Body(parts)


_PLACEHOLDER: Final = "\ud800"
"""Stands for an image or a long text until the rest is written: a lone surrogate, which no checked text has."""
