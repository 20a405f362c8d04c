"""The finished videos: rendered once for each scene, off the event loop, and kept for a while."""

import asyncio
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from .contract import Order
from .images import Upload
from .scene import Scene

P = ParamSpec("P")
T = TypeVar("T")

BUNDLED_CLIP = Path(__file__).with_name("clip.mp4")
"""The clip that is served when PyAV or Pillow is not installed, or nothing shall be rendered."""

_KEPT_CLIPS = 128
_THREADS = 2
_numbers = itertools.count(1)


class Gallery:
    """Makes clips in at most two threads. `render=False` serves the bundled clip for all."""

    def __init__(self, *, render: bool = True) -> None:
        self._make = make if render else bundled
        self._clips: OrderedDict[Scene, asyncio.Future[bytes]] = OrderedDict()
        self._threads = f"aivideomaker-simulator-{next(_numbers)}-"
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=self._threads)

    async def clip(self, order: Order, uploads: Mapping[str, Upload]) -> bytes:
        """Return the finished video of an order: an MP4 file."""
        scene = scene_of(order, uploads)
        future = self._clips.get(scene)
        if future is None:
            future = self._run(self._make, scene)
            self._clips[scene] = future
            future.add_done_callback(lambda done: self._forget_failure(scene, done))
        self._clips.move_to_end(scene)
        while len(self._clips) > _KEPT_CLIPS:
            self._clips.popitem(last=False)
        # Others may wait for the same clip: one who leaves must not take it from them.
        return await asyncio.shield(future)

    async def off_loop(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the threads and return what it returns."""
        return await self._run(work, *args, **kwargs)

    async def aclose(self) -> None:
        """Drop what waits, let what runs come to its end, and leave no thread behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        # Joining a thread would block the loop.
        while any(one.name.startswith(self._threads) for one in threading.enumerate()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    def _forget_failure(self, scene: Scene, done: asyncio.Future[bytes]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._clips.pop(scene, None)


def scene_of(order: Order, uploads: Mapping[str, Upload]) -> Scene:
    """Return what the video of an order shows. Images elsewhere on the web are not fetched."""
    upload = next(filter(None, map(uploads.get, _file_names(order))), None)
    return Scene(
        model=order.model,
        prompts=order.prompts,
        seconds=order.seconds,
        aspect=order.aspect,
        image=upload.content if upload is not None else None,
    )


def _file_names(order: Order) -> Iterator[str]:
    for image in map(order.input.get, order.image_fields):
        for one in image if isinstance(image, list) else [image]:
            if isinstance(one, str):
                yield one.rpartition("/")[2]


def make(scene: Scene) -> bytes:
    """Render a scene, or return the bundled clip when that cannot be done here."""
    try:
        from .clips import render
    except ImportError:
        return bundled(scene)
    return render(scene)


def bundled(scene: Scene) -> bytes:
    """Return the bundled clip, whatever the scene."""
    return BUNDLED_CLIP.read_bytes()
