"""The sockets of the server, and its outages: times in which connections are refused."""

import asyncio
import os
import socket

from aiohttp import web

Address = tuple[str, int] | tuple[str, int, int, int]

_BACKLOG = 128


class Listener:
    """The listening sockets of a server."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._servers: list[asyncio.Server] = []
        self._reserved: list[socket.socket] = []
        self._outage: asyncio.Task[None] | None = None
        self._outage_ends_at = 0.0

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return the address. Raises `OSError` with the address when that is not possible."""
        try:
            server = await asyncio.get_running_loop().create_server(self._server, host, port, backlog=_BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"the simulator cannot listen on {host}:{port}: {error.strerror}") from error
        self._servers.append(server)
        found: Address = server.sockets[0].getsockname()
        return found[0], found[1]

    def pause(self, seconds: float) -> None:
        """Refuse connections for some seconds of the loop's clock, and break those that are open."""
        loop = asyncio.get_running_loop()
        self._outage_ends_at = max(self._outage_ends_at, loop.time() + seconds)
        if self._outage is None:
            addresses = [(one.family, one.getsockname()) for server in self._servers for one in server.sockets]
            self._close()
            # Sockets that are bound and do not listen: connections are refused, and no other program takes the port.
            self._reserved = [_bound(family, address) for family, address in addresses]
            self._outage = asyncio.create_task(self._listen_again(), name="simulator's outage")
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._outage is not None:
            self._outage.cancel()
            await asyncio.wait([self._outage])
        self._close()

    async def _listen_again(self) -> None:
        loop = asyncio.get_running_loop()
        # Another outage may have begun, which lasts longer.
        while (left := self._outage_ends_at - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        while self._reserved:
            sock = self._reserved[-1]
            # With `start_serving=False` nothing is awaited: a cancellation cannot lose a server that listens.
            server = await loop.create_server(self._server, sock=sock, backlog=_BACKLOG, start_serving=False)
            self._servers.append(server)
            self._reserved.pop()
            await server.start_serving()
        self._outage = None

    def _close(self) -> None:
        for server in self._servers:
            server.close()
        for reserved in self._reserved:
            reserved.close()
        self._servers.clear()
        self._reserved.clear()


def _bound(family: socket.AddressFamily, address: Address) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Without this, connections that have just been broken keep the port for minutes.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
