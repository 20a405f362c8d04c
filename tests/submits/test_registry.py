"""What a process knows of submits belongs to a key and a service, and outlives clients, threads, loops and forks."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from aivideomaker_async import AIVideoMaker, Budget, ConfigurationError, RateLimiter, SubmitOutcomeUnknown, TextToVideo
from aivideomaker_async._redaction import Secret
from aivideomaker_async._submits import registry as accounts
from aivideomaker_async._submits.matching import Order
from aivideomaker_async._submits.registry import ACCOUNTS_KNOWN, Account, OtherOrder, account_of
from aivideomaker_async._submits.state import Moment, State, Submit
from tests.support.scripted import Action, Arrival, Hang, Reply, scripted
from tests.support.shop import Lost, Shop, ids

pytestmark = pytest.mark.anyio

URL = "https://service.example"
ORDER = Order("t2v", {"prompt": "a red fox"})
SPEC = TextToVideo(prompt="a red fox", aspect_ratio="16:9", duration=5)
NOW = Moment(10.0, 1e9)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


def submit(key: str = "key-1") -> Submit:
    return Submit(key, ORDER, recurs=True)


# --- whose account it is ---------------------------------------------------------------------------


def test_a_key_at_a_service_is_one_account() -> None:
    account = account_of(URL, Secret("ak_one"))
    assert account_of("HTTPS://Service.Example", Secret("ak_one")) is account
    assert account_of(URL, Secret("ak_two")) is not account
    assert account_of(URL + "/elsewhere", Secret("ak_one")) is not account


def test_an_account_in_use_is_not_forgotten_however_many_there_are() -> None:
    used, first = account_of(URL, Secret("ak_used")), account_of(URL, Secret("ak_first"))
    first.ledger.open(submit())
    del first
    for number in range(ACCOUNTS_KNOWN):
        account_of(URL, Secret(f"ak_{number}"))
    gc.collect()
    assert account_of(URL, Secret("ak_used")) is used
    assert account_of(URL, Secret("ak_first")).ledger.open_with("key-1") is None, "nobody used it"
    assert account_of(URL, Secret(f"ak_{ACCOUNTS_KNOWN - 1}")) is not None


# --- one at a time -----------------------------------------------------------------------------------


async def test_of_all_that_come_with_a_key_one_makes_the_submit() -> None:
    account = Account()
    mine = account.take_up("key-1", ORDER, submit, NOW)
    assert isinstance(mine, Submit)
    assert account.take_up("key-1", ORDER, submit, NOW) is None
    assert account.take_up("key-1", None, submit, NOW) is None, "nor does anybody look for it"
    account.ledger.sent(mine, NOW)
    account.ledger.answered(mine, "ck1", NOW)
    assert account.take_up("key-1", ORDER, submit, NOW) == "ck1"
    with pytest.raises(OtherOrder):
        account.take_up("key-1", Order("t2v", {"prompt": "a blue fox"}), submit, NOW)


async def test_who_takes_up_a_lost_one_has_it_from_then_on() -> None:
    account = Account()
    mine = account.take_up("key-1", ORDER, submit, NOW)
    assert isinstance(mine, Submit)
    account.ledger.sent(mine, NOW)
    account.ledger.lost(mine, 11.0)
    account.ledger.give_up(mine)
    with pytest.raises(OtherOrder):
        account.take_up("key-1", Order("t2v", {"prompt": "a blue fox"}), submit, NOW)
    assert account.take_up("key-1", ORDER, submit, NOW) is mine
    assert mine.state is State.LOST
    assert account.take_up("key-1", None, submit, NOW) is None


async def test_a_key_that_is_being_reconciled_buys_nothing_more() -> None:
    """The look says that it was not created, and the other client sends it again: one after the other."""
    shop = Shop(Lost(acted=False), None)
    async with scripted(shop) as service:
        options: dict[str, Any] = {"base_url": service.url, "limiter": RateLimiter()}
        async with AIVideoMaker("ak_test", **options) as one, AIVideoMaker("ak_test", **options) as two:
            shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
            with pytest.raises(SubmitOutcomeUnknown) as caught:
                await one.submit(SPEC, idempotency_key="order-42", timeout=30)
            shop.override = lambda arrival: _later(arrival, shop)
            looking = asyncio.ensure_future(one.reconcile(caught.value))
            await asyncio.sleep(1.0)
            bought = await two.submit(SPEC, idempotency_key="order-42")
            assert await looking is None or (await looking).id == bought.id  # type: ignore[union-attr]
    assert ids(shop.sold) == [bought.id]


def _later(arrival: Arrival, shop: Shop) -> Action | None:
    if arrival.method != "GET":
        return None
    return Reply(body={"tasks": shop.rows(arrival.at)}, delay=5.0)


async def test_what_another_client_has_settled_is_settled() -> None:
    shop = Shop(Lost(acted=True))
    async with scripted(shop) as service:
        options: dict[str, Any] = {"base_url": service.url, "limiter": RateLimiter()}
        async with AIVideoMaker("ak_test", **options) as one, AIVideoMaker("ak_test", **options) as two:
            shop.override = lambda arrival: Reply(500) if arrival.method == "GET" else None
            with pytest.raises(SubmitOutcomeUnknown) as caught:
                await one.submit(SPEC, timeout=30)
            assert one.unsettled() == [caught.value]
            shop.override = lambda _: None
            found = await two.reconcile(caught.value)
            assert found is not None
            assert one.unsettled() == []


async def test_a_task_of_another_submit_settles_nothing() -> None:
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
            settled = client.settle(caught.value, "ck2")
            assert settled is not None
            again = client.settle(caught.value, "ck2")
            assert again is not None
            assert again.id == "ck2"


# --- loops and processes -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("is_sent", [True, False])
async def test_a_submit_whose_loop_was_closed_under_it_is_not_lost(is_sent: bool) -> None:
    """Nothing was cancelled, nobody was told: so an old-style program ends, which leaves its sockets open as well."""
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
        assert len(one.unsettled()) == is_sent, "told once"
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


def test_in_a_fork_nobody_waits_for_what_the_parent_has_under_way() -> None:
    async def begin() -> tuple[Submit, Submit, Submit]:
        account = account_of(URL, Secret("ak_test"))
        idle, under_way, lost = submit("idle"), submit("under way"), submit("lost")
        for one in (idle, under_way, lost):
            account.begin(one)
        account.ledger.sent(under_way, NOW)
        account.ledger.sent(lost, NOW)
        account.ledger.lost(lost, 11.0)
        return idle, under_way, lost

    idle, under_way, lost = asyncio.run(begin())
    account = account_of(URL, Secret("ak_test"))
    # Another thread held them at the moment of the fork.
    account.lock.acquire()
    accounts._lock.acquire()
    accounts._leave_to_parent()
    assert account_of(URL, Secret("ak_test")) is account
    assert (idle.state, under_way.state, lost.state) == (State.DONE, State.GIVEN_UP, State.GIVEN_UP)
    with account.lock:
        assert account.ledger.open_with("idle") is None
        assert account.ledger.open_with("lost") is lost
