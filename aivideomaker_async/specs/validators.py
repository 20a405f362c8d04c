"""The rules that fields of specs are checked by: each tells what is wrong with a value, and what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Final

from attrs import AttrsInstance, fields, frozen

from .._redaction import hide_base64, redact, shorten
from ..errors import FieldProblem, InvalidSpec
from .image_input import IMAGE_FORMS, image_problem, is_web_url, show_image

__all__ = [
    "LONG_TEXT",
    "Rule",
    "check",
    "extra_fields",
    "flag",
    "image",
    "images",
    "model_name",
    "one_of",
    "one_or_more",
    "optional",
    "replace_long_texts",
    "several",
    "text",
    "texts_in",
    "web_url",
    "whole",
]


@frozen
class Rule:
    """What a field may be."""

    allowed: str
    """The same in words, as the rest of "must be"."""
    problems: Callable[[str, object], Iterator[FieldProblem]]
    """Takes the name of a field and its value, and gives what is wrong with it."""


LONG_TEXT: Final = 64 * 1024
"""Characters. What works on more of them at once lets nothing else run for too long: they are data URIs, mostly."""

_TEXT: Final = "a text that is not blank"
_LONGEST_VALUE: Final = 500
"""Characters of a wrong value that a message shows."""
_MOST_PROBLEMS: Final = 12
"""What is wrong with a spec is told up to here: a list may be very long, and all of it wrong."""


def _problem(name: str, value: object, allowed: str) -> FieldProblem:
    # What stands in the wrong field may be an image that has lost its head.
    return FieldProblem(name, shorten(hide_base64(repr(redact(value))), _LONGEST_VALUE), allowed)


def optional(rule: Rule) -> Rule:
    """As `rule`, or None."""
    allowed = f"{rule.allowed}, or None"

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if value is not None:
            for found in rule.problems(name, value):
                # The values of a list are none of the field's own.
                words = f"{found.allowed}, or None" if found.field == name else found.allowed
                yield FieldProblem(found.field, found.value, words)

    return Rule(allowed, problems)


def _text_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if not isinstance(value, str) or not value.strip():
        yield _problem(name, value, _TEXT)
    elif not _is_unicode(value):
        yield _problem(name, value, "a text without lone surrogates")


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


text: Final = Rule(_TEXT, _text_problems)
"""A string that is not blank and can be written as UTF-8."""


def model_name(name: str, value: object) -> Iterator[FieldProblem]:
    """A text that can be a segment of a path: `.` and `..` are steps in it, quoted or not."""
    yield from text.problems(name, value)
    if isinstance(value, str) and value in {".", ".."}:
        yield _problem(name, value, "the name of a model")


def several(each: Rule, *, at_most: int, of: str, at_least: int = 1) -> Rule:
    """A tuple of `at_least` to `at_most` values that are as `each` wants them.

    Args:
        each: the rule for one of them, whose place is told with the name of the field.
        at_most: how many.
        of: what they are called.
        at_least: how many.
    """
    allowed = f"a list of {at_least} to {at_most} {of}" if at_least else f"a list of at most {at_most} {of}"

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if not isinstance(value, tuple):
            yield _problem(name, value, allowed)
            return
        if not at_least <= len(value) <= at_most:
            yield FieldProblem(name, f"<{len(value)} {of}>", allowed)
        for index, item in enumerate(value[:at_most]):
            yield from each.problems(f"{name}[{index}]", item)

    return Rule(allowed, problems)


def one_of(*allowed: str | int, unit: str = "") -> Rule:
    """One of the given values, of the same type: `"8"` and `True` are not 8 and 1."""
    listed = " or ".join(map(repr, allowed))
    listed = f"{listed} ({unit})" if unit else listed

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if not any(type(value) is type(item) and value == item for item in allowed):
            yield _problem(name, value, listed)

    return Rule(listed, problems)


def whole(least: int, most: int, *, unit: str) -> Rule:
    """A whole number from `least` to `most`."""
    allowed = f"a whole number from {least} to {most} ({unit})"

    def problems(name: str, value: object) -> Iterator[FieldProblem]:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield _problem(name, value, allowed)

    return Rule(allowed, problems)


def _flag_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if not isinstance(value, bool):
        yield _problem(name, value, flag.allowed)


flag: Final = Rule("True or False", _flag_problems)


def _image_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if allowed := image_problem(value):
        yield FieldProblem(name, show_image(value), allowed)


image: Final = Rule(IMAGE_FORMS, _image_problems)
"""Something that can be an image."""


def images(*, at_most: int) -> Rule:
    """A tuple of images, or none."""
    return several(image, at_most=at_most, of="images", at_least=0)


def one_or_more(rule: Rule) -> Rule:
    """As `rule`, or a tuple of such values that is not empty."""
    or_list = "; or a list of such that is not empty"
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


def _web_url_problems(name: str, value: object) -> Iterator[FieldProblem]:
    if not isinstance(value, str) or not is_web_url(value):
        yield FieldProblem(name, show_image(value), web_url.allowed)


web_url: Final = Rule(
    "a public http(s) URL (the service fetches videos and sounds, and takes no data)", _web_url_problems
)
"""The address of a video or of a sound."""


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
        InvalidSpec: with all that is wrong, not only the first; of very much, with the first of it.
    """
    by_field = (
        rule.problems(field.name, getattr(instance, field.name))
        for field in fields(type(instance))
        if isinstance(rule := field.metadata.get("rule"), Rule)
    )
    found = list(islice(chain(chain.from_iterable(by_field), problems), _MOST_PROBLEMS))
    if found:
        raise InvalidSpec(type(instance).__name__, found)
