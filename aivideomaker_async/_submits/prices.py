"""What a submit costs, whether that may be spent, and which models the account has.

Prices are the service's quotes, or a table's estimates where the service has no quotes. A price that cannot be known is
too high for any limit. All of this is decided before a submit is sent.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from .._http import ApiClient, Deadline, RequestBody, generate_path, get_account, quote_price
from .._limits import Priority
from .._redaction import shorten, single_line
from ..errors import (
    AIVideoMakerError,
    APIError,
    BudgetExceeded,
    ConfigurationError,
    EndpointNotFound,
    TransportError,
    UnknownPrice,
)
from ..pricing import Price, PriceTable, usual_prices
from ..specs import OtherModel, VideoSpec, extra_names
from ..tasks import Account, Quote, SubmittedTask
from .budget import Budget, Reservation
from .registry import SubmitRegistry

__all__ = ["MODEL_CHECK_TIMEOUT_S", "PERHAPS_RETIRED", "BudgetGuard", "ModelCheck", "PriceResolver"]

logger: Final = logging.getLogger("aivideomaker_async.submits")
models_logger: Final = logging.getLogger("aivideomaker_async.models")

WITHOUT_QUOTES_S: Final = 600.0
"""How long a service that has no quotes for a model is not asked for one again."""

MAX_MODELS: Final = 1000
"""Models of which it is remembered that there are no quotes."""

METHOD_NOT_ALLOWED: Final = 405

PERHAPS_RETIRED: Final = frozenset({"lv"})
"""Models that the service once documented, and no longer names among those it supports."""

REVISION_CHECK_TIMEOUT_S: Final = 10.0
"""How long each of two queries may take that find out why a service has no quotes."""

MODEL_CHECK_TIMEOUT_S: Final = 5.0
"""How long a submit of such a model waits for the account."""


class PriceResolver:
    """Finds prices: the service's quotes, or a table's estimates where the service has no quotes.

    Args:
        api: makes the calls.
        prices: the table; None for that of 2026-03, and of 2026-09 for younger models.

    Raises:
        ConfigurationError: `prices` is no table.
    """

    def __init__(self, api: ApiClient, prices: PriceTable | None) -> None:
        if not isinstance(prices, PriceTable | None):
            raise ConfigurationError(f"prices={shorten(repr(prices))}: must be a PriceTable or None")
        self._api = api
        self._prices = prices
        self._ask_again_at: dict[str, float] = {}
        self._has_quotes = False
        self._is_older = False
        """Whether the service is known to be of a revision without quotes."""

    async def quote(self, model: str, body: RequestBody, deadline: Deadline) -> Quote:
        """Ask the service for the price of a request body.

        Raises:
            AIVideoMakerError: as `ApiClient.call`. `EndpointNotFound` where the service has no quotes.
        """
        quote = await self._api.call(quote_price(model, body), deadline)
        self._has_quotes = True
        return quote

    async def price(self, spec: VideoSpec | OtherModel, body: RequestBody, deadline: Deadline) -> Price:
        """Find what `spec` costs.

        Args:
            spec: what would be generated.
            body: the same as its request body.
            deadline: the end of the call.

        Raises:
            UnknownPrice: the service has no quotes, and the table no price.
            AIVideoMakerError: the service refuses to quote, or cannot be asked.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._ask_again_at.get(spec.model, now):
            try:
                quote = await self.quote(spec.model, body, deadline)
            except APIError as error:
                # A service that has given quotes has them: a 404 of a proxy must not turn a quote into an estimate.
                if self._has_quotes or not (isinstance(error, EndpointNotFound) or error.status == METHOD_NOT_ALLOWED):
                    raise
                if not self._is_older:
                    await self._find_revision(deadline)
                    if self._has_quotes:
                        raise
                logger.debug("no quotes for %s: %s", shorten(spec.model), error)
                self._ask_again_at[spec.model] = now + WITHOUT_QUOTES_S
                if len(self._ask_again_at) > MAX_MODELS:
                    del self._ask_again_at[next(iter(self._ask_again_at))]
            else:
                return Price(credits=quote.credits, quote=quote)
        table = usual_prices(spec.model) if self._prices is None else self._prices
        return Price(credits=spec.credits(table), table=table)

    async def _find_revision(self, deadline: Deadline) -> None:
        """Find out why a service has no quote: it is of an older revision, a gateway has answered, or nothing is there.

        Its prices are those of its revision: a table of another one would be wrong by a multiple.

        Raises:
            EndpointNotFound: it does not have the task list either, which every revision has.
        """
        from .._http import FirstTask

        timeout = min(REVISION_CHECK_TIMEOUT_S, deadline.left(asyncio.get_running_loop().time()))
        try:
            # One attempt each: only a clear answer is worth anything here.
            permit = await self._api.acquire(Priority.FOREGROUND)
            try:
                await self._api.attempt(get_account(), permit=permit, timeout=timeout)
                self._has_quotes = True
            except EndpointNotFound:
                if not self._api.has_answered:
                    permit = await self._api.acquire(Priority.FOREGROUND)
                    await self._api.attempt_list(FirstTask(), permit=permit, timeout=timeout)
                self._is_older = True
        except EndpointNotFound:
            raise
        except (APIError, TransportError) as error:
            logger.debug("the revision of the service is unknown: %s", error)


class BudgetGuard:
    """Makes submits keep to their budgets and price limits.

    Args:
        registry: the submits of the client's key, with what is reserved for them.
        prices: finds what they cost.
        budget: what all submits of the client keep to; None for no limit.

    Raises:
        ConfigurationError: `budget` is of another type.
    """

    def __init__(self, registry: SubmitRegistry, prices: PriceResolver, budget: Budget | None) -> None:
        self._registry = registry
        self._reservations = registry.reservations
        self._prices = prices
        self._budget = None if budget is None else _checked(budget)

    def budgets(self, budget: Budget | None) -> tuple[Budget, ...]:
        """Return the budgets that a submit keeps to: the client's, and one of its own.

        Raises:
            ConfigurationError: `budget` is of another type.
        """
        own = () if budget is None or budget is self._budget else (_checked(budget),)
        return own if self._budget is None else (self._budget, *own)

    async def reserve(
        self,
        spec: VideoSpec | OtherModel,
        body: RequestBody,
        key: str,
        budgets: tuple[Budget, ...],
        max_credits: int | None,
        deadline: Deadline,
    ) -> tuple[Reservation | None, int | None]:
        """Reserve what a submit will cost.

        Args:
            spec: what is submitted.
            body: the same as its request body.
            key: its idempotency key.
            budgets: what it keeps to.
            max_credits: what it may cost; None for any price.
            deadline: the end of the call.

        Returns:
            The reservation, which must be settled or left, and the price limit to be sent with the submit.

        Raises:
            BudgetExceeded: it costs more than it may, or its price cannot be known.
            AIVideoMakerError: the service refuses to quote, or cannot be asked.
        """
        is_limited = budgets or max_credits is not None or self._reservations.is_pending(key)
        if not is_limited or self._registry.has_bought(key):
            return None, max_credits
        for budget in budgets:
            if not budget.remaining and not self._reservations.is_pending(key):
                raise _exceeded(spec, f"nothing is left of the {_describe(budget)}", None, 0)
        try:
            price = await self._prices.price(spec, body, deadline)
            if price.table is not None:
                price.table.check_extra(spec.model, extra_names(spec))
        except UnknownPrice as error:
            raise _exceeded(spec, f"the price cannot be known: {error}", None, max_credits) from error
        costs = f"it costs {price.credits} credits by {'the price table' if price.quote is None else _QUOTE}"
        if max_credits is not None and price.credits > max_credits:
            raise _exceeded(spec, f"{costs}, more than max_credits={max_credits}", price.credits, max_credits)
        if self._registry.has_bought(key):
            # Another call has found the task while the price was requested.
            return None, max_credits
        taken = self._reservations.take(key, budgets, price.credits)
        if isinstance(taken, Budget):
            left = taken.remaining
            raise _exceeded(spec, f"{costs}, and {left} are left of the {_describe(taken)}", price.credits, left)
        # Under a budget, the service must refuse if the price has risen since.
        return taken, max_credits if taken.is_empty else price.credits

    def settle(self, key: str, answer: SubmittedTask | None) -> None:
        """Settle what is reserved for a key: it has bought this task, or (None) none."""
        if answer is None:
            self._reservations.not_bought(key)
            return
        # A replay charges nothing again, and some services report that for the task that was paid.
        is_unreported = answer.idempotent_replay and not answer.credits_charged
        self._reservations.bought(key, answer.task_id, None if is_unreported else answer.credits_charged)


_QUOTE: Final = "the service's quote"


def _checked(budget: object) -> Budget:
    if not isinstance(budget, Budget):
        raise ConfigurationError(f"budget={shorten(repr(budget))}: must be a Budget(credits=...) or None")
    return budget


def _describe(budget: Budget) -> str:
    return f"budget of {budget.credits} credits ({budget.spent} spent, {budget.reserved} reserved)"


def _exceeded(spec: VideoSpec | OtherModel, reason: str, credits_: int | None, allowed: int | None) -> BudgetExceeded:
    error = BudgetExceeded(
        f"{reason}; nothing was sent",
        status=422,
        method="POST",
        path=shorten(generate_path(spec.model)),
        code="BUDGET_EXCEEDED",
        credits=credits_,
        allowed=allowed,
    )
    # Unlike that of the service, it names no request: there was none.
    error.args = (f"{shorten(spec.model)}: {error.message}",)
    return error


class ModelCheck:
    """Knows the models of the account, as far as the service has reported them, and warns about others.

    Args:
        api: makes the calls.
    """

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._supported: frozenset[str] = frozenset()
        self._is_checked = False
        self._warned: set[str] = set()

    async def account(self, deadline: Deadline) -> Account:
        """Ask for the account.

        Raises:
            AIVideoMakerError: as `ApiClient.call`. `EndpointNotFound` where the service does not report it.
        """
        try:
            account = await self._api.call(get_account(), deadline)
        except EndpointNotFound:
            self._is_checked = True
            raise
        self._is_checked, self._supported = True, frozenset(account.supported_models)
        return account

    async def warn_if_missing(self, model: str, timeout: float) -> None:
        """Log a warning, once, when the account does not name this model. It may be submitted all the same.

        The account is requested, once, for models that may be retired; for others it is used where it is known.

        Args:
            model: its wire name.
            timeout: seconds that the request may take.
        """
        if model in PERHAPS_RETIRED and not self._is_checked:
            self._is_checked = True
            try:
                async with asyncio.timeout(min(timeout, MODEL_CHECK_TIMEOUT_S)):
                    # One attempt: the warning is no reason to keep a submit waiting.
                    permit = await self._api.acquire(Priority.FOREGROUND)
                    account = await self._api.attempt(get_account(), permit=permit, timeout=MODEL_CHECK_TIMEOUT_S)
                self._supported = frozenset(account.supported_models)
            except (AIVideoMakerError, TimeoutError) as error:
                models_logger.debug("which models the account has is unknown: %s", error)
        if self._supported and model not in self._supported and model not in self._warned:
            self._warned.add(model)
            named = ", ".join(sorted(self._supported))
            models_logger.warning(
                "the account does not name the model %s among those it supports (%s): the service may refuse it",
                single_line(model),
                single_line(named),
            )
