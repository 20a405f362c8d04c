"""A webhook receiver by itself: a client that only notes what it is woken for, and a server of no framework."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aivideomaker_async import AIVideoMaker
from aivideomaker_async._redaction import Secret
from aivideomaker_async.webhooks import WebhookReceiver

END = b'{"taskId": "ck1", "status": "COMPLETED"}'
NO_END = b'{"taskId": "ck1", "status": "PROGRESS"}'


class FakeClient:
    """What a receiver uses of a client. It notes for what it is woken."""

    def __init__(self, key: str = "ak_test") -> None:
        self._api_key = Secret(key)
        self.receivers: list[Callable[[Secret], bool]] = []
        self.wakes: list[bool] = []
        """For each delivery, whether it may be an end."""

    def _add_receiver(self, is_url_of: Callable[[Secret], bool]) -> None:
        self.receivers.append(is_url_of)

    def _wake(self, *, may_be_end: bool) -> None:
        self.wakes.append(may_be_end)


def receiver_of(client: FakeClient, url: str = "https://example.com/hooks", **options: Any) -> WebhookReceiver:
    return WebhookReceiver(cast("AIVideoMaker", client), url, **options)


class Exchange:
    """One connection, as an ASGI server hands it to an application.

    Args:
        path: where to.
        pieces: the body. None stands for a sender that goes away, an exception for a broken server.
        scope: further fields of the scope.
    """

    def __init__(self, path: str, *pieces: bytes | Exception | None, **scope: object) -> None:
        self.scope = {"type": "http", "method": "POST", "path": path, "root_path": "", "headers": [], **scope}
        self.pieces = list(pieces)
        self.reads = 0
        self.sent: list[dict[str, Any]] = []
        self.sending_fails: Exception | None = None

    async def receive(self) -> dict[str, object]:
        self.reads += 1
        if self.scope["type"] == "websocket":
            return {"type": "websocket.connect"}
        if not self.pieces and self.reads > 1:
            await asyncio.Event().wait()
        piece = self.pieces.pop(0) if self.pieces else b""
        if isinstance(piece, Exception):
            raise piece
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}

    async def send(self, message: dict[str, Any]) -> None:
        if self.sending_fails is not None:
            raise self.sending_fails
        self.sent.append(message)

    async def run(self, app: Callable[[Any, Any, Any], Awaitable[None]]) -> int:
        await app(self.scope, self.receive, self.send)
        return int(self.sent[0].get("status", 0)) if self.sent else 0


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


async def deliver(receiver: WebhookReceiver, url: str, body: bytes = END) -> int:
    return await Exchange(path_of(url), body).run(receiver)
