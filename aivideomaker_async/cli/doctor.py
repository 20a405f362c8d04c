"""The command `doctor`: one screen on whether generating would work, to paste into a bug report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from .._redaction import Secret, redact_text
from .checks import Check, Verdict
from .context import Ctx
from .examination import examine
from .exits import Exit

__all__ = ["doctor"]

_SECRETS: Final = ("AIVIDEO_API_KEY",)


async def doctor(*, context: Ctx) -> int:
    """Check whether generating would work: key, service, clock, limit, versions. Nothing private is shown.

    It makes at most two queries, and costs nothing. Exit code 0 when it would work, 3 when the key or the base URL is
    wrong, 4 when the service cannot be reached or refuses.
    """
    checks = await examine(context)
    code = _code(checks)
    hide = _hiding()
    context.output.event("doctor", exit_code=int(code), checks=[_fields(check, hide) for check in checks])
    context.output.result("\n".join(line for check in checks for line in _lines(check, hide, checks)))
    return code


def _code(checks: Sequence[Check]) -> Exit:
    codes = {check.code for check in checks}
    # Without a key that works, what else is wrong comes later.
    return next((code for code in (Exit.CONFIGURATION, Exit.SERVICE) if code in codes), Exit.OK)


def _hiding() -> Callable[[str], str]:
    """Takes the key, and what looks private, out of a text: what a service says is shown, and may quote anything."""
    secrets = [Secret(value) for name in _SECRETS if (value := os.environ.get(name, "").strip())]

    def hide(text: str) -> str:
        for secret in secrets:
            text = secret.hide_in(text)
        return redact_text(text)

    return hide


def _fields(check: Check, hide: Callable[[str], str]) -> dict[str, object]:
    return {
        "name": check.name,
        "verdict": check.verdict.value,
        "found": hide(check.found),
        "advice": None if check.advice is None else hide(check.advice),
    }


def _lines(check: Check, hide: Callable[[str], str], checks: Sequence[Check]) -> list[str]:
    verdicts = max(len(verdict.value) for verdict in Verdict)
    names = max(len(one.name) for one in checks)
    start = f"{check.verdict.value.ljust(verdicts)}  {check.name.ljust(names)}  "
    lines = [start + hide(check.found)]
    if check.advice is not None:
        lines.append(" " * len(start) + hide(check.advice))
    return lines
