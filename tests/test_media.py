from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from aivideomaker_async import ImageToVideo, InvalidSpec, LongVideo, OtherModel, TextToVideo
from aivideomaker_async._core.data_uri import Image
from aivideomaker_async.media import load_image
from tests.core.pictures import MIMES, NO_PICTURES, PICTURES, PNG, data_uri, picture

pytestmark = pytest.mark.anyio

LARGE = picture("PNG", 64) + bytes(200_000)
"""An image that is larger than what is decoded in the event loop; viewers ignore what follows its end."""


async def loaded(image: Any) -> Image | str | None:
    return await load_image(ImageToVideo(image=image, duration=5))


async def refused(image: Any) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        await loaded(image)
    assert caught.value.field == "image"
    assert caught.value.spec == "ImageToVideo"
    return caught.value


class Unseekable(io.RawIOBase):
    """A pipe or a socket: it can be read once."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.data.readinto(buffer)


class Minimal:
    """A file of the caller's own making, which cannot even be remembered."""

    __slots__ = ("data",)

    def __init__(self, data: object) -> None:
        self.data = data

    def read(self) -> object:
        return self.data


# --- every form of every type ------------------------------------------------------------------------

FORMS: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda data, path: data,
    "bytearray": lambda data, path: bytearray(data),
    "memoryview": lambda data, path: memoryview(data),
    "path": lambda data, path: path,
    "data URI": lambda data, path: data_uri(data, "image/jpg"),
    "wrapped data URI": lambda data, path: " " + data_uri(data).replace("A", "A\r\n"),
    "in memory": lambda data, path: io.BytesIO(data),
    "unbuffered": lambda data, path: path.open("rb", buffering=0),
    "unseekable": lambda data, path: Unseekable(data),
    "minimal": lambda data, path: Minimal(data),
}


@pytest.mark.parametrize("kind", MIMES)
@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_an_image_is_read(form: str, kind: str, tmp_path: Path) -> None:
    """Its bytes as they are, with the type that its content has, whatever its name or its data URI says."""
    path = tmp_path / "wrong-name.txt"
    path.write_bytes(PICTURES[kind])
    image = FORMS[form](PICTURES[kind], path)
    assert await loaded(image) == Image(MIMES[kind], PICTURES[kind])
    if isinstance(image, io.IOBase):
        assert not image.closed
        image.close()


@pytest.mark.parametrize("form", FORMS)
async def test_a_large_image_is_read_like_a_small_one(form: str, tmp_path: Path) -> None:
    """In a thread: the fixture that forbids blocking calls in the loop is watching."""
    path = tmp_path / "large.png"
    path.write_bytes(LARGE)
    image = FORMS[form](LARGE, path)
    assert await loaded(image) == Image("image/png", LARGE)
    if isinstance(image, io.IOBase):
        image.close()


async def test_a_url_travels_as_it_is() -> None:
    """The service fetches it."""
    assert await loaded("https://example.com/a.png?token=1") == "https://example.com/a.png?token=1"


async def test_what_has_no_image_needs_none() -> None:
    """A text alone, or a model without a class, whose fields travel as they are."""
    assert await load_image(TextToVideo(prompt="a", aspect_ratio="1:1", duration=5)) is None
    assert await load_image(OtherModel("minimax", {"image": "https://example.com"})) is None


async def test_the_first_frame_of_a_long_video_is_read() -> None:
    """It has an image, too."""
    assert await load_image(LongVideo(image=PNG, prompts=("a",))) == Image("image/png", PNG)


async def test_a_buffer_that_changes_afterwards_changes_nothing() -> None:
    """What was checked is what is sent."""
    buffer = bytearray(PNG)
    spec = ImageToVideo(image=buffer, duration=5)
    buffer[:] = bytes(len(buffer))
    assert await load_image(spec) == Image("image/png", PNG)


async def test_a_file_that_changes_afterwards_changes_nothing(tmp_path: Path) -> None:
    """A retry sends what was read the first time; a new submit reads anew."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    first = await loaded(path)
    path.write_bytes(PICTURES["GIF"])
    assert first == Image("image/png", PNG)
    assert await loaded(path) == Image("image/gif", PICTURES["GIF"])


# --- files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 7])
async def test_a_file_is_left_open_and_standing_where_it_stood(position: int, tmp_path: Path) -> None:
    """It is read from there to its end, and can be read again."""
    path = tmp_path / "a.png"
    path.write_bytes(bytes(position) + PNG)
    with path.open("rb") as file:
        file.seek(position)
        for _ in range(2):
            assert await loaded(file) == Image("image/png", PNG)
            assert not file.closed
            assert file.tell() == position


async def test_a_file_stands_where_it_stood_also_after_an_error() -> None:
    """Whoever gave it may try something else with it."""
    file = io.BytesIO(b"xxx" + NO_PICTURES["pdf"])
    file.seek(3)
    await refused(file)
    assert file.tell() == 3


class Halting(io.BytesIO):
    """A file on which the first reader halts midway until somebody else has had the chance to come between."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.second_came = threading.Event()
        self.readers = 0
        self.together = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.readers += 1
        self.together = max(self.together, self.readers)
        half = super().read(len(self.getvalue()) // 2)
        # Nobody must come: only a second reader at the same time would end this wait early.
        self.second_came.wait(0.02)
        self.readers -= 1
        return half + super().read()


async def test_two_submits_may_share_one_open_file() -> None:
    """Each reads it whole, one after the other."""
    file = Halting(PNG)
    images = await asyncio.gather(*(loaded(file) for _ in range(3)))
    assert images == [Image("image/png", PNG)] * 3
    assert file.together == 1
    assert file.tell() == 0


async def test_files_do_not_wait_for_each_other() -> None:
    """Only who shares a file takes turns."""
    started = threading.Barrier(2, timeout=10)

    class Meeting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            started.wait()
            return super().read()

    images = await asyncio.gather(*(loaded(Meeting(PNG)) for _ in range(2)))
    assert images == [Image("image/png", PNG)] * 2


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NO_PICTURES)
@pytest.mark.parametrize("form", ["path", "in memory", "unseekable", "minimal"])
async def test_a_file_without_an_image_in_it_is_refused(form: str, name: str, tmp_path: Path) -> None:
    """Whatever it is called: its content decides."""
    path = tmp_path / "cat.png"
    path.write_bytes(NO_PICTURES[name])
    error = await refused(FORMS[form](NO_PICTURES[name], path))
    assert ("it is empty" if name == "empty" else "no image that is known") in error.allowed


async def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    """As a wrong spec that names it, not as an error of the system."""
    error = await refused(tmp_path / "no.png")
    assert "no.png" in error.value
    assert "No such file" in error.allowed
    assert isinstance(error.__cause__, FileNotFoundError)
    assert "directory" in (await refused(tmp_path)).allowed


async def test_a_closed_file_is_refused() -> None:
    """It was open when the spec was made."""
    file = io.BytesIO(PNG)
    spec = ImageToVideo(image=file, duration=5)
    file.close()
    with pytest.raises(InvalidSpec, match="closed file"):
        await load_image(spec)


async def test_a_file_open_for_writing_only_is_refused(tmp_path: Path) -> None:
    """It cannot be read."""
    with (tmp_path / "a.png").open("wb") as file:
        assert "readable image" in (await refused(file)).allowed


@pytest.mark.parametrize("content", [PNG.decode("latin-1"), None, 5, bytearray(PNG)])
async def test_a_file_that_gives_no_bytes_is_told_how_to_be_opened(content: object) -> None:
    """A text file that does not look like one."""
    assert "open it in mode 'rb'" in (await refused(Minimal(content))).allowed


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


async def test_a_load_that_is_cancelled_leaves_the_file_as_it_was() -> None:
    """The thread that reads goes on to its end and puts the file back."""
    entered, let_go = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            entered.set()
            assert let_go.wait(10)
            return super().read()

    file: BinaryIO = Slow(PNG)
    load = asyncio.ensure_future(loaded(file))
    await asyncio.to_thread(entered.wait, 10)
    load.cancel()
    let_go.set()
    await asyncio.wait([load])
    assert load.cancelled()
    assert await loaded(io.BytesIO(PNG)) == await loaded(file)
    assert file.tell() == 0
