"""The simulated clock, and how long a video takes. Durations are in simulated seconds."""

import math
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from attrs import define, field, frozen

Span = tuple[float, float]
"""Seconds in the queue (SUBMITTED) and seconds of work (PROGRESS)."""

Durations = Span | Mapping[str, Span] | Callable[[str, int], Span]
"""One span for all, a span for each model, or a function of the model and the video's seconds."""


_LARGEST_SKEW = 1000 * 365.25 * 86400.0


def _not_started() -> float:
    return 0.0


@define
class Clock:
    """Simulated seconds since the start: the base clock times `speed`, plus what was skipped.

    `base` tells real seconds from any origin. `epoch` is the wall time of the start, which is
    the moment of `start` unless given. Before the start and after the stop it stands still.
    `skew` is by how many seconds the times are wrong that the server tells.
    """

    speed: float = 1.0
    epoch: datetime | None = None
    skew: float = 0.0
    skipped: float = field(default=0.0, init=False)
    base: Callable[[], float] = field(default=_not_started, init=False)
    _origin: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        if not (self.speed > 0 and math.isfinite(self.speed)):
            raise ValueError(f"speed must be more than 0, got {self.speed!r}")
        if not abs(self.skew) <= _LARGEST_SKEW:
            raise ValueError(f"clock_skew must be within 1,000 years, in seconds, got {self.skew!r}")

    def start(self, base: Callable[[], float]) -> None:
        """Begin to go, by this base clock."""
        self.epoch = self.epoch or datetime.now(UTC)
        self.base = base
        self._origin = base()

    def stop(self) -> None:
        """Stand still from now on."""
        last = self.base()
        self.base = lambda: last

    def now(self) -> float:
        """Return the simulated seconds since the start."""
        return (self.base() - self._origin) * self.speed + self.skipped

    def advance(self, seconds: float) -> None:
        """Skip simulated seconds. Raises `ValueError` when they are negative."""
        if not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError(f"the clock cannot go by {seconds!r} seconds")
        self.skipped += seconds

    def real(self, simulated: float) -> float:
        """Return how many real seconds a span of simulated seconds takes."""
        return simulated / self.speed

    def wall(self, at: float) -> datetime:
        """Return the simulated wall time of the simulated second `at`."""
        return (self.epoch or datetime.now(UTC)) + timedelta(seconds=at)

    def told(self, at: float) -> datetime:
        """Return the wall time of the simulated second `at`, as the server tells it."""
        return self.wall(at) + timedelta(seconds=self.skew)

    def real_wall(self) -> datetime:
        """Return the wall time by the base clock, by which clients live."""
        return self.wall(self.base() - self._origin)


@frozen
class _Median:
    """Median seconds of work: a fixed part and one for each second of video."""

    fixed: float
    per_second: float


# api.md, Statuses: usually 2 to 7 minutes from submit to finish; a 5 s i2v_v3 took 13.
_WORK: Mapping[str, _Median] = {
    "t2v": _Median(90, 8),
    "i2v": _Median(110, 10),
    "lv": _Median(90, 9),
    "t2v_v3": _Median(120, 11),
    "i2v_v3": _Median(300, 14),
    # Not known; fast and slow ones, by their price.
    "minimax": _Median(100, 9),
    "seedance20": _Median(130, 12),
    "wan27": _Median(120, 11),
    "happyhorse": _Median(150, 13),
}
_OTHER_WORK = _Median(120, 12)
_QUEUE_SECONDS = (5.0, 30.0)
_WORK_SECONDS = (60.0, 750.0)
_QUEUE_MEDIAN = 12.0
_SPREAD = 0.25


def draw(model: str, seconds: int, rng: random.Random) -> Span:
    """Draw how long a video of `seconds` takes on `model`: lognormal around its median."""
    median = _WORK.get(model, _OTHER_WORK)
    work = median.fixed + median.per_second * seconds
    return (
        _within(_QUEUE_SECONDS, _QUEUE_MEDIAN * rng.lognormvariate(0, 2 * _SPREAD)),
        _within(_WORK_SECONDS, work * rng.lognormvariate(0, _SPREAD)),
    )


def _within(bounds: Span, value: float) -> float:
    return min(max(value, bounds[0]), bounds[1])


def check_span(name: str, value: object) -> None:
    """Raise `ValueError`, naming what it is, unless it is a `Span`."""
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(map(_is_length, value)):
        raise ValueError(f"{name} must be a pair of seconds, in the queue and of work, got {value!r}")


def _is_length(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def span(durations: Durations | None, model: str, seconds: int, rng: random.Random) -> Span:
    """Return the seconds in the queue and of work: as `durations` says, else drawn."""
    if isinstance(durations, Mapping):
        found = durations.get(model)
        return found if found is not None else draw(model, seconds, rng)
    if callable(durations):
        found = durations(model, seconds)
        check_span(f"durations({model!r}, {seconds})", found)
        return found
    return durations if durations is not None else draw(model, seconds, rng)
