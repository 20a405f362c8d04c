"""The records of a client's tasks: one for each that somebody has a handle of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import inf
from typing import Final, Protocol
from weakref import WeakValueDictionary

from .._redaction import Secret
from ..tasks import SubmittedTask, TaskDetails, TaskStatus, video_seconds
from .observer import Observer
from .record import Record
from .watcher import TaskWatcher

__all__ = ["HintTarget", "Records"]

SINCE_WHENEVER: Final = -inf


class HintTarget(Protocol):
    """What a client knows of a webhook receiver."""

    def bind(self, url: str, task_id: str) -> bool:
        """A submit with this webhook URL has become this task; returns whether the URL is the receiver's."""
        ...

    def release(self, task_id: str) -> None:
        """The task has ended."""
        ...

    def resolve(self, reference: str) -> None:
        """Another process has taken a delivery."""
        ...


class Records:
    """Finds and makes records, and lets everyone who waits for a task hear what one caller is told.

    Args:
        observer: takes answers.
        watcher: polls for those who wait.
    """

    def __init__(self, observer: Observer, watcher: TaskWatcher) -> None:
        self._observer = observer
        self._watcher = watcher
        self.receivers: list[HintTarget] = []
        """The webhook receivers of the client."""
        self._records: WeakValueDictionary[str, Record] = WeakValueDictionary()

    def ids(self) -> Iterable[str]:
        """The ids of the tasks of which somebody has a handle."""
        return self._records.keys()

    def get(self, task_id: str) -> Record | None:
        """The record of a task, if somebody has a handle of it."""
        return self._records.get(task_id)

    def of(self, task_id: str, since: float = SINCE_WHENEVER) -> Record:
        """The record of a task; `since` is when it was submitted, on the clock of the event loop."""
        record = self._records.get(task_id)
        if record is None:
            record = self._records[task_id] = Record(task_id, since)
        return record

    def observe(self, task_id: str, answer: TaskStatus | TaskDetails) -> None:
        """The service has told one caller about a task: everyone who waits for it hears that."""
        record = self._records.get(task_id)
        if record is None:
            return
        now = asyncio.get_running_loop().time()
        if isinstance(answer, TaskDetails):
            self._observer.take_details(record, answer, now, alone=True)
        else:
            self._observer.take_status(record, answer, now)
        self._watcher.observed(record)

    def submitted(
        self,
        answer: SubmittedTask,
        model: str,
        *,
        details: TaskDetails | None = None,
        length: int | None = None,
        hook: Secret | None = None,
        now: float,
    ) -> Record:
        """A submit has its task.

        Args:
            answer: the answer to the submit.
            model: its model.
            details: what the list told of it, where the answer was lost.
            length: seconds of video, if known.
            hook: where the service was asked to tell of changes.
            now: the time of the event loop.
        """
        record = self.of(answer.task_id, now)
        record.submitted, record.is_fresh = answer, True
        record.model = model
        record.length = video_seconds(details.input) if length is None and details is not None else length
        self._observer.submitted(record, answer.status, now)
        if details is not None:
            self.observe(record.task_id, details)
        if hook is not None:
            record.webhook_url = hook
            for receiver in self.receivers:
                record.has_webhook |= receiver.bind(hook.reveal(), record.task_id)
        return record

    def release(self, record: Record) -> None:
        """The task has ended."""
        if record.has_webhook:
            for receiver in self.receivers:
                receiver.release(record.task_id)
