"""Which version of a file a response carries, and what is recorded of a part on disk.

A version is recognized by a strong entity tag alone (RFC 9110, section 8.8.3): a weak one may stay the same while the
bytes change, and a date has whole seconds.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final, Self

from attrs import frozen

__all__ = ["ContentRange", "PartMetadata", "ResponseHead", "Version", "is_part_metadata", "part_key"]

_CONTENT_RANGE: Final = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII | re.IGNORECASE)
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_VIDEO_TYPE: Final = re.compile(r"video/[a-z0-9.+-]+", re.ASCII)

_FORMAT: Final = 2
"""Parts of another format are recognized as ours and begun anew."""

_METADATA_START: Final = re.compile(r'\{"format": [0-9]+, "file": "')


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
