"""The spec classes as command-line arguments: one subcommand of `generate` for each model.

The fields, their types, defaults and descriptions are read from the classes in `specs.SPECS`, so a model that is added
there has its subcommand. Values are checked by the specs alone, so their messages are the same here as in Python.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import attrs
from cyclopts import App, Parameter

from ..images import show_image
from ..specs import SPECS, VideoSpec
from .commands import generate
from .context import Ctx, Job
from .exits import UsageError
from .options import Overwrite, SaveTo, Timeout

__all__ = ["generate_commands"]

_LISTS: Final = (list, tuple, Sequence, Iterable)
_PYTHON_IMAGE: Final = "an http(s) URL, a data URI, bytes, a path or an open binary file"
_IMAGE: Final = "an http(s) URL, a data URI or the name of a file"


@attrs.frozen
class _Option:
    """How a field of a spec is given on a command line."""

    name: str
    kind: type
    many: bool
    image: bool
    metavar: str | None
    default: object

    @classmethod
    def of(cls, attribute: attrs.Attribute[Any], hint: object) -> _Option:
        leaf, many = hint, False
        for member in _members(hint):
            if get_origin(member) in _LISTS:
                leaf, many = get_args(member)[0], True
        members = _members(leaf)
        choices = [value for member in members if get_origin(member) is Literal for value in get_args(member)]
        kinds: set[object] = {type(value) for value in choices} or set(members)
        return cls(
            name=attribute.name,
            kind=next((kind for kind in (bool, int, float) if kind in kinds), str),
            many=many,
            image=bytes in members,
            metavar="|".join(map(str, choices)) or None,
            default=_default(attribute),
        )

    def parameter(self) -> inspect.Parameter:
        """The parameter that cyclopts reads."""
        name = f"--{self.name.replace('_', '-')}"
        # One value a time reads better in the singular: --prompt A --prompt B.
        names = (name.removesuffix("s"), name) if self.many and name.endswith("s") else (name,)
        settings = Parameter(
            name=names,
            metavar=self.metavar,
            negative=() if self.many else None,
            consume_multiple=self.many,
            show_default=self.default is not None,
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
        if not self.image:
            return given
        return [_image(self.name, one) for one in given] if self.many else _image(self.name, given)


def _members(hint: object) -> tuple[object, ...]:
    members = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return tuple(member for member in members if member is not NoneType)


def _default(attribute: attrs.Attribute[Any]) -> object:
    if attribute.default is attrs.NOTHING:
        return inspect.Parameter.empty
    # Defaults stand in the help; where one cannot be shown, None says that the option may be left out.
    return attribute.default if isinstance(attribute.default, str | int | float) else None


def _image(name: str, text: str) -> str | Path:
    if text.lstrip()[:8].lower().startswith(("http://", "https://", "data:")):
        return text
    path = Path(text)
    shown = show_image(path)
    if shown != repr(path) and not _exists(path):
        # An image in Base64, or another address, that was taken for the name of a file: it goes no further.
        raise UsageError(f"--{name.replace('_', '-')} {shown}: must be {_IMAGE}, and there is no such file")
    return path


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def generate_commands() -> App:
    """The command `generate`, with a subcommand for each model."""
    app = App(name="generate", help="Generate a video and wait for it.")
    for model, spec in SPECS.items():
        app.command(_command(spec), name=model)
    return app


def _command(spec: type[VideoSpec]) -> Callable[..., Job]:
    hints = get_type_hints(spec)
    options = [_Option.of(item, hints[item.name]) for item in attrs.fields(spec) if item.name != "extra"]

    def command(
        *,
        output: SaveTo = None,
        overwrite: Overwrite = False,
        timeout: Timeout = None,
        extra: Annotated[
            list[str] | None,
            Parameter(negative=(), metavar="KEY=JSON", help="a further field of the request, under its wire name."),
        ] = None,
        context: Ctx,
        **given: Any,  # noqa: ANN401  (the fields of the spec)
    ) -> Job:
        # What was not given is the spec's own business: it has the default, or says that it is required.
        values = {one.name: one.value(given[one.name]) for one in options if given.get(one.name) is not None}
        made = spec(**values, extra=_extra(extra or ()))
        return generate(context, made, timeout=timeout, path=output, overwrite=overwrite)

    own = [item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != "given"]
    parameters = [*(option.parameter() for option in options), *own]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    command.__doc__ = _help(spec)
    return command


def _help(spec: type[VideoSpec]) -> str:
    text = inspect.getdoc(spec) or ""
    for of_python, here in ((_PYTHON_IMAGE, _IMAGE), (", or None", ""), ("`", "")):
        text = text.replace(of_python, here)
    return text


def _extra(pairs: Sequence[str]) -> dict[str, object]:
    return dict(map(_pair, pairs))


def _pair(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"--extra {text}: must be KEY=JSON")
    try:
        return key, json.loads(value)
    except (ValueError, RecursionError):
        quoted = json.dumps(value)
        raise UsageError(
            f"--extra {text}: {value!r} is not JSON; a text needs quotes: --extra '{key}={quoted}'"
        ) from None
