"""The public face as type checkers see it. Checked by mypy and basedpyright, and never run.

A wrong use has an ignore that names its error: a checker that no longer finds it complains about the ignore.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO, assert_type

from aivideomaker_async import (
    PRICES_2026_03,
    Account,
    AIVideoMaker,
    AIVideoMakerError,
    APIError,
    CancelResult,
    ClientStatistics,
    Downloaded,
    DownloadError,
    FieldProblem,
    GenerateMany,
    HostRateLimiter,
    ImageToVideo,
    InvalidSpec,
    Limiter,
    LimiterStatistics,
    LongVideo,
    OtherModel,
    Outcome,
    OutputExpired,
    Permit,
    PriceTable,
    Priority,
    Quote,
    RateLimiter,
    RetryPolicy,
    SpecLike,
    StatusChange,
    StatusWatch,
    SubmitOutcomeUnknown,
    SubmittedTask,
    TaskDetails,
    TaskFailed,
    TaskStatus,
    TextToVideo,
    TextToVideoV3,
    Video,
    VideoSpec,
    VideoStream,
    VideoTask,
    WaitTimeout,
    download_all,
)

SPEC = TextToVideo(prompt="A cat", aspect_ratio="16:9", duration=8)


# --- the client --------------------------------------------------------------------------------------


async def a_video_in_a_few_lines() -> None:
    async with AIVideoMaker() as client:
        assert_type(client, AIVideoMaker)
        task = await client.submit(SPEC)
        assert_type(task, VideoTask)
        async for change in task:
            assert_type(change, StatusChange)
            assert_type(change.status, TaskStatus)
            assert_type(change.previous, TaskStatus | None)
            assert_type(change.at, datetime)
        video = await task.result()
        assert_type(video, Video)
        assert_type(await video.download("cat.mp4"), Path)


async def every_call(client: AIVideoMaker, spec: SpecLike) -> None:
    assert_type(await client.generate(spec, timeout=3600), Video)
    assert_type(client.task("tv_1"), VideoTask)
    assert_type(await client.get_task("tv_1"), TaskDetails)
    assert_type(await client.get_status("tv_1"), TaskStatus)
    assert_type(await client.list_tasks(), list[TaskDetails])
    assert_type(await client.cancel("tv_1"), CancelResult)
    assert_type(await client.account(), Account)
    assert_type(await client.quote(spec), Quote)
    assert_type(client.statistics(), ClientStatistics)
    assert_type(client.statistics().limiter, LimiterStatistics)
    await client.aclose()


async def every_way_to_submit(client: AIVideoMaker) -> None:
    await client.submit(SPEC, webhook_url="https://me.example/hook", idempotency_key="order-17", max_credits=100)
    await client.submit(OtherModel("minimax", {"content": "A cat", "duration": 5}))
    await client.submit("minimax", {"content": "A cat", "duration": 5})
    await client.submit(("minimax", {"content": "A cat"}))
    await client.submit(model="t2v")  # type: ignore[call-arg]
    await client.submit({"prompt": "A cat"})  # type: ignore[arg-type]
    await client.submit(SPEC, max_credits="100")  # type: ignore[arg-type]


async def many(client: AIVideoMaker, specs: Iterator[TextToVideo]) -> None:
    outcomes = client.generate_many(specs, max_active=20)
    assert_type(outcomes, GenerateMany)
    async for outcome in outcomes:
        assert_type(outcome, Outcome)
        assert_type(outcome.index, int)
        assert_type(outcome.task, VideoTask | None)
        assert_type(outcome.video, Video | None)
        assert_type(outcome.error, AIVideoMakerError | None)
        assert_type(outcome.unwrap(), Video)
    for _ in outcomes:  # type: ignore[attr-defined]
        pass


def every_setting(limiter: Limiter) -> None:
    AIVideoMaker("ak_1", base_url="http://localhost:8080", timeout=10, limiter=limiter, wait_timeout=7200)
    AIVideoMaker(limiter=RateLimiter(30, 60.0, burst=2), retries=RetryPolicy(max_attempts=2))
    AIVideoMaker(base_url="http://simulator:8080", allow_http=True)
    AIVideoMaker("ak_1", "http://localhost")  # type: ignore[call-arg]
    AIVideoMaker(limiter=60)  # type: ignore[arg-type]


# --- a task ------------------------------------------------------------------------------------------


async def a_handle(task: VideoTask) -> None:
    assert_type(task.id, str)
    assert_type(task.last_status, TaskStatus | None)
    assert_type(task.submitted, SubmittedTask | None)
    assert_type(task.watch(timeout=60), StatusWatch)
    assert_type(await task.result(timeout=60), Video)
    assert_type(await task.status(), TaskStatus)
    assert_type(await task.details(), TaskDetails)
    assert_type(await task.cancel(), CancelResult)
    task.id = "other"  # type: ignore[misc]
    with task:  # type: ignore[attr-defined]
        pass


async def a_finished_video(video: Video) -> None:
    assert_type(video.id, str)
    assert_type(video.url, str)
    assert_type(video.details, TaskDetails)
    assert_type(video.expires_at, datetime)
    await video.download(Path("cat.mp4"), overwrite=True, progress=lambda got, of: print(got, of))  # noqa: T201
    async with video.stream() as pieces:
        assert_type(pieces, VideoStream)
        assert_type(pieces.length, int | None)
        assert_type(pieces.content_type, str | None)
        as_usual: AsyncIterator[bytes] = pieces
        async for piece in as_usual:
            assert_type(piece, bytes)
    await video.download("cat.mp4", resume=True, attempts=3, max_bytes=10**9, allow_private=True, timeout=5)


async def every_video(client: AIVideoMaker, videos: list[Video], later: AsyncIterator[Video]) -> None:
    outcomes = await client.download_all("videos", concurrency=2, name=lambda video: f"{video.id}.mp4")
    assert_type(outcomes, list[Downloaded])
    for outcome in outcomes:
        assert_type(outcome.video, Video)
        assert_type(outcome.path, Path | None)
        assert_type(outcome.error, DownloadError | None)
        assert_type(outcome.skipped, bool)
        assert_type(outcome.unwrap(), Path)
    await download_all(videos, Path("videos"), progress=lambda video, got, of: print(video.id, got, of))  # noqa: T201
    await download_all(later, "videos", overwrite=True, allow_private=True)
    await download_all("videos", "videos")  # type: ignore[arg-type]


def details(task: TaskDetails) -> None:
    assert_type(task.status, TaskStatus)
    assert_type(task.status == "COMPLETED", bool)
    assert_type(task.status.is_terminal, bool)
    assert_type(task.model, str | None)
    assert_type(task.input, Mapping[str, object])
    assert_type(task.created_at, datetime | None)
    assert_type(task.credits_charged, int | None)
    assert_type(task.url, str | None)
    assert_type(task.extra, Mapping[str, object])
    len(task.url)  # type: ignore[arg-type]
    task.status = TaskStatus.FAILED  # type: ignore[misc]
    TaskDetails("tv_1", TaskStatus.FAILED)  # type: ignore[call-arg]


# --- specs -------------------------------------------------------------------------------------------


def every_image(file: BinaryIO, buffer: bytearray) -> None:
    for image in ("https://example.com/a.png", b"bytes", Path("a.png")):
        ImageToVideo(image=image, duration=5)
    ImageToVideo(image=file, prompt=None, duration=5)
    ImageToVideo(image=buffer, duration=5, extra={"filterMode": "strict"})
    ImageToVideo(image=None, duration=5)  # type: ignore[arg-type]
    ImageToVideo(image=5, duration=5)  # type: ignore[arg-type]


def specs(spec: VideoSpec) -> None:
    assert_type(spec.seconds, int)
    assert_type(spec.credits(), int)
    assert_type(spec.credits(PRICES_2026_03), int)
    assert_type(spec.extra, Mapping[str, object])
    LongVideo(image="https://example.com/a.png", prompts=("One", "Two"))
    LongVideo(image="https://example.com/a.png", prompts=["One", "Two"])
    TextToVideoV3(prompt="A cat", aspect_ratio="9:16", duration=20)
    TextToVideo("A cat", "16:9", 8)  # type: ignore[call-arg, arg-type]
    TextToVideo(prompt="A cat", duration=8)  # type: ignore[call-arg]
    TextToVideo(prompt="A", aspect_ratio="4:3", duration=8)  # type: ignore[arg-type]
    TextToVideo(prompt="A", aspect_ratio="1:1", duration="8")  # type: ignore[arg-type]
    LongVideo(image="https://example.com/a.png", prompts=5)  # type: ignore[arg-type]
    SPEC.prompt = "A dog"  # type: ignore[misc]
    VideoSpec()  # type: ignore[abstract]


def prices(table: PriceTable) -> None:
    assert_type(table.credits(SPEC), int)
    assert_type(table.per_second, Mapping[str, int | Mapping[str, Mapping[str, int]]])


# --- the limiter -------------------------------------------------------------------------------------


class EveryoneMay:
    """A limiter of one's own needs no base class."""

    pace = 1.0

    async def acquire(self, priority: Priority = Priority.FOREGROUND) -> Permit:
        raise NotImplementedError

    def acquire_nowait(self) -> Permit | None:
        return None

    def pause(self, seconds: float) -> None:
        del seconds

    def statistics(self) -> LimiterStatistics:
        raise NotImplementedError


async def limiters() -> None:
    limiter: Limiter = EveryoneMay()
    limiter = HostRateLimiter()
    limiter = HostRateLimiter(30, 60.0, "name", burst=2, directory=Path("state"), clock=lambda: 0.0)
    assert_type(limiter.for_origin("a.example"), HostRateLimiter)
    limiter = RateLimiter()
    permit = await limiter.acquire(Priority.BACKGROUND)
    assert_type(permit, Permit)
    assert_type(limiter.acquire_nowait(), Permit | None)
    assert_type(limiter.statistics(), LimiterStatistics)
    permit.settle(answered=False)
    permit.settle(False)  # type: ignore[call-arg]
    limiter.acquire_nowait().settle()  # type: ignore[union-attr]
    RateLimiter(60, 60.0, 3)  # type: ignore[call-arg]
    HostRateLimiter(60, 60.0, 3)  # type: ignore[arg-type]


# --- errors ------------------------------------------------------------------------------------------


async def errors(task: VideoTask, client: AIVideoMaker) -> None:
    try:
        await task.result()
    except TaskFailed as error:
        assert_type(error.details, TaskDetails)
    except WaitTimeout as error:
        as_usual: TimeoutError = error
        assert_type(error.task, VideoTask)
        assert_type(error.last_status, TaskStatus | None)
        del as_usual
    except OutputExpired as error:
        assert_type(error.age, timedelta | None)
    except APIError as error:
        assert_type(error.status, int)
        assert_type(error.code, str | None)
        assert_type(error.retry_after, float | None)
        error.details  # type: ignore[attr-defined]  # noqa: B018
    try:
        await client.submit(SPEC)
    except InvalidSpec as error:
        wrong: ValueError = error
        assert_type(error.problems, tuple[FieldProblem, ...])
        del wrong
    except SubmitOutcomeUnknown as error:
        assert_type(error.idempotency_key, str)
        assert_type(error.candidates, tuple[TaskDetails, ...])
