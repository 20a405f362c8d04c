"""Ways of waiting for many tasks, for `detection` to compare: each submits its tasks and tells what it learns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
from attrs import frozen

from aivideomaker_async import AIVideoMaker, RateLimiter, TextToVideo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["BOUND", "CONTENDERS", "SDK", "Contender", "Job"]

ENDED: Final = frozenset({"COMPLETED", "FAILED", "CANCEL"})

LIST_EVERY: Final = 1.001
"""Seconds: as often as 60 queries a minute allow for ever."""

SPEC: Final = TextToVideo(prompt="A paper boat on a pond", aspect_ratio="16:9", duration=5)
WIRE: Final = {"prompt": SPEC.prompt, "aspectRatio": SPEC.aspect_ratio, "duration": str(SPEC.duration)}


@frozen(kw_only=True)
class Job:
    """What a contender has to do: submit so many tasks, and tell of each as soon as it knows that it has ended."""

    url: str
    key: str
    tasks: int
    known: Callable[[str], None]


Contender: TypeAlias = Callable[[Job], Awaitable[None]]


async def wait_with_sdk(job: Job) -> None:
    """The package as shipped: a submit and a wait for each task, gathered."""
    async with AIVideoMaker(job.key, base_url=job.url, limiter=RateLimiter()) as client:

        async def one() -> None:
            task = await client.submit(SPEC)
            await task.result()
            job.known(task.id)

        await asyncio.gather(*(one() for _ in range(job.tasks)))


async def poll_each(job: Job, *, every: float) -> None:
    """Each task asks for its own status after `every` seconds, or after `Retry-After`, as most SDKs do."""
    async with _session(job) as session:

        async def one() -> None:
            task_id = await _submit(session)
            pause = every
            while True:
                await asyncio.sleep(pause)
                async with session.get(f"/api/v1/tasks/{task_id}/status") as response:
                    answer = await response.json()
                pause = max(every, float(response.headers["Retry-After"])) if response.status == 429 else every
                if response.status == 200 and answer["status"] in ENDED:
                    job.known(task_id)
                    return

        await asyncio.gather(*(one() for _ in range(job.tasks)))


async def list_for_ever(job: Job) -> None:
    """The bound: the list as often as the limit allows, whatever the number of tasks."""
    async with _session(job) as session:
        waiting = set(await asyncio.gather(*(_submit(session) for _ in range(job.tasks))))
        while waiting:
            await asyncio.sleep(LIST_EVERY)
            async with session.get("/api/v1/tasks") as response:
                response.raise_for_status()
                answer = await response.json()
            for task_id in _ended(answer) & waiting:
                job.known(task_id)
                waiting.discard(task_id)


def _ended(answer: Mapping[str, list[Mapping[str, str]]]) -> set[str]:
    return {task["id"] for task in answer["tasks"] if task["status"] in ENDED}


@asynccontextmanager
async def _session(job: Job) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(job.url, headers={"key": job.key}, connector=connector) as session:
        yield session


async def _submit(session: aiohttp.ClientSession) -> str:
    async with session.post("/api/v1/generate/t2v", json=WIRE) as response:
        response.raise_for_status()
        return str((await response.json())["taskId"])


SDK: Final = "aivideomaker_async"
BOUND: Final = "bound: list every second"

CONTENDERS: Final[Mapping[str, Contender]] = {
    SDK: wait_with_sdk,
    "each polls, 2 s": partial(poll_each, every=2.0),
    "each polls, 5 s": partial(poll_each, every=5.0),
    BOUND: list_for_ever,
}
"""The contenders by their names in the table."""
