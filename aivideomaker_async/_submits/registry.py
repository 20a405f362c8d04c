"""What a process knows of the submits of each account, whichever of its clients has made them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakValueDictionary

from attrs import define, field

from .._redaction import Secret
from .matching import Order
from .reconcile import Ledger
from .reservations import Reservations
from .state import Moment, State, Submit

__all__ = ["Account", "OtherOrder", "account_of", "moment"]

ACCOUNTS_KNOWN: Final = 64
"""Accounts of which a process remembers what it has bought, though no client is open."""


ACCOUNTS_RESERVED: Final = 1024
"""The same, where budgets hold something for each of them."""


class OtherOrder(Exception):
    """A key has come again, with another order."""


@define(eq=False)
class Account:
    """What all clients of this process with one key at one service share.

    Attributes:
        ledger: what became of its submits.
        reservations: what budgets hold for them.
        lock: clients may live in several threads. It is held for moments, and never while anything is awaited.
    """

    ledger: Ledger = field(factory=Ledger)
    reservations: Reservations = field(factory=Reservations)
    lock: Lock = field(factory=Lock)
    _loops: WeakKeyDictionary[Submit, asyncio.AbstractEventLoop] = field(init=False, factory=WeakKeyDictionary)

    def begin(self, submit: Submit) -> None:
        """A submit begins, with a key that nobody else has."""
        with self.lock:
            self._begin(submit)

    def take_up(self, key: str, order: Order | None, make: Callable[[], Submit], now: Moment) -> Submit | str | None:
        """Begin a submit whose key may have come before, or go on with it. Nobody else does from now on.

        Args:
            key: its idempotency key.
            order: what is asked for; None for whatever it was.
            make: makes the submit, if none with this key is open.
            now: the moment.

        Returns:
            The submit; or the id of its task, which is known; or None while another client is at work on it.

        Raises:
            OtherOrder: something else was ordered with this key.
        """
        with self.lock:
            bought, submit = self.ledger.bought_with(key), self.ledger.open_with(key)
            known = bought[1] if bought is not None else submit and submit.order
            if order is not None and known is not None and known != order:
                raise OtherOrder
            if bought is not None:
                return bought[0]
            if submit is None:
                submit = make()
            elif not self._is_free(submit):
                return None
            if submit.state is State.UNDER_WAY:
                self.ledger.lost(submit, now.loop)
            self._begin(submit)
            return submit

    def has_bought(self, key: str) -> bool:
        """Whether the task of the submit with this key is known."""
        with self.lock:
            return self.ledger.bought_with(key) is not None

    def is_at_work(self, submit: Submit) -> bool:
        """Whether a client is sending this submit, or looking for its task. The lock is held."""
        return not self._is_free(submit)

    def is_abandoned(self, submit: Submit) -> bool:
        """Whether a submit was left under way: the event loop that it was made in is closed."""
        loop = self._loops.get(submit)
        return loop is not None and loop.is_closed()

    def is_seen_through_in(self, loop: asyncio.AbstractEventLoop | None, submit: Submit) -> bool:
        """Whether nobody in another event loop has taken it up since."""
        return self._loops.get(submit) is loop

    def _is_free(self, submit: Submit) -> bool:
        return submit.state is State.GIVEN_UP or self.is_abandoned(submit)

    def _begin(self, submit: Submit) -> None:
        self._loops[submit] = asyncio.get_running_loop()
        self.ledger.open(submit)
        if submit.was_lost:
            self.ledger.resume(submit)

    def leave_to_parent(self, now: Moment) -> None:
        """In a fork: what is under way is seen through by the parent, and what becomes of it is not known here."""
        # Somebody may have held them.
        self.lock = Lock()
        self.reservations.forget_locks()
        self.ledger.give_up_all(now)


_Name: TypeAlias = tuple[str, bytes]

# They outlive their clients: a program may open one for each job.
_lasting: Final[OrderedDict[_Name, Account]] = OrderedDict()
_in_use: Final[WeakValueDictionary[_Name, Account]] = WeakValueDictionary()
_lock = Lock()


def account_of(base_url: str, key: Secret) -> Account:
    """The account of this key at this service, the same for all who ask."""
    service = urlsplit(base_url)
    url = service._replace(scheme=service.scheme.lower(), netloc=service.netloc.lower()).geturl()
    name = url, hashlib.sha256(key.reveal().encode()).digest()
    with _lock:
        account = _in_use.get(name)
        if account is None:
            account = _in_use[name] = Account()
        _lasting[name] = account
        _lasting.move_to_end(name)
        if len(_lasting) > ACCOUNTS_KNOWN:
            _forget_one()
        return account


def _forget_one() -> None:
    """The one that was not asked for longest. Of others, budgets wait to hear what becomes of their credits."""
    idle = next((name for name, account in _lasting.items() if account.reservations.is_empty), None)
    if idle is not None:
        del _lasting[idle]
    elif len(_lasting) > ACCOUNTS_RESERVED:
        _lasting.popitem(last=False)


def moment() -> Moment:
    """Now, on both clocks."""
    try:
        now = asyncio.get_running_loop().time()
    except RuntimeError:
        # The loop has gone, and with it a submit under way, which is not to be forgotten.
        now = time.monotonic()
    return Moment(now, time.time())


def _leave_to_parent() -> None:
    global _lock
    _lock = Lock()
    for account in list(_in_use.values()):
        account.leave_to_parent(moment())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
