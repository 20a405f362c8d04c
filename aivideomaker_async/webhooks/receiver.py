"""The receiver: an ASGI application and an aiohttp handler that take deliveries and wake the poller of a client."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias
from urllib.parse import urlsplit

import anyio
from attrs import evolve, frozen

from .._redaction import Secret
from .._util import validation
from .._util.base_url import base_url
from .._util.fork import after_fork_in_child
from ..errors import ConfigurationError
from . import tokens

if TYPE_CHECKING:
    from aiohttp import web

    from ..client import AIVideoMaker

__all__ = ["WebhookReceiver", "WebhookStatistics", "content_length", "may_be_end"]

logger: Final = logging.getLogger("aivideomaker_async.webhooks")

# Each framework has types of its own for these; all of them fit.
_Scope: TypeAlias = Mapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[Any]]
_Send: TypeAlias = Callable[[Any], Awaitable[None]]
_App: TypeAlias = Callable[[Any, Any, Any], Coroutine[Any, Any, None]]
_NextPiece: TypeAlias = Callable[[], Awaitable[bytes | None]]
"""Reads the next piece of a body; None at its end."""

MIN_SECRET_LENGTH: Final = 16
"""Characters or bytes of a secret that a user chooses."""

_ANSWERS: Final = {200: b"ok\n", 404: b"not found\n", 413: b"too large\n"}

# As parts of words: a server may write CANCELLED.
_END_WORDS: Final = re.compile(rb"COMPLETED|FAILED|CANCEL")
# As whole words, in capitals as the service writes them: any other spelling may mean anything.
_NO_END_WORDS: Final = re.compile(rb"\b(?:PROGRESS|SUBMITTED)\b")


@frozen(kw_only=True)
class WebhookStatistics:
    """What a receiver has counted since it was made."""

    received: int = 0
    """Deliveries with a right token."""
    too_large: int = 0
    """Deliveries whose body was refused for its size; they count as received, too."""
    refused: int = 0
    """Requests with a wrong token, or none."""


class WebhookReceiver:
    """Takes webhook deliveries and wakes the poller of `client`. It is an ASGI application.

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
            raise ConfigurationError(f"secret: must be a text or bytes, at least {MIN_SECRET_LENGTH} long")
        self._public_url = url
        self._secret = made_with
        self._largest_body = validation.count("largest_body", largest_body)
        self._body_timeout = validation.seconds("body_timeout", body_timeout)
        self._client = client
        self._statistics = WebhookStatistics()
        # Deliveries may come from several threads.
        self._lock = Lock()
        after_fork_in_child(self, WebhookReceiver._renew_lock)
        client._add_receiver(self._is_own_url)

    def _renew_lock(self) -> None:
        self._lock = Lock()

    def __repr__(self) -> str:
        # A crash report may show a receiver whose `__init__` has failed.
        url = getattr(self, "_public_url", None)
        return "<WebhookReceiver>" if url is None else f"<WebhookReceiver {urlsplit(url.reveal()).hostname}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a webhook receiver cannot be copied or pickled: make one where it is needed")

    def url_for(self, reference: str | None = None) -> str:
        """Return a URL for `submit(spec, webhook_url=...)`. Nobody can guess it.

        Args:
            reference: your own name for the task, such as its idempotency key or an order number. With it the URL is
                the same in every process and after a restart. By default the URL is a new one each time.

        Raises:
            ConfigurationError: `reference` is no text, or an empty one.
        """
        if reference is None:
            nonce = secrets.token_bytes(tokens.NONCE_BYTES)
        elif isinstance(reference, str) and reference:  # type: ignore[redundant-expr]
            nonce = tokens.nonce_for(self._secret, reference)
        else:
            raise ConfigurationError(f"reference={reference!r}: must be a text that is not empty, or None")
        return f"{self._public_url.reveal()}/{tokens.mint(self._secret, nonce)}"

    def statistics(self) -> WebhookStatistics:
        """Return what was counted until now."""
        return self._statistics

    def beside(self, app: Callable[[Any, Any, Any], Awaitable[None]], path: str) -> _App:
        """Return an ASGI application: this receiver for what is below `path`, and `app` for all the rest.

        For frameworks that cannot mount an ASGI application, such as Django and Quart.

        Args:
            app: the framework's own application. It alone gets the lifespan.
            path: where the receiver is, as the server sees it; for example "/hooks".

        Raises:
            ConfigurationError: `path` is no path, or the root.
        """
        if not isinstance(path, str) or not path.strip("/"):  # type: ignore[redundant-expr]
            raise ConfigurationError(f"path={path!r}: must be a path such as '/hooks'")
        prefix = f"/{path.strip('/')}/"

        async def application(scope: _Scope, receive: _Receive, send: _Send) -> None:
            answering = (self if _is_below(scope, prefix) else app)(scope, receive, send)
            # Its path has a token, and a crash report may show this frame.
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
            # Its path has a token, and a crash report may show this frame.
            del scope
            await serving
        elif kind == "lifespan":
            while kind != "lifespan.shutdown":
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            raise RuntimeError(f"a webhook receiver serves http, not {kind!r}")

    async def _serve(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        # The last segment is the same whether the server, or what this is mounted in, leaves the path whole or not.
        is_valid, length, is_head = self._is_valid(scope["path"]), _content_length_of(scope), scope["method"] == "HEAD"
        del scope
        status = await self._take(length, _next_piece(receive)) if is_valid else 404
        text = _ANSWERS[status]
        headers = [
            (b"content-type", b"text/plain"),
            (b"content-length", b"%d" % len(text)),
            # A delivery can be a GET: a cache that answered the next one would swallow it.
            (b"cache-control", b"no-store"),
        ]
        # The sender need not wait for the answer.
        with suppress(OSError):
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b"" if is_head else text})

    # --- aiohttp.web ---------------------------------------------------------------------------------

    async def handle_aiohttp(self, request: web.Request) -> web.Response:
        """Answer a request of aiohttp.web: `app.router.add_route("*", "/hooks/{token}", receiver.handle_aiohttp)`."""
        from aiohttp import web

        content = request.content

        async def next_piece() -> bytes | None:
            return await content.readany() or None

        is_valid, length = self._is_valid(request.path), request.content_length
        # Its path has a token, and a crash report may show this frame.
        del request
        status = await self._take(length, next_piece) if is_valid else 404
        headers = {"Cache-Control": "no-store"}
        return web.Response(status=status, body=_ANSWERS[status], content_type="text/plain", headers=headers)

    # --- one delivery --------------------------------------------------------------------------------

    def _is_own_url(self, url: Secret) -> bool:
        return tokens.is_token(self._secret, tokens.last_segment(url.reveal()))

    def _is_valid(self, path: str) -> bool:
        is_valid = tokens.is_token(self._secret, tokens.last_segment(path))
        with self._lock:
            before = self._statistics
            if is_valid:
                self._statistics = evolve(before, received=before.received + 1)
            else:
                self._statistics = evolve(before, refused=before.refused + 1)
        if not is_valid:
            logger.debug("a request without a right token was refused")
        return is_valid

    async def _take(self, length: int | None, next_piece: _NextPiece) -> int:
        """Take a delivery with a right token; return the status of the answer."""
        body, status, is_urgent = bytearray(), 200, True
        try:
            if length is None or length <= self._largest_body:
                with anyio.move_on_after(self._body_timeout):
                    while len(body) <= self._largest_body and (piece := await next_piece()) is not None:
                        body += piece
                    is_urgent = may_be_end(body)
            if max(length or 0, len(body)) > self._largest_body:
                status, is_urgent = 413, True
                with self._lock:
                    self._statistics = evolve(self._statistics, too_large=self._statistics.too_large + 1)
        except Exception as error:  # noqa: BLE001  (whatever became of its body, the delivery has come)
            logger.debug("the body of a delivery could not be read: %s", type(error).__name__)
        finally:
            # Also when the server gives up on the request: its token shows that something has changed.
            logger.debug("a delivery came")
            self._client._wake(may_be_end=is_urgent)
        return status


def may_be_end(body: bytes | bytearray) -> bool:
    """Return whether the change that a delivery reports can be the end of its task.

    The body is neither trusted nor parsed, since nothing about it is documented. Every doubt counts as an end: a
    poll too many costs one request, a poll too late costs somebody's time. Linear in the length of the body.
    """
    return _END_WORDS.search(body) is not None or _NO_END_WORDS.search(body) is None


# --- ASGI, in pieces -----------------------------------------------------------------------------


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


def _content_length_of(scope: _Scope) -> int | None:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    for name, value in headers:
        if name.lower() == b"content-length":
            return content_length(value)
    return None


def content_length(value: bytes) -> int | None:
    """Return the bytes that a Content-Length header announces; None when it is malformed."""
    # The digits of a number too long for `int` are cut off: it is too large in any case.
    return int(value[:18]) if value.isdigit() else None


def _is_below(scope: _Scope, prefix: str) -> bool:
    if scope["type"] == "lifespan":
        return False
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "")).startswith(prefix)


# --- arguments -----------------------------------------------------------------------------------


def _hidden_url(value: str) -> Secret | None:
    try:
        url = base_url(Secret(value))
    except ConfigurationError:
        return None
    return Secret(url) if value.isascii() else None


def _hidden_secret(value: object, client: AIVideoMaker) -> Secret | None:
    if value is None:
        return tokens.derive_secret(client._api_key)
    if not isinstance(value, str | bytes) or len(value) < MIN_SECRET_LENGTH:
        return None
    return Secret(value if isinstance(value, str) else value.hex())
