"""What to generate: one frozen, keyword-only class for each model.

A spec is checked when it is made, all its fields at once, and a wrong one raises `InvalidSpec` before anything is sent.
The names and types are Python's and the same for all models (`prompt`, `aspect_ratio`, `duration` in seconds as an int,
`resolution` as "720p"); what is sent is what each model of the API wants (`content`, `ratio`, `"8"`, `"720P"`, 720).
Fields that the API requires are required here too: the duration decides the price, so it has no default unless the API
documents one. Defaults are sent: what a request asks for does not change when the service changes its own defaults.

The classes of each revision are in `models_2026_03` and `models_2026_09`; `base` has what they share, `validators` the
rules for their fields, and `image_input` what an image may be. Names beside those in `__all__` serve the other rooms of
the package, and may change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from itertools import chain
from typing import Any, Final, TypeAlias

from attrs import field, fields, fields_dict, frozen

from .._redaction import repr_redacted
from ..errors import FieldProblem, InvalidSpec, UnknownPrice
from ..pricing import PriceTable, usual_prices
from .base import VideoSpec, copy_mapping, is_omitted, wire_fields, wire_names
from .image_input import IMAGE_FORMS as IMAGE_FORMS
from .image_input import SNIFFED_BYTES as SNIFFED_BYTES
from .image_input import ImageInput
from .image_input import image_type as image_type
from .image_input import show_image as show_image
from .models_2026_03 import AspectRatio, ImageToVideo, ImageToVideoV3, LongVideo, TextToVideo, TextToVideoV3
from .models_2026_09 import HappyHorse, MiniMaxH3, Seedance20, Wan27
from .validators import LONG_TEXT_CHARACTERS as LONG_TEXT_CHARACTERS
from .validators import Rule as Rule
from .validators import check_extra, check_fields, check_model_name
from .validators import replace_long_texts as replace_long_texts
from .validators import texts_in as texts_in

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
    """A request for a model that this version has no class for: its name, and its fields as they are sent.

    Args:
        model: the model's wire name.
        body: the fields of the request under their wire names, in values that JSON has.
    """

    model: str = field(repr=repr_redacted)
    body: Mapping[str, object] = field(converter=copy_mapping, repr=repr_redacted, hash=False)

    def __attrs_post_init__(self) -> None:
        check_fields(self, chain(check_model_name("model", self.model), check_extra("body", self.body, taken=())))

    def credits(self, prices: PriceTable | None = None) -> int:
        """Estimate the price in credits as `VideoSpec.credits` does, where the fields are those of a known model.

        Args:
            prices: the table to look the price up in; by default as for the model's own class.

        Raises:
            UnknownPrice: the model has no class here, its price depends on fields that are left out or have other
                values than the class allows, or the table does not have the price.
        """
        table = usual_prices(self.model) if prices is None else prices
        kind = SPECS.get(self.model)
        if kind is None:
            raise UnknownPrice(self.model, table.revision)
        known = _from_wire(kind, self.body)
        if known is None:
            raise UnknownPrice(self.model, table.revision, with_fields=True)
        return table.credits(known)


SpecLike: TypeAlias = VideoSpec | OtherModel | tuple[str, Mapping[str, object]]
"""Whatever can be submitted: a spec, or a pair of a model's name and its fields as they are sent."""

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
"""The spec class of each model, by the model's wire name."""


def as_spec(value: object) -> VideoSpec | OtherModel:
    """Return `value` as a spec.

    Raises:
        InvalidSpec: it is neither a spec nor a pair of a model's name and a mapping.
    """
    if isinstance(value, VideoSpec | OtherModel):
        return value
    if isinstance(value, tuple) and len(value) == 2:
        return OtherModel(*value)
    given = f"<{type(value).__name__}>"
    raise InvalidSpec("submit", [FieldProblem("spec", given, "a spec, or a pair of a model's name and its fields")])


def extra_names(spec: VideoSpec | OtherModel) -> Collection[str]:
    """Return the wire names of the fields of `spec` that the class of its model does not have."""
    if isinstance(spec, VideoSpec):
        return spec.extra.keys()
    return spec.body.keys() - (wire_names(SPECS[spec.model]) if spec.model in SPECS else ())


def to_wire(spec: VideoSpec | OtherModel) -> dict[str, object]:
    """Return the fields of the request body by wire name. An image is still what the user gave."""
    if isinstance(spec, OtherModel):
        return dict(spec.body)
    return {name: value for name, value in _writer(type(spec))(spec).items() if not is_omitted(value)} | dict(
        spec.extra
    )


@cache
def _writer(kind: type[VideoSpec]) -> Callable[[VideoSpec], dict[str, object]]:
    """Return the function that writes the fields of a spec class under their wire names and in their wire types."""
    # Imported on use: only what is sent needs it.
    from cattrs import Converter
    from cattrs.gen import make_dict_unstructure_fn, override

    def as_sent(convert: Callable[[object], object] | None) -> Callable[[object], object]:
        return lambda value: value if value is None or convert is None else convert(value)

    overrides = {
        item.name: override(
            rename=item.metadata.get("wire_name"),
            unstruct_hook=as_sent(item.metadata.get("wire_type")),
            omit=item.name == "extra",
        )
        for item in fields(kind)
    }
    return make_dict_unstructure_fn(kind, Converter(), **overrides)  # type: ignore[arg-type]


def image_fields(spec: VideoSpec | OtherModel) -> dict[str, ImageInput | tuple[ImageInput, ...]]:
    """Return the images that must be loaded before `spec` can be sent, by the Python names of their fields."""
    if isinstance(spec, OtherModel):
        return {}
    found = {item.name: getattr(spec, item.name) for item in fields(type(spec)) if item.metadata.get("images")}
    return {name: value for name, value in found.items() if not is_omitted(value)}


def _from_wire(kind: type[VideoSpec], body: Mapping[str, object]) -> VideoSpec | None:
    """Return the spec that is sent as `body`, if there is one."""
    given: dict[str, Any] = {}
    extra = dict(body)
    known = fields_dict(kind)
    for name, wire_name in wire_fields(kind).items():
        if wire_name in extra:
            read = known[name].metadata["read"]
            given[name] = read(extra.pop(wire_name)) if read else extra.pop(wire_name)
        elif known[name].metadata["needed_for_price"]:
            return None
    try:
        return kind(**given, extra=extra)
    except (TypeError, InvalidSpec):
        # A required field that is left out is a TypeError.
        return None
