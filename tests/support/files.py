"""A server of one file like a CDN: with ranges and entity tags, and with every fault that a test needs."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aivideomaker_async import TaskDetails, TaskOutput, TaskStatus, Video
from tests.support.scripted import Action, Arrival, Handler, Reply, ScriptedService, scripted

CLIP = bytes(range(256)) * 4000


@dataclass
class FileHost:
    """A handler that serves `content` by its settings, which may be changed at any time."""

    content: bytes = CLIP
    etag: str | None = '"v1"'
    ranges: bool = True
    honors_if_range: bool = True
    before: list[Action] = field(default_factory=list)
    """Answers to the first requests."""
    cuts: list[int] = field(default_factory=list)
    """For each answer, the bytes of its body after which the connection breaks."""
    asked: list[Arrival] = field(default_factory=list)

    def __call__(self, arrival: Arrival) -> Action:
        self.asked.append(arrival)
        if self.before:
            return self.before.pop(0)
        start = self._start(arrival)
        headers = {"Content-Type": "video/mp4"} | ({} if self.etag is None else {"ETag": self.etag})
        if start is None:
            return Reply(200, self.content, headers, cut=self._cut(len(self.content)))
        size = len(self.content)
        if start >= size:
            return Reply(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        return Reply(206, self.content[start:], headers, cut=self._cut(size - start))

    def _start(self, arrival: Arrival) -> int | None:
        found = re.fullmatch(r"bytes=(\d+)-\d*", arrival.headers.get("range", ""))
        if found is None or not self.ranges:
            return None
        wanted = arrival.headers.get("if-range")
        if self.honors_if_range and wanted is not None and wanted != self.etag:
            return None
        return int(found[1])

    def _cut(self, length: int) -> int | None:
        cut = self.cuts.pop(0) if self.cuts else length
        return cut if cut < length else None

    def ranges_asked(self) -> list[str | None]:
        """Return the `Range` of each request."""
        return [arrival.headers.get("range") for arrival in self.asked]


def video_at(url: str, *, age: timedelta = timedelta(hours=1), task_id: str = "ck1", private: bool = True) -> Video:
    """Return a finished video whose file is at `url`."""
    completed_at = datetime.now(UTC) - age
    output = TaskOutput(url=url)
    details = TaskDetails(id=task_id, status=TaskStatus.COMPLETED, completed_at=completed_at, output=output)
    return Video.of(details, allow_private=private)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[ScriptedService, Video]]:
    """A service, and a video whose file it has under a URL with a signature."""
    async with scripted(handler) as service:
        yield service, video_at(f"{service.url}/v/ck1.mp4?signature=a%2Fb%3D")


async def names(folder: Path) -> list[str]:
    """Return the names in a folder."""
    return sorted(await asyncio.to_thread(os.listdir, folder))


async def content(path: Path) -> bytes:
    """Return the bytes of a file."""
    return await asyncio.to_thread(path.read_bytes)


def open_files(folder: Path) -> list[str]:
    """Return the files of a folder that this process has open, where the system reports them."""
    held = []
    for fd in Path("/proc/self/fd").glob("*"):
        try:
            target = str(fd.readlink())
        except OSError:
            continue
        if target.startswith(str(folder)):
            held.append(target)
    return held
