"""To be written."""

from .host import HostRateLimiter, default_limiter
from .local import Limiter, LimiterStatistics, Permit, Priority, RateLimiter
from .quota import LONGEST_PAUSE
from .shared import SharedRateLimiter

__all__ = [
    "LONGEST_PAUSE",
    "HostRateLimiter",
    "Limiter",
    "LimiterStatistics",
    "Permit",
    "Priority",
    "RateLimiter",
    "SharedRateLimiter",
    "default_limiter",
]
