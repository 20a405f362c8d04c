"""The public API as type checkers see it. Checked by mypy and basedpyright, and never run.

Each wrong use has an ignore comment with its error code: a checker that misses the error reports the unused comment.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Literal, assert_type

import aivideomaker_async.tasks
from aivideomaker_async import (
    PRICES_2026_03,
    PRICES_2026_09,
    Account,
    AIVideoMaker,
    AIVideoMakerError,
    APIError,
    Budget,
    BudgetExceeded,
    CancelResult,
    ClientStatistics,
    Downloaded,
    DownloadError,
    FieldProblem,
    GenerateMany,
    HappyHorse,
    HostRateLimiter,
    ImageInput,
    ImageToVideo,
    InvalidSpec,
    Limiter,
    LimiterStatistics,
    LongVideo,
    MiniMaxH3,
    OtherModel,
    Outcome,
    OutputExpired,
    Permit,
    Price,
    PriceTable,
    Priority,
    Quote,
    RateLimiter,
    RetryPolicy,
    Seedance20,
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
    Wan27,
    download_all,
)
from aivideomaker_async.tasks import JSON, TaskHandle

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
    await client.submit(model="t2v")  # type: ignore[call-overload]
    await client.submit({"prompt": "A cat"})  # type: ignore[call-overload]
    await client.submit(SPEC, {"prompt": "A cat"})  # type: ignore[call-overload]
    await client.submit(SPEC, max_credits="100")  # type: ignore[call-overload]


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


# --- results and errors as JSON ----------------------------------------------------------------------


def kept(video: Video, change: StatusChange, lost: SubmitOutcomeUnknown, row: dict[str, object]) -> None:
    assert_type(video.to_dict(), dict[str, JSON])
    assert_type(Video.from_dict(video.to_dict()), Video)
    assert_type(StatusChange.from_dict(change.to_dict()), StatusChange)
    assert_type(TaskDetails.from_dict(row), TaskDetails)
    assert_type(lost.to_dict(), dict[str, JSON])
    assert_type(SubmitOutcomeUnknown.from_dict(row), SubmitOutcomeUnknown)
    as_any: Mapping[str, object] = video.to_dict()
    AIVideoMakerError.from_dict(as_any)  # type: ignore[attr-defined]
    Video.from_dict("{}")  # type: ignore[arg-type]


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
    LongVideo(image="https://example.com/a.png", prompts="One")  # type: ignore[arg-type]
    TextToVideo(prompt="A cat", aspect_ratio="16:9", duration=7)  # type: ignore[arg-type]
    TextToVideoV3(prompt="A cat", aspect_ratio="4:3", duration=20)  # type: ignore[arg-type]
    SPEC.prompt = "A dog"  # type: ignore[misc]
    VideoSpec()  # type: ignore[abstract]


def minimax(frame: str | bytes | Path, images: list[Path], sounds: Iterator[str]) -> None:
    spec = MiniMaxH3(prompt="A cat")
    assert_type(spec.prompt, str)
    assert_type(spec.duration, int)
    assert_type(spec.resolution, Literal["720p", "1080p"])
    assert_type(spec.tier, Literal["turbo", "base"])
    assert_type(spec.reference_images, tuple[ImageInput, ...])
    assert_type(spec.reference_audios, tuple[str, ...])
    assert_type(spec.credits(PRICES_2026_09), int)
    MiniMaxH3(prompt="A cat", duration=20, resolution="1080P", tier="base", aspect_ratio="auto")
    MiniMaxH3(prompt="A cat", image=frame, last_frame=b"bytes", resolution=720)
    MiniMaxH3(prompt="A cat", reference_images=images, reference_video="https://a.example/a.mp4")
    MiniMaxH3(prompt="A cat", reference_images=(image for image in images), reference_audios=sounds)
    MiniMaxH3(prompt="A cat", reference_images=["https://a.example/a.png", b"bytes", Path("a.png")])
    MiniMaxH3(content="A cat")  # type: ignore[call-arg]
    MiniMaxH3(prompt="A cat", resolution="480p")  # type: ignore[arg-type]
    MiniMaxH3(prompt="A cat", tier="fast")  # type: ignore[arg-type]
    MiniMaxH3(prompt="A cat", reference_images=Path("a.png"))  # type: ignore[arg-type]
    MiniMaxH3(prompt="A cat", reference_video=Path("a.mp4"))  # type: ignore[arg-type]
    MiniMaxH3(prompt="A cat", reference_audios=[b"bytes"])  # type: ignore[list-item]


def seedance() -> None:
    spec = Seedance20(image=Path("a.png"), duration=4, resolution="480p", aspect_ratio="1:1")
    assert_type(spec.image, ImageInput | None)
    assert_type(spec.video, str | None)
    assert_type(spec.resolution, Literal["480p", "720p"])
    assert_type(spec.seconds, int)
    Seedance20(prompt="A cat", audio="https://a.example/a.mp3", duration=4, resolution=720, aspect_ratio="16:9")
    Seedance20(prompt="A cat", resolution="480p", aspect_ratio="1:1")  # type: ignore[call-arg]
    Seedance20(prompt="A cat", duration=4, resolution="1080p", aspect_ratio="1:1")  # type: ignore[arg-type]
    Seedance20(video=b"bytes", duration=4, resolution="480p", aspect_ratio="1:1")  # type: ignore[arg-type]


def wan(image: BinaryIO) -> None:
    spec = Wan27(prompt="A cat", duration=10)
    assert_type(spec.prompt_extend, bool)
    assert_type(spec.aspect_ratio, Literal["16:9", "9:16", "1:1", "4:3", "3:4"])
    Wan27(prompt="A cat", image=image, duration=10, resolution="1080p", aspect_ratio="4:3", prompt_extend=True)
    Wan27(prompt="A cat")  # type: ignore[call-arg]
    Wan27(prompt="A cat", duration=8)  # type: ignore[arg-type]
    Wan27(prompt="A cat", image=[b"bytes"], duration=10)  # type: ignore[arg-type]
    Wan27(prompt="A cat", duration="10")  # type: ignore[arg-type]


def happyhorse(names: list[str], files: tuple[BinaryIO, ...]) -> None:
    spec = HappyHorse(prompt="A cat", duration=3)
    assert_type(spec.image, ImageInput | tuple[ImageInput, ...] | None)
    HappyHorse(prompt="A cat", duration=3, image=b"bytes", resolution=1080)
    HappyHorse(prompt="A cat", duration=3, image=names)
    HappyHorse(prompt="A cat", duration=3, image=files)
    HappyHorse(prompt="A cat", duration=3, image=[b"bytes", "https://a.example/a.png", Path("a.png")])
    HappyHorse(prompt="A cat", duration=3, image=5)  # type: ignore[arg-type]
    HappyHorse(prompt=None, duration=3)  # type: ignore[arg-type]


async def what_it_costs(client: AIVideoMaker, spec: MiniMaxH3 | OtherModel) -> None:
    price = await client.price(spec)
    assert_type(price, Price)
    assert_type(price.credits, int)
    assert_type(price.usd, float)
    assert_type(price.quote, Quote | None)
    assert_type(price.table, PriceTable | None)
    assert_type(spec.credits(), int)
    assert_type(OtherModel("minimax", {"content": "A cat"}).credits(prices=PRICES_2026_09), int)
    AIVideoMaker(prices=PRICES_2026_09)


async def what_may_be_spent(client: AIVideoMaker) -> None:
    budget = Budget(credits=100)
    assert_type((budget.credits, budget.spent, budget.reserved, budget.remaining), tuple[int, int, int, int])
    AIVideoMaker(budget=budget)
    await client.submit(SPEC, budget=budget)
    await client.generate(SPEC, budget=budget, max_credits=10)
    async for outcome in client.generate_many([SPEC], budget=budget, max_credits=10):
        if isinstance(outcome.error, BudgetExceeded):
            assert_type((outcome.error.credits, outcome.error.allowed), tuple[int | None, int | None])
    await client.submit(SPEC, budget=100)  # type: ignore[call-overload]
    Budget("100")  # type: ignore[arg-type]


def prices(table: PriceTable) -> None:
    assert_type(table.credits(SPEC), int)
    assert_type(table.per_second, Mapping[str, int | Mapping[str, Mapping[str, int]]])
    assert_type(table.only_quoted, frozenset[str])
    rates: dict[str, int | dict[str, dict[str, int]]] = {"t2v": 3, "minimax": {"resolution": {"720p": 3, "1080p": 4}}}
    PriceTable(revision="mine", published=date(2026, 9, 1), source="", per_second=rates, only_quoted=["wan27"])
    PriceTable(revision="mine", published=date(2026, 9, 1), source="", per_second={"t2v": 1.5})  # type: ignore[dict-item]


# --- the limiter -------------------------------------------------------------------------------------


class Unlimited:
    """A limiter of the user needs no base class."""

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
    limiter: Limiter = Unlimited()
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
        assert_type(error.task, TaskHandle)
        assert_type(error.task.id, str)
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


def wrong_names() -> None:
    """Names are imported on use, and a wrong one must be an error all the same."""
    aivideomaker_async.TextToVideos  # type: ignore[attr-defined]  # noqa: B018
    aivideomaker_async.tasks.Job  # type: ignore[attr-defined]  # noqa: B018
