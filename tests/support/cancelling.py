"""Cancel a call at each of its awaits in turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

MOST_STEPS = 3000


async def cancel_everywhere(
    call: Callable[[], Awaitable[Any]], check: Callable[[], Awaitable[None]], *, at_least: int
) -> None:
    """Make `call` again and again, each time cancelled one step of the loop later, until it ends before that.

    Args:
        call: makes the call anew.
        check: what must hold after each cancellation.
        at_least: steps that the call takes at least, so that a call that does nothing fails the test.
    """
    for steps in range(MOST_STEPS):
        task = asyncio.ensure_future(call())
        for step in range(1, steps + 1):
            if task.done():
                break
            # Mostly single steps of the loop. Some let time pass, for calls that wait for a timer.
            await asyncio.sleep(0 if step % 10 else 0.1)
        if task.done():
            task.result()
            assert steps >= at_least, f"the call ended after {steps} steps"
            return
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), f"the cancellation after {steps} steps was ignored"
        await check()
    raise AssertionError("the call does not end")
