"""Budgets: how many credits a client, or one run of many specs, may spend."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Final, NoReturn, final
from weakref import WeakSet

from .._util import validation as _checks
from ..tasks import TaskDetails, TaskStatus
from .spending import Hold, Spending

__all__ = ["Budget", "Reservation"]


_budgets: Final[WeakSet[Budget]] = WeakSet()


def _forget_locks() -> None:
    """In a fork: whoever held a lock is not here."""
    for budget in list(_budgets):
        budget._lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


@final
class Budget:
    """So many credits, and no more.

    The price of each submit is reserved before it is sent, and settled by what the service says it has charged. Credits
    of tasks that fail or are cancelled come back as soon as their handles, or those who wait for them, hear of it. What
    is not known counts as spent: a submit whose outcome is unknown keeps its reservation until it is reconciled.

    One budget may be shared by any number of clients, event loops and threads of a process.

    Args:
        credits: how many may be spent; 1 credit is 0.01 USD.

    Raises:
        ConfigurationError: `credits` is no whole number of 0 or more.
    """

    def __init__(self, credits: int) -> None:  # noqa: A002  (the API's word)
        self._spending = Spending(_checks.amount("credits", credits))
        self._lock = Lock()
        _budgets.add(self)

    def __repr__(self) -> str:
        return f"Budget(credits={self.credits}, spent={self.spent}, reserved={self.reserved})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a budget cannot be copied or pickled: each copy could be spent")

    @property
    def credits(self) -> int:
        """How many may be spent in all."""
        return self._spending.limit

    @property
    def spent(self) -> int:
        """Credits that were charged, less those that were refunded."""
        with self._lock:
            return self._spending.spent

    @property
    def reserved(self) -> int:
        """Credits for submits that are under way, or whose outcome is unknown."""
        with self._lock:
            return self._spending.reserved

    @property
    def remaining(self) -> int:
        """Credits that can still be spent."""
        with self._lock:
            return self._spending.remaining

    def _reserve(self, credits_: int) -> Hold | None:
        with self._lock:
            return self._spending.reserve(credits_)

    def _lower_to(self, hold: Hold, credits_: int) -> None:
        with self._lock:
            self._spending.lower_to(hold, credits_)

    def _raise_to(self, hold: Hold, credits_: int) -> bool:
        with self._lock:
            return self._spending.raise_to(hold, credits_)

    def _settle(self, hold: Hold, charged: int | None) -> None:
        with self._lock:
            self._spending.settle(hold, charged)

    def _release(self, hold: Hold) -> None:
        with self._lock:
            self._spending.release(hold)

    def _refund(self, hold: Hold, refunded: int | None) -> None:
        with self._lock:
            self._spending.refund(hold, refunded)


@final
class Reservation:
    """What one submit holds of each budget that it has to keep to."""

    __slots__ = ("_holds", "over")

    def __init__(self) -> None:
        self._holds: list[tuple[Budget, Hold]] = []
        self.over: Callable[[], object] = _nothing
        """Is called when there is nothing more to be told of the task."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no budget to keep to."""
        return not self._holds

    def raise_to(self, budgets: Iterable[Budget], credits_: int) -> Budget | None:
        """Reserve so many credits of each budget, and of those that it holds something of already.

        Returns:
            None; or a budget that has too few, and then no more is reserved than before.
        """
        before = [(budget, hold, hold.reserved) for budget, hold in self._holds]
        short = self._raise_held(credits_) or self._hold_of_others(budgets, credits_)
        if short is not None:
            for budget, hold in self._holds[len(before) :]:
                budget._release(hold)
            del self._holds[len(before) :]
            for budget, hold, reserved in before:
                budget._lower_to(hold, reserved)
        return short

    def _raise_held(self, credits_: int) -> Budget | None:
        return next((budget for budget, hold in self._holds if not budget._raise_to(hold, credits_)), None)

    def _hold_of_others(self, budgets: Iterable[Budget], credits_: int) -> Budget | None:
        for budget in budgets:
            if all(budget is not other for other, _ in self._holds):
                hold = budget._reserve(credits_)
                if hold is None:
                    return budget
                self._holds.append((budget, hold))
        return None

    def settle(self, charged: int | None) -> None:
        """There is a task, for so many credits; None when the service does not tell."""
        for budget, hold in self._holds:
            budget._settle(hold, charged)

    def release(self) -> None:
        """Nothing was charged."""
        for budget, hold in self._holds:
            budget._release(hold)

    def told(self, answer: TaskDetails | TaskStatus) -> None:
        """The service tells of the task: what it has cost, and whether its credits have come back.

        A status that comes alone may be an error of the service; what the whole row says is believed.
        """
        status = answer.status if isinstance(answer, TaskDetails) else answer
        refunded = None
        if isinstance(answer, TaskDetails):
            refunded = answer.credits_refunded
            if answer.credits_charged is not None:
                self.settle(answer.credits_charged)
            if status == TaskStatus.COMPLETED and refunded is None:
                refunded = 0
        if status in _REFUNDED or (status == TaskStatus.COMPLETED and refunded is not None):
            for budget, hold in self._holds:
                budget._refund(hold, refunded)
        if (
            isinstance(answer, TaskDetails)
            and status.is_terminal
            and (status == TaskStatus.COMPLETED or all(not hold.taken for _, hold in self._holds))
        ):
            # Of one that has failed, the row may tell the refund later.
            self.over()


def _nothing() -> None:
    pass


_REFUNDED: Final = frozenset({TaskStatus.FAILED, TaskStatus.CANCEL})
"""Statuses with which the credits come back."""
