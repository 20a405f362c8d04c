"""Submits that are made exactly once.

A submit whose answer is lost is looked up in the task list, adopted when its task is found, and sent again only when it
was surely not created. `_core.ledger` decides and `lookup` fetches the list; what cannot be decided is kept until
somebody asks again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Final, Self

from attrs import define, field, frozen

from .._http import ApiClient, Deadline, Failure, Request, Sending, classify_error, list_tasks
from .._redaction import shorten, single_line
from ..errors import (
    AIVideoMakerError,
    APIError,
    ConfigurationError,
    IdempotencyConflict,
    RequestTimeout,
    SubmitOutcomeUnknown,
    TransportError,
)
from ..tasks import SubmittedTask, TaskDetails
from .lookup import Lookup
from .matching import Order
from .reconcile import MOST_UNSETTLED
from .registry import OtherOrder, account_of, moment
from .state import State, Submit, Trace

__all__ = ["Bought", "By", "IdempotencyKey", "Submitter"]

logger: Final = logging.getLogger("aivideomaker_async.submits")

BUSY: Final = 0.25
"""Seconds between two looks whether another client is still at work on a submit."""

LEAST_TIME: Final = 5.0
"""Seconds that must be left for a submit to be sent again: with less, its answer would only be lost as well."""

PERHAPS_DONE: Final = frozenset({409, 425, 444, 499})
"""Statuses of proxies, which say nothing of what the service has done, unless it is the service that says them."""


@frozen
class IdempotencyKey:
    """The name of a submit."""

    text: str
    is_callers: bool
    """Whether the caller has chosen it."""

    @classmethod
    def of(cls, text: str | None) -> Self:
        """The caller's key, or a fresh one."""
        return cls(f"avm-{uuid.uuid4()}", False) if text is None else cls(text, True)


class By(Enum):
    """Which of the submits with one idempotency key has bought the task."""

    THIS = auto()
    EARLIER = auto()
    """One of another process, or of another day."""
    KNOWN = auto()
    """One that this process has seen through."""


@frozen
class Bought:
    """A submit that has its task."""

    answer: SubmittedTask
    details: TaskDetails | None = None
    """What the list told of it, where the answer was lost."""
    by: By = By.THIS
    """Who has bought it."""


@define(eq=False)
class _Turn:
    lock: asyncio.Lock = field(factory=asyncio.Lock)
    users: int = 0


@frozen
class _Unsettled:
    submit: Submit
    error: SubmitOutcomeUnknown


class Submitter:
    """Makes the submits of one client.

    Args:
        api: makes the calls.
        handled: the ids of tasks for which the client has handles.
        on_unsettled: is told of each submit that was cancelled on its way, so that nobody else gets the error.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        handled: Callable[[], Iterable[str]],
        on_unsettled: Callable[[SubmitOutcomeUnknown], object] | None = None,
    ) -> None:
        self._api = api
        self._on_unsettled = on_unsettled
        self._account = account_of(api.settings.base_url, api.settings.key)
        self._lookup = Lookup(api, self._account, handled)
        self._turns: dict[str, _Turn] = {}
        self._at_work: dict[str, tuple[Submit, Sending]] = {}
        self._unsettled: dict[str, _Unsettled] = {}

    def unsettled(self) -> list[SubmitOutcomeUnknown]:
        """The submits of which nobody knows what became of them, the oldest first."""
        for submit, sending in tuple(self._at_work.values()):
            if self._account.is_abandoned(submit) and (sending.sent or submit.was_lost):
                # Its loop was closed under it, and nobody has told it.
                self._remember(submit, self._lookup.unknown(submit, "the event loop was closed under the submit"))
                del self._at_work[submit.key]
        # Another client may have settled it meanwhile.
        return [item.error for item in self._unsettled.values() if item.submit.state is not State.DONE]

    def is_under_way(self, key: str) -> bool:
        """Whether any of the submit with this key may have arrived, and it is not settled."""
        if key not in self._at_work:
            return False
        submit, sending = self._at_work[key]
        return sending.sent or submit.state is State.LOST

    async def submit(
        self, request: Request[SubmittedTask], order: Order, *, deadline: Deadline, is_callers_key: bool
    ) -> Bought:
        """Submit once, and see it through.

        Args:
            request: the submit.
            order: what it asks for, as the task list will show it.
            deadline: the end of the call.
            is_callers_key: whether the caller has chosen the idempotency key, so that it may come again.

        Raises:
            APIError: the service refuses, and has created nothing.
            TransportError: nothing was sent; or nothing was created, however often it was tried.
            SubmitOutcomeUnknown: it may have been created.
            ConfigurationError: the client cannot be used.
        """
        key = request.headers["Idempotency-Key"]
        if not is_callers_key:
            submit = Submit(key, order, self._grace)
            self._account.begin(submit)
            return await self._see_through(submit, request, deadline)
        async with self._turn(request, key, deadline):
            taken = await self._take_up(
                key, order, lambda: Submit(key, order, self._grace, recurs=True), request, deadline
            )
            if isinstance(taken, str):
                return Bought(SubmittedTask(task_id=taken), by=By.KNOWN)
            return await self._see_through(taken, request, deadline)

    async def reconcile(self, error: SubmitOutcomeUnknown, *, deadline: Deadline) -> Bought | None:
        """Look again what became of a submit; None when it was surely not created.

        Raises:
            SubmitOutcomeUnknown: it still cannot be known.
            ConfigurationError: the client cannot be used.
        """
        key = error.idempotency_key
        request = list_tasks()
        story = str(error).partition("; the outcome")[0]
        async with self._turn(request, key, deadline):
            taken = await self._take_up(key, None, lambda: self._restore(error), request, deadline)
            if isinstance(taken, str):
                self._unsettled.pop(key, None)
                return Bought(SubmittedTask(task_id=taken))
            async with self._accounted_for(taken, Sending()):
                await self._lookup.look_anew(taken, story, deadline)
                if taken.sent_elsewhere:
                    # Now the service has told its time.
                    again = self._restore(error)
                    taken.sent, taken.lost_at = again.sent, again.lost_at
                details = await self._lookup.settle(taken, deadline, story)
            return None if details is None else _adopted(details)

    def settle(self, error: SubmitOutcomeUnknown, task_id: str | None) -> Bought | None:
        """Somebody has found out: it is this task, or there is none."""
        key = error.idempotency_key
        with self._account.lock:
            submit = self._account.ledger.open_with(key)
            if submit is not None and self._account.is_at_work(submit):
                reason = "is under way again, or being looked for; wait for what comes of that"
                raise ConfigurationError(f"the submit with idempotency key {single_line(key)} {reason}")
            submit = submit or self._restore(error)
            try:
                self._account.ledger.settle(submit, task_id, moment())
            except ValueError:
                reason = "is the task of another submit of this process"
                raise ConfigurationError(f"task_id={single_line(str(task_id))!r}: {reason}") from None
        self._unsettled.pop(key, None)
        return None if task_id is None else Bought(SubmittedTask(task_id=task_id))

    async def _take_up(
        self, key: str, order: Order | None, make: Callable[[], Submit], request: Request[object], deadline: Deadline
    ) -> Submit | str:
        """The submit with this key, once no other client of this process is at work on it; or the id of its task."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken = self._account.take_up(key, order, make, moment())
            except OtherOrder:
                raise _conflict(request) from None
            if taken is not None:
                return taken
            if loop.time() >= deadline.at:
                raise _busy(request)
            await self._api.sleep(request, BUSY, deadline)

    # --- one submit ----------------------------------------------------------------------------------

    async def _see_through(self, submit: Submit, request: Request[SubmittedTask], deadline: Deadline) -> Bought:
        sending = Sending(lambda sent: self._sent(submit, sent=sent))
        async with self._accounted_for(submit, sending):
            attempt = 1
            if submit.was_lost:
                details = await self._lookup.settle(submit, deadline, "an earlier submit with this key was lost")
                if details is not None:
                    return _adopted(details)
            while True:
                try:
                    return await self._send(submit, request, sending, deadline)
                except (APIError, TransportError) as error:
                    details = await self._after(submit, error, deadline)
                    if details is not None:
                        return _adopted(details)
                    await self._rest_before(request, error, attempt, deadline)
                attempt += 1

    async def _send(
        self, submit: Submit, request: Request[SubmittedTask], sending: Sending, deadline: Deadline
    ) -> Bought:
        answer = await self._api.call(request, deadline, sending=sending)
        with self._account.lock:
            self._account.ledger.answered(submit, answer.task_id, moment())
        return Bought(answer, by=By.EARLIER if answer.idempotent_replay and not submit.was_lost else By.THIS)

    async def _after(self, submit: Submit, error: APIError | TransportError, deadline: Deadline) -> TaskDetails | None:
        """The task of an attempt that failed; None when it has none and another attempt may be made.

        Raises:
            APIError, TransportError: there is no task, and another attempt would not help.
            SubmitOutcomeUnknown: that cannot be known.
        """
        is_lost = classify_error(error) is Failure.LOST or _says_nothing(error)
        # A refusal may be the echo of an earlier attempt, which came through late: its key is used, its credits spent.
        if not is_lost and not submit.was_lost:
            with self._account.lock:
                self._account.ledger.refused(submit)
            raise error
        logger.warning("%s; looking for its task (idempotency key %s)", error, submit.key)
        with self._account.lock:
            self._account.ledger.lost(submit, asyncio.get_running_loop().time())
        details = await self._lookup.settle(submit, deadline, str(error), error)
        if details is None and not is_lost:
            raise error
        return details

    async def _rest_before(
        self, request: Request[object], error: AIVideoMakerError, attempt: int, deadline: Deadline
    ) -> None:
        policy = self._api.settings.policy
        # Hundreds that were lost together do not come back together.
        pause = policy.backoff(attempt, random.random())
        if attempt >= policy.max_attempts or asyncio.get_running_loop().time() + pause + LEAST_TIME >= deadline.at:
            raise error
        logger.info("nothing was created; attempt %d in %.2f s", attempt + 1, pause)
        await self._api.sleep(request, pause, deadline)

    @asynccontextmanager
    async def _accounted_for(self, submit: Submit, sending: Sending) -> AsyncIterator[None]:
        """Whatever happens within: what may exist at the service is not forgotten."""
        self._at_work[submit.key] = submit, sending
        try:
            yield
        except BaseException as error:
            if not self._account.is_seen_through_in(self._api.lifecycle.loop, submit):
                # Its loop was closed long ago, and another client has taken it up.
                raise
            is_open = submit.state in {State.LOST, State.GIVEN_UP}
            if not is_open and not (submit.state is State.UNDER_WAY and sending.sent):
                self._forget(submit)
                raise
            unknown = error if isinstance(error, SubmitOutcomeUnknown) else self._lookup.unknown(submit, _cause(error))
            self._remember(submit, unknown)
            if not isinstance(error, Exception):
                self.tell(unknown)
                raise
            if unknown is error:
                raise
            raise unknown from error
        else:
            self._forget(submit)
        finally:
            self._at_work.pop(submit.key, None)

    def _sent(self, submit: Submit, *, sent: bool) -> None:
        with self._account.lock:
            if sent:
                self._account.ledger.sent(submit, moment())
            elif submit.state is State.UNDER_WAY:
                self._account.ledger.refused(submit)

    def _remember(self, submit: Submit, unknown: SubmitOutcomeUnknown) -> None:
        with self._account.lock:
            if submit.state is State.UNDER_WAY:
                self._account.ledger.lost(submit, moment().loop)
            self._account.ledger.give_up(submit)
        self._unsettled[submit.key] = _Unsettled(submit, unknown)
        if len(self._unsettled) > MOST_UNSETTLED:
            forgotten = self._unsettled.pop(next(iter(self._unsettled)))
            logger.error("too many submits are unsettled; one is forgotten: %s", forgotten.error)

    def _forget(self, submit: Submit) -> None:
        with self._account.lock:
            self._account.ledger.close(submit)
        self._unsettled.pop(submit.key, None)

    def tell(self, unknown: SubmitOutcomeUnknown) -> None:
        """Nobody gets this error but `unsettled` and the callback."""
        logger.warning("%s", unknown)
        if self._on_unsettled is None:
            return
        try:
            self._on_unsettled(unknown)
        except Exception:
            logger.exception("on_unsettled failed")

    # --- small things --------------------------------------------------------------------------------

    @property
    def _grace(self) -> float:
        return self._api.settings.policy.grace

    def _deadline(self, timeout: float | None) -> float:
        loop = self._api.lifecycle.check_usable()
        return loop.time() + (self._api.settings.call_timeout if timeout is None else timeout)

    def _restore(self, error: SubmitOutcomeUnknown) -> Submit:
        """A submit of another client, perhaps of another process."""
        clock, trace = self._lookup.clock(), error._trace
        if not isinstance(trace, Trace):
            # Of somebody's own making.
            began = error.began_at.timestamp()
            trace = Trace(Order(error.model, {}), began, began, frozenset())
        return trace.restore(error.idempotency_key, clock, self._grace)

    @asynccontextmanager
    async def _turn(self, request: Request[object], key: str, deadline: Deadline) -> AsyncIterator[None]:
        """One at a time for each key: whoever comes second finds what became of the first."""
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            try:
                async with asyncio.timeout_at(deadline.at):
                    await turn.lock.acquire()
            except TimeoutError:
                raise _busy(request) from None
            try:
                self._api.lifecycle.check_usable()
                yield
            finally:
                turn.lock.release()
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]


def _busy(request: Request[object]) -> RequestTimeout:
    message = "another submit with this idempotency key was under way until the deadline; this one was not sent"
    return RequestTimeout(message, method=request.method, path=shorten(request.path), sent=False)


def _conflict(request: Request[object]) -> IdempotencyConflict:
    message = "this idempotency key was used for another request; nothing was sent"
    return IdempotencyConflict(message, status=409, method=request.method, path=shorten(request.path))


def _says_nothing(error: APIError | TransportError) -> bool:
    """Whether a refusal is that of a proxy, and the service may have acted."""
    return isinstance(error, APIError) and error.status in PERHAPS_DONE and error.message.startswith("no reason given")


def _adopted(details: TaskDetails) -> Bought:
    answer = SubmittedTask(task_id=details.id, status=details.status, credits_charged=details.credits_charged)
    return Bought(answer, details)


def _cause(error: BaseException) -> str:
    return str(error) if isinstance(error, AIVideoMakerError) else "the submit was cancelled on its way"
