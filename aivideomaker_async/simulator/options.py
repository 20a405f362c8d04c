"""What the options of a simulator may be. Pure; each check raises `ValueError`, naming option and what is allowed."""

import inspect
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import cast

from .fault_kinds import check_flag, check_number, check_whole, wrong
from .timing import check_span

Check = Callable[[str, object], None]

_LARGEST_PORT = 65535
_KEY = re.compile(r"[!-~]+")
_LATE_CANCEL = range(200, 600)


def check_options(options: Mapping[str, object], models: Callable[[], Iterable[str]]) -> None:
    """Check all options by their names. `models` gives those of the revision, once that is known to be one."""
    for name, check in CHECKS.items():
        check(name, options[name])
    _check_durations(options["durations"], list(models()))


def _optional(check: Check) -> Check:
    def check_given(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return check_given


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value:
        raise wrong(name, "a text that is not empty", value)


def _check_key(name: str, value: object) -> None:
    if not isinstance(value, str) or _KEY.fullmatch(value) is None:
        raise wrong(name, "a text of printable ASCII characters without spaces, or None", value)


def _check_port(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_PORT:
        raise wrong(name, f"a whole number from 0 to {_LARGEST_PORT}", value)


def _check_positive(name: str, value: object) -> None:
    number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else value
    if not 0 < number < math.inf:
        raise wrong(name, "a number of more than 0", value)


def _check_shift(name: str, value: object) -> None:
    # How much is Clock's to say.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(name, "a number of seconds", value)


def _check_whole_or_none(name: str, value: object, least: int = 0) -> None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise wrong(name, f"a whole number of at least {least}, or None", value)


def _check_names(name: str, value: object) -> None:
    texts = isinstance(value, Collection) and not isinstance(value, str | bytes | Mapping)
    if not texts or not all(isinstance(one, str) and one for one in cast("Collection[object]", value)):
        raise wrong(name, "a list of names of models, or None", value)


def _check_seed(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(name, "a whole number or None", value)


def _check_clock(name: str, value: object) -> None:
    if not callable(value):
        raise wrong(name, "a function without arguments that tells seconds, or None", value)


def _check_epoch(name: str, value: object) -> None:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise wrong(name, "a datetime with a time zone, or None", value)


def _check_late_cancel(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value not in _LATE_CANCEL:
        raise wrong(name, "an HTTP status from 200 to 599", value)


def _check_history(name: str, value: object) -> None:
    # Which models there are is History's to say.
    for count in value.values() if isinstance(value, Mapping) else (value,):
        if not isinstance(count, int) or isinstance(count, bool):
            raise wrong(name, "a number of tasks, or a mapping of models to such numbers", value)


def _one_of(*allowed: str) -> Check:
    def check(name: str, value: object) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise wrong(name, f"one of {', '.join(allowed)}", value)

    return check


def _check_durations(durations: object, models: list[str]) -> None:
    if isinstance(durations, Mapping):
        if unknown := [name for name in durations if name not in models]:
            raise wrong("durations", f"of the models {', '.join(models)}", ", ".join(map(str, unknown)))
        for model, span in durations.items():
            check_span(f"durations[{model!r}]", span)
    elif callable(durations):
        _check_function(durations)
    elif durations is not None:
        check_span("durations", durations)


def _check_function(durations: Callable[..., object]) -> None:
    try:
        signature = inspect.signature(durations)
    except (TypeError, ValueError):  # some of C have none
        return
    try:
        signature.bind("t2v", 5)
    except TypeError:
        raise wrong("durations", "a function of the model and the seconds of video", durations) from None


CHECKS: Mapping[str, Check] = {
    "host": _check_text,
    "port": _check_port,
    "speed": _check_positive,
    "revision": _check_text,
    "credits": check_whole,
    "limit": partial(_check_whole_or_none, least=1),
    "window": _check_positive,
    "api_key": _optional(_check_key),
    "seed": _optional(_check_seed),
    "clock": _optional(_check_clock),
    "epoch": _optional(_check_epoch),
    "counting": _one_of("sliding", "fixed", "weighted"),
    "count_rejected": check_flag,
    "retry_after": _one_of("seconds", "date"),
    "late_cancel": _check_late_cancel,
    "list_limit": _check_whole_or_none,
    "history": _check_history,
    "list_lag": check_number,
    "lookup_lag": check_number,
    "clock_skew": _check_shift,
    "skew_date": check_flag,
    "idempotency": _optional(_one_of("ignored", "kept")),
    "generation_limit": partial(_check_whole_or_none, least=1),
    "daily_credit_limit": _check_whole_or_none,
    "credit_warning_at": _check_whole_or_none,
    "supported_models": _optional(_check_names),
    "ranges": check_flag,
    "render": check_flag,
}
"""The check of each option but `durations`, which depends on the revision."""
