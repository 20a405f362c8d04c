"""Looks into the task list for what became of lost submits. All that are lost share the looks."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from math import inf
from typing import Final

from .._http import ApiClient, Deadline, Failure, classify_error, deadline_exceeded, list_tasks
from .._redaction import shorten
from ..errors import AIVideoMakerError, APIError, SubmitOutcomeUnknown, TransportError
from ..tasks import TaskDetails
from .reconcile import Adopted, LookAgain, NotCreated
from .registry import Account, moment
from .state import Clock, Submit
from .submit_rows import TasksOfSubmits

__all__ = ["Lookup"]

logger: Final = logging.getLogger("aivideomaker_async.submits")

SPACING: Final = 2
"""Looks at the list are no closer than this many requests that the limit sustains: others need it as well."""

LOOK_FAILED: Final = 2.0
"""Seconds until the next look, after one that failed with all its attempts; longer each time."""

LOOK_AT_LEAST: Final = 30.0
"""Seconds between looks, however many failed."""


class Lookup:
    """The looks of one client.

    Args:
        api: makes the calls.
        account: what is known of its submits.
        handled: the ids of tasks for which the client has handles.
    """

    def __init__(self, api: ApiClient, account: Account, handled: Callable[[], Iterable[str]]) -> None:
        self._api = api
        self._account = account
        self._handled = handled
        self._looking = asyncio.Lock()
        self._asked_at = -inf
        self._failed: tuple[float, APIError | TransportError] | None = None

    async def settle(
        self, submit: Submit, deadline: Deadline, story: str, error: AIVideoMakerError | None = None
    ) -> TaskDetails | None:
        """The task of a lost submit; None when it was not created.

        Args:
            submit: the submit.
            deadline: the end of the search.
            story: how it was lost.
            error: the error by which it was lost.

        Raises:
            SubmitOutcomeUnknown: it cannot be known.
        """
        loop = asyncio.get_running_loop()
        pause = LOOK_FAILED
        while True:
            with self._account.lock:
                verdict = self._account.ledger.decide(submit, self.clock())
            if isinstance(verdict, Adopted):
                logger.info("the submit with idempotency key %s is task %s", submit.key, shorten(verdict.details.id))
                return verdict.details
            if isinstance(verdict, NotCreated):
                with self._account.lock:
                    self._account.ledger.refused(submit)
                return None
            if not isinstance(verdict, LookAgain) or max(verdict.at, loop.time()) >= deadline.at:
                raise self.unknown(submit, story) from error
            try:
                await self._look(verdict.at, deadline)
            except (APIError, TransportError) as failed:
                if classify_error(failed) is Failure.REFUSED:
                    raise self.unknown(submit, f"{story}; and the task list cannot be had ({failed})") from error
                logger.info("%s; the look for the lost submit goes on", failed)
                await self._rest_until(min(loop.time() + pause, deadline.at))
                pause = min(2 * pause, LOOK_AT_LEAST)

    async def _look(self, at: float, deadline: Deadline) -> None:
        """Let a list be asked for at this moment or later; all who need one share it."""
        loop = asyncio.get_running_loop()
        await self._rest_until(max(at, self._asked_at + SPACING * self._api.limiter.pace))
        request = list_tasks()
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._looking.acquire()
        except TimeoutError:
            raise deadline_exceeded(request) from None
        try:
            if self._failed is not None and self._failed[0] > at:
                # It was another's look, and says enough.
                raise copy.copy(self._failed[1])
            if self._asked_at < at or self._account.ledger.is_blank:
                asked_at = loop.time()
                with self._account.lock:
                    wanted = self._account.ledger.wanted()
                try:
                    reader = await self._api.read_list(lambda: TasksOfSubmits(wanted), deadline)
                except (APIError, TransportError) as error:
                    self._failed = loop.time(), error
                    raise
                self._take(reader, asked_at)
        finally:
            self._looking.release()

    def _take(self, reader: TasksOfSubmits, asked_at: float) -> None:
        with self._account.lock:
            self._account.ledger.take(
                reader.tasks,
                asked_at=asked_at,
                now=asyncio.get_running_loop().time(),
                handled=self._handled(),
                unreadable=reader.unreadable,
                rows_read=reader.rows_read,
                reaches_back=reader.reaches_back,
            )
        self._asked_at = asked_at

    async def _rest_until(self, at: float) -> None:
        loop = asyncio.get_running_loop()
        if (seconds := at - loop.time()) > 0:
            await self._api.sleep(list_tasks(), seconds)

    async def look_anew(self, submit: Submit, story: str, deadline: Deadline) -> None:
        """Look at the list as it is now: what is remembered may be of another day.

        Raises:
            SubmitOutcomeUnknown: it cannot be had.
        """
        asked_after = asyncio.get_running_loop().time()
        try:
            await self._look(asked_after, deadline)
        except (APIError, TransportError) as failed:
            raise self.unknown(submit, f"{story}; and the task list cannot be had ({failed})") from failed

    def clock(self) -> Clock:
        """What time it is, here and at the service."""
        return Clock(moment(), self._api.service_time())

    def unknown(self, submit: Submit, story: str) -> SubmitOutcomeUnknown:
        """The error that tells all that is known of a submit of which it is not known what became of it."""
        clock = self.clock()
        with self._account.lock:
            candidates = self._account.ledger.candidates(submit, clock)
            trace = self._account.ledger.trace(submit, clock)
        return SubmitOutcomeUnknown(
            story,
            model=submit.order.model,
            idempotency_key=submit.key,
            began_at=datetime.fromtimestamp(trace.sent, UTC),
            candidates=candidates,
            trace=trace,
        )
