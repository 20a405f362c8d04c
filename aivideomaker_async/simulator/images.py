"""The two forms of an image in a request: a public URL, or a data URI with an image inside. Pure."""

import base64
import binascii
import hashlib
import re
from urllib.parse import urlsplit

from attrs import frozen

# The first bytes of each image format, its MIME type and the suffix of its file.
_MAGIC: tuple[tuple[re.Pattern[bytes], str, str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", "png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg", "jpg"),
    (re.compile(rb"GIF8[79]a"), "image/gif", "gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp", "webp"),
    (re.compile(rb"BM.{12}", re.DOTALL), "image/bmp", "bmp"),
    (re.compile(rb"II\*\x00|MM\x00\*"), "image/tiff", "tiff"),
    (re.compile(rb"....ftyp(avif|avis)", re.DOTALL), "image/avif", "avif"),
    (re.compile(rb"....ftyp(heic|heix|mif1|msf1)", re.DOTALL), "image/heic", "heic"),
)
_WEB_URL = re.compile(r"https?://[^\s\x00-\x1f\x7f]+", re.IGNORECASE)
_DATA_URI_HEAD = re.compile(r"data:image/([a-z0-9.+-]+);base64,", re.IGNORECASE)
_MAX_HEAD_CHARS = 64


@frozen
class Upload:
    """An image that was sent as base64: its bytes, MIME type and file name."""

    content: bytes
    media_type: str
    name: str


def is_web_url(text: str) -> bool:
    """Return whether `text` is an absolute http(s) URL with a host."""
    # The pattern rejects a data URI of many megabytes by its first letter.
    if _WEB_URL.fullmatch(text) is None:
        return False
    try:
        return bool(urlsplit(text).hostname)
    except ValueError:
        return False


def read_data_uri(text: str) -> Upload:
    """Decode a `data:image/…;base64,…` URI.

    Raises `ValueError` with the reason when it is not one, or its content is not an image.
    """
    head = _DATA_URI_HEAD.match(text[:_MAX_HEAD_CHARS])
    if head is None:
        raise ValueError("must be a public http(s) URL or data:image/...;base64,...")
    if head[1].lower() == "jpg":
        # api.md, Models: the live service refuses this MIME type.
        raise ValueError("has the MIME type image/jpg, which is not supported: use image/jpeg")
    try:
        content = base64.b64decode(text[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not valid base64") from None
    for magic, media_type, suffix in _MAGIC:
        if magic.match(content):
            name = f"{hashlib.sha256(content).hexdigest()[:24]}.{suffix}"
            return Upload(content, media_type, name)
    raise ValueError("holds no image of a known format")
