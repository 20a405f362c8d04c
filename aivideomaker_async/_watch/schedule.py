"""What the watcher asks next, and when.

**What.** `GET /tasks` tells the status of every task in one request, so several tasks are asked for together; a task
that the list does not show, and a task that waits alone, are asked for one by one. Which is cheaper is arithmetic: with
n tasks, one request every `pace` seconds, and lists that take T seconds to fetch and lag L seconds behind, a task that
is asked for in turn is n * pace / 2 seconds late on average, and a list max(pace, T) / 2 + T + L.

**When.** Waiting costs seconds, asking costs requests. Let tasks end at a rate of h a second (the hazard, which is
known as far as their durations have been learned), and let a request be worth c seconds of somebody's waiting. Asking
every d seconds costs h * d / 2 seconds of waiting and c / d of requests each second, which is least for
d = sqrt(2c / h). So the next request is due d seconds after the last one as soon as d * sqrt(h) reaches `DEAR` =
sqrt(2c), or `CHEAP` while nothing is known. The hazards of many tasks add up, so many waiters are asked for more often,
down to the pace of the limit, and a task that cannot be done yet is hardly asked for at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from math import inf
from typing import Final

from attrs import frozen

from .durations import USUAL, Estimate

__all__ = ["Ask", "Crowd", "Plan", "View", "Watched", "interval", "list_is_cheaper", "plan"]

DEAR: Final = 0.41
"""sqrt(2c), in square roots of a second: how long it pays to wait where it is known when tasks end. With a median of
90 s a task that waits alone is asked for about 20 times and known 1.9 s late."""

CHEAP: Final = 0.2
"""The same where nothing is known: a request also teaches something."""

USUAL_PACE: Final = 60 / 57
"""Seconds between two requests under the service's own limit, for which all these constants hold. Where more requests
are allowed they are cheaper, and where a whole world runs faster, its limit does as well: then all of it shrinks."""

SMALLEST_UNIT: Final = 0.01

LEARNED: Final = 5
"""Samples from which on a duration counts as known."""

LONGEST_INTERVAL: Final = 20.0
"""Seconds; no task is left unasked for longer, whatever is believed of it."""

LONGEST_UNSEEN_CHANGE: Final = 5.0
"""Seconds; the same for a task whose every change somebody watches."""

LONGEST_ANNOUNCED: Final = 30.0
"""Seconds; the same for a task whose end a webhook announces."""

LONGEST_FOLLOWED: Final = 90.0
"""Seconds after which a process asks for itself, although another one does so for it: nobody is relied on for ever."""

SILENCE: Final = 12.0
"""Webhooks that should have come by now, after which it is looked whether they still come."""

OVERDUE: Final = 0.5
"""The share of tasks that would have ended, from which on the list is not believed that one has not."""

PATIENCE: Final = 3
"""Paces between two attempts at tasks whose last attempt told nothing, so that most of the limit is left for others."""

SEVERAL: Final = 2
"""Webhooks that are waiting to be confirmed, from which on the list confirms them all."""


class Ask(Enum):
    """What a poll asks for."""

    LIST = auto()
    STATUS = auto()
    DETAILS = auto()


@frozen(kw_only=True)
class Watched:
    """What is known of one task that somebody waits for. Times are seconds of the same clock as `now`."""

    task_id: str
    since: float
    """When the task was submitted, or first watched."""
    asked_at: float | None
    """When its status was last asked for, by whatever poll; None when it never was, or so long ago that it tells
    nothing."""
    estimate: Estimate = USUAL
    """How long such tasks take."""
    missing: bool = False
    """Whether the last list did not show it."""
    needs_details: bool = False
    """Whether it has ended, somebody waits for its output, and no list has brought it."""
    doubtful: bool = False
    """Whether that is only because of an answer that may have been an error: the list settles it as well."""
    hinted: bool = False
    """Whether a webhook says that something has happened."""
    heard_at: float | None = None
    """When the last webhook came, for whatever task, if one will come when this task ends; else None."""
    changes_matter: bool = False
    """Whether somebody watches each change, and not only the end."""
    whole: bool = False
    """Whether its details are to be asked for, and not only its status: next to nothing is known of it."""
    not_before: float = -inf
    """When it may be asked for by itself again, after an attempt that failed."""
    tried: bool = False
    """Whether the last attempt told nothing."""
    followed: bool = False
    """Whether another process asks for it, and tells this one."""


@frozen(kw_only=True)
class Crowd:
    """The tasks that the list answers for together."""

    waiting: int
    sample: Sequence[Watched]
    """All of them, or some that stand for all."""
    asked_at: float | None
    """When all of them had been asked for; None when one of them never was."""
    longest_unasked: str
    """The task to ask for, where they are asked for in turn."""
    followed: bool = False
    """Whether another process asks for them, and tells this one."""
    suspect: str | None = None
    """A task of which the list should be checked, by asking for it by itself."""


@frozen(kw_only=True)
class View:
    """All that the next poll depends on."""

    alone: Sequence[Watched]
    """Tasks that are asked for one by one, whatever the others do."""
    crowd: Crowd | None
    """The others."""
    pace: float
    """Seconds between two requests that the limit sustains."""
    list_seconds: float = 0.0
    """How long the last list took to fetch and read; 0 when there was none."""
    list_lag: float = 0.0
    """Seconds by which lists have been seen to be behind."""
    lists_work: bool = True
    """Whether there is a list at all."""
    lesson_due: bool = False
    """Whether a list would teach how long tasks take."""
    retried_at: float = -inf
    """When a task was last asked for again, whose last attempt had told nothing."""

    def suits(self, waiting: int) -> bool:
        """Whether so many tasks hear sooner from the list than from asking for each."""
        return self.lists_work and list_is_cheaper(waiting, self.pace, self.list_seconds, self.list_lag)


@frozen
class Plan:
    """The next poll."""

    ask: Ask
    at: float
    """When; a time that has passed means now."""
    task_id: str | None = None
    """Which task; None for the list."""
    checks_list: bool = False
    """Whether it is to tell how far the list is to be believed."""


def interval(sample: Sequence[Watched], asked_at: float, pace: float, *, waiting: int | None = None) -> float:
    """Seconds from the last poll for some tasks to the next one.

    Args:
        sample: the tasks, or some that stand for all.
        asked_at: when they were last asked for.
        pace: seconds between two requests that the limit sustains; the interval is never shorter.
        waiting: how many tasks there are, when the sample is not all of them.
    """
    unit = _unit(pace)
    longest = max(pace, min(_longest(item, asked_at, pace, unit) for item in sample))
    scale = 1.0 if waiting is None else waiting / len(sample)
    polled_for = [item for item in sample if item.heard_at is None]
    announced = [item for item in sample if item.heard_at is not None]

    def is_due_after(seconds: float) -> bool:
        moment = asked_at + seconds / 2
        polled = seconds * seconds * scale * sum(_weight(item, moment, unit) for item in polled_for)
        return polled >= 1 or scale * sum(_unheard(item, asked_at, asked_at + seconds) for item in announced) >= SILENCE

    if is_due_after(pace):
        return pace
    early, late = pace, min(pace * 1.6, longest)
    while late < longest and not is_due_after(late):
        early, late = late, min(late * 1.6, longest)
    for _ in range(3):
        middle = (early + late) / 2
        early, late = (early, middle) if is_due_after(middle) else (middle, late)
    return late


def _unit(pace: float) -> float:
    """What stands for a second: the less the limit is, the dearer a request, but nobody's patience grows with it."""
    return min(max(pace / USUAL_PACE, SMALLEST_UNIT), 1.0)


def _weight(item: Watched, now: float, unit: float) -> float:
    known = min(item.estimate.samples / LEARNED, 1.0)
    price = CHEAP + (DEAR - CHEAP) * known
    age = now - item.since
    # What is usual was seen where 60 requests a minute are.
    hazard = item.estimate.hazard(age) if item.estimate.samples else item.estimate.hazard(age / unit) / unit
    return hazard / (price * price * unit)


def _unheard(item: Watched, asked_at: float, now: float) -> float:
    """The probability that this task has ended since webhooks were last heard, or polls last made."""
    if item.estimate.samples < LEARNED:
        return 0.0
    silent_since = asked_at if item.heard_at is None else max(asked_at, item.heard_at)
    seconds = max(now - silent_since, 0.0)
    return item.estimate.hazard(now - seconds / 2 - item.since) * seconds


def _longest(item: Watched, asked_at: float, pace: float, unit: float) -> float:
    if item.heard_at is not None:
        return LONGEST_ANNOUNCED * unit
    longest = unit * (LONGEST_UNSEEN_CHANGE if item.changes_matter else LONGEST_INTERVAL)
    age = max(asked_at - item.since, 0.0)
    # Nobody is to be late by much more than the task took: what is usual may not hold here, and what rows tell may be
    # told by another clock.
    if item.estimate.samples < LEARNED:
        return min(longest, pace + age / 5)
    return longest if item.estimate.measured else min(longest, 3 * pace + 2 * age)


def list_is_cheaper(waiting: int, pace: float, list_seconds: float, list_lag: float = 0.0) -> bool:
    """Whether `waiting` tasks hear sooner from lists than from asking for each in turn."""
    return waiting * pace / 2 > max(pace, list_seconds) / 2 + list_seconds + list_lag


def plan(view: View, now: float) -> Plan | None:
    """The next poll, or None when nobody waits.

    Args:
        view: what is known.
        now: the current time in seconds.
    """
    plans = [_alone(item, view, now) for item in view.alone]
    if view.crowd is not None:
        plans += _plans_for(view.crowd, view, now)
    best = min(plans, key=lambda item: item.at, default=None)
    if best is not None and best.ask is Ask.STATUS and not best.checks_list and view.lesson_due and view.lists_work:
        # One list tells as much of this task, and how long others took.
        return Plan(Ask.LIST, best.at)
    if best is not None and best.ask is Ask.DETAILS:
        # No list is read for the details of a task that has ended.
        together = sum(_is_settled_by_list(item, now) for item in view.alone)
        if together >= SEVERAL and view.suits(together):
            return Plan(Ask.LIST, best.at)
    return best


def _plans_for(crowd: Crowd, view: View, now: float) -> Iterator[Plan]:
    if crowd.followed and view.lists_work:
        yield Plan(Ask.LIST, -inf if crowd.asked_at is None else crowd.asked_at + LONGEST_FOLLOWED)
    elif not crowd.followed and view.suits(crowd.waiting):
        at = -inf
        if crowd.asked_at is not None:
            at = crowd.asked_at + interval(crowd.sample, crowd.asked_at, view.pace, waiting=crowd.waiting)
        suspect = None if crowd.suspect is None else _found(crowd.suspect, crowd.sample)
        if crowd.suspect is None or (suspect is not None and suspect.not_before > at):
            # After a check that failed, the others hear of their tasks before the next one.
            yield Plan(Ask.LIST, at)
        else:
            yield Plan(Ask.STATUS, at, crowd.suspect, checks_list=True)
    elif len(crowd.sample) == crowd.waiting:
        yield from (_alone(item, view, now) for item in crowd.sample)
    else:
        # Too many to weigh each: they take turns. One that does not stand for the others was never asked for.
        first = _found(crowd.longest_unasked, crowd.sample)
        yield Plan(Ask.STATUS, -inf, crowd.longest_unasked) if first is None else _alone(first, view, now)


def _is_settled_by_list(item: Watched, now: float) -> bool:
    """Whether this urgent task is one that the list will tell of."""
    if item.missing:
        return False
    return item.doubtful or (item.hinted and not item.needs_details and item.not_before <= now)


def _found(task_id: str, sample: Sequence[Watched]) -> Watched | None:
    return next((item for item in sample if item.task_id == task_id), None)


def _alone(item: Watched, view: View, now: float) -> Plan:
    if item.tried:
        # Whatever it was, it may be so for ever: the others go on meanwhile.
        again_at = max(item.not_before, view.retried_at + PATIENCE * view.pace)
        return Plan(
            Ask.DETAILS if item.needs_details or item.hinted or item.whole else Ask.STATUS, again_at, item.task_id
        )
    if item.needs_details or item.hinted:
        # Overdue since ever, as it were: where the limit leaves all polls late, one that is sure to tell something, or
        # likely to, goes first.
        return Plan(Ask.DETAILS, item.not_before if item.not_before > now else -inf, item.task_id)
    if item.asked_at is None:
        due = -inf
    elif item.followed:
        due = item.asked_at + LONGEST_FOLLOWED
    else:
        due = item.asked_at + interval([item], item.asked_at, view.pace)
    return Plan(Ask.DETAILS if item.whole else Ask.STATUS, max(due, item.not_before), item.task_id)
