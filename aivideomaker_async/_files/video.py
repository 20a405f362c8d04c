"""The finished video: where it is, until when, how to get it, and the errors that name it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeAlias, final

from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from attrs import field, frozen

from .._redaction import printable, redact_url, shorten
from .._util import validation
from .._util.paths import expanded
from .._util.threads import limiter_of
from ..errors import DownloadError, OutputExpired
from ..tasks import JSON_NAME, OUTPUT_KEPT_FOR, JSONForm, TaskDetails

if TYPE_CHECKING:
    import aiohttp

    from .fetch import Fetch

__all__ = ["DownloadOptions", "Progress", "Source", "Video", "VideoStream"]

logger: Final = logging.getLogger("aivideomaker_async.files")

Progress: TypeAlias = Callable[[int, int | None], object]
"""Called with the bytes that have arrived, and the bytes expected (None when that is not known)."""

MAX_VIDEO_BYTES: Final = 8 * 1024**3
"""A response that is larger is taken to be endless."""

MAX_DOWNLOADS: Final = 8
"""Calls of `Video.download` that run at once in an event loop."""

FRESH_FOR: Final = timedelta(minutes=2)
"""How long after the end of a task its file may not be there yet."""

_download_slots: Final[RunVar[CapacityLimiter]] = RunVar("aivideomaker_async.downloads")

_LATEST_COMPLETION: Final = datetime.max.replace(tzinfo=UTC) - OUTPUT_KEPT_FOR


class DownloadOptions:
    """The arguments that `Video.download`, `Video.stream` and `download_all` share; see `Video.download`.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        *,
        timeout: float,
        attempts: int = 5,
        max_bytes: int = MAX_VIDEO_BYTES,
        allow_private: bool | None,
        http: aiohttp.ClientSession | None,
    ) -> None:
        self.timeout: float = validation.seconds("timeout", timeout)
        self.attempts: int = validation.count("attempts", attempts)
        self.max_bytes: int = validation.count("max_bytes", max_bytes)
        self.allow_private = allow_private
        self.http = http


@final
class VideoStream(AsyncIterator[bytes]):
    """The bytes of a video as they arrive. Made by `Video.stream`."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    @property
    def length(self) -> int | None:
        """Bytes of the whole, for a `Content-Length`; None if the server does not state them."""
        return self._fetch.transfer.total

    @property
    def content_type(self) -> str | None:
        """The media type, such as `video/mp4`; None if the server states none of a video."""
        return self._fetch.video_type

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self._fetch.read()
        if not data:
            raise StopAsyncIteration
        return data


@frozen(kw_only=True)
class _ClientTies:
    """What a video has from its client, and loses in another process."""

    allow_private: bool = False
    """Whether the service itself is at a private address, so that its files may be as well."""
    http: aiohttp.ClientSession | None = None
    """The session that the caller has given to the client."""
    renew: Callable[[], Awaitable[str | None]] | None = None
    """Asks for a fresh address."""
    clock_ahead: timedelta = timedelta(0)
    """By how much the service's clock is ahead of this machine's."""


@frozen(kw_only=True)
class Video(JSONForm):
    """A finished video. Getting it needs no API key and no open client.

    The service deletes the file 24 hours after the task was completed.

    One that is restored by `from_dict` is downloaded and streamed as before. What its client gave to it is lost: the
    caller's session (pass `http=`), and a fresh address when the signature of this one has run out, for which
    `client.task(video.id).result()` asks. And since the form may come from anybody, its file must be at a public
    address, unless a call allows others: `allow_private=True`, for the simulator.
    """

    id: str = field(metadata={JSON_NAME: "task_id"})
    url: str = field(repr=lambda url: printable(redact_url(url)))
    """Public address of the file."""
    details: TaskDetails = field(repr=False)
    """Everything that the service reported about the task."""
    expires_at: datetime
    """When the service deletes the file (aware, UTC)."""
    _ties: _ClientTies = field(default=_ClientTies(), alias="_ties", repr=False, eq=False)

    @classmethod
    def of(
        cls,
        details: TaskDetails,
        *,
        allow_private: bool = False,
        seen_at: datetime | None = None,
        http: aiohttp.ClientSession | None = None,
        renew: Callable[[], Awaitable[str | None]] | None = None,
        clock_ahead: timedelta = timedelta(0),
    ) -> Self:
        """Return the video of a task that is COMPLETED and has a URL.

        Args:
            details: what the service reported about the task.
            allow_private: whether the file may be at an address that is not of the public internet, since the service
                is at one itself.
            seen_at: when the task was first seen to have ended, where the service does not say when it did.
            http: the session that is used while it is open, unless a call is given another one.
            renew: asks for the task again, and returns the address of its file or None.
            clock_ahead: by how much the service's clock is ahead of this machine's.
        """
        completed_at = details.completed_at or details.created_at or seen_at or datetime.now(UTC)
        # The service's clock may be years off, as far as the end of the calendar.
        expires_at = min(completed_at, _LATEST_COMPLETION) + OUTPUT_KEPT_FOR
        return cls(
            id=details.id,
            url=details.url or "",
            details=details,
            expires_at=expires_at,
            _ties=_ClientTies(allow_private=allow_private, http=http, renew=renew, clock_ahead=clock_ahead),
        )

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        # What belongs to a client stays in its process.
        again = partial(
            type(self),
            id=self.id,
            url=self.url,
            details=self.details,
            expires_at=self.expires_at,
            _ties=_ClientTies(allow_private=self._ties.allow_private, clock_ahead=self._ties.clock_ahead),
        )
        return again, ()

    async def download(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        resume: bool = False,
        progress: Progress | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
        max_bytes: int = MAX_VIDEO_BYTES,
        allow_private: bool | None = None,
        http: aiohttp.ClientSession | None = None,
    ) -> Path:
        """Write the video to a file. The file appears under its name when it is complete, never before.

        A download that breaks off continues where it ended if the server supports ranges and a strong ETag shows that
        it still has the same file; otherwise it begins anew. Eight downloads of an event loop run at once, and others
        wait; `download_all` has a limit of its own.

        No API key is sent. Redirects are followed, but not from https to http.

        Args:
            path: where to write. Its folder must exist.
            overwrite: whether an existing file may be replaced. If the path is a link to a file, the link is replaced
                and the file stays. A device or a named pipe is never replaced.
            resume: keep what has arrived when the download fails, is cancelled or killed, and continue from there in
                the next one, also in another process. It is kept in `path.part` and `path.part.json` (in shorter names
                where these would be too long), and a second download to the same path is refused while one runs. By
                default nothing is left of a download that failed.
            progress: called with the bytes that have arrived and the bytes expected (None when that is not known). It
                may start over from 0.
            timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
            attempts: how many attempts in a row may bring next to nothing before the download has failed. The pauses
                between them grow: five attempts last for half a minute at least.
            max_bytes: the largest file that is accepted.
            allow_private: whether the file may be at an address that is not of the public internet (loopback, private,
                link-local...). By default only if the service itself was at one, as a simulator is.
            http: an aiohttp session whose connections and proxies to use; by default the one that the client of the
                task was given, while that is open. Its headers, cookies and credentials are not used. What a name
                resolves to can then only be looked up beforehand, and behind a proxy not at all, which is no full
                protection from private addresses.

        Returns:
            The path of the file.

        Raises:
            OutputExpired: the service has deleted the file.
            IncompleteDownload: the connection ended too early, also when tried again.
            DownloadError: anything else; the message names the path or the reason.
            ConfigurationError: an argument makes no sense.
        """
        options = DownloadOptions(
            timeout=timeout, attempts=attempts, max_bytes=max_bytes, allow_private=allow_private, http=http
        )
        async with limiter_of(_download_slots, MAX_DOWNLOADS):
            return await self._save(expanded(path), options, overwrite=overwrite, resume=resume, progress=progress)

    @asynccontextmanager
    async def stream(
        self,
        *,
        timeout: float = 60.0,
        attempts: int = 5,
        max_bytes: int = MAX_VIDEO_BYTES,
        allow_private: bool | None = None,
        http: aiohttp.ClientSession | None = None,
    ) -> AsyncIterator[VideoStream]:
        """Stream the bytes of the video as they arrive, for a web backend that passes them on.

        `async with video.stream() as pieces: async for piece in pieces: ...`

        `pieces.length` and `pieces.content_type` are known from the start. A stream that breaks off continues where it
        ended if a strong ETag shows that the server still has the same file; otherwise it ends with
        `IncompleteDownload`, since bytes that were passed on cannot be taken back. Any number of streams run at once.

        Args:
            timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
            attempts: how many attempts in a row may bring next to nothing before the stream has failed. The pauses
                between them grow: five attempts last for half a minute at least.
            max_bytes: the largest file that is accepted.
            allow_private: as for `download`.
            http: as for `download`.

        Raises:
            OutputExpired: the service has deleted the file.
            IncompleteDownload: the connection ended too early.
            DownloadError: anything else.
            ConfigurationError: an argument makes no sense.
        """
        options = DownloadOptions(
            timeout=timeout, attempts=attempts, max_bytes=max_bytes, allow_private=allow_private, http=http
        )
        async with self._fetch(options) as fetch:
            await fetch.start()
            yield VideoStream(fetch)

    # --- the lazy door of the room: aiohttp, and all that moves bytes, is imported when bytes are wanted ------

    async def _save(
        self, path: Path, options: DownloadOptions, *, overwrite: bool, resume: bool, progress: Progress | None
    ) -> Path:
        from .fetch import save

        size = await save(Source(self, options), path, overwrite=overwrite, resume=resume, progress=progress)
        logger.info("task %s: %d bytes downloaded to %s", self.id, size, path)
        return path

    def _fetch(self, options: DownloadOptions) -> Fetch:
        from .fetch import Fetch
        from .resume import Transfer

        return Fetch(Source(self, options), Transfer(may_restart=False, max_bytes=options.max_bytes))

    async def _content_length(self, options: DownloadOptions) -> int | None:
        """Return the bytes of the file, if the server states them now."""
        from .fetch import content_length

        return await content_length(Source(self, options))


class Source:
    """The file of one video on its server, and the errors that name it.

    Args:
        video: the video. No repr and no message shows the signature in its address.
        options: how to fetch it.
    """

    def __init__(self, video: Video, options: DownloadOptions) -> None:
        self.url: str = video.url
        self.task_id: str = video.id
        self.options = options
        self.http: aiohttp.ClientSession | None = options.http
        """The session of the caller that lends its connections; None for one of our own."""
        ties = video._ties
        if self.http is None and ties.http is not None and _is_usable(ties.http):
            self.http = ties.http
        self._renew = ties.renew
        """Asks for a fresh address; None when it has been asked."""
        self._was_renewed = False
        """Whether the service has given an address again, so that another refusal is no matter of a signature."""
        self.allow_private: bool = ties.allow_private if options.allow_private is None else options.allow_private
        self.name: str = f"the video of task {video.id}"
        """What messages call it."""
        self._video = video

    def is_fresh(self) -> bool:
        """Return whether the task ended so lately that its file may not be there yet."""
        return abs(self._age()) < FRESH_FOR

    async def renew(self) -> bool:
        """Ask for the task again, once; return whether it has another address now, which is used from now on."""
        renew, self._renew = self._renew, None
        if renew is None:
            return False
        url = await renew()
        self._was_renewed = url is not None
        if not url or url == self.url:
            return False
        logger.info("%s: its address has run out, and the service gave a fresh one", self.name)
        self.url = url
        return True

    def _age(self) -> timedelta:
        # By the service's clock: this machine's may be hours off.
        return datetime.now(UTC) + self._video._ties.clock_ahead - (self._video.expires_at - OUTPUT_KEPT_FOR)

    def failed(self, reason: str, status: int | None = None) -> DownloadError:
        """Return the error for a reason that no further attempt cures."""
        return DownloadError(f"{self.name} cannot be downloaded: {reason}", status=status)

    def not_public(self, host: str) -> DownloadError:
        """Return the error for a host that is not of the public internet."""
        return self.failed(
            f"{shorten(host)} is not of the public internet; allow_private=True is for a service in your own network"
        )

    def refused(self, status: int) -> DownloadError:
        """Return the error for a status that no further request cures."""
        age = self._age()
        # A negative age means that the two clocks disagree; then neither is relied on.
        known = self._video.details.completed_at is not None and age >= timedelta(0)
        # 410 is also how some servers answer when the signature of an address has run out.
        is_gone = age >= OUTPUT_KEPT_FOR if status in {403, 404} or (known and not self._was_renewed) else status == 410
        if status in {403, 404, 410} and is_gone:
            ago = f"it was finished {age.total_seconds() / 3600:.1f} hours ago, and " if known else ""
            return OutputExpired(
                f"{self.name} is gone: {ago}the service keeps a file for 24 hours",
                age=age if known else None,
                status=status,
            )
        return self.failed(f"status {status}", status)


def _is_usable(session: aiohttp.ClientSession) -> bool:
    """Return whether a caller's session is open, and of the running event loop."""
    return not session.closed and getattr(session, "_loop", None) is asyncio.get_running_loop()
