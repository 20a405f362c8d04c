"""The specs of the models of September 2026."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final, Literal

from attrs import field, frozen

from .._redaction import repr_redacted
from ..errors import FieldProblem
from . import validators
from .base import (
    TimedSpec,
    freeze_images,
    freeze_one_or_more_images,
    freeze_texts,
    is_omitted,
    number_from_wire,
    wire,
)
from .image_input import ImageInput, freeze_image, show_image

__all__ = ["HappyHorse", "MiniMaxH3", "Seedance20", "Wan27"]

MAX_SHOWN_IMAGES: Final = 10
"""Images of a list that a repr names."""


def _show_images(value: object) -> str:
    if value is None:
        return "None"
    if not isinstance(value, tuple):
        return show_image(value)
    named = [show_image(image) for image in value[:MAX_SHOWN_IMAGES]]
    more = [f"… ({len(value) - MAX_SHOWN_IMAGES} more)"] if len(value) > MAX_SHOWN_IMAGES else []
    return f"[{', '.join(named + more)}]"


def _freeze_optional(value: ImageInput | None) -> ImageInput | None:
    return None if value is None else freeze_image(value)


def _from_720p(value: Literal["720p", "1080p", "720P", "1080P", 720, 1080]) -> Literal["720p", "1080p"]:
    return _resolution(value, "720p", "1080p")  # type: ignore[return-value]  # (the rule reports any other value)


def _from_480p(value: Literal["480p", "720p", "480P", "720P", 480, 720]) -> Literal["480p", "720p"]:
    return _resolution(value, "480p", "720p")  # type: ignore[return-value]  # (the rule reports any other value)


def _resolution(value: object, *known: str) -> object:
    """Return a resolution in the spelling of this package; any other value as it is, for the rule to report."""
    spellings = {spelling: name for name in known for spelling in (name, _in_capitals(name), _lines(name))}
    return spellings.get(value, value) if isinstance(value, str | int) else value


def _in_capitals(resolution: str) -> str:
    return resolution.upper()


def _lines(resolution: str) -> int:
    return int(resolution.removesuffix("p"))


_PROMPT: Final = wire(validators.text)
_IMAGES: Final = validators.list_of(validators.image, at_most=4, at_least=0, of="images")
_SOUNDS: Final = validators.list_of(validators.web_url, at_most=2, at_least=0, of="URLs")
_OPTIONAL_URL: Final = validators.optional(validators.web_url)
_OPTIONAL_IMAGE: Final = wire(validators.optional(validators.image), images=True)
_720_OR_1080: Final = wire(validators.one_of("720p", "1080p"), kind=_in_capitals, needed_for_price=True)
_FIVE_RATIOS: Final = wire(validators.one_of("16:9", "9:16", "1:1", "4:3", "3:4"), name="ratio")


@frozen(kw_only=True)
class MiniMaxH3(TimedSpec):
    """A video from a text, with frames to begin and end with, or else with references to follow (`minimax`).

    Args:
        prompt: what the video shows.
        duration: 5 to 20 seconds.
        resolution: `"720p"` or `"1080p"`.
        tier: `"turbo"` or `"base"`, which costs one credit a second more.
        aspect_ratio: `"auto"`, `"21:9"`, `"16:9"`, `"4:3"`, `"1:1"`, `"3:4"` or `"9:16"`.
        image: the first frame, or None: an http(s) URL, a data URI, bytes, a path or an open binary file.
        last_frame: the last frame, or None: an http(s) URL, a data URI, bytes, a path or an open binary file.
        reference_images: at most 4 images, each an http(s) URL, a data URI, bytes, a path or an open binary file.
            References and frames exclude each other.
        reference_video: the http(s) URL of a video, or None.
        reference_audios: the http(s) URLs of at most 2 sounds.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "minimax"
    prompt: str = field(metadata=wire(validators.text, name="content"), repr=repr_redacted)
    duration: int = field(default=5, metadata=wire(validators.whole_number(5, 20, unit="seconds")))
    resolution: Literal["720p", "1080p"] = field(
        default="720p", metadata=wire(validators.one_of("720p", "1080p")), converter=_from_720p
    )
    tier: Literal["turbo", "base"] = field(default="turbo", metadata=wire(validators.one_of("turbo", "base")))
    aspect_ratio: Literal["auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"] = field(
        default="16:9",
        metadata=wire(validators.one_of("auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"), name="aspectRatio"),
    )
    image: ImageInput | None = field(
        default=None,
        metadata=wire(validators.optional(validators.image), name="imageUrl", images=True),
        converter=_freeze_optional,
        repr=_show_images,
    )
    last_frame: ImageInput | None = field(
        default=None,
        metadata=wire(validators.optional(validators.image), name="lastFrameUrl", images=True),
        converter=_freeze_optional,
        repr=_show_images,
    )
    reference_images: tuple[ImageInput, ...] = field(
        default=(),
        metadata=wire(
            validators.list_of(validators.image, at_most=4, at_least=0, of="images"),
            name="referenceImageUrls",
            kind=list,
            images=True,
        ),
        converter=freeze_images,
        repr=_show_images,
    )
    reference_video: str | None = field(
        default=None,
        metadata=wire(_OPTIONAL_URL, name="referenceVideoUrl"),
        repr=repr_redacted,
    )
    reference_audios: tuple[str, ...] = field(
        default=(),
        metadata=wire(
            validators.list_of(validators.web_url, at_most=2, at_least=0, of="URLs"),
            name="referenceAudioUrls",
            kind=list,
        ),
        converter=freeze_texts,
        repr=_show_images,
    )

    def _combined_problems(self) -> Iterator[FieldProblem]:
        frames = [name for name in ("image", "last_frame") if getattr(self, name) is not None]
        if not frames:
            return
        allowed = f"left out beside {' and '.join(frames)}: frames and references exclude each other"
        for name in ("reference_images", "reference_video", "reference_audios"):
            value: object = getattr(self, name)
            if not is_omitted(value):
                yield FieldProblem(name, _show_images(value), allowed)


@frozen(kw_only=True)
class Seedance20(TimedSpec):
    """A video from a text, an image or another video, or several of these (`seedance20`).

    At least one of `prompt`, `image` and `video` is needed. Only a quote has its price.

    Args:
        prompt: what the video shows, or None.
        image: the image to start from, or None: an http(s) URL, a data URI, bytes, a path or an open binary file.
        video: the http(s) URL of a video to start from, or None.
        audio: the http(s) URL of a sound, or None. It goes beside a prompt, an image or a video.
        duration: 4 to 15 seconds.
        resolution: `"480p"` or `"720p"`.
        aspect_ratio: `"16:9"`, `"9:16"` or `"1:1"`.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "seedance20"
    prompt: str | None = field(default=None, metadata=wire(validators.optional(validators.text)), repr=repr_redacted)
    image: ImageInput | None = field(
        default=None, metadata=_OPTIONAL_IMAGE, converter=_freeze_optional, repr=_show_images
    )
    video: str | None = field(default=None, metadata=wire(_OPTIONAL_URL), repr=repr_redacted)
    audio: str | None = field(default=None, metadata=wire(_OPTIONAL_URL), repr=repr_redacted)
    duration: int = field(metadata=wire(validators.whole_number(4, 15, unit="seconds")))
    resolution: Literal["480p", "720p"] = field(
        metadata=wire(validators.one_of("480p", "720p"), kind=_lines), converter=_from_480p
    )
    aspect_ratio: Literal["16:9", "9:16", "1:1"] = field(
        metadata=wire(validators.one_of("16:9", "9:16", "1:1"), name="ratio")
    )

    def _combined_problems(self) -> Iterator[FieldProblem]:
        if self.prompt is None and self.image is None and self.video is None:
            yield FieldProblem("prompt", "None", "given, or else image or video: at least one of the three")
            if self.audio is not None:
                yield FieldProblem("audio", show_image(self.audio), "left out, or beside a prompt, an image or a video")


@frozen(kw_only=True)
class Wan27(TimedSpec):
    """A video from a text, and perhaps an image (`wan27`).

    Args:
        prompt: what the video shows.
        image: the image to start from, or None: an http(s) URL, a data URI, bytes, a path or an open binary file.
        duration: 5, 10 or 15 seconds.
        resolution: `"720p"` or `"1080p"`, which costs half as much again.
        aspect_ratio: `"16:9"`, `"9:16"`, `"1:1"`, `"4:3"` or `"3:4"`.
        prompt_extend: whether the service may write more into the prompt.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "wan27"
    prompt: str = field(metadata=_PROMPT, repr=repr_redacted)
    image: ImageInput | None = field(
        default=None, metadata=_OPTIONAL_IMAGE, converter=_freeze_optional, repr=_show_images
    )
    duration: Literal[5, 10, 15] = field(
        metadata=wire(validators.one_of(5, 10, 15, unit="seconds"), kind=str, read=number_from_wire)
    )
    resolution: Literal["720p", "1080p"] = field(default="720p", metadata=_720_OR_1080, converter=_from_720p)
    aspect_ratio: Literal["16:9", "9:16", "1:1", "4:3", "3:4"] = field(default="16:9", metadata=_FIVE_RATIOS)
    prompt_extend: bool = field(default=False, metadata=wire(validators.boolean, name="promptExtend"))


@frozen(kw_only=True)
class HappyHorse(TimedSpec):
    """A video from a text, and perhaps one or more images (`happyhorse`).

    Args:
        prompt: what the video shows.
        image: an image to start from, a list of images, or None; each an http(s) URL, a data URI, bytes, a path or an
            open binary file.
        duration: 3 to 15 seconds.
        resolution: `"720p"` or `"1080p"`, which costs twice as much.
        aspect_ratio: `"16:9"`, `"9:16"`, `"3:4"`, `"4:3"` or `"1:1"`. With one image the service takes the image's.
        extra: further fields of the request body under their wire names.
    """

    model: ClassVar[str] = "happyhorse"
    prompt: str = field(metadata=_PROMPT, repr=repr_redacted)
    image: ImageInput | tuple[ImageInput, ...] | None = field(
        default=None,
        metadata=wire(validators.optional(validators.one_or_more(validators.image)), images=True),
        converter=freeze_one_or_more_images,
        repr=_show_images,
    )
    duration: int = field(metadata=wire(validators.whole_number(3, 15, unit="seconds")))
    resolution: Literal["720p", "1080p"] = field(default="720p", metadata=_720_OR_1080, converter=_from_720p)
    aspect_ratio: Literal["16:9", "9:16", "1:1", "4:3", "3:4"] = field(default="16:9", metadata=_FIVE_RATIOS)
