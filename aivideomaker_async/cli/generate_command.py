"""The command `generate`: show the price, ask for confirmation, submit, and wait."""

from __future__ import annotations

import logging
from typing import Final

from attrs import frozen

from .._http import generate_path
from .._redaction import single_line
from .._submits import MODEL_CHECK_TIMEOUT_S, PERHAPS_RETIRED
from ..client import AIVideoMaker
from ..errors import AIVideoMakerError, BudgetExceeded, UnknownPrice
from ..pricing import Price
from ..specs import VideoSpec
from .context import Context, Job
from .exit_codes import Exit
from .options import check_target
from .prices import find_price, in_dollars, price_line
from .prompt import confirm
from .task_workflow import WaitOptions, submit, wait

__all__ = ["PaymentOptions", "generate"]

logger: Final = logging.getLogger(__name__)


@frozen
class PaymentOptions:
    """What may be paid, and whether to ask."""

    yes: bool = False
    """Whether every price is accepted without a question."""
    max_credits: int | None = None


def generate(context: Context, spec: VideoSpec, options: WaitOptions, payment: PaymentOptions) -> Job:
    """Submit `spec` and wait for its video. `spec_commands` makes a command of this for each model."""
    check_target(options.path, overwrite=options.overwrite)
    return _generate(context, spec, options, payment)


async def _generate(context: Context, spec: VideoSpec, options: WaitOptions, payment: PaymentOptions) -> int:
    async with context.client() as client:
        if spec.model in PERHAPS_RETIRED:
            await _note_missing_model(context, client, spec.model)
        price = await find_price(client, spec)
        context.output.message(price_line(price))
        _check_limit(spec, price, payment.max_credits)
        at_most = payment.max_credits
        if not payment.yes and context.output.is_interactive:
            if not await confirm(context.output, _question(price)):
                context.output.message("nothing was sent")
                return Exit.USAGE
            # A quote is a promise of the service, so no more than the confirmed price may be charged. An estimate
            # promises nothing.
            at_most = price.credits if isinstance(price, Price) and price.quote is not None else at_most
        quoted = price if isinstance(price, Price) else None
        task = await submit(context, client, spec, price=quoted, max_credits=at_most, path=options.path)
        charged = None if task.submitted is None else task.submitted.credits_charged
        _note_overcharge(context, charged, at_most, quoted)
        return await wait(context, task, spec.model, _shown_price(quoted) if charged is None else str(charged), options)


def _check_limit(spec: VideoSpec, price: Price | AIVideoMakerError, max_credits: int | None) -> None:
    """Check the price against the limit.

    Raises:
        BudgetExceeded: it costs more than the limit, or no table has a price.
        AIVideoMakerError: the service has refused the quote.
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


def _note_overcharge(context: Context, charged: int | None, at_most: int | None, price: Price | None) -> None:
    """Note that the service has charged more than the limit, or than its quote. Some services ignore the limit."""
    expected = at_most if at_most is not None else None if price is None or price.quote is None else price.credits
    if charged is not None and expected is not None and charged > expected:
        context.output.message(f"note: the service has charged {in_dollars(charged)}, more than the agreed {expected}")


def _question(price: Price | AIVideoMakerError) -> str:
    if isinstance(price, AIVideoMakerError):
        return "generate at an unknown price?"
    about = "about " if price.quote is None else ""
    return f"generate for {about}{in_dollars(price.credits)}?"


def _shown_price(price: Price | None) -> str:
    """Return the price for the live line, until the charged credits are known."""
    if price is None:
        return ""
    return f"~{price.credits}" if price.quote is None else str(price.credits)


async def _note_missing_model(context: Context, client: AIVideoMaker, model: str) -> None:
    """Note that the account does not list the model. It is submitted all the same."""
    try:
        account = await client.account(timeout=MODEL_CHECK_TIMEOUT_S)
    except AIVideoMakerError as error:
        logger.debug("the models of the account are not known: %s", error)
        return
    if account.supported_models and model not in account.supported_models:
        named = single_line(", ".join(account.supported_models))
        context.output.message(
            f"note: {model} is not among the models of this account ({named}): the service may refuse it"
        )
