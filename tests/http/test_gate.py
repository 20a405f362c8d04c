from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from aivideomaker_async import ConfigurationError, Priority, RateLimiter, RequestTimeout
from aivideomaker_async._http import Deadline, Request, cancel_task, get_status, quote_price
from aivideomaker_async._http.gate import ABSURD_PAUSE_REPLACEMENT_S, COMMANDS_AT_ONCE, RequestGate
from aivideomaker_async._limits import MAX_LIMIT_PAUSE_S, Permit
from tests.support.api import BytesBody, submit_request
from tests.support.cancelling import cancel_everywhere
from tests.support.leaks import settle
from tests.support.limiters import now

pytestmark = pytest.mark.anyio

QUERY = get_status("ck1")
SUBMIT = submit_request()
CANCEL = cancel_task("ck1")
QUOTE = quote_price("t2v", BytesBody(b"{}"))
COMMANDS = {"submit": SUBMIT, "cancel": CANCEL, "quote": QUOTE}


class Usable:
    """Whether the client that the gate belongs to can be used."""

    closed = False

    def check(self) -> None:
        if self.closed:
            raise ConfigurationError("the client is closed")


@pytest.fixture
def usable() -> Usable:
    return Usable()


@pytest.fixture
def limiter() -> RateLimiter:
    return RateLimiter(1, 60.0)


@pytest.fixture
def gate(limiter: RateLimiter, usable: Usable) -> RequestGate:
    return RequestGate(limiter, usable.check)


async def enter(
    gate: RequestGate, request: Request[Any], *, timeout: float = 600.0, priority: Priority = Priority.FOREGROUND
) -> Permit:
    return await gate.enter(request, priority, Deadline(timeout, now()))


async def fill(gate: RequestGate, request: Request[Any]) -> list[Permit]:
    """Take all slots for commands of this kind."""
    return [await enter(gate, request) for _ in range(COMMANDS_AT_ONCE)]


# --- deadlines ---------------------------------------------------------------------------------------


def test_a_deadline_is_a_moment_and_the_time_until_then_shrinks() -> None:
    deadline = Deadline(10.0, now=100.0)
    assert (deadline.at, deadline.timeout) == (110.0, 10.0)
    assert [deadline.left(moment) for moment in (100.0, 104.0, 110.0, 111.0)] == [10.0, 6.0, 0.0, -1.0]


@pytest.mark.parametrize(
    ("timeout", "left", "too_close"),
    [
        (600.0, 2.0, False),
        (600.0, 1.0, False),
        (600.0, 0.9, True),
        (600.0, -1.0, True),
        # A caller who wants it that short gets at least half of it for sending.
        (1.0, 0.75, False),
        (1.0, 0.25, True),
    ],
)
def test_a_submit_needs_time_to_learn_its_outcome(timeout: float, left: float, too_close: bool) -> None:
    deadline = Deadline(timeout, now=0.0)
    assert deadline.is_too_close_to_submit(timeout - left) is too_close


# --- queries -----------------------------------------------------------------------------------------


async def test_a_query_goes_at_once_while_the_limiter_has_a_permit(gate: RequestGate, limiter: RateLimiter) -> None:
    began = now()
    permit = await enter(gate, QUERY)
    assert (now(), limiter.statistics().in_flight) == (began, 1)
    permit.refund()
    assert limiter.statistics().in_flight == 0


async def test_a_query_waits_for_the_limiter_which_serves_the_foreground_first(gate: RequestGate) -> None:
    (await enter(gate, QUERY)).settle()
    served: list[Priority] = []

    async def query(priority: Priority) -> None:
        (await enter(gate, QUERY, priority=priority)).settle()
        served.append(priority)

    await asyncio.gather(query(Priority.BACKGROUND), query(Priority.FOREGROUND))
    assert served == [Priority.FOREGROUND, Priority.BACKGROUND]


@pytest.mark.parametrize(
    ("asked", "paused"),
    [(7.0, 7.0), (MAX_LIMIT_PAUSE_S, MAX_LIMIT_PAUSE_S), (MAX_LIMIT_PAUSE_S + 1, ABSURD_PAUSE_REPLACEMENT_S)],
)
async def test_a_pause_of_queries_holds_for_the_limiter(
    asked: float, paused: float, gate: RequestGate, limiter: RateLimiter
) -> None:
    """All clients behind this address share it, so a pause that makes no sense is replaced."""
    gate.pause(QUERY, asked)
    assert limiter.statistics().paused_for == pytest.approx(paused)


# --- commands ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_bounded_number_of_commands_is_in_flight(name: str, gate: RequestGate, limiter: RateLimiter) -> None:
    """The next one goes as soon as another has ended, in the order of their calls. No command asks the limiter."""
    slots = await fill(gate, COMMANDS[name])
    served: list[int] = []

    async def command(number: int) -> None:
        await enter(gate, COMMANDS[name])
        served.append(number)

    waiting = [asyncio.ensure_future(command(number)) for number in range(3)]
    await settle()
    assert served == []
    slots[5].settle()
    slots[9].refund()
    await settle()
    assert served == [0, 1]
    waiting[2].cancel()
    assert limiter.statistics().granted == 0


async def test_a_slot_is_released_once(gate: RequestGate) -> None:
    slots = await fill(gate, SUBMIT)
    for _ in range(3):
        slots[0].settle(answered=False)
    await enter(gate, SUBMIT)
    with pytest.raises(RequestTimeout):
        await enter(gate, SUBMIT, timeout=10)


@pytest.mark.parametrize("full", COMMANDS)
async def test_commands_wait_only_for_commands_of_their_kind(full: str, gate: RequestGate) -> None:
    """A cancel, for which there are only seconds, does not queue behind uploads."""
    await fill(gate, COMMANDS[full])
    began = now()
    for name in COMMANDS.keys() - {full}:
        await enter(gate, COMMANDS[name])
    assert now() == began


# --- submits after a 429 -----------------------------------------------------------------------------


async def test_a_pause_of_submits_holds_back_submits_alone(gate: RequestGate) -> None:
    began = now()
    gate.pause(SUBMIT, 30)
    for request in (QUERY, CANCEL, QUOTE):
        await enter(gate, request)
    assert now() == began
    await enter(gate, SUBMIT)
    assert now() == pytest.approx(began + 30)


async def test_a_submit_waits_for_the_longest_of_several_pauses(gate: RequestGate) -> None:
    """Also for one that is asked for while it waits already."""
    began = now()
    gate.pause(SUBMIT, 30)
    gate.pause(SUBMIT, 10)
    submit = asyncio.ensure_future(enter(gate, SUBMIT))
    await asyncio.sleep(20)
    gate.pause(SUBMIT, 25)
    await submit
    assert now() == pytest.approx(began + 45)


async def test_a_pause_of_submits_ends_after_an_hour_whatever_was_asked_for(gate: RequestGate) -> None:
    began = now()
    gate.pause(SUBMIT, 1e11)
    await enter(gate, SUBMIT, timeout=2 * MAX_LIMIT_PAUSE_S)
    assert now() == pytest.approx(began + MAX_LIMIT_PAUSE_S)


async def test_a_429_on_a_command_holds_back_nothing(gate: RequestGate, limiter: RateLimiter) -> None:
    gate.pause(CANCEL, 30)
    began = now()
    for request in (CANCEL, QUOTE, SUBMIT, QUERY):
        await enter(gate, request)
    assert now() == began
    assert limiter.statistics().paused_for == 0


async def test_a_submit_that_waits_for_a_slot_observes_a_pause_as_well(gate: RequestGate) -> None:
    slots = await fill(gate, SUBMIT)
    waiting = asyncio.ensure_future(enter(gate, SUBMIT))
    await settle()
    began = now()
    # The service refuses a submit with 429, which ends it.
    gate.pause(SUBMIT, 30)
    slots[0].settle()
    await waiting
    assert now() == pytest.approx(began + 30)


# --- the end of waiting ------------------------------------------------------------------------------


async def hold_up(gate: RequestGate) -> dict[str, Callable[[float], Any]]:
    """Make everything wait; return what waits then, each for a call with the given timeout."""
    await enter(gate, QUERY)
    await fill(gate, CANCEL)
    gate.pause(SUBMIT, 1000)
    return {
        "query": lambda timeout: enter(gate, QUERY, timeout=timeout),
        "cancel": lambda timeout: enter(gate, CANCEL, timeout=timeout),
        "submit": lambda timeout: enter(gate, SUBMIT, timeout=timeout),
        "sleep": lambda timeout: gate.sleep(QUERY, 1000, now() + timeout),
    }


WAITS = ["query", "cancel", "submit", "sleep"]


@pytest.mark.parametrize("name", WAITS)
async def test_a_wait_ends_with_the_deadline(name: str, gate: RequestGate) -> None:
    """The error promises that nothing was sent."""
    wait = (await hold_up(gate))[name]
    began = now()
    with pytest.raises(RequestTimeout, match="waited for its turn under the limit; nothing was sent") as caught:
        await wait(5)
    assert not caught.value.sent
    assert now() == pytest.approx(began + 5)


@pytest.mark.parametrize("request_", [QUERY, CANCEL], ids=["query", "cancel"])
async def test_no_request_goes_after_its_deadline(request_: Request[Any], gate: RequestGate) -> None:
    """The time may have been spent before, for example on reading an image."""
    deadline = Deadline(5, now())
    await asyncio.sleep(8)
    with pytest.raises(RequestTimeout, match="nothing was sent"):
        await gate.enter(request_, Priority.FOREGROUND, deadline)


@pytest.mark.parametrize("name", WAITS)
async def test_closing_the_client_ends_every_wait_at_once(name: str, gate: RequestGate, usable: Usable) -> None:
    wait = (await hold_up(gate))[name]
    waiting = asyncio.ensure_future(wait(500))
    await settle()
    began = now()
    usable.closed = True
    for _ in range(2):
        gate.wake_all()
    with pytest.raises(ConfigurationError, match="the client is closed"):
        await waiting
    assert now() == began


@pytest.mark.parametrize("name", ["cancel", "submit", "sleep"])
async def test_nothing_begins_to_wait_after_the_client_was_closed(name: str, gate: RequestGate, usable: Usable) -> None:
    wait = (await hold_up(gate))[name]
    usable.closed = True
    with pytest.raises(ConfigurationError, match="the client is closed"):
        await wait(500)


async def test_a_sleep_without_a_deadline_lasts_as_long_as_asked(gate: RequestGate) -> None:
    began = now()
    await gate.sleep(QUERY, 5000)
    assert now() == pytest.approx(began + 5000)


@pytest.mark.parametrize("name", ["query", "submit", "cancel"])
async def test_a_cancelled_wait_holds_nothing(name: str, usable: Usable) -> None:
    limiter = RateLimiter(1, 1.0)
    gate = RequestGate(limiter, usable.check)
    request = QUERY if name == "query" else COMMANDS[name]

    async def wait() -> None:
        holder = await enter(gate, request)
        asyncio.get_running_loop().call_later(0.5, holder.settle)
        gate.pause(request, 0.2)
        slots = [] if name == "query" else [await enter(gate, request) for _ in range(COMMANDS_AT_ONCE - 1)]
        try:
            (await enter(gate, request)).settle()
        finally:
            for slot in slots:
                slot.settle()

    async def check() -> None:
        await asyncio.sleep(2)
        assert limiter.statistics().in_flight == limiter.statistics().waiting_foreground == 0
        assert all(slots._value == COMMANDS_AT_ONCE for slots in gate._slots.values())
        assert gate._waits == set()

    await cancel_everywhere(wait, check, at_least=3)
