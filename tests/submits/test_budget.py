"""What a purchase holds of its budgets, from before it is sent until nothing can come back."""

from __future__ import annotations

import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from aivideomaker_async import Budget, ConfigurationError, TaskDetails, TaskStatus
from aivideomaker_async._submits import budget as budgets
from aivideomaker_async._submits.budget import Reservation, Reservations

ROW = TaskDetails(id="ck1", status=TaskStatus.FAILED)


# --- a budget ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("credits_", [-1, 1.5, "10", None, True])
def test_a_budget_is_a_whole_number_of_credits(credits_: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"credits=.*must be a whole number of credits, 0 or more"):
        Budget(credits_)


def test_a_budget_reports_its_sums() -> None:
    budget = Budget(credits=100)
    reservation = reserved(30, budget)
    assert (budget.credits, budget.spent, budget.reserved, budget.remaining) == (100, 0, 30, 70)
    reservation.settle(25)
    assert repr(budget) == "Budget(credits=100, spent=25, reserved=0)"
    reservation.observe(TaskDetails(id="ck1", status=TaskStatus.CANCEL, credits_refunded=5))
    assert budget.remaining == 80


def test_a_budget_cannot_be_copied() -> None:
    """Each copy could be spent."""
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(Budget(1))


def test_threads_share_a_budget() -> None:
    """A thousand of them want one credit each, of 500."""
    budget, reservations = Budget(500), Reservations()

    def buy(number: int) -> bool:
        if isinstance(reservations.take(f"key {number}", [budget], 1), Budget):
            return False
        reservations.bought(f"key {number}", f"ck{number}", None)
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(buy, range(1000))) == 500
    assert (budget.spent, budget.reserved) == (500, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_lock_that_was_held_at_a_fork_blocks_no_child() -> None:
    budget = Budget(10)
    with budgets._shared.lock:
        process = os.fork()
        if not process:
            os._exit(budget.remaining)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 10


# --- a reservation -----------------------------------------------------------------------------------


def reserved(amount: int, *of: Budget) -> Reservation:
    reservation = Reservation()
    assert reservation.reserve(of, amount) is None
    return reservation


def test_a_budget_with_too_little_left_leaves_all_unchanged() -> None:
    first, second = Budget(100), Budget(10)
    reservation = Reservation()
    assert reservation.reserve([first, second], 11) is second
    assert (first.remaining, second.remaining, reservation.is_empty) == (100, 10, True)
    assert reservation.reserve([second], 9) is None
    assert reservation.reserve([first, second], 11) is second
    assert (first.remaining, second.remaining) == (100, 1)
    assert reservation.reserve([first, second], 10) is None
    assert (first.remaining, second.remaining) == (90, 0)


def test_a_reservation_is_raised_in_all_its_budgets_and_never_lowered() -> None:
    """A key that comes twice at once, at two prices, reserves the larger."""
    first, second, third = Budget(100), Budget(10), Budget(20)
    reservation = reserved(5, first, second)
    assert reservation.reserve([], 50) is second
    assert (first.reserved, second.reserved) == (5, 5)
    assert reservation.reserve([third], 10) is None
    assert (first.reserved, second.reserved, third.reserved) == (10, 10, 10)
    assert reservation.reserve([Budget(9)], 3) is not None, "it would have to hold 10 as well"
    assert reservation.reserve([], 3) is None
    assert (first.reserved, second.reserved, third.reserved) == (10, 10, 10)


def test_a_charge_above_the_budget_leaves_nothing() -> None:
    """Prices may rise on the way: then nothing more is spent."""
    budget = Budget(10)
    reserved(10, budget).settle(30)
    assert (budget.spent, budget.remaining) == (30, 0)
    assert Reservation().reserve([budget], 1) is budget
    assert Reservation().reserve([budget], 0) is None


@pytest.mark.parametrize(
    ("answers", "spent"),
    [
        ([TaskStatus.FAILED], 0),
        ([TaskStatus.PROGRESS, TaskStatus.COMPLETED], 10),
        ([ROW], 0),
        ([evolve(ROW, credits_charged=8)], 0),
        ([evolve(ROW, credits_charged=8, credits_refunded=5)], 3),
        ([evolve(ROW, credits_charged=8, credits_refunded=50)], 0),
        ([evolve(ROW, credits_charged=8, credits_refunded=-5)], 8),
        ([evolve(ROW, credits_charged=8, credits_refunded=5), TaskStatus.FAILED], 3),
        ([evolve(ROW, status=TaskStatus.PROGRESS, credits_charged=8, credits_refunded=0)], 8),
        # A status alone may have been a mistake; the row counts.
        ([TaskStatus.FAILED, evolve(ROW, status=TaskStatus.COMPLETED)], 10),
        ([TaskStatus.FAILED, evolve(ROW, status=TaskStatus.COMPLETED, credits_charged=12, credits_refunded=0)], 12),
        ([evolve(ROW, status=TaskStatus.COMPLETED, credits_charged=12, credits_refunded=2)], 10),
        # The service reports a higher charge after a refund that it has not reported.
        ([TaskStatus.FAILED, evolve(ROW, status=TaskStatus.PROGRESS, credits_charged=24), TaskStatus.FAILED], 0),
    ],
)
def test_answers_about_the_task_decide_what_it_has_cost(answers: list[TaskDetails | TaskStatus], spent: int) -> None:
    """It was reserved, and charged, at 10."""
    budget = Budget(100)
    reservation = reserved(10, budget)
    reservation.settle(None)
    for answer in answers:
        reservation.observe(answer)
    assert budget.spent == spent


@pytest.mark.parametrize(
    ("answer", "is_over"),
    [
        (TaskStatus.FAILED, False),
        (TaskStatus.COMPLETED, False),
        (evolve(ROW, status=TaskStatus.PROGRESS), False),
        (evolve(ROW, status=TaskStatus.COMPLETED), True),
        (ROW, True),
        (evolve(ROW, credits_refunded=9), False),
        (evolve(ROW, credits_refunded=10), True),
    ],
)
def test_a_row_may_end_a_reservation(answer: TaskDetails | TaskStatus, is_over: bool) -> None:
    """Of a failed task the refund may be reported later."""
    reservation = reserved(10, Budget(10))
    reservation.settle(None)
    assert reservation.observe(answer) is is_over


def holds(reservation: Reservation) -> int:
    """Credits that it holds of each of its budgets, reserved or spent."""
    return reservation._amount if reservation._charged is None else reservation._charged - reservation._refunded


class Spending(RuleBasedStateMachine):
    """Anything may happen to submits, in any order; the sums are those of a list that is kept beside."""

    @initialize(limits=st.lists(st.integers(0, 200), min_size=2, max_size=2))
    def begin(self, limits: list[int]) -> None:
        self.budgets = [Budget(limit) for limit in limits]
        self.held: list[tuple[Reservation, set[Budget]]] = []
        self.overcharged = False

    @rule(of=st.sets(st.integers(0, 1), min_size=1), amount=st.integers(0, 200))
    def reserve(self, of: set[int], amount: int) -> None:
        chosen = {self.budgets[number] for number in of}
        before = [budget.remaining for budget in self.budgets]
        fits = all(budget.remaining >= amount for budget in chosen)
        reservation = Reservation()
        assert (reservation.reserve(chosen, amount) is None) == fits
        if fits:
            self.held.append((reservation, chosen))
        else:
            assert [budget.remaining for budget in self.budgets] == before

    @rule(data=st.data(), of=st.sets(st.integers(0, 1)), amount=st.integers(0, 200))
    def join(self, data: st.DataObject, of: set[int], amount: int) -> None:
        open_ones = [item for item in self.held if item[0]._charged is None]
        if open_ones:
            reservation, chosen = data.draw(st.sampled_from(open_ones))
            before = [budget.remaining for budget in self.budgets]
            more = {self.budgets[number] for number in of}
            if reservation.reserve(more, amount) is None:
                chosen |= more
            else:
                assert [budget.remaining for budget in self.budgets] == before

    @rule(data=st.data(), charged=st.none() | st.integers(0, 200))
    def settle(self, data: st.DataObject, charged: int | None) -> None:
        if self.held:
            reservation, _ = data.draw(st.sampled_from(self.held))
            before = holds(reservation)
            reservation.settle(charged)
            # What it gave back may be reserved for another since.
            self.overcharged |= holds(reservation) > before

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        open_ones = [item for item in self.held if item[0]._charged is None]
        if open_ones:
            item = data.draw(st.sampled_from(open_ones))
            item[0].release()
            self.held.remove(item)

    @rule(data=st.data(), refunded=st.none() | st.integers(-5, 300), is_row=st.booleans())
    def fail(self, data: st.DataObject, refunded: int | None, is_row: bool) -> None:
        settled = [reservation for reservation, _ in self.held if reservation._charged is not None]
        if settled:
            reservation = data.draw(st.sampled_from(settled))
            before = holds(reservation)
            reservation.observe(evolve(ROW, credits_refunded=refunded) if is_row else TaskStatus.FAILED)
            self.overcharged |= holds(reservation) > before
            assert reservation._charged is not None
            assert 0 <= reservation._refunded <= reservation._charged

    @invariant()
    def sums(self) -> None:
        for budget in getattr(self, "budgets", []):
            held = [reservation for reservation, chosen in self.held if budget in chosen]
            reserved = sum(holds(item) for item in held if item._charged is None)
            spent = sum(holds(item) for item in held if item._charged is not None)
            assert (budget.reserved, budget.spent) == (reserved, spent)
            assert budget.remaining == max(0, budget.credits - reserved - spent)
            assert self.overcharged or reserved + spent <= budget.credits, "the budget is exceeded"


def test_the_sums_are_right_whatever_happens() -> None:
    """Nothing is counted twice, nothing is forgotten, and no budget is exceeded."""
    run_state_machine_as_test(Spending)


# --- the reservations of a key -----------------------------------------------------------------------


def take(reservations: Reservations, key: str, of: list[Budget], amount: int) -> Reservation:
    taken = reservations.take(key, of, amount)
    assert isinstance(taken, Reservation)
    return taken


def test_a_purchase_is_one_however_many_calls_are_at_work_on_it() -> None:
    """The last one that leaves without a task gives its credits back."""
    budget, reservations = Budget(10), Reservations()
    first = take(reservations, "key", [budget], 8)
    assert take(reservations, "key", [budget], 6) is first
    assert budget.reserved == 8
    reservations.leave("key", first, is_open=False)
    reservations.not_bought("key")
    assert budget.reserved == 8 and reservations.is_pending("key")
    reservations.leave("key", first, is_open=False)
    assert budget.reserved == 0 and not reservations.is_pending("key")
    reservations.leave("key", None, is_open=False)


def test_an_unknown_outcome_stays_reserved() -> None:
    budget, reservations = Budget(10), Reservations()
    taken = take(reservations, "key", [budget], 8)
    reservations.leave("key", taken, is_open=True)
    assert budget.reserved == 8
    reservations.not_bought("key")
    assert budget.remaining == 10


def test_a_purchase_that_grows_beyond_its_budget_is_refused_and_unchanged() -> None:
    budget, reservations = Budget(10), Reservations()
    taken = take(reservations, "key", [budget], 8)
    assert reservations.take("key", [], 11) is budget
    assert budget.reserved == 8
    reservations.leave("key", taken, is_open=False)
    assert budget.reserved == 0


def test_a_reservation_without_a_budget_is_not_remembered() -> None:
    reservations = Reservations()
    taken = take(reservations, "key", [], 8)
    assert taken.is_empty and reservations.is_empty
    reservations.leave("key", taken, is_open=True)
    reservations.bought("key", "ck1", 8)
    assert reservations.is_empty


def test_a_call_that_has_taken_nothing_leaves_the_others_alone() -> None:
    """A call without a budget, beside one with a budget that gives up."""
    budget, reservations = Budget(10), Reservations()
    taken = take(reservations, "key", [budget], 8)
    reservations.leave("key", None, is_open=False)
    assert budget.reserved == 8
    reservations.leave("key", taken, is_open=True)
    assert budget.reserved == 8
    reservations.leave("key", None, is_open=False)
    assert budget.reserved == 0


def test_a_task_is_known_by_its_id_until_it_has_ended() -> None:
    budget, reservations = Budget(10), Reservations()
    take(reservations, "key", [budget], 8)
    reservations.bought("key", "ck1", None)
    assert (budget.spent, reservations.is_pending("key")) == (8, False)
    reservations.observe("ck2", TaskStatus.FAILED)
    assert budget.spent == 8
    reservations.observe("ck1", ROW)
    assert (budget.spent, reservations.is_empty) == (0, True)
    reservations.bought("key", "ck3", 5)
    assert budget.spent == 0


def test_unfinished_tasks_that_are_forgotten_stay_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "MAX_REMEMBERED", 3)
    budget, reservations = Budget(100), Reservations()
    for number in range(5):
        take(reservations, f"key {number}", [budget], 1)
        reservations.bought(f"key {number}", f"ck{number}", None)
    for number in range(5):
        reservations.observe(f"ck{number}", ROW)
    assert (budget.spent, reservations.is_empty) == (2, True)
