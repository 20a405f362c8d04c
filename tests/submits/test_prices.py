from __future__ import annotations

import logging

import pytest

from aivideomaker_async import AIVideoMaker, LongVideo, TextToVideo
from tests.support.market import Market
from tests.support.scripted import Action, Arrival, Drop, Hang, Reply
from tests.support.shop import buying

pytestmark = pytest.mark.anyio

LONG = LongVideo(image="https://example.com/a.png", prompts=["One"])
SHORT = TextToVideo(prompt="a fox", aspect_ratio="1:1", duration=5)


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


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
    assert service.paths()[:2] == ["GET /api/v1/account", "POST /api/v1/generate/lv"]
    assert service.paths().count("GET /api/v1/account") == 1


async def test_a_refusal_follows_the_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is the service's own."""
    market = Market(Reply(400, {"status": "FAILED", "errorCode": "INVALID_MODEL", "message": "Invalid model: lv"}))
    async with buying(market) as (_, client):
        with pytest.raises(Exception, match="INVALID_MODEL"):
            await client.submit(LONG)
    assert len(warnings(caplog)) == 1


async def test_nobody_is_asked_about_a_model_that_is_documented(caplog: pytest.LogCaptureFixture) -> None:
    """Each question counts against the limit. What is known anyway is used."""
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
async def test_an_account_that_cannot_be_had_stops_nothing(answer: Action, caplog: pytest.LogCaptureFixture) -> None:
    """Within seconds."""
    market = Market()
    market.override = lambda arrival: answer if arrival.path == "/api/v1/account" else None
    async with buying(market) as (service, client):
        task = await client.submit(LONG)
        assert service.arrivals[-1].at - service.arrivals[0].at <= 6
    assert (task.id, warnings(caplog)) == ("ck1", [])


async def test_a_look_leaves_time_for_the_submit() -> None:
    """A quarter of what the call has, and five seconds at most."""
    market = Market()
    market.override = lambda arrival: Hang() if arrival.path == "/api/v1/account" else None
    async with buying(market) as (service, client):
        await client.submit(LONG, timeout=4.0)
        look, submit = service.arrivals
        assert submit.at - look.at <= 1.1


async def test_an_account_that_names_no_models_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    market = Market()
    market.models = []
    async with buying(market) as (_, client):
        await client.submit(LONG)
    assert warnings(caplog) == []


async def test_a_hostile_list_of_models_breaks_no_line(caplog: pytest.LogCaptureFixture) -> None:
    market = Market()
    market.models = ["t2v\nFAKE LINE", "x" * 100_000]
    caplog.set_level(logging.WARNING)
    async with buying(market) as (_, client):
        await client.submit(LONG)
    (told,) = warnings(caplog)
    assert "\n" not in told and len(told) < 2000


async def test_the_account_is_told() -> None:
    def answer(arrival: Arrival) -> Action:
        guardrails = {"dailyCreditLimit": -1, "generationRequestsPerMinute": 12, "creditWarningAt": -1}
        return Reply(
            body={
                "ok": True,
                "apiVersion": "v1",
                "skillVersion": "1.0.15",
                "currentBalance": 415,
                "supportedModels": ["t2v", "minimax"],
                "newField": {"a": 1},
                **guardrails,
            }
        )

    market = Market()
    market.override = answer
    async with buying(market) as (_, client):
        account = await client.account()
    assert (account.current_balance, account.supported_models) == (415, ("t2v", "minimax"))
    assert (account.daily_credit_limit, account.generation_requests_per_minute) == (None, 12)
    assert account.extra == {"ok": True, "newField": {"a": 1}}


async def test_a_client_of_an_old_service_gets_a_clear_error() -> None:
    """Which is remembered: who submits a model that may be retired asks no more."""
    market = Market(quotes=False)
    async with buying(market) as (service, client):
        for ask in (client.account, lambda: AIVideoMaker.quote(client, SHORT)):
            with pytest.raises(Exception, match="404") as caught:
                await ask()
            assert type(caught.value).__name__ == "EndpointNotFound"
        await client.submit(LONG)
        assert service.paths().count("GET /api/v1/account") == 1
