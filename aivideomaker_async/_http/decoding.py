"""Answers of the service decoded: bytes in, values or a clear error out.

A value needs its essentials (the id and status of a task): those must be present and valid. Any other field that is
missing or has a wrong type becomes None, and the odd value is kept in `extra`. So one strange field in one row of a
list costs nobody anything. That is why these are tables of our own: a converter would refuse the whole answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from json import JSONDecoder
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from .._redaction import redact
from .._util.validation import is_task_id
from ..tasks import TaskStatus

if TYPE_CHECKING:
    from ..tasks import Account, Quote, SubmittedTask, TaskDetails, TaskOutput

__all__ = [
    "MalformedAnswer",
    "decode_account",
    "decode_quote_for",
    "decode_status",
    "decode_submitted",
    "decode_task",
    "decode_task_list",
    "decode_task_with_id",
    "encode_task",
    "excerpt",
    "json_object",
    "parse_timestamp",
    "raw_decode",
]

MAX_TASK_ID_CHARACTERS: Final = 16_384
"""Longer ids fit into no request."""

MAX_STATUS_CHARACTERS: Final = 100

MAX_JSON_DEPTH: Final = 100
"""Levels of values that are kept as they came. Deeper ones can be decoded, but not compared, copied or encoded."""

MAX_COMMAS: Final = 100_000
"""The JSON decoder cannot be interrupted, and 48 MiB of tiny values would stall the event loop for seconds. Commas
bound their number; base64 has none, and prompts have few."""

_CONTAINERS: Final = frozenset({dict, list})

T = TypeVar("T")
Parse: TypeAlias = Callable[[Any], object]

_BYTE_ORDER_MARK: Final = "\ufeff"
"""Some proxies put one before what they pass on."""
_WHITESPACE: Final = " \t\r\n"

raw_decode: Final = JSONDecoder().raw_decode


class MalformedAnswer(ValueError):
    """An answer is not what the API documents. The text names the place, and quotes a few words at most."""


def json_object(body: bytes | bytearray) -> dict[str, Any]:
    """Return the JSON object in `body`.

    Raises:
        MalformedAnswer: it is something else.
    """
    if len(body) > MAX_COMMAS and body.count(b",") > MAX_COMMAS:
        raise MalformedAnswer(f"the body has more than {MAX_COMMAS} values")
    try:
        text = body.decode().removeprefix(_BYTE_ORDER_MARK).strip(_WHITESPACE)
        value, end = raw_decode(text)
        if end != len(text):
            raise ValueError
    except (ValueError, RecursionError):
        # Without the cause, which would keep the whole document alive.
        raise MalformedAnswer(f"the body is not JSON: {excerpt(body)}") from None
    return value if type(value) is dict else _object(value, "$")


def excerpt(value: object) -> str:
    """Return the first characters of an answer for an error message, redacted."""
    if isinstance(value, bytes | bytearray):
        value = value[:60].decode("utf-8", "replace")
    return repr(redact(value))[:80]


# --- one function for each kind of answer ------------------------------------------------------------


def decode_submitted(answer: Mapping[str, Any]) -> SubmittedTask:
    """Decode the answer to a submit."""
    return _decode(_submitted_shape(), answer, "$")


def decode_task(answer: object, path: str = "$") -> TaskDetails:
    """Decode the full details of one task, which stand at `path` of the answer."""
    return _decode(_task_shape(), answer, path)


def decode_task_with_id(task_id: str) -> Callable[[Mapping[str, Any]], TaskDetails]:
    """Return a function that decodes the full details of this task, and refuses those of another."""

    def decode(answer: Mapping[str, Any]) -> TaskDetails:
        details = decode_task(answer)
        if details.id != task_id:
            raise MalformedAnswer(f"the answer is about another task @ $.id: {excerpt(details.id)}")
        return details

    return decode


def decode_task_list(answer: Mapping[str, Any]) -> list[TaskDetails]:
    """Decode a task list that was read whole."""
    rows = answer.get("tasks")
    if not isinstance(rows, list):
        raise MalformedAnswer(f"expected a list of tasks @ $.tasks: {excerpt(rows)}")
    return [decode_task(row, f"$.tasks[{number}]") for number, row in enumerate(rows)]


def decode_status(answer: Mapping[str, Any]) -> TaskStatus:
    """Decode the status in an answer."""
    status = answer.get("status")
    if isinstance(status, str) and status in _KNOWN_STATUSES:
        # The usual case.
        return _KNOWN_STATUSES[status]
    return _required(_status, answer, "status", "$")


def decode_quote_for(model: str) -> Callable[[Mapping[str, Any]], Quote]:
    """Return a function that decodes the price of a spec of this model, and refuses that of another one."""

    def decode(answer: Mapping[str, Any]) -> Quote:
        quote = _decode(_quote_shape(), {"model": model, **answer}, "$")
        if quote.model.lower() != model.lower():
            raise MalformedAnswer(f"the price of another model @ $.model: {excerpt(quote.model)}")
        return quote

    return decode


def decode_account(answer: Mapping[str, Any]) -> Account:
    """Decode balance and guardrails."""
    return _decode(_account_shape(), answer, "$")


def encode_task(details: TaskDetails) -> dict[str, object]:
    """Return the row that `decode_task` decodes to `details`."""
    output = details.output
    row = {
        "id": details.id,
        "status": str(details.status),
        "input": dict(details.input),
        "model": details.model,
        "output": output and {**_present(url=output.url, msg=output.message, error=output.error), **output.extra},
        "createdAt": details.created_at and details.created_at.isoformat(),
        "completedAt": details.completed_at and details.completed_at.isoformat(),
        "creditsCharged": details.credits_charged,
        "creditsRefunded": details.credits_refunded,
        "listValueCents": details.list_value_cents,
        "idempotencyKey": details.idempotency_key,
    }
    # An odd field is in `extra` under its own name, and its attribute is None.
    return {**_present(**row), **details.extra}


def _present(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def parse_timestamp(value: object) -> float | None:
    """Return the seconds since the epoch of a moment on the wire, or None where it is missing or malformed."""
    try:
        return _time(value).timestamp()
    except (ValueError, OverflowError):
        return None


# --- single values: each function returns what it read, or raises ValueError -------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004  (a value of the wire, not a programmer's mistake)
    return value


def _id(value: Any) -> str:
    # Ids are opaque; a server that writes numbers means the same.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # An id that fits into no path would be useless in the next request.
    if not is_task_id(value) or len(value) > MAX_TASK_ID_CHARACTERS:
        raise ValueError("expected an id")
    return value


def _new_id(value: Any) -> str:
    # A wrong id here would be a handle of no task, and the paid task would be lost. The list shows a numeric id.
    return _id(_text(value))


_KNOWN_STATUSES: Final = {status.value: status for status in TaskStatus}
"""Faster than the enum's own look-up, in which a status call would spend a good part of its time."""


def _status(value: Any) -> TaskStatus:
    # An unknown status may be any word, but it stands in log lines and goes to other processes.
    if not isinstance(value, str) or not 0 < len(value) <= MAX_STATUS_CHARACTERS or not value.isprintable():
        raise ValueError("expected a status")
    return _KNOWN_STATUSES.get(value) or TaskStatus(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("expected a number")
    return value


def _whole(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("expected a whole number")
    return int(number)


def _amount(value: Any) -> int:
    if (amount := _whole(value)) < 0:
        raise ValueError("expected a number of credits")
    return amount


def _guardrail(value: Any) -> int | None:
    # -1 means unlimited.
    limit = _whole(value)
    return None if limit == -1 else limit


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004
    return value


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _object(value: Any, path: str = "$") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedAnswer(f"expected an object @ {path}: {excerpt(value)}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list")  # noqa: TRY004
    return tuple(_text(item) for item in value)


def _output(value: Any) -> TaskOutput:
    fields = _object(value)
    if not isinstance(fields.get("url"), str) and isinstance(fields.get("videoUrl"), str):
        # The vendor's older examples call it videoUrl.
        fields = {"url": fields["videoUrl"], **{k: v for k, v in fields.items() if k not in {"url", "videoUrl"}}}
    return _decode(_output_shape(), fields, "$.output")


# --- objects -----------------------------------------------------------------------------------------


class _Shape(Generic[T]):
    """How an object of the wire becomes a value: for each wire name, the attribute and how to read it.

    Each shape is made on its first use: a program that only asks for a status imports no values.
    """

    __slots__ = ("make", "optional", "required")

    def __init__(
        self,
        make: Callable[..., T],
        *,
        required: Mapping[str, tuple[str, Parse]],
        optional: Mapping[str, tuple[str, Parse]],
    ) -> None:
        self.make = make
        self.required = required
        self.optional = optional


def _decode(shape: _Shape[T], value: Any, path: str) -> T:
    answer = _object(value, path)
    known: dict[str, object] = {
        name: _required(parse, answer, wire, path) for wire, (name, parse) in shape.required.items()
    }
    extra: dict[str, object] = {}
    for wire, item in answer.items():
        if wire in shape.required:
            continue
        if type(item) in _CONTAINERS and _is_deeper(item, MAX_JSON_DEPTH - 1):
            raise MalformedAnswer(
                f"nested deeper than {MAX_JSON_DEPTH} levels @ {path}[{excerpt(wire)}]: {excerpt(item)}"
            )
        if wire not in shape.optional:
            extra[wire] = item
        elif item is not None:
            name, parse = shape.optional[wire]
            try:
                known[name] = parse(item)
            except (ValueError, OverflowError):
                extra[wire] = item
    return shape.make(**known, extra=extra)


def _is_deeper(value: Any, levels: int) -> bool:
    for item in value.values() if type(value) is dict else value:
        if type(item) in _CONTAINERS and (not levels or _is_deeper(item, levels - 1)):
            return True
    return False


def _required(parse: Callable[[Any], T], answer: Mapping[str, Any], wire: str, path: str) -> T:
    if wire not in answer:
        raise MalformedAnswer(f"required field missing @ {path}.{wire}")
    try:
        return parse(answer[wire])
    except (ValueError, OverflowError) as error:
        raise MalformedAnswer(f"{error} @ {path}.{wire}: {excerpt(answer[wire])}") from None


@cache
def _submitted_shape() -> _Shape[SubmittedTask]:
    from ..tasks import SubmittedTask

    return _Shape(
        SubmittedTask,
        required={"taskId": ("task_id", _new_id)},
        optional={
            "status": ("status", _status),
            "responseUrl": ("response_url", _text),
            "statusUrl": ("status_url", _text),
            "cancelUrl": ("cancel_url", _text),
            "creditsCharged": ("credits_charged", _amount),
            "idempotentReplay": ("idempotent_replay", _bool),
        },
    )


@cache
def _output_shape() -> _Shape[TaskOutput]:
    from ..tasks import TaskOutput

    return _Shape(
        TaskOutput, required={}, optional={"url": ("url", _text), "msg": ("message", _text), "error": ("error", _text)}
    )


@cache
def _task_shape() -> _Shape[TaskDetails]:
    from ..tasks import TaskDetails

    return _Shape(
        TaskDetails,
        required={"id": ("id", _id), "status": ("status", _status)},
        optional={
            "model": ("model", _text),
            "input": ("input", _object),
            "output": ("output", _output),
            "createdAt": ("created_at", _time),
            "completedAt": ("completed_at", _time),
            "creditsCharged": ("credits_charged", _amount),
            "creditsRefunded": ("credits_refunded", _amount),
            "listValueCents": ("list_value_cents", _whole),
            "idempotencyKey": ("idempotency_key", _text),
        },
    )


@cache
def _quote_shape() -> _Shape[Quote]:
    from ..tasks import Quote

    return _Shape(
        Quote,
        required={"model": ("model", _text), "credits": ("credits", _amount)},
        optional={
            "listPriceUsd": ("list_price_usd", _number),
            "usdPerCredit": ("usd_per_credit", _number),
            "currentBalance": ("current_balance", _whole),
            "affordable": ("affordable", _bool),
            "billable": ("billable", _bool),
        },
    )


@cache
def _account_shape() -> _Shape[Account]:
    from ..tasks import Account

    return _Shape(
        Account,
        required={"currentBalance": ("current_balance", _whole)},
        optional={
            "supportedModels": ("supported_models", _texts),
            "dailyCreditLimit": ("daily_credit_limit", _guardrail),
            "generationRequestsPerMinute": ("generation_requests_per_minute", _guardrail),
            "creditWarningAt": ("credit_warning_at", _guardrail),
            "apiVersion": ("api_version", _text),
            "skillVersion": ("skill_version", _text),
        },
    )
