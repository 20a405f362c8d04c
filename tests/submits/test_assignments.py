"""The tasks that were given to us: what a list must show of them, and how long they are remembered."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async._submits import assignments as rules
from aivideomaker_async._submits.assignments import Claims
from aivideomaker_async._submits.matching import Order
from aivideomaker_async._submits.state import KEPT, RECENT, Moment, State, Submit

ORDER = Order("t2v", {"prompt": "a red fox"})


def moment(at: float) -> Moment:
    return Moment(at, 1e9 + at)


def submit(sent: float = 0.0, state: State = State.LOST, lost_at: float = -inf) -> Submit:
    return Submit("key", ORDER, sent=moment(sent), state=state, lost_at=lost_at)


def buy(claims: Claims, task_id: str, at: float, *others: Submit, sent: float | None = None) -> None:
    claims.add(task_id, submit(at if sent is None else sent), moment(at), others)


def show(claims: Claims, asked_at: float, *task_ids: str) -> None:
    for task_id in task_ids:
        claim = claims.get(task_id)
        assert claim is not None
        claim.listed_at = asked_at


def test_a_list_must_show_what_was_bought_meanwhile() -> None:
    claims = Claims()
    buy(claims, "meanwhile", 20.0, sent=11.0)
    buy(claims, "begun before", 21.0, sent=9.0)
    buy(claims, "after", 40.0, sent=12.0)
    assert not claims.are_shown(50.0, 10.0, 30.0)
    show(claims, 50.0, "meanwhile")
    assert claims.are_shown(50.0, 10.0, 30.0)
    assert not claims.are_shown(51.0, 10.0, 30.0), "an earlier list has shown it, and this one does not"


def test_a_list_must_show_the_last_that_were_bought_before() -> None:
    claims = Claims()
    for number in range(8):
        buy(claims, f"ck{number}", float(number))
    show(claims, 50.0, "ck3", "ck4", "ck5", "ck6", "ck7")
    assert claims.are_shown(50.0, 10.0, 30.0)
    show(claims, 49.0, "ck3")
    assert not claims.are_shown(50.0, 10.0, 30.0)


def test_a_list_need_not_show_what_was_bought_long_before() -> None:
    claims = Claims()
    buy(claims, "ck1", 0.0)
    assert claims.are_shown(RECENT + 50.0, RECENT + 1.0, RECENT + 30.0)
    assert not claims.are_shown(RECENT + 50.0, RECENT, RECENT + 30.0)


def test_what_nobody_needs_is_forgotten() -> None:
    claims = Claims()
    buy(claims, "ck1", 0.0)
    buy(claims, "ck2", 100.0)
    buy(claims, "ck3", KEPT + 1.0)
    assert claims.ids() == {"ck2", "ck3"}
    assert "ck1" not in claims


def test_forgotten_is_now_and_then() -> None:
    claims = Claims()
    for number in range(3):
        buy(claims, f"ck{number}", number * KEPT * 2)
        buy(claims, f"ck{number} soon after", number * KEPT * 2 + rules.TIDIED / 2)
    assert len(claims.ids()) == 2


@pytest.mark.parametrize("state", [State.UNDER_WAY, State.LOST])
def test_an_open_submit_needs_all_since_shortly_before(state: State) -> None:
    claims = Claims()
    waiting = submit(1000.0, state)
    for at in (1000.0 - RECENT - 1.0, 1000.0 - RECENT, 1000.0, 5000.0, 50_000.0):
        buy(claims, f"ck{at}", at, waiting, submit(-5000.0, State.GIVEN_UP, -4999.0), Submit("never sent", ORDER))
    assert claims.ids() == {"ck700.0", "ck1000.0", "ck5000.0", "ck50000.0"}


def test_one_that_was_given_up_needs_those_of_its_time() -> None:
    claims = Claims()
    given_up = submit(1000.0, State.GIVEN_UP, 1100.0)
    for at in (600.0, 700.0, 1100.0 + KEPT, 1101.0 + KEPT, 50_000.0):
        buy(claims, f"ck{at}", at, given_up)
    assert claims.ids() == {"ck700.0", f"ck{1100.0 + KEPT}", "ck50000.0"}


def test_the_oldest_give_way_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "MOST", 10)
    claims = Claims()
    for number in range(50):
        buy(claims, f"ck{number}", number / 10, submit())
        assert len(claims.ids()) <= 11
        assert f"ck{number}" in claims


@given(
    eras=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 3000), st.booleans()), max_size=6),
    moments=st.lists(st.integers(0, 40_000), min_size=1, max_size=40),
)
def test_nothing_that_somebody_needs_is_forgotten(eras: list[tuple[int, int, bool]], moments: list[int]) -> None:
    others = [
        submit(float(sent), State.GIVEN_UP if is_over else State.LOST, float(sent + lasted))
        for sent, lasted, is_over in eras
    ]
    claims, now = Claims(), float(max(moments))
    for at in sorted(moments):
        buy(claims, f"ck{at}", float(at), *others)
    claims.add("last", submit(now), moment(now + rules.TIDIED), others)
    for at in moments:
        spans = [item.era for item in others]
        needed = any(span is not None and span[0] <= at <= span[1] for span in spans)
        assert (f"ck{at}" in claims) == (needed or at >= now + rules.TIDIED - KEPT)


def test_what_others_were_given_is_told_by_model_and_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest of them, so many at most."""
    claims = Claims()
    for number in range(6):
        buy(claims, f"ck{number}", float(number))
    claims.add("another model", Submit("key", Order("i2v", {}), sent=moment(6.0)), moment(6.0), ())
    assert claims.since(3.0, "t2v") == {"ck3", "ck4", "ck5"}
    assert claims.since(0.0, "i2v") == {"another model"}
    monkeypatch.setattr(rules, "TOLD", 2)
    assert claims.since(0.0, "t2v") == {"ck4", "ck5"}
