"""A server of the AI Video Maker API in this process, for demos and for tests.

    async with Simulator(speed=20) as simulator:
        async with AIVideoMaker(simulator.api_key, base_url=simulator.url) as client:
            ...

It speaks real HTTP on loopback, keeps the account, the states, the query limit and the 24 hours
of a finished file, and renders playable videos when the extra `simulator` is installed. It
shares no code with the SDK, so that one mistake cannot hide itself in both.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .simulator import Simulator, serve
    from .threaded import ThreadedSimulator

__all__ = ["Simulator", "ThreadedSimulator", "serve"]

_MODULES = {"Simulator": "simulator", "ThreadedSimulator": "threaded", "serve": "simulator"}


def __getattr__(name: str) -> object:
    # pytest imports this package at its start for the plugin's entry point. A test run that never
    # asks for a simulator must not pay for aiohttp.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
