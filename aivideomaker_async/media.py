"""Images on their way in: read and checked off the event loop, before any request.

An image that was given as a file or bytes ends up as bytes in memory, once; they are encoded while they are sent. A
retry sends the same bytes, whatever has become of the file.
"""

from __future__ import annotations

import binascii
import os
import weakref
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

from anyio import to_thread

from ._core.data_uri import Image
from ._core.requests import image_of
from .errors import FieldProblem, InvalidSpec
from .images import ImageInput, image_type, show_image, split_data_uri
from .secrecy import shorten
from .specs import OtherModel, VideoSpec

__all__ = ["load_image"]

# Two submits may share one open file; each must read it whole.
_file_locks: Final[weakref.WeakKeyDictionary[object, Lock]] = weakref.WeakKeyDictionary()
_locks_lock: Final = Lock()

_SMALL: Final = 64 * 1024
"""Bytes of base64 text that are decoded faster than a thread is woken."""


async def load_image(spec: VideoSpec | OtherModel) -> Image | str | None:
    """The image of `spec` as it will travel: a URL, or bytes with their type; None when it has none.

    Raises:
        InvalidSpec: the file cannot be read, or is no image.
    """
    image = image_of(spec)
    if image is None:
        return None
    try:
        if isinstance(image, str | bytes) and (not isinstance(image, str) or len(image) <= _SMALL):
            return _load(image)
        return await to_thread.run_sync(_load, image)
    except (OSError, ValueError) as error:
        problem = FieldProblem("image", show_image(image), f"a readable image ({shorten(str(error))})")
        raise InvalidSpec(type(spec).__name__, [problem]) from error


def _load(image: ImageInput) -> Image | str:
    if isinstance(image, str):
        parts = split_data_uri(image)
        if parts is None:
            return image.strip()
        return _typed(_decode(image[parts[0] :]))
    if isinstance(image, os.PathLike):
        return _typed(Path(image).read_bytes())
    if isinstance(image, bytes | bytearray | memoryview):
        return _typed(bytes(image))
    return _typed(_read_all(image))


def _decode(text: str) -> bytes:
    try:
        return binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None


def _typed(data: bytes) -> Image:
    mime = image_type(data)
    if mime is None:
        raise ValueError("the content is no image that is known" if data else "it is empty")
    return Image(mime, data)


def _read_all(file: BinaryIO) -> bytes:
    """The content from where the file stands; it is left open, and standing where it stood."""
    with _locks_lock:
        try:
            lock = _file_locks.setdefault(file, Lock())
        except TypeError:  # a file object of a kind that cannot be remembered
            lock = Lock()
    with lock:
        if not _seekable(file):
            return _as_bytes(file.read())
        position = file.tell()
        try:
            return _as_bytes(file.read())
        finally:
            file.seek(position)


def _seekable(file: BinaryIO) -> bool:
    seekable = getattr(file, "seekable", None)
    return bool(seekable and seekable())


def _as_bytes(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise ValueError("the file gives no bytes: open it in mode 'rb'")  # noqa: TRY004  (told as a wrong spec)
    return data
