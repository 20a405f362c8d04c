"""Ways of waiting for many tasks, for the scenes to compare: each submits its tasks and reports what it learns."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
from aiolimiter import AsyncLimiter
from attrs import frozen

from aivideomaker_async import AIVideoMaker, RateLimiter, TextToVideo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "BOUND",
    "CONTENDERS",
    "POLL_2",
    "SDK",
    "SPEC",
    "TASK_BY_TASK",
    "Contender",
    "Job",
    "list_for_ever",
    "one_by_one",
    "one_by_one_polled",
    "poll_each",
    "session",
    "submit",
    "wait_with_sdk",
]

ENDED: Final = frozenset({"COMPLETED", "FAILED", "CANCEL"})

LIST_EVERY: Final = 1.001
"""Seconds: as often as 60 queries a minute allow for ever."""

ROUND: Final = 1.0
"""Seconds that one round over all tasks takes at least: nobody asks for one task twice in the same moment."""

SPEC: Final = TextToVideo(prompt="A paper boat on a pond", aspect_ratio="16:9", duration=5)
WIRE: Final = {"prompt": SPEC.prompt, "aspectRatio": SPEC.aspect_ratio, "duration": str(SPEC.duration)}


@frozen(kw_only=True)
class Job:
    """What a contender has to do: submit a number of tasks, and report the end of each as soon as it is known."""

    url: str
    key: str
    tasks: int
    known: Callable[[str], None]


Contender: TypeAlias = Callable[[Job], Awaitable[None]]


async def wait_with_sdk(job: Job) -> None:
    """The package as shipped: a submit and a wait for each task, gathered."""
    async with AIVideoMaker(job.key, base_url=job.url, limiter=RateLimiter()) as client:
        await asyncio.gather(*(_one_with_sdk(client, job) for _ in range(job.tasks)))


async def one_by_one(job: Job) -> None:
    """The package, with one client for tasks that follow each other."""
    async with AIVideoMaker(job.key, base_url=job.url, limiter=RateLimiter()) as client:
        for _ in range(job.tasks):
            await _one_with_sdk(client, job)


async def _one_with_sdk(client: AIVideoMaker, job: Job) -> None:
    task = await client.submit(SPEC)
    await task.result()
    job.known(task.id)


async def poll_each(job: Job, *, every: float) -> None:
    """Each task asks for its own status after `every` seconds, or after `Retry-After`, as most SDKs do."""
    async with session(job) as http:
        await asyncio.gather(*(_poll_one(http, job, every) for _ in range(job.tasks)))


async def one_by_one_polled(job: Job, *, every: float) -> None:
    """The same for tasks that follow each other."""
    async with session(job) as http:
        for _ in range(job.tasks):
            await _poll_one(http, job, every)


async def _poll_one(http: aiohttp.ClientSession, job: Job, every: float) -> None:
    task_id = await submit(http)
    pause = every
    while True:
        await asyncio.sleep(pause)
        ended, retry_after = await _ask(http, task_id)
        if ended:
            job.known(task_id)
            return
        pause = max(every, retry_after)


async def round_robin(job: Job) -> None:
    """All tasks asked in turn under one `aiolimiter` of 60 a minute, and nobody asks before a `Retry-After` is over."""
    limiter = AsyncLimiter(60, 60)
    loop = asyncio.get_running_loop()
    async with session(job) as http:
        waiting = list(await asyncio.gather(*(submit(http) for _ in range(job.tasks))))
        while waiting:
            began = loop.time()
            for task_id in tuple(waiting):
                async with limiter:
                    ended, retry_after = await _ask(http, task_id)
                await asyncio.sleep(retry_after)
                if ended:
                    job.known(task_id)
                    waiting.remove(task_id)
            await asyncio.sleep(began + ROUND - loop.time())


async def list_for_ever(job: Job) -> None:
    """The bound: the list as often as the limit allows, whatever the number of tasks."""
    async with session(job) as http:
        waiting = set(await asyncio.gather(*(submit(http) for _ in range(job.tasks))))
        while waiting:
            await asyncio.sleep(LIST_EVERY)
            async with http.get("/api/v1/tasks") as response:
                response.raise_for_status()
                answer = json.loads(await response.read())
            for task_id in _ended(answer) & waiting:
                job.known(task_id)
                waiting.discard(task_id)


async def _ask(http: aiohttp.ClientSession, task_id: str) -> tuple[bool, float]:
    """Whether the task has ended, and the seconds of a `Retry-After`."""
    async with http.get(f"/api/v1/tasks/{task_id}/status") as response:
        if response.status == 429:
            return False, float(response.headers["Retry-After"])
        response.raise_for_status()
        return (await response.json())["status"] in ENDED, 0.0


def _ended(answer: Mapping[str, list[Mapping[str, str]]]) -> set[str]:
    return {task["id"] for task in answer["tasks"] if task["status"] in ENDED}


@asynccontextmanager
async def session(job: Job) -> AsyncIterator[aiohttp.ClientSession]:
    """A bare session that sends the key, with as many connections as aiohttp opens by default."""
    async with aiohttp.ClientSession(job.url, headers={"key": job.key}) as http:
        yield http


async def submit(http: aiohttp.ClientSession) -> str:
    """Submit a task and return its id."""
    async with http.post("/api/v1/generate/t2v", json=WIRE) as response:
        response.raise_for_status()
        return str((await response.json())["taskId"])


SDK: Final = "aivideomaker_async"
POLL_2: Final = "each polls, 2 s"
ROUND_ROBIN: Final = "aiolimiter, all in turn"
BOUND: Final = "bound: list every second"

CONTENDERS: Final[Mapping[str, Contender]] = {
    SDK: wait_with_sdk,
    "each polls, 0.5 s": partial(poll_each, every=0.5),
    POLL_2: partial(poll_each, every=2.0),
    "each polls, 5 s": partial(poll_each, every=5.0),
    ROUND_ROBIN: round_robin,
    BOUND: list_for_ever,
}
"""The contenders by their names in the table."""

TASK_BY_TASK: Final = frozenset(CONTENDERS) - {SDK, BOUND}
"""Those that ask for every task by itself: with many tasks a run of theirs is long."""
