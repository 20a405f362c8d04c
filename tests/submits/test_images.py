"""Images on their way into a request: every form, every field, limits, memory."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage

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
from aivideomaker_async._submits.body import Body, Image
from aivideomaker_async._submits.image_file import CHUNK_BYTES
from aivideomaker_async._submits.images import load_fields, load_request_body
from aivideomaker_async.client.client import MAX_IMAGE_BYTES
from tests.support.loading import FORMS, LARGE, Unseekable, arrives, loaded, refused
from tests.support.pictures import MIMES, NO_PICTURES, PICTURES, PNG, as_image, data_uri, in_lines, picture

pytestmark = pytest.mark.anyio


async def load(spec: VideoSpec | OtherModel, max_bytes: int = MAX_IMAGE_BYTES) -> Body:
    return await load_request_body(spec, max_bytes)


# --- every form of every type ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MIMES)
@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_an_image_is_read(form: str, kind: str, tmp_path: Path) -> None:
    """Its bytes as they are, with the type that its content has, whatever its name or its data URI claims."""
    path = tmp_path / "wrong-name.txt"
    path.write_bytes(PICTURES[kind])
    image = FORMS[form](PICTURES[kind], path)
    await arrives(image, PICTURES[kind], MIMES[kind])
    if isinstance(image, io.IOBase | tempfile.SpooledTemporaryFile):
        assert not image.closed
        image.close()


def photo() -> bytes:
    """Return a photo as phones make them."""
    pillow_heif = pytest.importorskip("pillow_heif", reason='needs the extra "images"')
    written = io.BytesIO()
    pillow_heif.from_pillow(PillowImage.new("RGB", (64, 48), "teal")).save(written)
    return written.getvalue()


@pytest.mark.parametrize("form", FORMS)
async def test_a_photo_of_a_phone_becomes_a_jpeg(form: str, tmp_path: Path) -> None:
    """Few services take HEIC. The picture is the same."""
    content = photo()
    path = tmp_path / "photo.heic"
    path.write_bytes(content)
    image = FORMS[form](content, path)
    sent = await loaded(image)
    assert isinstance(sent, Image)
    assert sent.mime == "image/jpeg"
    with PillowImage.open(io.BytesIO(b"".join(sent.content.decoded()))) as jpeg:
        assert (jpeg.format, jpeg.size) == ("JPEG", (64, 48))
    if isinstance(image, io.IOBase | tempfile.SpooledTemporaryFile):
        image.close()


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_photo_that_cannot_be_converted_travels_as_it_is(
    is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is missing, or the file is of a kind that only the service may know."""
    content = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100) if is_there else photo()
    if not is_there:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
    sent = await loaded(content)
    assert isinstance(sent, Image)
    assert sent.mime == "image/heic"
    assert b"".join(sent.content.decoded()) == content


@pytest.mark.parametrize("form", FORMS)
async def test_a_large_image_is_read_like_a_small_one(form: str, tmp_path: Path) -> None:
    """In a thread: the fixture that forbids blocking calls in the loop is watching."""
    path = tmp_path / "large.png"
    path.write_bytes(LARGE)
    image = FORMS[form](LARGE, path)
    await arrives(image, LARGE)
    if isinstance(image, io.IOBase | tempfile.SpooledTemporaryFile):
        image.close()


async def test_a_url_is_sent_as_it_is() -> None:
    """The service fetches it."""
    assert await loaded("https://example.com/a.png?token=1") == "https://example.com/a.png?token=1"


async def test_a_spec_without_an_image_is_sent_as_it_is() -> None:
    """A text alone, or a model without a class, whose fields are sent as they are."""
    text = TextToVideo(prompt="a", aspect_ratio="1:1", duration=5)
    assert await load_fields(text, 1) == {"prompt": "a", "aspectRatio": "1:1", "duration": "5"}
    other = OtherModel("minimax", {"image": "https://example.com"})
    assert await load_fields(other, 1) == {"image": "https://example.com"}


async def test_a_buffer_that_changes_afterwards_changes_nothing() -> None:
    """What was checked is what is sent."""
    buffer = bytearray(PNG)
    spec = ImageToVideo(image=buffer, duration=5)
    buffer[:] = bytes(len(buffer))
    assert (await load_fields(spec, MAX_IMAGE_BYTES))["image"] == as_image(PNG)


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
    """What is sent in a field, as the service reads it."""
    body = await load(spec)
    written = b"".join(body.pieces())
    assert len(written) == len(body)
    return json.loads(written)[wire_name]


def close(*images: Any) -> None:
    for image in images:
        if isinstance(image, io.IOBase | tempfile.SpooledTemporaryFile):
            assert not image.closed
            image.close()


@pytest.mark.parametrize("field", OF_ONE)
async def test_an_image_is_sent_in_every_field(field: str) -> None:
    """As a data URI, under the name that the field has on the wire."""
    spec = OF_ONE[field](io.BytesIO(PICTURES["GIF"]))
    assert await sent(spec, field.split()[1]) == data_uri(PICTURES["GIF"], "image/gif")


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


@pytest.mark.parametrize("form", ["in memory", "unbuffered"])
async def test_one_open_file_may_be_given_several_times(form: str, tmp_path: Path) -> None:
    """It is read from its position each time, and put back in the end."""
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
    """What was read of it is gone, and the message names the second place."""
    pipe: Any = io.BufferedReader(Unseekable(PNG))
    with pytest.raises(InvalidSpec) as caught:
        await load(MiniMaxH3(prompt="A", reference_images=[pipe, pipe]))
    assert (caught.value.field, caught.value.allowed) == ("reference_images[1]", "a readable image (it is empty)")


async def test_files_are_at_their_positions_when_another_image_is_refused(tmp_path: Path) -> None:
    """Those before it were read, and those after it were not."""
    files = [io.BytesIO(b"xx" + LARGE) for _ in range(3)]
    for file in files:
        file.seek(2)
    images: list[Any] = [files[0], files[1], tmp_path / "missing.png", files[2]]
    for spec in (MiniMaxH3(prompt="A", reference_images=images), HappyHorse(prompt="A", image=images, duration=5)):
        with pytest.raises(InvalidSpec) as caught:
            await load(spec)
        assert caught.value.field == ("reference_images[2]" if isinstance(spec, MiniMaxH3) else "image[2]")
        assert "missing.png" in caught.value.value
        assert [file.tell() for file in files] == [2, 2, 2]


@pytest.mark.parametrize("field", OF_SEVERAL)
async def test_an_image_of_several_that_is_too_large_is_reported_by_its_index(field: str) -> None:
    """Each may have the full size."""
    name = "reference_images" if "minimax" in field else "image"
    good = OF_SEVERAL[field]([PNG, URL, data_uri(PNG), io.BytesIO(PNG)])
    assert len(await load(good, max_bytes=len(PNG))) > 4 * len(PNG)
    for place, large in enumerate([LARGE, data_uri(LARGE), io.BytesIO(LARGE)]):
        images: list[Any] = [PNG, PNG, PNG]
        images[place] = large
        with pytest.raises(InvalidSpec) as caught:
            await load(OF_SEVERAL[field](images), max_bytes=len(PNG))
        assert caught.value.field == f"{name}[{place}]"
        assert f"(it has {len(LARGE):,} bytes)" in caught.value.value
        assert f"at most {len(PNG):,} bytes" in caught.value.allowed
        assert "iVBOR" not in str(caught.value)


# --- the identity of an image ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MIMES)
async def test_an_image_is_the_same_whichever_way_it_came(kind: str, tmp_path: Path) -> None:
    """Its type, its size, and its digest, which is that of its content and type."""
    data = PICTURES[kind] + bytes(100_000)
    path = tmp_path / "a"
    path.write_bytes(data)
    expected = as_image(data, MIMES[kind])
    for image in (data, io.BytesIO(data), path, data_uri(data, "image/jpg"), in_lines(data_uri(data))):
        assert await loaded(image) == expected


async def test_another_image_has_another_digest() -> None:
    """One bit will do, at the end as well."""
    data = PNG + bytes(60_000)
    different = [data, data[:-1], data + b"\0", data[:-1] + b"\1", PICTURES["GIF"] + bytes(60_000)]
    found = [await loaded(one) for one in different]
    assert len({image.digest for image in found if isinstance(image, Image)}) == len(different)


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_PICTURES)
@pytest.mark.parametrize("form", ["path", "in memory", "unseekable", "minimal"])
async def test_a_file_without_an_image_in_it_is_refused(form: str, name: str, tmp_path: Path) -> None:
    """Its content decides, not its name."""
    path = tmp_path / "cat.png"
    path.write_bytes(NO_PICTURES[name])
    error = await refused(FORMS[form](NO_PICTURES[name], path))
    assert ("it is empty" if name == "empty" else "no known kind of image") in error.allowed


@pytest.mark.parametrize("data", [PNG, LARGE], ids=["in the loop", "in a thread"])
async def test_a_data_uri_that_was_cut_off_is_refused(data: bytes) -> None:
    """The whole of it is checked, not only its beginning."""
    assert "base64" in (await refused(data_uri(data)[:-1])).allowed


# --- limits ------------------------------------------------------------------------------------------

LIMITED: dict[str, Callable[[bytes, Path], Any]] = {
    **{form: make for form, make in FORMS.items() if form != "unbuffered"},
    "data URI in lines": lambda data, path: in_lines(data_uri(data)),
}


@pytest.mark.parametrize("size", [len(PNG), 65_535, 65_536, 65_537, CHUNK_BYTES, CHUNK_BYTES + 1])
@pytest.mark.parametrize("form", LIMITED)
async def test_an_image_may_be_as_large_as_the_limit_and_no_larger(form: str, size: int, tmp_path: Path) -> None:
    """To the byte, in every form; the message has its size, as far as that is known."""
    data = PNG + bytes(size - len(PNG))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    image = LIMITED[form](data, path)
    assert isinstance(await loaded(image, max_bytes=size), Image)
    if form in {"unseekable", "minimal"}:
        image = LIMITED[form](data, path)
    error = await refused(image, max_bytes=size - 1)
    shown = f"more than {size - 1:,}" if form in {"spooled", "packed", "unseekable", "minimal"} else f"{size:,}"
    assert error.value.endswith(f"(it has {shown} bytes)")
    assert error.allowed == f"an image of at most {size - 1:,} bytes (AIVideoMaker(max_image_size=...) changes that)"
    if isinstance(image, tempfile.SpooledTemporaryFile):
        image.close()


@pytest.mark.parametrize("size", [1_000, 100_000])
async def test_a_data_uri_in_other_fields_is_limited_too(size: int) -> None:
    """Wherever it stands in them; the error has all such fields."""
    uri = data_uri(bytes(size))
    deep = {"images": ["https://example.com", {"more": [uri]}], "text": "A" * size * 2, "last": uri}
    specs: dict[str, VideoSpec | OtherModel] = {
        "body": OtherModel("m", deep),
        "extra": ImageToVideo(image=PNG, duration=5, extra=deep),
    }
    for name, spec in specs.items():
        assert len(await load(spec, max_bytes=size)) > 2 * size
        with pytest.raises(InvalidSpec) as caught:
            await load(spec, max_bytes=size - 1)
        assert [problem.field for problem in caught.value.problems] == [f"{name}['images']", f"{name}['last']"]
        assert caught.value.value == f"<data URI, {len(uri)} characters> (it has {size:,} bytes)"
        assert f"at most {size - 1:,} bytes" in caught.value.allowed


# --- long texts in other fields ----------------------------------------------------------------------

LONG = "data:image/png;base64," + "QUJD" * 50_000
NOVEL = 'Она сказала: "é\u2028😀\\"\n\x00' * 5_000


@pytest.mark.parametrize(
    "make",
    [
        lambda fields: OtherModel("m", fields),
        lambda fields: TextToVideo(prompt="a", aspect_ratio="1:1", duration=5, extra=fields),
        lambda fields: ImageToVideo(image=PNG, duration=5, extra=fields),
    ],
)
async def test_long_texts_are_written_as_json_writes_them(make: Callable[[Any], VideoSpec | OtherModel]) -> None:
    """Wherever they stand, with everything in them that JSON escapes."""
    fields = {"images": [LONG, URL, NOVEL], "deep": {"er": ({"last": LONG}, None)}, LONG: LONG[:65_537], "end": 1}
    found = await load(make(fields))
    written = b"".join(found.pieces())
    assert len(found) == len(written)
    assert written.endswith(json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()[1:])
    json.loads(written)


@pytest.mark.parametrize("late", [object(), "\ud800" * 100_000])
async def test_a_value_that_was_added_after_the_check_is_not_sent(late: object) -> None:
    """The lists in a body are the caller's, who can still change them."""
    images: list[object] = [URL, LONG]
    spec = OtherModel("m", {"images": images})
    images.append(late)
    with pytest.raises((TypeError, ValueError)):
        await load(spec)


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
    # What the first image in a process imports and starts is not counted.
    await load(ImageToVideo(image=LARGE, duration=5))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        body = await load(make())
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
