"""What a request must look like in each revision, and a pure validation.

From api.md, Models. A revision is a value, so the next one is added as data beside the others.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import cast

from attrs import evolve, field, frozen

from .images import Upload, is_web_url, read_data_uri
from .kinds import echo
from .models import JsonObject, Model, Place
from .models_2026_03 import MODELS_2026_03
from .models_2026_09 import MODELS_2026_09

_DEEPEST = 64


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


@frozen(kw_only=True)
class Revision:
    """A dated state of the contract.

    `error_codes` adds `errorCode` to error bodies. With `idempotency` a submit with the key of an earlier one gets that
    one's task. With `billing` the price of everything is told: there are an account and quotes, a submit may be given
    a budget, and answers tell the credits.
    """

    name: str = ""
    models: Mapping[str, Model]
    error_codes: bool = False
    idempotency: bool = False
    billing: bool = False


REVISIONS: Mapping[str, Revision] = {
    one.name: one
    for one in (
        Revision(name="2026-03", models=MODELS_2026_03),
        Revision(name="2026-09", models=MODELS_2026_09, error_codes=True, idempotency=True, billing=True),
    )
}


@frozen(kw_only=True)
class Order:
    """A valid request for a video: what to make, how long it is and what it costs.

    `uploads` are the images that came as base64, by where they stand in the input, and `image_fields` the fields that
    may hold images.
    """

    model: str
    input: JsonObject
    seconds: int
    credits: int
    prompts: tuple[str, ...]
    aspect: str | None = None
    uploads: Mapping[Place, Upload] = field(factory=dict[Place, Upload])
    image_fields: tuple[str, ...] = ("image",)

    def stored_at(self, address: Callable[[Upload], str]) -> "Order":
        """Return this order with a public URL in place of each base64 image; `address` gives it."""
        data = dict(self.input)
        for (name, index), upload in self.uploads.items():
            if index is None:
                data[name] = address(upload)
            else:
                images = list(cast("list[object]", data[name]))
                images[index] = address(upload)
                data[name] = images
        return evolve(self, input=data)


def revision(name: str) -> Revision:
    """Return the revision of that name. Raises `ValueError` when there is none."""
    if name not in REVISIONS:
        raise ValueError(f"revision must be one of {', '.join(REVISIONS)}, got {name!r}")
    return REVISIONS[name]


def read_order(contract: Revision, model_name: str, body: bytes) -> Order:
    """Validate a submit's body. Raises `Refusal` (400), naming the field that is wrong."""
    model = contract.models.get(model_name)
    if model is None:
        raise Refusal(400, f"Invalid model: {echo(model_name)}", "INVALID_MODEL")
    data = read_object(body)
    if wrong := model.problem(data):
        raise _invalid(wrong)
    images = dict(model.images(data))
    filled = model.filled(data)
    seconds = model.seconds(filled)
    return Order(
        model=model_name,
        input=data,
        seconds=round(seconds),
        credits=round(model.price(filled, seconds)),
        prompts=_prompts(data.get(model.prompt_field)),
        aspect=model.aspect(data),
        uploads={place: _upload(place, image) for place, image in images.items() if not is_web_url(image)},
        image_fields=tuple(dict.fromkeys(name for name, _ in images)),
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


def _upload(place: Place, image: str) -> Upload:
    name, index = place
    try:
        return read_data_uri(image)
    except ValueError as error:
        where = name if index is None else f"{name} [{index}]"
        raise _invalid(f"{where} {error}") from None
