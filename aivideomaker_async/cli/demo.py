"""The command `demo`: a generation with each model at once, over real HTTP, on a simulator in this process."""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from .._util.paths import expanded
from ..client import AIVideoMaker
from ..specs import ImageToVideo, ImageToVideoV3, LongVideo, TextToVideo, TextToVideoV3, VideoSpec
from .context import Context, InjectedContext, Job
from .exit_codes import Exit, UsageError
from .progress import ProgressDisplay, format_size
from .task_workflow import SavedVideo, WaitOptions, estimate, follow, report, save, submit

if TYPE_CHECKING:
    from ..simulator import Simulator

__all__ = ["DURATIONS", "demo", "png_image", "specs"]

DURATIONS: Final = {
    "t2v": (10.0, 110.0),
    "i2v": (14.0, 150.0),
    "lv": (18.0, 190.0),
    "t2v_v3": (12.0, 230.0),
    "i2v_v3": (22.0, 330.0),
}
"""Simulated seconds in the queue and of work, like those of the real service. At the default speed of the demo, each
status lasts longer than the pause between two polls, so all of them are shown."""

_LIMIT: Final = 60
_WINDOW_S: Final = 60.0


def demo(  # noqa: D417  (the context is no argument of the command)
    *,
    output_dir: Path = Path("demo-output"),
    speed: Annotated[float, Parameter(metavar="FACTOR", validator=Number(gt=0))] = 24.0,
    context: InjectedContext,
) -> Job:
    """Generate a video with each model at once, on a simulator in this process: no key, no network, no cost.

    Args:
        output_dir: the folder for the videos; files of an earlier demo are replaced.
        speed: how many times sooner everything happens.
    """
    output_dir = expanded(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    # A context of its own: the tasks of a simulator end with the command, so there is no advice to pick them up.
    return _run(Context(output=context.output), output_dir, speed)


def specs() -> Sequence[VideoSpec]:
    """Return one spec for each model."""
    image = png_image()
    return (
        TextToVideo(prompt="A lighthouse at dusk, waves rolling in", aspect_ratio="16:9", duration=5),
        ImageToVideo(image=image, prompt="Clouds drift over the hills", duration=5),
        LongVideo(image=image, prompts=("The sun rises", "Birds take off")),
        TextToVideoV3(prompt="A paper boat on a river in the rain", aspect_ratio="9:16", duration=10),
        ImageToVideoV3(image=image, prompt="The camera glides forward", duration=10),
    )


async def _run(context: Context, folder: Path, speed: float) -> int:
    # The HTTP server is slow to import, and other commands do not need it.
    from ..simulator import Simulator

    began = time.monotonic()
    try:
        # The window is as long for the clients as the real one, so the demo shows the real limit.
        simulator = Simulator(speed=speed, limit=_LIMIT, window=_WINDOW_S * speed, durations=DURATIONS)
    except ValueError as error:
        raise UsageError(f"--speed {speed}: {error}") from None
    async with simulator, AIVideoMaker(simulator.api_key, base_url=simulator.url) as client:
        context.output.message(f"simulated service at {simulator.url}, {speed:g} times as fast as the real one")
        with ProgressDisplay(context.output, many=True) as display:
            outcomes = await asyncio.gather(
                *(_generate(context, client, spec, display, folder) for spec in specs()), return_exceptions=True
            )
        saved = []
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            saved.append(outcome)
        _sum_up(context, simulator, saved, time.monotonic() - began)
    return Exit.OK


async def _generate(
    context: Context, client: AIVideoMaker, spec: VideoSpec, display: ProgressDisplay, folder: Path
) -> SavedVideo:
    row = display.add(spec.model, credits=str(estimate(spec)))
    task = await submit(context, client, spec)
    video = await follow(context, task, display, row, None)
    path = folder / f"{spec.model}.mp4"
    saved = await save(context, video, path, display, row, WaitOptions(timeout=None, path=path, overwrite=True))
    display.note(row, format_size(saved.bytes))
    report(context, video, saved)
    return saved


def _sum_up(context: Context, simulator: Simulator, saved: Sequence[SavedVideo], seconds: float) -> None:
    counts = simulator.statistics()
    context.output.event(
        "summary",
        files=[str(one.path) for one in saved],
        seconds=round(seconds, 1),
        credits_charged=counts.credits_charged,
        queries=counts.queries,
        limit=_LIMIT,
        window=_WINDOW_S,
        rejected=counts.rejected,
    )
    width = max(len(str(one.path)) for one in saved)
    for one in saved:
        context.output.result(f"{str(one.path).ljust(width)}  {format_size(one.bytes)}")
    context.output.result(f"{len(saved)} videos in {seconds:.0f} s for {counts.credits_charged} simulated credits")
    context.output.result(
        f"{counts.queries} queries, where the limit is {_LIMIT} a minute; {counts.rejected} were answered 429"
    )


def png_image(width: int = 320, height: int = 180) -> bytes:
    """Return a PNG image of a sky above hills, drawn without an image library."""
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
