"""Download many videos into one folder: the one that the service deletes first goes first."""

from __future__ import annotations

import asyncio
import heapq
import os
import stat
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from .._util import callbacks, validation
from .._util.paths import expanded
from .._util.threads import DISK
from ..errors import DownloadError
from .names import is_plain_name, name_key, video_name
from .video import DownloadOptions, Video

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Downloaded", "VideoProgress", "download_all"]

MAX_CONCURRENCY: Final = 10_000

DESCRIPTORS_PER_DOWNLOAD: Final = 5
"""A connection, a part and its metadata, and what a lookup of a name takes."""

DESCRIPTORS_TAKEN: Final = 64
"""How many are open already, where that cannot be counted."""

VideoProgress: TypeAlias = Callable[[Video, int, int | None], object]
"""Called with the video, the bytes that have arrived, and the bytes expected (None when that is not known)."""


@frozen(kw_only=True)
class Downloaded:
    """The outcome of one video: a file, or an error."""

    video: Video
    path: Path | None = None
    """The file."""
    skipped: bool = False
    """Whether the file existed already and was left alone."""
    error: DownloadError | None = None

    def unwrap(self) -> Path:
        """Return the path of the file.

        Raises:
            DownloadError: the error, if the download failed.
        """
        if self.error is not None:
            raise self.error
        assert self.path is not None  # noqa: S101  (one of the two is there)
        return self.path


async def download_all(
    videos: Iterable[Video] | AsyncIterable[Video],
    directory: str | os.PathLike[str],
    *,
    concurrency: int = 4,
    overwrite: bool = False,
    name: Callable[[Video], str] | None = None,
    progress: VideoProgress | None = None,
    timeout: float = 60.0,
    allow_private: bool | None = None,
    http: aiohttp.ClientSession | None = None,
) -> list[Downloaded]:
    """Download many videos into a folder. Of those that wait, the one that the service deletes first goes first.

    One failure does not stop the others. What has arrived of a video is kept when its download fails, and when the call
    is cancelled or the process killed; the next call continues from there. An existing file with as many bytes as the
    video is left alone.

    Args:
        videos: what to download; also an async iterable that yields videos over time, as they are finished.
        directory: the folder. It is made if it does not exist.
        concurrency: how many downloads run at once; fewer where the process may not open as many files.
        overwrite: whether existing files are replaced.
        name: returns the name of a video's file in the folder; by default its id, made fit for all file systems, and
            `.mp4`.
        progress: called with the video, the bytes that have arrived, and the bytes expected (None when that is not
            known).
        timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
        allow_private: as for `Video.download`.
        http: as for `Video.download`.

    Returns:
        The outcome of each video, in the order in which they were given.

    Raises:
        DownloadError: the folder cannot be made.
        ConfigurationError: an argument makes no sense.
        Exception: an error of the iterable is raised when the videos before it are done; one of `name` or `progress`
            ends the call at once.
    """
    slots = asyncio.Semaphore(min(validation.count("concurrency", concurrency), await DISK.run(_affordable)))
    options = DownloadOptions(timeout=timeout, allow_private=allow_private, http=http)
    if name is not None:
        callbacks.check_plain("name", name)
    folder = expanded(directory)
    try:
        await DISK.run(partial(folder.mkdir, parents=True, exist_ok=True))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DownloadError(f"cannot make the folder {str(folder)!r}: {reason or error}") from error
    return await _Batch(folder, options, slots, overwrite=overwrite, name=name, progress=progress).run(videos)


class _Batch:
    """The videos of one call. Each has a task; a task that gets a slot downloads the most urgent video."""

    def __init__(
        self,
        folder: Path,
        options: DownloadOptions,
        slots: asyncio.Semaphore,
        *,
        overwrite: bool,
        name: Callable[[Video], str] | None,
        progress: VideoProgress | None,
    ) -> None:
        self._folder = folder
        self._options = options
        self._slots = slots
        self._overwrite = overwrite
        self._name = name
        self._progress = progress
        self._names: dict[str, str] = {}
        """Task ids by the `name_key` of their file."""
        self._outcomes: list[Downloaded | None] = []
        """In the order of the videos; None while a download is not done."""
        self._waiting: list[tuple[bool, datetime, int, Video, Path]] = []
        """A heap: whether the video has expired, when it does, its place among the videos, and its file."""

    async def run(self, videos: Iterable[Video] | AsyncIterable[Video]) -> list[Downloaded]:
        """Download the videos and return their outcomes."""
        iterator = aiter(videos) if isinstance(videos, AsyncIterable) else _one_by_one(videos)
        try:
            async with asyncio.TaskGroup() as group:
                failure = await self._take_in(iterator, group)
        except BaseExceptionGroup as errors:
            # Of `name`, of `progress` or of the caller's session; all others are in the outcomes.
            raise errors.exceptions[0] from None
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()
        if failure is not None:
            raise failure
        return [outcome for outcome in self._outcomes if outcome is not None]

    async def _take_in(self, videos: AsyncIterator[Video], group: asyncio.TaskGroup) -> Exception | None:
        """Start a task for each video as it comes. Returns the error of the iterable, if it ended with one."""
        while True:
            try:
                video = await anext(videos, None)
            except Exception as error:  # noqa: BLE001  (the caller's, raised when the videos before it are done)
                return error
            if video is None:
                return None
            if self._add(video):
                group.create_task(self._work(), name="aivideomaker_async.download_all")

    def _add(self, video: Video) -> bool:
        """Let a video wait. Returns whether it does; otherwise its outcome is an error."""
        index = len(self._outcomes)
        self._outcomes.append(None)
        name = video_name(video.id) if self._name is None else self._name(video)
        problem = None
        if not is_plain_name(name):
            problem = f"{name!r} is not the name of a file in a folder"
        elif (other := self._names.get(name_key(name))) is not None:
            problem = f"{name!r} is already the name of task {other}'s video"
        if problem is not None:
            error = DownloadError(f"the video of task {video.id} cannot be downloaded: {problem}")
            self._outcomes[index] = Downloaded(video=video, error=error)
            return False
        self._names[name_key(name)] = video.id
        # A video that has probably expired must not delay one that is about to.
        has_expired = video.expires_at <= datetime.now(UTC)
        heapq.heappush(self._waiting, (has_expired, video.expires_at, index, video, self._folder / name))
        return True

    async def _work(self) -> None:
        async with self._slots:
            _, _, index, video, path = heapq.heappop(self._waiting)
            self._outcomes[index] = await self._download(video, path)

    async def _download(self, video: Video, path: Path) -> Downloaded:
        progress = None if self._progress is None else partial(self._progress, video)
        try:
            if not self._overwrite and (size := await DISK.run(_size_of, path)) is not None:
                # An existing file is whole unless its size shows otherwise: no file has its name before.
                length = await video._content_length(self._options)
                if size == 0 or size != (length or size):
                    raise DownloadError(
                        f"{path} exists already, with {size} bytes, and the video has {length or 'more'}; "
                        "overwrite=True replaces it"
                    )
                return Downloaded(video=video, path=path, skipped=True)
            await video._save(path, self._options, overwrite=self._overwrite, resume=True, progress=progress)
        except DownloadError as error:
            return Downloaded(video=video, error=error)
        return Downloaded(video=video, path=path)


def _affordable() -> int:
    """Return how many downloads can run at once with the descriptors that this process may still open."""
    if sys.platform == "win32":
        return MAX_CONCURRENCY
    import resource

    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY:
        return MAX_CONCURRENCY
    try:
        taken = sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        taken = DESCRIPTORS_TAKEN
    return max(1, min(MAX_CONCURRENCY, (limit - taken) // DESCRIPTORS_PER_DOWNLOAD))


async def _one_by_one(videos: Iterable[Video]) -> AsyncGenerator[Video]:
    """Yield the videos without giving way to a download, so that the first to begin is the most urgent of all."""
    for video in videos:
        yield video


def _size_of(path: Path) -> int | None:
    """Return the bytes of a regular file, or None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        # If anything is wrong with the path, opening the part will raise it.
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
