"""The fallback of a process while the store is unavailable, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest

from aivideomaker_async._limits.shared_quota import QuotaRequest
from aivideomaker_async._limits.store import StoreClient
from tests.support.limiters import MemoryPlace, MemoryStore, assert_idle, now, use

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(clock_without_loopback: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return clock_without_loopback


async def test_a_process_keeps_to_its_share_while_the_store_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """Without a burst. Both ends are logged once."""
    caplog.set_level(logging.INFO, logger="aivideomaker_async")
    place = MemoryPlace()
    limiter, other = place.limiter(20, 10.0), place.limiter(20, 10.0)
    held = await limiter.acquire()
    await use(other)
    await use(limiter)
    await asyncio.sleep(1.0)
    place.fails = True
    times = list[float]()
    for _ in range(8):
        await use(limiter)
        times.append(now())
    share = 10 / (0.95 * 10)
    assert [b - a for a, b in pairwise(times)] == pytest.approx([share] * 7, abs=0.01)
    assert limiter.pace == pytest.approx(share)
    place.fails = False
    held.settle()
    await asyncio.sleep(15.0)
    await use(limiter)
    assert caplog.messages == [
        "the shared query limit is unavailable (it is away): this process alone sends at most 10 queries in 10 s",
        "the shared query limit is available again",
    ]
    await assert_idle(limiter, other)


async def test_a_429_during_the_fallback_halves_the_share() -> None:
    """Only this process has lost the store, and the others use the whole limit."""
    place = MemoryPlace()
    limiter = place.limiter(40, 10.0)
    await use(limiter)
    place.fails = True
    await use(limiter)
    before = limiter.pace
    limiter.pause(2.0)
    assert limiter.pace == pytest.approx(2 * before)
    await use(limiter)
    place.fails = False
    await asyncio.sleep(20.0)
    await use(limiter)
    assert limiter.pace == pytest.approx(before)
    await assert_idle(limiter)


async def test_requests_sent_during_the_fallback_are_reported_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their age; so are the permits in flight, and a pause."""
    monkeypatch.setattr("aivideomaker_async._limits.store.MAX_RETRY_S", 1.0)
    place = MemoryPlace()
    limiter, other = place.limiter(4, 100.0, burst=4), place.limiter(4, 100.0)
    place.fails = True
    await use(limiter)
    sent_at = now()
    held = await limiter.acquire()
    limiter.pause(5.0)
    place.fails = False
    await asyncio.sleep(10.0)
    await use(other)
    assert other.statistics().in_window == 3
    held.settle()
    await asyncio.sleep(sent_at + 100.3 - now())
    await use(other)
    assert other.statistics().in_window == 3
    await assert_idle(limiter, other)


async def test_an_unavailable_store_is_tried_again_ever_more_rarely() -> None:
    """After 1, 2, 4, 8 and then 15 seconds; the first success starts anew."""
    attempts = list[float]()

    class Counted(MemoryStore):
        async def update(self, step):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            attempts.append(now() - began)
            return await super().update(step)

    place, began = MemoryPlace(), now()
    client, store = StoreClient(60, 60.0, 3, lambda _: 60), Counted(place)

    async def try_for(seconds: int) -> list[float]:
        attempts.clear()
        for _ in range(seconds):
            await client.send(QuotaRequest(member="a.0"), store, now())
            await asyncio.sleep(1.0)
        return [at - attempts[0] for at in attempts]

    place.fails = True
    assert await try_for(50) == pytest.approx([0, 1, 3, 7, 15, 30, 45])
    assert client.fallback_limit == 60
    place.fails = False
    await try_for(20)
    assert client.fallback_limit is None
    place.fails = True
    assert await try_for(5) == pytest.approx([0, 1, 3])


@pytest.mark.parametrize(("idle", "members"), [(0.0, 2), (30.0, 2), (70.0, None)])
async def test_the_number_of_members_is_known_for_a_window(idle: float, members: int | None) -> None:
    place = MemoryPlace()
    asked = list[int | None]()

    def fallback_limit_for(members: int | None) -> int:
        asked.append(members)
        return 7

    client, store = StoreClient(60, 60.0, 3, fallback_limit_for), MemoryStore(place)
    for member in ("a.0", "b.0"):
        await client.send(QuotaRequest(member=member), store, now())
    await asyncio.sleep(idle)
    place.fails = True
    await client.send(QuotaRequest(member="b.0"), store, now())
    assert (asked, client.fallback_limit) == ([members], 7)


async def test_a_lost_text_is_started_anew_without_a_burst() -> None:
    """A text that was never there is started with one."""
    place = MemoryPlace()
    client, store = StoreClient(60, 60.0, 3, lambda _: 60), MemoryStore(place)
    first = await client.send(QuotaRequest(member="a.0", foreground=1), store, now())
    place.text = None
    second = await client.send(QuotaRequest(member="a.0", foreground=1, first=3), store, now())
    assert (len(first.granted), len(second.granted)) == (1, 0)
