"""Images in every form in which a caller may pass them, loaded as a client loads them."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import ImageToVideo, InvalidSpec
from aivideomaker_async._submits.body import Image
from aivideomaker_async._submits.images import load_fields
from aivideomaker_async.client.client import MAX_IMAGE_BYTES
from tests.support.pictures import as_image, data_uri, picture

LARGE = picture("PNG", 64) + bytes(200_000)
"""An image that is too large to be decoded in the event loop; viewers ignore the bytes behind its end."""


async def loaded(image: Any, max_bytes: int = MAX_IMAGE_BYTES) -> Image | str:
    found = (await load_fields(ImageToVideo(image=image, duration=5), max_bytes))["image"]
    assert isinstance(found, Image | str)
    return found


async def arrives(image: Any, data: bytes, mime: str = "image/png") -> None:
    """Check that `image` is loaded as `data` of this type."""
    found = await loaded(image)
    assert found == as_image(data, mime)
    assert isinstance(found, Image)
    assert b"".join(found.pieces()).decode() == data_uri(data, mime)


async def refused(image: Any, max_bytes: int = MAX_IMAGE_BYTES) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        await loaded(image, max_bytes)
    assert caught.value.field == "image"
    assert caught.value.spec == "ImageToVideo"
    return caught.value


class Unseekable(io.RawIOBase):
    """A pipe or a socket: it can be read once."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.data.readinto(buffer)


class Minimal:
    """A file-like object with the least that is needed; not even a weak reference to it can be made."""

    __slots__ = ("data",)

    def __init__(self, data: object) -> None:
        self.data = data

    def read(self, size: int) -> object:
        data = self.data
        if isinstance(data, bytes):
            self.data, data = data[size:], data[:size]
        return data


def spooled(data: bytes) -> tempfile.SpooledTemporaryFile[bytes]:
    file = tempfile.SpooledTemporaryFile(1000)  # noqa: SIM115  (the caller closes it)
    file.write(data)
    file.seek(0)
    return file


FORMS: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda data, path: data,
    "bytearray": lambda data, path: bytearray(data),
    "memoryview": lambda data, path: memoryview(data),
    "path": lambda data, path: path,
    "spooled": lambda data, path: spooled(data),
    "packed": lambda data, path: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))),
    "data URI": lambda data, path: data_uri(data, "image/jpg"),
    "wrapped data URI": lambda data, path: " " + data_uri(data).replace("A", "A\r\n"),
    "in memory": lambda data, path: io.BytesIO(data),
    "unbuffered": lambda data, path: path.open("rb", buffering=0),
    "unseekable": lambda data, path: Unseekable(data),
    "minimal": lambda data, path: Minimal(data),
}
