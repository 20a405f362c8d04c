"""What an image field of a spec accepts, and the type of an image by its content.

Whether a value can be an image is decided here, when a spec is made and without I/O. Files are read when the spec is
submitted.
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
    "SNIFFED_BYTES",
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

SNIFFED_BYTES: Final = 4096
"""Bytes from the start of an image that its type is read from."""

IMAGE_FORMS: Final = (
    "an http(s) URL, a data:image/...;base64,... URI, the bytes of an image, a pathlib.Path, "
    "or a binary file open for reading"
)
"""What an image may be, in words."""

MAX_URL_CHARACTERS: Final = 64 * 1024
"""Longer texts are not URLs: they are neither parsed nor shown."""

MAX_DATA_URI_HEAD_CHARACTERS: Final = 4096
"""A data URI must come to its content within this."""

MAX_PATH_CHARACTERS: Final = 4096

# The service's names for what detectors and files call otherwise. It refuses image/jpg on one path.
_USUAL_NAMES: Final = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-ms-bmp": "image/bmp"}
_JPEG_2000: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
_BRANDS: Final = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"heim": "image/heic",
    b"heis": "image/heic",
    b"hevc": "image/heic-sequence",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"avif": "image/avif",
    b"avis": "image/avif",
}
"""The types of images by the brand in their first box (ISO/IEC 23008-12, the AV1 Image File Format)."""

_NEVER_IN_TEXT: Final = bytes({*range(9), *range(14, 27), *range(28, 32)})
_DATA_URI: Final = re.compile(r"\s*data:(?P<type>[^;,]*)(?P<parameters>(?:;[^;,]*)*),", re.IGNORECASE)


# --- what is an image --------------------------------------------------------------------------------


def freeze_image(value: ImageInput) -> ImageInput:
    """Return `value`, with a copy in place of a buffer that its owner can still change."""
    try:
        return bytes(value) if isinstance(value, bytearray | memoryview) else value
    except ValueError:
        # A view whose memory was released, which the rule refuses.
        return value


def image_problem(value: object) -> str | None:
    """Return what `value` would have to be, or None when it can be an image."""
    if isinstance(value, str):
        if is_data_uri(value):
            parts = split_data_uri(value)
            is_image = parts is not None and image_type(parts[1]) is not None
            return None if is_image else "a data:image/...;base64,... URI whose content is an image"
        # A string is never taken for a file name: it may come from a stranger, who must not read files of this machine.
        return None if is_web_url(value) else f"{IMAGE_FORMS} (a file name goes into pathlib.Path)"
    if isinstance(value, bytes):
        return None if image_type(value) else "the bytes of an image (their content is no known kind of image)"
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


def image_type(head: bytes) -> str | None:
    """Return the MIME type of the image that starts with `head`, or None when it is not an image.

    Args:
        head: the first bytes of the file, `SNIFFED_BYTES` of them or all.
    """
    head = head[:SNIFFED_BYTES]
    if (known := _box_type(head)) is not None:
        return known
    try:
        found = puremagic.from_string(head, mime=True)
    except (puremagic.PureError, ValueError):
        return None
    # Some signatures are two letters that prose can begin with: "BM", "P6".
    is_text = len(head.translate(None, _NEVER_IN_TEXT)) == len(head)
    if not found.startswith("image/") or (is_text and not found.startswith("image/svg")):
        return None
    return _USUAL_NAMES.get(found, found)


def _box_type(head: bytes) -> str | None:
    """Return the MIME type of an image in a container of boxes, which puremagic tells apart in some versions only."""
    if head.startswith(_JPEG_2000):
        return "image/jp2"
    return _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None


def split_data_uri(uri: str) -> tuple[int, bytes] | None:
    """Return where the base64 text of a data URI starts, and its first decoded bytes.

    Returns None when `uri` is not a base64 data URI of an image.
    """
    match = _DATA_URI.match(uri, 0, MAX_DATA_URI_HEAD_CHARACTERS)
    if match is None or not match["type"].lower().startswith("image/"):
        return None
    if match["parameters"].lower().rpartition(";")[2].strip() != "base64":
        return None
    start = match.end()
    # Line breaks in base64 text are common; four characters hold three bytes.
    text = "".join(uri[start : start + SNIFFED_BYTES * 2].split())
    try:
        return start, binascii.a2b_base64(text[: min(SNIFFED_BYTES, len(text)) // 4 * 4])
    except (binascii.Error, ValueError):
        return None


def is_web_url(text: str) -> bool:
    """Return whether `text` is an http(s) URL."""
    if len(text) > MAX_URL_CHARACTERS or any(one.isspace() or not one.isprintable() for one in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


# --- how an image is shown ---------------------------------------------------------------------------


def show_image(value: object) -> str:
    """Return the name of an image for reprs and messages: its kind and size, never its content."""
    if isinstance(value, str) and not is_data_uri(value):
        # It may be base64 without its head; an address may have something like that in its path.
        is_base64 = len(value) > MAX_URL_CHARACTERS or (not is_web_url(value) and hide_base64(value) != value)
        return f"<text, {len(value)} characters>" if is_base64 else repr(redact(value))
    if isinstance(value, str | bytes):
        return str(redact(value))
    if isinstance(value, os.PathLike):
        return _show_path(value)
    name = None
    # A file object of others may raise anything here.
    with suppress(Exception):
        name = getattr(value, "name", None)
    kind = type(value).__name__
    return f"<{kind} {redact(name)!r}>" if isinstance(name, str) and name else f"<{kind}>"


def _show_path(path: os.PathLike[str]) -> str:
    name = os.fspath(path)
    if isinstance(name, str):
        # An image or an address that was taken for the name of a file.
        plain = name.replace("\\", "/")
        if len(plain) > MAX_PATH_CHARACTERS or hide_base64(redact_text(plain)) != plain:
            return f"<{type(path).__name__}, {len(name)} characters>"
    return shorten(repr(path), MAX_PATH_CHARACTERS)
