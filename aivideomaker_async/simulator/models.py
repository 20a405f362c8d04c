"""The models of each revision as data (api.md, Models): fields, rules between them, length and price. Pure.

A revision is a table at the end of this module. A field that the vendor does not document as required has a plausible
default. Where the vendor allows `null` in place of a value, it means that the field is left out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Protocol, cast

from attrs import frozen

from .field_types import (
    BooleanType,
    ChoiceType,
    FieldType,
    ImageOrImagesType,
    ImageType,
    ListType,
    NumberType,
    Schema,
    TextType,
    UrlType,
    holds_images,
)

JsonObject = Mapping[str, object]

ImagePlace = tuple[str, int | None]
"""Where an image stands in an input: the field, and the index in its list."""

PriceFunction = Callable[[JsonObject, float], float]
"""Credits, by the input with its defaults and the seconds of video. The caller rounds them."""

_AUTO_ASPECT = "auto"
_UNUSED: tuple[object, ...] = (None, [])


@frozen(kw_only=True)
class Field:
    """A field of a model's input, by its wire name. A field that is left out has its `default`.

    With `nullable`, null leaves it out.
    """

    name: str
    type: FieldType
    required: bool = True
    nullable: bool = False
    default: str | int | bool | None = None

    def problem(self, data: JsonObject) -> str | None:
        """Return what is wrong with this field of `data`, with its name, or None."""
        if self.name not in data:
            return f"{self.name} is required" if self.required else None
        wrong = self.type.problem(data[self.name])
        return wrong and f"{self.name} {wrong}"

    def schema(self) -> Schema:
        """Describe the allowed values."""
        schema: Schema = self.type.schema()
        if self.nullable and "type" in schema:
            schema = {**schema, "type": [schema["type"], "null"]}
        elif self.nullable:
            schema = {"anyOf": [schema, {"type": "null"}]}
        return schema if self.default is None else {**schema, "default": self.default}


class FieldRule(Protocol):
    """A rule between the fields of an input."""

    def problem(self, data: JsonObject) -> str | None:
        """Return what is wrong with `data`, with the names of the fields, or None."""
        ...

    def schema(self) -> Schema:
        """Describe the allowed inputs."""
        ...


def _used(data: JsonObject, names: Iterable[str]) -> list[str]:
    return [name for name in names if data.get(name) not in _UNUSED]


@frozen
class Exclusive:
    """Two groups of fields of which only one may be used. An empty list uses nothing."""

    one: tuple[str, ...]
    other: tuple[str, ...]

    def problem(self, data: JsonObject) -> str | None:
        """Return what is wrong with `data`."""
        one, other = _used(data, self.one), _used(data, self.other)
        return f"{', '.join(one)} cannot be used together with {', '.join(other)}" if one and other else None

    def schema(self) -> Schema:
        """Describe the allowed inputs."""
        unused = {"enum": list(_UNUSED)}
        return {"anyOf": [{"properties": dict.fromkeys(group, unused)} for group in (self.one, self.other)]}


@frozen
class AtLeastOne:
    """One of these fields is required. The fields in `also` need one of them beside them."""

    names: tuple[str, ...]
    also: tuple[str, ...] = ()

    def problem(self, data: JsonObject) -> str | None:
        """Return what is wrong with `data`."""
        if any(name in data for name in self.names):
            return None
        needed = f"{', '.join(self.names[:-1])} or {self.names[-1]}"
        dependent = _used(data, self.also)
        return f"{dependent[0]} needs {needed} beside it" if dependent else f"{needed} is required"

    def schema(self) -> Schema:
        """Describe the allowed inputs."""
        return {"not": {"properties": {name: {"type": "null"} for name in self.names}}}


def _seconds_of_duration(data: JsonObject) -> float:
    return float(cast("str | float", data["duration"]))


@frozen(kw_only=True)
class Model:
    """A model: its fields, the rules between them, the length of its video in seconds and its price in credits.

    With `one_image_decides`, a single image decides the aspect ratio of the video.
    """

    fields: tuple[Field, ...]
    price: PriceFunction
    rules: tuple[FieldRule, ...] = ()
    seconds: Callable[[JsonObject], float] = _seconds_of_duration
    prompt_field: str = "prompt"
    aspect_field: str = "aspectRatio"
    one_image_decides: bool = False

    def without_nulls(self, data: JsonObject) -> JsonObject:
        """Return an input without the fields that are left out by null."""
        left_out = {one.name for one in self.fields if one.nullable and data.get(one.name) is None}
        return {name: value for name, value in data.items() if name not in left_out}

    def problems(self, data: JsonObject) -> list[str]:
        """Return all that is wrong with an input `without_nulls`, each with the name of its field."""
        return list(filter(None, (part.problem(data) for part in (*self.fields, *self.rules))))

    def with_defaults(self, data: JsonObject) -> JsonObject:
        """Return an input with the defaults of the fields that it leaves out."""
        return {**{one.name: one.default for one in self.fields if one.default is not None}, **data}

    def images(self, data: JsonObject) -> Iterator[tuple[ImagePlace, str]]:
        """Yield the images of an input, and where they stand. In place of an image, other types are passed over."""
        for name in (one.name for one in self.fields if holds_images(one.type)):
            value = data.get(name)
            if isinstance(value, list):
                items = enumerate(cast("list[object]", value))
                yield from (((name, index), one) for index, one in items if isinstance(one, str))
            elif isinstance(value, str):
                yield (name, None), value

    def aspect(self, data: JsonObject) -> str | None:
        """Return the aspect ratio that a valid input orders, None where an image decides."""
        aspect = self.with_defaults(data).get(self.aspect_field)
        image_decides = self.one_image_decides and len(list(self.images(data))) == 1
        return aspect if isinstance(aspect, str) and aspect != _AUTO_ASPECT and not image_decides else None

    def schema(self) -> Schema:
        """Describe the allowed inputs. Other fields are allowed, since the service ignores them."""
        schema: Schema = {
            "type": "object",
            "required": [one.name for one in self.fields if one.required],
            "properties": {one.name: one.schema() for one in self.fields},
            "additionalProperties": True,
        }
        rules = [rule.schema() for rule in self.rules]
        return {**schema, "allOf": rules} if rules else schema


def per_second(price: int) -> PriceFunction:
    """Return the price function of a constant number of credits for each second."""
    return lambda _data, seconds: seconds * price


def _by_resolution(prices: Mapping[str | int, float]) -> PriceFunction:
    return lambda data, seconds: seconds * prices[cast("str | int", data["resolution"])]


def _optional(name: str, type_: FieldType, *, nullable: bool = False) -> Field:
    return Field(name=name, type=type_, required=False, nullable=nullable)


def _choice(name: str, allowed: tuple[str, ...], default: str) -> Field:
    return Field(name=name, type=ChoiceType(allowed), required=False, default=default)


# Fields that several models have.
_PROMPT: Final = Field(name="prompt", type=TextType())
_OPTIONAL_PROMPT: Final = Field(name="prompt", type=TextType(blank=True), required=False, nullable=True)
_IMAGE: Final = Field(name="image", type=ImageType())
_ASPECT_RATIO: Final = Field(name="aspectRatio", type=ChoiceType(("16:9", "9:16", "1:1")))
_SHORT: Final = Field(name="duration", type=ChoiceType(("5", "8")))
_LONG: Final = Field(name="duration", type=ChoiceType(("5", "10", "15", "20")))
_RESOLUTION: Final = Field(name="resolution", type=ChoiceType(("720P", "1080P")))
_RATIO: Final = ChoiceType(("16:9", "9:16", "1:1", "4:3", "3:4"))

# --- revision 2026-03 --------------------------------------------------------------------------------

_PROMPTS: Final = Field(name="prompt", type=ListType(TextType(), most=6, least=1))


def _seconds_of_prompts(data: JsonObject) -> float:
    return 5 * len(cast("list[object]", data["prompt"]))


MODELS_2026_03: Final[Mapping[str, Model]] = {
    "t2v": Model(fields=(_PROMPT, _ASPECT_RATIO, _SHORT), price=per_second(1)),
    "i2v": Model(fields=(_IMAGE, _OPTIONAL_PROMPT, _SHORT), price=per_second(1)),
    "lv": Model(fields=(_IMAGE, _PROMPTS), price=per_second(15), seconds=_seconds_of_prompts),
    "t2v_v3": Model(fields=(_PROMPT, _ASPECT_RATIO, _LONG), price=per_second(10)),
    "i2v_v3": Model(fields=(_IMAGE, _OPTIONAL_PROMPT, _LONG), price=per_second(10)),
}

# --- revision 2026-09 --------------------------------------------------------------------------------


def _minimax_price(data: JsonObject, seconds: float) -> float:
    return seconds * ({"720p": 3, "1080p": 4}[str(data["resolution"])] + (data["tier"] == "base"))


_MINIMAX: Final = Model(
    fields=(
        Field(name="content", type=TextType()),
        Field(name="duration", type=NumberType(5, 20, whole=True), required=False, default=5),
        _choice("resolution", ("720p", "1080p"), "720p"),
        _choice("tier", ("turbo", "base"), "turbo"),
        _choice("aspectRatio", ("auto", "21:9", "16:9", "4:3", "1:1", "3:4", "9:16"), "16:9"),
        _optional("imageUrl", ImageType(), nullable=True),
        _optional("lastFrameUrl", ImageType(), nullable=True),
        _optional("referenceImageUrls", ListType(ImageType(), most=4)),
        _optional("referenceVideoUrl", UrlType(), nullable=True),
        _optional("referenceAudioUrls", ListType(UrlType(), most=2)),
    ),
    rules=(Exclusive(("imageUrl", "lastFrameUrl"), ("referenceImageUrls", "referenceVideoUrl", "referenceAudioUrls")),),
    price=_minimax_price,
    prompt_field="content",
)

_SEEDANCE20: Final = Model(
    fields=(
        _optional("prompt", TextType(), nullable=True),
        _optional("image", ImageType(), nullable=True),
        _optional("video", UrlType(), nullable=True),
        _optional("audio", UrlType(), nullable=True),
        Field(name="duration", type=NumberType(4, 15)),
        Field(name="resolution", type=ChoiceType((480, 720))),
        Field(name="ratio", type=ChoiceType(("16:9", "9:16", "1:1"))),
    ),
    rules=(AtLeastOne(("prompt", "image", "video"), also=("audio",)),),
    # The vendor's formula is not known: only a quote returns a price. These reproduce the few prices that were
    # observed.
    price=_by_resolution({480: 10.2, 720: 22}),
    aspect_field="ratio",
)

_WAN27: Final = Model(
    fields=(
        _PROMPT,
        _optional("image", ImageType(), nullable=True),
        Field(name="duration", type=ChoiceType(("5", "10", "15"))),
        _RESOLUTION,
        Field(name="ratio", type=_RATIO),
        Field(name="promptExtend", type=BooleanType(), required=False, default=False),
    ),
    price=_by_resolution({"720P": 10, "1080P": 15}),
    aspect_field="ratio",
)

_HAPPYHORSE: Final = Model(
    fields=(
        _PROMPT,
        _optional("image", ImageOrImagesType(), nullable=True),
        Field(name="duration", type=NumberType(3, 15)),
        _RESOLUTION,
        Field(name="ratio", type=_RATIO, required=False, nullable=True, default="16:9"),
    ),
    price=_by_resolution({"720P": 25, "1080P": 50}),
    aspect_field="ratio",
    one_image_decides=True,
)

MODELS_2026_09: Final[Mapping[str, Model]] = {
    "t2v": Model(fields=(_PROMPT, _ASPECT_RATIO, _SHORT), price=per_second(3)),
    "i2v": Model(fields=(_IMAGE, _OPTIONAL_PROMPT, _SHORT), price=per_second(3)),
    "t2v_v3": Model(fields=(_PROMPT, _ASPECT_RATIO, _LONG), price=per_second(4)),
    "i2v_v3": Model(fields=(_IMAGE, _OPTIONAL_PROMPT, _LONG), price=per_second(4)),
    "minimax": _MINIMAX,
    "seedance20": _SEEDANCE20,
    "wan27": _WAN27,
    "happyhorse": _HAPPYHORSE,
}
