"""The retry loop: when another attempt is made, how long it waits, and what a stream gives its reader."""

from __future__ import annotations

import asyncio
import gc
import traceback
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import evolve

from aivideomaker_async import Disconnected, DownloadError, IncompleteDownload, VideoStream, download_all
from tests.support.cancelling import cancel_everywhere
from tests.support.files import CLIP, FileHost, serving
from tests.support.leaks import settle
from tests.support.scripted import Action, Drop, Endless, Raw, Reply

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


async def all_of(pieces: VideoStream) -> bytes:
    return b"".join([piece async for piece in pieces])


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


@pytest.mark.parametrize(
    ("action", "kind", "problem"),
    [
        (Reply(503), DownloadError, "status 503"),
        (Drop(), DownloadError, "disconnected"),
        (Reply(body=CLIP, headers={"ETag": '"v1"'}, cut=100), IncompleteDownload, f"after 100 of {len(CLIP)} bytes"),
    ],
)
async def test_attempts_that_bring_next_to_nothing_come_to_an_end(
    action: Action, kind: type[DownloadError], problem: str
) -> None:
    """After pauses. The error reports the last failure."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with serving(lambda _: action) as (service, video):
        with pytest.raises(DownloadError, match=problem) as caught:
            async with video.stream(attempts=3) as pieces:
                await all_of(pieces)
    assert type(caught.value) is kind
    assert len(service.arrivals) == 3
    assert loop.time() - began > 2


async def test_attempts_that_bring_enough_do_not_count() -> None:
    """A large file over a bad line arrives in the end."""
    host = FileHost(content=CLIP * 4, cuts=[300_000] * 12)
    async with serving(host) as (_, video), video.stream(attempts=2) as pieces:
        assert await all_of(pieces) == CLIP * 4
    assert len(host.asked) == 13


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


@pytest.mark.parametrize("status", [400, 304, 204])
async def test_a_status_that_is_final_is_not_tried_again(status: int) -> None:
    async with serving(lambda _: Reply(status)) as (service, video):
        with pytest.raises(DownloadError, match=f"cannot be downloaded: status {status}"):
            async with video.stream():
                pass
    assert len(service.arrivals) == 1


async def test_an_error_keeps_its_causes_down_to_the_connection() -> None:
    """And no traceback shows the signature of the address."""
    async with serving(lambda _: Drop()) as (_, video):
        with pytest.raises(DownloadError) as caught:
            async with video.stream(attempts=1):
                pass
    transport = caught.value.__cause__
    assert isinstance(transport, Disconnected)
    assert isinstance(transport.__cause__, aiohttp.ServerDisconnectedError)
    assert "signature" not in "".join(traceback.format_exception(caught.value))


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
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    async with serving(lambda _: Raw(chunked)) as (_, video), video.stream() as pieces:
        assert (pieces.length, pieces.content_type) == (None, None)
        assert await all_of(pieces) == b"abc"


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_stream_that_breaks_is_continued_unnoticed(ranges: bool) -> None:
    """Also by a server without ranges, whose bytes are skipped up to the break."""
    async with serving(FileHost(cuts=[5000, 300_000, 700_000], ranges=ranges)) as (_, video):
        async with video.stream() as pieces:
            assert await all_of(pieces) == CLIP


@pytest.mark.parametrize(
    ("host", "requests"), [(FileHost(etag=None, cuts=[5000]), 1), (FileHost(cuts=[5000, 0, 0]), 2)]
)
async def test_a_stream_that_cannot_be_continued_is_incomplete(host: FileHost, requests: int) -> None:
    """Its reader must learn that bytes are missing. An attempt that cannot help is not made."""
    async with serving(host) as (_, video):
        with pytest.raises(IncompleteDownload) as caught:
            async with video.stream(attempts=2) as pieces:
                await all_of(pieces)
    assert (caught.value.received, caught.value.expected) == (5000, len(CLIP))
    assert len(host.asked) == requests


@pytest.mark.parametrize("options", [{}, {"heeds_if_range": False}, {"heeds_if_range": False, "parts_tell": False}])
async def test_a_stream_is_of_one_version(options: dict[str, bool]) -> None:
    host = FileHost(cuts=[5000], **options)  # type: ignore[arg-type]
    async with serving(host) as (_, video):
        with pytest.raises(IncompleteDownload, match="the file has changed"):
            async with video.stream() as pieces:
                await anext(pieces)
                host.etag = '"v2"'
                await all_of(pieces)


async def test_an_endless_stream_is_refused() -> None:
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    async with serving(lambda _: Endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk)) as (
        _,
        video,
    ):
        with pytest.raises(DownloadError, match="it has more than 1000000 bytes"):
            async with video.stream(max_bytes=1_000_000) as pieces:
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
