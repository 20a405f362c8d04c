"""The specs of the models of March 2026, which the service still has, but for one."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, TypeAlias

from attrs import field, frozen

from . import validators as _rules
from .base import Timed, VideoSpec, as_texts, number, shown, wire
from .image_input import ImageInput, freeze_image, show_image

__all__ = ["AspectRatio", "ImageToVideo", "ImageToVideoV3", "LongVideo", "TextToVideo", "TextToVideoV3"]

AspectRatio: TypeAlias = Literal["16:9", "9:16", "1:1"]

SEGMENT_SECONDS: Final = 5
"""The length of each segment of a `LongVideo`."""

_PROMPT: Final = wire(_rules.text)
_OPTIONAL_PROMPT: Final = wire(_rules.optional(_rules.text))
_ASPECT_RATIO: Final = wire(_rules.one_of("16:9", "9:16", "1:1"), name="aspectRatio")
_IMAGE: Final = wire(_rules.image, images=True)
_SHORT: Final = wire(_rules.one_of(5, 8, unit="seconds"), kind=str, read=number)
_UP_TO_20_S: Final = wire(_rules.one_of(5, 10, 15, 20, unit="seconds"), kind=str, read=number)
_SEGMENTS: Final = wire(_rules.several(_rules.text, at_most=6, of="texts"), name="prompt", kind=list)


@frozen(kw_only=True)
class TextToVideo(Timed):
    """A video from a text (`t2v`).

    Args:
        prompt: what the video shows.
        aspect_ratio: `"16:9"`, `"9:16"` or `"1:1"`.
        duration: 5 or 8 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "t2v"
    prompt: str = field(metadata=_PROMPT, repr=shown)
    aspect_ratio: AspectRatio = field(metadata=_ASPECT_RATIO)
    duration: int = field(metadata=_SHORT)


@frozen(kw_only=True)
class ImageToVideo(Timed):
    """A video from an image (`i2v`).

    Args:
        image: the image to start from: an http(s) URL, a data URI, bytes, a path or an open binary file.
        prompt: what happens in the video, or None.
        duration: 5 or 8 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "i2v"
    image: ImageInput = field(metadata=_IMAGE, converter=freeze_image, repr=show_image)
    prompt: str | None = field(default=None, metadata=_OPTIONAL_PROMPT, repr=shown)
    duration: int = field(metadata=_SHORT)


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
    prompts: tuple[str, ...] = field(metadata=_SEGMENTS, converter=as_texts, repr=shown)

    @property
    def seconds(self) -> int:
        """The length of the video in seconds: 5 for each prompt."""
        return SEGMENT_SECONDS * len(self.prompts)


@frozen(kw_only=True)
class TextToVideoV3(Timed):
    """A video from a text, third generation (`t2v_v3`).

    Args:
        prompt: what the video shows.
        aspect_ratio: `"16:9"`, `"9:16"` or `"1:1"`.
        duration: 5, 10, 15 or 20 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "t2v_v3"
    prompt: str = field(metadata=_PROMPT, repr=shown)
    aspect_ratio: AspectRatio = field(metadata=_ASPECT_RATIO)
    duration: int = field(metadata=_UP_TO_20_S)


@frozen(kw_only=True)
class ImageToVideoV3(Timed):
    """A video from an image, third generation (`i2v_v3`).

    Args:
        image: the image to start from: an http(s) URL, a data URI, bytes, a path or an open binary file.
        prompt: what happens in the video, or None.
        duration: 5, 10, 15 or 20 seconds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "i2v_v3"
    image: ImageInput = field(metadata=_IMAGE, converter=freeze_image, repr=show_image)
    prompt: str | None = field(default=None, metadata=_OPTIONAL_PROMPT, repr=shown)
    duration: int = field(metadata=_UP_TO_20_S)
