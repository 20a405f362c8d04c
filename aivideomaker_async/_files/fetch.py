"""Fetch one file with as many requests as it takes, and write it: the retry loop of the room, and its way to a file."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar, TypeVarTuple, Unpack

from anyio import CancelScope

from .._redaction import shorten, single_line
from .._util import callbacks
from .._util.threads import DISK, run_at_once
from ..errors import Disconnected, DownloadError, IncompleteDownload, OutputExpired, TransportError
from .http import FileResponse, open_file
from .part_file import PartFile
from .resume import Changed, DownloadRetries, Empty, Transfer, Unusable, is_page, part_key

if TYPE_CHECKING:
    from .video import Progress, Source

__all__ = ["Fetch", "content_length", "save"]

logger: Final = logging.getLogger("aivideomaker_async.files")

MAX_RETRY_AFTER_S: Final = 60.0
"""A longer `Retry-After` is cut to this."""

WRITE_BYTES: Final = 256 * 1024
"""Bytes that are collected before a thread writes them."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


NOT_YET: Final = frozenset({202, 204, 403, 404, 425})
"""How a server answers while a file is not there yet, for some seconds after its task has ended."""

RUN_OUT: Final = frozenset({403, 404, 410})
"""How a server answers when the signature in an address has run out."""


class _Unavailable(Exception):
    """The server cannot send the file now and may be able to later."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        self.message = f"status {status}"
        super().__init__(self.message)
        self.status = status
        self.retry_after = retry_after


class Fetch:
    """Reads one file. An async context manager: leaving it closes the connection.

    Args:
        source: where the file is.
        transfer: what has arrived already. It is kept up to date.
    """

    def __init__(self, source: Source, transfer: Transfer) -> None:
        self.transfer: Transfer = transfer
        self.video_type: str | None = None
        """The media type of the last response, if it is a video's."""
        self._source = source
        self._retries = DownloadRetries(source.options.attempts, transfer.position)
        self._response: FileResponse | None = None
        self._closed = False
        self._was_early = False
        """Whether the file was refused though its task has just ended."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        await self._hang_up()

    async def start(self) -> None:
        """Wait until there is something to read, or the file is whole.

        Raises:
            DownloadError: the file cannot be fetched.
        """
        if self._closed:
            raise RuntimeError("the download is over; what is read from it must be read inside its `async with`")
        while self._response is None and not self.transfer.is_whole:
            try:
                await self._request()
            except (TransportError, _Unavailable) as error:
                await self._pause(error)
            except Unusable as error:
                await self._unusable(error)

    async def read(self) -> bytes:
        """Return the next bytes of the file; no bytes when it is whole.

        The file begins, or begins anew, with bytes whose length is `transfer.position`.

        Raises:
            DownloadError: the file cannot be fetched, or not in whole (`IncompleteDownload`).
        """
        while True:
            await self.start()
            if self._response is None:
                return b""
            try:
                data = await self._response.read()
                if data and not self.transfer.position and is_page(self._response.head.content_type, data):
                    what = shorten(single_line(self._response.head.content_type or "a page"))
                    raise self._source.failed(f"its server sent no video, but {what}")
                if new := self.transfer.receive(data):
                    return new
                if not data:
                    await self._hang_up()
                    if not self.transfer.end_body():
                        raise Disconnected("the response ended early", method="GET", path=self._source.name)
            except TransportError as error:
                await self._pause(error)
            except Unusable as error:
                await self._unusable(error)

    async def _request(self) -> None:
        response = await open_file(self._source, self.transfer.request_headers())
        head, accepted = response.head, False
        try:
            if head.status in {408, 429} or head.status >= 500:
                raise _Unavailable(head.status, head.retry_after)
            is_early = head.status in NOT_YET and self._source.is_fresh()
            # A fresh file that is refused may only be late; refused again, its address may have run out.
            if head.status in RUN_OUT and (self._was_early or not is_early) and await self._source.renew():
                # The next request goes to the fresh address.
                return
            if is_early:
                self._was_early = True
                raise _Unavailable(head.status, head.retry_after)
            if head.status not in {200, 206, 416}:
                raise self._source.refused(head.status)
            accepted = self.transfer.accept(head)
        finally:
            if not accepted:
                await response.aclose()
        if accepted:
            self._response = response
            self.video_type = head.video_type

    async def _pause(self, error: TransportError | _Unavailable) -> None:
        """Wait before another attempt.

        Raises:
            DownloadError: no other attempt is left, or none can help.
        """
        await self._hang_up()
        # Counted first: an attempt that brought enough starts the count again.
        may_retry = self._retries.failed(self.transfer.position)
        if not may_retry or not self.transfer.can_retry:
            if self.transfer.position:
                raise self._incomplete(error.message) from error
            if isinstance(error, _Unavailable):
                raise self._source.refused(error.status) from error
            raise self._source.failed(error.message) from error
        pause = self._retries.pause(random.random())
        if isinstance(error, _Unavailable) and error.retry_after is not None:
            pause = max(pause, min(error.retry_after, MAX_RETRY_AFTER_S))
        logger.info("%s: %s; trying again from byte %d", self._source.name, error.message, self.transfer.position)
        await asyncio.sleep(pause)

    async def _hang_up(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            await response.aclose()

    async def _unusable(self, error: Unusable) -> None:
        """Wait before another attempt, if the file may only not be there yet.

        Raises:
            DownloadError: what came cannot become the file.
        """
        if isinstance(error, Empty) and self._source.is_fresh():
            await self._pause(_Unavailable(200, None))
            return
        # The reader of a stream must learn that the rest of what was passed on is missing.
        raise (
            self._incomplete(str(error)) if isinstance(error, Changed) else self._source.failed(str(error))
        ) from error

    def _incomplete(self, reason: str) -> IncompleteDownload:
        received, expected = self.transfer.position, self.transfer.total
        of = f" of {expected}" if expected is not None else ""
        return IncompleteDownload(
            f"{self._source.name} ended after {received}{of} bytes: {reason}", received=received, expected=expected
        )


async def save(source: Source, path: Path, *, overwrite: bool, resume: bool, progress: Progress | None) -> int:
    """Write a file, or nothing. Returns its size in bytes.

    Args:
        source: where the file is.
        path: where to write it.
        overwrite: whether it may be there already.
        resume: whether an incomplete download is kept and continued.
        progress: called with the bytes that have arrived and those that are expected.

    Raises:
        DownloadError: it cannot be fetched, or not be written.
    """
    part = PartFile(path, overwrite=overwrite, key=part_key(source.url, source.task_id) if resume else None)
    keep = True
    try:
        metadata = await _on_disk(part, part.open)
        transfer = Transfer(metadata, max_bytes=source.options.max_bytes)
        if transfer.position:
            await callbacks.call(progress, transfer.position, transfer.total)
        buffer = bytearray()
        async with Fetch(source, transfer) as fetch:
            while data := await fetch.read():
                if transfer.position == len(data) and transfer.version is not None:
                    buffer = bytearray()
                    await _on_disk(part, part.begin, transfer.version)
                buffer += data
                if len(buffer) >= WRITE_BYTES:
                    written, buffer = buffer, bytearray()
                    await _on_disk(part, part.write, written)
                await callbacks.call(progress, transfer.position, transfer.total)
            await _on_disk(part, part.write, buffer)
        await _on_disk(part, part.commit)
    except OutputExpired:
        # It will never be whole.
        keep = False
        raise
    finally:
        with CancelScope(shield=True):
            await run_at_once(lambda: part.close(keep=keep))
    return transfer.position


async def _on_disk(part: PartFile, work: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
    """Let a thread do `work`. An error of the disk becomes a `DownloadError` that names the file."""
    try:
        return await DISK.run(work, *arguments)
    except OSError as error:
        raise DownloadError(f"cannot write {part.target}: {error.strerror or error}") from error
    except ValueError as error:
        raise DownloadError(f"cannot write {str(part.target)!r}: {error}") from error


async def content_length(source: Source) -> int | None:
    """Return the bytes of the file, or None if they cannot be learned now. The file itself is not read."""
    try:
        # Not HEAD: a signed URL often allows GET alone.
        response = await open_file(source, {"Range": "bytes=0-0"})
    except (TransportError, DownloadError) as error:
        logger.debug("%s: length not known: %s", source.name, error)
        return None
    await response.aclose()
    head = response.head
    if head.coding is not None:
        return None
    if head.status == 200:
        return head.length
    return head.content_range.total if head.status == 206 and head.content_range is not None else None
