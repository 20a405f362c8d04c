"""The commands on existing tasks and on the account.

Each checks its arguments at once, and returns the coroutine that does the rest.
"""

from __future__ import annotations

from typing import Final

from .._redaction import redact, sanitize
from ..errors import EndpointNotFound
from ..specs import SPECS
from ..tasks import Account, TaskDetails
from .context import Context, InjectedContext, Job
from .exit_codes import Exit
from .options import AllowPrivate, Overwrite, SaveTo, TaskId, Timeout, check_target
from .prices import in_dollars
from .progress import format_table
from .task_workflow import WaitOptions, wait

__all__ = ["account", "cancel", "get", "list_tasks", "status", "watch"]

_NO_ACCOUNT: Final = "this service has no account endpoint: it speaks the revision 2026-03, or the base URL is wrong"


def watch(
    task_id: TaskId,
    /,
    *,
    output: SaveTo = None,
    overwrite: Overwrite = False,
    allow_private: AllowPrivate = False,
    timeout: Timeout = None,
    context: InjectedContext,
) -> Job:
    """Wait for a task that was submitted before, here or elsewhere."""
    check_target(output, overwrite=overwrite)
    options = WaitOptions(timeout=timeout, path=output, overwrite=overwrite, allow_private=allow_private)
    return _watch(context, task_id, options)


async def _watch(context: Context, task_id: str, options: WaitOptions) -> int:
    async with context.client() as client:
        context.wait_started(task_id, options.path)
        return await wait(context, client.task(task_id), "", "", options)


async def status(task_id: TaskId, /, *, context: InjectedContext) -> int:
    """Print the status of a task, once."""
    context.task_id = task_id
    async with context.client() as client:
        found = await client.get_status(task_id)
    context.output.event("status", task_id=task_id, status=found, previous=None, at=None, eta=None)
    context.output.result(found)
    return Exit.OK


async def get(task_id: TaskId, /, *, context: InjectedContext) -> int:
    """Print everything that the service knows about a task."""
    context.task_id = task_id
    async with context.client() as client:
        details = await client.get_task(task_id)
    context.output.event("task", **details.to_dict())
    context.output.result(_lines(details))
    return Exit.OK


async def list_tasks(*, context: InjectedContext) -> int:
    """Print all tasks of this key, the newest first."""
    async with context.client() as client:
        tasks = await client.list_tasks()
    for details in tasks:
        context.output.event("task", **details.to_dict())
    if tasks:
        width = max(len(details.id) for details in tasks)
        # In one piece: a reader that takes only the first line, such as `head -1`, would close the pipe before the
        # others.
        context.output.result("\n".join(_line(details, width) for details in tasks))
    else:
        context.output.message("no tasks")
    return Exit.OK


async def cancel(task_id: TaskId, /, *, context: InjectedContext) -> int:
    """Cancel a task and get its credits back, which works only while it is SUBMITTED."""
    context.task_id = task_id
    async with context.client() as client:
        outcome = await client.cancel(task_id)
    context.output.event("cancel", **outcome.to_dict())
    context.output.result(outcome.status)
    if outcome.cancelled:
        return Exit.OK
    context.output.message("too late: only a task that is SUBMITTED can be cancelled")
    return Exit.TASK_FAILED


async def account(*, context: InjectedContext) -> int:
    """Print the balance, the guardrails and the models of the account."""
    async with context.client() as client:
        try:
            found = await client.account()
        except EndpointNotFound:
            context.advice = _NO_ACCOUNT
            raise
    missing = [model for model in SPECS if model not in found.supported_models]
    form = found.to_dict()
    context.output.event("account", **{**form, "missing_models": missing, "extra": redact(form["extra"])})
    context.output.result(format_table(_account_rows(found)))
    if missing and found.supported_models:
        context.output.message(f"note: {', '.join(missing)} not among them: the service may refuse other models")
    return Exit.OK


def _account_rows(found: Account) -> dict[str, str]:
    daily, rate, warning = found.daily_credit_limit, found.generation_requests_per_minute, found.credit_warning_at
    return {
        "balance": in_dollars(found.current_balance),
        "daily limit": "unlimited" if daily is None else in_dollars(daily),
        "submits a minute": "unlimited" if rate is None else str(rate),
        "warning below": "no warning" if warning is None else in_dollars(warning),
        "models": sanitize(", ".join(found.supported_models)) or "not reported",
    }


def _lines(details: TaskDetails) -> str:
    """Return the fields of a task, a line each, such as `input.prompt  A sunset`."""
    fields: dict[str, object] = {**details.to_dict()}
    for group in ("input", "output", "extra"):
        inner = redact(fields.pop(group))
        if isinstance(inner, dict):
            fields |= {f"{group}.{name}": value for name, value in inner.items()}
    if details.output is not None:
        # Redaction hides and shortens these three, but people need the whole address and the whole reason.
        fields |= {"output.url": details.url, "output.error": _reason(details.output.error)}
        fields |= {"output.message": _reason(details.output.message)}
    shown = {name: value for name, value in fields.items() if value not in (None, {})}
    return format_table({name: str(value) for name, value in shown.items()})


def _reason(text: str | None) -> str | None:
    return None if text is None else sanitize(text, 2000)


def _line(details: TaskDetails, width: int) -> str:
    created = "" if details.created_at is None else f"{details.created_at:%Y-%m-%d %H:%M:%S}"
    return f"{details.id.ljust(width)}  {details.status:<9}  {details.model or '?':<7}  {created}".rstrip()
