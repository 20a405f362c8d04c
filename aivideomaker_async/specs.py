"""What to generate: one frozen, keyword-only class a model.

A spec is checked when it is made, all its fields at once, and a wrong one raises `InvalidSpec` before anything is sent.
The names are Python's (`aspect_ratio`, `duration` in seconds, an int); what travels is the API's (`aspectRatio`,
`"8"`). Fields that the API requires are required here too: the duration decides the price, so it has no default.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, ClassVar, Final, Literal, TypeAlias

from attrs import field, fields, frozen

from . import _rules
from .errors import FieldProblem, InvalidSpec
from .images import ImageInput, freeze_image, show_image
from .pricing import PRICES_2026_03, PriceTable
from .secrecy import redact

__all__ = [
    "SPECS",
    "AspectRatio",
    "ImageToVideo",
    "ImageToVideoV3",
    "LongVideo",
    "OtherModel",
    "SpecLike",
    "TextToVideo",
    "TextToVideoV3",
    "VideoSpec",
    "as_spec",
]

AspectRatio: TypeAlias = Literal["16:9", "9:16", "1:1"]

SEGMENT_SECONDS: Final = 5
"""The length of each segment of a `LongVideo`."""


def _shown(value: object) -> str:
    return repr(redact(value))


def _wire(
    rule: _rules.Rule, *, name: str | None = None, kind: Callable[[Any], object] | None = None
) -> dict[str, object]:
    """The metadata of a field: the rule that checks it, and its name and type on the wire where they differ."""
    return {"rule": rule, "wire_name": name, "wire_type": kind}


_PROMPT: Final = _wire(_rules.text())
_OPTIONAL_PROMPT: Final = _wire(_rules.text(optional=True))
_ASPECT_RATIO: Final = _wire(_rules.one_of("16:9", "9:16", "1:1"), name="aspectRatio")
_IMAGE: Final = _wire(_rules.image)
_SHORT: Final = _wire(_rules.one_of(5, 8, unit="seconds"), kind=str)
_UP_TO_20_S: Final = _wire(_rules.one_of(5, 10, 15, 20, unit="seconds"), kind=str)
_SEGMENTS: Final = _wire(_rules.texts(at_most=6), name="prompt", kind=list)


_NO_LISTS: Final = (str, bytes, Mapping, Set)


def _as_tuple(value: Iterable[str]) -> tuple[str, ...]:
    # What is no list of texts is left as it is, for the rule to name. A lone string is a sequence of strings too, and
    # never what was meant; a mapping or a set has no order to rely on.
    return value if isinstance(value, _NO_LISTS) or not isinstance(value, Iterable) else tuple(value)  # type: ignore[return-value]


def _as_dict(value: Mapping[str, object]) -> Mapping[str, object]:
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

    extra: Mapping[str, object] = field(factory=dict[str, object], converter=_as_dict, repr=_shown, hash=False)

    def __attrs_post_init__(self) -> None:
        _rules.check(self, _rules.extra_fields("extra", self.extra, taken=wire_names(type(self))))

    @property
    @abstractmethod
    def seconds(self) -> int:
        """The length of the video in seconds."""

    def credits(self, prices: PriceTable = PRICES_2026_03) -> int:
        """The estimated price in credits (1 credit = 0.01 USD), charged at submit and refunded on failure.

        Args:
            prices: the table to look the price up in; the service's own answer may differ from any table.

        Raises:
            UnknownPrice: the table does not name this model.
        """
        return prices.credits(self)


def wire_names(spec: type[VideoSpec]) -> tuple[str, ...]:
    """The names of the fields of `spec` on the wire, without those in `extra`."""
    return tuple(item.metadata.get("wire_name") or item.name for item in fields(spec) if item.name != "extra")


@frozen(kw_only=True)
class TextToVideo(VideoSpec):
    """A video from a text (`t2v`).

    Args:
        prompt: what the video shows.
        aspect_ratio: `"16:9"`, `"9:16"` or `"1:1"`.
        duration: 5 or 8 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "t2v"
    prompt: str = field(metadata=_PROMPT, repr=_shown)
    aspect_ratio: AspectRatio = field(metadata=_ASPECT_RATIO)
    duration: int = field(metadata=_SHORT)

    @property
    def seconds(self) -> int:
        """The length of the video in seconds."""
        return self.duration


@frozen(kw_only=True)
class ImageToVideo(VideoSpec):
    """A video from an image (`i2v`).

    Args:
        image: the image to start from: an http(s) URL, a data URI, bytes, a path or an open binary file.
        prompt: what happens in the video, or None.
        duration: 5 or 8 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "i2v"
    image: ImageInput = field(metadata=_IMAGE, converter=freeze_image, repr=show_image)
    prompt: str | None = field(default=None, metadata=_OPTIONAL_PROMPT, repr=_shown)
    duration: int = field(metadata=_SHORT)

    @property
    def seconds(self) -> int:
        """The length of the video in seconds."""
        return self.duration


@frozen(kw_only=True)
class LongVideo(VideoSpec):
    """A video of several segments of 5 seconds, one for each prompt (`lv`).

    Args:
        image: the first frame: an http(s) URL, a data URI, bytes, a path or an open binary file.
        prompts: 1 to 6 texts, one a segment, in order.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "lv"
    image: ImageInput = field(metadata=_IMAGE, converter=freeze_image, repr=show_image)
    prompts: tuple[str, ...] = field(metadata=_SEGMENTS, converter=_as_tuple, repr=_shown)

    @property
    def seconds(self) -> int:
        """The length of the video in seconds: 5 for each prompt."""
        return SEGMENT_SECONDS * len(self.prompts)


@frozen(kw_only=True)
class TextToVideoV3(VideoSpec):
    """A video from a text, third generation (`t2v_v3`).

    Args:
        prompt: what the video shows.
        aspect_ratio: `"16:9"`, `"9:16"` or `"1:1"`.
        duration: 5, 10, 15 or 20 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "t2v_v3"
    prompt: str = field(metadata=_PROMPT, repr=_shown)
    aspect_ratio: AspectRatio = field(metadata=_ASPECT_RATIO)
    duration: int = field(metadata=_UP_TO_20_S)

    @property
    def seconds(self) -> int:
        """The length of the video in seconds."""
        return self.duration


@frozen(kw_only=True)
class ImageToVideoV3(VideoSpec):
    """A video from an image, third generation (`i2v_v3`).

    Args:
        image: the image to start from: an http(s) URL, a data URI, bytes, a path or an open binary file.
        prompt: what happens in the video, or None.
        duration: 5, 10, 15 or 20 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "i2v_v3"
    image: ImageInput = field(metadata=_IMAGE, converter=freeze_image, repr=show_image)
    prompt: str | None = field(default=None, metadata=_OPTIONAL_PROMPT, repr=_shown)
    duration: int = field(metadata=_UP_TO_20_S)

    @property
    def seconds(self) -> int:
        """The length of the video in seconds."""
        return self.duration


@frozen
class OtherModel:
    """A request for a model that this version has no class for: its name and its fields, as they travel.

    Args:
        model: the model's name on the wire.
        body: the fields of the request under their wire names, in values that JSON has.
    """

    model: str = field(repr=_shown)
    body: Mapping[str, object] = field(converter=_as_dict, repr=_shown, hash=False)

    def __attrs_post_init__(self) -> None:
        problems = [*_rules.model_name("model", self.model), *_rules.extra_fields("body", self.body, taken=())]
        if problems:
            raise InvalidSpec(type(self).__name__, problems)


SpecLike: TypeAlias = VideoSpec | OtherModel | tuple[str, Mapping[str, object]]
"""Whatever can be submitted: a spec, or a pair of a model's name and its fields as they travel."""

SPECS: Final[Mapping[str, type[VideoSpec]]] = {
    spec.model: spec for spec in (TextToVideo, ImageToVideo, LongVideo, TextToVideoV3, ImageToVideoV3)
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
    shown = f"<{type(value).__name__}>"
    raise InvalidSpec("submit", [FieldProblem("spec", shown, "a spec, or a pair of a model's name and its fields")])
