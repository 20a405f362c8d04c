"""A file that comes in several answers: what to ask for, and whether what comes belongs to what is there.

Answers are put together only when they are surely of one version of the file: it has a strong validator (RFC 9110,
section 8.8.1), each part was asked for under it with `If-Range`, and the answer carries it, and contradicts neither the
other validator nor the length told before. In every other case the file is begun anew. So what is whole in the end is
one version of it, never a mix.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from attrs import evolve

from .versions import Begun, Head, Version

__all__ = ["Changed", "Patience", "Step", "Transfer", "Unusable"]

FIRST_PAUSE: Final = 0.5
"""Seconds before the second attempt: a connection that merely broke is there again at once."""

GROWTH: Final = 4.0
LONGEST_PAUSE: Final = 20.0
"""Seconds. Five attempts are half a minute, in which most servers that were restarted are there again."""

ENOUGH: Final = 256 * 1024
"""Bytes after which it is worth to go on trying: attempts that brought as many are forgotten."""


class Unusable(Exception):
    """What came cannot be made a file, and asking again will not help."""


class Changed(Unusable):
    """It is another file than before, and what was before cannot be taken back."""


class Step(Enum):
    """What to do with an answer."""

    BEGIN = auto()
    """Its body is the file from the first byte on."""
    GO_ON = auto()
    """Its body brings what is missing; what was there before is passed over."""
    COMPLETE = auto()
    """There is nothing more to come."""
    ASK_AGAIN = auto()
    """It does not fit; the file must be asked for from the first byte on."""


class Transfer:
    """One file on its way.

    Args:
        begun: what is there already.
        may_restart: whether it can be begun anew; what has been passed on cannot.
        most: bytes that a file may have.
    """

    def __init__(self, begun: Begun | None = None, *, may_restart: bool = True, most: int) -> None:
        self.position: int = 0
        """Bytes that are there."""
        self.reached: int = 0
        """The most bytes that ever were there."""
        self.version: Version | None = None
        self._may_restart = may_restart
        self._most = most
        self._asked = False
        self._stop: int | None = None
        self._open_end = False
        self._doubted = 0
        self._known = 0
        if begun is not None and begun.size > 0:
            self.version, self.position, self.reached = begun.version, begun.size, begun.size

    @property
    def total(self) -> int | None:
        """Bytes of the whole file, where that is known."""
        return None if self.version is None else self.version.total

    @property
    def is_whole(self) -> bool:
        """Whether all is there."""
        return self.position > 0 and self.position == self.total

    @property
    def can_go_on(self) -> bool:
        """Whether another request can bring what is missing."""
        return self._may_restart or self.position == 0 or (self.version is not None and bool(self.version.validator))

    def headers(self) -> dict[str, str]:
        """The headers of the next request."""
        validator = None if self.version is None else self.version.validator
        self._asked = self.position > 0 and validator is not None
        if validator is None or not self._asked:
            return {}
        return {"Range": f"bytes={self.position}-", "If-Range": validator}

    def take(self, head: Head) -> Step:
        """Here is the head of the answer to the request with those headers: 200, 206 or 416.

        Raises:
            Unusable: no request can bring the file.
        """
        if head.coding is not None and head.status != 416:
            # Not unpacked: an end that came too early may go unnoticed in it.
            raise Unusable(f"it came compressed ({head.coding}), which was not asked for")
        if head.status == 200:
            return self._take_whole(head, None)
        if self._asked:
            return self._take_part(head)
        found = head.content_range
        if head.status != 206 or found is None or found.start != 0 or found.total is None:
            raise Unusable(f"status {head.status}, and no part was asked for")
        # A part that nobody asked for, from the first byte on.
        return self._take_whole(evolve(head, length=found.total), found.stop)

    def _take_whole(self, head: Head, stop: int | None) -> Step:
        version = Version.of(head)
        self._check(version.total)
        self._stop, self._open_end, self._known = version.total if stop is None else stop, head.open_end, 0
        if self.position and self.version is not None and self.version.is_surely(version, version.total):
            self._known = self.position
            return Step.GO_ON
        self._restart()
        self.version = version
        return Step.BEGIN

    def _take_part(self, head: Head) -> Step:
        version, found = self.version, head.content_range
        assert version is not None  # noqa: S101  (a part of it was asked for)
        if found is None:
            return self._ask_again()
        if head.status == 416:
            if found.start is not None or found.total != self.position or not version.may_be(head, found.total):
                return self._ask_again()
            self.version = evolve(version, total=self.position)
            return Step.COMPLETE
        stop = found.stop
        if stop is None or found.start != self.position or head.length not in {None, stop - self.position}:
            return self._ask_again()
        if not version.is_surely(head, found.total):
            return self._ask_again()
        self._check(found.total)
        self._stop, self._open_end, self._known = stop, found.total is None, 0
        self.version = evolve(version, total=version.total if found.total is None else found.total)
        return Step.GO_ON

    def _ask_again(self) -> Step:
        self._restart()
        self.version = None
        return Step.ASK_AGAIN

    def _restart(self) -> None:
        if self.position and not self._may_restart:
            raise Changed("the file has changed meanwhile, or the server does not tell that it has not")
        self.position = 0

    def _check(self, total: int | None) -> None:
        if total == 0:
            raise Unusable("it is empty")
        if total is not None and total > self._most:
            raise Unusable(f"it has {total} bytes, more than {self._most}")

    def advance(self, count: int) -> int:
        """So many more bytes have come. Returns how many of them, from the first on, were there before.

        Raises:
            Unusable: they are too many.
        """
        known = min(count, self._known)
        self._known -= known
        self.position += count - known
        self.reached = max(self.reached, self.position)
        if self._stop is not None and self.position > self._stop:
            raise Unusable(f"more came than the {self._stop} bytes that the server had told")
        if self.position > self._most:
            raise Unusable(f"it has more than {self._most} bytes")
        return known

    def ended(self) -> bool:
        """The body has come to its end, as HTTP sees it. Returns whether the file is whole.

        Raises:
            Unusable: it is empty, or shorter than what is there.
        """
        if self._known:
            raise Changed("the file has changed meanwhile")
        version = self.version
        if version is not None and version.total is None and not self._is_doubtful(version):
            self._check(self.position)
            self.version = evolve(version, total=self.position)
        return self.is_whole

    def _is_doubtful(self, version: Version) -> bool:
        """Whether this may be a break and not the end, and another request can tell. Two at one place are the end."""
        if not self._open_end or version.validator is None or self._doubted == self.position:
            return False
        self._doubted = self.position
        return True


class Patience:
    """How often to try again.

    Args:
        attempts: how many attempts in a row may bring next to nothing.
        position: bytes that are there already.
    """

    def __init__(self, attempts: int, position: int) -> None:
        self.failures: int = 0
        """Attempts that failed since the last that brought something."""
        self._attempts = attempts
        self._mark = position

    def failed(self, position: int) -> bool:
        """An attempt has ended early, at this position. Returns whether to make another."""
        # Beyond what was there before: a file that always breaks at the same place never comes to its end.
        if position >= self._mark + ENOUGH:
            self._mark, self.failures = position, 0
        self.failures += 1
        return self.failures < self._attempts

    def pause(self, random: float) -> float:
        """Seconds to wait before that attempt, for a `random` in [0, 1): who failed together does not come back so."""
        return min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** min(self.failures - 1, 9)) * (1 + random / 4)
