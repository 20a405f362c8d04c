"""A download to a file: whole or not at all, continued where that is possible, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aivideomaker_async import DownloadError, IncompleteDownload, OutputExpired
from tests.support.cancelling import cancel_everywhere
from tests.support.files import CLIP, FileHost, content, names, open_files, serving, video_at
from tests.support.leaks import settle
from tests.support.scripted import Action, Raw, Reply, scripted
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio

KEPT = ["a.mp4.part", "a.mp4.part.json"]


# --- one download ------------------------------------------------------------------------------------


async def test_a_download_is_the_whole_file_under_its_name(tmp_path: Path) -> None:
    """Progress is in bytes."""
    progress: list[tuple[int, int | None]] = []
    async with serving(lambda _: Reply(body=CLIP)) as (_, video):
        path = await video.download(tmp_path / "a.mp4", progress=lambda *counts: progress.append(counts))
    assert path == tmp_path / "a.mp4"
    assert await content(path) == CLIP
    assert await names(tmp_path) == ["a.mp4"]
    assert sorted(progress) == progress
    assert progress[-1] == (len(CLIP), len(CLIP))


@pytest.mark.parametrize(
    "head", [b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"\r\nabc"], ids=["chunked", "until closed"]
)
async def test_a_file_of_unstated_length_is_downloaded(head: bytes, tmp_path: Path) -> None:
    totals: list[int | None] = []
    async with serving(lambda _: Raw(b"HTTP/1.1 200 OK\r\n" + head)) as (_, video):
        path = await video.download(tmp_path / "a.mp4", progress=lambda _, total: totals.append(total))
    assert await content(path) == b"abc"
    assert totals == [None]


@pytest.mark.parametrize(
    "action",
    [
        Reply(500),
        Reply(410),
        Reply(body=CLIP[:1000], cut=500),
        Reply(200, b"\x1f\x8b", {"Content-Encoding": "gzip", "ETag": '"v1"'}),
        Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1001)),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
async def test_a_download_that_fails_leaves_nothing(action: Action, resume: bool, tmp_path: Path) -> None:
    """No file under the name, and no part that could not be continued."""
    async with serving(lambda _: action) as (_, video):
        with pytest.raises(DownloadError):
            await video.download(tmp_path / "a.mp4", max_bytes=1000, resume=resume)
    assert await names(tmp_path) == []


@pytest.mark.parametrize("resume", [False, True])
async def test_an_error_of_the_system_names_the_path(resume: bool, tmp_path: Path) -> None:
    """Before anything is fetched, and with the error of the system as its cause."""
    (tmp_path / "file").touch()
    cases = {
        tmp_path / "nowhere" / "a.mp4": errno.ENOENT,
        tmp_path / "file" / "a.mp4": errno.ENOTDIR,
        tmp_path / ("a" * 300): errno.ENAMETOOLONG,
        tmp_path: errno.EISDIR,
    }
    async with serving(lambda _: Reply(body=CLIP)) as (service, video):
        for path, number in cases.items():
            with pytest.raises(DownloadError) as caught:
                await video.download(path, overwrite=True, resume=resume)
            assert str(caught.value) == f"cannot write {path}: {os.strerror(number)}"
            assert isinstance(caught.value.__cause__, OSError)
            assert caught.value.__cause__.errno == number
        with pytest.raises(DownloadError, match=r"cannot write .*null"):
            await video.download(tmp_path / "a\0b", resume=resume)
        with pytest.raises(DownloadError, match="exists already"):
            await video.download(tmp_path / "file", resume=resume)
    assert service.arrivals == []
    assert await names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ZeroDivisionError(), BrokenPipeError("the caller's own")])
async def test_an_error_of_the_progress_callback_ends_the_download(error: Exception, tmp_path: Path) -> None:
    """It is raised as it is, although an error of a connection looks the same."""

    def fail(*_: object) -> None:
        raise error

    async with serving(lambda _: Reply(body=CLIP)) as (_, video):
        with pytest.raises(type(error)) as caught:
            await video.download(tmp_path / "a.mp4", progress=fail)
    assert caught.value is error
    assert await names(tmp_path) == []


# --- a download that breaks off ----------------------------------------------------------------------


async def test_a_download_continues_where_it_broke_off(tmp_path: Path) -> None:
    """With the rest of the same version. An attempt that brings enough is none of the two that may fail."""
    host = FileHost(cuts=[300_000, 300_000, 300_000])
    progress: list[tuple[int, int | None]] = []
    async with serving(host) as (_, video):
        path = tmp_path / "a.mp4"
        await video.download(path, attempts=2, progress=lambda *counts: progress.append(counts))
    assert await content(path) == CLIP
    assert host.ranges_asked() == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert [one.headers.get("if-range") for one in host.asked] == [None, '"v1"', '"v1"', '"v1"']
    assert sorted(progress) == progress
    assert progress[-1] == (len(CLIP), len(CLIP))


@pytest.mark.parametrize(
    ("etag", "honors", "asked"),
    [
        ('"v1"', True, [None, "bytes=300000-"]),
        ('"v1"', False, [None, "bytes=300000-", None]),
        (None, True, [None, None]),
    ],
)
async def test_a_file_that_has_changed_or_may_have_begins_anew(
    etag: str | None, honors: bool, asked: list[str | None], tmp_path: Path
) -> None:
    """Nothing of the old one is in it, also if the server ignores `If-Range`. Progress starts over."""
    host = FileHost(etag=etag, honors_if_range=honors, cuts=[300_000])
    other = b"new" * 200_000
    progress: list[int] = []

    def change(received: int, _: int | None) -> None:
        progress.append(received)
        if received == 300_000 and host.content == CLIP:
            host.etag, host.content = etag and '"v2"', other

    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4", progress=change)
    assert host.ranges_asked() == asked
    assert await content(tmp_path / "a.mp4") == other
    assert sorted(progress) != progress


# --- a later download --------------------------------------------------------------------------------


async def test_a_later_download_continues_what_has_arrived(tmp_path: Path) -> None:
    """However the first one ended, and under another signature: signed addresses last for a while only."""
    host = FileHost(cuts=[300_000, 300_000])
    progress: list[int] = []
    async with scripted(host) as service:
        first, second, third = (video_at(f"{service.url}/v?sig={number}") for number in range(3))
        with pytest.raises(IncompleteDownload) as caught:
            await first.download(tmp_path / "a.mp4", resume=True, attempts=1)
        assert (caught.value.received, caught.value.expected) == (300_000, len(CLIP))
        assert await names(tmp_path) == KEPT
        with pytest.raises(ZeroDivisionError):
            await second.download(tmp_path / "a.mp4", resume=True, progress=lambda *_: 1 / 0)
        await third.download(tmp_path / "a.mp4", resume=True, progress=lambda received, _: progress.append(received))
    assert host.ranges_asked()[:2] == [None, "bytes=300000-"]
    assert progress[0] == 300_000
    assert await content(tmp_path / "a.mp4") == CLIP
    assert await names(tmp_path) == ["a.mp4"]


async def test_the_part_of_an_expired_file_is_removed(tmp_path: Path) -> None:
    host = FileHost(cuts=[300_000])
    async with serving(host) as (_, video):
        with pytest.raises(IncompleteDownload):
            await video.download(tmp_path / "a.mp4", resume=True, attempts=1)
        host.before = [Reply(410)]
        gone = video_at(video.url, age=timedelta(hours=25))
        with pytest.raises(OutputExpired):
            await gone.download(tmp_path / "a.mp4", resume=True)
    assert await names(tmp_path) == []


async def test_a_whole_part_is_not_fetched_again(tmp_path: Path) -> None:
    """Only the name was missing: another file had it."""
    host = FileHost()
    path = tmp_path / "a.mp4"

    def appear(received: int, _: int | None) -> None:
        if received == len(CLIP):
            path.touch()

    async with serving(host) as (_, video):
        with pytest.raises(DownloadError, match="exists already"):
            await video.download(path, resume=True, progress=appear)
        assert await names(tmp_path) == ["a.mp4", *KEPT]
        progress: list[tuple[int, int | None]] = []
        await video.download(path, resume=True, overwrite=True, progress=lambda *counts: progress.append(counts))
    assert progress == [(len(CLIP), len(CLIP))]
    assert len(host.asked) == 1
    assert await content(path) == CLIP
    assert await names(tmp_path) == ["a.mp4"]


KILLED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from aivideomaker_async import TaskDetails, TaskOutput, Video

url, path = sys.argv[1:]
details = TaskDetails(id="ck1", status="COMPLETED", completed_at=datetime.now(UTC), output=TaskOutput(url=url))

def progress(received, total):
    if received > 9_000_000:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Video.of(details, allow_private=True).download(path, resume=True, progress=progress))
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
async def test_a_download_continues_after_its_process_was_killed(tmp_path: Path) -> None:
    host = FileHost(content=CLIP * 10)
    async with serving(host) as (_, video):
        path = tmp_path / "a.mp4"
        run = partial(subprocess.run, [sys.executable, "-c", KILLED, video.url, str(path)], check=False)
        assert (await asyncio.to_thread(run)).returncode == -signal.SIGKILL
        assert await names(tmp_path) == KEPT
        await video.download(path, resume=True)
    (_, asked) = host.ranges_asked()
    assert asked is not None
    assert 8_000_000 < int(asked[6:-1]) < len(CLIP) * 10
    assert await content(path) == CLIP * 10
    assert await names(tmp_path) == ["a.mp4"]


# --- everything at once ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    ranges=st.booleans(),
    honors=st.booleans(),
    etag=st.sampled_from(["strong", "weak", "none"]),
    resume=st.booleans(),
)
def test_the_file_is_one_version_or_none(
    data: st.DataObject, ranges: bool, honors: bool, etag: str, resume: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Random breaks at random places, by any kind of server, while the file changes."""
    folder = tmp_path_factory.mktemp("files")
    contents = data.draw(st.lists(st.integers(1, 700_000), min_size=1, max_size=3))
    versions = [bytes([number + 1]) * size for number, size in enumerate(contents)]
    cuts = data.draw(st.lists(st.integers(0, 700_000), max_size=6))
    changes = data.draw(st.lists(st.booleans(), max_size=12))

    class Host(FileHost):
        def __call__(self, arrival: Any) -> Action:
            if changes and changes.pop() and len(versions) > 1:
                versions.pop(0)
            self.content = versions[0]
            tag = f'"{versions[0][0]}"'
            self.etag = {"strong": tag, "weak": f"W/{tag}", "none": None}[etag]
            return super().__call__(arrival)

    async def download() -> None:
        every = list(versions)
        async with serving(Host(ranges=ranges, honors_if_range=honors, cuts=list(cuts))) as (_, video):
            for _ in range(3):
                try:
                    await video.download(folder / "a.mp4", resume=resume, attempts=2)
                except DownloadError:
                    assert "a.mp4" not in await names(folder)
                    assert resume or await names(folder) == []
                else:
                    assert await content(folder / "a.mp4") in every
                    assert await names(folder) == ["a.mp4"]
                    break

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(download())


@pytest.mark.parametrize("resume", [False, True])
async def test_a_download_that_is_cancelled_anywhere_leaves_nothing(resume: bool, tmp_path: Path) -> None:
    """At each of its awaits: no file, no connection, no descriptor. A kept part can be continued."""
    host = FileHost(cuts=[300_000, len(CLIP)] * 1000)

    async def check() -> None:
        await settle()
        left = await names(tmp_path)
        if "a.mp4" in left:
            # It was cancelled while it got its name.
            assert await content(tmp_path / "a.mp4") == CLIP
            await asyncio.to_thread((tmp_path / "a.mp4").unlink)
            left.remove("a.mp4")
        assert left == [] or (resume and left == KEPT)
        assert await asyncio.to_thread(open_files, tmp_path) == []

    async with serving(host) as (service, video):
        await cancel_everywhere(lambda: video.download(tmp_path / "a.mp4", resume=resume), check, at_least=5)
        assert await content(tmp_path / "a.mp4") == CLIP
        await asyncio.sleep(1)
        assert service.connections == set()
