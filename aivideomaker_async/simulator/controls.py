"""What can be done to a simulator while it runs. All of it takes effect at once, without awaiting."""

from typing import Unpack

from .fault_kinds import FaultDetails, FaultKind, check_number
from .faults import Fault, On, Times
from .listener import Listener
from .server import Server
from .timing import Clock
from .world import World


class Controls:
    """The controls of a simulator."""

    _clock: Clock
    _world: World
    _server: Server
    _listener: Listener | None

    def advance(self, seconds: float) -> None:
        """Skip simulated seconds: tasks go on, files expire, the window of the limit moves."""
        self._clock.advance(seconds)
        self._server.webhooks.run_due()

    def finish(self, task_id: str) -> None:
        """Complete a task now.

        Raises `KeyError` for an unknown id, `ValueError` when the task has ended before.
        """
        self._server.webhooks.changed(self._world.finish(self._known(task_id), self._clock.now()))

    def fail(self, task_id: str, message: str | None = None) -> None:
        """Let a task fail now and refund it. `message` is the error that its output tells.

        Raises `KeyError` for an unknown id, `ValueError` when the task has ended before.
        """
        task = self._world.fail(self._known(task_id), message, self._clock.now())
        self._server.webhooks.changed(task)

    def set_status(self, task_id: str, status: str) -> None:
        """Put a task into any status, also one that the API does not have or a step back.

        It stays there until it is changed again. FAILED and CANCEL refund. Raises `KeyError`
        for an unknown id.
        """
        task = self._world.set_status(self._known(task_id), status, self._clock.now())
        self._server.webhooks.changed(task)

    def fault(
        self,
        kind: FaultKind,
        *,
        on: On = None,
        task_id: str | None = None,
        model: str | None = None,
        after: int = 0,
        times: Times = ...,
        probability: float = 1.0,
        **details: Unpack[FaultDetails],
    ) -> Fault:
        """Let requests go wrong from now on. docs/simulator.md has the kinds and their details in a table.

        A request is hit by one fault at most: by that which was added first, of those that it matches and whose turn
        it is. So faults that are added one after the other happen one after the other.

        Args:
            kind: what goes wrong.
            on: which requests: "submit", "list", "details", "status", "cancel", "query" for all three queries of tasks,
                "account", "quote", "any" for all calls of the API (the default), "video" or "upload" for files; or a
                function of the method and the path (percent-encoded) that tells whether a request is meant.
            task_id: only requests for this task.
            model: only submits to this model, quotes of it, and requests for tasks of it.
            after: so many matching requests pass first.
            times: how many requests are hit; None for no end. By default one, or no end with a `probability`.
            probability: how likely a matching request is hit. The draws repeat with the simulator's `seed`.
            **details: `acted` (whether the server carries out the request all the same) and what else the kind takes.

        Returns:
            The fault, which counts its `hits`, and ends with `remove()` or as a context manager.

        Raises:
            ValueError: an argument is wrong; it names which, and what is allowed.
        """
        return self._server.faults.add(
            kind, on=on, task_id=task_id, model=model, after=after, times=times, probability=probability, **details
        )

    def clear_faults(self) -> None:
        """Remove all faults."""
        self._server.faults.clear()

    def outage(self, seconds: float) -> None:
        """Be away for so many real seconds, by the event loop's clock, as when a server is restarted.

        Open connections break and new ones are refused; tasks go on. Outages that overlap are one, until the last ends.
        Raises `RuntimeError` when it is not running.
        """
        check_number("seconds", seconds)
        if self._listener is None:
            raise RuntimeError("a simulator has outages only while it runs")
        self._listener.pause(seconds)

    def _known(self, task_id: str) -> str:
        if task_id not in self._world.tasks:
            raise KeyError(task_id)
        return task_id
