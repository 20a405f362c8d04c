"""A small service whose tasks go through their statuses by a timetable, and a client of it."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aivideomaker_async import AIVideoMaker, RateLimiter
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import (
    Action,
    Arrival,
    Handler,
    Reply,
    ScriptedService,
    is_younger,
    row,
    scripted,
    submitted,
)

STEPS = ((0.0, "SUBMITTED"), (20.0, "PROGRESS"), (120.0, "COMPLETED"))
"""The usual timetable of a task: seconds since its submit, and the status from then on."""


class Service:
    """A service whose statuses are functions of the time; a test can override every answer."""

    def __init__(self) -> None:
        self.timelines: dict[str, Callable[[float], str]] = {}
        self.override: Callable[[Arrival], Action | None] = lambda _: None
        self.unlisted: set[str] = set()
        self.fields: dict[str, dict[str, Any]] = {}
        self.created = 0
        self.steps: Callable[[int], tuple[tuple[float, str], ...]] = lambda _: STEPS
        """Returns the timetable of the task with this number."""
        self.old_rows: list[dict[str, Any]] = []
        """Rows at the end of the list."""

    def add(self, task_id: str, *steps: tuple[float, str]) -> None:
        """Add a task that has each status from the given moment on, in seconds from now."""
        start = asyncio.get_running_loop().time()

        def at(now: float) -> str:
            return [status for after, status in steps if start + after <= now][-1]

        self.timelines[task_id] = at

    def __call__(self, arrival: Arrival) -> Action:
        if (action := self.override(arrival)) is not None:
            return action
        if is_younger(arrival):
            return Reply(404, {"status": "FAILED", "message": "Not found"})
        if arrival.method == "POST":
            self.created += 1
            task_id = f"ck{self.created}"
            self.add(task_id, *self.steps(self.created))
            return submitted(task_id)
        parts = arrival.path.split("/")[4:]
        if not parts:
            rows = [self.row(key, arrival.at) for key in self.timelines if key not in self.unlisted]
            return Reply(body={"tasks": rows[::-1] + self.old_rows})
        if parts[0] not in self.timelines:
            return Reply(404, {"status": "FAILED", "message": "Task not found"})
        if len(parts) == 2:
            return Reply(body={"status": self.timelines[parts[0]](arrival.at)})
        return Reply(body=self.row(parts[0], arrival.at))

    def row(self, task_id: str, now: float) -> dict[str, Any]:
        return row(task_id, self.timelines[task_id](now)) | self.fields.get(task_id, {})


@asynccontextmanager
async def watching(service: Handler, **options: Any) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    async with scripted(service) as server:
        async with AIVideoMaker("ak_test", base_url=server.url, limiter=RateLimiter(), **options) as client:
            yield server, client
            gc.collect()
            await assert_nothing_held(client)


def kinds(server: ScriptedService) -> Counter[str]:
    """Return how often each kind of query was made."""
    ends = {4: "list", 5: "details", 6: "status"}
    return Counter(ends[item.path.count("/") + 1] for item in server.arrivals if item.method == "GET")
