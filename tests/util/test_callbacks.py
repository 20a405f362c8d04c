"""Callbacks of users: plain functions and async ones."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from aivideomaker_async._util import callbacks
from aivideomaker_async.errors import ConfigurationError

pytestmark = pytest.mark.anyio


class AsyncCallable:
    async def __call__(self, *arguments: object) -> None:
        CALLED.append(arguments)


async def asynchronous(*arguments: object) -> None:
    CALLED.append(arguments)


def plain(*arguments: object) -> str:
    CALLED.append(arguments)
    return "ignored"


CALLED: list[tuple[object, ...]] = []


@pytest.mark.parametrize("callback", [plain, asynchronous, AsyncCallable(), functools.partial(asynchronous, 0)])
async def test_a_callback_of_either_kind_is_called_to_its_end(callback: Any) -> None:
    CALLED.clear()
    await callbacks.call(callback, 1, "two")
    assert [arguments[-2:] for arguments in CALLED] == [(1, "two")]


async def test_no_callback_is_called_where_there_is_none() -> None:
    await callbacks.call(None, 1)


@pytest.mark.parametrize("callback", [asynchronous, AsyncCallable(), functools.partial(asynchronous, 0)])
def test_where_the_result_is_needed_at_once_an_async_function_is_refused(callback: Any) -> None:
    with pytest.raises(ConfigurationError, match="name: must be a plain function, not an async one"):
        callbacks.check_plain("name", callback)
    callbacks.check_plain("name", plain)
