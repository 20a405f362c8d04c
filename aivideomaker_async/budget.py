"""Budgets: how many credits a client, or one run of many specs, may spend."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import NoReturn, Self, final

from . import _checks
from ._core.spending import Hold, Spending

__all__ = ["Budget", "Reservation"]


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
        return self._spending.spent

    @property
    def reserved(self) -> int:
        """Credits for submits that are under way, or whose outcome is unknown."""
        return self._spending.reserved

    @property
    def remaining(self) -> int:
        """Credits that can still be spent."""
        with self._lock:
            return self._spending.remaining

    def _reserve(self, credits_: int) -> Hold | None:
        with self._lock:
            return self._spending.reserve(credits_)

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
    """What one submit holds of each budget that it is to keep to."""

    __slots__ = ("_holds",)

    def __init__(self) -> None:
        self._holds: list[tuple[Budget, Hold]] = []

    @classmethod
    def of(cls, budgets: Iterable[Budget], credits_: int) -> Self | Budget:
        """Reserve so many credits of each budget; or the one that has too few, and nothing is reserved."""
        self = cls()
        for budget in budgets:
            hold = budget._reserve(credits_)
            if hold is None:
                self.release()
                return budget
            self._holds.append((budget, hold))
        return self

    @property
    def is_empty(self) -> bool:
        """Whether there is no budget to keep to."""
        return not self._holds

    def settle(self, charged: int | None) -> None:
        """There is a task, for so many credits; None when the service does not tell."""
        for budget, hold in self._holds:
            budget._settle(hold, charged)

    def release(self) -> None:
        """Nothing was charged."""
        for budget, hold in self._holds:
            budget._release(hold)

    def refund(self, refunded: int | None) -> None:
        """The task has failed or was cancelled; None when the service does not tell what came back."""
        for budget, hold in self._holds:
            budget._refund(hold, refunded)
