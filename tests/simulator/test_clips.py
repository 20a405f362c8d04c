import io

import av
import pytest
from attrs import frozen
from PIL import Image, ImageChops, ImageStat

from aivideomaker_async.simulator.clips import LANDSCAPE, PORTRAIT, SQUARE, render
from aivideomaker_async.simulator.gallery import BUNDLED_CLIP
from aivideomaker_async.simulator.scene import Scene


@frozen
class Film:
    """A video as a player sees it."""

    seconds: float
    codec: str
    pixels: str
    size: tuple[int, int]
    frames: list[Image.Image]


def picture_of(frame: av.VideoFrame) -> Image.Image:
    return frame.to_image()  # type: ignore[no-any-return, no-untyped-call]


def played(content: bytes) -> Film:
    with av.open(io.BytesIO(content), "r") as container:
        stream = container.streams.video[0]
        assert container.duration is not None
        return Film(
            seconds=container.duration / av.time_base,
            codec=stream.codec_context.name,
            pixels=str(stream.codec_context.pix_fmt),
            size=(stream.width, stream.height),
            frames=[picture_of(frame) for frame in container.decode(stream)],
        )


def scene(*prompts: str, seconds: int = 5, aspect: str | None = "16:9", **more: bytes) -> Scene:
    return Scene(model="t2v", prompts=prompts or ("x",), seconds=seconds, aspect=aspect, image=more.get("image"))


def picture(size: tuple[int, int], colour: str = "red", kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures, from 0 to 255, without the bar at the bottom."""
    box = (0, 0, one.width, one.height - 40)
    apart = ImageChops.difference(one.crop(box), other.crop(box))
    return sum(ImageStat.Stat(apart).mean) / 3


def test_a_video_plays_everywhere_and_streams() -> None:
    content = render(scene())
    film = played(content)
    assert (film.codec, film.pixels) == ("h264", "yuv420p")
    assert content.index(b"moov") < content.index(b"mdat")
    assert len(content) < 200_000


@pytest.mark.parametrize(
    ("aspect", "size"), [("16:9", LANDSCAPE), ("9:16", PORTRAIT), ("1:1", SQUARE), ("4:3", LANDSCAPE)]
)
def test_a_video_has_the_orientation_that_was_ordered(aspect: str, size: tuple[int, int]) -> None:
    assert played(render(scene(aspect=aspect))).size == size


@pytest.mark.parametrize("seconds", [5, 8, 20])
def test_a_video_is_exactly_as_long_as_ordered(seconds: int) -> None:
    film = played(render(scene(seconds=seconds)))
    assert film.seconds == seconds
    assert len(film.frames) == seconds * 12


def test_something_moves() -> None:
    frames = played(render(scene())).frames
    bars = [frame.crop((0, frame.height - 4, frame.width, frame.height)) for frame in frames]
    brightness = [ImageStat.Stat(bar).mean[0] for bar in bars]
    assert brightness[0] < brightness[30] < brightness[59]


def test_prompts_can_be_told_apart() -> None:
    one, other = (played(render(scene(text))).frames[0] for text in ("a cat", "two black dogs"))
    assert difference(one, other) > 1


def test_each_segment_of_a_long_video_shows_its_own_prompt() -> None:
    frames = played(render(scene("first", "second", seconds=10, aspect=None))).frames
    early, before, after, late = (frames[number] for number in (0, 59, 60, 119))
    assert difference(early, before) < 1 < difference(before, after)
    assert difference(after, late) < 1


@pytest.mark.parametrize(("given", "size"), [((90, 40), LANDSCAPE), ((40, 90), PORTRAIT), ((2000, 2000), SQUARE)])
def test_a_given_image_is_shown_in_its_orientation(given: tuple[int, int], size: tuple[int, int]) -> None:
    film = played(render(scene("", aspect=None, image=picture(given, kind="JPEG"))))
    assert film.size == size
    middle = film.frames[0].getpixel((size[0] // 2, size[1] // 2))
    assert isinstance(middle, tuple)
    assert middle[0] > 200
    assert max(middle[1:]) < 60


def test_a_prompt_is_readable_on_its_image() -> None:
    shown, plain = (
        played(render(scene(text, aspect=None, image=picture((64, 36), "white")))).frames[0]
        for text in ("it moves", "")
    )
    assert difference(shown, plain) > 1


@pytest.mark.parametrize("image", [b"\x89PNG\r\n\x1a\n broken", picture((7100, 7100))])
def test_an_image_that_cannot_be_shown_leaves_the_text(image: bytes) -> None:
    shown = played(render(scene("a cat", image=image))).frames[0]
    assert difference(shown, played(render(scene("a cat"))).frames[0]) == 0


@pytest.mark.parametrize(
    "prompt",
    ["", "word " * 2000, "WM" * 300, "x" * 5000, "\ud800\x00\n\t😀", "日本語のプロンプト", "مرحبا"],
    ids=["empty", "many words", "wide letters", "one word", "control characters", "japanese", "arabic"],
)
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    assert played(render(scene(prompt, aspect="9:16"))).seconds == 5


def test_the_bundled_clip_plays() -> None:
    film = played(BUNDLED_CLIP.read_bytes())
    assert (film.seconds, film.codec, film.size) == (5, "h264", LANDSCAPE)
    assert BUNDLED_CLIP.stat().st_size < 20_000


def test_the_same_scene_is_the_same_file() -> None:
    """So that a download can be resumed after the file was rendered again."""
    assert render(scene("a cat")) == render(scene("a cat"))
