"""What a simulator shows of itself: frozen records, and the tasks as a read-only mapping."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from attrs import frozen

from .timing import Clock
from .wire import Scribe
from .world import Task, World


@frozen(kw_only=True)
class Arrival:
    """A request that came in.

    `at` is in seconds of the base clock (the event loop's time, unless told otherwise) and not
    simulated. `status` is the HTTP status of the answer, 0 when there was none. `client` is
    the address it came from. `path` is as it was sent, percent-encoded. `fault` is the kind of
    the fault that it was hit by.
    """

    method: str
    path: str
    status: int
    at: float
    client: str
    fault: str | None = None


@frozen(kw_only=True)
class Delivery:
    """A webhook delivery that is over: the HTTP status of the last answer, 0 for none at all."""

    task_id: str
    status: str
    url: str
    answer: int
    attempts: int


@frozen(kw_only=True)
class Statistics:
    """Counts since the start.

    `queries` are the requests that count against the limit, `rejected` those among them that
    were answered 429, `worst_window` the most of them that one client sent within any window.
    `bytes_sent` are those of all bodies, as far as they were handed to the network: to one that
    hangs up in the middle of a long list the rest is not sent. `tasks` and `by_status` count the tasks, old ones
    included. Credits are whole numbers. `faults` are the requests that were hit by a fault.
    """

    requests: int
    queries: int
    rejected: int
    worst_window: int
    bytes_sent: int
    tasks: int
    by_status: Mapping[str, int]
    credits_charged: int
    credits_refunded: int
    faults: int


@frozen(kw_only=True)
class SimulatedTask:
    """A task as it was when it was looked up.

    Times are simulated wall times, in UTC, and right even if the server tells wrong ones.
    `idempotency_key` is what came with the submit, whether the server cares for it or not.
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
    history: tuple[tuple[datetime, str], ...]


class TaskViews(Mapping[str, SimulatedTask]):
    """The tasks by their ids, oldest first, each as it is at the moment of the lookup."""

    def __init__(self, world: World, clock: Clock, scribe: Scribe) -> None:
        self._world = world
        self._clock = clock
        self._scribe = scribe

    def __getitem__(self, task_id: str) -> SimulatedTask:
        now = self._clock.now()
        self._world.balance(now)
        return self._view(self._world.tasks[task_id], now)

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._world.tasks))

    def __len__(self) -> int:
        return len(self._world.tasks)

    def __repr__(self) -> str:
        return f"<TaskViews of {len(self)} tasks>"

    def _view(self, task: Task, now: float) -> SimulatedTask:
        completed = task.completed(now)
        return SimulatedTask(
            id=task.id,
            model=task.order.model,
            input=dict(task.order.input),
            output=self._scribe.output(task, now),
            status=task.status(now),
            created_at=self._clock.wall(task.created),
            completed_at=None if completed is None else self._clock.wall(completed),
            credits_charged=task.order.credits,
            credits_refunded=task.refunded,
            webhook_url=task.webhook_url,
            idempotency_key=task.idempotency_key,
            history=tuple((self._clock.wall(at), name) for at, name in task.timeline.passed(now)),
        )
