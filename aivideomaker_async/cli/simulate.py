"""The command `simulate`: a simulated API until Ctrl-C. And its faults, written as `KIND[:NAME=VALUE,...]`."""

from __future__ import annotations

import asyncio
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

__all__ = ["read_fault", "simulate"]


async def simulate(  # noqa: D417  (the context is no argument of the command)
    *,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    speed: Annotated[float, Parameter(metavar="FACTOR", validator=Number(gt=0))] = 1.0,
    revision: Literal["2026-03", "2026-09"] = "2026-03",
    credits: Annotated[int, Parameter(validator=Number(gte=0))] = 10_000,  # noqa: A002  (the API's word)
    limit: Annotated[int, Parameter(validator=Number(gte=0))] = 60,
    idempotency: Literal["ignored", "kept"] | None = None,
    fault: Annotated[list[str] | None, Parameter(negative=(), metavar="KIND[:NAME=VALUE,...]")] = None,
    context: InjectedContext,
) -> int:
    """Serve a simulated API until Ctrl-C, which is no error here. Prints its URL, and an API key on the next line.

    Args:
        port: the port; 0 takes a free one.
        speed: how many times sooner everything happens.
        revision: the revision of the API that is spoken.
        credits: the balance at the start.
        limit: queries in a minute before the server answers 429; 0 for no limit.
        idempotency: whether a repeated Idempotency-Key returns the first task; kept by default from 2026-09 on.
        fault: what goes wrong, such as drop:on=submit,acted=true,probability=0.05 or rate_limit:on=query,times=3. May
            be passed several times. docs/simulator.md has all kinds.
    """
    # The HTTP server is slow to import, and other commands do not need it.
    from ..simulator import serve

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
