"""Parts of files, and long lists that are sent as fast as the client takes them."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivideomaker_async.simulator.response_bodies import LIST_BLOCK_TASKS
from aivideomaker_async.simulator.responses import FilePart, select_part
from tests.simulator.client import running

WHOLE = FilePart(200, 0, 100)
ETAG, MODIFIED = '"abc"', "Thu, 19 Mar 2026 08:00:00 GMT"


def chosen(**headers: str) -> FilePart:
    return select_part({name.replace("_", "-"): one for name, one in headers.items()}, 100, ETAG, MODIFIED)


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ("bytes=0-0", FilePart(206, 0, 1)),
        ("bytes=90-", FilePart(206, 90, 100)),
        ("bytes=90-999999", FilePart(206, 90, 100)),
        ("bytes=-10", FilePart(206, 90, 100)),
        ("bytes=-1000", FilePart(206, 0, 100)),
        *((beyond, FilePart(416, 0, 0)) for beyond in ("bytes=100-", "bytes=100-200", "bytes=-0")),
        *((ignored, WHOLE) for ignored in ("", "bytes", "bytes=", "bytes=-", "bytes=9-3", "items=0-1")),
        *((ignored, WHOLE) for ignored in ("bytes=0-1,5-6", "bytes=\u0661-\u0662")),
    ],
)
def test_a_single_range_is_answered_with_its_part_and_another_is_ignored(wanted: str, part: FilePart) -> None:
    assert chosen(Range=wanted) == part


def test_a_file_that_has_changed_is_sent_whole() -> None:
    for validator in (ETAG, MODIFIED):
        assert chosen(Range="bytes=50-", If_Range=validator) == FilePart(206, 50, 100)
    assert chosen(Range="bytes=50-", If_Range='"old"') == WHOLE
    assert chosen() == WHOLE
    assert WHOLE.headers(100) == {}
    assert FilePart(416, 0, 0).headers(100) == {"Content-Range": "bytes */100"}


def test_an_empty_file_has_no_part() -> None:
    for wanted in ("bytes=0-", "bytes=-5"):
        assert select_part({"Range": wanted}, 0, ETAG, MODIFIED).status == 416


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_part_is_a_slice(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    part = select_part({"Range": f"bytes={first}-{last}"}, size, ETAG, MODIFIED)
    if last < first:
        assert part.status == 200
    elif first >= size:
        assert part.status == 416
    else:
        assert content[part.start : part.stop] == content[first : last + 1]
        assert part.headers(size) == {"Content-Range": f"bytes {first}-{min(last, size - 1)}/{size}"}


@pytest.mark.anyio
async def test_sent_bytes_are_counted() -> None:
    async with running(history=2 * LIST_BLOCK_TASKS) as (simulator, call):
        one = len((await call("GET", "/api/v1/tasks/ck1")).body)
        assert simulator.statistics().bytes_sent == one
        body = (await call("GET", "/api/v1/tasks")).body
        assert len(json.loads(body)["tasks"]) == 2 * LIST_BLOCK_TASKS
        assert simulator.statistics().bytes_sent == one + len(body)


@pytest.mark.anyio
async def test_a_client_that_disconnects_is_not_sent_the_rest_of_a_list() -> None:
    # More than the socket buffers of the system take.
    async with running(history=8_000, seed=1) as (simulator, call):
        whole = len((await call("GET", "/api/v1/tasks")).body)
        assert whole > 4_000_000
        before = simulator.statistics().bytes_sent
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(simulator.url.rpartition(":")[2])))
        reader, writer = await asyncio.open_connection(sock=connection)
        writer.write(f"GET /api/v1/tasks HTTP/1.1\r\nHost: x\r\nkey: {simulator.api_key}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Content-Type: application/json; charset=utf-8" in head
        assert len(await reader.readexactly(1000)) == 1000
        writer.close()
        async with asyncio.timeout(10):
            while len(simulator.requests) < 2:  # noqa: ASYNC110  (there is no event for it)
                await asyncio.sleep(0.001)
        assert 1000 < simulator.statistics().bytes_sent - before < whole
        assert (await call("GET", "/api/v1/tasks/ck1")).status == 404
