"""The videos: rendered once for each content, off the event loop, and playable everywhere."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections.abc import Iterator
from typing import Any

import av
import pytest
from attrs import frozen
from PIL import Image, ImageChops, ImageStat

from aivideomaker_async.simulator import video_store as module
from aivideomaker_async.simulator.contract import VideoOrder
from aivideomaker_async.simulator.images import read_data_uri
from aivideomaker_async.simulator.rendering import LANDSCAPE, PORTRAIT, SQUARE, render
from aivideomaker_async.simulator.video_store import (
    BUNDLED_CLIP,
    VideoContent,
    VideoStore,
    bundled,
    content_of,
    render_or_bundled,
)
from tests.simulator.client import PNG, PNG_URI, running

# --- rendering ---------------------------------------------------------------------------------------


@frozen
class Film:
    """A video as a player sees it."""

    seconds: float
    codec: str
    pixels: str
    size: tuple[int, int]
    frames: list[Image.Image]


def played(content: bytes) -> Film:
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.video[0]
        assert container.duration is not None
        return Film(
            seconds=container.duration / av.time_base,
            codec=stream.codec_context.name,
            pixels=str(stream.codec_context.pix_fmt),
            size=(stream.width, stream.height),
            frames=[frame.to_image() for frame in container.decode(stream)],  # type: ignore[no-untyped-call]
        )


def content(*prompts: str, seconds: int = 1, aspect: str | None = "16:9", image: bytes | None = None) -> VideoContent:
    return VideoContent(model="t2v", prompts=prompts or ("x",), seconds=seconds, aspect=aspect, image=image)


def picture(size: tuple[int, int], colour: str = "red", kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures, from 0 to 255, without the bar at the bottom."""
    box = (0, 0, one.width, one.height - 40)
    apart = ImageChops.difference(one.crop(box), other.crop(box))
    return sum(ImageStat.Stat(apart).mean) / 3


@pytest.mark.parametrize("seconds", [5, 8])
def test_a_video_plays_everywhere_streams_and_is_as_long_as_ordered(seconds: int) -> None:
    file = render(content(seconds=seconds))
    film = played(file)
    assert (film.codec, film.pixels) == ("h264", "yuv420p")
    assert file.index(b"moov") < file.index(b"mdat")
    assert len(file) < 200_000
    assert film.seconds == seconds
    assert len(film.frames) == seconds * 12
    bars = [frame.crop((0, frame.height - 4, frame.width, frame.height)) for frame in film.frames]
    brightness = [ImageStat.Stat(bar).mean[0] for bar in bars]
    assert brightness[0] < brightness[len(brightness) // 2] < brightness[-1]
    assert render(content(seconds=seconds)) == file, "so that a download can be resumed"


@pytest.mark.parametrize(
    ("aspect", "image", "size"),
    [
        *(("16:9", None, LANDSCAPE), ("9:16", None, PORTRAIT), ("1:1", None, SQUARE), ("4:3", None, LANDSCAPE)),
        *((None, (90, 40), LANDSCAPE), (None, (40, 90), PORTRAIT), (None, (2000, 2000), SQUARE)),
    ],
)
def test_the_order_or_the_image_decides_the_orientation(
    aspect: str | None, image: tuple[int, int] | None, size: tuple[int, int]
) -> None:
    shown = None if image is None else picture(image, kind="JPEG")
    film = played(render(content("", aspect=aspect, image=shown)))
    assert film.size == size
    if image is not None:
        middle = film.frames[0].getpixel((size[0] // 2, size[1] // 2))
        assert isinstance(middle, tuple)
        assert middle[0] > 200
        assert max(middle[1:]) < 60


def test_each_segment_shows_its_own_prompt() -> None:
    frames = played(render(content("first", "second", seconds=2, aspect=None))).frames
    early, before, after, late = (frames[number] for number in (0, 11, 12, 23))
    assert difference(early, before) < 1 < difference(before, after)
    assert difference(after, late) < 1


def test_a_prompt_is_readable_on_its_image() -> None:
    shown, plain = (
        played(render(content(text, aspect=None, image=picture((64, 36), "white")))).frames[0]
        for text in ("it moves", "")
    )
    assert difference(shown, plain) > 1


@pytest.mark.parametrize("image", [b"\x89PNG\r\n\x1a\n broken", picture((7100, 7100))], ids=["broken", "huge"])
def test_an_image_that_cannot_be_shown_leaves_the_text(image: bytes) -> None:
    shown = played(render(content("a cat", image=image))).frames[0]
    assert difference(shown, played(render(content("a cat"))).frames[0]) == 0


@pytest.mark.parametrize(
    "prompt",
    ["", "word " * 2000, "WM" * 300, "\ud800\x00\n\t😀", "日本語のプロンプト", "مرحبا"],
    ids=["empty", "many words", "one word", "control characters", "japanese", "arabic"],
)
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    assert played(render(content(prompt, aspect="9:16"))).seconds == 1


def test_the_bundled_clip_plays() -> None:
    film = played(BUNDLED_CLIP.read_bytes())
    assert (film.seconds, film.codec, film.size) == (5, "h264", LANDSCAPE)
    assert BUNDLED_CLIP.stat().st_size < 20_000


# --- the store ---------------------------------------------------------------------------------------


def order(prompt: str = "x", **more: Any) -> VideoOrder:
    return VideoOrder(model="t2v", input=more, seconds=5, credits=5, prompts=(prompt,), aspect="1:1")


class Renderer:
    """A renderer that counts, can be held up and can fail."""

    def __init__(self) -> None:
        self.rendered: list[str] = []
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.broken = False

    def __call__(self, video: VideoContent) -> bytes:
        self.rendered.append(video.prompts[0])
        self.started.set()
        assert self.go_on.wait(10)
        if self.broken:
            raise RuntimeError("no film left")
        return video.prompts[0].encode()


@pytest.fixture
def renderer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Renderer]:
    renderer = Renderer()
    monkeypatch.setattr(module, "render_or_bundled", renderer)
    yield renderer
    renderer.go_on.set()


@pytest.mark.anyio
async def test_equal_videos_are_rendered_once(renderer: Renderer) -> None:
    store = VideoStore()
    videos = await asyncio.gather(*(store.video(order(one), {}) for one in ("a", "b", "a")))
    assert videos == [b"a", b"b", b"a"]
    assert await store.video(order("a"), {}) == b"a"
    assert sorted(renderer.rendered) == ["a", "b"]
    await store.aclose()


@pytest.mark.anyio
async def test_only_the_last_videos_are_cached(renderer: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CACHED_VIDEOS", 2)
    store = VideoStore()
    for prompt in "abacab":
        await store.video(order(prompt), {})
    assert renderer.rendered == ["a", "b", "c", "b"]
    await store.aclose()


@pytest.mark.anyio
async def test_a_cancelled_request_does_not_cancel_the_video_for_others(renderer: Renderer) -> None:
    store = VideoStore()
    renderer.go_on.clear()
    leaving, staying = (asyncio.create_task(store.video(order("a"), {})) for _ in range(2))
    while not renderer.started.is_set():  # noqa: ASYNC110  (set by a thread)
        await asyncio.sleep(0)
    leaving.cancel()
    renderer.go_on.set()
    assert await staying == b"a"
    assert renderer.rendered == ["a"]
    await store.aclose()


@pytest.mark.anyio
async def test_a_failure_is_not_cached(renderer: Renderer) -> None:
    store = VideoStore()
    renderer.broken = True
    with pytest.raises(RuntimeError, match="no film left"):
        await store.video(order("a"), {})
    renderer.broken = False
    assert await store.video(order("a"), {}) == b"a"
    await store.aclose()


@pytest.mark.anyio
async def test_closing_cancels_waiting_work_and_leaves_no_thread(renderer: Renderer) -> None:
    before = threading.active_count()
    store = VideoStore()
    renderer.go_on.clear()
    waiting = [asyncio.create_task(store.video(order(one), {})) for one in "abcd"]
    while not renderer.started.is_set():  # noqa: ASYNC110  (set by a thread)
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(renderer.go_on.set)
    await store.aclose()
    assert threading.active_count() == before
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert ends[:2] == [b"a", b"b"]
    assert all(isinstance(end, asyncio.CancelledError) for end in ends[2:])


@pytest.mark.anyio
async def test_without_rendering_the_bundled_clip_is_served(renderer: Renderer) -> None:
    store = VideoStore(render=False)
    assert await store.video(order(), {}) == BUNDLED_CLIP.read_bytes()
    assert renderer.rendered == []
    await store.aclose()


def test_without_the_extra_the_bundled_clip_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    video = content_of(order(), {})
    assert render_or_bundled(video) != BUNDLED_CLIP.read_bytes()
    monkeypatch.setitem(sys.modules, "aivideomaker_async.simulator.rendering", None)
    assert render_or_bundled(video) == bundled(video) == BUNDLED_CLIP.read_bytes()


def test_a_video_shows_the_uploaded_image_and_fetches_no_other() -> None:
    upload = read_data_uri(PNG_URI)
    uploads = {upload.name: upload}
    assert content_of(order(image=f"http://a/uploads/{upload.name}"), uploads).image == PNG
    assert content_of(order(image=["http://a/b.png", f"http://a/uploads/{upload.name}"]), uploads).image == PNG
    assert content_of(order(image="https://example.com/cat.png"), uploads).image is None
    assert content_of(order(), uploads).image is None


@pytest.mark.anyio
async def test_the_video_of_a_task_is_rendered_as_ordered() -> None:
    async with running(revision="2026-09", render=True, durations=(0, 0)) as (_, call):
        body = {"prompt": "x", "ratio": "16:9", "duration": 3.4, "resolution": "720P", "image": [PNG_URI]}
        task_id = (await call("POST", "/api/v1/generate/happyhorse", body)).json["taskId"]
        film = played((await call("GET", f"/videos/{task_id}.mp4", key="")).body)
        assert (film.size, film.seconds) == (SQUARE, 3)
