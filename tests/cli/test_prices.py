"""The price before a submit, its limit, the confirmation of a person, and `quote`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aivideomaker_async import RetryPolicy
from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator.pytest_plugin import SimulatorFactory
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import T2V, ClientCalls, Command, Person, Terminal, When, interrupt, paths

LV = ("generate", "lv", "--image", "https://example.com/a.png", "--prompt", "a")
ONLY_QUOTED = (*("seedance20", "--prompt", "a", "--aspect-ratio", "1:1", "--duration", "5", "--resolution", "480p"),)


def test_a_quote_is_the_price(cli: Command, september: ThreadedSimulator, calls: ClientCalls) -> None:
    """With the balance afterwards. Without a terminal nothing is asked, and every price is accepted."""
    ran = cli(*T2V, "--json")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[0] == "price: 15 credits (USD 0.15) by the service's quote; balance 415, 400 afterwards"
    assert paths(september)[:2] == ["POST /quote/t2v", "POST /generate/t2v"]
    assert calls.priced == calls.submitted
    assert calls.max_credits == [None]
    submitted = ran.events[0]
    assert (submitted["credits_estimated"], submitted["credits_quoted"], submitted["credits_charged"]) == (None, 15, 15)


def test_a_price_that_no_table_has_is_known_by_its_quote(cli: Command, september: ThreadedSimulator) -> None:
    submitted = cli("generate", *ONLY_QUOTED, "--json").events[0]
    assert (submitted["credits_estimated"], submitted["credits_quoted"], submitted["credits_charged"]) == (None, 51, 51)


def test_a_balance_that_is_too_low_is_shown_and_the_submit_is_tried(cli: Command, serve: SimulatorFactory) -> None:
    """The refusal leaves no advice to look for a task."""
    serve(revision="2026-09", credits=14)
    ran = cli(*T2V)
    assert ran.code == 4
    price, error = ran.err.splitlines()
    assert price == "price: 15 credits (USD 0.15) by the service's quote; balance 14, which is too little"
    assert "INSUFFICIENT_CREDITS" in error


def test_a_quote_that_fails_does_not_keep_a_script_from_its_video(
    cli: Command, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aivideomaker_async.client.client.RetryPolicy", lambda: RetryPolicy(max_attempts=1))
    september.fault("status", on="quote", status=200, body=b"<html>", times=None)
    ran = cli(*T2V)
    assert ran.code == 0
    assert ran.err.startswith("price: not known: POST /api/v1/quote/t2v: the answer (200) cannot be understood")


def test_a_key_that_the_quote_refuses_is_not_submitted_with(
    cli: Command, september: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_wrong")
    ran = cli(*T2V, "-v")
    assert (ran.code, paths(september)) == (3, ["POST /quote/t2v"])
    assert "Invalid API key" in ran.err
    assert "ak_wrong" not in ran.err


# --- a limit -----------------------------------------------------------------------------------------


def test_max_credits_is_passed_to_the_client(cli: Command, september: ThreadedSimulator, calls: ClientCalls) -> None:
    """A price that is just as high is paid."""
    assert cli(*T2V, "--max-credits", "15").code == 0
    assert calls.max_credits == [15]


def test_a_price_above_max_credits_is_not_submitted(cli: Command, september: ThreadedSimulator) -> None:
    ran = cli(*T2V, "--max-credits", "14", "--json")
    assert ran.code == 4
    assert paths(september) == ["POST /quote/t2v"]
    assert "it costs 15 credits by the service's quote, more than --max-credits 14; nothing was sent" in ran.err
    assert [(event["type"], event["exit_code"]) for event in ran.events] == [("BudgetExceeded", 4)]


def test_max_credits_is_checked_by_the_table_where_there_are_no_quotes(
    cli: Command, service: ThreadedSimulator
) -> None:
    """A price that no table has is above every limit."""
    ran = cli(*T2V, "--max-credits", "4")
    assert ran.code == 4
    assert "it costs 5 credits by the table of 2026-03, more than --max-credits 4" in ran.err
    ran = cli("generate", *ONLY_QUOTED, "--max-credits", "500")
    assert ran.code == 4
    assert ran.err.startswith("price: not known: the price table 2026-09 has no price for the model 'seedance20'")
    assert "the price cannot be known, and there is --max-credits 500; nothing was sent" in ran.err
    assert service.tasks == {}
    assert cli(*T2V, "--max-credits", "5").code == 0


def test_with_max_credits_a_refused_quote_is_the_end(cli: Command, serve: SimulatorFactory) -> None:
    service = serve(revision="2026-09", supported_models=[])
    ran = cli(*T2V, "--max-credits", "100")
    assert (ran.code, paths(service)) == (4, ["POST /quote/t2v"])
    assert ran.err.splitlines()[-1].startswith("error: POST /api/v1/quote/t2v: 400 INVALID_MODEL")


def test_ctrl_c_during_the_second_quote_leaves_nothing_to_look_for(
    cli: Command, september: ThreadedSimulator, when: When
) -> None:
    """The submit has begun, and nothing of it was sent."""
    september.fault("hang", on="quote", after=1)
    when(lambda: len(september.requests) == 2, interrupt)
    ran = cli(*T2V, "--max-credits", "20", "--json")
    assert (ran.code, paths(september)) == (130, ["POST /quote/t2v", "POST /quote/t2v"])
    assert "aivideomaker list" not in ran.err
    assert ran.events[-1]["idempotency_key"] is None


# --- a person ----------------------------------------------------------------------------------------


def test_yes_generates_for_the_confirmed_price_and_no_more(
    september: ThreadedSimulator, person: Person, calls: ClientCalls, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = person(b"y\n")
    assert main(list(T2V)) == 0
    assert screen.getvalue().startswith("price: 15 credits")
    assert "generate for 15 credits (USD 0.15)? [y/N] " in screen.getvalue()
    assert calls.max_credits == [15]
    assert capsys.readouterr().out.endswith(".mp4\n")


def test_no_sends_nothing(september: ThreadedSimulator, person: Person) -> None:
    screen = person(b"n\n")
    assert main(list(T2V)) == 2
    assert screen.getvalue().endswith("nothing was sent\n")
    assert paths(september) == ["POST /quote/t2v"]


def test_a_price_that_has_risen_since_is_not_paid(september: ThreadedSimulator, person: Person) -> None:
    risen = {"model": "t2v", "credits": 50, "currentBalance": 415, "affordable": True}
    september.fault("status", on="quote", after=1, status=200, body=risen)
    screen = person(b"y\n")
    assert main([*T2V, "--max-credits", "100"]) == 4
    assert "it costs 50 credits by the service's quote, more than max_credits=15; nothing was sent" in screen.getvalue()
    assert september.tasks == {}


def test_a_limit_is_checked_before_the_question(september: ThreadedSimulator, person: Person) -> None:
    screen = person(b"y\n")
    assert main([*T2V, "--max-credits", "14"]) == 4
    assert "[y/N]" not in screen.getvalue()


def test_an_unknown_price_and_an_estimate_set_no_limit(
    september: ThreadedSimulator, person: Person, calls: ClientCalls
) -> None:
    september.fault("status", on="quote", status=400, times=None)
    screen = person(b"y\n")
    assert main(list(T2V)) == 0
    assert "generate at an unknown price? [y/N] " in screen.getvalue()
    assert calls.max_credits == [None]


def test_an_estimate_is_shown_as_one(service: ThreadedSimulator, person: Person, calls: ClientCalls) -> None:
    screen = person(b"y\n")
    assert main(list(T2V)) == 0
    assert "generate for about 5 credits (USD 0.05)? [y/N] " in screen.getvalue()
    assert calls.max_credits == [None]


@pytest.mark.parametrize("flag", ["--yes", "-y", "--json"])
def test_with_these_flags_nothing_is_asked(
    september: ThreadedSimulator, person: Person, calls: ClientCalls, flag: str
) -> None:
    screen = person(b"n\n")
    assert main([*T2V, flag]) == 0
    assert "[y/N]" not in screen.getvalue()
    assert calls.max_credits == [None]


def test_without_a_keyboard_nothing_is_asked(
    september: ThreadedSimulator, terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script whose errors go to a terminal, or a process without any input."""
    screen = terminal()
    assert main(list(T2V)) == 0
    monkeypatch.setattr("sys.stdin", None)
    assert main(list(T2V)) == 0
    assert "[y/N]" not in screen.getvalue()


# --- a model that the account lacks ------------------------------------------------------------------


def test_lv_is_tried_with_a_note_where_the_account_lacks_it(cli: Command, september: ThreadedSimulator) -> None:
    ran = cli(*LV)
    note, price, error = ran.err.splitlines()
    assert note == (
        "note: lv is not among the models of this account "
        "(t2v, i2v, t2v_v3, i2v_v3, minimax, seedance20, wan27, happyhorse): the service may refuse it"
    )
    assert price.startswith("price: not known: ")
    assert error.startswith("error: ")
    assert (ran.code, paths(september)) == (4, ["GET /account", "POST /quote/lv", "POST /generate/lv"])


def test_lv_has_no_note_where_the_account_has_it_or_nothing_is_known(cli: Command, serve: SimulatorFactory) -> None:
    serve()
    assert cli(*LV).code == 0, "a service without accounts"
    for supported in (["lv"], []):
        serve(revision="2026-09", supported_models=supported)
        assert "note:" not in cli(*LV).err


# --- quote -------------------------------------------------------------------------------------------

QUOTE = ("quote", *T2V[1:])


def test_quote_prints_the_price_of_the_service(cli: Command, serve: SimulatorFactory) -> None:
    service = serve(revision="2026-09", credits=415)
    ran = cli(*QUOTE)
    assert (ran.code, ran.err) == (0, "")
    assert [line.split(maxsplit=1) for line in ran.out.splitlines()] == [
        ["price", "15 credits (USD 0.15)"],
        ["known", "by the service's quote"],
        ["balance", "415 credits (USD 4.15)"],
        ["affordable", "yes"],
    ]
    assert cli(*QUOTE, "--json").events == [
        {
            "event": "quote",
            "model": "t2v",
            "credits": 15,
            "usd": 0.15,
            "by": "quote",
            "table": None,
            "balance": 415,
            "affordable": True,
            "list_price_usd": 0.15,
            "usd_per_credit": 0.01,
            "billable": False,
            "extra": {},
        }
    ]
    assert service.tasks == {}
    serve(revision="2026-09", credits=1)
    assert "affordable  no, the balance is too low" in cli(*QUOTE).out


def test_quote_estimates_where_there_are_no_quotes(cli: Command, service: ThreadedSimulator) -> None:
    ran = cli(*QUOTE)
    assert ran.out == (
        "price  5 credits (USD 0.05)\nknown  by the table of 2026-03; an estimate, since this service has no quotes\n"
    )
    (event,) = cli(*QUOTE, "--json").events
    assert (event["by"], event["table"], event["balance"], event["affordable"]) == ("table", "2026-03", None, None)


def test_quote_fails_where_the_price_is_not_known(cli: Command, serve: SimulatorFactory) -> None:
    """Since no table has it, or the service refuses the quote."""
    serve()
    ran = cli("quote", *ONLY_QUOTED, "--json")
    assert (ran.code, ran.events[-1]["type"]) == (4, "UnknownPrice")
    assert "ask the service for a quote" in ran.err
    serve(revision="2026-09")
    ran = cli("quote", *LV[1:])
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("error: POST /api/v1/quote/lv: 400 INVALID_MODEL")
