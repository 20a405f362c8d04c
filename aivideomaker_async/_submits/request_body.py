"""The request body of a spec: its fields by their wire names and in their wire types, long ones in pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from attrs import AttrsInstance, fields
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from ..specs import OtherModel, VideoSpec, wire_fields
from ..specs.base import is_left_out
from ..specs.image_input import ImageInput
from ..specs.validators import replace_long_texts
from .body import Body, Image, Part, Text

__all__ = ["Ready", "images_of", "outline", "to_wire", "write_body", "write_outline"]


def _wire_type(kind: Callable[[Any], object] | None) -> Callable[[Any], object] | None:
    return None if kind is None else lambda value: None if value is None else kind(value)


def _unstructure_spec(spec_type: type[AttrsInstance], converter: Converter) -> Callable[[Any], dict[str, object]]:
    """Wire names and wire types come from the fields' own metadata; what was left out does not travel."""
    overrides = {
        item.name: override(
            rename=item.metadata.get("wire_name"),
            unstruct_hook=_wire_type(item.metadata.get("wire_type")) or (lambda value: value),
        )
        for item in fields(spec_type)
    }
    plain = make_dict_unstructure_fn(spec_type, converter, **overrides)  # type: ignore[arg-type]

    def unstructure(spec: Any) -> dict[str, object]:  # noqa: ANN401  (cattrs hands over any spec)
        wire = plain(spec)
        extra: dict[str, object] = wire.pop("extra")
        return {name: value for name, value in wire.items() if not is_left_out(value)} | extra

    return unstructure


_converter: Final = Converter()
_converter.register_unstructure_hook_factory(
    lambda kind: isinstance(kind, type) and issubclass(kind, VideoSpec), _unstructure_spec
)


def to_wire(spec: VideoSpec | OtherModel) -> dict[str, object]:
    """The fields of the request body, by wire name. An image is still what the user gave."""
    if isinstance(spec, OtherModel):
        return dict(spec.body)
    wire: dict[str, object] = _converter.unstructure(spec)
    return wire


def images_of(spec: VideoSpec | OtherModel) -> dict[str, ImageInput | tuple[ImageInput, ...]]:
    """The images that must be read before `spec` can be written, by the names of their fields."""
    if isinstance(spec, OtherModel):
        return {}
    found = {item.name: getattr(spec, item.name) for item in fields(type(spec)) if item.metadata.get("images")}
    return {name: value for name, value in found.items() if not is_left_out(value)}


Ready: TypeAlias = Image | str
"""An image as it travels: itself, or the URL that the service fetches it from."""


def write_body(spec: VideoSpec | OtherModel, images: Mapping[str, Ready | list[Ready]] | None = None) -> Body:
    """The request body of `spec`.

    Args:
        spec: what to write.
        images: its images as they travel, by the names of their fields; None when it has none.
    """
    return write_outline(outline(spec, images or {}))


def outline(spec: VideoSpec | OtherModel, images: Mapping[str, Ready | list[Ready]]) -> dict[str, object]:
    """The fields of the request body, by wire name, with objects in place of all that is long."""
    wire = to_wire(spec)
    if not isinstance(spec, OtherModel):
        names = wire_fields(type(spec))
        wire |= {names[name]: image for name, image in images.items()}
    return {name: replace_long_texts(value, Text.of) for name, value in wire.items()}


def write_outline(fields: Mapping[str, object]) -> Body:
    """The request body with these fields, as `outline` gives them."""
    found: list[Image | Text] = []

    def place(value: object) -> str:
        if not isinstance(value, Image | Text):
            raise TypeError(f"no JSON has a {type(value).__name__}")
        found.append(value)
        return _PLACE

    written = json.dumps(fields, default=place, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    first, *others = (part.encode() for part in written.split(_PLACE))
    parts: list[Part] = [first]
    for held, after in zip(found, others, strict=True):
        parts += [held, after]
    return Body(tuple(parts))


_PLACE: Final = "\ud800"
"""Stands for an image or a long text until the rest is written. A lone surrogate: no text that is checked has one."""
