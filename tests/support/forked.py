"""A program that uses a client, forks, and goes on. Parent and child print what they observe."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aivideomaker_async import AIVideoMaker, ConfigurationError, RateLimiter, TextToVideo
from aivideomaker_async.webhooks import WebhookReceiver

URL = sys.argv[1]
SPEC = TextToVideo(prompt="x", aspect_ratio="16:9", duration=5)

CALLS: dict[str, Callable[[AIVideoMaker], Awaitable[Any]]] = {
    "get_status": lambda client: client.get_status("child"),
    "submit": lambda client: client.submit(SPEC),
    "list_tasks": lambda client: client.list_tasks(),
    "result": lambda client: client.task("child").result(),
    "watch": lambda client: anext(aiter(client.task("child"))),
}


def report(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def refused(client: AIVideoMaker) -> list[list[str]]:
    errors = []
    for name, call in CALLS.items():
        try:
            await call(client)
        except ConfigurationError as error:
            errors.append([name, str(error).partition(", of which")[0]])
    return errors


async def in_child(used: AIVideoMaker, unused: AIVideoMaker, limiter: RateLimiter) -> None:
    report(await refused(used))
    receiver = WebhookReceiver(used, "https://me.example")
    delivery = used._wake(may_be_end=True)  # type: ignore[func-returns-value]
    del receiver
    await used.aclose()
    async with unused:
        status = await unused.get_status("child")
    # Another thread held its lock, and all its permits were in use.
    granted = [limiter.acquire_nowait() for _ in range(5)]
    observed = {
        "unused": status,
        "limiter": sum(item is not None for item in granted),
        "closed": used._api.lifecycle.closed,
    }
    report({**observed, "delivery": delivery})


def main() -> None:
    limiter, held, fork_is_over = RateLimiter(60, burst=3), threading.Event(), threading.Event()
    used = AIVideoMaker("ak_test", base_url=URL, limiter=RateLimiter())
    unused = AIVideoMaker("ak_test", base_url=URL, limiter=RateLimiter())
    with asyncio.Runner() as runner:
        runner.run(used.get_status("parent"))
        permits = [limiter.acquire_nowait() for _ in range(3)]

        def hold() -> None:
            with limiter._lock:
                held.set()
                fork_is_over.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            asyncio.run(in_child(used, unused, limiter))
            permits[0].settle()  # type: ignore[union-attr]
            # As at the end of any program.
            del used, unused
            gc.collect()
            sys.exit(0)
        fork_is_over.set()
        thread.join()
        _, child = os.waitpid(pid, 0)
        permits[0].refund()  # type: ignore[union-attr]
        runner.run(used.get_status("parent"))
        status = runner.run(used.get_status("parent"))
        free = sum(limiter.acquire_nowait() is not None for _ in range(2))
        report({"parent": status, "child": child, "limiter": free})
        runner.run(used.aclose())


main()
