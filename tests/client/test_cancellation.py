"""Every public call, cancelled at each of its awaits: all that it has opened is closed, and no file is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aivideomaker_async import AIVideoMaker, ImageToVideo, RateLimiter, SubmitOutcomeUnknown, TextToVideo
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import assert_nothing_held
from tests.support.pictures import PNG
from tests.support.scripted import Action, Arrival, Hang, Reply, scripted
from tests.support.shop import Lost, Shop

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="a red fox in the snow", aspect_ratio="16:9", duration=5)


async def watch(client: AIVideoMaker) -> None:
    async for _ in client.task("ck1"):
        pass


async def many(client: AIVideoMaker) -> None:
    async with client.generate_many([SPEC] * 3, max_active=2) as outcomes:
        async for _ in outcomes:
            pass


def calls(folder: Path) -> dict[str, Callable[[AIVideoMaker], Awaitable[Any]]]:
    image = ImageToVideo(image=folder / "picture.png", prompt="it moves", duration=5)
    return {
        "get_status": lambda client: client.get_status("ck1"),
        "get_task": lambda client: client.get_task("ck1"),
        "list_tasks": lambda client: client.list_tasks(),
        "submit an image": lambda client: client.submit(image),
        "submit at once": lambda client: asyncio.gather(*(client.submit(SPEC) for _ in range(3))),
        "cancel": lambda client: client.cancel("ck1"),
        "result": lambda client: client.task("ck1").result(),
        "watch": watch,
        "generate": lambda client: client.generate(SPEC),
        "generate_many": many,
        "download_all": lambda client: client.download_all(folder / "videos"),
        "account": lambda client: client.account(),
        "quote": lambda client: client.quote(SPEC),
    }


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return sum(1 for _ in folder.iterdir()) if folder.exists() else 0


def answer_beside(arrival: Arrival) -> Action | None:
    """Answer what the shop has not."""
    if arrival.path.endswith(".mp4"):
        return Reply(200, b"\0" * 5000)
    if arrival.path.endswith("/account"):
        return Reply(body={"currentBalance": 5})
    return Reply(body={"credits": 5}) if "/quote/" in arrival.path else None


@pytest.mark.parametrize("name", calls(Path()))
async def test_a_call_cancelled_at_any_await_leaves_nothing_open(name: str, tmp_path: Path) -> None:
    """Neither permits nor tasks, connections or files. Connections that are kept are closed with the client."""
    shop = Shop()
    shop.lasts = 0.2
    files = calls(tmp_path)
    (tmp_path / "picture.png").write_bytes(PNG + bytes(300_000))
    before = descriptors()
    async with scripted(shop) as service:
        shop.override = answer_beside
        shop.videos_at = service.url
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter(1_000_000)) as client:
            await client.submit(SPEC)
            await asyncio.sleep(1.0)

            async def check() -> None:
                await assert_nothing_held(client)
                # A part that a later download resumes has some bytes.
                assert not [path for path in tmp_path.rglob("*.part") if not path.stat().st_size]  # noqa: ASYNC240

            async def call() -> None:
                await files[name](client)

            await cancel_everywhere(call, check, at_least=3)
            assert len(service.connections) <= 4, "only a few are kept"
            if name == "download_all":
                assert (tmp_path / "videos" / "ck1.mp4").stat().st_size == 5000
            for error in client.unsettled():
                await client.reconcile(error)
        await asyncio.sleep(1.0)
        assert service.connections == set()
    await asyncio.sleep(1.0)
    assert descriptors() <= before


async def test_a_cancelled_submit_in_flight_names_its_idempotency_key_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its task may exist, and the key finds it."""
    async with scripted(lambda _: Hang()) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            task = asyncio.ensure_future(client.submit(SPEC, idempotency_key="key-of-a-lost-one"))
            await service.arrival()
            task.cancel()
            await asyncio.wait([task])
    assert "key-of-a-lost-one" in caplog.text


async def test_a_cancelled_reconciliation_can_be_repeated() -> None:
    shop = Shop(Lost(acted=True))
    shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
    async with scripted(shop) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter(100_000)) as client:
            with pytest.raises(SubmitOutcomeUnknown) as caught:
                await client.submit(SPEC, timeout=20)
            shop.override = lambda _: None

            async def reconcile() -> None:
                task = await client.reconcile(caught.value)
                assert task is not None
                assert task.id == "ck1"

            async def check() -> None:
                await assert_nothing_held(client)
                assert [error.idempotency_key for error in client.unsettled()] == [caught.value.idempotency_key]

            await cancel_everywhere(reconcile, check, at_least=3)
            assert client.unsettled() == []


async def test_a_cancelled_close_ends_all_waits_and_can_be_repeated() -> None:
    async with scripted(Shop()) as service:
        for steps in range(6):
            client = AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter())
            task = await client.submit(SPEC)
            waiting = asyncio.ensure_future(task.result())
            await asyncio.sleep(1.5)
            closing = asyncio.ensure_future(client.aclose())
            for _ in range(steps):
                await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing])
            await client.aclose()
            await asyncio.wait([waiting])
            assert waiting.exception() is not None
            await assert_nothing_held(client)
        await asyncio.sleep(1.0)
        assert service.connections == set()
