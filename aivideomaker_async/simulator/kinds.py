"""What a field of a request may hold: each kind judges a value, and describes itself as a JSON Schema. Pure."""

import json
from typing import Protocol, cast

from attrs import frozen

from .images import is_web_url

Schema = dict[str, object]
"""A JSON Schema, dialect 2020-12."""

IMAGE_FORMAT = "image-uri"
"""The `format` of an image in the OpenAPI document: a public http(s) URL, or a data URI with an image inside."""

_LONGEST_ECHO = 60


class Kind(Protocol):
    """What a field holds."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`, as the rest of a sentence, or None."""
        ...

    def schema(self) -> Schema:
        """Describe what is allowed."""
        ...


def echo(value: object) -> str:
    """Write a value for a message, cut short."""
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"


@frozen
class Text:
    """A string. `blank` allows one without a visible character."""

    blank: bool = False

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if not isinstance(value, str):
            return f"must be a string, got {echo(value)}"
        return None if self.blank or value.strip() else "must not be empty"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {"type": "string"} if self.blank else {"type": "string", "minLength": 1, "pattern": r"\S"}


@frozen
class Choice:
    """One of a few values: `8` is not `"8"`, `true` is not `1`, but `480.0` is the number 480."""

    allowed: tuple[str | int, ...]

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value in self.allowed:
            return None
        return f"must be one of {', '.join(map(echo, self.allowed))}, got {echo(value)}"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {"enum": list(self.allowed)}


@frozen
class Flag:
    """True or false."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        return None if isinstance(value, bool) else f"must be a boolean, got {echo(value)}"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {"type": "boolean"}


@frozen
class Number:
    """A number from `least` to `most`; with `whole` an integer, which `5.0` is as well."""

    least: int
    most: int
    whole: bool = False

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        wanted = f"must be {'an integer' if self.whole else 'a number'} from {self.least} to {self.most}"
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.least <= value <= self.most:
            return f"{wanted}, got {echo(value)}"
        return None if not self.whole or value == int(value) else f"{wanted}, got {echo(value)}"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {"type": "integer" if self.whole else "number", "minimum": self.least, "maximum": self.most}


@frozen
class WebUrl:
    """A public http(s) URL, and nothing else: videos and sounds are not uploaded."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if isinstance(value, str) and is_web_url(value):
            return None
        return f"must be a public http(s) URL, got {echo(value)}"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {"type": "string", "format": "uri", "description": "A public http(s) URL"}


@frozen
class Image:
    """A public http(s) URL, or a data URI with an image inside."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`. Data URIs are judged when they are decoded."""
        if not isinstance(value, str):
            return f"must be a string, got {echo(value)}"
        return None

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {
            "type": "string",
            "format": IMAGE_FORMAT,
            "description": "A public http(s) URL, or data:image/...;base64,...",
        }


@frozen
class Several:
    """A list of `least` to `most` values of one kind; `most` is None where no end is known."""

    item: Kind
    most: int | None
    least: int = 0
    of: str = "strings"

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if not isinstance(value, list):
            return f"must be a list of {self.of}, got {echo(value)}"
        items = cast("list[object]", value)
        if self.most is not None and not self.least <= len(items) <= self.most:
            return f"must have {self.least} to {self.most} items, got {len(items)}"
        for index, item in enumerate(items):
            if wrong := self.item.problem(item):
                return f"[{index}] {wrong}"
        return None

    def schema(self) -> Schema:
        """Describe what is allowed."""
        most: Schema = {} if self.most is None else {"maxItems": self.most}
        least: Schema = {"minItems": self.least} if self.least else {}
        return {"type": "array", "items": self.item.schema(), **least, **most}


@frozen
class OneOrSeveral:
    """An image, or a list of images."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if isinstance(value, list):
            return Several(Image(), None).problem(value)
        return None if isinstance(value, str) else f"must be a string or a list of strings, got {echo(value)}"

    def schema(self) -> Schema:
        """Describe what is allowed."""
        return {"anyOf": [Image().schema(), Several(Image(), None).schema()]}


def holds_images(kind: Kind) -> bool:
    """Tell whether a field of this kind holds images, one or several."""
    return isinstance(kind.item if isinstance(kind, Several) else kind, Image | OneOrSeveral)
