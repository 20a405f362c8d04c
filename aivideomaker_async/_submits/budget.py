"""Budgets: how many credits a client, or one run of many specs, may spend.

The price of each submit is reserved before it is sent. A `Reservation` holds the same amount of each of its budgets,
from then until its credits can no longer come back. Its amount counts as reserved until the service reports a task, and
as spent from then on; what is unknown stays reserved or spent. So the sums of a budget never exceed its credits, unless
the service charges more than it quoted.

`Reservations` finds a reservation by the idempotency key while it is unknown whether there is a task, and by the id of
the task from then on, whichever client, event loop or thread asks. One lock guards all budgets of the process, since a
reservation spans several.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Final, NoReturn, final

from .._util import validation
from .._util.fork import after_fork_in_child
from ..tasks import TaskDetails, TaskStatus

__all__ = ["Budget", "Reservation", "Reservations"]

MAX_REMEMBERED: Final = 100_000
"""Unfinished tasks whose reservations are remembered. The credits of a forgotten one stay spent."""

_REFUNDED: Final = frozenset({TaskStatus.FAILED, TaskStatus.CANCEL})
"""Statuses with which the credits come back in full."""


class _SharedLock:
    """Guards the sums of all budgets. It is held for moments, and never while anything is awaited."""

    __slots__ = ("__weakref__", "lock")

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Make a new lock: in a forked process, one that another thread held is never released."""
        self.lock = Lock()


_shared: Final = _SharedLock()
after_fork_in_child(_shared, _SharedLock.renew)


@final
class Budget:
    """A number of credits that submits may spend together.

    The price of each submit is reserved before it is sent, and settled by the charge that the service reports. Credits
    of tasks that fail or are cancelled come back as soon as any client of the process observes that. What is unknown
    counts as spent: a submit whose outcome is unknown keeps its reservation until it is reconciled.

    One budget may be shared by any number of clients, event loops and threads of a process.

    Args:
        credits: how many may be spent; 1 credit is 0.01 USD.

    Raises:
        ConfigurationError: `credits` is not a whole number of 0 or more.
    """

    def __init__(self, credits: int) -> None:  # noqa: A002  (the API's word)
        self._credits = validation.amount("credits", credits)
        self._spent = 0
        self._reserved = 0

    def __repr__(self) -> str:
        return f"Budget(credits={self.credits}, spent={self.spent}, reserved={self.reserved})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a budget cannot be copied or pickled: each copy could be spent")

    @property
    def credits(self) -> int:
        """How many may be spent in all."""
        return self._credits

    @property
    def spent(self) -> int:
        """Credits that were charged, less those that were refunded."""
        with _shared.lock:
            return self._spent

    @property
    def reserved(self) -> int:
        """Credits for submits that are under way, or whose outcome is unknown."""
        with _shared.lock:
            return self._reserved

    @property
    def remaining(self) -> int:
        """Credits that can still be spent."""
        with _shared.lock:
            return self._remaining

    @property
    def _remaining(self) -> int:
        return max(0, self._credits - self._spent - self._reserved)


class Reservation:
    """What one submit holds of its budgets: the same amount of each. The shared lock is held around all methods."""

    __slots__ = ("_amount", "_budgets", "_charged", "_is_refund_reported", "_refunded", "calls")

    def __init__(self) -> None:
        self._budgets: list[Budget] = []
        self._amount = 0
        """Credits that the submit is expected to cost."""
        self._charged: int | None = None
        """Credits that its task has cost; None while it is unknown whether there is a task."""
        self._refunded = 0
        self._is_refund_reported = False
        """Whether the service itself has reported the refund, which no guess replaces."""
        self.calls: int = 0
        """Calls that are at work on the submit."""

    @property
    def is_empty(self) -> bool:
        """Whether it has no budgets."""
        return not self._budgets

    def reserve(self, budgets: Iterable[Budget], amount: int) -> Budget | None:
        """Reserve `amount` of the given budgets and of those that it holds already; it is never lowered.

        Returns:
            None; or a budget that has too little left, and then nothing has changed.
        """
        more = max(0, amount - self._amount)
        added = [budget for budget in budgets if budget not in self._budgets]
        for budget in self._budgets:
            if more > budget._remaining:
                return budget
        for budget in added:
            if self._amount + more > budget._remaining:
                return budget
        self._amount += more
        for budget in self._budgets:
            budget._reserved += more
        for budget in added:
            budget._reserved += self._amount
        self._budgets += added
        return None

    def release(self) -> None:
        """Give everything back: nothing was charged. It must not be used any more."""
        for budget in self._budgets:
            budget._reserved -= self._amount
        self._budgets.clear()

    def settle(self, charged: int | None) -> None:
        """Take what the task has cost.

        Args:
            charged: credits; None when the service does not report them, and then the reserved amount counts.
        """
        if charged is None:
            charged = self._amount if self._charged is None else self._charged
        self._change(charged, min(self._refunded, charged))

    def observe(self, answer: TaskDetails | TaskStatus) -> bool:
        """Take an answer about the task: what it has cost, and whether its credits have come back.

        Returns:
            Whether nothing more can change.
        """
        if isinstance(answer, TaskStatus):
            # It may be a mistake of the service, which the row of the task would correct.
            if answer in _REFUNDED:
                self._refund(None)
            return False
        if answer.credits_charged is not None:
            self.settle(answer.credits_charged)
        if answer.status in _REFUNDED:
            self._refund(answer.credits_refunded)
        elif answer.status == TaskStatus.COMPLETED:
            self._refund(answer.credits_refunded or 0)
        # The row of a failed task may report the refund later.
        return answer.status == TaskStatus.COMPLETED or (answer.status.is_terminal and self._charged == self._refunded)

    def _refund(self, refunded: int | None) -> None:
        """Take what the service has given back, in all; None for everything, where it does not report that."""
        charged = self._charged or 0
        if refunded is None and self._is_refund_reported:
            return
        self._is_refund_reported = refunded is not None
        self._change(charged, charged if refunded is None else max(0, min(refunded, charged)))

    def _change(self, charged: int, refunded: int) -> None:
        for budget in self._budgets:
            if self._charged is None:
                budget._reserved -= self._amount
            else:
                budget._spent -= self._charged - self._refunded
            budget._spent += charged - refunded
        self._charged, self._refunded = charged, refunded


class Reservations:
    """The reservations of one API key. Any thread may use them."""

    def __init__(self) -> None:
        self._by_key: dict[str, Reservation] = {}
        """Those of submits of which it is unknown whether they have a task."""
        self._by_task: dict[str, Reservation] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held that may come back."""
        return not self._by_key and not self._by_task

    def is_pending(self, key: str) -> bool:
        """Return whether credits are reserved for this key, and it is unknown whether it has a task."""
        return key in self._by_key

    def take(self, key: str, budgets: Iterable[Budget], amount: int) -> Reservation | Budget:
        """Reserve `amount` for the submit with this key, or join what is reserved for it.

        Each `take` that returned a reservation must be followed by exactly one `bought` or `leave`.

        Returns:
            The reservation, which is empty without any budget; or a budget that has too little left, and then nothing
            has changed.
        """
        with _shared.lock:
            reservation = self._by_key.get(key) or Reservation()
            if (short := reservation.reserve(budgets, amount)) is not None:
                return short
            reservation.calls += 1
            if not reservation.is_empty:
                self._by_key[key] = reservation
            return reservation

    def leave(self, key: str, taken: Reservation | None, *, is_open: bool) -> None:
        """End a call that got no task of its own.

        Args:
            key: of its submit.
            taken: what it has taken.
            is_open: whether the outcome of the submit is unknown, so that its credits stay reserved.
        """
        with _shared.lock:
            if taken is not None:
                taken.calls -= 1
            if not is_open:
                self._release_if_left(key)

    def bought(self, key: str, task_id: str, charged: int | None) -> None:
        """Settle the reservation of this key: it has this task, for `charged` credits (None when not reported)."""
        with _shared.lock:
            reservation = self._by_key.pop(key, None)
            if reservation is None:
                return
            reservation.settle(charged)
            self._by_task[task_id] = reservation
            if len(self._by_task) > MAX_REMEMBERED:
                del self._by_task[next(iter(self._by_task))]

    def not_bought(self, key: str) -> None:
        """Give the credits of this key back, unless another call is about to send it again: it was not created."""
        with _shared.lock:
            self._release_if_left(key)

    def observe(self, task_id: str, answer: TaskDetails | TaskStatus) -> None:
        """Take an answer of the service about a task."""
        if task_id not in self._by_task:
            return
        with _shared.lock:
            reservation = self._by_task.get(task_id)
            if reservation is not None and reservation.observe(answer):
                del self._by_task[task_id]

    def _release_if_left(self, key: str) -> None:
        reservation = self._by_key.get(key)
        if reservation is not None and not reservation.calls:
            del self._by_key[key]
            reservation.release()
