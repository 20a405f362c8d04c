"""The faults of a simulator, and which request is hit by which of them. Pure: randomness is seeded."""

import random
import re
from collections.abc import Callable
from types import EllipsisType, TracebackType
from typing import Literal, Self, Unpack, get_args
from urllib.parse import unquote

from attrs import define, field, frozen

from .fault_kinds import Details, FaultDetails, FaultKind, fault_definition
from .validation import check_integer, check_number, invalid

Endpoint = Literal["submit", "list", "details", "status", "cancel", "account", "quote", "video", "upload"]
"""The endpoint of a request."""

FaultTarget = Literal[
    "submit", "list", "details", "status", "cancel", "query", "account", "quote", "video", "upload", "any"
]
"""The requests that a fault may hit: one endpoint, all three queries of tasks, or any call of the API."""

FaultOn = FaultTarget | Callable[[str, str], bool] | None
"""A target, or a function of the method and the path; None for the default of the kind."""

FaultTimes = int | EllipsisType | None
"""How many requests a fault hits: a number, without end (None), or the default (...)."""


class FaultArguments(FaultDetails, total=False):
    """The arguments of a fault besides its kind."""

    on: FaultOn
    task_id: str | None
    model: str | None
    after: int
    times: FaultTimes
    probability: float


_TARGETS: tuple[str, ...] = get_args(FaultTarget)
_QUERIES = frozenset({"list", "details", "status"})
_FILES = ("video", "upload")
# Endpoints whose paths have neither a task nor a model.
_WITHOUT_NAMES = frozenset({"list", "account", "upload"})
# Endpoints whose paths have a model and no task.
_WITHOUT_TASK = frozenset({"submit", "quote"})
_API_PREFIX = "/api/"
_ENDPOINTS: tuple[tuple[Endpoint, frozenset[str], re.Pattern[str]], ...] = (
    ("submit", frozenset({"POST"}), re.compile(r"/api/v1/generate/(?P<model>[^/]+)")),
    ("list", frozenset({"GET"}), re.compile(r"/api/v1/tasks")),
    ("details", frozenset({"GET"}), re.compile(r"/api/v1/tasks/(?P<task>[^/]+)")),
    ("status", frozenset({"GET"}), re.compile(r"/api/v1/tasks/(?P<task>[^/]+)/status")),
    ("cancel", frozenset({"PUT"}), re.compile(r"/api/v1/tasks/(?P<task>[^/]+)/cancel")),
    ("account", frozenset({"GET"}), re.compile(r"/api/v1/account")),
    ("quote", frozenset({"POST"}), re.compile(r"/api/v1/quote/(?P<model>[^/]+)")),
    ("video", frozenset({"GET", "HEAD"}), re.compile(r"/videos/(?P<task>[^/]+)\.mp4")),
    ("upload", frozenset({"GET", "HEAD"}), re.compile(r"/uploads/[^/]+")),
)


@frozen(kw_only=True)
class Call:
    """A request as faults see it. `task_id` and `model` are None where the path has none."""

    method: str
    path: str
    endpoint: Endpoint | None = None
    task_id: str | None = None
    model: str | None = None

    @classmethod
    def of(cls, method: str, path: str, model_of: Callable[[str], str | None]) -> "Call":
        """Parse a method and a percent-encoded path. `model_of` returns the model of a task's id."""
        for endpoint, methods, pattern in _ENDPOINTS:
            found = pattern.fullmatch(path) if method in methods else None
            if found is not None:
                parts = {name: unquote(text) for name, text in found.groupdict().items()}
                task_id = parts.get("task")
                model = parts.get("model") if task_id is None else model_of(task_id)
                return cls(method=method, path=path, endpoint=endpoint, task_id=task_id, model=model)
        return cls(method=method, path=path)


@define(eq=False, kw_only=True, repr=False)
class Fault:
    """A fault of a simulator, and the handle to count its hits and to remove it.

    As a context manager, it is removed when the block ends. It may be used from any thread.
    """

    kind: FaultKind
    on: FaultTarget | Callable[[str, str], bool]
    task_id: str | None
    model: str | None
    after: int
    times: int | None
    probability: float
    details: Details
    rng: random.Random
    seen: int = field(default=0, init=False)
    hits: int = field(default=0, init=False)
    """Requests that were hit."""
    removed: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        on = self.on if isinstance(self.on, str) else "some"
        return f"<Fault {self.kind} on {on}, {self.hits} hits{', removed' if self.removed else ''}>"

    @property
    def over(self) -> bool:
        """Whether it will hit no more requests."""
        return self.removed or (self.times is not None and self.hits >= self.times)

    def remove(self) -> None:
        """Hit no request from now on. An exchange that was hit before is not changed."""
        self.removed = True

    def take(self, call: Call) -> bool:
        """Count a request, and return whether it is hit."""
        if self.over or not self._matches(call):
            return False
        self.seen += 1
        if self.seen <= self.after or self.rng.random() >= self.probability:
            return False
        self.hits += 1
        return True

    def _matches(self, call: Call) -> bool:
        if self.task_id is not None and call.task_id != self.task_id:
            return False
        if self.model is not None and call.model != self.model:
            return False
        if not isinstance(self.on, str):
            return bool(self.on(call.method, call.path))
        if self.on == "any":
            return call.path.startswith(_API_PREFIX)
        return call.endpoint in (_QUERIES if self.on == "query" else {self.on})


@define
class Faults:
    """All faults of a simulator, in the order in which they were added. A request is hit by one at most.

    With a `seed`, the draws of each fault repeat in every run, independent of the other faults.
    """

    seed: int | None = None
    hits: int = field(default=0, init=False)
    _added: int = field(default=0, init=False)
    _faults: list[Fault] = field(factory=list[Fault], init=False)

    def add(
        self,
        kind: FaultKind,
        *,
        on: FaultOn = None,
        task_id: str | None = None,
        model: str | None = None,
        after: int = 0,
        times: FaultTimes = ...,
        probability: float = 1.0,
        **given: Unpack[FaultDetails],
    ) -> Fault:
        """Add a fault. Raises `ValueError` with what is wrong and what is allowed."""
        definition = fault_definition(kind)
        details = definition.details(kind, given)
        if on is None:
            on = "video" if definition.files else "any"
        _check_target(on, task_id, model)
        if definition.files and on not in _FILES and not callable(on):
            raise invalid("on", f"one of {', '.join(_FILES)}, or a function, for the kind {kind}", on)
        check_integer("after", after)
        check_number("probability", probability, 1)
        if times is ...:
            times = 1 if probability == 1 else None
        elif times is not None:
            check_integer("times", times, 1)
        self._added += 1
        seed = None if self.seed is None else f"fault {self._added} of {self.seed}"
        fault = Fault(
            kind=kind,
            on=on,
            task_id=task_id,
            model=model,
            after=after,
            times=times,
            probability=probability,
            details=details,
            rng=random.Random(seed),
        )
        self._faults.append(fault)
        return fault

    @property
    def any(self) -> bool:
        """Whether there are faults. A simulator without any need not parse its many requests."""
        return bool(self._faults)

    def clear(self) -> None:
        """Remove all faults."""
        for fault in self._faults:
            fault.remove()

    def hit(self, call: Call) -> Fault | None:
        """Return the first fault that takes this request. The faults after it do not count the request."""
        self._faults = [fault for fault in self._faults if not fault.over]
        found = next((fault for fault in self._faults if fault.take(call)), None)
        self.hits += found is not None
        return found


def _check_target(on: object, task_id: object, model: object) -> None:
    if not callable(on) and on not in _TARGETS:
        raise invalid("on", f"one of {', '.join(_TARGETS)}, or a function of the method and the path", on)
    for name, value in (("task_id", task_id), ("model", model)):
        if value is not None and not isinstance(value, str):
            raise invalid(name, "a text or None", value)
        if value is not None and (on in _WITHOUT_NAMES or (name == "task_id" and on in _WITHOUT_TASK)):
            raise ValueError(f"{name} must be None for on={on!r}, whose requests have none, got {value!r}")
