"""The command as clients start it: a process of its own, over standard input and output or over HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import pytest

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from aivideomaker_async.simulator.threaded import ThreadedSimulator
from tests.agents.conftest import FOX
from tests.mcp_server.test_server import bought, report_of

pytestmark = pytest.mark.anyio

COMMAND = ["-m", "aivideomaker_async", "mcp", "--max-credits", "50", "--budget", "100"]


def surroundings(service: ThreadedSimulator, tmp_path: Path) -> dict[str, str]:
    return {
        "AIVIDEO_API_KEY": service.api_key,
        "AIVIDEO_BASE_URL": service.url,
        "XDG_STATE_HOME": str(tmp_path),
        "PYTHONPATH": str(Path.cwd()),
    }


@asynccontextmanager
async def talking(service: ThreadedSimulator, tmp_path: Path, log: IO[str] | int) -> AsyncIterator[Client]:
    server = StdioServerParameters(
        command=sys.executable, args=COMMAND, env=surroundings(service, tmp_path), cwd=tmp_path
    )
    async with Client(stdio_client(server, errlog=log)) as client:  # type: ignore[arg-type]
        yield client


async def test_a_server_that_ends_has_its_orders_on_disk(service: ThreadedSimulator, tmp_path: Path) -> None:
    """The next one knows them. What it logs goes to standard error, and standard output is the protocol's."""
    reports = []
    with (tmp_path / "log").open("w") as log:
        for _ in range(2):
            async with talking(service, tmp_path, log) as client:
                reports.append(report_of(await client.call_tool("submit_video", FOX)))
    assert [report["bought_before"] for report in reports] == [False, True]
    assert await bought(service) == [reports[0]["task_id"]] == [reports[1]["task_id"]]
    assert "Traceback" not in (tmp_path / "log").read_text()


@asynccontextmanager
async def serving(
    service: ThreadedSimulator, tmp_path: Path, *more: str, token: str = ""
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Start the command with `--http`, and yield its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *COMMAND,
        *("--http", "--port", "0", *more),
        env={**os.environ, **surroundings(service, tmp_path), "AIVIDEO_MCP_TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        found = re.search(r"http://\S+", line)
        yield found[0] if found else line, process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.communicate(), 20)


@pytest.mark.parametrize("revision", ["2026-09"])
async def test_sessions_over_http_share_one_client(service: ThreadedSimulator, tmp_path: Path) -> None:
    async with serving(service, tmp_path) as (url, process):
        async with Client(url) as one, Client(url) as two:
            results = await asyncio.gather(*(client.call_tool("submit_video", FOX) for client in (one, two)))
        (task_id,) = {report_of(result)["task_id"] for result in results}
    assert process.returncode in {0, 143}
    assert await bought(service) == [task_id]


@pytest.mark.parametrize("revision", ["2026-09"])
async def test_a_token_is_asked_for(service: ThreadedSimulator, tmp_path: Path) -> None:
    token = "0123456789abcdef"
    call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    async with serving(service, tmp_path, token=token) as (url, _), httpx2.AsyncClient() as http:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": token}):
            answer = await http.post(url, json=call, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        authorized = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"})
        async with authorized, Client(streamable_http_client(url, http_client=authorized)) as client:
            assert (await client.list_tools()).tools


async def test_it_runs_without_a_key_against_a_simulator(tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=[*COMMAND, "--simulate"],
        env={"XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
    )
    async with Client(stdio_client(server)) as client:
        report = report_of(await client.call_tool("account_balance", {}))
    assert report["balance"] == 10_000
