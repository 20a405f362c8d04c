"""Many generations, a bounded number of them at once, in the order in which they finish."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import NoReturn, Self, final

from attrs import field, frozen

from .._files import Video
from .._http import ClientLifecycle
from .._redaction import repr_redacted
from ..errors import AIVideoMakerError
from ..specs import SpecLike
from .task import OnCancel, VideoTask

__all__ = ["GenerateMany", "Outcome"]


@frozen(kw_only=True)
class Outcome:
    """What became of one spec: a video, or an error."""

    index: int
    """The position of the spec in the input, from 0."""
    # A pair of a model's name and its fields holds images as they were given.
    spec: SpecLike = field(repr=repr_redacted)
    task: VideoTask | None
    """The handle; None when the submit itself failed."""
    video: Video | None = None
    error: AIVideoMakerError | None = None

    def unwrap(self) -> Video:
        """Return the video.

        Raises:
            AIVideoMakerError: the error, if that is what became of the spec.
        """
        if self.error is not None:
            raise self.error
        assert self.video is not None  # noqa: S101  (one of the two is there)
        return self.video


class _Workers:
    """The workers and their results. They hold no reference to the iterator, so that dropping it ends them.

    Args:
        lifecycle: the event loop and process of the client.
        submit: submits one spec.
        specs: what to generate.
        max_active: how many workers there are, and how many outcomes may wait to be taken.
        timeout: seconds to wait for each video.
        on_cancel: what becomes of a paid task when its worker is cancelled.
        on_submit: called with the index of a spec and the handle of its task.
    """

    def __init__(
        self,
        lifecycle: ClientLifecycle,
        submit: Callable[[SpecLike], Awaitable[VideoTask]],
        specs: Iterator[SpecLike],
        max_active: int,
        timeout: float,
        on_cancel: OnCancel,
        on_submit: Callable[[int, VideoTask], object] | None,
    ) -> None:
        self.lifecycle = lifecycle
        self.outcomes: deque[Outcome] = deque()
        self.error: BaseException | None = None
        self.running: set[asyncio.Task[None]] = set()
        self._submit = submit
        self._specs = enumerate(specs)
        self._max_active = max_active
        self._timeout = timeout
        self._on_cancel: OnCancel = on_cancel
        self._on_submit = on_submit
        self._exhausted = False
        self._waiting: set[asyncio.Future[None]] = set()

    def start(self) -> None:
        loop = self.lifecycle.check_usable()
        for number in range(self._max_active):
            worker = loop.create_task(
                self._run(), name=f"aivideomaker_async.generate_many-{number}", context=contextvars.copy_context()
            )
            self.running.add(worker)
            worker.add_done_callback(self._worker_done)

    def cancel(self) -> None:
        """Cancel the workers, from any thread."""
        if self.lifecycle.is_unreachable:
            return
        for worker in tuple(self.running):
            worker.get_loop().call_soon_threadsafe(worker.cancel)

    async def changed(self) -> None:
        """Wait until an outcome is added or taken, or a worker ends."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def notify(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        self.running.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self.error = self.error or error
            self._exhausted = True
        self.notify()

    async def _run(self) -> None:
        while True:
            # A consumer that takes no outcomes must not pay for more videos.
            while len(self.outcomes) >= self._max_active:
                await self.changed()
            if self._exhausted:
                return
            try:
                item = next(self._specs, None)
            except Exception as error:  # noqa: BLE001  (the caller's own, raised after what was submitted is done)
                self.error, item = error, None
            if item is None:
                self._exhausted = True
                return
            self.outcomes.append(await self._generate(*item))
            self.notify()

    async def _generate(self, index: int, spec: SpecLike) -> Outcome:
        task = None
        try:
            task = await self._submit(spec)
            if self._on_submit is not None:
                self._on_submit(index, task)
            video = await task.result(self._timeout, on_cancel=self._on_cancel)
        except AIVideoMakerError as error:
            return Outcome(index=index, spec=spec, task=task, error=error)
        return Outcome(index=index, spec=spec, task=task, video=video)


@final
class GenerateMany(AsyncIterator[Outcome]):
    """The outcomes of many specs, as they finish. Made by `client.generate_many`.

    Leaving the loop early submits nothing more and leaves nothing running here; tasks that were submitted go on at the
    service. When you keep the object in a variable, close it: `async with client.generate_many(specs) as outcomes:`.

    An error of the specs' own iterator is raised after the outcomes of all that was submitted.
    """

    def __init__(
        self,
        lifecycle: ClientLifecycle,
        submit: Callable[[SpecLike], Awaitable[VideoTask]],
        specs: Iterable[SpecLike],
        *,
        max_active: int,
        timeout: float,
        on_cancel: OnCancel,
        on_submit: Callable[[int, VideoTask], object] | None,
    ) -> None:
        self._workers = _Workers(lifecycle, submit, iter(specs), max_active, timeout, on_cancel, on_submit)
        self._started = False
        self._finalizer = weakref.finalize(self, _Workers.cancel, self._workers)
        self._finalizer.atexit = False

    def __reduce__(self) -> NoReturn:
        raise TypeError("the outcomes of generate_many cannot be copied or pickled")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        workers = self._workers
        if not self._started:
            self._started = True
            workers.start()
        workers.lifecycle.check_place()
        try:
            while not workers.outcomes:
                if workers.running:
                    await workers.changed()
                elif workers.error is not None:
                    raise workers.error
                else:
                    raise StopAsyncIteration
        except BaseException:
            await self.aclose()
            raise
        outcome = workers.outcomes.popleft()
        workers.notify()
        return outcome

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Submit nothing more, and stop waiting. A second time does nothing."""
        self._started = True
        workers = tuple(self._workers.running)
        if not self._workers.lifecycle.is_here:
            # They can end only in the event loop that they were started in, if at all.
            self._workers.cancel()
            return
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
