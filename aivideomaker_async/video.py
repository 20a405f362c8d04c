"""The finished video: where it is, until when, and how to get it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVarTuple, Unpack
from urllib.parse import urlsplit

from anyio import CancelScope, to_thread
from attrs import field, frozen

from .errors import Disconnected, DownloadError, IncompleteDownload, OutputExpired, TransportError
from .part_file import PartFile
from .secrecy import redact_url
from .tasks import OUTPUT_KEPT_FOR, TaskDetails

if TYPE_CHECKING:
    import aiohttp

    from .transport import Stream

__all__ = ["Video"]

logger: Final = logging.getLogger(__name__)

PIECE: Final = 256 * 1024
"""Bytes that are written to disk at once."""

Ts = TypeVarTuple("Ts")
Progress = Callable[[int, int | None], object]


@frozen(kw_only=True)
class Video:
    """A finished video. Getting it needs no API key and no open client.

    The service deletes the file 24 hours after the task was completed.
    """

    id: str
    url: str = field(repr=redact_url)
    """Public address of the file."""
    details: TaskDetails = field(repr=False)
    """Everything that the service told about the task."""
    expires_at: datetime
    """When the service deletes the file (aware, UTC)."""

    @classmethod
    def of(cls, details: TaskDetails) -> Self:
        """The video of a task that is COMPLETED and has a URL."""
        completed_at = details.completed_at or datetime.now(UTC)
        return cls(id=details.id, url=details.url or "", details=details, expires_at=completed_at + OUTPUT_KEPT_FOR)

    async def download(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
        timeout: float = 60.0,
        http: aiohttp.ClientSession | None = None,
    ) -> Path:
        """Write the video to a file. The file appears under its name when it is complete, never before.

        Args:
            path: where to write. Its folder must exist.
            overwrite: whether a file that is already there may be replaced.
            progress: called with the bytes received so far and the bytes expected (None when that is not known).
            timeout: seconds to connect, and seconds without any data, after which the download has failed.
            http: an aiohttp session to use, for a proxy for example.

        Returns:
            The path of the file.

        Raises:
            OutputExpired: the service has deleted the file.
            IncompleteDownload: the connection ended too early.
            DownloadError: anything else; the message names the path or the reason.
        """
        part = PartFile(Path(path), overwrite=overwrite)
        try:
            async with self._open(timeout, http) as stream:
                await _on_disk(part, part.open)
                received = await self._fill(part, stream, progress)
            await _on_disk(part, part.commit)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(part.discard)
        logger.info("task %s: %d bytes downloaded to %s", self.id, received, part.target)
        return part.target

    @asynccontextmanager
    async def stream(
        self, *, timeout: float = 60.0, http: aiohttp.ClientSession | None = None
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes of the video as they arrive, for a web backend that passes them on.

        `async with video.stream() as pieces: async for piece in pieces: ...`

        Args:
            timeout: seconds to connect, and seconds without any data, after which the stream has failed.
            http: an aiohttp session to use, for a proxy for example.

        Raises:
            OutputExpired: the service has deleted the file.
            IncompleteDownload: the connection ended too early.
            DownloadError: anything else.
        """
        async with self._open(timeout, http) as stream:
            yield self._pieces(stream)

    async def _fill(self, part: PartFile, stream: Stream, progress: Progress | None) -> int:
        received = 0
        buffer = bytearray()
        async for piece in self._pieces(stream):
            buffer += piece
            received += len(piece)
            if len(buffer) >= PIECE:
                data, buffer = buffer, bytearray()
                await _on_disk(part, part.write, data)
            if progress is not None:
                progress(received, stream.length)
        await _on_disk(part, part.write, buffer)
        return received

    @asynccontextmanager
    async def _open(self, timeout: float, http: aiohttp.ClientSession | None) -> AsyncIterator[Stream]:
        from .transport import open_stream  # slow to import: whoever only holds a Video does without

        if urlsplit(self.url).scheme not in {"http", "https"}:
            raise DownloadError(f"the video of task {self.id} has no http(s) URL: {redact_url(self.url)}")
        async with AsyncExitStack() as stack:
            try:
                stream = await stack.enter_async_context(open_stream(self.url, session=http, timeout=timeout))
            except TransportError as error:
                raise self._failed(error) from error
            self._check(stream.status)
            yield stream

    def _failed(self, error: TransportError) -> DownloadError:
        return DownloadError(f"the video of task {self.id} cannot be downloaded: {error.message}")

    def _check(self, status: int) -> None:
        if status == 200:
            return
        age = datetime.now(UTC) - self.expires_at + OUTPUT_KEPT_FOR
        if status == 410 or (status in {403, 404} and age >= OUTPUT_KEPT_FOR):
            raise OutputExpired(
                f"the video of task {self.id} is gone: it was finished {age.total_seconds() / 3600:.1f} hours ago, "
                "and the service keeps a file for 24 hours",
                age=age,
            )
        raise DownloadError(f"the video of task {self.id} cannot be downloaded: status {status}")

    async def _pieces(self, stream: Stream) -> AsyncIterator[bytes]:
        received = 0
        try:
            async for piece in stream.pieces():
                received += len(piece)
                yield piece
        except Disconnected as error:
            raise self._incomplete(received, stream.length) from error
        except TransportError as error:
            raise self._failed(error) from error
        if stream.length is not None and received != stream.length:
            raise self._incomplete(received, stream.length)

    def _incomplete(self, received: int, expected: int | None) -> IncompleteDownload:
        of = f" of {expected}" if expected is not None else ""
        return IncompleteDownload(
            f"the video of task {self.id} ended after {received}{of} bytes", received=received, expected=expected
        )


async def _on_disk(part: PartFile, work: Callable[[Unpack[Ts]], None], *arguments: *Ts) -> None:
    """Let a thread do `work`; what the disk has against it names the file."""
    try:
        await to_thread.run_sync(work, *arguments)
    except OSError as error:
        raise DownloadError(f"cannot write {part.target}: {error.strerror or error}") from error
