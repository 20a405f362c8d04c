"""A submit from the spec to the record of its task: images read, price checked, credits reserved, sent once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final

from .._http import ApiClient, Deadline, deadline_exceeded, generate
from .._redaction import Secret, single_line
from ..errors import SubmitOutcomeUnknown
from ..pricing import PriceTable
from ..specs import OtherModel, VideoSpec
from .budget import Budget
from .catalogue import Catalogue
from .images import load_request
from .matching import order
from .purchasing import Cashier, Pricer
from .submitting import Bought, IdempotencyKey, Submitter

__all__ = ["Buyer"]

logger: Final = logging.getLogger("aivideomaker_async.submits")


class Buyer:
    """Makes the submits of one client.

    Args:
        api: makes the calls.
        handled: the ids of tasks for which the client has handles.
        largest_image: bytes that an image may have.
        budget: what all of them have to keep to; None for nothing.
        prices: the table for a service without quotes; None for the usual ones.
        on_unsettled: is told of each submit that was cancelled on its way.
    """

    def __init__(
        self,
        api: ApiClient,
        *,
        handled: Callable[[], Iterable[str]],
        largest_image: int,
        budget: Budget | None,
        prices: PriceTable | None,
        on_unsettled: Callable[[SubmitOutcomeUnknown], object] | None,
    ) -> None:
        self.submitter: Submitter = Submitter(api, handled=handled, on_unsettled=on_unsettled)
        self.pricer: Pricer = Pricer(api, prices)
        self.catalogue: Catalogue = Catalogue(api)
        self.cashier: Cashier = Cashier(api, self.pricer, budget)
        self._api = api
        self._largest_image = largest_image

    async def buy(
        self,
        spec: VideoSpec | OtherModel,
        key: IdempotencyKey,
        *,
        hook: Secret | None,
        max_credits: int | None,
        budget: Budget | None,
        timeout: float,
    ) -> Bought:
        """Submit once.

        Args:
            spec: what to generate.
            key: its idempotency key.
            hook: where the service shall tell of changes.
            max_credits: what it may cost.
            budget: what it has to keep to beside the client's own.
            timeout: seconds for all of it, once its images are read.

        Raises:
            AIVideoMakerError: as `AIVideoMaker.submit`.
        """
        loop = self._api.lifecycle.check_usable()
        budgets = self.cashier.budgets(budget)
        loaded = await load_request(spec, largest=self._largest_image)
        request = generate(spec.model, loaded.body, idempotency_key=key.text, webhook_url=hook, max_credits=max_credits)
        deadline = self._api.deadline(timeout)
        await self.catalogue.warn_of(spec.model, timeout=timeout / 4)
        allowance = await self.cashier.reserve(
            spec, loaded.body, key.text, budgets=budgets, max_credits=max_credits, deadline=deadline
        )
        try:
            if deadline.is_too_close_to_submit(loop.time()):
                raise deadline_exceeded(request)
            bought = await self.submitter.submit(
                request.with_max_credits(allowance.at_most),
                order(spec.model, loaded.fields),
                deadline=deadline,
                is_callers_key=key.is_callers,
            )
        except BaseException:
            self.cashier.failed(key.text, allowance)
            raise
        self.cashier.bought(key.text, allowance, bought)
        logger.info("submitted %s as task %s", spec.model, single_line(bought.answer.task_id))
        return bought

    async def reconcile(self, error: SubmitOutcomeUnknown, *, deadline: Deadline) -> Bought | None:
        """Look again what became of a submit; None when it was surely not created.

        Raises:
            AIVideoMakerError: as `AIVideoMaker.reconcile`.
        """
        return self._settled(error, await self.submitter.reconcile(error, deadline=deadline))

    def settle(self, error: SubmitOutcomeUnknown, task_id: str | None) -> Bought | None:
        """Somebody has found out: it is this task, or there is none.

        Raises:
            ConfigurationError: as `AIVideoMaker.settle`.
        """
        return self._settled(error, self.submitter.settle(error, task_id))

    def _settled(self, error: SubmitOutcomeUnknown, bought: Bought | None) -> Bought | None:
        self.cashier.settled(error.idempotency_key, bought)
        return bought
