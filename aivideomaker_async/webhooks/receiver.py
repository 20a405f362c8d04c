"""A receiver of webhook deliveries, to be mounted in any ASGI framework or in aiohttp.web.

    receiver = WebhookReceiver(client, "https://example.com/hooks")
    app.mount("/hooks", receiver)
    task = await client.submit(spec, webhook_url=receiver.url_for())

A delivery only wakes the watcher, which asks the service: nothing in it is believed. Which task it is about tells the
token in the URL, which only we can have made. So a forged or repeated delivery costs at most a query, within the limit,
and one that never comes costs nothing but the time until the next poll.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias
from urllib.parse import urlsplit

import anyio

from .._redaction import Secret, single_line
from .._util import validation as _checks
from .._util.base_url import base_url
from ..errors import ConfigurationError
from . import body as webhook_body
from . import tokens as webhook_tokens
from .deliveries import Ledger, WebhookStatistics

if TYPE_CHECKING:
    from aiohttp import web

    from ..client.client import AIVideoMaker

__all__ = ["WebhookReceiver", "WebhookStatistics"]

logger: Final = logging.getLogger("aivideomaker_async.webhooks")

# Each framework has types of its own for these; all of them fit.
_Scope: TypeAlias = Mapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[Any]]
_Send: TypeAlias = Callable[[Any], Awaitable[None]]
_App: TypeAlias = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
_NextPiece: TypeAlias = Callable[[], Awaitable[bytes | None]]
"""Reads the next piece of a body; None at its end."""

LEAST_SECRET: Final = 16
"""Characters or bytes of a secret that somebody chooses."""

_TEXTS: Final = {200: b"ok\n", 404: b"not found\n", 413: b"too large\n"}


class WebhookReceiver:
    """Takes webhook deliveries and wakes the watcher of `client`. It is an ASGI application.

    It may be mounted under any path, in one process or many, in another thread or event loop than the client's, and
    needs no lifespan. What it answers: 200 to every method with a right token, 404 to everything else, 413 to a body
    that is too large.

    Args:
        client: whose tasks the deliveries are about.
        public_url: where the service reaches this receiver: http(s)://host, with a port or a path if need be.
        secret: what the tokens are made with, 16 characters or more; the same in all processes that share `public_url`.
            By default it is derived from the client's API key.
        largest_body: bytes of the largest body that is taken.
        body_timeout: seconds to wait for the whole of a body; then the delivery is taken without it.

    Raises:
        ConfigurationError: an argument makes no sense.
    """

    def __init__(
        self,
        client: AIVideoMaker,
        public_url: str,
        *,
        secret: str | bytes | None = None,
        largest_body: int = 65536,
        body_timeout: float = 2.0,
    ) -> None:
        # The path of a URL may be a secret, too. A traceback may show local variables, so from here on there are none.
        url, made_with = _hidden_url(public_url), _hidden_secret(secret, client)
        del public_url, secret
        if url is None:
            raise ConfigurationError(
                "public_url: must be http(s)://host in ASCII, with nothing more than a port and a path"
            )
        if made_with is None:
            raise ConfigurationError(f"secret: must be a text or bytes, at least {LEAST_SECRET} long")
        self._public_url = url
        self._secret = made_with
        self._largest_body = _checks.count("largest_body", largest_body)
        self._body_timeout = _checks.seconds("body_timeout", body_timeout)
        self._client = client
        self._ledger = Ledger()
        client._add_receiver(self)

    def __repr__(self) -> str:
        # It may be shown while it is made, by what is told of an error in that.
        url = getattr(self, "_public_url", None)
        return "<WebhookReceiver>" if url is None else f"<WebhookReceiver {urlsplit(url.reveal()).hostname}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a webhook receiver cannot be copied or pickled: make one where it is needed")

    def url_for(self, reference: str | None = None) -> str:
        """A URL for `submit(spec, webhook_url=...)`. Nobody can guess it; who knows it can wake the watcher.

        Args:
            reference: your own name for the task, such as its idempotency key or an order number. With it the URL is
                the same in every process and after a restart. By default the URL is a new one each time.

        Raises:
            ConfigurationError: `reference` is no text, or an empty one.
        """
        if reference is None:
            nonce = secrets.token_bytes(webhook_tokens.NONCE_BYTES)
        elif isinstance(reference, str) and reference:  # type: ignore[redundant-expr]
            nonce = webhook_tokens.nonce_for(self._secret, reference)
        else:
            raise ConfigurationError("reference: must be a text that is not empty, or None")
        return f"{self._public_url.reveal()}/{webhook_tokens.mint(self._secret, nonce)}"

    def statistics(self) -> WebhookStatistics:
        """What has come until now."""
        return self._ledger.statistics()

    def beside(self, app: Callable[[Any, Any, Any], Awaitable[None]], path: str) -> _App:
        """An ASGI application: this receiver for what is below `path`, and `app` for all the rest.

        For frameworks that cannot mount an ASGI application, such as Django and Quart.

        Args:
            app: the framework's own application. It alone gets the lifespan.
            path: where the receiver is, as the server sees it; for example "/hooks".

        Raises:
            ConfigurationError: `path` is no path, or the root.
        """
        if not isinstance(path, str) or not path.strip("/"):  # type: ignore[redundant-expr]
            raise ConfigurationError("path: must be a path such as '/hooks'")
        prefix = f"/{path.strip('/')}/"

        async def application(scope: _Scope, receive: _Receive, send: _Send) -> None:
            answering = (self if _is_below(scope, prefix) else app)(scope, receive, send)
            # Its path has a token, and this frame lasts.
            del scope
            await answering

        return application

    # --- ASGI ----------------------------------------------------------------------------------------

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Serve one connection of an ASGI server.

        Raises:
            RuntimeError: a kind of connection that this does not know.
        """
        kind = scope["type"]
        if kind == "http":
            serving = self._serve(scope, receive, send)
            # Its path has a token, and this frame lasts.
            del scope
            await serving
        elif kind == "lifespan":
            await _live(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            raise RuntimeError(f"a webhook receiver serves http, not {kind!r}")

    async def _serve(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        # The last segment is the same whether the server, or what this is mounted in, leaves the path whole or not.
        nonce, length, is_head = self._nonce(scope["path"]), _told_length(scope), scope["method"] == "HEAD"
        del scope
        status = 404 if nonce is None else await self._take(nonce, length, _next_piece(receive))
        text = _TEXTS[status]
        headers = [
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(text)),
            # A delivery can be a GET: a cache that answered the next one would swallow it.
            (b"cache-control", b"no-store"),
        ]
        # Who has sent a delivery need not wait for the answer.
        with suppress(OSError):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if is_head else text})

    # --- aiohttp.web ---------------------------------------------------------------------------------

    async def handle_aiohttp(self, request: web.Request) -> web.Response:
        """A handler for aiohttp.web: `app.router.add_route("*", "/hooks/{token}", receiver.handle_aiohttp)`."""
        from aiohttp import web

        content = request.content

        async def next_piece() -> bytes | None:
            return await content.readany() or None

        nonce, length = self._nonce(request.path), request.content_length
        # Its path has a token, and this frame lasts.
        del request
        status = 404 if nonce is None else await self._take(nonce, length, next_piece)
        headers = {"Cache-Control": "no-store"}
        return web.Response(status=status, body=_TEXTS[status], content_type="text/plain", headers=headers)

    # --- one delivery --------------------------------------------------------------------------------

    def _nonce(self, path: str) -> bytes | None:
        nonce = webhook_tokens.check(self._secret, webhook_tokens.last_segment(path))
        if nonce is None:
            self._ledger.refuse()
            logger.debug("a request without a right token was refused")
        return nonce

    async def _take(self, nonce: bytes, length: int | None, next_piece: _NextPiece) -> int:
        """Take a delivery with a right token; returns the status of the answer."""
        status, urgent = 200, True
        try:
            urgent = await self._is_urgent(length, next_piece)
        except _TooLarge:
            self._ledger.refuse_body()
            status = 413
        except Exception as error:  # noqa: BLE001  (whatever became of its body, the delivery has come)
            logger.debug("the body of a delivery could not be read: %s", type(error).__name__)
        finally:
            # Also when the server gives up on the request: that something has changed is known by its token.
            self._arrived(nonce, urgent)
        return status

    async def _is_urgent(self, length: int | None, next_piece: _NextPiece) -> bool:
        if length is not None and length > self._largest_body:
            raise _TooLarge
        body = bytearray()
        with anyio.move_on_after(self._body_timeout):
            while (piece := await next_piece()) is not None:
                if len(body) + len(piece) > self._largest_body:
                    raise _TooLarge
                body += piece
            return webhook_body.is_urgent(body)
        return True

    def _arrived(self, nonce: bytes, urgent: bool) -> None:
        task_id, known = self._ledger.arrive(nonce, urgent)
        if self._client._api.lifecycle.closed:
            return
        if task_id is not None:
            logger.debug("a delivery for task %s", single_line(task_id))
            self._client._hint(task_id, urgent=urgent)
        elif not known:
            logger.debug("a delivery for a task that is not known here")
            self._client._share_hint(webhook_tokens.write_hint(nonce, urgent=urgent))
            self._client._hint(None, urgent=urgent)

    # --- for the client ------------------------------------------------------------------------------

    def bind(self, url: str, task_id: str) -> bool:
        """A submit with this webhook URL has become this task; returns whether the URL is one of this receiver's."""
        nonce = webhook_tokens.check(self._secret, webhook_tokens.last_segment(url))
        if nonce is None:
            return False
        urgent = self._ledger.bind(nonce, task_id)
        if urgent is not None:
            self._client._hint(task_id, urgent=urgent)
        return True

    def release(self, task_id: str) -> None:
        """The task has ended: nobody needs to hear of it any more."""
        self._ledger.release(task_id)

    def resolve(self, reference: str) -> None:
        """Another process has taken a delivery and does not know its task."""
        hint = webhook_tokens.read_hint(reference)
        if hint is None:
            return
        nonce, urgent = hint
        task_id = self._ledger.hear(nonce, urgent)
        if task_id is not None:
            self._client._hint(task_id, urgent=urgent)


class _TooLarge(Exception):
    pass


# --- ASGI, in pieces -----------------------------------------------------------------------------


async def _live(receive: _Receive, send: _Send) -> None:
    """The lifespan of a server that runs nothing but the receiver."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


def _next_piece(receive: _Receive) -> _NextPiece:
    more = True

    async def next_piece() -> bytes | None:
        nonlocal more
        if not more:
            return None
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionError("the sender has gone")
        more = message.get("more_body", False)
        piece: bytes = message.get("body", b"")
        return piece

    return next_piece


def _told_length(scope: _Scope) -> int | None:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name.lower() == b"content-length":
            return webhook_body.told_length(value)
    return None


def _is_below(scope: _Scope, prefix: str) -> bool:
    if scope["type"] == "lifespan":
        return False
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).startswith(prefix)


# --- arguments -----------------------------------------------------------------------------------


def _hidden_url(value: str) -> Secret | None:
    try:
        url = base_url(value)
    except ConfigurationError:
        return None
    return Secret(url) if value.isascii() else None


def _hidden_secret(value: object, client: AIVideoMaker) -> Secret | None:
    if value is None:
        return webhook_tokens.derive_secret(client._api.settings.key)
    if not isinstance(value, str | bytes) or len(value) < LEAST_SECRET:
        return None
    return Secret(value if isinstance(value, str) else value.hex())
