"""What ties the poller of one client to those of other processes, by a `StatusBoard`.

While this process leads, its poller polls for the tasks of all, and what it observes is published. While it follows,
its poller polls only now and then, to be safe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Final

from ..._redaction import Secret
from ...errors import TaskNotFound
from ..task_state import Subscription, TaskState
from ..updates import MAX_AGE_S, Answer, AnswerSource, StatusUpdates
from ..watcher import TaskWatcher
from .client import BoardClient
from .messages import Interest
from .status_board import StatusBoard

__all__ = ["BoardAdapter"]

LEADER_FETCHES_S: Final = 5.0
"""How long the leader is given to publish the output of a task whose end it has published."""

DELIVERY_SPACING_S: Final = 1.0
"""The least time between two webhook deliveries that are passed on: anybody who has seen a URL can repeat one."""

START_TOLERANCE_S: Final = 2.0
"""A smaller difference of a start is none: it is worked out anew each time, and rounded."""


class BoardAdapter:
    """The part of one client in a board.

    Args:
        board: the board.
        origin: host and port of the service.
        key: the API key; only processes with the same one meet.
        state: returns the state of a task, which is made if there is none.
        updates: applies what others have observed.
        watcher: polls, for others as well while this process leads.
    """

    def __init__(
        self,
        board: StatusBoard,
        *,
        origin: str,
        key: Secret,
        state: Callable[[str], TaskState],
        updates: StatusUpdates,
        watcher: TaskWatcher,
    ) -> None:
        self._state = state
        self._updates = updates
        self._watcher = watcher
        self._remote: dict[str, _RemoteConsumers] = {}
        self._delivered_at = -inf
        self._delivery: tuple[bool, asyncio.TimerHandle] | None = None
        self._client: BoardClient = board.client(origin=origin, key=key, port=self)

    @property
    def is_follower(self) -> bool:
        """Whether another process polls for this one."""
        return self._client.is_follower

    def interest_changed(self, state: TaskState) -> None:
        """Tell the others whether this process waits for the task, and for what of it."""
        if not state.is_awaited_here or state.is_over():
            self._client.remove_interest(state.task_id)
            return
        observed = state.observed
        age = asyncio.get_running_loop().time() - observed.started_at
        interest = Interest(
            # To the second, so that the same interest is not sent again.
            started_at=float(round(time.time() - age)),
            model=observed.model,
            length=observed.length,
            details=state.details_are_awaited_here,
            webhook=observed.has_webhook,
            fresh=observed.is_fresh,
        )
        before = self._client.interests.get(state.task_id)
        if before is not None and abs(interest.started_at - before.started_at) <= START_TOLERANCE_S:
            interest = interest._replace(started_at=before.started_at)
        self._client.add_interest(state.task_id, interest)

    def publish(self, task_id: str, answer: Answer) -> None:
        """Publish what the service has answered, if this process leads."""
        self._client.publish(task_id, answer)

    def deliver(self, *, may_be_end: bool) -> None:
        """Tell the others that a webhook delivery came; a leader acts on it alone."""
        if self._client.is_leader:
            return
        loop = asyncio.get_running_loop()
        if self._delivery is not None:
            before, timer = self._delivery
            self._delivery = before or may_be_end, timer
            return
        at = max(loop.time(), self._delivered_at + DELIVERY_SPACING_S)
        self._delivery = may_be_end, loop.call_at(at, self._deliver)

    def _deliver(self) -> None:
        if self._delivery is not None:
            may_be_end, _ = self._delivery
            self._delivery, self._delivered_at = None, asyncio.get_running_loop().time()
            self._client.publish_delivery(may_be_end=may_be_end)

    def step_down(self) -> None:
        """Let another process lead: the service does not answer this one."""
        self._client.step_down()

    async def aclose(self) -> None:
        """Take part no more."""
        if self._delivery is not None:
            self._delivery[1].cancel()
            self._delivery = None
        self._remove_all()
        await self._client.aclose()

    # --- what the board reports ----------------------------------------------------------------------

    def observed_elsewhere(self, task_id: str, news: Answer) -> None:
        """Apply what another process has observed."""
        state = self._state(task_id)
        self._updates.apply(state, news, AnswerSource.PEER, asyncio.get_running_loop().time())
        self._watcher.answered(state)
        if state.lacks_output():
            self._watcher.expect_from_peer(state, LEADER_FETCHES_S)

    def missing_elsewhere(self, task_id: str) -> None:
        """Ask for a task that the leader could not find: only the answer to this process counts."""
        self._watcher.doubt(self._state(task_id))

    def delivered_elsewhere(self, *, may_be_end: bool) -> None:
        """Ask the service soon: a webhook delivery came to another process."""
        self._watcher.delivered(may_be_end=may_be_end)

    def lead_changed(self) -> None:
        """Plan anew: this process leads or follows now, or does so no more."""
        if not self._client.is_leader:
            self._remove_all()
        self._watcher.replan()

    def interest_added(self, task_id: str, interest: Interest) -> None:
        """Poll for a task that other processes wait for."""
        state = self._state(task_id)
        age = time.time() - interest.started_at
        now = asyncio.get_running_loop().time()
        self._updates.awaited_elsewhere(
            state,
            started_at=now - age if 0 <= age <= MAX_AGE_S else None,
            model=interest.model,
            length=interest.length,
            is_fresh=interest.fresh,
            has_webhook=interest.webhook,
        )
        known = state.observed.details or state.status
        if known is not None:
            self._client.publish(task_id, known)
        if state.observed.details is not None or (state.is_terminal and not interest.details):
            return
        before = self._remote.get(task_id)
        self._remote[task_id] = consumers = _RemoteConsumers(
            state, wants_details=interest.details, on_update=self._check_end
        )
        self._watcher.subscribe(consumers)
        if before is not None:
            # Only now: with the last subscription the poller would stop.
            self._watcher.unsubscribe(before)

    def interest_removed(self, task_id: str) -> None:
        """Poll no more for a task that no other process waits for."""
        consumers = self._remote.pop(task_id, None)
        if consumers is not None:
            self._watcher.unsubscribe(consumers)

    def _check_end(self, consumers: _RemoteConsumers) -> None:
        state = consumers.state
        if isinstance(consumers.error, TaskNotFound):
            self._client.publish_missing(state.task_id)
        if consumers.error is not None or (state.is_terminal and not state.needs_details()):
            asyncio.get_running_loop().call_soon(self.interest_removed, state.task_id)

    def _remove_all(self) -> None:
        for task_id in tuple(self._remote):
            self.interest_removed(task_id)


class _RemoteConsumers(Subscription):
    """All processes elsewhere that wait for one task."""

    __slots__ = ("_on_update",)

    def __init__(self, state: TaskState, *, wants_details: bool, on_update: Callable[[_RemoteConsumers], None]) -> None:
        super().__init__(state, wants_details=wants_details, is_remote=True)
        self._on_update = on_update

    def notify(self) -> None:
        """Check for the end of the wait. What was observed is published by the adapter for each answer."""
        self._on_update(self)
