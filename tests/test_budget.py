from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aivideomaker_async import Budget, ConfigurationError
from aivideomaker_async.budget import Reservation


@pytest.mark.parametrize("credits_", [-1, 1.5, "10", None, True])
def test_a_budget_is_a_whole_number_of_credits(credits_: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"credits=.*must be a whole number of credits, 0 or more"):
        Budget(credits_)


def test_a_budget_tells_what_has_become_of_it() -> None:
    budget = Budget(credits=100)
    reservation = Reservation.of([budget], 30)
    assert isinstance(reservation, Reservation)
    assert (budget.credits, budget.spent, budget.reserved, budget.remaining) == (100, 0, 30, 70)
    reservation.settle(25)
    assert repr(budget) == "Budget(credits=100, spent=25, reserved=0)"
    reservation.refund(5)
    assert budget.remaining == 80


def test_what_one_budget_cannot_bear_is_taken_from_none() -> None:
    first, second = Budget(100), Budget(10)
    assert Reservation.of([first, second], 11) is second
    assert (first.remaining, second.remaining) == (100, 10)


def test_a_budget_cannot_be_copied() -> None:
    """Each copy could be spent."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(Budget(1))


def test_threads_may_share_a_budget() -> None:
    """A thousand that want one credit each, of 500."""
    budget = Budget(500)

    def buy(_: int) -> bool:
        reservation = Reservation.of([budget], 1)
        if not isinstance(reservation, Reservation):
            return False
        reservation.settle(None)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(buy, range(1000))) == 500
    assert (budget.spent, budget.reserved) == (500, 0)
