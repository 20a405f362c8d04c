"""The simulated account: its tasks and its credits. Pure: `now` and randomness are passed in.

All times are simulated seconds since the start.
"""

import heapq
import json
import math
import random
import re
import string
from collections import Counter
from collections.abc import Iterable

from attrs import define, field

from .contract import Order, Refusal
from .timeline import CANCEL, COMPLETED, FAILED, SUBMITTED, Timeline
from .timing import Durations, span

_ID_LETTERS = string.ascii_lowercase + string.digits
_FAIL_MARKER = re.compile(r"\[fail(?::\s*([^\]]*))?\]")
_REJECT_MARKER = re.compile(r"\[reject(?::\s*([^\]]*))?\]")
_DAY = 86400.0
KEY_LENGTHS = (8, 128)
CONFLICT = "IDEMPOTENCY_CONFLICT"
"""The error code of an idempotency key that came with another request before."""

PROBLEM = "Generation failed. Your credits have been refunded."
"""What the output of a failed task tells, unless its prompt says otherwise."""


REJECTED = "The content was rejected by moderation"
"""What is told of an order that moderation rejects, unless its prompt says otherwise."""


class TooLate(Refusal):
    """A cancel of a task that is no longer SUBMITTED. `task_status` is the status it has."""

    def __init__(self, http_status: int, task_status: str) -> None:
        super().__init__(http_status, f"Only a SUBMITTED task can be cancelled; this one is {task_status}")
        self.task_status = task_status


@define(eq=False, kw_only=True)
class Task:
    """A task: what was ordered, what was paid and its states over time."""

    id: str
    order: Order
    created: float
    timeline: Timeline
    problem: str
    webhook_url: str | None = None
    idempotency_key: str | None = None
    refunded: int = 0

    def status(self, now: float) -> str:
        """Return the status at `now`."""
        return self.timeline.status(now)

    def credits_refunded(self, now: float) -> int:
        """Return what had come back by `now`."""
        ended = any(status in {FAILED, CANCEL} for _, status in self.timeline.passed(now))
        return self.order.credits if ended else 0

    def completed(self, now: float) -> float | None:
        """Return when it was finished, well or badly; None while it is not."""
        return self.timeline.since(now) if self.status(now) in {COMPLETED, FAILED} else None


@define
class World:
    """Every task of the one account, and what is left of its `credits`.

    `in_order` are the tasks, the oldest first, and `changes` counts how often one of them left its plan. `daily_limit`
    is how many credits may be spent in 24 hours, None for no limit.
    """

    credits: int
    rng: random.Random
    durations: Durations | None = None
    daily_limit: int | None = None
    charged: int = field(default=0, init=False)
    refunded: int = field(default=0, init=False)
    tasks: dict[str, Task] = field(factory=dict[str, Task], init=False)
    in_order: list[Task] = field(factory=list[Task], init=False)
    changes: int = field(default=0, init=False)
    _by_key: dict[str, Task] = field(factory=dict[str, Task], init=False)
    _due: list[tuple[float, str]] = field(factory=list[tuple[float, str]], init=False)

    def original(self, order: Order, key: str) -> Task | None:
        """Return the task that was submitted with this idempotency key, None when there is none.

        Raises `Refusal`: 400 for a key that is too short or too long, 409 when it came with another order.
        """
        if not KEY_LENGTHS[0] <= len(key) <= KEY_LENGTHS[1]:
            allowed = "{} to {}".format(*KEY_LENGTHS)
            raise Refusal(400, f"Idempotency-Key must have {allowed} characters", "INVALID_PAYLOAD")
        task = self._by_key.get(key)
        if task is not None and (task.order.model, _text(task.order)) != (order.model, _text(order)):
            raise Refusal(409, "This Idempotency-Key was used with another request", CONFLICT)
        return task

    def submit(
        self,
        order: Order,
        now: float,
        webhook_url: str | None = None,
        key: str | None = None,
        budget: int | None = None,
    ) -> Task:
        """Charge the order, if it is within `budget`, and create its task. Raises `Refusal`, creating nothing."""
        self._admit(order, now, budget)
        queue, work = span(self.durations, order.model, order.seconds, self.rng)
        marker = _marker(_FAIL_MARKER, order)
        task = Task(
            id=self.new_id(),
            order=order,
            created=now,
            timeline=Timeline.planned(now, queue, work, FAILED if marker else COMPLETED),
            problem=(marker and marker[1]) or PROBLEM,
            webhook_url=webhook_url,
            idempotency_key=key,
        )
        if key is not None:
            self._by_key.setdefault(key, task)
        self.charged += order.credits
        self.credits -= order.credits
        self._add(task)
        self._plan_refund(task)
        return task

    def remember(self, tasks: Iterable[Task]) -> None:
        """Take over tasks that ended before the start. They were paid, and refunded, before it too."""
        for task in tasks:
            self._add(task)

    def task(self, task_id: str, created_by: float = math.inf) -> Task:
        """Return a task. Raises `Refusal` (404) when there was none of that id at `created_by`."""
        task = self.tasks.get(task_id)
        if task is None or task.created > created_by:
            raise Refusal(404, "Task not found")
        return task

    def model_of(self, task_id: str) -> str | None:
        """Return the model of a task, None when there is none of that id."""
        task = self.tasks.get(task_id)
        return None if task is None else task.order.model

    def balance(self, now: float) -> int:
        """Return the credits that are left, with what has come back by now."""
        while self._due and self._due[0][0] <= now:
            _, task_id = heapq.heappop(self._due)
            self._refund(self.tasks[task_id], now)
        return self.credits

    def count(self, now: float) -> dict[str, int]:
        """Return how many tasks have each status."""
        return dict(Counter(task.status(now) for task in self.tasks.values()))

    def cancel(self, task_id: str, now: float, late_status: int = 400) -> Task:
        """Cancel a SUBMITTED task and refund it. Raises `Refusal`: 404, or `TooLate`."""
        task = self.task(task_id)
        status = task.status(now)
        if status != SUBMITTED:
            raise TooLate(late_status, status)
        return self.set_status(task_id, CANCEL, now)

    def finish(self, task_id: str, now: float) -> Task:
        """Complete a task now. Raises `ValueError` when it has ended before."""
        return self._change(task_id, self.task(task_id).timeline.ended(now, COMPLETED))

    def fail(self, task_id: str, message: str | None, now: float) -> Task:
        """Let a task fail now, refunded. Raises `ValueError` when it has ended before."""
        task = self.task(task_id)
        timeline = task.timeline.ended(now, FAILED)
        task.problem = message or task.problem
        return self._change(task_id, timeline)

    def set_status(self, task_id: str, status: str, now: float) -> Task:
        """Put a task into any status, known or not, in which it stays."""
        # What has failed or was cancelled by now is refunded, and stays so.
        self.balance(now)
        return self._change(task_id, self.task(task_id).timeline.then(now, (status,)))

    def new_id(self) -> str:
        """Return an id that no task has."""
        return "ck" + "".join(self.rng.choices(_ID_LETTERS, k=23))

    def _admit(self, order: Order, now: float, budget: int | None) -> None:
        if budget is not None and order.credits > budget:
            told = f"The price of {order.credits} credits exceeds the budget of {budget} (X-Max-Credits)"
            raise Refusal(422, told, "BUDGET_EXCEEDED")
        if order.credits > self.balance(now):
            raise Refusal(402, "Insufficient credits", "INSUFFICIENT_CREDITS")
        if self.daily_limit is not None and self._spent_today(now) + order.credits > self.daily_limit:
            told = f"The daily limit of {self.daily_limit} credits would be exceeded"
            raise Refusal(402, told, "INSUFFICIENT_CREDITS")
        if (marker := _marker(_REJECT_MARKER, order)) is not None:
            raise Refusal(422, marker[1] or REJECTED, "CONTENT_REJECTED")

    def _spent_today(self, now: float) -> int:
        spent = 0
        for task in reversed(self.in_order):
            # Old tasks were paid before the start.
            if task.created < 0 or task.created <= now - _DAY:
                break
            spent += task.order.credits - task.refunded
        return spent

    def _add(self, task: Task) -> None:
        self.tasks[task.id] = task
        self.in_order.append(task)

    def _change(self, task_id: str, timeline: Timeline) -> Task:
        task = self.tasks[task_id]
        task.timeline = timeline
        self.changes += 1
        self._plan_refund(task)
        return task

    def _plan_refund(self, task: Task) -> None:
        at, status = task.timeline.steps[-1]
        if status in {FAILED, CANCEL}:
            heapq.heappush(self._due, (at, task.id))

    def _refund(self, task: Task, now: float) -> None:
        # The plan may have changed since the refund was planned, or it was paid already.
        if task.status(now) in {FAILED, CANCEL} and not task.refunded:
            task.refunded = task.order.credits
            self.refunded += task.refunded
            self.credits += task.refunded


def _marker(pattern: re.Pattern[str], order: Order) -> re.Match[str] | None:
    return next(filter(None, map(pattern.search, order.prompts)), None)


def _text(order: Order) -> str:
    return json.dumps(order.input, sort_keys=True)
