"""Images on their way in: read, measured and checked off the event loop, before any request.

An image that was given as a file lies in memory once, in pieces; bytes and the text of a data URI stay where the caller
has them. They are encoded while they are sent. A retry sends the same bytes, whatever has become of the file.

From here on no local variable and no argument shows what an image holds: crash reporters write these down.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from threading import Lock
from typing import IO, Final, cast

from anyio import CancelScope, get_cancelled_exc_class
from attrs import field, frozen

from .._redaction import is_data_uri, shorten
from .._util.threads import FOREIGN_FILES, IMAGES, run_at_once
from ..errors import FieldProblem, InvalidSpec
from ..specs import OtherModel, VideoSpec
from ..specs.image_input import ImageInput, show_image
from ..specs.validators import LONG_TEXT, texts_in
from .body import Base64Text, Body, Content, Image, Views
from .image_file import ImageFile, borrow, open_path
from .image_inspector import Gauge, ImageTooLarge
from .request_body import Ready, images_of, outline, write_outline

__all__ = ["LARGEST_IMAGE", "Loaded", "load_body", "load_images", "load_request"]

LARGEST_IMAGE: Final = 32 * 1024 * 1024
"""Bytes of an image that a client takes when it is not told otherwise."""

PATIENCE: Final = 1.0
"""Seconds in which a file of the caller's is put back, after a cancellation. What is read meanwhile is one piece."""


async def load_body(spec: VideoSpec | OtherModel, *, largest: int = LARGEST_IMAGE) -> Body:
    """The request body of `spec`, with its image.

    Args:
        spec: what to write.
        largest: bytes that an image may have.

    Raises:
        InvalidSpec: the image cannot be read, is none, or is too large.
    """
    return (await load_request(spec, largest=largest)).body


@frozen
class Loaded:
    """What a spec asks for, ready to be sent."""

    body: Body
    fields: Mapping[str, object] = field(repr=False)
    """The fields of the body, by wire name. What is long stands there as an `Image` or a `Text`."""


async def load_request(spec: VideoSpec | OtherModel, *, largest: int = LARGEST_IMAGE) -> Loaded:
    """As `load_body`, with the fields of the body."""
    write = partial(_write, spec, await load_images(spec, largest=largest), largest)
    if any(len(other.text) > LONG_TEXT for other in _other_texts(spec)):
        return await IMAGES.run(write, abandon_on_cancel=True)
    return write()


def _write(spec: VideoSpec | OtherModel, images: Mapping[str, Ready | list[Ready]], largest: int) -> Loaded:
    problems = [
        _too_large(other.name, f"{show_image(other.text)} ({ImageTooLarge(size)})", largest)
        for other in _other_texts(spec)
        if is_data_uri(other.text) and (size := Base64Text(other.text).excess(largest)) is not None
    ]
    if problems:
        raise InvalidSpec(type(spec).__name__, problems)
    fields = outline(spec, images)
    return Loaded(write_outline(fields), fields)


@frozen
class _OtherText:
    """A text in those fields of a spec that nobody but the service looks into."""

    name: str
    text: str = field(repr=show_image)


def _other_texts(spec: VideoSpec | OtherModel) -> Iterator[_OtherText]:
    holder, fields = ("body", spec.body) if isinstance(spec, OtherModel) else ("extra", spec.extra)
    for name, value in fields.items():
        for text in texts_in(value):
            yield _OtherText(f"{holder}[{name!r}]", text)


def _too_large(name: str, shown: str, largest: int) -> FieldProblem:
    allowed = f"an image of at most {largest:,} bytes (AIVideoMaker(max_image_size=...) changes that)"
    return FieldProblem(name, shown, allowed)


# --- the images of a spec ------------------------------------------------------------------------


async def load_images(spec: VideoSpec | OtherModel, *, largest: int = LARGEST_IMAGE) -> dict[str, Ready | list[Ready]]:
    """The images of `spec` as they will travel, by the names of their fields: each a URL, or the image itself.

    A cancelled call holds nothing, and leaves a file of the caller's where it stood.

    Args:
        spec: what the images belong to.
        largest: bytes that each image may have.

    Raises:
        InvalidSpec: an image cannot be read, is none, or is too large.
    """
    found: dict[str, Ready | list[Ready]] = {}
    for name in images_of(spec):
        given = _given(spec, name)
        if isinstance(given, _Given):
            found[name] = await _load(spec, name, given, largest)
        else:
            # One after the other: several may be the same file.
            found[name] = [await _load(spec, f"{name}[{place}]", one, largest) for place, one in enumerate(given)]
    return found


def _given(spec: VideoSpec | OtherModel, name: str) -> _Given | list[_Given]:
    value = images_of(spec)[name]
    return [_Given(image) for image in value] if isinstance(value, tuple) else _Given(value)


async def _load(spec: VideoSpec | OtherModel, name: str, given: _Given, largest: int) -> Ready:
    if given.is_url:
        return given.url
    loading = _Loading(given, largest)
    try:
        return loading.run() if given.is_small else await _in_thread(loading)
    except ImageTooLarge as error:
        problem = _too_large(name, f"{given} ({error})", largest)
        raise InvalidSpec(type(spec).__name__, [problem]) from None
    except (OSError, ValueError) as error:
        reason = shorten((isinstance(error, OSError) and error.strerror) or str(error))
        problem = FieldProblem(name, str(given), f"a readable image ({reason})")
        raise InvalidSpec(type(spec).__name__, [problem]) from error


async def _in_thread(loading: _Loading) -> Image:
    threads = FOREIGN_FILES if loading.may_last else IMAGES
    try:
        return await threads.run(loading.run, abandon_on_cancel=True)
    except get_cancelled_exc_class():
        if loading.stop():
            # Whoever gave the file goes on with it as soon as this call is over.
            with CancelScope(shield=True):
                await run_at_once(loading.wait, abandon_on_cancel=True)
        raise


@frozen
class _Given:
    """An image as the user gave it. It shows its kind and size."""

    image: ImageInput = field(repr=show_image)

    def __str__(self) -> str:
        return show_image(self.image)

    @property
    def is_url(self) -> bool:
        """Whether the service fetches it."""
        return isinstance(self.image, str) and not is_data_uri(self.image)

    @property
    def url(self) -> str:
        """Where from."""
        return cast("str", self.image).strip()

    @property
    def is_small(self) -> bool:
        """Whether it is looked through faster than a thread is woken."""
        return isinstance(self.image, str | bytes) and len(self.image) <= LONG_TEXT

    @property
    def content(self) -> Content | None:
        """What it consists of, unless that must be read first."""
        if isinstance(self.image, str):
            return Base64Text(self.image)
        if isinstance(self.image, bytes | bytearray | memoryview):
            return Views([memoryview(self.image)])
        return None


class _Stopped(Exception):
    """Nobody waits for the image any longer."""


class _Loading:
    """Makes an `Image` of what was given. It runs once, in a thread unless the image is small."""

    def __init__(self, given: _Given, largest: int) -> None:
        self._given = given
        self._largest = largest
        self._stopped = False
        # Held while a file of the caller's does not stand where it stood.
        self._moving = Lock()

    @property
    def may_last(self) -> bool:
        """Whether the thread may have to wait for somebody: for who writes to a pipe, or has the same file."""
        image = self._given.image
        return self._given.content is None and not isinstance(image, os.PathLike) and type(image) is not io.BytesIO

    def run(self) -> Image:
        """Read and measure.

        Raises:
            OSError, ValueError: it cannot be read, or is no image.
            ImageTooLarge: it has too many bytes.
        """
        if (content := self._given.content) is not None:
            return self._measure(content)
        with self._open() as file:
            return self._read(file)

    def stop(self) -> bool:
        """Read no further. Returns whether a file of the caller's must be waited for."""
        self._stopped = True
        return self._moving.locked()

    def wait(self) -> None:
        """Wait until the file is back where it stood."""
        if self._moving.acquire(timeout=PATIENCE):
            self._moving.release()

    def _check(self) -> None:
        if self._stopped:
            raise _Stopped

    def _measure(self, content: Content) -> Image:
        gauge = self._gauge(content.excess(self._largest))
        for piece in content.decoded():
            self._check()
            gauge.feed(piece)
        return gauge.image(content)

    def _open(self) -> AbstractContextManager[ImageFile]:
        if isinstance(self._given.image, os.PathLike):
            return open_path(self._given.image, self._check)
        return borrow(cast("IO[bytes]", self._given.image), self._check, self._moving)

    def _read(self, file: ImageFile) -> Image:
        gauge = self._gauge(file.excess(self._largest))
        chunks: list[memoryview] = []
        for chunk in file.chunks():
            gauge.feed(chunk)
            chunks.append(chunk)
        return gauge.image(Views(chunks))

    def _gauge(self, excess: int | None) -> Gauge:
        if excess is not None:
            raise ImageTooLarge(excess)
        return Gauge(self._largest)
