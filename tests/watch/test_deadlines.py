from __future__ import annotations

import gc
import weakref

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aivideomaker_async._watch.deadlines import FEW, Deadlines


class Wait:
    """Something whose time will be over. Any two are equal, and still two."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Wait)

    __hash__ = None  # type: ignore[assignment]


class DeadlinesMachine(RuleBasedStateMachine):
    """Deadlines beside a plain list of what must be in them."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines: Deadlines[Wait] = Deadlines()
        self.model: list[tuple[float, Wait]] = []
        self.known: list[Wait] = [Wait()]

    def without(self, item: Wait) -> list[tuple[float, Wait]]:
        return [entry for entry in self.model if entry[1] is not item]

    @rule(at=st.integers(0, 20), which=st.integers(0, 50))
    def add(self, at: int, which: int) -> None:
        if which >= len(self.known):
            self.known.append(Wait())
        item = self.known[min(which, len(self.known) - 1)]
        self.model = [*self.without(item), (at, item)]
        self.deadlines.add(item, at)

    @rule(which=st.integers(0, 50))
    def discard(self, which: int) -> None:
        item = self.known[which % len(self.known)]
        self.model = self.without(item)
        self.deadlines.discard(item)

    @rule(now=st.integers(-1, 21), most=st.integers(0, 6))
    def pop_due(self, now: int, most: int) -> None:
        # The sort is stable: of two with the same deadline, the one that was added first goes first.
        expected = [item for at, item in sorted(self.model, key=lambda entry: entry[0]) if at <= now][:most]
        due = self.deadlines.pop_due(now, most)
        assert len(due) == len(expected)
        assert all(one is other for one, other in zip(due, expected, strict=True))
        for item in due:
            self.model = self.without(item)

    @invariant()
    def the_first_is_known(self) -> None:
        assert self.deadlines.first() == min((at for at, _ in self.model), default=None)
        assert len(self.deadlines) == len(self.model)


TestDeadlines = DeadlinesMachine.TestCase
TestDeadlines.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_no_more_are_taken_at_once_than_asked_for() -> None:
    """Thousands that end at one moment are told in turns, none twice."""
    deadlines: Deadlines[Wait] = Deadlines()
    waits = [Wait() for _ in range(1000)]
    for wait in waits:
        deadlines.add(wait, 5.0)
    assert deadlines.pop_due(4.9, 100) == []
    told = [id(wait) for _ in range(11) for wait in deadlines.pop_due(5.0, 100)]
    assert told == [id(wait) for wait in waits]
    assert deadlines.first() is None


def test_a_new_deadline_replaces_the_old_one() -> None:
    """Later or earlier: what counts is the last."""
    deadlines: Deadlines[Wait] = Deadlines()
    wait = Wait()
    for at in (5.0, 9.0, 3.0):
        deadlines.add(wait, at)
        assert (deadlines.first(), len(deadlines)) == (at, 1)
    assert deadlines.pop_due(100.0, 10) == [wait]
    assert deadlines.pop_due(100.0, 10) == []
    # One that has none is no mistake.
    deadlines.discard(wait)


def test_what_needs_no_deadline_any_more_is_let_go() -> None:
    """At once, and not when a deadline passes that may be an hour away."""
    deadlines: Deadlines[Wait] = Deadlines()
    waits = [Wait() for _ in range(2000)]
    alive = [weakref.ref(wait) for wait in waits]
    for number, wait in enumerate(waits):
        deadlines.add(wait, 3600.0 + number)
    for wait in waits[10:]:
        deadlines.discard(wait)
    del waits[10:], wait
    gc.collect()
    assert sum(ref() is not None for ref in alive) == 10
    assert len(deadlines) == 10


def test_a_deadline_that_moves_all_the_time_takes_no_room() -> None:
    """Only the last one is remembered, give or take a few."""
    deadlines: Deadlines[Wait] = Deadlines()
    first, moving = Wait(), Wait()
    deadlines.add(first, 1.0)
    for at in range(10_000):
        deadlines.add(moving, 10.0 + at)
    assert len(deadlines._heap) <= FEW + 2 * len(deadlines)
    assert deadlines.first() == 1.0
