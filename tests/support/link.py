"""A link between client and service that is cut and mended, slow, or away: a relay in the same event loop.

It keeps what a real one keeps. What a client has closed in the usual way is still delivered some time after the link is
mended, since its kernel would go on sending; what a client has reset is lost.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

PIECE: Final = 1448
"""Bytes of one segment."""
BUFFER: Final = 4096
"""Bytes that wait inside a link that carries nothing. The rest waits at the client."""
FIRST_RETRANSMISSION_S: Final = 0.2
RESET: Final = struct.pack("ii", 1, 0)
"""An option of a socket: closing it resets the connection."""


class Link:
    """A relay to a port of this machine.

    Args:
        port: the service's port.
        rate: returns the bytes a second at which the next connection carries requests, or None for no limit.
    """

    def __init__(self, port: int, rate: Callable[[], float | None] = lambda: None) -> None:
        self._port = port
        self._rate = rate
        self._passes = asyncio.Event()
        self._passes.set()
        self._mended_at = 0.0
        self._near = _bound(0)
        self._near_port: int = self._near.getsockname()[1]
        self._relays: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address of the near end."""
        return f"http://127.0.0.1:{self._near_port}"

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._relays)

    def cut(self, seconds: float) -> None:
        """Let nothing pass for this long. Connections are made, and stay silent."""
        loop = asyncio.get_running_loop()
        self._passes.clear()
        self._mended_at = max(self._mended_at, loop.time() + seconds)
        loop.call_at(loop.time() + seconds, self._mend)

    async def away(self, seconds: float) -> None:
        """Break all connections, and refuse new ones for this long."""
        await self._stop()
        # A socket that does not listen: connections are refused, and nobody else takes the port.
        self._near = _bound(self._near_port)
        await asyncio.sleep(seconds)
        self._start()

    def _mend(self) -> None:
        if asyncio.get_running_loop().time() >= self._mended_at:
            self._passes.set()

    def _start(self) -> None:
        self._near.listen(1000)
        self._accepting = asyncio.create_task(self._accept(), name="link accepts")

    async def _stop(self) -> None:
        running = [*self._relays, *([self._accepting] if self._accepting else [])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._near.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            near, _ = await loop.sock_accept(self._near)
            relay = asyncio.create_task(self._relay(near), name="link")
            self._relays.add(relay)
            relay.add_done_callback(self._relays.discard)

    async def _relay(self, near: socket.socket) -> None:
        near.setblocking(False)
        far = socket.socket()
        far.setblocking(False)
        try:
            await self._carry()
            await asyncio.get_running_loop().sock_connect(far, ("127.0.0.1", self._port))
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(near, far, self._rate()), name="link up")
                both.create_task(self._pump(far, near, None), name="link down")
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            # What breaks on one side breaks on the other.
            for end in (near, far):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        finally:
            near.close()
            far.close()

    async def _pump(self, source: socket.socket, target: socket.socket, rate: float | None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            piece = await loop.sock_recv(source, 65536 if rate is None else PIECE)
            if rate is not None:
                await asyncio.sleep(len(piece) / rate)
            await self._carry()
            if error := source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                # It was reset meanwhile: what waited on the way is gone.
                raise OSError(error, "reset")
            if not piece:
                break
            await loop.sock_sendall(target, piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    async def _carry(self) -> None:
        """Wait until what is sent now has come through."""
        loop = asyncio.get_running_loop()
        while not self._passes.is_set():
            sent_at = loop.time()
            await self._passes.wait()
            await asyncio.sleep(until_sent_again(loop.time() - sent_at))


def until_sent_again(lost_for: float) -> float:
    """Seconds until a kernel sends a segment again that was lost for this long: it waits twice as long each time."""
    pause = at = FIRST_RETRANSMISSION_S
    while at < lost_for:
        pause *= 2
        at += pause
    return at - lost_for


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setblocking(False)
    # Connections that have just been broken keep the port for minutes otherwise.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    bound.bind(("127.0.0.1", port))
    return bound
