"""The options of a simulator: their types, and the checks that they pass before anything listens. Pure."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Literal, TypedDict, cast

from .history import History
from .quota import Counting
from .timing import Durations, check_span
from .validation import (
    Check,
    check_bool,
    check_integer,
    check_number,
    check_positive,
    check_text,
    invalid,
    one_of,
    optional,
)

Idempotency = Literal["ignored", "kept"]
"""Whether an `Idempotency-Key` is honoured."""

RetryAfterFormat = Literal["seconds", "date"]
"""The format of `Retry-After`."""

_LARGEST_PORT = 65535
_API_KEY = re.compile(r"[!-~]+")
_LATE_CANCEL_STATUSES = range(200, 600)


class SimulatorOptions(TypedDict, total=False):
    """The arguments of `Simulator`, which documents them."""

    host: str
    port: int
    speed: float
    revision: str
    credits: int
    limit: int | None
    window: float
    api_key: str | None
    durations: Durations | None
    seed: int | None
    clock: Callable[[], float] | None
    epoch: datetime | None
    counting: Counting
    count_rejected: bool
    retry_after: RetryAfterFormat
    late_cancel: int
    list_limit: int | None
    history: History
    list_lag: float
    lookup_lag: float
    late_files: float
    link_lifetime: float | None
    clock_skew: float
    skew_date: bool
    idempotency: Idempotency | None
    generation_limit: int | None
    daily_credit_limit: int | None
    credit_warning_at: int | None
    supported_models: Collection[str] | None
    strict_headers: bool
    ranges: bool
    render: bool


def check_options(options: Mapping[str, object], models: Callable[[], Iterable[str]]) -> None:
    """Check all options by their names.

    Args:
        options: a value for each option.
        models: returns the models of the revision. Called after the revision has been checked.

    Raises:
        ValueError: an option is wrong; the message has its name, its value and what is allowed.
    """
    for name, check in CHECKS.items():
        check(name, options[name])
    _check_durations(options["durations"], list(models()))


def _check_api_key(name: str, value: object) -> None:
    if not isinstance(value, str) or _API_KEY.fullmatch(value) is None:
        raise invalid(name, "a text of printable ASCII characters without spaces, or None", value)


def _check_port(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_PORT:
        raise invalid(name, f"a whole number from 0 to {_LARGEST_PORT}", value)


def _check_seconds(name: str, value: object) -> None:
    # Clock checks the range.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid(name, "a number of seconds", value)


def _check_integer_or_none(name: str, value: object, least: int = 0) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise invalid(name, f"a whole number of at least {least}, or None", value)


def _check_model_names(name: str, value: object) -> None:
    is_collection = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
    if not is_collection or not all(isinstance(one, str) and one for one in cast("Collection[object]", value)):
        raise invalid(name, "a list of names of models, or None", value)


def _check_seed(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(name, "a whole number or None", value)


def _check_clock(name: str, value: object) -> None:
    if not callable(value):
        raise invalid(name, "a function without arguments that returns seconds, or None", value)


def _check_epoch(name: str, value: object) -> None:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise invalid(name, "a datetime with a time zone, or None", value)


def _check_late_cancel(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value not in _LATE_CANCEL_STATUSES:
        raise invalid(name, "an HTTP status from 200 to 599", value)


def _check_history(name: str, value: object) -> None:
    # `old_tasks` checks the names of the models and the range.
    for count in value.values() if isinstance(value, Mapping) else (value,):
        if not isinstance(count, int) or isinstance(count, bool):
            raise invalid(name, "a number of tasks, or a mapping of models to such numbers", value)


def _check_durations(durations: object, models: list[str]) -> None:
    if isinstance(durations, Mapping):
        if unknown := [name for name in durations if name not in models]:
            raise invalid("durations", f"of the models {', '.join(models)}", ", ".join(map(str, unknown)))
        for model, span in durations.items():
            check_span(f"durations[{model!r}]", span)
    elif callable(durations):
        try:
            signature = inspect.signature(durations)
        except (TypeError, ValueError):  # some functions in C have none
            return
        try:
            signature.bind("t2v", 5)
        except TypeError:
            raise invalid("durations", "a function of the model and the seconds of video", durations) from None
    elif durations is not None:
        check_span("durations", durations)


CHECKS: Mapping[str, Check] = {
    "host": check_text,
    "port": _check_port,
    "speed": check_positive,
    "revision": check_text,
    "credits": check_integer,
    "limit": partial(_check_integer_or_none, least=1),
    "window": check_positive,
    "api_key": optional(_check_api_key),
    "seed": optional(_check_seed),
    "clock": optional(_check_clock),
    "epoch": optional(_check_epoch),
    "counting": one_of("sliding", "fixed", "weighted"),
    "count_rejected": check_bool,
    "retry_after": one_of("seconds", "date"),
    "late_cancel": _check_late_cancel,
    "list_limit": _check_integer_or_none,
    "history": _check_history,
    "list_lag": check_number,
    "lookup_lag": check_number,
    "late_files": check_number,
    "link_lifetime": optional(check_positive),
    "clock_skew": _check_seconds,
    "skew_date": check_bool,
    "idempotency": optional(one_of("ignored", "kept")),
    "generation_limit": partial(_check_integer_or_none, least=1),
    "daily_credit_limit": _check_integer_or_none,
    "credit_warning_at": _check_integer_or_none,
    "supported_models": optional(_check_model_names),
    "strict_headers": check_bool,
    "ranges": check_bool,
    "render": check_bool,
}
"""The check of each option but `durations`, which depends on the revision."""
