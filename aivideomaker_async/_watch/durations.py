"""How long tasks take, learned from those that have ended.

The time from submit to end is taken to be lognormal, for each model and length of video: it cannot be negative, most
tasks take about the same, and a few take much longer. What is learned is weighed with a little of what is usual
everywhere, so that one sample does not make a certainty.

Samples come from two places. A task that this process has submitted and seen end is measured by the process's own
clock. A finished row of the task list tells `createdAt` and `completedAt` by the service's clock; a service under test
may let its clock run fast, so rows are scaled by what tasks that were seen both ways tell of the two clocks.
"""

from __future__ import annotations

from collections import deque
from math import erfc, exp, isfinite, log, pi, sqrt
from typing import Final, TypeAlias

from attrs import define, field, frozen

__all__ = ["USUAL", "Durations", "Estimate"]

KEPT: Final = 50
"""Samples kept for each model and length: enough to know, few enough to follow a service that becomes slower."""

LONGEST: Final = 24 * 3600.0
"""Seconds beyond which a row tells of a task that was forgotten, not of one that worked."""

SHORTEST_TOLD: Final = 0.1
"""Seconds below which a row does not tell of the making of a video, but of a clock that was set, or of nothing at all;
to believe it would be to ask as often as the limit allows."""

SAME_CLOCK: Final = 2.0
"""The ratio between own time and the service's up to which both clocks are taken to run alike: a task is seen to end
somewhat later than it ends."""

FASTEST_CLOCK: Final = 1000.0
"""The ratio between two clocks beyond which a row is taken for nonsense."""

MOST_KEYS: Final = 500
"""Models and lengths that are remembered; a service has some dozens. The names of models come from its answers."""

LONGEST_NAME: Final = 200
"""Characters of the name of a model that is learned about."""

RATIOS_KEPT: Final = 5
"""Tasks seen by both clocks that tell how these compare: their median, so that one odd row changes nothing."""

_PRIOR_SIGMA: Final = 0.5
_PRIOR_SAMPLES: Final = 3.0
"""The usual spread counts as much as so many samples."""

_PRIOR_MEAN_SAMPLES: Final = 0.1
_OTHER_LENGTH: Final = 0.4
"""What a video of another length adds to the spread."""

Key: TypeAlias = tuple[str, int | None]


@frozen
class Estimate:
    """What is believed of the time from submit to end: lognormal, in seconds."""

    mu: float
    """The mean of the logarithm."""
    sigma: float
    """The standard deviation of the logarithm."""
    samples: int = 0
    """Tasks that this was learned from; 0: nothing is known but what is usual."""
    measured: bool = False
    """Whether this process's own clock has measured one of them."""

    def done_by(self, age: float) -> float:
        """The probability that a task has ended at this age in seconds."""
        return 0.0 if age <= 0 else erfc(-self._z(age) / sqrt(2)) / 2

    def hazard(self, age: float) -> float:
        """The probability a second that a task of this age in seconds, which has not ended, ends now."""
        if age <= 0:
            return 0.0
        z = self._z(age)
        if z > 30:
            # Far in the tail both parts of the quotient vanish; this is its limit.
            return z / (age * self.sigma)
        going_on = erfc(z / sqrt(2)) / 2
        return exp(-z * z / 2) / (sqrt(2 * pi) * age * self.sigma * going_on)

    def age_at(self, share: float, age: float) -> float:
        """The age in seconds by which `share` of those tasks that have lived to `age` have ended."""
        # Slow to import, and seldom needed.
        from statistics import NormalDist

        lived = min(self.done_by(age), 1 - 1e-9)
        quantile = min(lived + share * (1 - lived), 1 - 1e-12)
        return max(age, exp(self.mu + self.sigma * NormalDist().inv_cdf(max(quantile, 1e-12))))

    def _z(self, age: float) -> float:
        return (log(age) - self.mu) / self.sigma


USUAL: Final = Estimate(mu=log(90.0), sigma=1.0)
"""Before anything is known: anywhere from seconds to many minutes. Two to seven minutes are usual (the vendor's users),
a short video may take 13 seconds."""


@define
class _Samples:
    own: deque[float] = field(factory=lambda: deque[float](maxlen=KEPT))
    told: deque[float] = field(factory=lambda: deque[float](maxlen=KEPT))


class Durations:
    """What this process has learned of each model and length."""

    def __init__(self) -> None:
        self._samples: dict[Key, _Samples] = {}
        self._estimates: dict[Key, Estimate] = {}
        self._clock_ratios: deque[float] = deque(maxlen=RATIOS_KEPT)

    def learn_told(self, model: str, length: int | None, seconds: float) -> None:
        """A row of a finished task: `seconds` from `createdAt` to `completedAt`. What makes no sense is ignored."""
        if _is_sensible(seconds, SHORTEST_TOLD) and len(model) <= LONGEST_NAME:
            self._of((model, length)).told.append(seconds)
            self._estimates.clear()

    def learn_own(self, model: str, length: int | None, seconds: float, told: float | None = None) -> None:
        """A task that was submitted here and seen to end.

        Args:
            model: its model.
            length: seconds of video, if known.
            seconds: from submit to end, by the own clock.
            told: the same by the service's clock, if it tells.
        """
        if not _is_sensible(seconds) or len(model) > LONGEST_NAME:
            return
        if told is not None and _is_sensible(told, SHORTEST_TOLD):
            ratio = seconds / told
            if 1 / SAME_CLOCK <= ratio <= SAME_CLOCK:
                # More exact than what was seen: an end is seen at the next poll.
                ratio, seconds = 1.0, told
            if 1 / FASTEST_CLOCK <= ratio <= FASTEST_CLOCK:
                self._clock_ratios.append(ratio)
        self._of((model, length)).own.append(seconds)
        self._estimates.clear()

    def estimate(self, model: str | None, length: int | None) -> Estimate:
        """What is believed of a model; what is usual while nothing is known of it."""
        if model is None or len(model) > LONGEST_NAME:
            return USUAL
        key = (model, length)
        found = self._estimates.get(key)
        if found is None:
            if len(self._estimates) >= MOST_KEYS:
                self._estimates.clear()
            found = self._estimates[key] = self._fit(key)
        return found

    def _of(self, key: Key) -> _Samples:
        found = self._samples.get(key)
        if found is None:
            found = self._samples[key] = _Samples()
            if len(self._samples) > MOST_KEYS:
                del self._samples[next(iter(self._samples))]
        return found

    def _fit(self, key: Key) -> Estimate:
        if key in self._samples:
            return self._fitted([self._samples[key]])
        others = [samples for (model, _), samples in self._samples.items() if model == key[0]]
        if not others:
            return USUAL
        near = self._fitted(others)
        return Estimate(near.mu, sqrt(near.sigma**2 + _OTHER_LENGTH**2), near.samples, near.measured)

    def _fitted(self, samples: list[_Samples]) -> Estimate:
        ratio = sorted(self._clock_ratios)[len(self._clock_ratios) // 2] if self._clock_ratios else 1.0
        own = [log(seconds) for item in samples for seconds in item.own]
        logs = own + [log(seconds * ratio) for item in samples for seconds in item.told]
        # The predictive distribution of a normal with unknown mean and spread, with a normal in place of Student's t.
        count = len(logs)
        weight = count + _PRIOR_MEAN_SAMPLES
        mean = sum(logs) / count
        mu = (sum(logs) + _PRIOR_MEAN_SAMPLES * USUAL.mu) / weight
        spread = sum((value - mean) ** 2 for value in logs)
        spread += _PRIOR_MEAN_SAMPLES * (mean - USUAL.mu) ** 2 * count / weight
        variance = (_PRIOR_SAMPLES * _PRIOR_SIGMA**2 + spread) / (_PRIOR_SAMPLES + count) * (1 + 1 / weight)
        return Estimate(mu, sqrt(variance), count, bool(own) or bool(self._clock_ratios))


def _is_sensible(seconds: float, shortest: float = 0.0) -> bool:
    return isfinite(seconds) and 0 < seconds <= LONGEST and seconds >= shortest
