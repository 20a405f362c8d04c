import pytest
from multidict import CIMultiDict

from aivideomaker_async.simulator.contract import Refusal, revision
from aivideomaker_async.simulator.terms import Terms, read_terms

MARCH, SEPTEMBER = revision("2026-03"), revision("2026-09")


def test_what_is_not_asked_for_is_not_there() -> None:
    assert read_terms({}, SEPTEMBER) == Terms()


def test_the_terms_are_read_whatever_the_case_of_their_names() -> None:
    headers = CIMultiDict({"webhookurl": "https://a/b", "idempotency-key": "key-0001", "x-max-credits": "15"})
    assert read_terms(headers, SEPTEMBER) == Terms(webhook_url="https://a/b", key="key-0001", budget=15)


@pytest.mark.parametrize(("text", "budget"), [("0", 0), ("007", 7), ("000", 0), ("9" * 18, 10**18 - 1)])
def test_a_budget_is_a_whole_number(text: str, budget: int) -> None:
    assert read_terms({"X-Max-Credits": text}, SEPTEMBER).budget == budget


def test_a_budget_above_all_prices_is_none() -> None:
    assert read_terms({"X-Max-Credits": "9" * 10_000}, SEPTEMBER).budget is None


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "1e3", "ten", "0x1", "\u0661", "1 000", "null"])
def test_anything_else_is_no_budget(text: str) -> None:
    with pytest.raises(Refusal, match="X-Max-Credits must be a whole number") as refused:
        read_terms({"X-Max-Credits": text}, SEPTEMBER)
    assert (refused.value.status, refused.value.code) == (400, "INVALID_PAYLOAD")
    assert read_terms({"X-Max-Credits": text}, MARCH) == Terms()


@pytest.mark.parametrize("url", ["", "ftp://a/b", "a"])
def test_a_webhook_is_a_web_address(url: str) -> None:
    with pytest.raises(Refusal, match=r"webhookUrl must be an http\(s\) URL"):
        read_terms({"webhookUrl": url}, MARCH)
