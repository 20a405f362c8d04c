"""Event loops with clocks of their own."""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from typing import TYPE_CHECKING, Any

from tests.support.virtual_clock import VirtualClockLoop

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["CountingLoop", "ScaledLoop"]


class ScaledLoop(asyncio.SelectorEventLoop):
    """A loop whose clock is the machine's monotonic one, made `speed` times faster.

    All loops of a machine with the same speed agree about the time, also those of several processes.
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed
        super().__init__(_ScaledSelector(speed))

    def time(self) -> float:
        """Return the seconds of the faster clock."""
        return time.monotonic() * self._speed


class _ScaledSelector(selectors.DefaultSelector):
    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout if timeout is None else timeout / self._speed)


class CountingLoop(VirtualClockLoop):
    """A loop in virtual time that counts the bytes which its clients take from the system.

    What the server has sent says less: on loopback the system takes megabytes that nobody reads.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes_read = 0

    async def create_connection(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """Connect as ever, and count from then on."""
        connection: socket.socket | None = options.get("sock")
        if connection is not None:
            options["sock"] = _CountingSocket(connection, self)
        return await super().create_connection(*arguments, **options)


class _CountingSocket(socket.socket):
    def __init__(self, connection: socket.socket, loop: CountingLoop) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self.setblocking(False)
        self._loop = loop

    def recv(self, size: int, flags: int = 0) -> bytes:
        received = super().recv(size, flags)
        self._loop.bytes_read += len(received)
        return received

    def recv_into(self, buffer: Buffer, size: int = 0, flags: int = 0) -> int:
        length = super().recv_into(buffer, size, flags)
        self._loop.bytes_read += length
        return length
