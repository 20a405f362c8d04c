from __future__ import annotations

import asyncio

import pytest

from aivideomaker_async import Budget, TaskDetails, TaskStatus
from aivideomaker_async._submits import reservations
from aivideomaker_async._submits.reservations import Reservations

pytestmark = pytest.mark.anyio


async def test_a_purchase_is_one_however_many_calls_are_at_work_on_it() -> None:
    """The last one that leaves without a task gives its credits back."""
    budget, kept = Budget(10), Reservations()
    first = kept.take("key", [budget], 8)
    assert kept.take("key", [budget], 6) is first
    assert budget.reserved == 8
    kept.leave("key", asyncio.get_running_loop(), is_open=False)
    kept.not_bought("key")
    assert budget.reserved == 8 and kept.is_pending("key")
    kept.leave("key", asyncio.get_running_loop(), is_open=False)
    assert budget.reserved == 0 and not kept.is_pending("key")
    kept.leave("key", asyncio.get_running_loop(), is_open=False)


async def test_what_is_not_known_stays_reserved() -> None:
    budget, kept = Budget(10), Reservations()
    kept.take("key", [budget], 8)
    kept.leave("key", asyncio.get_running_loop(), is_open=True)
    assert budget.reserved == 8
    kept.not_bought("key")
    assert budget.remaining == 10


async def test_a_purchase_that_grows_beyond_its_budget_is_refused_and_unchanged() -> None:
    budget, kept = Budget(10), Reservations()
    kept.take("key", [budget], 8)
    assert kept.take("key", [], 11) is budget
    assert budget.reserved == 8
    kept.leave("key", asyncio.get_running_loop(), is_open=False)
    assert budget.reserved == 0


def test_a_call_whose_loop_is_closed_is_at_work_on_nothing() -> None:
    budget, kept = Budget(10), Reservations()

    async def take() -> None:
        kept.take("key", [budget], 8)

    asyncio.run(take())
    assert budget.reserved == 8
    kept.not_bought("key")
    assert budget.reserved == 0


async def test_a_task_is_known_by_its_id_until_it_has_ended() -> None:
    budget, kept = Budget(10), Reservations()
    kept.take("key", [budget], 8)
    kept.bought("key", "ck1", None)
    assert (budget.spent, kept.is_pending("key")) == (8, False)
    held = kept.of_task("ck1")
    assert held is not None and kept.of_task("ck2") is None
    kept.told("ck2", TaskStatus.FAILED)
    kept.told("ck1", TaskDetails(id="ck1", status=TaskStatus.FAILED))
    assert (budget.spent, kept.of_task("ck1")) == (0, None)
    kept.bought("key", "ck3", 5)
    assert budget.spent == 0


async def test_who_has_taken_nothing_leaves_nothing_behind() -> None:
    """A call without a budget, beside one with one that has given up."""
    budget, kept = Budget(10), Reservations()
    kept.take("key", [budget], 8)
    kept.leave("key", None, is_open=False)
    assert budget.reserved == 8
    kept.leave("key", asyncio.get_running_loop(), is_open=True)
    assert budget.reserved == 8
    kept.leave("key", None, is_open=False)
    assert budget.reserved == 0


async def test_a_refund_that_is_told_late_is_heard() -> None:
    """The first row of a failed task may not have it yet."""
    budget, kept = Budget(10), Reservations()
    kept.take("key", [budget], 8)
    kept.bought("key", "ck1", 8)
    for refunded, left in ((0, 2), (5, 7), (8, 10)):
        kept.told("ck1", TaskDetails(id="ck1", status=TaskStatus.FAILED, credits_refunded=refunded))
        assert budget.remaining == left
    assert kept.is_empty


async def test_purchases_that_calls_are_at_work_on_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "MOST", 3)
    budget, kept = Budget(100), Reservations()
    for number in range(5):
        kept.take(f"key {number}", [budget], 1)
    for number in range(5):
        kept.leave(f"key {number}", asyncio.get_running_loop(), is_open=False)
    assert (budget.reserved, kept.is_empty) == (0, True)


async def test_what_nobody_settles_is_forgotten_some_time_and_stays_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reservations, "MOST", 3)
    budget, kept = Budget(100), Reservations()
    for number in range(5):
        kept.take(f"key {number}", [budget], 1)
        kept.leave(f"key {number}", asyncio.get_running_loop(), is_open=True)
    assert [kept.is_pending(f"key {number}") for number in range(5)] == [False, False, True, True, True]
    for number in range(5):
        kept.take(f"other {number}", [budget], 1)
        kept.bought(f"other {number}", f"ck{number}", None)
    assert [kept.of_task(f"ck{number}") is None for number in range(5)] == [True, True, False, False, False]
    assert (budget.spent, budget.reserved) == (5, 5)
