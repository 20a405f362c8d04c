"""Getting one file by as many requests as it takes. What breaks off is taken up again where it ended."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from attrs import frozen

from ..errors import Disconnected, DownloadError, IncompleteDownload, TransportError
from .resume import Changed, Patience, Step, Transfer, Unusable

if TYPE_CHECKING:
    from .file_session import Source
    from .file_stream import FileStream
    from .versions import Head

__all__ = ["Fetch", "Piece", "ask_length"]

logger: Final = logging.getLogger("aivideomaker_async.files")

LONGEST_ASKED: Final = 60.0
"""Seconds that a server's `Retry-After` is believed."""

MOST_PARTS: Final = 10_000
"""Answers, each of which is a part of the file, and whole, after which it is given up."""


@frozen
class Piece:
    """Some bytes of the file. Those from 0 on begin it, also anew."""

    start: int
    data: bytes


class _Busy(Exception):
    """The server has no answer now, and may have one later."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        self.message = f"status {status}"
        super().__init__(self.message)
        self.status = status
        self.retry_after = retry_after


class Fetch:
    """Reads one file, piece by piece. An async context manager: leaving it closes the connection.

    Args:
        source: where the file is.
        transfer: what is there already.
        attempts: how many attempts in a row may bring next to nothing.
        refused: makes the error for a status that is none of a file.
    """

    def __init__(
        self, source: Source, transfer: Transfer, *, attempts: int, refused: Callable[[int], DownloadError]
    ) -> None:
        self.transfer: Transfer = transfer
        self._source = source
        self._refused = refused
        self._patience = Patience(attempts, transfer.position)
        self._stream: FileStream | None = None
        self._parts = 0
        self._reached = transfer.reached
        self._closed = False
        self.video_type: str | None = None
        """The media type that the server has told, if it is one of a video."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        await self._hang_up()

    async def start(self) -> None:
        """Wait until there is something to read, or nothing more to come.

        Raises:
            DownloadError: the file cannot be had.
        """
        if self._closed:
            raise RuntimeError("the download is over; what is read from it must be read inside its `async with`")
        while self._stream is None and not self.transfer.is_whole:
            try:
                await self._connect()
            except (TransportError, _Busy) as error:
                await self._pause(error)

    async def read(self) -> Piece | None:
        """The next bytes, or None when the file is whole.

        Raises:
            DownloadError: the file cannot be had, or not in whole (`IncompleteDownload`).
        """
        while True:
            await self.start()
            if self._stream is None:
                return None
            try:
                data = await self._stream.read()
            except TransportError as error:
                await self._pause(error)
                continue
            if not data:
                await self._end_part()
            elif new := self._accept(data):
                return Piece(self.transfer.position - len(new), new)

    async def _connect(self) -> None:
        from .file_stream import open_file  # slow to import: whoever only holds a Video does without

        stream = await open_file(self._source, self.transfer.headers())
        try:
            step = self._judge(stream.head)
        except BaseException:
            await stream.aclose()
            raise
        if step in {Step.BEGIN, Step.GO_ON}:
            self._stream = stream
            self.video_type = stream.head.video_type
        else:
            await stream.aclose()

    def _judge(self, head: Head) -> Step:
        if head.status in {408, 429} or head.status >= 500:
            raise _Busy(head.status, head.retry_after)
        if head.status not in {200, 206, 416}:
            raise self._refused(head.status)
        try:
            return self.transfer.take(head)
        except Unusable as error:
            raise self._unusable(error) from None

    def _accept(self, data: bytes) -> bytes:
        try:
            return data[self.transfer.advance(len(data)) :]
        except Unusable as error:
            raise self._unusable(error) from None

    async def _end_part(self) -> None:
        """The answer is over, by the rules of HTTP. It may have been a part, after which another must be asked for."""
        await self._hang_up()
        before, self._reached = self._reached, self.transfer.reached
        try:
            if self.transfer.ended():
                return
        except Unusable as error:
            raise self._unusable(error) from None
        self._parts += 1
        if self._parts > MOST_PARTS or self._reached == before:
            await self._pause(Disconnected("the answer is incomplete", method="GET", path=self._source.name))

    async def _pause(self, error: TransportError | _Busy) -> None:
        """Wait before another attempt.

        Raises:
            DownloadError: there will be none.
        """
        await self._hang_up()
        # In this order: an attempt that brought enough makes up for those before.
        patient = self._patience.failed(self.transfer.position)
        if not patient or not self.transfer.can_go_on:
            raise self._gave_up(error) from error
        pause = self._patience.pause(random.random())
        if isinstance(error, _Busy) and error.retry_after is not None:
            pause = max(pause, min(error.retry_after, LONGEST_ASKED))
        logger.info("%s: %s; trying again from byte %d", self._source.name, error.message, self.transfer.position)
        await asyncio.sleep(pause)

    async def _hang_up(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()

    def _gave_up(self, error: TransportError | _Busy) -> DownloadError:
        if self.transfer.reached:
            return self._incomplete(error.message)
        return self._refused(error.status) if isinstance(error, _Busy) else self._source.failed(error.message)

    def _unusable(self, error: Unusable) -> DownloadError:
        # What has been passed on cannot be taken back, and its reader must know that the rest is missing.
        return self._incomplete(str(error)) if isinstance(error, Changed) else self._source.failed(str(error))

    def _incomplete(self, reason: str) -> IncompleteDownload:
        received, expected = self.transfer.reached, self.transfer.total
        of = f" of {expected}" if expected is not None else ""
        return IncompleteDownload(
            f"{self._source.name} ended after {received}{of} bytes: {reason}", received=received, expected=expected
        )


async def ask_length(source: Source) -> int | None:
    """Bytes of the file, or None where that cannot be learned now. The file itself is not read."""
    from .file_stream import open_file  # slow to import, as above

    try:
        # Not HEAD: what a signed URL allows is often GET alone.
        stream = await open_file(source, {"Range": "bytes=0-0"})
    except (TransportError, DownloadError) as error:
        logger.debug("%s: length not known: %s", source.name, error)
        return None
    await stream.aclose()
    head = stream.head
    if head.coding is not None:
        return None
    if head.status == 200:
        return head.length
    return head.content_range.total if head.status == 206 and head.content_range is not None else None
