"""The finished video: where it is, until when, and how to get it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, final

from attrs import field, frozen

from .._redaction import printable, redact_url
from .._util import validation as _checks
from ..errors import DownloadError, OutputExpired
from ..tasks import OUTPUT_KEPT_FOR, TaskDetails
from .fetch import Fetch, ask_length
from .part_file import PartFile
from .resume import Transfer
from .save import Progress, save, turn
from .versions import identify

if TYPE_CHECKING:
    import aiohttp

    from .file_session import Source

__all__ = ["Video", "VideoStream", "Way"]

logger: Final = logging.getLogger("aivideomaker_async.files")

LARGEST: Final = 8 * 1024**3
"""Bytes beyond which a video is taken for an endless answer."""

LAST_DAY: Final = datetime.max.replace(tzinfo=UTC) - OUTPUT_KEPT_FOR


@frozen(kw_only=True)
class Way:
    """How to get a file: what `download`, `stream` and `download_all` have in common."""

    timeout: float
    attempts: int = 5
    max_bytes: int = LARGEST
    allow_private: bool | None
    http: aiohttp.ClientSession | None

    def __attrs_post_init__(self) -> None:
        _checks.seconds("timeout", self.timeout)
        _checks.count("attempts", self.attempts)
        _checks.count("max_bytes", self.max_bytes)


@final
class VideoStream(AsyncIterator[bytes]):
    """The bytes of a video as they arrive. Made by `Video.stream`."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    @property
    def length(self) -> int | None:
        """Bytes of the whole, for a `Content-Length`; None where the server does not tell."""
        return self._fetch.transfer.total

    @property
    def content_type(self) -> str | None:
        """The media type, such as `video/mp4`; None where the server tells none of a video."""
        return self._fetch.video_type

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._fetch.read()
        if piece is None:
            raise StopAsyncIteration
        return piece.data


@frozen(kw_only=True)
class Video:
    """A finished video. Getting it needs no API key and no open client.

    The service deletes the file 24 hours after the task was completed.
    """

    id: str
    url: str = field(repr=lambda url: printable(redact_url(url)))
    """Public address of the file."""
    details: TaskDetails = field(repr=False)
    """Everything that the service told about the task."""
    expires_at: datetime
    """When the service deletes the file (aware, UTC)."""
    _allow_private: bool = field(default=False, alias="_allow_private", repr=False, eq=False)
    # Whether the service itself stands on a private address, so that its files may as well.

    @classmethod
    def of(cls, details: TaskDetails, *, allow_private: bool = False) -> Self:
        """The video of a task that is COMPLETED and has a URL.

        Args:
            details: what the service tells about the task.
            allow_private: whether the file may be at an address that is not of the public internet, since the service
                is at one itself.
        """
        completed_at = details.completed_at or datetime.now(UTC)
        # A clock may be years off, as far as the end of the calendar.
        expires_at = min(completed_at, LAST_DAY) + OUTPUT_KEPT_FOR
        return cls(
            id=details.id,
            url=details.url or "",
            details=details,
            expires_at=expires_at,
            _allow_private=allow_private,
        )

    async def download(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        resume: bool = False,
        progress: Progress | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
        max_bytes: int = LARGEST,
        allow_private: bool | None = None,
        http: aiohttp.ClientSession | None = None,
    ) -> Path:
        """Write the video to a file. The file appears under its name when it is complete, never before.

        What breaks off is taken up again where it ended, if the server can do that, else from the first byte on. Eight
        downloads of an event loop run at once, and others wait; `download_all` has a limit of its own.

        No API key is sent. Redirects are followed, but not from https to http.

        Args:
            path: where to write. Its folder must exist.
            overwrite: whether a file that is already there may be replaced. Of a link to a file, the link is replaced,
                and not the file; a device or a named pipe never is.
            resume: keep what has come when the download fails, is cancelled or killed, and go on from there in the next
                one, also in another process. It is kept in `path.part` and `path.part.json` (where these names would be
                too long, in shorter ones), and a second download to the same path is refused meanwhile. By default
                nothing stays of a download that failed.
            progress: called with the bytes that are there so far and the bytes expected (None when that is not known).
                It may start over from 0.
            timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
            attempts: how many in a row may bring next to nothing before the download has failed. The pauses between
                them grow: five attempts last for half a minute at least.
            max_bytes: the largest file that is accepted.
            allow_private: whether the file may be at an address that is not of the public internet (loopback, private,
                link-local...). By default only if the service itself was at one, as a simulator is.
            http: an aiohttp session whose connections and proxies to use. Its headers, cookies and credentials are not
                used. What a name resolves to can then only be looked up beforehand, and behind a proxy not at all,
                which is no full protection from private addresses.

        Returns:
            The path of the file.

        Raises:
            OutputExpired: the service has deleted the file.
            IncompleteDownload: the connection ended too early, also when tried again.
            DownloadError: anything else; the message names the path or the reason.
            ConfigurationError: an argument makes no sense.
        """
        way = Way(timeout=timeout, attempts=attempts, max_bytes=max_bytes, allow_private=allow_private, http=http)
        async with turn():
            return await self._save(Path(path), way, overwrite=overwrite, resume=resume, progress=progress)

    @asynccontextmanager
    async def stream(
        self,
        *,
        timeout: float = 60.0,
        attempts: int = 5,
        max_bytes: int = LARGEST,
        allow_private: bool | None = None,
        http: aiohttp.ClientSession | None = None,
    ) -> AsyncIterator[VideoStream]:
        """The bytes of the video as they arrive, for a web backend that passes them on.

        `async with video.stream() as pieces: async for piece in pieces: ...`

        `pieces.length` and `pieces.content_type` are known from the start. What breaks off is taken up again where it
        ended, if the server can do that and still has the same file. Any number of streams run at once.

        Args:
            timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
            attempts: how many in a row may bring next to nothing before the stream has failed. The pauses between
                them grow: five attempts last for half a minute at least.
            max_bytes: the largest file that is accepted.
            allow_private: as for `download`.
            http: as for `download`.

        Raises:
            OutputExpired: the service has deleted the file.
            IncompleteDownload: the connection ended too early.
            DownloadError: anything else.
            ConfigurationError: an argument makes no sense.
        """
        way = Way(timeout=timeout, attempts=attempts, max_bytes=max_bytes, allow_private=allow_private, http=http)
        async with self._fetch(way, Transfer(may_restart=False, most=max_bytes)) as fetch:
            await fetch.start()
            yield VideoStream(fetch)

    async def _save(self, path: Path, way: Way, *, overwrite: bool, resume: bool, progress: Progress | None) -> Path:
        part = PartFile(path, overwrite=overwrite, identity=identify(self.url, self.id) if resume else None)
        size = await save(part, partial(self._fetch, way), most=way.max_bytes, progress=progress)
        logger.info("task %s: %d bytes downloaded to %s", self.id, size, path)
        return path

    async def _length(self, way: Way) -> int | None:
        """Bytes of the file, where the server tells."""
        return await ask_length(self._source(way))

    def _fetch(self, way: Way, transfer: Transfer) -> Fetch:
        return Fetch(self._source(way), transfer, attempts=way.attempts, refused=self._refused)

    def _source(self, way: Way) -> Source:
        from .file_session import Source  # slow to import: whoever only holds a Video does without

        allowed = self._allow_private if way.allow_private is None else way.allow_private
        name = f"the video of task {self.id}"
        return Source(name=name, url=self.url, timeout=way.timeout, allow_private=allowed, http=way.http)

    def _refused(self, status: int) -> DownloadError:
        """The error for a status that is none of a file."""
        finished_at = self.expires_at - OUTPUT_KEPT_FOR
        age = datetime.now(UTC) - finished_at
        if status == 410 or (status in {403, 404} and age >= OUTPUT_KEPT_FOR):
            # Finished in the future: the clocks contradict each other, and which of them is right is not known.
            known = self.details.completed_at is not None and age >= timedelta(0)
            ago = f"it was finished {age.total_seconds() / 3600:.1f} hours ago, and " if known else ""
            return OutputExpired(
                f"the video of task {self.id} is gone: {ago}the service keeps a file for 24 hours",
                age=age if known else None,
            )
        return DownloadError(f"the video of task {self.id} cannot be downloaded: status {status}")
