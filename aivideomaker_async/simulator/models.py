"""A model as data: the fields of its input, the rules between them, its length and its price. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, cast

from attrs import frozen

from .kinds import Kind, Schema, holds_images

JsonObject = Mapping[str, object]

Place = tuple[str, int | None]
"""Where an image stands in an input: the field, and the index in its list."""

Price = Callable[[JsonObject, float], float]
"""Credits, by the input with its defaults and the seconds of video; they are rounded."""

_AUTOMATIC = "auto"
_NOTHING: tuple[object, ...] = (None, [])


@frozen(kw_only=True)
class Field:
    """A field of a model's input, by its wire name. What is left out counts as its `default`."""

    name: str
    kind: Kind
    required: bool = True
    nullable: bool = False
    default: str | int | bool | None = None

    def problem(self, data: JsonObject) -> str | None:
        """Say what is wrong with this field of `data`, naming the field, or None."""
        if self.name not in data:
            return f"{self.name} is required" if self.required else None
        value = data[self.name]
        if value is None and self.nullable:
            return None
        wrong = self.kind.problem(value)
        return wrong and f"{self.name} {wrong}"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        schema = _or_null(self.kind.schema()) if self.nullable else self.kind.schema()
        return schema if self.default is None else {**schema, "default": self.default}


def _or_null(schema: Schema) -> Schema:
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


class Rule(Protocol):
    """What must hold between the fields of an input."""

    def problem(self, data: JsonObject) -> str | None:
        """Say what is wrong with `data`, naming fields, or None."""
        ...

    def schema(self) -> Schema:
        """Describe what is allowed."""
        ...


def _given(data: JsonObject, names: Iterable[str]) -> list[str]:
    return [name for name in names if data.get(name) not in _NOTHING]


@frozen
class Exclusive:
    """Two groups of fields of which only one may be used. `null` and an empty list use nothing."""

    one: tuple[str, ...]
    other: tuple[str, ...]

    def problem(self, data: JsonObject) -> str | None:
        """Say what is wrong with `data`."""
        one, other = _given(data, self.one), _given(data, self.other)
        return f"{one[0]} cannot be used together with {other[0]}" if one and other else None

    def schema(self) -> Schema:
        """Describe what is allowed."""
        unused = {"enum": list(_NOTHING)}
        return {"anyOf": [{"properties": dict.fromkeys(group, unused)} for group in (self.one, self.other)]}


@frozen
class AtLeastOne:
    """One of these fields is needed; `also` are fields that need one of them beside them."""

    names: tuple[str, ...]
    also: tuple[str, ...] = ()

    def problem(self, data: JsonObject) -> str | None:
        """Say what is wrong with `data`."""
        if any(name in data for name in self.names):
            return None
        needed = f"{', '.join(self.names[:-1])} or {self.names[-1]}"
        lonely = _given(data, self.also)
        return f"{lonely[0]} needs {needed} beside it" if lonely else f"{needed} is required"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {"anyOf": [{"required": [name]} for name in self.names]}


def _stated_seconds(data: JsonObject) -> float:
    return float(cast("str | float", data["duration"]))


@frozen(kw_only=True)
class Model:
    """A model: its fields, the rules between them, the length of its video in seconds and its price in credits.

    With `one_image_decides`, the shape of the video is that of the image when there is one alone.
    """

    fields: tuple[Field, ...]
    price: Price
    rules: tuple[Rule, ...] = ()
    seconds: Callable[[JsonObject], float] = _stated_seconds
    prompt_field: str = "prompt"
    aspect_field: str = "aspectRatio"
    one_image_decides: bool = False

    def problem(self, data: JsonObject) -> str | None:
        """Say what is wrong with an input, naming a field, or None."""
        wrongs = (part.problem(data) for part in (*self.fields, *self.rules))
        return next(filter(None, wrongs), None)

    def filled(self, data: JsonObject) -> JsonObject:
        """Return an input with the defaults of the fields that it leaves out."""
        return {**{one.name: one.default for one in self.fields if one.default is not None}, **data}

    def images(self, data: JsonObject) -> Iterator[tuple[Place, str]]:
        """Yield the images of a valid input, and where they stand."""
        for name in (one.name for one in self.fields if holds_images(one.kind)):
            value = data.get(name)
            if isinstance(value, list):
                yield from (((name, index), one) for index, one in enumerate(cast("list[str]", value)))
            elif isinstance(value, str):
                yield (name, None), value

    def aspect(self, data: JsonObject) -> str | None:
        """Return the shape of the video that a valid input orders, None where an image decides."""
        aspect = self.filled(data).get(self.aspect_field)
        decided = self.one_image_decides and len(list(self.images(data))) == 1
        return aspect if isinstance(aspect, str) and aspect != _AUTOMATIC and not decided else None

    def schema(self) -> Schema:
        """Describe what is allowed. Fields that the service does not know are ignored by it."""
        schema: Schema = {
            "type": "object",
            "required": [one.name for one in self.fields if one.required],
            "properties": {one.name: one.schema() for one in self.fields},
            "additionalProperties": True,
        }
        rules = [rule.schema() for rule in self.rules]
        return {**schema, "allOf": rules} if rules else schema


def per_second(price: int) -> Price:
    """Return a price of so many credits for each second."""
    return lambda _data, seconds: seconds * price
