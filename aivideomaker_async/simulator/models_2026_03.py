"""The models of revision 2026-03, from api.md, Models."""

from collections.abc import Mapping
from typing import Final, cast

from .kinds import Choice, Image, Several, Text
from .models import Field, JsonObject, Model, per_second

PROMPT: Final = Field(name="prompt", kind=Text())
OPTIONAL_PROMPT: Final = Field(name="prompt", kind=Text(blank=True), required=False, nullable=True)
IMAGE: Final = Field(name="image", kind=Image())
ASPECT_RATIO: Final = Field(name="aspectRatio", kind=Choice(("16:9", "9:16", "1:1")))
SHORT: Final = Field(name="duration", kind=Choice(("5", "8")))
LONG: Final = Field(name="duration", kind=Choice(("5", "10", "15", "20")))

_PROMPTS = Field(name="prompt", kind=Several(Text(), most=6, least=1))


def _segment_seconds(data: JsonObject) -> float:
    return 5 * len(cast("list[object]", data["prompt"]))


MODELS_2026_03: Final[Mapping[str, Model]] = {
    "t2v": Model(fields=(PROMPT, ASPECT_RATIO, SHORT), price=per_second(1)),
    "i2v": Model(fields=(IMAGE, OPTIONAL_PROMPT, SHORT), price=per_second(1)),
    "lv": Model(fields=(IMAGE, _PROMPTS), price=per_second(15), seconds=_segment_seconds),
    "t2v_v3": Model(fields=(PROMPT, ASPECT_RATIO, LONG), price=per_second(10)),
    "i2v_v3": Model(fields=(IMAGE, OPTIONAL_PROMPT, LONG), price=per_second(10)),
}
