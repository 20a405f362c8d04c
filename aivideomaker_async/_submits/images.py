"""Images on their way into a request: read, checked and measured off the event loop, before anything is sent.

An image that was given as a file is in memory once, in chunks; bytes and the text of a data URI stay where the caller
has them. They are encoded while they are sent. A retry sends the same bytes, whatever has become of the file.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from functools import partial
from hashlib import blake2b
from typing import IO, Final, cast

from anyio import CancelScope, get_cancelled_exc_class

from .._redaction import is_data_uri, shorten
from .._util.threads import FOREIGN_FILES, IMAGES, run_at_once
from ..errors import FieldProblem, InvalidSpec
from ..specs import (
    LONG_TEXT_CHARACTERS,
    SNIFFED_BYTES,
    ImageInput,
    OtherModel,
    VideoSpec,
    image_fields,
    image_type,
    replace_long_texts,
    show_image,
    texts_in,
    to_wire,
    wire_fields,
)
from .body import DIGEST_BYTES, Base64Content, Body, BytesContent, Content, Image, LongText, write_body
from .image_file import ImageTooLarge, ReadJob, read_open_file, read_path

__all__ = ["load_fields", "load_request_body"]

logger: Final = logging.getLogger("aivideomaker_async.submits")

HEIF_TYPES: Final = frozenset({"image/heic", "image/heif"})
"""Photos of phones, which few services take."""

JPEG_QUALITY: Final = 95
"""Of a photo that is converted: what is lost by it is not seen."""

FILE_RESTORE_S: Final = 1.0
"""How long a cancelled call waits until a file of the caller's is back at its position: one chunk is being read."""


async def load_request_body(spec: VideoSpec | OtherModel, max_bytes: int) -> Body:
    """Return the request body of `spec`, with its images loaded.

    Raises:
        InvalidSpec: an image cannot be read, is not an image, or has more than `max_bytes`.
    """
    return write_body(await load_fields(spec, max_bytes))


async def load_fields(spec: VideoSpec | OtherModel, max_bytes: int) -> dict[str, object]:
    """Return the fields of a request body by wire name, with an `Image` or a `LongText` in place of all that is long.

    A cancelled call holds nothing, and leaves a file of the caller's at its position.

    Args:
        spec: what to send.
        max_bytes: the size limit of each image.

    Raises:
        InvalidSpec: an image cannot be read, is not an image, or is too large.
    """
    fields = to_wire(spec)
    for name, image in image_fields(spec).items():
        wire_name = wire_fields(type(spec))[name]
        if isinstance(image, tuple):
            # One after the other: several may be the same file.
            fields[wire_name] = [
                await _load(spec, f"{name}[{place}]", one, max_bytes) for place, one in enumerate(image)
            ]
        else:
            fields[wire_name] = await _load(spec, name, image, max_bytes)
    finish = partial(_finish, spec, fields, max_bytes)
    if any(len(text) > LONG_TEXT_CHARACTERS for _, text in _other_texts(spec)):
        return await IMAGES.run(finish, abandon_on_cancel=True)
    return finish()


async def _load(spec: VideoSpec | OtherModel, name: str, image: ImageInput, max_bytes: int) -> Image | str:
    """Return an image as it is sent: its address, or the image itself."""
    if isinstance(image, str) and not is_data_uri(image):
        return image.strip()
    job = ReadJob()
    read = partial(_read, image, max_bytes, job)
    try:
        if isinstance(image, str | bytes) and len(image) <= LONG_TEXT_CHARACTERS and not _looks_like_heif(image):
            # Checked faster than a thread is woken.
            return read()
        # A file object may be a pipe or on a network drive, and give nothing for hours.
        is_foreign = not isinstance(image, str | bytes | os.PathLike) and type(image) is not io.BytesIO
        threads = FOREIGN_FILES if is_foreign else IMAGES
        return await threads.run(read, abandon_on_cancel=True)
    except get_cancelled_exc_class():
        job.cancelled = True
        if job.moved.locked():
            # The caller goes on with the file as soon as this call is over.
            with CancelScope(shield=True):
                await run_at_once(partial(job.wait_until_restored, FILE_RESTORE_S), abandon_on_cancel=True)
        raise
    except ImageTooLarge as error:
        problem = _too_large(name, image, str(error), max_bytes)
        raise InvalidSpec(type(spec).__name__, [problem]) from error
    except (OSError, ValueError) as error:
        reason = shorten((isinstance(error, OSError) and error.strerror) or str(error))
        problem = FieldProblem(name, show_image(image), f"a readable image ({reason})")
        raise InvalidSpec(type(spec).__name__, [problem]) from error


def _read(image: ImageInput, max_bytes: int, job: ReadJob) -> Image:
    """Read and check an image. This blocks: it runs in a thread unless the image is small.

    Raises:
        OSError, ValueError: it cannot be read, or is not an image.
        ImageTooLarge: it has more than `max_bytes`.
    """
    content: Content
    if isinstance(image, str):
        content = Base64Content(image)
    elif isinstance(image, bytes):
        content = BytesContent([image])
    elif isinstance(image, os.PathLike):
        content = BytesContent(read_path(image, max_bytes, job))
    else:
        # Specs have copied all buffers.
        content = BytesContent(read_open_file(cast("IO[bytes]", image), max_bytes, job))
    if (excessive := content.size_over(max_bytes)) is not None:
        raise ImageTooLarge(f"it has {excessive:,} bytes")

    size = 0
    head = bytearray()
    digest = blake2b(digest_size=DIGEST_BYTES)
    for piece in content.decoded():
        job.check()
        size += len(piece)
        digest.update(piece)
        if len(head) < SNIFFED_BYTES:
            head += piece[: SNIFFED_BYTES - len(head)]
    mime = image_type(bytes(head))
    if mime is None:
        raise ValueError("the content is no known kind of image" if head else "it is empty")
    if mime in HEIF_TYPES and (jpeg := _as_jpeg(content)) is not None:
        return _read(jpeg, max_bytes, job)
    digest.update(mime.encode("ascii"))
    return Image(mime, size, digest.digest(), content)


def _looks_like_heif(image: str | bytes) -> bool:
    """Return whether an image may have to be converted, which takes too long for the event loop."""
    return image[:14].lower().startswith("data:image/hei") if isinstance(image, str) else image[4:8] == b"ftyp"


def _as_jpeg(content: Content) -> bytes | None:
    """Return a photo of a phone as a JPEG. None, so that it travels as it is, without the extra or if that fails."""
    try:
        import pillow_heif
    except ImportError:
        return None
    written = io.BytesIO()
    try:
        photo = pillow_heif.open_heif(b"".join(content.decoded())).to_pillow()
        photo.convert("RGB").save(written, "JPEG", quality=JPEG_QUALITY)
    except Exception as error:  # noqa: BLE001  (whatever the library raises: the service may understand the photo)
        logger.info("a photo (HEIC) could not be converted: %s", type(error).__name__)
        return None
    return written.getvalue()


def _finish(spec: VideoSpec | OtherModel, fields: dict[str, object], max_bytes: int) -> dict[str, object]:
    """Check the data URIs in fields that only the service understands, and replace what is long."""
    problems = [
        _too_large(name, text, f"it has {size:,} bytes", max_bytes)
        for name, text in _other_texts(spec)
        if is_data_uri(text) and (size := Base64Content(text).size_over(max_bytes)) is not None
    ]
    if problems:
        raise InvalidSpec(type(spec).__name__, problems)
    return {name: replace_long_texts(value, LongText) for name, value in fields.items()}


def _other_texts(spec: VideoSpec | OtherModel) -> Iterator[tuple[str, str]]:
    """Yield the texts in fields that only the service understands, with the names of the fields."""
    holder, fields = ("body", spec.body) if isinstance(spec, OtherModel) else ("extra", spec.extra)
    for name, value in fields.items():
        for text in texts_in(value):
            yield f"{holder}[{name!r}]", text


def _too_large(name: str, image: ImageInput, reason: str, max_bytes: int) -> FieldProblem:
    allowed = f"an image of at most {max_bytes:,} bytes (AIVideoMaker(max_image_size=...) changes that)"
    return FieldProblem(name, f"{show_image(image)} ({reason})", allowed)
