"""The command `models`: what can be generated, with which options, for what price."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from attrs import asdict, define, field
from cyclopts import Parameter

from ..client.client import AIVideoMaker
from ..errors import AIVideoMakerError, ConfigurationError, EndpointNotFound, RateLimited, RequestTimeout
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
from .context import Context, Ctx
from .display import table
from .exits import Exit, UsageError
from .prices import in_dollars
from .spec_options import Option, help_of, options_of

__all__ = ["cheapest", "models"]

logger: Final = logging.getLogger(__name__)

_SECONDS: Final = 10.0
"""How long the service is asked, at most."""

_ATTEMPT: Final = 5.0

_TABLES: Final = (PRICES_2026_03, PRICES_2026_09)

_NO_TELLER: Final = "the service tells neither prices nor models (revision 2026-03)"


def cheapest() -> Mapping[str, VideoSpec]:
    """The cheapest request for each model. Its image is an address that nobody fetches for a quote."""
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
class _Now:
    """What the service says."""

    quotes: dict[str, Quote | AIVideoMakerError] = field(factory=dict[str, Quote | AIVideoMakerError])
    account: Account | None = None
    silence: str | None = None
    """Why it says nothing."""

    def has(self, model: str) -> bool | None:
        """Whether the account has the model; None when that is not known."""
        named = () if self.account is None else self.account.supported_models
        return model in named if named else None


async def models(  # noqa: D417  (the context is no argument of the command)
    model: Annotated[str | None, Parameter(metavar="MODEL")] = None,
    /,
    *,
    offline: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    context: Ctx,
) -> int:
    """Print the models, their options and what they cost. It needs no key, and tells more with one.

    Args:
        model: only this one.
        offline: do not ask the service what the cheapest video of each model costs now, and what the account has.
    """
    if model is not None and model not in SPECS:
        raise UsageError(f"models {model}: must be one of {', '.join(SPECS)}")
    chosen = SPECS if model is None else {model: SPECS[model]}
    now = _Now(silence="nobody was asked") if offline else await _ask(context, chosen)
    for spec in chosen.values():
        context.output.event("model", **_fields(spec, now))
    context.output.result("\n\n".join(_page(spec, now) for spec in chosen.values()))
    if now.silence is not None:
        context.output.say(f"note: prices by the tables alone: {now.silence}")
    return Exit.OK


# --- what the service says ---------------------------------------------------------------------------


async def _ask(context: Context, chosen: Mapping[str, type[VideoSpec]]) -> _Now:
    """Ask for the account and all quotes. Whatever goes wrong, it ends in time, and with what was told so far."""
    now = _Now()
    try:
        client = context.impatient_client(_ATTEMPT)
    except ConfigurationError as error:
        return _Now(silence=str(error))
    try:
        async with asyncio.timeout(_SECONDS), client:
            examples = [spec for name, spec in cheapest().items() if name in chosen]
            await _ask_client(client, examples, now)
    except TimeoutError:
        now.silence = f"the service has not told them within {_SECONDS:g} s"
    except EndpointNotFound:
        now.silence = _NO_TELLER
    except AIVideoMakerError as error:
        now.silence = str(error)
    return now


async def _ask_client(client: AIVideoMaker, examples: Sequence[VideoSpec], now: _Now) -> None:
    try:
        now.account = await client.account()
    except (RateLimited, RequestTimeout) as error:
        # Quotes have no limit.
        logger.debug("which models the account has is not known: %s", error)

    async def quote(spec: VideoSpec) -> None:
        try:
            now.quotes[spec.model] = await client.quote(spec)
        except AIVideoMakerError as error:
            now.quotes[spec.model] = error

    async with asyncio.TaskGroup() as group:
        for spec in examples:
            group.create_task(quote(spec))


# --- what is told of it ------------------------------------------------------------------------------


def _fields(spec: type[VideoSpec], now: _Now) -> dict[str, object]:
    quote = now.quotes.get(spec.model)
    told = quote if isinstance(quote, Quote) else None
    return {
        "model": spec.model,
        "class": spec.__name__,
        "fields": [_field(option) for option in options_of(spec)],
        "prices": {prices.revision: _json(prices.per_second.get(spec.model)) for prices in _TABLES},
        "supported": now.has(spec.model),
        "quote": None if told is None else _quote_fields(told, cheapest()[spec.model]),
        "quote_error": str(quote) if isinstance(quote, AIVideoMakerError) else None,
    }


def _field(option: Option) -> dict[str, object]:
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


def _page(spec: type[VideoSpec], now: _Now) -> str:
    title = help_of(spec).splitlines()[0].replace(f" ({spec.model})", "")
    facts = {"price now": _price_now(spec, now)}
    facts |= {f"table of {prices.revision}": _rate(spec.model, prices) for prices in _TABLES}
    facts["account"] = {True: "has it", False: "does not name it: the service may refuse it", None: ""}[
        now.has(spec.model)
    ]
    known = {name: value for name, value in facts.items() if value}
    return f"{spec.model}  {spec.__name__}: {title}\n" + _indented(f"{_options(spec)}\n{table(known)}")


def _indented(lines: str) -> str:
    return "\n".join(f"  {line}" for line in lines.splitlines())


def _options(spec: type[VideoSpec]) -> str:
    rows = [(one.flags[0], one.name, _need(one), one.allowed) for one in options_of(spec)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _need(option: Option) -> str:
    if option.required:
        return "required"
    return "may be left out" if option.default is None else f"default {option.default}"


def _rate(model: str, prices: PriceTable) -> str:
    rate = prices.per_second.get(model)
    if rate is None:
        return "only a quote tells it" if model in prices.only_quoted else "no price"
    if isinstance(rate, int):
        return f"{rate} credit{'s' * (rate != 1)} a second"
    parts = [f"{name} {', '.join(f'{value} {cost}' for value, cost in costs.items())}" for name, costs in rate.items()]
    return f"credits a second: {' + '.join(parts)}"


def _price_now(spec: type[VideoSpec], now: _Now) -> str:
    quote = now.quotes.get(spec.model)
    if not isinstance(quote, Quote):
        return "" if quote is None else f"not told: {quote}"
    example = cheapest()[spec.model]
    resolution: object = getattr(example, "resolution", None)
    of = f"{example.seconds} s" if resolution is None else f"{example.seconds} s at {resolution}"
    return f"{in_dollars(quote.credits)} for {of}, by the service's quote"
