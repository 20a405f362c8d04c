"""Getting the file: whole or not at all, with no key, and nothing left behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from aivideomaker_async import (
    AIVideoMaker,
    Disconnected,
    DownloadError,
    IncompleteDownload,
    OutputExpired,
    TaskDetails,
    TaskOutput,
    TaskStatus,
    TextToVideo,
    Video,
)
from aivideomaker_async.simulator import Simulator
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import settle
from tests.support.scripted import Action, Drop, Handler, Hang, Raw, Reply, ScriptedService, one_by_one, scripted

pytestmark = pytest.mark.anyio

CLIP = bytes(range(256)) * 4000


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


def video_at(url: str, *, age: timedelta = timedelta(minutes=1)) -> Video:
    completed_at = datetime.now(UTC) - age
    return Video.of(
        TaskDetails(id="ck1", status=TaskStatus.COMPLETED, completed_at=completed_at, output=TaskOutput(url=url))
    )


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[tuple[ScriptedService, Video]]:
    async with scripted(handler) as service:
        yield service, video_at(f"{service.url}/v/ck1.mp4?signature=a%2Fb%3D")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_download_is_the_whole_file_under_its_name(tmp_path: Path) -> None:
    """The bytes are the service's, the address is used as it was given, and no key travels."""
    async with serving(lambda _: Reply(body=CLIP)) as (service, video):
        path = await video.download(tmp_path / "a.mp4")
    assert path == tmp_path / "a.mp4"
    assert await asyncio.to_thread(path.read_bytes) == CLIP
    assert await asyncio.to_thread(files, tmp_path) == ["a.mp4"]
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
    assert await asyncio.to_thread(path.read_bytes) == b"abc"
    assert told == [None]


@pytest.mark.parametrize("age", [timedelta(hours=1), timedelta(hours=25)])
async def test_a_file_that_is_gone_is_told_with_its_age(age: timedelta, tmp_path: Path) -> None:
    """410 always says so; 404 and 403 do when the 24 hours are over."""
    for status in (410, 404, 403):
        async with scripted(lambda _, status=status: Reply(status)) as service:  # type: ignore[misc]
            video = video_at(f"{service.url}/v", age=age)
            with pytest.raises(DownloadError) as caught:
                await video.download(tmp_path / "a.mp4")
        expired = status == 410 or age > timedelta(hours=24)
        assert isinstance(caught.value, OutputExpired) is expired
        if isinstance(caught.value, OutputExpired):
            assert caught.value.age is not None and abs(caught.value.age - age) < timedelta(minutes=1)
    assert await asyncio.to_thread(files, tmp_path) == []


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Drop(), DownloadError),
        (Hang(), DownloadError),
        (Reply(500), DownloadError),
        (Reply(body=CLIP, cut=1000), IncompleteDownload),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), IncompleteDownload),
        (Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), IncompleteDownload),
        (Raw(b"nonsense"), DownloadError),
    ],
)
async def test_a_download_that_breaks_leaves_nothing(action: Action, kind: type[Exception], tmp_path: Path) -> None:
    """No file under the name, and no part of one beside it."""
    async with serving(lambda _: action) as (_, video):
        with pytest.raises(DownloadError) as caught:
            await video.download(tmp_path / "a.mp4", timeout=5)
    assert type(caught.value) is kind
    assert "signature" not in str(caught.value)
    assert await asyncio.to_thread(files, tmp_path) == []


async def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    """Refused before anything is written; replaced when asked; kept when the replacing fails."""
    path = tmp_path / "a.mp4"
    await asyncio.to_thread(path.write_bytes, b"mine")
    async with serving(one_by_one([Reply(body=CLIP), Reply(body=CLIP, cut=9), Reply(body=CLIP)])) as (_, video):
        with pytest.raises(DownloadError, match="exists already"):
            await video.download(path)
        with pytest.raises(IncompleteDownload):
            await video.download(path, overwrite=True)
        assert await asyncio.to_thread(path.read_bytes) == b"mine"
        await video.download(path, overwrite=True)
    assert await asyncio.to_thread(path.read_bytes) == CLIP
    assert await asyncio.to_thread(files, tmp_path) == ["a.mp4"]


async def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A missing folder, and a folder in place of the file."""
    async with serving(lambda _: Reply(body=CLIP)) as (_, video):
        with pytest.raises(DownloadError, match="nowhere"):
            await video.download(tmp_path / "nowhere" / "a.mp4")
        with pytest.raises(DownloadError, match=tmp_path.name):
            await video.download(tmp_path, overwrite=True)


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
    assert await asyncio.to_thread(files, tmp_path) == []


def _complain(*_: object) -> None:
    raise BrokenPipeError("the caller's own")


async def test_a_download_that_is_cancelled_anywhere_leaves_nothing(tmp_path: Path) -> None:
    """At each of its awaits: no file, no part, no connection."""
    async with serving(lambda _: Reply(body=CLIP)) as (service, video):

        async def check() -> None:
            await settle()
            assert await asyncio.to_thread(files, tmp_path) == []

        await cancel_everywhere(lambda: video.download(tmp_path / "a.mp4"), check, at_least=5)
        await asyncio.sleep(1)
        assert service.connections == set()


async def test_a_stream_gives_the_bytes_as_they_arrive() -> None:
    """For a backend that passes them on; leaving it early closes the connection."""
    async with serving(lambda _: Reply(body=CLIP)) as (service, video):
        async with video.stream() as pieces:
            assert hashlib.md5(b"".join([piece async for piece in pieces])).digest() == hashlib.md5(CLIP).digest()  # noqa: S324
        async with video.stream() as pieces:
            await anext(aiter(pieces))
        await asyncio.sleep(1)
        assert service.connections == set()


async def test_a_stream_that_breaks_says_so() -> None:
    """Who passes on bytes must know that some are missing."""
    async with serving(lambda _: Reply(body=CLIP, cut=5000)) as (_, video):
        with pytest.raises(IncompleteDownload) as caught:
            async with video.stream() as pieces:
                async for _ in pieces:
                    pass
    assert (caught.value.received, caught.value.expected) == (5000, len(CLIP))


@pytest.mark.parametrize("url", ["ftp://example.com/a", "file:///etc/passwd", "", "/a.mp4"])
async def test_only_http_urls_are_fetched(url: str, tmp_path: Path) -> None:
    """The address comes from a server's answer, and is not trusted."""
    with pytest.raises(DownloadError, match="no http"):
        await video_at(url).download(tmp_path / "a.mp4")


async def test_a_session_of_the_caller_is_used_and_left_open(tmp_path: Path) -> None:
    """For proxies and certificates."""
    async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as http:
        async with serving(lambda _: Reply(body=CLIP)) as (service, video):
            await video.download(tmp_path / "a.mp4", http=http)
        assert service.arrivals[0].headers["x-mine"] == "yes"
        assert not http.closed


async def test_the_file_of_a_finished_task_can_be_had_without_the_client(
    simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    """A video needs neither key nor client, and is gone after 24 hours."""
    video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))
    await client.aclose()
    path = await video.download(tmp_path / "a.mp4")
    assert (await asyncio.to_thread(path.read_bytes))[4:8] == b"ftyp"
    assert timedelta(hours=23) < video.expires_at - datetime.now(UTC) < timedelta(hours=25)
    simulator.advance(24 * 3600)
    with pytest.raises(OutputExpired):
        await video.download(tmp_path / "b.mp4")
