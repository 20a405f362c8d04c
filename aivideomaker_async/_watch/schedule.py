"""What the poller asks next, and when.

**What.** `GET /tasks` reports the status of every task in one request, so several tasks are asked for together, as a
*batch*; a task that the list does not show, and a task that waits alone, are asked for one by one. Which is cheaper is
arithmetic: with n tasks, one request every `pace` seconds, and lists that take T seconds to fetch, a task that is asked
for in turn is n * pace / 2 seconds late on average, and a list max(pace, T) / 2 + T.

**When.** Waiting costs seconds, asking costs requests. Let tasks end at a rate of h a second (the hazard, which is
known as far as their durations have been learned), and let a request be worth c seconds of somebody's waiting. Asking
every d seconds costs h * d / 2 seconds of waiting and c / d of requests each second, which is least for
d = sqrt(2c / h). So the next request is due d seconds after the last one as soon as d * sqrt(h) reaches `DEAR` =
sqrt(2c), or `CHEAP` while nothing is known. The hazards of many tasks add up, so many waiters are asked for more often,
down to the pace of the limit, and a task that cannot be done yet is hardly asked for at all.

**Trust.** A list may come from a cache. So a task that is overdue (past its 95th percentile, or a minute old while
nothing is known) gets a `/status` of its own once a minute: a *probe*, which takes the place of a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from math import inf
from typing import Final, NamedTuple

from .durations import USUAL, Estimate

__all__ = ["Ask", "Batch", "Plan", "PollInput", "WatchedTask", "interval", "list_is_cheaper", "plan"]

DEAR: Final = 0.41
"""sqrt(2c), in square roots of a second: how long it pays to wait where it is known when tasks end. With a median of
90 s a task that waits alone is asked for about 20 times and known 1.9 s late."""

CHEAP: Final = 0.2
"""The same where nothing is known: a request also teaches something."""

ENOUGH_SAMPLES: Final = 5
"""Samples from which on a duration counts as known."""

MAX_INTERVAL_S: Final = 20.0
"""No task is left unasked for longer, whatever is estimated."""

MAX_INTERVAL_OF_CHANGES_S: Final = 5.0
"""The same for a task whose every change somebody watches."""

MAX_ANNOUNCED_INTERVAL_S: Final = 30.0
"""The same for a task whose end a webhook announces."""

MAX_FOLLOWER_INTERVAL_S: Final = 90.0
"""The same for a process whose tasks another process polls for: no other process is relied on for ever."""

EXPECTED_DELIVERIES: Final = 12.0
"""Webhook deliveries that should have come by now, after which a poll finds out whether they still come."""

PROBE_INTERVAL_S: Final = 60.0
"""Seconds between two probes of one task."""

OVERDUE_SHARE: Final = 0.95
"""The share of tasks that would have ended, from which on a task is overdue."""

RETRY_SPACING_PACES: Final = 3
"""Paces between two polls of tasks whose last poll was of no use, so that most of the limit is left for the others."""

DOUBTS_PER_LIST: Final = 2
"""Tasks in doubt, from which on a list settles all of them."""


class Ask(Enum):
    """What a poll asks for."""

    LIST = auto()
    STATUS = auto()
    DETAILS = auto()


class WatchedTask(NamedTuple):
    """What the plan depends on of one task that is waited for. Times are of the same clock as `now`."""

    task_id: str
    started_at: float
    """When the task was submitted, or first watched."""
    asked_at: float = -inf
    """When its status was last asked for, by whatever poll; -inf when it never was, or so long ago that it does not
    count."""
    single_at: float = -inf
    """When an answer about this task alone last came."""
    estimate: Estimate = USUAL
    """How long such tasks take."""
    unlisted: bool = False
    """Whether the last list did not show it."""
    needs_details: bool = False
    """Whether it has ended, somebody waits for its output, and no list has brought it; or there is a doubt."""
    in_doubt: bool = False
    """Whether that is only because of an answer that may have been an error: the list settles it as well."""
    announced_at: float | None = None
    """When webhooks last announced a change, if one will announce the end of this task; else None."""
    changes_matter: bool = False
    """Whether somebody wants every change, and not only the end."""
    unknown: bool = False
    """Whether its details are to be asked for, and not only its status: its model is not known, or what its status
    means."""
    not_before: float = -inf
    """When it may be asked for by itself again, after a failure."""
    failed: bool = False
    """Whether its last poll was of no use."""
    followed: bool = False
    """Whether another process polls for it."""


class Batch(NamedTuple):
    """The tasks that the list answers for together."""

    waiting: int
    sample: Sequence[WatchedTask]
    """All of them, or some that stand for all."""
    asked_at: float
    """When all of them had been asked for; -inf when one of them never was."""
    longest_unasked: str
    """The task to ask for, where they are asked for in turn."""
    followed: bool = False
    """Whether another process polls for them."""


class PollInput(NamedTuple):
    """All that the next poll depends on."""

    singles: Sequence[WatchedTask]
    """Tasks that are asked for one by one, whatever the others do."""
    batch: Batch | None
    """The others."""
    pace: float
    """Seconds between two requests that the limit sustains."""
    list_seconds: float = 0.0
    """How long the last list took to fetch and read; 0 when there was none."""
    lists_work: bool = True
    """Whether lists can be had at all."""
    may_probe: bool = False
    """Whether a probe may take the place of the next list."""
    needs_training: bool = False
    """Whether a list would teach how long tasks take."""
    signal_at: float | None = None
    """When a poll is due because of webhook deliveries."""
    retried_at: float = -inf
    """When a task was last asked for again, whose last poll was of no use."""

    def suits(self, waiting: int) -> bool:
        """Return whether `waiting` tasks are known sooner by the list than by asking for each."""
        return self.lists_work and list_is_cheaper(waiting, self.pace, self.list_seconds)


class Plan(NamedTuple):
    """The next poll."""

    ask: Ask
    at: float
    """When; a time that has passed means now."""
    task_id: str | None = None
    """Which task; None for the list."""
    is_probe: bool = False
    """Whether it takes the place of a list."""


def plan(given: PollInput, now: float) -> Plan | None:
    """Return the next poll, or None when no task is waited for.

    Args:
        given: what it depends on.
        now: the current time in seconds.
    """
    plans = [_single(item, given, now) for item in given.singles]
    if given.batch is not None:
        plans += _plans_for(given.batch, given, now)
    best = min(plans, key=lambda item: item.at, default=None)
    if best is None:
        return None
    if best.ask is Ask.STATUS and not best.is_probe and given.needs_training and given.lists_work:
        # One list reports as much of this task, and how long others took.
        return Plan(Ask.LIST, best.at)
    if best.ask is Ask.DETAILS:
        # For the details of a task that has ended, no list is read.
        doubts = sum(item.in_doubt and not item.unlisted for item in given.singles)
        if doubts >= DOUBTS_PER_LIST and given.suits(doubts):
            return Plan(Ask.LIST, best.at)
    return best


def _plans_for(batch: Batch, given: PollInput, now: float) -> Iterator[Plan]:
    next_in_turn = next((item for item in batch.sample if item.task_id == batch.longest_unasked), None)
    if given.signal_at is not None and not batch.followed:
        # Under contention, a poll that probably brings news goes first.
        at = given.signal_at if given.signal_at > now else -inf
        if given.lists_work and batch.waiting > 1:
            yield Plan(Ask.LIST, at)
        else:
            not_before = -inf if next_in_turn is None else next_in_turn.not_before
            yield Plan(Ask.DETAILS, max(at, not_before), batch.longest_unasked)
    if batch.followed and given.lists_work:
        yield Plan(Ask.LIST, batch.asked_at + MAX_FOLLOWER_INTERVAL_S)
    elif not batch.followed and given.suits(batch.waiting):
        at = batch.asked_at
        if at > -inf:
            at += interval(batch.sample, at, given.pace, waiting=batch.waiting)
        probe = _probe(batch, at) if given.may_probe else None
        yield Plan(Ask.LIST, at) if probe is None else Plan(Ask.STATUS, at, probe, is_probe=True)
    elif len(batch.sample) == batch.waiting:
        yield from (_single(item, given, now) for item in batch.sample)
    elif next_in_turn is None:
        # Too many to weigh each, so they take turns. A task outside of the sample was never asked for.
        yield Plan(Ask.STATUS, -inf, batch.longest_unasked)
    else:
        yield _single(next_in_turn, given, now)


def _probe(batch: Batch, at: float) -> str | None:
    """Return the overdue task that was not asked for by itself for longest, if that was a minute or more ago."""
    overdue = [
        (max(item.single_at, item.started_at), item.task_id)
        for item in batch.sample
        # After a probe that failed, its task is left alone, and lists go on.
        if item.not_before <= at
        and (item.estimate.samples < ENOUGH_SAMPLES or item.estimate.done_by(at - item.started_at) >= OVERDUE_SHARE)
    ]
    unasked_since, task_id = min(overdue, default=(inf, ""))
    return task_id if at - unasked_since >= PROBE_INTERVAL_S else None


def _single(item: WatchedTask, given: PollInput, now: float) -> Plan:
    """Return the next poll for one task by itself."""
    if item.failed:
        # It may be so for ever, so the others go on.
        again_at = max(item.not_before, given.retried_at + RETRY_SPACING_PACES * given.pace)
        return Plan(Ask.DETAILS if item.needs_details or item.unknown else Ask.STATUS, again_at, item.task_id)
    if item.needs_details:
        # Due immediately: under contention, polls that will certainly bring news go first.
        return Plan(Ask.DETAILS, item.not_before if item.not_before > now else -inf, item.task_id)
    if item.asked_at == -inf:
        due = -inf
    elif item.followed:
        due = item.asked_at + MAX_FOLLOWER_INTERVAL_S
    else:
        due = item.asked_at + interval([item], item.asked_at, given.pace)
    return Plan(Ask.DETAILS if item.unknown else Ask.STATUS, max(due, item.not_before), item.task_id)


def interval(sample: Sequence[WatchedTask], asked_at: float, pace: float, *, waiting: int | None = None) -> float:
    """Return the seconds from the last poll for some tasks to the next one.

    Args:
        sample: the tasks, or some that stand for all.
        asked_at: when they were last asked for.
        pace: seconds between two requests that the limit sustains; the interval is never shorter.
        waiting: how many tasks there are, when the sample is not all of them.
    """
    longest = max(pace, min(_longest(item, asked_at, pace) for item in sample))
    scale = 1.0 if waiting is None else waiting / len(sample)
    polled = [item for item in sample if item.announced_at is None]
    announced = [item for item in sample if item.announced_at is not None]

    def is_due_after(seconds: float) -> bool:
        moment = asked_at + seconds / 2
        worth = seconds * seconds * scale * sum(_weight(item, moment) for item in polled)
        return worth >= 1 or scale * sum(_silence(item, asked_at, seconds) for item in announced) >= EXPECTED_DELIVERIES

    if is_due_after(pace):
        return pace
    early, late = pace, min(pace * 1.6, longest)
    while late < longest and not is_due_after(late):
        early, late = late, min(late * 1.6, longest)
    for _ in range(3):
        middle = (early + late) / 2
        early, late = (early, middle) if is_due_after(middle) else (middle, late)
    return late


def _weight(item: WatchedTask, now: float) -> float:
    """Return h / 2c of one task."""
    known = min(item.estimate.samples / ENOUGH_SAMPLES, 1.0)
    price = CHEAP + (DEAR - CHEAP) * known
    return item.estimate.hazard(now - item.started_at) / (price * price)


def _silence(item: WatchedTask, asked_at: float, seconds: float) -> float:
    """Return the deliveries for this task that should have come since the last delivery or poll, from 0 to 1."""
    if item.estimate.samples < ENOUGH_SAMPLES:
        return 0.0
    now = asked_at + seconds
    silent_since = asked_at if item.announced_at is None else max(asked_at, item.announced_at)
    silent_for = max(now - silent_since, 0.0)
    return item.estimate.hazard(now - silent_for / 2 - item.started_at) * silent_for


def _longest(item: WatchedTask, asked_at: float, pace: float) -> float:
    if item.announced_at is not None:
        return MAX_ANNOUNCED_INTERVAL_S
    longest = MAX_INTERVAL_OF_CHANGES_S if item.changes_matter else MAX_INTERVAL_S
    age = max(asked_at - item.started_at, 0.0)
    if item.estimate.samples < ENOUGH_SAMPLES:
        # What is usual may not hold here: nobody is late by much more than a fifth of the time that the task took.
        return min(longest, pace + age / 5)
    # Nor may what held for old rows: then nobody is late by much more than twice that time.
    return longest if item.estimate.confirmed else min(longest, 3 * pace + 2 * age)


def list_is_cheaper(waiting: int, pace: float, list_seconds: float) -> bool:
    """Return whether `waiting` tasks are known sooner by lists than by asking for each in turn."""
    return waiting * pace / 2 > max(pace, list_seconds) / 2 + list_seconds
