"""Values as plain JSON and back: `to_dict` and `from_dict`.

The form has a field for each attribute, under the attribute's name but for a few, whose metadata have another. It is
stable: fields may be added in later versions, and are never renamed or removed. So unknown fields are ignored when a
value is restored, and a missing one has its default.

cattrs does the work, by one converter. It is imported on first use: most programs keep no values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar, get_args, get_origin

from attrs import fields, fields_dict, has

from .._redaction import redact, shorten
from . import TaskStatus

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["JSON", "JSON_NAME", "JSONForm", "as_json", "restore", "utc_text"]

JSON: TypeAlias = "str | int | float | bool | list[JSON] | dict[str, JSON] | None"
"""What `json.dumps` takes."""

T = TypeVar("T")

JSON_NAME: Final = "json_name"
"""The metadata of an attribute that has another name in the form."""


class JSONForm:
    """A frozen value that can be written as JSON and restored. The base of all results."""

    __slots__ = ()

    def to_dict(self) -> dict[str, JSON]:
        """Return the value as plain JSON, for `json.dumps`, an answer or a database.

        Moments are texts in ISO 8601 (UTC, with a Z), statuses their words, and unknown values null. What the service
        has sent is in it as it came, secrets included: show it to nobody who may not see what you sent.
        """
        form: dict[str, JSON] = _converter().unstructure(self)
        return form

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Self:
        """Return the value that `to_dict` has written, here or in another version.

        Args:
            data: the form. Fields that this version does not know are ignored.

        Raises:
            ValueError: a field is missing or wrong. The message names all of these, with what is allowed.
        """
        return restore(cls, data, cls.__name__)


def restore(kind: type[T], data: Mapping[str, object], name: str) -> T:
    """Return the value of an attrs class whose form is `data`.

    Args:
        kind: the class.
        data: the form.
        name: what an error calls it.

    Raises:
        ValueError: as `JSONForm.from_dict`.
    """
    from cattrs import BaseValidationError

    try:
        return _converter().structure(data, kind)
    except (BaseValidationError, _Wrong) as error:
        problems = "; ".join(_problems(error, "", kind))
    # Without the cause, whose frames hold the data, secrets included.
    raise ValueError(f"{name}: {problems}")


def utc_text(moment: datetime) -> str:
    """Return an aware moment in ISO 8601, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def as_json(value: object) -> JSON:
    """Return a copy of a value of the wire as plain JSON: numbers that JSON lacks become null."""
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


# --- the converter -----------------------------------------------------------------------------------


class _Wrong(ValueError):
    """A value is not what its field allows."""

    def __init__(self, value: object, allowed: str) -> None:
        super().__init__(allowed)
        self.value = value
        self.allowed = allowed


@cache
def _converter() -> Converter:
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

    converter = Converter()

    def overrides(kind: type[Any]) -> dict[str, Any]:
        # An attribute with an underscore belongs to a client, and stays in its process.
        return {
            item.name: override(rename=item.metadata.get(JSON_NAME), omit=item.name.startswith("_"))
            for item in fields(kind)
        }

    def writer(kind: type[Any]) -> Callable[[Any], dict[str, Any]]:
        return make_dict_unstructure_fn(kind, converter, **overrides(kind))

    def reader(kind: type[Any]) -> Callable[[Any, Any], Any]:
        read = make_dict_structure_fn(kind, converter, **overrides(kind))
        return lambda value, _: read(_checked(value, "an object", Mapping), kind)

    def read_object(value: object, kind: type[Any]) -> dict[str, Any]:
        item_type: Any = get_args(kind)[1]
        items = _checked(value, "an object", Mapping)
        return dict(items) if item_type is object else converter.structure(items, dict[str, item_type])

    def read_list(value: object, kind: type[Any]) -> tuple[object, ...]:
        item_type: Any = get_args(kind)[0]
        return tuple(converter.structure(_checked(value, "a list", list, tuple), list[item_type]))

    converter.register_unstructure_hook(datetime, utc_text)
    converter.register_unstructure_hook(TaskStatus, str)
    converter.register_unstructure_hook(bytes, bytes.hex)
    converter.register_unstructure_hook_func(lambda kind: kind == Mapping[str, object], as_json)
    converter.register_unstructure_hook_func(_is_list, lambda items: [converter.unstructure(item) for item in items])
    converter.register_unstructure_hook_factory(has, writer)

    converter.register_structure_hook(str, lambda value, _: _checked(value, "a text", str))
    converter.register_structure_hook(bool, lambda value, _: _checked(value, "true or false", bool))
    converter.register_structure_hook(int, lambda value, _: _checked(value, "a whole number", int))
    converter.register_structure_hook(float, lambda value, _: _checked(value, "a number", int, float))
    converter.register_structure_hook(datetime, lambda value, _: _moment(value))
    converter.register_structure_hook(TaskStatus, lambda value, _: TaskStatus(_checked(value, "a status", str)))
    converter.register_structure_hook(bytes, lambda value, _: _digest(value))
    converter.register_structure_hook_func(_is_mapping, read_object)
    converter.register_structure_hook_func(_is_list, read_list)
    converter.register_structure_hook_factory(has, reader)
    return converter


def _is_mapping(kind: object) -> bool:
    return get_origin(kind) is Mapping


def _is_list(kind: object) -> bool:
    return get_origin(kind) is tuple


def _checked(value: object, allowed: str, *kinds: type[Any]) -> Any:
    # JSON's true is no number, though Python's True is one.
    if isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds):
        return value
    raise _Wrong(value, allowed)


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(_checked(value, "", str))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _Wrong(value, "a moment in ISO 8601 with its offset, such as 2026-09-01T12:00:00Z")


def _digest(value: object) -> bytes:
    try:
        return bytes.fromhex(_checked(value, "", str))
    except ValueError:
        raise _Wrong(value, "a digest in hexadecimal digits") from None


def _problems(error: BaseException, place: str, kind: object) -> Iterator[str]:
    """Yield what is wrong in the data: the field, its value, and what is allowed.

    Args:
        error: what the converter has raised.
        place: where; empty for the data as a whole.
        kind: the type of what is there.
    """
    from cattrs import BaseValidationError, ClassValidationError

    if isinstance(error, BaseValidationError):
        for part in error.exceptions:
            note: Any = part.__notes__[-1]
            if isinstance(error, ClassValidationError):
                name = fields_dict(error.cl)[note.name].metadata.get(JSON_NAME, note.name)
                inner = f"{place}.{name}" if place else name
            else:
                inner = f"{place}[{note.index!r}]"
            yield from _problems(part, inner, note.type)
    elif isinstance(error, _Wrong):
        shown = shorten(repr(redact(error.value)), 80)
        null = " or null" if type(None) in get_args(kind) else ""
        yield f"{place or 'data'}={shown}: must be {error.allowed}{null}"
    else:
        yield f"{place} is missing"
