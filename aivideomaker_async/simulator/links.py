"""Signed links to videos, as file stores give them: each works for a while, and then no more. Pure.

The signature keeps nobody out, since anybody can compute it. It lets a link that was made up, or whose end was changed,
fail as it would fail at a store.
"""

import hashlib
import re
from collections.abc import Mapping

_SECONDS = re.compile(r"-?[0-9]+\.[0-9]{3}")


def signed_query(task_id: str, expires: float) -> str:
    """Return the query of a link that works until the simulated second `expires`."""
    text = f"{expires:.3f}"
    return f"expires={text}&signature={_signature(task_id, text)}"


def works(task_id: str, query: Mapping[str, str], now: float) -> bool:
    """Return whether a link with this query works at the simulated second `now`."""
    expires = query.get("expires", "")
    if _SECONDS.fullmatch(expires) is None or query.get("signature") != _signature(task_id, expires):
        return False
    return now < float(expires)


def _signature(task_id: str, expires: str) -> str:
    return hashlib.sha256(f"{task_id} {expires}".encode()).hexdigest()[:32]
