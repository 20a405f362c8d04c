"""One API call from start to end: ask the limiter, send, decipher, and decide what a failure means.

The decisions are in `_core`; here they are carried out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import evolve, frozen

from .._limits import Limiter, Permit, Priority
from .._redaction import Secret, shorten
from .._util.http_dates import parse_http_date
from ..errors import AIVideoMakerError, APIError, BadResponse, ConnectFailed, RateLimited, TransportError
from . import decoding as answers
from . import error_responses as refusals
from .gate import Admission, too_late
from .lifecycle import Home
from .list_reader import ListReader
from .requests import Kind, Request, Sending
from .retry import UNTOLD_PAUSE, Failure, GiveUp, RetryPolicy, classify_status, parse_retry_after

if TYPE_CHECKING:
    import aiohttp

    from .transport import Answer, Transport

__all__ = ["Session", "Settings", "least_time"]

logger: Final = logging.getLogger("aivideomaker_async.http")

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

T = TypeVar("T")
Reader = TypeVar("Reader", bound=ListReader)


@frozen(kw_only=True)
class Settings:
    """How a client talks to the service."""

    base_url: str
    key: Secret
    attempt_timeout: float
    """Seconds for one attempt."""
    call_timeout: float
    """Seconds for one call with all its attempts and waits."""
    policy: RetryPolicy


class Session:
    """The connection of one client to the service, opened on first use in the loop that runs then.

    Args:
        settings: how to talk to the service.
        limiter: what queries ask before they go.
        http: a caller's own aiohttp session, which is then not closed here.
    """

    def __init__(self, settings: Settings, *, limiter: Limiter, http: aiohttp.ClientSession | None = None) -> None:
        self.settings = settings
        self.limiter = limiter
        self._http = http
        self.home: Home = Home()
        self._transports: dict[bool, Transport] = {}
        self._admission = Admission(limiter, self.check_usable)
        self._dated: tuple[str | None, float] = (None, 0.0)

    async def aclose(self) -> None:
        """Close the connections. Calls under way fail, also those that wait; a second close does nothing."""
        self.closed = True
        self._admission.wake_all()
        for transport in self._transports.values():
            transport.end()
        self._transports.clear()
        await self.home.aclose()

    @property
    def closed(self) -> bool:
        """Whether the client is closed, or about to be."""
        return self.home.closed

    @closed.setter
    def closed(self, closed: bool) -> None:
        self.home.closed = closed

    def check_usable(self) -> asyncio.AbstractEventLoop:
        """The event loop of this client.

        Raises:
            ConfigurationError: the client is closed, or belongs to another loop or process.
        """
        return self.home.check_usable()

    async def call(
        self,
        request: Request,
        decode: Callable[[Mapping[str, Any]], T],
        *,
        expected: str,
        timeout: float | None = None,
        priority: Priority = Priority.FOREGROUND,
        sending: Sending | None = None,
    ) -> T:
        """Make one API call, trying again where that is safe and may help.

        Args:
            request: what to ask.
            decode: makes the result of the JSON object that came.
            expected: the field that tells a good answer from an error in disguise.
            timeout: seconds for the call with all its attempts and waits; None for the client's own.
            priority: who waits for it.
            sending: is told how far the request has got, for callers who must know that also when they are cancelled.

        Raises:
            APIError: the service refuses.
            TransportError: there was no usable answer, also when asked again. After `Failure.LOST` a submit is not
                sent again: whoever makes it must find out what became of it.
            ConfigurationError: the client cannot be used (any more, or here).
        """
        sending = sending or Sending()
        return await self._repeat(
            request,
            lambda permit, seconds: self._attempt(request, decode, expected, permit, seconds, sending),
            timeout,
            priority,
            sending,
        )

    async def read_list(
        self, request: Request, reader: Callable[[], Reader], *, timeout: float | None = None
    ) -> Reader:
        """Read a list while it arrives, trying again where that may help.

        Args:
            request: what to ask.
            reader: makes what takes the answer, anew for each attempt.
            timeout: seconds for the call with all its attempts and waits; None for the client's own.

        Raises:
            AIVideoMakerError: as `call`.
        """
        return await self._repeat(
            request,
            lambda permit, seconds: self._attempt_to_read(request, reader(), permit, seconds),
            timeout,
            Priority.FOREGROUND,
            Sending(),
        )

    async def _repeat(
        self,
        request: Request,
        attempt_once: Callable[[Permit, float], Awaitable[T]],
        timeout: float | None,
        priority: Priority,
        sending: Sending,
    ) -> T:
        loop = self.check_usable()
        limit = self.settings.call_timeout if timeout is None else timeout
        deadline = loop.time() + limit
        attempt, refused = 1, 0
        while True:
            try:
                permit = self._admission.admit_nowait(request)
                if permit is None:
                    permit = await self._admission.admit(request, priority, deadline)
                time_left = deadline - loop.time()
                if request.kind is Kind.SUBMIT and time_left < least_time(limit):
                    permit.refund()
                    raise too_late(request)
                return await attempt_once(permit, min(self.settings.attempt_timeout, time_left))
            except (APIError, TransportError) as error:
                failure = failure_of(error)
                if failure is not Failure.LOST:
                    # Nothing came of what was sent.
                    sending.sent = False
                refused += failure is Failure.RATE_LIMITED
                pause = self._pause_before_next(request, error, attempt, refused, deadline - loop.time())
                attempt += failure is not Failure.RATE_LIMITED
            await self._admission.rest(request, pause, deadline)

    def _pause_before_next(
        self, request: Request, error: APIError | TransportError, attempt: int, refused: int, time_left: float
    ) -> float:
        """Seconds until the next attempt.

        Raises:
            APIError, TransportError: `error`, when there is to be no other attempt.
        """
        failure = failure_of(error)
        if failure is Failure.NEVER_SENT or (failure is Failure.LOST and request.kind is not Kind.SUBMIT):
            # What broke because the client was closed says so.
            self.check_usable()
        decision = self.settings.policy.decide(
            failure,
            attempt=attempt,
            refused=refused,
            random=random.random(),
            repeatable=request.kind is not Kind.SUBMIT,
            time_left=time_left,
            retry_after=getattr(error, "retry_after", None),
        )
        if isinstance(decision, GiveUp):
            raise error
        logger.info("%s; attempt %d, next in %.2f s", error, attempt, decision.after)
        return decision.after

    async def rest(self, request: Request, seconds: float, deadline: float) -> None:
        """Wait before something is done about `request`, until the client is closed at most.

        Raises:
            RequestTimeout: the deadline passed.
            ConfigurationError: the client was closed.
        """
        await self._admission.rest(request, seconds, deadline)

    async def acquire(self, priority: Priority) -> Permit:
        """A permit for one query, to be used with `ask`."""
        self.check_usable()
        return await self.limiter.acquire(priority)

    async def ask(
        self,
        request: Request,
        decode: Callable[[Mapping[str, Any]], T],
        *,
        expected: str,
        permit: Permit,
        timeout: float,
    ) -> T:
        """Make one attempt at a query, of `timeout` seconds, with a permit that is given back whatever happens.

        Raises:
            APIError: the service refuses.
            TransportError: there was no usable answer.
        """
        return await self._attempt(request, decode, expected, permit, timeout, Sending())

    async def ask_list(self, request: Request, reader: Reader, *, permit: Permit, timeout: float) -> Reader:
        """Make one attempt at reading a list, of `timeout` seconds, with a permit that is given back whatever happens.

        Raises:
            APIError: the service refuses.
            TransportError: there was no usable answer.
        """
        return await self._attempt_to_read(request, reader, permit, timeout)

    async def _attempt(
        self,
        request: Request,
        decode: Callable[[Mapping[str, Any]], T],
        expected: str,
        permit: Permit,
        timeout: float,
        sending: Sending,
    ) -> T:
        answer = await self._exchange(request, permit, timeout, sending)
        return self._decipher(request, answer, decode, expected)

    async def _attempt_to_read(self, request: Request, reader: Reader, permit: Permit, timeout: float) -> Reader:
        answer = await self._exchange(request, permit, timeout, Sending(), reader)
        self._check_status(request, answer)
        if (failure := self._finish(request, answer, reader)) is not None:
            raise failure
        return reader

    def _finish(self, request: Request, answer: Answer, reader: ListReader) -> AIVideoMakerError | None:
        """Finish reading; returns what is wrong. Not raised here, where the answer itself is at hand."""
        try:
            reader.finish()
        except answers.MalformedAnswer as error:
            if refusals.is_disguised_refusal(reader.fields, expected="tasks"):
                return self._refusal(request, evolve(answer, body=_texts_of(reader.fields)))
            return self._not_understood(request, answer, error)
        return None

    async def _exchange(
        self, request: Request, permit: Permit, timeout: float, sending: Sending, sink: ListReader | None = None
    ) -> Answer:
        try:
            answer = await self._transport(request).send(request, timeout=timeout, sending=sending, sink=sink)
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
        self._dated = answer.headers.get("Date"), time.time()
        return answer

    def loop_time(self) -> float | None:
        """The time of the client's event loop; None before it is first used."""
        return None if self.home.loop is None else self.home.loop.time()

    def service_time(self) -> float:
        """The time of day in seconds since the epoch, by the clock of the service where it tells."""
        return time.time() + (self.clock_offset() or 0.0)

    def clock_offset(self) -> float | None:
        """Seconds by which the service's clock is ahead of this machine's; None while it has not told."""
        date, read_at = self._dated
        told = None if date is None else parse_http_date(date)
        return None if told is None else told - read_at

    def _transport(self, request: Request) -> Transport:
        self.check_usable()
        # A kept connection may be closed by the service at the moment when it is used again, and then nobody knows what
        # became of the request. A query is asked again; a submit travels on a connection of its own.
        keep = request.kind is not Kind.SUBMIT
        if keep not in self._transports:
            self._transports[keep] = self._open(keep=keep)
        return self._transports[keep]

    def _open(self, *, keep: bool) -> Transport:
        from .transport import Transport, open_session

        http = self._http
        if http is None:
            http = open_session(keep=keep)
            self.home.opened.append(http)
        return Transport(http, base_url=self.settings.base_url, key=self.settings.key, tells=self._http is None)

    def _decipher(self, request: Request, answer: Answer, decode: Callable[[Mapping[str, Any]], T], expected: str) -> T:
        self._check_status(request, answer)
        result = self._understand(request, answer, decode, expected)
        if isinstance(result, AIVideoMakerError):
            raise result
        return result

    def _understand(
        self, request: Request, answer: Answer, decode: Callable[[Mapping[str, Any]], T], expected: str
    ) -> T | AIVideoMakerError:
        """What the answer says, or what is wrong with it. Not raised here, where the answer itself is at hand."""
        try:
            fields = answers.json_object(answer.body)
            if refusals.is_disguised_refusal(fields, expected=expected):
                return self._refusal(request, answer)
            return decode(fields)
        except answers.MalformedAnswer as error:
            return self._not_understood(request, answer, error)

    def _check_status(self, request: Request, answer: Answer) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s: %d, %d bytes", request.method, shorten(request.path), answer.status, len(answer.body))
        if classify_status(answer.status) is not None:
            raise self._refusal(request, answer)

    def _not_understood(self, request: Request, answer: Answer, error: answers.MalformedAnswer) -> BadResponse:
        message = self._hide(request, f"the answer ({answer.status}) cannot be understood: {error}")
        return BadResponse(message, method=request.method, path=shorten(request.path))

    def _hide(self, request: Request, text: str) -> str:
        return request.hide_in(self.settings.key.hide_in(text))

    def _refusal(self, request: Request, answer: Answer) -> APIError:
        retry_after = parse_retry_after(
            answer.headers.get("Retry-After"),
            date=answer.headers.get("Date"),
            wall_clock=lambda: datetime.now(UTC).timestamp(),
        )
        error = refusals.refusal(
            # "Invalid API key: ak_..." is what some services say.
            request,
            answer.status,
            answer.body,
            hide=lambda text: self._hide(request, text),
            retry_after=retry_after,
            location=answer.headers.get("Location") if answer.status in _REDIRECTS else None,
        )
        if isinstance(error, RateLimited):
            self._admission.pause(request, UNTOLD_PAUSE if retry_after is None else retry_after)
        return error


def least_time(limit: float) -> float:
    """Seconds that must be left of `limit` for a submit to be sent: with less, it would only be an unknown outcome."""
    return min(1.0, limit / 2)


def failure_of(error: AIVideoMakerError) -> Failure:
    """What an error says about the attempt that raised it."""
    if isinstance(error, TransportError) and not error.sent:
        return Failure.NEVER_SENT
    if isinstance(error, RateLimited):
        return Failure.RATE_LIMITED
    if isinstance(error, APIError):
        return classify_status(error.status) or Failure.REFUSED
    return Failure.LOST


def _texts_of(fields: Mapping[str, Any]) -> bytes:
    # All that a refusal is told from. Other fields may be nested so deep that they cannot be encoded again.
    return json.dumps({name: text for name, text in fields.items() if isinstance(text, str)}).encode()
