"""Download many videos into one folder: the one that the service deletes first goes first."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from .._util import validation
from .._util.threads import DISK
from ..errors import DownloadError
from .names import is_plain_name, name_key, video_name
from .video import DownloadOptions, Video

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Downloaded", "VideoProgress", "download_all"]

VideoProgress: TypeAlias = Callable[[Video, int, int | None], object]
"""Called with the video, the bytes that have arrived, and the bytes expected (None when that is not known)."""

# The order of the queue: what has probably expired must not delay what is about to.
_IN_TIME: Final = 0
_EXPIRED: Final = 1
_END: Final = 2


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
        concurrency: how many downloads run at once.
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
    workers = validation.count("concurrency", concurrency)
    options = DownloadOptions(timeout=timeout, allow_private=allow_private, http=http)
    folder = Path(directory)
    try:
        await DISK.run(partial(folder.mkdir, parents=True, exist_ok=True))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DownloadError(f"cannot make the folder {str(folder)!r}: {reason or error}") from error
    batch = _Batch(folder, options, overwrite=overwrite, name=name, progress=progress)
    return await batch.run(videos, workers)


class _Batch:
    """The videos of one call, and the workers that download them."""

    def __init__(
        self,
        folder: Path,
        options: DownloadOptions,
        *,
        overwrite: bool,
        name: Callable[[Video], str] | None,
        progress: VideoProgress | None,
    ) -> None:
        self._folder = folder
        self._options = options
        self._overwrite = overwrite
        self._name = name
        self._progress = progress
        self._names: dict[str, str] = {}
        """Task ids by the `name_key` of their file."""
        self._outcomes: list[Downloaded | None] = []
        """In the order of the videos; None while a download is not done."""
        self._queue: asyncio.PriorityQueue[tuple[int, float, int, tuple[Video, Path] | None]] = asyncio.PriorityQueue()
        self._error: Exception | None = None
        """An error of the iterable."""

    async def run(self, videos: Iterable[Video] | AsyncIterable[Video], workers: int) -> list[Downloaded]:
        """Download the videos and return their outcomes."""
        if not isinstance(videos, AsyncIterable):
            for video in videos:
                self._add(video)
            self._end(workers)
        work = [self._work() for _ in range(workers)]
        if isinstance(videos, AsyncIterable):
            work.append(self._take_in(videos, workers))
        names = (f"aivideomaker_async.download_all-{number}" for number in range(len(work)))
        tasks = [asyncio.create_task(one, name=name) for one, name in zip(work, names, strict=True)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        errors = [error for task in tasks if not task.cancelled() and (error := task.exception()) is not None]
        if errors:
            raise errors[0]
        if self._error is not None:
            raise self._error
        return [outcome for outcome in self._outcomes if outcome is not None]

    async def _take_in(self, videos: AsyncIterable[Video], workers: int) -> None:
        """Queue videos as they come."""
        iterator = aiter(videos)
        try:
            while True:
                try:
                    video = await anext(iterator, None)
                except Exception as error:  # noqa: BLE001  (the caller's, raised when the videos before it are done)
                    self._error = error
                    break
                if video is None:
                    break
                self._add(video)
        finally:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()
        self._end(workers)

    def _add(self, video: Video) -> None:
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
            return
        self._names[name_key(name)] = video.id
        deadline = video.expires_at.timestamp()
        rank = _EXPIRED if deadline <= time.time() else _IN_TIME
        self._queue.put_nowait((rank, deadline, index, (video, self._folder / name)))

    def _end(self, workers: int) -> None:
        for number in range(workers):
            self._queue.put_nowait((_END, 0.0, number, None))

    async def _work(self) -> None:
        while True:
            _, _, index, job = await self._queue.get()
            if job is None:
                return
            self._outcomes[index] = await self._download(*job)

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


def _size_of(path: Path) -> int | None:
    """Return the bytes of a regular file, or None if there is none."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        # If anything is wrong with the path, opening the part will raise it.
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
