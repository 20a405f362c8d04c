"""Which part of a file a request asks for: RFC 9110, Range and If-Range. Pure."""

import re
from collections.abc import Mapping

from attrs import frozen

# One range, and numbers of a length that is no work to convert.
_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)


@frozen
class Part:
    """The bytes from `start` up to, not with, `stop`, to be answered with `status`."""

    status: int
    start: int
    stop: int

    def headers(self, size: int) -> dict[str, str]:
        """Return the headers that describe this part of a file of `size` bytes."""
        if self.status == 206:
            return {"Content-Range": f"bytes {self.start}-{self.stop - 1}/{size}"}
        return {"Content-Range": f"bytes */{size}"} if self.status == 416 else {}


def select(headers: Mapping[str, str], size: int, etag: str, last_modified: str) -> Part:
    """Choose the part of a file of `size` bytes that these request headers ask for.

    What is not understood is ignored and the whole file answered, as the standard wants it.
    """
    whole = Part(200, 0, size)
    wanted = _ONE_RANGE.fullmatch(headers.get("Range", ""))
    if wanted is None or headers.get("If-Range", etag) not in {etag, last_modified}:
        return whole
    first, last = wanted.groups()
    if not first:
        return _suffix(int(last), size) if last else whole
    start, stop = int(first), min(int(last), size - 1) + 1 if last else size
    if last and int(last) < start:
        return whole
    return Part(206, start, stop) if start < size else Part(416, 0, 0)


def _suffix(length: int, size: int) -> Part:
    return Part(206, max(size - length, 0), size) if length and size else Part(416, 0, 0)
