"""The rules that fields of specs are checked by: each tells what is wrong with a value, and what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from attrs import AttrsInstance, fields

from .errors import FieldProblem, InvalidSpec
from .images import image_problem, show_image
from .secrecy import redact, shorten

__all__ = [
    "LONG_TEXT",
    "check",
    "extra_fields",
    "image",
    "model_name",
    "one_of",
    "replace_long_texts",
    "text",
    "texts",
    "texts_in",
]

Rule: TypeAlias = Callable[[str, object], Iterator[FieldProblem]]
"""Takes the name of a field and its value, and gives what is wrong with it."""

LONG_TEXT: Final = 64 * 1024
"""Characters. What works on more of them at once lets nothing else run for too long: they are data URIs, mostly."""

_TEXT: Final = "a text that is not blank"
_LONGEST_VALUE: Final = 500
"""Characters of a wrong value that a message shows."""


def _problem(name: str, value: object, allowed: str) -> FieldProblem:
    return FieldProblem(name, shorten(repr(redact(value)), _LONGEST_VALUE), allowed)


def text(*, optional: bool = False) -> Rule:
    """A string that is not blank and can be written as UTF-8; None as well, if `optional`."""

    def rule(name: str, value: object) -> Iterator[FieldProblem]:
        if value is None and optional:
            return
        if not isinstance(value, str) or not value.strip():
            yield _problem(name, value, f"{_TEXT}, or None" if optional else _TEXT)
        elif not _is_unicode(value):
            yield _problem(name, value, "a text without lone surrogates")

    return rule


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def model_name(name: str, value: object) -> Iterator[FieldProblem]:
    """A text that can be a segment of a path: `.` and `..` are steps in it, quoted or not."""
    yield from text()(name, value)
    if isinstance(value, str) and value in {".", ".."}:
        yield _problem(name, value, "the name of a model")


def texts(*, at_most: int) -> Rule:
    """One to `at_most` strings, each as `text` wants it."""
    each = text()

    def rule(name: str, value: object) -> Iterator[FieldProblem]:
        if not isinstance(value, tuple):
            yield _problem(name, value, f"a list of 1 to {at_most} texts")
            return
        if not 1 <= len(value) <= at_most:
            yield FieldProblem(name, f"<{len(value)} texts>", f"a list of 1 to {at_most} texts")
        for index, item in enumerate(value):
            yield from each(f"{name}[{index}]", item)

    return rule


def one_of(*allowed: str | int, unit: str = "") -> Rule:
    """One of the given values, of the same type: `"8"` and `True` are not 8 and 1."""

    def rule(name: str, value: object) -> Iterator[FieldProblem]:
        if not any(type(value) is type(item) and value == item for item in allowed):
            listed = " or ".join(map(repr, allowed))
            yield _problem(name, value, f"{listed} ({unit})" if unit else listed)

    return rule


def image(name: str, value: object) -> Iterator[FieldProblem]:
    """Something that can be an image."""
    if allowed := image_problem(value):
        yield FieldProblem(name, show_image(value), allowed)


def extra_fields(name: str, value: object, *, taken: Sequence[str]) -> Iterator[FieldProblem]:
    """Wire fields that the spec does not have itself, in values that JSON has."""
    if not isinstance(value, Mapping):
        yield _problem(name, value, "a mapping of wire names to JSON values")
        return
    for key, item in value.items():
        if not isinstance(key, str) or not key or not _is_unicode(key):
            yield _problem(name, key, "a mapping whose keys are wire names")
        elif key in taken:
            yield _problem(f"{name}[{redact(key)!r}]", item, "a wire field that the spec does not set itself")
        elif not is_json(item):
            yield _problem(
                f"{name}[{redact(key)!r}]", item, "a value that JSON has (no NaN, no bytes, no lone surrogates)"
            )


def is_json(value: object) -> bool:
    """Whether `value` can be written as JSON in UTF-8."""
    try:
        # What is ASCII can always be written, and knows that it is.
        short = replace_long_texts(value, lambda text: "" if text.isascii() else text)
        json.dumps(short, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def replace_long_texts(value: object, replace: Callable[[str], object]) -> object:
    """A copy of a JSON value with something else for each of its texts of more than `LONG_TEXT` characters."""
    if isinstance(value, str):
        return replace(value) if len(value) > LONG_TEXT else value
    if isinstance(value, dict):
        return {key: replace_long_texts(item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_long_texts(item, replace) for item in value]
    return value


def texts_in(value: object) -> Iterator[str]:
    """All texts of a JSON value, but for the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_in(item)


def check(instance: AttrsInstance, problems: Iterator[FieldProblem]) -> None:
    """Apply the rules in the metadata of the fields of `instance`, then add `problems`.

    Raises:
        InvalidSpec: with all that is wrong, not only the first.
    """
    found = [
        problem
        for field in fields(type(instance))
        if (rule := field.metadata.get("rule")) is not None
        for problem in rule(field.name, getattr(instance, field.name))
    ]
    found.extend(problems)
    if found:
        raise InvalidSpec(type(instance).__name__, found)
