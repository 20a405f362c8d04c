"""Who waits for what: the records that somebody has subscribed to, sorted by how they are asked for.

Most are in the crowd, for which the list answers; some are asked for one by one, since the list does not show them;
and some are urgent: they have ended and their output is wanted, or a webhook says that something has happened.
Thousands may wait, so nothing that is done for every poll or every new waiter looks at all of them.
"""

from __future__ import annotations

from itertools import islice
from math import inf
from typing import Final

from .durations import Durations
from .record import Record
from .schedule import LEARNED, OVERDUE, Crowd, View, Watched
from .trust import Announcements, ListTrust

__all__ = ["CURRENT", "Waiting"]

MOST_LOOKED_AT: Final = 32
"""Records that stand for thousands in the arithmetic of one poll."""

CURRENT: Final = 5.0
"""Seconds for which an answer counts as the current status."""


LISTED_AGAIN: Final = 60.0
"""Seconds for which a task that the list does not show is asked for by itself; longer each time."""


class Waiting:
    """The records that somebody waits for.

    Args:
        durations: what is known of how long tasks take.
        announcements: whether webhooks tell of what happens.
        lists: how far the list is believed.
    """

    def __init__(self, durations: Durations, announcements: Announcements, lists: ListTrust) -> None:
        self._durations = durations
        self._announcements = announcements
        self._lists = lists
        self.records: dict[str, Record] = {}
        self._urgent: dict[str, Record] = {}
        self._missing: dict[str, Record] = {}
        self._crowd: dict[str, Record] = {}
        self._unasked: set[str] = set()
        self._unasked_in_crowd: set[str] = set()
        self._impatient: dict[str, Record] = {}
        self._unannounced: dict[str, Record] = {}
        self._followed_since: float | None = None
        self._together_at = -inf
        self.no_lists_until: float = -inf
        """Until when the list is not asked for, since it was of no use."""
        self.lesson_until: float = -inf
        """Until when there is nothing to learn from the list, since that was tried."""
        self.retried_at: float = -inf
        """When a task was last asked for again, whose last attempt had told nothing."""

    def __len__(self) -> int:
        return len(self.records)

    def add(self, record: Record, now: float) -> None:
        """Somebody waits for `record`; a second time sorts it anew."""
        self.records[record.task_id] = record
        if record.asked_at is None or now - record.asked_at > CURRENT:
            self._unasked.add(record.task_id)
        elif not self._crowd:
            self._together_at = record.asked_at
        self.sort(record, now)

    def discard(self, record: Record) -> bool:
        """Nobody waits for `record` any more; returns whether anybody did."""
        if self.records.get(record.task_id) is not record:
            return False
        for place in (self.records, *self._places()):
            place.pop(record.task_id, None)
        self._was_asked(record)
        return True

    def _places(self) -> tuple[dict[str, Record], ...]:
        return self._urgent, self._missing, self._crowd, self._impatient, self._unannounced

    def sort(self, record: Record, now: float) -> None:
        """Put `record` where it belongs, behind the others there; one that nobody needs an answer for, nowhere."""
        task_id = record.task_id
        if self.records.get(task_id) is not record:
            return
        if record.is_over():
            self.discard(record)
            return
        for place in self._places():
            place.pop(task_id, None)
        if record.needs_details() or record.hint is not None:
            self._urgent[task_id] = record
        elif now < record.missing_until:
            self._missing[task_id] = record
        else:
            self._crowd[task_id] = record
            # Few stand for all; of these, some must be among them.
            if record.changes_matter:
                self._impatient[task_id] = record
            if not record.has_webhook:
                self._unannounced[task_id] = record
        if task_id in self._unasked and task_id in self._crowd:
            self._unasked_in_crowd.add(task_id)
        else:
            self._unasked_in_crowd.discard(task_id)

    def _was_asked(self, record: Record) -> None:
        self._unasked.discard(record.task_id)
        self._unasked_in_crowd.discard(record.task_id)

    def asked(self, record: Record, now: float) -> None:
        """The service has answered for `record` alone."""
        self._was_asked(record)
        record.blips = record.refusals = 0
        record.asked(now)
        self.sort(record, now)

    def set_back(self, record: Record, now: float) -> None:
        """The service was asked for `record` alone, and its answer was of no use."""
        self._was_asked(record)
        record.tried_at = now
        self.sort(record, now)

    def listable(self) -> dict[str, Record]:
        """Those for whom the list can answer, at this moment."""
        return self._crowd | {key: record for key, record in self._urgent.items() if not record.is_terminal}

    def unlisted(self) -> frozenset[str]:
        """The ids of the others: the list may tell of them after all, and it is not read any further for them."""
        return frozenset(self._missing) | self._urgent.keys()

    def was_listed(self, record: Record, now: float) -> None:
        """The list has told of `record`."""
        self._was_asked(record)
        record.asked(now)
        record.missed = 0
        if not record.needs_details():
            record.blips = record.refusals = 0
        if record.task_id not in self._crowd or record.is_terminal:
            record.missing_until = -inf
            self.sort(record, now)

    def was_not_listed(self, record: Record, now: float) -> None:
        """The list was read to its end, and does not show `record`: it is asked for by itself, for a while."""
        record.missed += 1
        record.missing_until = now + LISTED_AGAIN * 2.0 ** min(record.missed - 1, 10)
        self.sort(record, now)

    def all_listed(self, now: float) -> None:
        """The list has told of all in the crowd."""
        self._together_at = now

    def ask_all_soon(self) -> None:
        """Something has happened to one of the crowd, and it is not known to which."""
        some = list(islice(self._crowd, MOST_LOOKED_AT))
        self._unasked.update(some)
        self._unasked_in_crowd.update(some)

    # --- what the next poll depends on ---------------------------------------------------------------

    def view(self, now: float, *, pace: float, list_seconds: float, followed: bool = False) -> View | None:
        """All that the next poll depends on, or None when nobody waits.

        Args:
            now: the time of the event loop.
            pace: seconds between two requests that the limit sustains.
            list_seconds: how long the last list took.
            followed: whether another process polls for this one.
        """
        if not self.records:
            return None
        self._return_from_missing(now)
        if not followed:
            self._followed_since = None
        elif self._followed_since is None:
            self._followed_since = now
        alone = [*islice(self._urgent.values(), MOST_LOOKED_AT), *islice(self._missing.values(), MOST_LOOKED_AT)]
        watched = [self._watched(record, now) for record in alone]
        sample = [self._watched(record, now) for record in self._sample()]
        return View(
            alone=watched,
            crowd=self._seen_together(sample, followed=followed) if sample else None,
            pace=pace,
            list_seconds=list_seconds,
            list_lag=self._lists.lag(now),
            lists_work=now >= self.no_lists_until,
            retried_at=self.retried_at,
            lesson_due=not followed
            and now >= self.lesson_until
            and any(not item.estimate.samples for item in (*watched, *sample)),
        )

    def _return_from_missing(self, now: float) -> None:
        for record in list(islice(self._missing.values(), MOST_LOOKED_AT)):
            if now >= record.missing_until:
                self.sort(record, now)

    def _sample(self) -> list[Record]:
        stride = -(-len(self._crowd) // MOST_LOOKED_AT) or 1
        sample = list(islice(self._crowd.values(), 0, None, stride))
        if stride > 1:
            # Those for whom a shorter interval may hold: the youngest, one who wants each change, one without webhook.
            special = (reversed(self._crowd.values()), iter(self._impatient.values()), iter(self._unannounced.values()))
            sample += [record for some in special if (record := next(some, None)) and record not in sample]
        return sample

    def _seen_together(self, sample: list[Watched], *, followed: bool) -> Crowd:
        unasked = next(iter(self._unasked_in_crowd), None)
        return Crowd(
            waiting=len(self._crowd),
            sample=sample,
            asked_at=self._asked_at(None if unasked is not None else self._together_at),
            followed=followed,
            longest_unasked=next(iter(self._crowd)) if unasked is None else unasked,
            suspect=self._suspect(sample) if self._lists.check_is_due else None,
        )

    def _suspect(self, sample: list[Watched]) -> str | None:
        """Of which task an outdated list would be noticed soonest."""
        age_now = self._together_at
        ended = [(item.estimate.done_by(age_now - item.since), item) for item in sample]
        likely, item = max(ended, key=lambda pair: pair[0])
        # Where nothing is known, any will do.
        return item.task_id if likely >= OVERDUE or item.estimate.samples < LEARNED else None

    def _asked_at(self, moment: float | None) -> float | None:
        """When something was asked for; the leader asks for what was never asked for, and does so at once."""
        if self._followed_since is None:
            return moment
        return self._followed_since if moment is None else max(moment, self._followed_since)

    def _watched(self, record: Record, now: float) -> Watched:
        asked_at = None if record.task_id in self._unasked or record.asked_at is None else record.asked_at
        if record.tried_at > -inf:
            asked_at = record.tried_at if asked_at is None else max(asked_at, record.tried_at)
        return Watched(
            task_id=record.task_id,
            since=record.since,
            asked_at=self._asked_at(asked_at),
            estimate=self._durations.estimate(record.model, record.length),
            missing=now < record.missing_until,
            needs_details=record.needs_details(),
            doubtful=record.in_doubt and not record.is_terminal,
            hinted=record.hint is not None,
            heard_at=self._announcements.heard_at(now) if record.has_webhook else None,
            changes_matter=record.changes_matter,
            whole=record.model is None,
            not_before=record.not_before,
            tried=record.blips > 0,
            followed=self._followed_since is not None,
        )
