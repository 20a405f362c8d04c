"""All the ways in which a person, a program or a crash reporter sees the content of an error or another object."""

from __future__ import annotations

import gc
import inspect
import json
import pickle
import traceback
from collections.abc import Iterator, Mapping
from types import AsyncGeneratorType, CoroutineType, FrameType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

from rich.traceback import Traceback

from aivideomaker_async import AIVideoMakerError

PIECE = 8
"""Runs of this length give away too much of a secret."""

_LEAVES = (FunctionType, MethodType, ModuleType, type, int, float, bool, type(None))


def assert_hidden(text: str, *secrets: str) -> None:
    """Check that neither a secret nor a piece of one stands in `text`."""
    for piece in {secret[start : start + PIECE] for secret in secrets for start in range(len(secret) - PIECE + 1)}:
        place = text.find(piece)
        assert place < 0, f"{piece!r} of a secret is shown: …{text[max(0, place - 300) : place + 100]}…"


def texts_of(error: BaseException) -> str:
    """Return all that an error and those behind it show: texts, reprs, attributes, notes, pickles, JSON."""
    texts = []
    for one in chain(error):
        texts += [str(one), repr(one), repr(vars(one)), repr(getattr(one, "__notes__", None))]
        # Some hold a client, which cannot be pickled.
        texts.append(_pickled(one))
        if isinstance(one, AIVideoMakerError):
            texts.append(json.dumps(one.to_dict()))
    return "\n".join(texts)


def frames_behind(error: BaseException) -> str:
    """Return the local variables of all frames behind an error, as crash reporters show them."""
    shown = [
        repr(item)
        for one in chain(error)
        for frame, _ in traceback.walk_tb(one.__traceback__)
        for item in values_in(frame)
    ]
    shown += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    for longest in (80, 10_000):
        extracted = Traceback.extract(
            type(error),
            error,
            error.__traceback__,
            show_locals=True,
            locals_max_string=longest,
            locals_hide_dunder=False,
        )
        shown += [
            str(node) for stack in extracted.stacks for frame in stack.frames for node in (frame.locals or {}).values()
        ]
    return "\n".join(shown)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes and contexts, whether a traceback shows them or not."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]


def _pickled(error: BaseException) -> str:
    try:
        data = pickle.dumps(error)
    except TypeError as refused:
        return str(refused)
    return data.decode("latin-1") + repr(pickle.loads(data))  # noqa: S301


def values_in(frame: FrameType) -> Iterator[object]:
    """Yield the local variables of a frame, and the items of those that are containers."""
    for item in frame.f_locals.values():
        yield item
        if isinstance(item, str | bytes):
            yield item[:20]
        elif isinstance(item, Mapping):
            yield from item.items()
        elif isinstance(item, list | tuple | set | frozenset):
            yield from item


def frames_of(awaitable: Any) -> Iterator[FrameType]:
    """Yield the frames of a suspended awaitable, from the outermost to the one that waits."""
    while awaitable is not None:
        if isinstance(awaitable, CoroutineType):
            if inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED:
                # Its frame has the arguments of the caller as they were passed.
                return
            frame, awaitable = awaitable.cr_frame, awaitable.cr_await
        elif isinstance(awaitable, GeneratorType):
            frame, awaitable = awaitable.gi_frame, awaitable.gi_yieldfrom
        elif isinstance(awaitable, AsyncGeneratorType):
            frame, awaitable = awaitable.ag_frame, awaitable.ag_await
        elif type(awaitable).__name__ == "coroutine_wrapper":
            # What `__await__` of a coroutine returns. It has no attribute for the coroutine.
            frame, (awaitable, *_) = None, gc.get_referents(awaitable)
        else:
            return
        if frame is not None:
            yield frame


def locals_of(awaitable: Any) -> str:
    """Return the reprs of all local variables of a suspended awaitable."""
    return "\n".join(repr(item) for frame in frames_of(awaitable) for item in values_in(frame))


def texts_within(*roots: object, depth: int) -> Iterator[str]:
    """Yield all texts and bytes that can be reached by attributes and containers, up to `depth` steps away."""
    seen: dict[int, object] = {}
    level = list(roots)
    for _ in range(depth):
        inner: list[object] = []
        for item in level:
            if id(item) in seen or isinstance(item, _LEAVES):
                continue
            seen[id(item)] = item
            if isinstance(item, str | bytes | bytearray):
                yield repr(item) + repr(item[:])
            else:
                inner += _inside(item)
        level = inner


def _inside(item: object) -> list[object]:
    found: list[object] = []
    if isinstance(item, Mapping):
        found += [*item.keys(), *item.values()]
    elif isinstance(item, list | tuple | set | frozenset):
        found += item
    found += getattr(item, "__dict__", {}).values()
    for kind in type(item).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            own = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name
            found.append(getattr(item, own, None))
    return found
