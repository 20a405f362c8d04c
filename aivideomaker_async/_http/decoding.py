"""Answers of the service, deciphered: bytes in, values or a clear error out.

What a value cannot do without (the id and status of a task) must be there and right; anything else that is missing or
of a wrong type is None, and the odd thing itself is kept in `extra`. So one strange field in one row of a list takes
nothing from anybody. That is why these are tables of our own, where a converter would refuse the whole answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from json import JSONDecoder
from math import isfinite
from typing import Any, Final, Generic, TypeAlias, TypeVar

from attrs import frozen

from .._redaction import redact
from ..tasks import Account, Quote, SubmittedTask, TaskDetails, TaskOutput, TaskStatus
from .requests import is_task_id

__all__ = [
    "MalformedAnswer",
    "account",
    "cancelled",
    "decoder",
    "json_object",
    "quote_of",
    "rows",
    "shown",
    "status",
    "submitted",
    "task",
    "task_of",
    "task_row",
]

LONGEST_ID: Final = 16_384
"""Characters of an id: more fit into no request."""

LONGEST_STATUS: Final = 100

DEEPEST: Final = 100
"""Levels of what is kept as it came. Deeper values can be decoded, and then be neither compared, copied nor encoded."""

LONGEST_NUMBER: Final = 400
"""Digits of a whole number. To read a long one takes time with the square of its length."""

_CONTAINERS: Final = frozenset({dict, list})

T = TypeVar("T")
Parse: TypeAlias = Callable[[Any], object]


class MalformedAnswer(ValueError):
    """An answer is not what it must be. The text names the place, and shows no more than a few words of it."""


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError("a number of too many digits")
    return int(digits)


decoder: Final = JSONDecoder(parse_int=_integer)


def json_object(body: bytes | bytearray) -> dict[str, Any]:
    """The JSON object that `body` is.

    Raises:
        MalformedAnswer: it is something else.
    """
    try:
        value = decoder.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise MalformedAnswer(f"the body is not JSON: {shown(body)}") from None
    return _object(value, "$")


def submitted(answer: Mapping[str, Any]) -> SubmittedTask:
    """The answer to a submit."""
    return _read(_SUBMITTED, answer, "$")


def task(answer: Mapping[str, Any]) -> TaskDetails:
    """Full details of one task."""
    return _read(_TASK, answer, "$")


def task_of(task_id: str) -> Callable[[Mapping[str, Any]], TaskDetails]:
    """Reads the full details of this task, and of no other."""

    def read(answer: Mapping[str, Any]) -> TaskDetails:
        details = task(answer)
        if details.id != task_id:
            raise MalformedAnswer(f"it is of another task @ $.id: {shown(details.id)}")
        return details

    return read


def task_at(value: object, path: str) -> TaskDetails:
    """Full details of the task that `value` ought to be; it stands at `path` of the answer."""
    return _read(_TASK, value, path)


def task_row(details: TaskDetails) -> dict[str, object]:
    """The row that `task` reads as `details`."""
    row: dict[str, object] = {"id": details.id, "status": str(details.status), "input": dict(details.input)}
    told = {
        "model": details.model,
        "output": details.output and _output_row(details.output),
        "createdAt": details.created_at and details.created_at.isoformat(),
        "completedAt": details.completed_at and details.completed_at.isoformat(),
        "creditsCharged": details.credits_charged,
        "creditsRefunded": details.credits_refunded,
        "listValueCents": details.list_value_cents,
        "idempotencyKey": details.idempotency_key,
    }
    # An odd field is in `extra` under its own name, and its attribute is missing.
    return {**row, **_told(**told), **details.extra}


def _output_row(output: TaskOutput) -> dict[str, object]:
    return {**_told(url=output.url, msg=output.message, error=output.error), **output.extra}


def _told(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def rows(answer: Mapping[str, Any]) -> list[Any]:
    """The rows of the task list, as they came."""
    found = answer.get("tasks")
    if not isinstance(found, list):
        raise MalformedAnswer(f"expected a list of tasks @ $.tasks: {shown(found)}")
    return found


def status(answer: Mapping[str, Any]) -> TaskStatus:
    """The status in an answer that has one."""
    return _required(_status, answer, "status")


def cancelled(answer: Mapping[str, Any]) -> TaskStatus:
    """The status that a task has after a cancel."""
    return status(answer)


def quote_of(model: str) -> Callable[[Mapping[str, Any]], Quote]:
    """Reads the price of a spec of this model."""
    return lambda answer: _read(_QUOTE, {"model": model, **answer}, "$")


def account(answer: Mapping[str, Any]) -> Account:
    """Balance and guardrails."""
    return _read(_ACCOUNT, answer, "$")


# --- single values: each returns what it read, or raises ValueError ---------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a text")  # noqa: TRY004  (a value of the wire, not a programmer's mistake)
    return value


def _identifier(value: Any) -> str:
    # Ids are opaque; a server that writes numbers means the same.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # What is no id here would be none in the next request.
    if not is_task_id(value) or len(value) > LONGEST_ID:
        raise ValueError("expected an id")
    return value


def _new_id(value: Any) -> str:
    # A handle of no task would be a task that is paid and lost. Of a service that does write numbers, the list tells.
    return _identifier(_text(value))


def _status(value: Any) -> TaskStatus:
    # One that is not known may be any word, but it stands in log lines and is sent to other processes.
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_STATUS or not value.isprintable():
        raise ValueError("expected a status")
    return TaskStatus(value)


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
    # -1 stands for unlimited.
    limit = _whole(value)
    return None if limit == -1 else limit


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")  # noqa: TRY004
    return value


def stamp(value: object) -> float | None:
    """The seconds since the epoch of a moment on the wire; None where it cannot be read."""
    try:
        return _time(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _time(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _object(value: Any, path: str = "$") -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedAnswer(f"expected an object @ {path}: {shown(value)}")
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
    return _read(_OUTPUT, fields, "$.output")


# --- objects -----------------------------------------------------------------------------------------


@frozen
class _Shape(Generic[T]):
    """How an object of the wire becomes a value: for each wire name, our name and how to read it."""

    make: Callable[..., T]
    required: Mapping[str, tuple[str, Parse]]
    optional: Mapping[str, tuple[str, Parse]]


def _read(shape: _Shape[T], value: Any, path: str) -> T:
    answer = _object(value, path)
    known: dict[str, object] = {
        name: _required(parse, answer, wire, path) for wire, (name, parse) in shape.required.items()
    }
    extra: dict[str, object] = {}
    for wire, item in answer.items():
        if wire in shape.required:
            continue
        name, parse = shape.optional.get(wire, ("", _unknown))
        if type(item) in _CONTAINERS and _is_deep(item, DEEPEST - 1):
            raise MalformedAnswer(f"nested deeper than {DEEPEST} levels @ {path}[{shown(wire)}]: {shown(item)}")
        try:
            if item is not None or not name:
                known[name] = parse(item)
        except (ValueError, OverflowError):
            extra[wire] = item
    return shape.make(**known, extra=extra)


def _is_deep(value: Any, levels: int) -> bool:
    # Of each row that somebody waits for: as fast as can be.
    for item in value.values() if type(value) is dict else value:
        if type(item) in _CONTAINERS and (not levels or _is_deep(item, levels - 1)):
            return True
    return False


def _unknown(_: Any) -> object:
    raise ValueError("unknown field")


def _required(parse: Callable[[Any], T], answer: Mapping[str, Any], wire: str, path: str = "$") -> T:
    if wire not in answer:
        raise MalformedAnswer(f"required field missing @ {path}.{wire}")
    try:
        return parse(answer[wire])
    except (ValueError, OverflowError) as error:
        raise MalformedAnswer(f"{error} @ {path}.{wire}: {shown(answer[wire])}") from None


def shown(value: object) -> str:
    """The first words of an answer, for an error."""
    if isinstance(value, bytes | bytearray):
        value = value[:60].decode("utf-8", "replace")
    return repr(redact(value))[:80]


_SUBMITTED: Final = _Shape(
    SubmittedTask,
    required={"taskId": ("task_id", _new_id)},
    optional={
        "status": ("status", _status),
        "responseUrl": ("response_url", _text),
        "statusUrl": ("status_url", _text),
        "cancelUrl": ("cancel_url", _text),
        "creditsCharged": ("credits_charged", _amount),
        "idempotentReplay": ("idempotent_replay", _truth),
    },
)
_OUTPUT: Final = _Shape(
    TaskOutput, required={}, optional={"url": ("url", _text), "msg": ("message", _text), "error": ("error", _text)}
)
_TASK: Final = _Shape(
    TaskDetails,
    required={"id": ("id", _identifier), "status": ("status", _status)},
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
_QUOTE: Final = _Shape(
    Quote,
    required={"model": ("model", _text), "credits": ("credits", _amount)},
    optional={
        "listPriceUsd": ("list_price_usd", _number),
        "usdPerCredit": ("usd_per_credit", _number),
        "currentBalance": ("current_balance", _whole),
        "affordable": ("affordable", _truth),
        "billable": ("billable", _truth),
    },
)
_ACCOUNT: Final = _Shape(
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
