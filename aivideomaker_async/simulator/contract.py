"""The contract of each revision, and the validation of requests by it. Pure.

A revision is a value, so the next one is added as data beside the others. A request is either valid, and becomes a
`VideoOrder` and its `SubmitHeaders`, or it raises the `Refusal` that answers it.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import cast

from attrs import evolve, field, frozen

from .field_types import cut
from .images import Upload, is_web_url, read_data_uri
from .models import MODELS_2026_03, MODELS_2026_09, ImagePlace, JsonObject, Model

WEBHOOK_HEADER = "webhookUrl"
IDEMPOTENCY_HEADER = "Idempotency-Key"
BUDGET_HEADER = "X-Max-Credits"

IDEMPOTENCY_KEY_CHARS = (8, 128)
"""The least and the most characters of an idempotency key."""

_MAX_JSON_DEPTH = 64
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_MAX_BUDGET_DIGITS = 18
"""A budget with more digits is above every price, and counts as no budget."""


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

    With `error_codes`, error bodies have an `errorCode`. With `idempotency`, a submit that repeats the key of an
    earlier one returns the task of that one. With `billing` there are an account and quotes, a submit may have a
    budget, and answers have the credits.
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


def revision_named(name: str) -> Revision:
    """Return the revision of that name. Raises `ValueError` when there is none."""
    if name not in REVISIONS:
        raise ValueError(f"revision must be one of {', '.join(REVISIONS)}, got {name!r}")
    return REVISIONS[name]


def newer_endpoint() -> Refusal:
    """Return the refusal of an endpoint that only revisions with billing have, which says how to get one."""
    having = next(one.name for one in REVISIONS.values() if one.billing)
    return Refusal(404, f"Not Found {_of_revision(having)}")


def _hint(revision: Revision, model_name: str) -> str:
    having = [one.name for one in REVISIONS.values() if model_name in one.models]
    # Of a model that the revision has and the account lacks, there is nothing to say.
    return f" {_of_revision(having[0])}" if having and revision.name not in having else ""


def _of_revision(name: str) -> str:
    # Only a simulator says this: its user may have started it without the option.
    return f'(revision {name} has it: start the simulator with --revision {name}, or Simulator(revision="{name}"))'


# --- bodies ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class VideoOrder:
    """A valid request for a video: its input, its length and its price.

    `uploads` are the images that were sent as base64, by where they stand in the input, and `image_fields` the fields
    that may hold images.
    """

    model: str
    input: JsonObject
    seconds: int
    credits: int
    prompts: tuple[str, ...]
    aspect: str | None = None
    uploads: Mapping[ImagePlace, Upload] = field(factory=dict[ImagePlace, Upload])
    image_fields: tuple[str, ...] = ("image",)

    def with_urls(self, url_of: Callable[[Upload], str]) -> "VideoOrder":
        """Return this order with a public URL in place of each base64 image."""
        data = dict(self.input)
        for (name, index), upload in self.uploads.items():
            if index is None:
                data[name] = url_of(upload)
            else:
                images = list(cast("list[object]", data[name]))
                images[index] = url_of(upload)
                data[name] = images
        return evolve(self, input=data)


def read_order(revision: Revision, model_name: str, body: bytes) -> VideoOrder:
    """Validate the body of a submit or a quote. Raises `Refusal` (400) with the names of all wrong fields.

    The input of the order, which the service shows, has the fields as they were sent, but those that null leaves out:
    such a request is the same as one without these fields.
    """
    model = revision.models.get(model_name)
    if model is None:
        raise Refusal(400, f"Unsupported model: {cut(model_name)}{_hint(revision, model_name)}", "INVALID_MODEL")
    data = model.without_nulls(read_object(body))
    images = dict(model.images(data))
    uploads, bad_images = _uploads(images)
    if problems := model.problems(data) + bad_images:
        raise _invalid("; ".join(problems))
    complete = model.with_defaults(data)
    seconds = model.seconds(complete)
    return VideoOrder(
        model=model_name,
        input=data,
        seconds=round(seconds),
        credits=round(model.price(complete, seconds)),
        prompts=_prompts(data.get(model.prompt_field)),
        aspect=model.aspect(data),
        uploads=uploads,
        image_fields=tuple(dict.fromkeys(name for name, _ in images)),
    )


def read_object(body: bytes) -> JsonObject:
    """Decode a body that must be a JSON object. Raises `Refusal` (400)."""
    try:
        data: object = json.loads(body.decode(), parse_constant=_finite, parse_float=_finite)
        shallow = _within_depth(data, _MAX_JSON_DEPTH)
    except (ValueError, RecursionError):
        raise _invalid("the body is not valid JSON") from None
    if not isinstance(data, dict):
        raise _invalid("the body must be a JSON object")
    if not shallow:
        raise _invalid(f"the body is nested more than {_MAX_JSON_DEPTH} levels deep")
    return cast("dict[str, object]", data)


def _invalid(message: str) -> Refusal:
    return Refusal(400, f"Invalid payload: {message}", "INVALID_PAYLOAD")


def _finite(text: str) -> float:
    # Python reads NaN, Infinity and 1e999, and would write them back as invalid JSON.
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is not a JSON number")
    return value


def _within_depth(value: object, left: int) -> bool:
    # The input is written again in every answer, and the writer is recursive, too.
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


def _uploads(images: Mapping[ImagePlace, str]) -> tuple[dict[ImagePlace, Upload], list[str]]:
    """Decode the images that are no URLs, and return what is wrong with them."""
    uploads: dict[ImagePlace, Upload] = {}
    problems: list[str] = []
    for (name, index), image in images.items():
        if is_web_url(image):
            continue
        try:
            uploads[name, index] = read_data_uri(image)
        except ValueError as error:
            problems.append(f"{name if index is None else f'{name} [{index}]'} {error}")
    return uploads, problems


# --- headers -----------------------------------------------------------------------------------------


@frozen(kw_only=True)
class SubmitHeaders:
    """The optional headers of a submit. `budget` is the most credits that it may cost, None for no limit."""

    webhook_url: str | None = None
    idempotency_key: str | None = None
    budget: int | None = None


def read_submit_headers(headers: Mapping[str, str], revision: Revision) -> SubmitHeaders:
    """Validate the headers of a submit. Raises `Refusal` (400) with the name of the wrong one."""
    webhook_url = headers.get(WEBHOOK_HEADER)
    if webhook_url is not None and not is_web_url(webhook_url):
        raise Refusal(400, f"{WEBHOOK_HEADER} must be an http(s) URL", "INVALID_PAYLOAD")
    budget = headers.get(BUDGET_HEADER) if revision.billing else None
    return SubmitHeaders(
        webhook_url=webhook_url,
        idempotency_key=headers.get(IDEMPOTENCY_HEADER),
        budget=None if budget is None else _read_budget(budget),
    )


def _read_budget(text: str) -> int | None:
    if _DIGITS.fullmatch(text) is None:
        raise Refusal(400, f"{BUDGET_HEADER} must be a whole number of credits, at least 0", "INVALID_PAYLOAD")
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MAX_BUDGET_DIGITS else None
