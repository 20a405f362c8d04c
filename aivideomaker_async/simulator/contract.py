"""What a request must look like: the models and their fields as data, and a pure validation.

From api.md, Models. A revision is a value, so the next one is added as data beside the first.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from attrs import evolve, frozen

from .images import Upload, is_web_url, read_data_uri

JsonObject = Mapping[str, object]
_DEEPEST = 64
_LONGEST_ECHO = 60


class Refusal(Exception):
    """The request is answered with an error: HTTP status, message, error code and headers."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})


class Kind(Protocol):
    """What a field holds."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`, as the rest of a sentence, or None."""
        ...


def _echo(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"


@frozen
class Text:
    """A string. `blank` allows one without a visible character."""

    blank: bool = False

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if not isinstance(value, str):
            return f"must be a string, got {_echo(value)}"
        return None if self.blank or value.strip() else "must not be empty"


@frozen
class Choice:
    """One of a few values, and of the very type: `8` is not `"8"`, `true` is not `1`."""

    allowed: tuple[str | int, ...]

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if any(type(value) is type(one) and value == one for one in self.allowed):
            return None
        return f"must be one of {', '.join(map(_echo, self.allowed))}, got {_echo(value)}"


@frozen
class Texts:
    """A list of 1 to `most` strings, none blank."""

    most: int

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`."""
        if not isinstance(value, list):
            return f"must be a list of strings, got {_echo(value)}"
        items = cast("list[object]", value)
        if not 1 <= len(items) <= self.most:
            return f"must have 1 to {self.most} items, got {len(items)}"
        for index, item in enumerate(items):
            if wrong := Text().problem(item):
                return f"[{index}] {wrong}"
        return None


@frozen
class Image:
    """A public http(s) URL, or a data URI with an image inside."""

    def problem(self, value: object) -> str | None:
        """Say what is wrong with `value`. Data URIs are judged when they are decoded."""
        if not isinstance(value, str):
            return f"must be a string, got {_echo(value)}"
        return None


@frozen
class Field:
    """A field of a model's input, by its wire name."""

    name: str
    kind: Kind
    required: bool = True
    nullable: bool = False

    def problem(self, data: JsonObject) -> str | None:
        """Say what is wrong with this field of `data`, naming the field, or None."""
        if self.name not in data:
            return f"{self.name} is required" if self.required else None
        value = data[self.name]
        if value is None and self.nullable:
            return None
        wrong = self.kind.problem(value)
        return wrong and f"{self.name} {wrong}"


def _stated_seconds(data: JsonObject) -> int:
    return int(cast("str | int", data["duration"]))


def _segment_seconds(data: JsonObject) -> int:
    return 5 * len(cast("list[object]", data["prompt"]))


@frozen(kw_only=True)
class Model:
    """A model: its fields, the length of its video in seconds and its price in credits."""

    fields: tuple[Field, ...]
    price: Callable[[JsonObject, int], int]
    seconds: Callable[[JsonObject], int] = _stated_seconds
    prompt_field: str = "prompt"
    aspect_field: str = "aspectRatio"
    image_field: str = "image"


def _per_second(price: int) -> Callable[[JsonObject, int], int]:
    return lambda _data, seconds: seconds * price


@frozen(kw_only=True)
class Revision:
    """A dated state of the contract.

    `error_codes` adds `errorCode` to error bodies. With `idempotency` a submit with the key of an earlier one gets that
    one's task.
    """

    models: Mapping[str, Model]
    error_codes: bool = False
    idempotency: bool = False


_PROMPT = Field("prompt", Text())
_OPTIONAL_PROMPT = Field("prompt", Text(blank=True), required=False, nullable=True)
_PROMPTS = Field("prompt", Texts(6))
_IMAGE = Field("image", Image())
_ASPECT_RATIO = Field("aspectRatio", Choice(("16:9", "9:16", "1:1")))
_SHORT = Field("duration", Choice(("5", "8")))
_LONG = Field("duration", Choice(("5", "10", "15", "20")))

REVISIONS: Mapping[str, Revision] = {
    "2026-03": Revision(
        models={
            "t2v": Model(fields=(_PROMPT, _ASPECT_RATIO, _SHORT), price=_per_second(1)),
            "i2v": Model(fields=(_IMAGE, _OPTIONAL_PROMPT, _SHORT), price=_per_second(1)),
            "lv": Model(fields=(_IMAGE, _PROMPTS), price=_per_second(15), seconds=_segment_seconds),
            "t2v_v3": Model(fields=(_PROMPT, _ASPECT_RATIO, _LONG), price=_per_second(10)),
            "i2v_v3": Model(fields=(_IMAGE, _OPTIONAL_PROMPT, _LONG), price=_per_second(10)),
        }
    ),
}


@frozen(kw_only=True)
class Order:
    """A valid request for a video: what to make, how long it is and what it costs."""

    model: str
    input: JsonObject
    seconds: int
    credits: int
    prompts: tuple[str, ...]
    aspect: str | None = None
    upload: Upload | None = None
    upload_field: str = "image"

    def stored_at(self, url: str) -> "Order":
        """Return this order with the public `url` in place of the base64 image."""
        return evolve(self, input={**self.input, self.upload_field: url})


def revision(name: str) -> Revision:
    """Return the revision of that name. Raises `ValueError` when there is none."""
    if name not in REVISIONS:
        raise ValueError(f"revision must be one of {', '.join(REVISIONS)}, got {name!r}")
    return REVISIONS[name]


def read_order(contract: Revision, model_name: str, body: bytes) -> Order:
    """Validate a submit's body. Raises `Refusal` (400), naming the field that is wrong."""
    model = contract.models.get(model_name)
    if model is None:
        raise Refusal(400, f"Invalid model: {_echo(model_name)}", "INVALID_MODEL")
    data = read_object(body)
    for field in model.fields:
        if wrong := field.problem(data):
            raise _invalid(wrong)
    seconds = model.seconds(data)
    aspect = data.get(model.aspect_field)
    return Order(
        model=model_name,
        input=data,
        seconds=seconds,
        credits=model.price(data, seconds),
        prompts=_prompts(data.get(model.prompt_field)),
        aspect=aspect if isinstance(aspect, str) else None,
        upload=_upload(model, data),
        upload_field=model.image_field,
    )


def read_object(body: bytes) -> JsonObject:
    """Decode a body that must be a JSON object. Raises `Refusal` (400)."""
    try:
        data: object = json.loads(body.decode(), parse_constant=_number, parse_float=_number)
        shallow = _within_depth(data, _DEEPEST)
    except (ValueError, RecursionError):
        raise _invalid("the body is not valid JSON") from None
    if not isinstance(data, dict):
        raise _invalid("the body must be a JSON object")
    if not shallow:
        raise _invalid(f"the body is nested more than {_DEEPEST} levels deep")
    return cast("dict[str, object]", data)


def _invalid(message: str) -> Refusal:
    return Refusal(400, f"Invalid payload: {message}", "INVALID_PAYLOAD")


def _number(text: str) -> float:
    # Python reads NaN, Infinity and 1e999, and would write them back as no JSON at all.
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no number in JSON")
    return value


def _within_depth(value: object, left: int) -> bool:
    # What was read must also be writable later, and a writer recurses too.
    if isinstance(value, dict):
        inner = list(cast("dict[str, object]", value).values())
    elif isinstance(value, list):
        inner = cast("list[object]", value)
    else:
        return True
    return left > 0 and all(_within_depth(one, left - 1) for one in inner)


def _prompts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(cast("list[str]", value))
    return ("",)


def _upload(model: Model, data: JsonObject) -> Upload | None:
    image = data.get(model.image_field)
    declared = any(isinstance(field.kind, Image) for field in model.fields)
    if not declared or not isinstance(image, str) or is_web_url(image):
        return None
    try:
        return read_data_uri(image)
    except ValueError as error:
        raise _invalid(f"{model.image_field} {error}") from None
