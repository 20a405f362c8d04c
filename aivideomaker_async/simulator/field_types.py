"""The types of request fields. Each type validates a value, and describes itself as a JSON Schema. Pure."""

import json
from typing import Protocol, cast

from attrs import frozen

from .images import is_web_url

Schema = dict[str, object]
"""A JSON Schema, dialect 2020-12."""

IMAGE_FORMAT = "image-uri"
"""The `format` of an image in the OpenAPI document: a public http(s) URL, or a data URI with an image inside."""

_MAX_QUOTED_CHARS = 60


class FieldType(Protocol):
    """The values that a field may have."""

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`, as the rest of a sentence, or None."""
        ...

    def schema(self) -> Schema:
        """Describe the allowed values."""
        ...


def cut(text: str) -> str:
    """Return the beginning of a text for a message."""
    return text if len(text) <= _MAX_QUOTED_CHARS else f"{text[:_MAX_QUOTED_CHARS]}…"


def quote(value: object) -> str:
    """Return a value as JSON for a message, cut short."""
    return cut(json.dumps(value))


@frozen
class TextType:
    """A string. `blank` allows one without a visible character."""

    blank: bool = False

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`."""
        if not isinstance(value, str):
            return f"must be a string, got {quote(value)}"
        return None if self.blank or value.strip() else "must not be empty"

    def schema(self) -> Schema:
        """Describe the allowed values."""
        return {"type": "string"} if self.blank else {"type": "string", "minLength": 1, "pattern": r"\S"}


@frozen
class ChoiceType:
    """One of a few values: `8` is not `"8"`, `true` is not `1`, but `480.0` is the number 480."""

    allowed: tuple[str | int, ...]

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`."""
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value in self.allowed:
            return None
        return f"must be one of {', '.join(map(quote, self.allowed))}, got {quote(value)}"

    def schema(self) -> Schema:
        """Describe the allowed values."""
        return {"enum": list(self.allowed)}


@frozen
class BooleanType:
    """True or false."""

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`."""
        return None if isinstance(value, bool) else f"must be a boolean, got {quote(value)}"

    def schema(self) -> Schema:
        """Describe the allowed values."""
        return {"type": "boolean"}


@frozen
class NumberType:
    """A number from `least` to `most`; with `whole` an integer, which includes `5.0`."""

    least: int
    most: int
    whole: bool = False

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`."""
        wanted = f"must be {'an integer' if self.whole else 'a number'} from {self.least} to {self.most}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.least <= value <= self.most:
            return f"{wanted}, got {quote(value)}"
        return None if not self.whole or value == int(value) else f"{wanted}, got {quote(value)}"

    def schema(self) -> Schema:
        """Describe the allowed values."""
        return {"type": "integer" if self.whole else "number", "minimum": self.least, "maximum": self.most}


@frozen
class UrlType:
    """A public http(s) URL: the service does not accept uploads of videos and sounds."""

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`."""
        if isinstance(value, str) and is_web_url(value):
            return None
        return f"must be a public http(s) URL, got {quote(value)}"

    def schema(self) -> Schema:
        """Describe the allowed values."""
        return {"type": "string", "format": "uri", "description": "A public http(s) URL"}


@frozen
class ImageType:
    """A public http(s) URL, or a data URI with an image inside."""

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`. The content of a data URI is validated when it is decoded."""
        if not isinstance(value, str):
            return f"must be a string, got {quote(value)}"
        return None

    def schema(self) -> Schema:
        """Describe the allowed values."""
        return {
            "type": "string",
            "format": IMAGE_FORMAT,
            "description": "A public http(s) URL, or data:image/...;base64,...",
        }


@frozen
class ListType:
    """A list of `least` to `most` values of one type. With `most=None` no limit is known."""

    item: FieldType
    most: int | None
    least: int = 0

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`."""
        if not isinstance(value, list):
            return f"must be a list of strings, got {quote(value)}"
        items = cast("list[object]", value)
        if self.most is not None and not self.least <= len(items) <= self.most:
            return f"must have {self.least} to {self.most} items, got {len(items)}"
        for index, item in enumerate(items):
            if wrong := self.item.problem(item):
                return f"[{index}] {wrong}"
        return None

    def schema(self) -> Schema:
        """Describe the allowed values."""
        most: Schema = {} if self.most is None else {"maxItems": self.most}
        least: Schema = {"minItems": self.least} if self.least else {}
        return {"type": "array", "items": self.item.schema(), **least, **most}


@frozen
class ImageOrImagesType:
    """An image, or a list of images."""

    def problem(self, value: object) -> str | None:
        """Return what is wrong with `value`."""
        if isinstance(value, list):
            return ListType(ImageType(), None).problem(value)
        return None if isinstance(value, str) else f"must be a string or a list of strings, got {quote(value)}"

    def schema(self) -> Schema:
        """Describe the allowed values."""
        return {"anyOf": [ImageType().schema(), ListType(ImageType(), None).schema()]}


def holds_images(field_type: FieldType) -> bool:
    """Return whether a field of this type holds images, one or several."""
    item = field_type.item if isinstance(field_type, ListType) else field_type
    return isinstance(item, ImageType | ImageOrImagesType)
