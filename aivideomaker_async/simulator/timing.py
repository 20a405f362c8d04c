"""The clock of a simulator, and how long its tasks take.

Two units of time meet here. The service is simulated in seconds as the real one would take them: the time in the queue,
the 60 seconds of the query limit, the 24 hours for which a file is kept. Of these *simulated seconds*, `speed` pass in
each second of the clients. What the service reports is in the time of its clients: a stamp, a date and a `Retry-After`
mean the same to them as at speed 1, and with `speed=60` everything just happens 60 times sooner.
"""

import math
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from attrs import define, field, frozen

from .validation import invalid

Span = tuple[float, float]
"""Seconds in the queue (SUBMITTED) and seconds of work (PROGRESS)."""

Durations = Span | Mapping[str, Span] | Callable[[str, int], Span]
"""One span for all, a span for each model, or a function of the model and the video's seconds."""

_MAX_SKEW_S = 1000 * 365.25 * 86400.0


def _not_started() -> float:
    return 0.0


@define
class Clock:
    """Simulated seconds since the start, and the time of the clients at each of them.

    `base` returns seconds of the clients from any origin, and `epoch` is their wall time at the start, by default the
    current time when `start` is called. The clock stands still before the start and after the stop. Times that the
    service reports are wrong by `skew` seconds.
    """

    speed: float = 1.0
    epoch: datetime | None = None
    skew: float = 0.0
    skipped: float = field(default=0.0, init=False)
    base: Callable[[], float] = field(default=_not_started, init=False)
    _origin: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        if not abs(self.skew) <= _MAX_SKEW_S:
            raise invalid("clock_skew", "within 1,000 years, in seconds", self.skew)

    def start(self, base: Callable[[], float]) -> None:
        """Begin to count, by this base clock."""
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

    def client_seconds(self, simulated: float) -> float:
        """Return how many seconds of the clients a number of simulated seconds takes."""
        return simulated / self.speed

    def client_time(self, at: float) -> datetime:
        """Return the clients' wall time at the simulated second `at`."""
        return (self.epoch or datetime.now(UTC)) + timedelta(seconds=self.client_seconds(at))

    def reported(self, at: float) -> datetime:
        """Return the wall time that the service reports for the simulated second `at`."""
        return self.client_time(at) + timedelta(seconds=self.skew)

    def client_now(self) -> datetime:
        """Return the clients' wall time now, which knows nothing of skipped seconds."""
        return (self.epoch or datetime.now(UTC)) + timedelta(seconds=self.base() - self._origin)


@frozen
class _MedianWork:
    """Median seconds of work: a fixed part and one for each second of video."""

    fixed: float
    per_second: float


# api.md, Statuses: usually 2 to 7 minutes from submit to finish; a 5 s i2v_v3 took 13.
_WORK: Mapping[str, _MedianWork] = {
    "t2v": _MedianWork(90, 8),
    "i2v": _MedianWork(110, 10),
    "lv": _MedianWork(90, 9),
    "t2v_v3": _MedianWork(120, 11),
    "i2v_v3": _MedianWork(300, 14),
    # Nothing is known of these. More expensive models are taken to be slower.
    "minimax": _MedianWork(100, 9),
    "seedance20": _MedianWork(130, 12),
    "wan27": _MedianWork(120, 11),
    "happyhorse": _MedianWork(150, 13),
}
_OTHER_WORK = _MedianWork(120, 12)
_QUEUE_BOUNDS_S = (5.0, 30.0)
_WORK_BOUNDS_S = (60.0, 750.0)
_QUEUE_MEDIAN_S = 12.0
_SIGMA = 0.25


def draw_span(model: str, seconds: int, rng: random.Random) -> Span:
    """Draw how long a video of `seconds` takes on `model`: lognormal around the model's median."""
    median = _WORK.get(model, _OTHER_WORK)
    queue = _QUEUE_MEDIAN_S * rng.lognormvariate(0, 2 * _SIGMA)
    work = (median.fixed + median.per_second * seconds) * rng.lognormvariate(0, _SIGMA)
    return _within(_QUEUE_BOUNDS_S, queue), _within(_WORK_BOUNDS_S, work)


def _within(bounds: Span, value: float) -> float:
    return min(max(value, bounds[0]), bounds[1])


def check_span(name: str, value: object) -> None:
    """Raise `ValueError` unless the value is a `Span`."""
    if not isinstance(value, tuple | list) or len(value) != 2 or not all(map(_is_seconds, value)):
        raise invalid(name, "a pair of seconds, in the queue and of work", value)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def span(durations: Durations | None, model: str, seconds: int, rng: random.Random) -> Span:
    """Return the seconds in the queue and of work that `durations` gives, or else draw them."""
    if isinstance(durations, Mapping):
        found = durations.get(model)
        return found if found is not None else draw_span(model, seconds, rng)
    if callable(durations):
        found = durations(model, seconds)
        check_span(f"durations({model!r}, {seconds})", found)
        return found
    return durations if durations is not None else draw_span(model, seconds, rng)
