"""The demo: a generation with each model at once, over real HTTP, on a simulator in this process."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..client.client import AIVideoMaker
from ..simulator import Simulator
from ..specs import ImageToVideo, ImageToVideoV3, LongVideo, TextToVideo, TextToVideoV3, VideoSpec
from .context import Context
from .display import Board, size
from .exits import Exit, UsageError
from .waiting import Saved, estimate, follow, report, save, submit

__all__ = ["DURATIONS", "picture", "run", "specs"]

DURATIONS: Final = {
    "t2v": (10.0, 110.0),
    "i2v": (14.0, 150.0),
    "lv": (18.0, 190.0),
    "t2v_v3": (12.0, 230.0),
    "i2v_v3": (22.0, 330.0),
}
"""Simulated seconds in the queue and of work, like the real service's. At the demo's usual speed every status lasts
long enough to be seen by one poll a second."""

_WINDOW_SECONDS: Final = 60.0


def specs() -> Sequence[VideoSpec]:
    """One request for each model."""
    image = picture()
    return (
        TextToVideo(prompt="A lighthouse at dusk, waves rolling in", aspect_ratio="16:9", duration=5),
        ImageToVideo(image=image, prompt="Clouds drift over the hills", duration=5),
        LongVideo(image=image, prompts=("The sun rises", "Birds take off")),
        TextToVideoV3(prompt="A paper boat on a river in the rain", aspect_ratio="9:16", duration=10),
        ImageToVideoV3(image=image, prompt="The camera glides forward", duration=10),
    )


async def run(context: Context, folder: Path, speed: float) -> int:
    """Generate, show, save and sum up."""
    began = time.monotonic()
    # The limit's window is stretched, so that it lasts a minute by the clock on the wall: the real limit.
    try:
        simulator = Simulator(speed=speed, window=_WINDOW_SECONDS * speed, durations=DURATIONS)
    except ValueError as error:
        raise UsageError(f"--speed {speed}: {error}") from None
    async with simulator, AIVideoMaker(simulator.api_key, base_url=simulator.url) as client:
        context.output.say(f"simulated service at {simulator.url}, {speed:g} times as fast as the real one")
        with Board(context.output, many=True) as board:
            outcomes = await asyncio.gather(
                *(_one(context, client, spec, board, folder) for spec in specs()), return_exceptions=True
            )
        saved = _unwrap(outcomes)
        _sum_up(context, simulator, saved, time.monotonic() - began)
    return Exit.OK


async def _one(context: Context, client: AIVideoMaker, spec: VideoSpec, board: Board, folder: Path) -> Saved:
    row = board.add(spec.model, credits=str(estimate(spec)))
    task = await submit(context, client, spec)
    video = await follow(context, task, board, row, None)
    saved = await save(context, video, folder / f"{spec.model}.mp4", board, row, overwrite=True)
    board.note(row, size(saved.bytes))
    report(context, video, saved)
    return saved


def _unwrap(outcomes: Sequence[Saved | BaseException]) -> list[Saved]:
    saved = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        saved.append(outcome)
    return saved


def _sum_up(context: Context, simulator: Simulator, saved: Sequence[Saved], seconds: float) -> None:
    counts, limit = simulator.statistics(), 60
    context.output.event(
        "summary",
        files=[str(one.path) for one in saved],
        seconds=round(seconds, 1),
        credits_charged=counts.credits_charged,
        queries=counts.queries,
        limit=limit,
        window=_WINDOW_SECONDS,
        rejected=counts.rejected,
    )
    width = max(len(str(one.path)) for one in saved)
    for one in saved:
        context.output.result(f"{str(one.path).ljust(width)}  {size(one.bytes)}")
    context.output.result(f"{len(saved)} videos in {seconds:.0f} s for {counts.credits_charged} simulated credits")
    context.output.result(
        f"{counts.queries} queries, where the limit is {limit} a minute; {counts.rejected} were answered 429"
    )


def picture(width: int = 320, height: int = 180) -> bytes:
    """A PNG image: a sky that grows lighter towards hills."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            hill = height * 3 // 4 + (x - width // 2) ** 2 // (width * 2)
            rows += bytes((40, 90 + (x * 40) // width, 60)) if y > hill else bytes((60 + y // 2, 110 + y // 2, 190))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
