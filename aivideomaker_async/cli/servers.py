"""The commands that need neither a key nor a network: `simulate` and `demo`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from .context import Context, Ctx, Job
from .exits import Exit, UsageError

if TYPE_CHECKING:
    from ..simulator import Simulator

__all__ = ["demo", "simulate"]

_Speed = Annotated[float, Parameter(metavar="FACTOR", validator=Number(gt=0))]


async def simulate(  # noqa: D417  (the context is no argument of the command)
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    speed: _Speed = 1.0,
    revision: Literal["2026-03", "2026-09"] = "2026-03",
    credits: Annotated[int, Parameter(validator=Number(gte=0))] = 10_000,  # noqa: A002  (the API's word)
    limit: Annotated[int, Parameter(validator=Number(gte=0))] = 60,
    idempotency: Literal["ignored", "kept"] | None = None,
    fault: Annotated[list[str] | None, Parameter(negative=(), metavar="KIND[:NAME=VALUE,...]")] = None,
    context: Ctx,
) -> int:
    """Serve a simulated API until Ctrl-C, which is no error here. Prints its URL, and an API key on the next line.

    Args:
        port: the port; 0 takes a free one.
        speed: how many simulated seconds pass in a real one.
        revision: the revision of the API that is spoken.
        credits: the balance at the start.
        limit: queries in a minute before the server answers 429; 0 for no limit.
        idempotency: whether a repeated Idempotency-Key gives the first task again; kept by default from 2026-09 on.
        fault: what goes wrong, such as drop:on=submit,acted=true,probability=0.05 or rate_limit:on=query,times=3. May
            be given several times. docs/simulator.md has all kinds.
    """
    from ..simulator import serve  # its HTTP server is slow to import
    from .faults import read_fault

    faults = [read_fault(text) for text in fault or ()]

    def ready(simulator: Simulator) -> None:
        for kind, arguments in faults:
            simulator.fault(kind, **arguments)
        _announce(context, simulator)

    try:
        await serve(
            port=port,
            speed=speed,
            revision=revision,
            credits=credits,
            limit=limit or None,
            idempotency=idempotency,
            on_ready=ready,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    except asyncio.CancelledError:
        # Its only end.
        context.output.say("stopped")
    return Exit.OK


def _announce(context: Context, simulator: Simulator) -> None:
    output = context.output
    output.event("ready", url=simulator.url, api_key=simulator.api_key)
    output.result(f"{simulator.url}\n{simulator.api_key}")
    output.say("The simulator runs until Ctrl-C. In another terminal:")
    output.say(f"  export AIVIDEO_BASE_URL={simulator.url} AIVIDEO_API_KEY={simulator.api_key}")
    output.say("  aivideomaker generate t2v --prompt 'A sunset' --aspect-ratio 16:9 --duration 5 --output sunset.mp4")


def demo(  # noqa: D417  (the context is no argument of the command)
    *, output_dir: Path = Path("demo-output"), speed: _Speed = 24.0, context: Ctx
) -> Job:
    """Generate a video with each model at once, on a simulator in this process: no key, no network, no cost.

    Args:
        output_dir: the folder for the videos; files of an earlier demo are replaced.
        speed: how many simulated seconds pass in a real one.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    from .demo import run

    # What is submitted to a simulator is not worth picking up: the demo has no advice to give when it ends early.
    return run(Context(output=context.output), output_dir, speed)
