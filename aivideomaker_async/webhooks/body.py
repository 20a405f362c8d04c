"""What the body of a delivery is good for: how soon to ask the service.

Nothing about deliveries is documented, and anybody who has seen the URL can send one. So the body is never believed and
never parsed; a look for the words of the statuses says whether the change can be an end. Every doubt is urgent: a poll
too many costs one request, a poll too late costs somebody's time.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_urgent", "told_length"]

# As parts of words: a server may write CANCELLED.
_END: Final = re.compile(rb"COMPLETED|FAILED|CANCEL")
# As whole words, in capitals as the service writes them: whatever else a server calls its statuses is not known.
_NO_END: Final = re.compile(rb"\b(?:PROGRESS|SUBMITTED)\b")

_LONGEST_NUMBER: Final = 18


def is_urgent(body: bytes | bytearray) -> bool:
    """Whether the change that a delivery tells of can be the end of its task. Linear in the length of the body."""
    return _END.search(body) is not None or _NO_END.search(body) is None


def told_length(value: bytes) -> int | None:
    """The bytes that a Content-Length header tells; None when it tells nothing. A number without end is a large one."""
    if not value.isdigit():
        return None
    return int(value[:_LONGEST_NUMBER])
