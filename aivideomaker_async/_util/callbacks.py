"""Callbacks of users: plain functions, or async ones, which are awaited."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVarTuple, Unpack

from ..errors import ConfigurationError

__all__ = ["call", "check_plain"]

Ts = TypeVarTuple("Ts")


async def call(callback: Callable[[Unpack[Ts]], object] | None, *arguments: *Ts) -> None:
    """Call `callback`, if there is one, and await what it returns if that can be awaited."""
    if callback is not None:
        result = callback(*arguments)
        if inspect.isawaitable(result):
            await result


def check_plain(name: str, callback: Callable[..., object]) -> None:
    """Check that a callback whose result is needed at once is no async function.

    Raises:
        ConfigurationError: it is one. Its result would be a coroutine that nobody awaits.
    """
    if inspect.iscoroutinefunction(callback) or inspect.iscoroutinefunction(type(callback).__call__):
        raise ConfigurationError(f"{name}: must be a plain function, not an async one: its result is needed at once")
