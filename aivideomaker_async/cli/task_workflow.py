"""The steps of a task that `generate`, `watch` and `demo` share: submit, follow, save the video, report the result."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Final

from attrs import frozen

from .._files import Video
from ..client import AIVideoMaker, VideoTask
from ..errors import (
    AIVideoMakerError,
    AuthenticationFailed,
    OutputExpired,
    SubmitOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    UnknownPrice,
)
from ..pricing import Price
from ..specs import VideoSpec
from ..tasks import SubmittedTask
from .context import Context
from .exit_codes import Exit
from .progress import ProgressDisplay, TaskRow, format_size

__all__ = ["SavedVideo", "WaitOptions", "estimate", "follow", "report", "save", "submit", "wait"]

_DETAILS_TIMEOUT_S: Final = 60.0
"""How long to wait for the result of a task that has ended, even if the time to wait is over."""


@frozen
class WaitOptions:
    """How long to wait for a video, and where to save it."""

    timeout: float | None
    path: Path | None
    overwrite: bool
    allow_private: bool = False


@frozen
class SavedVideo:
    """A video in a file."""

    path: Path
    bytes: int


def estimate(spec: VideoSpec) -> int | None:
    """Return the estimated price in credits, or None when no table has one."""
    try:
        return spec.credits()
    except UnknownPrice:
        return None


async def submit(
    context: Context,
    client: AIVideoMaker,
    spec: VideoSpec,
    *,
    price: Price | None = None,
    max_credits: int | None = None,
    path: Path | None = None,
) -> VideoTask:
    """Submit `spec` with an idempotency key of the command, which can be reported even if the answer is lost.

    Args:
        context: gets the advice for the case that the command ends now.
        client: the client.
        spec: what to generate.
        price: the price that was shown.
        max_credits: the most that it may cost. With a limit, the client asks for the price once more.
        path: where the video will be saved.
    """
    key = f"avm-{uuid.uuid4()}"
    context.submit_started(key)
    try:
        task = await client.submit(spec, idempotency_key=key, max_credits=max_credits)
    except SubmitOutcomeUnknown:
        raise
    except asyncio.CancelledError:
        if all(lost.idempotency_key != key for lost in client.unsettled()):
            # Cancelled before the submit was sent, for example while the client asked for the price.
            context.submit_refused()
        raise
    except AIVideoMakerError:
        context.submit_refused()
        raise
    is_quoted = price is not None and price.quote is not None
    # The task is paid: from now on every end of the command reports its id.
    context.wait_started(task.id, path)
    answer = task.submitted or SubmittedTask(task_id=task.id)
    context.output.event(
        "submitted",
        **answer.to_dict(),
        model=spec.model,
        idempotency_key=key,
        # Beside a quote, an estimate by the table of another revision would only confuse.
        credits_estimated=None if is_quoted else estimate(spec),
        credits_quoted=price.credits if price is not None and is_quoted else None,
    )
    return task


async def wait(context: Context, task: VideoTask, label: str, credits: str, options: WaitOptions) -> int:  # noqa: A002
    """Show the progress of `task` until it has ended, save its video if there is a path, and report the result."""
    saved = None
    with ProgressDisplay(context.output) as display:
        row = display.add(label, task_id=task.id, credits=credits)
        video = await follow(context, task, display, row, options.timeout)
        if options.path is not None:
            saved = await save(context, video, options.path, display, row, options)
    report(context, video, saved)
    context.output.result(video.url if saved is None else str(saved.path))
    context.finished()
    kept = "the service deletes the file after 24 hours"
    context.output.message(kept if saved is None else f"saved, {format_size(saved.bytes)}")
    return Exit.OK


async def follow(
    context: Context, task: VideoTask, display: ProgressDisplay, row: TaskRow, timeout: float | None
) -> Video:
    """Show every change of `task` until it has ended, and return its video."""
    try:
        async for change in task.watch(timeout=timeout):
            display.changed(row, change.status)
            context.output.event("status", **change.to_dict())
        return await task.result(_DETAILS_TIMEOUT_S)
    except (TaskFailed, TaskCancelled, TaskNotFound):
        context.finished()
        raise
    except AuthenticationFailed:
        if not row.changes:
            # No status was ever observed, so the task may not exist.
            context.finished()
        raise


async def save(
    context: Context, video: Video, path: Path, display: ProgressDisplay, row: TaskRow, options: WaitOptions
) -> SavedVideo:
    """Download the video of `row`."""
    received = 0

    def progress(count: int, expected: int | None) -> None:
        nonlocal received
        received = count
        display.note(row, f"{count * 100 // expected} %" if expected else f"{count} bytes")

    try:
        # A command that picks the task up again resumes the download.
        target = await video.download(
            path,
            overwrite=options.overwrite,
            resume=True,
            progress=progress,
            # Without the option, it depends on where the service is.
            allow_private=options.allow_private or None,
        )
    except OutputExpired:
        context.finished()
        raise
    display.note(row, "")
    return SavedVideo(target, received)


def report(context: Context, video: Video, saved: SavedVideo | None) -> None:
    """Report the result as an event. Each command has its own form for people."""
    details = video.details
    context.output.event(
        "result",
        **video.to_dict(),
        model=details.model,
        status=details.status,
        path=None if saved is None else str(saved.path),
        bytes=None if saved is None else saved.bytes,
        credits_charged=details.credits_charged,
    )
