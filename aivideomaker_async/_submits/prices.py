"""What a submit costs, and which models the account has: the service's answers, or estimates where it has none."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from .._http import ApiClient, Deadline, RequestBody, get_account, quote_price
from .._limits import Priority
from .._redaction import shorten, single_line
from ..errors import AIVideoMakerError, APIError, ConfigurationError, EndpointNotFound
from ..pricing import Price, PriceTable, usual_prices
from ..specs import OtherModel, VideoSpec
from ..tasks import Account, Quote

__all__ = ["MODEL_CHECK_TIMEOUT_S", "PERHAPS_RETIRED", "ModelCheck", "PriceResolver"]

logger: Final = logging.getLogger("aivideomaker_async.submits")
models_logger: Final = logging.getLogger("aivideomaker_async.models")

WITHOUT_QUOTES_S: Final = 600.0
"""How long a service that has no quotes for a model is not asked for one again."""

MAX_MODELS: Final = 1000
"""Models of which it is remembered that there are no quotes."""

METHOD_NOT_ALLOWED: Final = 405

PERHAPS_RETIRED: Final = frozenset({"lv"})
"""Models that the service once documented, and no longer names among those it supports."""

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
                logger.debug("no quotes for %s: %s", shorten(spec.model), error)
                self._ask_again_at[spec.model] = now + WITHOUT_QUOTES_S
                if len(self._ask_again_at) > MAX_MODELS:
                    del self._ask_again_at[next(iter(self._ask_again_at))]
            else:
                return Price(credits=quote.credits, quote=quote)
        table = usual_prices(spec.model) if self._prices is None else self._prices
        return Price(credits=spec.credits(table), table=table)


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
