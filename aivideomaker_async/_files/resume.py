"""How a file is put together from several responses, so that it is one version in the end and never a mix.

A request asks for the missing bytes when there are some already and their version has a strong entity tag:
`Range: bytes=<position>-` with `If-Range: <entity tag>`. Otherwise it asks for the whole file.

| response | what happens to the bytes |
|---|---|
| 200, the version that is there (servers without ranges send it all again) | those that are there are skipped |
| 200, any other version, or one that cannot be recognized | the file begins anew with this body |
| 206, exactly the missing bytes of the version that is there | the body continues the file |
| 206 or 416, anything else | not read; the next request asks for the whole file |
| 206 or 416, no range was requested | the download fails |
| compressed, empty, or larger than allowed | the download fails |

A file that cannot begin anew, because its bytes were passed on already, fails with `Changed` instead.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from .versions import PartMetadata, ResponseHead, Version

__all__ = ["Changed", "DownloadRetries", "Transfer", "Unusable"]

FIRST_RESUME_PAUSE_S: Final = 0.5
PAUSE_FACTOR: Final = 4.0
MAX_PAUSE_S: Final = 20.0
"""Five attempts last about half a minute: long enough for most restarts of a server."""

PROGRESS_BYTES: Final = 256 * 1024
"""An attempt that brings this many new bytes restarts the count of failed attempts."""


class Unusable(Exception):
    """The response cannot become the file, and another request would not help."""


class Changed(Unusable):
    """The file has another version now, and the bytes of the old one cannot be taken back."""


class Transfer:
    """The state of one file while it arrives.

    Args:
        part: what is on disk from an earlier download.
        may_restart: whether the file may begin anew. Bytes that were passed on to a reader cannot be taken back.
        max_bytes: the largest file that is accepted.
    """

    def __init__(self, part: PartMetadata | None = None, *, may_restart: bool = True, max_bytes: int) -> None:
        self.position: int = 0
        """Bytes of the file that have arrived."""
        self.version: Version | None = None
        self._may_restart = may_restart
        self._max_bytes = max_bytes
        self._asked_for_rest = False
        self._skip = 0
        """Leading bytes of the rest of the current body that have arrived before."""
        self._body_end: int | None = None
        """Position at which the current body must end, if the server states it."""
        if part is not None and part.size > 0:
            self.version, self.position = part.version, part.size

    @property
    def total(self) -> int | None:
        """Bytes of the whole file, if known."""
        return None if self.version is None else self.version.total

    @property
    def is_whole(self) -> bool:
        """Whether every byte has arrived."""
        return self.position > 0 and self.position == self.total

    @property
    def can_retry(self) -> bool:
        """Whether another request can bring the missing bytes."""
        return self._may_restart or self.position == 0 or (self.version is not None and self.version.etag is not None)

    def request_headers(self) -> dict[str, str]:
        """Return the headers of the next request."""
        etag = None if self.version is None else self.version.etag
        self._asked_for_rest = self.position > 0 and etag is not None
        return {"Range": f"bytes={self.position}-", "If-Range": etag} if etag and self._asked_for_rest else {}

    def accept(self, head: ResponseHead) -> bool:
        """Decide about the response to a request with `request_headers`; its status is 200, 206 or 416.

        Returns:
            Whether to read its body. If not, ask again; the next request is for the whole file.

        Raises:
            Unusable: no request can bring the file.
        """
        if head.coding is not None and head.status != 416:
            # Not decompressed: a compressed body that was cut short can look complete.
            raise Unusable(f"it came compressed ({head.coding}), which was not requested")
        if head.status != 200 and not self._asked_for_rest:
            raise Unusable(f"status {head.status}, although no range was requested")
        known = self.version
        if head.status == 200:
            version = Version.of(head)
            self._check_size(version.total)
            if not self.position or known is None or not known.is_same(version.etag, version.total):
                self._restart(version)
            self._skip, self._body_end = self.position, self.total if version.total is None else version.total
            return True
        found = head.content_range
        continues = head.status == 206 and found is not None and found.start == self.position
        if not continues or found is None or known is None or not known.is_same(head.etag, found.total):
            self._restart(None)
            return False
        self._check_size(found.total)
        self._skip, self._body_end = 0, found.stop
        self.version = evolve(known, total=found.total)
        return True

    def _restart(self, version: Version | None) -> None:
        if self.position and not self._may_restart:
            raise Changed("the file has changed, or its server cannot confirm that it has not")
        self.position, self.version = 0, version

    def _check_size(self, total: int | None) -> None:
        if total == 0:
            raise Unusable("it is empty")
        if total is not None and total > self._max_bytes:
            raise Unusable(f"it has {total} bytes, more than {self._max_bytes}")

    def receive(self, data: bytes) -> bytes:
        """Take the next bytes of the body. Returns those of them that continue the file.

        Raises:
            Unusable: there are too many.
        """
        skipped = min(len(data), self._skip)
        self._skip -= skipped
        self.position += len(data) - skipped
        if self._body_end is not None and self.position > self._body_end:
            raise Unusable(f"it has more than the {self._body_end} bytes that its server announced")
        if self.position > self._max_bytes:
            raise Unusable(f"it has more than {self._max_bytes} bytes")
        return data[skipped:]

    def end_body(self) -> bool:
        """Note that the body has ended by the rules of HTTP. Returns whether the file is whole.

        Raises:
            Unusable: it is empty, or shorter than what had arrived before.
        """
        if self._skip:
            raise Changed("the file has become shorter")
        if self.version is not None and self.version.total is None:
            self._check_size(self.position)
            self.version = evolve(self.version, total=self.position)
        return self.is_whole


class DownloadRetries:
    """When to try again, and for how long to pause before.

    Args:
        attempts: how many attempts in a row may fail without bringing `PROGRESS_BYTES` of new bytes.
        position: bytes of the file that are there at the beginning.
    """

    def __init__(self, attempts: int, position: int) -> None:
        self.failures: int = 0
        """Failed attempts since the last that brought enough."""
        self._attempts = attempts
        self._mark = position

    def failed(self, position: int) -> bool:
        """Note that an attempt has ended early at this position. Returns whether to make another."""
        # Measured from the furthest position: a file that always breaks at the same place must come to an end.
        if position >= self._mark + PROGRESS_BYTES:
            self._mark, self.failures = position, 0
        self.failures += 1
        return self.failures < self._attempts

    def pause(self, random: float) -> float:
        """Return the seconds to wait before that attempt, for a `random` in [0, 1).

        The jitter spreads downloads that failed together.
        """
        return min(MAX_PAUSE_S, FIRST_RESUME_PAUSE_S * PAUSE_FACTOR ** min(self.failures - 1, 9)) * (1 + random / 4)
