"""What a video costs: how prices are found and told, and the command `quote`."""

from __future__ import annotations

from typing import Final

from ..client.client import AIVideoMaker
from ..errors import AIVideoMakerError, AuthenticationFailed, ConfigurationError, ConnectFailed, InvalidSpec
from ..pricing import USD_PER_CREDIT, Price
from ..specs import VideoSpec
from .context import Context
from .display import table
from .exits import Exit

__all__ = ["find_price", "in_dollars", "line", "quote"]

_SECONDS: Final = 30.0
"""How long to ask for a price."""

_HOPELESS: Final = (AuthenticationFailed, ConfigurationError, ConnectFailed, InvalidSpec)
"""Errors that a submit would end with as well."""


def in_dollars(credits: int) -> str:  # noqa: A002  (the API's word)
    """Credits for people."""
    return f"{credits} credit{'s' * (credits != 1)} (USD {credits * USD_PER_CREDIT:.2f})"


async def find_price(client: AIVideoMaker, spec: VideoSpec) -> Price | AIVideoMakerError:
    """What `spec` costs, or why that is not known.

    Raises:
        AIVideoMakerError: nothing can be generated either.
    """
    try:
        return await client.price(spec, timeout=_SECONDS)
    except _HOPELESS:
        raise
    except AIVideoMakerError as error:
        return error


def line(price: Price | AIVideoMakerError) -> str:
    """The line before a submit."""
    if isinstance(price, AIVideoMakerError):
        return f"price: not known: {price}"
    if price.quote is None:
        return f"price: about {in_dollars(price.credits)} {_source(price)}"
    return f"price: {in_dollars(price.credits)} {_source(price)}{_balance_after(price)}"


def _source(price: Price) -> str:
    return "by the service's quote" if price.table is None else f"by the table of {price.table.revision}"


def _balance_after(price: Price) -> str:
    balance = None if price.quote is None else price.quote.current_balance
    if balance is None:
        return ""
    left = balance - price.credits
    return f"; balance {balance}, {left} afterwards" if left >= 0 else f"; balance {balance}, which is too little"


async def quote(context: Context, spec: VideoSpec) -> int:
    """Print what `spec` costs. `arguments` makes a command of this for each model."""
    async with context.client() as client:
        price = await client.price(spec, timeout=_SECONDS)
    told = price.quote
    context.output.event(
        "quote",
        model=spec.model,
        credits=price.credits,
        usd=round(price.usd, 2),
        by="quote" if price.table is None else "table",
        table=None if price.table is None else price.table.revision,
        balance=None if told is None else told.current_balance,
        affordable=None if told is None else told.affordable,
    )
    context.output.result(table(_rows(price)))
    return Exit.OK


def _rows(price: Price) -> dict[str, str]:
    estimate = "" if price.table is None else "; an estimate, since this service has no quotes"
    rows = {"price": in_dollars(price.credits), "known": f"{_source(price)}{estimate}"}
    if price.quote is not None and price.quote.current_balance is not None:
        rows["balance"] = in_dollars(price.quote.current_balance)
    if price.quote is not None and price.quote.affordable is not None:
        rows["affordable"] = "yes" if price.quote.affordable else "no, the balance is too low"
    return rows
