"""How many requests may go out now: a token bucket for pacing inside an exact sliding window for safety.

The service counts arrivals: at most `limit` in any `window` seconds. An arrival lies somewhere between the moment when
its request was let go and the moment when its answer came. So a permit counts from when it is *granted* until `window`
seconds after it is *settled*; then no two arrivals that the service could count together were ever granted together,
however long the requests were under way. Proof: let the service see `limit + 1` arrivals within `window`. When the
last of them was granted, each of the others was unsettled, or settled less than `window` ago, and counted either way:
`limit` permits were out, and the last could not have been granted.

A window alone would let `limit` requests go at once and then none for a minute, which common edge limiters (a counter
weighted over two windows) answer with 429 after all. The bucket spreads them: a small burst, then an even pace slightly
below the limit. The slack between pace and limit is 3 of 60, and so is the usual burst: measured over simulated hours,
with quiet times between, a burst of 3 is never refused by such a counter, and one of 5 is now and then.

Times are seconds of any clock that does not run backwards faster than it is read; if it does, the last reading holds.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Final

from attrs import define, field, frozen

__all__ = ["Grant", "Quota", "QuotaState", "QuotaStatistics", "usual_burst"]

PACE: Final = 57 / 60
"""The share of the limit that is used in the long run; the rest absorbs the jitter of arrivals."""

MARGIN: Final = 1 / 500
"""The share of the window by which it is held longer than the service needs, for clocks that run apart."""

UNANSWERED: Final = 5.0
"""Seconds for which a request whose answer never came may still be on its way to the service; a window at most."""

LONGEST_PAUSE: Final = 3600.0
"""Seconds beyond which a `Retry-After` is taken for a mistake."""


def usual_burst(limit: int) -> int:
    """The burst that every kind of counter forgives: what the pace leaves of the limit, and at least one."""
    return max(1, round(limit * (1 - PACE)))


ROUNDING: Final = 1e-9
"""What a token may lack and still let a request go: it would ask for a wait that no clock can show."""


@define(eq=False)
class Grant:
    """One request that was let go. It counts until it is settled and the window has passed, or until it is refunded."""

    granted_at: float
    settled_at: float | None = None
    refunded: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the request is still under way."""
        return self.settled_at is None and not self.refunded


@frozen(kw_only=True)
class QuotaStatistics:
    """What a quota looked like at one moment."""

    limit: int
    window: float
    """Seconds."""
    burst: int
    in_window: int
    """Permits that count against the limit now."""
    in_flight: int
    """Those of them whose answer has not come yet."""
    tokens: float
    """Requests that may go at once, as far as the pace is concerned."""
    paused_for: float
    """Seconds until the pause after a 429 ends; 0 when there is none."""


@frozen(kw_only=True)
class QuotaState:
    """What a quota remembers, to go on from elsewhere. Moments are those of its clock."""

    now: float = -inf
    """The last moment that it was told."""
    tokens: float
    refilled_at: float = -inf
    paused_until: float = -inf
    open: int = 0
    """Requests under way."""
    settled: tuple[float, ...] = ()
    """When those that still count were settled, in order."""


@define(eq=False)
class Quota:
    """The state of one shared limit. All methods take the current time, and none of them waits.

    Args:
        limit: requests that the service accepts in a window.
        window: its length in seconds.
        burst: requests that may go at once after a quiet time.
    """

    limit: int
    window: float
    burst: int
    _open: int = field(default=0, init=False)
    _settled: deque[float] = field(factory=deque[float], init=False)
    _tokens: float = field(init=False)
    _refilled_at: float = field(default=-inf, init=False)
    _now: float = field(default=-inf, init=False)
    _paused_until: float = field(default=-inf, init=False)

    rate: float = field(init=False)
    """Requests a second in the long run."""
    held: float = field(init=False)
    """Seconds for which a settled permit goes on to count."""

    def __attrs_post_init__(self) -> None:
        self._tokens = float(self.burst)
        self.rate = PACE * self.limit / self.window
        self.held = self.window * (1 + MARGIN)

    @classmethod
    def restore(cls, limit: int, window: float, burst: int, state: QuotaState) -> Quota:
        """A quota that goes on from `state`."""
        quota = cls(limit, window, burst)
        quota._now = state.now
        quota._tokens = min(state.tokens, float(burst))
        quota._refilled_at = state.refilled_at
        quota._paused_until = state.paused_until
        quota._open = state.open
        quota._settled = deque(state.settled)
        return quota

    def state(self) -> QuotaState:
        """What `restore` goes on from."""
        return QuotaState(
            now=self._now,
            tokens=self._tokens,
            refilled_at=self._refilled_at,
            paused_until=self._paused_until,
            open=self._open,
            settled=tuple(self._settled),
        )

    def ready_at(self, now: float, reserve: int = 0) -> float:
        """When the next request may go: `now` if at once, infinity if an answer must come first.

        Args:
            now: the time.
            reserve: tokens that it leaves for others; it can leave all but one of the burst.
        """
        now = self._advance(now)
        return max(now, self._paused_until, self._token_at(reserve), self._room_at())

    def take(self, now: float, reserve: int = 0) -> Grant | None:
        """Let one request go, or return None when none may go now that leaves `reserve` tokens for others."""
        now = self._advance(now)
        if now < self._paused_until or self._token_at(reserve) > now or self._open + len(self._settled) >= self.limit:
            return None
        # A wait that ends exactly on time may find a token that lacks the last bit.
        self._tokens = max(0.0, self._tokens - 1)
        self._open += 1
        return Grant(granted_at=now)

    def settle(self, grant: Grant, now: float, *, answered: bool = True) -> None:
        """The request is over: its answer came, or (`answered=False`) it may have been sent and none will come.

        Settling twice, or after a refund, changes nothing.
        """
        if grant.settled_at is not None or grant.refunded:
            return
        now = self._advance(now)
        grant.settled_at = now if answered else now + min(UNANSWERED, self.window)
        self._open -= 1
        self._insert(grant.settled_at)

    def refund(self, grant: Grant, now: float) -> None:
        """The request was never sent: as if the permit had not been granted."""
        if not grant.is_open:
            return
        self._advance(now)
        grant.refunded = True
        self._open -= 1
        # A pause ends without a burst, whatever is given back until then.
        self._tokens = min(1.0 if self._now < self._paused_until else float(self.burst), self._tokens + 1)

    def pause(self, now: float, seconds: float) -> float:
        """Stop everyone for `seconds`, since the service said 429, and start again at an even pace.

        Returns when the pause ends. A pause never shortens one that holds already.
        """
        now = self._advance(now)
        self._paused_until = max(self._paused_until, now + min(max(seconds, 0.0), LONGEST_PAUSE))
        # No burst after a pause: whoever else shares the address starts again at the same moment.
        self._tokens = min(self._tokens, 1.0)
        self._refilled_at = max(self._refilled_at, self._paused_until)
        return self._paused_until

    def statistics(self, now: float) -> QuotaStatistics:
        """The state at this moment."""
        now = self._advance(now)
        return QuotaStatistics(
            limit=self.limit,
            window=self.window,
            burst=self.burst,
            in_window=self._open + len(self._settled),
            in_flight=self._open,
            tokens=self._tokens,
            paused_for=max(0.0, self._paused_until - now),
        )

    def _advance(self, now: float) -> float:
        if now < self._now:
            now = self._now
        self._now = now
        while self._settled and self._settled[0] + self.held <= now:
            self._settled.popleft()
        if now > self._refilled_at:
            if self._tokens < self.burst and self._refilled_at > -inf:
                self._tokens = min(float(self.burst), self._tokens + (now - self._refilled_at) * self.rate)
            self._refilled_at = now
        return now

    def _token_at(self, reserve: int) -> float:
        needed = 1 + min(reserve, self.burst - 1)
        if self._tokens >= needed - ROUNDING:
            return -inf
        return self._refilled_at + (needed - self._tokens) / self.rate

    def _room_at(self) -> float:
        surplus = self._open + len(self._settled) - self.limit
        if surplus < 0:
            return -inf
        return self._settled[surplus] + self.held if surplus < len(self._settled) else inf

    def _insert(self, settled_at: float) -> None:
        # Answers come in order; only those that never came are dated ahead.
        position = len(self._settled)
        while position and self._settled[position - 1] > settled_at:
            position -= 1
        self._settled.insert(position, settled_at)
