"""The context of one run: the options for all commands, and what to do if the command ends early."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias
from urllib.parse import urlsplit

from attrs import define, field
from cyclopts import Parameter

from .._http import RetryPolicy
from .._redaction import redact_url
from ..client import AIVideoMaker
from ..errors import ConfigurationError
from .output import Output

if TYPE_CHECKING:
    import aiohttp

__all__ = ["FROM_ENVIRONMENT", "Context", "InjectedContext", "Job"]

FROM_ENVIRONMENT: Final = "env"
"""The word for the proxies that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name."""

Job: TypeAlias = Awaitable[int]
"""The work of a command, after its arguments were checked. Its result is the exit code."""


@define
class Context:
    """The options for all commands, and what a person can do if the command ends before its work does."""

    output: Output = field(factory=Output)
    base_url: str | None = None
    allow_http: bool = False
    proxy: str | None = None
    """The URL of a proxy, or "env" for those of the environment."""
    task_id: str | None = None
    """The task that is waited for."""
    idempotency_key: str | None = None
    """The key of the submit that is under way, or whose outcome is unknown."""
    advice: str | None = None
    """What to do next if the command ends now."""

    def make_client(self) -> AIVideoMaker:
        """Return a client with the key from the environment, to be closed by the caller. It uses no proxy.

        Raises:
            ConfigurationError: there is no key, or the base URL is wrong.
        """
        return AIVideoMaker(base_url=self.base_url, allow_http=self.allow_http)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AIVideoMaker]:
        """Open a client with the key from the environment.

        Raises:
            ConfigurationError: there is no key, or the base URL or the proxy is wrong.
        """
        async with (
            self._session() as http,
            AIVideoMaker(base_url=self.base_url, allow_http=self.allow_http, http=http) as client,
        ):
            yield client

    @asynccontextmanager
    async def single_attempt_client(self, seconds: float, *, api_key: str | None = None) -> AsyncIterator[AIVideoMaker]:
        """Open a client that sends each request once.

        Args:
            seconds: the deadline of a call, with its wait for the limiter.
            api_key: a key in place of that of the environment.

        Raises:
            ConfigurationError: as `client`.
        """
        async with (
            self._session() as http,
            AIVideoMaker(
                api_key,
                base_url=self.base_url,
                allow_http=self.allow_http,
                http=http,
                # The rest of the time is for the wait for the limiter.
                timeout=0.8 * seconds,
                call_timeout=seconds,
                # A 429 is not waited out either: the first pause is beyond every deadline.
                retries=RetryPolicy(max_attempts=1, first_pause=1e12),
            ) as client,
        ):
            yield client

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[aiohttp.ClientSession | None]:
        """Open a session that uses the proxy, if there is one; all requests and downloads go through it."""
        proxy = self.find_proxy()
        if proxy is None:
            yield None
            return
        import aiohttp

        is_url = proxy != FROM_ENVIRONMENT
        async with aiohttp.ClientSession(proxy=proxy if is_url else None, trust_env=not is_url) as session:
            yield session

    def find_proxy(self) -> str | None:
        """Return the URL of the proxy, "env" for those of the environment, or None for no proxy.

        Raises:
            ConfigurationError: it is no such URL.
        """
        proxy = self.proxy or os.environ.get("AIVIDEO_PROXY", "").strip() or None
        if proxy is None or proxy == FROM_ENVIRONMENT:
            return proxy
        try:
            parts = urlsplit(proxy)
            is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_usable = False
        if not is_usable:
            raise ConfigurationError(
                f"proxy={redact_url(proxy)}: must be the URL of an HTTP proxy, such as http://host:3128, or env for "
                "those of the environment"
            )
        return proxy

    def submit_started(self, idempotency_key: str) -> None:
        """Record that a submit is on its way. Until it has an outcome, the advice is to look for its task."""
        self.idempotency_key = idempotency_key
        self.advice = (
            f"a submit was on its way, and its outcome is unknown (idempotency key {idempotency_key}); "
            f"before you submit it again, look for the task with:\n  {self.command('list')}"
        )

    def submit_refused(self) -> None:
        """Record that the submit has ended without a task."""
        self.idempotency_key = self.advice = None

    def wait_started(self, task_id: str, path: Path | None) -> None:
        """Record the task that is waited for. It goes on if the command ends, and the advice is to watch it."""
        self.idempotency_key = None
        self.task_id = task_id
        save = () if path is None else ("--output", str(path))
        self.advice = f"the task goes on; pick it up again with:\n  {self.command('watch', task_id, *save)}"

    def finished(self) -> None:
        """Record that there is nothing left to pick up."""
        self.advice = None

    def command(self, *words: str) -> str:
        """Return a command line for people to copy, for the same service as this run."""
        service = () if self.base_url is None else ("--base-url", self.base_url)
        unencrypted = ("--allow-http",) if self.allow_http else ()
        # A password is not repeated.
        proxy = () if self.proxy is None or "@" in self.proxy else ("--proxy", self.proxy)
        return shlex.join(["aivideomaker", *words, *service, *unencrypted, *proxy])


InjectedContext: TypeAlias = Annotated[Context, Parameter(parse=False)]
"""A parameter that `app` passes, and that is no option."""
