"""A submit that is written down before it is made: a process that dies buys nothing twice, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from aivideomaker_async import (
    AIVideoMaker,
    ConfigurationError,
    ImageToVideo,
    InsufficientCredits,
    Intent,
    RateLimiter,
    SubmitOutcomeUnknown,
    TextToVideo,
)
from aivideomaker_async._submits import intent as intent_module
from aivideomaker_async._submits import registry
from tests.support.pictures import PNG
from tests.support.scripted import Reply, scripted
from tests.support.shop import Lost, Shop, buying, ids, posts

pytestmark = pytest.mark.anyio

SPEC = TextToVideo(prompt="a red fox in the snow", aspect_ratio="16:9", duration=5)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


Reborn = Callable[[Intent], Intent]


@pytest.fixture
def reborn(monkeypatch: pytest.MonkeyPatch) -> Reborn:
    """Go on as another process, which knows nothing but an intent that was stored."""

    def restore(intent: Intent) -> Intent:
        stored = json.dumps(intent.to_dict())
        monkeypatch.setattr(intent_module, "_IMPORTED_AS", "another")
        monkeypatch.setattr(registry, "_registries", registry._Registries())
        return Intent.from_dict(json.loads(stored))

    return restore


def client_of(url: str, **options: Any) -> AIVideoMaker:
    return AIVideoMaker("ak_test", base_url=url, limiter=RateLimiter(), **options)


async def test_an_intent_says_what_is_ordered_and_nothing_private() -> None:
    """Equal orders have equal fingerprints, whatever their keys. The service's time is asked for once."""
    shop = Shop()
    async with buying(shop) as (service, client):
        one = await client.intend(SPEC, key="order-0001")
        same = await client.intend(evolve(SPEC))
        other = await client.intend(evolve(SPEC, duration=8))
        image = await client.intend(ImageToVideo(image=PNG, prompt="it moves", duration=5))
        assert [arrival.path for arrival in service.arrivals] == ["/api/v1/account"]
    assert (one.model, one.idempotency_key) == ("t2v", "order-0001")
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.idempotency_key != same.idempotency_key
    assert Intent.from_dict(json.loads(json.dumps(image.to_dict()))) == image
    assert "base64" not in json.dumps(image.to_dict())


async def test_in_its_own_process_an_intent_is_a_key() -> None:
    shop = Shop()
    async with buying(shop) as (_, client):
        intent = await client.intend(SPEC)
        tasks = [await client.submit(SPEC, intent=intent) for _ in range(2)]
    assert ids(tasks) == ["ck1", "ck1"]
    assert [sold.key for sold in shop.sold] == [intent.idempotency_key]


@pytest.mark.parametrize("keeps_keys", [False, True])
@pytest.mark.parametrize("died", ["before", "while it was sent", "after"])
async def test_another_process_finds_what_the_dead_one_has_bought(died: str, keeps_keys: bool, reborn: Reborn) -> None:
    """It buys what was surely not bought, once, however often it is asked."""
    shop = Shop(keeps_keys=keeps_keys)
    async with scripted(shop) as service:
        async with client_of(service.url) as client:
            intent = await client.intend(SPEC, key="order-0001")
            if died == "while it was sent":
                shop.faults = [Lost(acted=True)]
                shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
                with pytest.raises(SubmitOutcomeUnknown):
                    await client.submit(SPEC, intent=intent, timeout=20)
                shop.override = lambda _: None
            elif died == "after":
                await client.submit(SPEC, intent=intent)
        restored = reborn(intent)
        async with client_of(service.url) as client:
            tasks = [await client.submit(SPEC, intent=restored) for _ in range(2)]
    assert ids(tasks) == ["ck1", "ck1"]
    assert ids(shop.sold) == ["ck1"]


@pytest.mark.parametrize("keeps_keys", [False, True])
async def test_two_equal_orders_are_two_tasks(keeps_keys: bool, reborn: Reborn) -> None:
    """Where the first is known to be the first's."""
    shop = Shop(keeps_keys=keeps_keys)
    async with scripted(shop) as service:
        async with client_of(service.url) as client:
            first, second = [await client.intend(SPEC, key=f"order-{number:04}") for number in range(2)]
            task = await client.submit(SPEC, intent=first)
        restored = reborn(second)
        async with client_of(service.url) as client:
            other = await client.submit(SPEC, intent=restored, known=[task.id])
    assert ids([task, other]) == ids(shop.sold) == ["ck1", "ck2"]


async def test_a_refusal_after_the_search_is_a_refusal(reborn: Reborn) -> None:
    shop = Shop(Reply(402, {"status": "FAILED", "message": "Insufficient credits"}))
    async with scripted(shop) as service:
        async with client_of(service.url) as client:
            intent = await client.intend(SPEC)
        restored = reborn(intent)
        async with client_of(service.url) as client:
            with pytest.raises(InsufficientCredits):
                await client.submit(SPEC, intent=restored)
            await client.submit(SPEC, intent=restored)
        assert len(posts(service)) == 2
    assert len(shop.sold) == 1


async def test_an_intent_is_for_one_order() -> None:
    """And brings its own key."""
    shop = Shop()
    async with buying(shop) as (_, client):
        intent = await client.intend(SPEC)
        with pytest.raises(ConfigurationError, match="intent: it was made for another order; nothing was sent"):
            await client.submit(evolve(SPEC, duration=8), intent=intent)
        with pytest.raises(ConfigurationError, match="idempotency_key: not beside an intent"):
            await client.submit(SPEC, intent=intent, idempotency_key="order-0001")
        with pytest.raises(ConfigurationError, match="known='ck1': must be task ids in a list"):
            await client.submit(SPEC, intent=intent, known="ck1")
    assert shop.sold == []
