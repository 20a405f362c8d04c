"""A real HTTP server with the contract of the AI Video Maker API, for demos and for tests.

    async with Simulator(speed=20) as simulator:
        async with AIVideoMaker(simulator.api_key, base_url=simulator.url) as client:
            ...

It listens on loopback, validates requests by wire type, charges and refunds credits, lets tasks run through their
statuses, limits queries, deletes files after 24 hours, and renders playable videos when the extra `simulator` is
installed. It shares no code with the client, so that one mistake cannot hide in both; an import contract in
pyproject.toml enforces that.

How it works: everything that will happen to a task is planned when it is submitted (`state.py`), in simulated seconds,
of which `speed` pass in each second of the clients (`timing.py`). A request is answered from the plan, so a simulator
without requests does nothing. Only webhooks need a timer.

The modules:

- `simulator.py` and `threaded.py` are what users hold; `options.py` has the options and their checks, `views.py` the
  records that they return, `pytest_plugin.py` the fixtures.
- `contract.py`, `models.py`, `field_types.py` and `images.py` are the contract: which requests are valid, and what they
  cost. `openapi.py` documents it. A new revision is data there.
- `state.py`, `timing.py`, `quota.py` and `history.py` are the account: tasks, credits, time, limits. Like the contract
  they are pure: the current time and randomness are passed in.
- `server.py` has the routes and handlers; `response_bodies.py` and `responses.py` write answers, `links.py` signs the
  addresses of videos, `video_store.py` and `rendering.py` make these, `webhook_sender.py` delivers changes, and
  `listener.py` has the sockets.
- `faults.py`, `fault_kinds.py` and `fault_injection.py` make requests go wrong, with `body_corruption.py` and
  `open_exchanges.py`.

The names below are imported when they are used, and nothing else when this package is imported: pytest does so at its
start, for the entry point of the plugin, and a test run without a simulator must not pay for aiohttp.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .simulator import Simulator, serve
    from .threaded import ThreadedSimulator

__all__ = ["Simulator", "ThreadedSimulator", "serve"]

_MODULES = {"Simulator": "simulator", "ThreadedSimulator": "threaded", "serve": "simulator"}


if not TYPE_CHECKING:
    # Type checkers would take every wrong name for one of these.
    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
