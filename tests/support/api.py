"""The room `_http` without the rooms above it: requests, a transport and an API client for a scripted service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from aivideomaker_async._http import ApiClient, Request, RetryPolicy, Settings, generate
from aivideomaker_async._http.connections import open_session
from aivideomaker_async._http.transport import Transport
from aivideomaker_async._limits import Limiter, RateLimiter
from aivideomaker_async._redaction import Secret
from tests.support.leaks import assert_no_request_in_flight
from tests.support.scripted import Handler, ScriptedService, scripted

KEY = "ak_secret_of_this_test"

IN_FLIGHT_BYTES = 12 << 20
"""How many bytes a server can send before it notices that the client has closed the connection."""


class BytesBody:
    """A request body in the given pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def pieces(self) -> Iterator[bytes]:
        yield from self._pieces


def submit_request(
    *,
    body: BytesBody | None = None,
    idempotency_key: Any = "key-of-a-submit",
    webhook_url: Secret | None = None,
    max_credits: Any = None,
) -> Request[Any]:
    """Return a submit of the model `t2v`."""
    return generate(
        "t2v",
        BytesBody(b"{}") if body is None else body,
        idempotency_key=idempotency_key,
        webhook_url=webhook_url,
        max_credits=max_credits,
    )


@asynccontextmanager
async def transport_to(service: ScriptedService | str) -> AsyncIterator[Transport]:
    """A transport to a service, or to an address, with a session of the package's own."""
    url = service if isinstance(service, str) else service.url
    async with open_session(Secret(KEY)) as session:
        yield Transport(session, origin=url, key=Secret(KEY), is_own=True)


def api_client(
    base_url: str,
    *,
    limiter: Limiter | None = None,
    http: aiohttp.ClientSession | None = None,
    attempt_timeout: float = 30.0,
    call_timeout: float = 600.0,
    policy: RetryPolicy | None = None,
) -> ApiClient:
    """Return an API client with the usual settings."""
    settings = Settings(
        base_url=base_url,
        key=Secret(KEY),
        attempt_timeout=attempt_timeout,
        call_timeout=call_timeout,
        policy=RetryPolicy() if policy is None else policy,
    )
    return ApiClient(settings, limiter=RateLimiter() if limiter is None else limiter, http=http)


@asynccontextmanager
async def api_client_of(handler: Handler, **options: Any) -> AsyncIterator[tuple[ScriptedService, ApiClient]]:
    """A service, and an API client of it that must hold nothing at the end of the block."""
    async with scripted(handler) as service:
        api = api_client(service.url, **options)
        try:
            yield service, api
            await assert_no_request_in_flight(api)
        finally:
            await api.aclose()
