"""What ties the watcher of one client to those of other processes, by a `StatusBoard`.

Of all processes one leads: its watcher polls for the tasks of all, and what it hears is told to the others. Those
follow: their watchers poll only now and then, to be safe.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from math import inf
from typing import Final

from ..._redaction import Secret
from ...errors import TaskNotFound
from ...tasks import TaskDetails, TaskStatus
from ..observer import LONGEST_AGE, Observer
from ..record import Record, Subscription
from ..watcher import TaskWatcher
from .status_board import BoardLink, StatusBoard, Want

__all__ = ["Sharing"]

LEADER_FETCHES: Final = 5.0
"""Seconds that the leader is given to tell the output of a task of which it has told the end."""

HINTED_AGAIN: Final = 1.0
"""Seconds in which the same delivery is not passed on again: it may be repeated by anybody who has seen its URL."""

HINTS_REMEMBERED: Final = 1000


class Sharing:
    """The part of one client in a board.

    Args:
        board: the board.
        origin: host and port of the service.
        key: the API key; only processes with the same one meet.
        watcher: polls, for others as well while this process leads.
        observer: takes what others tell.
        record: the record of a task, made if need be.
        resolve: is told the references of webhook deliveries that others have taken.
    """

    def __init__(
        self,
        board: StatusBoard,
        *,
        origin: str,
        key: Secret,
        watcher: TaskWatcher,
        observer: Observer,
        record: Callable[[str], Record],
        resolve: Callable[[str], None],
    ) -> None:
        self._watcher = watcher
        self._observer = observer
        self._record = record
        self._resolve = resolve
        self._foreign: dict[str, _Foreign] = {}
        self._hinted: dict[str, float] = {}
        self._link: BoardLink = board.link(origin=origin, key=key, port=self)
        observer.share = self._link.tell
        watcher.peers = self

    @property
    def follows(self) -> bool:
        """Whether another process polls for this one."""
        return self._link.follows

    def wants(self, record: Record) -> None:
        """Who waits for `record` in this process has changed."""
        if not record.is_waited_for_here or record.is_over():
            self._link.unwant(record.task_id)
            return
        age = asyncio.get_running_loop().time() - record.since
        want = Want(
            # To the second, so that the same want is not said again.
            since=float(round(time.time() - age)),
            model=record.model,
            length=record.length,
            details=record.details_are_waited_for_here,
            webhook=record.has_webhook,
            fresh=record.is_fresh,
        )
        if _differ(want, self._link.wants.get(record.task_id)):
            self._link.want(record.task_id, want)

    def cannot_poll(self) -> None:
        """The service does not answer this process: another one may do better."""
        self._link.step_down()

    def hint(self, reference: str) -> None:
        """A webhook delivery came for a task that another process waits for."""
        now = asyncio.get_running_loop().time()
        if now - self._hinted.get(reference, -inf) < HINTED_AGAIN:
            return
        self._hinted[reference] = now
        if len(self._hinted) > HINTS_REMEMBERED:
            del self._hinted[next(iter(self._hinted))]
        self._link.hint(reference)

    async def aclose(self) -> None:
        """Take part no more."""
        self._drop_all()
        await self._link.aclose()

    # --- what the board tells ------------------------------------------------------------------------

    def told(self, task_id: str, news: TaskDetails | TaskStatus) -> None:
        """Another process observed this."""
        record = self._record(task_id)
        now = asyncio.get_running_loop().time()
        self._observer.take_news(record, news, now)
        if record.needs_details():
            record.not_before = now + LEADER_FETCHES
        self._watcher.observed(record)

    def told_gone(self, task_id: str) -> None:
        """The leader was told that there is no such task: this process has to hear it for itself."""
        record = self._record(task_id)
        record.in_doubt = True
        self._watcher.doubted(record)

    def told_hint(self, reference: str) -> None:
        """Another process has taken a webhook delivery."""
        self._resolve(reference)

    def lead_changed(self) -> None:
        """This process leads or follows now, or does so no more."""
        if not self._link.leads:
            self._drop_all()
        self._watcher.replan()

    def others_want(self, task_id: str, want: Want) -> None:
        """This process leads, and others wait for this task."""
        record = self._record(task_id)
        now = asyncio.get_running_loop().time()
        age = time.time() - want.since
        if 0 <= age <= LONGEST_AGE and not record.is_dated:
            record.since = now - age
        if record.model is None:
            record.model, record.length = want.model, want.length
        record.is_fresh |= want.fresh
        record.has_webhook |= want.webhook
        if record.details is not None or (record.is_terminal and not want.details):
            self._tell_known(record)
            return
        self._tell_known(record)
        before = self._foreign.get(task_id)
        self._foreign[task_id] = foreign = _Foreign(record, wants_details=want.details, told=self._heard)
        self._watcher.add(foreign)
        if before is not None:
            # Only now: with the last subscription the watcher would stop.
            self._watcher.unsubscribe(before)

    def others_unwant(self, task_id: str) -> None:
        """No other process waits for this task any more."""
        foreign = self._foreign.pop(task_id, None)
        if foreign is not None:
            self._watcher.unsubscribe(foreign)

    def _tell_known(self, record: Record) -> None:
        if record.details is not None:
            self._link.tell(record.task_id, record.details)
        elif record.status is not None:
            self._link.tell(record.task_id, record.status)

    def _heard(self, foreign: _Foreign) -> None:
        record = foreign.record
        if isinstance(foreign.error, TaskNotFound):
            self._link.tell_gone(record.task_id)
        if foreign.error is not None or (record.is_terminal and not record.needs_details()):
            asyncio.get_running_loop().call_soon(self.others_unwant, record.task_id)

    def _drop_all(self) -> None:
        for task_id in tuple(self._foreign):
            self.others_unwant(task_id)


class _Foreign(Subscription):
    """All processes elsewhere that wait for one task."""

    __slots__ = ("_told",)

    def __init__(self, record: Record, *, wants_details: bool, told: Callable[[_Foreign], None]) -> None:
        super().__init__(record, wants_details=wants_details, is_foreign=True)
        self._told = told

    def notify(self) -> None:
        """There is something new: what was observed is told by the observer, here it is only seen to end."""
        self._told(self)


def _differ(want: Want, said: Want | None) -> bool:
    # The moment is worked out anew each time, and may be rounded to another second.
    if said is None or abs(want.since - said.since) > 2:
        return True
    return (want.model, want.details, want.webhook, want.fresh) != (said.model, said.details, said.webhook, said.fresh)
