"""Price tables as dated data.

The service charges credits (1 credit = 0.01 USD) at submit. Its prices have changed before and will change again: a
table is an estimate with a date, and the service's own quote is the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol, TypeAlias

from attrs import field, frozen

from ._redaction import shorten
from ._util import validation as _checks
from .errors import ConfigurationError, UnknownPrice
from .tasks import Quote

__all__ = [
    "PRICES_2026_03",
    "PRICES_2026_09",
    "USD_PER_CREDIT",
    "Price",
    "PriceTable",
    "Priced",
    "Rate",
    "usual_prices",
]

USD_PER_CREDIT: Final = 0.01

Rate: TypeAlias = int | Mapping[str, Mapping[str, int]]
"""Credits per second of video: a number, or for each field that the price depends on, the cost of each of its values.
The price is the sum: `{"resolution": {"720p": 3, "1080p": 4}, "tier": {"turbo": 0, "base": 1}}`."""


class Priced(Protocol):
    """What a price table can price: any spec of a model. Fields that a rate depends on are read by name."""

    model: ClassVar[str]
    """The model's wire name."""

    @property
    def seconds(self) -> int:
        """The length of the video in seconds."""
        ...


def _frozen_copy(rates: Mapping[str, Rate]) -> Mapping[str, Rate]:
    items = _items("per_second", rates, "models' wire names to rates")
    return MappingProxyType({model: _frozen_rate(f"per_second[{model!r}]", rate) for model, rate in items})


def _frozen_rate(name: str, rate: Rate) -> Rate:
    if not isinstance(rate, Mapping):
        return _checks.amount(name, rate)
    if not rate:
        # An empty sum would be a price of 0.
        raise ConfigurationError(f"{name}={{}}: must have a field that the price depends on")
    items = _items(name, rate, "fields to what each of their values costs")
    return MappingProxyType({field: _frozen_costs(f"{name}[{field!r}]", costs) for field, costs in items})


def _frozen_costs(name: str, costs: Mapping[str, int]) -> Mapping[str, int]:
    items = _items(name, costs, "values of the field to credits a second")
    return MappingProxyType({value: _checks.amount(f"{name}[{value!r}]", cost) for value, cost in items})


def _items(name: str, value: Mapping[str, Any], of: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name}={shorten(repr(value))}: must be a mapping of {of}")
    return value.items()


def _as_models(models: Iterable[str]) -> frozenset[str]:
    return _as_set("only_quoted", models, "models")


def _as_free_fields(names: Iterable[str]) -> frozenset[str]:
    return _as_set("free_fields", names, "fields")


def _as_set(name: str, value: Iterable[str], of: str) -> frozenset[str]:
    if isinstance(value, str):
        raise ConfigurationError(f"{name}={shorten(repr(value))}: must be a set of wire names of {of}")
    return frozenset(value)


def _plain(rate: Rate) -> Rate:
    return rate if isinstance(rate, int) else {name: dict(costs) for name, costs in rate.items()}


@frozen(kw_only=True)
class PriceTable:
    """The price of each model in credits per second of video.

    Make your own when your prices differ; `credits(prices=...)` of every spec takes it, and `AIVideoMaker(prices=...)`.

    Raises:
        ConfigurationError: a rate is neither a whole number of credits nor made of such numbers.
    """

    revision: str
    published: date
    """When the prices were published."""
    source: str
    per_second: Mapping[str, Rate] = field(converter=_frozen_copy, hash=False)
    """Credits per second of video, by the model's wire name."""
    only_quoted: frozenset[str] = field(default=frozenset[str](), converter=_as_models)
    """Wire names of models without a fixed rate: only the service's quote has their price."""

    free_fields: frozenset[str] = field(default=frozenset[str](), converter=_as_free_fields)
    """Wire names of further fields (`extra`) that do not change the price."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A MappingProxyType can be neither pickled nor copied.
        rates = {model: _plain(rate) for model, rate in self.per_second.items()}
        return _restore, (self.revision, self.published, self.source, rates, self.only_quoted, self.free_fields)

    def check_extra(self, model: str, names: Iterable[str]) -> None:
        """Check that further fields do not change the price.

        Args:
            model: the model's wire name.
            names: the wire names of the further fields.

        Raises:
            UnknownPrice: a field is not one of `free_fields`.
        """
        if not self.free_fields.issuperset(names):
            raise UnknownPrice(model, self.revision, with_fields=True)

    def credits(self, spec: Priced) -> int:
        """Return the estimated price of `spec` in credits.

        Raises:
            UnknownPrice: the table has no price for the spec's model, or for the values of its fields.
        """
        rate = self.per_second.get(spec.model)
        if rate is None:
            raise UnknownPrice(spec.model, self.revision, only_quoted=spec.model in self.only_quoted)
        if isinstance(rate, int):
            return rate * spec.seconds
        try:
            return sum(costs[getattr(spec, name)] for name, costs in rate.items()) * spec.seconds
        except (KeyError, TypeError, AttributeError):
            # The table or the spec lacks a field or a value; or a value cannot be a key.
            raise UnknownPrice(spec.model, self.revision, with_fields=True) from None


def _restore(
    revision: str,
    published: date,
    source: str,
    per_second: Mapping[str, Rate],
    only_quoted: frozenset[str],
    free_fields: frozenset[str],
) -> PriceTable:
    return PriceTable(
        revision=revision,
        published=published,
        source=source,
        per_second=per_second,
        only_quoted=only_quoted,
        free_fields=free_fields,
    )


@frozen(kw_only=True)
class Price:
    """The price of a spec, and its source."""

    credits: int
    """1 credit is 0.01 USD."""
    quote: Quote | None = None
    """The service's own quote: what it would charge now; None where it has no quotes."""
    table: PriceTable | None = None
    """The table of the estimate, where there is no quote."""

    @property
    def usd(self) -> float:
        """The same in US dollars."""
        return round(self.credits * USD_PER_CREDIT, 2)


PRICES_2026_03: Final = PriceTable(
    revision="2026-03",
    published=date(2026, 3, 19),
    source="https://aivideomaker.ai, API reference of March 2026",
    # lv is documented as "number of prompts x 5 x 15": each prompt is a segment of 5 seconds.
    per_second={"t2v": 1, "i2v": 1, "lv": 15, "t2v_v3": 10, "i2v_v3": 10},
    # Early builds of the service required it.
    free_fields={"filterMode"},
)

PRICES_2026_09: Final = PriceTable(
    revision="2026-09",
    # Only the month is known.
    published=date(2026, 9, 1),
    source="https://aivideomaker.ai, API reference and OpenAPI file 1.0.15 of September 2026",
    per_second={
        "t2v": 3,
        "i2v": 3,
        "t2v_v3": 4,
        "i2v_v3": 4,
        "minimax": {"resolution": {"720p": 3, "1080p": 4}, "tier": {"turbo": 0, "base": 1}},
        "wan27": {"resolution": {"720p": 10, "1080p": 15}},
        "happyhorse": {"resolution": {"720p": 25, "1080p": 50}},
    },
    only_quoted={"seedance20"},
    free_fields={"filterMode"},
)


def usual_prices(model: str) -> PriceTable:
    """Return the default table for a model: that of 2026-03, or that of 2026-09 for younger models."""
    return PRICES_2026_03 if model in PRICES_2026_03.per_second else PRICES_2026_09
