"""The models of revision 2026-09, from api.md, Models. What is not said to be required has a plausible default."""

from collections.abc import Mapping
from typing import Final, cast

from .kinds import Choice, Flag, Image, Number, OneOrSeveral, Several, Text, WebUrl
from .models import AtLeastOne, Exclusive, Field, JsonObject, Model, Price, per_second
from .models_2026_03 import ASPECT_RATIO, IMAGE, LONG, OPTIONAL_PROMPT, PROMPT, SHORT

_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")


def _optional(name: str, kind: WebUrl | Image | Text | Several, *, nullable: bool = False) -> Field:
    return Field(name=name, kind=kind, required=False, nullable=nullable)


def _chosen(name: str, allowed: tuple[str, ...], default: str) -> Field:
    return Field(name=name, kind=Choice(allowed), required=False, default=default)


def _by_resolution(prices: Mapping[str | int, float]) -> Price:
    return lambda data, seconds: seconds * prices[cast("str | int", data["resolution"])]


def _minimax_price(data: JsonObject, seconds: float) -> float:
    return seconds * ({"720p": 3, "1080p": 4}[str(data["resolution"])] + (data["tier"] == "base"))


_MINIMAX = Model(
    fields=(
        Field(name="content", kind=Text()),
        Field(name="duration", kind=Number(5, 20, whole=True), required=False, default=5),
        _chosen("resolution", ("720p", "1080p"), "720p"),
        _chosen("tier", ("turbo", "base"), "turbo"),
        _chosen("aspectRatio", ("auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"), "16:9"),
        _optional("imageUrl", Image(), nullable=True),
        _optional("lastFrameUrl", Image(), nullable=True),
        _optional("referenceImageUrls", Several(Image(), most=4)),
        _optional("referenceVideoUrl", WebUrl(), nullable=True),
        _optional("referenceAudioUrls", Several(WebUrl(), most=2)),
    ),
    rules=(Exclusive(("imageUrl", "lastFrameUrl"), ("referenceImageUrls", "referenceVideoUrl", "referenceAudioUrls")),),
    price=_minimax_price,
    prompt_field="content",
)

_SEEDANCE20 = Model(
    fields=(
        _optional("prompt", Text()),
        _optional("image", Image()),
        _optional("video", WebUrl()),
        _optional("audio", WebUrl()),
        Field(name="duration", kind=Number(4, 15)),
        Field(name="resolution", kind=Choice((480, 720))),
        Field(name="ratio", kind=Choice(("16:9", "9:16", "1:1"))),
    ),
    rules=(AtLeastOne(("prompt", "image", "video"), also=("audio",)),),
    # The vendor computes it, and only a quote tells; these meet the few prices that were seen.
    price=_by_resolution({480: 10.2, 720: 22}),
    aspect_field="ratio",
)

_WAN27 = Model(
    fields=(
        PROMPT,
        _optional("image", Image()),
        _chosen("duration", ("5", "10", "15"), "5"),
        _chosen("resolution", ("720P", "1080P"), "720P"),
        _chosen("ratio", _RATIOS, "16:9"),
        Field(name="promptExtend", kind=Flag(), required=False, default=False),
    ),
    price=_by_resolution({"720P": 10, "1080P": 15}),
    aspect_field="ratio",
)

_HAPPYHORSE = Model(
    fields=(
        PROMPT,
        Field(name="image", kind=OneOrSeveral(), required=False, nullable=True),
        Field(name="duration", kind=Number(3, 15), required=False, default=5),
        _chosen("resolution", ("720P", "1080P"), "720P"),
        _chosen("ratio", _RATIOS, "16:9"),
    ),
    price=_by_resolution({"720P": 25, "1080P": 50}),
    aspect_field="ratio",
    one_image_decides=True,
)

MODELS_2026_09: Final[Mapping[str, Model]] = {
    "t2v": Model(fields=(PROMPT, ASPECT_RATIO, SHORT), price=per_second(3)),
    "i2v": Model(fields=(IMAGE, OPTIONAL_PROMPT, SHORT), price=per_second(3)),
    "t2v_v3": Model(fields=(PROMPT, ASPECT_RATIO, LONG), price=per_second(4)),
    "i2v_v3": Model(fields=(IMAGE, OPTIONAL_PROMPT, LONG), price=per_second(4)),
    "minimax": _MINIMAX,
    "seedance20": _SEEDANCE20,
    "wan27": _WAN27,
    "happyhorse": _HAPPYHORSE,
}
