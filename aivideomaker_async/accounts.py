"""What a process knows of the submits of each account, whichever of its clients has made them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock
from typing import Final

from attrs import define, field

from ._core.ledger import Ledger
from ._core.likeness import Order
from .secrecy import Secret

__all__ = ["Account", "account_of"]

ACCOUNTS_KNOWN: Final = 64
"""Accounts of which a process remembers what it has bought, though no client is open."""


@define(eq=False)
class Account:
    """What all clients of this process with one key at one service share.

    Attributes:
        ledger: what became of its submits.
        lock: clients may live in several threads. It is held for moments, and never while anything is awaited.
    """

    ledger: Ledger = field(factory=Ledger)
    lock: Lock = field(factory=Lock)

    def bought_with(self, key: str) -> tuple[str, Order] | None:
        """The task of a submit whose key has come again, and what was ordered, if that is remembered."""
        with self.lock:
            return self.ledger.bought_with(key)


# They outlive their clients: a program may open one for each job.
_accounts: Final[OrderedDict[tuple[str, bytes], Account]] = OrderedDict()
_accounts_lock: Final = Lock()


def account_of(base_url: str, key: Secret) -> Account:
    """The account of this key at this service, the same for all who ask."""
    digest = hashlib.sha256(key.reveal().encode()).digest()
    with _accounts_lock:
        account = _accounts.setdefault((base_url, digest), Account())
        _accounts.move_to_end((base_url, digest))
        if len(_accounts) > ACCOUNTS_KNOWN:
            _accounts.popitem(last=False)
        return account
