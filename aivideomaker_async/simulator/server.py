"""The HTTP server: which path is answered by what. It awaits; the pure modules decide."""

import email.utils
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

from aiohttp import web
from attrs import define, field

from .answers import LongList, file_answer, json_answer, read
from .contract import Order, Refusal, Revision, read_order
from .faults import Call, Fault, Faults
from .gallery import Gallery
from .images import Upload
from .listing import Listing
from .mischief import Mischief
from .openapi import document
from .quota import Quota
from .terms import read_terms
from .timeline import COMPLETED
from .timing import Clock
from .views import Arrival
from .webhook import Webhooks
from .wire import KEPT_SECONDS, Guardrails, Scribe, account_body, error_body, quote_body, submitted_body
from .world import Task, TooLate, World

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

RetryAfter = Literal["seconds", "date"]

_LARGEST_BODY = 64 * 1024 * 1024
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
    generations: Quota
    guardrails: Guardrails
    scribe: Scribe
    listing: Listing
    gallery: Gallery
    webhooks: Webhooks
    faults: Faults
    arrivals: deque[Arrival]
    late_cancel: int
    retry_after: RetryAfter
    list_limit: int | None
    list_lag: float
    lookup_lag: float
    skew_date: bool
    ranges: bool
    requests: int = 0
    bytes_sent: int = 0
    uploads: dict[str, Upload] = field(factory=dict[str, Upload])
    mischief: Mischief = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.mischief = Mischief(self._refuse, self._sent, self.ranges)

    def application(self) -> web.Application:
        """Return the aiohttp application with every route of the revision."""
        app = web.Application(middlewares=[self._record], client_max_size=_LARGEST_BODY)
        app.router.add_post("/api/v1/generate/{model}", self._submit)
        app.router.add_get("/api/v1/tasks", self._list, allow_head=False)
        app.router.add_get("/api/v1/tasks/{id}", self._details, allow_head=False)
        app.router.add_get("/api/v1/tasks/{id}/status", self._status, allow_head=False)
        app.router.add_put("/api/v1/tasks/{id}/cancel", self._cancel)
        if self.revision.billing:
            app.router.add_get("/api/v1/account", self._account, allow_head=False)
            app.router.add_post("/api/v1/quote/{model}", self._quote)
        app.router.add_get("/openapi.json", self._document)
        app.router.add_get("/videos/{id}.mp4", self._video)
        app.router.add_get("/uploads/{name}", self._uploaded)
        if self.clock.skew and self.skew_date:
            app.on_response_prepare.append(self._skew_date)
        return app

    # What every request goes through

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        arrived, status = self.clock.base(), 0
        fault: Fault | None = None
        try:
            fault = self._fault(request)
            act = partial(self._answer, handler)
            response = await (act(request) if fault is None else self.mischief.answer(fault, request, act))
            status = response.status
            if isinstance(response, web.Response):
                self._sent(response.content_length or 0)
        finally:
            self.arrivals.append(
                Arrival(
                    method=request.method,
                    path=request.rel_url.raw_path,
                    status=status,
                    at=arrived,
                    client=request.remote or "",
                    fault=None if fault is None else fault.kind,
                )
            )
        return response

    def _fault(self, request: web.Request) -> Fault | None:
        if not self.faults.any:
            return None
        call = Call.of(request.method, request.rel_url.raw_path, self.world.model_of)
        try:
            return self.faults.hit(call)
        except Exception:
            # It was asked for by somebody's test, which shall see why it fails.
            logger.exception("the function that chooses what a fault hits has failed; nothing was hit")
            return None

    def _sent(self, size: int) -> None:
        self.bytes_sent += size

    async def _skew_date(self, _: web.Request, response: web.StreamResponse) -> None:
        told = datetime.now(UTC) + timedelta(seconds=self.clock.skew)
        response.headers["Date"] = email.utils.format_datetime(told, usegmt=True)

    async def _answer(self, handler: Handler, request: web.Request) -> web.StreamResponse:
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
        return json_answer(error_body(refusal, self.revision), status=refusal.status, headers=refusal.headers)

    # Billable calls, and what they would cost

    async def _submit(self, request: web.Request) -> web.Response:
        self._count(self.generations, self.api_key)
        terms = read_terms(request.headers, self.revision)
        order = await self._read_order(request)
        stored = order.stored_at(lambda upload: f"{self.scribe.base_url}/uploads/{upload.name}")
        kept, billing = self.revision.idempotency, self.revision.billing
        original = self.world.original(stored, terms.key) if kept and terms.key is not None else None
        if original is not None:
            return json_answer(submitted_body(original, replay=True, billing=billing))
        task = self.world.submit(stored, self.clock.now(), terms.webhook_url, terms.key, terms.budget)
        self.uploads.update((upload.name, upload) for upload in order.uploads.values())
        self.webhooks.changed(task)
        return json_answer(submitted_body(task, replay=False if kept or billing else None, billing=billing))

    async def _quote(self, request: web.Request) -> web.Response:
        order = await self._read_order(request)
        return json_answer(quote_body(order, self.world.balance(self.clock.now())))

    async def _read_order(self, request: web.Request) -> Order:
        if request.content_type != "application/json":
            raise Refusal(415, "Content-Type must be application/json", "INVALID_PAYLOAD")
        body = await read(request)
        model = request.match_info["model"]
        if len(body) < _LARGE_BODY:
            return read_order(self.revision, model, body)
        return await self.gallery.off_loop(read_order, self.revision, model, body)

    async def _cancel(self, request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        try:
            task = self.world.cancel(task_id, self.clock.now(), self.late_cancel)
        except TooLate as late:
            if late.status != 200:
                raise
            return json_answer({"status": late.task_status, "taskId": task_id})
        self.webhooks.changed(task)
        return json_answer({"status": "CANCEL", "taskId": task.id})

    # Queries, under the limit

    def _count(self, quota: Quota, client: str) -> float:
        now = self.clock.now()
        wait = quota.arrive(client, now)
        if wait <= 0:
            return now
        headers = {"Retry-After": self._come_back(self.clock.real(wait))}
        raise Refusal(429, "Too many requests", "RATE_LIMITED", headers)

    def _count_query(self, request: web.Request) -> float:
        return self._count(self.quota, request.remote or "")

    def _come_back(self, seconds: float) -> str:
        if self.retry_after == "seconds":
            return str(math.ceil(seconds))
        # A date has whole seconds: round up, or the client comes back too early.
        skew = self.clock.skew if self.skew_date else 0.0
        moment = self.clock.real_wall() + timedelta(seconds=seconds + skew)
        return email.utils.formatdate(math.ceil(moment.timestamp()), usegmt=True)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        now = self._count_query(request)
        pieces = self.listing.pieces(now - self.list_lag, self.list_limit)
        if sum(map(len, pieces)) < _LARGE_LIST:
            return json_answer(b"".join(pieces))
        return LongList(pieces, self._sent)

    async def _details(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        return json_answer(self.scribe.task(self._looked_up(request, now), now))

    async def _status(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        return json_answer({"status": self._looked_up(request, now).status(now)})

    async def _account(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        return json_answer(account_body(self.world.balance(now), self.guardrails))

    def _looked_up(self, request: web.Request, now: float) -> Task:
        return self.world.task(request.match_info["id"], created_by=now - self.lookup_lag)

    # Without a key

    async def _document(self, _: web.Request) -> web.Response:
        return json_answer(document(self.revision, self.scribe.base_url, self.late_cancel))

    async def _video(self, request: web.Request) -> web.StreamResponse:
        now = self.clock.now()
        task = self.world.task(request.match_info["id"])
        finished = task.completed(now)
        if finished is None or task.status(now) != COMPLETED:
            raise Refusal(404, "The video is not finished")
        if now >= finished + KEPT_SECONDS:
            raise Refusal(410, "The video has expired")
        clip = await self.gallery.clip(task.order, self.uploads)
        return self._file(request, clip, "video/mp4", finished)

    async def _uploaded(self, request: web.Request) -> web.StreamResponse:
        upload = self.uploads.get(request.match_info["name"])
        if upload is None:
            raise Refusal(404, "No such file")
        return self._file(request, upload.content, upload.media_type, 0)

    def _file(self, request: web.Request, content: bytes, media_type: str, made: float) -> web.Response:
        modified = email.utils.format_datetime(self.clock.told(made), usegmt=True)
        return file_answer(request, content, media_type, modified, ranges=self.ranges)
