"""The fields of spec classes as options of a command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from cyclopts import Parameter

from ..specs import IMAGE_FORMS, Rule, VideoSpec, show_image
from .exits import UsageError
from .options import whole_number

__all__ = ["Option", "help_of", "on_command_line", "options_of"]

_LISTS: Final = (list, tuple, Sequence, Iterable)
_PYTHON_IMAGE: Final = re.compile(
    r"an http\(s\) URL, a data URI, bytes, a path or an open binary file".replace(" ", r"\s+")
)
_PATH: Final = re.compile(r"\b(?:Posix|Windows)Path\(('[^']*'|\"[^\"]*\")\)")
_OR_NONE: Final = re.compile(r",\s+or\s+None")
_IMAGE: Final = "an http(s) URL, a data URI or the name of a file"


@attrs.frozen
class Option:
    """How a field of a spec is given on a command line."""

    name: str
    """The field."""
    kind: type
    many: bool
    """Whether it may be given several times."""
    alone: bool
    """Whether one value is no list."""
    image: bool
    metavar: str | None
    default: object
    allowed: str
    """What it may be, in words."""

    @classmethod
    def of(cls, attribute: attrs.Attribute[Any], hint: object) -> Option:
        """The option for a field."""
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
        """What it is called; the first is the usual one."""
        flag = f"--{self.name.replace('_', '-')}"
        # One value a time reads better in the singular: --prompt A --prompt B.
        return (flag.removesuffix("s"), flag) if self.many and flag.endswith("s") else (flag,)

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    def parameter(self) -> inspect.Parameter:
        """The parameter that cyclopts reads."""
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
            # Where pydantic is loaded, for whatever reason, cyclopts lets it check the defaults.
            kind = kind | None
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=self.default, annotation=Annotated[kind, settings]
        )

    def value(self, given: Any) -> object:  # noqa: ANN401  (what cyclopts made of the text)
        """The value for the spec."""
        if self.many:
            values = [self._one(one) for one in given]
            return values[0] if self.alone and len(values) == 1 else values
        return self._one(given)

    def _one(self, given: object) -> object:
        if self.metavar is not None and isinstance(given, str) and given.isascii() and given.isdigit():
            # --resolution 720, as some say it. Whether it is one of the choices is the spec's to say.
            return int(given)
        return _image(self.flags[0], str(given)) if self.image else given


def options_of(spec: type[VideoSpec]) -> list[Option]:
    """The options for the fields of `spec`, but for `extra`."""
    hints = get_type_hints(spec)
    return [Option.of(item, hints[item.name]) for item in attrs.fields(spec) if item.name != "extra"]


def help_of(spec: type[VideoSpec]) -> str:
    """The docstring of `spec`, as it holds on a command line."""
    text = _PYTHON_IMAGE.sub(_IMAGE, inspect.getdoc(spec) or "")
    return _OR_NONE.sub("", text).replace("`", "")


def on_command_line(text: str) -> str:
    """What the package says of a wrong spec, in the words of who types it."""
    text = text.replace(f"{IMAGE_FORMS} (a file name goes into pathlib.Path)", _IMAGE).replace(IMAGE_FORMS, _IMAGE)
    text = text.replace("AIVideoMaker(max_image_size=...) changes that", "a program can set another limit")
    return _PATH.sub(r"\1", text)


def _members(hint: object) -> tuple[object, ...]:
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return tuple(member for member in members if member is not NoneType)


def _default(attribute: attrs.Attribute[Any]) -> object:
    if attribute.default is attrs.NOTHING:
        return inspect.Parameter.empty
    # Defaults stand in the help; where one cannot be shown, None says that the option may be left out.
    return attribute.default if isinstance(attribute.default, str | int | float) else None


def _allowed(attribute: attrs.Attribute[Any]) -> str:
    rule = attribute.metadata.get("rule")
    if not isinstance(rule, Rule):
        return ""
    return _OR_NONE.sub("", rule.allowed.replace(IMAGE_FORMS, _IMAGE)).replace("'", "")


def _image(flag: str, text: str) -> str | Path:
    if text.lstrip()[:8].lower().startswith(("http://", "https://", "data:")):
        return text
    path = Path(text)
    shown = show_image(path)
    if shown != repr(path) and not _exists(path):
        # An image in Base64, or another address, that was taken for the name of a file: it goes no further.
        raise UsageError(f"{flag} {shown}: must be {_IMAGE}, and there is no such file")
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
