"""The command `models`: what can be generated, with which options, and for what price."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from attrs import asdict, define, field
from cyclopts import Parameter

from ..client import AIVideoMaker
from ..errors import AIVideoMakerError, EndpointNotFound, RateLimited, RequestTimeout
from ..pricing import PRICES_2026_03, PRICES_2026_09, USD_PER_CREDIT, PriceTable, Rate
from ..specs import (
    SPECS,
    HappyHorse,
    ImageToVideo,
    ImageToVideoV3,
    LongVideo,
    MiniMaxH3,
    Seedance20,
    TextToVideo,
    TextToVideoV3,
    VideoSpec,
    Wan27,
)
from ..tasks import Account, Quote
from .context import Context, InjectedContext
from .exit_codes import Exit, UsageError
from .prices import in_dollars
from .progress import format_table
from .spec_options import SpecOption, help_of, options_of

__all__ = ["cheapest_specs", "models"]

logger: Final = logging.getLogger(__name__)

_TIMEOUT_S: Final = 10.0
"""For all requests to the service together."""

_REQUEST_TIMEOUT_S: Final = 5.0

_TABLES: Final = (PRICES_2026_03, PRICES_2026_09)


def cheapest_specs() -> Mapping[str, VideoSpec]:
    """Return the cheapest spec of each model. Its image is an address, which a quote does not fetch."""
    prompt, image = "A sunset", "https://example.com/image.png"
    specs: Sequence[VideoSpec] = (
        TextToVideo(prompt=prompt, aspect_ratio="16:9", duration=5),
        ImageToVideo(image=image, duration=5),
        LongVideo(image=image, prompts=(prompt,)),
        TextToVideoV3(prompt=prompt, aspect_ratio="16:9", duration=5),
        ImageToVideoV3(image=image, duration=5),
        MiniMaxH3(prompt=prompt, duration=5, resolution="720p", tier="turbo"),
        Seedance20(prompt=prompt, duration=4, resolution="480p", aspect_ratio="16:9"),
        Wan27(prompt=prompt, duration=5, resolution="720p"),
        HappyHorse(prompt=prompt, duration=3, resolution="720p"),
    )
    return {spec.model: spec for spec in specs}


@define
class _ServiceFacts:
    """The facts that the service has returned."""

    quotes: dict[str, Quote | AIVideoMakerError] = field(factory=dict[str, Quote | AIVideoMakerError])
    account: Account | None = None
    missing_because: str | None = None
    """Why there are no quotes, or not all of them."""

    def supports(self, model: str) -> bool | None:
        """Return whether the account has the model, None when that is not known."""
        supported = () if self.account is None else self.account.supported_models
        return model in supported if supported else None


async def models(  # noqa: D417  (the context is no argument of the command)
    model: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    /,
    *,
    offline: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    context: InjectedContext,
) -> int:
    """Print the models, their options and their prices. It needs no key, and prints more with one.

    Args:
        model: only this one.
        offline: do not ask the service for the current price of the cheapest video of each model, and for the models
            of the account.
    """
    if model is not None and model not in SPECS:
        raise UsageError(f"models {model}: must be one of {', '.join(SPECS)}")
    chosen = SPECS if model is None else {model: SPECS[model]}
    facts = _ServiceFacts(missing_because="--offline") if offline else await _fetch(context, chosen)
    for spec in chosen.values():
        context.output.event("model", **_fields(spec, facts))
    context.output.result("\n\n".join(_page(spec, facts) for spec in chosen.values()))
    if facts.missing_because is not None:
        context.output.message(f"note: prices by the tables alone: {facts.missing_because}")
    return Exit.OK


# --- requests to the service -------------------------------------------------------------------------


async def _fetch(context: Context, chosen: Mapping[str, type[VideoSpec]]) -> _ServiceFacts:
    """Ask for the account and all quotes. Errors and a timeout leave the facts incomplete."""
    facts = _ServiceFacts()
    try:
        async with asyncio.timeout(_TIMEOUT_S), context.single_attempt_client(_REQUEST_TIMEOUT_S) as client:
            specs = [spec for name, spec in cheapest_specs().items() if name in chosen]
            await _fetch_with(client, specs, facts)
    except TimeoutError:
        facts.missing_because = f"the service has not answered within {_TIMEOUT_S:g} s"
    except EndpointNotFound:
        facts.missing_because = "the service has neither quotes nor an account (revision 2026-03)"
    except AIVideoMakerError as error:
        facts.missing_because = str(error)
    return facts


async def _fetch_with(client: AIVideoMaker, specs: Sequence[VideoSpec], facts: _ServiceFacts) -> None:
    try:
        facts.account = await client.account()
    except (RateLimited, RequestTimeout) as error:
        # Quotes are not limited, so they may succeed.
        logger.debug("the models of the account are not known: %s", error)

    async def fetch_quote(spec: VideoSpec) -> None:
        try:
            facts.quotes[spec.model] = await client.quote(spec)
        except AIVideoMakerError as error:
            facts.quotes[spec.model] = error

    async with asyncio.TaskGroup() as group:
        for spec in specs:
            group.create_task(fetch_quote(spec))


# --- output ------------------------------------------------------------------------------------------


def _fields(spec: type[VideoSpec], facts: _ServiceFacts) -> dict[str, object]:
    quote = facts.quotes.get(spec.model)
    return {
        "model": spec.model,
        "class": spec.__name__,
        "fields": [_option_fields(option) for option in options_of(spec)],
        "prices": {prices.revision: _json(prices.per_second.get(spec.model)) for prices in _TABLES},
        "supported": facts.supports(spec.model),
        "quote": _quote_fields(quote, cheapest_specs()[spec.model]) if isinstance(quote, Quote) else None,
        "quote_error": str(quote) if isinstance(quote, AIVideoMakerError) else None,
    }


def _option_fields(option: SpecOption) -> dict[str, object]:
    return {
        "field": option.name,
        "option": option.flags[0],
        "required": option.required,
        "default": None if option.required else option.default,
        "allowed": option.allowed,
    }


def _quote_fields(quote: Quote, example: VideoSpec) -> dict[str, object]:
    given = {name: value for name, value in asdict(example).items() if name != "extra" and value not in (None, ())}
    return {
        "credits": quote.credits,
        "usd": round(quote.credits * USD_PER_CREDIT, 2),
        "seconds": example.seconds,
        "of": given,
    }


def _json(rate: Rate | None) -> object:
    return {name: dict(costs) for name, costs in rate.items()} if isinstance(rate, Mapping) else rate


def _page(spec: type[VideoSpec], facts: _ServiceFacts) -> str:
    title = help_of(spec).splitlines()[0].replace(f" ({spec.model})", "")
    rows = {"price now": _price_now(spec, facts)}
    rows |= {f"table of {prices.revision}": _rate(spec.model, prices) for prices in _TABLES}
    rows["account"] = {True: "has it", False: "does not list it: the service may refuse it", None: ""}[
        facts.supports(spec.model)
    ]
    known = {name: value for name, value in rows.items() if value}
    body = f"{_options(spec)}\n{format_table(known)}"
    return f"{spec.model}  {spec.__name__}: {title}\n" + "\n".join(f"  {line}" for line in body.splitlines())


def _options(spec: type[VideoSpec]) -> str:
    rows = [(one.flags[0], one.name, _need(one), one.allowed) for one in options_of(spec)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _need(option: SpecOption) -> str:
    if option.required:
        return "required"
    return "may be left out" if option.default is None else f"default {option.default}"


def _rate(model: str, prices: PriceTable) -> str:
    rate = prices.per_second.get(model)
    if rate is None:
        return "only by a quote" if model in prices.only_quoted else "no price"
    if isinstance(rate, int):
        return f"{rate} credit{'s' * (rate != 1)} a second"
    parts = [f"{name} {', '.join(f'{value} {cost}' for value, cost in costs.items())}" for name, costs in rate.items()]
    return f"credits a second: {' + '.join(parts)}"


def _price_now(spec: type[VideoSpec], facts: _ServiceFacts) -> str:
    quote = facts.quotes.get(spec.model)
    if not isinstance(quote, Quote):
        return "" if quote is None else f"not known: {quote}"
    example = cheapest_specs()[spec.model]
    resolution: object = getattr(example, "resolution", None)
    of = f"{example.seconds} s" if resolution is None else f"{example.seconds} s at {resolution}"
    return f"{in_dollars(quote.credits)} for {of}, by the service's quote"
