"""The client and its handles: what users hold in their hands.

to be written
"""

from typing import TYPE_CHECKING

from .client import AIVideoMaker, ClientStatistics

if TYPE_CHECKING:
    from .generate_many import GenerateMany, Outcome
    from .task import StatusWatch, VideoTask

__all__ = ["AIVideoMaker", "ClientStatistics", "GenerateMany", "Outcome", "StatusWatch", "VideoTask"]

_ON_USE = {"GenerateMany": "generate_many", "Outcome": "generate_many", "StatusWatch": "task", "VideoTask": "task"}
"""What a status call does not need is imported when it is used."""


def __getattr__(name: str) -> object:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_ON_USE[name]}"), name)
