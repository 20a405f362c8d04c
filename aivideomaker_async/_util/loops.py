"""The running event loop and its clock."""

from __future__ import annotations

import asyncio
import time

from ..errors import ConfigurationError

__all__ = ["loop_or_none", "loop_time", "running_loop"]


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop of asyncio.

    Raises:
        ConfigurationError: none runs here, for example under trio.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "no asyncio event loop runs here: this package needs asyncio (with anyio, the asyncio backend; not trio)"
        ) from None


def loop_or_none() -> asyncio.AbstractEventLoop | None:
    """Return the running event loop of this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def loop_time() -> float:
    """Return the time of the running event loop; outside of any loop that of the clock which loops usually read."""
    loop = asyncio._get_running_loop()
    return time.monotonic() if loop is None else loop.time()
