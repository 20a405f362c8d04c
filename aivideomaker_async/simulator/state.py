"""The state of the simulated account: its tasks over time, and its credits. Pure: `now` and randomness are passed in.

What will happen to a task is planned when it is submitted, as a timeline, so no timer is needed: the status at a moment
is the last step that is not in the future. Cancelling, finishing early and failing drop the planned steps and append
others; steps of the past never change. Refunds are planned in the same way, and paid when somebody asks for the
balance.

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

from attrs import define, field, frozen

from .contract import IDEMPOTENCY_HEADER, IDEMPOTENCY_KEY_CHARS, Refusal, VideoOrder
from .timing import Durations, span

SUBMITTED = "SUBMITTED"
PROGRESS = "PROGRESS"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCEL = "CANCEL"
TERMINAL = frozenset({COMPLETED, FAILED, CANCEL})

IDEMPOTENCY_CONFLICT = "IDEMPOTENCY_CONFLICT"
"""The error code of an idempotency key that was used with another request before."""

DEFAULT_FAILURE = "Generation failed. Your credits have been refunded."
"""The error of a failed task, unless its prompt has another."""

DEFAULT_REJECTION = "The content was rejected by moderation"
"""The message for an order that moderation rejects, unless its prompt has another."""

_REFUNDED_ENDS = frozenset({FAILED, CANCEL})
_ID_LETTERS = string.ascii_lowercase + string.digits
_FAIL_MARKER = re.compile(r"\[fail(?::\s*([^\]]*))?\]")
_REJECT_MARKER = re.compile(r"\[reject(?::\s*([^\]]*))?\]")
_DAY_S = 86400.0

Step = tuple[float, str]
"""The simulated second at which a status begins, and the status."""


@frozen
class Timeline:
    """The steps of a task in order of time, past and planned."""

    steps: tuple[Step, ...]

    @classmethod
    def planned(cls, at: float, queue: float, work: float, end: str) -> "Timeline":
        """Plan a task that is submitted at `at`, waits `queue` seconds and works `work` seconds."""
        return cls(((at, SUBMITTED), (at + queue, PROGRESS), (at + queue + work, end)))

    def passed(self, now: float) -> tuple[Step, ...]:
        """Return the steps that have begun. The first always has."""
        return self.steps[:1] + tuple(step for step in self.steps[1:] if step[0] <= now)

    def status(self, now: float) -> str:
        """Return the status at `now`."""
        return self.passed(now)[-1][1]

    def since(self, now: float) -> float:
        """Return when the status of `now` began."""
        return self.passed(now)[-1][0]

    def next_step(self, now: float) -> float | None:
        """Return when the next planned step begins, None when nothing is planned."""
        return next((at for at, _ in self.steps[1:] if at > now), None)

    def valid_until(self, now: float) -> float:
        """Return when the status of `now` ends: infinity when nothing is planned."""
        following = self.next_step(now)
        return math.inf if following is None else following

    def then(self, now: float, statuses: Iterable[str]) -> "Timeline":
        """Replace the planned steps after `now` by these statuses, which begin at once."""
        return Timeline((*self.passed(now), *((now, status) for status in statuses)))

    def ended(self, now: float, end: str) -> "Timeline":
        """End the task now, by way of PROGRESS. Raises `ValueError` when it has ended before."""
        status = self.status(now)
        if status in TERMINAL:
            raise ValueError(f"the task is {status}: it cannot become {end}")
        return self.then(now, (PROGRESS, end) if status == SUBMITTED else (end,))


class CancelTooLate(Refusal):
    """A cancel of a task that is no longer SUBMITTED. `task_status` is the status it has."""

    def __init__(self, http_status: int, task_status: str) -> None:
        super().__init__(http_status, f"Only a SUBMITTED task can be cancelled; this one is {task_status}")
        self.task_status = task_status


@define(eq=False, kw_only=True)
class Task:
    """A task: its order, its states over time and what was refunded."""

    id: str
    order: VideoOrder
    created: float
    timeline: Timeline
    failure: str
    """The error in its output if it fails."""
    webhook_url: str | None = None
    idempotency_key: str | None = None
    refunded: int = 0

    def status(self, now: float) -> str:
        """Return the status at `now`."""
        return self.timeline.status(now)

    def credits_refunded(self, now: float) -> int:
        """Return the credits that were refunded by `now`."""
        ended = any(status in _REFUNDED_ENDS for _, status in self.timeline.passed(now))
        return self.order.credits if ended else 0

    def completed(self, now: float) -> float | None:
        """Return when it was completed or failed, None in every other status."""
        return self.timeline.since(now) if self.status(now) in {COMPLETED, FAILED} else None


@define
class AccountState:
    """Every task of the one account, and its balance in `credits`.

    The duration of a task is drawn from `durations` by `rng`. At most `daily_limit` credits may be spent in 24 hours.
    """

    credits: int
    rng: random.Random
    durations: Durations | None = None
    daily_limit: int | None = None
    tasks: dict[str, Task] = field(factory=dict[str, Task], init=False)
    in_order: list[Task] = field(factory=list[Task], init=False)
    """The tasks by the time of their creation."""
    changes: int = field(default=0, init=False)
    """How often a timeline was changed after it had been planned."""
    charged: int = field(default=0, init=False)
    refunded: int = field(default=0, init=False)
    _by_key: dict[str, Task] = field(factory=dict[str, Task], init=False)
    _planned_refunds: list[tuple[float, str]] = field(factory=list[tuple[float, str]], init=False)

    def replayed(self, order: VideoOrder, key: str) -> Task | None:
        """Return the task that was submitted with this idempotency key, None when there is none.

        Raises `Refusal`: 400 for a key that is too short or too long, 409 when it was used with another order.
        """
        least, most = IDEMPOTENCY_KEY_CHARS
        if not least <= len(key) <= most:
            raise Refusal(400, f"{IDEMPOTENCY_HEADER} must have {least} to {most} characters", "INVALID_PAYLOAD")
        task = self._by_key.get(key)
        if task is not None and (task.order.model, _input_text(task.order)) != (order.model, _input_text(order)):
            raise Refusal(409, f"This {IDEMPOTENCY_HEADER} was used with another request", IDEMPOTENCY_CONFLICT)
        return task

    def submit(
        self,
        order: VideoOrder,
        now: float,
        webhook_url: str | None = None,
        key: str | None = None,
        budget: int | None = None,
    ) -> Task:
        """Charge the order, if it is within `budget`, and create its task. Raises `Refusal` and creates nothing."""
        self._admit(order, now, budget)
        queue, work = span(self.durations, order.model, order.seconds, self.rng)
        marker = _marker(_FAIL_MARKER, order)
        task = Task(
            id=self.new_id(),
            order=order,
            created=now,
            timeline=Timeline.planned(now, queue, work, FAILED if marker else COMPLETED),
            failure=(marker and marker[1]) or DEFAULT_FAILURE,
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

    def add_history(self, tasks: Iterable[Task]) -> None:
        """Add tasks that ended before the start. They were paid, and refunded, before it, too."""
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
        """Pay the refunds that are due, and return the credits that are left."""
        while self._planned_refunds and self._planned_refunds[0][0] <= now:
            _, task_id = heapq.heappop(self._planned_refunds)
            task = self.tasks[task_id]
            # The plan may have changed since the refund was planned, or it was paid already.
            if task.status(now) in _REFUNDED_ENDS and not task.refunded:
                task.refunded = task.order.credits
                self.refunded += task.refunded
                self.credits += task.refunded
        return self.credits

    def count(self, now: float) -> dict[str, int]:
        """Return how many tasks have each status."""
        return dict(Counter(task.status(now) for task in self.tasks.values()))

    def cancel(self, task_id: str, now: float, late_status: int = 400) -> Task:
        """Cancel a SUBMITTED task and refund it. Raises `Refusal` (404), or `CancelTooLate`."""
        task = self.task(task_id)
        status = task.status(now)
        if status != SUBMITTED:
            raise CancelTooLate(late_status, status)
        return self.set_status(task_id, CANCEL, now)

    def finish(self, task_id: str, now: float) -> Task:
        """Complete a task now. Raises `ValueError` when it has ended before."""
        return self._change(task_id, self.task(task_id).timeline.ended(now, COMPLETED))

    def fail(self, task_id: str, message: str | None, now: float) -> Task:
        """Let a task fail now, and refund it. Raises `ValueError` when it has ended before."""
        task = self.task(task_id)
        timeline = task.timeline.ended(now, FAILED)
        task.failure = message or task.failure
        return self._change(task_id, timeline)

    def set_status(self, task_id: str, status: str, now: float) -> Task:
        """Put a task into any status, also one that the API does not have. It stays there."""
        # A task that has failed or was cancelled by now is refunded, and stays refunded.
        self.balance(now)
        return self._change(task_id, self.task(task_id).timeline.then(now, (status,)))

    def new_id(self) -> str:
        """Return an id that no task has."""
        return "ck" + "".join(self.rng.choices(_ID_LETTERS, k=23))

    def _admit(self, order: VideoOrder, now: float, budget: int | None) -> None:
        if budget is not None and order.credits > budget:
            reason = f"The price of {order.credits} credits exceeds the budget of {budget} (X-Max-Credits)"
            raise Refusal(422, reason, "BUDGET_EXCEEDED")
        if order.credits > self.balance(now):
            raise Refusal(402, "Insufficient credits", "INSUFFICIENT_CREDITS")
        if self.daily_limit is not None and self._spent_today(now) + order.credits > self.daily_limit:
            reason = f"The daily limit of {self.daily_limit} credits would be exceeded"
            raise Refusal(402, reason, "INSUFFICIENT_CREDITS")
        if (marker := _marker(_REJECT_MARKER, order)) is not None:
            raise Refusal(422, marker[1] or DEFAULT_REJECTION, "CONTENT_REJECTED")

    def _spent_today(self, now: float) -> int:
        spent = 0
        for task in reversed(self.in_order):
            # Tasks of the history were paid before the start.
            if task.created < 0 or task.created <= now - _DAY_S:
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
        if status in _REFUNDED_ENDS:
            heapq.heappush(self._planned_refunds, (at, task.id))


def _marker(pattern: re.Pattern[str], order: VideoOrder) -> re.Match[str] | None:
    return next(filter(None, map(pattern.search, order.prompts)), None)


def _input_text(order: VideoOrder) -> str:
    return json.dumps(order.input, sort_keys=True)
