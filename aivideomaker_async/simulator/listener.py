"""Where the server listens, and its outages: times in which nobody can reach it."""

import asyncio
import os
import socket

from aiohttp import web

Address = tuple[str, int] | tuple[str, int, int, int]

_BACKLOG = 128


class Listener:
    """Takes connections for a server."""

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._servers: list[asyncio.Server] = []
        self._reserved: list[socket.socket] = []
        self._back: asyncio.Task[None] | None = None
        self._back_at = 0.0

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen, and return the address. Raises `OSError`, which names it, when that cannot be done."""
        try:
            server = await asyncio.get_running_loop().create_server(self._server, host, port, backlog=_BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"the simulator cannot listen on {host}:{port}: {error.strerror}") from error
        self._servers.append(server)
        found: Address = server.sockets[0].getsockname()
        return found[0], found[1]

    def pause(self, seconds: float) -> None:
        """Refuse connections for so many seconds of the loop's clock, and break those that there are."""
        loop = asyncio.get_running_loop()
        self._back_at = max(self._back_at, loop.time() + seconds)
        if self._back is None:
            addresses = [(one.family, one.getsockname()) for server in self._servers for one in server.sockets]
            self._close()
            # Bound, but not listening: connections are refused, and nobody else takes the port.
            self._reserved = [_bound(family, address) for family, address in addresses]
            self._back = asyncio.create_task(self._come_back(), name="simulator's outage")
        for connection in self._server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def aclose(self) -> None:
        """Stop listening."""
        if self._back is not None:
            self._back.cancel()
            await asyncio.wait([self._back])
        self._close()

    async def _come_back(self) -> None:
        loop = asyncio.get_running_loop()
        # Another outage may have begun meanwhile.
        while (left := self._back_at - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(left)
        while self._reserved:
            sock = self._reserved[-1]
            # Without serving, nothing is awaited: a server that listens is always one that is known here.
            server = await loop.create_server(self._server, sock=sock, backlog=_BACKLOG, start_serving=False)
            self._servers.append(server)
            self._reserved.pop()
            await server.start_serving()
        self._back = None

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
            # Connections that have just been broken would keep the port for minutes.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
