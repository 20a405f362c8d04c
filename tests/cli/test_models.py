"""`models`: what can be generated, and its current price."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

import attrs
import pytest

from aivideomaker_async import PRICES_2026_03, PRICES_2026_09, InvalidSpec, RateLimiter, Seedance20, UnknownPrice
from aivideomaker_async.cli.models import cheapest_specs
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from aivideomaker_async.specs import SPECS, wire_fields
from tests.cli.conftest import Command, paths


def pages(out: str) -> dict[str, str]:
    """The part of each model, by its name."""
    return {page.split()[0]: page for page in out.split("\n\n")}


def test_every_model_has_its_options_and_prices_without_a_key(cli: Command) -> None:
    ran = cli("models")
    assert ran.code == 0
    assert list(pages(ran.out)) == list(SPECS)
    assert ran.err.startswith("note: prices by the tables alone: no API key: ")
    page = pages(ran.out)["t2v"]
    assert [line.split(maxsplit=3) for line in page.splitlines()[1:4]] == [
        ["--prompt", "prompt", "required", "a text that is not blank"],
        ["--aspect-ratio", "aspect_ratio", "required", "16:9 or 9:16 or 1:1"],
        ["--duration", "duration", "required", "5 or 8 (seconds)"],
    ]
    assert page.splitlines()[0] == "t2v  TextToVideo: A video from a text."
    assert page.splitlines()[4:] == ["  table of 2026-03  1 credit a second", "  table of 2026-09  3 credits a second"]


@pytest.mark.parametrize(
    ("model", "lines"),
    [
        (
            "minimax",
            [
                "  table of 2026-09  credits a second: resolution 720p 3, 1080p 4 + tier turbo 0, base 1",
                "  table of 2026-03  no price",
            ],
        ),
        ("seedance20", ["  table of 2026-09  only by a quote"]),
        ("lv", ["  table of 2026-09  no price", "  --prompt  prompts  required  a list of 1 to 6 texts"]),
        ("wan27", ["  --prompt-extend  prompt_extend  default False    True or False"]),
        (
            "i2v",
            [
                "  --image     image     required         an http(s) URL, a data URI or the name of a file",
                "  --prompt    prompt    may be left out  a text that is not blank",
            ],
        ),
        ("happyhorse", ["  --resolution    resolution    default 720p     720p or 1080p"]),
    ],
)
def test_one_model_can_be_shown(cli: Command, model: str, lines: list[str]) -> None:
    ran = cli("models", model, "--offline")
    assert set(lines) <= set(ran.out.splitlines())
    assert list(pages(ran.out)) == [model]


def test_an_unknown_model_is_a_usage_error(cli: Command) -> None:
    ran = cli("models", "bogus")
    assert ran.code == 2
    assert ran.err == f"error: models bogus: must be one of {', '.join(SPECS)}\n"


def test_json_has_an_event_for_each_model(cli: Command) -> None:
    events = cli("models", "--json", "--offline").events
    assert [event["model"] for event in events] == list(SPECS)
    assert all(event["event"] == "model" for event in events)
    wan = {event["model"]: event for event in events}["wan27"]
    assert wan["class"] == "Wan27"
    assert wan["prices"] == {"2026-03": None, "2026-09": {"resolution": {"720p": 10, "1080p": 15}}}
    assert (wan["supported"], wan["quote"], wan["quote_error"]) == (None, None, None)
    fields = {field["field"]: field for field in wan["fields"]}
    assert fields["resolution"] == {
        "field": "resolution",
        "option": "--resolution",
        "required": False,
        "default": "720p",
        "allowed": "720p or 1080p",
    }
    assert (fields["prompt"]["required"], fields["prompt"]["default"]) == (True, None)


# --- with a service ----------------------------------------------------------------------------------


def test_the_service_has_current_prices_and_supported_models(cli: Command, september: ThreadedSimulator) -> None:
    """By one query, and a quote of the cheapest video of each model."""
    ran = cli("models")
    assert (ran.code, ran.err) == (0, "")
    found = pages(ran.out)
    assert "  price now         15 credits (USD 0.15) for 5 s, by the service's quote" in found["t2v"].splitlines()
    assert "price now         41 credits (USD 0.41) for 4 s at 480p, by the service's quote" in found["seedance20"]
    assert "account           has it" in found["wan27"]
    assert "account           does not list it: the service may refuse it" in found["lv"]
    assert "price now         not known: POST /api/v1/quote/lv: 400 INVALID_MODEL" in found["lv"]
    assert sorted(paths(september)) == sorted(["GET /account", *(f"POST /quote/{model}" for model in SPECS)])
    events = {event["model"]: event for event in cli("models", "--json").events}
    assert events["happyhorse"]["quote"] == {
        "credits": 75,
        "usd": 0.75,
        "seconds": 3,
        "of": {"prompt": "A sunset", "duration": 3, "resolution": "720p", "aspect_ratio": "16:9"},
    }
    assert (events["happyhorse"]["supported"], events["lv"]["supported"]) == (True, False)
    assert events["lv"]["quote_error"].startswith("POST /api/v1/quote/lv: 400")


def test_a_refused_quote_spoils_no_other(cli: Command, september: ThreadedSimulator) -> None:
    september.fault("status", on="quote", model="wan27", status=500, times=None)
    found = pages(cli("models").out)
    assert "not known: POST /api/v1/quote/wan27: 500" in found["wan27"]
    assert "75 credits" in found["happyhorse"]


def test_one_model_needs_one_quote_and_offline_none(cli: Command, september: ThreadedSimulator) -> None:
    assert cli("models", "wan27").code == 0
    assert paths(september) == ["GET /account", "POST /quote/wan27"]
    ran = cli("models", "--offline")
    assert (ran.code, ran.err) == (0, "note: prices by the tables alone: --offline\n")
    assert len(september.requests) == 2


def test_an_account_without_models_leaves_it_open_whether_a_model_is_supported(
    cli: Command, serve: SimulatorFactory
) -> None:
    serve(revision="2026-09", supported_models=[])
    assert cli("models", "t2v", "--json").events[0]["supported"] is None


def test_a_service_without_quotes_leaves_the_tables(cli: Command, service: ThreadedSimulator) -> None:
    ran = cli("models")
    assert (ran.code, len(service.requests)) == (0, 1)
    assert "price now" not in ran.out
    assert "the service has neither quotes nor an account (revision 2026-03)" in ran.err


def test_a_service_that_cannot_be_asked_leaves_the_tables(
    cli: Command, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not listen, refuses the key, or never answers."""
    ran = cli("models", "--base-url", "http://127.0.0.1:1")
    assert (ran.code, "cannot connect" in ran.err) == (0, True)
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_wrong")
    ran = cli("models")
    assert (ran.code, "Invalid API key" in ran.err) == (0, True)
    monkeypatch.setenv("AIVIDEO_API_KEY", september.api_key)
    monkeypatch.setattr("aivideomaker_async.cli.models._TIMEOUT_S", 0.3)
    september.fault("hang", times=None)
    ran = cli("models")
    assert (ran.code, "the service has not answered within 0.3 s" in ran.err) == (0, True)
    assert list(pages(ran.out)) == list(SPECS)


def test_quotes_need_no_room_under_the_query_limit(
    cli: Command, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the models of the account are not known then."""
    used_up = RateLimiter(1, 60.0)
    assert used_up.acquire_nowait() is not None
    with monkeypatch.context() as patch:
        patch.setattr("aivideomaker_async.client.client.default_limiter", lambda origin: used_up)
        patch.setattr("aivideomaker_async.cli.models._REQUEST_TIMEOUT_S", 0.2)
        ran = cli("models", "t2v")
        assert (ran.code, paths(september)) == (0, ["POST /quote/t2v"])
        assert "15 credits" in ran.out
        assert "account" not in ran.out
    september.fault("rate_limit", on="account")
    assert "15 credits" in cli("models", "t2v").out


# --- the examples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SPECS)
def test_the_examples_are_the_cheapest(model: str) -> None:
    """No shorter one is allowed, and no other resolution or tier costs less by any table."""
    spec: Any = cheapest_specs()[model]
    shorter: dict[str, Any] = {"prompts": ()} if model == "lv" else {"duration": spec.duration - 1}
    with pytest.raises(InvalidSpec):
        attrs.evolve(spec, **shorter)
    for name in {"resolution", "tier"} & set(wire_fields(type(spec))):
        allowed = attrs.fields_dict(type(spec))[name].metadata["rule"].allowed
        for prices in (PRICES_2026_03, PRICES_2026_09):
            with suppress(UnknownPrice):
                costs = [attrs.evolve(spec, **{name: one}).credits(prices) for one in re.findall(r"'(\w+)'", allowed)]
                assert spec.credits(prices) == min(costs)


def test_the_example_without_a_table_price_is_the_smallest() -> None:
    assert list(cheapest_specs()) == list(SPECS)
    spec = cheapest_specs()["seedance20"]
    assert isinstance(spec, Seedance20)
    assert spec.resolution == "480p"
