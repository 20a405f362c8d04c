"""What a webhook receiver remembers: which token is which task, and what has come before that was known.

Its memory is bounded, whatever is sent to it.
"""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from attrs import frozen

__all__ = ["Ledger", "WebhookStatistics"]

MOST_TASKS: Final = 100_000
"""Tasks whose tokens are remembered, ended ones included; the oldest are forgotten first."""

MOST_EARLY: Final = 10_000
"""Deliveries that are kept for tasks not known yet; the oldest are forgotten first."""


@frozen(kw_only=True)
class WebhookStatistics:
    """What a receiver has seen since it was made."""

    received: int
    """Deliveries with a right token; each is one of `known`, `late` and `unknown`."""
    known: int
    """Deliveries for a task that somebody here may wait for."""
    late: int
    """Deliveries for a task that had ended; they wake nobody."""
    unknown: int
    """Deliveries for a task that was not known here when they came: another process has submitted it, or an earlier
    run of this one, or the answer to its submit was still on its way."""
    early: int
    """Tasks for which something had come before the answer to their submit."""
    shared: int
    """Deliveries that another process has taken and told of."""
    too_large: int
    """Deliveries whose body was refused for its size; they count as received, too."""
    refused: int
    """Requests with a wrong token, or none."""
    tasks: int
    """Tasks that deliveries are awaited for now."""


class Ledger:
    """Which nonce is which task, and what has come. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        # None for a task that has ended: what still comes for it is known to be of no use.
        self._task_of: OrderedDict[bytes, str | None] = OrderedDict()
        self._nonces_of: dict[str, set[bytes]] = {}
        self._early: OrderedDict[bytes, bool] = OrderedDict()
        self._counts = dict.fromkeys(("known", "late", "unknown", "early", "shared", "too_large", "refused"), 0)

    def arrive(self, nonce: bytes, urgent: bool) -> tuple[str | None, bool]:
        """A delivery has come: for which task, if it still runs, and whether the nonce is known at all."""
        with self._lock:
            known = nonce in self._task_of
            task_id = self._task_of.get(nonce)
            self._counts["unknown" if not known else "late" if task_id is None else "known"] += 1
            if not known:
                self._keep(nonce, urgent)
            return task_id, known

    def hear(self, nonce: bytes, urgent: bool) -> str | None:
        """Another process told of a delivery: for which task of ours, if it is one that runs."""
        with self._lock:
            self._counts["shared"] += 1
            if nonce not in self._task_of:
                self._keep(nonce, urgent)
            return self._task_of.get(nonce)

    def bind(self, nonce: bytes, task_id: str) -> bool | None:
        """The nonce is this task; returns the urgency of what had come for it, or None when nothing had."""
        with self._lock:
            # A reference that is used again means the newer task.
            self._forget(nonce)
            self._task_of[nonce] = task_id
            self._nonces_of.setdefault(task_id, set()).add(nonce)
            if len(self._task_of) > MOST_TASKS:
                self._forget(next(iter(self._task_of)))
            urgent = self._early.pop(nonce, None)
            self._counts["early"] += urgent is not None
            return urgent

    def release(self, task_id: str) -> None:
        """The task has ended."""
        with self._lock:
            for nonce in self._nonces_of.pop(task_id, ()):
                self._task_of[nonce] = None

    def refuse(self) -> None:
        """A request had no right token."""
        with self._lock:
            self._counts["refused"] += 1

    def refuse_body(self) -> None:
        """A delivery had too large a body."""
        with self._lock:
            self._counts["too_large"] += 1

    def statistics(self) -> WebhookStatistics:
        """The counts at this moment."""
        with self._lock:
            counts = self._counts
            received = counts["known"] + counts["late"] + counts["unknown"]
            return WebhookStatistics(received=received, tasks=len(self._nonces_of), **counts)

    def _keep(self, nonce: bytes, urgent: bool) -> None:
        # What was urgent once stays so, whatever comes after it.
        self._early[nonce] = self._early.pop(nonce, False) or urgent
        if len(self._early) > MOST_EARLY:
            self._early.popitem(last=False)

    def _forget(self, nonce: bytes) -> None:
        task_id = self._task_of.pop(nonce, None)
        if task_id is not None:
            self._nonces_of[task_id].discard(nonce)
            if not self._nonces_of[task_id]:
                del self._nonces_of[task_id]
