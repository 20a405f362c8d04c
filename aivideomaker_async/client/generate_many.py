"""Many generations, a bounded number of them at once, as they finish."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, final

from attrs import field, frozen

from .._files import Video
from .._redaction import redact
from .._submits.budget import Budget
from .._submits.submitting import IdempotencyKey
from ..errors import AIVideoMakerError
from ..specs import SpecLike, as_spec
from .cancelling import OnCancel
from .task import VideoTask

if TYPE_CHECKING:
    from .client import AIVideoMaker

__all__ = ["GenerateMany", "Outcome"]


def _shown(spec: object) -> str:
    # A pair of a model's name and its fields has an image as it was given.
    return repr(redact(spec))


@frozen(kw_only=True)
class Outcome:
    """What became of one spec: a video, or an error."""

    index: int
    """The place of the spec in what was given, from 0."""
    spec: SpecLike = field(repr=_shown)
    task: VideoTask | None
    """The handle; None when the submit itself went wrong."""
    video: Video | None = None
    error: AIVideoMakerError | None = None

    def unwrap(self) -> Video:
        """The video.

        Raises:
            AIVideoMakerError: the error, if that is what became of the spec.
        """
        if self.error is not None:
            raise self.error
        assert self.video is not None  # noqa: S101  (one of the two is there)
        return self.video


@frozen
class _Item:
    """One spec and its place. Local variables hold this, and no spec as it was given."""

    index: int
    spec: SpecLike = field(repr=_shown)


class _Work:
    """What the workers share. They know nothing of the iterator, so that dropping it ends them."""

    def __init__(
        self,
        client: AIVideoMaker,
        specs: Iterator[SpecLike],
        max_active: int,
        timeout: float | None,
        max_credits: int | None,
        budget: Budget | None,
        on_cancel: OnCancel,
        on_submit: Callable[[int, VideoTask], object] | None,
    ) -> None:
        self.client = client
        self.max_credits = max_credits
        self.budget = budget
        self.on_submit = on_submit
        self.on_cancel: OnCancel = on_cancel
        self.specs = itertools.starmap(_Item, enumerate(specs))
        self.timeout = timeout
        self.max_active = max_active
        self.outcomes: deque[Outcome] = deque()
        self.exhausted = False
        self.error: BaseException | None = None
        self.workers: set[asyncio.Task[None]] = set()
        self._changed: set[asyncio.Future[None]] = set()

    def start(self) -> None:
        loop = self.client._session.check_usable()
        for number in range(self.max_active):
            worker = loop.create_task(
                self._run(), name=f"aivideomaker_async.generate_many-{number}", context=contextvars.copy_context()
            )
            self.workers.add(worker)
            worker.add_done_callback(self._worker_done)

    def cancel(self) -> None:
        if self.client._session.home.is_out_of_reach:
            return
        for worker in tuple(self.workers):
            worker.get_loop().call_soon_threadsafe(worker.cancel)

    async def changed(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed.add(future)
        try:
            await future
        finally:
            self._changed.discard(future)

    def tell(self) -> None:
        for future in self._changed:
            if not future.done():
                future.set_result(None)

    def _worker_done(self, worker: asyncio.Task[None]) -> None:
        self.workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self.error = self.error or error
            self.exhausted = True
        self.tell()

    async def _run(self) -> None:
        while not self.exhausted:
            # Who does not take what is finished shall not pay for more.
            while len(self.outcomes) >= self.max_active:
                await self.changed()
            item = self._next()
            if item is None:
                return
            self.outcomes.append(await self._one(item))
            self.tell()

    def _next(self) -> _Item | None:
        try:
            item = None if self.exhausted else next(self.specs, None)
        except Exception as error:  # noqa: BLE001  (the caller's, who gets it after what is under way)
            self.error, item = error, None
        self.exhausted = item is None
        return item

    async def _one(self, item: _Item) -> Outcome:
        task = None
        try:
            key = IdempotencyKey.of(None)
            submit = self.client._buy(as_spec(item.spec), key, max_credits=self.max_credits, budget=self.budget)
            task = await self.client._unless_cancelled(submit, key, self.on_cancel)
            if self.on_submit is not None:
                self.on_submit(item.index, task)
            video = await task.result(self.timeout, on_cancel=self.on_cancel)
        except AIVideoMakerError as error:
            return Outcome(index=item.index, spec=item.spec, task=task, error=error)
        return Outcome(index=item.index, spec=item.spec, task=task, video=video)


@final
class GenerateMany(AsyncIterator[Outcome]):
    """The outcomes of many specs, as they finish. Made by `client.generate_many`.

    Leaving the loop early submits nothing more and leaves nothing running here; tasks that were submitted go on at the
    service. When you keep the object in a variable, close it: `async with client.generate_many(specs) as outcomes:`.

    An error of the specs' own iterator is raised after the outcomes of all that was submitted.
    """

    def __init__(
        self,
        client: AIVideoMaker,
        specs: Iterable[SpecLike],
        *,
        max_active: int,
        timeout: float | None,
        max_credits: int | None,
        budget: Budget | None,
        on_cancel: OnCancel,
        on_submit: Callable[[int, VideoTask], object] | None,
    ) -> None:
        self._work = _Work(client, iter(specs), max_active, timeout, max_credits, budget, on_cancel, on_submit)
        self._started = False
        self._finalizer = weakref.finalize(self, _Work.cancel, self._work)
        self._finalizer.atexit = False

    def __reduce__(self) -> NoReturn:
        raise TypeError("the outcomes of generate_many cannot be copied or pickled")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        work = self._work
        if not self._started:
            self._started = True
            work.start()
        work.client._session.home.check_place()
        try:
            while not work.outcomes:
                if work.workers:
                    await work.changed()
                elif work.error is not None:
                    raise work.error
                else:
                    raise StopAsyncIteration
        except BaseException:
            await self.aclose()
            raise
        outcome = work.outcomes.popleft()
        work.tell()
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
        workers = tuple(self._work.workers)
        if not self._work.client._session.home.is_here:
            # They end in the event loop that they were started in, if at all.
            self._work.cancel()
            return
        for worker in workers:
            worker.cancel()
        if workers:
            await asyncio.wait(workers)
