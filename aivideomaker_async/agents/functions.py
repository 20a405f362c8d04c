"""Tools as functions, in the form that agent frameworks read.

Frameworks learn what a tool takes from its name, docstring, signature and annotations, each in its own way: some read
the text in `Annotated`, others the docstring's `Args:`, and those with pydantic ask the annotation for its JSON schema.
So each text stands in all places, written once. Annotations are objects: not all frameworks resolve texts.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

from attrs import frozen

from ..client import AIVideoMaker
from .parameters import Parameter
from .reports import Report

__all__ = ["Tool", "async_function", "blocking_function"]

Work: TypeAlias = Callable[[AIVideoMaker, Mapping[str, object]], Awaitable[Report]]

RESULT: Final = dict[str, Any]


@frozen(kw_only=True)
class Tool:
    """One tool: what is shown of it, and what it does."""

    name: str
    text: str
    """What it does, in one paragraph."""
    parameters: Sequence[Parameter]
    work: Work
    """Does it, in the client's event loop, with the arguments by their names. Raises no `Exception`."""
    reads_only: bool = False
    """Whether it changes nothing, and costs nothing."""
    is_idempotent: bool = False
    """Whether a second call with the same arguments changes nothing more."""
    spends: bool = False
    """Whether it may cost credits."""

    @property
    def docstring(self) -> str:
        """What it does and takes, in Google's form."""
        if not self.parameters:
            return self.text
        lines = (f"    {one.name}: {one.text}" for one in self.parameters)
        return "\n".join([self.text, "", "Args:", *lines])


class Text(str):
    """What an argument means. Pydantic puts it into the JSON schema, with rules that are shown and not enforced."""

    __slots__ = ("schema",)

    schema: Mapping[str, object]

    def __new__(cls, text: str, schema: Mapping[str, object]) -> Text:
        """Return a text with what JSON Schema says of the argument."""
        self = super().__new__(cls, text)
        self.schema = schema
        return self

    def __get_pydantic_json_schema__(
        self, core_schema: object, handler: Callable[[object], dict[str, object]]
    ) -> object:
        return {**handler(core_schema), "description": str(self), **self.schema}


def async_function(
    tool: Tool, run: Callable[[Tool, Mapping[str, object]], Awaitable[Report]]
) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Return a tool as an async function.

    Args:
        tool: the tool.
        run: lets it work with some arguments.
    """

    async def call(*args: object, **kwargs: object) -> dict[str, Any]:
        return await run(tool, _bound(signature, args, kwargs))

    signature = _signature(tool)
    return _presented(call, tool, signature)


def blocking_function(tool: Tool, run: Callable[[Tool, Mapping[str, object]], Report]) -> Callable[..., dict[str, Any]]:
    """Return a tool as a plain function.

    Args:
        tool: the tool.
        run: lets it work with some arguments, and waits for it.
    """

    # Not by functools.wraps of the async one: some frameworks look through it, and find a coroutine function again.
    def call(*args: object, **kwargs: object) -> dict[str, Any]:
        return run(tool, _bound(signature, args, kwargs))

    signature = _signature(tool)
    return _presented(call, tool, signature)


def _signature(tool: Tool) -> inspect.Signature:
    # What is required goes first, as Python wants it.
    parameters = sorted(tool.parameters, key=lambda one: not one.is_required)
    return inspect.Signature(
        [
            inspect.Parameter(
                one.name,
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if one.is_required else one.default,
                annotation=Annotated[one.kind, Text(one.text, one.schema)],
            )
            for one in parameters
        ],
        return_annotation=RESULT,
    )


def _bound(signature: inspect.Signature, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments by their names. What is missing is None, and what is unknown is dropped."""
    names = list(signature.parameters)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    defaults = {name: None if one.default is one.empty else one.default for name, one in signature.parameters.items()}
    return {name: given.get(name, default) for name, default in defaults.items()}


def _presented(call: Callable[..., Any], tool: Tool, signature: inspect.Signature) -> Callable[..., Any]:
    call.__name__ = call.__qualname__ = tool.name
    call.__doc__ = tool.docstring
    call.__signature__ = signature  # type: ignore[attr-defined]
    call.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()} | {"return": RESULT}
    return call
