"""The bodies that the simulator writes: its own JSON, independent of what the SDK reads.

From api.md, Bodies.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from attrs import frozen

from .contract import Order, Refusal, Revision
from .timeline import COMPLETED, FAILED, Timeline
from .world import CONFLICT, Task

VENDOR_URL = "https://aivideomaker.ai"
"""Task URLs in a submit's answer name the vendor's host, as the real ones do."""

KEPT_SECONDS = 24 * 3600.0
"""Simulated seconds that a finished file is kept."""

_USD_PER_CREDIT = 0.01
_KEPT_MESSAGE = "The video is kept for 24 hours"


def iso(moment: datetime) -> str:
    """Write a time as the API does: ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_body(refusal: Refusal, revision: Revision) -> dict[str, object]:
    """Write the body of an error answer."""
    body: dict[str, object] = {"status": "FAILED", "message": refusal.message}
    # Not all have a code: of a task that is not there, the HTTP status says enough.
    if refusal.code is not None and (revision.error_codes or refusal.code == CONFLICT):
        body["errorCode"] = refusal.code
    if revision.error_codes or "errorCode" in body:
        body["error"] = refusal.message
    return body


def submitted_body(task: Task, *, replay: bool | None = None, billing: bool = False) -> dict[str, object]:
    """Write the answer to a submit. `replay` says whether the task is that of an earlier one, None says nothing.

    With `billing` it tells what the task has cost: a replay tells it again, and costs nothing.
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


def quote_body(order: Order, balance: int) -> dict[str, object]:
    """Write the answer to a quote."""
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
    """What the owner of the key has set, and what the account tells of it. None is no limit."""

    models: tuple[str, ...]
    daily_credits: int | None = None
    generations: int | None = None
    warning_at: int | None = None


def account_body(balance: int, guardrails: Guardrails) -> dict[str, object]:
    """Write the answer to a query of the account."""
    return {
        "ok": True,
        "apiVersion": "v1",
        "skillVersion": "1.0.15",
        "currentBalance": balance,
        "supportedModels": list(guardrails.models),
        "dailyCreditLimit": _or_unlimited(guardrails.daily_credits),
        "generationRequestsPerMinute": _or_unlimited(guardrails.generations),
        "creditWarningAt": _or_unlimited(guardrails.warning_at),
    }


def _or_unlimited(limit: int | None) -> int:
    return -1 if limit is None else limit


@frozen
class _Written:
    """What was written of a task, good from the simulated second `since` up to `until`."""

    timeline: Timeline
    since: float
    until: float
    text: bytes


class Scribe:
    """Writes tasks. What it wrote is kept while a task stays the same, since lists repeat it.

    `wall` turns simulated seconds into a wall time. `base_url` is where files are served. With
    `keys`, tasks tell the idempotency key of their submit, with `billing` what they cost.
    """

    def __init__(self, wall: Callable[[float], datetime], *, keys: bool = False, billing: bool = False) -> None:
        self.base_url = ""
        self._wall = wall
        self._keys = keys
        self._billing = billing
        self._written: dict[str, _Written] = {}

    def task(self, task: Task, now: float) -> bytes:
        """Write a task as JSON."""
        kept = self._written.get(task.id)
        # A list that lags asks for the past, when others have asked for the present.
        if kept is not None and kept.timeline is task.timeline and kept.since <= now < kept.until:
            return kept.text
        written = _Written(
            timeline=task.timeline,
            since=task.timeline.since(now),
            until=task.timeline.good_until(now),
            text=json.dumps(self._task(task, now)).encode(),
        )
        self._written[task.id] = written
        return written.text

    def output(self, task: Task, now: float) -> dict[str, object] | None:
        """Return the `output` of a task: the video, the error, or nothing yet."""
        status = task.status(now)
        if status == COMPLETED:
            return {"url": f"{self.base_url}/videos/{task.id}.mp4", "msg": _KEPT_MESSAGE}
        if status == FAILED:
            return {"error": task.problem}
        return None

    def _task(self, task: Task, now: float) -> dict[str, object]:
        completed = task.completed(now)
        return {
            "id": task.id,
            "createdAt": iso(self._wall(task.created)),
            "model": task.order.model,
            "input": task.order.input,
            "output": self.output(task, now),
            "status": task.status(now),
            "completedAt": None if completed is None else iso(self._wall(completed)),
            **self._billed(task, now),
        }

    def _billed(self, task: Task, now: float) -> dict[str, object]:
        key = {"idempotencyKey": task.idempotency_key if self._keys else None}
        if not self._billing:
            return {**key} if self._keys else {}
        charged, refunded = task.order.credits, task.credits_refunded(now)
        # A credit is a cent.
        costs = {"creditsCharged": charged, "creditsRefunded": refunded, "listValueCents": charged - refunded}
        return {**costs, **key}
