"""The rules for fields of specs: each finds what is wrong with a value, and describes what is allowed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

from attrs import AttrsInstance, fields

from .._redaction import hide_base64, redact, shorten
from ..errors import FieldProblem, InvalidSpec
from .image_input import IMAGE_FORMS, image_problem, is_web_url, show_image

__all__ = [
    "LONG_TEXT_CHARACTERS",
    "Rule",
    "boolean",
    "check_extra",
    "check_fields",
    "check_model_name",
    "image",
    "list_of",
    "one_of",
    "one_or_more",
    "optional",
    "replace_long_texts",
    "text",
    "texts_in",
    "web_url",
    "whole_number",
]


class Rule(NamedTuple):
    """What a field may be."""

    allowed: str
    """What is allowed, in words that follow "must be"."""
    problems: Callable[[str, object], Iterator[FieldProblem]]
    """Takes the name of a field and its value, and yields what is wrong with it."""


LONG_TEXT_CHARACTERS: Final = 64 * 1024
"""A longer text, mostly a data URI, is handled in pieces: in one step it would block the event loop for too long."""

MAX_VALUE_CHARACTERS: Final = 500
"""Characters of a wrong value that a message shows."""

MAX_PROBLEMS: Final = 12
"""Problems that an `InvalidSpec` reports: a list may be very long, and all of it wrong."""


# --- rules for single values -------------------------------------------------------------------------


def _text_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if not isinstance(value, str) or not value.strip():
        yield _problem(name, value, text.allowed)
    elif not _is_unicode(value):
        yield _problem(name, value, "a text without lone surrogates")


text: Final = Rule("a text that is not blank", _text_problems)
"""A string that is not blank and can be written as UTF-8."""


def _boolean_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if not isinstance(value, bool):
        yield _problem(name, value, boolean.allowed)


boolean: Final = Rule("True or False", _boolean_problems)


def _image_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if allowed := image_problem(value):
        yield FieldProblem(name, show_image(value), allowed)


image: Final = Rule(IMAGE_FORMS, _image_problems)
"""Something that can be an image."""


def _web_url_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if not isinstance(value, str) or not is_web_url(value):
        yield FieldProblem(name, show_image(value), web_url.allowed)


web_url: Final = Rule(
    "a public http(s) URL (the service fetches videos and sounds, and takes no data)", _web_url_problems
)
"""The address of a video or of a sound."""


def one_of(*values: str | int, unit: str = "") -> Rule:
    """Return the rule for one of `values`, of the same type: `"8"` and `True` are not 8 and 1."""
    listed = " or ".join(map(repr, values))
    allowed = f"{listed} ({unit})" if unit else listed

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if not any(type(value) is type(item) and value == item for item in values):
            yield _problem(name, value, allowed)

    return Rule(allowed, problems)


def whole_number(least: int, most: int, *, unit: str) -> Rule:
    """Return the rule for an int from `least` to `most`."""
    allowed = f"a whole number from {least} to {most} ({unit})"

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield _problem(name, value, allowed)

    return Rule(allowed, problems)


# --- rules made of others ----------------------------------------------------------------------------


def optional(rule: Rule) -> Rule:
    """Return the rule that also allows None."""
    allowed = f"{rule.allowed}, or None"

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if value is not None:
            for found in rule.problems(name, value):
                # An item of a list cannot be None.
                is_item = found.field != name
                yield found if is_item else FieldProblem(name, found.value, f"{found.allowed}, or None")

    return Rule(allowed, problems)


def list_of(rule: Rule, *, at_most: int, of: str, at_least: int = 1) -> Rule:
    """Return the rule for a tuple of `at_least` to `at_most` values.

    Args:
        rule: the rule for one value, whose index is reported with the name of the field.
        at_most: the greatest length.
        of: what the values are called.
        at_least: the least length.
    """
    allowed = f"a list of {at_least} to {at_most} {of}" if at_least else f"a list of at most {at_most} {of}"

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if not isinstance(value, tuple):
            yield _problem(name, value, allowed)
            return
        if not at_least <= len(value) <= at_most:
            yield FieldProblem(name, f"<{len(value)} {of}>", allowed)
        for index, item in enumerate(value[:at_most]):
            yield from rule.problems(f"{name}[{index}]", item)

    return Rule(allowed, problems)


def one_or_more(rule: Rule) -> Rule:
    """Return the rule that also allows a tuple of such values that is not empty."""
    or_list = "; or a list of these that is not empty"
    allowed = rule.allowed + or_list

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if not isinstance(value, tuple):
            for found in rule.problems(name, value):
                yield FieldProblem(found.field, found.value, found.allowed + or_list)
        elif not value:
            yield FieldProblem(name, "<an empty list>", allowed)
        else:
            for index, item in enumerate(value):
                yield from rule.problems(f"{name}[{index}]", item)

    return Rule(allowed, problems)


# --- whole specs -------------------------------------------------------------------------------------


def check_fields(instance: AttrsInstance, more: Iterator[FieldProblem]) -> None:
    """Apply the rules in the metadata of the fields of `instance`, and add the problems in `more`.

    Raises:
        InvalidSpec: with all that is wrong, up to `MAX_PROBLEMS`.
    """
    by_field = (
        rule.problems(field.name, getattr(instance, field.name))
        for field in fields(type(instance))
        if isinstance(rule := field.metadata.get("rule"), Rule)
    )
    found = list(islice(chain(chain.from_iterable(by_field), more), MAX_PROBLEMS))
    if found:
        raise InvalidSpec(type(instance).__name__, found)


def check_model_name(name: str, value: object) -> Iterator[FieldProblem]:
    """Yield why a value cannot be a model's name, which is a segment of a path: quoting does not save `.` and `..`."""
    yield from text.problems(name, value)
    if isinstance(value, str) and value in {".", ".."}:
        yield _problem(name, value, "the name of a model")


def check_extra(name: str, value: object, *, taken: Sequence[str]) -> Iterator[FieldProblem]:
    """Yield what is wrong with a mapping of further wire fields to JSON values.

    Args:
        name: the name of the field that holds the mapping.
        value: the mapping.
        taken: the wire names that the spec sets itself.
    """
    if not isinstance(value, Mapping):
        yield _problem(name, value, "a mapping of wire names to JSON values")
        return
    for key, item in value.items():
        if not isinstance(key, str) or not key or not _is_unicode(key):
            yield _problem(name, key, "a mapping whose keys are wire names")
        elif key in taken:
            yield _problem(f"{name}[{redact(key)!r}]", item, "a wire field that the spec does not set itself")
        elif not _is_json(item):
            allowed = "a value that JSON has (no NaN, no bytes, no lone surrogates)"
            yield _problem(f"{name}[{redact(key)!r}]", item, allowed)


def _problem(name: str, value: object, allowed: str) -> FieldProblem:
    # The value may be an image that has lost its head.
    return FieldProblem(name, shorten(hide_base64(repr(redact(value))), MAX_VALUE_CHARACTERS), allowed)


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_json(value: object) -> bool:
    """Return whether `value` can be written as JSON in UTF-8."""
    try:
        # ASCII can always be written, and a string knows that it is ASCII: a long one need not be encoded to find out.
        short = replace_long_texts(value, lambda text: "" if text.isascii() else text)
        json.dumps(short, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True


# --- texts in JSON values ----------------------------------------------------------------------------


def replace_long_texts(value: object, replace: Callable[[str], object]) -> object:
    """Return a copy of a JSON value with `replace(text)` for each text of more than `LONG_TEXT_CHARACTERS`."""
    if isinstance(value, str):
        return replace(value) if len(value) > LONG_TEXT_CHARACTERS else value
    if isinstance(value, dict):
        return {key: replace_long_texts(item, replace) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_long_texts(item, replace) for item in value]
    return value


def texts_in(value: object) -> Iterator[str]:
    """Yield all texts of a JSON value, without the names of its fields."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_in(item)
