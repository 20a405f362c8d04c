"""What a spec costs, and which models the account has, as far as the service reports them."""

from __future__ import annotations

import asyncio
import logging
from datetime import date

import pytest

from aivideomaker_async import (
    PRICES_2026_03,
    AIVideoMaker,
    ConfigurationError,
    EndpointNotFound,
    LongVideo,
    PriceTable,
    Seedance20,
    SpecLike,
    TextToVideo,
    UnknownPrice,
    Wan27,
)
from tests.support.market import Market
from tests.support.scripted import Action, Drop, Hang, Reply
from tests.support.shop import buying

pytestmark = pytest.mark.anyio

LONG = LongVideo(image="https://example.com/a.png", prompts=["One"])
SHORT = TextToVideo(prompt="a fox", aspect_ratio="1:1", duration=5)
SEEDANCE = Seedance20(prompt="a fox", duration=4, resolution="480p", aspect_ratio="1:1")


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


# --- prices ------------------------------------------------------------------------------------------


async def test_the_price_is_the_services_quote() -> None:
    seven = TextToVideo(prompt="7 credits", aspect_ratio="1:1", duration=5)
    async with buying(Market()) as (_, client):
        price = await client.price(seven)
        assert (price.credits, price.usd, price.table) == (7, 0.07, None)
        assert price.quote is not None and price.quote == await client.quote(seven)
        assert (price.quote.current_balance, price.quote.affordable, price.quote.billable) == (500, True, False)
        assert (await client.price(("brand-new", {"prompt": "3 credits"}))).credits == 3


@pytest.mark.parametrize("status", [404, 405])
async def test_without_quotes_the_price_is_an_estimate(status: int) -> None:
    """The service is asked once in ten minutes for each model."""
    market = Market(quotes=False)
    if status == 405:
        market.override = lambda arrival: Reply(405) if "/quote/" in arrival.path else None
    async with buying(market) as (service, client):
        price = await client.price(SHORT)
        assert (price.credits, price.quote, price.table) == (5, None, PRICES_2026_03)
        assert (await client.price(("t2v", {"prompt": "a", "aspectRatio": "1:1", "duration": "8"}))).credits == 8
        assert (await client.price(Wan27(prompt="a", duration=5))).credits == 50
        asked = [arrival.path.rpartition("/")[2] for arrival in service.arrivals]
        assert asked == ["t2v", "account", "tasks", "wan27"], "of which revision the service is, is found out once"
        unknowns: list[SpecLike] = [SEEDANCE, ("brand-new", {})]
        for unknown in unknowns:
            with pytest.raises(UnknownPrice):
                await client.price(unknown)
        await asyncio.sleep(601)
        market.quotes, market.override = True, lambda _: None
        assert (await client.price(SHORT)).credits == market.price


async def test_a_404_of_a_gateway_does_not_make_a_service_older() -> None:
    """Its account shows the revision: no price of another one is taken, from the first call on."""
    market = Market()
    market.override = lambda arrival: Reply(404, "<html>") if "/quote/" in arrival.path else None
    async with buying(market) as (_, client):
        with pytest.raises(EndpointNotFound):
            await client.price(SHORT)
        with pytest.raises(EndpointNotFound):
            await client.submit(SHORT, max_credits=100)
        market.override = lambda _: None
        assert (await client.price(SHORT)).credits == market.price
    assert market.sold == []


async def test_a_service_that_has_given_a_quote_has_quotes() -> None:
    """A 404 of a proxy does not turn them into estimates."""
    market = Market()
    async with buying(market) as (_, client):
        await client.quote(SHORT)
        market.quotes = False
        for ask in (client.price(SHORT), client.submit(SHORT, max_credits=100)):
            with pytest.raises(EndpointNotFound):
                await ask
    assert market.sold == []


async def test_a_table_of_the_caller_replaces_the_usual_one() -> None:
    mine = PriceTable(revision="mine", published=date(2026, 11, 1), source="an invoice", per_second={"t2v": 2})
    async with buying(Market(quotes=False), prices=mine) as (_, client):
        price = await client.price(SHORT)
        assert (price.credits, price.table) == (10, mine)
    for wrong in (5, {"t2v": 3}, "2026-03"):
        with pytest.raises(ConfigurationError, match="must be a PriceTable"):
            async with buying(Market(), prices=wrong):
                pass


# --- the account and its models ----------------------------------------------------------------------


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "does not name" in record.getMessage()]


async def test_a_model_that_the_account_does_not_name_is_tried_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before the submit, once, and with the models that there are."""
    market = Market()
    async with buying(market) as (service, client):
        task = await client.submit(LONG)
        await client.submit(LONG)
    assert task.id == "ck1"
    assert warnings(caplog) == [
        "the account does not name the model lv among those it supports (i2v, t2v): the service may refuse it"
    ]
    assert caplog.records[0].name == "aivideomaker_async.models"
    assert service.paths()[:2] == ["GET /api/v1/account", "POST /api/v1/generate/lv"]
    assert service.paths().count("GET /api/v1/account") == 1


async def test_a_documented_model_needs_no_query(caplog: pytest.LogCaptureFixture) -> None:
    """Each query counts against the limit. An account that is known anyway is used."""
    market = Market()
    market.models = ["i2v"]
    async with buying(market) as (service, client):
        await client.submit(SHORT)
        assert service.paths() == ["POST /api/v1/generate/t2v"]
        await client.account()
        await client.submit(SHORT)
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize(
    "answer", [Reply(404), Reply(405), Reply(500), Reply(429, headers={"Retry-After": "60"}), Drop(), Hang()], ids=repr
)
async def test_an_account_that_cannot_be_had_stops_no_submit(answer: Action, caplog: pytest.LogCaptureFixture) -> None:
    """It goes out within seconds."""
    market = Market()
    market.override = lambda arrival: answer if arrival.path == "/api/v1/account" else None
    async with buying(market) as (service, client):
        task = await client.submit(LONG)
        assert service.arrivals[-1].at - service.arrivals[0].at <= 6
    assert (task.id, warnings(caplog)) == ("ck1", [])


async def test_the_check_of_a_model_leaves_time_for_the_submit() -> None:
    """It takes a quarter of the time of the call, and five seconds at most."""
    market = Market()
    market.override = lambda arrival: Hang() if arrival.path == "/api/v1/account" else None
    async with buying(market) as (service, client):
        await client.submit(LONG, timeout=4.0)
        check, submit = service.arrivals
        assert submit.at - check.at <= 1.1


async def test_an_account_without_models_warns_about_none(caplog: pytest.LogCaptureFixture) -> None:
    market = Market()
    market.models = []
    async with buying(market) as (_, client):
        await client.submit(LONG)
    assert warnings(caplog) == []


async def test_a_hostile_list_of_models_breaks_no_log_line(caplog: pytest.LogCaptureFixture) -> None:
    market = Market()
    market.models = ["t2v\nFAKE LINE", "x" * 100_000]
    caplog.set_level(logging.WARNING)
    async with buying(market) as (_, client):
        await client.submit(LONG)
    (warning,) = warnings(caplog)
    assert "\n" not in warning and len(warning) < 2000


async def test_a_service_without_an_account_is_remembered() -> None:
    """A submit of a model that may be retired does not ask again."""
    market = Market(quotes=False)
    async with buying(market) as (service, client):
        for ask in (client.account, lambda: AIVideoMaker.quote(client, SHORT)):
            with pytest.raises(EndpointNotFound, match="404"):
                await ask()
        await client.submit(LONG)
        assert service.paths().count("GET /api/v1/account") == 1


async def test_an_account_that_failed_is_requested_again(caplog: pytest.LogCaptureFixture) -> None:
    """A failed call of the user is no check of the models."""
    market = Market()
    market.override = lambda arrival: Reply(403) if arrival.path == "/api/v1/account" else None
    async with buying(market) as (_, client):
        with pytest.raises(Exception, match="403"):
            await client.account()
        market.override = lambda _: None
        await client.submit(LONG)
    assert len(warnings(caplog)) == 1
