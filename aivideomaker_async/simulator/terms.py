"""What a submit asks for besides its video, in headers: a webhook, an idempotency key and a budget. Pure."""

import re
from collections.abc import Mapping

from attrs import frozen

from .contract import Refusal, Revision
from .images import is_web_url

WEBHOOK = "webhookUrl"
KEY = "Idempotency-Key"
BUDGET = "X-Max-Credits"

_WHOLE = re.compile(r"[0-9]+", re.ASCII)
_MOST_DIGITS = 18
"""Digits of a budget that is told apart from none: no price has more."""


@frozen(kw_only=True)
class Terms:
    """The terms of a submit. `budget` is the most credits that it may cost, None for no bound."""

    webhook_url: str | None = None
    key: str | None = None
    budget: int | None = None


def read_terms(headers: Mapping[str, str], revision: Revision) -> Terms:
    """Read the headers of a submit. Raises `Refusal` (400), naming the one that is wrong."""
    webhook_url = headers.get(WEBHOOK)
    if webhook_url is not None and not is_web_url(webhook_url):
        raise Refusal(400, f"{WEBHOOK} must be an http(s) URL", "INVALID_PAYLOAD")
    budget = headers.get(BUDGET) if revision.billing else None
    return Terms(webhook_url=webhook_url, key=headers.get(KEY), budget=None if budget is None else _credits(budget))


def _credits(text: str) -> int | None:
    if _WHOLE.fullmatch(text) is None:
        raise Refusal(400, f"{BUDGET} must be a whole number of credits, at least 0", "INVALID_PAYLOAD")
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else None
