"""A service that sells tasks, and loses answers on demand. It records what it has sold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aivideomaker_async import AIVideoMaker, RateLimiter
from tests.support.leaks import assert_nothing_held
from tests.support.scripted import (
    Action,
    Arrival,
    Drop,
    Reply,
    ScriptedService,
    is_younger,
    scripted,
    submitted,
)

START = datetime(2026, 3, 19, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Lost:
    """The answer to a submit is lost: `action` happens instead."""

    acted: bool
    """Whether the task is created nevertheless."""
    action: Action = field(default_factory=Drop)
    late: float = 0.0
    """Seconds after which it is created."""


@dataclass
class Sold:
    id: str
    model: str
    body: dict[str, Any]
    key: str
    at: float


class Shop:
    """A handler with one fault for each of the first submits (None for a good answer); all others succeed."""

    def __init__(self, *faults: Lost | Action | None, keeps_keys: bool = False) -> None:
        self.faults: list[Lost | Action | None] = list(faults)
        self.keeps_keys = keeps_keys
        self.sold: list[Sold] = []
        self.list_lag = 0.0
        self.skew = timedelta()
        self.date_is_skewed = True
        self.old_rows: list[dict[str, Any]] = []
        self.override: Callable[[Arrival], Action | None] = lambda _: None
        self.answer_after = 0.0
        self.lasts = 60.0
        self.videos_at = "https://cdn.example"

    async def __call__(self, arrival: Arrival) -> Action:
        if (action := self.override(arrival)) is not None:
            return action
        if is_younger(arrival):
            return self._dated(Reply(404, {"status": "FAILED", "message": "Not found"}))
        if arrival.method == "POST":
            return await self._sell(arrival)
        if arrival.path.endswith("/tasks"):
            return self._dated(Reply(body={"tasks": self.rows(arrival.at - self.list_lag) + self.old_rows}))
        task = next(item for item in self.sold if item.id == arrival.path.split("/")[4])
        if arrival.method == "PUT":
            return Reply(body={"status": "CANCEL", "taskId": task.id})
        if arrival.path.endswith("/status"):
            return self._dated(Reply(body={"status": self.status(task)}))
        return self._dated(Reply(body=self.row(task)))

    async def _sell(self, arrival: Arrival) -> Action:
        fault = self.faults.pop(0) if self.faults else None
        if fault is None:
            if self.answer_after:
                await asyncio.sleep(self.answer_after)
            task = self._create(arrival)
            return self._dated(self._answer(task, arrival))
        if not isinstance(fault, Lost):
            return fault
        if fault.acted:
            asyncio.get_running_loop().call_later(fault.late, self._create, arrival)
            await asyncio.sleep(0)
        return fault.action

    def _create(self, arrival: Arrival) -> Sold:
        key = arrival.headers["idempotency-key"]
        if self.keeps_keys and (known := next((item for item in self.sold if item.key == key), None)):
            return known
        model = arrival.path.rpartition("/")[2]
        now = asyncio.get_running_loop().time()
        task = Sold(f"ck{len(self.sold) + 1}", model, arrival.json(), key, now)
        self.sold.append(task)
        return task

    def _answer(self, task: Sold, arrival: Arrival) -> Reply:
        answer = submitted(task.id)
        if self.keeps_keys:
            assert isinstance(answer.body, dict)
            answer.body["idempotentReplay"] = task.at < arrival.at
        return answer

    def _dated(self, reply: Reply) -> Reply:
        clock = self.clock(asyncio.get_running_loop().time()) if self.date_is_skewed else datetime.now(UTC)
        return Reply(reply.status, reply.body, {"Date": clock.strftime("%a, %d %b %Y %H:%M:%S GMT")})

    def clock(self, at: float) -> datetime:
        return START + self.skew + timedelta(seconds=at)

    def rows(self, until: float) -> list[dict[str, Any]]:
        return [self.row(task) for task in reversed(self.sold) if task.at <= until]

    def status(self, task: Sold) -> str:
        return "COMPLETED" if asyncio.get_running_loop().time() > task.at + self.lasts else "SUBMITTED"

    def row(self, task: Sold) -> dict[str, Any]:
        shown = {
            name: f"https://files.example/{task.id}.png" if str(value).startswith("data:") else value
            for name, value in task.body.items()
        }
        status = self.status(task)
        row = {
            "id": task.id,
            "createdAt": self.clock(task.at).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "model": task.model,
            "input": shown,
            "output": {"url": f"{self.videos_at}/{task.id}.mp4"} if status == "COMPLETED" else None,
            "status": status,
            "completedAt": None,
        }
        return row | ({"idempotencyKey": task.key} if self.keeps_keys else {})


def posts(service: ScriptedService) -> list[Arrival]:
    """Return the submits that arrived."""
    return [arrival for arrival in service.arrivals if arrival.method == "POST"]


@asynccontextmanager
async def buying(shop: Shop, **options: Any) -> AsyncIterator[tuple[ScriptedService, AIVideoMaker]]:
    async with scripted(shop) as service:
        options = {"limiter": RateLimiter(), **options}
        async with AIVideoMaker("ak_test", base_url=service.url, **options) as client:
            yield service, client
            await assert_nothing_held(client)


def ids(handles: Iterable[Any]) -> list[str]:
    return sorted(handle.id for handle in handles)
