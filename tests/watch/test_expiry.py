"""Deadlines, also those that pass while the machine sleeps."""

from __future__ import annotations

import asyncio
import time

import pytest

from aivideomaker_async._watch.expiry import CHANCE_STEP, LAST_CHANCE, LOOK, SLEPT, Expiry
from aivideomaker_async._watch.record import AT_ONCE, Record, Subscription
from aivideomaker_async.tasks import TaskStatus
from tests.support.virtual_clock import VirtualClockLoop

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


class Clocks:
    """The deadlines, and both clocks of the machine."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualClockLoop)
        self.loop = loop
        self.ahead = 0.0
        self.expired: list[tuple[Subscription, float]] = []
        self.awoke: list[float] = []
        self.expiry = Expiry(
            lambda item: self.expired.append((item, loop.time())), lambda: self.awoke.append(loop.time())
        )
        monkeypatch.setattr(time, "time", lambda: loop.time() + self.ahead)

    def wait(self, seconds: float) -> Record:
        record = Record("ck1", self.loop.time())
        self.expiry.add(Subscription(record, wants_details=True), self.loop.time() + seconds)
        return record

    def ends(self) -> list[float]:
        return [at for _, at in self.expired]


async def test_deadlines_are_kept_to_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones and short ones, whichever comes first; and nothing is looked at when nobody waits."""
    clocks = Clocks(monkeypatch)
    began = clocks.loop.time()
    for seconds in (100.0, 3.0, 0.0, 25.5):
        clocks.wait(seconds)
    await asyncio.sleep(200)
    assert [at - began for at in clocks.ends()] == pytest.approx([0, 3, 25.5, 100])
    assert not clocks.awoke
    assert all(subscription.expired for subscription, _ in clocks.expired)
    looks = [handle for handle in clocks.loop._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
    assert not looks


@pytest.mark.parametrize("clock_stops", [False, True])
@pytest.mark.parametrize("early", [False, True])
async def test_who_expires_in_a_sleep_has_a_chance(
    early: bool, clock_stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the service has told of the task, or for half a minute; also if some seconds seem to be left."""
    clocks = Clocks(monkeypatch)
    deadline = LOOK + 5
    answered, silent, ended = (clocks.wait(deadline) for _ in range(3))
    await asyncio.sleep(LOOK + (1 if early else 4.9))
    if clock_stops:
        clocks.ahead += 3600
    else:
        clocks.loop.jump(3600)
    woke_at = clocks.loop.time()
    await asyncio.sleep(6)
    assert not clocks.expired and len(clocks.awoke) == 1 and clocks.awoke[0] - woke_at <= LOOK
    answered.asked(clocks.loop.time())
    ended.observe(TaskStatus.COMPLETED, None)  # type: ignore[arg-type]
    ended.subscribe(Subscription(ended, wants_details=True))
    ended.asked(clocks.loop.time())
    await asyncio.sleep(2 * CHANCE_STEP)
    assert [item.record for item, _ in clocks.expired] == [answered], (
        "the other one has ended, and its output is wanted"
    )
    await asyncio.sleep(100)
    assert {id(item.record) for item, _ in clocks.expired} == {id(answered), id(silent), id(ended)}
    assert max(clocks.ends()) - clocks.awoke[0] == pytest.approx(LAST_CHANCE, abs=2 * CHANCE_STEP)
    began = clocks.loop.time()
    clocks.wait(20)
    await asyncio.sleep(30)
    assert clocks.ends()[-1] - began == pytest.approx(20), "later ones are kept to the moment again"


async def test_an_answer_that_was_under_way_in_the_sleep_is_not_the_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells what was before."""
    clocks = Clocks(monkeypatch)
    record = clocks.wait(60)
    asked_at = clocks.loop.time()
    clocks.loop.jump(3600)
    await asyncio.sleep(0.2)
    record.asked(clocks.loop.time())
    clocks.expiry.answered(asked_at, clocks.loop.time())
    await asyncio.sleep(5)
    assert not clocks.expired
    began = clocks.loop.time()
    record.asked(began + 0.1)
    clocks.expiry.answered(began, began + 0.1)
    await asyncio.sleep(2 * CHANCE_STEP)
    assert clocks.expired


async def test_thousands_wake_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked at in groups."""
    clocks = Clocks(monkeypatch)
    for _ in range(3 * AT_ONCE):
        clocks.wait(60)
    clocks.loop.jump(3600)
    await asyncio.sleep(CHANCE_STEP / 2)
    assert len(clocks.awoke) == 1 and not clocks.expired
    await asyncio.sleep(LAST_CHANCE + 1)
    assert len(clocks.awoke) == 1 and len(clocks.expired) == 3 * AT_ONCE


@pytest.mark.parametrize("step", [-7200.0, -5.0, SLEPT / 2])
async def test_a_clock_that_is_set_back_is_no_sleep(step: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one that is corrected a little."""
    clocks = Clocks(monkeypatch)
    began = clocks.loop.time()
    clocks.wait(60)
    await asyncio.sleep(35)
    clocks.ahead += step
    await asyncio.sleep(30)
    assert clocks.ends() == [pytest.approx(began + 60)] and not clocks.awoke


async def test_a_wait_that_begins_at_the_awakening_hides_it_from_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own deadline comes first, and the look at the clocks with it."""
    clocks = Clocks(monkeypatch)
    clocks.wait(12)
    await asyncio.sleep(11)
    clocks.ahead += 3600
    clocks.wait(0.5)
    await asyncio.sleep(1)
    assert len(clocks.awoke) == 1
    await asyncio.sleep(5)
    assert not clocks.expired


async def test_nothing_is_looked_at_after_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has ended in another way does not expire."""
    clocks = Clocks(monkeypatch)
    subscription = Subscription(Record("ck1", 0.0), wants_details=True)
    clocks.expiry.add(subscription, clocks.loop.time() + 60)
    clocks.expiry.discard(subscription)
    await asyncio.sleep(100)
    clocks.expiry.add(subscription, clocks.loop.time() + 60)
    clocks.expiry.stop()
    await asyncio.sleep(100)
    assert not clocks.expired
