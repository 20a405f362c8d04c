"""Many videos into one folder, before the service deletes them: whose time is over first goes first."""

from __future__ import annotations

import asyncio
import os
import stat
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen

from .._util import validation as _checks
from .._util.threads import DISK
from ..errors import DownloadError
from .names import is_plain_name, name_key, video_name
from .video import Video, Way

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Downloaded", "VideoProgress", "download_all"]

VideoProgress: TypeAlias = Callable[[Video, int, int | None], object]
"""Called with the video, the bytes that are there so far, and the bytes expected (None when that is not known)."""

_IN_TIME: Final = 0
_EXPIRED: Final = 1
_END: Final = 2


@frozen(kw_only=True)
class Downloaded:
    """What became of one video: a file, or an error."""

    video: Video
    path: Path | None = None
    """The file."""
    skipped: bool = False
    """Whether the file was there already."""
    error: DownloadError | None = None

    def unwrap(self) -> Path:
        """The path of the file.

        Raises:
            DownloadError: the error, if that is what became of the video.
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
    """Download many videos into a folder. Of those that are known, the one goes first that the service deletes first.

    One failure does not stop the others. What has come of a video stays when it fails, and when the call is cancelled
    or the process killed: the next call goes on from there. A file that is there already, with as many bytes as the
    video, is left alone.

    Args:
        videos: what to download; also an async iterable that gives videos over time, as they are finished.
        directory: the folder. It is made if it is not there.
        concurrency: how many are downloaded at once.
        overwrite: whether files that are already there are replaced.
        name: gives the name of a video's file in the folder; by default its id, made fit for all file systems, and
            `.mp4`.
        progress: called with the video, the bytes that are there so far, and the bytes expected (None when that is not
            known).
        timeout: seconds to connect, and seconds without any data, after which an attempt has failed.
        allow_private: as for `Video.download`.
        http: as for `Video.download`.

    Returns:
        What became of each, in the order in which they were given.

    Raises:
        DownloadError: the folder cannot be made.
        ConfigurationError: an argument makes no sense.
        Exception: an error of the iterable is raised when what it gave before is done; one of `name` or `progress`
            ends the call at once.
    """
    count = _checks.count("concurrency", concurrency)
    way = Way(timeout=timeout, allow_private=allow_private, http=http)
    folder = Path(directory)
    await _make(folder)
    batch = _Batch(folder, way, overwrite=overwrite, name=name or _default_name, progress=progress)
    return await batch.run(videos, count)


def _default_name(video: Video) -> str:
    return video_name(video.id)


async def _make(folder: Path) -> None:
    try:
        await DISK.run(partial(folder.mkdir, parents=True, exist_ok=True))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise DownloadError(f"cannot make the folder {str(folder)!r}: {reason or error}") from error


@frozen
class _Job:
    index: int
    video: Video
    path: Path


class _Batch:
    """The videos of one call, and who downloads them."""

    def __init__(
        self,
        folder: Path,
        way: Way,
        *,
        overwrite: bool,
        name: Callable[[Video], str],
        progress: VideoProgress | None,
    ) -> None:
        self._folder = folder
        self._way = way
        self._overwrite = overwrite
        self._name = name
        self._progress = progress
        self._given = 0
        self._names: dict[str, str] = {}
        self._outcomes: dict[int, Downloaded] = {}
        self._queue: asyncio.PriorityQueue[tuple[int, float, int, _Job | None]] = asyncio.PriorityQueue()
        self._error: Exception | None = None

    async def run(self, videos: Iterable[Video] | AsyncIterable[Video], workers: int) -> list[Downloaded]:
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
        return [self._outcomes[index] for index in range(self._given)]

    async def _take_in(self, videos: AsyncIterable[Video], workers: int) -> None:
        iterator = aiter(videos)
        async with AsyncExitStack() as stack:
            if isinstance(iterator, AsyncGenerator):
                await stack.enter_async_context(aclosing(iterator))
            while (video := await self._next(iterator)) is not None:
                self._add(video)
        self._end(workers)

    async def _next(self, iterator: AsyncIterator[Video]) -> Video | None:
        try:
            return await anext(iterator, None)
        except Exception as error:  # noqa: BLE001  (the caller's, who gets it after what was given before)
            self._error = error
            return None

    def _add(self, video: Video) -> None:
        index, self._given = self._given, self._given + 1
        name = self._name(video)
        if not is_plain_name(name):
            problem: str | None = f"{name!r} is no name of a file in a folder"
        elif (other := self._names.get(name_key(name))) is not None:
            problem = f"{name!r} is already the name of task {other}'s video"
        else:
            problem = None
        if problem is not None:
            error = DownloadError(f"the video of task {video.id} cannot be downloaded: {problem}")
            self._outcomes[index] = Downloaded(video=video, error=error)
            return
        self._names[name_key(name)] = video.id
        deadline = video.expires_at.timestamp()
        # What is probably gone must not delay what is about to go.
        rank = _EXPIRED if deadline <= time.time() else _IN_TIME
        self._queue.put_nowait((rank, deadline, index, _Job(index, video, self._folder / name)))

    def _end(self, workers: int) -> None:
        for number in range(workers):
            self._queue.put_nowait((_END, 0.0, number, None))

    async def _work(self) -> None:
        while True:
            *_, job = await self._queue.get()
            if job is None:
                return
            self._outcomes[job.index] = await self._one(job)

    async def _one(self, job: _Job) -> Downloaded:
        video, path = job.video, job.path
        progress = None if self._progress is None else partial(self._progress, video)
        try:
            if not self._overwrite and (size := await DISK.run(_size_of, path)) is not None:
                return await self._compare(job, size)
            await video._save(path, self._way, overwrite=self._overwrite, resume=True, progress=progress)
        except DownloadError as error:
            return Downloaded(video=video, error=error)
        return Downloaded(video=video, path=path)

    async def _compare(self, job: _Job, size: int) -> Downloaded:
        """A file is there: it is left alone, and is right unless its size tells otherwise."""
        length = await job.video._length(self._way)
        if size == (length or size) and size > 0:
            return Downloaded(video=job.video, path=job.path, skipped=True)
        raise DownloadError(
            f"{job.path} exists already, with {size} bytes, and the video has {length or 'more'}; "
            "overwrite=True replaces it"
        )


def _size_of(path: Path) -> int | None:
    """Bytes of the file, if there is one."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        # What is wrong, if anything, is told when the file is to be made.
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
