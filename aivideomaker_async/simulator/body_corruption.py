"""Corruptions of the body of an answer. Pure: bytes in, bytes out."""

import json
import zlib
from collections.abc import Iterator
from typing import cast

_PIECE_BYTES = 65_536
_BLANK = b" " * _PIECE_BYTES
"""JSON may begin with any amount of white space, so padded JSON stays valid."""

_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
# An MP4 begins with the size and the name of its first box, the brand, and the version of the brand. Players ignore the
# version.
_FIRST_BOX = b"ftyp"
_VERSION = slice(12, 16)
_FREE_BOX = b"\x00\x00\x00\x10freeanother!"


def truncated(body: bytes, size: int | None) -> bytes:
    """Return the first `size` bytes, or half of the body, but never the whole."""
    return body[: min(len(body) // 2 if size is None else size, max(len(body) - 1, 0))]


def wrong_types(body: bytes) -> bytes:
    """Return a JSON object, or the objects in its lists, with a wrong type in every field."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = body.hex()
    return json.dumps(_with_other_types(answer)).encode()


def _with_other_types(value: object) -> object:
    if not isinstance(value, dict):
        return _of_another_type(value)
    fields: dict[str, object] = {}
    for name, one in cast("dict[str, object]", value).items():
        is_list = isinstance(one, list) and one
        fields[name] = list(map(_with_other_types, cast("list[object]", one))) if is_list else _of_another_type(one)
    return fields


def _of_another_type(value: object) -> object:
    if isinstance(value, str | dict) or value is None:
        return 7
    return "seven"


def padded(body: bytes, size: int) -> Iterator[bytes]:
    """Yield pieces of the body, padded with leading spaces to `size` bytes."""
    left = size - len(body)
    while left > 0:
        yield _BLANK[:left]
        left -= _PIECE_BYTES
    yield body


def gzip_bomb(body: bytes, size: int) -> Iterator[bytes]:
    """Yield pieces of the padded body, compressed by gzip to a thousandth of `size`."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    # A block after a full flush depends on nothing before it, so one compressed block can be repeated.
    blank = compressor.compress(_BLANK) + compressor.flush(zlib.Z_FULL_FLUSH)
    checksum, length = 0, 0
    yield _GZIP_HEAD
    for piece in padded(body, size):
        checksum, length = zlib.crc32(piece, checksum), length + len(piece)
        yield blank if piece == _BLANK else compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH)
    yield compressor.flush() + checksum.to_bytes(4, "little") + (length % 2**32).to_bytes(4, "little")


def changed_file(content: bytes) -> bytes:
    """Return a file of the same type with another start and another end. An MP4 still plays."""
    if content[4:8] != _FIRST_BOX:
        return content[::-1] + b"\n"
    return content[: _VERSION.start] + b"\x00\x00\x02\x01" + content[_VERSION.stop :] + _FREE_BOX
