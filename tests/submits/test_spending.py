from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aivideomaker_async._submits.spending import Hold, Spending

CREDITS = st.integers(0, 200)


class Spendings(RuleBasedStateMachine):
    """Anything may happen to a submit, in any order; the sums are those of a list that is kept beside."""

    @initialize(limit=CREDITS)
    def begin(self, limit: int) -> None:
        self.spending = Spending(limit)
        self.holds: list[Hold] = []

    @rule(credits_=CREDITS)
    def reserve(self, credits_: int) -> None:
        before = self.spending.remaining
        hold = self.spending.reserve(credits_)
        assert (hold is not None) == (credits_ <= before)
        if hold is not None:
            assert self.spending.remaining == before - credits_
            self.holds.append(hold)

    @rule(data=st.data(), charged=st.none() | CREDITS)
    def settle(self, data: st.DataObject, charged: int | None) -> None:
        if self.holds:
            hold = data.draw(st.sampled_from(self.holds))
            before, was_released = hold.charged, hold.state.name == "RELEASED"
            was_charged = hold.taken == hold.charged - hold.refunded and hold.state.name == "CHARGED"
            self.spending.settle(hold, charged)
            expected = charged if charged is not None else before if was_charged else hold.reserved
            assert hold.charged == (before if was_released else expected)

    @rule(data=st.data(), credits_=CREDITS)
    def raise_to(self, data: st.DataObject, credits_: int) -> None:
        if self.holds:
            hold = data.draw(st.sampled_from(self.holds))
            remaining, reserved = self.spending.remaining, hold.reserved
            more = max(0, credits_ - reserved) if hold.state.name == "RESERVED" else 0
            assert self.spending.raise_to(hold, credits_) == (more <= remaining)
            assert hold.reserved == reserved + (more if more <= remaining else 0)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if self.holds:
            hold = data.draw(st.sampled_from(self.holds))
            was, state = hold.taken, hold.state.name
            self.spending.release(hold)
            assert hold.taken == (was if state == "CHARGED" else 0)

    @rule(data=st.data(), refunded=st.none() | st.integers(-5, 300))
    def refund(self, data: st.DataObject, refunded: int | None) -> None:
        if self.holds:
            hold = data.draw(st.sampled_from(self.holds))
            self.spending.refund(hold, refunded)
            assert 0 <= hold.refunded <= hold.charged

    @invariant()
    def sums(self) -> None:
        if not hasattr(self, "spending"):
            return
        reserved = sum(hold.taken for hold in self.holds if hold.state.name == "RESERVED")
        spent = sum(hold.taken for hold in self.holds if hold.state.name == "CHARGED")
        assert (self.spending.reserved, self.spending.spent) == (reserved, spent)
        assert self.spending.remaining == max(0, self.spending.limit - reserved - spent)


def test_whatever_happens_the_sums_are_right() -> None:
    """Nothing is counted twice, and nothing forgotten."""
    run_state_machine_as_test(Spendings)


@given(st.lists(st.integers(0, 50), max_size=20), CREDITS)
def test_no_more_than_the_limit_is_ever_reserved(prices: list[int], limit: int) -> None:
    spending = Spending(limit)
    for price in prices:
        if (hold := spending.reserve(price)) is not None:
            spending.settle(hold, price)
    assert spending.spent <= limit


def test_what_the_service_tells_is_believed() -> None:
    """Of the charge, and of the refund; and a task that has failed gives all back where it tells nothing."""
    spending = Spending(100)
    hold = spending.reserve(8)
    assert hold is not None
    spending.settle(hold, None)
    assert (spending.spent, spending.remaining) == (8, 92)
    spending.refund(hold, None)
    assert spending.spent == 0
    spending.settle(hold, 24)
    spending.refund(hold, None)
    assert spending.spent == 0
    spending.refund(hold, 20)
    spending.refund(hold, None)
    assert (spending.spent, spending.reserved) == (4, 0)


def test_a_charge_above_the_limit_leaves_nothing() -> None:
    """Prices may rise on the way: then nothing more is spent."""
    spending = Spending(10)
    hold = spending.reserve(10)
    assert hold is not None
    spending.settle(hold, 30)
    assert (spending.spent, spending.remaining, spending.reserve(1)) == (30, 0, None)
    free = spending.reserve(0)
    assert free is not None


def test_what_was_released_is_nobody_s_any_more() -> None:
    """Whatever is told of the task: it is somebody else's."""
    spending = Spending(10)
    hold = spending.reserve(10)
    assert hold is not None
    spending.release(hold)
    spending.settle(hold, 9)
    spending.refund(hold, None)
    assert spending.raise_to(hold, 5)
    assert (spending.remaining, spending.spent, spending.reserved) == (10, 0, 0)


def test_a_reservation_can_be_raised_as_far_as_there_is_anything() -> None:
    spending = Spending(10)
    hold = spending.reserve(6)
    assert hold is not None
    assert spending.raise_to(hold, 4) and spending.reserved == 6
    assert not spending.raise_to(hold, 11) and spending.reserved == 6
    assert spending.raise_to(hold, 10) and (spending.reserved, spending.remaining) == (10, 0)
    spending.lower_to(hold, 11)
    spending.lower_to(hold, 7)
    assert (hold.reserved, spending.reserved, spending.remaining) == (7, 7, 3)
    spending.settle(hold, None)
    spending.lower_to(hold, 1)
    assert (hold.reserved, spending.spent) == (7, 7)
