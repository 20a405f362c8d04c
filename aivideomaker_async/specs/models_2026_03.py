"""The specs of the models of March 2026. The service of September 2026 still has all of them except `lv`."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, TypeAlias

from attrs import field, frozen

from .._redaction import repr_redacted
from ..tasks import SEGMENT_S
from . import validators
from .base import TimedSpec, VideoSpec, freeze_texts, number_from_wire, wire
from .image_input import ImageInput, freeze_image, show_image

__all__ = ["AspectRatio", "ImageToVideo", "ImageToVideoV3", "LongVideo", "TextToVideo", "TextToVideoV3"]

AspectRatio: TypeAlias = Literal["16:9", "9:16", "1:1"]

_PROMPT: Final = wire(validators.text)
_OPTIONAL_PROMPT: Final = wire(validators.optional(validators.text))
_ASPECT_RATIO: Final = wire(validators.one_of("16:9", "9:16", "1:1"), name="aspectRatio")
_IMAGE: Final = wire(validators.image, images=True)
_SHORT: Final = wire(validators.one_of(5, 8, unit="seconds"), kind=str, read=number_from_wire)
_UP_TO_20_S: Final = wire(validators.one_of(5, 10, 15, 20, unit="seconds"), kind=str, read=number_from_wire)
_SEGMENTS: Final = wire(validators.list_of(validators.text, at_most=6, of="texts"), name="prompt", kind=list)


@frozen(kw_only=True)
class TextToVideo(TimedSpec):
    """A video from a text (`t2v`).

    Args:
        prompt: what the video shows.
        aspect_ratio: `"16:9"`, `"9:16"` or `"1:1"`.
        duration: 5 or 8 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "t2v"
    prompt: str = field(metadata=_PROMPT, repr=repr_redacted)
    aspect_ratio: AspectRatio = field(metadata=_ASPECT_RATIO)
    duration: Literal[5, 8] = field(metadata=_SHORT)


@frozen(kw_only=True)
class ImageToVideo(TimedSpec):
    """A video from an image (`i2v`).

    Args:
        image: the image to start from: an http(s) URL, a data URI, bytes, a path or an open binary file.
        prompt: what happens in the video, or None.
        duration: 5 or 8 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "i2v"
    image: ImageInput = field(metadata=_IMAGE, converter=freeze_image, repr=show_image)
    prompt: str | None = field(default=None, metadata=_OPTIONAL_PROMPT, repr=repr_redacted)
    duration: Literal[5, 8] = field(metadata=_SHORT)


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
    prompts: tuple[str, ...] = field(metadata=_SEGMENTS, converter=freeze_texts, repr=repr_redacted)

    @property
    def seconds(self) -> int:
        """The length of the video in seconds: 5 for each prompt."""
        return SEGMENT_S * len(self.prompts)


@frozen(kw_only=True)
class TextToVideoV3(TimedSpec):
    """A video from a text, third generation (`t2v_v3`).

    Args:
        prompt: what the video shows.
        aspect_ratio: `"16:9"`, `"9:16"` or `"1:1"`.
        duration: 5, 10, 15 or 20 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "t2v_v3"
    prompt: str = field(metadata=_PROMPT, repr=repr_redacted)
    aspect_ratio: AspectRatio = field(metadata=_ASPECT_RATIO)
    duration: Literal[5, 10, 15, 20] = field(metadata=_UP_TO_20_S)


@frozen(kw_only=True)
class ImageToVideoV3(TimedSpec):
    """A video from an image, third generation (`i2v_v3`).

    Args:
        image: the image to start from: an http(s) URL, a data URI, bytes, a path or an open binary file.
        prompt: what happens in the video, or None.
        duration: 5, 10, 15 or 20 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "i2v_v3"
    image: ImageInput = field(metadata=_IMAGE, converter=freeze_image, repr=show_image)
    prompt: str | None = field(default=None, metadata=_OPTIONAL_PROMPT, repr=repr_redacted)
    duration: Literal[5, 10, 15, 20] = field(metadata=_UP_TO_20_S)
