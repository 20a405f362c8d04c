"""Prices: how they are found and shown, and the command `quote`."""

from __future__ import annotations

from typing import Final

from ..client import AIVideoMaker
from ..errors import AIVideoMakerError, AuthenticationFailed, ConfigurationError, ConnectFailed, InvalidSpec
from ..pricing import USD_PER_CREDIT, Price
from ..specs import VideoSpec
from ..tasks import Quote
from .context import Context
from .exit_codes import Exit
from .progress import format_table

__all__ = ["find_price", "in_dollars", "price_line", "quote"]

_PRICE_TIMEOUT_S: Final = 30.0

_FATAL: Final = (AuthenticationFailed, ConfigurationError, ConnectFailed, InvalidSpec)
"""Errors that a submit would raise as well."""


def in_dollars(credits: int) -> str:  # noqa: A002  (the API's word)
    """Return credits for people, with their price in dollars."""
    return f"{credits} credit{'s' * (credits != 1)} (USD {credits * USD_PER_CREDIT:.2f})"


async def find_price(client: AIVideoMaker, spec: VideoSpec) -> Price | AIVideoMakerError:
    """Return the price of `spec`, or the error because of which it is not known.

    Raises:
        AIVideoMakerError: an error that a submit would raise as well.
    """
    try:
        return await client.price(spec, timeout=_PRICE_TIMEOUT_S)
    except _FATAL:
        raise
    except AIVideoMakerError as error:
        return error


def price_line(price: Price | AIVideoMakerError) -> str:
    """Return the line that `generate` shows before the submit."""
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
    """Print what `spec` costs. `spec_commands` makes a command of this for each model."""
    async with context.client() as client:
        price = await client.price(spec, timeout=_PRICE_TIMEOUT_S)
    quoted = price.quote or Quote(model=spec.model, credits=price.credits)
    context.output.event(
        "quote",
        **quoted.to_dict(),
        usd=round(price.usd, 2),
        by="quote" if price.table is None else "table",
        table=None if price.table is None else price.table.revision,
    )
    context.output.result(format_table(_rows(price)))
    return Exit.OK


def _rows(price: Price) -> dict[str, str]:
    estimate = "" if price.table is None else "; an estimate, since this service has no quotes"
    rows = {"price": in_dollars(price.credits), "known": f"{_source(price)}{estimate}"}
    if price.quote is not None and price.quote.current_balance is not None:
        rows["balance"] = in_dollars(price.quote.current_balance)
    if price.quote is not None and price.quote.affordable is not None:
        rows["affordable"] = "yes" if price.quote.affordable else "no, the balance is too low"
    return rows
