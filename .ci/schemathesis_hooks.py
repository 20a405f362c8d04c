"""What schemathesis cannot know: how addresses and images look, and that no webhook shall leave this machine."""

from __future__ import annotations

import schemathesis
from hypothesis import strategies

NOBODY = "http://127.0.0.1:9"
ADDRESSES = strategies.sampled_from([f"{NOBODY}/a.png", "https://[::1]:9/b?c=d#e", "HTTP://127.0.0.1:9"])
PNG = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

schemathesis.openapi.format("uri", ADDRESSES)
schemathesis.openapi.format("image-uri", ADDRESSES | strategies.just(PNG))


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, object]) -> None:
    """Addresses are also taken from answers, and those name the vendor's host."""
    webhook = case.headers.get("webhookUrl") if case.headers else None
    if isinstance(webhook, str) and "//aivideomaker.ai" in webhook:
        case.headers["webhookUrl"] = NOBODY
