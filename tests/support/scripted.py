"""A service that follows the script of a test: a small HTTP server without any code of the package."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Arrival:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float
    connection: int
    """The number of its connection, from 1."""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    status: int = 200
    body: bytes | str | Mapping[str, Any] | list[Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before anything is sent."""
    cut: int | None = None
    """Bytes of the body after which the connection breaks, a moment later, so that the client has read them."""


@dataclass(frozen=True)
class Drop:
    """Close the connection without an answer."""


@dataclass(frozen=True)
class Hang:
    """Never answer."""


@dataclass(frozen=True)
class Raw:
    """Send these bytes and close."""

    data: bytes


@dataclass(frozen=True)
class Endless:
    """Send the head, and then the piece again and again until the client closes the connection."""

    head: bytes
    piece: bytes
    pause: float = 0.0
    """Seconds between two pieces."""


@dataclass(frozen=True)
class Talk:
    """Send some bytes, others after a while, and then answer further requests."""

    first: bytes
    then: bytes
    after: float = 1.0
    """Seconds."""


Action: TypeAlias = Reply | Drop | Hang | Raw | Endless | Talk
Handler: TypeAlias = Callable[[Arrival], Action | Awaitable[Action]]


class ScriptedService:
    """A server that answers by `handler`, and records what arrives."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.arrivals: list[Arrival] = []
        self.connections: set[asyncio.StreamWriter] = set()
        self.opened = 0
        self.sent = 0
        """Bytes sent by `Endless`."""
        self.url = ""
        self.server: asyncio.Server | None = None

    def stop_listening(self) -> None:
        """Break all connections and accept no new one, as a service that is restarted."""
        assert self.server is not None
        self.server.close()
        for writer in tuple(self.connections):
            writer.transport.abort()

    async def arrival(self) -> None:
        """Wait for the first request."""
        while not self.arrivals:  # noqa: ASYNC110  (no event reports it, and the clock is virtual)
            await asyncio.sleep(0.1)

    def paths(self) -> list[str]:
        """Return method and path of each request, in order."""
        return [f"{item.method} {item.path}" for item in self.arrivals]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        self.opened += 1
        number = self.opened
        try:
            while (arrival := await self._read(reader, number)) is not None:
                self.arrivals.append(arrival)
                action = self.handler(arrival)
                if isinstance(action, Awaitable):
                    action = await action
                if not await self._act(action, writer):
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, connection: int) -> Arrival | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Arrival(method, path, headers, body, asyncio.get_running_loop().time(), connection)

    async def _act(self, action: Action, writer: asyncio.StreamWriter) -> bool:
        if isinstance(action, Drop):
            return False
        if isinstance(action, Hang):
            await asyncio.Event().wait()
        if isinstance(action, Raw):
            writer.write(action.data)
            await writer.drain()
            return False
        if isinstance(action, Talk):
            writer.write(action.first)
            await asyncio.sleep(action.after)
            writer.write(action.then)
            await writer.drain()
            return True
        if isinstance(action, Endless):
            writer.write(action.head)
            while True:
                writer.write(action.piece)
                self.sent += len(action.piece)
                await writer.drain()
                await asyncio.sleep(action.pause)
        assert isinstance(action, Reply)
        if action.delay:
            await asyncio.sleep(action.delay)
        body = action.body if isinstance(action.body, bytes) else _encode(action.body)
        kind = "application/octet-stream" if isinstance(action.body, bytes) else "application/json"
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **action.headers}
        lines = [f"HTTP/1.1 {action.status} X", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body[: action.cut])
        await writer.drain()
        if action.cut is not None:
            await asyncio.sleep(0.01)
        return action.cut is None


def _encode(body: str | Mapping[str, Any] | list[Any]) -> bytes:
    return (body if isinstance(body, str) else json.dumps(body)).encode()


@asynccontextmanager
async def scripted(handler: Handler, *, port: int = 0) -> AsyncIterator[ScriptedService]:
    """A service on loopback that answers by `handler`."""
    service = ScriptedService(handler)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with suppress(asyncio.CancelledError):
            await service.serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", port, limit=2**26)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    service.server = server
    try:
        yield service
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def one_by_one(actions: Iterable[Action]) -> Handler:
    """Return a handler that does one of the actions for each request, and repeats the last one."""
    queue = list(actions)
    return lambda _: queue.pop(0) if len(queue) > 1 else queue[0]


LOST_ANSWERS: list[Action] = [
    Drop(),
    Hang(),
    Reply(500),
    Reply(502, "<html>Bad gateway</html>", {"Content-Type": "text/html"}),
    Reply(408),
    Reply(503, {"status": "FAILED", "message": "later"}),
    Reply(200, "<html>Welcome</html>"),
    Reply(200, b""),
    Reply(200, b'{"status":'),
    Reply(200, b"[]"),
    Reply(200, {"state": "?"}),
    Reply(200, {"status": "SUBMITTED", "taskId": None}),
    Reply(200, {"status": "SUBMITTED", "taskId": "ck1"}, cut=10),
    Raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"),
    Raw(b"\x00\x01\x02 nonsense"),
]
"""Answers to a submit that leave its outcome unknown."""


class Crowd:
    """A handler that needs a second for each request, and counts how many it has at once."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0

    async def __call__(self, arrival: Arrival) -> Action:
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(1)
        self._now -= 1
        return Reply(body=b"x")


def is_younger(arrival: Arrival) -> bool:
    """Return whether a request is for an endpoint that the 2026-03 revision lacks."""
    return arrival.path == "/api/v1/account" or arrival.path.startswith("/api/v1/quote/")


def submitted(task_id: str = "ck1") -> Reply:
    """Return the answer of the 2026-03 revision to a submit."""
    base = f"https://aivideomaker.ai/api/v1/tasks/{task_id}"
    return Reply(
        body={
            "status": "SUBMITTED",
            "taskId": task_id,
            "responseUrl": base,
            "statusUrl": f"{base}/status",
            "cancelUrl": f"{base}/cancel",
        }
    )


def row(task_id: str, status: str, **fields: Any) -> dict[str, Any]:
    """Return a row of the task list; a finished task has its output."""
    done = status == "COMPLETED"
    return {
        "id": task_id,
        "createdAt": "2026-03-19T08:00:00.000Z",
        "model": "t2v",
        "input": {"prompt": "x", "aspectRatio": "16:9", "duration": "5"},
        "output": {"url": f"https://cdn.example/{task_id}.mp4"} if done else None,
        "status": status,
        "completedAt": "2026-03-19T08:02:00.000Z" if done else None,
        **fields,
    }
