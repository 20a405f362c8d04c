"""Files of callers: however they are read, they are left as they were."""

from __future__ import annotations

import asyncio
import gzip
import io
import mmap
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope

from aivideomaker_async import ImageToVideo, InvalidSpec
from aivideomaker_async._submits import images
from aivideomaker_async._submits.image_file import CHUNK_BYTES, JobCancelled, ReadJob, read_open_file
from aivideomaker_async._submits.images import MAX_IMAGE_BYTES, load_fields
from tests.support.loading import FORMS, LARGE, Minimal, Unseekable, arrives, loaded, refused
from tests.support.pictures import NO_PICTURES, PNG, as_image, data_uri

pytestmark = pytest.mark.anyio

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has them elsewhere, or not at all")


# --- what is left as it was --------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 7])
async def test_a_file_is_left_open_and_standing_where_it_stood(position: int, tmp_path: Path) -> None:
    """It is read from there to its end, and can be read again."""
    path = tmp_path / "a.png"
    path.write_bytes(bytes(position) + PNG)
    with path.open("rb") as file:
        file.seek(position)
        for _ in range(2):
            await arrives(file, PNG)
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
    found = await asyncio.gather(*(loaded(file) for _ in range(3)))
    assert found == [as_image(PNG)] * 3
    assert file.together == 1
    assert file.tell() == 0


async def test_files_do_not_wait_for_each_other() -> None:
    """Only who shares a file takes turns."""
    started = threading.Barrier(2, timeout=10)

    class Meeting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            started.wait()
            return super().read()

    found = await asyncio.gather(*(loaded(Meeting(PNG)) for _ in range(2)))
    assert found == [as_image(PNG)] * 2


# --- what cannot be read -----------------------------------------------------------------------------


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
        await load_fields(spec, MAX_IMAGE_BYTES)
    assert "this one is closed" in (await refused(file)).allowed


async def test_a_file_open_for_writing_only_is_refused(tmp_path: Path) -> None:
    """It cannot be read."""
    with (tmp_path / "a.png").open("wb") as file:
        assert "readable image" in (await refused(file)).allowed


@pytest.mark.parametrize("content", [PNG.decode("latin-1"), 5, bytearray(PNG)])
async def test_a_file_that_gives_no_bytes_is_told_how_to_be_opened(content: object) -> None:
    """A text file that does not look like one."""
    assert "open it in mode 'rb'" in (await refused(Minimal(content))).allowed


@posix
@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a socket", "a directory"])
async def test_a_path_to_what_is_no_regular_file_is_refused(kind: str, tmp_path: Path) -> None:
    """At once: to open a named pipe would wait for whoever writes to it, and some devices never end."""
    path = tmp_path / "cat.png"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        import socket

        # Such names must be short.
        path = Path(tempfile.mkdtemp()) / "s"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    elif kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    error = await refused(path)
    assert error.value == repr(path)
    assert error.allowed == f"a readable image (it is {kind}, and not a regular file)"


async def test_a_path_that_becomes_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and its opening."""
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    monkeypatch.setattr(os, "fstat", lambda _: tmp_path.stat())
    assert "a directory" in (await refused(path)).allowed


async def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the system's words."""

    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "cat.png")

    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    monkeypatch.setattr(Path, "open", forbid)
    assert (await refused(path)).allowed == "a readable image (Permission denied)"


async def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """By name."""
    path = tmp_path / "cat.png"
    path.touch()
    with path.open("rb") as file:
        for image, shown in ((path, repr(path)), (file, f"<BufferedReader {str(path)!r}>")):
            error = await refused(image)
            assert (error.value, error.allowed) == (shown, "a readable image (it is empty)")


async def test_a_file_in_text_mode_that_hides_it_is_refused(tmp_path: Path) -> None:
    """The wrapper of a temporary file is no text file by its type."""
    with tempfile.NamedTemporaryFile("w+", dir=tmp_path) as file:
        file.write("x")
        file.seek(0)
        error = await refused(file)
    assert error.value == f"<_TemporaryFileWrapper {file.name!r}>"
    assert "the file gives str, and not bytes: open it in mode 'rb'" in error.allowed


async def test_a_file_that_turns_out_to_be_async_is_refused() -> None:
    """And nobody is warned of a coroutine that was never awaited."""

    async def read() -> bytes:
        return PNG

    assert "the file is async" in (await refused(Minimal(read()))).allowed


class Raw(Unseekable):
    """Gives what it is told, one after the other: bytes, None for nothing yet, or an error."""

    def __init__(self, *results: bytes | Exception | None) -> None:
        self.results = list(results)

    def readinto(self, buffer: Any) -> int | None:  # type: ignore[override]
        result = self.results.pop(0) if self.results else b""
        if isinstance(result, Exception):
            raise result
        if result is None:
            return None
        buffer[: len(result)] = result
        return len(result)


async def test_a_file_that_comes_in_small_bits_is_read_to_its_end() -> None:
    """A socket gives what it has; only nothing at all is the end."""
    data = PNG + bytes(100)
    await arrives(Raw(*(data[place : place + 7] for place in range(0, len(data), 7))), data)


async def test_a_file_in_non_blocking_mode_is_refused() -> None:
    """It has nothing now, and may have more later: what came so far is not the image."""
    assert "non-blocking" in (await refused(Raw(PNG[:40], None))).allowed


@pytest.mark.parametrize("size", [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
@pytest.mark.parametrize("form", ["path", "packed", "unseekable", "unbuffered"])
async def test_the_seams_between_chunks_are_not_seen(form: str, size: int, tmp_path: Path) -> None:
    """Whether the last is full or not."""
    data = PNG + bytes(size - len(PNG))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    image = FORMS[form](data, path)
    await arrives(image, data)
    if isinstance(image, io.IOBase):
        image.close()


class Generous(io.RawIOBase):
    """A file that gives all it has, however much it is asked for."""

    def read(self, size: int = -1, /) -> bytes:
        return LARGE


async def test_a_file_that_gives_more_than_it_is_asked_for_is_refused() -> None:
    """What it gives next would be anybody's guess."""
    assert f"gave {len(LARGE)} bytes when it was asked for {CHUNK_BYTES}" in (await refused(Generous())).allowed


class Failing(io.BytesIO):
    """A file on a disk that breaks."""

    name = "/mnt/broken/cat.png"

    def __init__(self, error: Exception) -> None:
        super().__init__(b"before" + LARGE)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > CHUNK_BYTES:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError("gone"), "gone"),
        (ValueError("no such thing"), "no such thing"),
        (EOFError("it ends too soon"), "reading it failed with EOFError: it ends too soon"),
    ],
)
async def test_a_file_that_fails_midway_is_named_and_stands_where_it_stood(error: Exception, told: str) -> None:
    """Whatever it raises."""
    file = Failing(error)
    file.seek(6)
    found = await refused(file)
    assert (found.value, found.allowed) == ("<Failing '/mnt/broken/cat.png'>", f"a readable image ({told})")
    assert file.tell() == 6
    assert not file.closed


async def test_a_packed_file_that_was_cut_off_is_refused() -> None:
    """As it comes from a download that broke."""
    packed = gzip.compress(LARGE)[:-20]
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        assert "EOFError" in (await refused(file)).allowed


# --- size --------------------------------------------------------------------------------------------


async def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    """Nothing of it is read, not even whether it is an image."""
    path = tmp_path / "a.png"
    with path.open("w+b") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
        file.seek(1)
        assert "no known kind" in (await refused(file)).allowed, "from here on it has the right size"
        file.seek(0)
        for image in (path, file):
            error = await refused(image)
            assert error.value.endswith("(it has 33,554,433 bytes)")
            assert "at most 33,554,432 bytes" in error.allowed


async def test_a_file_without_an_end_is_read_as_far_as_the_limit() -> None:
    """Whatever size it claims to have; and its place is kept."""

    class Endless(io.RawIOBase):
        given = 0
        place = 3

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return True

        def tell(self) -> int:
            return self.place

        def seek(self, place: int, whence: int = 0, /) -> int:
            self.place = place
            return place

        def read(self, size: int = -1, /) -> bytes:
            head, self.place = (PNG if self.place == 3 else b""), self.place + size
            self.given += size
            return head + bytes(size - len(head))

    file = Endless()
    error = await refused(file, max_bytes=10**6)
    assert error.value == "<Endless> (it has more than 1,000,000 bytes)"
    assert 10**6 < file.given <= 10**6 + CHUNK_BYTES
    assert file.place == 3


# --- files that do not tell whether they can be moved -------------------------------------------------


async def test_a_mapped_file_is_left_where_it_stood(tmp_path: Path) -> None:
    """It has no `seekable` before Python 3.13. Submits may share it."""
    path = tmp_path / "a.png"
    path.write_bytes(b"before" + LARGE)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        mapped.seek(6)
        assert await asyncio.gather(*(loaded(mapped) for _ in range(3))) == [as_image(LARGE)] * 3
        assert mapped.tell() == 6


class Silent:
    """A file of the caller's own making, without `seekable`."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.file.seek(6)

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, position: int) -> None:
        self.file.seek(position)


async def test_a_file_that_can_be_moved_is_moved_back() -> None:
    """Whether it says so or not."""
    file = Silent(b"before" + LARGE)
    for _ in range(2):
        await arrives(file, LARGE)
        assert file.tell() == 6


class Odd(io.BytesIO):
    """A file that can be moved, it says."""

    told: object = 0

    def tell(self) -> Any:
        return self.told

    def seek(self, *_: int) -> int:
        raise KeyError("no such place")


class Odder(io.BytesIO):
    def seekable(self) -> bool:
        raise KeyError("no such place")


@pytest.mark.parametrize("told", ["x", None, 1.5])
async def test_a_place_that_is_none_is_told(told: object) -> None:
    """As what is wrong with the image, and nothing is read."""
    file = Odd(PNG)
    file.told = told
    assert f"it gives {type(told).__name__} for its position, and not int" in (await refused(file)).allowed
    assert file.read() == PNG


async def test_a_file_that_cannot_be_moved_back_is_told() -> None:
    """Whatever it raises."""
    assert "moving it back failed with KeyError: 'no such place'" in (await refused(Odd(PNG))).allowed
    assert "asking for its position failed with KeyError" in (await refused(Odder(PNG))).allowed


# --- cancellation ------------------------------------------------------------------------------------


class Slow(io.BytesIO):
    """A file that waits in the midst of a read until it is let go."""

    def __init__(self) -> None:
        super().__init__(b"before" + LARGE)
        self.seek(6)
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        data = super().read(size)
        self.entered.set()
        assert self.let_go.wait(10)
        return data


@pytest.mark.parametrize("how", ["task", "scope"])
async def test_a_load_that_is_cancelled_leaves_the_file_where_it_stood(how: str) -> None:
    """When the call is over it is there again, and nothing more of it is read."""
    file = Slow()
    with CancelScope() as scope:
        load = asyncio.ensure_future(loaded(file)) if how == "task" else None

        async def cancel() -> None:
            await asyncio.to_thread(file.entered.wait, 10)
            if load is None:
                scope.cancel()
            else:
                load.cancel()
            # The reader is in the midst of it, and the call waits for its end.
            asyncio.get_running_loop().call_later(0.01, file.let_go.set)

        cancelling = asyncio.ensure_future(cancel())
        await (loaded(file) if load is None else asyncio.wait([load]))
    assert load.cancelled() if load is not None else scope.cancelled_caught
    assert (file.tell(), file.reads) == (6, 1)
    await cancelling
    await arrives(file, LARGE)


async def test_a_read_that_hangs_does_not_hold_up_a_cancellation_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network drive that is gone."""
    monkeypatch.setattr(images, "FILE_RESTORE_S", 0.01)
    file = Slow()
    load = asyncio.ensure_future(loaded(file))
    await asyncio.to_thread(file.entered.wait, 10)
    load.cancel()
    await asyncio.wait([load])
    assert load.cancelled()
    file.let_go.set()
    await arrives(file, LARGE)
    assert file.tell() == 6


@pytest.mark.parametrize("steps", range(8))
async def test_a_load_that_is_cancelled_early_holds_nothing(steps: int, tmp_path: Path) -> None:
    """Before a thread is found for it, or while it is woken."""
    path = tmp_path / "a.png"
    path.write_bytes(LARGE)
    file = io.BytesIO(b"before" + LARGE)
    file.seek(6)
    for image in (file, path, LARGE, data_uri(LARGE)):
        load = asyncio.ensure_future(loaded(image))
        for _ in range(steps):
            await asyncio.sleep(0)
        load.cancel()
        await asyncio.wait([load])
        assert load.cancelled() or load.result() == as_image(LARGE)
        assert file.tell() == 6
    await arrives(file, LARGE)


async def test_who_waits_for_a_file_of_others_can_be_cancelled() -> None:
    """And never touches it."""
    file = Slow()
    first = asyncio.ensure_future(loaded(file))
    await asyncio.to_thread(file.entered.wait, 10)
    second = asyncio.ensure_future(loaded(file))
    for _ in range(5):
        await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    assert second.cancelled()
    file.let_go.set()
    assert await first == as_image(LARGE)
    await arrives(file, LARGE)


def cancelled() -> ReadJob:
    job = ReadJob()
    job.cancelled = True
    return job


def test_a_thread_stops_waiting_for_its_turn_when_its_call_is_cancelled() -> None:
    """Also when the file is never free."""
    file = Slow()
    job = ReadJob()
    reader = threading.Thread(target=read_open_file, args=(file, MAX_IMAGE_BYTES, job))
    reader.start()
    assert file.entered.wait(10)
    with pytest.raises(JobCancelled):
        read_open_file(file, MAX_IMAGE_BYTES, cancelled())
    file.let_go.set()
    reader.join()
    assert b"".join(read_open_file(file, MAX_IMAGE_BYTES, ReadJob())) == LARGE


def test_a_file_is_not_moved_for_a_call_that_was_cancelled_before() -> None:
    """It did not wait until the file is back."""

    class Unmoved(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise AssertionError

    job = cancelled()
    with pytest.raises(JobCancelled):
        read_open_file(Unmoved(PNG), MAX_IMAGE_BYTES, job)
    assert not job.moved.locked()


# --- files that can be read once -----------------------------------------------------------------------


@posix
@pytest.mark.parametrize("buffering", [-1, 0])
async def test_a_pipe_is_read_to_its_end(buffering: int) -> None:
    """Its writer may take its time."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering) as file:
        load = asyncio.ensure_future(loaded(file))
        for start in range(0, len(LARGE), 50_000):
            await asyncio.to_thread(os.write, writing, LARGE[start : start + 50_000])
        os.close(writing)
        assert await load == as_image(LARGE)


@posix
async def test_a_load_from_a_pipe_can_be_cancelled() -> None:
    """The call ends at once; its thread waits until the pipe ends."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as file:
        load = asyncio.ensure_future(loaded(file))
        await asyncio.sleep(0.01)
        load.cancel()
        await asyncio.wait([load], timeout=10)
        assert load.cancelled()
        os.close(writing)
        await asyncio.to_thread(read_open_file, file, MAX_IMAGE_BYTES, ReadJob())


async def test_a_file_whose_read_takes_no_size_is_refused() -> None:
    """It could only be read as a whole, however large it is."""

    class Whole:
        def read(self) -> bytes:
            return PNG

    assert "reading it failed with TypeError" in (await refused(Whole())).allowed
