"""What submits may cost: price limits and budgets, whatever becomes of the answers.

The arithmetic of budgets is tested in `test_budget`, prices in `test_prices`.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aivideomaker_async import (
    AIVideoMaker,
    APIError,
    AuthenticationFailed,
    Budget,
    BudgetExceeded,
    ConfigurationError,
    InvalidRequest,
    RateLimiter,
    RetryPolicy,
    Seedance20,
    ServerError,
    SpecLike,
    SubmitOutcomeUnknown,
    TaskFailed,
    TextToVideo,
    TransportError,
    UnknownPrice,
)
from tests.support.cancelling import cancel_everywhere
from tests.support.market import Market
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply, ScriptedService, submitted
from tests.support.shop import Lost, buying

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


KEY = "order-number-1"
SEEDANCE = Seedance20(prompt="a fox", duration=4, resolution="480p", aspect_ratio="1:1")
"""Only a quote has its price."""


def spec(text: str = "a fox") -> TextToVideo:
    """By the table of 2026-03 it costs 5 credits."""
    return TextToVideo(prompt=text, aspect_ratio="1:1", duration=5)


def priced(credits_: int, text: str = "") -> TextToVideo:
    """The market charges this for it."""
    return spec(f"{credits_} credits {text}".strip())


def limits_sent(service: ScriptedService) -> list[str | None]:
    """The price limits of the submits that arrived."""
    return [item.headers.get("x-max-credits") for item in service.arrivals if "/generate/" in item.path]


def lose_the_list(market: Market) -> None:
    """From now on a submit whose answer is lost stays unknown."""
    market.override = lambda arrival: Drop() if arrival.path.endswith("/tasks") else None


# --- what is sent, and with which limit --------------------------------------------------------------

QUOTE, TABLE = "by the service's quote", "by the price table"


@pytest.mark.parametrize(
    ("quotes", "max_credits", "of_client", "own", "expected"),
    [
        (True, None, None, None, None),
        (True, 5, None, None, "5"),
        (True, 9, None, None, "9"),
        (True, None, 9, None, "5"),
        (True, None, None, 9, "5"),
        (True, 9, 9, 9, "5"),
        (False, None, None, None, None),
        (False, 5, None, None, "5"),
        (False, None, 9, None, "5"),
        (True, 4, None, None, f"it costs 5 credits {QUOTE}, more than max_credits=4"),
        (False, 4, None, None, f"it costs 5 credits {TABLE}, more than max_credits=4"),
        (True, 4, 9, 9, f"it costs 5 credits {QUOTE}, more than max_credits=4"),
        (
            True,
            None,
            4,
            9,
            f"it costs 5 credits {QUOTE}, and 4 are left of the budget of 4 credits (0 spent, 0 reserved)",
        ),
        (
            True,
            None,
            9,
            4,
            f"it costs 5 credits {QUOTE}, and 4 are left of the budget of 4 credits (0 spent, 0 reserved)",
        ),
        (
            False,
            9,
            4,
            None,
            f"it costs 5 credits {TABLE}, and 4 are left of the budget of 4 credits (0 spent, 0 reserved)",
        ),
        (True, None, 0, None, "nothing is left of the budget of 0 credits (0 spent, 0 reserved)"),
        (True, 0, None, None, f"it costs 5 credits {QUOTE}, more than max_credits=0"),
    ],
)
async def test_a_submit_keeps_to_its_limits(
    quotes: bool, max_credits: int | None, of_client: int | None, own: int | None, expected: str | None
) -> None:
    """The request carries the limit, or under a budget the price; what costs too much is not sent."""
    market = Market(quotes=quotes)
    market.price = 5
    budgets = [None if limit is None else Budget(limit) for limit in (of_client, own)]
    async with buying(market, budget=budgets[0]) as (service, client):
        if expected is None or expected.isdigit():
            await client.submit(spec(), max_credits=max_credits, budget=budgets[1])
            assert limits_sent(service) == [expected]
        else:
            with pytest.raises(BudgetExceeded) as caught:
                await client.submit(spec(), max_credits=max_credits, budget=budgets[1])
            assert str(caught.value) == f"t2v: {expected}; nothing was sent"
            assert limits_sent(service) == []
    is_sent = expected is None or expected.isdigit()
    for budget in filter(None, budgets):
        assert (budget.spent, budget.reserved) == (5 if is_sent else 0, 0)


async def test_a_budget_of_client_and_call_is_taken_once() -> None:
    budget = Budget(12)
    async with buying(Market(), budget=budget) as (_, client):
        await client.generate(priced(10), budget=budget)
    assert budget.spent == 10


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Reply(400, {"errorCode": "INVALID_PAYLOAD", "message": "duration must be 5 or 8"}), InvalidRequest),
        (Reply(401), AuthenticationFailed),
        (Reply(500), ServerError),
        (Drop(), TransportError),
        (Hang(), TransportError),
        (Reply(200, {"model": "t2v", "credits": -5}), TransportError),
        (Reply(200, {"model": "t2v", "credits": 2.5}), TransportError),
        (Reply(200, {"status": "FAILED", "message": "No"}), APIError),
    ],
    ids=repr,
)
async def test_with_a_limit_nothing_is_sent_while_the_service_cannot_quote(
    answer: Action, error: type[Exception]
) -> None:
    """A guess is not a price. Without a limit, the service is not asked."""
    market = Market()
    market.override = lambda arrival: answer if "/quote/" in arrival.path else None
    budget = Budget(100)
    async with buying(market, timeout=1.0) as (_, client):
        for limits in ({"max_credits": 1000}, {"budget": budget}):
            with pytest.raises(error):
                await client.submit(spec(), **limits)
        assert market.sold == []
        assert (budget.spent, budget.reserved) == (0, 0)
        await client.submit(spec())
    assert len(market.sold) == 1


async def test_a_price_that_cannot_be_known_is_too_high() -> None:
    """Whatever the limit: the service has no quotes, and no table has the model."""
    market = Market(quotes=False)
    async with buying(market) as (_, client):
        for unknown in (SEEDANCE, ("brand-new", {"prompt": "a"})):
            with pytest.raises(BudgetExceeded, match="the price cannot be known") as caught:
                await client.generate(unknown, max_credits=1_000_000)
            assert (caught.value.credits, caught.value.allowed) == (None, 1_000_000)
            assert isinstance(caught.value.__cause__, UnknownPrice)
        assert market.sold == []
        await client.submit(SEEDANCE)


async def test_further_fields_may_cost_more_than_a_table_knows() -> None:
    """Without a quote they make the price unknown, unless the table lists them as free."""
    more = {"numberOfVideos": 4}
    body = {"prompt": "a", "aspectRatio": "1:1", "duration": "5"}
    odd = TextToVideo(prompt="a", aspect_ratio="1:1", duration=5, extra=more)
    usual = TextToVideo(prompt="a", aspect_ratio="1:1", duration=5, extra={"filterMode": "strict"})
    market = Market(quotes=False)
    async with buying(market) as (_, client):
        specs: list[SpecLike] = [odd, ("t2v", {**body, **more})]
        for unknown in specs:
            with pytest.raises(BudgetExceeded, match="with these fields"):
                await client.submit(unknown, max_credits=100)
        assert (await client.price(odd)).credits == 5
        await client.submit(usual, max_credits=5)
        await client.submit(("t2v", {**body, "filterMode": "strict"}), max_credits=5)
        market.quotes = True
        await asyncio.sleep(601)
        await client.submit(odd, max_credits=10)
    assert len(market.sold) == 3


async def test_the_service_may_refuse_what_the_quote_allowed() -> None:
    """The price has risen since. Nothing is charged, and the budget has its credits back."""
    market = Market()
    answers = iter([5, 50])
    market.price_of = lambda body: next(answers)  # type: ignore[method-assign]
    budget = Budget(100)
    async with buying(market) as (_, client):
        with pytest.raises(BudgetExceeded) as caught:
            await client.submit(spec(), budget=budget)
    assert (caught.value.credits, caught.value.message) == (None, "The price is above X-Max-Credits")
    assert market.refused[0].headers["x-max-credits"] == "5"
    assert budget.remaining == 100


@pytest.mark.parametrize("wrong", [-1, 1.5, "5", True])
async def test_a_limit_that_is_not_a_number_of_credits_is_refused_before_any_request(wrong: Any) -> None:
    async with buying(Market()) as (service, client):
        with pytest.raises(ConfigurationError, match=r"max_credits=.*must be a whole number of credits"):
            await client.submit(spec(), max_credits=wrong)
        assert service.arrivals == []


# --- budgets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [100, "100", {"credits": 5}])
async def test_a_budget_of_another_type_is_refused_before_any_request(wrong: Any) -> None:
    async with buying(Market()) as (service, client):
        for use in (client.submit(spec(), budget=wrong), client.generate(spec(), budget=wrong)):
            with pytest.raises(ConfigurationError, match=r"budget=.*must be a Budget"):
                await use
        with pytest.raises(ConfigurationError, match="must be a Budget"):
            client.generate_many([spec()], budget=wrong)
        assert service.arrivals == []
    with pytest.raises(ConfigurationError, match="must be a Budget"):
        async with buying(Market(), budget=wrong):
            pass


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("quotes", [True, False])
@pytest.mark.parametrize("max_active", [1, 4, 20])
async def test_many_keep_to_their_budget(quotes: bool, tells: bool, max_active: int) -> None:
    """As many as it pays for are sent; the others have an error."""
    market = Market(quotes=quotes, tells=tells)
    market.price = 5
    budget = Budget(22)
    async with buying(market) as (_, client):
        many = client.generate_many([spec(str(number)) for number in range(10)], max_active=max_active, budget=budget)
        outcomes = [outcome async for outcome in many]
    assert sorted(outcome.index for outcome in outcomes) == list(range(10))
    refused = [outcome for outcome in outcomes if outcome.error is not None]
    assert len(market.sold) == len([outcome for outcome in outcomes if outcome.video is not None]) == 4
    assert all(isinstance(outcome.error, BudgetExceeded) and outcome.task is None for outcome in refused)
    assert (budget.spent, budget.reserved, budget.remaining) == (20, 0, 2)


async def test_each_of_many_keeps_to_its_own_limit() -> None:
    async with buying(Market()) as (_, client):
        with pytest.raises(ConfigurationError, match="max_credits=-1"):
            client.generate_many([spec()], max_credits=-1)
        many = client.generate_many([priced(6), priced(7), priced(1)], max_credits=6)
        outcomes = {outcome.index: type(outcome.error) async for outcome in many}
    assert outcomes == {0: type(None), 1: BudgetExceeded, 2: type(None)}


async def test_an_exhausted_budget_needs_no_quotes() -> None:
    market = Market()
    async with buying(market) as (service, client):
        outcomes = [
            outcome async for outcome in client.generate_many([priced(10)] * 50, max_active=1, budget=Budget(10))
        ]
    assert sum("/quote/" in arrival.path for arrival in service.arrivals) == 1
    assert "nothing is left of the budget of 10 credits (10 spent, 0 reserved)" in str(outcomes[-1].error)


async def test_what_fits_goes_on_after_what_does_not() -> None:
    """A cheaper one may still be paid for."""
    async with buying(Market()) as (_, client):
        specs = [priced(6), priced(6), priced(4), priced(1)]
        outcomes = [outcome async for outcome in client.generate_many(specs, max_active=1, budget=Budget(10))]
    assert [outcome.error is None for outcome in outcomes] == [True, False, True, False]
    refused = outcomes[1].error
    assert isinstance(refused, BudgetExceeded)
    assert "it costs 6 credits by the service's quote, and 4 are left" in str(refused)
    assert (refused.credits, refused.allowed, refused.code) == (6, 4, "BUDGET_EXCEEDED")


async def test_two_clients_may_share_a_budget() -> None:
    market = Market()
    market.price = 10
    budget = Budget(50)
    async with buying(market, budget=budget) as (service, client):
        async with buying(market, budget=budget) as (_, other):
            buy = [one.submit(spec()) for one in (client, other) for _ in range(10)]
            found = await asyncio.gather(*buy, return_exceptions=True)
    assert sum(isinstance(one, BudgetExceeded) for one in found) == 15
    assert (len(market.sold), budget.spent) == (5, 50)
    assert service.arrivals


async def test_the_reported_charge_counts() -> None:
    """Not the estimate; also where the row of the task reports it, and the answer to the submit did not."""
    market = Market(quotes=False, tells=False)
    budget = Budget(100)
    async with buying(market, budget=budget) as (_, client):
        task = await client.submit(spec())
        assert budget.spent == 5
        market.tells, market.price = True, 4
        await task.details()
        assert budget.spent == 4
        market.price = 3
        task = await client.submit(spec())
        assert (task.submitted and task.submitted.credits_charged, budget.spent) == (3, 7)


@pytest.mark.parametrize("reply", [Reply(402), Reply(400), Reply(422, {"errorCode": "CONTENT_REJECTED"})], ids=repr)
async def test_a_refused_submit_gives_its_reservation_back(reply: Reply) -> None:
    budget = Budget(10)
    async with buying(Market(reply)) as (_, client):
        with pytest.raises(APIError):
            await client.submit(priced(10), budget=budget)
        assert budget.remaining == 10
        await client.submit(priced(10), budget=budget)


# --- lost answers, keys, cancellation ----------------------------------------------------------------


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("acted", [True, False])
async def test_a_lost_answer_is_paid_once(acted: bool, tells: bool) -> None:
    market = Market(Lost(acted), tells=tells)
    budget = Budget(100)
    async with buying(market) as (_, client):
        await client.submit(priced(10), budget=budget)
    assert (budget.spent, budget.reserved, len(market.sold)) == (10, 0, 1)


@pytest.mark.parametrize("acted", [True, False])
async def test_an_unknown_outcome_keeps_its_reservation_until_it_is_known(acted: bool) -> None:
    """Then it is settled or released."""
    market = Market(Lost(acted))
    market.lasts = 1e6
    budget = Budget(100)
    async with buying(market) as (_, client):
        lose_the_list(market)
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(priced(10), budget=budget)
        assert (budget.spent, budget.reserved) == (0, 10)
        market.override = lambda _: None
        task = await client.reconcile(caught.value)
        assert (task is not None) == acted
        assert (budget.spent, budget.reserved) == (10 if acted else 0, 0)
        if task is not None:
            await task.cancel()
            assert budget.spent == 0


async def test_another_client_can_settle_the_reservation() -> None:
    """Of the same process, with a copy of the error."""
    market = Market(Lost(acted=True))
    budget = Budget(100)
    async with buying(market, budget=budget) as (service, client):
        lose_the_list(market)
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(priced(10))
        error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as other:
            assert other.settle(error, "ck1") is not None
        assert (budget.spent, budget.reserved) == (10, 0)


async def test_a_failed_follow_up_of_another_client_releases_nothing() -> None:
    """The outcome of the submit is as unknown as before."""
    market = Market(Lost(acted=True))
    market.lasts = 1e6
    budget = Budget(100)
    async with buying(market, budget=budget) as (service, client):
        lose_the_list(market)
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(priced(10), idempotency_key=KEY)
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter(), budget=budget) as other:
            with pytest.raises(SubmitOutcomeUnknown):
                await other.submit(priced(10), idempotency_key=KEY, timeout=1.0)
            assert (budget.spent, budget.reserved) == (0, 10)
        market.override = lambda _: None
        await client.reconcile(caught.value)
        assert (budget.spent, budget.reserved) == (10, 0)


async def test_a_key_that_is_used_twice_at_once_is_paid_once() -> None:
    """Also when a second call gives up while the first is in flight."""
    market = Market()
    market.answer_after = 5.0
    budget = Budget(100)
    async with buying(market, budget=budget) as (_, client):
        first = asyncio.ensure_future(client.submit(priced(10), idempotency_key=KEY))
        await asyncio.sleep(1)
        with pytest.raises(TransportError):
            await client.submit(priced(10), idempotency_key=KEY, timeout=1.0)
        assert budget.spent == 0
        third = client.submit(priced(10), idempotency_key=KEY)
        assert (await first).id == (await third).id
        assert (budget.spent, budget.reserved) == (10, 0)


async def test_a_replay_costs_nothing() -> None:
    """Another process has bought the task: its budget has paid. Nor does it when the row of the task is read."""
    market = Market()
    budget = Budget(10)
    async with buying(market) as (service, client):
        await client.submit(priced(10))
        market.faults = [Reply(body={**submitted("ck1").body, "creditsCharged": 10, "idempotentReplay": True})]  # type: ignore[dict-item]
        task = await client.submit(priced(10), idempotency_key="order-number-2", budget=budget)
        assert service.arrivals[-1].headers["idempotency-key"] == "order-number-2"
        await task.result()
        assert (budget.spent, budget.remaining) == (0, 10)


@pytest.mark.parametrize(("prompt", "is_replay"), [("10 credits", True), ("10 credits for another order", False)])
async def test_a_replay_is_not_refused_for_want_of_a_budget(prompt: str, is_replay: bool) -> None:
    """Another process has paid for it: the list shows the task with the key. Another order is a purchase."""
    market = Market()
    async with buying(market) as (_, client):
        first = await client.submit(priced(10), idempotency_key=KEY)
    market.sold[0].body["prompt"] = prompt
    budget = Budget(4)
    async with buying(market, budget=budget) as (service, client):
        if is_replay:
            assert (await client.submit(priced(10), idempotency_key=KEY)).id == first.id
        else:
            with pytest.raises(BudgetExceeded):
                await client.submit(priced(10), idempotency_key=KEY)
        with pytest.raises(BudgetExceeded):
            await client.submit(priced(10), idempotency_key="another-key-of-ours")
        assert len([one for one in service.arrivals if "/generate/" in one.path]) == 0
    assert (budget.spent, budget.reserved) == (0, 0)
    assert len(market.sold) == 1


async def test_a_replay_of_the_submit_s_own_lost_attempt_is_paid() -> None:
    """The first answer was lost, the second reports that nothing is charged again."""
    market = Market(Lost(acted=False))
    answer: dict[str, Any] = {**submitted("ck1").body, "creditsCharged": 0, "idempotentReplay": True}  # type: ignore[dict-item]
    market.faults.append(Reply(body=answer))
    budget = Budget(100)
    async with buying(market) as (_, client):
        await client.submit(priced(10), budget=budget)
    assert budget.spent == 10


@pytest.mark.parametrize("quotes", [True, False])
async def test_a_follow_up_that_may_be_sent_again_is_priced_again(quotes: bool) -> None:
    """The price may have risen, or this caller may want to pay less."""
    market = Market(Lost(acted=False), quotes=quotes)
    market.price = 10 if quotes else 5
    budget = Budget(20)
    async with buying(market) as (service, client):
        lose_the_list(market)
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(spec(), idempotency_key=KEY, budget=budget)
        with pytest.raises(BudgetExceeded, match="more than max_credits=1"):
            await client.submit(spec(), idempotency_key=KEY, max_credits=1)
        market.price = 150
        market.override = lambda _: None
        if quotes:
            with pytest.raises(BudgetExceeded, match="it costs 150 credits by the service's quote, and 10 are left"):
                await client.submit(spec(), idempotency_key=KEY)
            market.price = 15
        assert budget.reserved == (10 if quotes else 5)
        await client.submit(spec(), idempotency_key=KEY)
        assert limits_sent(service) == (["10", "15"] if quotes else ["5", "5"])
        assert await client.reconcile(caught.value) is not None
        assert (budget.spent, budget.reserved) == (15 if quotes else 150, 0)


async def test_a_reconciliation_beside_a_follow_up_is_one_purchase() -> None:
    """Whichever of them is first."""
    market = Market(Lost(acted=True))
    budget = Budget(15)
    async with buying(market, budget=budget) as (_, client):
        lose_the_list(market)
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(priced(10), idempotency_key=KEY)
        market.override = lambda _: None
        again = client.submit(priced(10), idempotency_key=KEY)
        found = await asyncio.gather(client.reconcile(caught.value), again)
        assert {task and task.id for task in found} == {"ck1"}
        assert (budget.spent, budget.reserved, len(market.sold)) == (10, 0, 1)
        with pytest.raises(BudgetExceeded):
            await client.submit(priced(10))


async def test_a_follow_up_without_a_budget_that_is_refused_releases_what_was_reserved() -> None:
    market = Market(Lost(acted=False), Reply(402))
    budget = Budget(100)
    async with buying(market) as (_, client):
        lose_the_list(market)
        with pytest.raises(SubmitOutcomeUnknown):
            await client.submit(priced(10), idempotency_key=KEY, budget=budget)
        market.override = lambda _: None
        with pytest.raises(APIError):
            await client.submit(priced(10), idempotency_key=KEY)
        assert (budget.reserved, client.unsettled()) == (0, [])


@pytest.mark.parametrize("task_id", [None, "ck9"])
async def test_a_submit_that_is_sent_again_cannot_be_settled_by_hand(task_id: str | None) -> None:
    """A caller who takes "none" for an answer would buy a second one."""
    market = Market(Lost(acted=False))
    budget = Budget(15)
    async with buying(market, budget=budget) as (_, client):
        lose_the_list(market)
        with pytest.raises(SubmitOutcomeUnknown) as caught:
            await client.submit(priced(10), idempotency_key=KEY)
        market.override, market.answer_after = lambda _: None, 5.0
        again = asyncio.ensure_future(client.submit(priced(10), idempotency_key=KEY))
        await asyncio.sleep(2)
        with pytest.raises(ConfigurationError, match="is under way again, or being searched for"):
            client.settle(caught.value, task_id)
        assert (await again).id == "ck1"
        assert (budget.spent, budget.reserved, len(market.sold)) == (10, 0, 1)


@pytest.mark.parametrize("gives_up", ["cancelled", "timed out"])
@pytest.mark.parametrize("of", ["the client", "one of the calls"])
async def test_a_call_that_gives_up_beside_one_that_is_refused_leaves_nothing_reserved(of: str, gives_up: str) -> None:
    """Whichever of them has the budget."""
    market = Market(Reply(402, delay=5.0))
    budget = Budget(100)
    async with buying(market, budget=budget if of == "the client" else None) as (_, client):
        first = asyncio.ensure_future(client.submit(priced(10), idempotency_key=KEY))
        await asyncio.sleep(1)
        timeout = 1.0 if gives_up == "timed out" else 60.0
        second = client.submit(priced(10), idempotency_key=KEY, timeout=timeout, budget=budget)
        task = asyncio.ensure_future(second)
        await asyncio.sleep(0.5)
        if gives_up == "cancelled":
            task.cancel()
        await asyncio.wait([first, task])
        assert isinstance(first.exception(), APIError)
        assert task.cancelled() or isinstance(task.exception(), TransportError)
        assert (budget.spent, budget.reserved) == (0, 0)


Observe = Callable[[AIVideoMaker, str], Awaitable[object]]


async def _result(client: AIVideoMaker, task_id: str) -> None:
    with pytest.raises(TaskFailed):
        await client.task(task_id).result()


OBSERVATIONS: dict[str, Observe] = {
    "status": lambda client, task_id: client.get_status(task_id),
    "task": lambda client, task_id: client.get_task(task_id),
    "list": lambda client, task_id: client.list_tasks(),
    "result": _result,
}


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("how", OBSERVATIONS)
@pytest.mark.parametrize("by_other", [True, False])
async def test_credits_come_back_however_the_failure_is_observed(how: str, by_other: bool, tells: bool) -> None:
    """By the id alone, long after the handle is gone; also by another client of the process."""
    market = Market(tells=tells)
    budget = Budget(10)
    async with buying(market, budget=budget) as (service, client):
        task_id = (await client.submit(priced(10, "[fail]"))).id
        gc.collect()
        await asyncio.sleep(100)
        assert budget.remaining == 0
        async with AIVideoMaker("ak_test", base_url=service.url, limiter=RateLimiter()) as other:
            await OBSERVATIONS[how](other if by_other else client, task_id)
        assert budget.remaining == 10


async def test_nothing_is_kept_of_tasks_that_have_ended() -> None:
    """Thousands may be waited for, and never queried otherwise."""
    market = Market()
    async with buying(market, budget=Budget(100)) as (_, client):
        await asyncio.gather(*(client.generate(priced(1, f"fox {number}")) for number in range(10)))
        assert not client._rooms.hold_credits


async def test_a_task_that_is_cancelled_by_its_id_gives_its_credits_back() -> None:
    market = Market()
    budget = Budget(10)
    async with buying(market, budget=budget) as (_, client):
        task_id = (await client.submit(priced(10))).id
        gc.collect()
        assert (await client.cancel(task_id)).cancelled
        assert budget.remaining == 10


async def test_a_submit_that_is_cancelled_anywhere_holds_only_what_it_may_have_bought() -> None:
    """A reservation stays exactly as long as it is unknown whether there is a task."""
    market = Market()
    market.answer_after = 0.3
    budget = Budget(10**6)
    unknown = 0
    async with buying(market, retries=RetryPolicy(grace=1.0)) as (_, client):

        async def check() -> None:
            nonlocal unknown
            unknown += len(client.unsettled())
            assert budget.reserved == 10 * len(client.unsettled())
            for error in client.unsettled():
                await client.reconcile(error)
            assert (budget.reserved, budget.spent) == (0, 10 * len(market.sold))

        await cancel_everywhere(lambda: client.submit(priced(10), budget=budget), check, at_least=20)
    assert unknown


async def test_too_little_time_after_the_quote_sends_nothing() -> None:
    """It would only become an unknown outcome."""
    market = Market()
    market.override = lambda item: Reply(body={"credits": 10}, delay=9.5) if "/quote/" in item.path else None
    budget = Budget(100)
    async with buying(market) as (_, client):
        with pytest.raises(TransportError) as caught:
            await client.submit(spec(), budget=budget, timeout=10)
        assert caught.value.sent is False
    assert (market.sold, budget.reserved) == ([], 0)


async def test_the_quote_counts_against_the_time_of_the_call() -> None:
    """One that takes all of it leaves none for the submit."""
    market = Market()

    def slow(arrival: Arrival) -> Action | None:
        return Reply(503, delay=2.0) if "/quote/" in arrival.path else None

    market.override = slow
    async with buying(market) as (_, client):
        began = asyncio.get_running_loop().time()
        with pytest.raises((ServerError, TransportError)):
            await client.submit(spec(), max_credits=100, timeout=5.0)
        assert asyncio.get_running_loop().time() - began <= 5.5
    assert market.sold == []
