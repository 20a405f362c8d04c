from __future__ import annotations

import asyncio
import io
import json
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import (
    HappyHorse,
    ImageToVideo,
    InvalidSpec,
    LongVideo,
    MiniMaxH3,
    OtherModel,
    Seedance20,
    TextToVideo,
    VideoSpec,
    Wan27,
)
from aivideomaker_async._submits.body import Image
from aivideomaker_async._submits.image_file import CHUNK
from aivideomaker_async._submits.images import load_body, load_images, load_request
from tests.support.loading import FORMS, LARGE, Unseekable, arrives, loaded, refused
from tests.support.pictures import MIMES, NO_PICTURES, PICTURES, PNG, as_image, data_uri, in_lines, picture

pytestmark = pytest.mark.anyio


# --- every form of every type ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MIMES)
@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_an_image_is_read(form: str, kind: str, tmp_path: Path) -> None:
    """Its bytes as they are, with the type that its content has, whatever its name or its data URI says."""
    path = tmp_path / "wrong-name.txt"
    path.write_bytes(PICTURES[kind])
    image = FORMS[form](PICTURES[kind], path)
    await arrives(image, PICTURES[kind], MIMES[kind])
    if isinstance(image, io.IOBase | tempfile.SpooledTemporaryFile):
        assert not image.closed
        image.close()


@pytest.mark.parametrize("form", FORMS)
async def test_a_large_image_is_read_like_a_small_one(form: str, tmp_path: Path) -> None:
    """In a thread: the fixture that forbids blocking calls in the loop is watching."""
    path = tmp_path / "large.png"
    path.write_bytes(LARGE)
    image = FORMS[form](LARGE, path)
    await arrives(image, LARGE)
    if isinstance(image, io.IOBase | tempfile.SpooledTemporaryFile):
        image.close()


async def test_a_url_travels_as_it_is() -> None:
    """The service fetches it."""
    assert await loaded("https://example.com/a.png?token=1") == "https://example.com/a.png?token=1"


async def test_what_has_no_image_needs_none() -> None:
    """A text alone, or a model without a class, whose fields travel as they are."""
    assert await load_images(TextToVideo(prompt="a", aspect_ratio="1:1", duration=5)) == {}
    assert await load_images(OtherModel("minimax", {"image": "https://example.com"})) == {}


async def test_the_first_frame_of_a_long_video_is_read() -> None:
    """It has an image, too."""
    assert await load_images(LongVideo(image=PNG, prompts=("a",))) == {"image": as_image(PNG)}


async def test_a_buffer_that_changes_afterwards_changes_nothing() -> None:
    """What was checked is what is sent."""
    buffer = bytearray(PNG)
    spec = ImageToVideo(image=buffer, duration=5)
    buffer[:] = bytes(len(buffer))
    assert await load_images(spec) == {"image": as_image(PNG)}


async def test_a_file_that_changes_afterwards_changes_nothing(tmp_path: Path) -> None:
    """A retry sends what was read the first time; a new submit reads anew."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    first = await loaded(path)
    path.write_bytes(PICTURES["GIF"])
    assert isinstance(first, Image)
    assert b"".join(first.pieces()).decode() == data_uri(PNG)
    await arrives(path, PICTURES["GIF"], "image/gif")


# --- every field of every model ----------------------------------------------------------------------

URL = "https://example.com/a.png?token=1"
OF_ONE: dict[str, Callable[[Any], VideoSpec]] = {
    "i2v image": lambda image: ImageToVideo(image=image, duration=5),
    "lv image": lambda image: LongVideo(image=image, prompts=["A cat"]),
    "minimax imageUrl": lambda image: MiniMaxH3(prompt="A cat", image=image),
    "minimax lastFrameUrl": lambda image: MiniMaxH3(prompt="A cat", last_frame=image),
    "seedance20 image": lambda image: Seedance20(image=image, duration=5, resolution=480, aspect_ratio="1:1"),
    "wan27 image": lambda image: Wan27(prompt="A cat", image=image, duration=5),
    "happyhorse image": lambda image: HappyHorse(prompt="A cat", image=image, duration=5),
}
OF_SEVERAL: dict[str, Callable[[Any], VideoSpec]] = {
    "minimax referenceImageUrls": lambda images: MiniMaxH3(prompt="A cat", reference_images=images),
    "happyhorse image": lambda images: HappyHorse(prompt="A cat", image=images, duration=5),
}


async def sent(spec: VideoSpec, wire_name: str) -> Any:
    """What travels of a field, as the service reads it."""
    loaded = await load_request(spec)
    body = b"".join(loaded.body.pieces())
    assert len(body) == len(loaded.body)
    fields = json.loads(body)
    assert list(fields) == list(loaded.fields)
    return fields[wire_name]


def close(*images: Any) -> None:
    for image in images:
        if isinstance(image, io.IOBase | tempfile.SpooledTemporaryFile):
            assert not image.closed
            image.close()


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_is_sent_in_every_field(form: str, tmp_path: Path) -> None:
    """As a data URI, under the name that the field has on the wire."""
    path = tmp_path / "a.gif"
    path.write_bytes(PICTURES["GIF"])
    for field, make in OF_ONE.items():
        image = FORMS[form](PICTURES["GIF"], path)
        assert await sent(make(image), field.split()[1]) == data_uri(PICTURES["GIF"], "image/gif")
        close(image)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("field", OF_SEVERAL)
async def test_every_form_is_sent_in_lists(form: str, field: str, tmp_path: Path) -> None:
    """In order, among others and URLs, large and small; a list of one stays a list."""
    path, large = tmp_path / "a.png", tmp_path / "large.png"
    path.write_bytes(PNG)
    large.write_bytes(LARGE)
    images = [FORMS[form](PNG, path), URL, FORMS[form](LARGE, large), PICTURES["GIF"]]
    make, wire_name = OF_SEVERAL[field], field.split()[1]
    expected = [data_uri(PNG), URL, data_uri(LARGE), data_uri(PICTURES["GIF"], "image/gif")]
    assert await sent(make(images), wire_name) == expected
    assert await sent(make([URL]), wire_name) == [URL]
    assert await sent(make([PNG]), wire_name) == [data_uri(PNG)]
    close(*images)


async def test_both_frames_are_sent() -> None:
    """Each in its field."""
    spec = MiniMaxH3(prompt="A cat", image=io.BytesIO(PNG), last_frame=PICTURES["GIF"])
    assert await sent(spec, "imageUrl") == data_uri(PNG)
    assert await sent(spec, "lastFrameUrl") == data_uri(PICTURES["GIF"], "image/gif")


@pytest.mark.parametrize("form", ["in memory", "unbuffered"])
async def test_one_open_file_may_stand_in_several_places(form: str, tmp_path: Path) -> None:
    """It is read from where it stands each time, and stands there again in the end."""
    path = tmp_path / "a.png"
    path.write_bytes(b"before" + LARGE)
    file = FORMS[form](b"before" + LARGE, path)
    file.seek(6)
    assert await sent(MiniMaxH3(prompt="A", reference_images=[file] * 4), "referenceImageUrls") == [data_uri(LARGE)] * 4
    frames = MiniMaxH3(prompt="A", image=file, last_frame=file)
    assert [await sent(frames, name) for name in ("imageUrl", "lastFrameUrl")] == [data_uri(LARGE)] * 2
    assert file.tell() == 6
    file.close()


async def test_a_pipe_in_two_places_is_empty_in_the_second() -> None:
    """What was read of it is gone, and the message tells which."""
    pipe: Any = io.BufferedReader(Unseekable(PNG))
    with pytest.raises(InvalidSpec) as caught:
        await load_body(MiniMaxH3(prompt="A", reference_images=[pipe, pipe]))
    assert (caught.value.field, caught.value.allowed) == ("reference_images[1]", "a readable image (it is empty)")


async def test_files_stand_where_they_stood_when_another_image_is_refused(tmp_path: Path) -> None:
    """Those before it were read, and those after it were not."""
    files = [io.BytesIO(b"xx" + LARGE) for _ in range(3)]
    for file in files:
        file.seek(2)
    images: list[Any] = [files[0], files[1], tmp_path / "missing.png", files[2]]
    for spec in (MiniMaxH3(prompt="A", reference_images=images), HappyHorse(prompt="A", image=images, duration=5)):
        with pytest.raises(InvalidSpec) as caught:
            await load_body(spec)
        assert caught.value.field == ("reference_images[2]" if isinstance(spec, MiniMaxH3) else "image[2]")
        assert "missing.png" in caught.value.value
        assert [file.tell() for file in files] == [2, 2, 2]


async def test_a_file_that_was_closed_meanwhile_is_told_by_its_place() -> None:
    """It was open when the spec was made."""
    file = io.BytesIO(PNG)
    spec = MiniMaxH3(prompt="A", reference_images=[URL, file])
    file.close()
    with pytest.raises(InvalidSpec) as caught:
        await load_body(spec)
    assert caught.value.field == "reference_images[1]"
    assert "closed" in caught.value.allowed


class Watched(io.BytesIO):
    """A file that tells when it is read, and can be held up there."""

    def __init__(self, data: bytes, reading: Callable[[], None]) -> None:
        super().__init__(data)
        self.reading = reading

    def read(self, size: int | None = -1, /) -> bytes:
        self.reading()
        return super().read(size)


@pytest.mark.parametrize("cancelled_in", range(4))
async def test_a_cancelled_call_leaves_every_file_where_it_stood(cancelled_in: int) -> None:
    """Whichever of several images is being read; and none after it is read at all."""
    loop = asyncio.get_running_loop()
    reads: list[int] = []

    def watch(place: int) -> Callable[[], None]:
        def reading() -> None:
            reads.append(place)
            if place == cancelled_in:
                loop.call_soon_threadsafe(task.cancel)

        return reading

    files = [Watched(b"xx" + LARGE * 3, watch(place)) for place in range(4)]
    for file in files:
        file.seek(2)
    task = asyncio.ensure_future(load_body(MiniMaxH3(prompt="A", reference_images=files)))
    await asyncio.wait([task])
    assert task.cancelled()
    assert [file.tell() for file in files] == [2] * 4
    assert max(reads) == cancelled_in
    cancelled_in = -1
    assert len(await load_body(MiniMaxH3(prompt="A", reference_images=files))) > 12 * len(LARGE)


@pytest.mark.parametrize("field", OF_SEVERAL)
async def test_an_image_of_several_that_is_too_large_is_told_by_its_place(field: str) -> None:
    """Each may be as large as one alone."""
    name = "reference_images" if "minimax" in field else "image"
    good = OF_SEVERAL[field]([PNG, URL, data_uri(PNG), io.BytesIO(PNG)])
    assert len(await load_body(good, largest=len(PNG))) > 4 * len(PNG)
    for place, large in enumerate([LARGE, data_uri(LARGE), io.BytesIO(LARGE)]):
        images: list[Any] = [PNG, PNG, PNG]
        images[place] = large
        with pytest.raises(InvalidSpec) as caught:
            await load_body(OF_SEVERAL[field](images), largest=len(PNG))
        assert caught.value.field == f"{name}[{place}]"
        assert f"(it has {len(LARGE):,} bytes)" in caught.value.value
        assert f"at most {len(PNG):,} bytes" in caught.value.allowed
        assert "iVBOR" not in str(caught.value)


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_PICTURES)
@pytest.mark.parametrize("form", ["path", "in memory", "unseekable", "minimal"])
async def test_a_file_without_an_image_in_it_is_refused(form: str, name: str, tmp_path: Path) -> None:
    """Whatever it is called: its content decides."""
    path = tmp_path / "cat.png"
    path.write_bytes(NO_PICTURES[name])
    error = await refused(FORMS[form](NO_PICTURES[name], path))
    assert ("it is empty" if name == "empty" else "no image that is known") in error.allowed


TEXT = data_uri(PNG).partition(",")[2]


@pytest.mark.parametrize(
    "text",
    [
        TEXT[:-1],
        TEXT[:-2],
        TEXT[:-3],
        TEXT + "=",
        TEXT.replace("=", "%3D") + "%3D",
        TEXT[:40] + "!" + TEXT[40:],
        TEXT + "ключ",
    ],
)
async def test_a_data_uri_that_was_damaged_on_its_way_is_refused(text: str) -> None:
    """Cut off, or percent-encoded: the whole of it is checked, not only its beginning."""
    error = await refused("data:image/png;base64," + text)
    assert TEXT[:20] not in str(error)


async def test_a_large_data_uri_that_was_cut_off_is_refused() -> None:
    """In a thread, like the good ones."""
    assert "base64" in (await refused(data_uri(LARGE)[:-1])).allowed


async def test_no_message_shows_an_image() -> None:
    """Nor what stood in a file in its place."""
    error = await refused(io.BytesIO(b"SECRET" * 1000))
    assert "SECRET" not in str(error) + repr(error)


# --- limits ------------------------------------------------------------------------------------------

LIMITED: dict[str, Callable[[bytes, Path], Any]] = {
    **{form: make for form, make in FORMS.items() if form != "unbuffered"},
    "data URI in lines": lambda data, path: in_lines(data_uri(data)),
}


@pytest.mark.parametrize("size", [len(PNG), 65_535, 65_536, 65_537, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("form", LIMITED)
async def test_an_image_may_be_as_large_as_the_limit_and_no_larger(form: str, size: int, tmp_path: Path) -> None:
    """To the byte, in whatever way it comes; the message says how large it is, as far as that is known."""
    data = PNG + bytes(size - len(PNG))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    image = LIMITED[form](data, path)
    assert isinstance(await loaded(image, largest=size), Image)
    if form == "unseekable":
        image = LIMITED[form](data, path)
    error = await refused(image, largest=size - 1)
    told = f"more than {size - 1:,}" if form in {"spooled", "packed", "unseekable", "minimal"} else f"{size:,}"
    assert error.value.endswith(f"(it has {told} bytes)")
    assert error.allowed == f"an image of at most {size - 1:,} bytes (AIVideoMaker(max_image_size=...) changes that)"
    if isinstance(image, tempfile.SpooledTemporaryFile):
        image.close()


@pytest.mark.parametrize("size", [1_000, 100_000])
async def test_a_data_uri_in_other_fields_is_limited_too(size: int) -> None:
    """Wherever it stands in them: the message names the field, and all of them are told."""
    uri = data_uri(bytes(size))
    deep = {"images": ["https://example.com", {"more": [uri]}], "text": "A" * size * 2, "last": uri}
    specs: dict[str, VideoSpec | OtherModel] = {
        "body": OtherModel("m", deep),
        "extra": ImageToVideo(image=PNG, duration=5, extra=deep),
    }
    for name, spec in specs.items():
        assert len(await load_body(spec, largest=size)) > 2 * size
        with pytest.raises(InvalidSpec) as caught:
            await load_body(spec, largest=size - 1)
        assert [problem.field for problem in caught.value.problems] == [f"{name}['images']", f"{name}['last']"]
        assert caught.value.value == f"<data URI, {len(uri)} characters> (it has {size:,} bytes)"
        assert f"at most {size - 1:,} bytes" in caught.value.allowed


# --- memory ------------------------------------------------------------------------------------------

MEASURED = picture("PNG", 64) + bytes(4_000_000)
URI = data_uri(MEASURED)
IN_LINES = in_lines(URI)

COSTS: dict[str, tuple[Callable[[Path], Any], float]] = {
    "path": (lambda path: path, 1.1),
    "open file": (lambda path: path.open("rb"), 1.1),
    "unbuffered": (lambda path: path.open("rb", buffering=0), 1.1),
    "unseekable": (lambda path: io.BufferedReader(Unseekable(MEASURED)), 1.1),
    "in memory": (lambda path: io.BytesIO(MEASURED), 0.1),
    "bytes": (lambda path: MEASURED, 0.1),
    "bytearray": (lambda path: bytearray(MEASURED), 1.1),
    "data URI": (lambda path: URI, 0.1),
    "data URI in lines": (lambda path: IN_LINES, 0.15),
}


async def peak(make: Callable[[], ImageToVideo | OtherModel]) -> float:
    """Bytes beyond what is there already, from the making of the spec to the last byte of its second sending."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        body = await load_body(make())
        for _ in range(2):
            assert sum(map(len, body.pieces())) == len(body)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", COSTS)
async def test_an_image_is_in_memory_once(form: str, tmp_path: Path) -> None:
    """Bytes and texts stay where the caller has them; a file is read once, and a buffer copied once."""
    path = tmp_path / "a.png"
    path.write_bytes(MEASURED)
    make, most = COSTS[form]
    image = make(path)
    assert await peak(lambda: ImageToVideo(image=image, duration=5)) < most * len(MEASURED)
    if isinstance(image, io.IOBase):
        image.close()


async def test_a_data_uri_in_another_model_s_fields_is_never_copied() -> None:
    """Neither when it is checked nor when it is sent."""
    assert await peak(lambda: OtherModel("seedance20", {"image": URI, "images": [URI]})) < 0.1 * len(MEASURED)
    other = {"deep": {"er": [URI]}}
    assert await peak(lambda: ImageToVideo(image=PNG, duration=5, extra=other)) < 0.1 * len(MEASURED)
