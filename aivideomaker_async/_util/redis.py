"""What the limiter and the board over Redis share: connections, and the one error that says that Redis cannot be used.

The only module that knows the package `redis`, which is an extra: it is imported when the first URL is given, not
before. A connection belongs to the event loop that opened it, and to the process: each loop has its own, and a child
process leaves those of its parent alone. The password of a URL goes to Redis, and into no text.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from inspect import signature
from typing import Any, Final, Protocol, TypeAlias, TypeVar, final
from urllib.parse import urlsplit

from .._redaction import Secret, shorten
from ..errors import ConfigurationError

__all__ = ["Command", "Connections", "Ear", "Gone", "hashed"]

T = TypeVar("T")
Command: TypeAlias = "tuple[str | bytes | int, ...]"

TIMEOUT: Final = 2.0
"""Seconds after which a Redis that does not answer counts as gone, if the URL does not say otherwise."""

_abandoned: Final[list[object]] = []
"""Connections of a parent process. Closing them, or collecting them, would disturb the parent's event loop."""


class Gone(Exception):
    """Redis cannot be used now. The text says why, without the password."""


def hashed(*parts: str) -> str:
    """A short name for `parts` that does not tell them, for keys and channels."""
    text = "\0".join(part.replace("\\", "\\\\").replace("\0", "\\0") for part in parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=b"aivideomaker").hexdigest()


class Ear(Protocol):
    """What is used of redis-py's `PubSub`."""

    async def subscribe(self, *channels: str) -> None: ...
    async def unsubscribe(self, *channels: str) -> None: ...
    async def get_message(self, *, timeout: float) -> dict[str, Any] | None: ...
    async def aclose(self) -> None: ...


class _Pipeline(Protocol):
    def execute_command(self, *command: str | bytes | int) -> object: ...
    async def execute(self) -> list[Any]: ...


class _Client(Protocol):
    """What is used of redis-py's `Redis`."""

    async def execute_command(self, *command: str | bytes | int) -> Any: ...  # noqa: ANN401
    def pipeline(self) -> _Pipeline: ...
    def pubsub(self) -> Ear: ...
    async def aclose(self) -> None: ...


@final
class _Credentials:
    """Tells redis-py user and password. Given these themselves, it would show them in what it raises and logs."""

    __slots__ = ("_password", "_user")

    def __init__(self, user: str, password: Secret) -> None:
        self._user = user
        self._password = password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = self._password.reveal()
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return self.get_credentials()


@final
class Connections:
    """Connections to one Redis: a pool for each event loop, opened on first use.

    A pool is closed by `aclose`, or at the latest with its loop: asyncio closes the async generators that it has seen
    before it closes a loop, and the pool is held by one.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://...` with TLS, or `unix://path`, with the options of
            redis-py as a query.

    Raises:
        ConfigurationError: the package `redis` is not installed, or the URL is none.
    """

    __slots__ = ("_errors", "_held", "_hide", "_options", "_process", "_timeout", "place")

    def __init__(self, url: str) -> None:
        try:
            import redis.asyncio
        except ImportError:
            raise ConfigurationError(
                'the package redis is not installed: pip install "aivideomaker-async[redis]"'
            ) from None
        options = _options(url)
        # Kept here: before Python 3.12, the way in which redis-py keeps it (`wait_for`) may lose a cancellation.
        self._timeout: float = options.pop("socket_timeout") or TIMEOUT
        options["socket_timeout"] = None
        self.place: str = _place(options)
        """Where it is, for people: host, port and number of the database."""
        password = options.pop("password", "")
        self._hide = [Secret(text) for text in {password, urlsplit(url.strip()).password} if text]
        if password:
            options["credential_provider"] = _Credentials(options.pop("username", ""), Secret(password))
        else:
            options.pop("username", None)
        self._options = options
        # All that says that Redis, or what answers in its place, is of no use: unreachable, loading, read-only, out of
        # memory, not allowed, or no Redis at all.
        self._errors = (redis.RedisError, OSError, ValueError, RuntimeError)
        self._held: dict[asyncio.AbstractEventLoop, tuple[_Client, AsyncGenerator[None, None]]] = {}
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"<Redis at {self.place}>"

    def fresh(self) -> Connections:
        """Others to the same Redis, so that these can be closed while those are used."""
        others = Connections.__new__(Connections)
        for name in ("place", "_errors", "_hide", "_options", "_timeout"):
            setattr(others, name, getattr(self, name))
        others._held, others._process = {}, os.getpid()
        return others

    async def ask(self, command: Callable[[_Client], Awaitable[T]], *, patience: float = 0.0) -> T:
        """Let `command` use the connections of the running loop.

        Cancelled under way, it was carried out or not; the connection that it used is closed.

        Args:
            command: what to do.
            patience: seconds that it takes though all is well.

        Raises:
            Gone: Redis cannot be used, or does not answer in time.
        """
        try:
            async with asyncio.timeout(self._timeout + patience):
                return await command(await self._client())
        except self._errors as error:
            reason = self._told(error)
        # Raised out here, so that it carries nothing of redis-py's: its frames hold the credentials.
        raise Gone(reason)

    async def run(self, script: str, keys: list[str], *arguments: str | bytes | int) -> Any:  # noqa: ANN401
        """Carry out a script of Redis, which is atomic, and return what it returns.

        Raises:
            Gone: Redis cannot be used.
        """
        return await self.ask(lambda client: client.execute_command("EVAL", script, len(keys), *keys, *arguments))

    async def together(self, *commands: Command) -> list[Any]:
        """Carry out commands in one transaction, in one round trip, and return what they return.

        Raises:
            Gone: Redis cannot be used.
        """

        def sent(client: _Client) -> Awaitable[list[Any]]:
            pipeline = client.pipeline()
            for command in commands:
                pipeline.execute_command(*command)
            return pipeline.execute()

        return await self.ask(sent)

    async def subscribe(self, channel: str) -> Ear:
        """Hear of all that is said in `channel` from now on. Give what is returned back with `unsubscribe`.

        Raises:
            Gone: Redis cannot be used.
        """

        async def subscribed(client: _Client) -> Ear:
            ear = client.pubsub()
            try:
                await ear.subscribe(channel)
                # The confirmation.
                await ear.get_message(timeout=2 * self._timeout)
            except BaseException:
                await self.unsubscribe(ear)
                raise
            return ear

        return await self.ask(subscribed)

    async def hear(self, ear: Ear, seconds: float) -> dict[str, Any] | None:
        """What is said next, if anything is within so many seconds.

        Raises:
            Gone: Redis cannot be used.
        """
        return await self.ask(lambda _: ear.get_message(timeout=seconds), patience=seconds)

    async def unsubscribe(self, ear: Ear) -> None:
        """Close the connection that `subscribe` has opened."""
        with suppress(*self._errors):
            await ear.aclose()

    async def aclose(self) -> None:
        """Close the connections of the running loop. They are opened again on the next use."""
        held = self._mine().pop(asyncio.get_running_loop(), None)
        if held is not None:
            await held[1].aclose()

    async def _client(self) -> _Client:
        loop = asyncio.get_running_loop()
        held = self._mine()
        if loop not in held:
            client = _open(self._options)
            keeper = self._keep(client)
            held[loop] = client, keeper
            # Nothing is awaited in there; from now on the loop knows it.
            await anext(keeper)
        return held[loop][0]

    def _mine(self) -> dict[asyncio.AbstractEventLoop, tuple[_Client, AsyncGenerator[None, None]]]:
        if self._process != os.getpid():
            _abandoned.append(self._held)
            self._held, self._process = {}, os.getpid()
        for loop in [loop for loop in self._held if loop.is_closed()]:
            del self._held[loop]
        return self._held

    async def _keep(self, client: _Client) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with suppress(*self._errors):
                await client.aclose()

    def _told(self, error: BaseException) -> str:
        text = f"{type(error).__name__}: {error}" if str(error) else f"no answer within {self._timeout:g} s"
        for secret in self._hide:
            text = secret.hide_in(text)
        return shorten(text)


def _open(options: Mapping[str, Any]) -> _Client:
    from redis.asyncio import ConnectionPool, Redis

    client: Any = Redis.from_pool(ConnectionPool(**options))
    found: _Client = client
    return found


def _options(url: str) -> dict[str, Any]:
    """The arguments of a pool of redis-py for `url`; what this package relies on, a URL cannot change."""
    import redis.asyncio
    from redis.asyncio.connection import AbstractConnection, parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        named: Mapping[str, Any] = parse_url(url.strip())
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(
            "the URL of Redis: must be redis://, rediss:// or unix://, as redis-py takes them"
        ) from None
    usual = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    # No silent second tries: who calls knows better what is worth one. Answers as bytes, in the older protocol.
    fixed = {"decode_responses": False, "protocol": 2, "retry": Retry(NoBackoff(), 0), "retry_on_timeout": False}
    options = {**usual, **named, **fixed}
    if "driver_info" in signature(AbstractConnection.__init__).parameters:
        # Newer ones would read their own version from the disk, in the event loop, each time that they connect.
        options["driver_info"] = None
    try:
        # An option that does not exist is told now, not in each attempt to connect.
        pool: Any = redis.asyncio.ConnectionPool(**options)
        pool.make_connection()
    except (TypeError, ValueError, redis.RedisError):
        raise ConfigurationError("the URL of Redis has options in its query that redis-py does not know") from None
    return options


def _place(options: Mapping[str, Any]) -> str:
    where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    return f"{where}/{options.get('db', 0)}"
