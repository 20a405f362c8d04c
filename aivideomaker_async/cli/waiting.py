"""Submitting a task, waiting for its video and saving it: what `generate`, `watch` and `demo` have in common."""

from __future__ import annotations

import asyncio
import uuid
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import frozen

from .._files import Video
from ..client.client import AIVideoMaker
from ..client.task import VideoTask
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
from .context import Context
from .display import Board, Row, size
from .exits import Exit

__all__ = ["Saved", "Wish", "estimate", "follow", "iso", "report", "save", "submit", "wait"]

_DETAILS_SECONDS: Final = 60.0
"""How long a task that has ended is asked what it has produced, whatever is left of the time to wait."""


@frozen
class Wish:
    """How long to wait for a video, and where to save it."""

    timeout: float | None
    path: Path | None
    overwrite: bool


@frozen
class Saved:
    """A video in a file."""

    path: Path
    bytes: int


def estimate(spec: VideoSpec) -> int | None:
    """The estimated price in credits, or None when no table has one."""
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
    """Submit `spec` under a key of our own, which is known whatever becomes of the answer.

    Args:
        context: learns what to do if the command ends now.
        client: submits it.
        spec: what to generate.
        price: what was told of the price.
        max_credits: what it may cost; the service is asked for the price once more then.
        path: where the video shall be saved.
    """
    key = f"avm-{uuid.uuid4()}"
    context.submitting(key)
    try:
        task = await client.submit(spec, idempotency_key=key, max_credits=max_credits)
    except SubmitOutcomeUnknown:
        raise
    except asyncio.CancelledError:
        if all(lost.idempotency_key != key for lost in client.unsettled()):
            # While the price was asked for, for example: nothing was sent.
            context.refused()
        raise
    except AIVideoMakerError:
        context.refused()
        raise
    # It is paid: whatever ends the command now, its id is told.
    context.waiting(task.id, path)
    context.output.event(
        "submitted",
        task_id=task.id,
        model=spec.model,
        idempotency_key=key,
        credits_estimated=estimate(spec),
        credits_quoted=None if price is None or price.quote is None else price.credits,
        credits_charged=None if task.submitted is None else task.submitted.credits_charged,
    )
    return task


async def wait(context: Context, task: VideoTask, label: str, credits: str, wish: Wish) -> int:  # noqa: A002
    """Show how `task` goes on until it has ended, save its video if that is wished, and tell the result."""
    saved = None
    with Board(context.output) as board:
        row = board.add(label, task_id=task.id, credits=credits)
        video = await follow(context, task, board, row, wish.timeout)
        if wish.path is not None:
            saved = await save(context, video, wish.path, board, row, overwrite=wish.overwrite)
    report(context, video, saved)
    context.output.result(video.url if saved is None else str(saved.path))
    context.done()
    context.output.say(_kept(saved))
    return Exit.OK


def _kept(saved: Saved | None) -> str:
    return "the service deletes the file after 24 hours" if saved is None else f"saved, {size(saved.bytes)}"


async def follow(context: Context, task: VideoTask, board: Board, row: Row, timeout: float | None) -> Video:
    """Show every change of `task` until it has ended, and return its video."""
    try:
        async for change in task.watch(timeout=timeout):
            board.changed(row, change.status)
            context.output.event(
                "status",
                task_id=task.id,
                status=change.status,
                previous=change.previous,
                at=iso(change.at),
            )
        return await task.result(_DETAILS_SECONDS)
    except (TaskFailed, TaskCancelled, TaskNotFound):
        context.done()
        raise
    except AuthenticationFailed:
        if not row.changes:
            # Whether there is such a task was never learnt.
            context.done()
        raise


async def save(context: Context, video: Video, path: Path, board: Board, row: Row, *, overwrite: bool) -> Saved:
    """Download the video of `row`."""
    received = 0

    def progress(count: int, expected: int | None) -> None:
        nonlocal received
        received = count
        board.note(row, f"{count * 100 // expected} %" if expected else f"{count} bytes")

    try:
        # The command that takes the task up again goes on from what has come.
        target = await video.download(path, overwrite=overwrite, resume=True, progress=progress)
    except OutputExpired:
        context.done()
        raise
    board.note(row, "")
    return Saved(target, received)


def report(context: Context, video: Video, saved: Saved | None) -> None:
    """The result, for machines; what a person sees is each command's own."""
    details = video.details
    context.output.event(
        "result",
        task_id=video.id,
        model=details.model,
        status=details.status,
        url=video.url,
        path=None if saved is None else str(saved.path),
        bytes=None if saved is None else saved.bytes,
        expires_at=iso(video.expires_at),
        credits_charged=details.credits_charged,
    )


def iso(moment: datetime | None) -> str | None:
    """A moment as JSON has it."""
    return None if moment is None else moment.isoformat()
