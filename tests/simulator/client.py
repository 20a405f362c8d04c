"""A plain HTTP client of a simulator, without code of the package."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Unpack

import aiohttp
from attrs import frozen
from yarl import URL

from aivideomaker_async.simulator import Simulator
from aivideomaker_async.simulator.options import SimulatorOptions

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_URI = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"

T2V = {"prompt": "a sunset", "aspectRatio": "16:9", "duration": "5"}


class FakeClock:
    """Seconds that pass only when a test adds them."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@frozen
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Caller:
    url: str
    key: str
    session: aiohttp.ClientSession

    async def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Answer:
        """Send one request; `path` goes out as it is, and a full URL as well."""
        where = path if path.startswith("http") else f"{self.url}{path}"
        async with self.session.request(
            method,
            URL(where, encoded=True),
            json=body,
            data=data,
            headers={"key": self.key if key is None else key, **(headers or {})},
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def submit(self, model: str = "t2v", headers: Mapping[str, str] | None = None, **changes: object) -> str:
        """Submit a task and return its id."""
        body = {**T2V, **changes}
        answer = await self("POST", f"/api/v1/generate/{model}", body, headers=headers)
        assert answer.status == 200, answer.body
        task_id = answer.json["taskId"]
        assert isinstance(task_id, str)
        return task_id


@asynccontextmanager
async def running(**options: Unpack[SimulatorOptions]) -> AsyncIterator[tuple[Simulator, Caller]]:
    """Run a simulator, by default without rendering, and a client of it."""
    options.setdefault("render", False)
    async with Simulator(**options) as simulator, aiohttp.ClientSession() as session:
        yield simulator, Caller(simulator.url, simulator.api_key, session)
