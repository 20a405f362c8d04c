"""A web backend: it submits videos, streams their progress to browsers, and passes the finished files on.

    export AIVIDEO_API_KEY=ak_...
    uvicorn web_backend:app

One client serves the whole application, so a thousand browsers that watch cost one poller. A browser that goes away
ends its own watch and nothing else: the task goes on, and a client that comes back gets the last known status first.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from fastapi import Body, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from aivideomaker_async import (
    AIVideoMaker,
    AIVideoMakerError,
    BudgetExceeded,
    ContentRejected,
    InsufficientCredits,
    InvalidSpec,
    OutputExpired,
    RateLimited,
    StatusChange,
    StatusWatch,
    SubmitOutcomeUnknown,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TextToVideo,
    VideoStream,
    WaitTimeout,
)

STATUSES: dict[type[AIVideoMakerError], int] = {
    InvalidSpec: 422,
    ContentRejected: 422,
    BudgetExceeded: 422,
    InsufficientCredits: 402,
    TaskNotFound: 404,
    TaskFailed: 409,
    TaskCancelled: 409,
    OutputExpired: 410,
    RateLimited: 503,
    # The task may exist, and nobody may submit it again before somebody has looked.
    SubmitOutcomeUnknown: 500,
    WaitTimeout: 504,
}
"""What each error means to a browser; all others are 502, for it is the service behind this one that failed."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client from start to end: key and address come from AIVIDEO_API_KEY and AIVIDEO_BASE_URL."""
    async with AIVideoMaker() as app.state.client:
        yield


app = FastAPI(lifespan=lifespan)


@app.exception_handler(AIVideoMakerError)
async def answer_error(_request: Request, error: AIVideoMakerError) -> JSONResponse:
    """Errors as JSON. Their texts carry no key and no image."""
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 502)
    return JSONResponse({"error": type(error).__name__, "message": str(error)}, status)


@app.post("/videos", status_code=202)
async def submit(
    request: Request,
    prompt: Annotated[str, Body()],
    aspect_ratio: Annotated[Literal["16:9", "9:16", "1:1"], Body()] = "16:9",
    duration: Annotated[Literal[5, 8], Body()] = 5,
) -> dict[str, str]:
    """Submit a video; the answer has its id."""
    client: AIVideoMaker = request.app.state.client
    task = await client.submit(TextToVideo(prompt=prompt, aspect_ratio=aspect_ratio, duration=duration))
    return {"id": task.id}


@app.get("/videos/{task_id}/events")
async def events(request: Request, task_id: str) -> StreamingResponse:
    """The status changes as server-sent events, up to the last one."""
    client: AIVideoMaker = request.app.state.client
    task = client.task(task_id)
    watch = task.watch()
    # Awaited before the first byte goes out, so that an unknown task is still a 404. Hundreds of browsers that come
    # back after a restart share one query here, where `task.status()` would make one for each.
    first = await anext(watch)
    return StreamingResponse(_events(first, watch), media_type="text/event-stream")


async def _events(first: StatusChange, watch: StatusWatch) -> AsyncIterator[str]:
    try:
        yield _event(first)
        async for change in watch:
            yield _event(change)
    except AIVideoMakerError as error:
        yield f"event: error\ndata: {json.dumps(error.to_dict())}\n\n"
    finally:
        # Also when the browser has gone: nothing is watched for nobody.
        await watch.aclose()


def _event(change: StatusChange) -> str:
    return f"event: status\ndata: {json.dumps(change.to_dict())}\n\n"


async def opened(request: Request, task_id: str) -> AsyncIterator[VideoStream]:
    """The finished video as it arrives; waits a little for one that is not finished. Closed after the answer."""
    client: AIVideoMaker = request.app.state.client
    video = await client.task(task_id).result(timeout=25)
    async with video.stream() as pieces:
        yield pieces


@app.get("/videos/{task_id}/video")
async def download(pieces: Annotated[VideoStream, Depends(opened)]) -> StreamingResponse:
    """The bytes of the video, passed on without being kept. A browser that knows the length notices what is missing."""
    headers = {} if pieces.length is None else {"Content-Length": str(pieces.length)}
    return StreamingResponse(pieces, media_type=pieces.content_type or "video/mp4", headers=headers)
