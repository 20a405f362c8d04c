"""The JSON bodies that the simulator sends (api.md, Bodies), written without code of the SDK that reads them.

`TaskWriter` keeps the text of each task, and `TaskListWriter` keeps blocks of the list: an account with many thousands
of old tasks is listed again and again, and all but its newest rows are the same each time.
"""

import json
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime

from attrs import frozen

from .contract import Refusal, Revision, VideoOrder
from .links import signed_query
from .state import COMPLETED, FAILED, IDEMPOTENCY_CONFLICT, AccountState, Task, Timeline

VENDOR_URL = "https://aivideomaker.ai"
"""Like those of the service, the task URLs in the answer to a submit have the vendor's host."""

FILE_KEPT_S = 24 * 3600.0
"""Simulated seconds for which a finished file is kept."""

LIST_BLOCK_TASKS = 256
"""Tasks in a block. With rows of half a kilobyte, a block is large enough to be sent by itself."""

_USD_PER_CREDIT = 0.01
_FILE_KEPT_MESSAGE = "The video is kept for 24 hours"
_ROW_SEPARATOR = b", "


def iso(moment: datetime) -> str:
    """Format a time as the API does: ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_body(refusal: Refusal, revision: Revision) -> dict[str, object]:
    """Return the body of an error answer."""
    body: dict[str, object] = {"status": "FAILED", "message": refusal.message}
    # Some errors have no code, such as a 404 for an unknown task.
    if refusal.code is not None and (revision.error_codes or refusal.code == IDEMPOTENCY_CONFLICT):
        body["errorCode"] = refusal.code
    # Those of the live service with these codes have no `error` (api.md, Models).
    if (revision.error_codes or "errorCode" in body) and refusal.code not in {"AUTH_FAILED", "INVALID_MODEL"}:
        body["error"] = refusal.message
    return body


def submitted_body(task: Task, *, replay: bool | None = None, billing: bool = False) -> dict[str, object]:
    """Return the body of the answer to a submit.

    Args:
        task: the task.
        replay: whether it is the task of an earlier submit. None leaves the field out.
        billing: whether to report the credits of the task. A replay reports them again, and costs nothing.
    """
    url = f"{VENDOR_URL}/api/v1/tasks/{task.id}"
    body: dict[str, object] = {
        "status": "SUBMITTED",
        "taskId": task.id,
        "responseUrl": url,
        "statusUrl": f"{url}/status",
        "cancelUrl": f"{url}/cancel",
    }
    if billing:
        body["creditsCharged"] = task.order.credits
    return body if replay is None else {**body, "idempotentReplay": replay}


def quote_body(order: VideoOrder, balance: int) -> dict[str, object]:
    """Return the body of the answer to a quote."""
    return {
        "model": order.model,
        "credits": order.credits,
        "listPriceUsd": round(order.credits * _USD_PER_CREDIT, 2),
        "usdPerCredit": _USD_PER_CREDIT,
        "currentBalance": balance,
        "affordable": order.credits <= balance,
        "billable": False,
    }


@frozen(kw_only=True)
class Guardrails:
    """The limits that the owner of the key has set, as the account reports them. None is no limit."""

    models: tuple[str, ...]
    daily_credits: int | None = None
    submits_per_minute: int | None = None
    warning_at: int | None = None


def account_body(balance: int, guardrails: Guardrails) -> dict[str, object]:
    """Return the body of the answer to a query of the account."""
    return {
        "ok": True,
        "apiVersion": "v1",
        "skillVersion": "1.0.15",
        "currentBalance": balance,
        "supportedModels": list(guardrails.models),
        "dailyCreditLimit": _or_unlimited(guardrails.daily_credits),
        "generationRequestsPerMinute": _or_unlimited(guardrails.submits_per_minute),
        "creditWarningAt": _or_unlimited(guardrails.warning_at),
    }


def _or_unlimited(limit: int | None) -> int:
    return -1 if limit is None else limit


@frozen
class _CachedTask:
    """The text of a task, valid from the simulated second `since` up to `until`."""

    timeline: Timeline
    since: float
    until: float
    text: bytes


class TaskWriter:
    """A writer of tasks that caches the text of each task until the task changes.

    Args:
        wall_time: converts simulated seconds to the wall time that is reported.
        keys: whether tasks have the idempotency key of their submit.
        billing: whether tasks have the credits that they cost.
        link_lifetime: for how many simulated seconds the address of a video works; None for no end. With an end, each
            answer has a new address, so that the text of a task with a video is written each time.
    """

    def __init__(
        self,
        wall_time: Callable[[float], datetime],
        *,
        keys: bool = False,
        billing: bool = False,
        link_lifetime: float | None = None,
    ) -> None:
        self.base_url = ""
        """Where files are served. Set when the server listens."""
        self._wall_time = wall_time
        self._keys = keys
        self._billing = billing
        self._link_lifetime = link_lifetime
        self._cache: dict[str, _CachedTask] = {}

    def task(self, task: Task, now: float) -> bytes:
        """Return a task as JSON."""
        cached = self._cache.get(task.id)
        # A list that lags asks for the past, after others have asked for the present.
        if cached is not None and cached.timeline is task.timeline and cached.since <= now < cached.until:
            return cached.text
        written = _CachedTask(
            timeline=task.timeline,
            since=task.timeline.since(now),
            until=self.valid_until(task, now),
            text=json.dumps(self._fields(task, now)).encode(),
        )
        self._cache[task.id] = written
        return written.text

    def valid_until(self, task: Task, now: float) -> float:
        """Return until when the text of a task stays the same."""
        is_signed = self._link_lifetime is not None and task.status(now) == COMPLETED
        return now if is_signed else task.timeline.valid_until(now)

    def output(self, task: Task, now: float) -> dict[str, object] | None:
        """Return the `output` of a task: the video, the error, or None."""
        status = task.status(now)
        if status == COMPLETED:
            url = f"{self.base_url}/videos/{task.id}.mp4"
            if self._link_lifetime is not None:
                url += f"?{signed_query(task.id, now + self._link_lifetime)}"
            return {"url": url, "msg": _FILE_KEPT_MESSAGE}
        if status == FAILED:
            return {"error": task.failure}
        return None

    def _fields(self, task: Task, now: float) -> dict[str, object]:
        completed = task.completed(now)
        fields: dict[str, object] = {
            "id": task.id,
            "createdAt": iso(self._wall_time(task.created)),
            "model": task.order.model,
            "input": task.order.input,
            "output": self.output(task, now),
            "status": task.status(now),
            "completedAt": None if completed is None else iso(self._wall_time(completed)),
        }
        if self._billing:
            charged, refunded = task.order.credits, task.credits_refunded(now)
            # A credit is a cent.
            fields |= {"creditsCharged": charged, "creditsRefunded": refunded, "listValueCents": charged - refunded}
        if self._billing or self._keys:
            fields["idempotencyKey"] = task.idempotency_key if self._keys else None
        return fields


@frozen
class _CachedBlock:
    """The rows of a block, valid from the last step of one of its tasks until the next."""

    rows: bytes
    changes: int
    since: float
    until: float


class TaskListWriter:
    """A writer of the task list that caches whole blocks while none of their tasks changes."""

    def __init__(self, state: AccountState, writer: TaskWriter) -> None:
        self._state = state
        self._writer = writer
        self._cache: dict[int, _CachedBlock] = {}

    def pieces(self, now: float, limit: int | None = None) -> list[bytes]:
        """Return the body in pieces: the newest `limit` of the tasks that existed at `now`, newest first."""
        stop = bisect_right(self._state.in_order, now, key=lambda task: task.created)
        oldest = 0 if limit is None else max(0, stop - limit)
        rows: list[bytes] = []
        while stop > oldest:
            start = max(oldest, (stop - 1) // LIST_BLOCK_TASKS * LIST_BLOCK_TASKS)
            # Only a whole block stays the same when tasks are added.
            is_whole = stop - start == LIST_BLOCK_TASKS
            rows.append(self._block(start, now) if is_whole else self._rows(start, stop, now))
            stop = start
        newest = b"".join(rows[:1])
        return [b'{"tasks": [' + newest.removeprefix(_ROW_SEPARATOR), *rows[1:], b"]}"]

    def _block(self, start: int, now: float) -> bytes:
        cached = self._cache.get(start)
        if cached is not None and cached.changes == self._state.changes and cached.since <= now < cached.until:
            return cached.rows
        stop = start + LIST_BLOCK_TASKS
        tasks = self._state.in_order[start:stop]
        since = max(task.timeline.since(now) for task in tasks)
        until = min(self._writer.valid_until(task, now) for task in tasks)
        block = _CachedBlock(self._rows(start, stop, now), self._state.changes, since, until)
        self._cache[start] = block
        return block.rows

    def _rows(self, start: int, stop: int, now: float) -> bytes:
        """Return these tasks, newest first, with a separator before each."""
        tasks = reversed(self._state.in_order[start:stop])
        return _ROW_SEPARATOR.join([b"", *(self._writer.task(task, now) for task in tasks)])
