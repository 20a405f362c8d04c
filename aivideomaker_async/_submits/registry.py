"""The submits of each API key in this process, whichever clients make them.

Clients, event loops and threads come and go, and a key may be used again later. So what is known of submits belongs to
the service and the key, and outlives them all.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final, TypeAlias
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary, WeakValueDictionary

from .._redaction import Secret
from .._util.fork import after_fork_in_child
from ..tasks import TaskDetails, TaskStatus
from .budget import Reservations
from .reconcile import Reconciler
from .state import Fingerprint, Instant, Submit, SubmitState

__all__ = ["OtherOrder", "SubmitRegistry", "now_here", "registry_of"]

MAX_IDLE_REGISTRIES: Final = 64
"""Keys of which a process remembers the submits though no client is open."""

MAX_RESERVING_REGISTRIES: Final = 1024
"""The same, where budgets hold credits that may come back."""


class OtherOrder(Exception):
    """An idempotency key was used again for another order."""


class SubmitRegistry:
    """The submits of one API key at one service, shared by all its clients in this process."""

    def __init__(self) -> None:
        self.reservations: Reservations = Reservations()
        """What budgets hold for them."""
        self._reconciler = Reconciler()
        self._lock = Lock()
        self._loops: WeakKeyDictionary[Submit, asyncio.AbstractEventLoop] = WeakKeyDictionary()
        """The event loop that each submit was last begun in."""
        after_fork_in_child(self, SubmitRegistry._leave_to_parent)

    @contextmanager
    def locked(self) -> Iterator[Reconciler]:
        """Hold the lock around the reconciler. Nothing may be awaited within: clients may live in several threads."""
        with self._lock:
            yield self._reconciler

    def observe(self, task_id: str, answer: TaskDetails | TaskStatus) -> None:
        """Take an answer of the service about any task, for the budgets."""
        self.reservations.observe(task_id, answer)

    @property
    def holds_credits(self) -> bool:
        """Whether any observed answer could give credits back."""
        return not self.reservations.is_empty

    def begin(self, submit: Submit) -> None:
        """Register a submit with a fresh key."""
        with self._lock:
            self._loops[submit] = asyncio.get_running_loop()
            self._reconciler.open(submit)

    def take_up(
        self, key: str, fingerprint: Fingerprint | None, make: Callable[[], Submit], now: Instant
    ) -> Submit | str | None:
        """Begin a submit whose key may have been used before, or go on with the earlier one.

        Args:
            key: its idempotency key.
            fingerprint: what is ordered; None for whatever it was.
            make: makes the submit, when none with this key is open.
            now: the time.

        Returns:
            The submit, which no other call takes up until it is settled or given up; the id of its task, where that is
            known; None while another call is at work on it.

        Raises:
            OtherOrder: the key was used for something else.
        """
        with self._lock:
            bought, submit = self._reconciler.bought_with(key), self._reconciler.open_with(key)
            known = bought[1] if bought is not None else None if submit is None else submit.fingerprint
            if fingerprint is not None and known is not None and known.is_known:
                if known != fingerprint:
                    raise OtherOrder
            elif fingerprint is not None and submit is not None:
                # An error that was made by hand names a key, and not what was ordered with it.
                submit.fingerprint = fingerprint
            if bought is not None:
                return bought[0]
            if submit is None:
                submit = make()
            elif not self._is_free(submit):
                return None
            if submit.state is SubmitState.IN_FLIGHT:
                # Its event loop was closed: what it had handed over may still be on its way.
                self._reconciler.lost(submit, now.loop, may_still_arrive=True)
            self._loops[submit] = asyncio.get_running_loop()
            if submit.was_lost:
                self._reconciler.resume(submit)
            else:
                self._reconciler.open(submit)
            return submit

    def has_bought(self, key: str) -> bool:
        """Return whether it is known which task this key has bought."""
        with self._lock:
            return self._reconciler.bought_with(key) is not None

    def is_at_work(self, submit: Submit) -> bool:
        """Return whether a call sends this submit, or searches for its task. To be called within `locked`."""
        return not self._is_free(submit)

    def is_abandoned(self, submit: Submit) -> bool:
        """Return whether the event loop that the submit was made in was closed under it."""
        loop = self._loops.get(submit)
        return loop is not None and loop.is_closed()

    def belongs_to(self, submit: Submit, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Return whether no call in another event loop has taken the submit up since."""
        return self._loops.get(submit) is loop

    def _is_free(self, submit: Submit) -> bool:
        return submit.state is SubmitState.GIVEN_UP or self.is_abandoned(submit)

    def _leave_to_parent(self) -> None:
        # Another thread may have held it at the moment of the fork.
        self._lock = Lock()
        self._reconciler.give_up_all(now_here())


_Name: TypeAlias = tuple[str, bytes]


class _Registries:
    """All registries of the process. They outlive their clients: a program may open one for each job."""

    def __init__(self) -> None:
        self._lasting: OrderedDict[_Name, SubmitRegistry] = OrderedDict()
        """The last used ones, the oldest first."""
        self._in_use: WeakValueDictionary[_Name, SubmitRegistry] = WeakValueDictionary()
        self._lock = Lock()
        after_fork_in_child(self, _Registries._renew_lock)

    def get(self, name: _Name) -> SubmitRegistry:
        with self._lock:
            registry = self._in_use.get(name)
            if registry is None:
                registry = self._in_use[name] = SubmitRegistry()
            self._lasting[name] = registry
            self._lasting.move_to_end(name)
            if len(self._lasting) > MAX_IDLE_REGISTRIES:
                # Budgets wait for what becomes of their credits.
                others = ((other, one) for other, one in self._lasting.items() if one is not registry)
                idle = next((other for other, one in others if not one.holds_credits), None)
                if idle is not None:
                    del self._lasting[idle]
                elif len(self._lasting) > MAX_RESERVING_REGISTRIES:
                    self._lasting.popitem(last=False)
            return registry

    def _renew_lock(self) -> None:
        self._lock = Lock()


_registries = _Registries()


def registry_of(base_url: str, key: Secret) -> SubmitRegistry:
    """Return the registry of this key at this service, which is the same for all clients of the process."""
    service = urlsplit(base_url)
    url = service._replace(scheme=service.scheme.lower(), netloc=service.netloc.lower()).geturl()
    return _registries.get((url, hashlib.sha256(key.reveal().encode()).digest()))


def now_here() -> Instant:
    """Return the time on both clocks of this machine."""
    try:
        now = asyncio.get_running_loop().time()
    except RuntimeError:
        # The loop is closed, and a submit that it left in flight must not be forgotten.
        now = time.monotonic()
    return Instant(now, time.time())
