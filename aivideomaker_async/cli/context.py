"""What the commands of one run share."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable
from pathlib import Path
from typing import Annotated, TypeAlias

from attrs import define, field
from cyclopts import Parameter

from .._http import RetryPolicy
from ..client.client import AIVideoMaker
from .output import Output

__all__ = ["Context", "Ctx", "Job"]

Job: TypeAlias = Awaitable[int]
"""What a command returns when it has checked its arguments: the rest of its work, which gives the exit code."""


@define
class Context:
    """The options for all commands, and what to tell a person when the command ends before its work does."""

    output: Output = field(factory=Output)
    base_url: str | None = None
    allow_http: bool = False
    task_id: str | None = None
    """The task that is waited for."""
    idempotency_key: str | None = None
    """The key of the submit that is under way, or whose outcome is unknown."""
    advice: str | None = None
    """What to do next if the command ends now."""

    def client(self) -> AIVideoMaker:
        """A client, with the key from the environment.

        Raises:
            ConfigurationError: there is no key, or the base URL makes no sense.
        """
        return AIVideoMaker(base_url=self.base_url, allow_http=self.allow_http)

    def impatient_client(self, seconds: float, *, api_key: str | None = None) -> AIVideoMaker:
        """A client that makes each request once, and gives it so many seconds with all that it waits for.

        Args:
            seconds: for a call.
            api_key: another key than that of the environment.

        Raises:
            ConfigurationError: as `client`.
        """
        return AIVideoMaker(
            api_key,
            base_url=self.base_url,
            allow_http=self.allow_http,
            # The rest is for its turn under the limit.
            timeout=0.8 * seconds,
            call_timeout=seconds,
            # After a 429 neither: no pause is so long.
            retries=RetryPolicy(max_attempts=1, first_pause=1e12),
        )

    def submitting(self, idempotency_key: str) -> None:
        """A submit is on its way; if the command ends now, nobody knows what becomes of it."""
        self.idempotency_key = idempotency_key
        self.advice = (
            f"a submit was on its way, and its outcome is unknown (idempotency key {idempotency_key}); "
            f"before you submit it again, look for the task with:\n  {self.command('list')}"
        )

    def refused(self) -> None:
        """The submit is over, and there is no task."""
        self.idempotency_key = self.advice = None

    def waiting(self, task_id: str, path: Path | None) -> None:
        """A task runs, and goes on whatever becomes of the command."""
        self.idempotency_key = None
        self.task_id = task_id
        save = () if path is None else ("--output", str(path))
        self.advice = f"the task goes on; pick it up again with:\n  {self.command('watch', task_id, *save)}"

    def done(self) -> None:
        """There is nothing to pick up any more."""
        self.advice = None

    def command(self, *words: str) -> str:
        """A command line for people to copy, for the same service as this run."""
        service = () if self.base_url is None else ("--base-url", self.base_url)
        plain = ("--allow-http",) if self.allow_http else ()
        return shlex.join(["aivideomaker", *words, *service, *plain])


Ctx: TypeAlias = Annotated[Context, Parameter(parse=False)]
"""A parameter that `app` fills in."""
