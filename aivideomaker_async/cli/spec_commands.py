"""The subcommands of `generate` and `quote`: one for each model, with an option for each field of its spec class.

The fields, their types, defaults and descriptions are read from the classes in `specs.SPECS`, so a model that is added
there has its subcommands. Values are validated by the specs alone, so the messages are the same here as in Python.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter
from cyclopts.validators import Number

from ..specs import SPECS, VideoSpec
from .context import InjectedContext, Job
from .exit_codes import UsageError
from .generate_command import PaymentOptions, generate
from .options import AllowPrivate, Overwrite, SaveTo, Timeout, whole_number
from .prices import quote
from .spec_options import help_of, options_of
from .task_workflow import WaitOptions

__all__ = ["generate_commands", "quote_commands"]

_Extra: TypeAlias = Annotated[
    list[str] | None,
    Parameter(negative=(), metavar="KEY=JSON", help="a further field of the request, under its wire name."),
]

_Yes: TypeAlias = Annotated[
    bool,
    Parameter(
        name=("--yes", "-y"),
        negative=(),
        show_default=False,
        help="do not ask for confirmation of the price. Without a terminal, nothing is asked.",
    ),
]

_MaxCredits: TypeAlias = Annotated[
    int | None,
    Parameter(
        metavar="CREDITS",
        converter=whole_number,
        validator=Number(gte=0),
        help="send nothing if it costs more than this, or if the price is not known.",
    ),
]


def generate_commands() -> App:
    """Return the command `generate`, with a subcommand for each model."""
    app = App(name="generate", help="Generate a video and wait for it. The price is shown first.")
    for model, spec in SPECS.items():
        app.command(_generate(spec), name=model)
    return app


def quote_commands() -> App:
    """Return the command `quote`, with a subcommand for each model."""
    app = App(name="quote", help="Print what a video would cost. It takes the options of generate, and costs nothing.")
    for model, spec in SPECS.items():
        app.command(_quote(spec), name=model)
    return app


def _generate(spec: type[VideoSpec]) -> Callable[..., Job]:
    make = _factory(spec)

    def command(
        *,
        output: SaveTo = None,
        overwrite: Overwrite = False,
        allow_private: AllowPrivate = False,
        timeout: Timeout = None,
        yes: _Yes = False,
        max_credits: _MaxCredits = None,
        extra: _Extra = None,
        context: InjectedContext,
        **given: Any,  # noqa: ANN401  (the fields of the spec)
    ) -> Job:
        options = WaitOptions(timeout=timeout, path=output, overwrite=overwrite, allow_private=allow_private)
        return generate(context, make(given, extra), options, PaymentOptions(yes=yes, max_credits=max_credits))

    return _with_fields(spec, command)


def _quote(spec: type[VideoSpec]) -> Callable[..., Job]:
    make = _factory(spec)

    def command(*, extra: _Extra = None, context: InjectedContext, **given: Any) -> Job:  # noqa: ANN401  (the fields of the spec)
        return quote(context, make(given, extra))

    return _with_fields(spec, command)


def _factory(spec: type[VideoSpec]) -> Callable[[dict[str, Any], list[str] | None], VideoSpec]:
    """Return a function that makes the spec from the values on the command line."""
    options = options_of(spec)

    def make(given: dict[str, Any], extra: list[str] | None) -> VideoSpec:
        # A value that was not passed is left to the spec, which has a default or reports that it is required.
        values = {one.name: one.value(given[one.name]) for one in options if given.get(one.name) is not None}
        return spec(**values, extra=_extra(extra or ()))

    return make


def _with_fields(spec: type[VideoSpec], command: Callable[..., Job]) -> Callable[..., Job]:
    """Return `command` with an option for each field of `spec` in place of `given`."""
    own = [item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != "given"]
    parameters = [*(option.parameter() for option in options_of(spec)), *own]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    command.__doc__ = help_of(spec)
    return command


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
