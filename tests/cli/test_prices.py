"""The price before a submit, what a person says to it, and `quote`."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest

from aivideomaker_async import RetryPolicy
from aivideomaker_async.cli.main import main
from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.cli.conftest import T2V, Command, Person, Terminal, When, interrupt
from tests.cli.younger import YoungerService, refused
from tests.support.scripted import Arrival, Reply

IMAGE = "https://example.com/a.png"
LV = ("generate", "lv", "--image", IMAGE, "--prompt", "a")


def test_a_quote_is_the_price(cli: Command, younger: YoungerService) -> None:
    """And it tells what is left afterwards. Nobody is asked where nobody is, and any price is right."""
    ran = cli(*T2V)
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[0] == "price: 15 credits (USD 0.15) by the service's quote; balance 415, 400 afterwards"
    assert younger.paths[:2] == ["POST /quote/t2v", "POST /generate/t2v"]
    ((_, _, arrival),) = younger.submits
    assert "x-max-credits" not in arrival.headers


def test_json_tells_the_quote(cli: Command, younger: YoungerService) -> None:
    submitted = cli(*T2V, "--json").events[0]
    assert (submitted["credits_estimated"], submitted["credits_quoted"], submitted["credits_charged"]) == (5, 15, 15)


def test_a_balance_that_is_too_low_is_told_first(cli: Command, younger: YoungerService) -> None:
    """The service decides, all the same."""
    younger.balance = 14
    ran = cli(*T2V)
    assert ran.code == 4
    assert ran.err.startswith("price: 15 credits (USD 0.15) by the service's quote; balance 14, which is too little\n")
    assert "INSUFFICIENT_CREDITS" in ran.err


def test_an_image_of_a_file_goes_with_the_quote(cli: Command, younger: YoungerService, image: str) -> None:
    """As it goes with the submit."""
    assert cli("generate", "i2v", "--image", image, "--duration", "5").code == 0
    quoted, sent = (arrival.body for arrival in younger.arrivals if arrival.method == "POST")
    assert quoted == sent


@pytest.mark.parametrize("words", [T2V[2:], ("lv", *LV[2:])], ids=["t2v", "lv"])
def test_a_refused_quote_says_why_and_the_submit_is_tried(
    cli: Command, younger: YoungerService, words: tuple[str, ...]
) -> None:
    younger.models = ["i2v"]
    ran = cli("generate", *(("t2v", *words) if words[0] != "lv" else words))
    price = next(line for line in ran.err.splitlines() if line.startswith("price:"))
    assert price.startswith("price: not known: POST /api/v1/quote/")
    assert "400 INVALID_MODEL: Unsupported model" in price
    assert ran.code == 4
    assert ran.err.splitlines()[-1].startswith("error: POST /api/v1/generate/")


def test_a_quote_that_fails_does_not_keep_a_script_from_its_video(
    cli: Command, younger: YoungerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went without quotes before."""
    monkeypatch.setattr("aivideomaker_async.client.client.RetryPolicy", lambda: RetryPolicy(max_attempts=1))
    younger.override = lambda arrival: Reply(200, b"<html>") if "/quote/" in arrival.path else None
    ran = cli(*T2V)
    assert ran.code == 0
    assert ran.err.startswith("price: not known: POST /api/v1/quote/t2v: the answer (200) cannot be understood")


def test_a_refused_key_is_refused_once(cli: Command, younger: YoungerService, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the quote; nothing is submitted."""
    monkeypatch.setenv("AIVIDEO_API_KEY", "ak_wrong")
    ran = cli(*T2V)
    assert (ran.code, younger.paths) == (3, ["POST /quote/t2v"])
    assert "Invalid API key" in ran.err


# --- a limit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", ["15", "16"])
def test_max_credits_travels(cli: Command, younger: YoungerService, most: str) -> None:
    assert cli(*T2V, "--max-credits", most).code == 0
    ((_, _, arrival),) = younger.submits
    assert arrival.headers["x-max-credits"] == most


def test_more_than_max_credits_is_not_sent(cli: Command, younger: YoungerService) -> None:
    """The message has the price and the limit; one quote is enough to know."""
    ran = cli(*T2V, "--max-credits", "14", "--json")
    assert ran.code == 4
    assert younger.paths == ["POST /quote/t2v"]
    assert "it costs 15 credits by the service's quote, more than --max-credits 14; nothing was sent" in ran.err
    assert [(event["type"], event["exit_code"]) for event in ran.events] == [("BudgetExceeded", 4)]


def test_max_credits_holds_where_there_are_no_quotes(cli: Command, service: ThreadedSimulator) -> None:
    """By the table; and what no table has a price for is not sent."""
    ran = cli(*T2V, "--max-credits", "4")
    assert ran.code == 4
    assert "it costs 5 credits by the table of 2026-03, more than --max-credits 4" in ran.err
    words = ("--prompt", "a", "--aspect-ratio", "1:1", "--duration", "5", "--resolution", "480p")
    ran = cli("generate", "seedance20", *words, "--max-credits", "500")
    assert ran.code == 4
    assert ran.err.startswith("price: not known: the price table 2026-09 has no price for the model 'seedance20'")
    assert "the price cannot be known, and there is --max-credits 500; nothing was sent" in ran.err
    assert service.tasks == {}
    assert cli(*T2V, "--max-credits", "5").code == 0


def test_max_credits_does_not_trust_a_quote_that_cannot_be_had(cli: Command, younger: YoungerService) -> None:
    younger.models = []
    ran = cli(*T2V, "--max-credits", "100")
    assert (ran.code, younger.paths) == (4, ["POST /quote/t2v"])
    assert ran.err.splitlines()[-1].startswith("error: POST /api/v1/quote/t2v: 400 INVALID_MODEL")


@pytest.mark.parametrize("most", ["-1", "1.5", "many"])
def test_a_limit_is_a_number_of_credits(cli: Command, younger: YoungerService, most: str) -> None:
    ran = cli(*T2V, f"--max-credits={most}")
    assert (ran.code, younger.paths) == (2, [])
    assert "--max-credits" in ran.err


# --- a person ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [b"y\n", b"YES\n", b" yes \r\n"], ids=repr)
def test_a_person_who_says_yes_gets_the_video_for_that_price(
    younger: YoungerService, person: Person, answer: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The service may charge what was agreed to, and no more."""
    screen = person(answer)
    assert main(list(T2V)) == 0
    assert "generate for 15 credits (USD 0.15)? [y/N] " in screen.getvalue()
    assert screen.getvalue().startswith("price: 15 credits")
    ((_, _, arrival),) = younger.submits
    assert arrival.headers["x-max-credits"] == "15"
    assert capsys.readouterr().out.endswith(".mp4\n")


@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"yesterday\n", b"\x04", b"yes\x04\x04", b"\xff\n"], ids=repr)
def test_anything_else_is_no(younger: YoungerService, person: Person, answer: bytes) -> None:
    """Also the end of the input. Nothing was sent but the question for the price."""
    screen = person(answer)
    assert main(list(T2V)) == 2
    # A line break that is typed is shown by the terminal itself.
    assert screen.getvalue().endswith("[y/N] nothing was sent\n" if b"\n" in answer else "[y/N] \nnothing was sent\n")
    assert (younger.paths, younger.submits) == (["POST /quote/t2v"], [])


def test_a_price_that_has_risen_is_not_paid(younger: YoungerService, person: Person) -> None:
    """What was agreed to is a promise."""
    younger.prices = [15, 50]
    screen = person(b"y\n")
    assert main([*T2V, "--max-credits", "100"]) == 4
    assert "it costs 50 credits by the service's quote, more than max_credits=15; nothing was sent" in screen.getvalue()
    assert younger.submits == []


def test_a_limit_is_kept_before_anybody_is_asked(younger: YoungerService, person: Person) -> None:
    screen = person(b"y\n")
    assert main([*T2V, "--max-credits", "14"]) == 4
    assert "[y/N]" not in screen.getvalue()


def test_a_price_that_is_not_known_is_asked_for_too(younger: YoungerService, person: Person) -> None:
    younger.override = lambda arrival: refused(400, "INVALID_PAYLOAD", "no") if "/quote/" in arrival.path else None
    screen = person(b"y\n")
    assert main(list(T2V)) == 0
    assert "generate at an unknown price? [y/N] " in screen.getvalue()
    assert "x-max-credits" not in younger.submits[0][2].headers


def test_an_estimate_is_asked_for_as_one(service: ThreadedSimulator, person: Person) -> None:
    """It is no promise of the service's, and sets no limit."""
    screen = person(b"y\n")
    assert main(list(T2V)) == 0
    assert "generate for about 5 credits (USD 0.05)? [y/N] " in screen.getvalue()


@pytest.mark.parametrize("flag", ["--yes", "-y"])
def test_yes_asks_nobody(younger: YoungerService, person: Person, flag: str) -> None:
    screen = person(b"n\n")
    assert main([*T2V, flag]) == 0
    assert "[y/N]" not in screen.getvalue()
    assert "x-max-credits" not in younger.submits[0][2].headers


def test_a_reader_of_json_is_not_asked(younger: YoungerService, person: Person) -> None:
    screen = person(b"n\n")
    assert main([*T2V, "--json"]) == 0
    assert "[y/N]" not in screen.getvalue()


def test_a_terminal_that_nobody_types_at_is_not_asked(
    younger: YoungerService, terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script whose errors go to a terminal; or a process that has no input at all."""
    screen = terminal()
    assert main(list(T2V)) == 0
    monkeypatch.setattr("sys.stdin", None)
    assert main(list(T2V)) == 0
    assert "[y/N]" not in screen.getvalue()


@pytest.mark.parametrize(("signalled", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_question(
    younger: YoungerService, person: Person, when: When, signalled: signal.Signals, code: int
) -> None:
    """Nothing was sent, and nobody is told to look for a task."""
    screen = person(b"")
    when(lambda: "[y/N]" in screen.getvalue(), lambda: os.kill(os.getpid(), signalled))
    assert main(list(T2V)) == code
    assert younger.submits == []
    last = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()[-1]
    assert last == f"error: {'interrupted' if code == 130 else 'terminated'}"


def test_ctrl_c_while_the_price_is_asked_for_again_leaves_nothing_to_look_for(
    cli: Command, younger: YoungerService
) -> None:
    """The submit has begun, and nothing of it was sent."""

    def interrupt_second(arrival: Arrival) -> None:
        if len(younger.paths) == 2:
            interrupt()

    younger.override = interrupt_second
    ran = cli(*T2V, "--max-credits", "20", "--json")
    assert (ran.code, younger.paths) == (130, ["POST /quote/t2v", "POST /quote/t2v"])
    assert "aivideomaker list" not in ran.err
    assert ran.events[-1]["idempotency_key"] is None


# --- a model that the account lacks ------------------------------------------------------------------


def test_lv_is_tried_with_a_note_where_the_account_lacks_it(cli: Command, younger: YoungerService) -> None:
    """Before the price, once, and with what there is."""
    ran = cli(*LV)
    note, price, error = ran.err.splitlines()
    assert note == (
        "note: lv is not among the models of this account "
        "(t2v, i2v, t2v_v3, i2v_v3, minimax, seedance20, wan27, happyhorse): the service may refuse it"
    )
    assert price.startswith("price: not known: ")
    assert error.startswith("error: ")
    assert (ran.code, younger.paths) == (4, ["GET /account", "POST /quote/lv", "POST /generate/lv"])


def test_lv_has_no_note_where_the_account_has_it_or_nothing_is_known(
    cli: Command, younger: YoungerService, service: ThreadedSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli(*LV).code == 0, "a service that does not tell of accounts"
    monkeypatch.setenv("AIVIDEO_API_KEY", younger.api_key)
    for models in (["lv"], []):
        younger.models = models
        assert "note:" not in cli(*LV, "--base-url", younger.url).err


def test_other_models_cost_no_query(cli: Command, younger: YoungerService) -> None:
    younger.models = ["i2v"]
    assert cli(*T2V).code == 4
    assert "GET /account" not in younger.paths


# --- what travels ------------------------------------------------------------------------------------

TRAVELS: dict[str, tuple[str, dict[str, object]]] = {
    "minimax": (
        "minimax --prompt a",
        {"content": "a", "duration": 5, "resolution": "720p", "tier": "turbo", "aspectRatio": "16:9"},
    ),
    "minimax frames": (
        "minimax --prompt a --duration 20 --resolution 1080P --tier base --aspect-ratio auto --image URL1 "
        "--last-frame IMAGE",
        {
            "content": "a",
            "duration": 20,
            "resolution": "1080p",
            "tier": "base",
            "aspectRatio": "auto",
            "imageUrl": "URL1",
            "lastFrameUrl": "IMAGE",
        },
    ),
    "minimax references": (
        "minimax --prompt a --reference-image URL1 --reference-image IMAGE --reference-video URL2 "
        "--reference-audios URL3 URL4",
        {
            "content": "a",
            "duration": 5,
            "resolution": "720p",
            "tier": "turbo",
            "aspectRatio": "16:9",
            "referenceImageUrls": ["URL1", "IMAGE"],
            "referenceVideoUrl": "URL2",
            "referenceAudioUrls": ["URL3", "URL4"],
        },
    ),
    "seedance20": (
        "seedance20 --prompt a --duration 5 --resolution 480p --aspect-ratio 1:1",
        {"prompt": "a", "duration": 5, "resolution": 480, "ratio": "1:1"},
    ),
    "seedance20 media": (
        "seedance20 --image IMAGE --video URL1 --audio URL2 --duration 5 --resolution 720 --aspect-ratio 9:16",
        {"image": "IMAGE", "video": "URL1", "audio": "URL2", "duration": 5, "resolution": 720, "ratio": "9:16"},
    ),
    "wan27": (
        "wan27 --prompt a --duration 10 --resolution 720p --prompt-extend --image URL1",
        {"prompt": "a", "image": "URL1", "duration": "10", "resolution": "720P", "ratio": "16:9", "promptExtend": True},
    ),
    "wan27 not extended": (
        "wan27 --prompt a --duration 5 --resolution 1080p --no-prompt-extend --aspect-ratio 4:3",
        {"prompt": "a", "duration": "5", "resolution": "1080P", "ratio": "4:3", "promptExtend": False},
    ),
    "happyhorse": (
        "happyhorse --prompt a --duration 3",
        {"prompt": "a", "duration": 3, "resolution": "720P", "ratio": "16:9"},
    ),
    "happyhorse image": (
        "happyhorse --prompt a --duration 3 --image IMAGE",
        {"prompt": "a", "image": "IMAGE", "duration": 3, "resolution": "720P", "ratio": "16:9"},
    ),
    "happyhorse images": (
        "happyhorse --prompt a --duration 3 --image URL1 --image IMAGE --aspect-ratio 3:4",
        {"prompt": "a", "image": ["URL1", "IMAGE"], "duration": 3, "resolution": "720P", "ratio": "3:4"},
    ),
}


@pytest.mark.parametrize("name", TRAVELS)
@pytest.mark.parametrize("command", ["generate", "quote"])
def test_the_younger_models_travel_as_the_service_wants_them(
    cli: Command, younger: YoungerService, image: str, image_uri: str, name: str, command: str
) -> None:
    """A quote is of the same request as the submit."""
    younger.balance = 10_000
    words, expected = TRAVELS[name]

    def fill(value: object) -> object:
        if isinstance(value, list):
            return [fill(item) for item in value]
        if isinstance(value, str) and value.startswith("URL"):
            return f"https://example.com/{value[3:]}"
        return image_uri if value == "IMAGE" else value

    ran = cli(command, *(image if word == "IMAGE" else str(fill(word)) for word in words.split()))
    assert ran.code == 0, ran.err
    bodies = [arrival.json() for arrival in younger.arrivals if arrival.method == "POST"]
    assert len(bodies) == (2 if command == "generate" else 1)
    for body in bodies:
        told = {name: value for name, value in body.items() if value not in (None, [])}
        assert told == {name: fill(value) for name, value in expected.items()}


# --- quote -------------------------------------------------------------------------------------------

QUOTE = ("quote", *T2V[1:])


def test_quote_prints_what_the_service_would_charge(cli: Command, younger: YoungerService) -> None:
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
        }
    ]
    younger.balance = 1
    assert "affordable  no, the balance is too low" in cli(*QUOTE).out
    assert younger.submits == []


def test_quote_estimates_where_there_are_no_quotes(cli: Command, service: ThreadedSimulator) -> None:
    """And says that it does."""
    ran = cli(*QUOTE)
    assert ran.out == (
        "price  5 credits (USD 0.05)\nknown  by the table of 2026-03; an estimate, since this service has no quotes\n"
    )
    (event,) = cli(*QUOTE, "--json").events
    assert (event["by"], event["table"], event["balance"], event["affordable"]) == ("table", "2026-03", None, None)


def test_a_price_that_nobody_knows_is_exit_code_4(cli: Command, service: ThreadedSimulator) -> None:
    words = ("--prompt", "a", "--aspect-ratio", "1:1", "--duration", "5", "--resolution", "480p")
    ran = cli("quote", "seedance20", *words, "--json")
    assert ran.code == 4
    assert ran.events[-1]["type"] == "UnknownPrice"
    assert "only a quote of the service tells it" in ran.err


def test_a_quote_that_is_refused_is_exit_code_4(cli: Command, younger: YoungerService) -> None:
    ran = cli("quote", *LV[1:])
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == "error: POST /api/v1/quote/lv: 400 INVALID_MODEL: Unsupported model: lv\n"


@pytest.mark.parametrize("words", [("--output", "a.mp4"), ("--timeout", "5"), ("--yes",), ("--duration", "7")])
def test_quote_has_the_options_of_the_spec_alone(cli: Command, younger: YoungerService, words: tuple[str, ...]) -> None:
    ran = cli(*QUOTE, *words)
    assert (ran.code, younger.paths) == (2, [])


def test_extra_fields_travel_with_a_quote(cli: Command, younger: YoungerService) -> None:
    ran = cli(*QUOTE, "--extra", 'filterMode="strict"')
    assert ran.code == 4
    assert "wrong: filterMode" in ran.err
