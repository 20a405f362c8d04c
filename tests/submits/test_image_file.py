"""Files of callers: however they are read, they are left as they were."""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope

from aivideomaker_async import ImageToVideo, InvalidSpec
from aivideomaker_async._submits import images
from aivideomaker_async._submits.image_file import CHUNK_BYTES, JobCancelled, ReadJob, read_open_file
from aivideomaker_async._submits.images import load_fields
from aivideomaker_async.client.client import MAX_IMAGE_BYTES
from tests.support.loading import FORMS, LARGE, Minimal, Unseekable, arrives, loaded, refused
from tests.support.pictures import NO_PICTURES, PNG, as_image, data_uri

pytestmark = pytest.mark.anyio

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has them elsewhere, or not at all")


# --- what is left as it was --------------------------------------------------------------------------


OPEN: dict[str, Callable[[Path], Any]] = {
    "buffered": lambda path: path.open("rb"),
    "unbuffered": lambda path: path.open("rb", buffering=0),
    "in memory": lambda path: io.BytesIO(path.read_bytes()),
}


@pytest.mark.parametrize("position", [0, 7])
@pytest.mark.parametrize("form", OPEN)
async def test_a_file_is_left_open_at_its_position(form: str, position: int, tmp_path: Path) -> None:
    """It is read from there to its end, again and again, also by several calls at once."""
    path = tmp_path / "a.png"
    path.write_bytes(bytes(position) + LARGE)
    file = OPEN[form](path)
    file.seek(position)
    await arrives(file, LARGE)
    assert file.tell() == position
    assert await asyncio.gather(*(loaded(file) for _ in range(3))) == [as_image(LARGE)] * 3
    assert file.tell() == position
    file.close()


async def test_a_file_is_put_back_after_an_error() -> None:
    """The caller may try something else with it."""
    file = io.BytesIO(b"xxx" + NO_PICTURES["pdf"])
    file.seek(3)
    await refused(file)
    assert file.tell() == 3


class Halting(io.BytesIO):
    """A file on which the first reader halts midway until another one has had the chance to come between."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.readers = 0
        self.together = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.readers += 1
        self.together = max(self.together, self.readers)
        half = super().read(len(self.getvalue()) // 2)
        # Nobody sets it: another reader would have 20 ms to come.
        threading.Event().wait(0.02)
        self.readers -= 1
        return half + super().read()


async def test_calls_that_share_a_file_take_turns() -> None:
    """Each reads it whole."""
    file = Halting(PNG)
    assert await asyncio.gather(*(loaded(file) for _ in range(3))) == [as_image(PNG)] * 3
    assert (file.together, file.tell()) == (1, 0)


async def test_files_do_not_wait_for_each_other() -> None:
    started = threading.Barrier(2, timeout=10)

    class Meeting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            started.wait()
            return super().read()

    assert await asyncio.gather(*(loaded(Meeting(PNG)) for _ in range(2))) == [as_image(PNG)] * 2


# --- what cannot be read -----------------------------------------------------------------------------


class Raw(Unseekable):
    """Gives a sequence of results: bytes, None for nothing yet, or an error."""

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


class Generous(io.RawIOBase):
    """Gives all it has, however little it is asked for."""

    def read(self, size: int = -1, /) -> bytes:
        return LARGE


class Whole:
    """Takes no size, so that it could only be read as a whole."""

    def read(self) -> bytes:
        return PNG


class Failing(io.BytesIO):
    """A file on a disk that breaks."""

    name = "/mnt/broken/cat.png"

    def __init__(self, error: Exception) -> None:
        super().__init__(LARGE)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() > CHUNK_BYTES:
            raise self.error
        return super().read(size)


class Odd(io.BytesIO):
    """A file that claims to be seekable."""

    def seek(self, *_: int) -> int:
        raise KeyError("no such place")


def cut_off() -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(LARGE)[:-20]))


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no such path": (lambda path: path / "no.png", "No such file"),
    "an empty file": (lambda path: io.BytesIO(), "it is empty"),
    "open for writing": (
        lambda path: (path / "a.png").open("wb"),
        "(reading it is not supported: open it in mode 'rb')",
    ),
    "gives texts": (lambda path: Minimal("text"), "the file gives str, and not bytes: open it in mode 'rb'"),
    "gives numbers": (lambda path: Minimal(5), "the file gives int, and not bytes"),
    "gives buffers": (lambda path: Minimal(bytearray(PNG)), "the file gives bytearray, and not bytes"),
    "nothing yet": (lambda path: Raw(PNG[:40], None), "it must not be in non-blocking mode"),
    "more than asked for": (lambda path: Generous(), f"gave {len(LARGE)} bytes when it was asked for {CHUNK_BYTES}"),
    "takes no size": (lambda path: Whole(), "reading it failed with TypeError"),
    "cut off": (lambda path: cut_off(), "reading it failed with EOFError"),
    "system error": (lambda path: Failing(OSError(5, "Input/output error")), "(Input/output error)"),
    "error of a library": (lambda path: Failing(OSError("gone")), "(gone)"),
    "wrong value": (lambda path: Failing(ValueError("no such thing")), "(no such thing)"),
    "other error": (lambda path: Failing(EOFError("too soon")), "(reading it failed with EOFError: too soon)"),
    "cannot be put back": (lambda path: Odd(PNG), "reading it failed with KeyError: 'no such place'"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_file_that_cannot_be_read_is_refused(what: str, tmp_path: Path) -> None:
    """Before anything is sent, as a wrong spec that names the file and the reason."""
    make, words = REFUSED[what]
    file = make(tmp_path)
    error = await refused(file)
    assert words in error.allowed
    assert type(file).__name__ in error.value or "Path" in error.value
    if what in {"no such path", "system error"}:
        assert isinstance(error.__cause__, OSError)
    if isinstance(file, Failing):
        assert error.value == "<Failing '/mnt/broken/cat.png'>"
        assert (file.tell(), file.closed) == (0, False)
    if isinstance(file, io.IOBase):
        file.close()


async def test_a_file_that_was_closed_since_is_refused() -> None:
    """It was open when the spec was made."""
    file = io.BytesIO(PNG)
    spec = ImageToVideo(image=file, duration=5)
    file.close()
    with pytest.raises(InvalidSpec, match="closed file"):
        await load_fields(spec, MAX_IMAGE_BYTES)
    assert "this one is closed" in (await refused(file)).allowed


@posix
@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a socket", "a directory"])
async def test_a_path_to_something_else_than_a_file_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once: to open a named pipe would wait for a writer, and some devices never end."""
    path = tmp_path / "cat.png"
    if kind == "a named pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        # By a relative name: such names must be short.
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    elif kind == "a directory":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    error = await refused(path)
    assert error.value == repr(path)
    assert error.allowed == f"a readable image (it is {kind}, and not a regular file)"


# --- chunks and sizes --------------------------------------------------------------------------------


async def test_a_file_that_comes_in_small_parts_is_read_to_its_end() -> None:
    """A socket gives what it has; only nothing at all is the end."""
    data = PNG + bytes(100)
    await arrives(Raw(*(data[place : place + 7] for place in range(0, len(data), 7))), data)


@pytest.mark.parametrize("size", [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
@pytest.mark.parametrize("form", ["path", "packed", "unseekable", "unbuffered"])
async def test_the_seams_between_chunks_are_not_seen(form: str, size: int, tmp_path: Path) -> None:
    """Whether the last one is full or not."""
    data = PNG + bytes(size - len(PNG))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    image = FORMS[form](data, path)
    await arrives(image, data)
    if isinstance(image, io.IOBase):
        image.close()


async def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    """Nothing of it is read, not even whether it is an image. One that is open is read up to the limit."""
    path = tmp_path / "a.png"
    with path.open("w+b") as file:
        file.truncate(MAX_IMAGE_BYTES + 1)
        for image, size in ((path, "33,554,433"), (file, "more than 33,554,432")):
            error = await refused(image)
            assert error.value.endswith(f"(it has {size} bytes)")
            assert "at most 33,554,432 bytes" in error.allowed
        file.seek(1)
        assert "no known kind" in (await refused(file)).allowed, "from here on it has the right size"


class Endless(Unseekable):
    """Gives zeros for ever."""

    def __init__(self) -> None:
        self.given = 0

    def readinto(self, buffer: Any) -> int:
        buffer[:] = bytes(len(buffer))
        self.given += len(buffer)
        return len(buffer)


async def test_a_file_without_an_end_is_read_up_to_the_limit() -> None:
    """And not further."""
    file = Endless()
    error = await refused(file, max_bytes=10**6)
    assert error.value == "<Endless> (it has more than 1,000,000 bytes)"
    assert 10**6 < file.given <= 10**6 + CHUNK_BYTES


# --- cancellation ------------------------------------------------------------------------------------


class Slow(io.BytesIO):
    """A file that blocks in the middle of a read until it is let go."""

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
async def test_a_load_that_is_cancelled_leaves_the_file_at_its_position(how: str) -> None:
    """When the call is over, and nothing more of it is read."""
    file = Slow()
    with CancelScope() as scope:
        load = asyncio.ensure_future(loaded(file)) if how == "task" else None

        async def cancel() -> None:
            await asyncio.to_thread(file.entered.wait, 10)
            if load is None:
                scope.cancel()
            else:
                load.cancel()
            # The thread is reading, and the call waits for its end.
            asyncio.get_running_loop().call_later(0.01, file.let_go.set)

        cancelling = asyncio.ensure_future(cancel())
        await (loaded(file) if load is None else asyncio.wait([load]))
    assert load.cancelled() if load is not None else scope.cancelled_caught
    assert (file.tell(), file.reads) == (6, 1)
    await cancelling
    await arrives(file, LARGE)


async def test_a_read_that_hangs_delays_a_cancellation_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
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


async def test_a_call_that_waits_for_a_shared_file_can_be_cancelled() -> None:
    """It never touches the file."""
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
    reader = threading.Thread(target=read_open_file, args=(file, MAX_IMAGE_BYTES, ReadJob()))
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


# --- pipes -------------------------------------------------------------------------------------------


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
