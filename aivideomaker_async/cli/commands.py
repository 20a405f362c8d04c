"""The commands that talk to the service.

Each checks its arguments at once, and returns the coroutine that does the rest.
"""

from __future__ import annotations

from pathlib import Path

import attrs

from ..pricing import PRICES_2026_03, USD_PER_CREDIT
from ..secrecy import redact, told
from ..specs import VideoSpec
from ..tasks import TaskDetails
from ..video_task import VideoTask
from .context import Context, Ctx, Job
from .display import Board, size
from .exits import Exit
from .options import Overwrite, SaveTo, TaskId, Timeout, check_target
from .waiting import Saved, estimate, follow, iso, report, save, submit

__all__ = ["cancel", "generate", "get", "list_tasks", "status", "watch"]


@attrs.frozen
class _Wish:
    """How long to wait for a video, and where to save it."""

    timeout: float | None
    path: Path | None
    overwrite: bool


def generate(context: Context, spec: VideoSpec, *, timeout: float | None, path: Path | None, overwrite: bool) -> Job:
    """Submit `spec` and wait for its video. `arguments` makes a command of this for each model."""
    check_target(path, overwrite=overwrite)
    return _generate(context, spec, _Wish(timeout, path, overwrite))


async def _generate(context: Context, spec: VideoSpec, wish: _Wish) -> int:
    expected = estimate(spec)
    async with context.client() as client:
        context.output.say(_price(spec, expected))
        task = await submit(context, client, spec)
        context.waiting(task.id, wish.path)
        charged = None if task.submitted is None else task.submitted.credits_charged
        known = "" if expected is None else f"~{expected}"
        return await _wait(context, task, spec.model, known if charged is None else str(charged), wish)


def _price(spec: VideoSpec, credits: int | None) -> str:  # noqa: A002  (the API's word)
    if credits is None:
        return f"price: not known for {spec.model}; the service decides"
    dollars = credits * USD_PER_CREDIT
    return f"price: about {credits} credits (USD {dollars:.2f}) by the table of {PRICES_2026_03.revision}"


async def _wait(context: Context, task: VideoTask, label: str, credits: str, wish: _Wish) -> int:  # noqa: A002
    saved = None
    with Board(context.output) as board:
        row = board.add(label, task_id=task.id, credits=credits)
        video = await follow(context, task, board, row, wish.timeout)
        if wish.path is not None:
            saved = await save(context, video, wish.path, board, row, overwrite=wish.overwrite)
    context.done()
    report(context, video, saved)
    context.output.result(video.url if saved is None else str(saved.path))
    context.output.say(_kept(saved))
    return Exit.OK


def _kept(saved: Saved | None) -> str:
    return "the service deletes the file after 24 hours" if saved is None else f"saved, {size(saved.bytes)}"


def watch(
    task_id: TaskId,
    /,
    *,
    output: SaveTo = None,
    overwrite: Overwrite = False,
    timeout: Timeout = None,
    context: Ctx,
) -> Job:
    """Wait for a task that was submitted before, here or elsewhere."""
    check_target(output, overwrite=overwrite)
    return _watch(context, task_id, _Wish(timeout, output, overwrite))


async def _watch(context: Context, task_id: str, wish: _Wish) -> int:
    async with context.client() as client:
        context.waiting(task_id, wish.path)
        return await _wait(context, client.task(task_id), "", "", wish)


async def status(task_id: TaskId, /, *, context: Ctx) -> int:
    """Print the status of a task, once."""
    context.task_id = task_id
    async with context.client() as client:
        found = await client.get_status(task_id)
    context.output.event("status", task_id=task_id, status=found, previous=None, at=None)
    context.output.result(found)
    return Exit.OK


async def get(task_id: TaskId, /, *, context: Ctx) -> int:
    """Print everything that the service tells about a task."""
    context.task_id = task_id
    async with context.client() as client:
        details = await client.get_task(task_id)
    context.output.event("task", **_fields(details))
    context.output.result(_lines(details))
    return Exit.OK


async def list_tasks(*, context: Ctx) -> int:
    """Print all tasks of this key, the newest first."""
    async with context.client() as client:
        tasks = await client.list_tasks()
    for details in tasks:
        context.output.event("task", **_fields(details))
    if tasks:
        width = max(len(details.id) for details in tasks)
        # All at once: a reader that only wants the first line shall not close the pipe on the others.
        context.output.result("\n".join(_line(details, width) for details in tasks))
    else:
        context.output.say("no tasks")
    return Exit.OK


async def cancel(task_id: TaskId, /, *, context: Ctx) -> int:
    """Cancel a task and get its credits back, which works only while it is SUBMITTED."""
    context.task_id = task_id
    async with context.client() as client:
        outcome = await client.cancel(task_id)
    context.output.event("cancel", task_id=task_id, cancelled=outcome.cancelled, status=outcome.status)
    context.output.result(outcome.status)
    if outcome.cancelled:
        return Exit.OK
    context.output.say("too late: only a task that is SUBMITTED can be cancelled")
    return Exit.TASK_FAILED


def _fields(details: TaskDetails) -> dict[str, object]:
    output = details.output
    return {
        "task_id": details.id,
        "status": details.status,
        "model": details.model,
        "input": dict(details.input),
        "output": None if output is None else {"url": output.url, "message": output.message, "error": output.error},
        "created_at": iso(details.created_at),
        "completed_at": iso(details.completed_at),
        "credits_charged": details.credits_charged,
        "credits_refunded": details.credits_refunded,
        "idempotency_key": details.idempotency_key,
        "extra": dict(details.extra),
    }


def _lines(details: TaskDetails) -> str:
    """What is known of a task, a line each: `input.prompt  A sunset`."""
    fields = _fields(details)
    for group in ("input", "output", "extra"):
        inner = redact(fields.pop(group))
        if isinstance(inner, dict):
            fields |= {f"{group}.{name}": value for name, value in inner.items()}
    if details.output is not None:
        # The address is what they want, and of a reason the whole.
        fields |= {"output.url": details.url, "output.error": _reason(details.output.error)}
        fields |= {"output.message": _reason(details.output.message)}
    shown = {name: value for name, value in fields.items() if value is not None}
    width = max(map(len, shown))
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in shown.items())


def _reason(text: str | None) -> str | None:
    return None if text is None else told(text, 2000)


def _line(details: TaskDetails, width: int) -> str:
    created = "" if details.created_at is None else f"{details.created_at:%Y-%m-%d %H:%M:%S}"
    return f"{details.id.ljust(width)}  {details.status:<9}  {details.model or '?':<7}  {created}".rstrip()
