"""Waiting for tasks: one background poller for all waiters of a client.

**What it promises.** Ten thousand waiters cost as many queries as two. An end is known about as soon as the query limit
allows, and a task that cannot be done yet is hardly asked for. No failure of the network, the service or the machine
ends a wait: only a refused key, an unknown task, five minutes of refusals, or the deadline. Observed statuses never go
backwards. If the poller itself fails, every waiter gets an error.

**How it works.** All handles of a task share one `TaskState`. A consumer (a `watch()` or a `result()`) subscribes to
it, and the first subscription starts the poller. The poller plans one poll, waits for its permit under the query limit,
asks, and plans the next one:

    plan ──> permit ──> list, status or details ──> apply the answer ──> wake consumers
      ^                          │ failed                  │
      └──── back off <───────────┴──────────── sort <──────┘

Answers also come from elsewhere: from a user's own call, from the answer to a submit, from another process that shares
the poller. All of them go through `StatusUpdates.apply`, which alone changes what is known of a task. A webhook
delivery is no answer: it only makes a poll due.

Each part of the state has one writer: `updates` writes what was observed, `failures` the backoff of a task, `wait_set`
where it is queued. Everything happens in one event loop, and changes are made between two awaits.

**Where the rules are.**

- `tracker`: `TaskTracker`, which the client holds; it wires the parts below;
- `watcher`: the poller: the loop drawn above;
- `schedule`: what is asked next, and when (pure);
- `durations`: how long tasks take, as far as that was learned (pure);
- `webhook_signals`: when a delivery makes a poll due, and whether webhooks announce what happens (pure);
- `transitions`: which status may follow which (pure);
- `updates`: what an answer means;
- `task_state`: the state of a task, and its consumers;
- `wait_set`: thousands of waited-for tasks, sorted by how they are asked for;
- `failures`: what follows a poll that brought nothing, and which failures end a wait;
- `deadlines`: thousands of deadlines under one timer, and a machine that slept;
- `task_list`: the rows of the list that somebody waits for;
- `board`: one poller for many processes; imported on use, since most clients have none.
"""

from typing import TYPE_CHECKING

from .._util.lazy import names_on_use
from .task_state import Subscription, TaskState
from .tracker import TaskTracker

if TYPE_CHECKING:
    from .board import StatusBoard

__all__ = ["StatusBoard", "Subscription", "TaskState", "TaskTracker"]

if not TYPE_CHECKING:
    # Type checkers would take every wrong name for one of these.
    __getattr__ = names_on_use(__name__, {"board": "StatusBoard"})
