"""Threads of the package's own: neither another library nor another kind of work can exhaust them."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from aivideomaker_async import DownloadError, download_all
from aivideomaker_async._submits import images
from aivideomaker_async._util.threads import FOREIGN_FILES, Threads, run_at_once
from tests.support.files import CLIP, names, serving
from tests.support.loading import LARGE, loaded
from tests.support.pictures import PNG, as_image
from tests.support.scripted import Reply
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio


@contextmanager
def no_thread_free() -> Iterator[None]:
    """Take all threads of anyio's own limit, as the requests of a web framework do."""
    limiter = to_thread.current_default_thread_limiter()
    borrowers = [object() for _ in range(int(limiter.available_tokens))]
    for borrower in borrowers:
        limiter.acquire_on_behalf_of_nowait(borrower)
    try:
        yield
    finally:
        for borrower in borrowers:
            limiter.release_on_behalf_of(borrower)


async def in_time(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Return the finished task of `work`; fail when it takes long, also where it cannot be cancelled."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=20)
    assert done, "it waits for a thread of another limit"
    return task


async def test_downloads_need_no_thread_of_the_default_limit(tmp_path: Path) -> None:
    """Neither to begin nor to end, be it with a file, with an error, or cancelled."""
    folder = tmp_path / "new"
    async with serving(lambda _: Reply(body=CLIP)) as (_, video):
        with no_thread_free():
            path: Path = (await in_time(video.download(tmp_path / "a.mp4"))).result()
            failed = await in_time(video.download(tmp_path / "b.mp4", max_bytes=5))
            (outcome,) = (await in_time(download_all([video], folder))).result()
            (again,) = (await in_time(download_all([video], folder))).result()
            task: asyncio.Task[Any] | None = None

            def cancel(*_: object) -> None:
                assert task is not None
                task.cancel()

            task = asyncio.ensure_future(video.download(tmp_path / "c.mp4", progress=cancel))
            assert (await asyncio.wait([task], timeout=20))[0]
    assert await asyncio.to_thread(path.read_bytes) == CLIP
    assert isinstance(failed.exception(), DownloadError)
    assert (outcome.skipped, again.skipped, task.cancelled()) == (False, True, True)
    assert await names(tmp_path) == ["a.mp4", "new"]


class Stuck(io.BytesIO):
    """A file whose reads block until they are released, like a pipe without a writer."""

    entered: threading.Semaphore
    released: threading.Event

    def read(self, size: int | None = -1, /) -> bytes:
        self.entered.release()
        assert self.released.wait(20)
        return super().read(size)


@asynccontextmanager
async def stuck_files(count: int) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Begin to load `count` files that block; as many as there are threads for them are being read."""
    Stuck.entered, Stuck.released = threading.Semaphore(0), threading.Event()
    tasks = [asyncio.ensure_future(loaded(Stuck(PNG))) for _ in range(count)]
    try:
        for _ in range(FOREIGN_FILES.most):
            assert await asyncio.to_thread(Stuck.entered.acquire, timeout=20)
        yield tasks
    finally:
        Stuck.released.set()
        await asyncio.wait(tasks)


async def test_files_that_block_hold_up_neither_other_images_nor_downloads(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    await asyncio.to_thread(path.write_bytes, LARGE)
    async with stuck_files(FOREIGN_FILES.most + 5) as tasks:
        for image in (path, LARGE, io.BytesIO(LARGE)):
            assert (await in_time(loaded(image))).result() == as_image(LARGE)
        async with serving(lambda _: Reply(body=CLIP)) as (_, video):
            await in_time(video.download(tmp_path / "a.mp4"))
        assert not any(task.done() for task in tasks)
    assert {task.result() for task in tasks} == {as_image(PNG)}


async def test_loading_files_that_block_can_be_cancelled_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is to be rewound then, for which all threads of its kind are taken."""
    monkeypatch.setattr(images, "FILE_RESTORE_S", 0.01)
    async with stuck_files(FOREIGN_FILES.most + 5) as tasks:
        with no_thread_free():
            for task in tasks:
                task.cancel()
            done, _ = await asyncio.wait(tasks, timeout=20)
            assert len(done) == len(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_no_more_threads_than_the_limit_work_at_once() -> None:
    """But for `run_at_once`, which waits for none."""
    threads = Threads("test", 2)
    lock, most, now = threading.Lock(), 0, 0
    together = threading.Barrier(2, timeout=20)

    def work() -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1

    await asyncio.gather(*(threads.run(work) for _ in range(6)))
    assert most == 2
    together = threading.Barrier(6, timeout=20)
    await asyncio.gather(*(run_at_once(work) for _ in range(6)))
    assert most == 6


def test_each_event_loop_has_a_limit_of_its_own() -> None:
    threads = Threads("test_loops", 1)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        for runner in (one, other, one):
            assert runner.run(threads.run(len, "abc")) == 3


def test_the_virtual_clock_of_these_tests_stands_still_while_a_thread_works() -> None:
    """Also while a call waits for a thread."""
    threads = Threads("test_clock", 1)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        sleeper = asyncio.ensure_future(asyncio.sleep(1))
        go = threading.Event()
        loop.call_soon(lambda: threading.Timer(0.05, go.set).start())
        assert all(await asyncio.gather(threads.run(go.wait, 20), threads.run(go.wait, 20)))
        assert loop.time() == began and not sleeper.done()
        await sleeper
        assert loop.time() == began + 1

    with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
        runner.run(main())
