"""Searches the task list for what became of lost submits. All searches of a client share the lists."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import inf
from typing import Final

from .._http import (
    ApiClient,
    Deadline,
    Failure,
    ListReader,
    MalformedAnswer,
    classify_error,
    deadline_exceeded,
    decode_task,
    list_tasks,
    parse_timestamp,
)
from .._redaction import shorten
from ..errors import AIVideoMakerError, APIError, SubmitOutcomeUnknown, TransportError
from ..tasks import TaskDetails
from .reconcile import Adopted, LookAgain, NotCreated, RowFilter
from .registry import SubmitRegistry, now_here
from .state import ServiceClock, Submit

__all__ = ["SubmitLookup"]

NEWEST_ROWS: Final = 100
"""Rows at the beginning of the list, which is newest first, that are looked at whatever their model and their time."""

logger: Final = logging.getLogger("aivideomaker_async.submits")

SPACING_PACES: Final = 2
"""Lists are at least this many requests of the limiter's pace apart: others need the limit as well."""

FIRST_LIST_PAUSE_S: Final = 2.0
"""Pause after a list that could not be had with all its attempts; it doubles each time."""

LONGEST_PAUSE_S: Final = 30.0


class SubmitLookup:
    """The searches of one client.

    Args:
        api: makes the calls.
        registry: the submits of its key.
        known_tasks: returns the ids of tasks for which the client has handles.
    """

    def __init__(self, api: ApiClient, registry: SubmitRegistry, known_tasks: Callable[[], Iterable[str]]) -> None:
        self._api = api
        self._registry = registry
        self._known_tasks = known_tasks
        self._reading = asyncio.Lock()
        self._requested_at = -inf
        self._failed: tuple[float, APIError | TransportError] | None = None

    async def settle(
        self, submit: Submit, deadline: Deadline, story: str, error: AIVideoMakerError | None = None
    ) -> TaskDetails | None:
        """Return the task of a lost submit; None when it was not created.

        Args:
            submit: the submit.
            deadline: the end of the search.
            story: how it was lost, for the message of an error.
            error: the error by which it was lost.

        Raises:
            SubmitOutcomeUnknown: it cannot be known.
        """
        loop = asyncio.get_running_loop()
        pause = FIRST_LIST_PAUSE_S
        while True:
            with self._registry.locked() as reconciler:
                verdict = reconciler.decide(submit, self.clock())
                if isinstance(verdict, NotCreated):
                    reconciler.refused(submit)
            if isinstance(verdict, Adopted):
                logger.info("the submit with idempotency key %s is task %s", submit.key, shorten(verdict.details.id))
                return verdict.details
            if isinstance(verdict, NotCreated):
                return None
            if not isinstance(verdict, LookAgain) or max(verdict.at, loop.time()) >= deadline.at:
                raise self.unknown(submit, story) from error
            try:
                await self._read_list(verdict.at, deadline)
            except (APIError, TransportError) as failed:
                if classify_error(failed) is Failure.REFUSED:
                    raise self.unknown(submit, f"{story}; and the task list cannot be had ({failed})") from error
                logger.info("%s; the search for the lost submit goes on", failed)
                await self._sleep_until(min(loop.time() + pause, deadline.at))
                pause = min(2 * pause, LONGEST_PAUSE_S)

    async def refresh(self, submit: Submit, story: str, deadline: Deadline) -> None:
        """Read the list as it is now: what is remembered may be of another day.

        Raises:
            SubmitOutcomeUnknown: it cannot be had.
        """
        try:
            await self._read_list(asyncio.get_running_loop().time(), deadline)
        except (APIError, TransportError) as failed:
            raise self.unknown(submit, f"{story}; and the task list cannot be had ({failed})") from failed

    async def bought_with(self, key: str, deadline: Deadline) -> TaskDetails | None:
        """Return the task that the list shows with this idempotency key; None if there is none, or no list.

        Args:
            key: the key.
            deadline: the end of the search.
        """
        try:
            return (await self._api.read_list(lambda: _TaskWithKey(key), deadline)).task
        except (APIError, TransportError) as error:
            logger.info("whether the idempotency key %s has bought a task is unknown: %s", key, error)
            return None

    async def _read_list(self, at: float, deadline: Deadline) -> None:
        """Read a list that is requested at this moment or later, unless another search has done so."""
        loop = asyncio.get_running_loop()
        await self._sleep_until(max(at, self._requested_at + SPACING_PACES * self._api.limiter.pace))
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._reading.acquire()
        except TimeoutError:
            raise deadline_exceeded(list_tasks()) from None
        try:
            if self._failed is not None and self._failed[0] > at:
                # The list of another search, requested late enough for this one.
                raise copy.copy(self._failed[1]) from self._failed[1]
            with self._registry.locked() as reconciler:
                if self._requested_at >= at and not reconciler.is_blank:
                    return
                row_filter = reconciler.row_filter(self.clock())
            requested_at = loop.time()
            try:
                reader = await self._api.read_list(lambda: _LostSubmitRows(row_filter), deadline)
            except (APIError, TransportError) as error:
                self._failed = loop.time(), error
                raise
            with self._registry.locked() as reconciler:
                reconciler.take_list(
                    reader.tasks,
                    requested_at=requested_at,
                    now=loop.time(),
                    known_tasks=self._known_tasks(),
                    unreadable=reader.unreadable,
                    rows_read=reader.rows_read,
                    oldest_at=reader.oldest_at,
                )
            self._requested_at = requested_at
        finally:
            self._reading.release()

    async def _sleep_until(self, at: float) -> None:
        if (seconds := at - asyncio.get_running_loop().time()) > 0:
            await self._api.sleep(list_tasks(), seconds)

    def clock(self) -> ServiceClock:
        """Return the time here and at the service."""
        return ServiceClock(now_here(), self._api.service_time(), is_known=self._api.clock_offset() is not None)

    def unknown(self, submit: Submit, story: str) -> SubmitOutcomeUnknown:
        """Return the error that carries all that is known of a submit whose outcome is unknown."""
        clock = self.clock()
        with self._registry.locked() as reconciler:
            candidates = reconciler.candidates(submit, clock)
            snapshot = reconciler.snapshot(submit, clock)
        assert submit.sent_at is not None  # noqa: S101
        return SubmitOutcomeUnknown(
            story,
            model=submit.fingerprint.model,
            idempotency_key=submit.key,
            began_at=datetime.fromtimestamp(clock.earliest(submit.sent_at), UTC),
            candidates=candidates,
            trace=snapshot,
        )


class _TaskWithKey(ListReader):
    """Searches the list for the task of an idempotency key, and reads no further than to it.

    Args:
        key: the key.
    """

    def __init__(self, key: str) -> None:
        super().__init__()
        self.task: TaskDetails | None = None
        self._key = key

    @property
    def enough(self) -> bool:
        """Whether it was found, or there are no more."""
        return self.task is not None or super().enough

    def take(self, row: object) -> None:
        """Keep the row if it is the one."""
        if isinstance(row, dict) and row.get("idempotencyKey") == self._key:
            self.task = decode_task(row, "$.tasks")


class _LostSubmitRows(ListReader):
    """Keeps the rows of the list that concern lost submits.

    Args:
        row_filter: which those are.
    """

    def __init__(self, row_filter: RowFilter) -> None:
        super().__init__()
        self.tasks: list[TaskDetails] = []
        self.unreadable: int = 0
        """Rows that cannot be decoded, and may be any task."""
        self._row_filter = row_filter
        self._ends: tuple[object, object] = None, None

    @property
    def oldest_at(self) -> float | None:
        """When the first or the last task of the list was created, whichever is older; None if unknown."""
        stamps = [at for end in self._ends if (at := parse_timestamp(end)) is not None]
        return min(stamps, default=None)

    def take(self, row: object) -> None:
        """Keep the row if it is needed."""
        if isinstance(row, dict):
            last = row.get("createdAt")
            self._ends = last if self.rows_read == 1 else self._ends[0], last
            created_at = parse_timestamp(last)
            is_new = self.rows_read <= NEWEST_ROWS or created_at is None or created_at >= self._row_filter.since
            if not is_new and not self._row_filter.matches(row):
                return
        try:
            self.tasks.append(decode_task(row, "$.tasks"))
        except MalformedAnswer:
            self.unreadable += 1
