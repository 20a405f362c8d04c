from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from aivideomaker_async import ConfigurationError
from aivideomaker_async._http.lifecycle import ClientLifecycle
from tests.support.leaks import settle

pytestmark = pytest.mark.anyio


class Resource:
    """Something that was opened, and how it was closed."""

    def __init__(self, journal: list[str], name: str) -> None:
        self._journal = journal
        self._name = name

    async def close(self) -> None:
        self._journal.append(f"close {self._name}")
        await asyncio.sleep(0)
        self._journal.append(f"closed {self._name}")

    def abandon(self) -> None:
        self._journal.append(f"abandon {self._name}")


def lifecycle_with(journal: list[str], *names: str) -> ClientLifecycle:
    lifecycle = ClientLifecycle()
    for name in names:
        resource = Resource(journal, name)
        lifecycle.add(resource.close, resource.abandon)
    return lifecycle


# --- where a client can be used ----------------------------------------------------------------------


async def test_the_first_use_binds_a_client_to_the_running_loop() -> None:
    lifecycle = ClientLifecycle()
    assert lifecycle.loop is None
    assert not lifecycle.is_here
    loop = asyncio.get_running_loop()
    assert lifecycle.check_usable() is lifecycle.check_place() is lifecycle.loop is loop
    assert lifecycle.is_here
    assert not lifecycle.is_unreachable


def test_in_another_event_loop_a_client_is_refused() -> None:
    async def use(lifecycle: ClientLifecycle) -> None:
        lifecycle.check_usable()

    lifecycle = ClientLifecycle()
    asyncio.run(use(lifecycle))
    with pytest.raises(ConfigurationError, match="first used in another event loop; open one client in each loop"):
        asyncio.run(use(lifecycle))
    assert not lifecycle.is_here
    assert lifecycle.is_unreachable, "its loop is closed"


def test_without_an_event_loop_a_client_is_refused_and_stays_unbound() -> None:
    lifecycle = ClientLifecycle()
    with pytest.raises(ConfigurationError, match="no asyncio event loop runs here"):
        lifecycle.check_usable()
    assert lifecycle.loop is None
    assert not lifecycle.is_unreachable


async def test_a_closed_client_is_refused_but_keeps_its_place() -> None:
    lifecycle = ClientLifecycle()
    await lifecycle.aclose()
    with pytest.raises(ConfigurationError, match="the client is closed; open a new one"):
        lifecycle.check_usable()
    assert lifecycle.check_place() is asyncio.get_running_loop()


async def test_in_a_forked_child_a_client_that_was_used_before_is_refused() -> None:
    lifecycle, called = ClientLifecycle(), list[str]()
    lifecycle.check_usable()
    lifecycle._leave_to_parent()
    with pytest.raises(ConfigurationError, match="first used in another process, of which this one is a fork"):
        lifecycle.check_usable()
    assert not lifecycle.is_here
    assert lifecycle.is_unreachable
    lifecycle.call_soon(called.append, "in the child")
    await settle()
    assert called == []


async def test_in_a_forked_child_a_client_that_was_not_used_before_works() -> None:
    lifecycle = ClientLifecycle()
    lifecycle._leave_to_parent()
    assert lifecycle.check_usable() is asyncio.get_running_loop()


# --- calls from other threads ------------------------------------------------------------------------


async def test_a_callback_from_any_thread_runs_in_the_loop_of_the_client() -> None:
    lifecycle, ran = ClientLifecycle(), list[tuple[str, int]]()
    lifecycle.check_usable()

    def callback(text: str) -> None:
        ran.append((text, threading.get_ident()))

    await asyncio.to_thread(lifecycle.call_soon, callback, "from a thread")
    lifecycle.call_soon(callback, "from the loop")
    await settle()
    assert ran == [("from a thread", threading.get_ident()), ("from the loop", threading.get_ident())]


async def test_a_callback_for_an_unused_or_closed_client_is_dropped() -> None:
    lifecycle, ran = ClientLifecycle(), list[str]()
    lifecycle.call_soon(ran.append, "unused")
    lifecycle.check_usable()
    await lifecycle.aclose()
    lifecycle.call_soon(ran.append, "closed")
    await settle()
    assert ran == []


def test_a_callback_for_a_closed_loop_is_dropped() -> None:
    lifecycle, ran = ClientLifecycle(), list[str]()
    with asyncio.Runner() as runner:
        runner.run(asyncio.to_thread(len, ""))
        lifecycle.loop = runner.get_loop()
    lifecycle.call_soon(ran.append, "closed loop")
    assert ran == []


# --- closing -----------------------------------------------------------------------------------------


async def test_closing_closes_in_reverse_order_and_once() -> None:
    journal: list[str] = []
    lifecycle = lifecycle_with(journal, "first", "second")
    lifecycle.check_usable()
    for _ in range(2):
        await lifecycle.aclose()
    assert journal == ["close second", "closed second", "close first", "closed first"]


async def test_a_close_that_was_cancelled_can_be_finished() -> None:
    journal: list[str] = []
    lifecycle = lifecycle_with(journal, "first", "second")
    closing = asyncio.ensure_future(lifecycle.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert lifecycle.closed
    assert journal == ["close second"]
    await lifecycle.aclose()
    assert journal == ["close second", "close first", "closed first"]


async def test_abandoning_waits_for_nothing() -> None:
    journal: list[str] = []
    lifecycle = lifecycle_with(journal, "first", "second")
    lifecycle.check_usable()
    for _ in range(2):
        lifecycle.abandon()
    assert journal == ["abandon first", "abandon second"]
    await lifecycle.aclose()
    assert len(journal) == 2


async def test_a_forked_child_leaves_open_resources_to_its_parent() -> None:
    journal: list[str] = []
    lifecycle = lifecycle_with(journal, "of the parent")
    lifecycle.check_usable()
    lifecycle._leave_to_parent()
    lifecycle.abandon()
    assert journal == []


# --- clients that are dropped ------------------------------------------------------------------------


class Client:
    """What the lifecycle watches; it holds nothing itself."""


def drop(lifecycle: ClientLifecycle) -> int:
    """Make a client in this line, and drop it; return the line."""
    lifecycle.warn_if_dropped(Client(), "<Client>", sys._getframe())
    return sys._getframe().f_lineno - 1


async def test_a_client_that_is_dropped_open_warns_with_the_line_that_made_it() -> None:
    journal: list[str] = []
    lifecycle = lifecycle_with(journal, "connections")
    lifecycle.check_usable()
    with pytest.warns(ResourceWarning, match="unclosed client <Client>: use `async with AIVideoMaker") as caught:
        line = drop(lifecycle)
    assert [(Path(warning.filename), warning.lineno) for warning in caught] == [(Path(__file__), line)]
    assert journal == ["abandon connections"]
    assert lifecycle.closed


async def test_a_client_that_was_only_entered_warns_as_well() -> None:
    lifecycle = ClientLifecycle()
    lifecycle.entered = True
    with pytest.warns(ResourceWarning, match="unclosed client"):
        drop(lifecycle)


async def close(lifecycle: ClientLifecycle) -> None:
    lifecycle.check_usable()
    await lifecycle.aclose()


async def use_without_connections(lifecycle: ClientLifecycle) -> None:
    lifecycle._opened.clear()
    lifecycle.check_usable()


async def fork(lifecycle: ClientLifecycle) -> None:
    lifecycle.check_usable()
    lifecycle._leave_to_parent()


@pytest.mark.parametrize("before", [close, use_without_connections, fork])
async def test_a_client_that_holds_nothing_is_dropped_without_a_warning(
    before: Callable[[ClientLifecycle], Awaitable[None]],
) -> None:
    lifecycle = lifecycle_with([], "connections")
    await before(lifecycle)
    with warnings.catch_warnings(record=True) as caught:
        drop(lifecycle)
    assert caught == []
