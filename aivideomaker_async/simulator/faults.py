"""Which request is hit by which fault. Pure: what is known of the request, and randomness, are passed in."""

import random
import re
from collections.abc import Callable
from types import EllipsisType, TracebackType
from typing import Literal, Self, Unpack, get_args
from urllib.parse import unquote

from attrs import define, field, frozen

from .fault_kinds import Details, FaultDetails, FaultKind, check_number, check_whole, kind_named, wrong

Endpoint = Literal["submit", "list", "details", "status", "cancel", "account", "quote", "video", "upload"]
"""What a request asks for."""

FaultTarget = Literal[
    "submit", "list", "details", "status", "cancel", "query", "account", "quote", "video", "upload", "any"
]
"""What a fault may hit: one endpoint, all three queries of tasks, or any call of the API."""

On = FaultTarget | Callable[[str, str], bool] | None
"""A target, or a function of the method and the path; None for what is usual."""

Times = int | EllipsisType | None
"""How often a fault hits: so many times, without end (None), or what is usual for it (...)."""


class FaultArguments(FaultDetails, total=False):
    """What a fault takes besides its kind."""

    on: On
    task_id: str | None
    model: str | None
    after: int
    times: Times
    probability: float


_TARGETS: tuple[str, ...] = get_args(FaultTarget)
_QUERIES = frozenset({"list", "details", "status"})
_FILES = ("video", "upload")
# Paths that tell no task and no model.
_NAMELESS = frozenset({"list", "account", "upload"})
# Paths that tell a model and no task.
_TASKLESS = frozenset({"submit", "quote"})
_API = "/api/"
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
    """What is known of a request. `task_id` and `model` are None where it has none."""

    method: str
    path: str
    endpoint: Endpoint | None = None
    task_id: str | None = None
    model: str | None = None

    @classmethod
    def of(cls, method: str, path: str, model_of: Callable[[str], str | None]) -> "Call":
        """Read a method and a percent-encoded path. `model_of` gives the model of a task's id."""
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
    """A fault that a simulator shows, and the handle to count and to remove it.

    As a context manager it is removed when the block ends. It may be used from any thread.
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
    """How many requests it has hit."""
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
        """Whether it hits no more."""
        return self.removed or (self.times is not None and self.hits >= self.times)

    def remove(self) -> None:
        """Hit no request from now on. What it does to an exchange under way goes on."""
        self.removed = True

    def take(self, call: Call) -> bool:
        """Count a request, and tell whether it is hit."""
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
            return call.path.startswith(_API)
        return call.endpoint in (_QUERIES if self.on == "query" else {self.on})


@define
class Faults:
    """All faults of a simulator, in the order in which they were added. A request is hit by one at most.

    `seed` makes them draw the same in every run, each for itself, whatever others there are.
    """

    seed: int | None = None
    hits: int = field(default=0, init=False)
    _added: int = field(default=0, init=False)
    _faults: list[Fault] = field(factory=list[Fault], init=False)

    def add(
        self,
        kind: FaultKind,
        *,
        on: On = None,
        task_id: str | None = None,
        model: str | None = None,
        after: int = 0,
        times: Times = ...,
        probability: float = 1.0,
        **given: Unpack[FaultDetails],
    ) -> Fault:
        """Add a fault. Raises `ValueError`, naming what is wrong and what is allowed."""
        known = kind_named(kind)
        details = known.details(kind, given)
        if on is None:
            on = "video" if known.files else "any"
        _check_target(on, task_id, model)
        if known.files and on not in _FILES and not callable(on):
            raise wrong("on", f"one of {', '.join(_FILES)}, or a function, for the kind {kind}", on)
        check_whole("after", after)
        check_number("probability", probability, 1)
        if times is ...:
            times = 1 if probability == 1 else None
        elif times is not None:
            check_whole("times", times, 1)
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
        """Whether a request may be hit at all. Most simulators have no faults, and many requests."""
        return bool(self._faults)

    def clear(self) -> None:
        """Remove all."""
        for fault in self._faults:
            fault.remove()

    def hit(self, call: Call) -> Fault | None:
        """Return the fault that hits this request: the first that takes it, those behind it do not see it."""
        self._faults = [fault for fault in self._faults if not fault.over]
        found = next((fault for fault in self._faults if fault.take(call)), None)
        self.hits += found is not None
        return found


def _check_target(on: object, task_id: object, model: object) -> None:
    if not callable(on) and on not in _TARGETS:
        raise wrong("on", f"one of {', '.join(_TARGETS)}, or a function of the method and the path", on)
    for name, value in (("task_id", task_id), ("model", model)):
        if value is not None and not isinstance(value, str):
            raise wrong(name, "a text or None", value)
        if value is not None and (on in _NAMELESS or (name == "task_id" and on in _TASKLESS)):
            raise ValueError(f"{name} must be None for on={on!r}, whose requests have none, got {value!r}")
