"""One client for all event loops and threads of a process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from aivideomaker_async import AIVideoMaker, ConfigurationError, RateLimiter
from aivideomaker_async.client import ClientThread
from aivideomaker_async.client.client_thread import THREAD_NAME
from aivideomaker_async.simulator.threaded import ThreadedSimulator


@pytest.fixture(scope="module")
def service() -> Iterator[ThreadedSimulator]:
    with ThreadedSimulator(render=False, limit=None) as simulator:
        yield simulator


@pytest.fixture
def thread(service: ThreadedSimulator) -> Iterator[ClientThread]:
    thread = ClientThread(lambda: AIVideoMaker(service.api_key, base_url=service.url, limiter=RateLimiter(6000)))
    yield thread
    thread.close()
    assert THREAD_NAME not in {one.name for one in threading.enumerate()}


async def count(client: AIVideoMaker) -> int:
    return len(await client.list_tasks())


async def where(client: AIVideoMaker) -> tuple[int, str]:
    return id(client), threading.current_thread().name


def test_all_callers_have_the_same_client(thread: ClientThread) -> None:
    """In threads, in an event loop, in the next one, and in one under which a call was cut off."""

    async def cut_off() -> tuple[int, str]:
        async def never(_: AIVideoMaker) -> None:
            ends.append("began")
            try:
                await asyncio.Event().wait()
            finally:
                ends.append("cancelled")

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(thread.call(never), 0.05)
        return await thread.call(where)

    ends: list[str] = []
    found = [thread.call_blocking(where), *(asyncio.run(thread.call(where)) for _ in range(2)), asyncio.run(cut_off())]
    assert found == [found[0]] * 4
    assert found[0][1] == THREAD_NAME
    assert ends == ["began", "cancelled"]
    assert thread.call_blocking(count) == 0


def test_arguments_results_and_errors_pass(thread: ClientThread) -> None:
    async def divide(_: AIVideoMaker, number: int, *, by: int) -> float:
        return number / by

    assert thread.call_blocking(divide, 6, by=4) == 1.5
    with pytest.raises(ZeroDivisionError):
        thread.call_blocking(divide, 6, by=0)


def test_a_client_that_cannot_be_made_is_tried_again() -> None:
    key = ""

    def make() -> AIVideoMaker:
        return AIVideoMaker(key, base_url="http://127.0.0.1:1")

    thread = ClientThread(make)
    with pytest.raises(ConfigurationError, match="API key"):
        thread.call_blocking(where)
    key = "ak_test"
    assert thread.call_blocking(where)[1] == THREAD_NAME
    thread.close()


def test_when_it_is_closed_calls_end_and_new_ones_are_refused(thread: ClientThread) -> None:
    """Also from its own thread, which could only wait for itself."""

    async def nested(_: AIVideoMaker) -> None:
        thread.call_blocking(where)

    async def never(_: AIVideoMaker) -> None:
        await asyncio.Event().wait()

    with pytest.raises(ConfigurationError, match="cannot wait for itself"):
        thread.call_blocking(nested)
    running = thread.start(never)
    thread.close()
    thread.close()
    assert running.cancelled()
    with pytest.raises(ConfigurationError, match="is closed; make a new one"):
        thread.call_blocking(where)


PROGRAM = """
import os, sys
from aivideomaker_async import AIVideoMaker, RateLimiter
from aivideomaker_async.client import ClientThread

thread = ClientThread(lambda: AIVideoMaker(sys.argv[1], base_url=sys.argv[2], limiter=RateLimiter(6000)))

async def count(client):
    return len(await client.list_tasks())

print("parent", thread.call_blocking(count), flush=True)
if sys.argv[3] == "fork" and os.fork() == 0:
    print("child", thread.call_blocking(count), flush=True)
    sys.exit()
if sys.argv[3] == "fork":
    os.wait()
print("parent", thread.call_blocking(count), flush=True)
"""


@pytest.mark.parametrize("way", ["exit", *(["fork"] if hasattr(os, "fork") else [])])
def test_it_ends_with_the_interpreter_and_begins_anew_in_a_fork(service: ThreadedSimulator, way: str) -> None:
    """Without a warning, though nobody has closed it."""
    command = [sys.executable, "-W", "error", "-c", PROGRAM, service.api_key, service.url, way]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    expected = "parent 0\nparent 0\n" if way == "exit" else "parent 0\nchild 0\nparent 0\n"
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)
