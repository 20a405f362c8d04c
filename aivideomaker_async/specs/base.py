"""What all specs have in common: the base class, and the metadata of fields with their rules and wire names."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from itertools import chain
from typing import Any, ClassVar, Final, Protocol, TypeGuard

from attrs import AttrsInstance, field, fields, frozen

from .._redaction import repr_redacted
from ..errors import FieldProblem
from ..pricing import PriceTable, usual_prices
from .image_input import ImageInput, freeze_image
from .validators import Rule, check_extra, check_fields

__all__ = [
    "TimedSpec",
    "VideoSpec",
    "copy_mapping",
    "freeze_images",
    "freeze_one_or_more_images",
    "freeze_texts",
    "is_omitted",
    "number_from_wire",
    "wire",
    "wire_fields",
    "wire_names",
]

_NO_LISTS: Final = (str, bytes, Mapping, Set)


def wire(
    rule: Rule,
    *,
    name: str | None = None,
    kind: Callable[[Any], object] | None = None,
    read: Callable[[Any], object] | None = None,
    images: bool = False,
    needed_for_price: bool = False,
) -> dict[str, object]:
    """Return the metadata of a field.

    Args:
        rule: checks the value.
        name: the wire name, where it differs.
        kind: makes the wire value.
        read: makes the value of a wire value, where `kind` makes another type.
        images: whether the field holds images, which must be loaded before they can be sent.
        needed_for_price: whether the price depends on it, and the service's default is not documented.
    """
    return {
        "rule": rule,
        "wire_name": name,
        "wire_type": kind,
        "read": read,
        "images": images,
        "needed_for_price": needed_for_price,
    }


def wire_fields(spec: type[AttrsInstance]) -> dict[str, str]:
    """Return the wire names of the fields of `spec`, by their Python names, without those in `extra`."""
    return {item.name: item.metadata.get("wire_name") or item.name for item in fields(spec) if item.name != "extra"}


def wire_names(spec: type[AttrsInstance]) -> tuple[str, ...]:
    """Return the wire names of the fields of `spec`, without those in `extra`."""
    return tuple(wire_fields(spec).values())


def is_omitted(value: object) -> bool:
    """Return whether a field holds nothing that would be sent."""
    return value is None or (isinstance(value, list | tuple) and not value)


# --- converters: a value of a wrong type is returned as it is, for the rule to report -----------------


def number_from_wire(value: object) -> object:
    """Return the number that was sent as a text."""
    return int(value) if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,5}", value) else value


def freeze_texts(value: list[str] | tuple[str, ...] | Iterator[str]) -> tuple[str, ...]:
    """Return a list of texts as a tuple. Any other iterable works, too: its type would allow a lone string."""
    # A lone string is never what was meant; a mapping or a set has no order.
    return value if isinstance(value, _NO_LISTS) or not isinstance(value, Iterable) else tuple(value)  # type: ignore[return-value]


def freeze_images(value: Iterable[ImageInput]) -> tuple[ImageInput, ...]:
    """Return a list of images as a tuple, with copies of buffers."""
    return tuple(map(freeze_image, value)) if _is_list(value) else value  # type: ignore[return-value]


def freeze_one_or_more_images(
    value: ImageInput | Iterable[ImageInput] | None,
) -> ImageInput | tuple[ImageInput, ...] | None:
    """Return one image, or a list of images as a tuple, with copies of buffers."""
    return tuple(map(freeze_image, value)) if _is_list(value) else freeze_image(value)  # type: ignore[arg-type]


def _is_list(value: object) -> TypeGuard[Iterable[ImageInput]]:
    # An open file, a buffer and some paths can be iterated over, and are single images all the same.
    is_one = isinstance(value, (*_NO_LISTS, bytearray, memoryview, os.PathLike)) or hasattr(value, "read")
    return isinstance(value, Iterable) and not is_one


def copy_mapping(value: Mapping[str, object]) -> Mapping[str, object]:
    """Return a copy of a mapping, which its owner cannot change."""
    return dict(value) if isinstance(value, Mapping) else value  # type: ignore[redundant-expr]


# --- base classes ------------------------------------------------------------------------------------


@frozen(kw_only=True)
class VideoSpec(ABC):
    """The base of all specs.

    Args:
        extra: further fields of the request body under their wire names, for what the API accepts and this version does
            not know, for example `extra={"filterMode": "strict"}`.
    """

    model: ClassVar[str]
    """The model's wire name."""

    extra: Mapping[str, object] = field(
        factory=dict[str, object], converter=copy_mapping, repr=repr_redacted, hash=False
    )

    def __attrs_post_init__(self) -> None:
        taken = wire_names(type(self))
        check_fields(self, chain(check_extra("extra", self.extra, taken=taken), self._combined_problems()))

    def _combined_problems(self) -> Iterator[FieldProblem]:
        """Yield what is wrong with the fields together, though each by itself may be right."""
        return iter(())

    @property
    @abstractmethod
    def seconds(self) -> int:
        """The length of the video in seconds."""

    def credits(self, prices: PriceTable | None = None) -> int:
        """Estimate the price in credits (1 credit is 0.01 USD), charged at submit and refunded on failure.

        What the service charges now is reported by `AIVideoMaker.quote`, where it has quotes.

        Args:
            prices: the table to look the price up in; by default `PRICES_2026_03`, and `PRICES_2026_09` for the models
                that are younger.

        Raises:
            UnknownPrice: the table does not have the price.
        """
        return (usual_prices(self.model) if prices is None else prices).credits(self)


class _Timed(Protocol):
    @property
    def duration(self) -> int: ...


class TimedSpec(VideoSpec):
    """The base of specs with a field for the length of the video."""

    __slots__ = ()

    @property
    def seconds(self: _Timed) -> int:
        """The length of the video in seconds."""
        return self.duration
