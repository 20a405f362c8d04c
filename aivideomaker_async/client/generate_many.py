"""Many generations, a bounded number of them at once, in the order in which they finish."""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from types import TracebackType
from typing import Final, NoReturn, Self, final

from attrs import field, frozen

from .._files import Video
from .._http import ClientLifecycle
from .._redaction import repr_redacted
from .._util import callbacks
from ..errors import AIVideoMakerError, APIError, AuthenticationFailed, InsufficientCredits
from ..specs import SpecLike
from .task import OnCancel, VideoTask

__all__ = ["GenerateMany", "Outcome"]

BLOCKED_S: Final = 300.0
"""How long a gateway may refuse everything before nothing more is submitted."""

CHECK_AGAIN_S: Final = 5.0
"""The time between two queries that find out whether it still does."""


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
        check: makes a query, and raises what is wrong with the answer.
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
        check: Callable[[], Awaitable[object]],
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
        self._check = check
        self._refusal: APIError | None = None
        """Why nothing more is submitted."""
        self._is_blocked = False
        """Whether a gateway has refused a submit, and no query was answered since."""
        self._checking = asyncio.Lock()
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
            task = await self._buy(spec)
            await callbacks.call(self._on_submit, index, task)
            video = await task.result(self._timeout, on_cancel=self._on_cancel)
        except AIVideoMakerError as error:
            return Outcome(index=index, spec=spec, task=task, error=error)
        return Outcome(index=index, spec=spec, task=task, video=video)

    async def _buy(self, spec: SpecLike) -> VideoTask:
        """Submit a spec, unless an earlier submit was refused for a reason that holds for all."""
        if self._is_blocked:
            await self._wait_until_answered()
        if self._refusal is not None:
            raise _not_submitted(self._refusal)
        try:
            return await self._submit(spec)
        except InsufficientCredits as error:
            self._refusal = error
            raise
        except AuthenticationFailed as error:
            if error.by_service:
                self._refusal = error
            self._is_blocked = True
            raise

    async def _wait_until_answered(self) -> None:
        """Wait until the service answers a query: a gateway that refuses all would refuse the next submits as well."""
        loop = asyncio.get_running_loop()
        async with self._checking:
            until = loop.time() + BLOCKED_S
            while self._is_blocked and self._refusal is None:
                try:
                    await self._check()
                except AuthenticationFailed as error:
                    if error.by_service or loop.time() >= until:
                        self._refusal = error
                    else:
                        await asyncio.sleep(CHECK_AGAIN_S)
                else:
                    self._is_blocked = False


def _not_submitted(refusal: APIError) -> APIError:
    """Return the error of a spec that was not submitted, since an earlier submit was refused."""
    return type(refusal)(
        f"not submitted, since an earlier submit was refused: {refusal.message}",
        status=refusal.status,
        method=refusal.method,
        path=refusal.path,
        code=refusal.code,
        by_service=refusal.by_service,
    )


@final
class GenerateMany(AsyncIterator[Outcome]):
    """The outcomes of many specs, as they finish. Made by `client.generate_many`.

    Leaving the loop early submits nothing more and leaves nothing running here; tasks that were submitted go on at the
    service. When you keep the object in a variable, close it: `async with client.generate_many(specs) as outcomes:`.

    When the service refuses the key, or has no credits left for a submit, nothing more is submitted, and each of the
    other specs has an outcome that says so.

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
        check: Callable[[], Awaitable[object]],
    ) -> None:
        self._workers = _Workers(lifecycle, submit, iter(specs), max_active, timeout, on_cancel, on_submit, check)
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
