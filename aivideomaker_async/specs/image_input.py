"""What an image field of a spec accepts, and the type of an image by its content.

Whether a value *can* be an image is decided here, when a spec is made and without I/O. Files are read by `media`, when
the spec is submitted.
"""

from __future__ import annotations

import binascii
import inspect
import io
import os
import re
from contextlib import suppress
from typing import IO, Final, TypeAlias
from urllib.parse import urlsplit

import puremagic

from .._redaction import hide_base64, is_data_uri, redact, redact_text, shorten

__all__ = [
    "IMAGE_FORMS",
    "SNIFFED",
    "ImageInput",
    "freeze_image",
    "image_problem",
    "image_type",
    "is_web_url",
    "show_image",
    "split_data_uri",
]

ImageInput: TypeAlias = str | bytes | bytearray | memoryview | os.PathLike[str] | IO[bytes]
"""A public http(s) URL or a `data:image/...;base64,...` URI (both `str`), the bytes of an image, the path of an image
file (`pathlib.Path`), or a binary file that is open for reading."""

SNIFFED: Final = 4096
"""Bytes from the start of an image that tell its type."""

IMAGE_FORMS: Final = (
    "an http(s) URL, a data:image/...;base64,... URI, the bytes of an image, a pathlib.Path, "
    "or a binary file open for reading"
)
"""What an image may be, in words."""
# The name that the service wants, where detectors and files use another. It refuses image/jpg on one path.
_USUAL_NAMES: Final = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-ms-bmp": "image/bmp"}
_LONGEST_URL: Final = 64 * 1024
"""Characters; what is longer is something else. It is not looked through, nor shown."""
_LONGEST_HEAD: Final = 4096
"""Characters in which a data URI must have come to its content."""
_LONGEST_PATH: Final = 4096
_NEVER_IN_TEXT: Final = bytes({*range(9), *range(14, 27), *range(28, 32)})
_DATA_URI: Final = re.compile(r"\s*data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)


def image_type(head: bytes) -> str | None:
    """The MIME type of the image that starts with `head`, or None when it is no image.

    Args:
        head: the first bytes of the file, `SNIFFED` of them or all.
    """
    head = head[:SNIFFED]
    try:
        found = puremagic.from_string(head, mime=True)
    except (puremagic.PureError, ValueError):
        return None
    # Some signatures are two letters that prose can begin with: "BM", "P6".
    if not found.startswith("image/") or (_is_text(head) and not found.startswith("image/svg")):
        return None
    return _USUAL_NAMES.get(found, found)


def _is_text(head: bytes) -> bool:
    return len(head.translate(None, _NEVER_IN_TEXT)) == len(head)


def split_data_uri(uri: str) -> tuple[int, bytes] | None:
    """Where the base64 text of a data URI starts, and its first decoded bytes.

    Returns None when `uri` is not a base64 data URI of an image.
    """
    match = _DATA_URI.match(uri, 0, _LONGEST_HEAD)
    if match is None or not match["type"].lower().startswith("image/") or not _ends_in_base64(match["parameters"]):
        return None
    start = match.end()
    # Line breaks in base64 text are common; four characters hold three bytes.
    text = "".join(uri[start : start + SNIFFED * 2].split())
    try:
        return start, binascii.a2b_base64(text[: min(SNIFFED, len(text)) // 4 * 4])
    except (binascii.Error, ValueError):
        return None


def _ends_in_base64(parameters: str) -> bool:
    return parameters.lower().rpartition(";")[2].strip() == "base64"


def freeze_image(value: ImageInput) -> ImageInput:
    """`value`, with buffers that their owner can still change copied into bytes."""
    try:
        return bytes(value) if isinstance(value, bytearray | memoryview) else value
    except ValueError:  # a view whose memory is given back
        return value


def image_problem(value: object) -> str | None:
    """What `value` would have to be, or None when it can be an image."""
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, bytes):
        return None if image_type(value) else "the bytes of an image (their content is not one that is known)"
    if isinstance(value, os.PathLike):
        return None if isinstance(os.fspath(value), str) else IMAGE_FORMS
    if isinstance(value, io.TextIOBase):
        return "a file opened in binary mode ('rb')"
    read = getattr(value, "read", None)
    if inspect.iscoroutinefunction(read):
        return "a file that is not async: read it first, and pass its bytes"
    if callable(read) and getattr(value, "closed", False) is True:
        return "a file that is open for reading, and this one is closed"
    return None if callable(read) else IMAGE_FORMS


def _text_problem(text: str) -> str | None:
    if is_data_uri(text):
        parts = split_data_uri(text)
        return None if parts and image_type(parts[1]) else "a data:image/...;base64,... URI whose content is an image"
    if is_web_url(text):
        return None
    # A string is never taken for a file name: it may come from a stranger, and files of this machine are not theirs.
    return f"{IMAGE_FORMS} (a file name goes into pathlib.Path)"


def is_web_url(text: str) -> bool:
    """Whether `text` is an http(s) URL."""
    if len(text) > _LONGEST_URL or any(character.isspace() or not character.isprintable() for character in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def show_image(value: object) -> str:
    """How reprs and messages name an image: by kind and size, never by content."""
    if isinstance(value, str) and not is_data_uri(value):
        return f"<text, {len(value)} characters>" if _may_be_image(value) else repr(redact(value))
    if isinstance(value, str | bytes):
        return str(redact(value))
    return _show_path(value) if isinstance(value, os.PathLike) else _show_file(value)


def _may_be_image(text: str) -> bool:
    # Base64 without its head; an address may have something like that in its path.
    return len(text) > _LONGEST_URL or (not is_web_url(text) and hide_base64(text) != text)


def _show_path(path: os.PathLike[str]) -> str:
    name = os.fspath(path)
    # An image or an address that was taken for the name of a file.
    if isinstance(name, str) and _is_odd(name):  # type: ignore[redundant-expr]
        return f"<{type(path).__name__}, {len(name)} characters>"
    return shorten(repr(path), _LONGEST_PATH)


def _is_odd(name: str) -> bool:
    name = name.replace("\\", "/")
    return len(name) > _LONGEST_PATH or hide_base64(redact_text(name)) != name


def _show_file(file: object) -> str:
    name = None
    # A file of others may raise here what it likes.
    with suppress(Exception):
        name = getattr(file, "name", None)
    kind = type(file).__name__
    return f"<{kind} {redact(name)!r}>" if isinstance(name, str) and name else f"<{kind}>"
