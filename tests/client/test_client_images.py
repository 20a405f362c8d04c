"""Images through a whole client: what a retry sends, what is too large, and what no error or log line shows."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import (
    AIVideoMaker,
    ImageToVideo,
    InvalidSpec,
    LongVideo,
    OtherModel,
    RateLimiter,
    SubmitOutcomeUnknown,
)
from tests.support.leaks import assert_nothing_held
from tests.support.pictures import PNG, data_uri, in_lines, picture
from tests.support.prying import texts_of
from tests.support.scripted import Arrival, Reply, scripted, submitted

pytestmark = pytest.mark.anyio

SMALL = picture("PNG", 64) + random.Random(1).randbytes(20_000)
IMAGE = picture("PNG", 64) + random.Random(1).randbytes(66_000)
URI = data_uri(IMAGE)

WAYS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "open file": lambda path: path.open("rb"),
    "in memory": lambda path: io.BytesIO(IMAGE),
    "pipe": lambda path: io.BufferedReader(OnceOnly(IMAGE)),
    "bytes": lambda path: IMAGE,
    "bytearray": lambda path: bytearray(IMAGE),
    "data URI": lambda path: URI,
    "data URI in lines": lambda path: in_lines(URI),
}


class OnceOnly(io.RawIOBase):
    """What was read of it is gone."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self.data.readinto(buffer)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    path.write_bytes(IMAGE)
    return path


@pytest.fixture
def given(path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An image, given in the way that the test asks for."""
    image = WAYS[request.param](path)
    yield image
    if isinstance(image, io.IOBase):
        image.close()


def client_of(url: str, **options: Any) -> AIVideoMaker:
    return AIVideoMaker("ak_test", base_url=url, limiter=RateLimiter(), **options)


# --- what a retry sends ------------------------------------------------------------------------------


@pytest.mark.parametrize("given", WAYS, indirect=True)
async def test_after_429_the_same_bytes_are_sent(given: Any, path: Path) -> None:
    """Whatever has become of the file meanwhile: what was checked is what is sent."""

    def answer(_: Arrival) -> Reply:
        path.write_bytes(PNG)
        return Reply(429, headers={"Retry-After": "7"}) if len(service.arrivals) < 3 else submitted()

    async with scripted(answer) as service, client_of(service.url) as client:
        await client.submit(ImageToVideo(image=given, duration=5))
        assert not getattr(given, "closed", False)
        await assert_nothing_held(client)
    assert len(service.arrivals) == 3
    assert {arrival.json()["image"] for arrival in service.arrivals} == {URI}
    assert len({arrival.body for arrival in service.arrivals}) == 1
    assert len({arrival.headers["idempotency-key"] for arrival in service.arrivals}) == 1


async def test_a_data_uri_in_other_fields_is_sent_again_as_it_is() -> None:
    """Nobody looks into it, and its line breaks are part of it."""
    fields = {"images": [in_lines(URI), URI], "duration": 5}

    def answer(_: Arrival) -> Reply:
        return Reply(429, headers={"Retry-After": "7"}) if len(service.arrivals) < 2 else submitted()

    async with scripted(answer) as service, client_of(service.url) as client:
        await client.submit("happyhorse", fields)
    assert [arrival.json() for arrival in service.arrivals] == [fields, fields]


# --- limits ------------------------------------------------------------------------------------------


async def test_the_limit_is_the_client_s(path: Path) -> None:
    """For submits and quotes alike, and nothing is sent; a larger limit lets the image through."""
    spec = LongVideo(image=path, prompts=("a",))
    async with scripted(lambda _: submitted()) as service:
        async with client_of(service.url, max_image_size=len(IMAGE) - 1) as client:
            for call in (client.submit, client.quote, client.generate):
                with pytest.raises(InvalidSpec) as caught:
                    await call(spec)
                assert str(caught.value) == (
                    f"LongVideo: image={path!r} (it has 66,156 bytes): must be an image of at most 66,155 bytes "
                    "(AIVideoMaker(max_image_size=...) changes that)"
                )
            with pytest.raises(InvalidSpec, match=r"body\['image'\]=<data URI, 88230 characters> "):
                await client.submit("seedance20", {"image": URI})
        assert service.arrivals == []
        async with client_of(service.url, max_image_size=len(IMAGE)) as client:
            await client.submit(spec)
    assert [arrival.method for arrival in service.arrivals] == ["GET", "POST"]


# --- what no error and no log line shows -------------------------------------------------------------


class BreaksMidway(io.BytesIO):
    """A file that fails when half of it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(30_000)


class Text(io.BytesIO):
    """A file that gives texts."""

    def read(self, size: int | None = -1, /) -> Any:
        return IMAGE.decode("latin-1")


REFUSED: dict[str, Callable[[], ImageToVideo | OtherModel]] = {
    "base64 that breaks midway": lambda: ImageToVideo(image=f"{URI[:70_000]}!{URI[70_000:]}", duration=5),
    "base64 that is cut off": lambda: ImageToVideo(image=URI[:-3], duration=5),
    "a file that breaks midway": lambda: ImageToVideo(image=BreaksMidway(IMAGE), duration=5),
    "a file that gives texts": lambda: ImageToVideo(image=Text(IMAGE), duration=5),
    "a file of something else": lambda: ImageToVideo(image=io.BytesIO(IMAGE[100:]), duration=5),
}
TOO_LARGE: dict[str, Callable[[], ImageToVideo | OtherModel]] = {
    "bytes": lambda: ImageToVideo(image=IMAGE, duration=5),
    "few bytes": lambda: ImageToVideo(image=SMALL, duration=5),
    "data URI": lambda: ImageToVideo(image=URI, duration=5),
    "file": lambda: ImageToVideo(image=io.BytesIO(IMAGE), duration=5),
    "pipe": lambda: ImageToVideo(image=io.BufferedReader(OnceOnly(IMAGE)), duration=5),
    "other fields": lambda: OtherModel("seedance20", {"image": URI, "images": [data_uri(SMALL)]}),
    "extra fields": lambda: ImageToVideo(image=PNG, duration=5, extra={"last": [URI]}),
}


def assert_shows_no_image(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    shown = texts_of(error) + caplog.text
    for secret in (base64.b64encode(IMAGE).decode(), repr(IMAGE), repr(IMAGE.decode("latin-1"))):
        assert not [start for start in range(1000, len(secret) - RUN, RUN) if secret[start : start + RUN] in shown]


RUN = 24
"""Characters of an image that would be too many."""


@pytest.mark.parametrize("what", REFUSED)
async def test_an_unreadable_image_is_not_shown(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever reading it stopped."""
    caplog.set_level(logging.DEBUG)
    async with client_of("http://127.0.0.1:9") as client:
        with pytest.raises(InvalidSpec) as caught:
            await client.submit(REFUSED[what]())
    assert_shows_no_image(caught.value, caplog)
    if what == "a file that breaks midway":
        assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("what", TOO_LARGE)
async def test_an_image_that_is_too_large_is_not_shown(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """However it came."""
    caplog.set_level(logging.DEBUG)
    async with client_of("http://127.0.0.1:9", max_image_size=10_000) as client:
        with pytest.raises(InvalidSpec, match="at most 10,000 bytes") as caught:
            await client.submit(TOO_LARGE[what]())
    assert_shows_no_image(caught.value, caplog)


async def test_an_image_whose_upload_breaks_off_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """The server closes the connection while the image arrives."""
    caplog.set_level(logging.DEBUG)

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server, client_of(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(ImageToVideo(image=IMAGE, duration=5))
    assert_shows_no_image(caught.value, caplog)


def test_the_search_for_images_finds_them(caplog: pytest.LogCaptureFixture) -> None:
    """As bytes or as text."""
    for shown in (repr(IMAGE[1000:2000]), URI[2000:3000], repr(IMAGE[1000:2000].decode("latin-1"))):
        with pytest.raises(AssertionError):
            assert_shows_no_image(ValueError(shown), caplog)
