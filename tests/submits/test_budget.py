from __future__ import annotations

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve

from aivideomaker_async import Budget, ConfigurationError, TaskDetails, TaskStatus
from aivideomaker_async._submits.budget import Reservation


@pytest.mark.parametrize("credits_", [-1, 1.5, "10", None, True])
def test_a_budget_is_a_whole_number_of_credits(credits_: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"credits=.*must be a whole number of credits, 0 or more"):
        Budget(credits_)


def reserved(credits_: int, *budgets: Budget) -> Reservation | None:
    reservation = Reservation()
    return reservation if reservation.raise_to(budgets, credits_) is None else None


def test_a_budget_tells_what_has_become_of_it() -> None:
    budget = Budget(credits=100)
    reservation = reserved(30, budget)
    assert reservation is not None
    assert (budget.credits, budget.spent, budget.reserved, budget.remaining) == (100, 0, 30, 70)
    reservation.settle(25)
    assert repr(budget) == "Budget(credits=100, spent=25, reserved=0)"
    reservation.told(TaskDetails(id="ck1", status=TaskStatus.CANCEL, credits_refunded=5))
    assert budget.remaining == 80


def test_what_one_budget_cannot_bear_is_taken_from_none() -> None:
    first, second = Budget(100), Budget(10)
    reservation = Reservation()
    assert reservation.raise_to([first, second], 11) is second
    assert (first.remaining, second.remaining, reservation.is_empty) == (100, 10, True)
    assert reservation.raise_to([second], 9) is None
    assert reservation.raise_to([first, second], 11) is second
    assert (first.remaining, second.remaining) == (100, 1)
    assert reservation.raise_to([first, second], 10) is None
    assert (first.remaining, second.remaining) == (90, 0)


def test_what_was_raised_in_vain_is_lowered_again() -> None:
    """In each budget, whichever has too few."""
    first, second, third = Budget(100), Budget(10), Budget(20)
    reservation = reserved(5, first, second)
    assert reservation is not None
    assert reservation.raise_to([], 50) is second
    assert (first.reserved, second.reserved) == (5, 5)
    assert reservation.raise_to([third], 10) is None
    assert (first.reserved, second.reserved, third.reserved) == (10, 10, 10)
    fourth = Budget(1)
    reservation = reserved(5, first)
    assert reservation is not None
    assert reservation.raise_to([fourth], 9) is fourth
    assert (first.reserved, fourth.reserved) == (15, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_in_a_fork_a_lock_that_was_held_holds_up_nobody() -> None:
    budget = Budget(10)
    with budget._lock:
        process = os.fork()
        if not process:
            os._exit(budget.remaining)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 10


ROW = TaskDetails(id="ck1", status=TaskStatus.FAILED)


@pytest.mark.parametrize(
    ("told", "spent"),
    [
        ([TaskStatus.FAILED], 0),
        ([TaskStatus.PROGRESS, TaskStatus.COMPLETED], 10),
        ([ROW], 0),
        ([evolve(ROW, credits_charged=8)], 0),
        ([evolve(ROW, credits_charged=8, credits_refunded=5)], 3),
        ([evolve(ROW, credits_charged=8, credits_refunded=5), TaskStatus.FAILED], 3),
        ([evolve(ROW, status=TaskStatus.PROGRESS, credits_charged=8, credits_refunded=0)], 8),
        # A status alone may have been a mistake; the row has the output.
        ([TaskStatus.FAILED, evolve(ROW, status=TaskStatus.COMPLETED)], 10),
        ([TaskStatus.FAILED, evolve(ROW, status=TaskStatus.COMPLETED, credits_charged=12, credits_refunded=0)], 12),
        ([evolve(ROW, status=TaskStatus.COMPLETED, credits_charged=12, credits_refunded=2)], 10),
    ],
)
def test_what_is_told_of_the_task_decides_what_it_has_cost(told: list[TaskDetails | TaskStatus], spent: int) -> None:
    """It was reserved, and charged, at 10."""
    budget = Budget(100)
    reservation = reserved(10, budget)
    assert reservation is not None
    reservation.settle(None)
    for answer in told:
        reservation.told(answer)
    assert budget.spent == spent


def test_a_budget_cannot_be_copied() -> None:
    """Each copy could be spent."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(Budget(1))


def test_threads_may_share_a_budget() -> None:
    """A thousand that want one credit each, of 500."""
    budget = Budget(500)

    def buy(_: int) -> bool:
        reservation = reserved(1, budget)
        if reservation is None:
            return False
        reservation.settle(None)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(buy, range(1000))) == 500
    assert (budget.spent, budget.reserved) == (500, 0)
