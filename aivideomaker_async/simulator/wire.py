"""The bodies that the simulator writes: its own JSON, independent of what the SDK reads.

From api.md, Bodies.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime

from .contract import Refusal, Revision
from .timeline import COMPLETED, FAILED, Timeline
from .world import Task

VENDOR_URL = "https://aivideomaker.ai"
"""Task URLs in a submit's answer name the vendor's host, as the real ones do."""

KEPT_SECONDS = 24 * 3600.0
"""Simulated seconds that a finished file is kept."""

_KEPT_MESSAGE = "The video is kept for 24 hours"


def iso(moment: datetime) -> str:
    """Write a time as the API does: ISO 8601, UTC, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_body(refusal: Refusal, revision: Revision) -> dict[str, object]:
    """Write the body of an error answer."""
    body: dict[str, object] = {"status": "FAILED", "message": refusal.message}
    if revision.error_codes and refusal.code is not None:
        body |= {"errorCode": refusal.code, "error": refusal.message}
    return body


def submitted_body(task: Task) -> dict[str, object]:
    """Write the answer to a submit."""
    url = f"{VENDOR_URL}/api/v1/tasks/{task.id}"
    return {
        "status": "SUBMITTED",
        "taskId": task.id,
        "responseUrl": url,
        "statusUrl": f"{url}/status",
        "cancelUrl": f"{url}/cancel",
    }


class Scribe:
    """Writes tasks. What it wrote is kept while a task stays the same, since lists repeat it.

    `wall` turns simulated seconds into a wall time. `base_url` is where files are served.
    """

    def __init__(self, wall: Callable[[float], datetime]) -> None:
        self.base_url = ""
        self._wall = wall
        self._written: dict[str, tuple[Timeline, float, bytes]] = {}

    def task(self, task: Task, now: float) -> bytes:
        """Write a task as JSON."""
        kept = self._written.get(task.id)
        if kept is not None and kept[0] is task.timeline and now < kept[1]:
            return kept[2]
        written = json.dumps(self._task(task, now)).encode()
        self._written[task.id] = (task.timeline, task.timeline.good_until(now), written)
        return written

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
        }
