"""The entry point of the command `aivideomaker`.

Exit codes:

    0    success
    1    the task failed or was cancelled; or a cancel came too late
    2    wrong usage: unknown options, wrong values in a request; or the price was declined; nothing was sent
    3    configuration or authentication: no API key, a refused key, a missing extra
    4    the service or the network: a refusal (also too few credits), no answer, a price that is not known or above
         the limit, a submit whose outcome is unknown, a video that cannot be downloaded or written
    5    the wait timed out; the task goes on
    130  interrupted by Ctrl-C (SIGINT); the task goes on
    141  standard output was closed; the task goes on
    143  terminated (SIGTERM); the task goes on

`simulate` ends with 0 on SIGINT and SIGTERM, since it has no other end.

This is a module of its own because it must work without the extra: it imports neither cyclopts nor rich, and reports
that they are missing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

__all__ = ["main"]

_EXTRA_MODULES: Final = frozenset({"cyclopts", "rich"})
# `Exit` has these values, too, but its module imports the package, during which Ctrl-C must work.
_CONFIGURATION: Final = 3
_INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: the arguments without the program's name; by default those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        from .app import run
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA_MODULES:
            raise
        sys.stderr.write(
            'error: the command needs its extra "cli": run pip install ".[cli]" in a checkout of the repository of '
            "aivideomaker-async\n"
        )
        return _CONFIGURATION
    except KeyboardInterrupt:
        return _INTERRUPTED
    return run(arguments)
