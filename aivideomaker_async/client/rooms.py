"""The rooms that a client enters when a call first needs them.

Submits, specs and the poller take longer to import than everything that a status call needs. Nothing here holds a
reference to the client, so that a dropped client is noticed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._http import ApiClient

if TYPE_CHECKING:
    from .._redaction import Secret
    from .._submits import Budget, SubmitRegistry, SubmitService
    from .._watch import StatusBoard, TaskTracker
    from ..errors import SubmitOutcomeUnknown
    from ..pricing import PriceTable
    from ..tasks import TaskDetails, TaskStatus

__all__ = ["Rooms"]

_registry_of: Callable[[str, Secret], SubmitRegistry] | None = None
"""Returns the submits of an API key in this process; None until a client has entered their room: there are none."""


class Rooms:
    """The submits and the tasks of one client.

    Args:
        api: makes the calls.
        origin: host and port of the service.
        status_board: shares the poller with other processes; None for a poller of its own.
        max_image_bytes: the size limit of an image.
        budget: what all submits keep to; None for no limit.
        prices: the table for a service without quotes; None for the usual ones.
        on_unsettled: called with the error of each submit that was cancelled in flight.

    Raises:
        ConfigurationError: `status_board`, `budget` or `prices` is of another type.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        origin: str,
        status_board: StatusBoard | None,
        max_image_bytes: int,
        budget: Budget | None,
        prices: PriceTable | None,
        on_unsettled: Callable[[SubmitOutcomeUnknown], object] | None,
    ) -> None:
        self._api = api
        self._origin = origin
        self._status_board = status_board
        self._max_image_bytes = max_image_bytes
        self._budget = budget
        self._prices = prices
        self._on_unsettled = on_unsettled
        self._budgets = _BudgetObserver(api)
        self._tracker: TaskTracker | None = None
        self._submits: SubmitService | None = None
        # Wrong arguments are reported by the constructor of the client, not by its first submit.
        if status_board is not None:
            self._enter_watch()
        if budget is not None or prices is not None:
            self._enter_submits()

    @property
    def tracker(self) -> TaskTracker:
        """The states of the client's tasks, and the poller."""
        return self._tracker or self._enter_watch()

    @property
    def submits(self) -> SubmitService:
        """The submits of the client."""
        return self._submits or self._enter_submits()

    @property
    def hold_credits(self) -> bool:
        """Whether a budget of this process waits for what becomes of tasks of this API key."""
        registry = self._budgets.registry
        return registry is not None and registry.holds_credits

    def observe(self, task_id: str, answer: TaskDetails | TaskStatus) -> None:
        """Pass an answer of the service about a task on to the budgets of the process and the waiters of the client."""
        if _registry_of is not None:
            self._budgets.observe(task_id, answer)
        if self._tracker is not None:
            self._tracker.observe(task_id, answer)

    def observe_listed(self, details: TaskDetails) -> None:
        """Pass a row of the task list on to the budgets. Waiters ignore it: a list may be behind what they know."""
        self._budgets.observe(details.id, details)

    def watching(self) -> tuple[int, int]:
        """Return how many tasks are waited for, and how many polls were made."""
        return (0, 0) if self._tracker is None else (self._tracker.watched, self._tracker.polls)

    async def aclose(self) -> None:
        """End every wait with a `ConfigurationError`, and stop polling."""
        if self._tracker is not None:
            await self._tracker.aclose()

    def _enter_watch(self) -> TaskTracker:
        from .._watch import TaskTracker

        self._tracker = TaskTracker(
            self._api, observed=self._budgets.observe, status_board=self._status_board, origin=self._origin
        )
        return self._tracker

    def _enter_submits(self) -> SubmitService:
        global _registry_of
        from .._submits import SubmitService, registry_of

        _registry_of = registry_of
        self._submits = SubmitService(
            self._api,
            registry_of(self._api.settings.base_url, self._api.settings.key),
            known_tasks=self.tracker.ids,
            max_image_bytes=self._max_image_bytes,
            budget=self._budget,
            prices=self._prices,
            on_unsettled=self._on_unsettled,
        )
        return self._submits


class _BudgetObserver:
    """Passes answers about tasks on to the budgets of all clients with the same API key in this process."""

    __slots__ = ("_api", "_registry")

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._registry: SubmitRegistry | None = None

    @property
    def registry(self) -> SubmitRegistry | None:
        """The submits of the API key; None while no client of this process has made any."""
        if self._registry is None and _registry_of is not None:
            self._registry = _registry_of(self._api.settings.base_url, self._api.settings.key)
        return self._registry

    def observe(self, task_id: str, answer: TaskDetails | TaskStatus) -> None:
        if (registry := self.registry) is not None:
            registry.observe(task_id, answer)
