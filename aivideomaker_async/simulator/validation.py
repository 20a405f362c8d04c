"""Checks of values that users pass: the options of a simulator and the arguments of a fault.

Each check takes the name of an argument and its value. It raises `ValueError` with the name, the value and what is
allowed.
"""

import math
from collections.abc import Callable

Check = Callable[[str, object], None]


def invalid(name: str, allowed: str, value: object) -> ValueError:
    """Return the error for a value that is not allowed."""
    return ValueError(f"{name} must be {allowed}, got {value!r}")


def optional(check: Check) -> Check:
    """Return a check that also allows None."""

    def check_unless_none(name: str, value: object) -> None:
        if value is not None:
            check(name, value)

    return check_unless_none


def one_of(*allowed: str) -> Check:
    """Return a check for one of these texts."""

    def check(name: str, value: object) -> None:
        if not isinstance(value, str) or value not in allowed:
            raise invalid(name, f"one of {', '.join(allowed)}", value)

    return check


def check_bool(name: str, value: object) -> None:
    """Allow True and False, and no numbers in their place."""
    if not isinstance(value, bool):
        raise invalid(name, "True or False", value)


def check_integer(name: str, value: object, least: int = 0) -> None:
    """Allow whole numbers of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise invalid(name, f"a whole number of at least {least}", value)


def check_number(name: str, value: object, most: float = math.inf) -> None:
    """Allow finite numbers from 0 to `most`."""
    number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else value
    if not (0 <= number <= most and math.isfinite(number)):
        raise invalid(name, "a number of at least 0" if math.isinf(most) else f"a number from 0 to {most:g}", value)


def check_positive(name: str, value: object) -> None:
    """Allow finite numbers above 0."""
    number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else value
    if not 0 < number < math.inf:
        raise invalid(name, "a number of more than 0", value)


def check_text(name: str, value: object) -> None:
    """Allow texts that are not empty."""
    if not isinstance(value, str) or not value:
        raise invalid(name, "a text that is not empty", value)
