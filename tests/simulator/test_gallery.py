import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aivideomaker_async.simulator import gallery as module
from aivideomaker_async.simulator.contract import Order
from aivideomaker_async.simulator.gallery import BUNDLED_CLIP, Gallery, bundled, make, scene_of
from aivideomaker_async.simulator.images import read_data_uri
from aivideomaker_async.simulator.scene import Scene
from tests.simulator.client import PNG, PNG_URI

pytestmark = pytest.mark.anyio


def order(prompt: str = "x", **more: Any) -> Order:
    return Order(model="t2v", input=more, seconds=5, credits=5, prompts=(prompt,), aspect="1:1")


class Studio:
    """Stands for the renderer: counts, can be held up and can fail."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.broken = False

    def __call__(self, scene: Scene) -> bytes:
        self.made.append(scene.prompts[0])
        self.started.set()
        assert self.go_on.wait(10)
        if self.broken:
            raise RuntimeError("no film left")
        return scene.prompts[0].encode()


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    studio = Studio()
    monkeypatch.setattr(module, "make", studio)
    yield studio
    studio.go_on.set()


async def test_equal_scenes_are_rendered_once(studio: Studio) -> None:
    gallery = Gallery()
    clips = await asyncio.gather(*(gallery.clip(order(one), {}) for one in ("a", "b", "a")))
    assert clips == [b"a", b"b", b"a"]
    assert await gallery.clip(order("a"), {}) == b"a"
    assert sorted(studio.made) == ["a", "b"]
    await gallery.aclose()


async def test_only_the_last_clips_are_kept(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_CLIPS", 2)
    gallery = Gallery()
    for prompt in "abacab":
        await gallery.clip(order(prompt), {})
    assert studio.made == ["a", "b", "c", "b"]
    await gallery.aclose()


async def test_one_who_leaves_does_not_take_the_clip_from_the_others(studio: Studio) -> None:
    gallery = Gallery()
    studio.go_on.clear()
    leaving, staying = (asyncio.create_task(gallery.clip(order("a"), {})) for _ in range(2))
    while not studio.started.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0)
    leaving.cancel()
    studio.go_on.set()
    assert await staying == b"a"
    assert studio.made == ["a"]
    await gallery.aclose()


async def test_a_failure_is_not_kept(studio: Studio) -> None:
    gallery = Gallery()
    studio.broken = True
    with pytest.raises(RuntimeError, match="no film left"):
        await gallery.clip(order("a"), {})
    studio.broken = False
    assert await gallery.clip(order("a"), {}) == b"a"
    await gallery.aclose()


async def test_closing_drops_what_waits_and_leaves_no_thread(studio: Studio) -> None:
    before = threading.active_count()
    gallery = Gallery()
    studio.go_on.clear()
    waiting = [asyncio.create_task(gallery.clip(order(one), {})) for one in "abcd"]
    while not studio.started.is_set():  # noqa: ASYNC110 - set by a thread
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(studio.go_on.set)
    await gallery.aclose()
    assert threading.active_count() == before
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert ends[:2] == [b"a", b"b"]
    assert all(isinstance(end, asyncio.CancelledError) for end in ends[2:])


async def test_work_can_be_done_off_the_loop() -> None:
    gallery = Gallery()
    assert await gallery.off_loop(threading.current_thread) is not threading.current_thread()
    await gallery.aclose()


async def test_a_gallery_that_does_not_render_serves_the_bundled_clip(studio: Studio) -> None:
    gallery = Gallery(render=False)
    assert (await gallery.clip(order(), {}))[4:8] == b"ftyp"
    assert studio.made == []
    await gallery.aclose()


def test_without_the_extra_the_bundled_clip_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scene_of(order(), {})
    monkeypatch.setitem(__import__("sys").modules, "aivideomaker_async.simulator.clips", None)
    assert make(scene) == bundled(scene) == BUNDLED_CLIP.read_bytes()


def test_with_the_extra_the_scene_is_rendered() -> None:
    assert make(scene_of(order("a prompt"), {})) != BUNDLED_CLIP.read_bytes()


def test_a_scene_shows_the_uploaded_image_and_fetches_no_other() -> None:
    upload = read_data_uri(PNG_URI)
    uploads = {upload.name: upload}
    assert scene_of(order(image=f"http://a/uploads/{upload.name}"), uploads).image == PNG
    assert scene_of(order(image="https://example.com/cat.png"), uploads).image is None
    assert scene_of(order(), uploads).image is None
