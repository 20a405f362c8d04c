"""What follows each kind of trouble: one table, which a test walks and docs/errors.md shows.

`python -m tests.support.trouble` writes the table into docs/errors.md anew.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp

from aivideomaker_async import AIVideoMaker, AIVideoMakerError, RateLimiter, TextToVideo
from tests.support.scripted import Action, Arrival, Drop, Hang, Raw, Reply, row, scripted, submitted

SPEC = TextToVideo(prompt="A sunset", aspect_ratio="16:9", duration=8)
WAIT_S: Final = 1800.0
"""The deadline of a wait here."""

MP4 = b"\0\0\0\x18ftypmp42" + bytes(100)


class Refused:
    """Nobody listens: the connection is refused."""


class Foreign:
    """The caller's session raises an error of its own, before it connects."""


class Cell(NamedTuple):
    """What follows one kind of trouble in one activity."""

    once: str
    """What follows when it happens once: "ok", or the name of an error."""
    ends: str
    """The name of the error that it ends with when it lasts."""
    attempts: int | None
    """Requests until then; None for as many as the time allows."""
    seconds: float
    """The time until then, roughly."""


def by_service(status: int, code: str) -> Reply:
    return Reply(status, {"status": "FAILED", "message": "no", "errorCode": code})


def page(status: int) -> Reply:
    return Reply(status, "<html>Just a moment", {"Content-Type": "text/html"})


TROUBLES: Final[Mapping[str, Action | Refused | Foreign]] = {
    "the connection is refused": Refused(),
    "an error of the caller's session": Foreign(),
    "the connection breaks before an answer": Drop(),
    "no answer": Hang(),
    "a header above 64 KiB": Raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
    "200 with a page": page(200),
    "200 with something else": Reply(200, [1, 2]),
    **{f"{status} by a gateway": page(status) for status in (401, 403, 404, 405, 413, 429, 502, 503)},
    "400 by the service": by_service(400, "INVALID_PAYLOAD"),
    "401 by the service": by_service(401, "AUTH_FAILED"),
    "402 by the service": by_service(402, "INSUFFICIENT_CREDITS"),
    "404 by the service": Reply(404, {"status": "FAILED", "message": "Not found"}),
    "409 by the service": by_service(409, "IDEMPOTENCY_CONFLICT"),
    "422 by the service": Reply(422, {"status": "FAILED", "message": "too violent"}),
    "429 by the service": by_service(429, "RATE_LIMITED"),
    "500 by the service": by_service(500, "INTERNAL"),
}

ACTIVITIES: Final[Mapping[str, Callable[[AIVideoMaker], Callable[[Path], Awaitable[object]]]]] = {
    "query": lambda client: lambda _: client.get_status("ck1"),
    "submit": lambda client: lambda _: client.submit(SPEC),
    "wait": lambda client: lambda _: client.task("ck1").result(timeout=WAIT_S),
    "quote": lambda client: lambda _: client.quote(SPEC),
    "download": lambda client: lambda _: client.list_tasks(),
}


def at_once(error: str) -> Cell:
    """It is raised by the first attempt."""
    return Cell(error, error, 1, 0.0)


def again(error: str, seconds: float = 2.0, attempts: int = 4) -> Cell:
    """It is raised by the last of some attempts."""
    return Cell("ok", error, attempts, seconds)


def when_it_lasts(error: str, seconds: float = 300.0) -> Cell:
    """It is raised when the trouble has lasted for a while."""
    return Cell("ok", error, None, seconds)


TO_THE_DEADLINE: Final = when_it_lasts("WaitTimeout", WAIT_S)
LATER: Final = when_it_lasts("RateLimited", 600.0)


def refused(error: str, *, file: str = "DownloadError") -> tuple[Cell, ...]:
    """A refusal: a wait survives it for five minutes, all else ends at once."""
    return at_once(error), at_once(error), when_it_lasts(error), at_once(error), at_once(file)


def lost(error: str, *, submit_s: float = 62.0, file_s: float = 33.0, call_s: float = 2.0) -> tuple[Cell, ...]:
    """An answer that is lost: a query is repeated, a submit is first searched for, a wait goes on."""
    call = again(error, call_s)
    return call, again(error, submit_s), TO_THE_DEADLINE, call, again("DownloadError", file_s, 5)


_ROWS: Final[Mapping[str, tuple[Cell, ...]]] = {
    # trouble: query, submit, wait, quote, download
    "the connection is refused": (
        *(again("ConnectFailed"), again("ConnectFailed"), TO_THE_DEADLINE, again("ConnectFailed")),
        again("DownloadError", 33.0, 5),
    ),
    "an error of the caller's session": (
        *(again("Disconnected"), again("ConnectFailed"), TO_THE_DEADLINE, again("ConnectFailed")),
        again("DownloadError", 33.0, 5),
    ),
    "the connection breaks before an answer": lost("Disconnected"),
    "no answer": lost("RequestTimeout", submit_s=182.0, file_s=335.0, call_s=121.0),
    "a header above 64 KiB": lost("BadResponse"),
    "200 with a page": (*lost("BadResponse")[:4], at_once("DownloadError")),
    "200 with something else": (*lost("BadResponse")[:4], at_once("DownloadError")),
    "401 by a gateway": refused("AuthenticationFailed"),
    "403 by a gateway": refused("AuthenticationFailed"),
    "404 by a gateway": (
        *(at_once("TaskNotFound"), at_once("EndpointNotFound"), when_it_lasts("TaskNotFound")),
        *(at_once("EndpointNotFound"), at_once("DownloadError")),
    ),
    "405 by a gateway": refused("APIError"),
    "413 by a gateway": refused("APIError"),
    "429 by a gateway": (LATER, LATER, TO_THE_DEADLINE, LATER, again("DownloadError", 33.0, 5)),
    "502 by a gateway": lost("ServerError"),
    "503 by a gateway": lost("ServerError"),
    "400 by the service": refused("InvalidRequest"),
    "401 by the service": (*[at_once("AuthenticationFailed")] * 4, at_once("DownloadError")),
    "402 by the service": refused("InsufficientCredits"),
    "404 by the service": (
        *(at_once("TaskNotFound"), at_once("EndpointNotFound"), at_once("TaskNotFound")),
        *(at_once("EndpointNotFound"), at_once("DownloadError")),
    ),
    "409 by the service": refused("IdempotencyConflict"),
    "422 by the service": refused("ContentRejected"),
    "429 by the service": (LATER, LATER, TO_THE_DEADLINE, LATER, again("DownloadError", 33.0, 5)),
    "500 by the service": lost("ServerError"),
}

TABLE: Final[Mapping[tuple[str, str], Cell]] = {
    (activity, trouble): cell
    for trouble, cells in _ROWS.items()
    for activity, cell in zip(ACTIVITIES, cells, strict=True)
}


def _is_of(activity: str, arrival: Arrival) -> bool:
    path = arrival.path
    return {
        "query": path.endswith("/status"),
        "submit": "/generate/" in path,
        "wait": path.startswith("/api/v1/tasks"),
        "quote": "/quote/" in path,
        "download": path == "/a.mp4",
    }[activity]


class _Troubled:
    """A service in trouble, in one activity, for a number of requests."""

    def __init__(self, activity: str, trouble: Action, times: float) -> None:
        self.activity = activity
        self.trouble = trouble
        self.times = times
        self.asked = 0
        self.url = ""

    def __call__(self, arrival: Arrival) -> Action:
        if _is_of(self.activity, arrival):
            self.asked += 1
            if self.asked <= self.times:
                return self.trouble
        if arrival.path == "/a.mp4":
            return Reply(200, MP4, {"Content-Type": "video/mp4"})
        if "/generate/" in arrival.path:
            return submitted("ck1")
        if "/quote/" in arrival.path:
            return Reply(200, {"model": "t2v", "credits": 8})
        if arrival.path.endswith("/status"):
            return Reply(200, {"status": "COMPLETED"})
        stamp = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        done = row("ck1", "COMPLETED", output={"url": f"{self.url}/a.mp4"}, createdAt=stamp, completedAt=stamp)
        if arrival.path.endswith("/tasks"):
            # What is submitted was not created.
            return Reply(200, {"tasks": [] if self.activity == "submit" else [done]})
        return Reply(200, done)


async def follow(activity: str, trouble: str, *, times: float) -> tuple[str, int, float]:
    """Return what follows: "ok" or the name of an error, the requests that were made, and the seconds that it took."""
    kind = TROUBLES[trouble]
    is_local = isinstance(kind, Refused | Foreign)
    service = _Troubled(activity, Drop() if isinstance(kind, Refused | Foreign) else kind, 0 if is_local else times)
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        async with scripted(service) as server, aiohttp.ClientSession(connector=_Connector(force_close=True)) as http:
            service.url = server.url
            options: dict[str, Any] = {"http": http} if is_local else {}
            async with AIVideoMaker("ak_test", base_url=server.url, limiter=RateLimiter(), **options) as client:
                call = ACTIVITIES[activity](client)
                if activity == "download":
                    video = await client.task("ck1").result()
                    call = lambda folder: video.download(folder / "a.mp4")  # noqa: E731
                assert isinstance(http.connector, _Connector)
                http.connector.begin(kind, times)
                began = loop.time()
                try:
                    await call(Path(folder))
                except AIVideoMakerError as error:
                    end = type(error).__name__
                else:
                    end = "ok"
                return end, http.connector.asked if is_local else service.asked, loop.time() - began


class _Connector(aiohttp.TCPConnector):
    """Connections of a caller's session, which cannot be made for a number of times."""

    asked = 0
    _times = 0.0
    _kind: object = None

    def begin(self, kind: object, times: float) -> None:
        self.asked, self._kind, self._times = 0, kind, times

    async def connect(self, req: aiohttp.ClientRequest, *arguments: Any, **options: Any) -> Any:
        self.asked += 1
        if self.asked <= self._times and isinstance(self._kind, Refused):
            raise aiohttp.ClientConnectorError(req.connection_key, ConnectionRefusedError(111, "refused"))
        if self.asked <= self._times and isinstance(self._kind, Foreign):
            raise LookupError("an error of the session")
        return await super().connect(req, *arguments, **options)


# --- the docs ----------------------------------------------------------------------------------------

BEGIN, END = "<!-- the table of trouble begins -->", "<!-- the table of trouble ends -->"
DOCS: Final = Path(__file__).parents[2] / "docs" / "errors.md"


def in_words(cell: Cell) -> str:
    """Return a cell of the table in the docs."""
    error = f"`{cell.ends}`"
    if cell.once != "ok":
        return error
    if cell.attempts is None:
        return "goes on" if cell is TO_THE_DEADLINE else f"again; after {in_time(cell.seconds)} {error}"
    return f"{cell.attempts} attempts, {in_time(cell.seconds)}; {error}"


def in_time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def table() -> str:
    """Return the table for the docs."""
    lines = [f"| trouble | {' | '.join(ACTIVITIES)} |", f"|---|{'---|' * len(ACTIVITIES)}"]
    for trouble in TROUBLES:
        cells = (in_words(TABLE[activity, trouble]) for activity in ACTIVITIES)
        lines.append(f"| {trouble} | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(text: str) -> str:
    """Return the text of docs/errors.md with the table of today."""
    return re.sub(f"(?s){BEGIN}.*{END}", f"{BEGIN}\n\n{table()}\n\n{END}", text)


if __name__ == "__main__":
    DOCS.write_text(with_table(DOCS.read_text()))
