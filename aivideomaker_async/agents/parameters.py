"""The fields of the specs as the arguments of a tool, and back. Pure but for the names of image files.

Models send what they were shown, more or less: whole numbers as texts or as floats, an empty text for what they leave
out. Some frameworks check arguments against the schema, and tell the model nothing of use when one is wrong. So the
arguments are flat and plain (texts, numbers, yes or no), the rules are shown and not enforced, and the specs answer.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin, get_type_hints

from attrs import Attribute, field, fields, frozen

from .._redaction import redact, shorten
from ..errors import FieldProblem, InvalidSpec
from ..specs import IMAGE_FORMS, SPECS, VideoSpec, show_image

__all__ = ["ORDER", "Parameter", "common_parameters", "model_parameters", "spec_from"]

Plain: TypeAlias = type[str] | type[int] | type[bool]

MOST_SHOWN_CHARS: Final = 200

IMAGE_WORDS: Final = "an http(s) URL, a data URI, or the name of a file in the folder for images"


@frozen(kw_only=True)
class Parameter:
    """One argument of a tool."""

    name: str
    kind: Plain
    text: str
    """What it means, in one line."""
    default: str | int | bool | None = None
    """None when it must be given."""
    schema: Mapping[str, object] = field(factory=dict[str, object])
    """What JSON Schema says of it: shown, not enforced."""

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is None


ORDER: Final = Parameter(
    name="order",
    kind=str,
    text="A name of your own for this order, 4 to 100 characters, such as fox-in-snow-1. The same order never buys "
    "twice: after a time-out, call again with the same one. Use a new one only for another video.",
    schema={"minLength": 4, "maxLength": 100},
)


# --- what is shown -----------------------------------------------------------------------------------


def model_parameters(model: str) -> list[Parameter]:
    """Return the arguments of a tool for one model: the fields of its spec class."""
    spec = SPECS[model]
    texts, (hints, known) = _texts_of(spec), _fields_of(spec)
    return [_parameter(item, hints[name], texts.get(name, "")) for name, item in known.items()]


def common_parameters(models: Sequence[str]) -> list[Parameter]:
    """Return the arguments of one tool for several models: the fields of all their spec classes, all optional."""
    by_name: dict[str, dict[str, Parameter]] = {}
    for model in models:
        for one in model_parameters(model):
            by_name.setdefault(one.name, {})[model] = one
    chosen = Parameter(
        name="model",
        kind=str,
        text=f"Which model makes the video: {'; '.join(f'{model} ({_summary(model)})' for model in models)}.",
        schema={"enum": list(models)},
    )
    return [chosen, *(_merged(name, given, models) for name, given in by_name.items())]


def _parameter(item: Attribute[Any], hint: object, text: str) -> Parameter:
    members = [member for member in get_args(hint) or (hint,) if member is not NoneType]
    choices = list(get_args(hint)) if get_origin(hint) is Literal else []
    is_list = any(get_origin(member) is tuple for member in (hint, *members))
    kind = type(choices[0]) if choices else bool if hint is bool else int if hint is int else str
    words = text.replace("`", "").replace(_PYTHON_IMAGE, IMAGE_WORDS).replace(", or None", "").strip().rstrip(".")
    if is_list:
        words += "; several are given one a line"
    default = item.default if isinstance(item.default, str | int | bool) else ""
    return Parameter(
        name=item.name,
        kind=kind,
        text=words[:1].upper() + words[1:] + ".",
        default=None if _is_required(item) else default,
        schema={"enum": choices} if choices else {},
    )


def _merged(name: str, given: Mapping[str, Parameter], models: Sequence[str]) -> Parameter:
    """Return one argument for a field that models have under the same name, each with its own rule."""
    by_text: dict[str, list[str]] = {}
    for model, one in given.items():
        need = "required" if one.is_required else "" if one.default in ("", False) else f"by default {one.default}"
        by_text.setdefault(one.text.rstrip(".") + (f" ({need})" if need else ""), []).append(model)
    if len(by_text) == 1 and len(given) == len(models):
        text = f"{next(iter(by_text))}."
    else:
        text = " ".join(f"{', '.join(names)}: {words}." for words, names in by_text.items())
    kind = next(iter(given.values())).kind
    choices = list(dict.fromkeys(one for each in given.values() for one in _enum(each)))
    is_enumerated = all(_enum(each) for each in given.values())
    # An empty value stands for "left out", and a schema that forbids it would make models invent one.
    empty: str | int | bool = "" if kind is str else kind(0)
    enum: dict[str, object] = {"enum": [*choices, empty]} if is_enumerated else {}
    return Parameter(name=name, kind=kind, text=text, default=empty, schema=enum)


def _enum(parameter: Parameter) -> list[Any]:
    found = parameter.schema.get("enum", [])
    return found if isinstance(found, list) else []


_PYTHON_IMAGE: Final = "an http(s) URL, a data URI, bytes, a path or an open binary file"
_ARGUMENT: Final = re.compile(r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", re.MULTILINE | re.DOTALL)


def _texts_of(spec: type[VideoSpec]) -> dict[str, str]:
    """Return what the docstring of a spec class says of each field, on one line."""
    _, _, arguments = (inspect.getdoc(spec) or "").partition("Args:\n")
    return {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(arguments)}


def _summary(model: str) -> str:
    """Return the first line of the docstring of a spec class, without the model's name."""
    first = (inspect.getdoc(SPECS[model]) or "").partition("\n")[0]
    return re.sub(r" \(`.*?`\)\.$", "", first).lower()


@cache
def _fields_of(spec: type[VideoSpec]) -> tuple[Mapping[str, object], Mapping[str, Attribute[Any]]]:
    """Return the types of the fields of a spec class, and the fields that a model may fill, by their names."""
    return get_type_hints(spec), {item.name: item for item in fields(spec) if item.name != "extra"}


def _is_required(item: Attribute[Any]) -> bool:
    from attrs import NOTHING

    return item.default is NOTHING


# --- what is given -----------------------------------------------------------------------------------


def spec_from(model: object, given: Mapping[str, object], images: Path | None, models: Iterable[str]) -> VideoSpec:
    """Return the spec that a model has asked for.

    Args:
        model: the name of the model.
        given: the arguments by their names. An empty text, 0 and None stand for what is left out.
        images: the folder that image files may come from; None for none.
        models: the models that may be chosen.

    Raises:
        InvalidSpec: something is wrong. All of it is named, with what is allowed.
    """
    allowed = list(models)
    if not isinstance(model, str) or model not in allowed:
        raise InvalidSpec("VideoTools", [FieldProblem("model", _shown(model), f"one of {', '.join(allowed)}")])
    spec = SPECS[model]
    hints, known = _fields_of(spec)
    values: dict[str, Any] = {name: None for name, item in known.items() if _is_required(item)}
    problems: list[FieldProblem] = []
    for name, value in given.items():
        if _is_left_out(value):
            continue
        if name not in known:
            problems.append(FieldProblem(name, _shown(value), f"left out: {model} has no such field"))
            continue
        try:
            values[name] = _converted(known[name], hints[name], value, images)
        except _NoImage as error:
            problems.append(FieldProblem(name, show_image(value), str(error)))
            # The other fields are checked all the same.
            values[name] = _SOME_IMAGE
    try:
        found = spec(**values)
        if not problems:
            return found
    except InvalidSpec as error:
        problems.extend(error.problems)
    raise InvalidSpec(spec.__name__, [_in_words(problem) for problem in problems])


_SOME_IMAGE: Final = "https://example.com/image.png"


class _NoImage(ValueError):
    """A text that is no image of the caller's; the message says what is allowed."""


def _is_left_out(value: object) -> bool:
    return value is None or value is False or (isinstance(value, str) and not value.strip()) or value in (0, [], ())


def _converted(item: Attribute[Any], hint: object, value: object, images: Path | None) -> object:
    members = get_args(hint) or (hint,)
    has_numbers = hint is int or (get_origin(hint) is Literal and isinstance(members[0], int))
    if has_numbers or (item.name == "resolution" and not isinstance(value, str)):
        return _number(value)
    if hint is bool:
        return {"true": True, "false": False}.get(value.strip().lower(), value) if isinstance(value, str) else value
    is_list = any(get_origin(member) is tuple for member in (hint, *members))
    are_images = bool(item.metadata.get("images"))
    if is_list:
        parts = value.splitlines() if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            return value
        listed = [part.strip() if isinstance(part, str) else part for part in parts]
        found = [_image(part, images) if are_images else part for part in listed if part != ""]
        # A field that also takes one value alone gets it alone.
        return found[0] if len(found) == 1 and get_origin(hint) is not tuple else found
    return _image(value, images) if are_images else value


def _number(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,9}(?:\.0+)?\s*", value):
        return int(float(value))
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _image(value: object, folder: Path | None) -> object:
    """Return an image for a spec: an address as it is, or the path of a file in the folder."""
    if not isinstance(value, str):
        raise _NoImage(IMAGE_WORDS)
    text = value.strip()
    if text[:8].lower().startswith(("http://", "https://", "data:")):
        return text
    if folder is None:
        raise _NoImage("an http(s) URL or a data URI (this program has no folder for images)")
    try:
        root = folder.resolve(strict=True)
        # Links are followed before it is asked where the file is.
        path = (root / text).resolve(strict=True)
        if path.is_relative_to(root) and path.is_file():
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise _NoImage(f"{IMAGE_WORDS}; there is no such file in it")


def _in_words(problem: FieldProblem) -> FieldProblem:
    """Return a problem in the terms of a tool: there are no Python objects."""
    words = problem.allowed.replace(f"{IMAGE_FORMS} (a file name goes into pathlib.Path)", IMAGE_WORDS)
    words = words.replace(IMAGE_FORMS, IMAGE_WORDS).replace(", or None", "")
    value = "<left out>" if problem.value in {"None", "<NoneType>"} else problem.value
    return FieldProblem(problem.field, value, words)


def _shown(value: object) -> str:
    return shorten(repr(redact(value)), MOST_SHOWN_CHARS)
