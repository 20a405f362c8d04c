"""An image of 24 MB on its way in, by each way that a spec takes one: what it does to the event loop and to memory.

From the making of the spec to the answer of the service, which is another process. The stalls stand beside those of the
same loop while it was idle, and the memory beside the size of the image: it is what is allocated beyond the image that
the caller holds already.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import os
import tempfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import aiohttp
from attrs import frozen

from aivideomaker_async import AIVideoMaker, ImageToVideo, OtherModel, RateLimiter

from .report import Report, Table
from .stalls import StallMeter, idle_stall
from .upload_server import upload_server

__all__ = ["FULL", "SHORT", "Extent", "FileIn", "measure", "report", "run"]

KEY: Final = "ak_benchmark"
HEAD: Final = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x10\0\0\0\x10\0\x08\x02\0\0\0"
LINE: Final = 76
"""Characters of a line of base64 text, where it has lines."""

Submit: TypeAlias = Callable[[], Awaitable[object]]
"""Makes a spec of an image that is there already, and submits it."""


@frozen(kw_only=True)
class Extent:
    """How much is measured."""

    size: int
    """Bytes of the image."""
    rounds: int
    idle: float
    """Seconds in which the event loop does nothing, before each round and after the last, for comparison."""


FULL: Final = Extent(size=24_000_000, rounds=5, idle=0.4)
SHORT: Final = Extent(size=6_000_000, rounds=1, idle=0.2)


@frozen(kw_only=True)
class FileIn:
    """One line of the table: a way in."""

    way: str
    size: int
    """Bytes of the image."""
    rounds: int
    stall: float
    """The longest time for which the event loop kept everybody waiting, in seconds."""
    idle_stall: float
    """The same while the loop did nothing, between the rounds."""
    memory: float
    """The peak of what is allocated beyond the caller's image, over the size of the image."""
    seconds: float
    """The fastest round, for orientation only."""


@frozen(kw_only=True)
class _Place:
    """Where a way finds its image, and where it goes."""

    image: bytes
    path: Path
    client: AIVideoMaker
    url: str


Way: TypeAlias = Callable[[_Place, AsyncExitStack], Submit]
"""Makes what the caller holds beforehand: that is not measured."""


def _spec(make: Callable[[_Place], Any]) -> Way:
    def way(place: _Place, _: AsyncExitStack) -> Submit:
        image = make(place)
        return lambda: place.client.submit(ImageToVideo(image=image, duration=5))

    return way


def _uri(place: _Place) -> str:
    return f"data:image/png;base64,{base64.b64encode(place.image).decode()}"


def _wrapped(place: _Place) -> str:
    head, _, text = _uri(place).partition(",")
    return f"{head}," + "\r\n".join(text[start : start + LINE] for start in range(0, len(text), LINE))


def _other(place: _Place, _: AsyncExitStack) -> Submit:
    uri = _uri(place)
    return lambda: place.client.submit(OtherModel("seedance20", {"image": uri, "duration": 5}))


def _spooled(place: _Place, stack: AsyncExitStack) -> Submit:
    file = tempfile.SpooledTemporaryFile(len(place.image) // 2)  # noqa: SIM115  (the stack closes it)
    stack.callback(file.close)
    file.write(place.image)
    file.seek(0)
    return lambda: place.client.submit(ImageToVideo(image=file, duration=5))


def _opened(place: _Place, stack: AsyncExitStack) -> Submit:
    file = stack.enter_context(place.path.open("rb"))
    return lambda: place.client.submit(ImageToVideo(image=file, duration=5))


def _bare(place: _Place, stack: AsyncExitStack) -> Submit:
    """The shortest program, without any precaution."""

    async def submit() -> object:
        async with aiohttp.ClientSession(headers={"key": KEY}) as session:
            text = base64.b64encode(place.path.read_bytes()).decode()
            body = {"image": f"data:image/png;base64,{text}", "duration": "5"}
            async with session.post(f"{place.url}/api/v1/generate/i2v", json=body) as response:
                return await response.json()

    return submit


BARE: Final = "bare aiohttp, read_bytes and json="

WAYS: Final[Mapping[str, Way]] = {
    "pathlib.Path": _spec(lambda place: place.path),
    "an open file": _opened,
    "SpooledTemporaryFile": _spooled,
    "io.BytesIO": _spec(lambda place: io.BytesIO(place.image)),
    "bytes": _spec(lambda place: place.image),
    "bytearray": _spec(lambda place: bytearray(place.image)),
    "data URI": _spec(_uri),
    "data URI in lines": _spec(_wrapped),
    "data URI in an OtherModel": _other,
    BARE: _bare,
}
"""The ways in by their names in the table."""


def run(short: bool) -> Report:
    """Measure and report."""
    return report(measure(SHORT if short else FULL))


def measure(extent: Extent) -> list[FileIn]:
    """Measure every way in."""
    with upload_server() as url, tempfile.TemporaryDirectory(prefix="benchmark-files-") as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(HEAD + os.urandom(extent.size - len(HEAD)))
        return [asyncio.run(_measure(name, way, path, url, extent)) for name, way in WAYS.items()]


async def _measure(name: str, way: Way, path: Path, url: str, extent: Extent) -> FileIn:
    async with _submits(way, path, url) as submit:
        # The first time, modules are imported and connections made.
        await submit()
        rounds = [await _round(submit, extent.idle) for _ in range(extent.rounds)]
        quiet = await idle_stall(extent.idle)
        memory = await _memory(submit)
    return FileIn(
        way=name,
        size=extent.size,
        rounds=extent.rounds,
        stall=max(stall for _, stall, _ in rounds),
        idle_stall=max(quiet, *(idle for idle, _, _ in rounds)),
        memory=memory / extent.size,
        seconds=min(seconds for _, _, seconds in rounds),
    )


@asynccontextmanager
async def _submits(way: Way, path: Path, url: str) -> AsyncIterator[Submit]:
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(AIVideoMaker(KEY, base_url=url, limiter=RateLimiter()))
        place = _Place(image=await asyncio.to_thread(path.read_bytes), path=path, client=client, url=url)
        yield way(place, stack)


async def _round(submit: Submit, idle: float) -> tuple[float, float, float]:
    """The longest stalls of an idle time and of one submit, and the seconds of that."""
    gc.collect()
    quiet = await idle_stall(idle)
    began = asyncio.get_running_loop().time()
    async with StallMeter() as meter:
        await submit()
    return quiet, meter.longest, asyncio.get_running_loop().time() - began


async def _memory(submit: Submit) -> float:
    """The peak in bytes of what is allocated during one submit."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    await submit()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak - before


def report(found: Sequence[FileIn]) -> Report:
    """The figures for people."""
    table = Table(
        title=f"An image of {found[0].size / 1e6:g} MB, from the making of its spec to the answer",
        columns=("given as", "longest stall, ms", "of the idle loop, ms", "memory / size", "seconds", "rounds"),
        rows=[
            (
                line.way,
                f"{line.stall * 1000:.1f}",
                f"{line.idle_stall * 1000:.1f}",
                f"{line.memory:.2f}",
                f"{line.seconds:.2f}",
                str(line.rounds),
            )
            for line in found
        ],
    )
    return Report(figures=found, tables=[table])
