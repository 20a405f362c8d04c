"""What a submit will cost, and whether that may be spent. Decided before anything is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from .._http import ApiClient, Deadline, generate_path, quote_price
from .._redaction import shorten
from ..errors import APIError, BudgetExceeded, ConfigurationError, EndpointNotFound, UnknownPrice
from ..pricing import Price, PriceTable, usual_prices
from ..specs import OtherModel, VideoSpec, extra_names
from ..tasks import Quote
from .body import Body
from .budget import Budget
from .registry import Account, account_of
from .submitting import Bought, By

__all__ = ["Allowance", "Cashier", "Pricer"]

logger: Final = logging.getLogger("aivideomaker_async.submits")

WITHOUT_QUOTES: Final = 600.0
"""Seconds for which a service that has no quotes for a model is not asked for one again."""

MOST_MODELS: Final = 1000
"""Models of which it is remembered that there are no quotes."""

METHOD_NOT_ALLOWED: Final = 405


class Pricer:
    """Tells prices: the service's quotes, or where it has none, a table's estimates.

    Args:
        api: makes the calls.
        prices: the table; None for the one of the revision that has no quotes, or for younger models of the next.
    """

    def __init__(self, api: ApiClient, prices: PriceTable | None) -> None:
        self._api = api
        if not isinstance(prices, PriceTable | None):
            raise ConfigurationError(f"prices={shorten(repr(prices))}: must be a PriceTable or None")
        self._prices = prices
        self._ask_again_at: dict[str, float] = {}
        self._has_quotes = False

    async def quote(self, model: str, body: Body, *, deadline: Deadline) -> Quote:
        """The service's own answer.

        Raises:
            AIVideoMakerError: as `ApiClient.call`. `EndpointNotFound` where the service has no quotes.
        """
        quote = await self._api.call(quote_price(model, body), deadline)
        self._has_quotes = True
        return quote

    async def price(self, spec: VideoSpec | OtherModel, body: Body, *, deadline: Deadline) -> Price:
        """What `spec` costs.

        Raises:
            UnknownPrice: the service has no quotes, and the table no price.
            AIVideoMakerError: the service refuses to tell, or cannot be asked.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._ask_again_at.get(spec.model, now):
            try:
                quote = await self.quote(spec.model, body, deadline=deadline)
            except APIError as error:
                # Of a service that has given one before, it is a mistake.
                if self._has_quotes or not (isinstance(error, EndpointNotFound) or error.status == METHOD_NOT_ALLOWED):
                    raise
                logger.debug("no quotes for %s: %s", shorten(spec.model), error)
                self._remember(spec.model, now + WITHOUT_QUOTES)
            else:
                return Price(credits=quote.credits, quote=quote)
        table = usual_prices(spec.model) if self._prices is None else self._prices
        return Price(credits=spec.credits(table), table=table)

    def _remember(self, model: str, until: float) -> None:
        self._ask_again_at[model] = until
        if len(self._ask_again_at) > MOST_MODELS:
            del self._ask_again_at[next(iter(self._ask_again_at))]


@frozen
class Allowance:
    """What a submit may do."""

    at_most: int | None
    """Credits that the service may charge; None for any number."""
    loop: asyncio.AbstractEventLoop | None = None
    """The event loop in which it takes part in a reservation, which it has to leave in the end; None if it does not."""


class Cashier:
    """Makes sure that submits keep to their budgets.

    Args:
        api: whose submits they are.
        pricer: what they cost.
        budget: what all of them have to keep to; None for nothing.
    """

    def __init__(self, api: ApiClient, pricer: Pricer, budget: Budget | None) -> None:
        self._pricer = pricer
        self._budgets = () if budget is None else (_checked(budget),)
        self._account: Account = account_of(api.settings.base_url, api.settings.key)
        self._reservations = self._account.reservations

    def budgets(self, budget: Budget | None) -> Sequence[Budget]:
        """The budgets that a submit has to keep to: the client's, and one of its own."""
        return self._budgets if budget is None or budget in self._budgets else (*self._budgets, _checked(budget))

    async def reserve(
        self,
        spec: VideoSpec | OtherModel,
        body: Body,
        key: str,
        *,
        budgets: Sequence[Budget],
        max_credits: int | None,
        deadline: Deadline,
    ) -> Allowance:
        """Reserve what a submit will cost. Whoever has done so says in the end what became of it.

        Args:
            spec: what is to be submitted.
            body: the same as it will travel.
            key: its idempotency key.
            budgets: what it has to keep to.
            max_credits: what it may cost; None for any price.
            deadline: the end of the call.

        Raises:
            BudgetExceeded: it costs more, or its price cannot be known.
            AIVideoMakerError: the service refuses to tell the price, or cannot be asked.
        """
        is_limited = bool(budgets) or max_credits is not None or self._reservations.is_pending(key)
        if not is_limited or self._account.has_bought(key):
            return Allowance(max_credits)
        for budget in budgets:
            if not budget.remaining and not self._reservations.is_pending(key):
                raise _exceeded(spec, f"nothing is left of the {_told(budget)}", None, 0)
        try:
            price = await self._pricer.price(spec, body, deadline=deadline)
            if price.table is not None:
                price.table.check_extra(spec.model, extra_names(spec))
        except UnknownPrice as error:
            raise _exceeded(spec, f"the price cannot be known: {error}", None, max_credits) from error
        if max_credits is not None and price.credits > max_credits:
            raise _exceeded(spec, f"{_costs(price)}, more than max_credits={max_credits}", price.credits, max_credits)
        if self._account.has_bought(key):
            # Somebody has found the task meanwhile.
            return Allowance(max_credits)
        taken = self._reservations.take(key, budgets, price.credits)
        if isinstance(taken, Budget):
            left = taken.remaining
            raise _exceeded(spec, f"{_costs(price)}, and {left} are left of the {_told(taken)}", price.credits, left)
        # Should the price rise on the way, the service refuses.
        return Allowance(max_credits) if taken.is_empty else Allowance(price.credits, asyncio.get_running_loop())

    def bought(self, key: str, allowance: Allowance, bought: Bought) -> None:
        """A submit has its task."""
        if bought.by is By.THIS:
            self._reservations.bought(key, bought.answer.task_id, _charged(bought))
        else:
            # Of a task that this process knows, another call is about to say what it has cost, or has said so.
            self._reservations.leave(key, allowance.loop, is_open=False)

    def failed(self, key: str, allowance: Allowance) -> None:
        """A submit has ended without a task, or nobody knows."""
        with self._account.lock:
            is_open = self._account.ledger.open_with(key) is not None
            self._reservations.leave(key, allowance.loop, is_open=is_open)

    def settled(self, key: str, bought: Bought | None) -> None:
        """Somebody has found out what became of a submit."""
        if bought is None:
            self._reservations.not_bought(key)
        else:
            self._reservations.bought(key, bought.answer.task_id, _charged(bought))


def _checked(budget: object) -> Budget:
    if not isinstance(budget, Budget):
        raise ConfigurationError(f"budget={shorten(repr(budget))}: must be a Budget(credits=...) or None")
    return budget


def _charged(bought: Bought) -> int | None:
    told = bought.answer.credits_charged
    # A replay charges nothing again, and some say so of the task that was paid.
    return None if bought.answer.idempotent_replay and not told else told


def _costs(price: Price) -> str:
    by = "the service's quote" if price.quote is not None else "the price table"
    return f"it costs {price.credits} credits by {by}"


def _told(budget: Budget) -> str:
    return f"budget of {budget.credits} credits ({budget.spent} spent, {budget.reserved} reserved)"


def _exceeded(spec: VideoSpec | OtherModel, reason: str, credits_: int | None, allowed: int | None) -> BudgetExceeded:
    request = generate_path(spec.model)
    return BudgetExceeded(
        f"{reason}; nothing was sent",
        status=422,
        method="POST",
        path=shorten(request),
        code="BUDGET_EXCEEDED",
        credits=credits_,
        allowed=allowed,
    )
