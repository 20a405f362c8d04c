"""The retry loop: when another attempt is made, how long it waits, and what a stream gives its reader."""

from __future__ import annotations

import asyncio
import gc
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import evolve

from aivideomaker_async import Disconnected, DownloadError, IncompleteDownload, Video, VideoStream, download_all
from tests.support.cancelling import cancel_everywhere
from tests.support.files import CLIP, FileHost, names, serving, video_at
from tests.support.leaks import settle
from tests.support.scripted import Action, Arrival, Drop, Endless, Hang, Raw, Reply

pytestmark = pytest.mark.anyio


async def all_of(pieces: VideoStream) -> bytes:
    return b"".join([piece async for piece in pieces])


EMPTY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


# --- attempts ----------------------------------------------------------------------------------------


async def test_a_restart_of_the_server_is_survived(tmp_path: Path) -> None:
    """Also one that takes half a minute, during one download or many."""
    loop = asyncio.get_running_loop()
    host, until = FileHost(cuts=[300_000]), [0.0]

    def handle(arrival: Any) -> Action:
        return host(arrival) if loop.time() >= until[0] else Drop()

    def restart(received: int, _: int | None) -> None:
        if received == 300_000:
            until[0] = loop.time() + 30

    async with serving(handle) as (_, video):
        path = await video.download(tmp_path / "a.mp4", progress=restart)
        until[0] = loop.time() + 30
        videos = [evolve(video, id=f"ck{number}") for number in range(5)]
        outcomes = await download_all(videos, tmp_path, concurrency=2)
    assert host.ranges_asked()[:2] == [None, "bytes=300000-"]
    assert await asyncio.to_thread(path.read_bytes) == CLIP
    assert [outcome.error for outcome in outcomes] == [None] * 5


@pytest.mark.parametrize(("retry_after", "least", "most"), [("20", 20, 25), ("86400", 60, 65), (None, 0, 5)])
async def test_a_busy_server_is_asked_again_when_it_allows(retry_after: str | None, least: float, most: float) -> None:
    """But not later than in a minute."""
    loop = asyncio.get_running_loop()
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    began = loop.time()
    async with serving(FileHost(before=[Reply(503, headers=headers), Reply(429)])) as (_, video):
        async with video.stream() as pieces:
            assert least <= loop.time() - began <= most
            assert await all_of(pieces) == CLIP


# --- what is no video ------------------------------------------------------------------------------

MP4 = b"\0\0\0\x18ftypmp42" + bytes(100)


@pytest.mark.parametrize(
    ("content_type", "body", "is_refused"),
    [
        ("text/html; charset=utf-8", b"anything", True),
        ("application/json", b'{"error": 1}', True),
        ("application/problem+json", b"x", True),
        ("application/xml", b"<?xml version='1.0'?><Error/>", True),
        ("text/plain", b"Not Found", True),
        ("video/mp4", b"<!doctype html><html>", True),
        ("video/mp4", b'\xef\xbb\xbf \r\n{"message": "no"}', True),
        ("text/plain", MP4, False),
        ("text/html", b"\x1a\x45\xdf\xa3" + bytes(10), False),
        ("application/octet-stream", b"anything", False),
        ("", b"{\0\1\2", False),
    ],
)
async def test_a_page_is_not_saved_as_a_video(content_type: str, body: bytes, is_refused: bool, tmp_path: Path) -> None:
    """A 200 may be the page of a gateway. The bytes of a video count for more than a wrong type."""
    async with serving(lambda _: Reply(200, body, {"Content-Type": content_type})) as (service, video):
        if not is_refused:
            await video.download(tmp_path / "a.mp4")
            return
        with pytest.raises(DownloadError, match="its server sent no video, but"):
            await video.download(tmp_path / "a.mp4")
        (outcome,) = await download_all([video], tmp_path)
        assert outcome.error is not None
        assert len(service.arrivals) == 2
    assert await names(tmp_path) == []


# --- a file that is not there yet, or no more under this address ------------------------------------


@pytest.mark.parametrize("early", [*map(Reply, (202, 204, 403, 404, 425)), Reply(200, b""), Raw(EMPTY)], ids=repr)
async def test_a_file_that_comes_after_its_url_is_waited_for(early: Action, tmp_path: Path) -> None:
    """For some seconds after the end of its task. Later it is missing."""
    async with serving(FileHost(before=[early, early])) as (service, video):
        fresh = video_at(video.url, age=timedelta(seconds=90))
        assert await asyncio.to_thread((await fresh.download(tmp_path / "a.mp4")).read_bytes) == CLIP
    async with serving(FileHost(before=[early] * 10)) as (service, video):
        with pytest.raises(DownloadError):
            await video_at(video.url, age=timedelta(seconds=150)).download(tmp_path / "b.mp4")
        assert len(service.arrivals) == 1


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_fresh_address_is_asked_for_when_one_has_run_out(status: int, tmp_path: Path) -> None:
    """Once, in every way to the video, and what has arrived is kept."""
    host = FileHost(cuts=[300_000])
    asked = 0

    def handle(arrival: Arrival) -> Action:
        return host(arrival) if "fresh" in arrival.path or not host.asked else Reply(status)

    async with serving(handle) as (service, video):

        async def renew() -> str:
            nonlocal asked
            asked += 1
            return f"{service.url}/v/ck1.mp4?signature=fresh"

        renewed = Video.of(video.details, allow_private=True, renew=renew)
        path = await renewed.download(tmp_path / "a.mp4", resume=True)
        assert await asyncio.to_thread(path.read_bytes) == CLIP
        assert host.ranges_asked() == [None, "bytes=300000-"]
        async with renewed.stream() as pieces:
            assert await all_of(pieces) == CLIP
        assert [one.error for one in await download_all([renewed], tmp_path, overwrite=True)] == [None]
        assert asked == 3


@pytest.mark.parametrize("fresh", [None, "same", "as bad"])
async def test_without_a_better_address_the_refusal_is_raised(fresh: str | None, tmp_path: Path) -> None:
    async with serving(lambda _: Reply(403)) as (service, video):

        async def renew() -> str | None:
            return {"same": video.url, "as bad": f"{service.url}/b"}.get(fresh or "")

        with pytest.raises(DownloadError, match="status 403") as caught:
            await Video.of(video.details, allow_private=True, renew=renew).download(tmp_path / "a.mp4")
        assert caught.value.status == 403
        assert len(service.arrivals) == (2 if fresh == "as bad" else 1)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OF = f"of {len(CLIP)} bytes"


@pytest.mark.parametrize(
    ("action", "kind", "problem", "requests"),
    [
        # What may be over in a moment.
        (Reply(503), DownloadError, "cannot be downloaded: status 503", 3),
        (Drop(), DownloadError, "disconnected", 3),
        (Hang(), DownloadError, "no data arrived within 5 s", 3),
        (Raw(b"nonsense"), DownloadError, "Bad status line", 3),
        (Reply(body=CLIP, headers={"ETag": '"v1"'}, cut=100), IncompleteDownload, f"after 100 {OF}", 3),
        # The bytes that were passed on cannot be continued without a strong entity tag.
        (Reply(body=CLIP, cut=100), IncompleteDownload, f"after 100 {OF}", 1),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), IncompleteDownload, "after 3 of 100 bytes", 1),
        (Raw(CHUNKED + b"3\r\nabc\r\n"), IncompleteDownload, "after 3 bytes", 1),
        # What no other attempt would change.
        (Reply(400), DownloadError, "cannot be downloaded: status 400", 1),
        (Reply(304), DownloadError, "cannot be downloaded: status 304", 1),
        (Reply(204), DownloadError, "cannot be downloaded: status 204", 1),
        (Reply(206, b"abc", {"Content-Range": "bytes 0-2/4"}), DownloadError, "no range was requested", 1),
        (Reply(416), DownloadError, "no range was requested", 1),
        (Reply(body=b""), DownloadError, "it is empty", 1),
        (Raw(CHUNKED + b"0\r\n\r\n"), DownloadError, "it is empty", 1),
        (Reply(200, b"\x1f\x8b", {"Content-Encoding": "gzip", "ETag": '"v1"'}), DownloadError, "came compressed", 1),
        (Reply(200, b"x" * 2_000_001), DownloadError, "it has 2000001 bytes, more than 2000000", 1),
        (Endless(CHUNKED, b"400\r\n" + b"x" * 0x400 + b"\r\n"), DownloadError, "it has more than 2000000 bytes", 1),
    ],
)
async def test_a_failure_is_tried_again_if_that_may_help(
    action: Action, kind: type[DownloadError], problem: str, requests: int
) -> None:
    """After pauses. The error reports the last failure, and no traceback shows the signature of the address."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serving(lambda _: action) as (service, video):
        with pytest.raises(DownloadError, match=problem) as caught:
            async with video.stream(attempts=3, timeout=5, max_bytes=2_000_000) as pieces:
                await all_of(pieces)
    assert type(caught.value) is kind
    assert len(service.arrivals) == requests
    assert requests == 1 or loop.time() - began > 2
    assert "signature" not in "".join(traceback.format_exception(caught.value))


async def test_an_error_keeps_its_causes_down_to_the_connection() -> None:
    async with serving(FileHost(cuts=[5000, 0])) as (_, video):
        with pytest.raises(IncompleteDownload) as caught:
            async with video.stream(attempts=2) as pieces:
                await all_of(pieces)
    assert (caught.value.received, caught.value.expected) == (5000, len(CLIP))
    assert isinstance(caught.value.__cause__, Disconnected)
    assert isinstance(caught.value.__cause__.__cause__, aiohttp.ClientError)


async def test_a_part_that_is_shorter_than_requested_is_an_early_end() -> None:
    """The rest is asked for after a pause."""

    def handle(arrival: Any) -> Action:
        start = int(arrival.headers["range"][6:-1]) if "range" in arrival.headers else None
        if start is None:
            return Reply(200, CLIP, {"ETag": '"v1"'}, cut=10)
        stop = min(start + 400_000, len(CLIP))
        return Reply(206, CLIP[start:stop], {"ETag": '"v1"', "Content-Range": f"bytes {start}-{stop - 1}/{len(CLIP)}"})

    async with serving(handle) as (service, video), video.stream(attempts=2) as pieces:
        assert await all_of(pieces) == CLIP
    assert len(service.arrivals) == 4


# --- a stream ----------------------------------------------------------------------------------------


async def test_a_stream_gives_the_bytes_as_they_arrive() -> None:
    """Leaving it early closes the connection."""
    async with serving(FileHost()) as (service, video):
        async with video.stream() as pieces:
            assert (pieces.length, pieces.content_type) == (len(CLIP), "video/mp4")
            assert await all_of(pieces) == CLIP
            with pytest.raises(StopAsyncIteration):
                await anext(pieces)
        async with video.stream() as pieces:
            await anext(aiter(pieces))
        await asyncio.sleep(1)
        assert service.connections == set()
        with pytest.raises(RuntimeError, match="inside its `async with`"):
            await anext(pieces)


async def test_length_and_type_are_none_unless_the_server_states_those_of_a_video() -> None:
    page = CHUNKED.replace(b"OK", b"OK\r\nContent-Type: image/gif") + b"3\r\nabc\r\n0\r\n\r\n"
    async with serving(lambda _: Raw(page)) as (_, video), video.stream() as pieces:
        assert (pieces.length, pieces.content_type) == (None, None)
        assert await all_of(pieces) == b"abc"


async def test_a_stream_that_breaks_is_continued_unnoticed() -> None:
    async with serving(FileHost(cuts=[5000, 300_000])) as (_, video), video.stream() as pieces:
        assert await all_of(pieces) == CLIP


async def test_a_stream_is_of_one_version() -> None:
    """Its reader must learn that the rest of what was passed on is missing."""
    host = FileHost(cuts=[5000])
    async with serving(host) as (_, video):
        with pytest.raises(IncompleteDownload, match="the file has changed"):
            async with video.stream() as pieces:
                await anext(pieces)
                host.etag = '"v2"'
                await all_of(pieces)


async def test_an_error_inside_the_block_of_a_stream_is_raised_as_it_is() -> None:
    async with serving(FileHost()) as (_, video):
        with pytest.raises(Disconnected, match="of another request"):
            async with video.stream():
                raise Disconnected("of another request", method="GET", path="/")


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
