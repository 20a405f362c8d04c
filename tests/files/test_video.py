"""The finished video as a value: when it has expired, where it may be, and which arguments make sense."""

from __future__ import annotations

import asyncio
import gc
import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import evolve

from aivideomaker_async import (
    AIVideoMaker,
    ConfigurationError,
    DownloadError,
    OutputExpired,
    RateLimiter,
    TaskDetails,
    TaskOutput,
    TaskStatus,
    TextToVideo,
    Video,
    download_all,
)
from aivideomaker_async._files.part_file import PartFile
from aivideomaker_async._files.resume import Version, part_key
from aivideomaker_async._files.video import MAX_DOWNLOADS
from aivideomaker_async.simulator import Simulator
from tests.support.files import CLIP, FileHost, content, names, serving, video_at
from tests.support.scripted import Crowd, Reply, scripted

pytestmark = pytest.mark.anyio


async def first_piece(video: Video, **options: Any) -> bytes:
    async with video.stream(**options) as pieces:
        return await anext(pieces)


async def download_one(folder: Path, video: Video, **options: Any) -> None:
    (outcome,) = await download_all([video], folder, overwrite=True, **options)
    outcome.unwrap()


def ways(video: Video, folder: Path, **options: Any) -> list[Callable[..., Awaitable[object]]]:
    """Return the calls that fetch a video."""
    return [
        partial(video.download, folder / "a.mp4", overwrite=True, **options),
        partial(first_piece, video, **options),
        partial(download_one, folder, video, **options),
    ]


def test_a_video_is_a_value() -> None:
    """It can be compared, shown and sent to another process, where it can be downloaded."""
    video, other = video_at("http://127.0.0.1:9/v?sig=1"), video_at("http://127.0.0.1:9/v?sig=1", private=False)
    assert video == evolve(other, details=video.details, expires_at=video.expires_at)
    assert "sig" not in repr(video)
    assert "private" not in repr(video)
    again = pickle.loads(pickle.dumps(video))  # noqa: S301
    assert again == video
    assert again._ties.allow_private
    assert hash(again) == hash(video)


async def test_a_video_uses_the_session_of_its_client_while_that_is_open(simulator: Simulator, tmp_path: Path) -> None:
    """Its proxy may be the only way out. Without it, a session of the package's own is as good as any."""
    used: list[str] = []

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter(), http=http) as client:
            video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))
        assert http.connector is not None
        connect = http.connector.connect

        async def counted(*arguments: Any, **options: Any) -> Any:
            used.append("the caller's")
            return await connect(*arguments, **options)

        http.connector.connect = counted  # type: ignore[method-assign]
        await video.download(tmp_path / "a.mp4")
        async with video.stream() as pieces:
            await anext(pieces)
        assert used == ["the caller's"] * 2
    await video.download(tmp_path / "b.mp4")
    assert used == ["the caller's"] * 2


def test_a_video_without_a_time_of_its_end_expires_by_that_of_its_submit_or_of_the_first_look() -> None:
    """Not anew with each look."""
    created, seen = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    details = TaskDetails(id="a", status=TaskStatus.COMPLETED, created_at=created, output=TaskOutput(url="https://a/b"))
    assert Video.of(details).expires_at == created + timedelta(days=1)
    assert Video.of(evolve(details, created_at=None), seen_at=seen).expires_at == seen + timedelta(days=1)


# --- a file that is gone -----------------------------------------------------------------------------


@pytest.mark.parametrize("age", [timedelta(hours=1), timedelta(hours=25)])
@pytest.mark.parametrize("status", [410, 404, 403])
async def test_an_expired_file_is_reported_with_its_age(age: timedelta, status: int, tmp_path: Path) -> None:
    """Each may also be the answer to a signature that has run out, until the 24 hours are over."""
    is_expired = age > timedelta(hours=24)
    async with scripted(lambda _: Reply(status)) as service:
        video = video_at(f"{service.url}/v", age=age)
        for call in ways(video, tmp_path):
            with pytest.raises(DownloadError) as caught:
                await call()
            assert isinstance(caught.value, OutputExpired) is is_expired
            assert caught.value.status == status
            if isinstance(caught.value, OutputExpired):
                assert caught.value.age is not None
                assert abs(caught.value.age - age) < timedelta(minutes=1)
                assert f"it was finished {age.total_seconds() / 3600:.1f} hours ago" in str(caught.value)
    assert len(service.arrivals) == 3, "asking again would not help"
    assert await names(tmp_path) == []


@pytest.mark.parametrize("stamped", ["not at all", "in the future"])
async def test_an_unknown_age_is_not_reported(stamped: str) -> None:
    """The service has not said when the task was finished, or its clock is ahead of this one."""
    async with serving(lambda _: Reply(410)) as (_, video):
        if stamped == "in the future":
            video = video_at(video.url, age=timedelta(days=-365))
        else:
            video = Video.of(evolve(video.details, completed_at=None), allow_private=True)
        with pytest.raises(OutputExpired, match="is gone: the service keeps a file for 24 hours") as caught:
            await first_piece(video)
    assert caught.value.age is None


# --- arguments ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [{"timeout": 0}, {"timeout": "60"}, {"attempts": 0}, {"attempts": 2.0}, {"max_bytes": 0}, {"max_bytes": None}],
)
async def test_a_wrong_argument_is_named_before_anything_is_done(arguments: dict[str, Any], tmp_path: Path) -> None:
    *single, many = ways(video_at("http://127.0.0.1:9/"), tmp_path / "new")
    for call in [*single, many] if "timeout" in arguments else single:
        with pytest.raises(ConfigurationError, match=next(iter(arguments))):
            await call(**arguments)
    with pytest.raises(ConfigurationError, match="concurrency"):
        await many(concurrency=0)
    assert await names(tmp_path) == []


async def test_a_session_of_the_caller_is_used_and_left_open(tmp_path: Path) -> None:
    """For proxies and certificates."""
    video = video_at("http://cdn.example/v", private=False)
    async with serving(lambda _: Reply(body=CLIP)) as (proxy, _):
        async with aiohttp.ClientSession(proxy=proxy.url) as http:
            for call in ways(video, tmp_path):
                await call(http=http)
            assert not http.closed
        assert [arrival.path for arrival in proxy.arrivals] == [video.url] * 3
        for call in ways(video, tmp_path):
            with pytest.raises(ConfigurationError, match="closed"):
                await call(http=http)


async def test_a_private_address_is_refused_unless_allowed(tmp_path: Path) -> None:
    """By the video, which knows where the service was, or by the caller."""
    async with serving(FileHost()) as (service, allowed):
        refused = video_at(allowed.url, private=False)
        by_hand = Video(id="x", url=allowed.url, details=allowed.details, expires_at=allowed.expires_at)
        for video, allow in [(refused, None), (by_hand, None), (allowed, False)]:
            for call in ways(video, tmp_path, allow_private=allow):
                with pytest.raises(DownloadError, match="not of the public internet"):
                    await call()
        assert service.arrivals == []
        for video, allow in [(refused, True), (allowed, None)]:
            for call in ways(video, tmp_path, allow_private=allow):
                await call()
    assert len(service.arrivals) == 6


@pytest.mark.parametrize(
    ("base_url", "private"),
    [
        ("https://aivideomaker.ai", False),
        ("http://[::1]:8080", True),
        ("http://simulator:8080", True),
    ],
)
async def test_a_service_at_a_private_address_may_have_its_files_there(base_url: str, private: bool) -> None:
    details = video_at("http://127.0.0.1:9/v").details
    async with AIVideoMaker("ak_test", base_url=base_url, allow_http=True) as client:
        video = client._handles.video(details)
    with pytest.raises(DownloadError) as caught:
        await first_piece(evolve(video, url="http://127.0.0.1:9/v"))
    assert ("not of the public internet" in str(caught.value)) is not private


# --- how many at once --------------------------------------------------------------------------------


async def test_eight_downloads_run_at_once_and_any_number_of_streams(tmp_path: Path) -> None:
    """A gather over hundreds opens no hundreds of connections."""
    async with serving(crowd := Crowd()) as (_, video):
        await asyncio.gather(*(video.download(tmp_path / f"{number}.mp4") for number in range(30)))
        assert crowd.most == MAX_DOWNLOADS == 8
        await asyncio.gather(*(first_piece(video) for _ in range(30)))
        assert crowd.most == 30
    assert len(await names(tmp_path)) == 30


def test_each_event_loop_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """No loop waits for another, and the limit keeps no loop alive."""
    loops = []
    for number in range(2):

        async def download(number: int = number) -> None:
            loops.append(weakref.ref(asyncio.get_running_loop()))
            async with serving(lambda _: Reply(body=b"x")) as (_, video):
                await asyncio.gather(*(video.download(tmp_path / f"{number}-{n}") for n in range(MAX_DOWNLOADS + 1)))

        asyncio.run(download())
    # The threads of a loop end a little later than it does.
    deadline = time.monotonic() + 10
    while any(loop() is not None for loop in loops) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert [loop() for loop in loops] == [None, None]


# --- the simulator -----------------------------------------------------------------------------------


async def test_the_file_of_a_finished_task_needs_no_client(
    simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))
    await client.aclose()
    path = await video.download(tmp_path / "a.mp4")
    assert (await content(path))[4:8] == b"ftyp"
    assert timedelta(hours=23) < video.expires_at - datetime.now(UTC) < timedelta(hours=25)
    simulator.advance(24 * 3600)
    with pytest.raises(DownloadError) as caught:
        await video.download(tmp_path / "b.mp4")
    assert caught.value.status == 410


async def test_a_file_is_gone_when_the_service_gives_no_other_address(
    simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    """By the service's clock: it is asked for the task again before that is believed."""
    video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))
    simulator.advance(24 * 3600)
    with pytest.raises(OutputExpired):
        await video.download(tmp_path / "a.mp4")


@asynccontextmanager
async def finished(**options: Any) -> AsyncIterator[tuple[Simulator, Video]]:
    """A simulator, and a video that it has just finished."""
    async with Simulator(durations=(0, 0), render=False, **options) as simulator:
        async with AIVideoMaker(simulator.api_key, base_url=simulator.url, limiter=RateLimiter()) as client:
            yield simulator, await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))


def fetched(simulator: Simulator) -> list[int]:
    return [one.status for one in simulator.requests if one.path.endswith(".mp4")]


@pytest.mark.parametrize("clock_skew", [0, 3600, -3600])
async def test_a_file_that_comes_late_is_downloaded(tmp_path: Path, clock_skew: float) -> None:
    """Also where this machine's clock is an hour off."""
    async with finished(late_files=5, clock_skew=clock_skew) as (simulator, video):
        assert (await content(await video.download(tmp_path / "a.mp4")))[4:8] == b"ftyp"
        assert set(fetched(simulator)[:-1]) == {404}


@pytest.mark.parametrize(("age", "statuses"), [(3600, [403, 200]), (60, [403, 403, 200])])
async def test_a_link_that_has_run_out_is_renewed_by_the_client(
    tmp_path: Path, age: float, statuses: list[int]
) -> None:
    """The file of a task that has just ended may only be late, so it is asked for once more before."""
    then = datetime.now(UTC) - timedelta(seconds=age)
    async with finished(link_lifetime=30, epoch=then) as (simulator, video):
        simulator.advance(31)
        assert (await content(await video.download(tmp_path / "a.mp4")))[4:8] == b"ftyp"
        assert fetched(simulator) == statuses


async def test_a_part_of_a_file_of_the_simulator_is_continued(
    simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    video = await client.generate(TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=5))
    whole = await content(await video.download(tmp_path / "a.mp4"))
    async with aiohttp.ClientSession() as http, http.get(video.url) as response:
        version = Version(etag=response.headers["ETag"], total=len(whole))
    path = tmp_path / "b.mp4"
    part = PartFile(path, overwrite=False, key=part_key(video.url, video.id))
    for work in (part.open, partial(part.begin, version), partial(part.write, whole[:5000]), part.close):
        await asyncio.to_thread(work)
    await video.download(path, resume=True)
    assert await content(path) == whole
    assert fetched(simulator) == [200, 200, 206]
    async with video.stream() as pieces:
        assert (pieces.length, pieces.content_type) == (len(whole), "video/mp4")


# --- the room ----------------------------------------------------------------------------------------


def test_importing_the_room_imports_nothing_that_moves_bytes() -> None:
    """A program that only holds videos does not pay for aiohttp."""
    code = "import sys, aivideomaker_async._files; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    lazy = {"aiohttp", *(f"aivideomaker_async._files.{name}" for name in ("fetch", "http", "part_file", "resume"))}
    assert not lazy & set(loaded)
