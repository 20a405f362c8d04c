"""The web backend behind a real server, with browsers that connect and disconnect."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import uvicorn

from aivideomaker_async import AIVideoMaker
from aivideomaker_async.simulator import Simulator
from examples.web_backend import app

pytestmark = pytest.mark.anyio


@pytest.fixture
def durations() -> tuple[float, float]:
    """Longer than the backend waits for a file, and not much more, since its server wakes ten times a second."""
    return 8.0, 24.0


class BackendServer(uvicorn.Server):
    """Uvicorn in the test's event loop."""

    def __init__(self) -> None:
        super().__init__(uvicorn.Config(app, lifespan="on", log_config=None, timeout_graceful_shutdown=5))
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@pytest.fixture
async def browser(service: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    """A browser of the backend, whose client uses `service`."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = BackendServer()
        serving = asyncio.create_task(server.serve([listening]))
        await server.ready.wait()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with aiohttp.ClientSession(url) as session:
            yield session
        server.should_exit = True
        await serving


@pytest.fixture
def maker(browser: aiohttp.ClientSession) -> AIVideoMaker:
    """The client inside the backend."""
    client = app.state.client
    assert isinstance(client, AIVideoMaker)
    return client


async def submit(browser: aiohttp.ClientSession, prompt: str = "a boat") -> str:
    async with browser.post("/videos", json={"prompt": prompt}) as response:
        assert response.status == 202
        return str((await response.json())["id"])


async def next_status(response: aiohttp.ClientResponse) -> str:
    """Return the status in the next event of a stream."""
    while not (line := await response.content.readline()).startswith(b"data: "):
        assert line, "the stream has ended"
    return str(json.loads(line[6:])["status"])


async def nothing_watched(maker: AIVideoMaker) -> None:
    """Wait until the client watches no task, on the virtual clock."""
    async with asyncio.timeout(30):
        while maker.statistics().watched:  # noqa: ASYNC110  (the client has no event for it)
            await asyncio.sleep(0.1)


async def test_a_browser_sees_every_status_and_then_the_video(
    service: Simulator, browser: aiohttp.ClientSession, maker: AIVideoMaker
) -> None:
    """Submit, three events, the end of the stream, and the bytes of a video."""
    task_id = await submit(browser)
    async with browser.get(f"/videos/{task_id}/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert [await next_status(response) for _ in range(3)] == ["SUBMITTED", "PROGRESS", "COMPLETED"]
        assert (await response.content.read()).strip() == b""
    async with browser.get(f"/videos/{task_id}/video") as response:
        assert response.status == 200
        assert (await response.read())[4:8] == b"ftyp"
    assert maker.statistics().watched == 0
    assert service.statistics().rejected == 0


async def test_a_browser_that_disconnects_leaves_nothing_and_the_task_goes_on(
    service: Simulator, browser: aiohttp.ClientSession, maker: AIVideoMaker
) -> None:
    """The watch ends with the connection, no more queries are sent, and a later browser sees the end."""
    task_id = await submit(browser)
    response = await browser.get(f"/videos/{task_id}/events")
    assert await next_status(response) == "SUBMITTED"
    assert maker.statistics().watched == 1
    response.close()
    await nothing_watched(maker)
    queries = service.statistics().queries
    await asyncio.sleep(10)
    assert service.statistics().queries == queries
    async with browser.get(f"/videos/{task_id}/events") as again:
        seen = [await next_status(again)]
        while seen[-1] != "COMPLETED":
            seen.append(await next_status(again))
    assert "PROGRESS" in seen
    assert maker.statistics().watched == 0


async def test_one_of_two_browsers_disconnects_and_the_other_still_gets_events(
    service: Simulator, browser: aiohttp.ClientSession, maker: AIVideoMaker
) -> None:
    """Two streams of one task are one watched task. Closing one does not end the other."""
    task_id = await submit(browser)
    goes, stays = [await browser.get(f"/videos/{task_id}/events") for _ in range(2)]
    assert [await next_status(goes), await next_status(stays)] == ["SUBMITTED", "SUBMITTED"]
    assert maker.statistics().watched == 1
    goes.close()
    assert [await next_status(stays) for _ in range(2)] == ["PROGRESS", "COMPLETED"]
    stays.close()
    await nothing_watched(maker)
    assert service.statistics().rejected == 0


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [("/videos/ck-nothing/events", 404, "TaskNotFound"), ("/videos/ck-nothing/video", 404, "TaskNotFound")],
)
async def test_an_unknown_task_is_not_found(browser: aiohttp.ClientSession, path: str, status: int, error: str) -> None:
    """Both streams answer before they begin."""
    async with browser.get(path) as response:
        assert response.status == status
        assert (await response.json())["error"] == error


async def test_a_wrong_spec_is_422(service: Simulator, browser: aiohttp.ClientSession) -> None:
    """With the wrong field. Nothing is submitted."""
    async with browser.post("/videos", json={"prompt": " "}) as response:
        assert response.status == 422
        assert "prompt" in (await response.json())["message"]
    assert not service.tasks


@pytest.mark.parametrize("balance", [4])
async def test_an_empty_balance_is_402(browser: aiohttp.ClientSession) -> None:
    """As the service answers it."""
    async with browser.post("/videos", json={"prompt": "a boat"}) as response:
        assert response.status == 402


async def test_a_missing_video_has_a_status_for_its_reason(service: Simulator, browser: aiohttp.ClientSession) -> None:
    """504 while it runs, 409 when the task has failed, 410 after the service has deleted the file."""
    task_id = await submit(browser)
    async with browser.get(f"/videos/{task_id}/video") as response:
        assert response.status == 504
        assert task_id in (await response.json())["message"]
    service.finish(task_id)
    service.advance(25 * 3600)
    async with browser.get(f"/videos/{task_id}/video") as response:
        assert response.status == 410
    failed = await submit(browser, "a kite")
    service.fail(failed, "no wind")
    async with browser.get(f"/videos/{failed}/video") as response:
        assert response.status == 409
        assert "no wind" in (await response.json())["message"]


async def test_a_browser_that_drops_a_download_leaves_no_connection(
    service: Simulator, browser: aiohttp.ClientSession, maker: AIVideoMaker
) -> None:
    """So is the stream from the service: an open session would warn, and warnings are errors here."""
    task_id = await submit(browser)
    service.finish(task_id)
    response = await browser.get(f"/videos/{task_id}/video")
    assert await response.content.read(100)
    response.close()
    await asyncio.sleep(10)
    assert maker.statistics().watched == 0
