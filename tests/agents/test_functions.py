"""A tool as a function: what frameworks read of it says the same everywhere, and nothing is enforced."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import TypeAdapter

from aivideomaker_async import AIVideoMaker
from aivideomaker_async.agents.functions import Tool, async_function, blocking_function
from aivideomaker_async.agents.parameters import ORDER, Parameter
from aivideomaker_async.agents.reports import Report


async def no_work(_client: AIVideoMaker, _given: Mapping[str, object]) -> Report:
    return Report()


TOOL = Tool(
    name="make_it",
    text="Make it.",
    parameters=[
        Parameter(name="seconds", kind=int, text="How long.", default=5, schema={"enum": [5, 8]}),
        ORDER,
        Parameter(name="loud", kind=bool, text="Whether it is loud.", default=False),
    ],
    work=no_work,
)


async def run(_tool: Tool, given: Mapping[str, object]) -> Report:
    return Report(given)


def run_blocking(_tool: Tool, given: Mapping[str, object]) -> Report:
    return Report(given)


FUNCTIONS = {"async": async_function(TOOL, run), "blocking": blocking_function(TOOL, run_blocking)}
both = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@both
def test_name_signature_hints_and_docstring_agree(function: Any) -> None:
    signature = inspect.signature(function)
    hints = get_type_hints(function, include_extras=True)
    assert (function.__name__, function.__qualname__, list(signature.parameters)) == (
        "make_it",
        "make_it",
        # What is required goes first.
        ["order", "seconds", "loud"],
    )
    assert hints.pop("return") == signature.return_annotation == dict[str, Any]
    assert hints == {name: one.annotation for name, one in signature.parameters.items()}
    assert get_type_hints(function) == {"order": str, "seconds": int, "loud": bool, "return": dict[str, Any]}
    for one in TOOL.parameters:
        assert get_origin(hints[one.name]) is Annotated
        assert str(get_args(hints[one.name])[1]) == one.text
        assert f"    {one.name}: {one.text}" in inspect.getdoc(function).split("\n")  # type: ignore[union-attr]
        default = signature.parameters[one.name].default
        assert default == (inspect.Parameter.empty if one.is_required else one.default)


def test_only_the_async_one_is_a_coroutine_function() -> None:
    """And nothing leads from the other to it."""
    assert [inspect.iscoroutinefunction(inspect.unwrap(one)) for one in FUNCTIONS.values()] == [True, False]


@both
def test_the_rules_are_shown_by_pydantic_and_not_enforced(function: Any) -> None:
    """Its own message would say less than the answer of the tool."""
    hint = get_type_hints(function, include_extras=True)["seconds"]
    assert TypeAdapter(hint).json_schema() == {"description": "How long.", "enum": [5, 8], "type": "integer"}
    assert TypeAdapter(hint).validate_python(7) == 7


@pytest.mark.parametrize(
    ("args", "kwargs", "given"),
    [
        ((), {"order": "fox-1"}, {"order": "fox-1", "seconds": 5, "loud": False}),
        (("fox-1", 8), {"loud": True}, {"order": "fox-1", "seconds": 8, "loud": True}),
        ((), {}, {"order": None, "seconds": 5, "loud": False}),
        ((), {"order": "fox-1", "unknown": 5}, {"order": "fox-1", "seconds": 5, "loud": False}),
    ],
)
def test_arguments_arrive_by_their_names(args: tuple[Any, ...], kwargs: dict[str, Any], given: dict[str, Any]) -> None:
    """What is missing is None, which the tool answers."""
    assert FUNCTIONS["blocking"](*args, **kwargs) == given
    assert asyncio.run(FUNCTIONS["async"](*args, **kwargs)) == given  # type: ignore[arg-type]
