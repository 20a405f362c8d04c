"""What the client holds of this room: one state for each task, and one poller for all of them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from .._http import ApiClient
from .._redaction import Secret
from ..tasks import Eta, StatusChange, SubmittedTask, TaskDetails, video_seconds
from .durations import Durations
from .task_state import Subscription, TaskState
from .updates import Answer, AnswerSource, StatusUpdates
from .watcher import TaskWatcher
from .webhook_signals import WebhookSignals

if TYPE_CHECKING:
    from .board import StatusBoard
    from .board.adapter import BoardAdapter

__all__ = ["TaskTracker"]

MAX_KEPT: Final = 2000
"""States that are kept without a handle. One takes about a kilobyte, and more where its input is long."""

KEPT_S: Final = 24 * 3600.0
"""How long they are kept: as long as the service keeps a video."""


class TaskTracker:
    """Keeps the states of a client's tasks, and polls for those that are waited for.

    A state lives as long as a handle, a consumer or the poller holds it. The last ones that were submitted or have
    ended are kept longer, so that a handle that is made anew costs no query: browsers come back to finished tasks.

    Args:
        api: makes the calls.
        observed: called with the id of a task and what the service has answered about it: a new status, or details.
        status_board: shares the poller with other processes; None for a poller of its own.
        origin: host and port of the service; only processes with the same origin and API key share a poller.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        observed: Callable[[str, Answer], object],
        status_board: StatusBoard | None = None,
        origin: str = "",
    ) -> None:
        self._api = api
        self._observed = observed
        self._states: WeakValueDictionary[str, TaskState] = WeakValueDictionary()
        self._kept: OrderedDict[str, tuple[TaskState, float]] = OrderedDict()
        """The states that are kept, with the time; the one that was kept longest comes first."""
        durations = Durations()
        self._signals = WebhookSignals()
        self._updates = StatusUpdates(durations, service_time=api.service_time, on_update=self._updated)
        self._watcher = TaskWatcher(
            api,
            self._updates,
            durations,
            self._signals,
            is_follower=self._is_follower,
            on_interest=self._interest_changed,
            on_cut_off=self._step_down,
        )
        self._board: BoardAdapter | None = None
        if status_board is not None:
            # Imported only by clients with a board: it is long.
            from .board.adapter import BoardAdapter

            self._board = BoardAdapter(
                status_board,
                origin=origin,
                key=api.settings.key,
                state=self.state,
                updates=self._updates,
                watcher=self._watcher,
            )

    async def aclose(self) -> None:
        """End every wait with a `ConfigurationError`, and stop polling."""
        try:
            await self._watcher.aclose()
        finally:
            if self._board is not None:
                await self._board.aclose()

    # --- states --------------------------------------------------------------------------------------

    def state(self, task_id: str) -> TaskState:
        """Return the state of a task, which is made if there is none."""
        self._forget_kept()
        state = self._states.get(task_id)
        if state is None:
            state = self._states[task_id] = TaskState(task_id)
        return state

    def _keep(self, state: TaskState, now: float) -> None:
        self._kept[state.task_id] = state, now
        self._kept.move_to_end(state.task_id)
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def _forget_kept(self) -> None:
        now = self._api.loop_time()
        while self._kept and now is not None:
            task_id, (_, kept_at) = next(iter(self._kept.items()))
            if now - kept_at < KEPT_S:
                return
            del self._kept[task_id]

    def ids(self) -> Iterable[str]:
        """Return the ids of the tasks that have a state."""
        return self._states.keys()

    def eta(self, state: TaskState) -> Eta | None:
        """Return when the task will have ended; None when it has, and while nothing is known."""
        now = self._api.loop_time()
        return None if now is None else self._updates.eta(state, now)

    def submitted(
        self,
        answer: SubmittedTask,
        model: str,
        *,
        now: float,
        details: TaskDetails | None = None,
        length: int | None = None,
        webhook_url: Secret | None = None,
        has_webhook: bool = False,
    ) -> TaskState:
        """Return the state of a task that this client has submitted.

        Args:
            answer: the answer to the submit.
            model: its model.
            now: the time of the event loop.
            details: what the list showed of it, where the answer was lost.
            length: seconds of video, if known.
            webhook_url: where the service was asked to report changes.
            has_webhook: whether that is a webhook receiver of this client.
        """
        state = self.state(answer.task_id)
        if length is None and details is not None:
            length = video_seconds(details.input)
        self._updates.submitted(
            state, answer, model=model, length=length, webhook_url=webhook_url, has_webhook=has_webhook, now=now
        )
        self._keep(state, now)
        if details is not None:
            self.observe(answer.task_id, details)
        return state

    def observe(self, task_id: str, answer: Answer) -> None:
        """Pass what the service has answered to a user's own call on to all that wait for the task."""
        state = self._states.get(task_id)
        if state is not None:
            self._updates.apply(state, answer, AnswerSource.SINGLE, asyncio.get_running_loop().time())
            self._watcher.answered(state)

    def _updated(self, state: TaskState, answer: Answer, change: StatusChange | None, source: AnswerSource) -> None:
        if source is AnswerSource.SUBMIT:
            return
        is_new = change is not None or isinstance(answer, TaskDetails)
        if is_new and state.is_terminal:
            self._keep(state, asyncio.get_running_loop().time())
        if is_new:
            self._observed(state.task_id, answer)
        if source is AnswerSource.PEER:
            return
        if change is not None:
            now, has_webhook = asyncio.get_running_loop().time(), state.observed.has_webhook
            self._signals.changed(now, is_end=change.status.is_terminal, has_webhook=has_webhook)
        if self._board is not None and (is_new or source is AnswerSource.SINGLE):
            self._board.publish(state.task_id, answer)

    # --- waiting -------------------------------------------------------------------------------------

    def subscribe(self, state: TaskState, *, wants_details: bool, deadline: float | None = None) -> Subscription:
        """Wait for a task. Give the subscription back with `unsubscribe`.

        Args:
            state: the task.
            wants_details: whether the output is waited for, instead of every change.
            deadline: when the subscription expires, on the clock of the event loop; None for never.

        Raises:
            ConfigurationError: the client cannot be used.
        """
        subscription = Subscription(state, wants_details=wants_details)
        self._watcher.subscribe(subscription, deadline=deadline)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Wait no more. A second time does nothing."""
        self._watcher.unsubscribe(subscription)

    def wake(self, *, may_be_end: bool) -> None:
        """Ask the service soon, here or in the process that polls: a webhook delivery came.

        Args:
            may_be_end: whether it may announce the end of a task, as far as its body shows.
        """
        self._watcher.delivered(may_be_end=may_be_end)
        if self._board is not None:
            self._board.deliver(may_be_end=may_be_end)

    @property
    def watched(self) -> int:
        """How many tasks are waited for."""
        return self._watcher.watched

    @property
    def polls(self) -> int:
        """How many polls were made."""
        return self._watcher.polls

    # --- sharing the poller --------------------------------------------------------------------------

    def _is_follower(self) -> bool:
        return self._board is not None and self._board.is_follower

    def _interest_changed(self, state: TaskState) -> None:
        if self._board is not None:
            self._board.interest_changed(state)

    def _step_down(self) -> None:
        if self._board is not None:
            self._board.step_down()
