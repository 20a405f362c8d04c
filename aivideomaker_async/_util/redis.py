"""Connections to Redis, for the limiter and the status board, and the one error of an unavailable Redis.

The only module that imports the package `redis`, which is an extra: not before the first URL is given. A connection
belongs to the event loop that opened it, and to the process: each loop has its own, and a forked child leaves those of
its parent alone. The password of a URL is sent to Redis, and stands in no text.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from hashlib import blake2b
from inspect import signature
from typing import Any, Final, Protocol, TypeAlias, TypeVar, final
from urllib.parse import urlsplit

from .._redaction import Secret, shorten
from ..errors import ConfigurationError
from .fork import after_fork_in_child

__all__ = ["RedisCommand", "RedisConnections", "RedisSubscription", "RedisTarget", "RedisUnavailable", "digest_name"]

T = TypeVar("T")
RedisCommand: TypeAlias = "tuple[str | bytes | int, ...]"

REDIS_TIMEOUT_S: Final = 2.0
"""How long to wait for an answer of Redis, unless the URL has another `socket_timeout`."""

_connections_of_parents: Final[list[object]] = []
"""Kept in a forked child for ever: closing or collecting them would disturb the event loop of the parent."""


class RedisUnavailable(Exception):
    """Redis cannot be used now. The message has the reason, without the password."""


def digest_name(*parts: str) -> str:
    """Return a short name for `parts` from which they cannot be read, for keys and channels."""
    text = "\0".join(part.replace("\\", "\\\\").replace("\0", "\\0") for part in parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, person=b"aivideomaker").hexdigest()


class RedisSubscription(Protocol):
    """The part of redis-py's `PubSub` that is used."""

    async def subscribe(self, *channels: str) -> None: ...
    async def unsubscribe(self, *channels: str) -> None: ...
    async def get_message(self, *, timeout: float) -> dict[str, Any] | None: ...
    async def aclose(self) -> None: ...


class _Pipeline(Protocol):
    def execute_command(self, *command: str | bytes | int) -> object: ...
    async def execute(self) -> list[Any]: ...


class _Client(Protocol):
    """The part of redis-py's `Redis` that is used."""

    async def execute_command(self, *command: str | bytes | int) -> Any: ...  # noqa: ANN401
    def pipeline(self) -> _Pipeline: ...
    def pubsub(self) -> RedisSubscription: ...
    async def aclose(self) -> None: ...


@final
class _Credentials:
    """User and password, asked for by redis-py. Given as arguments, they would stand in its errors and logs."""

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
class RedisTarget:
    """One Redis, as a URL describes it. Several `RedisConnections` may lead to it.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://...` with TLS, or `unix://path`, with the options of
            redis-py as a query.

    Raises:
        ConfigurationError: the package `redis` is not installed, or the URL cannot be used.
    """

    __slots__ = ("_options", "_secrets", "errors", "location", "timeout")

    def __init__(self, url: str) -> None:
        try:
            import redis
        except ImportError:
            raise ConfigurationError(
                'the package redis is not installed: run pip install ".[redis]" in a checkout of the repository of '
                "aivideomaker-async"
            ) from None
        options = _options(url)
        # Kept here: before Python 3.12, the way in which redis-py keeps it (`wait_for`) may lose a cancellation.
        self.timeout: float = options.pop("socket_timeout") or REDIS_TIMEOUT_S
        """Seconds to wait for an answer."""
        options["socket_timeout"] = None
        where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        self.location: str = f"{where}/{options.get('db', 0)}"
        """Host, port and number of the database, for messages."""
        user, password = options.pop("username", ""), options.pop("password", "")
        if password:
            options["credential_provider"] = _Credentials(user, Secret(password))
        # As redis-py decodes it, and as it stands in the URL.
        self._secrets = [Secret(text) for text in {password, urlsplit(url.strip()).password} if text]
        self._options = options
        self.errors: tuple[type[Exception], ...] = (redis.RedisError, OSError, ValueError, RuntimeError)
        """All that redis-py raises when Redis, or the server in its place, is of no use: it is unreachable, loading,
        read-only, out of memory, does not permit it, or is no Redis at all."""

    def __repr__(self) -> str:
        return f"<Redis at {self.location}>"

    def open_client(self) -> _Client:
        """Return a client of redis-py with a pool of its own. It connects on use."""
        from redis.asyncio import ConnectionPool, Redis

        client: Any = Redis.from_pool(ConnectionPool(**self._options))
        found: _Client = client
        return found

    def describe(self, error: BaseException) -> str:
        """Return a text about an error of redis-py, without the password."""
        text = f"{type(error).__name__}: {error}" if str(error) else f"no answer within {self.timeout:g} s"
        for secret in self._secrets:
            text = secret.hide_in(text)
        return shorten(text)


@final
class RedisConnections:
    """Connections to one Redis: a pool for each event loop, opened on first use.

    A pool is closed by `aclose`, or at the latest with its loop: asyncio closes the async generators that it has seen
    before it closes a loop, and a generator holds the pool.

    Args:
        target: the Redis.
    """

    __slots__ = ("__weakref__", "_pools", "target")

    def __init__(self, target: RedisTarget) -> None:
        self.target: RedisTarget = target
        self._pools: dict[asyncio.AbstractEventLoop, tuple[_Client, AsyncGenerator[None, None]]] = {}
        after_fork_in_child(self, RedisConnections._leave_to_parent)

    def __repr__(self) -> str:
        return repr(self.target)

    async def execute(self, command: Callable[[_Client], Awaitable[T]], *, extra_time: float = 0.0) -> T:
        """Await `command` with the connections of the running loop, and return its result.

        Cancelled under way, the command was carried out or not; the connection that it used is closed.

        Args:
            command: a call of the client of redis-py.
            extra_time: seconds that it takes although Redis works.

        Raises:
            RedisUnavailable: Redis cannot be used, or does not answer in time.
        """
        try:
            async with asyncio.timeout(self.target.timeout + extra_time):
                return await command(await self._client())
        except self.target.errors as error:
            reason = self.target.describe(error)
        # Raised outside of the handler, without a cause: frames of redis-py hold the password.
        raise RedisUnavailable(reason)

    async def run_script(self, script: str, keys: list[str], *arguments: str | bytes | int) -> Any:  # noqa: ANN401
        """Run a Lua script in Redis, which is atomic, and return its result.

        Raises:
            RedisUnavailable: Redis cannot be used.
        """
        return await self.execute(lambda client: client.execute_command("EVAL", script, len(keys), *keys, *arguments))

    async def transaction(self, *commands: RedisCommand) -> list[Any]:
        """Run commands in one transaction, in one round trip, and return their results.

        Raises:
            RedisUnavailable: Redis cannot be used.
        """

        def run(client: _Client) -> Awaitable[list[Any]]:
            pipeline = client.pipeline()
            for command in commands:
                pipeline.execute_command(*command)
            return pipeline.execute()

        return await self.execute(run)

    async def subscribe(self, channel: str) -> RedisSubscription:
        """Subscribe to `channel`. Close the subscription with `unsubscribe`.

        Raises:
            RedisUnavailable: Redis cannot be used.
        """

        async def subscribe(client: _Client) -> RedisSubscription:
            subscription = client.pubsub()
            try:
                await subscription.subscribe(channel)
                # The confirmation.
                await subscription.get_message(timeout=2 * self.target.timeout)
            except BaseException:
                await self.unsubscribe(subscription)
                raise
            return subscription

        return await self.execute(subscribe)

    async def next_message(self, subscription: RedisSubscription, seconds: float) -> dict[str, Any] | None:
        """Return the next message; None if there is none within `seconds`.

        Raises:
            RedisUnavailable: Redis cannot be used.
        """
        return await self.execute(lambda _: subscription.get_message(timeout=seconds), extra_time=seconds)

    async def unsubscribe(self, subscription: RedisSubscription) -> None:
        """Close the connection of a subscription."""
        with suppress(*self.target.errors):
            await subscription.aclose()

    async def aclose(self) -> None:
        """Close the connections of the running loop. They are opened again on the next use."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool[1].aclose()

    async def _client(self) -> _Client:
        loop = asyncio.get_running_loop()
        if loop not in self._pools:
            for closed in [other for other in self._pools if other.is_closed()]:
                del self._pools[closed]
            client = self.target.open_client()
            holder = self._hold(client)
            self._pools[loop] = client, holder
            # Nothing is awaited in there; from now on the loop closes the generator at its end.
            await anext(holder)
        return self._pools[loop][0]

    async def _hold(self, client: _Client) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            with suppress(*self.target.errors):
                await client.aclose()

    def _leave_to_parent(self) -> None:
        _connections_of_parents.append(self._pools)
        self._pools = {}


def _options(url: str) -> dict[str, Any]:
    """Return the arguments of a pool of redis-py for `url`. Those that this package relies on, a URL cannot change."""
    import redis.asyncio
    from redis.asyncio.connection import AbstractConnection, parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        given: Mapping[str, Any] = parse_url(url.strip())
    except (ValueError, AttributeError, TypeError):
        # Without the cause, which may quote the password.
        raise ConfigurationError(
            "the URL of Redis: must be redis://, rediss:// or unix://, as redis-py takes them"
        ) from None
    defaults = {"socket_timeout": REDIS_TIMEOUT_S, "socket_connect_timeout": REDIS_TIMEOUT_S}
    # No silent retries: the callers decide which command is worth one. Answers as bytes, in the older protocol.
    fixed = {"decode_responses": False, "protocol": 2, "retry": Retry(NoBackoff(), 0), "retry_on_timeout": False}
    options = {**defaults, **given, **fixed}
    if "driver_info" in signature(AbstractConnection.__init__).parameters:
        # Newer versions would read their own version from the disk, in the event loop, with each connection.
        options["driver_info"] = None
    try:
        # Refuse an unknown option now, not with each attempt to connect.
        pool: Any = redis.asyncio.ConnectionPool(**options)
        pool.make_connection()
    except (TypeError, ValueError, redis.RedisError):
        raise ConfigurationError("the URL of Redis has options in its query that redis-py does not have") from None
    return options
