"""The HTTP server: which path is answered by what. It awaits; the pure modules decide."""

import email.utils
import hashlib
import json
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Literal

from aiohttp import web
from attrs import define, field

from .contract import Refusal, Revision, read_order
from .gallery import Gallery
from .images import Upload, is_web_url
from .listing import Listing
from .quota import Quota
from .ranges import select
from .timeline import COMPLETED
from .timing import Clock
from .views import Arrival
from .webhook import Webhooks
from .wire import KEPT_SECONDS, Scribe, error_body, submitted_body
from .world import TooLate, World

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RetryAfter = Literal["seconds", "date"]

_LARGEST_BODY = 64 * 1024 * 1024
_JSON = "application/json"
_LARGE_LIST = 256 * 1024
"""Bytes from which a list is sent piece by piece, as fast as the client takes it."""
_LARGE_BODY = 256 * 1024
"""Bytes from which a body is read off the event loop."""

LONGEST_LINE = 64 * 1024
"""Bytes of a request line or a header: an absurd task id deserves a 404, not a broken parser."""


@define(kw_only=True)
class Server:
    """Everything that a handler needs, and the handlers."""

    api_key: str
    revision: Revision
    clock: Clock
    world: World
    quota: Quota
    scribe: Scribe
    listing: Listing
    gallery: Gallery
    webhooks: Webhooks
    arrivals: deque[Arrival]
    late_cancel: int
    retry_after: RetryAfter
    list_limit: int | None
    requests: int = 0
    bytes_sent: int = 0
    uploads: dict[str, Upload] = field(factory=dict[str, Upload])

    def application(self) -> web.Application:
        """Return the aiohttp application with every route of the revision."""
        app = web.Application(middlewares=[self._record], client_max_size=_LARGEST_BODY)
        app.router.add_post("/api/v1/generate/{model}", self._submit)
        app.router.add_get("/api/v1/tasks", self._list, allow_head=False)
        app.router.add_get("/api/v1/tasks/{id}", self._details, allow_head=False)
        app.router.add_get("/api/v1/tasks/{id}/status", self._status, allow_head=False)
        app.router.add_put("/api/v1/tasks/{id}/cancel", self._cancel)
        app.router.add_get("/videos/{id}.mp4", self._video)
        app.router.add_get("/uploads/{name}", self._uploaded)
        return app

    # What every request goes through

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        arrived, status = self.clock.base(), 0
        try:
            response = await self._answer(request, handler)
            status = response.status
            if isinstance(response, web.Response):
                self.bytes_sent += response.content_length or 0
        finally:
            self.arrivals.append(
                Arrival(
                    method=request.method,
                    path=request.rel_url.raw_path,
                    status=status,
                    at=arrived,
                    client=request.remote or "",
                )
            )
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._authenticate(request)
            return await handler(request)
        except Refusal as refusal:
            return self._refuse(refusal)
        except web.HTTPException as error:
            # aiohttp's own refusals: no such route, wrong method, body too large.
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return self._refuse(Refusal(error.status, error.reason, headers=allow))

    def _authenticate(self, request: web.Request) -> None:
        # api.md, HTTP statuses: the key is checked before routing.
        if request.path.startswith("/api/") and request.headers.get("key") != self.api_key:
            raise Refusal(401, "Invalid API key", "AUTH_FAILED")

    def _refuse(self, refusal: Refusal) -> web.Response:
        body = json.dumps(error_body(refusal, self.revision))
        return _json(body, status=refusal.status, headers=refusal.headers)

    # Billable calls

    async def _submit(self, request: web.Request) -> web.Response:
        webhook_url = request.headers.get("webhookUrl")
        if webhook_url is not None and not is_web_url(webhook_url):
            raise Refusal(400, "webhookUrl must be an http(s) URL", "INVALID_PAYLOAD")
        if request.content_type != "application/json":
            raise Refusal(415, "Content-Type must be application/json", "INVALID_PAYLOAD")
        body = await _read(request)
        model = request.match_info["model"]
        if len(body) < _LARGE_BODY:
            order = read_order(self.revision, model, body)
        else:
            order = await self.gallery.off_loop(read_order, self.revision, model, body)
        upload = order.upload
        if upload is not None:
            order = order.stored_at(f"{self.scribe.base_url}/uploads/{upload.name}")
        task = self.world.submit(order, self.clock.now(), webhook_url)
        if upload is not None:
            self.uploads[upload.name] = upload
        self.webhooks.changed(task)
        return _json(json.dumps(submitted_body(task)))

    async def _cancel(self, request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        try:
            task = self.world.cancel(task_id, self.clock.now(), self.late_cancel)
        except TooLate as late:
            if late.status != 200:
                raise
            return _json(json.dumps({"status": late.task_status, "taskId": task_id}))
        self.webhooks.changed(task)
        return _json(json.dumps({"status": "CANCEL", "taskId": task.id}))

    # Queries, under the limit

    def _count_query(self, request: web.Request) -> float:
        now = self.clock.now()
        wait = self.quota.arrive(request.remote or "", now)
        if wait <= 0:
            return now
        headers = {"Retry-After": self._come_back(self.clock.real(wait))}
        raise Refusal(429, "Too many requests", "RATE_LIMITED", headers)

    def _come_back(self, seconds: float) -> str:
        if self.retry_after == "seconds":
            return str(math.ceil(seconds))
        # A date has whole seconds: round up, or the client comes back too early.
        moment = self.clock.real_wall() + timedelta(seconds=seconds)
        return email.utils.formatdate(math.ceil(moment.timestamp()), usegmt=True)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        now = self._count_query(request)
        pieces = self.listing.pieces(now, self.list_limit)
        length = sum(map(len, pieces))
        if length < _LARGE_LIST:
            return _json(b"".join(pieces))
        response = web.StreamResponse()
        response.content_type, response.charset, response.content_length = _JSON, "utf-8", length
        # The client may have read enough and hung up: there is nobody left to answer.
        with suppress(ConnectionError):
            await response.prepare(request)
            for piece in pieces:
                await response.write(piece)
                self.bytes_sent += len(piece)
        return response

    async def _details(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        return _json(self.scribe.task(self.world.task(request.match_info["id"]), now))

    async def _status(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        status = self.world.task(request.match_info["id"]).status(now)
        return _json(json.dumps({"status": status}))

    # Files, without a key

    async def _video(self, request: web.Request) -> web.StreamResponse:
        now = self.clock.now()
        task = self.world.task(request.match_info["id"])
        finished = task.completed(now)
        if finished is None or task.status(now) != COMPLETED:
            raise Refusal(404, "The video is not finished")
        if now >= finished + KEPT_SECONDS:
            raise Refusal(410, "The video has expired")
        clip = await self.gallery.clip(task.order, self.uploads)
        modified = email.utils.format_datetime(self.clock.wall(finished), usegmt=True)
        return _file(request, clip, "video/mp4", modified)

    async def _uploaded(self, request: web.Request) -> web.StreamResponse:
        upload = self.uploads.get(request.match_info["name"])
        if upload is None:
            raise Refusal(404, "No such file")
        modified = email.utils.format_datetime(self.clock.wall(0), usegmt=True)
        return _file(request, upload.content, upload.media_type, modified)


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except (web.RequestPayloadError, ValueError):
        raise Refusal(400, "The body could not be read", "INVALID_PAYLOAD") from None


def _json(body: str | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    content = body.encode() if isinstance(body, str) else body
    return web.Response(body=content, status=status, headers=headers, content_type=_JSON, charset="utf-8")


def _file(request: web.Request, content: bytes, media_type: str, modified: str) -> web.Response:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    part = select(request.headers, len(content), etag, modified)
    headers = {"ETag": etag, "Last-Modified": modified, "Accept-Ranges": "bytes"}
    headers |= part.headers(len(content))
    body = content[part.start : part.stop]
    return web.Response(body=body, status=part.status, headers=headers, content_type=media_type)
