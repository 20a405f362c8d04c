"""Sessions and connections, used by one exchange after another: what is kept, what is dropped, what is shown.

The sleeps are on the virtual clock, which lets all that is on its way over loopback arrive before it jumps.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import http_writer
from multidict import CIMultiDict

from aivideomaker_async import ConfigurationError
from aivideomaker_async._http import check_session, connections, get_account, get_status, list_tasks, user_agent
from aivideomaker_async._http.connections import abandon, header_value, open_session
from aivideomaker_async._http.requests import Sending
from aivideomaker_async._http.transport import Transport
from aivideomaker_async._redaction import Secret
from aivideomaker_async.errors import BadResponse, Disconnected, RequestTimeout, TransportError
from tests.support.api import IN_FLIGHT_BYTES, KEY, submit_request, transport_to
from tests.support.leaks import settle
from tests.support.scripted import Action, Drop, Endless, Hang, Reply, Talk, one_by_one, scripted

pytestmark = pytest.mark.anyio


async def status_of(transport: Transport, *, timeout: float = 5) -> bytes:
    return bytes((await transport.send(get_status("x"), timeout=timeout, sending=Sending())).body)


# --- sessions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
async def test_a_session_keeps_connections_or_makes_one_for_each_request(keep: bool) -> None:
    async with scripted(lambda _: Reply(200, b"1")) as service, open_session(Secret(KEY), keep=keep) as session:
        transport = Transport(session, origin=service.url, key=Secret(KEY), is_own=True)
        for _ in range(3):
            await status_of(transport)
    assert [item.connection for item in service.arrivals] == ([1, 1, 1] if keep else [1, 2, 3])


async def test_a_session_limits_no_connections() -> None:
    """In aiohttp's own queue for connections, the time of a request would run out unseen."""
    async with scripted(lambda _: Reply(200, b"1", delay=3)) as service, transport_to(service) as transport:
        calls = []
        # A server accepts about a hundred connections at a time.
        for _ in range(2):
            calls += [asyncio.ensure_future(status_of(transport)) for _ in range(70)]
            await asyncio.sleep(1)
        assert len(service.connections) == 140
        await asyncio.gather(*calls)


async def test_a_request_carries_the_key_and_nothing_else_that_is_private(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No cookie of the service, no password of a netrc file; and no proxy of the environment sees it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password hush\n")
    monkeypatch.setenv("NETRC", str(netrc))
    cookie = {"Set-Cookie": "session=hush; Path=/"}
    async with scripted(lambda _: Reply(500)) as proxy, scripted(lambda _: Reply(headers=cookie)) as service:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with transport_to(service) as transport:
            for _ in range(2):
                await status_of(transport)
    assert proxy.arrivals == []
    assert len(service.arrivals) == 2
    for arrival in service.arrivals:
        assert arrival.headers.keys() == {"host", "key", "user-agent", "accept", "accept-encoding", "content-type"}
        assert (arrival.headers["key"], arrival.headers["user-agent"]) == (KEY, user_agent())
        assert user_agent().startswith("Mozilla/5.0 (compatible; aivideomaker-async/")
        assert arrival.headers["content-type"] == "application/json"


async def test_headers_of_a_callers_session_win() -> None:
    """What the vendor requires is added where the caller has not chosen otherwise."""
    async with scripted(lambda _: Reply(200, {"status": "PROGRESS"})) as service:
        for own in ({}, {"user-agent": "mine/1"}):
            async with aiohttp.ClientSession(headers=own) as session:
                await status_of(Transport(session, origin=service.url, key=Secret(KEY), is_own=False))
    first, second = service.arrivals
    assert (first.headers["user-agent"], second.headers["user-agent"]) == (user_agent(), "mine/1")
    assert first.headers["content-type"] == second.headers["content-type"] == "application/json"


def test_a_session_needs_an_event_loop_of_asyncio() -> None:
    with pytest.raises(ConfigurationError, match="no asyncio event loop"):
        open_session(Secret(KEY))


async def test_a_session_of_the_caller_must_be_an_open_aiohttp_session_of_this_loop() -> None:
    loop = asyncio.get_running_loop()
    wrong: object
    for wrong in ({}, aiohttp.ClientSession):
        with pytest.raises(ConfigurationError, match=f"must be an aiohttp.ClientSession, not {type(wrong).__name__}"):
            check_session(wrong)
    session = aiohttp.ClientSession()
    check_session(session, loop)
    other = asyncio.new_event_loop()
    with pytest.raises(ConfigurationError, match="made in another event loop"):
        check_session(session, other)
    other.close()
    await session.close()
    check_session(session)
    with pytest.raises(ConfigurationError, match="is closed"):
        check_session(session, loop)


# --- headers that hold a secret ----------------------------------------------------------------------

HOOK = "https://me.example/t0k3n-1234/hook"


@pytest.fixture(params=["own session", "caller's session"])
async def transport(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Transport, Any]]:
    async with scripted(lambda _: Reply(418)) as service:
        if request.param == "own session":
            async with transport_to(service) as transport:
                yield transport, service
        else:
            async with aiohttp.ClientSession() as session:
                yield Transport(session, origin=service.url, key=Secret(KEY), is_own=False), service


@pytest.mark.parametrize("writer", ["_c_serialize_headers", "_py_serialize_headers"])
async def test_hidden_header_values_arrive_in_plain_text_by_either_writer_of_aiohttp(
    writer: str, transport: tuple[Transport, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_writer, "_serialize_headers", getattr(http_writer, writer))
    sender, service = transport
    for request in (submit_request(webhook_url=Secret(HOOK)), get_account()):
        await sender.send(request, timeout=5, sending=Sending())
    submit, account = service.arrivals
    assert (submit.headers["key"], submit.headers["webhookurl"]) == (KEY, HOOK)
    assert account.headers["key"] == KEY
    assert "webhookurl" not in account.headers


def test_no_repr_of_headers_shows_a_hidden_value() -> None:
    assert KEY not in repr(CIMultiDict({"key": header_value(Secret(KEY))}))


async def test_an_aiohttp_that_writes_headers_in_another_way_still_sends_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is sent in plain text then."""

    def another_writer(status_line: str, headers: Any) -> bytes:
        lines = [status_line, *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    assert connections._can_write_hidden_text()
    for writer in (None, another_writer):
        monkeypatch.setattr(http_writer, "_serialize_headers", writer)
        assert not connections._can_write_hidden_text()
    monkeypatch.setattr(connections, "_writes_hidden_text", False)
    async with scripted(lambda _: Reply(418)) as service, transport_to(service) as transport:
        await status_of(transport)
    assert service.arrivals[0].headers["key"] == KEY


# --- kept connections --------------------------------------------------------------------------------


async def test_a_request_on_a_kept_connection_that_breaks_is_not_repeated_by_aiohttp() -> None:
    """The service would count a request that the limiter does not."""
    answers: list[Action] = [Reply(200, {}), Drop(), Reply(200, {})]
    async with scripted(one_by_one(answers)) as service, transport_to(service) as transport:
        await transport.send(list_tasks(), timeout=5, sending=Sending())
        with pytest.raises(Disconnected):
            await transport.send(list_tasks(), timeout=5, sending=Sending())
    assert len(service.arrivals) == 2


PROGRESS = b'HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{"status":"PROGRESS"}'
COMPLETED = b'HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{"status":"COMPLETED"}'


async def test_the_connection_of_an_ordinary_answer_is_kept() -> None:
    """Also after hints before the answer, an answer without a body or in two pieces, and an error."""
    early_hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    answers: list[Action] = [
        Reply(200, b"1"),
        Talk(early_hints, PROGRESS),
        Reply(500, b"x"),
        Reply(204),
        Talk(PROGRESS[:10], PROGRESS[10:]),
        Reply(),
    ]
    async with scripted(one_by_one(answers)) as service, transport_to(service) as transport:
        for _ in answers:
            await status_of(transport)
            await asyncio.sleep(5)
    assert [item.connection for item in service.arrivals] == [1] * len(answers)


# --- unsolicited bytes -------------------------------------------------------------------------------

HALF_AN_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"sta'
LONG_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b" " * 600_000
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
UNSOLICITED = {
    "an answer": COMPLETED,
    "half an answer": HALF_AN_ANSWER,
    "a long answer": LONG_ANSWER,
    "half a head": b"HTTP/1.1 200 OK\r\nX",
    "100 Continue": CONTINUE,
    "an upgrade": b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nyyy",
    "not HTTP": b"\0\0\0",
}


@pytest.mark.parametrize("more", UNSOLICITED.values(), ids=UNSOLICITED)
@pytest.mark.parametrize("split", [len(PROGRESS), len(PROGRESS) - 5, 10])
async def test_unsolicited_bytes_on_a_kept_connection_are_never_an_answer(more: bytes, split: int) -> None:
    """Whether they come later, with the end of the answer, or with most of it."""
    talk = Talk(PROGRESS[:split], PROGRESS[split:] + more)
    async with scripted(one_by_one([talk, Reply(200, b"itself")])) as service, transport_to(service) as transport:
        if split == 10 and more == UNSOLICITED["not HTTP"]:
            with pytest.raises(BadResponse):
                await status_of(transport)
        else:
            assert await status_of(transport) == PROGRESS[-21:]
        await asyncio.sleep(2)
        assert await status_of(transport) == b"itself"
    second = 2 if split == len(PROGRESS) else service.opened
    assert [item.connection for item in service.arrivals] == [1, second]


@pytest.mark.parametrize("has_poll", [True, False])
@pytest.mark.parametrize("more", [COMPLETED, b""], ids=["an answer", "the end"])
async def test_a_connection_with_unread_bytes_is_not_reused(
    more: bytes, has_poll: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have arrived when the next request is made, and the busy event loop has not read them."""
    if not has_poll:
        # As on Windows.
        monkeypatch.delattr("select.poll", raising=False)
    async with scripted(one_by_one([Reply(200, b"1"), Reply(200, b"2")])) as service:
        async with transport_to(service) as transport:
            assert await status_of(transport) == b"1"
            (writer,) = service.connections
            # Sent at once: the loop does not run before the request.
            writer.write(more) if more else writer.write_eof()
            assert await status_of(transport) == b"2"
            assert await status_of(transport) == b"2"
    assert [item.connection for item in service.arrivals] == [1, 2, 2]


class TransportOf:
    """A transport of asyncio with this socket."""

    def __init__(self, one: socket.socket | None) -> None:
        self._socket = one

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._socket if name == "socket" else None


def test_a_transport_without_a_socket_has_nothing_to_read() -> None:
    transport: Any = TransportOf(None)
    assert not connections._unread_check(transport)()


@pytest.mark.parametrize("has_poll", [True, False])
def test_a_closed_socket_is_at_its_end(has_poll: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS closes the socket one step of the event loop before aiohttp learns of it."""
    if not has_poll:
        # As on Windows.
        monkeypatch.delattr("select.poll", raising=False)
    one, other = socket.socketpair()
    with one, other:
        transport: Any = TransportOf(one)
        has_unread = connections._unread_check(transport)
        assert not has_unread()
        one.close()
        assert has_unread()


@pytest.mark.parametrize("piece", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 1000, CONTINUE * 1000])
async def test_an_idle_connection_on_which_a_server_keeps_sending_is_closed(piece: bytes) -> None:
    async with scripted(lambda _: Endless(PROGRESS, piece)) as service, transport_to(service) as transport:
        assert await status_of(transport) == PROGRESS[-21:]
        await asyncio.sleep(5)
        assert not service.connections
    assert service.sent < IN_FLIGHT_BYTES


@pytest.mark.parametrize(
    ("more", "kind"), [(HALF_AN_ANSWER, RequestTimeout), (LONG_ANSWER, TransportError)], ids=["half", "long"]
)
async def test_in_a_caller_s_session_unsolicited_bytes_delay_no_call_beyond_its_timeout(
    more: bytes, kind: type[Exception]
) -> None:
    """There aiohttp keeps such bytes, fails on them in various ways, or never ends."""
    loop = asyncio.get_running_loop()
    async with scripted(one_by_one([Talk(PROGRESS, more), Hang()])) as service, aiohttp.ClientSession() as session:
        transport = Transport(session, origin=service.url, key=Secret(KEY), is_own=False)
        assert await status_of(transport) == PROGRESS[-21:]
        await asyncio.sleep(2)
        began = loop.time()
        with pytest.raises(kind):
            await asyncio.wait_for(status_of(transport), 60)
        assert loop.time() - began <= 5


# --- sessions that were not closed -------------------------------------------------------------------


async def used_session(url: str) -> aiohttp.ClientSession:
    session = open_session(Secret(KEY))
    await status_of(Transport(session, origin=url, key=Secret(KEY), is_own=True))
    return session


@pytest.mark.parametrize("thread", ["same thread", "another thread"])
async def test_an_abandoned_session_is_closed_by_its_own_loop(thread: str) -> None:
    loop = asyncio.get_running_loop()
    async with scripted(lambda _: Reply(200, b"1")) as service:
        session = await used_session(service.url)
        assert len(service.connections) == 1
        # It raises on calls from another thread that are not safe there.
        loop.set_debug(True)
        if thread == "same thread":
            abandon(session, loop)
        else:
            await asyncio.to_thread(abandon, session, loop)
        loop.set_debug(False)
        assert session.closed
        abandon(session, loop)
        await asyncio.sleep(1)
        assert not service.connections


def test_a_session_is_abandoned_without_its_loop_when_that_is_closed() -> None:
    """The sockets were closed with the loop."""

    async def use() -> aiohttp.ClientSession:
        return open_session(Secret(KEY))

    with asyncio.Runner() as runner:
        session, loop = runner.run(use()), runner.get_loop()
    connector = session.connector
    abandon(session, loop)
    assert session.closed
    assert connector is not None and connector.closed


async def test_in_a_forked_child_a_session_is_dropped_and_the_connections_of_the_parent_stay_open() -> None:
    """To close one there would remove it from the event loop of the parent."""
    async with scripted(lambda _: Reply(200, b"1")) as service:
        session = await used_session(service.url)
        connections._leave_to_parent(session)
        await settle()
        assert session.closed
        assert len(service.connections) == 1
