"""What an answer tells of a file: which version it is of, and which part. RFC 9110, sections 8.8 and 14.4."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Final, Self, TypeGuard

from attrs import frozen

from .._util.http_dates import parse_http_date

__all__ = ["Begun", "ContentRange", "Head", "Version", "identify", "is_note"]

_CONTENT_RANGE: Final = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_VIDEO: Final = re.compile(r"video/[a-z0-9.+-]+", re.ASCII)
_FORMAT: Final = 1
# It may be cut short behind this, or be followed by the rest of a longer one.
_NOTE: Final = re.compile(r'\{"format": [0-9]+, "file": "')


@frozen(kw_only=True)
class ContentRange:
    """A `Content-Range` header: the bytes from `start` up to, not with, `stop`."""

    start: int | None
    """None: the part that was asked for does not exist."""
    stop: int | None
    total: int | None
    """Bytes of the whole file, where that is told."""

    @classmethod
    def parse(cls, value: str | None) -> Self | None:
        """Read the header; None when there is none that makes sense."""
        found = _CONTENT_RANGE.fullmatch((value or "").strip())
        if found is None:
            return None
        first, last, whole = found.groups()
        total = None if whole == "*" else int(whole)
        if first is None:
            return None if total is None else cls(start=None, stop=None, total=total)
        start, stop = int(first), int(last) + 1
        if stop <= start or (total is not None and stop > total):
            return None
        return cls(start=start, stop=stop, total=total)


@frozen(kw_only=True)
class Head:
    """What the head of an answer tells of the file."""

    status: int
    length: int | None = None
    """Bytes of the body, where the server tells."""
    content_range: ContentRange | None = None
    etag: str | None = None
    last_modified: str | None = None
    date: str | None = None
    content_type: str | None = None
    coding: str | None = None
    """How the body was compressed on its way: its length is not the file's, and its parts are none of the file."""
    open_end: bool = False
    """Whether the body ends where the connection does, so that a break cannot be told from its end."""
    retry_after: float | None = None
    """Seconds after which the server wants to be asked again."""

    @property
    def video_type(self) -> str | None:
        """The media type, if it is one of a video."""
        kind = (self.content_type or "").partition(";")[0].strip().lower()
        return kind if _VIDEO.fullmatch(kind) else None


@frozen(kw_only=True)
class Version:
    """One version of the file, by which it is known again."""

    etag: str | None = None
    """As it was told, be it strong or weak: one that differs is of another version."""
    last_modified: str | None = None
    """As it was told; None where neither this nor the `etag` is a strong validator."""
    total: int | None = None
    """Bytes of the whole, where that is known."""

    @classmethod
    def of(cls, head: Head) -> Self:
        """The version that a whole answer is of."""
        modified, sent = parse_http_date(head.last_modified), parse_http_date(head.date)
        # A date has whole seconds: a file of this very second may become another within it.
        is_strong = modified is not None and sent is not None and sent - modified >= 1
        told = head.last_modified if is_strong or _is_strong(head.etag) else None
        return cls(etag=head.etag, last_modified=told, total=head.length)

    @property
    def validator(self) -> str | None:
        """What `If-Range` is to carry; None for a version that is not known again."""
        return self.etag if _is_strong(self.etag) else self.last_modified

    def is_surely(self, told: Head | Version, total: int | None) -> bool:
        """Whether an answer that tells this is of this very version.

        It must carry the validator that was asked under (RFC 9110, section 15.3.7, demands it of an `ETag`): who does
        not heed `If-Range` sends whatever the file is by then.
        """
        mine, theirs = (self.etag, told.etag) if _is_strong(self.etag) else (self.last_modified, told.last_modified)
        return mine is not None and theirs is not None and self.may_be(told, total)

    def may_be(self, told: Head | Version, total: int | None) -> bool:
        """Whether nothing shows that an answer that tells this is of another version."""
        pairs = ((self.etag, told.etag), (self.last_modified, told.last_modified))
        return all(None in pair or pair[0] == pair[1] for pair in pairs) and self._has_length(total)

    def _has_length(self, total: int | None) -> bool:
        return self.total is None or total in {None, self.total}


@frozen(kw_only=True)
class Begun:
    """A file that was begun before: what of it is on disk."""

    version: Version
    size: int
    """Bytes that are surely there."""

    def to_text(self, identity: str) -> str:
        """The note that is kept beside the part. `identity` tells whose it is."""
        version = self.version
        note = {
            "format": _FORMAT,
            "file": identity,
            "etag": version.etag,
            "last_modified": version.last_modified,
            "total": version.total,
            "size": self.size,
        }
        return json.dumps(note)

    @classmethod
    def from_text(cls, text: str, identity: str) -> Self | None:
        """Read a note; None when it is of another file, or says nothing that can be relied on."""
        try:
            note = json.loads(text)
        except ValueError:
            return None
        if not isinstance(note, dict) or (note.get("format"), note.get("file")) != (_FORMAT, identity):
            return None
        etag, modified, total, size = (note.get(name) for name in ("etag", "last_modified", "total", "size"))
        texts = all(value is None or isinstance(value, str) for value in (etag, modified))
        if not texts or not (total is None or _is_count(total)) or not _is_count(size):
            return None
        version = Version(etag=etag, last_modified=modified, total=total)
        if not version.validator or (total is not None and size > total):
            return None
        return cls(version=version, size=size)


def is_note(text: str) -> bool:
    """Whether this is a note of `Begun.to_text`, also of another file, or one that was cut short."""
    return _NOTE.match(text) is not None


def _is_strong(etag: str | None) -> bool:
    return etag is not None and _STRONG_ETAG.fullmatch(etag) is not None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def identify(url: str, task_id: str) -> str:
    """Whose part it is: task and address, without the signatures in it, which change. Hashed: a path can be secret."""
    bare = url.partition("#")[0].partition("?")[0]
    scheme, _, rest = bare.partition("://")
    authority, slash, path = rest.partition("/")
    bare = f"{task_id} {scheme.lower()}://{authority.rpartition('@')[2].lower()}{slash}{path}"
    return hashlib.sha256(bare.encode(errors="replace")).hexdigest()
