"""The fields of the spec classes as options of a command line, and the specs' texts in its terms."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from cyclopts import Parameter

from .._util.paths import expanded
from ..specs import IMAGE_FORMS, Rule, VideoSpec, show_image
from .exit_codes import UsageError
from .options import whole_number

__all__ = ["SpecOption", "help_of", "in_command_line_terms", "options_of"]

_LISTS: Final = (list, tuple, Sequence, Iterable)
_PYTHON_IMAGE: Final = re.compile(
    r"an http\(s\) URL, a data URI, bytes, a path or an open binary file".replace(" ", r"\s+")
)
_PATH: Final = re.compile(r"\b(?:Posix|Windows)Path\(('[^']*'|\"[^\"]*\")\)")
_OR_NONE: Final = re.compile(r",\s+or\s+None")
_IMAGE_HELP: Final = "an http(s) URL, a data URI or the name of a file"


@attrs.frozen
class SpecOption:
    """The command line option for a field of a spec."""

    name: str
    """The name of the field."""
    kind: type
    many: bool
    """Whether it may be passed several times."""
    alone: bool
    """Whether a single value is passed to the spec as it is, not as a list of one."""
    image: bool
    metavar: str | None
    default: object
    allowed: str
    """The allowed values, in words."""

    @classmethod
    def of(cls, attribute: attrs.Attribute[Any], hint: object) -> SpecOption:
        """Return the option for a field."""
        lists = [member for member in _members(hint) if get_origin(member) in _LISTS]
        leaf = get_args(lists[0])[0] if lists else hint
        members = _members(leaf)
        choices = [value for member in members if get_origin(member) is Literal for value in get_args(member)]
        kinds: set[object] = {type(value) for value in choices} or set(members)
        return cls(
            name=attribute.name,
            kind=next((kind for kind in (bool, int, float) if kind in kinds), str),
            many=bool(lists),
            alone=bool(lists) and set(members) <= set(_members(hint)),
            image=bytes in members,
            metavar="|".join(map(str, choices)) or None,
            default=_default(attribute),
            allowed=_allowed(attribute),
        )

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of the option. Help and messages have the first."""
        flag = f"--{self.name.replace('_', '-')}"
        # One value at a time reads better in the singular: --prompt A --prompt B.
        return (flag.removesuffix("s"), flag) if self.many and flag.endswith("s") else (flag,)

    @property
    def required(self) -> bool:
        """Whether the field has no default."""
        return self.default is inspect.Parameter.empty

    def parameter(self) -> inspect.Parameter:
        """Return the parameter from which cyclopts makes the option."""
        settings = Parameter(
            name=self.flags,
            metavar=self.metavar,
            negative=() if self.many else None,
            consume_multiple=self.many,
            show_default=self.default is not None,
            converter=whole_number if self.kind is int and not self.many else None,
        )
        kind: Any = list[self.kind] if self.many else self.kind  # type: ignore[name-defined]
        if self.default is None:
            # If pydantic is installed, cyclopts validates defaults with it, and None would not be allowed.
            kind = kind | None
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=Annotated[kind, settings]
        )

    def value(self, given: Any) -> object:  # noqa: ANN401  (the value that cyclopts has parsed)
        """Return the value for the spec."""
        if self.many:
            values = [self._one(one) for one in given]
            return values[0] if self.alone and len(values) == 1 else values
        return self._one(given)

    def _one(self, given: object) -> object:
        if self.metavar is not None and isinstance(given, str) and given.isascii() and given.isdigit():
            # --resolution 720 in place of 720p. The spec checks whether it is allowed.
            return int(given)
        return _image(self.flags[0], str(given)) if self.image else given


def options_of(spec: type[VideoSpec]) -> list[SpecOption]:
    """Return the options for the fields of `spec`, without `extra`."""
    hints = get_type_hints(spec)
    return [SpecOption.of(item, hints[item.name]) for item in attrs.fields(spec) if item.name != "extra"]


def help_of(spec: type[VideoSpec]) -> str:
    """Return the docstring of `spec` in the terms of a command line."""
    text = _PYTHON_IMAGE.sub(_IMAGE_HELP, inspect.getdoc(spec) or "")
    return _OR_NONE.sub("", text).replace("`", "")


def in_command_line_terms(text: str) -> str:
    """Return the message of a wrong spec in the terms of a command line."""
    text = text.replace(f"{IMAGE_FORMS} (a file name goes into pathlib.Path)", _IMAGE_HELP).replace(
        IMAGE_FORMS, _IMAGE_HELP
    )
    text = text.replace("AIVideoMaker(max_image_size=...) changes that", "a program can set another limit")
    return _PATH.sub(r"\1", text)


def _members(hint: object) -> tuple[object, ...]:
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return tuple(member for member in members if member is not NoneType)


def _default(attribute: attrs.Attribute[Any]) -> object:
    if attribute.default is attrs.NOTHING:
        return inspect.Parameter.empty
    # Defaults are shown in the help. A default that cannot be shown becomes None, which makes the option optional.
    return attribute.default if isinstance(attribute.default, str | int | float) else None


def _allowed(attribute: attrs.Attribute[Any]) -> str:
    rule = attribute.metadata.get("rule")
    if not isinstance(rule, Rule):
        return ""
    return _OR_NONE.sub("", rule.allowed.replace(IMAGE_FORMS, _IMAGE_HELP)).replace("'", "")


def _image(flag: str, text: str) -> str | Path:
    if text.lstrip()[:8].lower().startswith(("http://", "https://", "data:")):
        return text
    path = expanded(text)
    shown = show_image(path)
    if shown != repr(path) and not _exists(path):
        # An image in Base64 or an address of another kind, taken for a file name: it must not reach messages and logs.
        raise UsageError(f"{flag} {shown}: must be {_IMAGE_HELP}, and there is no such file")
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
