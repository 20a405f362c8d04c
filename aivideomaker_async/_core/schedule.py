"""What the watcher asks next, and when.

`GET /tasks` tells the status of every task in one request, so several tasks are asked for together; a task that the
list does not show, and a task that waits alone, are asked for one by one. Which is cheaper is arithmetic: with n tasks,
one request every `pace` seconds and lists that take T seconds to fetch and read, a task that is asked for in turn is
n * pace / 2 seconds late on average, and a list max(pace, T) / 2 + T.

How often is a trade of requests for seconds. Nothing is known yet about when a task will be done, so its age stands in:
what has run for minutes is not late by the seconds that a younger one would be. Many waiters share a poll, and what
they lose by waiting adds up while the request costs the same, so the interval shrinks with the square root of their
number, down to the pace of the limit.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum, auto
from math import sqrt
from typing import Final

from attrs import frozen

__all__ = ["Ask", "Plan", "Watched", "interval", "list_is_cheaper", "plan"]

AGE_SHARE: Final = 1 / 30
"""The share of its age by which the news of a task that waits alone may be late."""

LONGEST_INTERVAL: Final = 5.0
"""Seconds; no task is left unasked for longer, however old it is."""


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
    """When its status was last asked for, by whatever poll; None when it never was."""
    missing: bool = False
    """Whether the last list did not show it."""
    needs_details: bool = False
    """Whether it has ended, somebody waits for its output, and no list has brought it."""
    not_before: float = float("-inf")
    """When it may be asked for by itself again, after an attempt that failed."""


@frozen
class Plan:
    """The next poll."""

    ask: Ask
    at: float
    """When; a time that has passed means now."""
    task_id: str | None = None
    """Which task; None for the list."""


def interval(waiting: int, age: float, pace: float) -> float:
    """Seconds between two polls for `waiting` tasks, the youngest of which is `age` seconds old.

    Args:
        waiting: how many tasks one poll serves.
        age: seconds since the youngest was submitted.
        pace: seconds between two requests that the limit sustains; the interval is never shorter.
    """
    relaxed = min(max(age, 0.0) * AGE_SHARE, LONGEST_INTERVAL)
    return max(pace, relaxed / sqrt(max(waiting, 1)))


def list_is_cheaper(waiting: int, pace: float, list_seconds: float) -> bool:
    """Whether `waiting` tasks hear sooner from lists than from asking for each in turn."""
    return waiting * pace / 2 > max(pace, list_seconds) / 2 + list_seconds


def plan(watched: Collection[Watched], *, now: float, pace: float, list_seconds: float) -> Plan | None:
    """The next poll, or None when nobody waits.

    Args:
        watched: the tasks that somebody waits for.
        now: the current time in seconds.
        pace: seconds between two requests that the limit sustains.
        list_seconds: how long the last list took to fetch and read; 0 when there was none.
    """
    # Overdue since ever, as it were: where the limit leaves all polls late, one that is sure to end a wait goes first.
    plans = [Plan(Ask.DETAILS, item.not_before, item.task_id) for item in watched if item.needs_details]
    single = [item for item in watched if not item.needs_details]
    listed = [item for item in single if not item.missing]
    if list_is_cheaper(len(listed), pace, list_seconds):
        plans.append(_together(listed, now, pace))
        single = [item for item in single if item.missing]
    plans += (_alone(item, now, pace) for item in single)
    return min(plans, key=lambda item: item.at, default=None)


def _together(listed: Collection[Watched], now: float, pace: float) -> Plan:
    # A task that nobody has asked for yet is news to everyone who waits for it: at once.
    oldest = min(float("-inf") if item.asked_at is None else item.asked_at for item in listed)
    youngest = now - max(item.since for item in listed)
    return Plan(Ask.LIST, oldest + interval(len(listed), youngest, pace))


def _alone(item: Watched, now: float, pace: float) -> Plan:
    due = float("-inf") if item.asked_at is None else item.asked_at + interval(1, now - item.since, pace)
    return Plan(Ask.STATUS, max(due, item.not_before), item.task_id)
