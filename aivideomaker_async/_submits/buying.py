"""A submit from the spec to the record of its task: images read, price checked, credits reserved, sent once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from .._http import requests
from .._http.gate import too_late
from .._http.session import Session, least_time
from .._redaction import Secret, one_line
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
        session: how to send.
        handled: the ids of tasks for which the client has handles.
        largest_image: bytes that an image may have.
        budget: what all of them have to keep to; None for nothing.
        prices: the table for a service without quotes; None for the usual ones.
        on_unsettled: is told of each submit that was cancelled on its way.
    """

    def __init__(
        self,
        session: Session,
        *,
        handled: Callable[[], Iterable[str]],
        largest_image: int,
        budget: Budget | None,
        prices: PriceTable | None,
        on_unsettled: Callable[[SubmitOutcomeUnknown], object] | None,
    ) -> None:
        self.submitter: Submitter = Submitter(session, handled=handled, on_unsettled=on_unsettled)
        self.pricer: Pricer = Pricer(session, prices)
        self.catalogue: Catalogue = Catalogue(session)
        self.cashier: Cashier = Cashier(session, self.pricer, budget)
        self._session = session
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
        loop = self._session.check_usable()
        budgets = self.cashier.budgets(budget)
        loaded = await load_request(spec, largest=self._largest_image)
        make = partial(requests.generate, spec.model, loaded.body, idempotency_key=key.text, webhook_url=hook)
        # Whoever has given a wrong argument hears of that first.
        make(max_credits=max_credits)
        deadline = loop.time() + timeout
        await self.catalogue.warn_of(spec.model, timeout=timeout / 4)
        allowance = await self.cashier.reserve(
            spec, loaded.body, key.text, budgets=budgets, max_credits=max_credits, timeout=deadline - loop.time()
        )
        try:
            request = make(max_credits=allowance.at_most)
            left = deadline - loop.time()
            if left < least_time(timeout):
                raise too_late(request)
            bought = await self.submitter.submit(
                request, order(spec.model, loaded.fields), timeout=left, is_callers_key=key.is_callers
            )
        except BaseException:
            self.cashier.failed(key.text, allowance)
            raise
        self.cashier.bought(key.text, allowance, bought)
        logger.info("submitted %s as task %s", spec.model, one_line(bought.answer.task_id))
        return bought

    async def reconcile(self, error: SubmitOutcomeUnknown, *, timeout: float | None) -> Bought | None:
        """Look again what became of a submit; None when it was surely not created.

        Raises:
            AIVideoMakerError: as `AIVideoMaker.reconcile`.
        """
        return self._settled(error, await self.submitter.reconcile(error, timeout=timeout))

    def settle(self, error: SubmitOutcomeUnknown, task_id: str | None) -> Bought | None:
        """Somebody has found out: it is this task, or there is none.

        Raises:
            ConfigurationError: as `AIVideoMaker.settle`.
        """
        return self._settled(error, self.submitter.settle(error, task_id))

    def _settled(self, error: SubmitOutcomeUnknown, bought: Bought | None) -> Bought | None:
        self.cashier.settled(error.idempotency_key, bought)
        return bought
