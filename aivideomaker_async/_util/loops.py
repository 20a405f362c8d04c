"""The running event loop, or an error that says what the package needs."""

from __future__ import annotations

import asyncio

from ..errors import ConfigurationError

__all__ = ["running_loop"]


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
