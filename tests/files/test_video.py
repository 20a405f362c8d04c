"""Getting the file: whole or not at all, with no key, and nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import time
import weakref
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aivideomaker_async import (
    AIVideoMaker,
    ConfigurationError,
    Disconnected,
    DownloadError,
    IncompleteDownload,
    OutputExpired,
    TextToVideo,
    Video,
    VideoStream,
    download_all,
)
from aivideomaker_async._files.part_file import PartFile
from aivideomaker_async._files.save import AT_ONCE
from aivideomaker_async._files.versions import Version, identify
from aivideomaker_async.simulator import Simulator
from tests.support.cancelling import cancel_everywhere
from tests.support.files import CLIP, FileHost, files, open_files, serving, video_at
from tests.support.leaks import settle
from tests.support.scripted import Action, Crowd, Drop, Hang, Raw, Reply, one_by_one, scripted
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio

PARTS = ["a.mp4.part", "a.mp4.part.json"]


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


async def content(path: Path) -> bytes:
    return await asyncio.to_thread(path.read_bytes)


async def names(folder: Path) -> list[str]:
    return await asyncio.to_thread(files, folder)


# --- a download --------------------------------------------------------------------------------------


async def test_a_download_is_the_whole_file_under_its_name(tmp_path: Path) -> None:
    """The bytes are the service's, the address is used as it was given, and no key travels."""
    async with serving(lambda _: Reply(body=CLIP)) as (service, video):
        path = await video.download(tmp_path / "a.mp4")
    assert path == tmp_path / "a.mp4"
    assert await content(path) == CLIP
    assert await names(tmp_path) == ["a.mp4"]
    assert service.arrivals[0].path == "/v/ck1.mp4?signature=a%2Fb%3D"
    assert "key" not in service.arrivals[0].headers


async def test_progress_is_told_in_bytes(tmp_path: Path) -> None:
    """Received so far, and expected; the last call is the whole."""
    told: list[tuple[int, int | None]] = []
    async with serving(lambda _: Reply(body=CLIP)) as (_, video):
        await video.download(tmp_path / "a.mp4", progress=lambda received, total: told.append((received, total)))
    assert told[-1] == (len(CLIP), len(CLIP))
    assert sorted(told) == told


async def test_a_length_that_is_not_told_is_no_obstacle(tmp_path: Path) -> None:
    """Chunked bodies have none."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    told: list[int | None] = []
    async with serving(lambda _: Raw(chunked)) as (_, video):
        path = await video.download(tmp_path / "a.mp4", progress=lambda _, total: told.append(total))
    assert await content(path) == b"abc"
    assert told == [None]


@pytest.mark.parametrize("age", [timedelta(hours=1), timedelta(hours=25)])
async def test_a_file_that_is_gone_is_told_with_its_age(age: timedelta, tmp_path: Path) -> None:
    """410 always says so; 404 and 403 do when the 24 hours are over."""
    for status in (410, 404, 403):
        async with scripted(lambda _, status=status: Reply(status)) as service:  # type: ignore[misc]
            video = video_at(f"{service.url}/v", age=age)
            for call in (lambda: video.download(tmp_path / "a.mp4"), lambda: first_piece(video)):  # noqa: B023
                with pytest.raises(DownloadError) as caught:
                    await call()
                expired = status == 410 or age > timedelta(hours=24)
                assert isinstance(caught.value, OutputExpired) is expired
                if isinstance(caught.value, OutputExpired):
                    assert caught.value.age is not None and abs(caught.value.age - age) < timedelta(minutes=1)
                    assert f"it was finished {age.total_seconds() / 3600:.1f} hours ago" in str(caught.value)
        assert len(service.arrivals) == 2, "asking again would not help"
    assert await names(tmp_path) == []


async def first_piece(video: Video) -> bytes:
    async with video.stream() as pieces:
        return await anext(pieces)


async def test_an_age_that_is_not_known_is_not_told(tmp_path: Path) -> None:
    """The service has not said when the task was finished."""
    async with serving(lambda _: Reply(410)) as (_, video):
        video = Video.of(evolve(video.details, completed_at=None), allow_private=True)
        with pytest.raises(OutputExpired, match="is gone: the service keeps a file for 24 hours") as caught:
            await video.download(tmp_path / "a.mp4")
    assert caught.value.age is None


async def test_an_age_is_never_negative(tmp_path: Path) -> None:
    """Finished in the future, it says: the clocks are apart, and nobody knows which of them is right."""
    async with serving(lambda _: Reply(410)) as (_, video):
        video = video_at(video.url, age=timedelta(days=-365))
        with pytest.raises(OutputExpired, match="is gone: the service keeps a file for 24 hours") as caught:
            await video.download(tmp_path / "a.mp4")
    assert caught.value.age is None


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Drop(), DownloadError),
        (Hang(), DownloadError),
        (Reply(500), DownloadError),
        (Reply(400), DownloadError),
        (Reply(304), DownloadError),
        (Reply(204), DownloadError),
        (Reply(206, b"abc"), DownloadError),
        (Reply(206, b"abc", {"Content-Range": "bytes 1-3/4"}), DownloadError),
        (Reply(416), DownloadError),
        (Reply(body=b""), DownloadError),
        (Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), DownloadError),
        (Reply(body=CLIP, cut=1000), IncompleteDownload),
        (Reply(206, b"abc", {"Content-Range": "bytes 0-2/4"}), IncompleteDownload),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), IncompleteDownload),
        (Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), IncompleteDownload),
        (Raw(b"nonsense"), DownloadError),
    ],
)
@pytest.mark.parametrize("resume", [False, True])
async def test_a_download_that_breaks_leaves_nothing(
    action: Action, kind: type[Exception], resume: bool, tmp_path: Path
) -> None:
    """No file under the name, and no part of one that could not be taken up again."""
    async with serving(lambda _: action) as (_, video):
        with pytest.raises(DownloadError) as caught:
            await video.download(tmp_path / "a.mp4", timeout=5, resume=resume)
    assert type(caught.value) is kind
    assert "signature" not in str(caught.value)
    assert await names(tmp_path) == []


async def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    """Refused before anything is fetched; replaced when asked; kept when the replacing fails."""
    path = tmp_path / "a.mp4"
    await asyncio.to_thread(path.write_bytes, b"mine")
    async with serving(one_by_one([Reply(body=CLIP, cut=9), Reply(body=CLIP)])) as (service, video):
        with pytest.raises(DownloadError, match="exists already"):
            await video.download(path)
        assert service.arrivals == []
        with pytest.raises(IncompleteDownload):
            await video.download(path, overwrite=True, attempts=1)
        assert await content(path) == b"mine"
        await video.download(path, overwrite=True)
    assert await content(path) == CLIP
    assert await names(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("resume", [False, True])
async def test_a_path_that_cannot_be_written_is_named(resume: bool, tmp_path: Path) -> None:
    """With the system's own words, and before anything is fetched."""
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
        with pytest.raises(DownloadError, match=r"cannot write .*null"):
            await video.download(tmp_path / "a\0b", resume=resume)
    assert service.arrivals == []
    assert await names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="no such limit there")
async def test_a_disk_that_takes_no_more_is_named(tmp_path: Path) -> None:
    """What the system has against it is told with the path, and nothing stays."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with serving(FileHost()) as (_, video):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(CLIP) // 2, hard))
            with pytest.raises(DownloadError) as caught:
                await video.download(tmp_path / "a.mp4")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value) == f"cannot write {tmp_path / 'a.mp4'}: File too large"
    assert await names(tmp_path) == []


async def test_an_error_of_the_progress_callback_stops_the_download(tmp_path: Path) -> None:
    """It is the caller's, and it leaves nothing behind."""
    async with serving(lambda _: Reply(body=CLIP)) as (_, video):
        with pytest.raises(ZeroDivisionError):
            await video.download(tmp_path / "a.mp4", progress=lambda *_: 1 / 0)
        with pytest.raises(BrokenPipeError):
            await video.download(tmp_path / "a.mp4", progress=_complain)
        with pytest.raises(Disconnected, match="of another request"):
            async with video.stream():
                raise Disconnected("of another request", method="GET", path="/")
    assert await names(tmp_path) == []


def _complain(*_: object) -> None:
    raise BrokenPipeError("the caller's own")


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 0}, {"timeout": "60"}, {"attempts": 0}, {"attempts": 2.0}, {"max_bytes": 0}, {"max_bytes": None}],
)
async def test_arguments_that_make_no_sense_are_named(arguments: dict[str, Any], tmp_path: Path) -> None:
    """Before anything is done."""
    video = video_at("http://127.0.0.1:9/")
    (name,) = arguments
    with pytest.raises(ConfigurationError, match=name):
        await video.download(tmp_path / "a.mp4", **arguments)
    with pytest.raises(ConfigurationError, match=name):
        async with video.stream(**arguments):
            pass


async def test_a_session_of_the_caller_is_used_and_left_open(tmp_path: Path) -> None:
    """For proxies and certificates."""
    async with serving(lambda _: Reply(body=CLIP)) as (proxy, _):
        async with aiohttp.ClientSession(proxy=proxy.url) as http:
            await video_at("http://cdn.example/v").download(tmp_path / "a.mp4", http=http)
            assert not http.closed
        assert proxy.arrivals[0].path == "http://cdn.example/v"
        with pytest.raises(ConfigurationError, match="closed"):
            await video_at("http://cdn.example/v").download(tmp_path / "b.mp4", http=http)
    assert await names(tmp_path) == ["a.mp4"]


# --- what breaks off is taken up again ---------------------------------------------------------------


async def test_what_breaks_off_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    """By the rest of the same file, under its validator; as often as it takes."""
    host = FileHost(cuts=[300_000, 0, 400_000])
    told: list[tuple[int, int | None]] = []
    async with serving(host) as (_, video):
        path = await video.download(tmp_path / "a.mp4", progress=lambda *progress: told.append(progress))
    assert await content(path) == CLIP
    assert host.ranges_asked() == [None, "bytes=300000-", "bytes=300000-", "bytes=700000-"]
    assert [one.headers.get("if-range") for one in host.asked] == [None, '"v1"', '"v1"', '"v1"']
    assert sorted(told) == told
    assert told[-1] == (len(CLIP), len(CLIP))


async def test_a_date_will_do_as_a_validator(tmp_path: Path) -> None:
    """If it is older than the answer."""
    modified = "Mon, 02 Mar 2026 08:00:00 GMT"
    host = FileHost(etag=None, last_modified=modified, date="Mon, 02 Mar 2026 09:00:00 GMT", cuts=[300_000])
    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4")
    assert host.ranges_asked() == [None, "bytes=300000-"]
    assert host.asked[1].headers["if-range"] == modified
    assert await content(tmp_path / "a.mp4") == CLIP


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
async def test_what_cannot_be_known_again_is_begun_anew(etag: str | None, tmp_path: Path) -> None:
    """Without a strong validator no part is asked for."""
    host = FileHost(etag=etag, cuts=[300_000])
    told: list[int] = []
    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4", progress=lambda received, _: told.append(received))
    assert host.ranges_asked() == [None, None]
    assert await content(tmp_path / "a.mp4") == CLIP
    assert sorted(told) != told, "the progress starts over, as the file does"


async def test_a_server_without_parts_sends_it_all_again(tmp_path: Path) -> None:
    """The file is right, and what was there is not written twice."""
    host = FileHost(ranges=False, cuts=[300_000, 500_000])
    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4")
    assert await content(tmp_path / "a.mp4") == CLIP


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize("other", [b"new" * 200_000, b"n" * len(CLIP)])
async def test_a_file_that_changes_is_begun_anew(heeds_if_range: bool, other: bytes, tmp_path: Path) -> None:
    """Also when the server does not heed the validator, and when it is as long as the old one."""
    host = FileHost(cuts=[300_000], heeds_if_range=heeds_if_range)

    def change(received: int, _: int | None) -> None:
        if received == 300_000 and host.etag == '"v1"':
            host.etag, host.content = '"v2"', other

    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4", progress=change)
    assert await content(tmp_path / "a.mp4") == other


@pytest.mark.parametrize("other", [b"n" * len(CLIP), CLIP])
async def test_a_part_that_does_not_tell_its_version_is_not_used(other: bytes, tmp_path: Path) -> None:
    """It may be of another file that is as long: a server of the same CDN has it already, and heeds no validator."""
    host = FileHost(cuts=[300_000, len(CLIP), len(CLIP), 300_000], heeds_if_range=False, parts_tell=False)

    def change(received: int, _: int | None) -> None:
        if received == 300_000:
            host.content = other

    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4", progress=change)
        assert host.ranges_asked() == [None, "bytes=300000-", None]
        with pytest.raises(IncompleteDownload, match="has changed meanwhile, or the server does not tell"):
            async with video.stream() as pieces:
                await all_of(pieces)
    assert await content(tmp_path / "a.mp4") == other


async def test_a_restart_of_the_server_is_survived(tmp_path: Path) -> None:
    """Also one that takes half a minute, in the midst of a download or of many."""
    loop = asyncio.get_running_loop()
    host, until = FileHost(cuts=[300_000]), [0.0]

    def handle(arrival: Any) -> Action:
        return host(arrival) if loop.time() >= until[0] else Drop()

    def restart(received: int, _: int | None) -> None:
        if received == 300_000:
            until[0] = loop.time() + 30

    async with serving(handle) as (_, video):
        await video.download(tmp_path / "a.mp4", progress=restart)
        until[0] = loop.time() + 30
        videos = [evolve(video, id=f"ck{number}") for number in range(5)]
        outcomes = await download_all(videos, tmp_path, concurrency=2)
    assert host.ranges_asked()[:2] == [None, "bytes=300000-"]
    assert await content(tmp_path / "a.mp4") == CLIP
    assert [outcome.error for outcome in outcomes] == [None] * 5


async def test_a_server_that_is_busy_is_asked_when_it_wants_to_be(tmp_path: Path) -> None:
    """But not later than in a minute."""
    loop = asyncio.get_running_loop()
    for asked, least, most in (("20", 20, 25), ("86400", 60, 65), (None, 0, 5)):
        headers = {} if asked is None else {"Retry-After": asked}
        host = FileHost(before=[Reply(503, headers=headers), Reply(429)])
        began = loop.time()
        async with serving(host) as (_, video):
            await video.download(tmp_path / "a.mp4", overwrite=True)
        assert least <= loop.time() - began <= most
    assert await content(tmp_path / "a.mp4") == CLIP


async def test_attempts_that_bring_nothing_come_to_an_end(tmp_path: Path) -> None:
    """With pauses between them; the last failure is told."""
    loop = asyncio.get_running_loop()
    for action, kind, problem in (
        (Reply(503), DownloadError, "status 503"),
        (Drop(), DownloadError, "disconnected"),
        (Reply(body=CLIP, cut=100), IncompleteDownload, f"ended after 100 of {len(CLIP)} bytes"),
    ):
        began = loop.time()
        async with serving(lambda _, action=action: action) as (service, video):  # type: ignore[misc]
            with pytest.raises(DownloadError, match=problem) as caught:
                await video.download(tmp_path / "a.mp4", attempts=3)
        assert type(caught.value) is kind
        assert len(service.arrivals) == 3
        assert loop.time() > began


async def test_attempts_that_bring_something_do_not_count(tmp_path: Path) -> None:
    """A large file over a bad line arrives in the end."""
    host = FileHost(content=CLIP * 4, cuts=[300_000] * 12)
    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4", attempts=2)
    assert len(host.asked) == 13
    assert await content(tmp_path / "a.mp4") == CLIP * 4


async def test_parts_in_slices_are_put_together(tmp_path: Path) -> None:
    """Some servers give no more than so many bytes at once; that is no failure."""
    data = CLIP[:50_000]

    def handle(arrival: Any) -> Action:
        start = int(arrival.headers.get("range", "bytes=0-")[6:-1])
        stop = min(start + 1000, len(data))
        return Reply(206, data[start:stop], {"ETag": '"v1"', "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})

    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serving(handle) as (service, video):
        await video.download(tmp_path / "a.mp4", attempts=1)
    assert len(service.arrivals) == 50
    assert loop.time() - began < 1
    assert await content(tmp_path / "a.mp4") == data


async def test_a_body_that_ends_with_the_connection_may_have_been_cut(tmp_path: Path) -> None:
    """It is asked whether there is more."""
    head = b'HTTP/1.1 200 OK\r\nETag: "v1"\r\n\r\n'
    host = FileHost(before=[Raw(head + CLIP[:1000])])
    async with serving(host) as (_, video):
        await video.download(tmp_path / "a.mp4", attempts=1)
    assert await content(tmp_path / "a.mp4") == CLIP
    assert host.ranges_asked() == [None, "bytes=1000-"]
    host = FileHost(before=[Raw(head + CLIP)])
    async with serving(host) as (_, video):
        await video.download(tmp_path / "b.mp4", attempts=1)
    assert await content(tmp_path / "b.mp4") == CLIP
    assert host.ranges_asked() == [None, f"bytes={len(CLIP)}-"]


async def test_more_bytes_than_told_are_an_error(tmp_path: Path) -> None:
    """They would be written behind the end of the file."""
    head = b'HTTP/1.1 206 X\r\nETag: "v1"\r\nContent-Range: bytes 0-2/3\r\nTransfer-Encoding: chunked\r\n\r\n'
    async with serving(lambda _: Raw(head + b"4\r\nabcd\r\n0\r\n\r\n")) as (_, video):
        with pytest.raises(DownloadError, match="more came than the 3 bytes"):
            await video.download(tmp_path / "a.mp4")
    assert await names(tmp_path) == []


async def test_an_endless_answer_is_refused(tmp_path: Path) -> None:
    """By the length that it tells, before anything is read; or by what comes."""
    async with serving(FileHost()) as (_, video):
        with pytest.raises(DownloadError, match=f"it has {len(CLIP)} bytes, more than 1000"):
            await video.download(tmp_path / "a.mp4", max_bytes=1000)
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 0x400 + b"\r\n"
    async with serving(lambda _: Raw(endless)) as (_, video):
        with pytest.raises(DownloadError, match="it has more than 1000 bytes"):
            await video.download(tmp_path / "a.mp4", max_bytes=1000)
        with pytest.raises(DownloadError, match="it has more than 1000 bytes"):
            async with video.stream(max_bytes=1000) as pieces:
                await anext(pieces)
    assert await names(tmp_path) == []


PACKED = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xffKLJ\x06\x00\xc2A$5\x03\x00\x00\x00"


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        *(("gzip", PACKED), ("x-gzip", PACKED), ("gzip, gzip", PACKED), ("compress", PACKED), ("gzip", PACKED[:15])),
        *(("br", b"abc"), ("zstd", b"abc"), ("deflate", b"abc")),
    ],
)
async def test_a_packed_answer_is_refused(coding: str, body: bytes, tmp_path: Path) -> None:
    """It was not asked for. Not all codings can be unpacked, and where one was cut may be unknown."""
    async with serving(lambda _: Reply(200, body, {"Content-Encoding": coding, "ETag": '"v1"'})) as (service, video):
        with pytest.raises(DownloadError, match=f"it came compressed \\({coding}\\)"):
            await video.download(tmp_path / "a.mp4")
        with pytest.raises(DownloadError, match="it came compressed"):
            await first_piece(video)
    assert len(service.arrivals) == 2, "asking again would not help"
    assert await names(tmp_path) == []


# --- taking up the download of before ----------------------------------------------------------------


async def test_a_later_download_goes_on_from_what_has_come(tmp_path: Path) -> None:
    """When that was asked for; whatever ended the first."""
    host = FileHost(cuts=[300_000, 300_000])
    async with serving(host) as (_, video):
        with pytest.raises(IncompleteDownload) as caught:
            await video.download(tmp_path / "a.mp4", resume=True, attempts=1)
        assert (caught.value.received, caught.value.expected) == (300_000, len(CLIP))
        assert await names(tmp_path) == PARTS
        with pytest.raises(ZeroDivisionError):
            await video.download(tmp_path / "a.mp4", resume=True, progress=lambda *_: 1 / 0)
        told: list[int] = []
        await video.download(tmp_path / "a.mp4", resume=True, progress=lambda received, _: told.append(received))
    assert host.ranges_asked()[:2] == [None, "bytes=300000-"]
    assert told[0] == 300_000
    assert await content(tmp_path / "a.mp4") == CLIP
    assert await names(tmp_path) == ["a.mp4"]


async def test_a_later_download_under_another_signature_goes_on(tmp_path: Path) -> None:
    """Signed addresses last for a while only. Of another task, nothing is taken."""
    host = FileHost(cuts=[300_000])
    async with scripted(host) as service:
        with pytest.raises(IncompleteDownload):
            await video_at(f"{service.url}/v?sig=1").download(tmp_path / "a.mp4", resume=True, attempts=1)
        await video_at(f"{service.url}/v?sig=2").download(tmp_path / "a.mp4", resume=True)
        assert host.ranges_asked() == [None, "bytes=300000-"]
        host.cuts = [300_000]
        with pytest.raises(IncompleteDownload):
            await video_at(f"{service.url}/v").download(tmp_path / "b.mp4", resume=True, attempts=1)
        await video_at(f"{service.url}/v", task_id="ck2").download(tmp_path / "b.mp4", resume=True)
        assert host.ranges_asked()[2:] == [None, None]
    assert await content(tmp_path / "b.mp4") == CLIP


async def test_a_part_of_a_file_that_is_gone_is_gone(tmp_path: Path) -> None:
    """It will never be whole."""
    host = FileHost(cuts=[300_000])
    async with serving(host) as (_, video):
        with pytest.raises(IncompleteDownload):
            await video.download(tmp_path / "a.mp4", resume=True, attempts=1)
        host.before = [Reply(410)]
        with pytest.raises(OutputExpired):
            await video.download(tmp_path / "a.mp4", resume=True)
    assert await names(tmp_path) == []


async def test_all_that_was_missing_was_the_name(tmp_path: Path) -> None:
    """Nothing is asked for any more."""
    host = FileHost()
    path = tmp_path / "a.mp4"

    def appear(received: int, _: int | None) -> None:
        if received == len(CLIP):
            path.touch()

    async with serving(host) as (_, video):
        with pytest.raises(DownloadError, match="exists already"):
            await video.download(path, resume=True, progress=appear)
        assert await names(tmp_path) == ["a.mp4", *PARTS]
        told: list[tuple[int, int | None]] = []
        await video.download(path, resume=True, overwrite=True, progress=lambda *progress: told.append(progress))
    assert told == [(len(CLIP), len(CLIP))]
    assert len(host.asked) == 1
    assert await content(path) == CLIP
    assert await names(tmp_path) == ["a.mp4"]


async def test_two_downloads_to_one_place_do_not_mix(tmp_path: Path) -> None:
    """Each has a part of its own; or, where it is kept, the second is told that there is a first."""
    path = tmp_path / "a.mp4"
    async with serving(FileHost()) as (_, video):
        await asyncio.gather(*(video.download(path, overwrite=True) for _ in range(3)))
        assert await content(path) == CLIP
        outcomes = await asyncio.gather(
            *(video.download(path, overwrite=True, resume=True) for _ in range(3)), return_exceptions=True
        )
    assert sum(outcome == path for outcome in outcomes) >= 1
    refused = [str(outcome) for outcome in outcomes if isinstance(outcome, DownloadError)]
    assert set(refused) <= {f"another download is writing {path}"}
    assert len(refused) == 2
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
async def test_a_download_goes_on_after_its_process_was_killed(tmp_path: Path) -> None:
    """From what was surely on disk, in another process; its lock is gone with it."""
    host = FileHost(content=CLIP * 10)
    async with serving(host) as (_, video):
        path = tmp_path / "a.mp4"
        run = partial(subprocess.run, [sys.executable, "-c", KILLED, video.url, str(path)], check=False)
        assert (await asyncio.to_thread(run)).returncode == -signal.SIGKILL
        assert await names(tmp_path) == PARTS
        await video.download(path, resume=True)
    (_, asked) = host.ranges_asked()
    assert asked is not None
    assert 4 * 1024**2 <= int(asked[6:-1]) < len(CLIP) * 10
    assert await content(path) == CLIP * 10
    assert await names(tmp_path) == ["a.mp4"]


# --- everything at once ------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    ranges=st.booleans(),
    heeds=st.booleans(),
    etag=st.sampled_from(["strong", "weak", "none"]),
    resume=st.booleans(),
)
def test_the_file_is_one_version_or_none(
    data: st.DataObject, ranges: bool, heeds: bool, etag: str, resume: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Random breaks at random places, by any kind of server, while the file changes: never a mix."""
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
        async with serving(Host(ranges=ranges, heeds_if_range=heeds, cuts=list(cuts))) as (_, video):
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
    """At each of its awaits: no file, no connection, nothing open. What is kept on demand is of use."""
    host = FileHost(cuts=[300_000, len(CLIP)] * 1000)

    async def check() -> None:
        await settle()
        left = await names(tmp_path)
        if "a.mp4" in left:
            # It was cancelled while it was given its name, and is whole.
            assert await content(tmp_path / "a.mp4") == CLIP
            await asyncio.to_thread((tmp_path / "a.mp4").unlink)
            left.remove("a.mp4")
        assert left == [] or (resume and left == PARTS)
        assert await asyncio.to_thread(open_files, tmp_path) == []

    async with serving(host) as (service, video):
        await cancel_everywhere(lambda: video.download(tmp_path / "a.mp4", resume=resume), check, at_least=5)
        assert await content(tmp_path / "a.mp4") == CLIP
        await asyncio.sleep(1)
        assert service.connections == set()


async def test_only_so_many_downloads_run_at_once(tmp_path: Path) -> None:
    """A gather over hundreds opens no hundreds of connections; streams are not counted."""
    async with serving(crowd := Crowd()) as (_, video):
        await asyncio.gather(*(video.download(tmp_path / f"{number}.mp4") for number in range(30)))
        assert crowd.most == AT_ONCE
        await asyncio.gather(*(first_piece(video) for _ in range(30)))
        assert crowd.most == 30
    assert len(await names(tmp_path)) == 30


def test_each_event_loop_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """What one loop waits for keeps no other waiting, and no loop is kept alive by it."""
    loops = []
    for number in range(2):

        async def download(number: int = number) -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            async with serving(lambda _: Reply(body=b"x")) as (_, video):
                await asyncio.gather(*(video.download(tmp_path / f"{number}-{n}") for n in range(AT_ONCE + 1)))

        asyncio.run(download())
    # The threads of a loop end a little later than it does.
    deadline = time.monotonic() + 10
    while any(loop() is not None for loop in loops) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert [loop() for loop in loops] == [None, None]


# --- a stream ----------------------------------------------------------------------------------------


async def all_of(pieces: VideoStream) -> bytes:
    return b"".join([piece async for piece in pieces])


async def test_a_stream_gives_the_bytes_as_they_arrive() -> None:
    """For a backend that passes them on; leaving it early closes the connection."""
    async with serving(FileHost()) as (service, video):
        async with video.stream() as pieces:
            assert (pieces.length, pieces.content_type) == (len(CLIP), "video/mp4")
            assert hashlib.md5(await all_of(pieces)).digest() == hashlib.md5(CLIP).digest()  # noqa: S324
            with pytest.raises(StopAsyncIteration):
                await anext(pieces)
        async with video.stream() as pieces:
            await anext(aiter(pieces))
        await asyncio.sleep(1)
        assert service.connections == set()
        with pytest.raises(RuntimeError, match="inside its `async with`"):
            await anext(pieces)


async def test_what_the_server_does_not_tell_is_none() -> None:
    """A page is no video, whatever a server says."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with serving(lambda _: Raw(chunked)) as (_, video), video.stream() as pieces:
        assert (pieces.length, pieces.content_type) == (None, None)
        assert await all_of(pieces) == b"abc"


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_stream_that_breaks_is_taken_up_again(ranges: bool) -> None:
    """Its reader notices nothing."""
    async with serving(FileHost(cuts=[5000, 300_000, 700_000], ranges=ranges)) as (_, video):
        async with video.stream() as pieces:
            assert await all_of(pieces) == CLIP


async def test_a_stream_that_cannot_be_taken_up_again_says_so() -> None:
    """Who passes on bytes must know that some are missing."""
    for host, requests in ((FileHost(etag=None, cuts=[5000]), 1), (FileHost(cuts=[5000, 0, 0]), 2)):
        async with serving(host) as (_, video):
            with pytest.raises(IncompleteDownload) as caught:
                async with video.stream(attempts=2) as pieces:
                    await all_of(pieces)
        assert (caught.value.received, caught.value.expected) == (5000, len(CLIP))
        assert len(host.asked) == requests, "what cannot help is not tried"


@pytest.mark.parametrize("heeds_if_range", [True, False])
async def test_a_stream_is_of_one_version(heeds_if_range: bool) -> None:
    """What has been passed on cannot be taken back."""
    host = FileHost(cuts=[5000], heeds_if_range=heeds_if_range)
    async with serving(host) as (_, video):
        with pytest.raises(IncompleteDownload, match="the file has changed meanwhile"):
            async with video.stream() as pieces:
                await anext(pieces)
                host.etag = '"v2"'
                await all_of(pieces)


async def test_a_stream_that_is_cancelled_anywhere_holds_nothing() -> None:
    """No connection stays, and no session."""
    host = FileHost(content=CLIP[:1000], cuts=[500, 1000] * 1000)

    async def stream() -> None:
        async with video.stream() as pieces:
            assert await all_of(pieces) == CLIP[:1000]

    async with serving(host) as (service, video):
        await cancel_everywhere(stream, settle, at_least=5)
        await asyncio.sleep(1)
        gc.collect()
        assert service.connections == set()


# --- where it may be ---------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ftp://example.com/a", "file:///etc/passwd", "", "/a.mp4"])
async def test_only_http_urls_are_fetched(url: str, tmp_path: Path) -> None:
    """The address comes from a server's answer, and is not trusted."""
    with pytest.raises(DownloadError, match="no http"):
        await video_at(url).download(tmp_path / "a.mp4")
    assert await names(tmp_path) == []


async def test_a_private_address_is_refused_unless_allowed(tmp_path: Path) -> None:
    """By the video, which knows where the service was, or by the caller."""
    async with serving(FileHost()) as (service, allowed):
        refused = video_at(allowed.url, private=False)
        by_hand = Video(id="x", url=allowed.url, details=allowed.details, expires_at=allowed.expires_at)
        for call in (refused.download, by_hand.download, partial(allowed.download, allow_private=False)):
            with pytest.raises(DownloadError, match="not of the public internet"):
                await call(tmp_path / "a.mp4")
        with pytest.raises(DownloadError, match="not of the public internet"):
            await first_piece(refused)
        assert service.arrivals == []
        await refused.download(tmp_path / "a.mp4", allow_private=True)
        async with refused.stream(allow_private=True) as pieces:
            assert await all_of(pieces) == CLIP


@pytest.mark.parametrize(
    ("base_url", "private"),
    [
        ("https://aivideomaker.ai", False),
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080/api", True),
        ("http://[::1]:8080", True),
        ("http://simulator:8080", True),
        ("http://192.168.1.5", True),
        ("https://8.8.8.8", False),
    ],
)
async def test_the_address_of_the_service_decides(base_url: str, private: bool) -> None:
    """A service in one's own network may have its files there."""
    details = video_at("http://127.0.0.1:9/v").details
    async with AIVideoMaker("ak_test", base_url=base_url, allow_http=True) as client:
        video = client._handles.video(details)
    with pytest.raises(DownloadError) as caught:
        await first_piece(evolve(video, url="http://127.0.0.1:9/v"))
    assert ("not of the public internet" in str(caught.value)) is not private


def test_a_video_is_a_value() -> None:
    """It can be compared, shown and sent to another process, where it can be downloaded."""
    video, other = video_at("http://127.0.0.1:9/v?sig=1"), video_at("http://127.0.0.1:9/v?sig=1", private=False)
    assert video == evolve(other, details=video.details, expires_at=video.expires_at)
    assert "sig" not in repr(video) and "private" not in repr(video)
    again = pickle.loads(pickle.dumps(video))  # noqa: S301
    assert again == video
    assert again._allow_private
    assert hash(again) == hash(video)


# --- the simulator -----------------------------------------------------------------------------------


async def test_the_file_of_a_finished_task_can_be_had_without_the_client(
    simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    """A video needs neither key nor client, and is gone after 24 hours."""
    video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))
    await client.aclose()
    path = await video.download(tmp_path / "a.mp4")
    assert (await content(path))[4:8] == b"ftyp"
    assert timedelta(hours=23) < video.expires_at - datetime.now(UTC) < timedelta(hours=25)
    simulator.advance(24 * 3600)
    with pytest.raises(OutputExpired):
        await video.download(tmp_path / "b.mp4")


async def test_the_simulator_gives_parts_as_well(simulator: Simulator, client: AIVideoMaker, tmp_path: Path) -> None:
    """A download that was begun is taken up there, too."""
    video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))
    whole = await content(await video.download(tmp_path / "a.mp4"))
    async with aiohttp.ClientSession() as http, http.get(video.url) as response:
        version = Version(etag=response.headers["ETag"], total=len(whole))
    path = tmp_path / "b.mp4"
    part = PartFile(path, overwrite=False, identity=identify(video.url, video.id))
    for work in (part.open, partial(part.begin, version), partial(part.write, whole[:5000]), part.give_up):
        await asyncio.to_thread(work)
    await video.download(path, resume=True)
    assert await content(path) == whole
    assert [one.status for one in simulator.requests if one.path.endswith(".mp4")] == [200, 200, 206]
    async with video.stream() as pieces:
        assert (pieces.length, pieces.content_type) == (len(whole), "video/mp4")
