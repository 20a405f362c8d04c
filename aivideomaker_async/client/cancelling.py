"""What becomes of a paid task when the asyncio task that waits for it is cancelled.

Nothing, unless that is asked for. Then the cancel of the paid task is shielded from the cancellation that caused it,
and bounded in time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from anyio import CancelScope, fail_after

from .._redaction import shorten
from ..errors import AIVideoMakerError, ConfigurationError, SubmitOutcomeUnknown

if TYPE_CHECKING:
    from .task import VideoTask

__all__ = ["OnCancel", "cancel_paid", "check_on_cancel", "submit_or_cancel"]

logger: Final = logging.getLogger("aivideomaker_async.client")

OnCancel: TypeAlias = Literal["leave", "cancel"]
"""Whether a paid task is left alone, or cancelled, when the wait for it is cancelled."""

PATIENCE: Final = 10.0
"""Seconds that a cancellation may take longer, to cancel the paid task as well."""


def check_on_cancel(value: OnCancel) -> None:
    """Refuse anything else than the two.

    Raises:
        ConfigurationError: it is something else.
    """
    if value not in get_args(OnCancel):
        raise ConfigurationError(f"on_cancel={value!r}: must be 'leave' or 'cancel'")


async def submit_or_cancel(
    submit: Coroutine[Any, Any, VideoTask],
    is_under_way: Callable[[], bool],
    on_unknown: Callable[[SubmitOutcomeUnknown], object],
) -> VideoTask:
    """Submit; when that is cancelled on its way, see it through and cancel its task.

    Args:
        submit: the call.
        is_under_way: whether the service may have got any of it.
        on_unknown: is told that it is not known what became of it, since nobody else is.
    """
    # In a task of its own, since a coroutine that was cancelled cannot go on.
    own = asyncio.get_running_loop().create_task(submit, name="aivideomaker_async.submit")
    try:
        return await asyncio.shield(own)
    except asyncio.CancelledError:
        with CancelScope(shield=True):
            if is_under_way():
                await asyncio.wait([own], timeout=PATIENCE)
            if own.done() and not own.cancelled():
                if own.exception() is None:
                    await cancel_paid(own.result())
                elif isinstance(unknown := own.exception(), SubmitOutcomeUnknown):
                    on_unknown(unknown)
        raise
    finally:
        if not own.done():
            own.cancel()
            with CancelScope(shield=True):
                await asyncio.wait([own])


async def cancel_paid(task: VideoTask) -> None:
    """Cancel the paid task, while the caller is being cancelled. It never raises but for a second cancellation."""
    try:
        with CancelScope(shield=True), fail_after(PATIENCE):
            result = await task.cancel(timeout=PATIENCE)
            logger.info("cancelled with its wait: task %s is %s", shorten(task.id), result.status)
    except (AIVideoMakerError, TimeoutError) as error:
        logger.warning("task %s was to be cancelled with its wait, and goes on: %s", shorten(task.id), error)
