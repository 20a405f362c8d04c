"""What a process knows of submits belongs to a key and a service, and outlives clients, threads, loops and forks."""

from __future__ import annotations

import asyncio
import gc
import os
from typing import Any

import pytest

from aivideomaker_async import AIVideoMaker, Budget, ConfigurationError, RateLimiter, SubmitOutcomeUnknown, TextToVideo
from aivideomaker_async._redaction import Secret
from aivideomaker_async._submits import registry as registries
from aivideomaker_async._submits.registry import MAX_IDLE_REGISTRIES, OtherOrder, SubmitRegistry, registry_of
from aivideomaker_async._submits.state import Fingerprint, Instant, Submit, SubmitState
from tests.support.scripted import Action, Arrival, Hang, Reply, scripted
from tests.support.shop import Lost, Shop, ids

pytestmark = pytest.mark.anyio

URL = "https://service.example"
ORDER = Fingerprint("t2v", {"prompt": "a red fox"})
OTHER_ORDER = Fingerprint("t2v", {"prompt": "a blue fox"})
SPEC = TextToVideo(prompt="a red fox", aspect_ratio="16:9", duration=5)
NOW = Instant(10.0, 1e9)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


def submit(key: str = "key-1") -> Submit:
    return Submit(key, ORDER, has_callers_key=True)


# --- whose registry it is ----------------------------------------------------------------------------


def test_a_key_at_a_service_has_one_registry() -> None:
    registry = registry_of(URL, Secret("ak_one"))
    assert registry_of("HTTPS://Service.Example", Secret("ak_one")) is registry
    assert registry_of(URL, Secret("ak_two")) is not registry
    assert registry_of(URL + "/elsewhere", Secret("ak_one")) is not registry


def test_a_registry_in_use_is_not_forgotten_however_many_there_are() -> None:
    used, first = registry_of(URL, Secret("ak_used")), registry_of(URL, Secret("ak_first"))
    with first.locked() as reconciler:
        reconciler.open(submit())
    del first, reconciler
    for number in range(MAX_IDLE_REGISTRIES):
        registry_of(URL, Secret(f"ak_{number}"))
    gc.collect()
    assert registry_of(URL, Secret("ak_used")) is used
    with registry_of(URL, Secret("ak_first")).locked() as reconciler:
        assert reconciler.open_with("key-1") is None, "it was not in use"


def test_a_registry_that_holds_credits_is_remembered_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a number of those as well."""
    monkeypatch.setattr(registries, "MAX_IDLE_REGISTRIES", 2)
    monkeypatch.setattr(registries, "MAX_RESERVING_REGISTRIES", 4)
    budget = Budget(100)
    for number in range(6):
        registry_of(URL, Secret(f"ak_{number}")).reservations.take("key", [budget], 1)
    gc.collect()
    held = [registry_of(URL, Secret(f"ak_{number}")).holds_credits for number in (5, 4, 3, 2, 1, 0)]
    assert held == [True, True, True, True, False, False]


# --- one at a time -----------------------------------------------------------------------------------


async def test_of_all_calls_with_a_key_one_makes_the_submit() -> None:
    registry = SubmitRegistry()
    mine = registry.take_up("key-1", ORDER, submit, NOW)
    assert isinstance(mine, Submit)
    assert registry.take_up("key-1", ORDER, submit, NOW) is None
    assert registry.take_up("key-1", None, submit, NOW) is None, "nor does another one search for it"
    with registry.locked() as reconciler:
        reconciler.sent(mine, NOW)
        reconciler.answered(mine, "ck1", NOW)
    assert registry.take_up("key-1", ORDER, submit, NOW) == "ck1"
    with pytest.raises(OtherOrder):
        registry.take_up("key-1", OTHER_ORDER, submit, NOW)


async def test_a_call_that_takes_up_a_lost_submit_has_it_from_then_on() -> None:
    registry = SubmitRegistry()
    mine = registry.take_up("key-1", ORDER, submit, NOW)
    assert isinstance(mine, Submit)
    with registry.locked() as reconciler:
        reconciler.sent(mine, NOW)
        reconciler.lost(mine, 11.0)
        reconciler.give_up(mine)
    with pytest.raises(OtherOrder):
        registry.take_up("key-1", OTHER_ORDER, submit, NOW)
    assert registry.take_up("key-1", ORDER, submit, NOW) is mine
    assert mine.state is SubmitState.LOST
    assert registry.take_up("key-1", None, submit, NOW) is None


async def test_a_key_that_is_being_reconciled_buys_nothing_more() -> None:
    """The search finds that it was not created, and the other client sends it again: one after the other."""
    shop = Shop(Lost(acted=False), None)
    async with scripted(shop) as service:
        options: dict[str, Any] = {"base_url": service.url, "limiter": RateLimiter()}
        async with AIVideoMaker("ak_test", **options) as one, AIVideoMaker("ak_test", **options) as two:
            shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
            with pytest.raises(SubmitOutcomeUnknown) as caught:
                await one.submit(SPEC, idempotency_key="order-42", timeout=30)
            shop.override = lambda arrival: _later(arrival, shop)
            searching = asyncio.ensure_future(one.reconcile(caught.value))
            await asyncio.sleep(1.0)
            bought = await two.submit(SPEC, idempotency_key="order-42")
            found = await searching
            assert found is None or found.id == bought.id
    assert ids(shop.sold) == [bought.id]


def _later(arrival: Arrival, shop: Shop) -> Action | None:
    if arrival.method != "GET":
        return None
    return Reply(body={"tasks": shop.rows(arrival.at)}, delay=5.0)


async def test_a_submit_is_not_settled_by_the_task_of_another() -> None:
    shop = Shop(None, Lost(acted=True))
    async with scripted(shop) as service:
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as client:
            task = await client.submit(SPEC)
            shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
            with pytest.raises(SubmitOutcomeUnknown) as caught:
                await client.submit(SPEC, timeout=30)
            with pytest.raises(ConfigurationError, match=f"task_id='{task.id}'"):
                client.settle(caught.value, task.id)
            assert client.unsettled() == [caught.value]
            for _ in range(2):
                settled = client.settle(caught.value, "ck2")
                assert settled is not None
                assert settled.id == "ck2"


# --- loops and processes -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_submit_whose_loop_was_closed_under_it_is_not_lost(is_sent: bool) -> None:
    """Nothing was cancelled and nothing raised: old programs end so, and leave their sockets open as well."""
    shop = Shop(*([Lost(acted=True, action=Hang())] if is_sent else []))
    async with scripted(shop) as service:
        limiter = RateLimiter()
        options: dict[str, Any] = {"base_url": service.url if is_sent else "http://127.0.0.1:1", "limiter": limiter}
        budget = Budget(100)
        if is_sent:
            options["budget"] = budget

        def elsewhere() -> tuple[AIVideoMaker, asyncio.Task[Any]]:
            loop = asyncio.new_event_loop()
            client = AIVideoMaker("ak_test", **options)

            async def begin() -> asyncio.Task[Any]:
                task = asyncio.ensure_future(client.submit(SPEC, idempotency_key="order-42"))
                while is_sent and not shop.sold:  # noqa: ASYNC110  (it is sold in another loop)
                    await asyncio.sleep(0.01)
                return task

            task = loop.run_until_complete(begin())
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            loop.close()
            return client, task

        one, task = await asyncio.to_thread(elsewhere)
        assert [error.idempotency_key for error in one.unsettled()] == (["order-42"] if is_sent else [])
        assert len(one.unsettled()) == is_sent, "listed once"
        if is_sent:
            assert (budget.spent, budget.reserved) == (0, 5)
            async with AIVideoMaker("ak_test", **{**options, "limiter": RateLimiter()}) as two:
                found = await two.submit(SPEC, idempotency_key="order-42")
            assert ids(shop.sold) == [found.id]
            assert one.unsettled() == []
        await one.aclose()
        del task
        gc.collect()
        assert (budget.spent, budget.reserved) == (5 if is_sent else 0, 0), "one purchase, paid once"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_in_a_fork_nobody_waits_for_what_the_parent_has_in_flight() -> None:
    async def begin() -> tuple[Submit, Submit, Submit]:
        registry = registry_of(URL, Secret("ak_test"))
        idle, in_flight, lost = submit("idle"), submit("in flight"), submit("lost")
        for one in (idle, in_flight, lost):
            registry.begin(one)
        with registry.locked() as reconciler:
            reconciler.sent(in_flight, NOW)
            reconciler.sent(lost, NOW)
            reconciler.lost(lost, 11.0)
        return idle, in_flight, lost

    submits = asyncio.run(begin())
    registry = registry_of(URL, Secret("ak_test"))
    # Held at the moment of the fork, as by another thread.
    with registry.locked(), registries._registries._lock:
        process = os.fork()
        if not process:
            states = [one.state for one in submits]
            is_settled = states == [SubmitState.DONE, SubmitState.GIVEN_UP, SubmitState.GIVEN_UP]
            with registry_of(URL, Secret("ak_test")).locked() as reconciler:
                is_open = [reconciler.open_with(key) is not None for key in ("idle", "in flight", "lost")]
            os._exit(0 if is_settled and is_open == [False, True, True] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    assert [one.state for one in submits] == [SubmitState.IDLE, SubmitState.IN_FLIGHT, SubmitState.LOST]
