"""The body of one request on its way, how far it got, and how it is cut off.

A socket that is closed keeps what is in its send queue, and the kernel goes on retransmitting it: an order that was
given up half a minute ago may still arrive, when the network is back. So the connection of a body that is given up is
reset. That takes both of two steps: `SO_LINGER` with no time, so that the kernel throws its queue away when the socket
is closed, and `abort()`, so that asyncio (and TLS above it) throw theirs away.

aiohttp writes the body of a request by a method of its payload, whatever session it is made in. So this works in a
caller's own session as well, and it is known exactly whether a whole order may have left: not before its last piece.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from .requests import RequestBody, Sending

__all__ = ["Upload"]

WRITE_PIECE_BYTES: Final = 64 * 1024
"""Bodies are written in pieces of about this size, between which other tasks run."""

PROGRESS_CHECKS: Final = 20
"""How often in the time of an attempt it is checked whether any byte was taken."""

SEND_BUFFER_BYTES: Final = 256 * 1024
"""The send queue of the kernel, where it cannot be asked how much is in it: what is taken into a longer one would count
as progress that was not made."""

_AF_UNIX: Final = getattr(socket, "AF_UNIX", None)


class Upload(aiohttp.Payload):
    """Writes the body of one request, once.

    Args:
        body: the body.
        sending: is marked as sent just before the last piece leaves: of less than the whole body no order is made.
        moved: called when some bytes were taken.
    """

    _autoclose = True

    def __init__(self, body: RequestBody, sending: Sending, moved: Callable[[], object]) -> None:
        super().__init__(None, content_type="application/json")
        self._size = len(body)
        self._body = body
        self._sending = sending
        self._moved = moved
        self._has_begun = False
        self._is_cut_off = False
        self._transport: asyncio.Transport | None = None
        self._resets = False
        self._watch: asyncio.TimerHandle | None = None
        self._in_queues = 0, 0
        self.written: int = 0
        """Bytes that were handed over so far."""
        self.is_answered: bool = False
        """Whether a good answer has come."""

    @property
    def progress(self) -> str:
        """How far it got, for a message."""
        return f"sent {self.written} of {len(self._body)} bytes"

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return what stands for the body in a log of the caller's session: nothing, since it is private."""
        return ""

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body to a connection.

        Raises:
            RuntimeError: it was written before, or given up. A middleware of the caller may repeat a request; an order
                must not be repeated blindly.
        """
        if self._has_begun or self._is_cut_off:
            raise RuntimeError("this request must not be repeated by a middleware of the session")
        self._has_begun = True
        self._prepare(writer)
        for piece, is_last in _with_last(_joined(self._body.pieces())):
            if self._is_cut_off:
                raise RuntimeError("this request was given up")
            if is_last:
                self._sending.mark(sent=True)
            await writer.write(piece)
            self.written += len(piece)
            if not is_last:
                # A slow peer is waited for here. A fast one would never let other tasks run.
                await writer.drain()
                await asyncio.sleep(0)
            self._moved()

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body, whose length is that of the header."""
        await self.write(writer)

    def _prepare(self, writer: AbstractStreamWriter) -> None:
        """Make sure that the connection ends with a reset, unless a good answer comes."""
        if (protocol := getattr(writer, "protocol", None)) is not None:
            # The connection is never used for another request, so that to cut it off hurts nobody else.
            protocol.force_close()
        self._transport = getattr(writer, "transport", None)
        # From the beginning, so that it also holds for a process that is killed and a loop that is closed.
        self._resets = self._set_linger(1)
        if sys.platform != "linux":
            self._set(socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    # --- progress ------------------------------------------------------------------------------------

    def watch(self, timeout: float) -> None:
        """Report from now on when bytes are taken, often enough for a limit of `timeout` seconds without progress."""
        self._watch = asyncio.get_running_loop().call_later(timeout / PROGRESS_CHECKS, self._check, timeout)

    def _check(self, timeout: float) -> None:
        before = self._in_queues
        if self._transport is not None and not self._transport.is_closing():
            self._in_queues = self._transport.get_write_buffer_size(), self._unacknowledged()
        if self._in_queues != before:
            self._moved()
        self.watch(timeout)

    def _unacknowledged(self) -> int:
        """Return the bytes in the send queue of the kernel, or 0 where it cannot be asked."""
        sock = self._socket()
        if sys.platform != "linux" or sock is None:
            return 0
        # Not on every system.
        import fcntl
        import termios

        try:
            return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except (OSError, ValueError):
            return 0

    # --- the end -------------------------------------------------------------------------------------

    def answered(self) -> None:
        """Let the connection end as usual: a good answer came."""
        self.is_answered = True
        self._stop_watch()
        self._set_linger(0)

    def cut_off(self) -> bool:
        """Reset the connection; return whether nothing of the request can arrive any more that has not arrived yet."""
        self._is_cut_off = True
        self._stop_watch()
        if self._transport is not None:
            try:
                self._transport.abort()
            except RuntimeError:
                # The event loop is closed, and the socket may stay open.
                return not self._sending.sent
        return self._resets or not self._sending.sent

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # --- the socket ----------------------------------------------------------------------------------

    def _socket(self) -> _Socket | None:
        return None if self._transport is None else self._transport.get_extra_info("socket")

    def _set_linger(self, on: int) -> bool:
        """Choose whether closing throws the send queue away; return whether it will be as chosen."""
        sock = self._socket()
        if sock is None:
            return False
        if sock.family == _AF_UNIX:
            # What is sent is at the peer: there is no send queue.
            return True
        return self._set(socket.SO_LINGER, struct.pack("hh" if sys.platform == "win32" else "ii", on, 0))

    def _set(self, option: int, value: int | bytes) -> bool:
        sock = self._socket()
        if sock is None:
            return False
        try:
            sock.setsockopt(socket.SOL_SOCKET, option, value)
        except (OSError, TypeError):
            # It is closed, or belongs to a loop that lends it to nobody.
            return False
        return True


class _Socket(Protocol):
    """What event loops show of a socket."""

    @property
    def family(self) -> int: ...

    def fileno(self) -> int: ...

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None: ...


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join small pieces, so that a short body leaves in one."""
    some: list[bytes] = []
    size = 0
    for piece in pieces:
        some.append(piece)
        size += len(piece)
        if size >= WRITE_PIECE_BYTES:
            yield b"".join(some)
            some, size = [], 0
    if some:
        yield b"".join(some)


def _with_last(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Return each piece with whether it is the last one."""
    ahead = next(pieces, b"")
    for piece in pieces:
        yield ahead, False
        ahead = piece
    yield ahead, True
