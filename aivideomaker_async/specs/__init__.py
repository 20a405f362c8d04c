"""What to generate: one frozen, keyword-only class a model.

A spec is checked when it is made, all its fields at once, and a wrong one raises `InvalidSpec` before anything is sent.
The names and types are Python's and the same for all models (`prompt`, `aspect_ratio`, `duration` in seconds, an int,
`resolution` as "720p"); what travels is what each model of the API wants (`content`, `ratio`, `"8"`, `"720P"`, 720).
Fields that the API requires are required here too: the duration decides the price, so it has no default unless the API
documents one. Defaults travel: what a request asks for is in the request, whatever the service's own defaults become.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import chain
from typing import Any, Final, TypeAlias

from attrs import field, fields_dict, frozen

from ..errors import FieldProblem, InvalidSpec, UnknownPrice
from ..pricing import PriceTable, usual_prices
from . import validators as _rules
from .base import VideoSpec, as_dict, shown, wire_fields, wire_names
from .image_input import ImageInput
from .models_2026_03 import AspectRatio, ImageToVideo, ImageToVideoV3, LongVideo, TextToVideo, TextToVideoV3
from .models_2026_09 import HappyHorse, MiniMaxH3, Seedance20, Wan27

__all__ = [
    "SPECS",
    "AspectRatio",
    "HappyHorse",
    "ImageInput",
    "ImageToVideo",
    "ImageToVideoV3",
    "LongVideo",
    "MiniMaxH3",
    "OtherModel",
    "Seedance20",
    "SpecLike",
    "TextToVideo",
    "TextToVideoV3",
    "VideoSpec",
    "Wan27",
    "as_spec",
    "extra_names",
    "wire_fields",
    "wire_names",
]


@frozen
class OtherModel:
    """A request for a model that this version has no class for: its name and its fields, as they travel.

    Args:
        model: the model's name on the wire.
        body: the fields of the request under their wire names, in values that JSON has.
    """

    model: str = field(repr=shown)
    body: Mapping[str, object] = field(converter=as_dict, repr=shown, hash=False)

    def __attrs_post_init__(self) -> None:
        of_model = _rules.model_name("model", self.model)
        _rules.check(self, chain(of_model, _rules.extra_fields("body", self.body, taken=())))

    def credits(self, prices: PriceTable | None = None) -> int:
        """The estimated price in credits, as `VideoSpec.credits` has it, where the fields are those of a known model.

        Args:
            prices: the table to look the price up in; by default as for the model's own class.

        Raises:
            UnknownPrice: the model has no class here, its price depends on fields that are not what it asks for or are
                left out, or the table does not tell it.
        """
        table = usual_prices(self.model) if prices is None else prices
        kind = SPECS.get(self.model)
        if kind is None:
            raise UnknownPrice(self.model, table.revision)
        known = _as_known(kind, self.body)
        if known is None:
            raise UnknownPrice(self.model, table.revision, with_fields=True)
        return table.credits(known)


def _as_known(kind: type[VideoSpec], body: Mapping[str, object]) -> VideoSpec | None:
    """The spec that has the same fields on the wire, if there is one."""
    given: dict[str, Any] = {}
    extra = dict(body)
    about = fields_dict(kind)
    for name, wire_name in wire_fields(kind).items():
        if wire_name in extra:
            read = about[name].metadata["read"]
            given[name] = read(extra.pop(wire_name)) if read else extra.pop(wire_name)
        elif about[name].metadata["needed_for_price"]:
            return None
    try:
        return kind(**given, extra=extra)
    except (TypeError, InvalidSpec):
        # What is left out that the model asks for is a TypeError.
        return None


def extra_names(spec: VideoSpec | OtherModel) -> Collection[str]:
    """The wire names of the fields of `spec` that the class of its model does not have."""
    if isinstance(spec, VideoSpec):
        return spec.extra.keys()
    return spec.body.keys() - (wire_names(SPECS[spec.model]) if spec.model in SPECS else ())


SpecLike: TypeAlias = VideoSpec | OtherModel | tuple[str, Mapping[str, object]]
"""Whatever can be submitted: a spec, or a pair of a model's name and its fields as they travel."""

SPECS: Final[Mapping[str, type[VideoSpec]]] = {
    spec.model: spec
    for spec in (
        TextToVideo,
        ImageToVideo,
        LongVideo,
        TextToVideoV3,
        ImageToVideoV3,
        MiniMaxH3,
        Seedance20,
        Wan27,
        HappyHorse,
    )
}
"""The spec of each model, by the model's wire name."""


def as_spec(value: object) -> VideoSpec | OtherModel:
    """`value` as a spec.

    Raises:
        InvalidSpec: it is neither a spec nor a pair of a model's name and a mapping.
    """
    if isinstance(value, VideoSpec | OtherModel):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return OtherModel(*value)
    given = f"<{type(value).__name__}>"
    raise InvalidSpec("submit", [FieldProblem("spec", given, "a spec, or a pair of a model's name and its fields")])
