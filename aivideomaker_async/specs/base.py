"""What all specs have in common: the base class, and the metadata of a field: its rule, wire name and wire type."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import chain
from typing import Any, ClassVar, Final, TypeGuard

from attrs import AttrsInstance, field, fields, frozen

from .._redaction import redact
from ..errors import FieldProblem
from ..pricing import PriceTable, usual_prices
from . import validators as _rules
from .image_input import ImageInput, freeze_image

__all__ = [
    "Timed",
    "VideoSpec",
    "as_dict",
    "as_images",
    "as_one_or_more",
    "as_texts",
    "is_left_out",
    "number",
    "shown",
    "wire",
    "wire_fields",
    "wire_names",
]

_NO_LISTS: Final = (str, bytes, Mapping, Set)


def shown(value: object) -> str:
    """The repr of a field, without what is private."""
    return repr(redact(value))


def wire(
    rule: _rules.Rule,
    *,
    name: str | None = None,
    kind: Callable[[Any], object] | None = None,
    read: Callable[[Any], object] | None = None,
    images: bool = False,
    needed_for_price: bool = False,
) -> dict[str, object]:
    """The metadata of a field.

    Args:
        rule: checks it.
        name: its name on the wire, where that differs.
        kind: makes what travels of it.
        read: makes a value of what has travelled, where `kind` makes a value of another type.
        images: whether it holds images, which have to be read before they can travel.
        needed_for_price: whether the price depends on it, and what the service takes for a request without it is not
            documented.
    """
    return {
        "rule": rule,
        "wire_name": name,
        "wire_type": kind,
        "read": read,
        "images": images,
        "needed_for_price": needed_for_price,
    }


def number(value: object) -> object:
    """The number that has travelled as a text; what is none is left as it is, for the rule to name."""
    return int(value) if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,5}", value) else value


def is_left_out(value: object) -> bool:
    """Whether a field has nothing in it that would travel."""
    return value is None or (isinstance(value, list | tuple) and not value)


def as_texts(value: Iterable[str]) -> tuple[str, ...]:
    """A list of texts, as one that nobody changes."""
    # What is no list is left as it is, for the rule to name. A lone string is a sequence of strings too, and never what
    # was meant; a mapping or a set has no order to rely on.
    return value if isinstance(value, _NO_LISTS) or not isinstance(value, Iterable) else tuple(value)  # type: ignore[return-value]  # (see above)


def as_images(value: Iterable[ImageInput]) -> tuple[ImageInput, ...]:
    """A list of images, as one that nobody changes."""
    # What is no list is left for the rule to name.
    return tuple(map(freeze_image, value)) if _is_list(value) else value  # type: ignore[return-value]


def as_one_or_more(value: ImageInput | Iterable[ImageInput] | None) -> ImageInput | tuple[ImageInput, ...] | None:
    """One image, or a list of them, as one that nobody changes."""
    # The narrower type of what is no list cannot be written down.
    return tuple(map(freeze_image, value)) if _is_list(value) else freeze_image(value)  # type: ignore[arg-type]


def _is_list(value: object) -> TypeGuard[Iterable[ImageInput]]:
    # An open file, a buffer and some paths are no lists, though they can be iterated over; nor is a lone text.
    is_one = isinstance(value, (*_NO_LISTS, bytearray, memoryview, os.PathLike)) or hasattr(value, "read")
    return isinstance(value, Iterable) and not is_one


def as_dict(value: Mapping[str, object]) -> Mapping[str, object]:
    """A copy of a mapping, which nobody else changes."""
    # Whoever does without types may give something else, which the rule names.
    return dict(value) if isinstance(value, Mapping) else value  # type: ignore[redundant-expr]


@frozen(kw_only=True)
class VideoSpec(ABC):
    """The base of all specs.

    Args:
        extra: further fields of the request body under their wire names, for what the API takes and this version does
            not know, for example `extra={"filterMode": "strict"}`.
    """

    model: ClassVar[str]
    """The model's name on the wire."""

    extra: Mapping[str, object] = field(factory=dict[str, object], converter=as_dict, repr=shown, hash=False)

    def __attrs_post_init__(self) -> None:
        taken = wire_names(type(self))
        _rules.check(self, chain(_rules.extra_fields("extra", self.extra, taken=taken), self._combined()))

    def _combined(self) -> Iterator[FieldProblem]:
        """What is wrong with the fields together, though each by itself may be right."""
        return iter(())

    @property
    @abstractmethod
    def seconds(self) -> int:
        """The length of the video in seconds."""

    def credits(self, prices: PriceTable | None = None) -> int:
        """The estimated price in credits (1 credit = 0.01 USD), charged at submit and refunded on failure.

        What the service charges now is told by `AIVideoMaker.quote`, where it has quotes.

        Args:
            prices: the table to look the price up in; by default `PRICES_2026_03`, and `PRICES_2026_09` for the models
                that are younger.

        Raises:
            UnknownPrice: the table does not tell the price.
        """
        return (usual_prices(self.model) if prices is None else prices).credits(self)


class Timed(VideoSpec):
    """The base of specs that tell how long the video shall be."""

    __slots__ = ()

    duration: int

    @property
    def seconds(self) -> int:
        """The length of the video in seconds."""
        return self.duration


def wire_fields(spec: type[AttrsInstance]) -> dict[str, str]:
    """The names of the fields of `spec`, without `extra`, and their names on the wire."""
    return {item.name: item.metadata.get("wire_name") or item.name for item in fields(spec) if item.name != "extra"}


def wire_names(spec: type[AttrsInstance]) -> tuple[str, ...]:
    """The names of the fields of `spec` on the wire, without those in `extra`."""
    return tuple(wire_fields(spec).values())
