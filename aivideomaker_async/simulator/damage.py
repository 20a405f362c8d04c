"""What is done to the body of an answer. Pure: bytes in, bytes out."""

import json
import random
import zlib
from collections.abc import Iterator
from typing import cast

_PIECE = 65_536
_BLANK = b" " * _PIECE
"""JSON may begin with as much space as one likes, so what is padded with it stays valid."""

_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# An MP4 begins with the size and the name of its first box, the brand, and the brand's version, which players ignore.
_FIRST_BOX = b"ftyp"
_VERSION = slice(12, 16)
_FREE_BOX = b"\x00\x00\x00\x10freeanother!"


def half(body: bytes, size: int | None) -> bytes:
    """Return the first `size` bytes, or half of them, but never all."""
    return body[: min(len(body) // 2 if size is None else size, max(len(body) - 1, 0))]


def wrong_types(body: bytes) -> bytes:
    """Return a JSON object, or the objects in its lists, with a wrong type in every field."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = body.hex()
    return json.dumps(_twisted(answer)).encode()


def _twisted(value: object) -> object:
    if not isinstance(value, dict):
        return _of_another_type(value)
    fields = cast("dict[str, object]", value).items()
    return {name: _rows(one) if isinstance(one, list) and one else _of_another_type(one) for name, one in fields}


def _rows(values: list[object]) -> list[object]:
    return [_twisted(one) for one in values]


def _of_another_type(value: object) -> object:
    if isinstance(value, str | dict) or value is None:
        return 7
    return "seven"


def garbage(size: int, rng: random.Random) -> bytes:
    """Return random bytes."""
    return rng.randbytes(size)


def nested(depth: int) -> bytes:
    """Return `depth` lists in each other, as JSON."""
    return b"[" * depth + b"]" * depth


def padded(body: bytes, size: int) -> Iterator[bytes]:
    """Yield the body with so much space before it that it has `size` bytes."""
    left = size - len(body)
    while left > 0:
        yield _BLANK[:left]
        left -= _PIECE
    yield body


def spaces(size: int) -> bytes:
    """Return so much space."""
    return b" " * size


def gzip_bomb(body: bytes, size: int) -> Iterator[bytes]:
    """Yield what `padded` would, packed by gzip: a thousandth of it, and as little work."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # What was flushed in full depends on nothing before it, so it may be repeated.
    blank = packer.compress(_BLANK) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum, length = 0, 0
    yield _GZIP_HEAD
    for piece in padded(body, size):
        checksum, length = zlib.crc32(piece, checksum), length + len(piece)
        yield blank if piece == _BLANK else packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    yield packer.flush() + checksum.to_bytes(4, "little") + (length % 2**32).to_bytes(4, "little")


def another_file(content: bytes) -> bytes:
    """Return a file of the same kind that is neither the same at its start nor at its end; an MP4 still plays."""
    if content[4:8] != _FIRST_BOX:
        return content[::-1] + b"\n"
    return content[: _VERSION.start] + b"\x00\x00\x02\x01" + content[_VERSION.stop :] + _FREE_BOX
