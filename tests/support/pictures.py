"""Small images of every kind that the service accepts, made by a foreign encoder."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

from PIL import Image

from aivideomaker_async._submits import body as wire

MIMES: Final[Mapping[str, str]] = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
}
"""The MIME type of each format, by Pillow's name."""


def picture(kind: str, size: int = 8) -> bytes:
    """Return a plain image of `size` by `size` pixels."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), (10, 120, 200)).save(buffer, kind)
    return buffer.getvalue()


PICTURES: Final[Mapping[str, bytes]] = {kind: picture(kind) for kind in MIMES}
PNG: Final = PICTURES["PNG"]

NO_PICTURES: Final[Mapping[str, bytes]] = {
    "text": b"a cat on a skateboard, in the evening sun",
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n%%EOF\n",
    "zip": b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(40),
    "mp4": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(40),
    "html": b"<!DOCTYPE html><html><head><title>404</title></head><body>gone</body></html>",
    "json": b'{"status": "FAILED"}',
    "zeros": bytes(64),
    "empty": b"",
}
"""Contents of files that are not images, by name."""


def data_uri(data: bytes, mime: str = "image/png") -> str:
    """Return the data URI of `data`, made by the standard library."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def as_image(data: bytes, mime: str = "image/png") -> wire.Image:
    """Return `data` as an image in a request body."""
    digest = blake2b(data + mime.encode(), digest_size=16).digest()
    return wire.Image(mime, len(data), digest, wire.BytesContent([data]))


def in_lines(uri: str, length: int = 76) -> str:
    """Return a data URI with line breaks in its base64, as mail programs and some tools write it."""
    head, _, text = uri.partition(",")
    return f"{head}," + "".join(f"\r\n{text[start : start + length]}" for start in range(0, len(text), length))
