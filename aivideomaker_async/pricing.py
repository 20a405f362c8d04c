"""Price tables, as dated data.

The service charges credits (1 credit = 0.01 USD) at submit. What it charges has changed before and will change again:
a table is an estimate with a date, and the service's own answer is the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from .errors import UnknownPrice

if TYPE_CHECKING:
    from .specs import VideoSpec

__all__ = ["PRICES_2026_03", "USD_PER_CREDIT", "PriceTable"]

USD_PER_CREDIT: Final = 0.01


def _frozen_copy(rates: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType(dict(rates))


@frozen(kw_only=True)
class PriceTable:
    """What each model costs, in credits per second of video.

    Make your own when your prices differ; `credits(prices=...)` of every spec takes it.
    """

    revision: str
    published: date
    """When the prices were published."""
    source: str
    per_second: Mapping[str, int] = field(converter=_frozen_copy, hash=False)
    """Credits per second of video, by the model's wire name."""

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping can be neither pickled nor copied.
        return _restore, (self.revision, self.published, self.source, dict(self.per_second))

    def credits(self, spec: VideoSpec) -> int:
        """The estimated price of `spec` in credits.

        Raises:
            UnknownPrice: the table does not name the spec's model.
        """
        try:
            return self.per_second[spec.model] * spec.seconds
        except KeyError:
            raise UnknownPrice(spec.model, self.revision) from None


def _restore(revision: str, published: date, source: str, per_second: Mapping[str, int]) -> PriceTable:
    return PriceTable(revision=revision, published=published, source=source, per_second=per_second)


PRICES_2026_03: Final = PriceTable(
    revision="2026-03",
    published=date(2026, 3, 19),
    source="https://aivideomaker.ai, API reference of March 2026",
    # lv is documented as "number of prompts x 5 x 15": each prompt is a segment of 5 seconds.
    per_second={"t2v": 1, "i2v": 1, "lv": 15, "t2v_v3": 10, "i2v_v3": 10},
)
