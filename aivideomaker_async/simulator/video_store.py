"""The finished videos: rendered once for each content, off the event loop, and cached."""

import asyncio
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from attrs import frozen

from .contract import VideoOrder
from .images import Upload

P = ParamSpec("P")
T = TypeVar("T")

BUNDLED_CLIP = Path(__file__).with_name("clip.mp4")
"""The clip that is served when PyAV or Pillow is not installed, or rendering is off."""

_CACHED_VIDEOS = 128
_THREADS = 2
_numbers = itertools.count(1)


@frozen(kw_only=True)
class VideoContent:
    """What a video shows, as a value: one picture for each prompt, of equal length, `seconds` in all.

    `image` is an image file to show, and `aspect` is such as `"16:9"`. Without an aspect the orientation of the image
    decides, and without an image it is landscape.
    """

    model: str
    prompts: tuple[str, ...]
    seconds: int
    aspect: str | None = None
    image: bytes | None = None


class VideoStore:
    """Renders videos in at most two threads. With `render=False`, the bundled clip is served for all of them."""

    def __init__(self, *, render: bool = True) -> None:
        self._render = render_or_bundled if render else bundled
        self._videos: OrderedDict[VideoContent, asyncio.Future[bytes]] = OrderedDict()
        self._thread_prefix = f"aivideomaker-simulator-{next(_numbers)}-"
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=self._thread_prefix)

    async def video(self, order: VideoOrder, uploads: Mapping[str, Upload]) -> bytes:
        """Return the finished video of an order: an MP4 file."""
        content = content_of(order, uploads)
        future = self._videos.get(content)
        if future is None:
            future = self._run(self._render, content)
            self._videos[content] = future
            future.add_done_callback(lambda done: self._forget_failure(content, done))
        self._videos.move_to_end(content)
        while len(self._videos) > _CACHED_VIDEOS:
            self._videos.popitem(last=False)
        # Several requests may wait for one video: a cancelled request must not cancel it for the others.
        return await asyncio.shield(future)

    async def off_loop(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the threads and return its result."""
        return await self._run(work, *args, **kwargs)

    async def aclose(self) -> None:
        """Cancel the work that waits, let running work finish, and leave no thread behind."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        # Joining a thread would block the loop.
        while any(one.name.startswith(self._thread_prefix) for one in threading.enumerate()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *args, **kwargs))

    def _forget_failure(self, content: VideoContent, done: asyncio.Future[bytes]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._videos.pop(content, None)


def content_of(order: VideoOrder, uploads: Mapping[str, Upload]) -> VideoContent:
    """Return the content of the video of an order. Images elsewhere on the web are not fetched."""
    upload = next(filter(None, map(uploads.get, _image_file_names(order))), None)
    return VideoContent(
        model=order.model,
        prompts=order.prompts,
        seconds=order.seconds,
        aspect=order.aspect,
        image=upload.content if upload is not None else None,
    )


def _image_file_names(order: VideoOrder) -> Iterator[str]:
    for image in map(order.input.get, order.image_fields):
        for one in image if isinstance(image, list) else [image]:
            if isinstance(one, str):
                yield one.rpartition("/")[2]


def render_or_bundled(content: VideoContent) -> bytes:
    """Render a video, or return the bundled clip when the extra `simulator` is not installed."""
    try:
        from .rendering import render
    except ImportError:
        return bundled(content)
    return render(content)


def bundled(content: VideoContent) -> bytes:
    """Return the bundled clip."""
    return BUNDLED_CLIP.read_bytes()
