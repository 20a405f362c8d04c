"""The list of all tasks, in blocks of bytes that are kept while nothing in them changes.

An account with many thousands of old tasks is listed again and again, and all but its newest rows are the same each
time.
"""

from bisect import bisect_right

from attrs import frozen

from .wire import Scribe
from .world import World

BLOCK = 256
"""Tasks in a block; with rows of half a kilobyte it is large enough to be sent by itself."""

_BETWEEN = b", "


@frozen
class _Block:
    """The rows of a block, good from the last step of one of its tasks until the next."""

    rows: bytes
    changes: int
    since: float
    until: float


class Listing:
    """Writes the answer to a list."""

    def __init__(self, world: World, scribe: Scribe) -> None:
        self._world = world
        self._scribe = scribe
        self._blocks: dict[int, _Block] = {}

    def pieces(self, now: float, limit: int | None = None) -> list[bytes]:
        """Return the body in pieces: the newest `limit` of the tasks that there were at `now`, the newest first."""
        stop = bisect_right(self._world.in_order, now, key=lambda task: task.created)
        oldest = 0 if limit is None else max(0, stop - limit)
        rows: list[bytes] = []
        while stop > oldest:
            start = max(oldest, (stop - 1) // BLOCK * BLOCK)
            # Only a whole block stays the same when tasks are added.
            rows.append(self._block(start, now) if stop - start == BLOCK else self._rows(start, stop, now))
            stop = start
        newest = b"".join(rows[:1])
        return [b'{"tasks": [' + newest.removeprefix(_BETWEEN), *rows[1:], b"]}"]

    def _block(self, start: int, now: float) -> bytes:
        kept = self._blocks.get(start)
        if kept is not None and kept.changes == self._world.changes and kept.since <= now < kept.until:
            return kept.rows
        tasks = self._world.in_order[start : start + BLOCK]
        since = max(task.timeline.since(now) for task in tasks)
        until = min(task.timeline.good_until(now) for task in tasks)
        block = _Block(self._rows(start, start + BLOCK, now), self._world.changes, since, until)
        self._blocks[start] = block
        return block.rows

    def _rows(self, start: int, stop: int, now: float) -> bytes:
        """Write these tasks, the newest first, with a comma before each."""
        tasks = reversed(self._world.in_order[start:stop])
        return _BETWEEN.join([b"", *(self._scribe.task(task, now) for task in tasks)])
