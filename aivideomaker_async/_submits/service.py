"""Makes the submits of one client, each exactly once.

`SubmitService.submit` is the way of a submit from its spec to its task: the images are loaded, the request is built,
the price is reserved, the submit is registered and sent, and what comes of it is settled. A submit whose answer is lost
is searched for in the task list (`lookup`), where `reconcile` decides; what stays unknown is kept until it is
reconciled.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Final, NamedTuple, Self

from .._http import (
    ApiClient,
    Deadline,
    Failure,
    Request,
    Sending,
    classify_error,
    generate,
    list_tasks,
)
from .._redaction import Secret, shorten, single_line
from ..errors import (
    AIVideoMakerError,
    APIError,
    BudgetExceeded,
    ConfigurationError,
    IdempotencyConflict,
    RequestTimeout,
    SubmitOutcomeUnknown,
    TransportError,
)
from ..pricing import Price, PriceTable
from ..specs import OtherModel, VideoSpec
from ..tasks import Account, Quote, SubmittedTask, TaskDetails
from .body import write_body
from .budget import Budget
from .images import load_fields, load_request_body
from .intent import Intent, make_intent
from .lookup import SubmitLookup
from .matching import Match, compare, make_fingerprint
from .prices import BudgetGuard, ModelCheck, PriceResolver
from .reconcile import MAX_UNSETTLED
from .registry import OtherOrder, SubmitRegistry, now_here
from .state import Fingerprint, Submit, SubmitState, restore_submit

__all__ = ["IdempotencyKey", "Origin", "SubmitResult", "SubmitService"]

logger: Final = logging.getLogger("aivideomaker_async.submits")

KEY_CHECK_S: Final = 0.25
"""How often a call checks whether another one is still at work on the submit with its key."""

MIN_TIME_TO_REPEAT_S: Final = 5.0
"""Time that must be left for another attempt: with less, its answer would only be lost as well."""

MODEL_CHECK_SHARE: Final = 0.25
"""The share of a call's time that the check of the model may take."""

PROXY_STATUSES: Final = frozenset({409, 425, 444, 499})
"""Statuses that proxies answer with. Without a message of the service, they prove nothing about what it has done."""


class IdempotencyKey(NamedTuple):
    """The name of a submit."""

    text: str
    is_callers: bool
    """Whether the caller chose it, so that it may be used again."""

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Return the caller's key, or a fresh one."""
        return cls(f"avm-{uuid.uuid4()}", False) if text is None else cls(text, True)


class Origin(Enum):
    """Which of the submits with one idempotency key has bought the task."""

    THIS = auto()
    ANOTHER_PROCESS = auto()
    """One of another process, or of another day."""
    THIS_PROCESS = auto()
    """An earlier or concurrent one of this process."""


class SubmitResult(NamedTuple):
    """The task of a submit."""

    answer: SubmittedTask
    details: TaskDetails | None = None
    """Its row in the list, where the answer was lost."""
    origin: Origin = Origin.THIS


class _Unsettled(NamedTuple):
    submit: Submit
    error: SubmitOutcomeUnknown


class SubmitService:
    """Makes the submits of one client.

    Args:
        api: makes the calls.
        registry: the submits of its key in this process.
        known_tasks: returns the ids of tasks for which the client has handles.
        max_image_bytes: the size limit of an image.
        budget: what all submits keep to; None for no limit.
        prices: the table for a service without quotes; None for the usual ones.
        on_unsettled: called with the error of each submit that was cancelled in flight: no caller receives it.

    Raises:
        ConfigurationError: `budget` or `prices` is of another type.
    """

    def __init__(
        self,
        api: ApiClient,
        registry: SubmitRegistry,
        *,
        known_tasks: Callable[[], Iterable[str]],
        max_image_bytes: int,
        budget: Budget | None = None,
        prices: PriceTable | None = None,
        on_unsettled: Callable[[SubmitOutcomeUnknown], object] | None = None,
    ) -> None:
        self._api = api
        self._registry = registry
        self._max_image_bytes = max_image_bytes
        self._on_unsettled = on_unsettled
        self._prices = PriceResolver(api, prices)
        self._guard = BudgetGuard(registry, self._prices, budget)
        self._models = ModelCheck(api)
        self._lookup = SubmitLookup(api, registry, known_tasks)
        self._at_work: dict[str, tuple[Submit, Sending]] = {}
        self._unsettled: dict[str, _Unsettled] = {}
        self._reports: set[asyncio.Future[object]] = set()
        """Calls of an async `on_unsettled`: the event loop itself keeps only weak references."""

    # --- prices --------------------------------------------------------------------------------------

    async def quote(self, spec: VideoSpec | OtherModel, timeout: float | None = None) -> Quote:
        """Ask the service for the price of a spec; see `AIVideoMaker.quote`."""
        deadline = self._api.deadline(timeout)
        body = await load_request_body(spec, self._max_image_bytes)
        return await self._prices.quote(spec.model, body, deadline)

    async def price(self, spec: VideoSpec | OtherModel, timeout: float | None = None) -> Price:
        """Find what a spec costs; see `AIVideoMaker.price`."""
        deadline = self._api.deadline(timeout)
        body = await load_request_body(spec, self._max_image_bytes)
        return await self._prices.price(spec, body, deadline)

    async def account(self, timeout: float | None = None) -> Account:
        """Ask for the account; see `AIVideoMaker.account`."""
        return await self._models.account(self._api.deadline(timeout))

    def check_budget(self, budget: Budget | None) -> None:
        """Check an argument of the caller.

        Raises:
            ConfigurationError: `budget` is of another type.
        """
        self._guard.budgets(budget)

    # --- submitting ----------------------------------------------------------------------------------

    async def intend(self, spec: VideoSpec | OtherModel, key: IdempotencyKey, timeout: float | None = None) -> Intent:
        """Return the intent of a submit; see `AIVideoMaker.intend`."""
        deadline = self._api.deadline(timeout)
        fingerprint = make_fingerprint(spec.model, await load_fields(spec, self._max_image_bytes))
        await self._learn_time(deadline)
        with self._registry.locked() as reconciler:
            assigned = reconciler.assigned_since(now_here(), spec.model)
        return make_intent(
            key.text,
            fingerprint,
            service_now=self._api.service_time(),
            is_time_known=self._api.clock_offset() is not None,
            assigned=tuple(sorted(assigned)),
        )

    async def submit(
        self,
        spec: VideoSpec | OtherModel,
        key: IdempotencyKey,
        *,
        intent: Intent | None = None,
        known: Collection[str] = (),
        webhook_url: Secret | None = None,
        max_credits: int | None = None,
        budget: Budget | None = None,
        timeout: float | None = None,
    ) -> SubmitResult:
        """Submit once.

        Args:
            spec: what to generate.
            key: its idempotency key.
            intent: what was stored before, with this key; it may be of a process that has ended.
            known: ids of tasks that are those of other submits.
            webhook_url: where the service reports changes of the task.
            max_credits: what it may cost.
            budget: what it keeps to beside the client's own.
            timeout: seconds for all of it; None for the client's `call_timeout`.

        Raises:
            AIVideoMakerError: as `AIVideoMaker.submit`.
        """
        deadline = self._api.deadline(timeout)
        budgets = self._guard.budgets(budget)
        fields = await load_fields(spec, self._max_image_bytes)
        fingerprint = make_fingerprint(spec.model, fields)
        if intent is not None:
            if not intent.orders(fingerprint):
                raise ConfigurationError("intent: it was made for another order; nothing was sent")
            await self._learn_time(deadline)
        body = write_body(fields)
        request = generate(spec.model, body, idempotency_key=key.text, webhook_url=webhook_url, max_credits=max_credits)
        await self._models.warn_if_missing(spec.model, deadline.timeout * MODEL_CHECK_SHARE)
        reservation, limit = None, max_credits
        if budgets or max_credits is not None or key.is_callers:
            try:
                reservation, limit = await self._guard.reserve(spec, body, key.text, budgets, max_credits, deadline)
            except BudgetExceeded:
                # Another process may have bought it with this key, and then it costs nothing.
                details = await self._bought_elsewhere(key, fingerprint, deadline)
                if details is None:
                    raise
                return _adopted(details)._replace(origin=Origin.ANOTHER_PROCESS)
        try:
            if limit != max_credits:
                request = request.with_max_credits(limit)
            result = await self._submit_once(request, fingerprint, key, deadline, intent=intent, known=known)
        except BaseException:
            with self._registry.locked() as reconciler:
                is_open = reconciler.open_with(key.text) is not None
                self._registry.reservations.leave(key.text, reservation, is_open=is_open)
            raise
        if result.origin is Origin.THIS:
            self._guard.settle(key.text, result.answer)
        else:
            # Another process has paid for the task, or another call of this one settles its cost.
            self._registry.reservations.leave(key.text, reservation, is_open=False)
        logger.info("submitted %s as task %s", spec.model, single_line(result.answer.task_id))
        return result

    async def _bought_elsewhere(
        self, key: IdempotencyKey, fingerprint: Fingerprint, deadline: Deadline
    ) -> TaskDetails | None:
        """Return the task that another process has bought with this key, if the list shows it."""
        with self._registry.locked() as reconciler:
            is_ours = reconciler.open_with(key.text) is not None
        if is_ours or not key.is_callers:
            return None
        details = await self._lookup.bought_with(key.text, deadline)
        return None if details is None or compare(fingerprint, details) is Match.OTHER else details

    async def _submit_once(
        self,
        request: Request[SubmittedTask],
        fingerprint: Fingerprint,
        key: IdempotencyKey,
        deadline: Deadline,
        *,
        intent: Intent | None,
        known: Collection[str],
    ) -> SubmitResult:
        """Send a submit until its task is known, or it is certain that there is none.

        Raises:
            APIError: the service refuses, and has created nothing.
            TransportError: nothing was sent; or nothing was created, however often it was tried.
            SubmitOutcomeUnknown: a task may have been created.
            ConfigurationError: the client was closed.
        """
        lost = None
        if intent is not None and not intent.is_of_this_process:
            lost = intent.lost(self._api.service_time())

        def make() -> Submit:
            if lost is not None:
                return self._restore(lost)
            return Submit(key.text, fingerprint, self._api.settings.policy.grace, has_callers_key=key.is_callers)

        if key.is_callers:
            taken = await self._take_up(key.text, fingerprint, make, request, deadline)
            if isinstance(taken, str):
                return SubmitResult(SubmittedTask(task_id=taken), origin=Origin.THIS_PROCESS)
            submit = taken
        else:
            submit = make()
            self._registry.begin(submit)

        sending = Sending(lambda sent: self._on_sending(submit, sent=sent))
        with self._tracked(submit, sending):
            if submit.was_lost:
                story = "an earlier submit with this key was lost"
                submit.assigned_elsewhere |= frozenset(known)
                if lost is not None and submit.sent_elsewhere:
                    await self._learn_times(submit, lost, story, deadline)
                details = await self._lookup.settle(submit, deadline, story)
                if details is not None:
                    return _adopted(details)
            attempt = 1
            while True:
                try:
                    answer = await self._api.call(request, deadline, sending=sending)
                except (APIError, TransportError) as error:
                    details = await self._after_failure(submit, error, sending, deadline)
                    if details is not None:
                        return _adopted(details)
                    # Nothing was created.
                    policy = self._api.settings.policy
                    pause = policy.backoff(attempt, random.random())
                    time_left = deadline.left(asyncio.get_running_loop().time())
                    if attempt >= policy.max_attempts or time_left <= pause + MIN_TIME_TO_REPEAT_S:
                        raise
                    logger.info("nothing was created; attempt %d in %.2f s", attempt + 1, pause)
                else:
                    with self._registry.locked() as reconciler:
                        reconciler.answered(submit, answer.task_id, now_here())
                    is_of_another = bool(answer.idempotent_replay) and not submit.was_lost
                    return SubmitResult(answer, origin=Origin.ANOTHER_PROCESS if is_of_another else Origin.THIS)
                await self._api.sleep(request, pause, deadline)
                attempt += 1

    async def _after_failure(
        self, submit: Submit, error: APIError | TransportError, sending: Sending, deadline: Deadline
    ) -> TaskDetails | None:
        """Return the task of an attempt that failed; None when it has none and another attempt may be made.

        Raises:
            APIError, TransportError: there is no task, and another attempt would not help.
            SubmitOutcomeUnknown: it cannot be known whether there is a task.
        """
        is_lost = classify_error(error) is Failure.LOST
        if isinstance(error, APIError) and error.status in PROXY_STATUSES:
            is_lost = is_lost or error.message.startswith("no reason given")
        # After a loss, a refusal may be the echo of the earlier attempt: its key is used, its credits are spent.
        if not is_lost and not submit.was_lost:
            with self._registry.locked() as reconciler:
                reconciler.refused(submit)
            raise error
        logger.warning("%s; searching for its task (idempotency key %s)", error, submit.key)
        with self._registry.locked() as reconciler:
            now = asyncio.get_running_loop().time()
            reconciler.lost(submit, now, may_still_arrive=sending.may_still_arrive)
        details = await self._lookup.settle(submit, deadline, str(error), error)
        if details is None and not is_lost:
            raise error
        return details

    def _on_sending(self, submit: Submit, *, sent: bool) -> None:
        with self._registry.locked() as reconciler:
            if sent:
                reconciler.sent(submit, now_here())
            elif submit.state is SubmitState.IN_FLIGHT:
                reconciler.refused(submit)

    async def _take_up(
        self,
        key: str,
        fingerprint: Fingerprint | None,
        make: Callable[[], Submit],
        request: Request[object],
        deadline: Deadline,
    ) -> Submit | str:
        """Return the submit with this key, once no other call of this process works on it; or the id of its task."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                taken = self._registry.take_up(key, fingerprint, make, now_here())
            except OtherOrder:
                message = "this idempotency key was used for another request; nothing was sent"
                path = shorten(request.path)
                raise IdempotencyConflict(message, status=409, method=request.method, path=path) from None
            if taken is not None:
                return taken
            # The other call may be in another thread: nothing here is woken when it ends.
            left = deadline.left(loop.time())
            if left <= 0:
                message = "another submit with this idempotency key was at work until the deadline; nothing was sent"
                raise RequestTimeout(message, method=request.method, path=shorten(request.path), sent=False)
            await self._api.sleep(request, min(KEY_CHECK_S, left))

    # --- unknown outcomes ----------------------------------------------------------------------------

    def unsettled(self) -> list[SubmitOutcomeUnknown]:
        """Return the submits of which it is unknown whether there is a task, the oldest first."""
        for submit, sending in tuple(self._at_work.values()):
            if self._registry.is_abandoned(submit) and (sending.sent or submit.was_lost):
                # Its event loop was closed under it, which raises nothing, and resets no connection.
                self._give_up(submit, may_still_arrive=True)
                self._remember(submit, self._lookup.unknown(submit, "the event loop was closed under the submit"))
                del self._at_work[submit.key]
        # Another client may have settled it since.
        return [item.error for item in self._unsettled.values() if item.submit.state is not SubmitState.DONE]

    def is_in_flight(self, key: str) -> bool:
        """Return whether the service may have received any of the submit with this key, and it is not settled."""
        if key not in self._at_work:
            return False
        submit, sending = self._at_work[key]
        return sending.sent or submit.state is SubmitState.LOST

    async def reconcile(
        self, error: SubmitOutcomeUnknown, timeout: float | None = None, known: Collection[str] = ()
    ) -> SubmitResult | None:
        """Search again for a lost submit; return None when it was surely not created.

        Args:
            error: the error by which it was lost.
            timeout: seconds for the search.
            known: ids of tasks that are those of other submits.

        Raises:
            SubmitOutcomeUnknown: it still cannot be known.
            ConfigurationError: the client cannot be used.
        """
        deadline = self._api.deadline(timeout)
        key = error.idempotency_key
        story = str(error).partition("; the outcome")[0]
        taken = await self._take_up(key, None, lambda: self._restore(error), list_tasks(), deadline)
        result: SubmitResult | None
        if isinstance(taken, str):
            self._unsettled.pop(key, None)
            result = SubmitResult(SubmittedTask(task_id=taken))
        else:
            taken.assigned_elsewhere |= frozenset(known)
            with self._tracked(taken, Sending()):
                await self._learn_times(taken, error, story, deadline)
                details = await self._lookup.settle(taken, deadline, story)
            result = None if details is None else _adopted(details)
        self._guard.settle(key, None if result is None else result.answer)
        return result

    async def _learn_time(self, deadline: Deadline) -> None:
        """Ask for anything, unless the service's clock is known: what other processes see is measured by it."""
        if self._api.clock_offset() is None:
            # Each answer has the time, also a refusal.
            with suppress(APIError):
                await self._models.account(deadline)

    async def _learn_times(self, submit: Submit, error: SubmitOutcomeUnknown, story: str, deadline: Deadline) -> None:
        """Read the list as it is now, and measure the moments of another process by the time that came with it."""
        await self._lookup.refresh(submit, story, deadline)
        if submit.sent_elsewhere:
            restored = self._restore(error)
            with self._registry.locked() as reconciler:
                reconciler.correct_times(submit, restored)

    def settle(self, error: SubmitOutcomeUnknown, task_id: str | None) -> SubmitResult | None:
        """Take what a person found out: the id of the task, or None when there is none.

        Raises:
            ConfigurationError: a call is at work on the submit, or the task belongs to another submit.
        """
        key = error.idempotency_key
        with self._registry.locked() as reconciler:
            submit = reconciler.open_with(key)
            if submit is not None and self._registry.is_at_work(submit):
                reason = "is under way again, or being searched for; wait for what comes of that"
                raise ConfigurationError(f"the submit with idempotency key {single_line(key)} {reason}")
            if not reconciler.settle(submit or self._restore(error), task_id, now_here()):
                reason = "is the task of another submit of this process"
                raise ConfigurationError(f"task_id={single_line(str(task_id))!r}: {reason}")
        self._unsettled.pop(key, None)
        result = None if task_id is None else SubmitResult(SubmittedTask(task_id=task_id))
        self._guard.settle(key, None if result is None else result.answer)
        return result

    def report_unsettled(self, unknown: SubmitOutcomeUnknown) -> None:
        """Log an error that no caller receives, and call `on_unsettled` with it."""
        logger.warning("%s", unknown)
        if self._on_unsettled is None:
            return
        try:
            result = self._on_unsettled(unknown)
            if inspect.isawaitable(result):
                # The call that is being cancelled cannot wait for it.
                report = asyncio.ensure_future(result)
                self._reports.add(report)
                report.add_done_callback(self._reported)
        except Exception:
            logger.exception("on_unsettled failed")

    def _reported(self, report: asyncio.Future[object]) -> None:
        self._reports.discard(report)
        if not report.cancelled() and (error := report.exception()) is not None:
            logger.error("on_unsettled failed", exc_info=error)

    @contextmanager
    def _tracked(self, submit: Submit, sending: Sending) -> Iterator[None]:
        """Whatever is raised within, also by a cancellation, keep in mind a submit that may have a task."""
        self._at_work[submit.key] = submit, sending
        try:
            yield
        except BaseException as error:
            if not self._registry.belongs_to(submit, self._api.lifecycle.loop):
                # Its event loop was closed long ago, and another call has taken it up.
                raise
            is_lost = submit.state in {SubmitState.LOST, SubmitState.GIVEN_UP}
            if not is_lost and not (submit.state is SubmitState.IN_FLIGHT and sending.sent):
                self._forget(submit)
                raise
            self._give_up(submit, may_still_arrive=sending.may_still_arrive)
            if isinstance(error, SubmitOutcomeUnknown):
                self._remember(submit, error)
                raise
            cause = str(error) if isinstance(error, AIVideoMakerError) else "the submit was cancelled in flight"
            unknown = self._lookup.unknown(submit, cause)
            self._remember(submit, unknown)
            if isinstance(error, Exception):
                raise unknown from error
            self.report_unsettled(unknown)
            raise
        else:
            self._forget(submit)
        finally:
            self._at_work.pop(submit.key, None)

    def _give_up(self, submit: Submit, *, may_still_arrive: bool) -> None:
        with self._registry.locked() as reconciler:
            if submit.state is SubmitState.IN_FLIGHT:
                reconciler.lost(submit, now_here().loop, may_still_arrive=may_still_arrive)
            reconciler.give_up(submit)

    def _remember(self, submit: Submit, unknown: SubmitOutcomeUnknown) -> None:
        self._unsettled[submit.key] = _Unsettled(submit, unknown)
        if len(self._unsettled) > MAX_UNSETTLED:
            forgotten = self._unsettled.pop(next(iter(self._unsettled)))
            logger.error("too many submits are unsettled; one is forgotten: %s", forgotten.error)

    def _forget(self, submit: Submit) -> None:
        with self._registry.locked() as reconciler:
            reconciler.close(submit)
        self._unsettled.pop(submit.key, None)

    def _restore(self, error: SubmitOutcomeUnknown) -> Submit:
        """Return the submit of an error, which may come from another process."""
        snapshot = error._trace
        return restore_submit(
            snapshot if isinstance(snapshot, dict) else None,
            key=error.idempotency_key,
            model=error.model,
            began_at=error.began_at.timestamp(),
            clock=self._lookup.clock(),
            grace_s=self._api.settings.policy.grace,
        )


def _adopted(details: TaskDetails) -> SubmitResult:
    answer = SubmittedTask(task_id=details.id, status=details.status, credits_charged=details.credits_charged)
    return SubmitResult(answer, details)
