"""What a simulator shows to its user: immutable records of requests, deliveries, counts and tasks."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from attrs import frozen

from .response_bodies import TaskWriter
from .state import AccountState, Task
from .timing import Clock


@frozen(kw_only=True)
class Arrival:
    """A request that arrived."""

    method: str
    path: str
    """As it was sent, percent-encoded."""
    status: int
    """The HTTP status of the answer, 0 without an answer."""
    at: float
    """Seconds of the clients' clock, which is the event loop's time unless the option `clock` is given."""
    client: str
    """The address of the client."""
    fault: str | None = None
    """The kind of the fault that hit it."""


@frozen(kw_only=True)
class Delivery:
    """A webhook delivery that was accepted or given up."""

    task_id: str
    status: str
    url: str
    answer: int
    """The HTTP status of the last answer, 0 without an answer."""
    attempts: int


@frozen(kw_only=True)
class Statistics:
    """Counts since the start."""

    requests: int
    queries: int
    """Requests that count against the query limit."""
    rejected: int
    """Queries that the limit answered with 429."""
    worst_window: int
    """The most queries that one client sent within any window."""
    bytes_sent: int
    """Bytes of all bodies that were handed to the network. A client that disconnects gets no more of a long list."""
    tasks: int
    """Tasks, those of the history included."""
    by_status: Mapping[str, int]
    credits_charged: int
    credits_refunded: int
    faults: int
    """Requests that were hit by a fault."""


@frozen(kw_only=True)
class SimulatedTask:
    """A task as it was at the moment of the lookup.

    Times are in UTC, in the time of the clients, and right even if the service reports wrong ones (`clock_skew`).
    """

    id: str
    model: str
    input: Mapping[str, object]
    output: Mapping[str, object] | None
    status: str
    created_at: datetime
    completed_at: datetime | None
    credits_charged: int
    credits_refunded: int
    webhook_url: str | None
    idempotency_key: str | None
    """The key of the submit, also where the service ignores keys."""
    history: tuple[tuple[datetime, str], ...]


class TaskViews(Mapping[str, SimulatedTask]):
    """The tasks by their ids, oldest first, each as it is at the moment of the lookup."""

    def __init__(self, state: AccountState, clock: Clock, writer: TaskWriter) -> None:
        self._state = state
        self._clock = clock
        self._writer = writer

    def __getitem__(self, task_id: str) -> SimulatedTask:
        now = self._clock.now()
        # Refunds that are due are paid first.
        self._state.balance(now)
        return self._view(self._state.tasks[task_id], now)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._state.tasks))

    def __len__(self) -> int:
        return len(self._state.tasks)

    def __repr__(self) -> str:
        return f"<TaskViews of {len(self)} tasks>"

    def _view(self, task: Task, now: float) -> SimulatedTask:
        completed = task.completed(now)
        return SimulatedTask(
            id=task.id,
            model=task.order.model,
            input=dict(task.order.input),
            output=self._writer.output(task, now),
            status=task.status(now),
            created_at=self._clock.client_time(task.created),
            completed_at=None if completed is None else self._clock.client_time(completed),
            credits_charged=task.order.credits,
            credits_refunded=task.refunded,
            webhook_url=task.webhook_url,
            idempotency_key=task.idempotency_key,
            history=tuple((self._clock.client_time(at), name) for at, name in task.timeline.passed(now)),
        )
