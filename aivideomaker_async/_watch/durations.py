"""How long tasks take, learned from those that have ended.

The time from submit to end is taken to be lognormal, for each model and length of video: it cannot be negative, most
tasks take about the same, and a few take much longer. What is learned is weighed with a little of what is usual
everywhere, so that one sample does not make a certainty.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import erfc, exp, isfinite, log, pi, sqrt
from typing import Final, NamedTuple, TypeAlias

__all__ = ["USUAL", "Durations", "Estimate"]

SAMPLES_KEPT: Final = 50
"""For each model and length: enough to be certain, few enough to follow a service that becomes slower."""

MAX_DURATION_S: Final = 24 * 3600.0
"""A longer one is that of a task that the service forgot for a while."""

MIN_DURATION_S: Final = 0.1
"""A shorter one was measured by a clock that was set; polls would follow it at the pace of the limit."""

MAX_LEARNED_KINDS: Final = 500
"""Models and lengths that are remembered; a service has a few dozen. The names of models come from its answers."""

MAX_NAME_CHARACTERS: Final = 200

_PRIOR_SIGMA: Final = 0.5
_PRIOR_SAMPLES: Final = 3.0
"""The weight of the usual spread, in samples."""

_PRIOR_MEAN_SAMPLES: Final = 0.1
_OTHER_LENGTH_SIGMA: Final = 0.4
"""What a video of another length adds to the spread."""

Key: TypeAlias = tuple[str, int | None]


class Estimate(NamedTuple):
    """The distribution of the seconds from submit to end: lognormal."""

    mu: float
    """The mean of the logarithm."""
    sigma: float
    """The standard deviation of the logarithm."""
    samples: int = 0
    """Tasks that it was learned from; with 0 it is only what is usual."""
    confirmed: bool = False
    """Whether this client has seen a task end itself, and not only old rows of the list."""

    def done_by(self, age: float) -> float:
        """Return the probability that a task has ended at this age in seconds."""
        return 0.0 if age <= 0 else erfc(-self._z(age) / sqrt(2)) / 2

    def hazard(self, age: float) -> float:
        """Return the probability a second that a task of this age in seconds, which has not ended, ends now."""
        if age <= 0:
            return 0.0
        z = self._z(age)
        if z > 30:
            # Far in the tail both parts of the quotient vanish; this is its limit.
            return z / (age * self.sigma)
        going_on = erfc(z / sqrt(2)) / 2
        return exp(-z * z / 2) / (sqrt(2 * pi) * age * self.sigma * going_on)

    def age_at(self, share: float, age: float) -> float:
        """Return the age in seconds by which `share` of those tasks that have lived to `age` have ended."""
        # Slow to import, and seldom needed.
        from statistics import NormalDist

        lived = min(self.done_by(age), 1 - 1e-9)
        quantile = min(lived + share * (1 - lived), 1 - 1e-12)
        return max(age, exp(self.mu + self.sigma * NormalDist().inv_cdf(max(quantile, 1e-12))))

    def _z(self, age: float) -> float:
        return (log(age) - self.mu) / self.sigma


USUAL: Final = Estimate(mu=log(90.0), sigma=1.0)
"""Before anything is learned: anywhere from seconds to many minutes. Two to seven minutes are usual (the vendor's
users), a short video may take 13 seconds."""


class Durations:
    """The durations that this client has seen, by model and length."""

    def __init__(self) -> None:
        self._samples: dict[Key, deque[float]] = {}
        self._estimates: dict[Key, Estimate] = {}
        self._confirmed = False

    def learn(
        self, model: str, length: int | None, *, reported: float | None = None, measured: float | None = None
    ) -> None:
        """Learn from a task that has ended. Absurd durations are ignored.

        Args:
            model: its model.
            length: seconds of video, if known.
            reported: seconds from submit to end, as the service reports them.
            measured: the same, as this client has measured them. A poll sees an end late, so this is an upper bound.
        """
        sensible = [item for item in (reported, measured) if item is not None and _is_sensible(item)]
        if not sensible or len(model) > MAX_NAME_CHARACTERS:
            return
        self._confirmed = self._confirmed or measured is not None
        key = (model, length)
        if key not in self._samples:
            self._samples[key] = deque(maxlen=SAMPLES_KEPT)
            if len(self._samples) > MAX_LEARNED_KINDS:
                del self._samples[next(iter(self._samples))]
        self._samples[key].append(min(sensible))
        self._estimates.clear()

    def estimate(self, model: str | None, length: int | None) -> Estimate:
        """Return the estimate for a model and a length: `USUAL` while nothing was learned of the model."""
        if model is None or len(model) > MAX_NAME_CHARACTERS:
            return USUAL
        key = (model, length)
        found = self._estimates.get(key)
        if found is None:
            if len(self._estimates) >= MAX_LEARNED_KINDS:
                self._estimates.clear()
            found = self._estimates[key] = self._fit(key)
        return found

    def _fit(self, key: Key) -> Estimate:
        if key in self._samples:
            return _fit(self._samples[key], self._confirmed)
        other_lengths = [seconds for (model, _), some in self._samples.items() if model == key[0] for seconds in some]
        if not other_lengths:
            return USUAL
        near = _fit(other_lengths, self._confirmed)
        return near._replace(sigma=sqrt(near.sigma**2 + _OTHER_LENGTH_SIGMA**2))


def _is_sensible(seconds: float) -> bool:
    return isfinite(seconds) and MIN_DURATION_S <= seconds <= MAX_DURATION_S


def _fit(samples: Iterable[float], confirmed: bool) -> Estimate:
    """Return the predictive distribution of a normal with unknown mean and spread; a normal stands for Student's t."""
    logs = [log(seconds) for seconds in samples]
    count = len(logs)
    weight = count + _PRIOR_MEAN_SAMPLES
    mean = sum(logs) / count
    mu = (sum(logs) + _PRIOR_MEAN_SAMPLES * USUAL.mu) / weight
    spread = sum((value - mean) ** 2 for value in logs)
    spread += _PRIOR_MEAN_SAMPLES * (mean - USUAL.mu) ** 2 * count / weight
    variance = (_PRIOR_SAMPLES * _PRIOR_SIGMA**2 + spread) / (_PRIOR_SAMPLES + count) * (1 + 1 / weight)
    return Estimate(mu, sqrt(variance), count, confirmed)
