"""The command `simulate`: a simulated API until Ctrl-C. Its durations are written as `QUEUE:WORK`, its faults as
`KIND[:NAME=VALUE,...]`.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal, cast

from cyclopts import Parameter
from cyclopts.validators import Number

from .context import Context, InjectedContext
from .exit_codes import Exit, UsageError

if TYPE_CHECKING:
    from ..simulator import Simulator
    from ..simulator.fault_kinds import FaultKind
    from ..simulator.faults import FaultArguments
    from ..simulator.timing import Durations

__all__ = ["read_durations", "read_fault", "simulate"]


async def simulate(  # noqa: D417  (the context is no argument of the command)
    *,
    host: Annotated[str, Parameter(metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    api_key: Annotated[str | None, Parameter(metavar="KEY")] = None,
    speed: Annotated[float, Parameter(metavar="FACTOR", validator=Number(gt=0))] = 1.0,
    revision: Literal["2026-03", "2026-09"] = "2026-03",
    credits: Annotated[int, Parameter(validator=Number(gte=0))] = 10_000,  # noqa: A002  (the API's word)
    limit: Annotated[int, Parameter(validator=Number(gte=0))] = 60,
    idempotency: Literal["ignored", "kept"] | None = None,
    durations: Annotated[str | None, Parameter(metavar="QUEUE:WORK")] = None,
    late_cancel: Annotated[int, Parameter(metavar="STATUS", validator=Number(gte=200, lte=599))] = 400,
    late_files: Annotated[float, Parameter(metavar="SECONDS", validator=Number(gte=0))] = 0.0,
    link_lifetime: Annotated[float | None, Parameter(metavar="SECONDS", validator=Number(gt=0))] = None,
    strict_headers: Annotated[bool, Parameter(negative=())] = False,
    fault: Annotated[list[str] | None, Parameter(negative=(), metavar="KIND[:NAME=VALUE,...]")] = None,
    context: InjectedContext,
) -> int:
    """Serve a simulated API until Ctrl-C, which is no error here. Prints its URL, and an API key on the next line.

    Seconds are those of the service, of which speed pass in each real one; those of faults are real.

    Args:
        host: the address to listen on.
        port: the port; 0 takes a free one.
        api_key: a test key, which is the only valid one; never a real key. Random by default.
        speed: how many times sooner everything happens.
        revision: the revision of the API that is spoken.
        credits: the balance at the start.
        limit: queries in a minute before the server answers 429; 0 for no limit.
        idempotency: whether a repeated Idempotency-Key returns the first task; kept by default from 2026-09 on.
        durations: seconds that a task takes, such as 2:30 for 2 in the queue and 30 of work, or 5-30:60-120 for any in
            between. Like the real ones by default.
        late_cancel: the HTTP status of the answer to a cancel that comes too late; 200 answers with the task's status.
        late_files: seconds for which the file of a finished task is still answered 404.
        link_lifetime: seconds for which the address of a video works; each answer has a new one. By default it stays.
        strict_headers: answer 403 to calls without the content type application/json and a user agent of Mozilla/5.0.
        fault: what goes wrong, such as drop:on=submit,acted=true,probability=0.05 or rate_limit:on=query,times=3. May
            be passed several times. docs/simulator.md has all kinds.
    """
    # The HTTP server is slow to import, and other commands do not need it.
    from ..simulator import serve

    faults = [read_fault(text) for text in fault or ()]
    spans = None if durations is None else read_durations(durations)

    def ready(simulator: Simulator) -> None:
        for kind, arguments in faults:
            simulator.fault(kind, **arguments)
        _announce(context, simulator)

    try:
        await serve(
            host=host,
            port=port,
            api_key=api_key,
            speed=speed,
            revision=revision,
            credits=credits,
            limit=limit or None,
            idempotency=idempotency,
            durations=spans,
            late_cancel=late_cancel,
            late_files=late_files,
            link_lifetime=link_lifetime,
            strict_headers=strict_headers,
            on_ready=ready,
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    except asyncio.CancelledError:
        # Ctrl-C and SIGTERM are the regular end of this command.
        context.output.message("stopped")
    return Exit.OK


def _announce(context: Context, simulator: Simulator) -> None:
    output = context.output
    output.event("ready", url=simulator.url, api_key=simulator.api_key)
    output.result(f"{simulator.url}\n{simulator.api_key}")
    output.message("The simulator runs until Ctrl-C. In another terminal:")
    output.message(f"  export AIVIDEO_BASE_URL={simulator.url} AIVIDEO_API_KEY={simulator.api_key}")
    output.message(
        "  aivideomaker generate t2v --prompt 'A sunset' --aspect-ratio 16:9 --duration 5 --output sunset.mp4"
    )


# --- durations ---------------------------------------------------------------------------------------

_RANGE: Final = r"([0-9]{1,9}(?:\.[0-9]+)?)(?:-([0-9]{1,9}(?:\.[0-9]+)?))?"
_RANGES: Final = re.compile(f"{_RANGE}:{_RANGE}")


def read_durations(text: str) -> Durations:
    """Parse how long tasks take, as `QUEUE:WORK`, each of them seconds or a range of seconds.

    Args:
        text: the durations, such as `2:30` or `5-30:60-120`.

    Returns:
        The option `durations` of `Simulator`, which draws from a range for each task.

    Raises:
        UsageError: the text is wrong; the message has it, and what is allowed.
    """
    if (found := _RANGES.fullmatch(text)) is not None:
        queue, work = _bounds(found[1], found[2]), _bounds(found[3], found[4])
        if queue == sorted(queue) and work == sorted(work):
            return lambda _model, _seconds: (random.uniform(*queue), random.uniform(*work))
    raise UsageError(
        f"--durations {text}: must be seconds in the queue and of work, such as 2:30, or ranges, such as 5-30:60-120"
    )


def _bounds(least: str, most: str | None) -> list[float]:
    return [float(least), float(most or least)]


# --- faults ------------------------------------------------------------------------------------------


def _bool(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError("true or false")
    return text == "true"


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _text(text: str) -> str | None:
    return None if text == "none" else text


def _times(text: str) -> int | None:
    if text == "none":
        return None
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number, or none for no end") from None


def _retry_after(text: str) -> float | str | None:
    try:
        return float(text)
    except ValueError:
        return _text(text)


_COMMA: Final = re.compile(r"(?<!\\),")
_RULE_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "on": _text,
    "task_id": _text,
    "model": _text,
    "after": _integer,
    "times": _times,
    "probability": _number,
}
_DETAIL_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "acted": _bool,
    "status": _integer,
    "body": _text,
    "retry_after": _retry_after,
    "location": _text,
    "seconds": _number,
    "size": _integer,
    "depth": _integer,
    "by": _integer,
}
_READERS: Final = {**_RULE_READERS, **_DETAIL_READERS}


def read_fault(text: str) -> tuple[FaultKind, FaultArguments]:
    """Parse and check a fault.

    `none` is None wherever that is allowed. A comma that is part of a value has a backslash before it.

    Args:
        text: the fault, such as `status:on=query,status=503`.

    Returns:
        The kind and the other arguments of `Simulator.fault`.

    Raises:
        UsageError: the text is wrong; the message has the wrong part, and what is allowed.
    """
    from ..simulator.fault_kinds import fault_definition
    from ..simulator.faults import Faults

    name, _, rest = text.partition(":")
    try:
        names = (*_RULE_READERS, *fault_definition(name).takes)
        arguments: dict[str, object] = {}
        for part in _COMMA.split(rest) if rest else ():
            key, value = _read_part(part.replace("\\,", ","), names)
            if key in arguments:
                raise ValueError(f"{key} is given twice")
            arguments[key] = value
        kind, checked = cast("FaultKind", name), cast("FaultArguments", arguments)
        Faults().add(kind, **checked)
    except ValueError as error:
        raise UsageError(f"--fault {text}: {error}") from None
    return kind, checked


def _read_part(part: str, names: tuple[str, ...]) -> tuple[str, object]:
    key, equals, value = part.partition("=")
    if not equals or key not in names:
        raise ValueError(f"{part!r} must be NAME=VALUE, with a name out of {', '.join(names)}")
    try:
        return key, _READERS[key](value)
    except ValueError as error:
        raise ValueError(f"{key} must be {error}, got {value!r}") from None
