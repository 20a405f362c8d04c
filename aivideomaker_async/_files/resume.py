"""How a file is put together from several responses, so that it is one version in the end and never a mix.

A version is recognized by a strong entity tag alone (RFC 9110, section 8.8.3): a weak one may stay the same while the
bytes change, and a date has whole seconds.

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

import hashlib
import json
import re
from typing import Final, Self

from attrs import evolve, frozen

__all__ = [
    "Changed",
    "ContentRange",
    "DownloadRetries",
    "PartMetadata",
    "ResponseHead",
    "Transfer",
    "Unusable",
    "Version",
    "is_part_metadata",
    "part_key",
]

FIRST_RESUME_PAUSE_S: Final = 0.5
PAUSE_FACTOR: Final = 4.0
MAX_PAUSE_S: Final = 20.0
"""Five attempts last about half a minute: long enough for most restarts of a server."""

PROGRESS_BYTES: Final = 256 * 1024
"""An attempt that brings this many new bytes restarts the count of failed attempts."""

_CONTENT_RANGE: Final = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII | re.IGNORECASE)
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_VIDEO_TYPE: Final = re.compile(r"video/[a-z0-9.+-]+", re.ASCII)

_PAGE_TYPE: Final = re.compile(r"text/[a-z0-9.+-]+|application/(?:[a-z0-9.-]+\+)?(?:json|xml)", re.ASCII)

_MP4_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"})
_MATROSKA: Final = b"\x1a\x45\xdf\xa3"

_FORMAT: Final = 2
"""Parts of another format are recognized as ours and begun anew."""

_METADATA_START: Final = re.compile(r'\{"format": [0-9]+, "file": "')


# --- what a response says about the file -------------------------------------------------------------


@frozen
class ContentRange:
    """A `Content-Range` header (RFC 9110, section 14.4): the bytes from `start` up to, but not including, `stop`."""

    start: int
    stop: int
    total: int
    """Bytes of the whole file."""

    @classmethod
    def parse(cls, value: str | None) -> Self | None:
        """Return the range; None when the header is missing, malformed, contradicts itself or omits the total."""
        found = _CONTENT_RANGE.fullmatch((value or "").strip())
        if found is None:
            return None
        first, last, total = map(int, found.groups())
        return cls(first, last + 1, total) if first <= last < total else None


@frozen(kw_only=True)
class ResponseHead:
    """The status of a response and those of its headers that describe the file."""

    status: int
    length: int | None = None
    """Bytes of the body, if the server states them."""
    content_range: ContentRange | None = None
    etag: str | None = None
    content_type: str | None = None
    coding: str | None = None
    """The compression of the body. A compressed body has neither the length nor the byte ranges of the file."""
    retry_after: float | None = None
    """Seconds after which the server allows another request."""

    @property
    def video_type(self) -> str | None:
        """The media type if it is a video's; None otherwise."""
        media_type = (self.content_type or "").partition(";")[0].strip().lower()
        return media_type if _VIDEO_TYPE.fullmatch(media_type) else None


def is_page(content_type: str | None, beginning: bytes) -> bool:
    """Return whether a response is the page of a gateway, or another text, and no video.

    Args:
        content_type: its header.
        beginning: the first bytes of its body. Those of a video count for more than the header, which some servers do
            not know.
    """
    if beginning[4:8] in _MP4_BOXES or beginning.startswith(_MATROSKA):
        return False
    media_type = (content_type or "").partition(";")[0].strip().lower()
    text = beginning[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    is_text = text.startswith((b"<", b"{", b"[")) and not any(byte < 9 or 13 < byte < 32 for byte in text)
    return is_text or _PAGE_TYPE.fullmatch(media_type) is not None


@frozen(kw_only=True)
class Version:
    """One version of the file."""

    etag: str | None = None
    """The strong entity tag; None for a version that cannot be recognized in another response."""
    total: int | None = None
    """Bytes of the whole file, if known."""

    @classmethod
    def of(cls, head: ResponseHead) -> Self:
        """Return the version that a response with the whole file carries."""
        is_strong = head.etag is not None and _STRONG_ETAG.fullmatch(head.etag) is not None
        return cls(etag=head.etag if is_strong else None, total=head.length)

    def is_same(self, etag: str | None, total: int | None) -> bool:
        """Return whether a response with this entity tag and this total surely carries this version.

        A response without an entity tag does not: a server that ignores `If-Range` sends whatever the file is now.
        """
        return self.etag is not None and self.etag == etag and (None in {self.total, total} or self.total == total)


# --- one file from several responses -----------------------------------------------------------------


class Unusable(Exception):
    """The response cannot become the file, and another request would not help."""


class Empty(Unusable):
    """The file has no bytes, as one that is not there yet."""


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
            raise Empty("it is empty")
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


# --- what is recorded of a part on disk --------------------------------------------------------------


@frozen(kw_only=True)
class PartMetadata:
    """What is recorded beside a part: which version it is of, and the size and hash of the bytes that were written."""

    version: Version
    size: int
    sha256: str

    def to_text(self, key: str) -> str:
        """Return the record as JSON. `key` is the part's `part_key`."""
        record = {
            "format": _FORMAT,
            "file": key,
            "etag": self.version.etag,
            "total": self.version.total,
            "size": self.size,
            "sha256": self.sha256,
        }
        return json.dumps(record)

    @classmethod
    def from_text(cls, text: str, key: str) -> Self | None:
        """Return the record; None when it is malformed, of another file, or of a version that cannot be recognized."""
        try:
            record = json.loads(text)
        except ValueError:
            return None
        if not isinstance(record, dict) or (record.get("format"), record.get("file")) != (_FORMAT, key):
            return None
        etag, total, size, sha256 = (record.get(name) for name in ("etag", "total", "size", "sha256"))
        if not isinstance(etag, str) or not isinstance(sha256, str):
            return None
        # Not isinstance: a bool is an int as well.
        if type(size) is not int or size < 0 or not (total is None or (type(total) is int and size <= total)):
            return None
        return cls(version=Version(etag=etag, total=total), size=size, sha256=sha256)


def is_part_metadata(text: str) -> bool:
    """Return whether a text is a `PartMetadata` record of any format, also one that was cut short by a full disk."""
    return _METADATA_START.match(text) is not None


def part_key(url: str, task_id: str) -> str:
    """Return what identifies the file that a part belongs to: a hash of its task and of its address.

    User info, query and fragment are left out: signatures change between two downloads. Hashed, since a path may be
    secret.
    """
    bare = url.partition("#")[0].partition("?")[0]
    scheme, _, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    identity = f"{task_id} {scheme.lower()}://{authority.rpartition('@')[2].lower()}{slash}{path}"
    return hashlib.sha256(identity.encode(errors="replace")).hexdigest()


# --- when to try again -------------------------------------------------------------------------------


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
