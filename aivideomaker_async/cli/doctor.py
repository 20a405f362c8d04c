"""The command `doctor`: one screen that shows whether generating would work, to paste into a bug report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .._redaction import Secret, redact_text
from .context import InjectedContext
from .doctor_checks import Check, Verdict, run_checks
from .exit_codes import Exit

__all__ = ["doctor"]


async def doctor(*, context: InjectedContext) -> int:
    """Check whether generating would work: key, service, clock, limit, versions. Nothing private is shown.

    It makes at most two queries, and costs nothing. Exit code 0 when it would work, 3 when the key or the base URL is
    wrong, 4 when the service cannot be reached or refuses.
    """
    checks = await run_checks(context)
    code = _code(checks)
    hide = _hide_secrets()
    context.output.event("doctor", exit_code=int(code), checks=[_fields(check, hide) for check in checks])
    context.output.result("\n".join(line for check in checks for line in _lines(check, hide, checks)))
    return code


def _code(checks: Sequence[Check]) -> Exit:
    codes = {check.code for check in checks}
    # Problems of the configuration come first: without a key that works, the others cannot be solved.
    return next((code for code in (Exit.CONFIGURATION, Exit.SERVICE) if code in codes), Exit.OK)


def _hide_secrets() -> Callable[[str], str]:
    """Return a function that hides the key and private parts in a text. A text of the service may quote anything."""
    key = os.environ.get("AIVIDEO_API_KEY", "").strip()
    secret = Secret(key) if key else None
    return lambda text: redact_text(text if secret is None else secret.hide_in(text))


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
