"""The command `generate`: the price, the agreement of who pays it, the submit, and the wait."""

from __future__ import annotations

import logging
from typing import Final

from attrs import frozen

from .._http import generate_path
from .._redaction import single_line
from .._submits import MODEL_CHECK_TIMEOUT_S, PERHAPS_RETIRED
from ..client.client import AIVideoMaker
from ..errors import AIVideoMakerError, BudgetExceeded, UnknownPrice
from ..pricing import Price
from ..specs import VideoSpec
from .asking import ask
from .context import Context, Job
from .exits import Exit
from .options import check_target
from .prices import find_price, in_dollars, line
from .waiting import Wish, submit, wait

__all__ = ["Terms", "generate"]

logger: Final = logging.getLogger(__name__)


@frozen
class Terms:
    """What may be paid."""

    yes: bool = False
    """Whether any price is right."""
    max_credits: int | None = None


def generate(context: Context, spec: VideoSpec, wish: Wish, terms: Terms) -> Job:
    """Submit `spec` and wait for its video. `arguments` makes a command of this for each model."""
    check_target(wish.path, overwrite=wish.overwrite)
    return _generate(context, spec, wish, terms)


async def _generate(context: Context, spec: VideoSpec, wish: Wish, terms: Terms) -> int:
    async with context.client() as client:
        if spec.model in PERHAPS_RETIRED:
            await _note_if_missing(context, client, spec.model)
        price = await find_price(client, spec)
        context.output.say(line(price))
        _check(spec, price, terms.max_credits)
        at_most = terms.max_credits
        if not terms.yes and context.output.has_person:
            if not await ask(context.output, _question(price)):
                context.output.say("nothing was sent")
                return Exit.USAGE
            # What was agreed to is a promise, where the service made it.
            at_most = price.credits if isinstance(price, Price) and price.quote is not None else at_most
        quoted = price if isinstance(price, Price) else None
        task = await submit(context, client, spec, price=quoted, max_credits=at_most, path=wish.path)
        charged = None if task.submitted is None else task.submitted.credits_charged
        _note_if_dearer(context, charged, at_most, quoted)
        return await wait(context, task, spec.model, _known(quoted) if charged is None else str(charged), wish)


def _check(spec: VideoSpec, price: Price | AIVideoMakerError, max_credits: int | None) -> None:
    """Go no further where it is known that more would be charged than may be.

    Raises:
        BudgetExceeded: it costs more, or no table has a price.
        AIVideoMakerError: the service has refused to tell.
    """
    if max_credits is None:
        return
    if isinstance(price, Price):
        if price.credits <= max_credits:
            return
        by = "the service's quote" if price.table is None else f"the table of {price.table.revision}"
        reason = f"it costs {price.credits} credits by {by}, more than --max-credits {max_credits}"
    elif isinstance(price, UnknownPrice):
        reason = f"the price cannot be known, and there is --max-credits {max_credits}"
    else:
        raise price
    raise BudgetExceeded(
        f"{reason}; nothing was sent",
        status=422,
        method="POST",
        path=generate_path(spec.model),
        code="BUDGET_EXCEEDED",
        credits=price.credits if isinstance(price, Price) else None,
        allowed=max_credits,
    )


def _note_if_dearer(context: Context, charged: int | None, at_most: int | None, price: Price | None) -> None:
    """Say so if the service has charged more than it was told, or than it has told. Some do not heed the limit."""
    expected = at_most if at_most is not None else None if price is None or price.quote is None else price.credits
    if charged is not None and expected is not None and charged > expected:
        context.output.say(f"note: the service has charged {in_dollars(charged)}, more than {expected} all the same")


def _question(price: Price | AIVideoMakerError) -> str:
    if isinstance(price, AIVideoMakerError):
        return "generate for a price that is not known?"
    about = "about " if price.quote is None else ""
    return f"generate for {about}{in_dollars(price.credits)}?"


def _known(price: Price | None) -> str:
    """The price while nothing better is known, for the live line."""
    if price is None:
        return ""
    return f"~{price.credits}" if price.quote is None else str(price.credits)


async def _note_if_missing(context: Context, client: AIVideoMaker, model: str) -> None:
    """Say so if the account does not name the model. It is tried all the same."""
    try:
        account = await client.account(timeout=MODEL_CHECK_TIMEOUT_S)
    except AIVideoMakerError as error:
        logger.debug("which models the account has is not known: %s", error)
        return
    if account.supported_models and model not in account.supported_models:
        named = single_line(", ".join(account.supported_models))
        context.output.say(f"note: this account's models do not name {model} ({named}): the service may refuse it")
