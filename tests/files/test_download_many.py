"""Many videos into a folder: the one that is deleted first goes first, and a failure stops no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aivideomaker_async import (
    AIVideoMaker,
    ConfigurationError,
    Downloaded,
    DownloadError,
    IncompleteDownload,
    RateLimiter,
    TaskFailed,
    TextToVideo,
    Video,
    download_all,
)
from aivideomaker_async._files.video import MAX_DOWNLOADS
from aivideomaker_async.simulator import Simulator
from tests.support.cancelling import cancel_everywhere
from tests.support.files import CLIP, FileHost, content, names, open_files, video_at
from tests.support.leaks import our_tasks, settle
from tests.support.scripted import Action, Arrival, Crowd, Drop, Reply, row, scripted

pytestmark = pytest.mark.anyio


def videos_at(url: str, *ids: str, hours: Callable[[int], float] = lambda _: 1) -> list[Video]:
    """Videos of these ids. `hours` returns how long ago each was finished."""
    return [
        video_at(f"{url}/{task_id}", task_id=task_id, age=timedelta(hours=hours(number)))
        for number, task_id in enumerate(ids)
    ]


def body_of(arrival: Arrival) -> bytes:
    return arrival.path.encode() * 1000


async def test_every_video_has_a_file_of_its_own(tmp_path: Path) -> None:
    """Named by its id, in a folder that is made. The outcomes are in the order of the videos."""
    folder = tmp_path / "new" / "folder"
    async with scripted(lambda arrival: Reply(body=body_of(arrival))) as service:
        videos = videos_at(service.url, "ck1", "ck2", "../ck3")
        outcomes = await download_all(videos, folder)
    assert [outcome.video for outcome in outcomes] == videos
    assert [outcome.unwrap() for outcome in outcomes] == [outcome.path for outcome in outcomes]
    assert not any(outcome.skipped for outcome in outcomes)
    assert await names(folder) == sorted(path.name for outcome in outcomes if (path := outcome.path) is not None)
    assert [await content(folder / name) for name in ("ck1.mp4", "ck2.mp4")] == [b"/ck1" * 1000, b"/ck2" * 1000]
    assert all(outcome.path is not None and outcome.path.parent == folder for outcome in outcomes)
    assert our_tasks() == []
    assert await download_all([], folder) == []


async def test_the_video_that_is_deleted_first_goes_first(tmp_path: Path) -> None:
    """And one that has probably expired goes last."""
    ages = [1, 23, 30, 5, 23.9, 25]
    async with scripted(lambda arrival: Reply(body=body_of(arrival))) as service:
        videos = videos_at(service.url, *(f"age{age}" for age in ages), hours=lambda number: ages[number])
        await download_all(videos, tmp_path, concurrency=1)
    assert [arrival.path for arrival in service.arrivals] == [f"/age{age}" for age in (23.9, 23, 5, 1, 30, 25)]


async def test_a_failure_stops_no_other_download(tmp_path: Path) -> None:
    """Its error is in its outcome."""
    answers = {
        "/gone": Reply(404),
        "/broken": Reply(500),
        "/cut": Reply(body=CLIP, cut=1000),
        "/fine": Reply(body=b"x"),
    }
    async with scripted(lambda arrival: answers[arrival.path]) as service:
        videos = videos_at(service.url, "gone", "broken", "fine", "cut")
        outcomes = await download_all(videos, tmp_path)
    kinds = [DownloadError, DownloadError, None, IncompleteDownload]
    assert [None if one.error is None else type(one.error) for one in outcomes] == kinds
    assert [one.path for one in outcomes] == [None, None, tmp_path / "fine.mp4", None]
    with pytest.raises(DownloadError, match="status 404"):
        outcomes[0].unwrap()
    assert await names(tmp_path) == ["fine.mp4"]


async def test_the_next_call_continues_what_broke_off(tmp_path: Path) -> None:
    host = FileHost(cuts=[300_000, 0, 0, 0, 0])
    async with scripted(host) as service:
        videos = videos_at(service.url, "ck1")
        (outcome,) = await download_all(videos, tmp_path)
        assert isinstance(outcome.error, IncompleteDownload)
        (outcome,) = await download_all(videos, tmp_path)
    assert host.ranges_asked()[-1] == "bytes=300000-"
    assert await content(outcome.unwrap()) == CLIP


async def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    """If it is as long as the video, of which one byte is requested; overwrite=True replaces it at once."""
    host = FileHost(content=b"12345")
    async with scripted(host) as service:
        videos = videos_at(service.url, "ck1")
        await download_all(videos, tmp_path)
        (again,) = await download_all(videos, tmp_path)
        assert again == Downloaded(video=videos[0], path=tmp_path / "ck1.mp4", skipped=True)
        assert host.ranges_asked() == [None, "bytes=0-0"]
        (again,) = await download_all(videos, tmp_path, overwrite=True)
        assert not again.skipped
        assert host.ranges_asked()[2:] == [None]


@pytest.mark.parametrize(
    ("size", "answer", "problem"),
    [
        (5, Reply(200, b"12345"), None),
        (5, Reply(206, b"1", {"Content-Range": "bytes 0-0/5"}), None),
        (5, Reply(206, b"1"), None),
        (5, Reply(206, b"1", {"Content-Range": "bytes 0-0/9", "Content-Encoding": "gzip"}), None),
        (5, Reply(410), None),
        (5, Reply(500), None),
        (5, Drop(), None),
        (4, Reply(200, b"12345"), "with 4 bytes, and the video has 5"),
        (6, Reply(206, b"1", {"Content-Range": "bytes 0-0/5"}), "with 6 bytes, and the video has 5"),
        (0, Reply(410), "with 0 bytes, and the video has more"),
        (0, Reply(200, b"12345"), "with 0 bytes, and the video has 5"),
    ],
)
async def test_an_existing_file_of_another_size_is_an_error(
    size: int, answer: Action, problem: str | None, tmp_path: Path
) -> None:
    """It is not replaced. A file that cannot be compared is left alone: none has its name before it is whole."""
    path = tmp_path / "ck1.mp4"
    await asyncio.to_thread(path.write_bytes, b"x" * size)
    async with scripted(lambda _: answer) as service:
        (outcome,) = await download_all(videos_at(service.url, "ck1"), tmp_path)
    assert outcome.skipped is (problem is None)
    if problem is not None:
        assert problem in str(outcome.error)
    assert await content(path) == b"x" * size
    assert len(service.arrivals) == 1


async def test_a_folder_or_a_dead_link_in_the_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").mkdir()
    (tmp_path / "b.mp4").symlink_to("nowhere")
    async with scripted(lambda _: Reply(body=b"x")) as service:
        outcomes = await download_all(videos_at(service.url, "a", "b"), tmp_path)
    assert "Is a directory" in str(outcomes[0].error)
    assert "exists already" in str(outcomes[1].error)


async def test_a_folder_that_cannot_be_made_is_an_error_of_the_call(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder, problem in (("file", "File exists"), ("file/sub", "Not a directory"), ("a\0b", "null")):
        with pytest.raises(DownloadError, match=rf"cannot make the folder .*{problem}") as caught:
            await download_all([], tmp_path / folder)
        assert isinstance(caught.value.__cause__, OSError | ValueError)


async def test_names_may_be_chosen(tmp_path: Path) -> None:
    """Plain names, each for one video, also on a file system that ignores case."""
    chosen = {"a": "first.mp4", "b": "FIRST.mp4", "c": "../c.mp4", "d": "", "e": "a\\b", "f": "last"}
    async with scripted(lambda arrival: Reply(body=body_of(arrival))) as service:
        videos = videos_at(service.url, *chosen)
        outcomes = await download_all(videos, tmp_path, name=lambda video: chosen[video.id])
    assert [outcome.path is not None for outcome in outcomes] == [True, False, False, False, False, True]
    assert "already the name of task a's video" in str(outcomes[1].error)
    assert all("not the name of a file" in str(outcome.error) for outcome in outcomes[2:5])
    assert await names(tmp_path) == ["first.mp4", "last"]
    assert await content(tmp_path / "first.mp4") == b"/a" * 1000


@pytest.mark.parametrize("concurrency", [1, 3, MAX_DOWNLOADS + 4])
async def test_as_many_downloads_run_at_once_as_allowed(concurrency: int, tmp_path: Path) -> None:
    """Not limited by the number of single downloads."""
    async with scripted(crowd := Crowd()) as service:
        await download_all(videos_at(service.url, *map(str, range(20))), tmp_path, concurrency=concurrency)
    assert crowd.most == concurrency
    assert len(await names(tmp_path)) == 20


async def test_no_more_run_at_once_than_the_process_may_open_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty at once would fail for want of descriptors, and not only these."""
    resource = pytest.importorskip("resource")
    taken = await asyncio.to_thread(lambda: sum(1 for _ in Path("/dev/fd").iterdir()))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (taken + 17, taken + 17))
    most = 0

    async def handle(arrival: Arrival) -> Action:
        nonlocal most
        most = max(most, len(service.connections))
        await asyncio.sleep(1)
        return Reply(body=body_of(arrival))

    async with scripted(handle) as service:
        outcomes = await download_all(videos_at(service.url, *map(str, range(20))), tmp_path, concurrency=60)
    assert {one.error for one in outcomes} == {None}
    assert most == 3


async def test_videos_may_come_over_time(tmp_path: Path) -> None:
    """Each begins when it comes; of those that wait, the one that is deleted first goes first."""
    gate = asyncio.Event()

    async def handle(arrival: Arrival) -> Action:
        if arrival.path == "/age1":
            await gate.wait()
        return Reply(body=body_of(arrival))

    async with scripted(handle) as service:
        ages = [1, 2, 20, 5]
        videos = videos_at(service.url, *(f"age{age}" for age in ages), hours=lambda number: ages[number])

        async def come() -> AsyncIterator[Video]:
            for video in videos:
                yield video
                await asyncio.sleep(1)
            gate.set()
            await asyncio.sleep(100)

        outcomes = await download_all(come(), tmp_path, concurrency=1)
    assert [arrival.path for arrival in service.arrivals] == ["/age1", "/age20", "/age5", "/age2"]
    assert [outcome.video for outcome in outcomes] == videos
    assert all(outcome.path is not None for outcome in outcomes)


async def test_an_error_of_the_iterable_is_raised_after_the_videos_before_it(tmp_path: Path) -> None:

    async def come() -> AsyncIterator[Video]:
        for video in videos_at(service.url, "a", "b"):
            yield video
        raise ZeroDivisionError

    def give() -> Any:
        yield from videos_at(service.url, "c")
        raise ZeroDivisionError

    async with scripted(lambda arrival: Reply(body=body_of(arrival), delay=1)) as service:
        with pytest.raises(ZeroDivisionError):
            await download_all(come(), tmp_path, concurrency=1)
        assert await names(tmp_path) == ["a.mp4", "b.mp4"]
        with pytest.raises(ZeroDivisionError):
            await download_all(give(), tmp_path)
        assert await names(tmp_path) == ["a.mp4", "b.mp4", "c.mp4"]
    assert our_tasks() == []


async def test_an_error_of_a_callback_ends_the_call(tmp_path: Path) -> None:
    """Nothing is left running, and the iterable is closed."""
    closed: list[bool] = []

    async def come() -> AsyncIterator[Video]:
        try:
            for video in videos_at(service.url, *"abcdef"):
                yield video
                await asyncio.sleep(0)
            await asyncio.sleep(1000)
        finally:
            closed.append(True)

    loop = asyncio.get_running_loop()
    for broken in ({"progress": lambda *_: 1 / 0}, {"name": lambda _: 1 / 0}):
        began = loop.time()
        async with scripted(lambda arrival: Reply(body=body_of(arrival))) as service:
            with pytest.raises(ZeroDivisionError):
                await download_all(come(), tmp_path, concurrency=1, **broken)
            assert our_tasks() == []
            await asyncio.sleep(1)
            assert service.connections == set()
        assert loop.time() - began < 10
    assert closed == [True, True]
    assert await names(tmp_path) == []


async def test_progress_is_reported_with_its_video(tmp_path: Path) -> None:
    last: dict[str, tuple[int, int | None]] = {}

    def progress(video: Video, received: int, expected: int | None) -> None:
        last[video.id] = (received, expected)

    async with scripted(lambda arrival: Reply(body=body_of(arrival))) as service:
        await download_all(videos_at(service.url, "a", "bb"), tmp_path, progress=progress)
    assert last == {"a": (2000, 2000), "bb": (3000, 3000)}


async def test_an_async_function_for_names_is_refused(tmp_path: Path) -> None:
    async def name(video: Video) -> str:
        return video.id

    with pytest.raises(ConfigurationError, match="name: must be a plain function"):
        await download_all([], tmp_path, name=name)  # type: ignore[arg-type]


async def test_a_call_that_is_cancelled_anywhere_can_be_made_again(tmp_path: Path) -> None:
    """No task, connection or descriptor is left, and the next call brings what is missing."""
    host = FileHost(cuts=[300_000, len(CLIP)] * 2000)

    async def check() -> None:
        await settle()
        assert our_tasks() == []
        left = {name.removesuffix(".json").removesuffix(".part") for name in await names(tmp_path)}
        assert left <= {"a.mp4", "b.mp4"}
        assert await asyncio.to_thread(open_files, tmp_path) == []

    async with scripted(host) as service:

        async def come() -> AsyncIterator[Video]:
            for video in videos_at(service.url, "a", "b"):
                yield video

        await cancel_everywhere(
            lambda: download_all(come(), tmp_path, concurrency=2, overwrite=True), check, at_least=5
        )
        await asyncio.sleep(1)
        assert service.connections == set()
    assert await names(tmp_path) == ["a.mp4", "b.mp4"]
    assert [await content(tmp_path / name) for name in ("a.mp4", "b.mp4")] == [CLIP, CLIP]


# --- all videos of a client --------------------------------------------------------------------------


async def test_a_client_downloads_every_finished_video(
    simulator: Simulator, client: AIVideoMaker, tmp_path: Path
) -> None:
    """Once: an existing file is left alone the next time."""

    def spec(prompt: str) -> TextToVideo:
        return TextToVideo(prompt=prompt, aspect_ratio="16:9", duration=5)

    videos = [await client.generate(spec("new")) for _ in range(2)]
    failed = await client.submit(spec("[fail]"))
    with pytest.raises(TaskFailed):
        await failed.result()
    await client.submit(spec("unfinished"))
    outcomes = await client.download_all(tmp_path, concurrency=2)
    assert [outcome.video for outcome in outcomes] == videos[::-1]
    assert [(await content(outcome.unwrap()))[4:8] for outcome in outcomes] == [b"ftyp"] * 2
    again = await client.download_all(tmp_path)
    assert [outcome.skipped for outcome in again] == [True, True]
    files_asked = [arrival.status for arrival in simulator.requests if arrival.path.startswith("/videos")]
    assert files_asked == [200, 200, 206, 206]


async def test_a_client_lists_once_and_leaves_out_expired_videos(tmp_path: Path) -> None:
    """One query. The file is requested without the key, over the connections of the client's session."""

    def handle(arrival: Arrival) -> Action:
        if arrival.path.startswith("/api"):
            rows = [
                row("new", "COMPLETED", output={"url": f"{service.url}/new"}, completedAt=None, createdAt=None),
                row("old", "COMPLETED", output={"url": f"{service.url}/old"}),
                row("nowhere", "COMPLETED", output=None),
                row("failed", "FAILED"),
            ]
            return Reply(body={"tasks": rows})
        return Reply(body=b"x")

    async with scripted(handle) as service, aiohttp.ClientSession() as http:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter(), http=http) as client:
            outcomes = await client.download_all(tmp_path, name=lambda video: video.id)
    assert [(outcome.video.id, outcome.path) for outcome in outcomes] == [("new", tmp_path / "new")]
    assert service.paths() == ["GET /api/v1/tasks", "GET /new"]
    assert {arrival.connection for arrival in service.arrivals} == {1}, "both came through the same session"
    assert service.arrivals[0].headers["key"] == "ak_test"
    assert "key" not in service.arrivals[1].headers


@pytest.mark.parametrize(("date", "stamps"), [(0, 0), (-48, -48), (48, 48), (48, 0), (None, 0)])
async def test_clocks_that_disagree_hide_no_video(date: float | None, stamps: float, tmp_path: Path) -> None:
    """Hours by which the service's clock is ahead of this one, in its responses and in the stamps of its tasks."""

    def stamp(hours: float) -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    def handle(arrival: Arrival) -> Action:
        if not arrival.path.startswith("/api"):
            return Reply(body=b"x")
        ages = {"new": 0.1, "older": 23, "gone": 30}
        rows = [
            row(name, "COMPLETED", output={"url": f"{service.url}/x"}, completedAt=stamp(stamps - age).isoformat())
            for name, age in ages.items()
        ]
        headers = {} if date is None else {"Date": format_datetime(stamp(date), usegmt=True)}
        return Reply(body={"tasks": rows}, headers=headers)

    async with scripted(handle) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            outcomes = await client.download_all(tmp_path)
    assert [outcome.video.id for outcome in outcomes][:2] == ["new", "older"]
    assert {outcome.error for outcome in outcomes} == {None}
    # If one clock is ahead of the other, an expired video may seem to exist still.
    assert len(outcomes) == 2 + (stamps > 0)
