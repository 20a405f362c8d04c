"""What budgets hold for the submits of one account, from before each is sent until its credits can no longer come back.

It is known by the idempotency key while it is not certain whether there is a task, and by the task's id from then on.
So whoever follows up a submit, finds out what became of it or hears that its task has failed means the same purchase,
whichever client, handle or event loop has made it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from threading import Lock
from typing import Final

from attrs import define, field

from ..tasks import TaskDetails, TaskStatus
from .budget import Budget, Reservation

__all__ = ["Reservations"]

MOST: Final = 10_000
"""Reservations that are kept of each kind: what is forgotten stays spent."""


@define(eq=False)
class _Purchase:
    reservation: Reservation
    calls: list[asyncio.AbstractEventLoop] = field(factory=list[asyncio.AbstractEventLoop])
    """The event loops of the calls that are at work on it; one that was closed works on nothing."""

    @property
    def is_left(self) -> bool:
        return all(loop.is_closed() for loop in self.calls)


class Reservations:
    """The reservations of one account. Any thread may use them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pending: dict[str, _Purchase] = {}
        self._bought: dict[str, Reservation] = {}

    def forget_locks(self) -> None:
        """In a fork: whoever held a lock is not here."""
        self._lock = Lock()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is reserved that may come back."""
        return not self._pending and not self._bought

    def is_pending(self, key: str) -> bool:
        """Whether something is reserved for the submit with this key, and it is not known whether it has its task."""
        return key in self._pending

    def take(self, key: str, budgets: Iterable[Budget], credits_: int) -> Reservation | Budget:
        """Reserve so many credits for the submit with this key, or go on with what is reserved for it.

        Whoever takes leaves.

        Returns:
            The reservation; or the budget that has too few credits, and nothing has changed.
        """
        with self._lock:
            purchase = self._pending.get(key) or _Purchase(Reservation())
            if (short := purchase.reservation.raise_to(budgets, credits_)) is not None:
                return short
            purchase.calls.append(asyncio.get_running_loop())
            if not purchase.reservation.is_empty:
                self._pending[key] = purchase
                self._forget_one()
            return purchase.reservation

    def _forget_one(self) -> None:
        if len(self._pending) > MOST:
            # Not one that a call is at work on.
            oldest = next((key for key, purchase in self._pending.items() if purchase.is_left), None)
            if oldest is not None:
                del self._pending[oldest]

    def leave(self, key: str, loop: asyncio.AbstractEventLoop | None, *, is_open: bool) -> None:
        """A call is over that has not got the task.

        Args:
            key: of its submit.
            loop: the event loop in which it has taken; None if it has not.
            is_open: whether it is unknown what became of the submit.
        """
        with self._lock:
            purchase = self._pending.get(key)
            if purchase is None:
                return
            if loop in purchase.calls:
                purchase.calls.remove(loop)
            if purchase.is_left and not is_open:
                self._pending.pop(key).reservation.release()

    def bought(self, key: str, task_id: str, charged: int | None) -> None:
        """The submit with this key has this task, for so many credits; None when the service does not tell."""
        with self._lock:
            purchase = self._pending.pop(key, None)
            if purchase is None:
                return
            purchase.reservation.settle(charged)
            purchase.reservation.over = partial(self._bought.pop, task_id, None)
            self._bought[task_id] = purchase.reservation
            if len(self._bought) > MOST:
                del self._bought[next(iter(self._bought))]

    def not_bought(self, key: str) -> None:
        """The submit with this key has charged nothing, and was surely not created or is the task of an earlier one."""
        with self._lock:
            purchase = self._pending.get(key)
            # Another call may be about to send it again.
            if purchase is not None and purchase.is_left:
                self._pending.pop(key).reservation.release()

    def of_task(self, task_id: str) -> Reservation | None:
        """What was reserved for this task."""
        return self._bought.get(task_id)

    def told(self, task_id: str, answer: TaskDetails | TaskStatus) -> None:
        """The service tells of a task."""
        reservation = self._bought.get(task_id)
        if reservation is not None:
            reservation.told(answer)
