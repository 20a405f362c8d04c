"""Try one framework: `python -m tests.frameworks.check NAME`. Prints what it found, and fails when anything is wrong.

Three submits at once with one order buy one video; a call that is cut off goes on when it is made again; a wrong value
is told with what is allowed; a number as a text is taken; the file arrives.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from aivideomaker_async import AIVideoMaker, RateLimiter
from aivideomaker_async.agents import VideoTools
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.frameworks.glue import AWAITED, BLOCKING

FOX = {"order": "fox-1", "model": "t2v", "prompt": "A fox", "aspect_ratio": "16:9", "duration": 5}


def said(result: object, words: str) -> bool:
    """Return whether the model would read these words, in whatever form."""
    return words in str(result)


async def awaited(call: Callable[[str, dict[str, Any]], Any], service: ThreadedSimulator, folder: Path) -> None:
    results = await asyncio.gather(*(call("submit_video", FOX) for _ in range(3)))
    (task_id,) = await asyncio.to_thread(lambda: list(service.tasks))
    assert all(said(result, task_id) for result in results), results
    cut = asyncio.ensure_future(call("wait_for_video", {"task_id": task_id, "seconds": 40}))
    await asyncio.sleep(0.2)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    ended = await call("wait_for_video", {"task_id": task_id, "seconds": 40})
    assert said(ended, "COMPLETED"), ended
    wrong = await call("submit_video", FOX | {"order": "fox-2", "duration": 7})
    assert said(wrong, "must be 5 or 8 (seconds)"), wrong
    eight = await call("submit_video", FOX | {"order": "fox-3", "duration": "8"})
    assert said(eight, "SUBMITTED"), eight
    saved = await call("download_video", {"task_id": task_id, "name": "fox.mp4"})
    assert said(saved, "fox.mp4"), saved
    assert (folder / "fox.mp4").stat().st_size == 15_228


def blocking(call: Callable[[str, dict[str, Any]], Any], service: ThreadedSimulator, folder: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda _: call("submit_video", FOX), range(3)))
    (task_id,) = service.tasks
    assert all(said(result, task_id) for result in results), results
    ended = call("wait_for_video", {"task_id": task_id, "seconds": 40})
    assert said(ended, "COMPLETED"), ended
    wrong = call("submit_video", FOX | {"order": "fox-2", "duration": 7})
    assert said(wrong, "must be 5 or 8 (seconds)"), wrong
    eight = call("submit_video", FOX | {"order": "fox-3", "duration": 8})
    assert said(eight, "SUBMITTED"), eight
    saved = call("download_video", {"task_id": task_id, "name": "fox.mp4"})
    assert said(saved, "fox.mp4"), saved
    assert (folder / "fox.mp4").stat().st_size == 15_228


def check(name: str) -> None:
    """Try all ways of one framework."""
    for way, table in (("awaited", AWAITED), ("blocking", BLOCKING)):
        if name not in table:
            continue
        with (
            ThreadedSimulator(render=False, limit=None, durations=(0, 1)) as service,
            tempfile.TemporaryDirectory() as folder,
            VideoTools(
                max_credits=50,
                budget=100,
                folder=folder,
                state=Path(folder, "state"),
                client=lambda: AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter(60_000)),
            ) as tools,
        ):
            call = table[name](tools)
            if way == "awaited":
                asyncio.run(awaited(call, service, Path(folder)))
            else:
                blocking(call, service, Path(folder))
        print(f"{name}: {way} ok", flush=True)


if __name__ == "__main__":
    check(sys.argv[1])
