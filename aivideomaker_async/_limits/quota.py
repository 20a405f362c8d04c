"""How many requests may go out now: a token bucket for pacing inside an exact sliding window for safety.

The service counts arrivals: at most `limit` in any `window` seconds. A request arrives somewhere between the moment
when it was granted and the moment when its answer came. So a permit counts from its *grant* until `window` seconds
after it is *settled*; then no two arrivals that the service could count together were ever granted together, however
long the requests were in flight. Proof: suppose the service sees `limit + 1` arrivals within `window`. When the last of
them was granted, each of the others was unsettled, or settled less than `window` ago, and counted either way: `limit`
permits were out, and the last could not have been granted.

A window alone would let `limit` requests go at once and then none for a minute, which common edge limiters (a counter
weighted over two windows) answer with 429 after all. The bucket spreads them: a small burst, then an even pace slightly
below the limit. The slack between pace and limit is 3 of 60, and so is the usual burst: measured over simulated hours
with idle times between, a burst of 3 is never refused by such a counter, and one of 5 is now and then.

Times are seconds of any monotonic clock. If a clock runs backwards, its last reading holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf
from typing import Final

__all__ = ["MAX_LIMIT_PAUSE_S", "PACE_SHARE", "UNANSWERED_S", "Quota", "holding_time", "usual_burst"]

PACE_SHARE: Final = 57 / 60
"""The share of the limit that is used in the long run; the rest absorbs the jitter of arrivals."""

WINDOW_MARGIN: Final = 1 / 500
"""The share of the window by which permits count longer than the service needs, for clocks that run apart."""

UNANSWERED_S: Final = 5.0
"""How long a request without an answer may still be on its way to the service; a window at most."""

MAX_LIMIT_PAUSE_S: Final = 3600.0
"""Pauses are cut to this length: a longer `Retry-After` is a mistake of the service."""

TOKEN_ROUNDING: Final = 1e-9
"""The part of a token that may be missing from a whole one: waiting for it would be shorter than clocks can measure."""


def usual_burst(limit: int) -> int:
    """Return the burst that every kind of counter forgives: the slack between pace and limit, and at least one."""
    return max(1, round(limit * (1 - PACE_SHARE)))


def holding_time(window: float) -> float:
    """Return the seconds for which a settled permit continues to count."""
    return window * (1 + WINDOW_MARGIN)


class Quota:
    """The state of one limit. All methods take the current time, and none of them waits.

    Each `take` that succeeds must be followed by exactly one `settle` or `refund`.

    Args:
        limit: requests that the service accepts in a window.
        window: the length of the window in seconds.
        burst: requests that may go at once after an idle time.
        now: the last reading of the clock. This and what follows continue a quota from elsewhere.
        tokens: requests that may go at once as far as the pace is concerned; by default a burst.
        refilled_at: when the tokens were counted last.
        paused_until: when the pause after a 429 ends.
        in_flight: permits that are not settled.
        settled: when the permits that still count were settled, in order.
    """

    __slots__ = (
        "_hold",
        "_now",
        "_settled",
        "burst",
        "in_flight",
        "limit",
        "paused_until",
        "rate",
        "refilled_at",
        "tokens",
        "window",
    )

    def __init__(
        self,
        limit: int,
        window: float,
        burst: int,
        *,
        now: float = -inf,
        tokens: float = inf,
        refilled_at: float = -inf,
        paused_until: float = -inf,
        in_flight: int = 0,
        settled: Iterable[float] = (),
    ) -> None:
        self.limit = limit
        self.window = window
        self.burst = burst
        self.rate: float = PACE_SHARE * limit / window
        """Requests per second in the long run."""
        self._hold = holding_time(window)
        self.tokens: float = min(float(burst), tokens)
        self.refilled_at = refilled_at
        self.paused_until = paused_until
        self.in_flight = in_flight
        self._settled = deque(settled)
        self._now = now

    def ready_at(self, now: float, headroom: int = 0) -> float:
        """Return when the next request may go: `now` if at once, infinity if an answer must come first.

        Args:
            now: the time.
            headroom: tokens that the request leaves for others; at most all but one of the burst.
        """
        now = self._advance(now)
        surplus = self.in_flight + len(self._settled) - self.limit
        room_at = -inf
        if surplus >= 0:
            room_at = self._settled[surplus] + self._hold if surplus < len(self._settled) else inf
        return max(now, self.paused_until, self._token_at(headroom), room_at)

    def take(self, now: float, headroom: int = 0) -> bool:
        """Let one request go if one may go now that leaves `headroom` tokens for others; return whether it may."""
        now = self._advance(now)
        if self.in_flight + len(self._settled) >= self.limit or now < self.paused_until:
            return False
        if self.tokens < 1 + headroom and self._token_at(headroom) > now:
            return False
        # A wait that ends exactly on time may find a token that lacks the last bit.
        self.tokens = self.tokens - 1 if self.tokens > 1 else 0.0
        self.in_flight += 1
        return True

    def settle(self, now: float, *, answered: bool = True) -> None:
        """End a request.

        Args:
            now: the time.
            answered: False if the request may have been sent and no answer will come.
        """
        settled_at = self._advance(now)
        if not answered:
            settled_at += min(UNANSWERED_S, self.window)
        self.in_flight -= 1
        # Answers come in order; only requests without one are dated ahead.
        position = len(self._settled)
        while position and self._settled[position - 1] > settled_at:
            position -= 1
        self._settled.insert(position, settled_at)

    def refund(self, now: float) -> None:
        """Undo a `take`: the request was never sent."""
        now = self._advance(now)
        self.in_flight -= 1
        # A pause ends without a burst, whatever is refunded before its end.
        self.tokens = min(1.0 if now < self.paused_until else float(self.burst), self.tokens + 1)

    def pause(self, now: float, seconds: float) -> float:
        """Stop everyone for `seconds`, since the service answered 429, and resume at an even pace.

        Returns when the pause ends. A pause never shortens another one.
        """
        now = self._advance(now)
        self.paused_until = max(self.paused_until, now + min(max(seconds, 0.0), MAX_LIMIT_PAUSE_S))
        # No burst after a pause: other programs behind the same address resume at the same moment.
        self.tokens = min(self.tokens, 1.0)
        self.refilled_at = max(self.refilled_at, self.paused_until)
        return self.paused_until

    def in_window(self, now: float) -> int:
        """Return the number of permits that count against the limit."""
        self._advance(now)
        return self.in_flight + len(self._settled)

    def paused_for(self, now: float) -> float:
        """Return the seconds until the pause ends; 0 without a pause."""
        return max(0.0, self.paused_until - self._advance(now))

    def _advance(self, now: float) -> float:
        """Forget permits that no longer count, add the tokens since the last reading, and return the time."""
        if now < self._now:
            now = self._now
        self._now = now
        while self._settled and self._settled[0] + self._hold <= now:
            self._settled.popleft()
        if now > self.refilled_at:
            if self.tokens < self.burst and self.refilled_at > -inf:
                self.tokens = min(float(self.burst), self.tokens + (now - self.refilled_at) * self.rate)
            self.refilled_at = now
        return now

    def _token_at(self, headroom: int) -> float:
        """Return when a token is there beside `headroom` others; minus infinity if it is there already."""
        needed = 1 + min(headroom, self.burst - 1)
        if self.tokens >= needed - TOKEN_ROUNDING:
            return -inf
        return self.refilled_at + (needed - self.tokens) / self.rate
