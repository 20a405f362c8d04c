"""How clients reach the server: over standard input and output, or over HTTP."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from mcp.server.lowlevel.server import Server

from .._util.base_url import is_loopback
from ..errors import ConfigurationError

__all__ = ["TOKEN_VARIABLE", "serve_http", "serve_stdio"]

TOKEN_VARIABLE: Final = "AIVIDEO_MCP_TOKEN"  # noqa: S105  (the name of a variable)

PATH: Final = "/mcp"

SHORTEST_TOKEN: Final = 16

_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App: TypeAlias = Callable[[_Scope, _Receive, _Send], Awaitable[None]]


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one client over standard input and output, until it goes away."""
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


async def serve_http(
    server: Server[Any], *, host: str, port: int, token: str | None, on_ready: Callable[[str], object]
) -> None:
    """Serve any number of clients over HTTP, until this is cancelled.

    Args:
        server: the server, which all sessions share.
        host: where to listen.
        port: where to listen; 0 takes a free port.
        token: what clients must send (`Authorization: Bearer ...`); None for no token.
        on_ready: called with the address as soon as it listens.

    Raises:
        ConfigurationError: there is no token, and others than this machine could spend; or the token is too short.
        OSError: nothing can listen there.
    """
    import uvicorn

    if token is None and not is_loopback(host):
        raise ConfigurationError(
            f"host={host}: others could spend your credits there; set {TOKEN_VARIABLE} to a long random text"
        )
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
        raise ConfigurationError(f"{TOKEN_VARIABLE}: must be {SHORTEST_TOKEN} characters or more, printable and ASCII")
    app: _App = server.streamable_http_app(streamable_http_path=PATH, host=host)
    settings = uvicorn.Config(
        app if token is None else _with_token(app, token), host=host, port=port, log_config=None, lifespan="on"
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not uvicorn's own way, which ends the process when the port is taken.
    listening = socket.create_server((host, port), family=family)
    shown = f"[{host}]" if ":" in host else host
    on_ready(f"http://{shown}:{listening.getsockname()[1]}{PATH}")
    await uvicorn.Server(settings).serve(sockets=[listening])


def _with_token(app: _App, token: str) -> _App:
    """Return the app behind a token. The comparison takes as long for every wrong one."""
    expected = f"Bearer {token}".encode()

    async def guarded(scope: _Scope, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if hmac.compare_digest(sent, expected):
            await app(scope, receive, send)
            return
        headers = [(b"content-type", b"text/plain"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b"a token is needed\n"})

    return guarded
