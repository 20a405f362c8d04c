import asyncio
from typing import Any, cast

import pytest
from aiohttp import web

from aivideomaker_async.simulator.exchanges import Exchanges, pause
from tests.support.leaks import settle

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_clock: tuple[str, dict[str, object]]) -> tuple[str, dict[str, object]]:
    return virtual_clock


class Recorder(asyncio.Protocol):
    """A protocol that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool | None:
        self.told.append("eof")
        return True

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append(exc)


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def __init__(self, protocol: asyncio.BaseProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.aborted = False

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Request:
    """All that is asked of a request here."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.transport = transport


def request(transport: asyncio.Transport | None) -> web.BaseRequest:
    return cast("web.BaseRequest", Request(transport))


async def test_a_pause_is_as_long_as_told_and_leaves_no_trace() -> None:
    inner = Recorder()
    wire, begun = Wire(inner), asyncio.get_running_loop().time()
    await pause(wire, 60)
    assert asyncio.get_running_loop().time() - begun == pytest.approx(60)
    assert wire.protocol is inner


async def test_the_connection_is_served_meanwhile() -> None:
    inner = Recorder()
    wire = Wire(inner)
    waiting = asyncio.create_task(pause(wire, 60))
    await settle()
    watch: Any = wire.protocol
    assert watch is not inner
    watch.pause_writing()
    watch.resume_writing()
    watch.data_received(b"x")
    assert watch.eof_received() is True
    assert inner.told == ["pause", "resume", b"x", "eof"]
    await waiting
    assert wire.protocol is inner


@pytest.mark.parametrize("seconds", [None, 60])
async def test_a_pause_ends_when_the_connection_is_lost(seconds: float | None) -> None:
    inner, error = Recorder(), ConnectionResetError()
    wire, begun = Wire(inner), asyncio.get_running_loop().time()
    waiting = asyncio.create_task(pause(wire, seconds))
    await settle()
    watch: Any = wire.protocol
    watch.connection_lost(error)
    watch.connection_lost(None)
    with pytest.raises(ConnectionResetError, match="hung up"):
        await waiting
    assert inner.told == [error, None]
    assert asyncio.get_running_loop().time() == begun


async def test_a_pause_that_is_cancelled_leaves_no_trace() -> None:
    inner = Recorder()
    wire = Wire(inner)
    waiting = asyncio.create_task(pause(wire, None))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert wire.protocol is inner


async def test_what_is_held_is_broken_by_the_end_and_nothing_else() -> None:
    exchanges, before, during = Exchanges(), Wire(Recorder()), Wire(Recorder())
    with exchanges.hold(request(before)) as held:
        assert held is before
    with exchanges.hold(request(during)):
        exchanges.close()
    assert (before.aborted, during.aborted) == (False, True)
    with pytest.raises(ConnectionResetError, match="nobody"), exchanges.hold(request(before)):
        pass


async def test_who_has_left_is_not_held() -> None:
    gone = Wire(Recorder())
    gone.abort()
    for nobody in (None, gone):
        with pytest.raises(ConnectionResetError, match="nobody"), Exchanges().hold(request(nobody)):
            pass
