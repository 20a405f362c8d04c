"""The HTTP server: its routes and their handlers. The handlers await; the pure modules decide."""

import email.utils
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from aiohttp import web
from attrs import define, field

from . import links, openapi
from .contract import Refusal, Revision, VideoOrder, newer_endpoint, read_order, read_submit_headers
from .fault_injection import FaultInjector
from .faults import Call, Fault, Faults
from .images import Upload
from .options import RetryAfterFormat
from .quota import ClientQuota
from .response_bodies import (
    FILE_KEPT_S,
    Guardrails,
    TaskListWriter,
    TaskWriter,
    account_body,
    error_body,
    quote_body,
    submitted_body,
)
from .responses import JSON_TYPE, TaskListResponse, file_response, html_response, json_response, read_body
from .state import COMPLETED, AccountState, CancelTooLate, Task
from .timing import Clock
from .video_store import VideoStore
from .views import Arrival
from .webhook_sender import WebhookSender

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ACCOUNT = "/api/v1/account"
_QUOTE = "/api/v1/quote/{model}"

_MAX_BODY_BYTES = 64 * 1024 * 1024
_PIECEWISE_LIST_BYTES = 256 * 1024
"""A list of this size or more is sent piece by piece, as fast as the client takes it."""
_OFF_LOOP_BODY_BYTES = 256 * 1024
"""A body of this size or more is validated off the event loop."""

MAX_LINE_BYTES = 64 * 1024
"""A longer request line or header is refused by the parser. A task id of 10,000 characters deserves a 404."""


@define(kw_only=True)
class Server:
    """The parts of a simulator that its handlers need, and the handlers."""

    api_key: str
    revision: Revision
    clock: Clock
    state: AccountState
    query_quota: ClientQuota
    submit_quota: ClientQuota
    guardrails: Guardrails
    task_writer: TaskWriter
    list_writer: TaskListWriter
    videos: VideoStore
    webhooks: WebhookSender
    faults: Faults
    arrivals: deque[Arrival]
    late_cancel: int
    retry_after: RetryAfterFormat
    list_limit: int | None
    list_lag: float
    lookup_lag: float
    late_files: float
    link_lifetime: float | None
    strict_headers: bool
    skew_date: bool
    ranges: bool
    requests: int = 0
    bytes_sent: int = 0
    uploads: dict[str, Upload] = field(factory=dict[str, Upload])
    injector: FaultInjector = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.injector = FaultInjector(self._refuse, self._count_bytes, self.ranges)

    def application(self) -> web.Application:
        """Return the aiohttp application with every route of the revision."""
        app = web.Application(middlewares=[self._record], client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/api/v1/generate/{model}", self._submit)
        app.router.add_get("/api/v1/tasks", self._list, allow_head=False)
        app.router.add_get("/api/v1/tasks/{id}", self._details, allow_head=False)
        app.router.add_get("/api/v1/tasks/{id}/status", self._status, allow_head=False)
        app.router.add_put("/api/v1/tasks/{id}/cancel", self._cancel)
        if self.revision.billing:
            app.router.add_get(_ACCOUNT, self._account, allow_head=False)
            app.router.add_post(_QUOTE, self._quote)
        else:
            for path in (_ACCOUNT, _QUOTE):
                app.router.add_route("*", path, self._newer_endpoint)
        app.router.add_get("/openapi.json", self._document)
        app.router.add_get("/videos/{id}.mp4", self._video)
        app.router.add_get("/uploads/{name}", self._uploaded)
        if self.clock.skew and self.skew_date:
            app.on_response_prepare.append(self._skew_date)
        return app

    # --- every request -------------------------------------------------------------------------------

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        arrived, status = self.clock.base(), 0
        fault: Fault | None = None
        try:
            fault = self._fault(request)
            act = partial(self._answer, handler)
            response = await (act(request) if fault is None else self.injector.answer(fault, request, act))
            status = response.status
            if isinstance(response, web.Response):
                self._count_bytes(response.content_length or 0)
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
        call = Call.of(request.method, request.rel_url.raw_path, self.state.model_of)
        try:
            return self.faults.hit(call)
        except Exception:
            # The function is part of the user's test, so its error must be visible there.
            logger.exception("the function `on` of a fault has raised an error; the request was not hit")
            return None

    def _count_bytes(self, size: int) -> None:
        self.bytes_sent += size

    async def _skew_date(self, _: web.Request, response: web.StreamResponse) -> None:
        skewed = datetime.now(UTC) + timedelta(seconds=self.clock.skew)
        response.headers["Date"] = email.utils.format_datetime(skewed, usegmt=True)

    async def _answer(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        is_api = request.path.startswith("/api/")
        if is_api and self.strict_headers and not _passes_edge(request):
            return html_response(403)
        try:
            # api.md, HTTP statuses: the key is checked before routing.
            if is_api and request.headers.get("key") != self.api_key:
                raise Refusal(401, "Invalid API key. Please check your API key.", "AUTH_FAILED")
            return await handler(request)
        except Refusal as refusal:
            return self._refuse(refusal)
        except web.HTTPException as error:
            # aiohttp's own refusals: no such route, wrong method, body too large.
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return self._refuse(Refusal(error.status, error.reason, headers=allow))

    def _refuse(self, refusal: Refusal) -> web.Response:
        return json_response(error_body(refusal, self.revision), status=refusal.status, headers=refusal.headers)

    async def _newer_endpoint(self, _: web.Request) -> web.Response:
        raise newer_endpoint()

    # --- submits, quotes and cancels -----------------------------------------------------------------

    async def _submit(self, request: web.Request) -> web.Response:
        self._count(self.submit_quota, self.api_key)
        headers = read_submit_headers(request.headers, self.revision)
        order = await self._read_order(request)
        stored = order.with_urls(lambda upload: f"{self.task_writer.base_url}/uploads/{upload.name}")
        keeps_keys, billing, key = self.revision.idempotency, self.revision.billing, headers.idempotency_key
        original = self.state.replayed(stored, key) if keeps_keys and key is not None else None
        if original is not None:
            return json_response(submitted_body(original, replay=True, billing=billing))
        task = self.state.submit(stored, self.clock.now(), headers.webhook_url, key, headers.budget)
        self.uploads.update((upload.name, upload) for upload in order.uploads.values())
        self.webhooks.changed(task)
        return json_response(submitted_body(task, replay=False if keeps_keys or billing else None, billing=billing))

    async def _quote(self, request: web.Request) -> web.Response:
        order = await self._read_order(request)
        return json_response(quote_body(order, self.state.balance(self.clock.now())))

    async def _read_order(self, request: web.Request) -> VideoOrder:
        if request.content_type != JSON_TYPE:
            raise Refusal(415, "Content-Type must be application/json", "INVALID_PAYLOAD")
        body = await read_body(request)
        model = request.match_info["model"]
        if len(body) < _OFF_LOOP_BODY_BYTES:
            return read_order(self.revision, model, body)
        return await self.videos.off_loop(read_order, self.revision, model, body)

    async def _cancel(self, request: web.Request) -> web.Response:
        task_id = request.match_info["id"]
        try:
            task = self.state.cancel(task_id, self.clock.now(), self.late_cancel)
        except CancelTooLate as late:
            if late.status != 200:
                raise
            return json_response({"status": late.task_status, "taskId": task_id})
        self.webhooks.changed(task)
        return json_response({"status": "CANCEL", "taskId": task.id})

    # --- queries, which are limited ------------------------------------------------------------------

    def _count(self, quota: ClientQuota, client: str) -> float:
        """Count a request, and return the simulated time. Raises `Refusal` (429) above the limit."""
        now = self.clock.now()
        wait = quota.arrive(client, now)
        if wait <= 0:
            return now
        seconds = self.clock.client_seconds(wait)
        if self.retry_after == "seconds":
            retry_after = str(math.ceil(seconds))
        else:
            # A date has whole seconds: rounded down, it would let the client return too early.
            skew = self.clock.skew if self.skew_date else 0.0
            moment = self.clock.client_now() + timedelta(seconds=seconds + skew)
            retry_after = email.utils.formatdate(math.ceil(moment.timestamp()), usegmt=True)
        raise Refusal(429, "Too many requests", "RATE_LIMITED", {"Retry-After": retry_after})

    def _count_query(self, request: web.Request) -> float:
        return self._count(self.query_quota, request.remote or "")

    async def _list(self, request: web.Request) -> web.StreamResponse:
        now = self._count_query(request)
        pieces = self.list_writer.pieces(now - self.list_lag, self.list_limit)
        if sum(map(len, pieces)) < _PIECEWISE_LIST_BYTES:
            return json_response(b"".join(pieces))
        return TaskListResponse(pieces, self._count_bytes)

    async def _details(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        return json_response(self.task_writer.task(self._find_task(request, now), now))

    async def _status(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        return json_response({"status": self._find_task(request, now).status(now)})

    async def _account(self, request: web.Request) -> web.Response:
        now = self._count_query(request)
        return json_response(account_body(self.state.balance(now), self.guardrails))

    def _find_task(self, request: web.Request, now: float) -> Task:
        return self.state.task(request.match_info["id"], created_by=now - self.lookup_lag)

    # --- requests without a key ----------------------------------------------------------------------

    async def _document(self, _: web.Request) -> web.Response:
        return json_response(openapi.document(self.revision, self.task_writer.base_url, self.late_cancel))

    async def _video(self, request: web.Request) -> web.StreamResponse:
        now = self.clock.now()
        task = self.state.task(request.match_info["id"])
        if self.link_lifetime is not None and not links.works(task.id, request.query, now):
            raise Refusal(403, "The link has expired, or its signature is wrong")
        finished = task.completed(now)
        if finished is None or task.status(now) != COMPLETED:
            raise Refusal(404, "The video is not finished")
        if now < finished + self.late_files:
            raise Refusal(404, "The file has not arrived yet")
        if now >= finished + FILE_KEPT_S:
            raise Refusal(410, "The video has expired")
        content = await self.videos.video(task.order, self.uploads)
        return self._file(request, content, "video/mp4", finished)

    async def _uploaded(self, request: web.Request) -> web.StreamResponse:
        upload = self.uploads.get(request.match_info["name"])
        if upload is None:
            raise Refusal(404, "No such file")
        return self._file(request, upload.content, upload.media_type, 0)

    def _file(self, request: web.Request, content: bytes, media_type: str, modified_at: float) -> web.Response:
        modified = email.utils.format_datetime(self.clock.reported(modified_at), usegmt=True)
        return file_response(request, content, media_type, modified, ranges=self.ranges)


def _passes_edge(request: web.Request) -> bool:
    """Return whether a request has the headers that the vendor's page of mid-2026 requires (api.md, Base)."""
    return request.content_type == JSON_TYPE and request.headers.get("User-Agent", "").startswith("Mozilla/5.0")
