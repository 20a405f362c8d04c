"""One API call from start to end: wait for a permit, send, decode, and decide what a failure means.

The decisions are in `retry`, `error_responses` and `decoding`; here they are carried out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from .._limits import Limiter, Permit, Priority
from .._redaction import Secret, shorten
from .._util import validation
from .._util.http_dates import parse_http_date
from ..errors import APIError, BadResponse, ConnectFailed, RateLimited, TransportError
from . import decoding
from .error_responses import REDIRECTS, error_from_answer, is_error_in_disguise
from .gate import Deadline, RequestGate
from .lifecycle import ClientLifecycle
from .requests import Kind, Request, Sending, list_tasks
from .retry import (
    DEFAULT_RATE_LIMIT_PAUSE_S,
    Failure,
    RetryPolicy,
    classify_error,
    parse_retry_after,
)

if TYPE_CHECKING:
    import aiohttp

    from .list_reader import ListReader
    from .transport import Answer, Transport

__all__ = ["ApiClient", "Settings"]

logger: Final = logging.getLogger("aivideomaker_async.http")

T = TypeVar("T")
Reader = TypeVar("Reader", bound="ListReader")


class Settings(NamedTuple):
    """How a client talks to the service."""

    base_url: str
    key: Secret
    attempt_timeout: float
    """Seconds for one attempt."""
    call_timeout: float
    """Seconds for one call with all its attempts and waits."""
    policy: RetryPolicy
    has_api_path: bool = False
    """Whether the base URL was given with the path of the API behind it, which was left out."""


class ApiClient:
    """Makes the API calls of one client. Connections are opened on first use, in the event loop that runs then.

    Args:
        settings: how to talk to the service.
        limiter: counts queries.
        http: a caller's own aiohttp session, which is not closed here.
    """

    def __init__(self, settings: Settings, *, limiter: Limiter, http: aiohttp.ClientSession | None = None) -> None:
        self.settings = settings
        self.limiter = limiter
        self.lifecycle: ClientLifecycle = ClientLifecycle()
        self._http = http
        # Two sets of connections: kept ones for everything but submits.
        self._transports: dict[bool, Transport] = {}
        self._gate = RequestGate(limiter, self.lifecycle.check_usable)
        self._base_path: str = urlsplit(settings.base_url).path
        self._origin: str = settings.base_url.removesuffix(self._base_path)
        self._hint_for_404 = ""
        if self._base_path:
            self._hint_for_404 = f" (is the path of the base URL right, {shorten(self._base_path)}?)"
        elif settings.has_api_path:
            self._hint_for_404 = " (the base URL was given with /api/v1, which was left out)"
        self.has_answered: bool = False
        """Whether the service has given a good answer, so that its address is right."""
        self._last_headers: Mapping[str, str] = {}
        self._last_headers_at: float = 0.0

    async def aclose(self) -> None:
        """Close the connections. Calls in flight fail, also those that wait; a second close does nothing."""
        self.lifecycle.closed = True
        self._gate.wake_all()
        for transport in self._transports.values():
            transport.end()
        self._transports.clear()
        await self.lifecycle.aclose()

    # --- calls with retries --------------------------------------------------------------------------

    def deadline(self, timeout: float | None = None) -> Deadline:
        """Return the deadline of a call that starts now.

        Args:
            timeout: seconds for the call with all its attempts and waits; None for the client's `call_timeout`.

        Raises:
            ConfigurationError: `timeout` is out of range, or the client cannot be used.
        """
        loop = self.lifecycle.check_usable()
        limit = self.settings.call_timeout if timeout is None else validation.seconds("timeout", timeout)
        return Deadline(limit, loop.time(), is_default=timeout is None)

    async def call(
        self,
        request: Request[T],
        deadline: Deadline,
        *,
        sending: Sending | None = None,
        make_reader: Callable[[], ListReader] | None = None,
    ) -> T:
        """Make one API call, and repeat it where that is safe and may help.

        Args:
            request: what to ask.
            deadline: the end of the call.
            sending: keeps how far the request got, which some callers need also when they are cancelled.
            make_reader: for `read_list`.

        Raises:
            APIError: the service refuses.
            TransportError: there was no usable answer, also when asked again. A submit is not repeated once it may have
                arrived: the caller must find out what became of it.
            ConfigurationError: the client cannot be used.
        """
        sending = sending or Sending()
        clock = asyncio.get_running_loop().time
        attempt, refusals = 1, 0
        while True:
            reader = None if make_reader is None else make_reader()
            now = clock()
            permit = self._gate.enter_nowait(request, deadline, now)
            if permit is None:
                permit = await self._gate.enter(request, Priority.FOREGROUND, deadline)
                now = clock()
            timeout = min(self.settings.attempt_timeout, deadline.at - now)
            try:
                # The request's type decides what it decodes to.
                return await self._attempt(request, permit, timeout, sending, reader, deadline)  # type: ignore[no-any-return]
            except (APIError, TransportError) as error:
                failure = classify_error(error)
                if failure is not Failure.LOST:
                    # Nothing came of the bytes that were sent.
                    sending.mark(sent=False)
                if failure is Failure.NEVER_SENT or (failure is Failure.LOST and request.kind is not Kind.SUBMIT):
                    # A connection that broke because the client was closed must report that.
                    self.lifecycle.check_usable()
                refusals += failure is Failure.RATE_LIMITED
                pause = self.settings.policy.pause_before_retry(
                    failure,
                    attempt=attempt,
                    random=random.random(),
                    repeatable=request.kind is not Kind.SUBMIT,
                    time_left=deadline.left(clock()),
                    retry_after=getattr(error, "retry_after", None),
                    refusals=refusals,
                )
                if pause is None:
                    raise
                logger.info("%s; attempt %d, next in %.2f s", error, attempt, pause)
                attempt += failure is not Failure.RATE_LIMITED
            await self._gate.sleep(request, pause, deadline.at)

    async def read_list(self, make_reader: Callable[[], Reader], deadline: Deadline) -> Reader:
        """Read the task list while it arrives, and ask again where that may help.

        Args:
            make_reader: makes the reader of the answer, anew for each attempt.
            deadline: the end of the call.

        Raises:
            AIVideoMakerError: as `call`.
        """
        request: Request[Any] = list_tasks()
        reader: Reader = await self.call(request, deadline, make_reader=make_reader)
        return reader

    async def sleep(self, request: Request[Any], seconds: float, deadline: Deadline | None = None) -> None:
        """Wait before something else is done about `request`; closing the client ends the wait.

        Raises:
            RequestTimeout: the deadline passed.
            ConfigurationError: the client was closed.
        """
        if deadline is None:
            await self._gate.sleep(request, seconds)
        else:
            await self._gate.sleep(request, seconds, deadline.at)

    # --- single attempts, for pollers ----------------------------------------------------------------

    async def acquire(self, priority: Priority) -> Permit:
        """Wait for a permit for one query, to be passed to `attempt` or `attempt_list`."""
        self.lifecycle.check_usable()
        return await self.limiter.acquire(priority)

    async def attempt(self, request: Request[T], *, permit: Permit, timeout: float) -> T:
        """Make one attempt at a query, of `timeout` seconds. The permit is used up whatever happens.

        Raises:
            APIError: the service refuses.
            TransportError: there was no usable answer.
        """
        result: T = await self._attempt(request, permit, timeout, Sending(), None)
        return result

    async def attempt_list(self, reader: Reader, *, permit: Permit, timeout: float) -> Reader:
        """Make one attempt at reading the task list, of `timeout` seconds. The permit is used up whatever happens.

        Raises:
            APIError: the service refuses.
            TransportError: there was no usable answer.
        """
        await self._attempt(list_tasks(), permit, timeout, Sending(), reader)
        return reader

    async def _attempt(
        self,
        request: Request[Any],
        permit: Permit,
        timeout: float,
        sending: Sending,
        reader: ListReader | None,
        deadline: Deadline | None = None,
    ) -> Any:  # noqa: ANN401  (the result of the request, or the reader)
        if self._base_path:
            # It is part of the path that errors and logs show.
            request = request._replace(path=self._base_path + request.path)
        try:
            if self.lifecycle.closed:
                # Since the deadline was made, or the permit was asked for.
                self.lifecycle.check_usable()
            # The service may close a kept connection at the moment when it is used again, and then nobody knows what
            # became of the request. A query is asked again; a submit travels on a connection of its own.
            keep = request.kind is not Kind.SUBMIT
            transport = self._transports.get(keep) or self._open_transport(keep=keep)
            answer = await transport.send(request, timeout=timeout, sending=sending, deadline=deadline, reader=reader)
        except ConnectFailed:
            permit.refund()
            raise
        except BaseException:
            if sending.sent:
                permit.settle(answered=False)
            else:
                permit.refund()
            raise
        permit.settle()
        self.has_answered = self.has_answered or 200 <= answer.status < 300
        self._last_headers, self._last_headers_at = answer.headers, time.time()
        if logger.isEnabledFor(logging.DEBUG):
            size = len(answer.body) if reader is None else reader.bytes_read
            logger.debug("%s %s: %d, %d bytes", request.method, shorten(request.path), answer.status, size)
        return self._decode(request, answer, reader)

    def _decode(self, request: Request[Any], answer: Answer, reader: ListReader | None) -> Any:  # noqa: ANN401
        if not 200 <= answer.status < 300:
            raise self._error_from(request, answer)
        error: APIError | BadResponse
        fields: dict[str, Any] = {}
        try:
            if reader is not None:
                fields = reader.fields
                reader.finish()
                return reader
            fields = decoding.json_object(answer.body)
            if not is_error_in_disguise(fields, expected=request.expected):
                return request.decode(fields)
            error = self._error_from(request, answer, fields)
        except decoding.MalformedAnswer as malformed:
            if is_error_in_disguise(fields, expected=request.expected):
                error = self._error_from(request, answer, fields)
            else:
                message = self._hide_in(request, f"the answer ({answer.status}) cannot be understood: {malformed}")
                error = BadResponse(message, method=request.method, path=shorten(request.path))
        # Raised outside the handler and without the answer, which may echo the key: crash reports show local variables
        # of this frame, and those of the errors behind an error.
        del fields
        raise error

    def _error_from(self, request: Request[Any], answer: Answer, fields: dict[str, Any] | None = None) -> APIError:
        retry_after = parse_retry_after(
            answer.headers.get("Retry-After"), date=answer.headers.get("Date"), wall_clock=time.time
        )
        error = error_from_answer(
            request,
            answer.status,
            answer.body if fields is None else fields,
            hide=lambda text: self._hide_in(request, text),
            retry_after=retry_after,
            location=answer.headers.get("Location") if answer.status in REDIRECTS else None,
            hint_for_404=self._hint_for_404,
        )
        if isinstance(error, RateLimited):
            self._gate.pause(request, DEFAULT_RATE_LIMIT_PAUSE_S if retry_after is None else retry_after)
        return error

    def _hide_in(self, request: Request[Any], text: str) -> str:
        # "Invalid API key: ak_..." is how some services answer.
        return request.hide_in(self.settings.key.hide_in(text))

    def _open_transport(self, *, keep: bool) -> Transport:
        # aiohttp is slow to import, and values alone do without.
        from .connections import abandon, open_session
        from .transport import Transport

        is_own = self._http is None
        session = open_session(self.settings.key, keep=keep) if self._http is None else self._http
        if is_own:
            loop = asyncio.get_running_loop()
            self.lifecycle.add(close=session.close, abandon=lambda: abandon(session, loop))
        transport = Transport(session, origin=self._origin, key=self.settings.key, is_own=is_own)
        self._transports[keep] = transport
        return transport

    # --- clocks --------------------------------------------------------------------------------------

    def loop_time(self) -> float | None:
        """Return the time of the client's event loop; None before its first use."""
        return None if self.lifecycle.loop is None else self.lifecycle.loop.time()

    def service_time(self) -> float:
        """Return the time of day in seconds since the epoch, by the service's clock where it is known."""
        return time.time() + (self.clock_offset() or 0.0)

    def clock_offset(self) -> float | None:
        """Return the seconds by which the service's clock is ahead of this machine's; None while it is unknown."""
        date = self._last_headers.get("Date")
        service_time = None if date is None else parse_http_date(date)
        return None if service_time is None else service_time - self._last_headers_at
