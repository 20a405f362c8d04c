from __future__ import annotations

from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from aivideomaker_async._limits.queue import PATIENCE, Priority, Turns

FOREGROUND, BACKGROUND = Priority.FOREGROUND, Priority.BACKGROUND


class Ticket:
    """Somebody who waits. Tickets are compared by identity."""

    def __init__(self, priority: Priority) -> None:
        self.priority = priority


def queue_of(*priorities: Priority) -> tuple[Turns[Ticket], list[Ticket]]:
    turns: Turns[Ticket] = Turns()
    tickets = [Ticket(priority) for priority in priorities]
    for ticket in tickets:
        turns.add(ticket, ticket.priority)
    return turns, tickets


@pytest.mark.parametrize("priority", Priority)
def test_first_come_first_served_within_a_priority(priority: Priority) -> None:
    """Those of one priority go in the order in which they came."""
    turns, tickets = queue_of(*repeat(priority, 10))
    assert [turns.pop() for _ in tickets] == tickets


def test_a_user_goes_before_the_watcher() -> None:
    """A foreground ticket goes first, although it came last."""
    turns, (polled, asked) = queue_of(BACKGROUND, FOREGROUND)
    assert turns.pop() is asked
    assert turns.pop() is polled


def test_the_watcher_goes_after_so_many_users() -> None:
    """Endless users do not starve the watcher: after PATIENCE of them it has its turn, and then they have theirs."""
    turns, _ = queue_of(*repeat(FOREGROUND, 3 * PATIENCE), *repeat(BACKGROUND, 2))
    served = [turns.pop().priority for _ in range(3 * PATIENCE + 2)]
    round_of_turns = [*repeat(FOREGROUND, PATIENCE), BACKGROUND]
    assert served == [*round_of_turns, *round_of_turns, *repeat(FOREGROUND, PATIENCE)]


def test_users_who_went_before_the_watcher_came_do_not_count() -> None:
    """Patience starts when somebody is waiting for it."""
    turns, _ = queue_of(*repeat(FOREGROUND, 3 * PATIENCE))
    for _ in range(2 * PATIENCE):
        turns.pop()
    turns.add(Ticket(BACKGROUND), BACKGROUND)
    assert [turns.pop().priority for _ in range(PATIENCE + 1)] == [*repeat(FOREGROUND, PATIENCE), BACKGROUND]


def test_nobody_waits_is_an_error_to_pop() -> None:
    """An empty queue has no turn."""
    turns: Turns[Ticket] = Turns()
    with pytest.raises(IndexError, match="nobody waits"):
        turns.pop()


def test_who_leaves_is_not_served_and_may_leave_twice() -> None:
    """A discarded ticket is out, wherever it stood; discarding one that is not there is no mistake."""
    turns, (first, second, third) = queue_of(FOREGROUND, FOREGROUND, BACKGROUND)
    for ticket in (second, third, second, Ticket(FOREGROUND)):
        turns.discard(ticket)
    assert (turns.waiting(FOREGROUND), turns.waiting(BACKGROUND), len(turns)) == (1, 0, 1)
    assert turns.pop() is first
    assert len(turns) == 0


@given(st.lists(st.sampled_from(Priority), max_size=40))
def test_everybody_is_served_once(priorities: list[Priority]) -> None:
    """Nobody is lost and nobody is served twice, in any mixture."""
    turns, tickets = queue_of(*priorities)
    served = [turns.pop() for _ in tickets]
    assert set(served) == set(tickets)
    assert len(turns) == 0


class TurnsMachine(RuleBasedStateMachine):
    """The queue against two plain lists."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: Turns[Ticket] = Turns()
        self.lines: dict[Priority, list[Ticket]] = {FOREGROUND: [], BACKGROUND: []}
        self.in_a_row = 0
        """Foreground turns in a row while somebody waited in the background."""

    @rule(priority=st.sampled_from(Priority), count=st.integers(1, PATIENCE + 1))
    def add(self, priority: Priority, count: int) -> None:
        for _ in range(count):
            ticket = Ticket(priority)
            self.turns.add(ticket, priority)
            self.lines[priority].append(ticket)

    @rule(priority=st.sampled_from(Priority), place=st.integers(0, 20))
    def discard(self, priority: Priority, place: int) -> None:
        line = self.lines[priority]
        if line:
            self.turns.discard(line.pop(place % len(line)))

    @rule(count=st.integers(1, PATIENCE + 2))
    def pop(self, count: int) -> None:
        for _ in range(min(count, len(self.turns))):
            ticket = self.turns.pop()
            line = self.lines[ticket.priority]
            assert ticket is line.pop(0)
            if ticket.priority is BACKGROUND:
                assert self.in_a_row == PATIENCE or not self.lines[FOREGROUND]
                self.in_a_row = 0
            elif self.lines[BACKGROUND]:
                self.in_a_row += 1
                assert self.in_a_row <= PATIENCE
            else:
                self.in_a_row = 0

    @invariant()
    def lengths_agree(self) -> None:
        assert len(self.turns) == sum(map(len, self.lines.values()))
        for priority, line in self.lines.items():
            assert self.turns.waiting(priority) == len(line)


TestTurns = TurnsMachine.TestCase
TestTurns.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
